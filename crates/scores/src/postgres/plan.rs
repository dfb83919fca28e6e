//! The capability that `postgres/1` asks of a topology, and how the score is played with it.

use super::PostgresScore;
use crate::failover::FailoverScore as _;
use crate::service::{KeepStep, KeepsWorkloads, Kept, plan_keep};
use crate::{DeviceError, Interpret, Plan, Stage, Topology, Trial};

/// A topology that runs PostgreSQL clusters with one writable node.
pub trait PostgreSql: Topology {
    /// What is kept of this cluster.
    fn kept(&self, score: &PostgresScore) -> impl Future<Output = Result<Kept, DeviceError>> + Send;

    /// Waits until the cluster is kept as declared.
    fn keep(&self, score: &PostgresScore, payload: &str) -> impl Future<Output = Result<(), DeviceError>> + Send;
}

/// Every topology that keeps workloads with one writer keeps PostgreSQL clusters: what drives them is told how to open
/// one, and everything else is the same for each kind.
impl<T: KeepsWorkloads> PostgreSql for T {
    async fn kept(&self, score: &PostgresScore) -> Result<Kept, DeviceError> {
        KeepsWorkloads::kept(self, &score.cluster()).await
    }

    async fn keep(&self, score: &PostgresScore, payload: &str) -> Result<(), DeviceError> {
        KeepsWorkloads::keep(self, &score.cluster(), payload).await
    }
}

impl Plan for PostgresScore {
    type Observed = Kept;
    type Step = KeepStep;

    fn plan(&self, observed: &Kept) -> Vec<KeepStep> {
        let driven = observed.payload.as_deref().and_then(|payload| serde_json::from_str::<Self>(payload).ok());
        plan_keep(self.cluster(), driven.as_ref() == Some(self), observed)
    }
}

impl<T: PostgreSql> Interpret<T> for PostgresScore {
    async fn observe(&self, on: &T) -> Result<Kept, DeviceError> {
        on.kept(self).await
    }

    async fn apply(&self, on: &T, _step: &KeepStep, _trial: &Trial, _stage: &dyn Stage) -> Result<(), DeviceError> {
        let payload = serde_json::to_string(self);
        let payload = payload.map_err(|error| DeviceError::permanent("write the score").because(error))?;
        on.keep(self, &payload).await
    }

    async fn revert(&self, _on: &T, _trial: &Trial) -> Result<(), DeviceError> {
        // What is driven is what the ledger says.
        Ok(())
    }
}
