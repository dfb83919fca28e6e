//! What a fleet file would change: the fleet's state against what the file wants. Pure.

mod diff;
mod findings;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use protocols::entry::{Head, Publish, Withdraw};
use protocols::facts::StableFacts;
use protocols::state::Declaration;
use protocols::{Body, DeclarationName, FleetState, Kind, Name, NodeId, Selector, Subject};
use serde::Serialize;

pub use diff::{DiffLine, Sign};
pub use findings::{Finding, Severity};

use crate::author::Intent;
use crate::fleetfile::{Resolved, Upload};
use crate::secrets::SecretUse;

/// What becomes of declarations that the file does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Prune {
    /// They stay.
    #[default]
    Nothing,
    /// Those in the file's groups are withdrawn.
    Groups,
    /// All are withdrawn.
    Everything,
}

/// How a plan is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Options {
    /// What becomes of declarations that the file does not hold.
    pub prune: Prune,
    /// Whether a selector may match no node.
    pub allow_empty: bool,
}

/// What is done with one declaration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// It is new.
    Create,
    /// It is published anew.
    Update,
    /// Nothing.
    Unchanged,
    /// It ends.
    Withdraw,
}

/// One declaration's part in a plan.
#[derive(Debug, Clone, Serialize)]
pub struct Change {
    /// The declaration.
    pub name: DeclarationName,
    /// What is done.
    pub action: Action,
    /// Its language.
    pub kind: Kind,
    /// What it governs.
    pub subject: Subject,
    /// For which nodes.
    pub on: Selector,
    /// Their names.
    pub targets: Vec<Name>,
    /// What differs, line by line.
    pub diff: Vec<DiffLine>,
    /// The secrets that it holds, and what becomes of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<SecretUse>,
    /// What is published.
    #[serde(skip)]
    pub publish: Option<Publish>,
    /// The files to hand over before.
    #[serde(skip)]
    pub uploads: Vec<Upload>,
}

/// A plan.
#[derive(Debug, Clone, Serialize)]
pub struct Changes {
    /// The newest entry of the state that it was made against.
    pub against: Head,
    /// Every declaration that the file holds or that is withdrawn, by name.
    pub changes: Vec<Change>,
    /// What is wrong or worth knowing.
    pub findings: Vec<Finding>,
}

impl Changes {
    /// Compares. `groups` are the file's groups; `facts` are those of the nodes that have told theirs.
    pub fn plan(
        state: &FleetState,
        wanted: Vec<Resolved>,
        groups: &BTreeSet<Name>,
        facts: &BTreeMap<NodeId, StableFacts>,
        options: Options,
    ) -> Self {
        let names: BTreeSet<DeclarationName> = wanted.iter().map(|resolved| resolved.name.clone()).collect();
        let mut changes: Vec<Change> = wanted.into_iter().map(|resolved| compare(state, resolved)).collect();
        let pruned = state.declarations().values().filter(|declaration| {
            !names.contains(&declaration.name)
                && match options.prune {
                    Prune::Nothing => false,
                    Prune::Groups => groups.iter().any(|group| group.as_str() == declaration.name.group()),
                    Prune::Everything => true,
                }
        });
        changes.extend(pruned.map(|declaration| withdraw(state, declaration)));
        changes.sort_by(|a, b| a.name.cmp(&b.name));
        let findings = findings::find(state, &changes, facts, options.allow_empty);
        Self { against: state.head(), changes, findings }
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.changes.iter().all(|change| change.action == Action::Unchanged)
    }

    /// Whether something is wrong, so that it must not be applied.
    pub fn is_wrong(&self) -> bool {
        self.findings.iter().any(|finding| finding.severity == Severity::Error)
    }

    /// What is to be entered into the ledger, in order.
    pub fn intents(&self) -> Vec<(DeclarationName, Intent)> {
        let intent = |change: &Change| {
            let body = match (&change.publish, change.action) {
                (Some(publish), Action::Create | Action::Update) => Body::Publish(publish.clone()),
                (_, Action::Withdraw) => Body::Withdraw(Withdraw { name: change.name.clone() }),
                _ => return None,
            };
            Some((change.name.clone(), Intent::Enter(body)))
        };
        self.changes.iter().filter_map(intent).collect()
    }

    /// The files to hand over before, each once.
    pub fn uploads(&self) -> Vec<Upload> {
        let published = self.changes.iter().filter(|c| matches!(c.action, Action::Create | Action::Update));
        let mut seen = BTreeSet::new();
        published.flat_map(|change| &change.uploads).filter(|upload| seen.insert(upload.blob)).cloned().collect()
    }

    /// How many declarations are created, updated, withdrawn and unchanged.
    pub fn counts(&self) -> [(Action, usize); 4] {
        [Action::Create, Action::Update, Action::Withdraw, Action::Unchanged]
            .map(|action| (action, self.changes.iter().filter(|change| change.action == action).count()))
    }
}

fn compare(state: &FleetState, wanted: Resolved) -> Change {
    let old = state.declarations().get(&wanted.name);
    let publish = wanted.publish();
    let (action, diff) = match old {
        None => (Action::Create, diff::create(&publish)),
        Some(old) => {
            let diff = diff::update(old, &publish);
            (if diff.is_empty() { Action::Unchanged } else { Action::Update }, diff)
        }
    };
    let targets = state.select(&wanted.on).map(|(_, member)| member.name.clone()).collect();
    Change {
        name: wanted.name,
        action,
        kind: wanted.kind,
        subject: wanted.subject,
        on: wanted.on,
        targets: sorted(targets),
        diff,
        secrets: wanted.secrets,
        publish: Some(publish),
        uploads: wanted.uploads,
    }
}

fn withdraw(state: &FleetState, old: &Declaration) -> Change {
    let targets = state.targets(old).map(|(_, member)| member.name.clone()).collect();
    Change {
        name: old.name.clone(),
        action: Action::Withdraw,
        kind: old.kind.clone(),
        subject: old.subject.clone(),
        on: old.on.clone(),
        targets: sorted(targets),
        diff: Vec::new(),
        secrets: Vec::new(),
        publish: None,
        uploads: Vec::new(),
    }
}

fn sorted(mut names: Vec<Name>) -> Vec<Name> {
    names.sort_unstable();
    names
}
