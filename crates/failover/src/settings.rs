//! What a cluster's owner decides: strategy, candidates, times. Checked before anything runs by it.

mod check;
mod seed;

use serde::{Deserialize, Serialize};

pub use check::{SettingsError, Surroundings};
pub use seed::SeedSettings;

use crate::ids::NodeId;
use crate::time::Span;

/// What must never happen, and what may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailoverStrategy {
    /// Never two primaries, and no acknowledged write lost; rather none than two.
    AbsoluteConsistency,
    /// A primary that is cut off goes on serving; who meets a later epoch yields. Refused for [`Workload::StatefulSql`].
    SplitBrainAllowed,
}

/// What is kept writable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Workload {
    /// A database that replicates to its standbys; the sync gate watches over what it acknowledged.
    StatefulSql,
    /// Anything else that must run once; it has no positions, so the lease and the fence alone protect it.
    Service,
}

/// What must be known of a silent primary before another is granted its lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Promotion {
    /// That its lease has expired: it fences itself by then, and its watchdog bites.
    TrustSelfFence,
    /// That somebody has seen it off: its own confirmation, or a confirmed remote action.
    RequireProof,
}

/// Whether a preferred node that has returned takes over again by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Failback {
    /// When somebody asks for a switchover.
    Manual,
    /// As a planned switchover, once it has followed the primary for so long without a gap.
    After(Span),
}

/// A node that may hold the lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Candidate {
    /// The node.
    pub node: NodeId,
    /// Among nodes that hold as much, the higher one asks first.
    pub priority: u8,
}

/// One rung of the fence ladder.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RungPlan {
    /// What is done.
    pub rung: Rung,
    /// How long it may take until it is verified; then the next rung begins.
    pub within: Span,
}

/// A way to make sure that a workload writes no more. Begun is not done: each must be verified.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rung {
    /// Stop it without waiting for its clients.
    Immediate,
    /// Kill every process of its control group.
    Kill,
    /// Cut it off from its clients and its standbys.
    CutTraffic,
    /// An action that the configuration names: a command, a switch port, a power outlet.
    Action(String),
}

/// A remote action against a node that does not answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Remote {
    /// The action's name, known to the node that carries it out.
    pub action: String,
    /// How long it may take until it is verified; then another node may try.
    pub within: Span,
}

/// Everything that is decided about one cluster.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// What must never happen.
    pub strategy: FailoverStrategy,
    /// What is kept writable.
    pub workload: Workload,
    /// What must be known of a silent primary.
    pub promotion: Promotion,
    /// Whether a preferred node takes over again by itself.
    pub failback: Failback,
    /// Who may hold the lease; 1 to [`Settings::MAX_CANDIDATES`].
    pub candidates: Vec<Candidate>,
    /// Who alone may hold the first lease: the node that has the data already. Anybody if it is not named.
    pub first: Option<NodeId>,
    /// How many standbys must hold a write before it is acknowledged.
    pub sync: u8,
    /// How long the group keeps a lease after it applied a renewal.
    pub ttl: Span,
    /// How much earlier than the group the holder counts its lease as over. Covers the drift of clocks.
    pub slack: Span,
    /// How often a node renews its lease or says that it lives.
    pub renew: Span,
    /// The fence ladder, first rung first. Empty for [`FailoverStrategy::SplitBrainAllowed`], 1 to
    /// [`Settings::MAX_RUNGS`] otherwise. All of it must fit before the lease is over.
    pub ladder: Vec<RungPlan>,
    /// A remote action against a primary that cannot prove it is fenced.
    pub remote: Option<Remote>,
    /// How long a workload may take to become writable after the grant.
    pub start_within: Span,
    /// How long a planned stop may take before it becomes a fence.
    pub stop_within: Span,
    /// How long a planned handoff waits for its target before anybody may take the lease.
    pub handoff_within: Span,
    /// The longest time a node that was fenced repeatedly holds back. At least the ttl.
    pub hold_down_max: Span,
}

impl Settings {
    /// How many candidates a cluster may have.
    pub const MAX_CANDIDATES: usize = 9;
    /// How many rungs a ladder may have.
    pub const MAX_RUNGS: usize = 6;
    /// How long the name of an action may be, in bytes.
    pub const MAX_ACTION_BYTES: usize = 64;

