//! The lease table: what the coordinators' group agrees on, one lease for each cluster.
//!
//! [`LeaseTable::apply`] is deterministic and total: it never fails, it answers. A condition is looked at when an entry
//! is applied, never when it was sent, so a request that was delayed, repeated or reordered on its way cannot do what
//! its sender no longer means.

mod apply;
mod custody;
mod grant;
mod lease;
mod request;
mod retired;
mod sync;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use custody::Custody;
pub use lease::{Beat, Handoff, Lease, Phase, RemoteTurn, Switchover, View};
pub use request::{Answer, Author, Entry, FenceProof, Outcome, Refusal, Request};
pub use sync::SyncSet;

use retired::Retirements;

use crate::clock::Stamp;
use crate::ids::{ClusterName, Epoch};
use crate::mutation::Mutations;
use crate::time::LogTime;

/// Every lease there is, who has custody of what, and the log clock. The snapshot of a member is this value, serialised.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct LeaseTable {
    now: LogTime,
    applied: u64,
    leases: BTreeMap<ClusterName, Lease>,
    /// What must be known of withdrawn clusters, should they be declared again.
    retired: Retirements,
    custodies: BTreeMap<ClusterName, Custody>,
    custody_epoch: Epoch,
    #[serde(skip)]
    mutations: Mutations,
}

impl LeaseTable {
    /// How many clusters a group looks after.
    pub const MAX_CLUSTERS: usize = 10_000;

    /// An empty table.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty table with deliberate faults.
    #[doc(hidden)]
    pub fn with_mutations(mutations: Mutations) -> Self {
        Self { mutations, ..Self::default() }
    }

    /// What the log clock says.
    pub const fn now(&self) -> LogTime {
        self.now
    }

    /// How many entries were applied.
    pub const fn applied(&self) -> u64 {
        self.applied
    }

    /// The lease of a cluster.
    pub fn lease(&self, cluster: &ClusterName) -> Option<&Lease> {
        self.leases.get(cluster)
    }

    /// Every lease, by its cluster's name.
    pub fn leases(&self) -> impl Iterator<Item = (&ClusterName, &Lease)> {
        self.leases.iter()
    }

    /// Whether somebody waits for time to pass.
    pub fn needs_clock(&self) -> bool {
        !self.leases.is_empty() || self.is_anything_in_custody()
    }

    /// What a member or an onlooker may be told of a cluster, without ordering an entry: as old as this member's log.
    pub fn view(&self, cluster: &ClusterName, author: Author, version: u64) -> Option<View> {
        Some(self.leases.get(cluster)?.view((self.now, self.applied), author, version, self.mutations))
    }

    /// Applies the next entry of the log: moves the clock, then decides.
    pub fn apply(&mut self, stamp: Stamp, entry: &Entry) -> Outcome {
        self.now = self.now + stamp.elapsed;
        self.applied = self.applied.saturating_add(1);
        let Entry::Ask { cluster, author, attempt, request } = entry else {
            self.retire();
            return Outcome { at: self.now, attempt: None, answer: Ok(Answer::Noted), view: None };
        };
        let answer = self.decide(cluster, *author, *attempt, request);
        let version = request.version();
        Outcome { at: self.now, attempt: Some(*attempt), answer, view: self.view(cluster, *author, version) }
    }
}
