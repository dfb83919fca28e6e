//! A role's own document and those it follows: the fast path, which may fail at any time and be missed by nobody.

use bytes::Bytes;
use mesh::{Mesh, MeshBuilder};
use protocols::PeerAddr;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// What came by a document.
#[derive(Debug, Clone)]
pub(crate) struct Heard {
    /// Under which key.
    pub(crate) key: String,
    /// What.
    pub(crate) value: Bytes,
}

/// Documents, or nothing where they are switched off.
#[derive(Debug)]
pub(crate) struct Documents;

impl Documents {
    pub(crate) fn install(builder: MeshBuilder, _on: bool) -> (MeshBuilder, Self) {
        (builder, Self)
    }

    pub(crate) fn start(
        &self,
        _mesh: Mesh,
        _tasks: &TaskTracker,
        _stop: &CancellationToken,
        _heard: impl Fn(Heard) + Send + Sync + 'static,
    ) {
    }

    pub(crate) fn own(&self) -> Option<[u8; 32]> {
        None
    }

    pub(crate) fn publish(&self, _key: String, _value: Bytes) {}

    pub(crate) fn follow(&self, _document: [u8; 32], _from: PeerAddr) {}

    pub(crate) fn unfollow(&self, _document: [u8; 32]) {}
}