    /// For nodes on one site: 8 s until another takes over, renewed every 0.8 s, 2 s to fence.
    pub fn lan(workload: Workload, candidates: Vec<Candidate>) -> Self {
        let (ttl, slack) = (Span::from_secs(8), Span::from_millis(500));
        Self::profile(workload, candidates).timed(ttl, slack, Span::from_millis(800), Span::from_secs(2))
    }

    /// For sites joined by long or mobile lines: 45 s until another takes over, renewed every 3 s, 10 s to fence.
    pub fn wan(workload: Workload, candidates: Vec<Candidate>) -> Self {
        let (ttl, slack) = (Span::from_secs(45), Span::from_secs(1));
        Self::profile(workload, candidates).timed(ttl, slack, Span::from_secs(3), Span::from_secs(10))
    }

    /// For databases that a Kubernetes operator runs: as [`Settings::wan`], with 25 s to fence.
    pub fn kubernetes(workload: Workload, candidates: Vec<Candidate>) -> Self {
        Self::wan(workload, candidates).timed(
            Span::from_secs(45),
            Span::from_secs(1),
            Span::from_secs(3),
            Span::from_secs(25),
        )
    }

    /// The fastest that holds with a group whose elections end within 1.1 s: 5 s until another takes over.
    pub fn fast(workload: Workload, candidates: Vec<Candidate>) -> Self {
        let (ttl, slack) = (Span::from_secs(5), Span::from_millis(300));
        Self::profile(workload, candidates).timed(ttl, slack, Span::from_millis(500), Span::from_millis(1_500))
    }

    /// The same with another ttl, slack and interval of renewals, and the usual ladder in this time.
    pub fn timed(mut self, ttl: Span, slack: Span, renew: Span, fence: Span) -> Self {
        (self.ttl, self.slack, self.renew, self.stop_within) = (ttl, slack, renew, ttl);
        self.ladder = Self::ladder_of(fence);
        self
    }

    fn profile(workload: Workload, candidates: Vec<Candidate>) -> Self {
        Self {
            strategy: FailoverStrategy::AbsoluteConsistency,
            workload,
            promotion: Promotion::TrustSelfFence,
            failback: Failback::Manual,
            sync: u8::from(workload == Workload::StatefulSql && candidates.len() > 1),
            candidates,
            first: None,
            ttl: Span::ZERO,
            slack: Span::ZERO,
            renew: Span::ZERO,
            ladder: Vec::new(),
            remote: None,
            start_within: Span::from_secs(300),
            stop_within: Span::ZERO,
            handoff_within: Span::from_secs(60),
            hold_down_max: Span::from_secs(300),
        }
    }

    /// The usual three rungs in a given time: two fifths to stop, two fifths to kill, the rest to cut traffic.
    pub fn ladder_of(fence: Span) -> Vec<RungPlan> {
        let stop = fence.times(2).part(5);
        vec![
            RungPlan { rung: Rung::Immediate, within: stop },
            RungPlan { rung: Rung::Kill, within: stop },
            RungPlan { rung: Rung::CutTraffic, within: fence - stop - stop },
        ]
    }

    /// The time the whole ladder may take.
    pub fn fence_budget(&self) -> Span {
        self.ladder.iter().map(|plan| plan.within).sum()
    }

    /// How long a renewal keeps its holder sure of the lease, counted from when it was sent.
    pub fn certain(&self) -> Span {
        self.ttl - self.slack
    }

    /// Whether a lease is granted only to a node that holds every acknowledged write.
    pub fn gated(&self) -> bool {
        self.workload == Workload::StatefulSql && self.strategy == FailoverStrategy::AbsoluteConsistency
    }

    /// A candidate's priority, if the node is one.
    pub fn priority(&self, node: NodeId) -> Option<u8> {
        self.candidates.iter().find(|candidate| candidate.node == node).map(|candidate| candidate.priority)
    }
}

impl std::fmt::Display for Rung {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Immediate => f.write_str("immediate"),
            Self::Kill => f.write_str("kill"),
            Self::CutTraffic => f.write_str("cut-traffic"),
            Self::Action(name) => f.write_str(name),
        }
    }
}
