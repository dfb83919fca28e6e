//! Records: what a node says of itself, signed and versioned by it, so that any road may carry it.
//!
//! A record's truth is its writer's durable store. Documents and RPC both carry copies; a reader keeps the highest
//! version whose signature holds, whichever road it came by. Versions are the writer's own counter, never a clock.

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::ids::{Digest, NodeId};
use crate::key::{SecretKey, Signature};

/// What a record's signature covers before the record.
pub const RECORD_DOMAIN: &[u8] = b"flotilla record 1\0";
/// The longest key of a record, in bytes.
pub const RECORD_KEY_BYTES_MAX: usize = 256;
/// The largest value of a record, in bytes.
pub const RECORD_BYTES_MAX: usize = 12 * 1024;
/// The most records that one writer may have.
pub const RECORDS_PER_WRITER_MAX: usize = 128;
/// The most records of one writer together with those it took back, which are empty.
pub const RECORDS_WITH_EMPTY_MAX: usize = 1024;
/// The highest version that a reader's word is believed for. No writer gets there by itself, and one that was led up to
/// it still has as many versions left as it can ever need.
pub const CLAIMED_VERSION_MAX: u64 = 1 << 48;

/// Key of a node's slowly changing facts.
pub const FACTS_STABLE: &str = "facts/stable";
/// Key of a node's ever changing facts.
pub const FACTS_VOLATILE: &str = "facts/volatile";
/// Key of when a node looked at the devices that it manages.
pub const DEVICES: &str = "devices";
/// Key prefix of a node's facts of devices, followed by the device and the page. They are long, and told only to who asks
/// for them by this prefix.
pub const DEVICE_PREFIX: &str = "device/";
/// Key of a node's last heartbeats.
pub const BEATS: &str = "beats";
/// Key prefix of a node's outcomes, followed by the subject.
pub const OUTCOME_PREFIX: &str = "outcome/";

/// A signed record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedRecord {
    /// Whose it is.
    pub writer: NodeId,
    /// Its name among the writer's.
    pub key: String,
    /// The writer's counter: higher is newer.
    pub version: u64,
    /// JSON; empty for a record that was taken back.
    pub value: Bytes,
    /// By the writer.
    pub signature: Signature,
}

/// A record whose signature holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedRecord(SignedRecord);

/// A record's name and version, to compare stores by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyVersion {
    /// Its name.
    pub key: String,
    /// Its version.
    pub version: u64,
}

/// Why a record is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadRecord {
    /// Key or value out of bounds.
    #[error("the record `{key}` is out of bounds: {why}")]
    Bounds {
        /// The key, shortened.
        key: String,
        /// Which bound.
        why: &'static str,
    },
    /// Not signed by its writer.
    #[error("the record `{key}` is not signed by {writer}")]
    Signature {
        /// The key.
        key: String,
        /// Whose it claims to be.
        writer: NodeId,
    },
}

impl SignedRecord {
    /// Signs a value as JSON.
    ///
    /// # Errors
    /// [`BadRecord::Bounds`] if key or value are larger than allowed.
    pub fn sign<T: Serialize>(key: &SecretKey, name: &str, version: u64, value: &T) -> Result<Self, BadRecord> {
        let bad = |why| BadRecord::Bounds { key: crate::outcome::shorten(name, 80), why };
        let value = serde_json::to_vec(value).map_err(|_| bad("it is no JSON"))?;
        Self::sign_bytes(key, name, version, value.into())
    }

    /// Signs a value as it stands.
    ///
    /// # Errors
    /// [`BadRecord::Bounds`].
    pub fn sign_bytes(key: &SecretKey, name: &str, version: u64, value: Bytes) -> Result<Self, BadRecord> {
        let mut record =
            Self { writer: key.id(), key: name.to_owned(), version, value, signature: Signature::from_bytes([0; 64]) };
        record.check_bounds()?;
        record.signature = key.sign(RECORD_DOMAIN, &record.message());
        Ok(record)
    }

