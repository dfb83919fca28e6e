//! What admins and coordinators ask of an agent directly.

use failover::flight::{Frozen, Tape};
use failover::{Attempt, ClusterName, Epoch, Position, Span};
use irpc::channel::oneshot;
use irpc::rpc_requests;
use serde::{Deserialize, Serialize};

use crate::control::{Denied, Echoed, TailBatch};
use crate::entry::{Head, SignedEntry};
use crate::ids::{DeclarationName, Kind, Name, NodeId, Subject};
use crate::key::Signature;
use crate::policy::Policy;
use crate::standing::Testimony;

/// Requests to an agent.
#[rpc_requests(message = NodeMessage)]
#[derive(Debug, Serialize, Deserialize)]
pub enum Node {
    /// Says the text back.
    #[rpc(tx = oneshot::Sender<Echoed>)]
    #[wrap(NodeEcho)]
    Echo(String),
    /// Asks which steps a score would take here, without taking them.
    #[rpc(tx = oneshot::Sender<Result<Planned, Denied>>)]
    #[wrap(PlanScore)]
    Plan(Draft),
    /// A coordinator asks for this node's copy of the ledger after a place, one batch of it: what was lost elsewhere may
    /// be here.
    #[rpc(tx = oneshot::Sender<Result<TailBatch, Denied>>)]
    #[wrap(NodeTail)]
    Tail {
        /// The newest entry the caller has; nothing to begin with the genesis entry.
        after: Option<Head>,
    },
    /// A member asks how far this node is, and what it holds against anybody.
    #[rpc(tx = oneshot::Sender<Result<Testimony, Denied>>)]
    #[wrap(AskWitness)]
    Witness,
    /// A member asks for this node's entries from a place on: at most [`CHAIN_ENTRIES_MAX`](crate::standing::CHAIN_ENTRIES_MAX).
    #[rpc(tx = oneshot::Sender<Result<Vec<SignedEntry>, Denied>>)]
    #[wrap(GetChain)]
    Chain {
        /// The first place.
        from: u64,
    },
    /// The holder of a lease asks another candidate to promise not to use one that it is granted over its head. The
    /// answer is the promise: a signature under a [`PromiseWord`](crate::lease_word::PromiseWord).
    #[rpc(tx = oneshot::Sender<Result<Signature, Denied>>)]
    #[wrap(AskPromise, derive(Clone, PartialEq, Eq))]
    Promise {
        /// The cluster; who is no candidate of it is refused.
        cluster: ClusterName,
        /// The holder's name for this question.
        attempt: Attempt,
        /// Its epoch.
        epoch: Epoch,
        /// For how long.
        term: Span,
    },
    /// A reader asks how the clusters stand that this node is a candidate of.
    #[rpc(tx = oneshot::Sender<Result<Vec<DriverReport>, Denied>>)]
    #[wrap(AskDrivers)]
    Drivers {
        /// One of them, with its last heartbeats; all without them if it is not named.
        cluster: Option<ClusterName>,
    },
    /// A candidate whose turn it is to act against a silent writer wants one port shut that leads to it, by the agent that
    /// manages the switch. The answer is that the port was seen to be shut.
    #[rpc(tx = oneshot::Sender<Result<(), Denied>>)]
    #[wrap(ShutPort)]
    ShutPort {
        /// The cluster, as the ledger declares it.
        cluster: ClusterName,
        /// The epoch of the silent writer.
        epoch: Epoch,
        /// The silent writer.
        target: NodeId,
        /// What the asked agent calls the switch.
        device: Name,
        /// The port.
        port: String,
    },
}

/// How a cluster stands on one node, as the node itself knows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DriverReport {
    /// The cluster.
    pub cluster: ClusterName,
    /// How the node stands, in one word: `serving`, `following`, `fencing`.
    pub stand: String,
    /// The epoch that this is about.
    pub epoch: Option<Epoch>,
    /// Whether the workload may be writable here now.
    pub writable: bool,
    /// For how long the lease is proven, if there is one; nothing at all while failover is paused.
    pub certain: Option<Span>,
    /// What it holds.
    pub position: Option<Position>,
    /// Whether it counts failover as paused.
    pub paused: bool,
    /// The version of the settings that it acts by.
    pub version: u64,
    /// What a person should know, newest last.
    pub alarms: Vec<String>,
    /// The workload's own words.
    pub workload: String,
    /// How long ago the coordinators answered last.
    pub silence: Option<Span>,
    /// The last heartbeats, if they were asked for.
    pub tape: Option<Tape>,
    /// The same as it was when the node last changed how it stands.
    pub frozen: Option<Frozen>,
}

/// The most alarms in one report.
pub const ALARMS_MAX: usize = 16;

/// A score that is not published.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Draft {
    /// The declaration it would be.
    pub name: DeclarationName,
    /// Its language.
    pub kind: Kind,
    /// What it would govern.
    pub subject: Subject,
    /// How it would be applied, as JSON (postcard cannot carry a tagged enum).
    pub policy_json: String,
    /// The score's JSON.
    pub payload: String,
}

impl Draft {
    /// The policy.
    ///
    /// # Errors
    /// If it is not one.
    pub fn policy(&self) -> Result<Policy, serde_json::Error> {
        serde_json::from_str(&self.policy_json)
    }
}

/// What a node would do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Planned {
    /// These steps; none if it is as declared.
    Steps(Vec<String>),
    /// Nothing: it cannot.
    Cannot(String),
}
