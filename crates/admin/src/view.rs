//! What commands print: plain rows, from the ledger's state and the nodes' reports. Pure.

mod holders;
mod log;
mod nodes;
mod scores;

use protocols::{FleetState, Millis};
use serde::Serialize;

pub use holders::HolderRow;
pub use log::{InviteOf, LogRow};
pub use nodes::{Condition, NodeRow, NodeView, PartRow, Reports};
pub use scores::{ScoreRow, ScoreView, TargetRow};

use crate::secrets::SecretRow;

/// The fleet at a glance.
#[derive(Debug, Clone, Serialize)]
pub struct StatusView {
    /// The fleet's name.
    pub fleet: String,
    /// Its id.
    pub fleet_id: String,
    /// The ledger's newest entry.
    pub head: u64,
    /// How many nodes are in order.
    pub in_order: usize,
    /// How many nodes there are.
    pub nodes_total: usize,
    /// Every node.
    pub nodes: Vec<NodeRow>,
    /// Every declaration.
    pub scores: Vec<ScoreRow>,
    /// Invites that can still be redeemed.
    pub open_invites: usize,
    /// What asks for attention.
    pub problems: Vec<String>,
}

impl StatusView {
    /// The rows of a state and what the nodes said.
    pub fn new(state: &FleetState, reports: &Reports, now: Millis) -> Self {
        let nodes = NodeRow::all(state, reports);
        let scores = ScoreRow::all(state, reports, now);
        let mut problems = Vec::new();
        for row in &nodes {
            match row.condition {
                Condition::Failing => problems.push(format!("{}: {}", row.name, row.note)),
                Condition::Offline => {
                    let since = row.silent_seconds.map_or_else(|| "yet".to_owned(), |s| format!("for {}", span(s)));
                    problems.push(format!("{}: not heard {since}", row.name));
                }
                Condition::Quarantined => {
                    let why = row.quarantine.as_deref().unwrap_or_default();
                    problems.push(format!("{}: in quarantine, acts on nothing: {why}", row.name));
                }
                _ => {}
            }
            problems.extend(doubts(row, state.head().seq));
            problems.extend(row.problems.iter().map(|problem| format!("{}: {problem}", row.name)));
        }
        problems.extend(NodeRow::clones(&nodes, reports));
        let secrets = SecretRow::all(state, &::scores::catalogue(), None);
        problems.extend(secrets.iter().filter_map(SecretRow::problem));
        problems
            .extend(scores.iter().filter(|s| s.nodes == 0).map(|s| format!("{}: no node matches `{}`", s.name, s.on)));
        Self {
            fleet: state.name().to_string(),
            fleet_id: state.fleet().to_string(),
            head: state.head().seq,
            in_order: nodes.iter().filter(|row| row.condition == Condition::Ok).count(),
            nodes_total: nodes.len(),
            nodes,
            scores,
            open_invites: state.invites().values().filter(|i| i.uses_left > 0 && now < i.expires).count(),
            problems,
        }
    }
}

/// What is wrong between a node and the ledger, by its own word.
fn doubts(row: &NodeRow, head: u64) -> Vec<String> {
    let Some(standing) = &row.standing else { return Vec::new() };
    let mut doubts = Vec::new();
    let name = &row.name;
    if let Some(why) = &standing.refuses {
        doubts.push(format!("{name}: TAKES NO MORE ENTRIES: {why}"));
    }
    if let Some(newest) = standing.newest.filter(|newest| *newest > head) {
        doubts.push(format!(
            "{name}: knows of entry {newest}, and this coordinator goes as far as {head}: it holds entries back or lost them"
        ));
    }
    if let Some(why) = &standing.withheld {
        doubts.push(format!("{name}: {why}"));
    }
    if standing.suspicious > 0 {
        let count = standing.suspicious;
        doubts.push(format!("{name}: saw {count} signed heads that contradict its history or lead nowhere"));
    }
    doubts
}

/// Seconds as people say them: `42s`, `3m`, `5h`, `12d`.
pub fn span(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests;
