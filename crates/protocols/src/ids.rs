//! The names of things: keys, fleets, hashes, nodes, kinds of scores and what they govern.
//!
//! Every identifier that crosses the wire or enters a signature is a type of its own here, checked
//! when it is parsed, so that no other module handles bare strings or byte arrays.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Why a text is not the identifier it was taken for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a {what}: {why}")]
pub struct BadId {
    what: &'static str,
    text: String,
    why: String,
}

impl BadId {
    fn new(what: &'static str, text: &str, why: impl Into<String>) -> Self {
        let mut text: String = text.chars().take(80).collect();
        if text.len() == 80 {
            text.push('…');
        }
        Self { what, text, why: why.into() }
    }
}

macro_rules! bytes32 {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 32]);

        impl $name {
            /// Wraps the 32 bytes.
            pub const fn from_bytes(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }

            /// The 32 bytes.
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }

            /// The first ten hex digits, for people.
            pub fn short(&self) -> String {
                data_encoding::HEXLOWER.encode(&self.0[..5])
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.short())
            }
        }

        impl FromStr for $name {
            type Err = BadId;

            fn from_str(text: &str) -> Result<Self, BadId> {
                if text.len() != 64 {
                    let why = format!("it has {} characters and should have 64", text.chars().count());
                    return Err(BadId::new($what, text, why));
                }
                let bytes = data_encoding::HEXLOWER_PERMISSIVE
                    .decode(text.as_bytes())
                    .map_err(|e| BadId::new($what, text, e.to_string()))?;
                let bytes = bytes
                    .try_into()
                    .map_err(|_| BadId::new($what, text, "it does not decode to 32 bytes"))?;
                Ok(Self(bytes))
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() {
                    serializer.collect_str(self)
                } else {
                    self.0.serialize(serializer)
                }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                if deserializer.is_human_readable() {
                    let text = Cow::<'de, str>::deserialize(deserializer)?;
                    text.parse().map_err(serde::de::Error::custom)
                } else {
                    <[u8; 32]>::deserialize(deserializer).map(Self)
                }
            }
        }
    };
}

bytes32! {
    /// A node's ed25519 public key: its identity on the mesh, its document author, its signer.
    ///
    /// Printed as 64 lower-case hex digits, which is how iroh prints an endpoint id.
    NodeId, "node id"
}

bytes32! {
    /// BLAKE3 of the fleet's genesis entry: all that is needed to verify a ledger.
    FleetId, "fleet id"
}

bytes32! {
    /// BLAKE3 of a ledger entry's bytes and signature.
    EntryHash, "entry hash"
}

bytes32! {
    /// BLAKE3 of a blob, as iroh-blobs names it.
    BlobHash, "blob hash"
}

