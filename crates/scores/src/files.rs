//! `files/1`: files and directories below a root, with content, mode and owner, or their absence.
//!
//! What is not named is left alone. Missing directories above an entry are made with mode 0755. No symbolic link is ever
//! followed, neither on the way to the root nor below it.

mod entry;
mod plan;
mod tree;

use std::collections::BTreeMap;
use std::fmt;

use protocols::{BlobRef, Kind, SealedText, Subject};
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

pub use entry::{Content, Entry, Mode};
pub use plan::{FileStep, Owner, Seen, Tree};
pub use tree::FileTree;

use crate::{Invalid, Score};

/// What files and directories shall be below a root.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FilesScore {
    /// An absolute path. It is made where it is missing.
    pub root: String,
    /// The entries, by their paths below the root. At most [`ENTRIES_MAX`].
    #[serde(deserialize_with = "without_duplicates")]
    pub entries: BTreeMap<String, Entry>,
}

/// The most entries of one score.
pub const ENTRIES_MAX: usize = 4096;
/// The longest content within a score, in bytes of the file.
pub const INLINE_BYTES_MAX: usize = 64 * 1024;
/// The most content within a score altogether, in bytes of the files.
pub const INLINE_TOTAL_BYTES_MAX: usize = 256 * 1024;
/// The largest file from a blob, in bytes.
pub const BLOB_BYTES_MAX: u64 = 4 * 1024 * 1024 * 1024;
/// The longest root, in bytes.
pub const ROOT_BYTES_MAX: usize = 512;
/// The longest path of an entry, in bytes.
pub const PATH_BYTES_MAX: usize = 1024;
/// The longest name in a path, in bytes. File systems allow 255; the rest is for the name of the file that is written aside.
pub const NAME_BYTES_MAX: usize = 255;

impl Score for FilesScore {
    const KIND: Kind = Kind::from_static("files/1");

    /// `files` and the root, so that two declarations on one root collide.
    fn subject(&self) -> Subject {
        let mut text = String::from("files");
        for byte in self.root.bytes() {
            match byte {
                b'%' => text.push_str("%25"),
                0x21..=0x7e => text.push(char::from(byte)),
                other => text.push_str(&format!("%{other:02x}")),
            }
        }
        if let Ok(subject) = text.parse() {
            return subject;
        }
        // Too long, for a subject or altogether: the hash stands for it.
        let hash = data_encoding::HEXLOWER.encode(blake3::hash(self.root.as_bytes()).as_bytes());
        format!("files/blake3/{hash}").parse().unwrap_or_else(|_| unreachable!("it is short and plain"))
    }

    fn check(&self) -> Result<(), Invalid> {
        check_root(&self.root).map_err(|why| Invalid::at("root", why))?;
        if self.entries.is_empty() {
            return Err(Invalid::at("entries", "there are none"));
        }
        if self.entries.len() > ENTRIES_MAX {
            let why = format!("there are {} and may be at most {ENTRIES_MAX}", self.entries.len());
            return Err(Invalid::at("entries", why));
        }
        let mut total = 0;
        for (path, entry) in &self.entries {
            let invalid = |why: String| Invalid::at(field(path), why);
            check_path(path).map_err(invalid)?;
            entry.check().map_err(invalid)?;
            if let Entry::File { content, .. } = entry {
                total += content.inline_len();
            }
            for (at, _) in path.match_indices('/') {
                match self.entries.get(&path[..at]) {
                    Some(Entry::File { .. }) => {
                        return Err(invalid(format!("it is below `{}`, which is declared a file", &path[..at])));
                    }
                    Some(Entry::Absent) if *entry != Entry::Absent => {
                        return Err(invalid(format!("it is below `{}`, which is declared absent", &path[..at])));
                    }
                    _ => {}
                }
            }
        }
        if total > INLINE_TOTAL_BYTES_MAX {
            let why = format!("they hold {total} bytes of content and may hold {INLINE_TOTAL_BYTES_MAX}; use blobs");
            return Err(Invalid::at("entries", why));
        }
        Ok(())
    }

    fn artifacts(&self) -> Vec<BlobRef> {
        let blobs = self.entries.values().filter_map(|entry| match entry {
            Entry::File { content: Content::Blob(blob), .. } => Some(*blob),
            _ => None,
        });
        let mut blobs: Vec<BlobRef> = blobs.collect();
        blobs.sort_unstable();
        blobs.dedup();
        blobs
    }

    fn secrets(&self) -> Vec<&SealedText> {
        let sealed = |entry| match entry {
            &Entry::File { content: Content::Sealed(ref sealed), .. } => Some(sealed),
            _ => None,
        };
        self.entries.values().filter_map(sealed).collect()
    }
}

impl FilesScore {
    /// The absolute path of an entry.
    pub fn absolute(&self, path: &str) -> String {
        if self.root == "/" { format!("/{path}") } else { format!("{}/{path}", self.root) }
    }
}

fn field(path: &str) -> String {
    format!("entries.\"{}\"", path.escape_default())
}

fn check_root(root: &str) -> Result<(), String> {
    if root.len() > ROOT_BYTES_MAX {
        return Err(format!("it has {} bytes and may have at most {ROOT_BYTES_MAX}", root.len()));
    }
    match root.strip_prefix('/') {
        None => Err(format!("`{}` is not an absolute path", root.escape_default())),
        Some("") => Ok(()),
        Some(rest) => check_names(rest),
    }
}

fn check_path(path: &str) -> Result<(), String> {
    if path.starts_with('/') {
        return Err("it is an absolute path and should be relative to the root".into());
    }
    if path.len() > PATH_BYTES_MAX {
        return Err(format!("it has {} bytes and may have at most {PATH_BYTES_MAX}", path.len()));
    }
    check_names(path)
}

fn check_names(path: &str) -> Result<(), String> {
    for name in path.split('/') {
        match name {
            "" => return Err("it has an empty name between slashes or at its end".into()),
            "." | ".." => return Err(format!("it may not hold `{name}`")),
            _ if name.contains('\0') => return Err("it holds a NUL".into()),
            _ if name.len() > NAME_BYTES_MAX => {
                return Err(format!("a name in it has {} bytes and may have at most {NAME_BYTES_MAX}", name.len()));
            }
            _ => {}
        }
    }
    Ok(())
}

/// A map in which a repeated key is an error: JSON readers disagree about which one counts.
fn without_duplicates<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, Entry>, D::Error> {
    struct Entries;

    impl<'de> Visitor<'de> for Entries {
        type Value = BTreeMap<String, Entry>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a table of entries by path")
        }

        fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
            let mut entries = BTreeMap::new();
            while let Some(path) = map.next_key::<String>()? {
                if entries.len() >= ENTRIES_MAX {
                    return Err(M::Error::custom(format!("there are more than {ENTRIES_MAX} entries")));
                }
                if entries.contains_key(&path) {
                    return Err(M::Error::custom(format!("`{}` is declared twice", path.escape_default())));
                }
                let entry = map.next_value()?;
                entries.insert(path, entry);
            }
            Ok(entries)
        }
    }

    deserializer.deserialize_map(Entries)
}

#[cfg(test)]
mod tests;
