//! Head claims: a coordinator's signature under every head that it serves, so that whoever tells two stories can be shown
//! to have told them.

use serde::{Deserialize, Serialize};

use crate::entry::Head;
use crate::ids::{FleetId, NodeId};
use crate::key::{SecretKey, Signature};

/// What a claim's signature covers before the fleet id, the place (8 bytes, little endian) and the hash.
pub const CLAIM_DOMAIN: &[u8] = b"flotilla head 1\0";

/// A coordinator's word that its ledger goes as far as this entry, and so contains all that the entry follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeadClaim {
    /// The fleet.
    pub fleet: FleetId,
    /// The entry.
    pub head: Head,
    /// Whose word it is.
    pub by: NodeId,
    /// By that key.
    pub signature: Signature,
}

impl HeadClaim {
    /// Signs a claim.
    pub fn sign(key: &SecretKey, fleet: FleetId, head: Head) -> Self {
        Self { fleet, head, by: key.id(), signature: key.sign(CLAIM_DOMAIN, &message(fleet, head)) }
    }

    /// The claim, if the signature is that of `by`.
    pub fn checked(fleet: FleetId, head: Head, by: NodeId, signature: Signature) -> Option<Self> {
        let claim = Self { fleet, head, by, signature };
        claim.holds().then_some(claim)
    }

    /// Whether the signature is that of the key it names.
    pub fn holds(&self) -> bool {
        self.by.verifies(CLAIM_DOMAIN, &message(self.fleet, self.head), &self.signature)
    }
}

/// Fleet id, place, hash.
fn message(fleet: FleetId, head: Head) -> [u8; 72] {
    let mut message = [0; 72];
    message[..32].copy_from_slice(fleet.as_bytes());
    message[32..40].copy_from_slice(&head.seq.to_le_bytes());
    message[40..].copy_from_slice(head.hash.as_bytes());
    message
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::EntryHash;

    #[test]
    fn a_claim_is_its_signers_for_one_fleet_and_one_entry() {
        let key = SecretKey::from_seed(&[3; 32]);
        let (fleet, head) = (FleetId::from_bytes([1; 32]), Head { seq: 7, hash: EntryHash::from_bytes([2; 32]) });
        let claim = HeadClaim::sign(&key, fleet, head);
        assert!(claim.holds());
        let others = [
            HeadClaim { fleet: FleetId::from_bytes([2; 32]), ..claim },
            HeadClaim { head: Head { seq: 8, ..head }, ..claim },
            HeadClaim { head: Head { hash: EntryHash::from_bytes([3; 32]), ..head }, ..claim },
            HeadClaim { by: SecretKey::from_seed(&[4; 32]).id(), ..claim },
        ];
        for other in others {
            assert!(!other.holds(), "{other:?}");
            assert!(HeadClaim::checked(other.fleet, other.head, other.by, other.signature).is_none());
        }
    }
}
