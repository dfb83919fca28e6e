//! Names and numbers that order things: nodes, clusters, epochs, rounds, positions, attempts.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A node, by the 32 bytes of its public key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NodeId([u8; 32]);

impl NodeId {
    /// The node with this public key.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The public key.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().take(5).try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// A workload that has one writer: `postgres/orders`. Of 1 to [`ClusterName::MAX_BYTES`] bytes, printable ASCII.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ClusterName(String);

impl ClusterName {
    /// How long a name may be, in bytes.
    pub const MAX_BYTES: usize = 128;

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for ClusterName {
    type Error = BadName;

    fn try_from(name: String) -> Result<Self, BadName> {
        let printable = name.bytes().all(|byte| byte.is_ascii_graphic());
        if name.is_empty() || name.len() > Self::MAX_BYTES || !printable { Err(BadName) } else { Ok(Self(name)) }
    }
}

impl From<ClusterName> for String {
    fn from(name: ClusterName) -> Self {
        name.0
    }
}

impl fmt::Display for ClusterName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A name that no cluster can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a cluster's name is 1 to {} printable ASCII characters without spaces", ClusterName::MAX_BYTES)]
pub struct BadName;

/// Who writes, counted: each grant of the lease is a new epoch. The fencing token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub u64);

impl Epoch {
    /// The epoch after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Which collection of reports a report belongs to; an earlier round's reports never count again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Round(pub u64);

/// How much of the workload's history a node holds: the epoch whose primary wrote the last record, then its place.
///
/// The epoch comes first, as the term does in Raft: a long tail that an old primary wrote alone is worth less than
/// one record of a later primary. For PostgreSQL the place is the flushed LSN, and the epoch that of the timeline of
/// the last flushed record, not of the timeline that is being streamed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Position {
    /// The epoch whose primary wrote the last record this node holds.
    pub epoch: Epoch,
    /// The place of the end of that record.
    pub lsn: u64,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{:X}/{:X}", self.epoch, self.lsn >> 32, self.lsn & 0xffff_ffff)
    }
}

/// One request of one node, never used twice: how many times the node's agent started, then a count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Attempt {
    /// How many times the agent has started on this node.
    pub boot: u64,
    /// Requests since that start.
    pub seq: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_record_of_a_later_primary_outweighs_a_long_tail() {
        let tail = Position { epoch: Epoch(2), lsn: 900 };
        let later = Position { epoch: Epoch(3), lsn: 100 };
        assert!(later > tail);
        assert_eq!(Position { epoch: Epoch(3), lsn: 0x1_0000_00ff }.to_string(), "3:1/FF");
    }

    #[test]
    fn names_have_bounds() {
        assert!(ClusterName::try_from("postgres/orders".to_owned()).is_ok());
        for bad in ["", "two words", "ünder", &"x".repeat(ClusterName::MAX_BYTES + 1)] {
            assert_eq!(ClusterName::try_from(bad.to_owned()), Err(BadName), "{bad}");
        }
        assert!(serde_json::from_str::<ClusterName>("\"\"").is_err());
    }
}
