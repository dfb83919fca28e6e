//! What is said about leases on the control protocol: the answers, and why there is none.

use failover::{ClusterName, View};
use serde::{Deserialize, Serialize};

use crate::ids::NodeId;

/// The most clusters in one answer of views.
pub const LEASE_VIEWS_MAX: usize = 256;
/// The largest request about a lease, in bytes: settings with all candidates and rungs take a small part of it.
pub const LEASE_BYTES_MAX: usize = 64 * 1024;

/// How some leases stand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseViews {
    /// Whether the answer holds at a moment after the question came; without it, it may be old, because too few
    /// coordinators are connected with each other.
    pub exact: bool,
    /// The views with the settings, by the clusters' names.
    pub views: Vec<(ClusterName, View)>,
    /// Whether there are more after the last one.
    pub more: bool,
}

/// Why a request about a lease was not decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum LeaseError {
    /// Another coordinator orders leases. Nothing was applied.
    #[error("leases are ordered by the coordinator `{name}`: ask that one")]
    NotLeader {
        /// The one that does.
        leader: NodeId,
        /// Its name.
        name: String,
    },
    /// Nobody orders them right now. Nothing was applied.
    #[error("no lease is ordered right now, because {why}: start the coordinators that are down, then ask again")]
    NoMajority {
        /// Which ones are missing, or that one is being chosen.
        why: String,
    },
    /// The answer was lost, and what became of the request is not known.
    #[error("the answer about the lease was lost ({why}), and the request may have been applied: ask again")]
    Lost {
        /// What happened.
        why: String,
    },
    /// The caller may not ask this.
    #[error("this needs {0}: ask an admin who may grant that")]
    NotAllowed(String),
    /// The table is full. Nothing was applied.
    #[error("the coordinators look after {0} clusters already: withdraw one that is not needed first")]
    TooManyClusters(usize),
    /// More was asked at once than can be carried out. Nothing was applied.
    #[error("more requests about leases wait than the coordinator can order: ask again in a second")]
    Overloaded,
    /// A bound was exceeded.
    #[error("the request about the lease is out of bounds: {0}")]
    Bounds(String),
    /// It could not be stored, and what became of the request is not known.
    #[error("the coordinator could not store the lease ({0}): see its log and its disk, then ask again")]
    Storage(String),
}

impl LeaseError {
    /// Whether it is certain that the request was not applied and never will be.
    pub const fn is_certain(&self) -> bool {
        !matches!(self, Self::Lost { .. } | Self::Storage(_))
    }
}
