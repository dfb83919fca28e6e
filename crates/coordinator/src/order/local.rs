//! The ledger on this machine's disk.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use protocols::entry::Head;
use protocols::store::{Ledger, LedgerError, Store, StoreError, Tail};
use protocols::{FleetId, FleetState, NodeId, Refusal, SignedEntry};
use tokio::sync::watch;

use super::{AppendError, Order};
use crate::wire::BoxFuture;

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

    /// Appends an entry while `orderer` is who orders here, or by an entry that `or` lets pass. Nothing if another one
    /// orders: that is decided under the same lock as the place.
    pub(super) fn append_as(
        &self,
        orderer: NodeId,
        entry: SignedEntry,
        or: bool,
    ) -> BoxFuture<'static, Result<Option<Head>, AppendError>> {
        let this = self.clone();
        // The sync to disk blocks; and an append must not be cut in two by a caller that hangs up.
        Box::pin(async move {
            let task = tokio::task::spawn_blocking(move || this.append_blocking(Some(orderer).filter(|_| !or), entry));
            task.await.map_err(|e| AppendError::Storage(e.to_string()))?
        })
    }

    fn append_blocking(&self, orderer: Option<NodeId>, entry: SignedEntry) -> Result<Option<Head>, AppendError> {
        let mut ledger = self.lock();
        let hash = entry.hash();
        if orderer.is_some_and(|me| ledger.state().is_none_or(|s| s.orderer() != me)) {
            return Ok(None);
        }
        let newest = self.state.borrow().head();
        let verified = entry.verify().map_err(|e| AppendError::Unverified(e.to_string()))?;
        let head = Head { seq: verified.seq(), hash };
        match ledger.append(vec![verified.signed().clone()]) {
            Ok(_) => {
                self.show(&ledger);
                Ok(Some(head))
            }
            Err(LedgerError::Fork { .. }) => Err(AppendError::Stale(newest)),
            Err(LedgerError::Refused { refusal: Refusal::OutOfPlace { .. }, .. }) => Err(AppendError::Stale(newest)),
            Err(LedgerError::Refused { refusal, .. }) => Err(AppendError::Refused(refusal)),
            Err(LedgerError::Store(error)) => Err(AppendError::Storage(error.to_string())),
            Err(other) => Err(AppendError::Unverified(other.to_string())),
        }
    }

    fn extend_blocking(&self, entries: Vec<SignedEntry>) -> Result<Head, LedgerError> {
        let mut ledger = self.lock();
        let result = ledger.append(entries);
        // Entries before a refused one were kept.
        self.show(&ledger);
        result.map(|_| self.state.borrow().head())
    }

    fn show(&self, ledger: &Ledger) {
        let newest = self.state.borrow().head();
        if let Some(state) = ledger.state().filter(|s| s.head() != newest) {
            self.state.send_replace(Arc::clone(state));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
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
        Box::pin(async move {
            let task = tokio::task::spawn_blocking(move || this.append_blocking(None, entry));
            let head = task.await.map_err(|e| AppendError::Storage(e.to_string()))??;
            head.ok_or_else(|| AppendError::Storage("the ledger is not founded".into()))
        })
    }

    fn extend(&self, entries: Vec<SignedEntry>) -> BoxFuture<'_, Result<Head, LedgerError>> {
        let this = self.clone();
        Box::pin(async move {
            let newest = this.state.borrow().head();
            let task = tokio::task::spawn_blocking(move || this.extend_blocking(entries));
            task.await.unwrap_or(Ok(newest))
        })
    }

    fn tail(&self, after: Option<Head>, count: usize, bytes: usize) -> Result<Tail, StoreError> {
        let ledger = self.lock();
        let tail = ledger.tail(after, count, bytes)?;
        Ok(tail.unwrap_or_else(|| Tail { entries: Vec::new(), head: self.state.borrow().head() }))
    }

    fn range(&self, from: u64, count: usize) -> Result<Vec<SignedEntry>, StoreError> {
        self.lock().range(from, count, usize::MAX)
    }
}
