//! What is kept of withdrawn clusters, so that one which is declared again goes on where it ended.
//!
//! An epoch is a fencing token, so it must not come twice; nor may a node that has not heard of the withdrawal take the
//! versions and rounds of the new lease for those that it knows. Of databases it is kept besides who could have
//! acknowledged writes: their data outlives the declaration.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::LeaseTable;
use super::lease::{Lease, Phase};
use super::sync::SyncSet;
use crate::ids::{ClusterName, Epoch, NodeId, Round};
use crate::mutation::{Mutation, Mutations};
use crate::settings::Settings;

/// What is kept of one withdrawn cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct Retired {
    epoch: Epoch,
    version: u64,
    round: Round,
    sync_serial: u64,
    rebuild_serial: u64,
    /// Of databases: by which sets writes may have been acknowledged.
    sync: Vec<SyncSet>,
    /// Of databases: whose copies are not whole.
    rebuilding: BTreeMap<NodeId, u64>,
}

/// The withdrawn clusters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Retirements {
    known: BTreeMap<ClusterName, Retired>,
    /// Where a cluster begins whose name is not among the known, because others took its place: beyond all of those.
    floor: Retired,
}

impl LeaseTable {
    /// How many withdrawn clusters are remembered one by one.
    pub const MAX_RETIRED: usize = 10_000;

    /// Forgets the leases of withdrawn clusters that nobody holds.
    pub(super) fn retire(&mut self) {
        let held = self.mutations.has(Mutation::ForgetHeldCluster);
        let is_over = |lease: &Lease| lease.withdrawn && (held || lease.phase != Phase::Held);
        let over: Vec<ClusterName> =
            self.leases.iter().filter(|(_, lease)| is_over(lease)).map(|(name, _)| name.clone()).collect();
        for name in over {
            if self.retired.make_room()
                && let Some(lease) = self.leases.remove(&name)
            {
                self.retired.known.insert(name, Retired::of(&lease));
            }
        }
    }
}

impl Retirements {
    /// The lease of a cluster that is declared, perhaps again.
    pub(super) fn revive(&mut self, cluster: &ClusterName, settings: &Arc<Settings>, mutations: Mutations) -> Lease {
        let fresh = Lease::new(Arc::clone(settings));
        let before = self.known.remove(cluster).unwrap_or_default().or_beyond(&self.floor);
        let epochs = !mutations.has(Mutation::ForgetWithdrawnEpochs);
        let versions = !mutations.has(Mutation::ForgetWithdrawnVersions);
        let sets = settings.gated() && !mutations.has(Mutation::ForgetWithdrawnSets);
        // Nobody is `first` who would make a database anew where there is one.
        let phase = if before.sync.is_empty() { Phase::Vacant } else { Phase::Released };
        Lease {
            epoch: if epochs { before.epoch } else { fresh.epoch },
            version: if versions { before.version.saturating_add(1) } else { fresh.version },
            round: Round(before.round.0.saturating_add(1)),
            phase,
            sync: if sets { before.sync } else { Vec::new() },
            sync_serial: before.sync_serial,
            rebuilding: before.rebuilding,
            rebuild_serial: before.rebuild_serial,
            ..fresh
        }
    }

    /// Makes room for one more, by forgetting the name of the service with the lowest epoch. Databases are not forgotten.
    fn make_room(&mut self) -> bool {
        if self.known.len() < LeaseTable::MAX_RETIRED {
            return true;
        }
        let services = self.known.iter().filter(|(_, retired)| retired.sync.is_empty());
        let lowest = services.min_by_key(|(_, retired)| retired.epoch).map(|(name, _)| name.clone());
        let Some(lowest) = lowest.and_then(|name| self.known.remove(&name)) else { return false };
        self.floor = std::mem::take(&mut self.floor).or_beyond(&lowest);
        true
    }
}

impl Retired {
    fn of(lease: &Lease) -> Self {
        Self {
            epoch: lease.epoch,
            version: lease.version,
            round: lease.round,
            sync_serial: lease.sync_serial,
            rebuild_serial: lease.rebuild_serial,
            sync: lease.sync.clone(),
            rebuilding: if lease.settings.gated() { lease.rebuilding.clone() } else { BTreeMap::new() },
        }
    }

    /// The same, but not before where `other` ended.
    fn or_beyond(self, other: &Self) -> Self {
        Self {
            epoch: self.epoch.max(other.epoch),
            version: self.version.max(other.version),
            round: self.round.max(other.round),
            sync_serial: self.sync_serial.max(other.sync_serial),
            rebuild_serial: self.rebuild_serial.max(other.rebuild_serial),
            ..self
        }
    }
}

#[cfg(test)]
mod tests;
