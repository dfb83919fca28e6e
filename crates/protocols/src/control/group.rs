//! How the coordinators' group stands, and why it does not change.

use serde::{Deserialize, Serialize};

use crate::ids::NodeId;

/// The most coordinators that order together.
pub const GROUP_MAX: usize = 5;

/// How the group stands, as one of its members sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupStatus {
    /// Which election is in force.
    pub term: u64,
    /// Who leads, if anybody does.
    pub leader: Option<NodeId>,
    /// Whose view this is. Only the leader's says how far the members are.
    pub by: NodeId,
    /// The newest entry of the group's log there.
    pub last: u64,
    /// The newest one that was carried out there.
    pub applied: u64,
    /// The members.
    pub members: Vec<GroupMember>,
}

/// One coordinator of the group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupMember {
    /// Which one.
    pub node: NodeId,
    /// Whether it counts for a majority; without it, it is still being brought up to date.
    pub votes: bool,
    /// The newest entry of the group's log that it is known to have.
    pub has: Option<u64>,
    /// How long ago it answered, in milliseconds.
    pub silent_millis: Option<u64>,
}

/// Why the group's members were not changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum ChangeError {
    /// Not allowed, or not a coordinator of the fleet.
    #[error("{0}")]
    Refused(String),
    /// A number of members that helps nobody.
    #[error(
        "the group would have {would} members, and it may have 1, 3 or 5: name as many coordinators as lead to one of these at once"
    )]
    Size {
        /// How many there would be.
        would: usize,
    },
    /// Nothing would change.
    #[error("`{0}` is a member of the group already")]
    Already(String),
    /// It is none.
    #[error("`{0}` is no member of the group: see them with flt admin coordinator list")]
    NotAMember(String),
    /// A coordinator to be added does not answer.
    #[error("`{name}` cannot be reached by the coordinator that leads: {why}")]
    Unreachable {
        /// Its name.
        name: String,
        /// What happened.
        why: String,
    },
    /// A coordinator to be added takes too long.
    #[error(
        "`{name}` did not catch up within {seconds} seconds, so nothing was changed: look at its log and try again"
    )]
    Slow {
        /// Its name.
        name: String,
        /// How long it had.
        seconds: u64,
    },
    /// Another change is on its way.
    #[error("another change of the group is on its way: try again when it is done")]
    Busy,
    /// Too few members answer.
    #[error("the group cannot be changed right now: {why}")]
    NoMajority {
        /// Which ones are missing.
        why: String,
    },
    /// It is not known whether the change was made.
    #[error("the answer was lost ({0}); see what holds with flt admin coordinator list")]
    Lost(String),
}
