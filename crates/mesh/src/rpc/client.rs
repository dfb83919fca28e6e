//! The client's side: connections that are made when needed, shared, and replaced when dead.

use std::collections::HashMap;
use std::future::ready;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use iroh::Endpoint;
use iroh::endpoint::{Connection, RecvStream, SendStream};
use irpc::RequestError;
use irpc::rpc::RemoteConnection;
use n0_future::boxed::BoxFuture;
use n0_future::future::now_or_never;
use protocols::NodeId;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use crate::net::{endpoint_id, refusal};

/// Why there is no connection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// The id cannot be anybody's.
    #[error("{0} is not a public key")]
    NotAKey(NodeId),
    /// Nobody answered.
    #[error("no answer from {peer} within {after:?}")]
    Timeout {
        /// Whom was dialed.
        peer: NodeId,
        /// For how long.
        after: Duration,
    },
    /// The peer lets this node not in.
    #[error("{peer} refuses this node: {reason}")]
    Refused {
        /// Who refuses.
        peer: NodeId,
        /// What it said.
        reason: String,
    },
    /// Anything else.
    #[error("cannot connect to {peer}: {why}")]
    Failed {
        /// Whom was dialed.
        peer: NodeId,
        /// The chain of causes.
        why: String,
    },
}

/// What became of the last attempt to be connected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkState {
    /// Nothing was tried yet, or the last connection ended.
    Down,
    /// A connection is being made.
    Dialing,
    /// Connected, for this long.
    Up(Duration),
    /// The last attempt failed.
    Failed(ConnectError),
}

/// The connection to one peer for one protocol, made when needed and shared.
#[derive(Debug, Clone)]
pub struct Link(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    endpoint: Endpoint,
    peer: NodeId,
    alpn: &'static [u8],
    connect_timeout: Duration,
    state: Mutex<State>,
}

type Dialed = Result<Arc<Connection>, ConnectError>;

#[derive(Debug, Default)]
struct State {
    connection: Option<(Arc<Connection>, Instant)>,
    /// Set while a dial runs; whoever needs the connection waits for the same one.
    dial: Option<watch::Receiver<Option<Dialed>>>,
    failed: Option<ConnectError>,
    used: Option<Instant>,
}

impl Link {
    /// A client over this link.
    pub fn client<S: irpc::Service>(&self) -> protocols::Client<S> {
        protocols::Client::over(self.clone())
    }

    /// The peer.
    pub fn peer(&self) -> NodeId {
        self.0.peer
    }

    /// Whether the connection is up.
    pub fn is_up(&self) -> bool {
        matches!(self.state(), LinkState::Up(_))
    }

    /// What is known of the connection.
    pub fn state(&self) -> LinkState {
        let mut state = self.0.lock();
        self.0.bury(&mut state);
        match (&state.connection, &state.dial, &state.failed) {
            (Some((_, since)), ..) => LinkState::Up(since.elapsed()),
            (None, Some(_), _) => LinkState::Dialing,
            (None, None, Some(failed)) => LinkState::Failed(failed.clone()),
            (None, None, None) => LinkState::Down,
        }
    }

    /// Makes sure that there is a connection, without sending anything over it.
    ///
    /// # Errors
    /// [`ConnectError`] if it cannot be made.
    pub async fn connect(&self) -> Result<(), ConnectError> {
        self.connection().await.map(drop)
    }

    /// Waits until the present connection ends; returns at once if there is none.
    pub async fn closed(&self) {
        let connection = self.0.lock().connection.as_ref().map(|(c, _)| c.clone());
        if let Some(connection) = connection {
            let _why = connection.closed().await;
        }
    }

    /// Closes the present connection. The next request makes another. For a peer that does not answer
    /// though its connection looks alive.
    pub fn reset(&self) {
        if let Some((connection, _)) = self.0.lock().connection.take() {
            connection.close(0u32.into(), b"reset");
        }
    }

    /// The live connection, or one that is made now. A dial is shared and bounded, and goes on when
    /// a caller gives up; no lock is held over it.
    pub(crate) async fn connection(&self) -> Result<Connection, ConnectError> {
        self.0.bury(&mut self.0.lock());
        self.present().await.map(|connection| connection.as_ref().clone())
    }

    /// The connection at hand, without asking whether it lives: who is about to open a stream learns
    /// it by that, and is spared a lock that the connection's own work competes for.
    fn at_hand(&self) -> Option<Arc<Connection>> {
        let mut state = self.0.lock();
        state.used = Some(Instant::now());
        state.connection.as_ref().map(|(connection, _)| connection.clone())
    }

    async fn present(&self) -> Result<Arc<Connection>, ConnectError> {
        if let Some(connection) = self.at_hand() {
            return Ok(connection);
        }
        let mut dial = {
            let mut state = self.0.lock();
            if let Some((connection, _)) = &state.connection {
                return Ok(connection.clone());
            }
            match &state.dial {
                Some(dial) => dial.clone(),
                None => {
                    let (done, dial) = watch::channel(None);
                    state.dial = Some(dial.clone());
                    let shared = self.0.clone();
                    tokio::spawn(async move {
                        let dialed = shared.dial().await.map(Arc::new);
                        let mut state = shared.lock();
                        match &dialed {
                            Ok(connection) => {
                                state.connection = Some((connection.clone(), Instant::now()));
                                state.failed = None;
                            }
                            Err(why) => state.failed = Some(why.clone()),
                        }
                        state.dial = None;
                        done.send_replace(Some(dialed));
                    });
                    dial
                }
            }
        };
        let dialed = dial.wait_for(Option::is_some).await.map(|done| done.clone());
        dialed
            .ok()
            .flatten()
            .unwrap_or_else(|| Err(ConnectError::Failed { peer: self.0.peer, why: "the dial was cancelled".into() }))
    }

