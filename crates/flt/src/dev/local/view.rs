//! What `flt dev up`, `down` and `status` print.

use std::path::PathBuf;
use std::time::Duration;

use protocols::FleetId;
use protocols::entry::Role;
use serde::Serialize;

use super::process::{Ended, Seat};
use crate::output::{Style, Table, View, format};

/// One process.
#[derive(Debug, Serialize)]
pub(super) struct NodeLine {
    /// The node's name.
    pub(super) name: String,
    /// What it is.
    pub(super) role: Role,
    /// The process, if it runs.
    pub(super) pid: Option<u32>,
    /// How long it has run, in seconds.
    pub(super) age_seconds: Option<u64>,
    /// Its log.
    pub(super) log: PathBuf,
}

impl NodeLine {
    pub(super) fn of(name: &str, role: Role, seat: &Seat) -> Self {
        let record = seat.running();
        Self {
            name: name.to_owned(),
            role,
            pid: record.as_ref().map(|record| record.pid),
            age_seconds: record.and_then(|record| record.age()).map(|age| age.as_secs()),
            log: seat.log(),
        }
    }
}

/// A fleet that is up.
#[derive(Debug, Serialize)]
pub(super) struct UpView {
    pub(super) dir: PathBuf,
    pub(super) fleet_id: FleetId,
    /// Nothing had to be started.
    pub(super) already: bool,
    /// What had to be.
    pub(super) started: Vec<String>,
    pub(super) nodes: Vec<NodeLine>,
    /// Commands to try.
    pub(super) next: Vec<String>,
}

impl View for UpView {
    const SCHEMA: &'static str = "flt.dev-up/1";

    fn text(&self, _style: &Style) -> String {
        let agents = self.nodes.iter().filter(|node| node.role == Role::Agent).count();
        let already = if self.already { " already" } else { "" };
        let mut text = format!("up{already} in {}: a coordinator and {agents} agents\n", self.dir.display());
        if !self.already {
            text.push_str(&format!("started {}\n", self.started.join(", ")));
        }
        text.push_str("next:\n");
        self.next.iter().for_each(|command| text.push_str(&format!("  {command}\n")));
        text
    }
}

/// The processes of a fleet.
#[derive(Debug, Serialize)]
pub(super) struct StatusView {
    pub(super) dir: PathBuf,
    pub(super) fleet_id: FleetId,
    pub(super) nodes: Vec<NodeLine>,
}

impl View for StatusView {
    const SCHEMA: &'static str = "flt.dev-status/1";

    fn text(&self, style: &Style) -> String {
        let mut table = Table::new(&["NAME", "ROLE", "STATE", "PID", "AGE"]);
        for node in &self.nodes {
            table.row([
                node.name.clone(),
                node.role.to_string(),
                if node.pid.is_some() { "running" } else { "stopped" }.to_owned(),
                node.pid.map(|pid| pid.to_string()).unwrap_or_default(),
                node.age_seconds.map(|age| format::age(Duration::from_secs(age))).unwrap_or_default(),
            ]);
        }
        table.text(style)
    }
}

/// A fleet that is down.
#[derive(Debug, Serialize)]
pub(super) struct DownView {
    pub(super) dir: PathBuf,
    /// What ended by itself.
    pub(super) stopped: Vec<String>,
    /// What had to be killed.
    pub(super) killed: Vec<String>,
    /// Whether the folder was removed.
    pub(super) removed: bool,
}

impl DownView {
    pub(super) const fn nothing(dir: PathBuf) -> Self {
        Self { dir, stopped: Vec::new(), killed: Vec::new(), removed: false }
    }

    pub(super) fn add(&mut self, name: &str, ended: Ended) {
        let list = match ended {
            Ended::Stopped => &mut self.stopped,
            Ended::Killed => &mut self.killed,
            Ended::Gone => return,
        };
        list.push(name.to_owned());
        list.sort();
    }
}

impl View for DownView {
    const SCHEMA: &'static str = "flt.dev-down/1";

    fn text(&self, _style: &Style) -> String {
        let mut text = String::new();
        if self.stopped.is_empty() && self.killed.is_empty() {
            text.push_str(&format!("down already: nothing runs in {}\n", self.dir.display()));
        }
        if !self.stopped.is_empty() {
            text.push_str(&format!("stopped {}\n", self.stopped.join(", ")));
        }
        if !self.killed.is_empty() {
            text.push_str(&format!("killed {}, which did not stop in time\n", self.killed.join(", ")));
        }
        if self.removed {
            text.push_str(&format!("removed {}\n", self.dir.display()));
        }
        text
    }
}
