//! Secrets on the admin's side: to whom they are sealed, where their values come from, and what must be sealed again.
//!
//! There is no store of secrets beside the ledger. Whoever publishes a secret is one of its recipients, so that the value
//! can be had again for another node or another version; and so are the fleet's recovery keys, so that it is not lost with
//! that admin. Two secrets are compared by opening both: nothing published tells whether they are the same.

mod seal;
mod stale;

use std::collections::BTreeSet;

use protocols::state::Declaration;
use protocols::{DeclarationName, FleetState, Kind, Name, NodeId, SealedText, Selector, Subject};
use scores::Catalogue;
use serde::Serialize;

pub use seal::{SealError, Sealer, Wanted};
pub use stale::{SecretRow, SecretState};

/// What becomes of a secret in a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum News {
    /// It was not there.
    New,
    /// It is another one, or it cannot be told whether it is.
    Changed,
    /// The same one is sealed to other keys.
    Resealed,
    /// It stays as it is published.
    Unchanged,
    /// Its value is asked for when the plan is applied.
    Unknown,
}

/// A secret in a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SecretUse {
    /// Its name.
    pub name: Name,
    /// What becomes of it.
    pub news: News,
    /// To how many keys it will be sealed.
    pub recipients: usize,
}

impl std::fmt::Display for SecretUse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { name, news, recipients } = self;
        let keys = if *recipients == 1 { "key" } else { "keys" };
        match news {
            News::New => write!(f, "secret `{name}` is new, sealed to {recipients} {keys}"),
            News::Changed => write!(f, "secret `{name}` changes, sealed to {recipients} {keys}"),
            News::Resealed => write!(f, "secret `{name}` is sealed again, to {recipients} {keys}"),
            News::Unchanged => write!(f, "secret `{name}` stays"),
            News::Unknown => write!(f, "secret `{name}` is not known yet: its value is asked for when this is applied"),
        }
    }
}

/// Everybody who can open a secret that `publisher` publishes for these nodes: the nodes, the recovery keys, and the
/// publisher, if there is one still. A node that is set apart is left out.
pub fn recipients(
    state: &FleetState,
    on: &Selector,
    within: &[Selector],
    publisher: Option<NodeId>,
) -> BTreeSet<NodeId> {
    let recovery = state.recovery().map(|set| set.recovery.keys.as_slice()).unwrap_or_default();
    nodes(state, on, within).chain(recovery.iter().map(|founder| founder.key)).chain(publisher).collect()
}

/// The key that somebody who published has now; nothing if that is no admin any more.
fn present(state: &FleetState, author: NodeId) -> Option<NodeId> {
    let key = state.successor(author).unwrap_or(author);
    state.admins().contains_key(&key).then_some(key)
}

fn nodes<'a>(state: &'a FleetState, on: &'a Selector, within: &'a [Selector]) -> impl Iterator<Item = NodeId> + 'a {
    let meant = move |(_, m): &(NodeId, &protocols::state::Member)| {
        m.quarantine.is_none() && within.iter().all(|limit| limit.matches(m.name.as_str(), &m.labels))
    };
    state.select(on).filter(meant).map(|(id, _)| id)
}

/// The sealed secrets of a declaration in force.
fn published(catalogue: &Catalogue, declaration: &Declaration) -> Vec<SealedText> {
    // Reading every score of a fleet only to find no secret in it would take long.
    if !declaration.payload.get().contains(r#""age""#) {
        return Vec::new();
    }
    catalogue.secrets(&declaration.kind, declaration.payload.get()).unwrap_or_default()
}

/// A secret that a fleet file names, before its score is resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// The declaration.
    pub declaration: DeclarationName,
    /// For which nodes.
    pub on: Selector,
    /// The secret.
    pub secret: Name,
}

/// What a secret stands in: all that decides whether what is published can stay.
#[derive(Debug, Clone, Copy)]
struct Spot<'a> {
    kind: &'a Kind,
    subject: &'a Subject,
}

impl<'a> Spot<'a> {
    const fn place(self) -> protocols::secret::Place<'a> {
        protocols::secret::Place { kind: self.kind, subject: self.subject }
    }
}

#[cfg(test)]
mod tests;
