//! The one driver of every score: ready, observe, plan, begin, apply, observe again, check, settle, confirm, or undo.

mod attempt;
mod undo;

use std::fmt;
use std::time::Duration;

use protocols::Verdict;

pub(crate) use attempt::{judge_and_settle, nap as attempt_nap};
pub(crate) use undo::{retreat, undo};

use crate::trials::{Record, Slot};
use crate::{Assignment, Cancel, CheckFailed, Checks, DeviceError, Interpret, Stage, Standing, Topology, TrialError};
use crate::{Trials, chain};

/// Everything that stands between a plan and its effect.
#[derive(Clone, Copy)]
pub struct Gate<'a> {
    /// What is being played: its policy bounds the play, its generation names the trial.
    pub assignment: &'a Assignment,
    /// Where the record of the trial is kept.
    pub trials: &'a Trials,
    /// Who runs the checks.
    pub checks: &'a dyn Checks,
    /// Who may stop it, and hears of its progress.
    pub stage: &'a dyn Stage,
    /// Whether to plan only.
    pub dry_run: bool,
}

impl fmt::Debug for Gate<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate").field("name", &self.assignment.name).field("dry_run", &self.dry_run).finish()
    }
}

/// How a play ended that did not fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Converged {
    /// A dry run: these steps would be taken.
    Planned {
        /// The steps, as they print.
        steps: Vec<String>,
    },
    /// As declared, the checks passed.
    Settled {
        /// The steps that were taken; none when it was so already.
        steps: Vec<String>,
        /// Whether it is in force.
        standing: Standing,
    },
}

/// Why a play failed, and how the node is now.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct Failure {
    /// What failed.
    #[source]
    pub error: ConvergeError,
    /// What became of what had been changed.
    pub undone: Undone,
    /// The steps that were planned, as they print.
    pub steps: Vec<String>,
}

/// What became of the changes of a failed play.
#[derive(Debug)]
pub enum Undone {
    /// There were none.
    NothingChanged,
    /// The state of before is back.
    Restored,
    /// Somebody else has changed the same since: it was left as it is.
    Overtaken(DeviceError),
    /// It was left as it is for the next process to judge.
    LeftOpen,
    /// The state of before could not be restored. The record of the trial stays, and it is tried again.
    Failed(DeviceError),
}

/// What failed in a play.
#[derive(Debug, thiserror::Error)]
pub enum ConvergeError {
    /// The topology cannot be talked to.
    #[error("make {on} ready")]
    NotReady {
        /// The topology's name.
        on: String,
        /// Why.
        #[source]
        source: DeviceError,
    },
    /// What is there cannot be seen.
    #[error("observe {on}")]
    Observe {
        /// The topology's name.
        on: String,
        /// Why.
        #[source]
        source: DeviceError,
    },
    /// What the change needs cannot be had, or what it takes to undo it cannot be recorded; so nothing was changed.
    #[error("prepare the change")]
    Begin(#[source] DeviceError),
    /// A step failed.
    #[error("step `{step}`")]
    Apply {
        /// The step, as it prints.
        step: String,
        /// Why.
        #[source]
        source: DeviceError,
    },
    /// All steps were taken and something is still not as declared.
    #[error("all steps were taken and these are left: {}", left.join(", "))]
    Unsettled {
        /// The steps that are left, as they print.
        left: Vec<String>,
    },
    /// The topology took the change back by itself.
    #[error("the change was taken back")]
    TakenBack(#[source] DeviceError),
    /// The end of the agent or of the node came in between, so that nothing is known of the change itself.
    #[error("the agent or the node went down{} during this change", if *times > 1 { format!(" {times} times") } else { String::new() })]
    Interrupted {
        /// How often by now.
        times: u32,
    },
    /// A check did not pass in time.
    #[error(transparent)]
    Check(CheckFailed),
    /// It took longer than the policy allows.
    #[error("not done within {} seconds (apply_seconds of the policy)", after.as_secs())]
    Late {
        /// What the policy allows.
        after: Duration,
    },
    /// The stage refused a step.
    #[error("step `{step}` is not allowed now: {why}")]
    Refused {
        /// The step, as it prints.
        step: String,
        /// Why.
        why: String,
    },
    /// The stage asked for it to stop.
    #[error("{}", match .0 { Cancel::Superseded => "stopped for something newer", Cancel::Stopping => "stopped because the agent stops" })]
    Cancelled(Cancel),
    /// The change is in force but the trial cannot be ended.
    #[error("confirm the change")]
    Confirm(#[source] DeviceError),
    /// The record of the trial cannot be kept.
    #[error("keep the record of the trial")]
    Record(#[from] TrialError),
}

impl ConvergeError {
    /// Whether it may pass by itself.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::NotReady { source, .. } | Self::Observe { source, .. } | Self::Apply { source, .. } => {
                source.is_transient()
            }
            Self::Begin(source) | Self::Confirm(source) => source.is_transient(),
            Self::Record(source) => source.is_disk_full(),
            Self::Late { .. } => true,
            Self::Interrupted { times } => *times < INTERRUPTIONS_MAX,
            Self::Unsettled { .. }
            | Self::TakenBack(_)
            | Self::Check(_)
            | Self::Refused { .. }
            | Self::Cancelled(_) => false,
        }
    }

    /// Whether the change is not there, although every step of it was taken.
    pub(crate) const fn is_gone(&self) -> bool {
        matches!(self, Self::Unsettled { .. } | Self::TakenBack(_))
    }

    /// What is said of a play that failed so, where `changed` says whether the node had been changed.
    pub fn verdict(&self, changed: bool) -> Verdict {
        match self {
            Self::Cancelled(Cancel::Stopping) => Verdict::Playing,
            Self::Cancelled(Cancel::Superseded) | Self::Refused { .. } | Self::Confirm(_) | Self::Record(_) => {
                Verdict::Failed
            }
            Self::Check(_) if !changed => Verdict::Failed,
            Self::Interrupted { times } if *times >= INTERRUPTIONS_MAX => Verdict::Quarantined,
            _ if self.is_transient() => Verdict::Failed,
            _ if changed => Verdict::Quarantined,
            _ => Verdict::Refused,
        }
    }
}

impl Failure {
    /// What is said of it.
    pub fn verdict(&self) -> Verdict {
        match self.undone {
            Undone::NothingChanged => self.error.verdict(false),
            Undone::Restored | Undone::Overtaken(_) => self.error.verdict(true),
            Undone::LeftOpen => Verdict::Playing,
            Undone::Failed(_) => Verdict::Failed,
        }
    }

