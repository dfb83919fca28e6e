//! The dyn twin of `Interpret`: one score's type behind a payload.

use std::marker::PhantomData;

use protocols::{Subject, Verdict};

use super::PlayError;
use crate::converge::{attempt_nap, bounded, converge_again, judge_and_settle, retreat, undo};
use crate::trials::{Phase, Record};
use crate::{
    Assignment, BoxFuture, ConvergeError, Converged, Gate, Interpret, Invalid, PlayReport, Resume, Standing, Topology,
    chain, score,
};

/// A kind of score on a topology of type `T`, with the score's own type forgotten.
pub(crate) trait Part<T>: Send + Sync {
    fn subject_of(&self, payload: &str) -> Result<Subject, Invalid>;

    /// The steps that would be taken.
    fn plan<'a>(&'a self, on: &'a T, assignment: &'a Assignment) -> BoxFuture<'a, Result<Vec<String>, PlayError>>;

    /// Plays it, with as many attempts as its policy allows.
    fn play<'a>(&'a self, on: &'a T, gate: Gate<'a>, interruptions: u32) -> BoxFuture<'a, PlayReport>;

    /// Brings a trial to its end that another process, or an earlier play, left open. The gate is for its assignment.
    fn judge<'a>(&'a self, on: &'a T, gate: Gate<'a>, record: Record) -> BoxFuture<'a, PlayReport>;
}

pub(super) struct Of<S>(PhantomData<fn() -> S>);

impl<S> Of<S> {
    pub(super) const fn new() -> Self {
        Self(PhantomData)
    }
}

impl<S, T> Part<T> for Of<S>
where
    S: Interpret<T>,
    T: Topology,
{
    fn subject_of(&self, payload: &str) -> Result<Subject, Invalid> {
        Ok(score::parse::<S>(payload)?.subject())
    }

    fn plan<'a>(&'a self, on: &'a T, assignment: &'a Assignment) -> BoxFuture<'a, Result<Vec<String>, PlayError>> {
        Box::pin(async move {
            let score: S = read(assignment)?;
            let failed = |source| PlayError::Plan { subject: assignment.subject.clone(), source };
            let look = async {
                on.ensure_ready().await?;
                score.observe(on).await
            };
            let observed = bounded(assignment, "observe", look).await.map_err(failed)?;
            Ok(score.plan(&observed).iter().map(ToString::to_string).collect())
        })
    }

    fn play<'a>(&'a self, on: &'a T, gate: Gate<'a>, interruptions: u32) -> BoxFuture<'a, PlayReport> {
        Box::pin(async move {
            match read::<S>(gate.assignment) {
                Ok(score) => attempts(&score, on, &gate, interruptions).await,
                Err(error) => PlayReport::new(error.verdict(), &chain(&error), &[], 0),
            }
        })
    }

    fn judge<'a>(&'a self, on: &'a T, gate: Gate<'a>, record: Record) -> BoxFuture<'a, PlayReport> {
        Box::pin(async move {
            match read::<S>(gate.assignment) {
                Ok(score) => judge(&score, on, &gate, record).await,
                Err(error) => {
                    let message = format!("a trial was left open and cannot be undone: {}", chain(&error));
                    PlayReport::new(Verdict::Failed, &message, &record.steps, 0)
                }
            }
        })
    }
}

fn read<S: crate::Score>(assignment: &Assignment) -> Result<S, PlayError> {
    let kind = assignment.kind.clone();
    let score: S = score::parse(&assignment.payload).map_err(|source| PlayError::Invalid { kind, source })?;
    let found = score.subject();
    if found != assignment.subject {
        return Err(PlayError::OtherSubject { declared: assignment.subject.clone(), found });
    }
    Ok(score)
}

