//! Who has which blob, as agents say: a hint for where to ask, bounded, in memory.

use std::collections::{HashMap, VecDeque};

use protocols::{BlobHash, NodeId};

/// The most holders remembered for one blob.
const HOLDERS_MAX: usize = 32;
/// The most blobs remembered.
const BLOBS_MAX: usize = 200_000;

/// Blobs and their holders.
#[derive(Debug, Default)]
pub(crate) struct Gallery {
    holders: HashMap<BlobHash, VecDeque<NodeId>>,
}

impl Gallery {
    /// Notes that a node has a blob.
    pub(crate) fn has(&mut self, node: NodeId, blob: BlobHash) {
        if !self.holders.contains_key(&blob) && self.holders.len() >= BLOBS_MAX {
            return;
        }
        let holders = self.holders.entry(blob).or_default();
        holders.retain(|n| *n != node);
        holders.push_front(node);
        holders.truncate(HOLDERS_MAX);
    }

    /// Notes that a node has it no more.
    pub(crate) fn gone(&mut self, node: NodeId, blob: BlobHash) {
        if let Some(holders) = self.holders.get_mut(&blob) {
            holders.retain(|n| *n != node);
            if holders.is_empty() {
                self.holders.remove(&blob);
            }
        }
    }

    /// Forgets nodes that are not members any more.
    pub(crate) fn retain(&mut self, member: impl Fn(NodeId) -> bool) {
        self.holders.retain(|_, holders| {
            holders.retain(|n| member(*n));
            !holders.is_empty()
        });
    }

    /// Who has it, who said so last first.
    pub(crate) fn holders(&self, blob: BlobHash) -> impl Iterator<Item = NodeId> + '_ {
        self.holders.get(&blob).into_iter().flatten().copied()
    }
}
