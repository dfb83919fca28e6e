//! What the group's log holds, and the types that openraft is told of.

use std::collections::BTreeSet;
use std::fmt;
use std::io::Cursor;

use failover::{LeaseTable, Outcome, Stamp};
use protocols::entry::Head;
use protocols::{NodeId, Refusal, SignedEntry};
use serde::{Deserialize, Serialize};

use crate::views::Ask;

/// A member of the group: a coordinator's key, and the disk on which it keeps its share of the log.
///
/// A member that lost its disk has forgotten what it voted for and what it acknowledged. So it is another member, with a
/// number drawn when its log was made, and has to be added anew.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct Member {
    key: [u8; 32],
    disk: u64,
}

impl Member {
    pub(crate) const fn new(key: NodeId, disk: u64) -> Self {
        Self { key: *key.as_bytes(), disk }
    }

    /// The coordinator's key.
    pub(crate) const fn key(&self) -> NodeId {
        NodeId::from_bytes(self.key)
    }

    /// The number of its disk.
    pub(crate) const fn disk(&self) -> u64 {
        self.disk
    }
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{:x}", self.key().short(), self.disk)
    }
}

impl fmt::Debug for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// One entry of the group's log: everything that waited while the one before it was on its way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Batch {
    /// The term in which the stamps were taken. In another one they count for nothing.
    pub(crate) term: u64,
    /// What is ordered, one after the other.
    pub(crate) items: Vec<(Stamp, Item)>,
}

/// One thing that is ordered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Item {
    /// An entry of the ledger. Its author signed it; the group only says where it stands.
    Entry(SignedEntry),
    /// A request about a lease.
    Ask(Ask),
    /// Time passes.
    Clock,
    /// Where the group takes over from the coordinator that was alone.
    Carry {
        /// Its leases.
        table: Box<LeaseTable>,
        /// Its newest entry.
        head: Head,
    },
}

/// What became of an item.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Done {
    /// An entry.
    Entry(Result<Head, Unfit>),
    /// A request about a lease.
    Lease(Box<Outcome>),
    /// Anything else.
    Noted,
}

/// Why an entry has no place in the ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Unfit {
    /// Another one came first.
    #[error("another entry came first: the newest is now {0}")]
    Stale(Head),
    /// It is not allowed or not sound.
    #[error(transparent)]
    Refused(Refusal),
    /// It does not verify.
    #[error("the entry does not verify: {0}")]
    Unverified(String),
}

openraft::declare_raft_types!(
    /// The types of this group.
    pub(crate) Types:
        D = Batch,
        R = Vec<Done>,
        NodeId = Member,
        Node = (),
        SnapshotData = Cursor<Vec<u8>>,
);

pub(crate) type LogId = openraft::LogId<Member>;
pub(crate) type Stored = openraft::StoredMembership<Member, ()>;
pub(crate) type StorageError = openraft::StorageError<Member>;
pub(crate) type IoError = openraft::StorageIOError<Member>;
pub(crate) type Raft = openraft::Raft<Types>;
pub(crate) type RaftEntry = openraft::Entry<Types>;

/// What all members agree on beside the ledger, which is on each one's disk already. Also the snapshot.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct State {
    pub(crate) applied: Option<LogId>,
    pub(crate) membership: Stored,
    pub(crate) table: LeaseTable,
    /// The newest entry of the ledger by this log; nothing before the group took over.
    pub(crate) head: Option<Head>,
    /// Who was a member once and is not any more.
    pub(crate) removed: BTreeSet<Member>,
}
