//! Artifacts for plays: from whichever node has them, other agents first.

use std::error::Error;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use protocols::control::{Provide, Providers};
use protocols::entry::Role;
use protocols::{BlobRef, FleetState, NodeId};
use scores::{ArtifactError, Artifacts, BoxFuture};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::sync::ANSWER_DEADLINE;
use crate::uplink::{Uplink, UplinkError};

/// How many other agents are asked before a coordinator.
const PEERS_MAX: usize = 4;

/// Fetches blobs for plays.
pub struct Fetcher {
    uplink: Arc<dyn Uplink>,
    known: OnceLock<Known>,
}

struct Known {
    state: watch::Receiver<Option<Arc<FleetState>>>,
    coordinator: watch::Receiver<Option<NodeId>>,
}

impl std::fmt::Debug for Fetcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fetcher").finish_non_exhaustive()
    }
}

impl Fetcher {
    /// A fetcher over this network. It is made before the agent, because topologies hold it and the agent holds them.
    pub fn new(uplink: Arc<dyn Uplink>) -> Arc<Self> {
        Arc::new(Self { uplink, known: OnceLock::new() })
    }

    pub(crate) fn learn_state(
        &self,
        state: watch::Receiver<Option<Arc<FleetState>>>,
        coordinator: watch::Receiver<Option<NodeId>>,
    ) {
        // A fetcher serves one agent; the first stays.
        let _second = self.known.set(Known { state, coordinator });
    }

    async fn providers(&self, blob: &BlobRef) -> Vec<NodeId> {
        let Some(known) = self.known.get() else { return Vec::new() };
        let mut from = Vec::new();
        let connected = *known.coordinator.borrow();
        if let Some(coordinator) = connected {
            let client = self.uplink.control(coordinator);
            if let Ok(Ok(Ok(peers))) = timeout(ANSWER_DEADLINE, client.rpc(Providers(blob.hash))).await {
                for peer in peers.into_iter().take(PEERS_MAX) {
                    from.push(peer.id);
                    self.uplink.learn(peer);
                }
            }
            from.push(coordinator);
        }
        let state = known.state.borrow().clone();
        for (id, _) in state.iter().flat_map(|s| s.with_role(Role::Coordinator)) {
            if !from.contains(&id) {
                from.push(id);
            }
        }
        from
    }

    async fn fetch_blob(&self, blob: &BlobRef) -> Result<PathBuf, UplinkError> {
        let from = self.providers(blob).await;
        let path = self.uplink.fetch(blob, from).await?;
        let connected = self.known.get().and_then(|k| *k.coordinator.borrow());
        if let Some(coordinator) = connected {
            // Only a hint for others: it may get lost.
            let have = Provide { have: vec![blob.hash], gone: Vec::new() };
            let _lost = timeout(ANSWER_DEADLINE, self.uplink.control(coordinator).rpc(have)).await;
        }
        Ok(path)
    }
}

impl Artifacts for Fetcher {
    fn fetch<'a>(&'a self, blob: &'a BlobRef) -> BoxFuture<'a, Result<PathBuf, ArtifactError>> {
        Box::pin(async move {
            self.fetch_blob(blob).await.map_err(|error| {
                let transient = error.transient;
                let source: Box<dyn Error + Send + Sync> = Box::new(error);
                ArtifactError { blob: *blob, transient, source }
            })
        })
    }
}
