//! A store path, checked when it is parsed: `/nix/store/<32 characters>-<name>` and nothing below it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A path directly in `/nix/store`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StorePath(String);

/// Why a text is not a store path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a store path: {why}")]
pub struct BadStorePath {
    text: String,
    why: &'static str,
}

impl StorePath {
    /// The whole path, `/nix/store/…`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The part after the store folder: hash, dash, name.
    pub fn base(&self) -> &str {
        &self.0[STORE_DIR.len() + 1..]
    }

    /// The 32 characters that name it in a binary cache.
    pub fn hash_part(&self) -> &str {
        &self.base()[..HASH_CHARS]
    }

    /// What comes after the hash.
    pub fn name(&self) -> &str {
        &self.base()[HASH_CHARS + 1..]
    }
}

impl FromStr for StorePath {
    type Err = BadStorePath;

    fn from_str(text: &str) -> Result<Self, BadStorePath> {
        let bad = |why| BadStorePath { text: text.chars().take(SHOWN_CHARS).collect(), why };
        let base = text
            .strip_prefix(STORE_DIR)
            .and_then(|rest| rest.strip_prefix('/'))
            .ok_or_else(|| bad("it does not begin with /nix/store/"))?;
        if !base.is_ascii() {
            return Err(bad("it holds a character that store paths cannot have"));
        }
        let Some((hash, name)) =
            base.split_at_checked(HASH_CHARS).and_then(|(h, rest)| Some((h, rest.strip_prefix('-')?)))
        else {
            return Err(bad("after the store folder come 32 characters and a dash"));
        };
        if !hash.bytes().all(|b| NIX32.contains(&b)) {
            return Err(bad("its hash holds a character outside 0-9 a-z without e, o, t, u"));
        }
        if name.is_empty() || name.len() > NAME_BYTES_MAX {
            return Err(bad("its name may have 1 to 211 characters"));
        }
        if !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-._?=".contains(&b)) {
            return Err(bad("its name holds a character outside a-z A-Z 0-9 + - . _ ? ="));
        }
        if matches!(name, "." | "..") || name.starts_with(".-") || name.starts_with("..-") {
            return Err(bad("its name would be a folder's own or parent entry"));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for StorePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for StorePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StorePath({})", self.base())
    }
}

impl Serialize for StorePath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for StorePath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Where every store path lies. Other store folders are not supported: their paths could not be run here.
pub const STORE_DIR: &str = "/nix/store";
/// Nix's base-32 alphabet: digits and lower-case letters without e, o, t and u.
pub(super) const NIX32: &[u8; 32] = b"0123456789abcdfghijklmnpqrsvwxyz";
const HASH_CHARS: usize = 32;
const NAME_BYTES_MAX: usize = 211;
const SHOWN_CHARS: usize = 120;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GOOD: &str = "/nix/store/1jr8srwdhjx8z37j22sc7xx59bzclwq8-nixos-system-node-25.11";

    #[test]
    fn parts() {
        let path: StorePath = GOOD.parse().unwrap();
        assert_eq!(path.hash_part(), "1jr8srwdhjx8z37j22sc7xx59bzclwq8");
        assert_eq!(path.name(), "nixos-system-node-25.11");
        assert_eq!(path.as_str(), GOOD);
    }

    #[test]
    fn anything_else_is_refused() {
        for bad in [
            "",
            "/nix/store",
            "/nix/store/",
            "1jr8srwdhjx8z37j22sc7xx59bzclwq8-x",
            "/nix/store/1jr8srwdhjx8z37j22sc7xx59bzclwq8",
            "/nix/store/1jr8srwdhjx8z37j22sc7xx59bzclwq8-",
            "/nix/store/1jr8srwdhjx8z37j22sc7xx59bzclwq8-x/bin/sh",
            "/nix/store/1jr8srwdhjx8z37j22sc7xx59bzclwq8-x y",
            "/nix/store/1jr8srwdhjx8z37j22sc7xx59bzclwq8-x\n",
            "/nix/store/1jr8srwdhjx8z37j22sc7xx59bzclwq8-..",
            "/nix/store/1jr8srwdhjx8z37j22sc7xx59bzclwqe-x",
            "/nix/store/../../etc/passwd-aaaaaaaaaaaaaaaaaaa",
            "/nix/store/ä1jr8srwdhjx8z37j22sc7xx59bzclwq-x",
        ] {
            assert!(bad.parse::<StorePath>().is_err(), "{bad}");
        }
        assert!(format!("{GOOD}{}", "x".repeat(211)).parse::<StorePath>().is_err());
    }

    proptest! {
        #[test]
        fn parsing_never_panics_and_keeps_the_text(text in ".{0,80}") {
            for text in [text.clone(), format!("/nix/store/{text}")] {
                if let Ok(path) = text.parse::<StorePath>() {
                    prop_assert_eq!(path.as_str(), text);
                }
            }
        }
    }
}
