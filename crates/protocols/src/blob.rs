//! A reference to content that travels by hash.

use serde::{Deserialize, Serialize};

use crate::ids::BlobHash;

/// A blob: its BLAKE3 hash and its exact size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BlobRef {
    /// BLAKE3 of the content.
    pub hash: BlobHash,
    /// Its size in bytes.
    pub size: u64,
}
