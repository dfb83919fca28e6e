//! What an earlier process drove, and is not declared any more: it is ended, and the coordinators are told.

use std::sync::Arc;

use scores::failover::{Cluster, Declared};
use tokio_util::sync::CancellationToken;

use super::store::Folder;
use super::{Carrier, Drivers, lock};

impl Drivers {
    /// Looks once for what was left, by what the folders remember.
    pub(super) async fn sweep(&self, carrier: &Arc<dyn Carrier>, declared: &Declared) {
        for cluster in Folder::left(&self.options.folder) {
            let name = cluster.name.clone();
            if declared.clusters.contains_key(&name) || declared.unclear.contains_key(&name) {
                continue;
            }
            if let Err(why) = self.end_left(carrier, cluster).await {
                tracing::error!(cluster = %name, why, "what was withdrawn while no agent ran cannot be ended");
            }
        }
    }

    async fn end_left(&self, carrier: &Arc<dyn Carrier>, cluster: Cluster) -> Result<(), String> {
        let name = cluster.name.clone();
        tracing::info!(cluster = %name, "withdrawn while no agent ran: it is ended");
        let withdrawn = CancellationToken::new();
        withdrawn.cancel();
        let running = self.begin(carrier, Arc::new(cluster), withdrawn).await?;
        running.stop.cancel();
        lock(&self.ending).insert(name, running.task);
        Ok(())
    }
}
