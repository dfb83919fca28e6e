//! What a Nix signature covers and how it is made and checked: hash, fingerprint, key, signature.
//!
//! The formats are Nix's own, so that a store accepts what an admin's key signed and a node can check it by itself.

use std::fmt;
use std::str::FromStr;

use data_encoding::BASE64;
use protocols::{NodeId, SecretKey, Signature};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::store_path::{NIX32, StorePath};

/// SHA-256 of a path's archive (NAR); `sha256:` and 52 characters of Nix's base 32 in text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NarHash([u8; 32]);

/// Why a text is not a NAR hash, a key or a signature.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a {what}: {why}")]
pub struct BadSignatureText {
    what: &'static str,
    text: String,
    why: &'static str,
}

impl BadSignatureText {
    fn new(what: &'static str, text: &str, why: &'static str) -> Self {
        Self { what, text: text.chars().take(SHOWN_CHARS).collect(), why }
    }
}

impl NarHash {
    /// Wraps a SHA-256 digest.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The digest.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The 52 characters without the algorithm: a file name.
    pub fn nix32(&self) -> String {
        (0..NIX32_CHARS)
            .rev()
            .map(|n| {
                let (byte, shift) = (n * 5 / 8, n * 5 % 8);
                let low = u16::from(self.0[byte]);
                let high = self.0.get(byte + 1).copied().map_or(0, u16::from);
                char::from(NIX32[usize::from((low | high << 8) >> shift & 0x1f)])
            })
            .collect()
    }
}

impl fmt::Display for NarHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.nix32())
    }
}

impl fmt::Debug for NarHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NarHash({})", self.nix32())
    }
}

impl FromStr for NarHash {
    type Err = BadSignatureText;

    fn from_str(text: &str) -> Result<Self, BadSignatureText> {
        let bad = |why| BadSignatureText::new("NAR hash", text, why);
        let digits = text.strip_prefix("sha256:").ok_or_else(|| bad("it does not begin with sha256:"))?;
        if digits.len() != NIX32_CHARS {
            return Err(bad("after sha256: come 52 characters"));
        }
        let mut bytes = [0u8; 32];
        for (n, digit) in digits.bytes().rev().enumerate() {
            let value = NIX32
                .iter()
                .position(|c| *c == digit)
                .ok_or_else(|| bad("it holds a character outside Nix's base 32"))?;
            let bits = (value as u16) << (n * 5 % 8);
            let byte = n * 5 / 8;
            bytes[byte] |= (bits & 0xff) as u8;
            match bytes.get_mut(byte + 1) {
                Some(next) => *next |= (bits >> 8) as u8,
                None if bits >> 8 != 0 => return Err(bad("its first character is too large for 256 bits")),
                None => {}
            }
        }
        Ok(Self(bytes))
    }
}

impl Serialize for NarHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for NarHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// The text that a signature of a store path is over. `references` must be sorted, and hold the path itself if it
/// refers to itself.
pub fn fingerprint(path: &StorePath, nar_hash: &NarHash, nar_size: u64, references: &[StorePath]) -> String {
    let references: Vec<&str> = references.iter().map(StorePath::as_str).collect();
    format!("1;{path};{nar_hash};{nar_size};{}", references.join(","))
}

/// A key whose signatures on store paths are believed; `name:base64` in text, as `trusted-public-keys` has it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrustedKey {
    name: String,
    key: NodeId,
}

impl TrustedKey {
    /// The Nix key of a fleet member: its own ed25519 key, named `flt-` and the first 16 hex digits of its id.
    pub fn of_node(id: NodeId) -> Self {
        let hex = id.to_string();
        Self { name: format!("flt-{}", &hex[..16]), key: id }
    }

    /// The name by which signatures refer to it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether `signature` (`name:base64`) is this key's over `fingerprint`.
    pub fn signed(&self, fingerprint: &str, signature: &str) -> bool {
        let Some((name, encoded)) = signature.split_once(':') else { return false };
        if name != self.name {
            return false;
        }
        let Some(bytes) = BASE64.decode(encoded.as_bytes()).ok().and_then(|b| <[u8; 64]>::try_from(b).ok()) else {
            return false;
        };
        self.key.verifies(b"", fingerprint.as_bytes(), &Signature::from_bytes(bytes))
    }
}

impl fmt::Display for TrustedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.name, BASE64.encode(self.key.as_bytes()))
    }
}

impl FromStr for TrustedKey {
    type Err = BadSignatureText;

    fn from_str(text: &str) -> Result<Self, BadSignatureText> {
        let bad = |why| BadSignatureText::new("trusted public key", text, why);
        let (name, encoded) = text.split_once(':').ok_or_else(|| bad("it should be `name:base64`"))?;
        if !is_key_name(name) {
            return Err(bad("its name should be 1 to 200 of a-z A-Z 0-9 . _ - + / = @"));
        }
        let bytes = BASE64.decode(encoded.as_bytes()).map_err(|_| bad("what follows the name is not base64"))?;
        let bytes = <[u8; 32]>::try_from(bytes).map_err(|_| bad("it does not hold 32 bytes"))?;
        let key = NodeId::from_bytes(bytes);
        if !key.is_key() {
            return Err(bad("its bytes are no ed25519 key"));
        }
        Ok(Self { name: name.to_owned(), key })
    }
}

