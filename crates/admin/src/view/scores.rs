//! Declarations, as commands print them.

use protocols::state::Declaration;
use protocols::{BlobRef, DeclarationName, FleetState, Kind, Millis, Name, NodeId, Policy, Selector, Subject, Verdict};
use serde::Serialize;
use serde_json::value::RawValue;

use super::nodes::{Reports, parts};
use crate::race;

/// A declaration in a table.
#[derive(Debug, Clone, Serialize)]
pub struct ScoreRow {
    /// Its name.
    pub name: DeclarationName,
    /// Its language.
    pub kind: Kind,
    /// What it governs.
    pub subject: Subject,
    /// For which nodes.
    pub on: Selector,
    /// The publication.
    pub generation: u64,
    /// Nodes on which it counts.
    pub nodes: usize,
    /// Of these, those that are as declared.
    pub converged: usize,
    /// Of these, those where it failed, was undone or refused.
    pub failing: usize,
    /// Nodes that it means and where a newer declaration of the same subject counts.
    pub shadowed: usize,
    /// Who published it.
    pub author: String,
    /// When, by the author's clock, in milliseconds since 1970.
    pub at: u64,
    /// Seconds since then, by this machine's clock.
    pub age_seconds: u64,
    /// A word for the record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// One node of a declaration.
#[derive(Debug, Clone, Serialize)]
pub struct TargetRow {
    /// The node.
    pub name: Name,
    /// How it went; nothing if it has not said.
    pub verdict: Option<Verdict>,
    /// The declaration that counts there instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shadowed_by: Option<DeclarationName>,
    /// Whether it is online.
    pub online: bool,
    /// The node's words.
    pub message: String,
}

/// A declaration with all that is known of it.
#[derive(Debug, Clone, Serialize)]
pub struct ScoreView {
    /// Its row.
    #[serde(flatten)]
    pub row: ScoreRow,
    /// How it is applied.
    pub policy: Policy,
    /// The score, byte for byte as it was signed.
    pub payload: Box<RawValue>,
    /// The blobs that it names.
    pub artifacts: Vec<BlobRef>,
    /// Its nodes.
    pub targets: Vec<TargetRow>,
}

impl ScoreRow {
    /// Every declaration, by name.
    pub fn all(state: &FleetState, reports: &Reports, now: Millis) -> Vec<Self> {
        state.declarations().values().map(|declaration| Self::new(state, declaration, reports, now)).collect()
    }

    fn new(state: &FleetState, declaration: &Declaration, reports: &Reports, now: Millis) -> Self {
        let targets = targets(state, declaration, reports);
        let count = |wanted: fn(&TargetRow) -> bool| targets.iter().filter(|target| wanted(target)).count();
        let counts = count(|target| target.shadowed_by.is_none());
        Self {
            name: declaration.name.clone(),
            kind: declaration.kind.clone(),
            subject: declaration.subject.clone(),
            on: declaration.on.clone(),
            generation: declaration.generation,
            nodes: counts,
            converged: count(|target| target.verdict.is_some_and(Verdict::is_good)),
            failing: count(|t| matches!(t.verdict, Some(Verdict::Failed | Verdict::Quarantined | Verdict::Refused))),
            shadowed: targets.len() - counts,
            author: race::who(declaration.author, state),
            at: declaration.at.0,
            age_seconds: now.since(declaration.at).as_secs(),
            note: declaration.note.clone(),
        }
    }
}

impl ScoreView {
    /// All about one declaration.
    pub fn new(state: &FleetState, name: &DeclarationName, reports: &Reports, now: Millis) -> Option<Self> {
        let declaration = state.declarations().get(name)?;
        Some(Self {
            row: ScoreRow::new(state, declaration, reports, now),
            policy: declaration.policy.clone(),
            payload: RawValue::from_string(declaration.payload.get().to_owned()).ok()?,
            artifacts: declaration.artifacts.clone(),
            targets: targets(state, declaration, reports),
        })
    }
}

fn targets(state: &FleetState, declaration: &Declaration, reports: &Reports) -> Vec<TargetRow> {
    let target = |(id, member): (NodeId, &protocols::state::Member)| {
        let report = reports.get(&id);
        let part = parts(state, id, report).into_iter().find(|part| part.subject == declaration.subject);
        let own = part.as_ref().filter(|part| part.declaration == declaration.name);
        TargetRow {
            name: member.name.clone(),
            verdict: own.and_then(|part| part.verdict),
            shadowed_by: part.as_ref().filter(|p| p.declaration != declaration.name).map(|p| p.declaration.clone()),
            online: report.is_some_and(|report| report.liveness.online),
            message: own.map(|part| part.message.clone()).unwrap_or_default(),
        }
    };
    let mut rows: Vec<TargetRow> = state.targets(declaration).map(target).collect();
    rows.sort_by(|a, b| a.name.cmp(&b.name));
    rows
}
