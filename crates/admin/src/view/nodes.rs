//! Nodes, as commands print them.

use std::collections::BTreeMap;

use protocols::entry::Role;
use protocols::facts::{StableFacts, VolatileFacts};
use protocols::heartbeat::BeatMemory;
use protocols::standing::Standing;
use protocols::state::Member;
use protocols::{DeclarationName, FleetState, Kind, Name, NodeId, PeerAddr, Subject, Verdict};
use serde::Serialize;

use crate::session::CheckedReport;

/// The newest report of each node.
pub type Reports = BTreeMap<NodeId, CheckedReport>;

/// How a node is, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Condition {
    /// Online and as declared.
    Ok,
    /// As declared for its next boot.
    RebootPending,
    /// Online and not through yet.
    Pending,
    /// Something was undone, refused or fails.
    Failing,
    /// Not heard.
    Offline,
    /// In quarantine: it acts on nothing.
    Quarantined,
}

impl std::fmt::Display for Condition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Ok => "ok",
            Self::RebootPending => "reboot-pending",
            Self::Pending => "pending",
            Self::Failing => "failing",
            Self::Offline => "offline",
            Self::Quarantined => "quarantined",
        })
    }
}

/// A node in a table.
#[derive(Debug, Clone, Serialize)]
pub struct NodeRow {
    /// Its name.
    pub name: Name,
    /// Its key.
    pub id: NodeId,
    /// Its role.
    pub role: Role,
    /// How it is.
    pub condition: Condition,
    /// Declarations that it plays as they are declared.
    pub converged: usize,
    /// Declarations that count for it.
    pub declared: usize,
    /// How many ledger entries it is behind; nothing if it never said.
    pub behind: Option<u64>,
    /// How it stands to the ledger, by its own word: what it knows of the newest entry, whether it is unsure, who holds
    /// entries back from it, why it takes none.
    pub standing: Option<Standing>,
    /// Its labels.
    pub labels: BTreeMap<Name, String>,
    /// Its version of `flt`.
    pub version: Option<String>,
    /// Seconds since it was heard; nothing if it was not since the coordinator started.
    pub silent_seconds: Option<u64>,
    /// Why it is not in order.
    pub note: String,
    /// Records of it that were not believed.
    pub problems: Vec<String>,
    /// Why it is in quarantine, if it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quarantine: Option<String>,
    /// Other nodes that say they are the same machine.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub same_machine: Vec<Name>,
    /// The entry that made it a member.
    pub since_entry: u64,
}

/// One declaration on one node.
#[derive(Debug, Clone, Serialize)]
pub struct PartRow {
    /// The declaration that counts.
    pub declaration: DeclarationName,
    /// What it governs.
    pub subject: Subject,
    /// Its language.
    pub kind: Kind,
    /// The publication that counts.
    pub generation: u64,
    /// The publication that the node spoke of last.
    pub played: Option<u64>,
    /// How that went; nothing if it is about an older publication.
    pub verdict: Option<Verdict>,
    /// The node's words.
    pub message: String,
    /// The steps it took.
    pub steps: Vec<String>,
    /// How many attempts it took.
    pub attempts: u32,
}

/// A node with all that is known of it.
#[derive(Debug, Clone, Serialize)]
pub struct NodeView {
    /// Its row.
    #[serde(flatten)]
    pub row: NodeRow,
    /// What it shall be, and how far it is.
    pub parts: Vec<PartRow>,
    /// Outcomes of what is declared no more.
    pub former: Vec<PartRow>,
    /// Slowly changing facts.
    pub facts: Option<StableFacts>,
    /// Ever changing facts.
    pub volatile: Option<VolatileFacts>,
    /// Where it was seen.
    pub addr: Option<PeerAddr>,
    /// Its last heartbeats.
    pub beats: BeatsView,
}

/// Heartbeats in short.
#[derive(Debug, Clone, Default, Serialize)]
pub struct BeatsView {
    /// How many are remembered.
    pub remembered: usize,
    /// How many of them got no answer.
    pub missed: usize,
    /// The median round trip of the others, in microseconds.
    pub median_rtt_micros: Option<u32>,
}

impl NodeRow {
    /// Every agent, by name.
    pub fn all(state: &FleetState, reports: &Reports) -> Vec<Self> {
        let mut rows: Vec<Self> =
            state.with_role(Role::Agent).map(|(id, member)| Self::new(state, id, member, reports.get(&id))).collect();
        rows.sort_by(|a, b| a.name.cmp(&b.name));
        mark_same_machines(&mut rows, reports);
        rows
    }

