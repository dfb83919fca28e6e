//! Heartbeats: how liveness is decided, and the record of the last of them.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::addr::PeerAddr;
use crate::entry::Head;
use crate::ids::{Digest, Millis, NodeId};
use crate::key::Signature;

/// How many heartbeats a node remembers.
pub const BEATS_KEPT: usize = 64;

/// A sign of life from an agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beat {
    /// Counts the agent's beats since it started.
    pub number: u64,
    /// The newest ledger entry it knows.
    pub head: Head,
    /// Digest of its records (see [`crate::record::records_digest`]).
    pub records: Digest,
    /// Where it can be reached.
    pub addr: PeerAddr,
    /// Its document, if it publishes one.
    pub document: Option<[u8; 32]>,
}

/// The coordinator's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BeatAck {
    /// The newest ledger entry the coordinator knows.
    pub head: Head,
    /// The coordinator's signature under that (see [`HeadClaim`](crate::HeadClaim)).
    pub claim: Signature,
    /// Whether the coordinator's copy of the agent's records differs from the digest.
    pub records_differ: bool,
}

/// One heartbeat as the agent saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BeatMemory {
    /// When it was sent, on the agent's clock.
    pub at: Millis,
    /// Which coordinator it went to.
    pub to: NodeId,
    /// Its round trip in microseconds; absent if no answer came in time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rtt_micros: Option<u32>,
}

/// The last [`BEATS_KEPT`] heartbeats, oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BeatHistory(VecDeque<BeatMemory>);

impl BeatHistory {
    /// Remembers one, and forgets the oldest if there are too many.
    pub fn push(&mut self, beat: BeatMemory) {
        while self.0.len() >= BEATS_KEPT {
            self.0.pop_front();
        }
        self.0.push_back(beat);
    }

    /// Oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &BeatMemory> {
        self.0.iter()
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
