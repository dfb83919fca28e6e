//! How a score is played on a topology: observed, applied step by step, and made permanent or undone.

use std::path::PathBuf;

use protocols::Subject;

use crate::{DeviceError, Plan, Stage, Topology};

/// The effects of a score on a topology that has the capability it asks for.
///
/// The life of a change is a *trial*. Before the first step, [`begin`](Self::begin) records durably what it takes to
/// undo it. Then come the steps, then the checks of the policy, then the steps [after the checks](Plan::after_checks),
/// then [`confirm`](Self::confirm). Whatever fails before that leads to [`revert`](Self::revert), and so does a crash:
/// the next process finds the trial open and asks [`resume`](Self::resume) what is to become of it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be played on `{T}`",
    label = "nothing plays it there",
    note = "a topology that is made of others plays what its members play: they lack the capability that the score asks for"
)]
pub trait Interpret<T: Topology>: Plan {
    /// Looks at what is there.
    fn observe(&self, on: &T) -> impl Future<Output = Result<Self::Observed, DeviceError>> + Send;

    /// Takes one step. It may be taken a second time after an interruption and must then end in the same state.
    ///
    /// `stage` is for progress within a long step, and for heeding a cancellation.
    fn apply(
        &self,
        on: &T,
        step: &Self::Step,
        trial: &Trial,
        stage: &dyn Stage,
    ) -> impl Future<Output = Result<(), DeviceError>> + Send;

    /// Records durably, in [`Trial::dir`], what it takes to undo these steps. Nothing may have changed before it returns.
    fn begin(
        &self,
        _on: &T,
        _trial: &Trial,
        _steps: &[Self::Step],
    ) -> impl Future<Output = Result<(), DeviceError>> + Send {
        async { Ok(()) }
    }

    /// Ends the trial with the change in force. Asked again after a crash in it. [`Trial::dir`] is removed afterwards.
    fn confirm(&self, _on: &T, _trial: &Trial) -> impl Future<Output = Result<(), DeviceError>> + Send {
        async { Ok(()) }
    }

    /// Undoes the steps, from the durable record alone, in a process that may have seen nothing of them.
    ///
    /// Idempotent; also asked when [`begin`](Self::begin) did not get to its end. Returns `Ok` only when it has made
    /// sure that the state of before is there again.
    fn revert(&self, on: &T, trial: &Trial) -> impl Future<Output = Result<(), DeviceError>> + Send;

    /// What is to become of a trial that a former process left open before its checks had passed.
    fn resume(&self, _on: &T, _trial: &Trial) -> impl Future<Output = Result<Resume, DeviceError>> + Send {
        async { Ok(Resume::Revert) }
    }

    /// Whether the topology took the change back by itself, and why: asked when it is not there, although every step of
    /// it was taken.
    fn taken_back(&self, _on: &T, _trial: &Trial) -> impl Future<Output = Option<DeviceError>> + Send {
        async { None }
    }
}

/// What becomes of a trial that was left open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resume {
    /// It is undone, and played again from the start.
    Revert,
    /// Its steps are done: it goes on with the checks.
    Judge,
}

/// One change on probation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trial {
    /// What it changes.
    pub subject: Subject,
    /// The publication that it plays.
    pub generation: u64,
    /// A private folder (mode 0700) for the record of this trial. It exists, it is empty when the trial begins, and it
    /// is removed when the trial has ended.
    pub dir: PathBuf,
}