    fn new(state: &FleetState, id: NodeId, member: &Member, report: Option<&CheckedReport>) -> Self {
        let parts = parts(state, id, report);
        let good = |part: &&PartRow| part.verdict.is_some_and(Verdict::is_good);
        let online = report.is_some_and(|report| report.liveness.online);
        let bad = parts
            .iter()
            .find(|part| matches!(part.verdict, Some(Verdict::Failed | Verdict::Quarantined | Verdict::Refused)));
        let reboot = parts.iter().any(|part| part.verdict == Some(Verdict::RebootPending));
        let all_good = parts.iter().all(|part| good(&part));
        let quarantine = member.quarantine.as_ref().map(|isolation| isolation.reason.clone());
        let condition = match bad {
            _ if quarantine.is_some() => Condition::Quarantined,
            _ if !online => Condition::Offline,
            Some(_) => Condition::Failing,
            None if all_good && reboot => Condition::RebootPending,
            None if all_good => Condition::Ok,
            None => Condition::Pending,
        };
        let note = bad.map_or_else(String::new, |part| {
            let verdict = part.verdict.map(|v| v.to_string()).unwrap_or_default();
            format!("{} {verdict}: {}", part.declaration, part.message)
        });
        let known = report.and_then(|report| report.liveness.head);
        Self {
            name: member.name.clone(),
            id,
            role: member.role,
            condition,
            converged: parts.iter().filter(good).count(),
            declared: parts.len(),
            behind: known.map(|head| state.head().seq.saturating_sub(head.seq)),
            standing: report.and_then(|report| report.standing.clone()),
            labels: member.labels.clone(),
            version: report.and_then(|r| r.stable.as_ref()).map(|facts| facts.flt_version.clone()),
            silent_seconds: report.and_then(|r| r.liveness.silent_millis).map(|millis| millis / 1000),
            note,
            problems: report.map(|r| r.problems.clone()).unwrap_or_default(),
            quarantine,
            same_machine: Vec::new(),
            since_entry: member.since,
        }
    }

    /// The words of `flt admin status` about nodes that say they are one machine: a disk that was copied, or a machine that
    /// was enrolled twice. Several agents on one running system are neither.
    pub fn clones(rows: &[Self], reports: &Reports) -> Vec<String> {
        let boot = |row: &Self| reports.get(&row.id)?.stable.as_ref()?.boot_id.clone();
        let mut told = Vec::new();
        for row in rows {
            let others: Vec<&Self> = rows.iter().filter(|other| row.same_machine.contains(&other.name)).collect();
            let first = others.iter().all(|other| row.name < other.name);
            let elsewhere = others.iter().any(|other| boot(other).is_none() || boot(other) != boot(row));
            if !others.is_empty() && first && elsewhere {
                let names: Vec<&str> = std::iter::once(row).chain(others).map(|r| r.name.as_str()).collect();
                told.push(format!(
                    "{}: they have one machine id: a disk was copied (make a new id there: systemd-machine-id-setup), \
                     or one of them was replaced and is still a member",
                    names.join(", ")
                ));
            }
        }
        told
    }
}

/// Which rows say that they are the same machine.
fn mark_same_machines(rows: &mut [NodeRow], reports: &Reports) {
    let mut machines: BTreeMap<&str, Vec<Name>> = BTreeMap::new();
    let id = |row: &NodeRow| reports.get(&row.id)?.stable.as_ref()?.machine_id.as_deref();
    for row in rows.iter() {
        if let Some(machine) = id(row) {
            machines.entry(machine).or_default().push(row.name.clone());
        }
    }
    for row in rows {
        if let Some(same) = id(row).and_then(|machine| machines.get(machine)) {
            row.same_machine = same.iter().filter(|name| **name != row.name).cloned().collect();
        }
    }
}

impl NodeView {
    /// All about one member.
    pub fn new(state: &FleetState, id: NodeId, report: Option<&CheckedReport>) -> Option<Self> {
        let member = state.members().get(&id)?;
        let row = NodeRow::new(state, id, member, report);
        let desired = state.desired(id);
        let former = report.into_iter().flat_map(|r| r.outcomes.values()).filter(|o| !desired.contains_key(&o.subject));
        let former = former.map(|outcome| PartRow {
            declaration: outcome.name.clone(),
            subject: outcome.subject.clone(),
            kind: outcome.kind.clone(),
            generation: outcome.generation,
            played: Some(outcome.generation),
            verdict: Some(outcome.verdict),
            message: outcome.message.clone(),
            steps: outcome.steps.clone(),
            attempts: outcome.attempts,
        });
        Some(Self {
            row,
            parts: parts(state, id, report),
            former: former.collect(),
            facts: report.and_then(|r| r.stable.clone()),
            volatile: report.and_then(|r| r.volatile.clone()),
            addr: report.and_then(|r| r.liveness.addr.clone()),
            beats: report.and_then(|r| r.beats.as_ref()).map(|b| BeatsView::new(b.iter())).unwrap_or_default(),
        })
    }
}

impl BeatsView {
    fn new<'a>(beats: impl Iterator<Item = &'a BeatMemory>) -> Self {
        let (mut remembered, mut rtts) = (0, Vec::new());
        for beat in beats {
            remembered += 1;
            rtts.extend(beat.rtt_micros);
        }
        rtts.sort_unstable();
        Self { remembered, missed: remembered - rtts.len(), median_rtt_micros: rtts.get(rtts.len() / 2).copied() }
    }
}

/// What counts for a node, and what it said of that.
pub(super) fn parts(state: &FleetState, id: NodeId, report: Option<&CheckedReport>) -> Vec<PartRow> {
    let part = |(subject, declaration): (&Subject, &std::sync::Arc<protocols::state::Declaration>)| {
        let outcome = report.and_then(|report| report.outcomes.get(subject));
        let current = outcome.filter(|outcome| outcome.generation == declaration.generation);
        PartRow {
            declaration: declaration.name.clone(),
            subject: subject.clone(),
            kind: declaration.kind.clone(),
            generation: declaration.generation,
            played: outcome.map(|outcome| outcome.generation),
            verdict: current.map(|outcome| outcome.verdict),
            message: current.map(|outcome| outcome.message.clone()).unwrap_or_default(),
            steps: current.map(|outcome| outcome.steps.clone()).unwrap_or_default(),
            attempts: current.map_or(0, |outcome| outcome.attempts),
        }
    };
    state.desired(id).into_iter().map(part).collect()
}
