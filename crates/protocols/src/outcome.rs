//! What became of a declaration on a node, as the node reports it.

use serde::{Deserialize, Serialize};

use crate::ids::{DeclarationName, Kind, Millis, Subject};

/// The most bytes of an outcome's message.
pub const MESSAGE_BYTES_MAX: usize = 2048;
/// The most steps kept in an outcome.
pub const STEPS_MAX: usize = 64;

/// A node's last word on one subject.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// The declaration it is about.
    pub name: DeclarationName,
    /// Its language.
    pub kind: Kind,
    /// What it governs on the node.
    pub subject: Subject,
    /// The ledger sequence number of the publication that was played.
    pub generation: u64,
    /// How it went.
    pub verdict: Verdict,
    /// One line for people: why, for anything but a plain success. At most [`MESSAGE_BYTES_MAX`] bytes.
    pub message: String,
    /// The steps that were taken, as `plan` prints them. At most [`STEPS_MAX`].
    pub steps: Vec<String>,
    /// How many attempts this generation took so far.
    pub attempts: u32,
    /// When, on the node's clock.
    pub at: Millis,
}

/// How playing a declaration went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Being worked on: fetching, applying or checking.
    Playing,
    /// The node is as declared, its checks passed.
    Converged,
    /// As declared for the next boot; the running system needs a reboot to follow.
    RebootPending,
    /// Failed for a reason that may pass; it will be tried again.
    Failed,
    /// Undone after a failed check or activation, and not tried again until the declaration changes.
    Quarantined,
    /// The node cannot or may not do it: no such capability, a signature, a bad field. Not tried again.
    Refused,
}

impl Verdict {
    /// Whether the node will do nothing more about this generation.
    pub const fn is_final(self) -> bool {
        !matches!(self, Self::Playing | Self::Failed)
    }

    /// Whether the node is, or at its next boot will be, as declared.
    pub const fn is_good(self) -> bool {
        matches!(self, Self::Converged | Self::RebootPending)
    }
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Playing => "playing",
            Self::Converged => "converged",
            Self::RebootPending => "reboot-pending",
            Self::Failed => "failed",
            Self::Quarantined => "quarantined",
            Self::Refused => "refused",
        })
    }
}

/// Cuts a text for people to at most `max` bytes, on a character's edge.
pub fn shorten(text: &str, max: usize) -> String {
    if text.len() <= max {
        return text.to_owned();
    }
    let mut end = max.saturating_sub('…'.len_utf8());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…", &text[..end])
}
