//! The running mesh: a cheap handle to everything that a node does on the wire.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use iroh::endpoint::ConnectionError;
use iroh::protocol::Router;
use iroh::{Endpoint, TransportAddr};
use protocols::{NodeId, PeerAddr};
use tokio::time::{Instant, timeout};
use tokio_util::task::AbortOnDropHandle;

use super::{Gate, Lookups, MeshBuilder, OnlineError, RelayHealth, RelayRef, addr, relays};
use crate::rpc::{ConnectError, Link, Links};

/// A running endpoint. Clones share it; [`Mesh::close`] ends it for all of them.
#[derive(Debug, Clone)]
pub struct Mesh(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    endpoint: Endpoint,
    gate: Arc<Gate>,
    lookups: Lookups,
    router: Router,
    links: Arc<Links>,
    relays: Vec<RelayRef>,
    _watch: Option<AbortOnDropHandle<()>>,
}

/// By which way bytes go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Via {
    /// Straight, to this address.
    Direct(SocketAddr),
    /// Through this relay.
    Relay(String),
}

/// One open path to a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathInfo {
    /// The way.
    pub via: Via,
    /// Its round-trip time.
    pub rtt: Duration,
    /// Whether data takes this path now.
    pub selected: bool,
}

/// What a probe of a peer found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// From the start of dialing to the end of the handshake.
    pub took: Duration,
    /// The paths that were open then.
    pub paths: Vec<PathInfo>,
}

/// Why a probe failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProbeError {
    /// The peer cannot be connected to.
    #[error("cannot connect: {0}")]
    Connect(ConnectError),
    /// The peer is there and refuses this node, or this protocol to this node.
    #[error("the peer refuses this node: {reason}")]
    Refused {
        /// What it said.
        reason: String,
    },
    /// The connection ended at once.
    #[error("the connection ended right after the handshake: {why}")]
    Ended {
        /// How.
        why: String,
    },
}

impl Mesh {
    pub(super) fn start(built: MeshBuilder) -> Self {
        let MeshBuilder { endpoint, gate, lookups, links, router, config, relays } = built;
        let watch =
            (!relays.is_empty()).then(|| AbortOnDropHandle::new(tokio::spawn(relays::watch(endpoint.clone(), relays))));
        Self(Arc::new(Inner {
            endpoint,
            gate,
            lookups,
            links,
            router: router.spawn(),
            relays: config.relays,
            _watch: watch,
        }))
    }

    /// This node's id.
    pub fn id(&self) -> NodeId {
        super::node_id(self.0.endpoint.id())
    }

    /// Where this node can be reached, as far as it knows now. Addresses that only make sense as
    /// "any" are replaced by those of the interfaces.
    pub fn addr(&self) -> PeerAddr {
        addr::peer_addr(&self.0.endpoint.addr())
    }

    /// The addresses of its UDP sockets.
    pub fn bound(&self) -> Vec<SocketAddr> {
        self.0.endpoint.bound_sockets()
    }

    /// Takes note of where a peer is. The newest addresses are tried along with older ones.
    pub fn learn(&self, peer: PeerAddr) {
        self.0.lookups.directory.learn(peer);
    }

    /// What is known of where a peer is.
    pub fn known(&self, peer: NodeId) -> Option<PeerAddr> {
        self.0.lookups.directory.get(peer)
    }

    /// Waits for a session with a relay.
    ///
    /// # Errors
    /// [`OnlineError`] says why there is none after `within`.
    pub async fn online(&self, within: Duration) -> Result<(), OnlineError> {
        relays::online(&self.0.endpoint, &self.0.relays, within).await
    }

    /// How the home relays do.
    pub fn relay_health(&self) -> Vec<RelayHealth> {
        relays::health(&self.0.endpoint)
    }

    /// The open paths to a peer, over all its connections; each way once.
    pub fn paths(&self, peer: NodeId) -> Vec<PathInfo> {
        let mut all: Vec<PathInfo> = Vec::new();
        for connection in self.0.gate.connections(peer) {
            for path in paths_of(&connection) {
                match all.iter_mut().find(|p| p.via == path.via) {
                    Some(known) => {
                        known.selected |= path.selected;
                        known.rtt = known.rtt.min(path.rtt);
                    }
                    None => all.push(path),
                }
            }
        }
        all
    }

    /// The peers with a live connection in either direction.
    pub fn connected(&self) -> Vec<NodeId> {
        self.0.gate.peers()
    }

