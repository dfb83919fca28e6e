//! The steps from what is there to what is declared.

use std::collections::BTreeMap;
use std::fmt;

use protocols::BlobHash;
use serde::Serialize;

use super::{Content, Entry, FilesScore, Mode};
use crate::Plan;

/// What was found at each absolute path.
pub type Tree = BTreeMap<String, Seen>;

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Seen {
    /// Nothing.
    Absent,
    /// A regular file.
    File {
        /// BLAKE3 of its content. Where a secret is declared: that of the sealed form if the file holds what is
        /// sealed, else zero, so that no hash of a secret is ever told.
        hash: BlobHash,
        /// Its size in bytes, with the same exception.
        size: u64,
        /// Its mode.
        mode: Mode,
        /// Its owner.
        owner: Owner,
        /// Its group.
        group: Owner,
    },
    /// A directory.
    Directory {
        /// Its mode.
        mode: Mode,
        /// Its owner.
        owner: Owner,
        /// Its group.
        group: Owner,
    },
    /// A symbolic link. It is replaced, never followed.
    Symlink {
        /// Where it points.
        target: String,
    },
    /// A device, a socket or a pipe.
    Other,
    /// Something that is no directory is in the way.
    Unreachable {
        /// The absolute path of what is in the way.
        by: String,
        /// Whether that is a symbolic link.
        symlink: bool,
    },
}

/// The owner or group of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Owner {
    /// The number.
    pub id: u32,
    /// The name, if the node has one for it.
    pub name: Option<String>,
}

impl Owner {
    /// Whether it is the one that is declared, by number or by name. Nothing declared is always met.
    pub fn is(&self, declared: Option<&str>) -> bool {
        declared.is_none_or(|declared| match declared.parse::<u32>() {
            Ok(id) => id == self.id,
            Err(_) => self.name.as_deref() == Some(declared),
        })
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => f.write_str(name),
            None => write!(f, "{}", self.id),
        }
    }
}

/// One change of a file or directory. Paths are absolute.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum FileStep {
    /// Writes a file, in one piece, in place of whatever file or link is there.
    Write {
        /// Where.
        path: String,
        /// What.
        content: Content,
        /// Its mode.
        mode: Mode,
        /// Its owner; what was there, or the agent, where nothing is said.
        owner: Option<String>,
        /// Its group, likewise.
        group: Option<String>,
        /// What was there, for people.
        was: String,
    },
    /// Makes a directory.
    MakeDirectory {
        /// Where.
        path: String,
        /// Its mode.
        mode: Mode,
        /// Its owner.
        owner: Option<String>,
        /// Its group.
        group: Option<String>,
    },
    /// Changes the mode or owner of a directory.
    SetDirectory {
        /// Where.
        path: String,
        /// Its mode, where one is declared.
        mode: Option<Mode>,
        /// Its owner, where one is declared.
        owner: Option<String>,
        /// Its group, where one is declared.
        group: Option<String>,
        /// What it was, for people.
        was: String,
    },
    /// Removes a file, a link or an empty directory.
    Remove {
        /// Where.
        path: String,
        /// What was there, for people.
        was: String,
    },
}

impl FileStep {
    /// The absolute path that it changes.
    pub fn path(&self) -> &str {
        match self {
            Self::Write { path, .. }
            | Self::MakeDirectory { path, .. }
            | Self::SetDirectory { path, .. }
            | Self::Remove { path, .. } => path,
        }
    }
}

impl fmt::Display for FileStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path().escape_debug();
        match self {
            Self::Write { content, mode, owner, group, was, .. } => {
                let what = match content {
                    Content::Sealed(sealed) => format!("the secret `{}`", sealed.name()),
                    _ => format!("{} bytes", content.len()),
                };
                write!(f, "write {path} ({what}, {mode}{}; was {was})", accounts(owner, group))
            }
            Self::MakeDirectory { mode, owner, group, .. } => {
                write!(f, "make directory {path} ({mode}{})", accounts(owner, group))
            }
            Self::SetDirectory { mode, owner, group, was, .. } => {
                let mode = mode.map_or_else(String::new, |mode| format!("{mode}"));
                let said = format!("{mode}{}", accounts(owner, group));
                write!(f, "set directory {path} ({}; was {was})", said.trim_start_matches(", "))
            }
            Self::Remove { was, .. } => write!(f, "remove {path} ({was})"),
        }
    }
}