    /// Checks bounds and signature.
    ///
    /// # Errors
    /// As [`BadRecord`] says.
    pub fn verify(self) -> Result<VerifiedRecord, BadRecord> {
        self.check_bounds()?;
        if !self.writer.verifies(RECORD_DOMAIN, &self.message(), &self.signature) {
            return Err(BadRecord::Signature { key: self.key, writer: self.writer });
        }
        Ok(VerifiedRecord(self))
    }

    fn check_bounds(&self) -> Result<(), BadRecord> {
        let bad = |why| Err(BadRecord::Bounds { key: crate::outcome::shorten(&self.key, 80), why });
        if self.key.is_empty() || self.key.len() > RECORD_KEY_BYTES_MAX {
            return bad("a key has 1 to 256 bytes");
        }
        if !self.key.bytes().all(|b| b.is_ascii_graphic()) {
            return bad("a key is of printable ASCII");
        }
        if self.value.len() > RECORD_BYTES_MAX {
            return bad("a value has at most 12 KiB");
        }
        Ok(())
    }

    /// Version (8 bytes, little endian), length of the key (4 bytes), key, value.
    fn message(&self) -> Vec<u8> {
        let mut message = Vec::with_capacity(12 + self.key.len() + self.value.len());
        message.extend_from_slice(&self.version.to_le_bytes());
        message.extend_from_slice(&u32::try_from(self.key.len()).unwrap_or(u32::MAX).to_le_bytes());
        message.extend_from_slice(self.key.as_bytes());
        message.extend_from_slice(&self.value);
        message
    }
}

impl VerifiedRecord {
    /// The record.
    pub const fn get(&self) -> &SignedRecord {
        &self.0
    }

    /// The record, for passing it on.
    pub fn into_signed(self) -> SignedRecord {
        self.0
    }

    /// The value, if it is what is expected.
    pub fn value<T: DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_slice(&self.0.value).ok()
    }
}

/// A digest of a writer's records: equal when nothing is missing. Order does not matter.
pub fn records_digest<'a>(records: impl Iterator<Item = (&'a str, u64)>) -> Digest {
    let mut sorted: Vec<(&str, u64)> = records.collect();
    sorted.sort_unstable();
    let mut hasher = blake3::Hasher::new();
    for (key, version) in sorted {
        hasher.update(key.as_bytes()).update(&[0]).update(&version.to_le_bytes());
    }
    Digest::from_bytes(*hasher.finalize().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_its_writers_or_refused() {
        let key = SecretKey::generate();
        let record = SignedRecord::sign(&key, "facts/stable", 7, &vec![1, 2]).unwrap();
        assert_eq!(record.clone().verify().unwrap().value::<Vec<u8>>().unwrap(), [1, 2]);
        let tampered = [
            SignedRecord { version: 8, ..record.clone() },
            SignedRecord { key: "facts/stablf".into(), ..record.clone() },
            SignedRecord { value: Bytes::from_static(b"[1,3]"), ..record.clone() },
            SignedRecord { writer: SecretKey::generate().id(), ..record.clone() },
        ];
        for bad in tampered {
            assert!(matches!(bad.verify(), Err(BadRecord::Signature { .. })));
        }
        // Moving a byte from key to value must not keep the signature.
        let shifted = SignedRecord { key: "facts/stabl".into(), value: Bytes::from_static(b"e[1,2]"), ..record };
        assert!(shifted.verify().is_err());
    }

    #[test]
    fn bounds_hold() {
        let key = SecretKey::generate();
        assert!(SignedRecord::sign(&key, "", 1, &1).is_err());
        assert!(SignedRecord::sign(&key, &"k".repeat(257), 1, &1).is_err());
        assert!(SignedRecord::sign(&key, "a b", 1, &1).is_err());
        assert!(SignedRecord::sign(&key, "k", 1, &"v".repeat(RECORD_BYTES_MAX)).is_err());
    }

    #[test]
    fn the_digest_is_of_the_set() {
        let a = records_digest([("a", 1), ("b", 2)].into_iter());
        assert_eq!(a, records_digest([("b", 2), ("a", 1)].into_iter()));
        assert_ne!(a, records_digest([("a", 1), ("b", 3)].into_iter()));
    }
}
