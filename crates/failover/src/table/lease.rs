//! The lease of one cluster, and what is told of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::request::{Author, FenceProof};
use super::sync::SyncSet;
use crate::ids::{Attempt, Epoch, NodeId, Position, Round};
use crate::mutation::{Mutation, Mutations};
use crate::settings::{FailoverStrategy, Promotion, Settings};
use crate::time::LogTime;

/// How a lease stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Nobody ever held it.
    Vacant,
    /// Its holder has it, or had it until it expired.
    Held,
    /// Its holder stopped in order and gave it up.
    Released,
    /// Its holder proved that it writes no more.
    Fenced,
    /// Somebody else proved that the holder writes no more.
    Proven,
}

/// The lease of one cluster.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Lease {
    /// What its owner decided.
    pub settings: Arc<Settings>,
    /// Counts changes of the settings, pauses and resumptions.
    pub version: u64,
    /// The version that the holder must have acknowledged before anybody takes over from its silence.
    pub must_see: u64,
    /// The version that the holder has acknowledged.
    pub seen: u64,
    /// Whether failover is paused.
    pub paused: bool,
    /// Who writes, counted.
    pub epoch: Epoch,
    /// Which reports count.
    pub round: Round,
    /// Who holds or last held the lease.
    pub holder: Option<NodeId>,
    /// How it stands.
    pub phase: Phase,
    /// When the group no longer keeps it.
    pub expires: LogTime,
    /// The holder's last renewal.
    pub renewed: Option<Attempt>,
    /// What candidates hold that have stopped receiving, in this round.
    pub reports: BTreeMap<NodeId, Position>,
    /// How many reports of this round have arrived.
    pub reports_heard: u32,
    /// By which sets writes may have been acknowledged, oldest first. At most as many as there are different ones.
    pub sync: Vec<SyncSet>,
    /// Counts beginnings of a new set.
    pub sync_serial: u64,
    /// To whom the lease was released.
    pub handoff: Option<Handoff>,
    /// To whom the lease is to move.
    pub switchover: Option<Switchover>,
    /// Whose turn it is to act against the holder.
    pub remote: Option<RemoteTurn>,
    /// When each node was last heard of.
    pub beats: BTreeMap<NodeId, Beat>,
    /// Nodes that are being built anew, and by which order.
    pub rebuilding: BTreeMap<NodeId, u64>,
    /// Counts orders to build a node anew.
    pub rebuild_serial: u64,
    /// How the last fence was proven.
    pub proof: Option<FenceProof>,
    /// Whether the cluster is not declared any more: nobody else is granted its lease.
    pub withdrawn: bool,
}

/// To whom a lease was released, and until when it is kept for that node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Handoff {
    /// The node.
    pub to: NodeId,
    /// What it must hold at least.
    pub min: Position,
    /// Until when nobody else may take it.
    pub until: LogTime,
}

/// To whom a lease is to move.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Switchover {
    /// The node.
    pub to: NodeId,
    /// When the plan is dropped.
    pub until: LogTime,
}

/// Whose turn it is to act against a holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RemoteTurn {
    /// The node.
    pub actor: NodeId,
    /// When another may try.
    pub until: LogTime,
}

/// When a node was last heard of, and what it held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Beat {
    /// When the group applied it.
    pub at: LogTime,
    /// Which one it was.
    pub attempt: Attempt,
    /// What the node held, if it said.
    pub position: Option<Position>,
}

/// How a cluster stands, as one node is told. True when it was written; the table decides anew at every request.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct View {
    /// Orders views: the entry after which this one was true.
    pub index: u64,
    /// The log clock then.
    pub at: LogTime,
    /// The version of the settings.
    pub version: u64,
    /// The settings, if the asker knows an older version.
    pub settings: Option<Arc<Settings>>,
    /// Who writes, counted.
    pub epoch: Epoch,
    /// Which reports count.
    pub round: Round,
    /// Who holds or last held the lease.
    pub holder: Option<NodeId>,
    /// How the lease stands.
    pub phase: Phase,
    /// Whether a candidate may ask for it.
    pub open: bool,
    /// Whether it would be open if somebody proved that the holder is off.
    pub wants_proof: bool,
    /// Whether failover is paused.
    pub paused: bool,
    /// The holder's last renewal.
    pub renewed: Option<Attempt>,
    /// To whom the lease is to move.
    pub switchover: Option<NodeId>,
    /// For whom alone a released lease is kept at this time.
    pub kept_for: Option<NodeId>,
    /// The newest synchronous set.
    pub sync: Option<SyncSet>,
    /// Which beginning made it so.
    pub sync_serial: u64,
    /// Whether older sets count too.
    pub sync_joint: bool,
    /// Whether the asker's report counts.
    pub reported: bool,
    /// The order to build the asker anew, if there is one.
    pub rebuild: Option<u64>,
    /// Whether the cluster is not declared any more.
    pub withdrawn: bool,
    /// Whose turn it is to act against the silent holder.
    pub acting: Option<NodeId>,
}

