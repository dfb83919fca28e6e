//! Who decides which entry comes next: one trait, so that a group can take the place of a single coordinator.

use std::sync::{Arc, Mutex, PoisonError};

use protocols::entry::Head;
use protocols::store::{Ledger, LedgerError, Store, StoreError, Tail};
use protocols::{FleetId, FleetState, Refusal, SignedEntry};
use tokio::sync::watch;

use crate::wire::BoxFuture;

/// Orders entries: an append is linearizable and durable before it is answered.
pub trait Order: Send + Sync + 'static {
    /// The state after the newest entry.
    fn state(&self) -> Arc<FleetState>;
    /// Changes with every entry.
    fn watch(&self) -> watch::Receiver<Arc<FleetState>>;
    /// Appends an entry that names the newest one as its predecessor. Appending an entry again is no error.
    fn append(&self, entry: SignedEntry) -> BoxFuture<'_, Result<Head, AppendError>>;
    /// Entries after `after`; see [`Ledger::tail`].
    ///
    /// # Errors
    /// [`StoreError`].
    fn tail(&self, after: Option<Head>, count: usize, bytes: usize) -> Result<Tail, StoreError>;
    /// At most `count` entries from place `from` on.
    ///
    /// # Errors
    /// [`StoreError`].
    fn range(&self, from: u64, count: usize) -> Result<Vec<SignedEntry>, StoreError>;
}

/// Why an entry was not appended.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// Another entry came first.
    #[error("another entry came first")]
    Stale(Head),
    /// It is not allowed or not sound.
    #[error(transparent)]
    Refused(Refusal),
    /// It does not verify.
    #[error("{0}")]
    Unverified(String),
    /// It could not be stored.
    #[error("{0}")]
    Storage(String),
}

/// A group of one: the ledger on this machine's disk.
#[derive(Debug, Clone)]
pub struct LocalOrder {
    ledger: Arc<Mutex<Ledger>>,
    state: watch::Sender<Arc<FleetState>>,
}

impl LocalOrder {
    /// Opens the ledger in `store`; `genesis` founds it if it is empty.
    ///
    /// # Errors
    /// [`LedgerError`], also if the ledger is another fleet's.
    pub fn open(store: Arc<Store>, genesis: SignedEntry) -> Result<Self, LedgerError> {
        let fleet = FleetId::from_bytes(*genesis.hash().as_bytes());
        let mut ledger = Ledger::open(store, Some(fleet))?;
        ledger.found(genesis, fleet)?;
        let state = ledger.state().cloned().ok_or(LedgerError::NotFounded(0))?;
        Ok(Self { ledger: Arc::new(Mutex::new(ledger)), state: watch::Sender::new(state) })
    }

    fn append_blocking(&self, entry: SignedEntry) -> Result<Head, AppendError> {
        let mut ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        let hash = entry.hash();
        let newest = self.state.borrow().head();
        let verified = entry.verify().map_err(|e| AppendError::Unverified(e.to_string()))?;
        let head = Head { seq: verified.seq(), hash };
        match ledger.append(vec![verified.signed().clone()]) {
            Ok(_) => {
                if let Some(state) = ledger.state().filter(|s| s.head() != newest) {
                    self.state.send_replace(Arc::clone(state));
                }
                Ok(head)
            }
            Err(LedgerError::Fork { .. }) => Err(AppendError::Stale(newest)),
            Err(LedgerError::Refused { refusal: Refusal::OutOfPlace { .. }, .. }) => Err(AppendError::Stale(newest)),
            Err(LedgerError::Refused { refusal, .. }) => Err(AppendError::Refused(refusal)),
            Err(LedgerError::Store(error)) => Err(AppendError::Storage(error.to_string())),
            Err(other) => Err(AppendError::Unverified(other.to_string())),
        }
    }
}

impl Order for LocalOrder {
    fn state(&self) -> Arc<FleetState> {
        Arc::clone(&self.state.borrow())
    }

    fn watch(&self) -> watch::Receiver<Arc<FleetState>> {
        self.state.subscribe()
    }

    fn append(&self, entry: SignedEntry) -> BoxFuture<'_, Result<Head, AppendError>> {
        let this = self.clone();
        // The sync to disk blocks; and an append must not be cut in two by a caller that hangs up.
        Box::pin(async move {
            let task = tokio::task::spawn_blocking(move || this.append_blocking(entry));
            task.await.map_err(|e| AppendError::Storage(e.to_string()))?
        })
    }

    fn tail(&self, after: Option<Head>, count: usize, bytes: usize) -> Result<Tail, StoreError> {
        let ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        let tail = ledger.tail(after, count, bytes)?;
        Ok(tail.unwrap_or_else(|| Tail { entries: Vec::new(), head: self.state.borrow().head() }))
    }

    fn range(&self, from: u64, count: usize) -> Result<Vec<SignedEntry>, StoreError> {
        let ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        ledger.range(from, count, usize::MAX)
    }
}
