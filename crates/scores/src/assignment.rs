//! What a node is told to play, and what it says of it.

use protocols::{DeclarationName, Kind, Policy, Subject, Verdict};
use serde::{Deserialize, Serialize};

/// A declaration as it applies to this node. It has been verified and admitted before it is made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Assignment {
    /// The declaration's name.
    pub name: DeclarationName,
    /// The ledger sequence number of its publication.
    pub generation: u64,
    /// Its language.
    pub kind: Kind,
    /// What it governs on this node.
    pub subject: Subject,
    /// The score as it was signed: JSON.
    pub payload: String,
    /// How it is applied and judged.
    pub policy: Policy,
}

/// How a play went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlayReport {
    /// In one word.
    pub verdict: Verdict,
    /// In one line: why, for anything but a plain success. At most [`protocols::outcome::MESSAGE_BYTES_MAX`] bytes.
    pub message: String,
    /// The steps that were planned, as they print. At most [`protocols::outcome::STEPS_MAX`].
    pub steps: Vec<String>,
    /// How many attempts this play took; 0 when it was decided without one.
    pub attempts: u32,
}

impl PlayReport {
    pub(crate) fn new(verdict: Verdict, message: &str, steps: &[String], attempts: u32) -> Self {
        use protocols::outcome::{MESSAGE_BYTES_MAX, STEPS_MAX, shorten};
        let mut kept: Vec<String> = steps.iter().take(STEPS_MAX).map(|step| shorten(step, STEP_BYTES_MAX)).collect();
        if steps.len() > STEPS_MAX {
            kept.truncate(STEPS_MAX - 1);
            kept.push(format!("and {} more", steps.len() - kept.len()));
        }
        Self { verdict, message: shorten(message, MESSAGE_BYTES_MAX), steps: kept, attempts }
    }
}

/// The longest step that is reported, in bytes.
pub const STEP_BYTES_MAX: usize = 240;
