//! Artifacts that a declaration in force needs and that are with others only: fetched, so that this coordinator can give
//! them when the others are gone.

use std::time::Duration;

use protocols::entry::Role;
use protocols::{BlobRef, NodeId};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::coordinator::{Coordinator, lock};

/// How long the fetching of one blob may take.
const FETCH_DEADLINE: Duration = Duration::from_secs(600);
/// How long after a failure it is tried again.
const TRY_AGAIN: Duration = Duration::from_secs(60);
/// How long after a change it is begun: the one that brought it comes with more.
const SETTLE: Duration = Duration::from_secs(1);
/// How many holders are asked for one blob.
const HOLDERS_ASKED: usize = 4;

impl Coordinator {
    /// Fetches what is missing after every change, until `stop`.
    pub(crate) async fn mirror_loop(&self, stop: CancellationToken) {
        let mut states = self.order.watch();
        let mut before = None;
        loop {
            let newest = states.borrow_and_update().declarations().values().map(|d| d.generation).max();
            let again = if newest == before || self.mirror().await {
                before = newest;
                None
            } else {
                Some(TRY_AGAIN)
            };
            tokio::select! {
                () = stop.cancelled() => return,
                changed = states.changed() => if changed.is_err() { return },
                () = pause(again) => {}
            }
            tokio::time::sleep(SETTLE).await;
        }
    }

    /// Fetches all that is missing; whether all of it is here.
    async fn mirror(&self) -> bool {
        let state = self.state();
        let fellows: Vec<NodeId> =
            state.with_role(Role::Coordinator).map(|(id, _)| id).filter(|id| *id != self.id()).collect();
        let mut complete = true;
        for declaration in state.declarations().values() {
            // What a blob names is known once it is here.
            for blob in &declaration.artifacts {
                complete &= self.obtain(blob, &fellows).await;
            }
            for blob in self.needs(declaration).await {
                complete &= self.obtain(&blob, &fellows).await;
            }
        }
        if complete {
            self.keep_blobs().await;
        }
        complete
    }

    async fn obtain(&self, blob: &BlobRef, fellows: &[NodeId]) -> bool {
        if self.wire.has(blob).await {
            return true;
        }
        let holders: Vec<NodeId> = lock(&self.gallery).holders(blob.hash).take(HOLDERS_ASKED).collect();
        for from in fellows.iter().copied().chain(holders) {
            match timeout(FETCH_DEADLINE, self.wire.fetch(blob, from)).await {
                Ok(Ok(_)) => {
                    tracing::info!(bytes = blob.size, blob = %blob.hash, from = %from.short(), "an artifact was fetched");
                    return true;
                }
                Ok(Err(error)) => tracing::debug!(%error, blob = %blob.hash, from = %from.short(), "not from there"),
                Err(_) => tracing::debug!(blob = %blob.hash, from = %from.short(), "not from there in time"),
            }
        }
        false
    }
}

async fn pause(span: Option<Duration>) {
    match span {
        Some(span) => tokio::time::sleep(span).await,
        None => std::future::pending().await,
    }
}
