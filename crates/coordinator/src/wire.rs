//! What the coordinator needs of the network. The binary puts the mesh behind it.

use std::pin::Pin;

use bytes::Bytes;
use protocols::control::Control;
use protocols::node::Node;
use protocols::ticket::RelayPin;
use protocols::{BlobRef, NodeId, PeerAddr};

/// A boxed future, so that [`Wire`] can be a trait object.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Why the network or the blob store did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct WireError(pub String);

/// The network, as the coordinator sees it.
pub trait Wire: Send + Sync + 'static {
    /// Where this coordinator can be reached: what tickets say.
    fn addr(&self) -> PeerAddr;
    /// Its relay, with the certificate to expect.
    fn relays(&self) -> Vec<RelayPin>;
    /// Remembers where a node is.
    fn learn(&self, addr: PeerAddr);
    /// A client of another coordinator; it connects by itself, when it is used.
    fn control(&self, coordinator: NodeId) -> protocols::Client<Control>;
    /// A client of an agent.
    fn node(&self, node: NodeId) -> protocols::Client<Node>;
    /// Makes sure that there is a connection with another coordinator.
    fn reach(&self, coordinator: NodeId) -> BoxFuture<'_, Result<(), WireError>>;
    /// Throws a connection with another coordinator away that is found dead.
    fn reset(&self, coordinator: NodeId);
    /// Asks again who may be connected, and cuts off who may not.
    fn recheck(&self);
    /// Whether a blob is here, whole.
    fn has<'a>(&'a self, blob: &'a BlobRef) -> BoxFuture<'a, bool>;
    /// Fetches a blob from a node.
    fn fetch<'a>(&'a self, blob: &'a BlobRef, from: NodeId) -> BoxFuture<'a, Result<u64, WireError>>;
    /// Reads a small blob, of at most `max` bytes.
    fn read<'a>(&'a self, blob: &'a BlobRef, max: usize) -> BoxFuture<'a, Result<Bytes, WireError>>;
    /// Keeps a blob under a name.
    fn pin<'a>(&'a self, name: String, blob: &'a BlobRef) -> BoxFuture<'a, Result<(), WireError>>;
    /// No longer keeps what has this name.
    fn unpin(&self, name: String) -> BoxFuture<'_, Result<(), WireError>>;
    /// The names in use and what they keep.
    fn pins(&self) -> BoxFuture<'_, Result<Vec<(String, protocols::BlobHash)>, WireError>>;
    /// This coordinator's document, if documents are switched on.
    fn document(&self) -> Option<[u8; 32]>;
    /// Writes into this coordinator's document, as far as that goes: documents are the fast path, never the guarantee.
    fn publish(&self, key: String, value: Bytes);
    /// Begins to follow an agent's document; what arrives goes to [`Coordinator::ingest`](crate::Coordinator::ingest).
    /// If it is followed already, the writer is asked for news now.
    fn follow(&self, document: [u8; 32], writer: PeerAddr);
    /// Stops following it.
    fn unfollow(&self, document: [u8; 32]);
}
