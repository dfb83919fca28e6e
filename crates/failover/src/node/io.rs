//! What a node is told, and what it wants done.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::flight::FlightEvent;
use crate::ids::{Attempt, Epoch, NodeId, Position, Round};
use crate::settings::{Remote, Rung, Settings};
use crate::table::{Outcome, Request, SyncSet};
use crate::time::{LocalTime, Span};

/// Something that happened.
#[allow(clippy::large_enum_variant, reason = "answers are the most frequent, and none is kept")]
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// Time has passed.
    Tick,
    /// These are the settings that this node's own, verified ledger declares. From then on it takes no others, whatever
    /// the group says.
    Declared(Arc<Settings>),
    /// The agent is about to end: a workload that is writable is stopped in order, by this instant, and anybody may take
    /// over.
    Leave {
        /// When it is fenced instead.
        by: LocalTime,
    },
    /// The group answered. An answer of any age counts for what it proves.
    Answered(Outcome),
    /// A holder asks for a promise not to take its lease for a while.
    Asked {
        /// The holder.
        from: NodeId,
        /// Its name for this question.
        attempt: Attempt,
        /// Its epoch.
        epoch: Epoch,
        /// For how long.
        term: Span,
    },
    /// A candidate gave the promise it was asked for.
    Promised {
        /// The candidate.
        from: NodeId,
        /// Which question it answers.
        attempt: Attempt,
    },
    /// The workload is writable.
    Started {
        /// In this epoch.
        epoch: Epoch,
    },
    /// The workload is ill, or could not be started, or the watchdog cannot be set: it may still run.
    Died,
    /// The workload was writable, and ended by itself.
    Ended,
    /// The watchdog ended the workload, and has verified it.
    Bitten,
    /// The workload stopped in order: nothing of it runs, and what it held is known.
    Stopped {
        /// In this epoch.
        epoch: Epoch,
        /// What it holds.
        position: Position,
    },
    /// A rung of the ladder came to an end.
    FenceResult {
        /// Which fence it was part of.
        fence: u64,
        /// Which rung.
        rung: Rung,
        /// Whether it is verified that the workload writes no more.
        verified: bool,
        /// What the workload holds, read after that: no more and no less, or nothing is said.
        position: Option<Position>,
    },
    /// The standby receives no more, and will not by itself; it holds this much, or nobody can say.
    Detached {
        /// Which command that fulfils.
        serial: u64,
        /// What it holds: no more and no less.
        position: Option<Position>,
    },
    /// The standby holds this much by now.
    Progress {
        /// What it holds.
        position: Position,
    },
    /// A write that was made under this set has been acknowledged by it, and by no earlier set.
    SyncInForce {
        /// Which beginning of a set.
        serial: u64,
    },
    /// The remote action came to an end.
    Acted {
        /// Against the holder of this epoch.
        epoch: Epoch,
        /// Whether its effect is verified.
        verified: bool,
    },
    /// The standby was built anew from the primary of this epoch.
    Rebuilt {
        /// Of which epoch.
        epoch: Epoch,
        /// Which order that fulfils.
        serial: u64,
    },
}

