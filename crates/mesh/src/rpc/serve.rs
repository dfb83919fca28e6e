//! The server's side: one task per stream, so that what a stream does concerns no other.

use std::collections::{HashMap, VecDeque};
use std::marker::PhantomData;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};

use iroh::endpoint::{Connection, RecvStream, SendStream};
use iroh::protocol::{AcceptError, ProtocolHandler};
use irpc::rpc::RemoteService;
use irpc::span_propagation::{SpanContextCarrier, scope_remote};
use irpc::util::AsyncReadVarintExt;
use n0_future::future::now_or_never;
use protocols::NodeId;
use tokio::io::AsyncReadExt;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::{RpcLimits, Serve};
use crate::net::node_id;

/// Serves one protocol.
pub(crate) struct Server<S, H> {
    alpn: &'static [u8],
    limits: RpcLimits,
    handler: Arc<H>,
    /// Connections per peer, oldest first.
    peers: Mutex<HashMap<NodeId, VecDeque<Connection>>>,
    service: PhantomData<fn() -> S>,
}

impl<S: RemoteService, H: Serve<S>> Server<S, H> {
    pub(crate) fn new(alpn: &'static [u8], limits: RpcLimits, handler: Arc<H>) -> Self {
        Self { alpn, limits, handler, peers: Mutex::default(), service: PhantomData }
    }

    async fn serve(&self, connection: &Connection) {
        let caller = node_id(connection.remote_id());
        connection.set_max_concurrent_bi_streams(self.limits.concurrent.into());
        // The stream limit counts streams; a handler may go on after its streams have ended.
        let permits = Arc::new(Semaphore::new(self.limits.concurrent as usize));
        let mut requests = JoinSet::new();
        loop {
            // Reaped here and not when they end: that would wake this task once more for each request.
            while requests.try_join_next().is_some() {}
            let Ok(permit) = permits.clone().acquire_owned().await else { return };
            let (send, recv) = match connection.accept_bi().await {
                Ok(stream) => stream,
                Err(ended) => {
                    tracing::debug!(%caller, %ended, "rpc connection ended");
                    break;
                }
            };
            let (handler, limits, noted) = (self.handler.clone(), self.limits, Noted { caller, alpn: self.alpn });
            requests.spawn(async move {
                let _noted = noted;
                request::<S, H>(handler, limits, caller, send, recv).await;
                drop(permit);
            });
        }
        // What is being done for a peer that went away is finished, not torn: only its answer is lost.
        while requests.join_next().await.is_some() {}
    }

    /// Registers a connection; the oldest of a peer that has too many is closed.
    fn enter(&self, connection: &Connection) {
        let peer = node_id(connection.remote_id());
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        let mine = peers.entry(peer).or_default();
        mine.push_back(connection.clone());
        while mine.len() > self.limits.connections.max(1) {
            if let Some(oldest) = mine.pop_front() {
                oldest.close(CLOSE_REPLACED.into(), b"replaced by a newer connection");
            }
        }
    }

    fn leave(&self, connection: &Connection) {
        let peer = node_id(connection.remote_id());
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(mine) = peers.get_mut(&peer) {
            mine.retain(|c| c.stable_id() != connection.stable_id());
            if mine.is_empty() {
                peers.remove(&peer);
            }
        }
    }
}

impl<S, H> std::fmt::Debug for Server<S, H> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("alpn", &String::from_utf8_lossy(self.alpn)).finish_non_exhaustive()
    }
}

impl<S: RemoteService, H: Serve<S>> ProtocolHandler for Server<S, H> {
    async fn accept(&self, connection: Connection) -> Result<(), AcceptError> {
        self.enter(&connection);
        // Leaves also when the future is dropped.
        let _left = Leave(self, &connection);
        self.serve(&connection).await;
        Ok(())
    }
}

struct Leave<'a, S: RemoteService, H: Serve<S>>(&'a Server<S, H>, &'a Connection);

