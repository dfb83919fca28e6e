//! What the group can be asked, and what it answers.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::lease::View;
use super::sync::SyncSet;
use crate::ids::{Attempt, ClusterName, Epoch, NodeId, Position, Round};
use crate::settings::{Rung, Settings, SettingsError};
use crate::time::{LogTime, Span};

/// One entry of the group's log.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Entry {
    /// Nothing is asked; time passes. The leader orders one each second while there are leases.
    Clock,
    /// Somebody asks for something.
    Ask {
        /// The cluster it is about.
        cluster: ClusterName,
        /// Who asks, as the connection says and never the message.
        author: Author,
        /// The asker's own name for this request; its answer carries it.
        attempt: Attempt,
        /// What is asked.
        request: Request,
    },
}

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Author {
    /// An agent.
    Node(NodeId),
    /// An admin whose right to do this has been checked against the ledger.
    Admin,
}

/// What somebody asks.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Request {
    /// These settings are to hold from now on. Admins only.
    Configure(Arc<Settings>),
    /// Nobody takes over from a silent primary, and no primary fences for want of the group. Admins only.
    Pause,
    /// Ends a pause, once the holder has acknowledged it. Admins only.
    Resume,
    /// The lease is to move, in order. Admins, and a node that falls back by the settings.
    Switchover {
        /// From which epoch; another one refuses.
        epoch: Epoch,
        /// To which candidate.
        to: NodeId,
    },
    /// A standby is to be built anew; until it is, what it holds counts for nothing. Admins only.
    Reinit {
        /// Which one.
        node: NodeId,
    },
    /// A person has seen that the holder of this epoch is off. Admins only.
    Attest {
        /// Of which epoch.
        epoch: Epoch,
    },
    /// A node that does not hold the lease is there.
    Beat {
        /// The version of the settings it knows.
        version: u64,
        /// What it holds.
        position: Option<Position>,
    },
    /// The holder is there, and wants the lease for another ttl.
    Renew {
        /// The epoch it holds.
        epoch: Epoch,
        /// The version of the settings it knows and acts by.
        version: u64,
    },
    /// A standby wants to receive from the holder: what it reported before is void.
    Follow {
        /// The holder's epoch.
        epoch: Epoch,
    },
    /// A candidate has stopped receiving, and holds this much.
    Report {
        /// The epoch whose primary it has left.
        epoch: Epoch,
        /// The round it reports in.
        round: Round,
        /// What it holds.
        position: Position,
    },
    /// A candidate wants the lease.
    Acquire {
        /// The epoch that is to end; another one refuses.
        epoch: Epoch,
        /// The version of the settings it knows.
        version: u64,
        /// How long it has heard nothing of the holder, on its own clock. For the record; nothing is decided by it.
        silence: Span,
    },
    /// The holder has stopped the workload in order, and gives the lease up.
    Release {
        /// Its epoch.
        epoch: Epoch,
        /// What the workload holds, now that it is stopped.
        position: Position,
        /// Who is to take over.
        to: NodeId,
    },
    /// The holder's workload writes no more, and this is how that is known.
    FenceConfirmed {
        /// Its epoch.
        epoch: Epoch,
        /// How it is known.
        proof: FenceProof,
        /// What the workload holds, if that could be read.
        position: Option<Position>,
    },
    /// The holder is about to acknowledge writes by another set of standbys: both count until it commits.
    BeginSync {
        /// Its epoch.
        epoch: Epoch,
        /// The set.
        set: SyncSet,
    },
    /// A write has been acknowledged by the newest set: what earlier sets held, it holds.
    CommitSync {
        /// Its epoch.
        epoch: Epoch,
        /// Which beginning this commits.
        serial: u64,
    },
    /// A candidate offers to act against a holder that proves nothing.
    RemoteTurn {
        /// The holder's epoch.
        epoch: Epoch,
    },
    /// The action was carried out and its effect verified.
    RemoteDone {
        /// The holder's epoch.
        epoch: Epoch,
    },
    /// A standby was built anew from the primary of this epoch.
    Rebuilt {
        /// Of which epoch.
        epoch: Epoch,
        /// Which order to build it anew this fulfils.
        serial: u64,
    },
    /// The cluster is not declared any more: nobody is granted its lease from now on, and it is forgotten when nobody
    /// holds it. Admins only.
    Withdraw,
    /// A node wants custody of a thing, which is named in the place of the cluster.
    TakeCustody,
    /// It goes on to need it.
    KeepCustody {
        /// By which grant.
        epoch: Epoch,
    },
    /// It is done.
    EndCustody {
        /// By which grant.
        epoch: Epoch,
    },
}

impl Request {
    /// Whether this is about custody of a thing, and not about a cluster's lease.
    pub const fn is_custody(&self) -> bool {
        matches!(self, Self::TakeCustody | Self::KeepCustody { .. } | Self::EndCustody { .. })
    }

    /// The version of the settings that the asker knows, if it says.
    pub(super) const fn version(&self) -> u64 {
        match self {
            Self::Beat { version, .. } | Self::Renew { version, .. } | Self::Acquire { version, .. } => *version,
            _ => u64::MAX,
        }
    }
}

