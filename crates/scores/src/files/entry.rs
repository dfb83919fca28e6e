//! One entry of a `files/1` score, and how it is written.

use std::fmt;
use std::str::FromStr;

use data_encoding::BASE64;
use protocols::{BlobHash, BlobRef, SealedText};
use serde::{Deserialize, Serialize};

use super::{BLOB_BYTES_MAX, INLINE_BYTES_MAX};

/// What a path shall be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub enum Entry {
    /// A regular file.
    File {
        /// Its content.
        content: Content,
        /// Its mode; 0644 where nothing is said, and 0600 for a secret.
        mode: Mode,
        /// Its owner, a name or a number. Where nothing is said, a file keeps its owner and a new one is the agent's.
        owner: Option<String>,
        /// Its group, likewise.
        group: Option<String>,
    },
    /// A directory.
    Directory {
        /// Its mode. Where nothing is said, a directory keeps its mode and a new one has 0755.
        mode: Option<Mode>,
        /// Its owner, as of a file.
        owner: Option<String>,
        /// Its group, as of a file.
        group: Option<String>,
    },
    /// Nothing. A directory is removed only when it is empty.
    Absent,
}

/// The content of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Content {
    /// Text within the score.
    Text(String),
    /// Bytes within the score.
    Bytes(Vec<u8>),
    /// A blob that travels by hash.
    Blob(BlobRef),
    /// A secret, sealed to the nodes that shall have it.
    Sealed(SealedText),
}

impl Content {
    /// BLAKE3 of the content. Of a secret, that of its sealed form, which says nothing about the secret.
    pub fn hash(&self) -> BlobHash {
        let inline = |bytes: &[u8]| BlobHash::from_bytes(*blake3::hash(bytes).as_bytes());
        match self {
            Self::Text(text) => inline(text.as_bytes()),
            Self::Bytes(bytes) => inline(bytes),
            Self::Blob(blob) => blob.hash,
            Self::Sealed(sealed) => BlobHash::from_bytes(*sealed.digest().as_bytes()),
        }
    }

    /// Its length in bytes. Of a secret, that of its sealed form.
    pub fn len(&self) -> u64 {
        match self {
            Self::Blob(blob) => blob.size,
            Self::Sealed(sealed) => u64::try_from(sealed.file().len()).unwrap_or(u64::MAX),
            _ => u64::try_from(self.inline_len()).unwrap_or(u64::MAX),
        }
    }

    /// Whether it is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn inline_len(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Bytes(bytes) => bytes.len(),
            Self::Blob(_) | Self::Sealed(_) => 0,
        }
    }

    /// The mode of a file with this content where nothing is said.
    const fn default_mode(&self) -> Mode {
        match self {
            Self::Sealed(_) => Mode::SECRET,
            _ => Mode::FILE,
        }
    }
}

/// Permission bits, 0000 to 7777 in octal; written as a text of three or four octal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Mode(u32);

impl Mode {
    /// The mode of a file where nothing is said.
    pub const FILE: Self = Self(0o644);
    /// The mode of a file that holds a secret where nothing is said.
    pub const SECRET: Self = Self(0o600);
    /// The mode of a new directory where nothing is said.
    pub const DIRECTORY: Self = Self(0o755);

    /// Keeps the permission bits of a number.
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits & 0o7777)
    }

    /// Whether everybody on the node may do something with a file of this mode.
    pub const fn is_for_everybody(self) -> bool {
        self.0 & 0o007 != 0
    }

    /// The number.
    pub const fn bits(self) -> u32 {
        self.0
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}

impl fmt::Debug for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl From<Mode> for String {
    fn from(mode: Mode) -> Self {
        mode.to_string()
    }
}

impl FromStr for Mode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = (3..=4).contains(&text.len()) && text.bytes().all(|byte| (b'0'..=b'7').contains(&byte));
        let bits = if digits { u32::from_str_radix(text, 8).ok() } else { None };
        bits.map(Self).ok_or_else(|| format!("`{}` is not a mode of three or four octal digits", text.escape_default()))
    }
}

impl TryFrom<String> for Mode {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl Entry {
    /// A file of this text with mode 0644.
    pub fn text(text: impl Into<String>) -> Self {
        Self::File { content: Content::Text(text.into()), mode: Mode::FILE, owner: None, group: None }
    }

