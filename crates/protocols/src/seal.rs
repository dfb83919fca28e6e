//! Sealing bytes to nodes, so that only they can read what travels through others.
//!
//! libsodium's sealed box (X25519, XSalsa20-Poly1305) to the X25519 form of a node's ed25519 key. It hides content, not
//! who wrote it: what is sealed carries its own signature.

use crypto_box::{PublicKey, SecretKey as BoxKey};
use serde::{Deserialize, Serialize};

use crate::ids::NodeId;
use crate::key::SecretKey;

/// Why sealed bytes could not be made or opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The recipient's id is not a point on the curve.
    #[error("{0} is not a key that can be sealed to")]
    BadRecipient(NodeId),
    /// The cipher failed, which only happens for absurd sizes.
    #[error("the bytes cannot be sealed")]
    Cipher,
    /// None of the boxes is for this key, or the bytes were altered.
    #[error("the sealed bytes are not for this key, or were altered")]
    NotForUs,
}

/// Bytes sealed to several recipients.
///
/// The content is encrypted once under a fresh key; that key is in a sealed box for each recipient.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed {
    boxes: Vec<Vec<u8>>,
    content: Vec<u8>,
}

impl Sealed {
    /// Seals `plain` to every one of `recipients`.
    ///
    /// # Errors
    /// [`SealError::BadRecipient`] for an id that is no key.
    pub fn seal(plain: &[u8], recipients: &[NodeId]) -> Result<Self, SealError> {
        let inner = SecretKey::generate();
        let mut rng = crypto_box::aead::OsRng;
        let boxes = recipients
            .iter()
            .map(|id| {
                let key = public(*id).ok_or(SealError::BadRecipient(*id))?;
                key.seal(&mut rng, &*inner.seed()).map_err(|_| SealError::Cipher)
            })
            .collect::<Result<_, _>>()?;
        let key = public(inner.id()).ok_or(SealError::Cipher)?;
        let content = key.seal(&mut rng, plain).map_err(|_| SealError::Cipher)?;
        Ok(Self { boxes, content })
    }

    /// Opens the bytes with a recipient's key.
    ///
    /// # Errors
    /// [`SealError::NotForUs`].
    pub fn open(&self, key: &SecretKey) -> Result<Vec<u8>, SealError> {
        let secret = BoxKey::from_bytes(*key.x25519());
        let seed = self.boxes.iter().find_map(|sealed| secret.unseal(sealed).ok()).ok_or(SealError::NotForUs)?;
        let seed = seed.try_into().map_err(|_| SealError::NotForUs)?;
        let inner = BoxKey::from_bytes(*SecretKey::from_seed(&seed).x25519());
        inner.unseal(&self.content).map_err(|_| SealError::NotForUs)
    }
}

/// Nothing for a weak key, too: everybody could open what is sealed to it.
fn public(id: NodeId) -> Option<PublicKey> {
    id.x25519().filter(|_| id.is_key()).map(PublicKey::from_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_recipients_can_open() {
        let (a, b, c) = (SecretKey::generate(), SecretKey::generate(), SecretKey::generate());
        let sealed = Sealed::seal(b"facts", &[a.id(), b.id()]).unwrap();
        assert_eq!(sealed.open(&a).unwrap(), b"facts");
        assert_eq!(sealed.open(&b).unwrap(), b"facts");
        assert_eq!(sealed.open(&c), Err(SealError::NotForUs));
        let mut altered = sealed;
        altered.content[40] ^= 1;
        assert_eq!(altered.open(&a), Err(SealError::NotForUs));
    }
}
