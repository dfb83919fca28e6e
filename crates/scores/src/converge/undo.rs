//! The way back: what is to be said is written down first, then the change is undone, then the trial ends.

use protocols::Verdict;
use protocols::outcome::{MESSAGE_BYTES_MAX, shorten};

use super::{ConvergeError, Failure, Undone, bounded, on_disk};
use crate::trials::{Phase, Record, Slot};
use crate::{Interpret, Topology, Trial, chain};

/// Undoes a trial because of `error`, and says what became of it.
pub(crate) async fn undo<S, T>(
    score: &S,
    on: &T,
    slot: &Slot,
    mut record: Record,
    trial: &Trial,
    error: ConvergeError,
) -> Failure
where
    S: Interpret<T>,
    T: Topology,
{
    let verdict = error.verdict(record.phase != Phase::Begun);
    if let ConvergeError::Interrupted { times } = &error {
        record.interruptions = *times;
    }
    let message = shorten(&chain(&error), MESSAGE_BYTES_MAX);
    record.phase = Phase::Reverting { verdict, message };
    let steps = record.steps.clone();
    // A disk that is too full for the record must not keep the change from being undone: the older record says the same.
    if let Err(error) = on_disk(slot, &record, Slot::write).await {
        tracing::error!(error = %chain(&error), "cannot note that a trial is being undone");
    }
    let undone = match retreat(score, on, slot, record, trial).await {
        Ok(()) => Undone::Restored,
        Err(error) if error.is_overtaken() => Undone::Overtaken(error),
        Err(error) => Undone::Failed(error),
    };
    Failure { error, undone, steps }
}

/// Undoes a trial whose record says so, and ends it; also one that somebody else has overtaken, which is left as it is.
pub(crate) async fn retreat<S, T>(
    score: &S,
    on: &T,
    slot: &Slot,
    mut record: Record,
    trial: &Trial,
) -> Result<(), crate::DeviceError>
where
    S: Interpret<T>,
    T: Topology,
{
    let reverted = bounded(&record.assignment, "undo the change", score.revert(on, trial)).await;
    if reverted.as_ref().is_err_and(|error| !error.is_overtaken()) {
        return reverted;
    }
    let ended = match &record.phase {
        Phase::Reverting { verdict: Verdict::Quarantined, message } => {
            record.phase = Phase::Quarantined { message: message.clone() };
            on_disk(slot, &record, Slot::end).await
        }
        Phase::Reverting { .. } if record.interruptions > 0 => {
            record.phase = Phase::Interrupted;
            on_disk(slot, &record, Slot::end).await
        }
        _ => on_disk(slot, &record, |slot, _| slot.close()).await,
    };
    ended.map_err(|error| crate::DeviceError::transient("end the trial").because(error))?;
    reverted
}
