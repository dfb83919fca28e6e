//! A verified copy of the ledger on disk, and the state it amounts to.

use std::sync::Arc;

use redb::TableDefinition;

use super::{Store, StoreError, corrupted};
use crate::entry::{ENTRY_BYTES_MAX, Head, SignedEntry, VerifiedEntry, VerifyError};
use crate::ids::FleetId;
use crate::state::{FleetState, Refusal};

/// What a stored entry has beside its bytes: their length and the signature.
const STORED_EXTRA_MAX: usize = 80;
/// How many bytes of entries are read at once when the ledger is verified.
const REPLAY_BYTES: usize = 8 * 1024 * 1024;

const ENTRIES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("ledger");

/// The ledger's entries on disk and the state after the last of them.
///
/// It holds only what [`FleetState::apply`] accepted, and it is synced before [`append`](Self::append) returns.
#[derive(Debug)]
pub struct Ledger {
    store: Arc<Store>,
    state: Option<Arc<FleetState>>,
}

/// Why entries were not taken.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// Not a sound entry.
    #[error(transparent)]
    Verify(#[from] VerifyError),
    /// Not one that may follow.
    #[error("entry {seq} is refused")]
    Refused {
        /// Its place.
        seq: u64,
        /// Why.
        #[source]
        refusal: Refusal,
    },
    /// The genesis entry is another fleet's.
    #[error("the ledger is that of fleet {found}, and fleet {expected} is expected")]
    OtherFleet {
        /// Whose it is.
        found: FleetId,
        /// Whose it should be.
        expected: FleetId,
    },
    /// A different entry stands in a place that is taken.
    #[error("two different entries claim place {seq}: the coordinator's history is split")]
    Fork {
        /// The place.
        seq: u64,
        /// The entry that came first here.
        ours: Box<SignedEntry>,
        /// The other.
        theirs: Box<SignedEntry>,
    },
    /// There is no genesis entry yet.
    #[error("the ledger is empty, and entry {0} is not its first")]
    NotFounded(u64),
    /// The disk.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A run of entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tail {
    /// In order.
    pub entries: Vec<SignedEntry>,
    /// The newest entry there is.
    pub head: Head,
}

impl Ledger {
    /// Opens the ledger in a store and verifies it from its genesis entry on. `fleet` is the fleet it must be of.
    ///
    /// # Errors
    /// If what is stored does not verify, or is another fleet's.
    pub fn open(store: Arc<Store>, fleet: Option<FleetId>) -> Result<Self, LedgerError> {
        let mut ledger = Self { store, state: None };
        ledger.state = ledger.replay()?.map(Arc::new);
        if let (Some(state), Some(expected)) = (&ledger.state, fleet)
            && state.fleet() != expected
        {
            return Err(LedgerError::OtherFleet { found: state.fleet(), expected });
        }
        Ok(ledger)
    }

    fn replay(&self) -> Result<Option<FleetState>, LedgerError> {
        let mut state: Option<FleetState> = None;
        let mut next = 0;
        loop {
            let batch = self.range(next, 1024, REPLAY_BYTES)?;
            if batch.is_empty() {
                return Ok(state);
            }
            for signed in batch {
                // What stands here was accepted before it was written, so anything else is damage.
                let damaged = |why: String| self.store.damaged(&format!("entry {next} of the ledger: {why}"));
                let verified = signed.verify().map_err(|e| damaged(e.to_string()))?;
                let refused = |refusal: Refusal| damaged(refusal.to_string());
                match &mut state {
                    None => state = Some(FleetState::found(&verified).map_err(refused)?),
                    Some(state) => state.apply(&verified).map_err(refused)?,
                }
                next += 1;
            }
        }
    }

