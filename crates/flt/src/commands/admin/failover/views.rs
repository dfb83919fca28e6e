//! What `flt admin failover` answers, for people and for programs.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use failover::flight::{Lane, Tape, draw_text};
use failover::{ClusterName, NodeId, Phase, Settings, Span, View as LeaseView};
use protocols::node::DriverReport;
use scores::failover::Cluster;
use serde::Serialize;

use crate::output::table::Table;
use crate::output::{Style, View};

/// How all clusters stand.
#[derive(Debug, Serialize)]
pub(super) struct Status {
    pub(super) clusters: Vec<ClusterView>,
    /// What is not declared any more, and has not ended yet.
    pub(super) withdrawn: Vec<EndingView>,
    /// What is declared and cannot be made sense of, and why: it goes on as it was.
    pub(super) unclear: BTreeMap<ClusterName, String>,
    /// Why the group says nothing, if it does not.
    pub(super) unknown: Option<String>,
}

/// How one cluster stands.
#[derive(Debug, Serialize)]
pub(super) struct ClusterView {
    cluster: ClusterName,
    generation: u64,
    epoch: Option<u64>,
    holder: Option<String>,
    phase: Option<Phase>,
    paused: bool,
    switchover: Option<String>,
    /// Whether the declared settings are in force.
    in_force: bool,
    settings: Settings,
    candidates: Vec<CandidateView>,
    /// Candidates of the declaration that left the fleet.
    left_out: Vec<String>,
}

/// A cluster that is not declared any more, and that somebody may still be writing in.
#[derive(Debug, Serialize)]
pub(super) struct EndingView {
    cluster: ClusterName,
    epoch: u64,
    holder: Option<String>,
}

impl EndingView {
    pub(super) fn new(cluster: &ClusterName, view: &LeaseView, called: impl Fn(NodeId) -> String) -> Self {
        Self { cluster: cluster.clone(), epoch: view.epoch.0, holder: view.holder.map(called) }
    }
}

/// How one candidate stands.
#[derive(Debug, Serialize)]
pub(super) struct CandidateView {
    node: String,
    priority: u8,
    stand: Option<String>,
    epoch: Option<u64>,
    writable: bool,
    remaining_micros: Option<u64>,
    silence_micros: Option<u64>,
    position: Option<String>,
    workload: Option<String>,
    alarms: Vec<String>,
    error: Option<String>,
}

impl CandidateView {
    pub(super) fn new(node: String, priority: u8, report: Option<&DriverReport>, error: Option<String>) -> Self {
        Self {
            node,
            priority,
            stand: report.map(|report| report.stand.clone()),
            epoch: report.and_then(|report| report.epoch).map(|epoch| epoch.0),
            writable: report.is_some_and(|report| report.writable),
            remaining_micros: report.and_then(|report| report.certain).map(Span::as_micros),
            silence_micros: report.and_then(|report| report.silence).map(Span::as_micros),
            position: report.and_then(|report| report.position).map(|position| position.to_string()),
            workload: report.map(|report| report.workload.clone()).filter(|workload| !workload.is_empty()),
            alarms: report.map(|report| report.alarms.clone()).unwrap_or_default(),
            error,
        }
    }
}

impl ClusterView {
    pub(super) fn new(
        cluster: &Cluster,
        view: Option<&LeaseView>,
        called: impl Fn(NodeId) -> String,
        candidates: Vec<CandidateView>,
    ) -> Self {
        Self {
            cluster: cluster.name.clone(),
            generation: cluster.generation,
            epoch: view.map(|view| view.epoch.0),
            holder: view.and_then(|view| view.holder).map(&called),
            phase: view.map(|view| view.phase),
            paused: view.is_some_and(|view| view.paused),
            switchover: view.and_then(|view| view.switchover).map(&called),
            in_force: view
                .and_then(|view| view.settings.as_ref())
                .is_some_and(|settings| *settings == cluster.settings),
            settings: (*cluster.settings).clone(),
            candidates,
            left_out: cluster.left.iter().map(ToString::to_string).collect(),
        }
    }

