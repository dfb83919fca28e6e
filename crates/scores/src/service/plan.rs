//! How a workload with one writer is played: the drivers of the node follow the ledger; the play waits until they do.

use std::fmt;

use failover::ClusterName;
use serde::Serialize;

use super::ServiceScore;
use crate::failover::FailoverScore as _;
use crate::{DeviceError, Interpret, Plan, Stage, Topology, Trial};

/// A topology on which workloads with one writer are driven. Its drivers follow the ledger by themselves, so that
/// thresholds change without a restart; a play only waits for them.
pub trait KeepsWorkloads: Topology {
    /// What is driven here under this name.
    fn kept(&self, cluster: &ClusterName) -> impl Future<Output = Result<Kept, DeviceError>> + Send;

    /// Waits until this payload is driven here.
    fn keep(&self, cluster: &ClusterName, payload: &str) -> impl Future<Output = Result<(), DeviceError>> + Send;
}

/// What is driven under a name.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Kept {
    /// The score that is driven, as it was signed.
    pub payload: Option<String>,
}

/// A change of what is driven.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KeepStep {
    /// The cluster.
    pub cluster: ClusterName,
    /// Whether something else is driven under that name already.
    pub change: bool,
}

impl fmt::Display for KeepStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = if self.change { "change how the one writer is kept of" } else { "keep one writer of" };
        write!(f, "{what} {}", self.cluster)
    }
}

/// The steps that lead to a score being driven, for every kind of score with one writer.
pub fn plan_keep(cluster: ClusterName, same: bool, kept: &Kept) -> Vec<KeepStep> {
    if same { Vec::new() } else { vec![KeepStep { cluster, change: kept.payload.is_some() }] }
}

impl Plan for ServiceScore {
    type Observed = Kept;
    type Step = KeepStep;

    fn plan(&self, observed: &Kept) -> Vec<KeepStep> {
        let driven = observed.payload.as_deref().and_then(|payload| serde_json::from_str::<Self>(payload).ok());
        plan_keep(self.cluster(), driven.as_ref() == Some(self), observed)
    }
}

impl<T: KeepsWorkloads> Interpret<T> for ServiceScore {
    async fn observe(&self, on: &T) -> Result<Kept, DeviceError> {
        on.kept(&self.cluster()).await
    }

    async fn apply(&self, on: &T, step: &KeepStep, _trial: &Trial, _stage: &dyn Stage) -> Result<(), DeviceError> {
        let payload = serde_json::to_string(self);
        let payload = payload.map_err(|error| DeviceError::permanent("write the score").because(error))?;
        on.keep(&step.cluster, &payload).await
    }

    async fn revert(&self, _on: &T, _trial: &Trial) -> Result<(), DeviceError> {
        // What is driven is what the ledger says.
        Ok(())
    }
}
