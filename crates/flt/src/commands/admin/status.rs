//! `flt admin status` and `flt admin watch`: the fleet at a glance, and as it changes.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use admin::session::CheckedReport;
use admin::view::{Condition, NodeRow, Reports, StatusView};
use clap::Args;
use protocols::{Name, NodeId, Selector};
use serde::Serialize;

use super::context::{Admin, Online, told};
use super::coordinator::group::{self, GroupView};
use crate::app::App;
use crate::compose;
use crate::config::AdminConfig;
use crate::output::{Style, Table, View, format};
use crate::report::Code;

/// `flt admin watch`.
#[derive(Debug, Args)]
pub(crate) struct WatchArgs {
    /// Watch these nodes only
    #[arg(long, value_name = "SELECTOR", default_value = "*")]
    on: Selector,
}

/// The fleet at a glance, and who orders its ledger if several do.
#[derive(Debug, Serialize)]
struct GlanceView {
    #[serde(flatten)]
    fleet: StatusView,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<GroupView>,
}

impl View for GlanceView {
    const SCHEMA: &'static str = "flt.status/1";

    fn text(&self, style: &Style) -> String {
        let fleet = &self.fleet;
        let mut text = format!(
            "fleet {}, entry {}: {} of {} nodes in order, {} declarations\n",
            fleet.fleet,
            fleet.head,
            fleet.in_order,
            fleet.nodes_total,
            fleet.scores.len()
        );
        if let Some(group) = &self.group {
            text.push_str(&format!("{group}\n"));
        }
        if !fleet.nodes.is_empty() {
            text.push('\n');
            text.push_str(&table(&fleet.nodes, style));
        }
        if !fleet.scores.is_empty() {
            text.push('\n');
            text.push_str(&super::scores::table(&fleet.scores, style));
        }
        if !fleet.problems.is_empty() {
            text.push_str("\nproblems:\n");
            for problem in &fleet.problems {
                text.push_str(&format!("  {problem}\n"));
            }
        }
        text
    }
}

/// The table of nodes.
pub(super) fn table(nodes: &[NodeRow], style: &Style) -> String {
    let mut table = Table::new(&["NAME", "STATE", "SCORES", "BEHIND", "LABELS", "SEEN"]);
    for node in nodes {
        let labels: Vec<String> =
            node.labels.iter().map(|(k, v)| if v.is_empty() { format!("@{k}") } else { format!("{k}={v}") }).collect();
        let seen = node.silent_seconds.map(|s| format::age(Duration::from_secs(s))).unwrap_or_default();
        table.row([
            node.name.to_string(),
            node.condition.to_string(),
            format!("{}/{}", node.converged, node.declared),
            behind(node),
            labels.join(","),
            seen,
        ]);
    }
    table.text(style)
}

/// How many entries a node lacks, and what else keeps it from the newest: `3`, `0 unsure`, `2 split`.
fn behind(node: &NodeRow) -> String {
    let mut text = node.behind.map(|n| n.to_string()).unwrap_or_default();
    let standing = node.standing.as_ref();
    let marks = [
        ("split", standing.is_some_and(|s| s.refuses.is_some())),
        ("withheld", standing.is_some_and(|s| s.withheld.is_some())),
        ("unsure", standing.is_some_and(|s| s.unsure)),
    ];
    for (mark, _) in marks.into_iter().filter(|(_, holds)| *holds) {
        if !text.is_empty() {
            text.push(' ');
        }
        text.push_str(mark);
    }
    text
}

pub(super) async fn status(admin: &Admin<'_>) -> anyhow::Result<Code> {
    let online = admin.online().await?;
    let result = status_online(&online).await;
    online.close().await;
    result
}

async fn status_online(online: &Online<'_>) -> anyhow::Result<Code> {
    let state = online.state()?;
    let reports = reports(online, &[]).await?;
    let fleet = StatusView::new(&state, &reports, compose::now());
    let view = GlanceView { fleet, group: group::of_coordinator(online, &state).await };
    let out = online.admin.out;
    out.view(&view)?;
    if view.fleet.nodes.is_empty() {
        out.hint("let a node join: flt admin invite --label role=edge");
    } else if let Some(row) = view.fleet.nodes.iter().find(|row| row.condition == Condition::Failing) {
        out.hint(format!("see why: flt admin node show {}", row.name));
    }
    Ok(Code::Done)
}

/// The newest reports.
pub(super) async fn reports(online: &Online<'_>, nodes: &[NodeId]) -> anyhow::Result<Reports> {
    let reports = told(online.session.reports(nodes, "").await)?;
    Ok(reports.into_iter().map(|report| (report.node, report)).collect())
}