    /// Dials a peer once and looks whether it lets this node in. For diagnosis.
    ///
    /// # Errors
    /// As [`ProbeError`] says.
    pub async fn probe(&self, peer: PeerAddr, alpn: &[u8], within: Duration) -> Result<Probe, ProbeError> {
        let started = Instant::now();
        let addr = super::endpoint_addr(&peer).ok_or(ProbeError::Connect(ConnectError::NotAKey(peer.id)))?;
        let connection = match timeout(within, self.0.endpoint.connect(addr, alpn)).await {
            Err(_) => return Err(ProbeError::Connect(ConnectError::Timeout { peer: peer.id, after: within })),
            Ok(Err(e)) => {
                let why = format!("{e:#}");
                return Err(ProbeError::Connect(ConnectError::Failed { peer: peer.id, why }));
            }
            Ok(Ok(connection)) => connection,
        };
        let took = started.elapsed();
        // A refusal arrives one round trip after the handshake.
        let grace = (took * 2).clamp(PROBE_GRACE, within.max(PROBE_GRACE));
        if let Ok(ended) = timeout(grace, connection.closed()).await {
            return Err(match refusal(&ended) {
                Some(reason) => ProbeError::Refused { reason },
                None => ProbeError::Ended { why: format!("{ended:#}") },
            });
        }
        let paths = paths_of(&connection);
        connection.close(0u32.into(), b"probe");
        Ok(Probe { took, paths })
    }

    /// Closes every live connection with a peer, in both directions. Returns how many.
    pub fn drop_peer(&self, peer: NodeId) -> usize {
        self.0.links.forget(peer);
        self.0.gate.drop_peer(peer)
    }

    /// Asks the access rule again about every connection that was let in. Returns how many it closed.
    pub fn recheck(&self) -> usize {
        self.0.gate.recheck()
    }

    /// A client for `S` at a peer. It connects when first used, shares one connection per peer and
    /// protocol, and makes a new one when that is dead. A request that may have reached the peer
    /// is never sent again.
    pub fn client<S: irpc::Service>(&self, peer: impl Into<Peer>, alpn: &'static [u8]) -> protocols::Client<S> {
        self.link(peer, alpn).client()
    }

    /// The shared connection to a peer for one protocol: its state, and clients over it.
    pub fn link(&self, peer: impl Into<Peer>, alpn: &'static [u8]) -> Link {
        self.0.links.get(self.introduce(peer.into()), alpn)
    }

    /// A client over a connection that is made now, whatever others exist. What it says is proof
    /// that a new connection works.
    ///
    /// # Errors
    /// [`ConnectError`] if it cannot be made.
    pub async fn fresh_client<S: irpc::Service>(
        &self,
        peer: impl Into<Peer>,
        alpn: &'static [u8],
    ) -> Result<protocols::Client<S>, ConnectError> {
        self.0.links.fresh(self.introduce(peer.into()), alpn).await
    }

    /// Whether it still accepts connections.
    pub fn is_serving(&self) -> bool {
        !self.0.router.is_shutdown() && !self.0.endpoint.is_closed()
    }

    /// Says goodbye to everybody and closes the sockets; takes at most [`CLOSE_TIMEOUT`]. Peers
    /// would notice the end of a process that skips this only by its silence.
    pub async fn close(&self) {
        if timeout(CLOSE_TIMEOUT / 2, self.0.router.shutdown()).await.is_err() {
            tracing::warn!("the router did not stop in time");
        }
        if timeout(CLOSE_TIMEOUT / 2, self.0.endpoint.close()).await.is_err() {
            tracing::warn!("the endpoint did not close in time");
        }
    }

    fn introduce(&self, peer: Peer) -> NodeId {
        match peer {
            Peer::Known(id) => id,
            Peer::At(addr) => {
                let id = addr.id;
                self.learn(addr);
                id
            }
        }
    }
}

/// A peer to talk to: by its id, or with addresses to learn on the way.
#[derive(Debug, Clone)]
pub enum Peer {
    /// By id; the directory and the resolver say where it is.
    Known(NodeId),
    /// With addresses.
    At(PeerAddr),
}

impl From<NodeId> for Peer {
    fn from(id: NodeId) -> Self {
        Self::Known(id)
    }
}

impl From<PeerAddr> for Peer {
    fn from(addr: PeerAddr) -> Self {
        Self::At(addr)
    }
}

/// What a peer said when it refused this node, if that is why the connection ended.
pub(crate) fn refusal(ended: &ConnectionError) -> Option<String> {
    match ended {
        ConnectionError::ApplicationClosed(close) if close.error_code == super::access::CLOSE_REFUSED.into() => {
            Some(String::from_utf8_lossy(&close.reason).into_owned())
        }
        _ => None,
    }
}

fn paths_of(connection: &iroh::endpoint::Connection) -> Vec<PathInfo> {
    connection
        .paths()
        .iter()
        .filter_map(|path| {
            let via = match path.remote_addr() {
                TransportAddr::Ip(addr) => Via::Direct(*addr),
                TransportAddr::Relay(url) => Via::Relay(url.to_string()),
                _ => return None,
            };
            Some(PathInfo { via, rtt: path.rtt(), selected: path.is_selected() })
        })
        .collect()
}

/// The longest that [`Mesh::close`] takes.
pub const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);
/// The least time a probe waits for a refusal.
const PROBE_GRACE: Duration = Duration::from_millis(300);
