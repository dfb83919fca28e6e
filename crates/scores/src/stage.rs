//! What the driver asks of the one who has a score played: may it go on, who is told, do the checks hold.

use protocols::Check;

use crate::BoxFuture;

/// The surroundings of a play; the agent implements it.
pub trait Stage: Send + Sync {
    /// Whether to stop, asked before every step and between checks.
    fn cancelled(&self) -> Option<Cancel>;

    /// Asked before each step: the place for a lease or any other permission that can end.
    ///
    /// # Errors
    /// Why the step may not be taken.
    fn before(&self, _step: &str) -> Result<(), String> {
        Ok(())
    }

    /// Hears, in one line, what is being done.
    fn progress(&self, line: &str);

    /// Exchanges a message with a coordinator over a connection made just now.
    fn contact(&self) -> BoxFuture<'_, Result<(), String>>;
}

/// Why a play is to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancel {
    /// Something newer takes its place: an open trial is undone.
    Superseded,
    /// The process is about to end: an open trial is left for the next process to judge.
    Stopping,
}

/// Runs the checks of a policy.
pub trait Checks: Send + Sync + 'static {
    /// Runs one check once, bounded in time by the check itself.
    fn run<'a>(&'a self, check: &'a Check, stage: &'a dyn Stage) -> BoxFuture<'a, Result<(), CheckFailed>>;
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("check `{check}` failed: {why}")]
pub struct CheckFailed {
    /// The check, as it prints.
    pub check: String,
    /// What was found, in one line.
    pub why: String,
}

impl CheckFailed {
    /// Says what a check found.
    pub fn new(check: &Check, why: impl Into<String>) -> Self {
        Self { check: check.to_string(), why: why.into() }
    }
}