/// What is said of nodes that say they are one machine.
pub(crate) async fn clones(
    config: AdminConfig,
    passphrase_file: Option<PathBuf>,
    app: &App,
) -> anyhow::Result<Vec<String>> {
    let admin = Admin::new(config, passphrase_file, None, app);
    let online = admin.online().await?;
    let looked = async {
        let (state, reports) = (online.state()?, reports(&online, &[]).await?);
        Ok(NodeRow::clones(&NodeRow::all(&state, &reports), &reports))
    };
    let looked = looked.await;
    online.close().await;
    looked
}

/// One change of a node.
#[derive(Debug, Serialize)]
struct NodeEvent {
    at: u64,
    node: Name,
    what: &'static str,
    detail: String,
}

impl View for NodeEvent {
    const SCHEMA: &'static str = "flt.event/1";

    fn text(&self, _style: &Style) -> String {
        let Self { at, node, what, detail } = self;
        let at = format::moment(protocols::Millis(*at));
        // What nodes say must not steer the terminal.
        let detail: String = detail.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        format!("{at}  {node}  {what}  {detail}\n")
    }
}

pub(super) async fn watch(args: WatchArgs, admin: &Admin<'_>) -> anyhow::Result<Code> {
    let mut online = admin.online().await?;
    let result = watch_online(&args, &mut online).await;
    online.close().await;
    result.map(|()| Code::Done)
}

async fn watch_online(args: &WatchArgs, online: &mut Online<'_>) -> anyhow::Result<()> {
    let mut known = Reports::new();
    loop {
        match watch_once(args, online, &mut known).await? {
            Ok(()) => {}
            Err(error) if error.is_passing() => {
                online.admin.out.status(format!("the connection to the coordinator was lost, trying again: {error}"));
                tokio::time::sleep(RECONNECT_AFTER).await;
            }
            Err(error) => return told(Err(error)),
        }
    }
}

/// The outer error ends the command; the inner one may pass.
async fn watch_once(
    args: &WatchArgs,
    online: &mut Online<'_>,
    known: &mut Reports,
) -> anyhow::Result<Result<(), admin::session::SessionError>> {
    macro_rules! passing {
        ($call:expr) => {
            match $call {
                Ok(value) => value,
                Err(error) => return Ok(Err(error)),
            }
        };
    }
    let mut watching = passing!(online.session.watch(&[]).await);
    for report in passing!(online.session.reports(&[], "").await) {
        news(args, online, known, report)?;
    }
    let mut look = tokio::time::interval(LEDGER_EVERY);
    loop {
        tokio::select! {
            report = watching.next() => news(args, online, known, passing!(report))?,
            _ = look.tick() => {
                let before = passing!(online.session.state()).head();
                passing!(online.session.sync().await);
                let state = online.state()?;
                for entry in online.session.since(before) {
                    let row = admin::view::LogRow::new(entry, &state);
                    online.admin.out.event(&super::history::LogEvent(row))?;
                }
            }
        }
    }
}

fn news(args: &WatchArgs, online: &Online<'_>, known: &mut Reports, report: CheckedReport) -> anyhow::Result<()> {
    let state = online.state()?;
    let Some(member) = state.members().get(&report.node) else { return Ok(()) };
    if !args.on.matches(member.name.as_str(), &member.labels) {
        return Ok(());
    }
    let mut events: Vec<(&'static str, String)> = Vec::new();
    let before = known.get(&report.node);
    if before.is_none_or(|before| before.liveness.online != report.liveness.online) {
        events.push((if report.liveness.online { "online" } else { "offline" }, String::new()));
    }
    let old = before.map(|before| &before.outcomes);
    for (subject, outcome) in &report.outcomes {
        if old.and_then(|old| old.get(subject)) != Some(outcome) {
            let message = if outcome.message.is_empty() { String::new() } else { format!(": {}", outcome.message) };
            let detail = format!("{} of entry {}: {}{message}", outcome.name, outcome.generation, outcome.verdict);
            events.push(("outcome", detail));
        }
    }
    let silent: BTreeMap<_, _> = before.map(|b| b.problems.iter().map(|p| (p, ())).collect()).unwrap_or_default();
    for problem in report.problems.iter().filter(|problem| !silent.contains_key(problem)) {
        events.push(("not-believed", problem.clone()));
    }
    for (what, detail) in events {
        let event = NodeEvent { at: compose::now().0, node: member.name.clone(), what, detail };
        online.admin.out.event(&event)?;
    }
    match known.get_mut(&report.node) {
        Some(before) => before.update(report),
        None => drop(known.insert(report.node, report)),
    }
    Ok(())
}

/// How often the ledger is looked at while a watch runs.
const LEDGER_EVERY: Duration = Duration::from_secs(3);
/// The pause before a lost watch is opened again.
const RECONNECT_AFTER: Duration = Duration::from_secs(2);
