//! Where clients connect on each node: a listener that leads to the primary, and closes what leads to one that is none.
//!
//! Bytes are passed on as they are, TLS included. Who cannot be led anywhere is told so in PostgreSQL's own protocol.

mod refuse;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::copy_bidirectional_with_sizes;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

use refuse::{Refusal, refuse};

/// A listener that leads to the primary. Dropping it closes it, with all of its connections.
#[derive(Debug)]
pub struct Route {
    address: SocketAddr,
    target: watch::Sender<Option<SocketAddr>>,
    open: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

/// Why there is no listener.
#[derive(Debug, thiserror::Error)]
#[error("listen on {address} for clients of PostgreSQL")]
pub struct RouteError {
    address: SocketAddr,
    #[source]
    source: io::Error,
}

impl Route {
    /// Listens. It leads nowhere yet.
    ///
    /// # Errors
    /// When the address is taken or not this node's.
    pub async fn listen(address: SocketAddr) -> Result<Self, RouteError> {
        let listener = TcpListener::bind(address).await.map_err(|source| RouteError { address, source })?;
        let address = listener.local_addr().map_err(|source| RouteError { address, source })?;
        let (target, watched) = watch::channel(None);
        let open = Arc::new(AtomicUsize::new(0));
        let task = tokio::spawn(accept(listener, watched, Arc::clone(&open)));
        Ok(Self { address, target, open, task })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Leads to this primary from now on. Connections to another are closed at once.
    pub fn lead_to(&self, primary: SocketAddr) {
        self.target.send_if_modified(|now| now.replace(primary) != Some(primary));
    }

    /// Leads nowhere from now on. All connections are closed at once.
    pub fn close(&self) {
        self.target.send_if_modified(|now| now.take().is_some());
    }

    /// How many connections are led on.
    pub fn connections(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }
}

impl Drop for Route {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, target: watch::Receiver<Option<SocketAddr>>, open: Arc<AtomicUsize>) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let refusals = Arc::new(Semaphore::new(REFUSALS_MAX));
    // Owned by this task, so that they end with it.
    let mut connections = JoinSet::new();
    loop {
        let client = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((client, _)) => client,
                Err(_) => {
                    // Too many open files: waiting is all that helps.
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            },
            Some(_) = connections.join_next() => continue,
        };
        if let Ok(permit) = Arc::clone(&room).try_acquire_owned() {
            let (target, open, refusals) = (target.clone(), Arc::clone(&open), Arc::clone(&refusals));
            connections.spawn(async move {
                lead(client, target, &open, &refusals).await;
                drop(permit);
            });
        } else if let Ok(permit) = Arc::clone(&refusals).try_acquire_owned() {
            connections.spawn(async move {
                refuse(client, Refusal::Full).await;
                drop(permit);
            });
        }
        // Whoever comes beyond that is closed without a word.
    }
}

async fn lead(
    mut client: TcpStream,
    mut target: watch::Receiver<Option<SocketAddr>>,
    open: &AtomicUsize,
    refusals: &Arc<Semaphore>,
) {
    let primary = *target.borrow_and_update();
    let why = match primary {
        None => Refusal::NoPrimary,
        Some(primary) => {
            let connecting = tokio::select! {
                connected = timeout(CONNECT, TcpStream::connect(primary)) => connected.ok().and_then(Result::ok),
                _ = target.changed() => None,
            };
            match connecting {
                None => Refusal::Unreachable,
                Some(mut server) => {
                    // Small messages back and forth: waiting for more to send makes each of them slow.
                    let _best_effort = (client.set_nodelay(true), server.set_nodelay(true));
                    open.fetch_add(1, Ordering::Relaxed);
                    tokio::select! {
                        _ = copy_bidirectional_with_sizes(&mut client, &mut server, BUFFER_BYTES, BUFFER_BYTES) => {}
                        _ = target.changed() => {
                            // Not even what is on its way is delivered: it may be an acknowledgement that came too late.
                            let _best_effort = (client.set_zero_linger(), server.set_zero_linger());
                        }
                    }
                    open.fetch_sub(1, Ordering::Relaxed);
                    return;
                }
            }
        }
    };
    if let Ok(_permit) = refusals.try_acquire() {
        refuse(client, why).await;
    }
}

/// The most connections of clients.
const CONNECTIONS_MAX: usize = 1024;
/// The most clients that are being told that they cannot be led on.
const REFUSALS_MAX: usize = 64;
/// How long connecting to the primary may take.
const CONNECT: Duration = Duration::from_secs(3);
/// How long to wait when no connection can be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// What is read at once, in bytes each way.
const BUFFER_BYTES: usize = 16 * 1024;
