//! What is said on the line, in the frames of the socket.

use failover::{Attempt, ClusterName, Request};
use protocols::lease_word::LeaseWord;
use protocols::node::{AskPromise, DriverReport};
use protocols::{NodeId, Signature};
use serde::{Deserialize, Serialize};

/// The version of [`Ask`] and [`Tell`], which is also how a greeting says that it is for this line.
pub(in crate::hands) const PROTOCOL: u32 = 0x1_0001;

/// What the hands say.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) enum Ask {
    /// Ask the coordinators' group, once. Answered with [`Tell::Leased`].
    Lease {
        /// Names the question.
        id: u64,
        /// The cluster.
        cluster: ClusterName,
        /// The driver's name for its request.
        attempt: Attempt,
        /// What is asked.
        request: Request,
    },
    /// Ask another candidate for a promise. Answered with [`Tell::Promised`].
    Peer {
        /// Names the question.
        id: u64,
        /// Which.
        to: NodeId,
        /// What is asked.
        question: AskPromise,
    },
    /// Whether a promise is given, or why not.
    Given {
        /// Which [`Tell::Asked`] that answers.
        id: u64,
        /// Or why not.
        result: Result<(), String>,
    },
    /// How clusters stand.
    Reports {
        /// Which [`Tell::Report`] that answers.
        id: u64,
        /// One for each.
        reports: Vec<DriverReport>,
    },
}

/// What the network half says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) enum Tell {
    /// What the group answered, signed; nothing if it did not.
    Leased {
        /// The question.
        id: u64,
        /// The answer.
        word: Option<LeaseWord>,
    },
    /// The candidate's signature, if it promised.
    Promised {
        /// The question.
        id: u64,
        /// The promise.
        signature: Option<Signature>,
    },
    /// A holder asks for a promise. Answered with [`Ask::Given`].
    Asked {
        /// Names the question.
        id: u64,
        /// Who asks.
        from: NodeId,
        /// What.
        question: AskPromise,
    },
    /// How do the clusters stand? Answered with [`Ask::Reports`].
    Report {
        /// Names the question.
        id: u64,
        /// One of them, with its last heartbeats; all without.
        cluster: Option<ClusterName>,
    },
}