    fn headline(&self) -> String {
        let mut text = format!("{}: ", self.cluster);
        match (&self.holder, self.phase) {
            (_, None) => text.push_str("the coordinators say nothing of it"),
            (Some(holder), Some(Phase::Held)) => {
                write!(text, "{holder} holds epoch {}", self.epoch.unwrap_or(0)).ok();
            }
            (Some(holder), Some(phase)) => {
                let how = match phase {
                    Phase::Released => "gave it up in order",
                    Phase::Fenced => "was fenced",
                    _ => "is off",
                };
                write!(text, "nobody holds it; {holder} {how} in epoch {}", self.epoch.unwrap_or(0)).ok();
            }
            (None, Some(_)) if self.epoch.unwrap_or(0) > 0 => {
                text.push_str("nobody has held it since it was declared again");
            }
            (None, Some(_)) => text.push_str("nobody has held it yet"),
        }
        if self.paused {
            text.push_str(", paused");
        }
        if let Some(to) = &self.switchover {
            write!(text, ", moving to {to}").ok();
        }
        if self.phase.is_some() && !self.in_force {
            text.push_str(", with other settings than are declared");
        }
        text
    }
}

impl View for Status {
    const SCHEMA: &'static str = "flt.failover.status/1";

    fn text(&self, style: &Style) -> String {
        let mut text = String::new();
        for ending in &self.withdrawn {
            let holder = ending.holder.as_deref().unwrap_or("its holder");
            let (cluster, epoch) = (&ending.cluster, ending.epoch);
            writeln!(
                text,
                "{cluster}: not declared any more; {holder} has not said yet that it stopped in epoch {epoch}"
            )
            .ok();
        }
        if self.clusters.is_empty() && self.unclear.is_empty() {
            text.push_str("nothing with one writer is declared\n");
        }
        for (cluster, why) in &self.unclear {
            writeln!(text, "{cluster}: the declaration is unclear, so it goes on as it was: {why}").ok();
        }
        if let Some(why) = &self.unknown {
            writeln!(text, "the coordinators do not say who writes: {why}").ok();
        }
        for cluster in &self.clusters {
            writeln!(text, "{}", cluster.headline()).ok();
            let mut table = Table::new(&["NODE", "STAND", "EPOCH", "LEASE", "HEARD", "HOLDS", "NOTE"]);
            let span = |micros: Option<u64>, suffix: &str| {
                micros.map_or_else(|| "-".to_owned(), |micros| format!("{}{suffix}", Span::from_micros(micros)))
            };
            for candidate in &cluster.candidates {
                let dash = || "-".to_owned();
                // What the workload says of itself may be that it has no room left: no alarm is to hide that.
                let said = candidate.alarms.last().into_iter().chain(&candidate.workload).cloned().collect::<Vec<_>>();
                let said = Some(said.join("; ")).filter(|said| !said.is_empty());
                let note = candidate.error.clone().or(said);
                table.row([
                    candidate.node.clone(),
                    candidate.stand.clone().unwrap_or_else(dash),
                    candidate.epoch.map_or_else(dash, |epoch| epoch.to_string()),
                    span(candidate.remaining_micros, " left"),
                    span(candidate.silence_micros, " ago"),
                    candidate.position.clone().unwrap_or_else(dash),
                    note.unwrap_or_else(dash),
                ]);
            }
            text.push_str(&table.text(style));
            if !cluster.left_out.is_empty() {
                writeln!(
                    text,
                    "left out, as no node of that name is in the fleet any more: {}",
                    cluster.left_out.join(", ")
                )
                .ok();
            }
        }
        text
    }
}

/// The last heartbeats of all candidates.
#[derive(Debug, Serialize)]
pub(super) struct History {
    pub(super) cluster: ClusterName,
    /// By the candidates' names.
    pub(super) tapes: BTreeMap<String, Tape>,
}

impl View for History {
    const SCHEMA: &'static str = "flt.failover.history/1";

    fn text(&self, style: &Style) -> String {
        draw_text(&lanes(&self.tapes), style.width.unwrap_or(COLUMNS))
    }
}

/// The tapes, to be drawn.
pub(super) fn lanes(tapes: &BTreeMap<String, Tape>) -> Vec<Lane<'_>> {
    tapes.iter().map(|(name, tape)| Lane { name, tape }).collect()
}

/// What was done.
#[derive(Debug, Serialize)]
pub(super) struct Done {
    pub(super) cluster: ClusterName,
    pub(super) said: String,
}

impl View for Done {
    const SCHEMA: &'static str = "flt.failover.done/1";

    fn text(&self, _style: &Style) -> String {
        format!("{}: {}\n", self.cluster, self.said)
    }
}

/// How wide a time line is where no terminal says.
const COLUMNS: usize = 120;
