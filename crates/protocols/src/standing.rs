//! How sure a node is that it has the newest of the ledger: what it writes down for its operator and says to members.

use serde::{Deserialize, Serialize};

use crate::entry::Head;
use crate::head_claim::HeadClaim;
use crate::ids::Millis;

/// Key of the record in which a node says how it stands to the ledger.
pub const STANDING: &str = "standing";
/// Name of the file in an agent's data folder that says the same.
pub const STANDING_FILE: &str = "status.json";
/// The most claims in one testimony.
pub const CLAIMS_MAX: usize = 32;
/// The most entries in one answer to a question for a chain.
pub const CHAIN_ENTRIES_MAX: usize = 1024;
/// The most bytes of entries in one such answer.
pub const CHAIN_BYTES_MAX: usize = 4 * 1024 * 1024;

/// How a node stands to the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Standing {
    /// When this was written, by the node's clock.
    pub at: Millis,
    /// The newest entry it has; nothing before the first one.
    pub head: Option<u64>,
    /// The newest entry that it knows a coordinator signed for.
    pub newest: Option<u64>,
    /// Since when it lacks entries that it knows to exist.
    pub behind_since: Option<Millis>,
    /// When a coordinator answered it last.
    pub coordinator_at: Option<Millis>,
    /// When another agent spoke to it last.
    pub peer_at: Option<Millis>,
    /// Nobody has spoken to it for so long that it cannot know whether it has the newest entry.
    pub unsure: bool,
    /// Who holds entries back from it, in a sentence.
    pub withheld: Option<String>,
    /// Why it takes no more entries, in a sentence: it has seen evidence of a split history.
    pub refuses: Option<String>,
    /// Signed heads that contradict what it has, for which nobody has shown it entries.
    pub suspicious: u64,
}

/// What a node answers a member that asks how far it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Testimony {
    /// The newest entry it has.
    pub head: Option<Head>,
    /// The newest claim of each coordinator that lies on its history.
    pub claims: Vec<HeadClaim>,
    /// How it stands.
    pub standing: Standing,
    /// Its evidence of a split history, as JSON (see [`ForkEvidence`](crate::ForkEvidence)).
    pub evidence: Option<String>,
}
