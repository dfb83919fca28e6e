//! One attempt: from ready to confirmed, or back.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::{ConvergeError, Converged, Failure, Gate, Undone, bounded, on_disk, undo};
use crate::trials::{Phase, Record, Slot};
use crate::{Cancel, CheckFailed, Interpret, Standing, Topology, Trial, chain};

pub(super) async fn attempt<S, T>(score: &S, on: &T, gate: &Gate<'_>, interruptions: u32) -> Result<Converged, Failure>
where
    S: Interpret<T>,
    T: Topology,
{
    let after = gate.assignment.policy.apply_deadline();
    let deadline = Instant::now() + after;
    let unchanged = |error| Failure::unchanged(error, &[]);
    not_cancelled(gate).map_err(unchanged)?;
    let looked = async {
        on.ensure_ready().await.map_err(|source| ConvergeError::NotReady { on: on.name().into(), source })?;
        observe(score, on).await
    };
    let observed =
        timeout_at(deadline, looked).await.unwrap_or(Err(ConvergeError::Late { after })).map_err(unchanged)?;
    let plan = score.plan(&observed);
    let steps: Vec<String> = plan.iter().map(ToString::to_string).collect();
    if gate.dry_run {
        return Ok(Converged::Planned { steps });
    }
    if plan.is_empty() {
        checks(gate).await.map_err(unchanged)?;
        return Ok(Converged::Settled { steps, standing: score.standing(&observed) });
    }

    let slot = gate.trials.slot(&gate.assignment.subject);
    let assignment = gate.assignment.clone();
    let mut record = Record { assignment, phase: Phase::Begun, steps: steps.clone(), interruptions };
    let trial = slot.trial(gate.assignment);
    if let Err(error) = on_disk(&slot, &record, Slot::begin).await {
        forget(&slot, &record).await;
        return Err(Failure::unchanged(error.into(), &steps));
    }
    let begun = timeout_at(deadline, score.begin(on, &trial, &plan)).await;
    let begun = begun.map_or(Err(ConvergeError::Late { after }), |begun| begun.map_err(ConvergeError::Begin));
    if let Err(error) = begun {
        // Nothing was changed on the topology, but `begin` may have left something that only `revert` knows.
        let failure = undo(score, on, &slot, record, &trial, error).await;
        let undone = match failure.undone {
            Undone::Restored => Undone::NothingChanged,
            other => other,
        };
        return Err(Failure { undone, ..failure });
    }
    record.phase = Phase::Applying;
    let applied = match on_disk(&slot, &record, Slot::write).await {
        Ok(()) => timeout_at(deadline, apply_all(score, on, gate, &trial, &plan, false))
            .await
            .unwrap_or(Err(ConvergeError::Late { after })),
        Err(error) => Err(error.into()),
    };
    match applied {
        Ok(()) => judge_and_settle(score, on, gate, &slot, record, &trial).await,
        Err(error) => Err(fail(score, on, &slot, record, &trial, error).await),
    }
}

/// The second half of a trial: its steps are taken. Also where a trial goes on that another process left.
pub(crate) async fn judge_and_settle<S, T>(
    score: &S,
    on: &T,
    gate: &Gate<'_>,
    slot: &Slot,
    mut record: Record,
    trial: &Trial,
) -> Result<Converged, Failure>
where
    S: Interpret<T>,
    T: Topology,
{
    let had_passed = record.phase == Phase::Settling;
    let judged = judge(score, on, gate, slot, &mut record, trial).await;
    let standing = match judged {
        Ok(standing) => standing,
        // It was good, and is gone: the power was cut, or the agent was away, before it was made permanent.
        Err(error) if had_passed && error.is_gone() => {
            let times = record.interruptions.saturating_add(1);
            tracing::warn!(error = %chain(&error), "a change that had passed its checks is gone");
            return Err(fail(score, on, slot, record, trial, ConvergeError::Interrupted { times }).await);
        }
        Err(error) => return Err(fail(score, on, slot, record, trial, error).await),
    };
    // From here on the change is in force for good: what fails now is tried again, and not undone.
    let confirmed = match bounded(gate.assignment, "confirm", score.confirm(on, trial)).await {
        Ok(()) => on_disk(slot, &record, |slot, _| slot.close()).await.map_err(ConvergeError::Record),
        Err(error) => Err(ConvergeError::Confirm(error)),
    };
    match confirmed {
        Ok(()) => Ok(Converged::Settled { steps: record.steps, standing }),
        Err(error) => Err(Failure { error, undone: Undone::LeftOpen, steps: record.steps }),
    }
}

async fn judge<S, T>(
    score: &S,
    on: &T,
    gate: &Gate<'_>,
    slot: &Slot,
    record: &mut Record,
    trial: &Trial,
) -> Result<Standing, ConvergeError>
where
    S: Interpret<T>,
    T: Topology,
{
    let error = match judge_as_it_is(score, on, gate, slot, record, trial).await {
        Err(error @ (ConvergeError::Unsettled { .. } | ConvergeError::Apply { .. })) => error,
        other => return other,
    };
    // What is seen now may only be the consequence.
    let why = timeout(gate.assignment.policy.apply_deadline(), score.taken_back(on, trial)).await;
    Err(why.ok().flatten().map_or(error, ConvergeError::TakenBack))
}

async fn judge_as_it_is<S, T>(
    score: &S,
    on: &T,
    gate: &Gate<'_>,
    slot: &Slot,
    record: &mut Record,
    trial: &Trial,
) -> Result<Standing, ConvergeError>
where
    S: Interpret<T>,
    T: Topology,
{
    let after = gate.assignment.policy.apply_deadline();
    if record.phase != Phase::Settling {
        let observed = timeout_at(Instant::now() + after, observe(score, on)).await;
        let observed = observed.unwrap_or(Err(ConvergeError::Late { after }))?;
        only_settling_steps_left::<S, T>(&score.plan(&observed))?;
        record.phase = Phase::Judging;
        on_disk(slot, record, Slot::write).await?;
        checks(gate).await?;
        record.phase = Phase::Settling;
        on_disk(slot, record, Slot::write).await?;
    }
    let settled = async {
        let observed = observe(score, on).await?;
        let rest = score.plan(&observed);
        only_settling_steps_left::<S, T>(&rest)?;
        if rest.is_empty() {
            return Ok(score.standing(&observed));
        }
        apply_all(score, on, gate, trial, &rest, true).await?;
        let observed = observe(score, on).await?;
        let left = score.plan(&observed);
        if left.is_empty() {
            return Ok(score.standing(&observed));
        }
        Err(ConvergeError::Unsettled { left: left.iter().map(ToString::to_string).collect() })
    };
    timeout_at(Instant::now() + after, settled).await.unwrap_or(Err(ConvergeError::Late { after }))
}

/// Undoes, unless the process is only about to stop: then the next one judges.
async fn fail<S, T>(score: &S, on: &T, slot: &Slot, record: Record, trial: &Trial, error: ConvergeError) -> Failure
where
    S: Interpret<T>,
    T: Topology,
{
    if matches!(error, ConvergeError::Cancelled(Cancel::Stopping)) {
        return Failure { error, undone: Undone::LeftOpen, steps: record.steps };
    }
    undo(score, on, slot, record, trial, error).await
}

async fn observe<S, T>(score: &S, on: &T) -> Result<S::Observed, ConvergeError>
where
    S: Interpret<T>,
    T: Topology,
{
    score.observe(on).await.map_err(|source| ConvergeError::Observe { on: on.name().into(), source })
}

async fn apply_all<S, T>(
    score: &S,
    on: &T,
    gate: &Gate<'_>,
    trial: &Trial,
    plan: &[S::Step],
    settling: bool,
) -> Result<(), ConvergeError>
where
    S: Interpret<T>,
    T: Topology,
{
    let wanted: Vec<&S::Step> = plan.iter().filter(|step| S::after_checks(step) == settling).collect();
    for (at, step) in wanted.iter().enumerate() {
        let line = step.to_string();
        not_cancelled(gate)?;
        gate.stage.before(&line).map_err(|why| ConvergeError::Refused { step: line.clone(), why })?;
        gate.stage.progress(&format!("[{}/{}] {line}", at + 1, wanted.len()));
        let applied = score.apply(on, step, trial, gate.stage).await;
        applied.map_err(|source| ConvergeError::Apply { step: line, source })?;
    }
    Ok(())
}

fn only_settling_steps_left<S, T>(left: &[S::Step]) -> Result<(), ConvergeError>
where
    S: Interpret<T>,
    T: Topology,
{
    let left: Vec<String> = left.iter().filter(|step| !S::after_checks(step)).map(ToString::to_string).collect();
    if left.is_empty() { Ok(()) } else { Err(ConvergeError::Unsettled { left }) }
}

/// Runs the checks, one after the other, again and again, until one round passes or the time is up.
async fn checks(gate: &Gate<'_>) -> Result<(), ConvergeError> {
    let policy = &gate.assignment.policy;
    let within = policy.check_deadline();
    let deadline = Instant::now() + within;
    let mut pause = CHECK_PAUSE_MIN;
    // When the time runs out in the middle of a try, what an earlier one found says more than that.
    let mut earlier: Option<CheckFailed> = None;
    loop {
        let mut failed = None;
        for check in &policy.checks {
            not_cancelled(gate)?;
            gate.stage.progress(&format!("check {check}"));
            let late = || CheckFailed::new(check, format!("no result within {} seconds", within.as_secs()));
            let tried = timeout_at(deadline, gate.checks.run(check, gate.stage)).await;
            if let Err(why) = tried.unwrap_or_else(|_| Err(earlier.take().unwrap_or_else(late))) {
                gate.stage.progress(&why.to_string());
                failed = Some(why);
                break;
            }
        }
        let Some(failed) = failed else {
            return Ok(());
        };
        if Instant::now() + pause >= deadline {
            return Err(ConvergeError::Check(failed));
        }
        earlier = Some(failed);
        nap(gate, pause).await?;
        pause = (pause * 2).min(CHECK_PAUSE_MAX);
    }
}

/// Sleeps, but not through a cancellation.
pub(crate) async fn nap(gate: &Gate<'_>, span: Duration) -> Result<(), ConvergeError> {
    let end = Instant::now() + span;
    loop {
        not_cancelled(gate)?;
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        sleep(left.min(CANCEL_LOOK)).await;
    }
}

fn not_cancelled(gate: &Gate<'_>) -> Result<(), ConvergeError> {
    gate.stage.cancelled().map_or(Ok(()), |cancel| Err(ConvergeError::Cancelled(cancel)))
}

async fn forget(slot: &Slot, record: &Record) {
    if let Err(error) = on_disk(slot, record, |slot, _| slot.close()).await {
        tracing::warn!(error = %chain(&error), "the record of a trial stays");
    }
}

/// The pause before failed checks are tried again, at first.
const CHECK_PAUSE_MIN: Duration = Duration::from_millis(250);
/// The pause before failed checks are tried again, at last.
const CHECK_PAUSE_MAX: Duration = Duration::from_secs(5);
/// How long a cancellation may go unseen while nothing is done.
const CANCEL_LOOK: Duration = Duration::from_millis(200);