impl Plan for FilesScore {
    type Observed = Tree;
    type Step = FileStep;

    /// Removals first, the deepest before what holds it; then directories, then files, each from the top down.
    fn plan(&self, observed: &Tree) -> Vec<FileStep> {
        let mut removals = Vec::new();
        let mut directories = Vec::new();
        let mut files = Vec::new();
        for (relative, entry) in &self.entries {
            let path = self.absolute(relative);
            let seen = observed.get(&path).unwrap_or(&Seen::Absent);
            let remove = || FileStep::Remove { path: path.clone(), was: seen.to_string() };
            match entry {
                Entry::Absent => {
                    if !matches!(seen, Seen::Absent | Seen::Unreachable { .. }) {
                        removals.push(remove());
                    }
                }
                Entry::Directory { mode, owner, group } => {
                    if let Seen::Directory { mode: has, owner: of, group: of_group } = seen {
                        let same = mode.is_none_or(|mode| mode == *has)
                            && of.is(owner.as_deref())
                            && of_group.is(group.as_deref());
                        if !same {
                            let (mode, owner, group) = (*mode, owner.clone(), group.clone());
                            directories.push(FileStep::SetDirectory {
                                path,
                                mode,
                                owner,
                                group,
                                was: seen.to_string(),
                            });
                        }
                        continue;
                    }
                    if !matches!(seen, Seen::Absent | Seen::Unreachable { .. }) {
                        removals.push(remove());
                    }
                    let mode = mode.unwrap_or(Mode::DIRECTORY);
                    let (owner, group) = (owner.clone(), group.clone());
                    directories.push(FileStep::MakeDirectory { path, mode, owner, group });
                }
                Entry::File { content, mode, owner, group } => {
                    if let Seen::File { hash, size, mode: has, owner: of, group: of_group } = seen {
                        let same = *hash == content.hash()
                            && *size == content.len()
                            && has == mode
                            && of.is(owner.as_deref())
                            && of_group.is(group.as_deref());
                        if same {
                            continue;
                        }
                    }
                    if matches!(seen, Seen::Directory { .. }) {
                        removals.push(remove());
                    }
                    let (content, owner, group) = (content.clone(), owner.clone(), group.clone());
                    let was = match &content {
                        Content::Sealed(_) => seen.without_content(),
                        _ => seen.to_string(),
                    };
                    files.push(FileStep::Write { path, content, mode: *mode, owner, group, was });
                }
            }
        }
        removals.reverse();
        removals.into_iter().chain(directories).chain(files).collect()
    }
}

impl Seen {
    /// What is there, without a word on the content of a file.
    fn without_content(&self) -> String {
        match self {
            Self::File { mode, owner, group, .. } => format!("a file, {mode} {owner}:{group}"),
            other => other.to_string(),
        }
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("absent"),
            // What not everybody may read is not described either: a short secret could be guessed from its hash.
            Self::File { mode, .. } if mode.bits() & 0o004 == 0 => f.write_str(&self.without_content()),
            Self::File { hash, size, mode, owner, group } => {
                write!(f, "{size} bytes, {}…, {mode} {owner}:{group}", hash.short())
            }
            Self::Directory { mode, owner, group } => write!(f, "a directory, {mode} {owner}:{group}"),
            Self::Symlink { target } => write!(f, "a link to {}", target.escape_debug()),
            Self::Other => f.write_str("no regular file"),
            Self::Unreachable { .. } => f.write_str("out of reach"),
        }
    }
}

fn accounts(owner: &Option<String>, group: &Option<String>) -> String {
    match (owner, group) {
        (None, None) => String::new(),
        (Some(owner), None) => format!(", {owner}"),
        (owner, Some(group)) => format!(", {}:{group}", owner.as_deref().unwrap_or("")),
    }
}
