//! The ledger's entries: what an admin signs, as bytes, and what those bytes say.
//!
//! An entry is signed as the JSON bytes its author wrote; nobody re-encodes it. Its hash is BLAKE3 over those bytes and
//! the 64 bytes of the signature, and the next entry names it.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::ids::{EntryHash, FleetId, Millis, NodeId};
use crate::key::{SecretKey, Signature};

pub mod body;

pub use body::{
    Appoint, Approval, Body, Checkpoint, Enroll, Founder, Genesis, Grant, Invite, KindPattern, Payload, Place, Publish,
    Quarantine, Recover, Recovery, Redeem, Release, Revoke, Role, Rotate, SetRecovery, Verb, Withdraw,
};

/// What an entry's signature covers before the entry's bytes.
pub const ENTRY_DOMAIN: &[u8] = b"flotilla ledger 1\0";
/// The largest entry, in bytes of JSON.
pub const ENTRY_BYTES_MAX: usize = 512 * 1024;

/// What one entry says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// The fleet it belongs to; `null` in the genesis entry, whose hash is the fleet id.
    pub fleet: Option<FleetId>,
    /// Its place: the genesis entry is 0, each next one more.
    pub seq: u64,
    /// Hash of the entry before; `null` in the genesis entry.
    pub prev: Option<EntryHash>,
    /// When its author signed it, by the author's clock.
    pub at: Millis,
    /// Until when it may be appended; any time if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after: Option<Millis>,
    /// Who signed it.
    pub author: NodeId,
    /// What is done by it.
    pub body: Body,
}

/// An entry as it travels and is stored: bytes and a signature that nobody has checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedEntry {
    /// The JSON of an [`Entry`], as its author wrote it.
    pub bytes: Bytes,
    /// The author's signature over [`ENTRY_DOMAIN`] and the bytes.
    pub signature: Signature,
}

/// An entry whose signature is its author's. Only [`SignedEntry::verify`] makes one.
///
/// It says nothing yet about whether the author was allowed to: that is [`FleetState::apply`](crate::FleetState::apply).
///
/// ```compile_fail
/// // What was not verified cannot be applied.
/// fn apply(state: &mut protocols::FleetState, signed: protocols::SignedEntry) {
///     drop(state.apply(&signed));
/// }
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct VerifiedEntry {
    entry: Entry,
    hash: EntryHash,
    signed: SignedEntry,
}

/// Why bytes are not a verified entry.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// Larger than any entry.
    #[error("the entry has {0} bytes and may have at most {ENTRY_BYTES_MAX}")]
    TooLarge(usize),
    /// The bytes are not an entry.
    #[error("the entry's bytes are not understood")]
    Malformed(#[source] serde_json::Error),
    /// The signature is not the author's over these bytes.
    #[error("the signature of entry {seq} is not that of its author {author}")]
    BadSignature {
        /// The entry's place, as it claims.
        seq: u64,
        /// Its author, as it claims.
        author: NodeId,
    },
}

impl Entry {
    /// Writes and signs the entry.
    ///
    /// # Errors
    /// If nobody would accept the result: it is too large or malformed, or the key is not its author's.
    pub fn sign(&self, key: &SecretKey) -> Result<SignedEntry, VerifyError> {
        if key.id() != self.author {
            return Err(VerifyError::BadSignature { seq: self.seq, author: self.author });
        }
        let bytes = serde_json::to_vec(self).map_err(VerifyError::Malformed)?;
        if bytes.len() > ENTRY_BYTES_MAX {
            return Err(VerifyError::TooLarge(bytes.len()));
        }
        // A kind known at compile time may be malformed; nobody could read it back.
        serde_json::from_slice::<Self>(&bytes).map_err(VerifyError::Malformed)?;
        let signature = key.sign(ENTRY_DOMAIN, &bytes);
        Ok(SignedEntry { bytes: bytes.into(), signature })
    }
}

impl SignedEntry {
    /// Checks the signature and reads the entry.
    ///
    /// # Errors
    /// As [`VerifyError`] says.
    pub fn verify(self) -> Result<VerifiedEntry, VerifyError> {
        if self.bytes.len() > ENTRY_BYTES_MAX {
            return Err(VerifyError::TooLarge(self.bytes.len()));
        }
        let entry: Entry = serde_json::from_slice(&self.bytes).map_err(VerifyError::Malformed)?;
        if !entry.author.verifies(ENTRY_DOMAIN, &self.bytes, &self.signature) {
            return Err(VerifyError::BadSignature { seq: entry.seq, author: entry.author });
        }
        let hash = self.hash();
        Ok(VerifiedEntry { entry, hash, signed: self })
    }

    /// The entry's hash: BLAKE3 of its bytes and its signature.
    pub fn hash(&self) -> EntryHash {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.bytes).update(self.signature.as_bytes());
        EntryHash::from_bytes(*hasher.finalize().as_bytes())
    }
}

impl VerifiedEntry {
    /// What it says.
    pub const fn entry(&self) -> &Entry {
        &self.entry
    }

    /// Its hash.
    pub const fn hash(&self) -> EntryHash {
        self.hash
    }

    /// Its place in the ledger.
    pub const fn seq(&self) -> u64 {
        self.entry.seq
    }

    /// The bytes and signature it came from.
    pub const fn signed(&self) -> &SignedEntry {
        &self.signed
    }

    /// The fleet id, if this is a genesis entry.
    pub fn founds(&self) -> Option<FleetId> {
        matches!(self.entry.body, Body::Genesis(_)).then(|| FleetId::from_bytes(*self.hash.as_bytes()))
    }
}

/// The newest entry somebody knows: its place and hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Head {
    /// The entry's place.
    pub seq: u64,
    /// Its hash.
    pub hash: EntryHash,
}

impl std::fmt::Display for Head {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.seq, self.hash.short())
    }
}
