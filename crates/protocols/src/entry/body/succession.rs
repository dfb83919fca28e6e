//! How one key takes another's place: rotation by its holder, and recovery by keys that were set apart for it.

use serde::{Deserialize, Serialize};

use super::Founder;
use crate::ids::{FleetId, Name, NodeId};
use crate::key::{SecretKey, Signature};

/// The most recovery keys of a fleet.
pub const RECOVERY_KEYS_MAX: usize = 16;
/// The most approvals in one entry.
pub const APPROVALS_MAX: usize = RECOVERY_KEYS_MAX;
/// The most keys that one recovery revokes.
pub const RECOVER_REVOKES_MAX: usize = 64;
/// What the new key's signature in a [`Rotate`] covers before the message.
pub const ROTATE_DOMAIN: &[u8] = b"flotilla rotate 1\0";
/// What an approval of a [`Recover`] covers before the message.
pub const RECOVER_DOMAIN: &[u8] = b"flotilla recover 1\0";
/// What an approval of a [`SetRecovery`] covers before the message.
pub const SET_RECOVERY_DOMAIN: &[u8] = b"flotilla recovery keys 1\0";

/// Puts another key in the place of its author's: name, labels and rights go over, and the old key is revoked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rotate {
    /// The new key.
    pub to: NodeId,
    /// By the new key, over [`Rotate::message`].
    pub signature: Signature,
}

impl Rotate {
    /// The rotation of `old` to `new`.
    pub fn new(fleet: FleetId, old: NodeId, new: &SecretKey) -> Self {
        Self { to: new.id(), signature: new.sign(ROTATE_DOMAIN, &Self::message(fleet, old, new.id())) }
    }

    /// Whether the new key's holder agreed.
    pub fn verifies(&self, fleet: FleetId, old: NodeId) -> bool {
        self.to.verifies(ROTATE_DOMAIN, &Self::message(fleet, old, self.to), &self.signature)
    }

    /// Fleet id, old key, new key: 32 bytes each.
    fn message(fleet: FleetId, old: NodeId, new: NodeId) -> Vec<u8> {
        [fleet.as_bytes().as_slice(), old.as_bytes(), new.as_bytes()].concat()
    }
}

/// Keys that together can make an admin. They sign nothing else and are kept offline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recovery {
    /// The keys, 1 to [`RECOVERY_KEYS_MAX`].
    pub keys: Vec<Founder>,
    /// How many of them must agree.
    pub threshold: u8,
}

impl Recovery {
    /// Checks what can be checked without a fleet.
    ///
    /// # Errors
    /// What is wrong, to stand after "recovery".
    pub fn check(&self) -> Result<(), String> {
        if self.keys.is_empty() || self.keys.len() > RECOVERY_KEYS_MAX {
            return Err(format!("needs 1 to {RECOVERY_KEYS_MAX} keys"));
        }
        if self.threshold == 0 || usize::from(self.threshold) > self.keys.len() {
            return Err(format!("has {} keys, so its threshold may be 1 to that", self.keys.len()));
        }
        if let Some(weak) = self.keys.iter().find(|k| !k.key.is_key()) {
            return Err(format!("names `{}`, whose key is no ed25519 key", weak.name));
        }
        for (i, one) in self.keys.iter().enumerate() {
            if self.keys[..i].iter().any(|other| other.key == one.key || other.name == one.name) {
                return Err(format!("names `{}` twice, or its key", one.name));
            }
        }
        Ok(())
    }

    /// How many different keys of the set approved the message.
    pub fn approved(&self, domain: &[u8], message: &[u8], approvals: &[Approval]) -> usize {
        let signed =
            |key: NodeId| approvals.iter().any(|a| a.key == key && a.key.verifies(domain, message, &a.signature));
        self.keys.iter().filter(|k| signed(k.key)).count()
    }
}

/// A recovery key's signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Approval {
    /// The recovery key.
    pub key: NodeId,
    /// Its signature.
    pub signature: Signature,
}

/// Gives every right to a key, and takes the rights of others, by the word of enough recovery keys. The entry's author
/// is the key that receives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recover {
    /// What people call the new admin.
    pub name: Name,
    /// Admins whose keys are lost or stolen, at most [`RECOVER_REVOKES_MAX`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub revoke: Vec<NodeId>,
    /// As in a [`Revoke`](super::Revoke), for all of these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compromised_since: Option<u64>,
    /// By recovery keys, over [`Recover::message`].
    pub approvals: Vec<Approval>,
}

impl Recover {
    /// What a recovery key signs: fleet id, the place (8 bytes, big endian) of the entry that set the recovery keys, the
    /// key that becomes an admin, 8 bytes of `compromised_since` (all ones if absent), the number (2 bytes) of keys to
    /// revoke and those keys, and the new admin's name.
    pub fn message(&self, fleet: FleetId, set_by: u64, to: NodeId) -> Vec<u8> {
        let count = u16::try_from(self.revoke.len()).unwrap_or(u16::MAX);
        let mut message = [fleet.as_bytes().as_slice(), &set_by.to_be_bytes(), to.as_bytes()].concat();
        message.extend_from_slice(&self.compromised_since.unwrap_or(u64::MAX).to_be_bytes());
        message.extend_from_slice(&count.to_be_bytes());
        self.revoke.iter().for_each(|key| message.extend_from_slice(key.as_bytes()));
        message.extend_from_slice(self.name.as_str().as_bytes());
        message
    }

    /// A recovery key's approval.
    pub fn approve(&self, fleet: FleetId, set_by: u64, to: NodeId, key: &SecretKey) -> Approval {
        let message = self.message(fleet, set_by, to);
        Approval { key: key.id(), signature: key.sign(RECOVER_DOMAIN, &message) }
    }
}

/// Sets, replaces or ends the recovery keys. Where some are set, enough of them must agree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetRecovery {
    /// The keys from here on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovery: Option<Recovery>,
    /// By the keys until here, over [`SetRecovery::message`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub approvals: Vec<Approval>,
}

impl SetRecovery {
    /// What a recovery key signs: fleet id, the place (8 bytes, big endian) of the entry that set the keys until here, the
    /// new threshold (0 if there are none) and the new keys.
    pub fn message(&self, fleet: FleetId, set_by: u64) -> Vec<u8> {
        let mut message = [fleet.as_bytes().as_slice(), &set_by.to_be_bytes()].concat();
        message.push(self.recovery.as_ref().map_or(0, |r| r.threshold));
        self.recovery.iter().flat_map(|r| &r.keys).for_each(|k| message.extend_from_slice(k.key.as_bytes()));
        message
    }

    /// A recovery key's approval.
    pub fn approve(&self, fleet: FleetId, set_by: u64, key: &SecretKey) -> Approval {
        Approval { key: key.id(), signature: key.sign(SET_RECOVERY_DOMAIN, &self.message(fleet, set_by)) }
    }
}