async fn attempts<S, T>(score: &S, on: &T, gate: &Gate<'_>, interruptions: u32) -> PlayReport
where
    S: Interpret<T>,
    T: Topology,
{
    let allowed = gate.assignment.policy.attempts.max(1);
    let mut pause = RETRY_PAUSE_MIN;
    let mut attempt = 1;
    loop {
        let failure = match converge_again(score, on, gate, interruptions).await {
            Ok(converged) => return good(converged, attempt),
            Err(failure) => failure,
        };
        let clean = !matches!(failure.undone, crate::Undone::Failed(_) | crate::Undone::LeftOpen);
        let again = clean && failure.error.is_transient() && attempt < allowed;
        if !again {
            return PlayReport::new(failure.verdict(), &failure.message(), &failure.steps, attempt);
        }
        let line =
            format!("attempt {attempt} of {allowed} failed, again in {} s: {}", pause.as_secs(), failure.message());
        gate.stage.progress(&line);
        if let Err(stopped) = attempt_nap(gate, pause).await {
            let message = format!("{}; before that: {}", chain(&stopped), failure.message());
            return PlayReport::new(stopped.verdict(false), &message, &failure.steps, attempt);
        }
        pause = (pause * 2).min(RETRY_PAUSE_MAX);
        attempt += 1;
    }
}

async fn judge<S, T>(score: &S, on: &T, gate: &Gate<'_>, record: Record) -> PlayReport
where
    S: Interpret<T>,
    T: Topology,
{
    let slot = gate.trials.slot(&gate.assignment.subject);
    let trial = slot.trial(gate.assignment);
    let steps = record.steps.clone();
    if let Err(error) = bounded(gate.assignment, "make ready", on.ensure_ready()).await {
        let message = format!("a trial was left open and {} is not ready: {}", on.name(), chain(&error));
        return PlayReport::new(Verdict::Failed, &message, &steps, 0);
    }
    let goes_on = match record.phase {
        Phase::Settling => true,
        Phase::Applying | Phase::Judging => match bounded(gate.assignment, "resume", score.resume(on, &trial)).await {
            Ok(resume) => resume == Resume::Judge,
            Err(error) => {
                let message = format!("a trial was left open and cannot be judged yet: {}", chain(&error));
                return PlayReport::new(Verdict::Failed, &message, &steps, 0);
            }
        },
        _ => false,
    };
    if goes_on {
        gate.stage.progress("going on with a change that was interrupted");
        return match judge_and_settle(score, on, gate, &slot, record, &trial).await {
            Ok(converged) => good(converged, 1),
            Err(failure) => PlayReport::new(failure.verdict(), &failure.message(), &steps, 1),
        };
    }
    gate.stage.progress("undoing a change that was interrupted");
    let Phase::Reverting { verdict, message } = record.phase.clone() else {
        let times = record.interruptions.saturating_add(1);
        let failure = undo(score, on, &slot, record, &trial, ConvergeError::Interrupted { times }).await;
        return PlayReport::new(failure.verdict(), &failure.message(), &steps, 0);
    };
    match retreat(score, on, &slot, record, &trial).await {
        Ok(()) => PlayReport::new(verdict, &format!("{message}; undone"), &steps, 0),
        Err(error) if error.is_overtaken() => {
            PlayReport::new(verdict, &format!("{message}; left as it is: {}", chain(&error)), &steps, 0)
        }
        Err(error) => {
            let message = format!("{message}; and it could not be undone yet: {}", chain(&error));
            PlayReport::new(Verdict::Failed, &message, &steps, 0)
        }
    }
}

fn good(converged: Converged, attempts: u32) -> PlayReport {
    match converged {
        Converged::Planned { steps } => PlayReport::new(Verdict::Playing, "planned only", &steps, attempts),
        Converged::Settled { steps, standing: Standing::Running } => {
            PlayReport::new(Verdict::Converged, "", &steps, attempts)
        }
        Converged::Settled { steps, standing: Standing::RebootPending(why) } => {
            PlayReport::new(Verdict::RebootPending, &why, &steps, attempts)
        }
    }
}

/// The pause before a play that failed for a passing reason is tried again, at first.
const RETRY_PAUSE_MIN: std::time::Duration = std::time::Duration::from_secs(1);
/// The pause before a play that failed for a passing reason is tried again, at last.
const RETRY_PAUSE_MAX: std::time::Duration = std::time::Duration::from_secs(60);
