//! How an age file names the keys that it is sealed to: by four bytes of a hash, enough to see who is missing.

use sha2::{Digest as _, Sha256};

use crate::ids::NodeId;

/// The beginning of the hash of a recipient's SSH public key. Two keys may share one, if somebody tries for long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(pub(super) [u8; 4]);

impl Tag {
    /// The tag of a key.
    pub fn of(id: NodeId) -> Self {
        let hash = Sha256::digest(ssh_wire(id));
        Self([hash[0], hash[1], hash[2], hash[3]])
    }
}

/// The tags of all recipients of a secret, sorted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tags(Vec<Tag>);

impl Tags {
    /// Those of these keys.
    pub fn of(ids: impl IntoIterator<Item = NodeId>) -> Self {
        ids.into_iter().map(Tag::of).collect()
    }

    /// How many recipients there are.
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a key is among them.
    pub fn has(&self, id: NodeId) -> bool {
        self.0.binary_search(&Tag::of(id)).is_ok()
    }
}

impl FromIterator<Tag> for Tags {
    fn from_iter<I: IntoIterator<Item = Tag>>(tags: I) -> Self {
        let mut tags: Vec<Tag> = tags.into_iter().collect();
        tags.sort_unstable();
        Self(tags)
    }
}

/// The key as SSH writes it: `ssh-ed25519` and 32 bytes, each with its length before it.
pub(super) fn ssh_wire(id: NodeId) -> [u8; 51] {
    let mut wire = [0; 51];
    wire[3] = 11;
    wire[4..15].copy_from_slice(b"ssh-ed25519");
    wire[18] = 32;
    wire[19..].copy_from_slice(id.as_bytes());
    wire
}
