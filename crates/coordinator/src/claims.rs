//! The coordinator's word for the heads it serves, signed once for each.

use std::sync::Mutex;

use protocols::entry::Head;
use protocols::{FleetId, HeadClaim, SecretKey, Signature};

use crate::coordinator::lock;

/// Signs heads, and remembers the last few: heartbeats all ask for the same one, tails for few others.
pub(crate) struct Claims {
    key: SecretKey,
    /// Newest last; at most [`CLAIMS_KEPT`].
    kept: Mutex<Vec<(Head, Signature)>>,
}

impl Claims {
    pub(crate) const fn new(key: SecretKey) -> Self {
        Self { key, kept: Mutex::new(Vec::new()) }
    }

    /// The signature under a head. Only what is on this coordinator's disk may be asked for: a claim cannot be taken back.
    pub(crate) fn of(&self, fleet: FleetId, head: Head) -> Signature {
        let mut kept = lock(&self.kept);
        if let Some((_, signature)) = kept.iter().find(|(known, _)| *known == head) {
            return *signature;
        }
        let signature = HeadClaim::sign(&self.key, fleet, head).signature;
        if kept.len() >= CLAIMS_KEPT {
            kept.remove(0);
        }
        kept.push((head, signature));
        signature
    }
}

/// How many signatures are remembered.
const CLAIMS_KEPT: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use protocols::EntryHash;

    #[test]
    fn claims_hold_whether_remembered_or_not() {
        let key = SecretKey::from_seed(&[1; 32]);
        let (claims, fleet) = (Claims::new(key.clone()), FleetId::from_bytes([2; 32]));
        for seq in (0..200).chain([0, 199]) {
            let head = Head { seq, hash: EntryHash::from_bytes([u8::try_from(seq).unwrap(); 32]) };
            assert!(HeadClaim::checked(fleet, head, key.id(), claims.of(fleet, head)).is_some());
        }
        assert_eq!(lock(&claims.kept).len(), CLAIMS_KEPT);
    }
}