bytes32! {
    /// BLAKE3 digest of a state or of a payload.
    Digest, "digest"
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $what:literal, $check:path) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(transparent)]
        pub struct $name(Cow<'static, str>);

        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl FromStr for $name {
            type Err = BadId;

            fn from_str(text: &str) -> Result<Self, BadId> {
                match $check(text) {
                    Ok(()) => Ok(Self(Cow::Owned(text.to_owned()))),
                    Err(why) => Err(BadId::new($what, text, why)),
                }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

text_id! {
    /// A name that people give: of a node, a fleet, an admin, a group or a label.
    ///
    /// 1 to 63 of `a-z 0-9 - _ .`, and it starts and ends with a letter or digit.
    Name, "name", check_name
}

text_id! {
    /// The name of a declaration: `group/name`, each part a [`Name`].
    DeclarationName, "declaration name", check_declaration_name
}

text_id! {
    /// Name and schema version of a score's language: `files/1`, `brocade.port-channel/1`.
    ///
    /// A name like [`Name`], a slash, a version from 1 to 999.
    Kind, "kind", check_kind
}

text_id! {
    /// What a score governs on a node: `nixos`, `files/motd`, `switch/rack-3`.
    ///
    /// 1 to 200 printable ASCII characters without spaces. Two declarations with one subject cannot both hold on a node.
    Subject, "subject", check_subject
}

impl Kind {
    /// A kind known at compile time. A malformed one is found when it is published: it does not parse back.
    pub const fn from_static(text: &'static str) -> Self {
        Self(Cow::Borrowed(text))
    }
}

impl DeclarationName {
    /// The part before the slash.
    pub fn group(&self) -> &str {
        self.0.split_once('/').map_or(self.as_str(), |(group, _)| group)
    }
}

/// The longest [`Name`], in bytes.
pub const NAME_BYTES_MAX: usize = 63;
/// The longest [`Subject`], in bytes.
pub const SUBJECT_BYTES_MAX: usize = 200;

fn check_name(text: &str) -> Result<(), String> {
    if text.is_empty() || text.len() > NAME_BYTES_MAX {
        return Err(format!("it has {} bytes and may have 1 to {NAME_BYTES_MAX}", text.len()));
    }
    let ok = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    if let Some(bad) = text.chars().find(|c| !ok(*c) && !matches!(c, '-' | '_' | '.')) {
        return Err(format!("`{}` is not one of a-z 0-9 - _ .", bad.escape_default()));
    }
    if !text.starts_with(ok) || !text.ends_with(ok) {
        return Err("it must start and end with a letter or digit".into());
    }
    Ok(())
}

fn check_declaration_name(text: &str) -> Result<(), String> {
    let Some((group, name)) = text.split_once('/') else {
        return Err("it should be `group/name`".into());
    };
    check_name(group)?;
    check_name(name)
}

fn check_kind(text: &str) -> Result<(), String> {
    let Some((name, version)) = text.split_once('/') else {
        return Err("it should be `name/version`, like `files/1`".into());
    };
    check_name(name)?;
    match version.parse::<u16>() {
        Ok(1..=999) if !version.starts_with(['0', '+']) => Ok(()),
        _ => Err("the version after the slash should be a number from 1 to 999".into()),
    }
}

fn check_subject(text: &str) -> Result<(), String> {
    if text.is_empty() || text.len() > SUBJECT_BYTES_MAX {
        return Err(format!("it has {} bytes and may have 1 to {SUBJECT_BYTES_MAX}", text.len()));
    }
    if let Some(bad) = text.chars().find(|c| !c.is_ascii_graphic()) {
        return Err(format!("`{}` is not a printable ASCII character", bad.escape_default()));
    }
    Ok(())
}

/// A moment: milliseconds since 1970-01-01T00:00:00Z on somebody's clock, which may be wrong.
///
/// Nothing is ever ordered by it: order is the ledger's sequence number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Millis(pub u64);

impl Millis {
    /// This moment plus a span; saturates.
    pub fn plus(self, span: std::time::Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(span.as_millis()).unwrap_or(u64::MAX)))
    }

    /// The span from `earlier` to this moment, zero if `earlier` is later.
    pub fn since(self, earlier: Self) -> std::time::Duration {
        std::time::Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        for good in ["a", "edge-1", "x.y_z", "9"] {
            assert!(good.parse::<Name>().is_ok(), "{good}");
        }
        for bad in ["", "-a", "a-", "A", "ä", "a b", &"x".repeat(64)] {
            assert!(bad.parse::<Name>().is_err(), "{bad}");
        }
        let message = "Edge 1".parse::<Name>().unwrap_err().to_string();
        assert_eq!(message, "`Edge 1` is not a name: `E` is not one of a-z 0-9 - _ .");
    }

    #[test]
    fn kinds_have_a_version() {
        for good in ["files/1", "brocade.port-channel/12"] {
            assert!(good.parse::<Kind>().is_ok(), "{good}");
        }
        for bad in ["files", "files/", "files/0", "files/01", "files/+1", "files/1000", "/1"] {
            assert!(bad.parse::<Kind>().is_err(), "{bad}");
        }
    }

    #[test]
    fn ids_are_hex_in_json_and_bytes_in_postcard() {
        let id = NodeId::from_bytes([7; 32]);
        let json = serde_json::to_string(&id).unwrap();
        assert_eq!(json, format!("\"{id}\""));
        assert_eq!(serde_json::from_str::<NodeId>(&json).unwrap(), id);
        let packed = postcard::to_stdvec(&id).unwrap();
        assert_eq!(packed.len(), 32);
        assert_eq!(postcard::from_bytes::<NodeId>(&packed).unwrap(), id);
        assert!("07".parse::<NodeId>().is_err());
        assert!("zz".repeat(32).parse::<NodeId>().is_err());
    }
}
