//! Who may connect: one rule for every protocol, asked at each handshake and again on demand.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use iroh::endpoint::{AfterHandshakeOutcome, Connection, EndpointHooks, Side, WeakConnectionHandle};
use protocols::NodeId;

use super::node_id;

/// The rule that says who may connect.
pub trait Access: Send + Sync + 'static {
    /// Whether `peer` may open a connection for `alpn` to this node. Must answer at once.
    fn allows(&self, peer: NodeId, alpn: &[u8]) -> bool;
}

/// Lets everybody in. For tests and for endpoints that serve nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct AllowAll;

impl Access for AllowAll {
    fn allows(&self, _peer: NodeId, _alpn: &[u8]) -> bool {
        true
    }
}

impl<F: Fn(NodeId, &[u8]) -> bool + Send + Sync + 'static> Access for F {
    fn allows(&self, peer: NodeId, alpn: &[u8]) -> bool {
        self(peer, alpn)
    }
}

/// Asks the rule and remembers, weakly, the connections that live.
pub(crate) struct Gate {
    access: Arc<dyn Access>,
    live: Mutex<Live>,
}

#[derive(Default)]
struct Live {
    next: u64,
    connections: HashMap<u64, Entry>,
}

#[derive(Clone)]
struct Entry {
    peer: NodeId,
    alpn: Vec<u8>,
    incoming: bool,
    handle: WeakConnectionHandle,
}

impl Gate {
    pub(crate) fn new(access: Arc<dyn Access>) -> Self {
        Self { access, live: Mutex::default() }
    }

    /// Closes every connection with a peer, whoever opened it. Returns how many there were.
    pub(crate) fn drop_peer(&self, peer: NodeId) -> usize {
        self.close_where(|entry| entry.peer == peer)
    }

    /// Asks the rule again about every connection that was let in, and closes what it refuses now.
    pub(crate) fn recheck(&self) -> usize {
        self.close_where(|entry| entry.incoming && !self.access.allows(entry.peer, &entry.alpn))
    }

    /// The live connections with a peer.
    pub(crate) fn connections(&self, peer: NodeId) -> Vec<Connection> {
        let entries: Vec<_> = self.live().connections.values().filter(|e| e.peer == peer).cloned().collect();
        entries.iter().filter_map(|e| e.handle.upgrade()).filter(|c| c.close_reason().is_none()).collect()
    }

    /// The peers with a live connection, each once.
    pub(crate) fn peers(&self) -> Vec<NodeId> {
        let mut peers: Vec<_> = self.live().connections.values().map(|e| e.peer).collect();
        peers.sort_unstable();
        peers.dedup();
        peers
    }

    /// Closes every connection for some protocols, in both directions, because what served them is gone.
    pub(crate) fn restart(&self, alpns: &[&[u8]]) {
        let entries: Vec<_> =
            self.live().connections.values().filter(|e| alpns.contains(&e.alpn.as_slice())).cloned().collect();
        for connection in entries.iter().filter_map(|e| e.handle.upgrade()) {
            connection.close(CLOSE_RESTARTING.into(), b"starting anew");
        }
    }

    fn close_where(&self, wanted: impl Fn(&Entry) -> bool) -> usize {
        // The rule is asked without the lock: it may be slow, or take locks of its own.
        let entries: Vec<_> = self.live().connections.values().cloned().collect();
        let mut closed = 0;
        for entry in entries.iter().filter(|e| wanted(e)) {
            if let Some(connection) = entry.handle.upgrade()
                && connection.close_reason().is_none()
            {
                connection.close(CLOSE_REFUSED.into(), NOT_ALLOWED);
                closed += 1;
            }
        }
        closed
    }

    fn admit(self: &Arc<Self>, connection: &Connection) -> AfterHandshakeOutcome {
        let peer = node_id(connection.remote_id());
        let incoming = connection.side() == Side::Server;
        let id = {
            let mut live = self.live();
            if incoming
                && live.connections.values().filter(|e| e.peer == peer && e.incoming).count() >= PEER_CONNECTIONS_MAX
            {
                tracing::warn!(%peer, "too many connections from one peer");
                return AfterHandshakeOutcome::Reject {
                    error_code: CLOSE_TOO_MANY.into(),
                    reason: b"too many connections".to_vec(),
                };
            }
            let id = live.next;
            live.next += 1;
            let alpn = connection.alpn().to_vec();
            live.connections.insert(id, Entry { peer, alpn, incoming, handle: connection.weak_handle() });
            id
        };
        // Entered first and asked then, so that a recheck in between cannot miss the connection.
        if incoming && !self.access.allows(peer, connection.alpn()) {
            self.live().connections.remove(&id);
            tracing::debug!(%peer, alpn = %String::from_utf8_lossy(connection.alpn()), "connection refused");
            return AfterHandshakeOutcome::Reject { error_code: CLOSE_REFUSED.into(), reason: NOT_ALLOWED.to_vec() };
        }
        let closed = connection.weak_handle().closed();
        let gate = Arc::downgrade(self);
        tokio::spawn(async move {
            let _ended = closed.await;
            if let Some(gate) = gate.upgrade() {
                gate.live().connections.remove(&id);
            }
        });
        AfterHandshakeOutcome::Accept
    }

    fn live(&self) -> MutexGuard<'_, Live> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gate").field("live", &self.live().connections.len()).finish()
    }
}

/// The hook that iroh calls. It must hold neither the endpoint nor a connection.
#[derive(Debug)]
pub(super) struct Hook(pub(super) Arc<Gate>);

impl EndpointHooks for Hook {
    async fn after_handshake<'a>(&'a self, connection: &'a Connection) -> AfterHandshakeOutcome {
        self.0.admit(connection)
    }
}

/// Close code: this peer may not use this protocol here.
pub(crate) const CLOSE_REFUSED: u32 = 403;
/// Close code: this peer has too many connections.
pub(crate) const CLOSE_TOO_MANY: u32 = 429;
/// Close code: what served this protocol is being built anew.
pub(crate) const CLOSE_RESTARTING: u32 = 503;
/// The reason that goes with [`CLOSE_REFUSED`].
const NOT_ALLOWED: &[u8] = b"not allowed";
/// Live incoming connections of one peer, over all protocols. Documents make one for each that is
/// being synced, so this is far more than requests need.
const PEER_CONNECTIONS_MAX: usize = 1024;