/// Something to be done.
///
/// Commands are carried out in order. [`Command::Persist`] is on disk and [`Command::Watchdog`] is set before the next
/// one is begun; the others may go on beside each other, and what becomes of them is told as an [`Event`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Command {
    /// Keep this across restarts.
    Persist(Durable),
    /// Ask the group; nothing is to be repeated by those who carry it.
    Send {
        /// The name of the request.
        attempt: Attempt,
        /// What is asked.
        request: Request,
    },
    /// Ask a candidate for a promise.
    Ask {
        /// Which candidate.
        to: NodeId,
        /// The name of the question.
        attempt: Attempt,
        /// The asker's epoch.
        epoch: Epoch,
        /// For how long.
        term: Span,
    },
    /// Give a holder the promise it asked for.
    Promise {
        /// To whom.
        to: NodeId,
        /// Which question that answers.
        attempt: Attempt,
    },
    /// The workload must be off from this instant on, whatever becomes of the agent; [`LocalTime::NEVER`] disarms.
    Watchdog {
        /// The instant.
        until: LocalTime,
    },
    /// Make the workload writable, if it is not yet `until`; answered by [`Event::Started`] or [`Event::Died`]. Rungs
    /// of an earlier fence that have not ended are given up.
    Start {
        /// In this epoch.
        epoch: Epoch,
        /// Whether it was writable in this epoch before, and ended by itself: it goes on with what it holds.
        again: bool,
        /// After this instant it must not be started any more.
        until: LocalTime,
        /// Acknowledge writes by this set from the first one on.
        sync: Option<SyncSet>,
        /// Which beginning of the set that is.
        serial: u64,
    },
    /// Stop the workload in order, so that its standbys hold all of it; answered by [`Event::Stopped`].
    Stop {
        /// In this epoch.
        epoch: Epoch,
        /// By when.
        by: LocalTime,
    },
    /// Make sure that the workload writes no more, and make a start that is not finished void; answered by
    /// [`Event::FenceResult`].
    Fence {
        /// Which fence this is part of.
        fence: u64,
        /// How.
        rung: Rung,
        /// By when it must be verified.
        by: LocalTime,
    },
    /// Stop receiving, and do not begin again before [`Command::Attach`]; answered by [`Event::Detached`].
    Detach {
        /// The name of the command.
        serial: u64,
    },
    /// Become a standby of this primary, in this epoch and no other. Rungs of an earlier fence are given up.
    Attach {
        /// The primary.
        holder: NodeId,
        /// Its epoch.
        epoch: Epoch,
    },
    /// Acknowledge writes by this set from now on; answered by [`Event::SyncInForce`]. A set with a lower serial than
    /// one that was begun later is dropped, however long it takes: it must never take the later one's place.
    ApplySync {
        /// Which beginning of the set this is.
        serial: u64,
        /// The set.
        set: SyncSet,
    },
    /// Throw away what this standby holds, and copy it from this primary; answered by [`Event::Rebuilt`].
    Rebuild {
        /// Which order this fulfils.
        serial: u64,
        /// The primary.
        holder: NodeId,
        /// Its epoch.
        epoch: Epoch,
    },
    /// Act against a holder that proves nothing; answered by [`Event::Acted`].
    Act {
        /// Of which epoch.
        epoch: Epoch,
        /// The holder.
        target: NodeId,
        /// What to do.
        remote: Remote,
    },
    /// This node served beside another, or may have while its agent was dead, and nothing of the workload runs here any
    /// more: what it wrote is to be merged or dropped, as its owner decides. Once for each epoch; once more if the
    /// agent dies before it has kept that it said so.
    Reconcile {
        /// The epoch it served.
        epoch: Epoch,
    },
    /// Tell a person.
    Alarm(Alarm),
    /// Write it down.
    Record(FlightEvent),
}

/// What a node keeps across restarts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Durable {
    /// How many times the agent has started.
    pub boot: u64,
    /// The longest promise it ever gave.
    pub promised: Span,
    /// The epoch it last began to serve where it may go on without a lease
    /// ([`crate::FailoverStrategy::SplitBrainAllowed`]), until it has stopped within its lease, or its owner was told
    /// to reconcile what it wrote.
    #[serde(default)]
    pub may_split: Option<Epoch>,
}

/// What a person should know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, thiserror::Error)]
pub enum Alarm {
    /// Every rung of the ladder was tried, and none was verified.
    #[error("every rung of the fence ladder failed in epoch {0}; it is tried again until one is verified")]
    LadderExhausted(Epoch),
    /// The watchdog ended the workload because the agent did not.
    #[error("the watchdog ended the workload in epoch {0}")]
    WatchdogBit(Epoch),
    /// The holder is silent, and nobody has proven that it is off.
    #[error(
        "the holder of epoch {0} is silent, and the settings want a proof that it is off before another takes over"
    )]
    NoProof(Epoch),
    /// The group goes by settings that the ledger, as this node has it, does not declare.
    #[error(
        "the coordinators go by other settings than the ledger declares, as this node has it; it takes no lease by them"
    )]
    ForeignSettings,
    /// This node serves beside the lease's holder, or may do so.
    #[error("serving epoch {0} without a lease, as split-brain-allowed permits")]
    Degraded(Epoch),
}