impl Lease {
    pub(super) fn new(settings: Arc<Settings>) -> Self {
        Self {
            settings,
            version: 1,
            must_see: 0,
            seen: 0,
            paused: false,
            epoch: Epoch(0),
            round: Round(0),
            holder: None,
            phase: Phase::Vacant,
            expires: LogTime::ZERO,
            renewed: None,
            reports: BTreeMap::new(),
            reports_heard: 0,
            sync: Vec::new(),
            sync_serial: 0,
            handoff: None,
            switchover: None,
            remote: None,
            beats: BTreeMap::new(),
            rebuilding: BTreeMap::new(),
            rebuild_serial: 0,
            proof: None,
            withdrawn: false,
        }
    }

    /// Whether the cluster is withdrawn and nobody can be writing: there is nothing to be told of it.
    pub fn is_over(&self, now: LogTime) -> bool {
        // Who may serve on without a lease may do so in silence.
        let ends = !self.paused && self.settings.strategy == FailoverStrategy::AbsoluteConsistency;
        let silent = ends && self.may_succeed_silence(now, Mutations::NONE);
        self.withdrawn && (self.phase != Phase::Held || silent)
    }

    /// Whether the holder has been silent for longer than its lease.
    pub fn expired(&self, now: LogTime) -> bool {
        self.phase == Phase::Held && now > self.expires
    }

    /// Whether the silence of the holder is known well enough to take over from it.
    pub(super) fn may_succeed_silence(&self, now: LogTime, mutations: Mutations) -> bool {
        let aware = self.seen >= self.must_see || mutations.has(Mutation::BindUnacknowledgedChange);
        let proof = self.settings.promotion == Promotion::RequireProof && !mutations.has(Mutation::GrantWithoutProof);
        self.expired(now) && aware && !proof
    }

    /// For whom alone a released lease is kept now.
    pub(super) fn kept_for(&self, now: LogTime) -> Option<NodeId> {
        self.handoff.filter(|handoff| self.phase == Phase::Released && now <= handoff.until).map(|handoff| handoff.to)
    }

    /// What candidates reported no longer counts.
    pub(super) fn next_round(&mut self) {
        self.round = Round(self.round.0.saturating_add(1));
        self.reports.clear();
        self.reports_heard = 0;
    }

    pub(super) fn view(
        &self,
        (now, index): (LogTime, u64),
        author: Author,
        version: u64,
        mutations: Mutations,
    ) -> View {
        let free = !self.paused && (!self.withdrawn || mutations.has(Mutation::GrantWithdrawn));
        let open = free && (self.phase != Phase::Held || self.may_succeed_silence(now, mutations));
        let me = match author {
            Author::Node(node) => Some(node),
            Author::Admin => None,
        };
        View {
            index,
            at: now,
            version: self.version,
            settings: (version < self.version).then(|| Arc::clone(&self.settings)),
            epoch: self.epoch,
            round: self.round,
            holder: self.holder,
            phase: self.phase,
            open,
            wants_proof: free && self.expired(now) && !open,
            paused: self.paused,
            renewed: self.renewed,
            switchover: self.switchover.filter(|plan| now <= plan.until).map(|plan| plan.to),
            kept_for: self.kept_for(now),
            sync: self.sync.last().cloned(),
            sync_serial: self.sync_serial,
            sync_joint: self.sync.len() > 1,
            reported: me.is_some_and(|me| self.reports.contains_key(&me)),
            rebuild: me.and_then(|me| self.rebuilding.get(&me).copied()),
            withdrawn: self.withdrawn,
            acting: self.remote.filter(|turn| self.expired(now) && now <= turn.until).map(|turn| turn.actor),
        }
    }
}
