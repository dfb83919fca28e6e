//! Who decides which entry comes next: one trait, so that a group can take the place of a single coordinator.

use std::sync::Arc;

use protocols::control::SubmitError;
use protocols::entry::Head;
use protocols::store::{LedgerError, StoreError, Tail};
use protocols::{FleetState, Refusal, SignedEntry};
use tokio::sync::watch;

use crate::wire::BoxFuture;

mod chair;
mod local;

pub use chair::{Chair, Hold};
pub use local::LocalOrder;

/// Orders entries: an append is linearizable and durable before it is answered.
pub trait Order: Send + Sync + 'static {
    /// The state after the newest entry.
    fn state(&self) -> Arc<FleetState>;
    /// Changes with every entry.
    fn watch(&self) -> watch::Receiver<Arc<FleetState>>;
    /// Appends an entry that names the newest one as its predecessor. Appending an entry again is no error.
    fn append(&self, entry: SignedEntry) -> BoxFuture<'_, Result<Head, AppendError>>;
    /// Takes entries that others ordered, which follow the newest; what is here already is passed over.
    fn extend(&self, entries: Vec<SignedEntry>) -> BoxFuture<'_, Result<Head, LedgerError>>;
    /// Entries after `after`; see [`Ledger::tail`](protocols::store::Ledger::tail).
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
    /// Who orders the ledger does not take it, or cannot be reached, or holds back.
    #[error(transparent)]
    Rejected(SubmitError),
}
