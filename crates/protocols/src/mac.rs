//! Hardware addresses in every spelling.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A hardware address: `aa:bb:cc:dd:ee:ff`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Mac([u8; 6]);

impl Mac {
    /// From its bytes.
    pub const fn new(bytes: [u8; 6]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub const fn bytes(self) -> [u8; 6] {
        self.0
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        f.pad(&format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}"))
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl From<Mac> for String {
    fn from(mac: Mac) -> Self {
        mac.to_string()
    }
}

impl TryFrom<String> for Mac {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl FromStr for Mac {
    type Err = String;

    /// Twelve hexadecimal digits in two, three or six groups of equal length, or in one.
    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || {
            let text: String = text.chars().take(40).collect();
            format!("`{}` is not a hardware address", text.escape_default())
        };
        let separator = text.chars().find(|c| !c.is_ascii_hexdigit());
        let groups: Vec<&str> = match separator {
            Some(separator) if ".:-".contains(separator) => text.split(separator).collect(),
            Some(_) => return Err(bad()),
            None => vec![text],
        };
        let digits: String = groups.concat();
        let even = groups.iter().all(|group| group.len() * groups.len() == 12);
        if !even || ![1, 2, 3, 6].contains(&groups.len()) || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(bad());
        }
        let mut bytes = [0; 6];
        for (at, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(digits.get(at * 2..at * 2 + 2).ok_or_else(bad)?, 16).map_err(|_| bad())?;
        }
        Ok(Self(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_is_read() {
        for text in ["cc4e.2439.2a40", "cc:4e:24:39:2a:40", "CC-4E-24-39-2A-40", "cc4e24-392a40", "cc4e24392a40"] {
            assert_eq!(text.parse::<Mac>().unwrap().to_string(), "cc:4e:24:39:2a:40");
        }
        for bad in [
            "",
            "cc4e.2439",
            "cc4e.2439.2a4",
            "cc:4e:24-39:2a:40",
            "ää4e24392a40",
            "cc4e.2439.2a400",
            "c:c4e2:4:3:9:2a40",
        ] {
            assert!(bad.parse::<Mac>().is_err(), "{bad}");
        }
    }
}
