//! The best chain that was found so far, in a folder of its own beside the ledger that is here: what is not put in place
//! leaves nothing behind.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use protocols::entry::Head;
use protocols::store::{Ledger, LedgerError, Store, StoreError};
use protocols::{FleetId, FleetState, Name, NodeId, SignedEntry};

use super::{DATABASE, RecoverParts};

/// The best chain so far.
pub(super) struct Chain {
    pub(super) store: Arc<Store>,
    pub(super) ledger: Ledger,
    /// Where it is.
    pub(super) dir: PathBuf,
    /// Whether it is what was here, or goes on from that.
    pub(super) is_own: bool,
    /// Whether what was here was left for another history.
    pub(super) left_own: bool,
    /// Those who gave entries of it.
    pub(super) givers: Vec<NodeId>,
    /// Those who gave another history, and from where on that differs.
    pub(super) differs: Vec<(NodeId, u64)>,
    /// The first place where any differs.
    pub(super) parted: Option<u64>,
    rivals: u32,
    /// What any ledger that was seen calls its members.
    names: BTreeMap<NodeId, Name>,
    /// What of each was looked into last.
    judged: BTreeMap<NodeId, Head>,
    /// What is here, held so that nobody else uses it meanwhile.
    pub(super) own: Option<Store>,
}

impl Chain {
    /// Begins with a copy of the ledger that is here, if that can be used.
    pub(super) fn open(parts: &RecoverParts) -> anyhow::Result<Self> {
        let dir = fresh_folder(&parts.data, 0)?;
        let own = match open_ledger(&parts.data, parts.fleet) {
            Ok((store, ledger)) => {
                drop((ledger, store));
                let copied = std::fs::create_dir_all(&dir)
                    .and_then(|()| std::fs::copy(parts.data.join(DATABASE), dir.join(DATABASE)));
                copied.with_context(|| format!("cannot copy the ledger into {}", dir.display()))?;
                Some(Store::open(&parts.data).context("stop the coordinator before its ledger is recovered")?)
            }
            Err(error @ LedgerError::OtherFleet { .. }) => {
                return Err(error).context("cannot recover into this folder");
            }
            Err(error @ LedgerError::Store(StoreError::InUse { .. })) => {
                return Err(error).context("stop the coordinator before its ledger is recovered");
            }
            Err(error) => {
                tracing::warn!(%error, "the ledger that is here cannot be used");
                None
            }
        };
        let (store, ledger) = open_ledger(&dir, parts.fleet)?;
        let (givers, differs) = (Vec::new(), Vec::new());
        let (is_own, names) = (own.is_some(), BTreeMap::new());
        let mut this = Self {
            store,
            ledger,
            dir,
            is_own,
            left_own: false,
            givers,
            differs,
            parted: None,
            rivals: 0,
            names,
            judged: BTreeMap::new(),
            own,
        };
        this.learn_names();
        Ok(this)
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

    /// Remembers what the ledger calls its members, also for when it is not the best one any more.
    pub(super) fn learn_names(&mut self) {
        let Some(state) = self.ledger.state() else { return };
        self.names.extend(state.members().iter().map(|(id, member)| (*id, member.name.clone())));
    }

    /// Whether somebody's word counts for nothing.
    pub(super) fn ignores(&self, parts: &RecoverParts, who: NodeId) -> bool {
        let name = self.names.get(&who);
        parts.ignore.iter().any(|told| *told == who.to_string() || name.is_some_and(|name| name.as_str() == told))
    }

    /// A ledger beside this one, for another history.
    pub(super) fn rival(&mut self, parts: &RecoverParts) -> anyhow::Result<(PathBuf, Arc<Store>, Ledger)> {
        self.rivals += 1;
        let dir = fresh_folder(&parts.data, self.rivals)?;
        let (store, ledger) = open_ledger(&dir, parts.fleet)?;
        Ok((dir, store, ledger))
    }

    /// Whether what somebody claims was looked into already.
    pub(super) fn was_judged(&self, who: NodeId, head: Head) -> bool {
        self.judged.get(&who) == Some(&head)
    }

    /// What somebody claims was looked into, whatever came of it.
    pub(super) fn judge(&mut self, who: NodeId, head: Head) {
        self.judged.insert(who, head);
    }

    /// Compares what somebody gave with this. Goes on with that if it is another history and newer; those who gave this
    /// one have another then.
    pub(super) fn weigh(&mut self, rival: (PathBuf, Arc<Store>, Ledger), from: NodeId) -> anyhow::Result<()> {
        let (dir, store, ledger) = rival;
        let newest = ledger.head();
        let Some(head) = newest.filter(|head| !self.has(*head)) else {
            drop((ledger, store));
            return clear(&dir);
        };
        let parted = self.parting(&ledger, head.seq);
        tracing::error!(from = %from.short(), parted, "its history differs from what others gave");
        self.parted = Some(self.parted.map_or(parted, |before| before.min(parted)));
        if self.head().is_some_and(|ours| ours.seq >= head.seq) {
            self.differs.push((from, parted));
            drop((ledger, store));
            return clear(&dir);
        }
        let left = std::mem::replace(&mut self.givers, vec![from]);
        self.differs.extend(left.into_iter().map(|giver| (giver, parted)));
        self.left_own |= self.is_own;
        self.take((dir, store, ledger))
    }

    /// The first place where two histories differ, of which the other one's newest entry is not here.
    fn parting(&self, other: &Ledger, newest: u64) -> u64 {
        let at = |seq: u64| other.range(seq, 1, usize::MAX).ok()?.first().map(|e| Head { seq, hash: e.hash() });
        // Once they differ they differ for good.
        let (mut same, mut differ) = (0, newest);
        while same + 1 < differ {
            let middle = same + (differ - same) / 2;
            if at(middle).is_some_and(|head| self.has(head)) { same = middle } else { differ = middle }
        }
        differ
    }

    /// Forgets this history, whose only giver is ignored. The names in it stay known.
    pub(super) fn forget(&mut self, parts: &RecoverParts) -> anyhow::Result<()> {
        self.givers.clear();
        let empty = self.rival(parts)?;
        self.take(empty)
    }

    fn take(&mut self, (dir, store, ledger): (PathBuf, Arc<Store>, Ledger)) -> anyhow::Result<()> {
        (self.store, self.ledger, self.is_own) = (store, ledger, false);
        self.learn_names();
        clear(&std::mem::replace(&mut self.dir, dir))
    }
}

pub(super) fn open_ledger(dir: &Path, fleet: FleetId) -> Result<(Arc<Store>, Ledger), LedgerError> {
    let store = Arc::new(Store::open(dir)?);
    let ledger = Ledger::open(Arc::clone(&store), Some(fleet))?;
    Ok((store, ledger))
}

fn fresh_folder(data: &Path, number: u32) -> anyhow::Result<PathBuf> {
    let dir = data.join(format!("recovering-{number}"));
    clear(&dir)?;
    Ok(dir)
}

/// Removes a folder, if it is there.
pub(super) fn clear(dir: &Path) -> anyhow::Result<()> {
    match std::fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot clear {}", dir.display()))
        }
        _ => Ok(()),
    }
}

pub(super) fn append(ledger: &mut Ledger, fleet: FleetId, mut entries: Vec<SignedEntry>) -> Result<(), LedgerError> {
    if ledger.state().is_none() && !entries.is_empty() {
        ledger.found(entries.remove(0), fleet)?;
    }
    ledger.append(entries).map(drop)
}
