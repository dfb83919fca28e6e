//! What the agent needs of the network. The binary puts the mesh behind it.

use std::path::PathBuf;
use std::pin::Pin;

use bytes::Bytes;
use protocols::control::Control;
use protocols::enroll::Enrollment;
use protocols::node::Node;
use protocols::{BlobRef, NodeId, PeerAddr};

/// A boxed future, so that [`Uplink`] can be a trait object.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Why the network did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct UplinkError {
    /// What happened.
    pub why: String,
    /// Whether trying again later may help.
    pub transient: bool,
}

/// The network, as the agent sees it.
pub trait Uplink: Send + Sync + 'static {
    /// A client of a coordinator; it connects by itself, when it is used.
    fn control(&self, coordinator: NodeId) -> protocols::Client<Control>;
    /// A client over a connection made now.
    fn fresh_control(&self, coordinator: NodeId) -> BoxFuture<'_, Result<protocols::Client<Control>, UplinkError>>;
    /// A client of a coordinator's enrolment.
    fn enrollment(&self, coordinator: NodeId) -> protocols::Client<Enrollment>;
    /// A client of another agent.
    fn node(&self, agent: NodeId) -> protocols::Client<Node>;
    /// Says something to the neighbours in the gossip of heads, as far as that goes.
    fn tell(&self, message: Bytes);
    /// Looks for neighbours in the gossip of heads among these.
    fn mingle(&self, agents: Vec<NodeId>);
    /// Throws a connection away that is found dead.
    fn reset(&self, coordinator: NodeId);
    /// Remembers where a node is.
    fn learn(&self, addr: PeerAddr);
    /// Where this node can be reached.
    fn addr(&self) -> PeerAddr;
    /// Asks again who may be connected, and cuts off who may not.
    fn recheck(&self);
    /// This node's document, if documents are switched on.
    fn document(&self) -> Option<[u8; 32]>;
    /// Writes into this node's document, as far as that goes: documents are the fast path, never the guarantee.
    fn publish(&self, key: String, value: Bytes);
    /// Begins to follow a coordinator's document; what arrives goes to [`Agent::ingest`](crate::Agent::ingest).
    fn follow(&self, document: [u8; 32], coordinator: NodeId);
    /// Fetches a blob from the first of these nodes that gives it, verified, into a file.
    fn fetch<'a>(&'a self, blob: &'a BlobRef, from: Vec<NodeId>) -> BoxFuture<'a, Result<PathBuf, UplinkError>>;
    /// A play has ended: files handed out by [`fetch`](Self::fetch) are not needed any more.
    fn play_ended(&self) -> BoxFuture<'_, ()>;
}
