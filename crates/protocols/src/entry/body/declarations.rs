//! Declarations: what nodes shall be, as it is signed.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::blob::BlobRef;
use crate::ids::{DeclarationName, Digest, Kind, Subject};
use crate::policy::Policy;
use crate::selector::Selector;

/// The largest payload of a score, in bytes of JSON. Larger content travels as blobs.
pub const PAYLOAD_BYTES_MAX: usize = 384 * 1024;
/// The most blobs that one declaration names.
pub const ARTIFACTS_MAX: usize = 1024;
/// The longest note of an entry, in bytes.
pub const NOTE_BYTES_MAX: usize = 500;

/// Declares what the selected nodes shall be. A later publication of the same name replaces it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Publish {
    /// The declaration.
    pub name: DeclarationName,
    /// For which nodes.
    pub on: Selector,
    /// The score's language.
    pub kind: Kind,
    /// What it governs there: what the score says of itself, repeated so that the state needs no score's code.
    pub subject: Subject,
    /// How to apply it.
    #[serde(default)]
    pub policy: Policy,
    /// The score, as its author wrote it.
    pub payload: Payload,
    /// The blobs a node needs to begin.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub artifacts: Vec<BlobRef>,
    /// A word for the record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// Ends a declaration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Withdraw {
    /// Which.
    pub name: DeclarationName,
}

/// A score's JSON, byte for byte as it was signed.
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Payload(Box<RawValue>);

impl Payload {
    /// Takes a JSON text as it stands.
    ///
    /// # Errors
    /// If it is not JSON.
    pub fn from_json(text: String) -> Result<Self, serde_json::Error> {
        RawValue::from_string(text).map(Self)
    }

    /// The text.
    pub fn get(&self) -> &str {
        self.0.get()
    }

    /// BLAKE3 of the text.
    pub fn digest(&self) -> Digest {
        Digest::from_bytes(*blake3::hash(self.get().as_bytes()).as_bytes())
    }
}

impl PartialEq for Payload {
    fn eq(&self, other: &Self) -> bool {
        self.get() == other.get()
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&crate::outcome::shorten(self.get(), 120))
    }
}