    /// Removes the whole copy from a store, for somebody who takes another one instead.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn forget(store: &Store) -> Result<(), StoreError> {
        store.write(true, |write| {
            write.delete_table(ENTRIES)?;
            Ok(())
        })
    }

    /// The state after the newest entry; nothing before the genesis entry is here.
    pub const fn state(&self) -> Option<&Arc<FleetState>> {
        self.state.as_ref()
    }

    /// The newest entry's place and hash.
    pub fn head(&self) -> Option<Head> {
        self.state.as_ref().map(|s| s.head())
    }

    /// Takes the genesis entry of `fleet`. Taking it again is no error.
    ///
    /// # Errors
    /// If it is not that fleet's, or another one is here.
    pub fn found(&mut self, genesis: SignedEntry, fleet: FleetId) -> Result<(), LedgerError> {
        let verified = genesis.verify()?;
        let state = FleetState::found(&verified).map_err(|refusal| LedgerError::Refused { seq: 0, refusal })?;
        if state.fleet() != fleet {
            return Err(LedgerError::OtherFleet { found: state.fleet(), expected: fleet });
        }
        match &self.state {
            Some(ours) if ours.fleet() == fleet => Ok(()),
            Some(ours) => Err(LedgerError::OtherFleet { found: fleet, expected: ours.fleet() }),
            None => {
                self.store_entries(std::slice::from_ref(verified.signed()), 0)?;
                self.state = Some(Arc::new(state));
                Ok(())
            }
        }
    }

    /// Appends entries that follow the newest. All of them are on the disk when this returns; those before a refused one
    /// are kept, and entries that are here already are passed over.
    ///
    /// # Errors
    /// [`LedgerError::Fork`] if an entry differs from the one in its place; others as they say.
    pub fn append(&mut self, entries: Vec<SignedEntry>) -> Result<Option<Head>, LedgerError> {
        let mut state = self.state.clone();
        let mut fresh: Vec<SignedEntry> = Vec::new();
        let mut refused = None;
        for signed in entries {
            match self.admit(&mut state, signed) {
                Ok(Some(signed)) => fresh.push(signed),
                Ok(None) => {}
                Err(error) => {
                    refused = Some(error);
                    break;
                }
            }
        }
        if !fresh.is_empty() {
            let first = self.state.as_ref().map_or(0, |s| s.head().seq.saturating_add(1));
            self.store_entries(&fresh, first)?;
            self.state = state;
        }
        match refused {
            Some(error) => Err(error),
            None => Ok(self.head()),
        }
    }

    /// Checks one entry against the state, which follows it. Nothing if it is here already.
    fn admit(
        &self,
        state: &mut Option<Arc<FleetState>>,
        signed: SignedEntry,
    ) -> Result<Option<SignedEntry>, LedgerError> {
        let verified: VerifiedEntry = signed.verify()?;
        let seq = verified.seq();
        let Some(current) = state else {
            return Err(LedgerError::NotFounded(seq));
        };
        if seq <= current.head().seq {
            self.check_claim(current, &verified)?;
            let ours = self.range(seq, 1, usize::MAX)?.into_iter().next();
            return match ours {
                Some(ours) if ours.hash() != verified.hash() => {
                    Err(LedgerError::Fork { seq, ours: Box::new(ours), theirs: Box::new(verified.signed().clone()) })
                }
                _ => Ok(None),
            };
        }
        Arc::make_mut(current).apply(&verified).map_err(|refusal| LedgerError::Refused { seq, refusal })?;
        Ok(Some(verified.signed().clone()))
    }

    /// An entry for a place that is taken is only worth an alarm if it could be of this ledger: by somebody who is or was
    /// of this fleet. Anybody else could make one.
    fn check_claim(&self, state: &FleetState, verified: &VerifiedEntry) -> Result<(), LedgerError> {
        let (entry, seq) = (verified.entry(), verified.seq());
        let refused = |refusal| Err(LedgerError::Refused { seq, refusal });
        if seq == 0 {
            return match verified.founds() {
                Some(found) if found == state.fleet() => Ok(()),
                Some(found) => Err(LedgerError::OtherFleet { found, expected: state.fleet() }),
                None => refused(Refusal::Genesis("the ledger's first entry is not a genesis entry".into())),
            };
        }
        if entry.fleet != Some(state.fleet()) {
            let found = entry.fleet.map_or_else(|| "none".to_owned(), |f| f.to_string());
            return refused(Refusal::OtherFleet { found, expected: state.fleet() });
        }
        if !state.knows(entry.author) && !state.revoked().contains_key(&entry.author) {
            return refused(Refusal::UnknownAuthor(entry.author));
        }
        Ok(())
    }

    fn store_entries(&self, entries: &[SignedEntry], first: u64) -> Result<(), StoreError> {
        self.store.write(true, |write| {
            let mut table = write.open_table(ENTRIES)?;
            for (seq, entry) in (first..).zip(entries) {
                let bytes = postcard::to_stdvec(entry).map_err(corrupted)?;
                table.insert(seq, bytes.as_slice())?;
            }
            Ok(())
        })
    }

    /// Entries from `from` on: at most `count`, and at most about `bytes` of them, but at least one if there is one.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn range(&self, from: u64, count: usize, bytes: usize) -> Result<Vec<SignedEntry>, StoreError> {
        self.store.read(|read| {
            let table = match read.open_table(ENTRIES) {
                Err(redb::TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
                other => other?,
            };
            let (mut entries, mut total) = (Vec::new(), 0);
            for row in table.range(from..)?.take(count) {
                let (seq, value) = row?;
                if Some(seq.value()) != from.checked_add(entries.len() as u64) {
                    return Err(corrupted(format!("the ledger has a gap before entry {}", seq.value())));
                }
                if value.value().len() > ENTRY_BYTES_MAX + STORED_EXTRA_MAX {
                    return Err(corrupted(format!("entry {} is larger than any entry", seq.value())));
                }
                total += value.value().len();
                if total > bytes && !entries.is_empty() {
                    break;
                }
                entries.push(postcard::from_bytes(value.value()).map_err(corrupted)?);
            }
            Ok(entries)
        })
    }

    /// The entries after `after`, for somebody who has that one; from the genesis entry on for nobody's.
    ///
    /// # Errors
    /// [`StoreError`]. A caller whose entry is not the one here gets that place again, and finds out that histories differ.
    pub fn tail(&self, after: Option<Head>, count: usize, bytes: usize) -> Result<Option<Tail>, StoreError> {
        let Some(head) = self.head() else { return Ok(None) };
        let from = match after {
            None => 0,
            // The entry itself again if it is not the one we have: whoever asks must see that histories differ.
            Some(have) if have.seq <= head.seq => {
                let ours = self.range(have.seq, 1, usize::MAX)?;
                let same = ours.first().is_some_and(|e| e.hash() == have.hash);
                if same { have.seq + 1 } else { have.seq }
            }
            // Ahead of us: there is nothing to send, and the head says how far we are.
            Some(_) => return Ok(Some(Tail { entries: Vec::new(), head })),
        };
        Ok(Some(Tail { entries: self.range(from, count, bytes)?, head }))
    }
}
