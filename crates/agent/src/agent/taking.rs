//! What the agent takes into its ledger, by whichever road it came, and what it knows to be missing.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use protocols::SignedEntry;
use protocols::control::{TAIL_BATCH_BYTES_MAX, TAIL_BATCH_MAX};
use protocols::entry::Head;
use protocols::store::{Ledger, LedgerError, StoreError, Tail};

use super::{Agent, TakeError, learn_places, lock};
use crate::gossip::ends_the_alarm;
use crate::hands::wire::{ENTRIES_BYTES_MAX, ENTRIES_MAX};
use crate::witness::weigh::refused_at;

impl Agent {
    /// Takes what came by a coordinator's document: one entry or the newest head. It is as good as any other road.
    pub fn ingest(&self, key: &str, value: &Bytes) {
        if key == "head" {
            if let Ok(head) = postcard::from_bytes::<Head>(value) {
                self.hinted.fetch_max(head.seq, Ordering::Relaxed);
                if self.head().is_none_or(|h| h.seq < head.seq) {
                    self.behind.notify_one();
                }
            }
            return;
        }
        let Ok(entry) = postcard::from_bytes::<SignedEntry>(value) else { return };
        let Ok(verified) = entry.verify() else { return };
        let next = self.head().map_or(0, |h| h.seq + 1);
        self.heard_of_author(&verified);
        if verified.seq() == next
            && next > 0
            && let Err(error) = self.append(vec![verified.signed().clone()])
        {
            tracing::warn!(%error, "an entry from a document was refused");
        }
    }

    /// Only an entry by somebody with rights says anything about how far the ledger goes.
    fn heard_of_author(&self, entry: &protocols::VerifiedEntry) {
        let known = self.state().is_some_and(|s| s.knows(entry.entry().author));
        if known {
            self.heard_of(entry.seq());
        }
    }

    /// Somebody spoke of this entry: until it is here, nothing older is acted on.
    pub(crate) fn heard_of(&self, seq: u64) {
        self.newest.send_if_modified(|newest| {
            let more = seq > *newest;
            *newest = (*newest).max(seq);
            more
        });
        if self.head().is_none_or(|h| h.seq < seq) {
            self.behind.notify_one();
        }
    }

    /// A coordinator that was connected just now says how far it is. What others claimed before holds no longer: one
    /// that lied must not keep the node from acting for ever.
    pub(crate) fn welcomed(&self, seq: u64) {
        self.hinted.store(0, Ordering::Relaxed);
        self.newest.send_if_modified(|newest| std::mem::replace(newest, seq) != seq);
    }

    /// Whether it is worth a question whether there are entries that are not here.
    pub(crate) fn may_lack(&self) -> bool {
        let hinted = self.hinted.load(Ordering::Relaxed);
        !self.caught_up() || self.head().is_none_or(|h| h.seq < hinted)
    }

    pub(crate) fn head(&self) -> Option<Head> {
        self.state.borrow().as_ref().map(|s| s.head())
    }

    /// Entries from `from` on, a bounded number of them, for the hands.
    pub(crate) fn entries(&self, from: u64) -> Result<Vec<SignedEntry>, StoreError> {
        lock(&self.ledger).range(from, ENTRIES_MAX, ENTRIES_BYTES_MAX)
    }

    /// Entries after a place, a bounded number of them, for a coordinator.
    pub(crate) fn tail(&self, after: Option<Head>) -> Result<Option<Tail>, StoreError> {
        lock(&self.ledger).tail(after, TAIL_BATCH_MAX, TAIL_BATCH_BYTES_MAX)
    }

    /// Founds the ledger or appends to it, and lets everybody know.
    pub(crate) fn append(&self, mut entries: Vec<SignedEntry>) -> Result<(), TakeError> {
        let mut ledger = lock(&self.ledger);
        if let Some(alarm) = self.witness.alarm() {
            let ends = ledger.state().is_some_and(|state| ends_the_alarm(state, &entries, &alarm.accused));
            if !ends {
                return Err(TakeError::Refusing(alarm.why));
            }
            self.witness.stand_down().map_err(LedgerError::from)?;
            tracing::warn!("an admin took the accused coordinator away: entries are taken again");
        }
        if ledger.state().is_none() && !entries.is_empty() {
            ledger.found(entries.remove(0), self.options.ticket.fleet)?;
        }
        let mut result = ledger.append(entries);
        if let Err(LedgerError::Fork { seq, ours, theirs }) = &result {
            match refused_at(&ledger, *seq, theirs) {
                // Anybody of the fleet can sign something for a place that is taken. Only what could have stood there
                // proves anything.
                Some(refusal) => result = Err(LedgerError::Refused { seq: *seq, refusal }),
                None => {
                    let (ours, theirs) = (ours.hash(), theirs.hash());
                    tracing::error!(seq, %ours, %theirs, "the coordinator's history is split: ours is kept");
                    self.split.store(true, Ordering::Relaxed);
                }
            }
        }
        // Entries before a refused one were kept.
        let state = ledger.state().cloned();
        drop(ledger);
        let before = self.state.borrow().as_ref().map(|s| s.head());
        if let Some(state) = state.filter(|s| Some(s.head()) != before) {
            learn_places(self.uplink.as_ref(), &state);
            self.state.send_replace(Some(state));
            self.uplink.recheck();
        }
        Ok(result.map(|_| ())?)
    }

    /// Reads the ledger.
    pub(crate) fn with_ledger<T>(&self, read: impl FnOnce(&Ledger) -> T) -> T {
        read(&lock(&self.ledger))
    }

    /// Whether everything that any coordinator spoke of is here.
    pub(crate) fn caught_up(&self) -> bool {
        self.head().is_some_and(|h| h.seq >= *self.newest.borrow())
    }
}