/// How a node stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Stand {
    /// Its workload is off, or a standby that receives nothing.
    Resting,
    /// Its workload is a standby of the primary of this epoch.
    Following {
        /// The primary's epoch.
        epoch: Epoch,
    },
    /// Its standby is about to stop receiving.
    Detaching {
        /// The epoch whose primary it leaves.
        epoch: Epoch,
    },
    /// Its standby receives nothing, and the group is told what it holds.
    Detached {
        /// The epoch whose primary it left.
        epoch: Epoch,
        /// The latest round in which it reported, or will.
        round: Round,
        /// What it holds.
        position: Position,
    },
    /// It holds the lease and has not started the workload yet.
    Granted {
        /// The epoch.
        epoch: Epoch,
    },
    /// The workload is becoming writable.
    Starting {
        /// The epoch.
        epoch: Epoch,
        /// When it must be, or is fenced.
        by: LocalTime,
    },
    /// The workload is writable.
    Serving {
        /// The epoch.
        epoch: Epoch,
    },
    /// The workload ended by itself, and is about to be started again in its epoch, once nothing of it is left.
    Reviving {
        /// The epoch.
        epoch: Epoch,
        /// Which fence makes sure of that.
        fence: u64,
        /// By when it must have, or the epoch is given up.
        by: LocalTime,
    },
    /// The workload is writable without a lease, as `SplitBrainAllowed` permits.
    Degraded {
        /// The epoch.
        epoch: Epoch,
    },
    /// The workload is stopping in order.
    Stopping {
        /// The epoch.
        epoch: Epoch,
        /// Who is to take over; `None` when another has taken over already.
        to: Option<NodeId>,
        /// When it must be stopped, or is fenced.
        by: LocalTime,
    },
    /// The workload is being fenced.
    Fencing {
        /// The epoch it served, if it is known to have served one since the agent started.
        epoch: Option<Epoch>,
        /// Which fence this is.
        fence: u64,
        /// Which rung is being tried.
        rung: usize,
        /// When the next one is.
        by: LocalTime,
    },
    /// The standby is being built anew.
    Rebuilding {
        /// By which order.
        serial: u64,
        /// From the primary of which epoch.
        epoch: Epoch,
    },
}

impl Stand {
    /// The epoch whose lease it acts by.
    pub const fn held(&self) -> Option<Epoch> {
        match self {
            Self::Granted { epoch }
            | Self::Starting { epoch, .. }
            | Self::Serving { epoch }
            | Self::Reviving { epoch, .. }
            | Self::Degraded { epoch }
            | Self::Stopping { epoch, .. } => Some(*epoch),
            _ => None,
        }
    }

    /// One word for it.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Resting => "resting",
            Self::Following { .. } => "following",
            Self::Detaching { .. } => "detaching",
            Self::Detached { .. } => "detached",
            Self::Granted { .. } => "granted",
            Self::Starting { .. } => "starting",
            Self::Serving { .. } => "serving",
            Self::Reviving { .. } => "reviving",
            Self::Degraded { .. } => "degraded",
            Self::Stopping { .. } => "stopping",
            Self::Fencing { .. } => "fencing",
            Self::Rebuilding { .. } => "rebuilding",
        }
    }

    /// The epoch it is about.
    pub const fn epoch(&self) -> Option<Epoch> {
        match self {
            Self::Following { epoch }
            | Self::Detaching { epoch }
            | Self::Detached { epoch, .. }
            | Self::Rebuilding { epoch, .. } => Some(*epoch),
            Self::Fencing { epoch, .. } => *epoch,
            _ => self.held(),
        }
    }
}