    /// The failure on one line, with its causes and what became of the changes.
    pub fn message(&self) -> String {
        let error = chain(&self.error);
        match &self.undone {
            Undone::NothingChanged => error,
            Undone::Restored => format!("{error}; undone"),
            Undone::Overtaken(why) => format!("{error}; left as it is: {}", chain(why)),
            Undone::LeftOpen => format!("{error}; it goes on when the agent runs again"),
            Undone::Failed(why) => format!("{error}; and it could not be undone yet: {}", chain(why)),
        }
    }

    pub(crate) fn unchanged(error: ConvergeError, steps: &[String]) -> Self {
        Self { error, undone: Undone::NothingChanged, steps: steps.to_vec() }
    }
}

/// Plays a score once: leads the topology to what is declared and makes sure that it holds, or undoes what it did.
///
/// # Errors
/// What failed, and what became of the changes.
pub async fn converge<S, T>(score: &S, on: &T, gate: &Gate<'_>) -> Result<Converged, Failure>
where
    S: Interpret<T>,
    T: Topology,
{
    attempt::attempt(score, on, gate, 0).await
}

pub(crate) async fn converge_again<S, T>(
    score: &S,
    on: &T,
    gate: &Gate<'_>,
    interruptions: u32,
) -> Result<Converged, Failure>
where
    S: Interpret<T>,
    T: Topology,
{
    attempt::attempt(score, on, gate, interruptions).await
}

/// Bounds what belongs to the way back or to the end of a trial: it may take as long as the change itself, and at least
/// [`WAY_BACK_MIN`].
pub(crate) async fn bounded<R>(
    assignment: &Assignment,
    doing: &str,
    work: impl Future<Output = Result<R, DeviceError>>,
) -> Result<R, DeviceError> {
    let within = assignment.policy.apply_deadline().max(WAY_BACK_MIN);
    let late = || DeviceError::transient(format!("{doing}: not done within {} seconds", within.as_secs()));
    tokio::time::timeout(within, work).await.unwrap_or_else(|_| Err(late()))
}

/// How often a change may be interrupted by the end of the agent or of the node before it is held to be the cause.
const INTERRUPTIONS_MAX: u32 = 3;
/// The least time that undoing, resuming and confirming have.
const WAY_BACK_MIN: Duration = Duration::from_secs(600);

/// Does something with the record of a trial, off the runtime's threads: it waits for the disk.
pub(crate) async fn on_disk<F>(slot: &Slot, record: &Record, act: F) -> Result<(), TrialError>
where
    F: FnOnce(&Slot, &Record) -> Result<(), TrialError> + Send + 'static,
{
    let (slot, record) = (slot.clone(), record.clone());
    match tokio::task::spawn_blocking(move || act(&slot, &record)).await {
        Ok(result) => result,
        Err(error) => Err(TrialError::stopped(std::io::Error::other(error))),
    }
}
