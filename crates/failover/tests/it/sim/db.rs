//! A database: a log, a role, and the rule by which it acknowledges.

use std::collections::BTreeMap;

use failover::{Epoch, NodeId, Position, SyncSet};

/// A record: the epoch whose primary wrote it, and a number that no other record has.
pub(crate) type Record = (u64, u64);

#[derive(Clone, Debug, Default)]
pub(crate) struct Db {
    pub(crate) role: Role,
    pub(crate) log: Vec<Record>,
    /// Changes with every command that makes an unfinished one void.
    pub(crate) operation: u64,
    /// Which of them was the last that is no rung: it makes rungs void that have not ended.
    pub(crate) start: u64,
    /// How many records each standby has said that it holds, while this is the primary.
    pub(crate) flushed: BTreeMap<NodeId, usize>,
    /// How many records of the log are acknowledged, or were there before.
    pub(crate) acknowledged: usize,
    pub(crate) sync: Option<SyncSet>,
    pub(crate) serial: u64,
    /// How long the log was when the set came into force, until that is told.
    pub(crate) proving: Option<usize>,
    /// Whether the set has changed since [`crate::invariants::sync_set`] was looked at.
    pub(crate) set_changed: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Role {
    #[default]
    Off,
    /// Receives nothing.
    Alone,
    Standby {
        source: usize,
        epoch: Epoch,
        /// Whether it has been made equal to the source up to where they part.
        joined: bool,
    },
    Primary {
        epoch: Epoch,
    },
}

impl Db {
    pub(crate) fn position(&self) -> Position {
        let epoch = Epoch(self.log.last().map_or(0, |record| record.0));
        Position { epoch, lsn: self.log.len() as u64 }
    }

    pub(crate) fn primary(&self) -> Option<Epoch> {
        match self.role {
            Role::Primary { epoch } => Some(epoch),
            _ => None,
        }
    }

    pub(crate) fn turn_off(&mut self) {
        self.operation += 1;
        self.role = Role::Off;
    }

    pub(crate) fn become_primary(&mut self, epoch: Epoch, sync: Option<SyncSet>, serial: u64, record: u64) {
        self.role = Role::Primary { epoch };
        self.flushed.clear();
        self.acknowledged = self.log.len();
        self.log.push((epoch.0, record));
        self.apply_sync(sync, serial);
        self.proving = Some(self.acknowledged);
    }

    pub(crate) fn apply_sync(&mut self, sync: Option<SyncSet>, serial: u64) {
        (self.sync, self.serial) = (sync, serial);
        self.set_changed = true;
        self.proving = Some(self.log.len());
    }

    /// How many records may be acknowledged.
    pub(crate) fn acknowledgeable(&self) -> usize {
        let Some(set) = &self.sync else { return self.log.len() };
        let Some(enough) = usize::from(set.num).checked_sub(1) else { return self.log.len() };
        let mut held = [0; failover::Settings::MAX_CANDIDATES];
        for (place, name) in held.iter_mut().zip(&set.names) {
            *place = self.flushed.get(name).copied().unwrap_or(0);
        }
        held.sort_unstable_by(|a, b| b.cmp(a));
        held.get(enough).copied().unwrap_or(0).min(self.log.len())
    }

    /// Drops what the source does not have, as a rewind does.
    pub(crate) fn rewind_to(&mut self, source: &[Record]) {
        let mut same = self.log.len().min(source.len());
        while same > 0 && self.log[same - 1] != source[same - 1] {
            same -= 1;
        }
        self.log.truncate(same);
    }
}
