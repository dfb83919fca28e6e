//! What admins and coordinators ask of an agent directly.

use irpc::channel::oneshot;
use irpc::rpc_requests;
use serde::{Deserialize, Serialize};

use crate::control::{Denied, Echoed, TailBatch};
use crate::entry::{Head, SignedEntry};
use crate::ids::{DeclarationName, Kind, Subject};
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
}

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
