//! Candidates that left the fleet: the others go on without them.
//!
//! A declaration names its candidates, and a node that was removed has no name any more: the ledger's state keeps its key
//! alone. So a name is taken for that of a node that left if no member has it, and if, since the declaration was
//! published, at least as many keys were revoked, and not rotated, as names are missing. A node that was renamed or has
//! yet to join is not left out by that; what names it is unclear, and goes on as it was.

use std::collections::BTreeSet;

use protocols::entry::Publish;
use protocols::{FleetState, Name};

use super::declared::reader;
use super::{ClusterName, Declared, Succession, declared};

/// A candidate of a declaration that nobody is, and nobody is invited to be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is a candidate, and no node of that name is in the fleet or invited: take it out of `candidates`, or invite it first"
)]
pub struct NoSuchCandidate(pub Name);

/// The names of the succession whose nodes left the fleet after the declaration was published.
pub(super) fn left(state: &FleetState, generation: u64, succession: &Succession) -> BTreeSet<Name> {
    let named = succession.candidates.iter().chain(&succession.first);
    let missing: BTreeSet<Name> = named.filter(|name| state.member_named(name.as_str()).is_none()).cloned().collect();
    if missing.is_empty() {
        return missing;
    }
    let gone = state.revoked().iter().filter(|(key, seq)| **seq > generation && state.successor(**key).is_none());
    if missing.len() <= gone.count() { missing } else { BTreeSet::new() }
}

/// Whether every candidate that is about to be published is a node, or invited to be one.
///
/// What cannot be read is for others to refuse.
///
/// # Errors
/// Names the first that is not.
pub fn candidates_exist(state: &FleetState, publish: &Publish) -> Result<(), NoSuchCandidate> {
    let Some(read) = reader(&publish.kind).and_then(|read| read(publish.payload.get()).ok()) else { return Ok(()) };
    let expected = |name: &Name| {
        let invited =
            || state.invites().values().any(|invite| invite.uses_left > 0 && invite.name.as_ref() == Some(name));
        state.member_named(name.as_str()).is_some() || invited()
    };
    let named = read.succession.candidates.iter().chain(&read.succession.first);
    match named.into_iter().find(|name| !expected(name)) {
        Some(unknown) => Err(NoSuchCandidate(unknown.clone())),
        None => Ok(()),
    }
}

/// What names this node as one that may write, and the others that may, by name.
pub fn naming(state: &FleetState, node: protocols::NodeId) -> Vec<(ClusterName, Vec<Name>)> {
    let Declared { clusters, .. } = declared(state);
    let named = clusters.into_values().filter_map(|mut cluster| {
        cluster.names.remove(&super::lease_id(node))?;
        let others: BTreeSet<Name> = cluster.names.into_values().collect();
        Some((cluster.name, others.into_iter().collect()))
    });
    named.collect()
}

#[cfg(test)]
mod tests;