/// How it is known that a workload writes no more.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum FenceProof {
    /// A rung of the ladder was carried out and verified.
    Rung(Rung),
    /// The watchdog ended it, and that was verified.
    Watchdog,
    /// Nothing of it ran when the agent looked: it had just started, or never made use of the lease.
    NotRunning,
}

/// What the group answers.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Answer {
    /// Done, or already so.
    Noted,
    /// The lease holds for so long from when the request was sent, less the slack.
    Renewed {
        /// The epoch.
        epoch: Epoch,
        /// How long the group keeps it.
        ttl: Span,
    },
    /// The lease is the asker's.
    Granted {
        /// The new epoch.
        epoch: Epoch,
        /// How long the group keeps it.
        ttl: Span,
    },
    /// The asker may receive from the holder of this epoch.
    Following {
        /// The holder's epoch.
        epoch: Epoch,
        /// Reports of this round and later ones count.
        round: Round,
    },
    /// It is the asker's turn to act against the holder.
    YourTurn {
        /// The holder's epoch.
        epoch: Epoch,
    },
    /// The asker has custody, for so long from when the request was sent, less the slack.
    Entrusted {
        /// By this grant.
        epoch: Epoch,
        /// Nobody else has had it since this grant.
        since: Epoch,
        /// How long the group keeps it.
        ttl: Span,
    },
}

/// Why the group does not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// No such cluster.
    #[error("the group has no lease for this cluster: publish its settings first")]
    UnknownCluster,
    /// The table is full.
    #[error("the group looks after {} clusters already", super::LeaseTable::MAX_CLUSTERS)]
    TooManyClusters,
    /// Settings that cannot hold.
    #[error("the settings are refused: {0}")]
    Settings(String),
    /// Not the asker's to ask.
    #[error("only an admin may ask for this")]
    NotAdmin,
    /// Not a candidate of this cluster.
    #[error("the node is no candidate of this cluster")]
    NotCandidate,
    /// Another epoch than the asker thinks.
    #[error("the epoch is {0} by now")]
    Epoch(Epoch),
    /// Another round than the asker thinks.
    #[error("the round of reports is over")]
    Round,
    /// Somebody else holds the lease.
    #[error("the node does not hold the lease")]
    NotHolder,
    /// The lease is held, or was given up and waits for another.
    #[error("the lease is not free")]
    NotFree,
    /// The lease is not held in a way that allows this.
    #[error("nobody holds the lease")]
    NotHeld,
    /// An older renewal than one that was applied.
    #[error("a later renewal was applied before")]
    Overtaken,
    /// Failover is paused.
    #[error("failover is paused")]
    Paused,
    /// Only one node may be first.
    #[error("the settings name another node as the first holder")]
    NotFirst,
    /// The silent holder has not acknowledged a change that would bind it.
    #[error("the holder has not acknowledged a change of the settings that its safety depends on")]
    HolderUnaware,
    /// Nobody has proven that the holder is off.
    #[error("nobody has proven that the silent holder is off")]
    NoProof,
    /// The asker has not reported what it holds.
    #[error("the node has not stopped receiving and reported what it holds")]
    NotReported,
    /// An acknowledged write could be missing.
    #[error(
        "a write could have been acknowledged that the nodes which reported and hold no more than this one do not hold"
    )]
    NotCovered,
    /// The node is being built anew.
    #[error("the node is being built anew, and what it holds counts for nothing")]
    BeingRebuilt,
    /// The target of a switchover is not there.
    #[error("the target was not heard of for more than a ttl")]
    TargetSilent,
    /// Another node acts against the holder.
    #[error("it is another node's turn")]
    NotYourTurn,
    /// The settings allow no remote action.
    #[error("the settings name no remote action")]
    NoRemote,
    /// The set does not fit the settings.
    #[error("the synchronous set does not fit the settings")]
    BadSet,
    /// The target of a switchover would not be granted the lease.
    #[error("the target has not said yet that it holds anything of this epoch: wait until it follows")]
    TargetBehind,
    /// The cluster is not declared any more.
    #[error("the cluster is not declared any more")]
    Withdrawn,
    /// Another node has custody of the thing.
    #[error("the node {of} has custody of it")]
    InCustody {
        /// Which one.
        of: NodeId,
        /// For how long, if it does not renew it.
        left: Span,
    },
    /// No more fit.
    #[error(
        "the group keeps custody of {} things, {} of them for one node, and no more",
        super::LeaseTable::MAX_CUSTODIES,
        super::LeaseTable::MAX_CUSTODIES_OF_ONE
    )]
    TooManyInCustody,
}

impl From<SettingsError> for Refusal {
    fn from(error: SettingsError) -> Self {
        Self::Settings(error.to_string())
    }
}

/// What became of an entry.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Outcome {
    /// The log clock when it was applied.
    pub at: LogTime,
    /// Whose answer this is; `None` for [`Entry::Clock`].
    pub attempt: Option<Attempt>,
    /// The answer.
    pub answer: Result<Answer, Refusal>,
    /// How the cluster stands after it.
    pub view: Option<View>,
}