impl<S: RemoteService, H: Serve<S>> Drop for Leave<'_, S, H> {
    fn drop(&mut self) {
        self.0.leave(self.1);
    }
}

/// Says so when the handler of a request panics. The panic ends its task and nothing else.
struct Noted {
    caller: NodeId,
    alpn: &'static [u8],
}

impl Drop for Noted {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let alpn = String::from_utf8_lossy(self.alpn);
            tracing::error!(caller = %self.caller, %alpn, "a request handler panicked");
        }
    }
}

/// Reads one request and has it handled.
async fn request<S: RemoteService, H: Serve<S>>(
    handler: Arc<H>,
    limits: RpcLimits,
    caller: NodeId,
    mut send: SendStream,
    mut recv: RecvStream,
) {
    let read = {
        let mut reading = pin!(read::<S>(&mut recv, limits.request_bytes));
        // Most requests have arrived when their stream is accepted: no timer for those.
        match now_or_never(reading.as_mut()) {
            Some(read) => Ok(read),
            None => tokio::time::timeout(limits.read_timeout, reading).await,
        }
    };
    match read {
        Ok(Ok((carrier, request))) => {
            let message = scope_remote(carrier, async { request.with_remote_channels(recv, send) }).await;
            handler.handle(caller, message).await;
        }
        bad => {
            let why = match bad {
                Ok(Err(why)) => why,
                _ => Bad::Slow,
            };
            tracing::debug!(%caller, ?why, "bad request");
            // Both fail only if the peer has already ended the stream.
            let _ended = send.reset(why.code().into());
            let _ended = recv.stop(why.code().into());
        }
    }
}

async fn read<S: RemoteService>(recv: &mut RecvStream, max: usize) -> Result<(Option<SpanContextCarrier>, S), Bad> {
    let announced = recv.read_varint_u64().await.map_err(|_| Bad::Garbage)?.ok_or(Bad::Garbage)?;
    let size = usize::try_from(announced).ok().filter(|size| *size <= max).ok_or(Bad::TooLarge)?;
    if size == 0 {
        return Err(Bad::Garbage);
    }
    let first = recv.read_chunk(size).await.map_err(|_| Bad::Garbage)?.ok_or(Bad::Garbage)?;
    // Most requests arrive in one packet and are decoded from where they lie.
    let request = if first.len() == size {
        decode(&first)?
    } else {
        // Memory follows what has arrived, not what was announced. What follows a request on its stream is the
        // handler's, so no more than the request is taken.
        let mut request = Vec::with_capacity(size.min(READ_STEP));
        request.extend_from_slice(&first);
        let mut rest = recv.take((size - first.len()) as u64);
        while request.len() < size {
            if rest.read_buf(&mut request).await.map_err(|_| Bad::Garbage)? == 0 {
                return Err(Bad::Garbage);
            }
        }
        decode(&request)?
    };
    // A stream whose end was not seen is stopped when it is dropped, which costs both sides a message.
    // The end mostly is there already; what else may be there is left for the handler.
    let _end = now_or_never(recv.read_chunk(0));
    Ok(request)
}

fn decode<S: RemoteService>(request: &[u8]) -> Result<(Option<SpanContextCarrier>, S), Bad> {
    if S::SPAN_PROPAGATION {
        postcard::from_bytes(request).map_err(|_| Bad::Garbage)
    } else {
        postcard::from_bytes(request).map(|request| (None, request)).map_err(|_| Bad::Garbage)
    }
}

/// What is wrong with a stream.
#[derive(Debug, Clone, Copy)]
enum Bad {
    Garbage,
    TooLarge,
    Slow,
}

impl Bad {
    const fn code(self) -> u32 {
        match self {
            Self::Garbage => 400,
            Self::Slow => 408,
            Self::TooLarge => 413,
        }
    }
}

/// Memory set aside for a request before any of it has arrived, in bytes.
const READ_STEP: usize = 64 * 1024;
/// Close code: the peer opened newer connections.
const CLOSE_REPLACED: u32 = 409;