    pub(super) fn check(&self) -> Result<(), String> {
        let (owner, group) = match self {
            Self::File { content, mode, owner, group } => {
                if matches!(content, Content::Sealed(_)) && mode.is_for_everybody() {
                    return Err(format!(
                        "it holds a secret, and with the mode {mode} everybody on the node could use it; leave the mode \
                         out for 0600, or set one that ends in 0, like 0640"
                    ));
                }
                if content.inline_len() > INLINE_BYTES_MAX {
                    let len = content.inline_len();
                    return Err(format!("it holds {len} bytes of content and may hold {INLINE_BYTES_MAX}; use a blob"));
                }
                if content.len() > BLOB_BYTES_MAX {
                    return Err(format!("its blob has {} bytes and may have {BLOB_BYTES_MAX}", content.len()));
                }
                (owner, group)
            }
            Self::Directory { owner, group, .. } => (owner, group),
            Self::Absent => return Ok(()),
        };
        for (what, account) in [("owner", owner), ("group", group)] {
            let Some(account) = account else { continue };
            let odd = |c: char| !(c.is_ascii_alphanumeric() || "-_.$@".contains(c));
            if account.is_empty() || account.len() > 64 || account.starts_with('-') || account.contains(odd) {
                return Err(format!("`{}` is not the name or number of an {what}", account.escape_default()));
            }
            if account.bytes().all(|b| b.is_ascii_digit()) && account.parse::<u32>().is_ok_and(|n| n < u32::MAX) {
                continue;
            }
            if account.bytes().all(|b| b.is_ascii_digit()) {
                return Err(format!("`{account}` is too large for an {what}"));
            }
        }
        Ok(())
    }
}

/// An entry as it is written: exactly one of the first six fields says what it is.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    content: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    base64: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    blob: Option<BlobRef>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    secret: Option<SealedText>,
    #[serde(default, skip_serializing_if = "is_false")]
    directory: bool,
    #[serde(default, skip_serializing_if = "is_false")]
    absent: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mode: Option<Mode>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    owner: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    group: Option<String>,
}

impl TryFrom<Written> for Entry {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        let Written { content, base64, blob, secret, directory, absent, mode, owner, group } = written;
        let said = [content.is_some(), base64.is_some(), blob.is_some(), secret.is_some(), directory, absent];
        if said.iter().filter(|said| **said).count() != 1 {
            return Err(
                "an entry has exactly one of content, base64, blob, secret, directory = true, absent = true".into()
            );
        }
        if directory {
            return Ok(Self::Directory { mode, owner, group });
        }
        if absent {
            if mode.is_some() || owner.is_some() || group.is_some() {
                return Err("an absent entry has no mode, owner or group".into());
            }
            return Ok(Self::Absent);
        }
        let content = if let Some(text) = content {
            Content::Text(text)
        } else if let Some(text) = base64 {
            let bytes =
                BASE64.decode(text.as_bytes()).map_err(|error| format!("its base64 does not decode: {error}"))?;
            Content::Bytes(bytes)
        } else if let Some(blob) = blob {
            Content::Blob(blob)
        } else if let Some(sealed) = secret {
            Content::Sealed(sealed)
        } else {
            return Err("an entry has content, base64, a blob or a secret".into());
        };
        let mode = mode.unwrap_or_else(|| content.default_mode());
        Ok(Self::File { content, mode, owner, group })
    }
}

impl From<Entry> for Written {
    fn from(entry: Entry) -> Self {
        let empty = Self {
            content: None,
            base64: None,
            blob: None,
            secret: None,
            directory: false,
            absent: false,
            mode: None,
            owner: None,
            group: None,
        };
        match entry {
            Entry::File { content, mode, owner, group } => {
                let mode = Some(mode).filter(|mode| *mode != content.default_mode());
                let base = Self { mode, owner, group, ..empty };
                match content {
                    Content::Text(text) => Self { content: Some(text), ..base },
                    Content::Bytes(bytes) => Self { base64: Some(BASE64.encode(&bytes)), ..base },
                    Content::Blob(blob) => Self { blob: Some(blob), ..base },
                    Content::Sealed(sealed) => Self { secret: Some(sealed), ..base },
                }
            }
            Entry::Directory { mode, owner, group } => Self { directory: true, mode, owner, group, ..empty },
            Entry::Absent => Self { absent: true, ..empty },
        }
    }
}

fn is_false(value: &bool) -> bool {
    !value
}
