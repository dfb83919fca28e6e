//! The topology on which scores with one writer are played: whatever is declared is driven, or it is said why not.

use std::collections::BTreeMap;
use std::time::Duration;

use failover::ClusterName;
use scores::service::{KeepsWorkloads, Kept};
use scores::{DeviceError, Topology};
use tokio::sync::watch;
use tokio::time::timeout;

/// What is driven here under a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct State {
    pub(super) payload: String,
    pub(super) why_not: Option<String>,
}

/// This node's drivers, as scores see them.
#[derive(Debug, Clone)]
pub struct KeptHere {
    kept: watch::Receiver<BTreeMap<ClusterName, State>>,
}

impl KeptHere {
    /// For a look from a process that drives nothing and cannot see what does.
    pub fn unseen() -> Self {
        Self { kept: watch::channel(BTreeMap::new()).1 }
    }

    pub(super) const fn new(kept: watch::Receiver<BTreeMap<ClusterName, State>>) -> Self {
        Self { kept }
    }
}

impl Topology for KeptHere {
    fn name(&self) -> &str {
        "failover"
    }
}

impl KeepsWorkloads for KeptHere {
    async fn kept(&self, cluster: &ClusterName) -> Result<Kept, DeviceError> {
        let kept = self.kept.borrow();
        let driven = kept.get(cluster).filter(|state| state.why_not.is_none());
        Ok(Kept { payload: driven.map(|state| state.payload.clone()) })
    }

    async fn keep(&self, cluster: &ClusterName, payload: &str) -> Result<(), DeviceError> {
        let mut kept = self.kept.clone();
        // Two writings of one score are the same score.
        let wanted: Option<serde_json::Value> = serde_json::from_str(payload).ok();
        let same = |state: &State| serde_json::from_str(&state.payload).ok() == wanted;
        let driven = kept.wait_for(|all| all.get(cluster).is_some_and(|s| same(s) && s.why_not.is_none()));
        if matches!(timeout(PATIENCE, driven).await, Ok(Ok(_))) {
            return Ok(());
        }
        let why = self.kept.borrow().get(cluster).and_then(|state| state.why_not.clone());
        let why = why.unwrap_or_else(|| "another declaration of the same cluster is newer".into());
        Err(DeviceError::transient(format!("keep one writer of {cluster}: {why}")))
    }
}

/// How long a driver may take to begin.
const PATIENCE: Duration = Duration::from_secs(30);
