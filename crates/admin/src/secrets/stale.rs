//! Which published secrets are sealed to the wrong keys, because the fleet changed since.

use std::collections::BTreeSet;

use protocols::secret::Tags;
use protocols::state::Declaration;
use protocols::{DeclarationName, FleetState, Name, SealedText, SecretKey};
use scores::Catalogue;
use serde::Serialize;

use super::{Spot, nodes, present, published, recipients};
use crate::race;

/// A published secret in a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SecretRow {
    /// Its name.
    pub name: Name,
    /// The declaration that holds it.
    pub declaration: DeclarationName,
    /// The publication.
    pub generation: u64,
    /// Who published it.
    pub author: String,
    /// To how many keys it is sealed.
    pub recipients: usize,
    /// Whether it is sealed as it should be.
    pub state: SecretState,
    /// Nodes that should be able to open it and cannot.
    pub missing: Vec<Name>,
    /// Whether this admin can open it; nothing if nobody tried.
    pub readable: Option<bool>,
}

/// Whether a published secret is sealed to those who shall have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SecretState {
    /// To exactly those.
    Sealed,
    /// Nodes or recovery keys are missing.
    Missing,
    /// Keys can open it that would not be among its recipients today.
    Excess,
}

impl std::fmt::Display for SecretState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Sealed => "sealed",
            Self::Missing => "seal-again",
            Self::Excess => "too-many",
        })
    }
}

impl SecretRow {
    /// Every published secret, by name and declaration. `key` is the admin's, if it is to be said what it opens.
    pub fn all(state: &FleetState, catalogue: &Catalogue, key: Option<&SecretKey>) -> Vec<Self> {
        let mut rows = Vec::new();
        for declaration in state.declarations().values() {
            let mut seen = BTreeSet::new();
            for text in published(catalogue, declaration) {
                if seen.insert(text.name().clone()) {
                    rows.push(Self::new(state, declaration, &text, key));
                }
            }
        }
        rows.sort_by(|a, b| (&a.name, &a.declaration).cmp(&(&b.name, &b.declaration)));
        rows
    }

    fn new(state: &FleetState, declaration: &Declaration, text: &SealedText, key: Option<&SecretKey>) -> Self {
        let Declaration { on, within, author, .. } = declaration;
        let found = text.recipients();
        let mut missing: Vec<Name> = nodes(state, on, within)
            .filter(|id| !found.has(*id))
            .filter_map(|id| state.members().get(&id).map(|member| member.name.clone()))
            .collect();
        missing.sort_unstable();
        let wanted = recipients(state, on, within, present(state, *author));
        let secret_state = if found == Tags::of(wanted.iter().copied()) {
            SecretState::Sealed
        } else if wanted.iter().any(|id| !found.has(*id)) {
            SecretState::Missing
        } else {
            SecretState::Excess
        };
        let place = Spot { kind: &declaration.kind, subject: &declaration.subject }.place();
        Self {
            name: text.name().clone(),
            declaration: declaration.name.clone(),
            generation: declaration.generation,
            author: race::who(*author, state),
            recipients: found.len(),
            state: secret_state,
            missing,
            readable: key.map(|key| text.open(place, key).is_ok()),
        }
    }

    /// What `flt admin status` says of it; nothing if every node can open it.
    pub fn problem(&self) -> Option<String> {
        let count = self.missing.len();
        let first: Vec<&str> = self.missing.iter().take(NAMES_MAX).map(Name::as_str).collect();
        let more = if count > NAMES_MAX { format!(" and {} more", count - NAMES_MAX) } else { String::new() };
        (count > 0).then(|| {
            format!(
                "{}: the secret `{}` is not sealed to {}{more}: flt admin secret reseal",
                self.declaration,
                self.name,
                first.join(", ")
            )
        })
    }
}

/// The most node names in one line.
const NAMES_MAX: usize = 5;
