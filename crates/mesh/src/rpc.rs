//! Typed requests over the mesh: a server that survives bad peers, a client that survives bad links.
//!
//! The wire format is irpc's: one bidirectional stream per request, which starts with the length of
//! the request and the request in postcard. The version of a protocol is in its ALPN.
//!
//! A handler that panics ends its stream. The caller of a single-answer request gets an error; the
//! reader of a streamed answer sees its end, so streams must end with a last item that says so.

mod client;
mod serve;

use std::time::Duration;

use protocols::NodeId;

pub(crate) use client::Links;
pub(crate) use serve::Server;

pub use client::{ConnectError, Link, LinkState};

use std::sync::Arc;

/// Answers the requests of one protocol.
pub trait Serve<S: irpc::rpc::RemoteService>: Send + Sync + 'static {
    /// Handles one request. `caller` is proven by the connection. Requests run side by side; what
    /// the handler has not answered when it returns, the caller sees as failed.
    fn handle(self: Arc<Self>, caller: NodeId, message: S::Message) -> impl Future<Output = ()> + Send;
}

/// What one peer may take from one service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RpcLimits {
    /// Largest request, in bytes. What follows it on the stream is irpc's to bound (16 MiB an item).
    pub request_bytes: usize,
    /// Time for a request to arrive, from the opening of its stream.
    pub read_timeout: Duration,
    /// Requests in progress on one connection; more wait in the peer.
    pub concurrent: u32,
    /// Connections of one peer; a newer one takes the place of the oldest.
    pub connections: usize,
}

impl Default for RpcLimits {
    fn default() -> Self {
        Self { request_bytes: 1 << 20, read_timeout: Duration::from_secs(5), concurrent: 64, connections: 4 }
    }
}
