//! Submitting an entry so that it is entered once or not at all, whatever the network does.

use std::time::Duration;

use protocols::control::{Receipt, Submit, SubmitError};
use protocols::entry::{Head, VerifiedEntry};
use protocols::{FleetState, Millis};

use super::{Session, SessionError, within};
use crate::author::{AuthorError, Intent};
use crate::race;

/// How often an entry that lost a race is signed again.
const RACES_MAX: usize = 10;
/// How often the same entry is sent again when no answer came.
const SENDS_MAX: u32 = 4;
/// The pause before the first of these; each further one is longer by as much.
const RESEND_AFTER: Duration = Duration::from_millis(250);

/// An entry that is in the ledger.
#[derive(Debug, Clone)]
pub struct Submitted {
    /// The entry.
    pub entry: VerifiedEntry,
    /// What came between the state it was planned against and it, one line each.
    pub between: Vec<String>,
}

/// Why an entry is not in the ledger.
#[derive(Debug, thiserror::Error)]
pub enum SubmitFailure {
    /// The rules say no.
    #[error(transparent)]
    Author(#[from] AuthorError),
    /// The coordinator says no.
    #[error("the coordinator does not take the entry")]
    Rejected(#[source] SubmitError),
    /// Somebody changed what it touches.
    #[error("somebody else changed what this touches: {}", touched.join("; "))]
    Overtaken {
        /// What changed.
        touched: Vec<String>,
        /// Every entry that came between, one line each.
        between: Vec<String>,
    },
    /// Others were faster every time.
    #[error("other entries came first {RACES_MAX} times in a row")]
    Crowded,
    /// No answer. It is not known whether the entry was taken.
    #[error("it is not known whether the entry was taken")]
    Unknown(#[source] SessionError),
    /// The session failed before the entry was sent.
    #[error(transparent)]
    Session(#[from] SessionError),
}

enum Sent {
    Taken,
    Stale,
}

impl Session {
    /// Signs and submits. If another entry came first, what came between is fetched, and the entry is signed anew if
    /// nothing that it touches changed since `planned`, the state that the admin looked at.
    ///
    /// # Errors
    /// [`SubmitFailure`]; the entry is not in the ledger, except that for [`SubmitFailure::Unknown`] nobody knows.
    pub async fn submit(
        &mut self,
        planned: &FleetState,
        intent: &Intent,
        clock: impl Fn() -> Millis,
    ) -> Result<Submitted, SubmitFailure> {
        for _ in 0..RACES_MAX {
            let state = self.state()?.clone();
            let between: Vec<String> = self.since(planned.head()).map(|e| race::describe(e, &state)).collect();
            if state.head() != planned.head() {
                let touched = race::touched(planned, &state, &intent.body(&state));
                if !touched.is_empty() {
                    return Err(SubmitFailure::Overtaken { touched, between });
                }
            }
            let (entry, _) = self.author.sign(&state, intent, clock())?;
            if matches!(self.send(&entry).await?, Sent::Taken) {
                return Ok(Submitted { entry, between });
            }
        }
        Err(SubmitFailure::Crowded)
    }

    /// Sends one entry until it is known whether it is in the ledger. It names its predecessor, so the same bytes can be
    /// sent again safely: either they are the next entry, or something else is and they never can be.
    async fn send(&mut self, entry: &VerifiedEntry) -> Result<Sent, SubmitFailure> {
        let mut unanswered = None;
        for attempt in 0..SENDS_MAX {
            if attempt > 0 {
                tokio::time::sleep(RESEND_AFTER * attempt).await;
            }
            let call = self.client.rpc(Submit(entry.signed().clone()));
            match within("submit the entry", call).await {
                Ok(Ok(Receipt { head })) if head == head_of(entry) => {
                    self.sync().await.map_err(SubmitFailure::Session)?;
                    return Ok(Sent::Taken);
                }
                Ok(Ok(Receipt { head }) | Err(SubmitError::StaleHead { head })) => return self.find(entry, head).await,
                Ok(Err(rejected)) => return Err(SubmitFailure::Rejected(rejected)),
                Err(error) => {
                    tracing::debug!(%error, "no answer to an entry; looking whether it was taken");
                    // Only another entry in its place proves that it was not and never will be taken.
                    match self.sync().await {
                        Ok(_) if self.has(entry) => return Ok(Sent::Taken),
                        Ok(_) if self.passed(entry) => return Ok(Sent::Stale),
                        Ok(_) => unanswered = Some(error),
                        Err(later) if later.is_passing() => unanswered = Some(error),
                        Err(later) => return Err(SubmitFailure::Unknown(later)),
                    }
                }
            }
        }
        let unknown = unanswered.unwrap_or(SessionError::Ended { doing: "submit the entry" });
        Err(SubmitFailure::Unknown(unknown))
    }

    /// After "stale": the entry may be there all the same, from a first try whose answer was lost.
    async fn find(&mut self, entry: &VerifiedEntry, theirs: Head) -> Result<Sent, SubmitFailure> {
        self.sync().await.map_err(SubmitFailure::Unknown)?;
        if self.has(entry) {
            return Ok(Sent::Taken);
        }
        let ours = self.state()?.head();
        if !self.passed(entry) {
            // Stale, and yet nothing newer: its history is not ours.
            return Err(SubmitFailure::Session(SessionError::Behind { ours, theirs }));
        }
        Ok(Sent::Stale)
    }

    fn has(&self, entry: &VerifiedEntry) -> bool {
        self.recent.iter().any(|known| known.hash() == entry.hash())
    }

    fn passed(&self, entry: &VerifiedEntry) -> bool {
        self.state.as_ref().is_some_and(|state| state.head().seq >= entry.seq())
    }
}

fn head_of(entry: &VerifiedEntry) -> Head {
    Head { seq: entry.seq(), hash: entry.hash() }
}
