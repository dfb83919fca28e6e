//! What is wrong with a plan, or worth knowing before it is applied.

mod files;
mod nixos;

use std::collections::{BTreeMap, BTreeSet};

use protocols::facts::StableFacts;
use protocols::{DeclarationName, FleetState, NodeId, Subject};
use serde::Serialize;

use super::{Action, Change};

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// The plan is not applied.
    Error,
    /// Worth a look.
    Warning,
}

/// Something about a declaration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How much it matters.
    pub severity: Severity,
    /// The declaration.
    pub name: DeclarationName,
    /// What it is.
    pub what: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

pub(super) fn find(
    state: &FleetState,
    changes: &[Change],
    facts: &BTreeMap<NodeId, StableFacts>,
    allow_empty: bool,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    for change in changes.iter().filter(|change| change.action != Action::Withdraw) {
        unmatched(state, change, allow_empty, &mut findings);
        incapable(state, change, facts, &mut findings);
        nixos::too_soon(change, &mut findings);
    }
    let standing = standing(state, changes);
    overlaps(state, changes, &standing, &mut findings);
    files::nested(state, &standing, &mut findings);
    findings.sort_by_key(|finding| finding.severity);
    findings
}

fn unmatched(state: &FleetState, change: &Change, allow_empty: bool, findings: &mut Vec<Finding>) {
    if !change.targets.is_empty() {
        return;
    }
    let severity = if allow_empty { Severity::Warning } else { Severity::Error };
    let count = state.with_role(protocols::entry::Role::Agent).count();
    let what = format!("the selector `{}` matches none of the fleet's {count} nodes", change.on);
    let hint = "see names and labels: flt admin node list; with --allow-empty it waits for nodes to come";
    findings.push(Finding { severity, name: change.name.clone(), what, hint: Some(hint.into()) });
}

fn incapable(state: &FleetState, change: &Change, facts: &BTreeMap<NodeId, StableFacts>, findings: &mut Vec<Finding>) {
    if change.action == Action::Unchanged {
        return;
    }
    for (node, member) in state.select(&change.on) {
        let Some(facts) = facts.get(&node).filter(|facts| !facts.kinds.contains(&change.kind)) else { continue };
        let offers: Vec<&str> = facts.kinds.iter().map(protocols::Kind::as_str).collect();
        let offers = if offers.is_empty() { "nothing".to_owned() } else { offers.join(", ") };
        let what = format!("{} cannot play {}: its agent offers {offers}", member.name, change.kind);
        let hint = format!("leave it out: `{},!{}`", change.on, member.name);
        findings.push(Finding { severity: Severity::Error, name: change.name.clone(), what, hint: Some(hint) });
    }
}

/// A declaration as it will stand.
struct Standing {
    name: DeclarationName,
    subject: Subject,
    nodes: BTreeSet<NodeId>,
    /// The higher, the newer.
    generation: u64,
    news: bool,
    /// What it governs, if it is files.
    tree: Option<files::Tree>,
}

/// Every declaration as it will stand, the newest first.
fn standing(state: &FleetState, changes: &[Change]) -> Vec<Standing> {
    let by_name: BTreeMap<&DeclarationName, &Change> = changes.iter().map(|change| (&change.name, change)).collect();
    let mut standing: Vec<Standing> = Vec::new();
    for declaration in state.declarations().values() {
        if by_name.get(&declaration.name).is_none_or(|change| change.action == Action::Unchanged) {
            standing.push(Standing {
                name: declaration.name.clone(),
                subject: declaration.subject.clone(),
                nodes: state.targets(declaration).map(|(node, _)| node).collect(),
                generation: declaration.generation,
                news: false,
                tree: files::Tree::of(&declaration.kind, &declaration.payload),
            });
        }
    }
    let published = changes.iter().filter(|change| matches!(change.action, Action::Create | Action::Update));
    for (generation, change) in (state.head().seq + 1..).zip(published) {
        standing.push(Standing {
            name: change.name.clone(),
            subject: change.subject.clone(),
            nodes: state.select(&change.on).map(|(node, _)| node).collect(),
            generation,
            news: true,
            tree: change.publish.as_ref().and_then(|publish| files::Tree::of(&publish.kind, &publish.payload)),
        });
    }
    standing.sort_by_key(|one| std::cmp::Reverse(one.generation));
    standing
}

fn overlaps(state: &FleetState, changes: &[Change], standing: &[Standing], findings: &mut Vec<Finding>) {
    for (i, newer) in standing.iter().enumerate() {
        for older in standing[i + 1..].iter().filter(|o| o.subject == newer.subject && (o.news || newer.news)) {
            let common: Vec<String> = newer.nodes.intersection(&older.nodes).map(|id| name_of(state, *id)).collect();
            if common.is_empty() {
                continue;
            }
            let (winner, loser) = (&newer.name, &older.name);
            let what = format!(
                "`{winner}` and `{loser}` both govern {} on {}; there the newer one counts: `{winner}`",
                newer.subject,
                some(&common)
            );
            let hint = "keep one of them away from these nodes with `!name` in its selector";
            let name = if newer.news { winner } else { loser };
            findings.push(Finding { severity: Severity::Warning, name: name.clone(), what, hint: Some(hint.into()) });
        }
    }
    for change in changes.iter().filter(|change| change.action == Action::Withdraw) {
        let Some(old) = state.declarations().get(&change.name) else { continue };
        let nodes: BTreeSet<NodeId> = state.targets(old).map(|(node, _)| node).collect();
        let older = |o: &&Standing| o.subject == change.subject && !o.news && o.generation < old.generation;
        for heir in standing.iter().filter(older) {
            let common: Vec<String> = heir.nodes.intersection(&nodes).map(|id| name_of(state, *id)).collect();
            if !common.is_empty() {
                let what = format!("once it is withdrawn, the older `{}` counts on {}", heir.name, some(&common));
                findings.push(Finding { severity: Severity::Warning, name: change.name.clone(), what, hint: None });
            }
        }
    }
}

fn name_of(state: &FleetState, node: NodeId) -> String {
    state.members().get(&node).map_or_else(|| node.short(), |member| member.name.to_string())
}

/// The first names, and how many more.
fn some(names: &[String]) -> String {
    let mut names = names.to_vec();
    names.sort_unstable();
    match names.len().checked_sub(NAMES_MAX) {
        Some(more) if more > 0 => format!("{} and {more} more", names[..NAMES_MAX].join(", ")),
        _ => names.join(", "),
    }
}

/// The most names in one message.
const NAMES_MAX: usize = 5;
