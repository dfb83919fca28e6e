//! An operator's way out of a split history: keep what is here, or drop it and take the fleet's anew.

use std::sync::Arc;

use protocols::record::OUTCOME_PREFIX;
use protocols::store::{Ledger, RecordBook, Store, StoreError, Values, WriteRecordError};
use protocols::{ForkEvidence, SecretKey};

use super::{ALARM, Alarm, CLAIMS, DEALT_WITH, deal_with};

/// What to go on with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resolution {
    /// The history that is here.
    Keep,
    /// The one that a coordinator gives after the next start: the copy of the ledger is dropped, and what was played by it.
    Rejoin,
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// Why the node had stopped, in a sentence; nothing if it had not.
    pub why: Option<String>,
    /// The evidence, if there was some.
    pub evidence: Option<ForkEvidence>,
}

/// Why nothing was resolved, or not all of it. Trying again is safe.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// The data folder.
    #[error("cannot change what this node remembers")]
    Store(#[from] StoreError),
    /// An outcome could not be taken back.
    #[error("cannot take back what was said of a play")]
    Record(#[from] WriteRecordError),
}

/// Resolves an alarm in the data folder of an agent that is stopped: nobody else may have the folder open.
///
/// # Errors
/// [`ResolveError`].
pub fn resolve(store: &Arc<Store>, key: SecretKey, how: Resolution) -> Result<Resolved, ResolveError> {
    let values = Values::new(Arc::clone(store));
    let alarm: Option<Alarm> = values.get(ALARM)?;
    if how == Resolution::Rejoin {
        Ledger::forget(store)?;
        let book = RecordBook::open(Arc::clone(store), key)?;
        // A place in the other history is another declaration.
        for record in book.all()?.into_iter().filter(|r| r.key.starts_with(OUTCOME_PREFIX)) {
            book.take_back(&record.key)?;
        }
    }
    // Claims of either branch would be held against the one that is gone on with.
    values.remove(CLAIMS)?;
    let left = alarm.as_ref().and_then(|alarm| match how {
        Resolution::Keep => alarm.theirs,
        Resolution::Rejoin => alarm.ours,
    });
    if let Some(left) = left {
        let mut dealt_with = values.get(DEALT_WITH)?.unwrap_or_default();
        deal_with(&mut dealt_with, left);
        values.set(DEALT_WITH, &dealt_with)?;
    }
    values.remove(ALARM)?;
    let evidence = alarm.as_ref().and_then(|a| a.evidence.clone());
    Ok(Resolved { why: alarm.map(|a| a.why), evidence })
}

/// The evidence that the agent of a data folder stopped for, if it did and has some.
///
/// # Errors
/// [`ResolveError`].
pub fn evidence(store: &Arc<Store>) -> Result<Option<ForkEvidence>, ResolveError> {
    let alarm: Option<Alarm> = Values::new(Arc::clone(store)).get(ALARM)?;
    Ok(alarm.and_then(|alarm| alarm.evidence))
}