/// Signs a fingerprint as Nix does, with a member's own key.
pub fn sign(key: &SecretKey, fingerprint: &str) -> String {
    let signature = key.sign(b"", fingerprint.as_bytes());
    format!("{}:{}", TrustedKey::of_node(key.id()).name, BASE64.encode(signature.as_bytes()))
}

/// Whether a text has the shape of a signature, so that it can stand in a narinfo line.
pub(super) fn is_signature_text(text: &str) -> bool {
    text.len() <= SIGNATURE_BYTES_MAX
        && text.split_once(':').is_some_and(|(name, encoded)| {
            is_key_name(name) && !encoded.is_empty() && BASE64.decode(encoded.as_bytes()).is_ok()
        })
}

fn is_key_name(name: &str) -> bool {
    (1..=200).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-+/=@".contains(&b))
}

const NIX32_CHARS: usize = 52;
const SIGNATURE_BYTES_MAX: usize = 512;
const SHOWN_CHARS: usize = 120;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Made by `nix store sign` of Nix 2.8.
    const KEY: &str = "t-1:JDf0lGP5mtmvRY5LdZbevgJz0JKi5L0p3M1MhjKa0ks=";
    const DEP: &str = "/nix/store/z4asv3j07d89ywjf8fxkn7sg6mf5s9q5-dep";
    const TOP: &str = "/nix/store/1jr8srwdhjx8z37j22sc7xx59bzclwq8-x";
    const TOP_HEX: &str = "e4cbd93975fc8b489b79775d08ec2feb56fe6a3553d008e44ba468609329b8b5";
    const DEP_HEX: &str = "7bdbc9e6407d9d3ed40adc64d746be6366b5f58ee668c6b02866008bbef57202";
    const TOP_SIG: &str =
        "t-1:+2GMaJpL5c88jhvrosrEOQFnSEIPY1uFveX6ysfyXWPUT86/lQsnvz2Nm9Nvb7DSy8b1rptfo7u3C0SBvyTlBQ==";
    const DEP_SIG: &str =
        "t-1:FeKbk0crQJCFg6j+iR0ZZOjX1yJhVQC8GVBKegevU3Ibjn/NtSrsiYOJpkVfuzyjFfDECDv3mPY176NMK64SDw==";

    fn hash(hex: &str) -> NarHash {
        NarHash(data_encoding::HEXLOWER.decode(hex.as_bytes()).unwrap().try_into().unwrap())
    }

    #[test]
    fn signatures_made_by_nix_verify() {
        let key: TrustedKey = KEY.parse().unwrap();
        assert_eq!(key.to_string(), KEY);
        let dep = fingerprint(&DEP.parse().unwrap(), &hash(DEP_HEX), 120, &[]);
        let top = fingerprint(&TOP.parse().unwrap(), &hash(TOP_HEX), 168, &[DEP.parse().unwrap()]);
        assert!(key.signed(&dep, DEP_SIG));
        assert!(key.signed(&top, TOP_SIG));
        assert!(!key.signed(&dep, TOP_SIG));
        assert!(!key.signed(&top.replace("168", "169"), TOP_SIG));
        assert!(!key.signed(&top, &TOP_SIG.replace("t-1", "t-2")));
        assert!(!key.signed(&top, "t-1:"));
    }

    #[test]
    fn a_members_key_is_its_nix_key() {
        let secret = SecretKey::from_seed(&[3; 32]);
        let text = fingerprint(&TOP.parse().unwrap(), &hash(TOP_HEX), 168, &[]);
        let key = TrustedKey::of_node(secret.id());
        assert!(key.signed(&text, &sign(&secret, &text)));
        assert!(is_signature_text(&sign(&secret, &text)));
        assert!(!TrustedKey::of_node(SecretKey::from_seed(&[4; 32]).id()).signed(&text, &sign(&secret, &text)));
        assert_eq!(key.to_string().parse::<TrustedKey>().unwrap(), key);
        assert_eq!(key.name().len(), 20);
    }

    #[test]
    fn bad_texts_are_refused() {
        for bad in ["", "x", "x:", "x:AAAA", ":JDf0lGP5mtmvRY5LdZbevgJz0JKi5L0p3M1MhjKa0ks=", "a b:AAAA"] {
            assert!(bad.parse::<TrustedKey>().is_err(), "{bad}");
        }
        let top = format!("sha256:{}", "z".repeat(52));
        for bad in ["", "sha256:", "md5:x", &top] {
            assert!(bad.parse::<NarHash>().is_err(), "{bad}");
        }
        for bad in ["x", "x:", "x:!!", "x\ny:AAAA", ":AAAA"] {
            assert!(!is_signature_text(bad), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn nar_hashes_round_trip(bytes: [u8; 32]) {
            let hash = NarHash(bytes);
            prop_assert_eq!(hash.to_string().parse::<NarHash>().unwrap(), hash);
        }

        #[test]
        fn parsing_never_panics(text in ".{0,80}") {
            drop(format!("sha256:{text}").parse::<NarHash>());
            drop(text.parse::<TrustedKey>());
            is_signature_text(&text);
        }
    }
}