    async fn open(&self) -> Result<(SendStream, RecvStream), RequestError> {
        // Opening a stream sends nothing, so a connection found dead here may be replaced, once.
        for last in [false, true] {
            let connection = self.present().await.map_err(request_error)?;
            match timeout(OPEN_TIMEOUT, connection.open_bi()).await {
                Ok(Ok(streams)) => return Ok(streams),
                Ok(Err(ended)) => {
                    self.0.bury(&mut self.0.lock());
                    if let Some(reason) = refusal(&ended) {
                        return Err(request_error(ConnectError::Refused { peer: self.0.peer, reason }));
                    }
                    if last {
                        return Err(RequestError::from(ended));
                    }
                }
                Err(_) => {
                    let why = format!("it accepted no further request within {OPEN_TIMEOUT:?}");
                    return Err(request_error(ConnectError::Failed { peer: self.0.peer, why }));
                }
            }
        }
        Err(request_error(ConnectError::Failed { peer: self.0.peer, why: "no connection".into() }))
    }
}

impl RemoteConnection for Link {
    fn clone_boxed(&self) -> Box<dyn RemoteConnection> {
        Box::new(self.clone())
    }

    fn open_bi(&self) -> BoxFuture<Result<(SendStream, RecvStream), RequestError>> {
        // On a connection that lives and is not busy there is nothing to wait for.
        if let Some(connection) = self.at_hand()
            && let Some(Ok(streams)) = now_or_never(connection.open_bi())
        {
            return Box::pin(ready(Ok(streams)));
        }
        let this = self.clone();
        Box::pin(async move { this.open().await })
    }

    fn zero_rtt_rejected(&self) -> BoxFuture<bool> {
        Box::pin(ready(false))
    }
}

impl Shared {
    async fn dial(&self) -> Result<Connection, ConnectError> {
        dial(&self.endpoint, self.peer, self.alpn, self.connect_timeout).await
    }

    /// Takes out a connection that has ended, and remembers a refusal.
    fn bury(&self, state: &mut State) {
        let Some(ended) = state.connection.as_ref().and_then(|(c, _)| c.close_reason()) else { return };
        state.connection = None;
        state.failed = refusal(&ended).map(|reason| ConnectError::Refused { peer: self.peer, reason });
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All links of one endpoint.
#[derive(Debug)]
pub(crate) struct Links {
    endpoint: Endpoint,
    connect_timeout: Duration,
    links: Mutex<HashMap<(NodeId, &'static [u8]), Link>>,
}

impl Links {
    pub(crate) fn new(endpoint: Endpoint, connect_timeout: Duration) -> Self {
        Self { endpoint, connect_timeout, links: Mutex::default() }
    }

    pub(crate) fn get(&self, peer: NodeId, alpn: &'static [u8]) -> Link {
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(link) = links.get(&(peer, alpn)) {
            return link.clone();
        }
        if links.len() >= LINKS_MAX {
            // Those that nobody holds and that are not connected cost nothing to make again.
            links.retain(|_, link| Arc::strong_count(&link.0) > 1 || link.is_up());
        }
        if links.len() >= LINKS_MAX
            && let Some(idle) = links.iter().min_by_key(|(_, l)| l.0.lock().used).map(|(k, _)| *k)
        {
            links.remove(&idle);
        }
        let link = Link(Arc::new(Shared {
            endpoint: self.endpoint.clone(),
            peer,
            alpn,
            connect_timeout: self.connect_timeout,
            state: Mutex::default(),
        }));
        links.insert((peer, alpn), link.clone());
        link
    }

    /// Forgets the links to a peer. Their connections are closed by whoever asked for this.
    pub(crate) fn forget(&self, peer: NodeId) {
        self.links.lock().unwrap_or_else(PoisonError::into_inner).retain(|(id, _), _| *id != peer);
    }

    pub(crate) async fn fresh<S: irpc::Service>(
        &self,
        peer: NodeId,
        alpn: &'static [u8],
    ) -> Result<protocols::Client<S>, ConnectError> {
        let connection = dial(&self.endpoint, peer, alpn, self.connect_timeout).await?;
        Ok(protocols::Client::over(irpc_iroh::IrohRemoteConnection::new(connection)))
    }
}

async fn dial(endpoint: &Endpoint, peer: NodeId, alpn: &[u8], within: Duration) -> Result<Connection, ConnectError> {
    let id = endpoint_id(peer).ok_or(ConnectError::NotAKey(peer))?;
    match timeout(within, endpoint.connect(id, alpn)).await {
        Err(_) => Err(ConnectError::Timeout { peer, after: within }),
        Ok(Err(failed)) => Err(ConnectError::Failed { peer, why: format!("{failed:#}") }),
        Ok(Ok(connection)) => Ok(connection),
    }
}

fn request_error(why: ConnectError) -> RequestError {
    RequestError::from(n0_error::AnyError::from_std(why))
}

/// How long a request waits for a peer that is busy with as many as it allows.
const OPEN_TIMEOUT: Duration = Duration::from_secs(30);
/// Links that are kept.
const LINKS_MAX: usize = 4096;
