//! The capability that `nixos/1` asks of a topology, and how the score is played with it.

use super::{NixosScore, NixosStep, Observed};
use crate::{DeviceError, Interpret, Resume, Stage, Topology, Trial};

/// A machine whose system can be replaced as a whole, on probation.
///
/// Every method may be asked again after a crash in it, by a process that has seen nothing of the first time; what it
/// needs to know it finds in [`Trial::dir`].
pub trait NixosSystem: Topology {
    /// What runs, what boots, and whether the declared system is there and could be switched to.
    fn observe(&self, score: &NixosScore) -> impl Future<Output = Result<Observed, DeviceError>> + Send;

    /// Records what to go back to.
    fn begin(&self, score: &NixosScore, trial: &Trial) -> impl Future<Output = Result<(), DeviceError>> + Send;

    /// Brings the closure into the store, through the store's own signature check, and roots it.
    fn stage(
        &self,
        score: &NixosScore,
        trial: &Trial,
        stage: &dyn Stage,
    ) -> impl Future<Output = Result<(), DeviceError>> + Send;

    /// Switches the running system, detached from this process, with a way back armed outside it. A system that can only
    /// be booted is left alone, and the next observation says why.
    fn activate(
        &self,
        score: &NixosScore,
        trial: &Trial,
        stage: &dyn Stage,
    ) -> impl Future<Output = Result<(), DeviceError>> + Send;

    /// Disarms the way back, sets the profile and writes the boot entry.
    fn make_default(&self, score: &NixosScore, trial: &Trial) -> impl Future<Output = Result<(), DeviceError>> + Send;

    /// Remembers the system as the one to go back to.
    fn confirm(&self, score: &NixosScore, trial: &Trial) -> impl Future<Output = Result<(), DeviceError>> + Send;

    /// Goes back to what ran and what booted, and makes sure of it.
    fn revert(&self, score: &NixosScore, trial: &Trial) -> impl Future<Output = Result<(), DeviceError>> + Send;

    /// Finds out how far a trial came whose process is gone; waits for a switch that is still going on.
    fn resume(&self, score: &NixosScore, trial: &Trial) -> impl Future<Output = Result<Resume, DeviceError>> + Send;

    /// Whether the machine, or an agent that found the switch failed, has gone back already, and why.
    fn taken_back(&self, score: &NixosScore, trial: &Trial) -> impl Future<Output = Option<DeviceError>> + Send;
}

impl<T: NixosSystem> Interpret<T> for NixosScore {
    async fn observe(&self, on: &T) -> Result<Observed, DeviceError> {
        on.observe(self).await
    }

    async fn apply(&self, on: &T, step: &NixosStep, trial: &Trial, stage: &dyn Stage) -> Result<(), DeviceError> {
        match step {
            NixosStep::Stage { .. } => on.stage(self, trial, stage).await,
            NixosStep::Activate { .. } => on.activate(self, trial, stage).await,
            NixosStep::MakeDefault { .. } => on.make_default(self, trial).await,
        }
    }

    async fn begin(&self, on: &T, trial: &Trial, _steps: &[NixosStep]) -> Result<(), DeviceError> {
        on.begin(self, trial).await
    }

    async fn confirm(&self, on: &T, trial: &Trial) -> Result<(), DeviceError> {
        on.confirm(self, trial).await
    }

    async fn revert(&self, on: &T, trial: &Trial) -> Result<(), DeviceError> {
        on.revert(self, trial).await
    }

    async fn resume(&self, on: &T, trial: &Trial) -> Result<Resume, DeviceError> {
        on.resume(self, trial).await
    }

    async fn taken_back(&self, on: &T, trial: &Trial) -> Option<DeviceError> {
        on.taken_back(self, trial).await
    }
}
