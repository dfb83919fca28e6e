//! The best chain that was found so far, in the data folder or in one beside what cannot be used.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use protocols::entry::Head;
use protocols::store::{Ledger, LedgerError, Store, StoreError};
use protocols::{FleetId, FleetState, NodeId, SignedEntry};

use super::RecoverParts;

/// The best chain so far.
pub(super) struct Chain {
    pub(super) store: Arc<Store>,
    pub(super) ledger: Ledger,
    /// Where it is, if not in the data folder itself.
    pub(super) elsewhere: Option<PathBuf>,
    /// Those whose history differs from it, and from where on.
    pub(super) differs: Vec<(NodeId, u64)>,
    pub(super) rivals: u32,
}

impl Chain {
    pub(super) fn open(parts: &RecoverParts) -> anyhow::Result<Self> {
        match open_ledger(&parts.data, parts.fleet) {
            Ok((store, ledger)) => Ok(Self { store, ledger, elsewhere: None, differs: Vec::new(), rivals: 0 }),
            Err(error @ LedgerError::OtherFleet { .. }) => Err(error).context("cannot recover into this folder"),
            Err(error @ LedgerError::Store(StoreError::InUse { .. })) => {
                Err(error).context("stop the coordinator before its ledger is recovered")
            }
            Err(error) => {
                tracing::warn!(%error, "the ledger that is here cannot be used");
                let dir = fresh_folder(&parts.data, 0)?;
                let (store, ledger) = open_ledger(&dir, parts.fleet)?;
                Ok(Self { store, ledger, elsewhere: Some(dir), differs: Vec::new(), rivals: 0 })
            }
        }
    }

    pub(super) fn head(&self) -> Option<Head> {
        self.ledger.head()
    }

    pub(super) fn state(&self) -> Option<&Arc<FleetState>> {
        self.ledger.state()
    }

    pub(super) fn has(&self, head: Head) -> bool {
        self.ledger.range(head.seq, 1, usize::MAX).is_ok_and(|e| e.first().is_some_and(|e| e.hash() == head.hash))
    }
}

pub(super) fn open_ledger(dir: &Path, fleet: FleetId) -> Result<(Arc<Store>, Ledger), LedgerError> {
    let store = Arc::new(Store::open(dir)?);
    let ledger = Ledger::open(Arc::clone(&store), Some(fleet))?;
    Ok((store, ledger))
}

pub(super) fn fresh_folder(data: &Path, number: u32) -> anyhow::Result<PathBuf> {
    let dir = data.join(format!("recovering-{number}"));
    match std::fs::remove_dir_all(&dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot clear {}", dir.display()))
        }
        _ => Ok(dir),
    }
}

pub(super) fn append(ledger: &mut Ledger, fleet: FleetId, mut entries: Vec<SignedEntry>) -> Result<(), LedgerError> {
    if ledger.state().is_none() && !entries.is_empty() {
        ledger.found(entries.remove(0), fleet)?;
    }
    ledger.append(entries).map(drop)
}
