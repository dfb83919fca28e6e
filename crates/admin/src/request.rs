//! How somebody asks to become an admin: a key made on their own machine, and a text that proves that they hold it.

use std::fmt;
use std::str::FromStr;

use protocols::key::Signature;
use protocols::{Name, NodeId, SecretKey};
use serde::{Deserialize, Serialize};

use crate::armor::{self, BadText};

/// How requests begin.
pub const PREFIX: &str = "fltreq1";
/// What a request's signature covers before the name.
pub const REQUEST_DOMAIN: &[u8] = b"flotilla admin request 1\0";

const WHAT: &str = "request of an admin";

/// A request to be given rights. It holds nothing secret, and no fleet: who approves it says what it is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinRequest {
    key: NodeId,
    name: Name,
    signature: Signature,
}

impl JoinRequest {
    /// The request of whoever holds `key`.
    pub fn new(key: &SecretKey, name: Name) -> Self {
        let signature = key.sign(REQUEST_DOMAIN, name.as_str().as_bytes());
        Self { key: key.id(), name, signature }
    }

    /// The request that a signature made elsewhere proves.
    ///
    /// # Errors
    /// [`BadText::Unproven`] if it is not the key's, over [`REQUEST_DOMAIN`] and the name.
    pub fn proven(key: NodeId, name: Name, signature: Signature) -> Result<Self, BadText> {
        if !key.verifies(REQUEST_DOMAIN, name.as_str().as_bytes(), &signature) {
            return Err(BadText::Unproven(WHAT));
        }
        Ok(Self { key, name, signature })
    }

    /// The key.
    pub const fn key(&self) -> NodeId {
        self.key
    }

    /// What its holder would like to be called.
    pub const fn name(&self) -> &Name {
        &self.name
    }
}

impl fmt::Display for JoinRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&armor::wrap(PREFIX, self).ok_or(fmt::Error)?)
    }
}

impl FromStr for JoinRequest {
    type Err = BadText;

    fn from_str(text: &str) -> Result<Self, BadText> {
        let Self { key, name, signature } = armor::unwrap(PREFIX, WHAT, text)?;
        Self::proven(key, name, signature)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_proves_its_key_and_every_typo_is_found() {
        let key = SecretKey::from_seed(&[3; 32]);
        let request = JoinRequest::new(&key, "ben".parse().unwrap());
        let text = request.to_string();
        assert!(text.len() < 250, "{} characters are not short", text.len());
        assert_eq!(text.parse::<JoinRequest>().unwrap(), request);
        let wrapped: String =
            text.as_bytes().chunks(30).map(|l| format!("{}\n ", String::from_utf8_lossy(l))).collect();
        assert_eq!(wrapped.to_ascii_uppercase().parse::<JoinRequest>().unwrap(), request);
        for end in 0..text.len() {
            assert!(text[..end].parse::<JoinRequest>().is_err(), "cut at {end}");
        }
        for at in PREFIX.len()..text.len() {
            let mut typo = text.clone().into_bytes();
            typo[at] = if typo[at] == b'a' { b'b' } else { b'a' };
            assert!(String::from_utf8(typo).unwrap().parse::<JoinRequest>().is_err(), "typo at {at}");
        }
        // Another's key under one's own signature.
        let other = SecretKey::from_seed(&[4; 32]);
        let forged = JoinRequest { key: other.id(), ..request.clone() }.to_string();
        assert_eq!(forged.parse::<JoinRequest>(), Err(BadText::Unproven(WHAT)));
        let renamed = JoinRequest { name: "anna".parse().unwrap(), ..request }.to_string();
        assert_eq!(renamed.parse::<JoinRequest>(), Err(BadText::Unproven(WHAT)));
        assert!(matches!("flt1abc".parse::<JoinRequest>(), Err(BadText::Other { .. })));
        assert_eq!(format!("{PREFIX}aaaa").parse::<JoinRequest>(), Err(BadText::Damaged(WHAT)));
    }
}
