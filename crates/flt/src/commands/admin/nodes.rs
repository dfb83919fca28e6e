//! `flt admin node` and `flt admin facts`: what is known of nodes.

use std::time::Duration;

use admin::view::{NodeRow, NodeView, PartRow};
use anyhow::anyhow;
use clap::Args;
use protocols::facts::{StableFacts, VolatileFacts};
use protocols::{FleetState, NodeId, Selector};
use serde::Serialize;

use super::context::{Admin, Online};
use super::status::{reports, table};
use crate::config::nearest;
use crate::output::{Style, Table, View, format};
use crate::report::{Advise as _, Code};

/// `flt admin node list`.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// List these nodes only
    #[arg(long, value_name = "SELECTOR", default_value = "*")]
    on: Selector,
}

/// A command about one node.
#[derive(Debug, Args)]
pub(crate) struct NodeArgs {
    /// The node's name
    name: String,
}

#[derive(Debug, Serialize)]
struct Nodes {
    nodes: Vec<NodeRow>,
}

impl View for Nodes {
    const SCHEMA: &'static str = "flt.nodes/1";

    fn text(&self, style: &Style) -> String {
        table(&self.nodes, style)
    }
}

pub(super) async fn list(args: ListArgs, admin: &Admin<'_>) -> anyhow::Result<Code> {
    let online = admin.online().await?;
    let result = list_online(&args, &online).await;
    online.close().await;
    result.map(|()| Code::Done)
}

async fn list_online(args: &ListArgs, online: &Online<'_>) -> anyhow::Result<()> {
    let state = online.state()?;
    let reports = reports(online, &[]).await?;
    let mut nodes = NodeRow::all(&state, &reports);
    for told in NodeRow::clones(&nodes, &reports) {
        online.admin.out.warning(told);
    }
    nodes.retain(|node| args.on.matches(node.name.as_str(), &node.labels));
    online.admin.out.view(&Nodes { nodes })
}

pub(super) async fn show(args: NodeArgs, admin: &Admin<'_>) -> anyhow::Result<Code> {
    let online = admin.online().await?;
    let view = one(&args.name, &online).await;
    online.close().await;
    admin.out.view(&Shown(view?))?;
    Ok(Code::Done)
}

async fn one(name: &str, online: &Online<'_>) -> anyhow::Result<NodeView> {
    let state = online.state()?;
    let id = find(&state, name)?;
    let reports = reports(online, &[id]).await?;
    NodeView::new(&state, id, reports.get(&id)).ok_or_else(|| anyhow!("`{name}` left the fleet just now"))
}

/// The node of a name.
pub(super) fn find(state: &FleetState, name: &str) -> anyhow::Result<NodeId> {
    if let Some((id, _)) = state.member_named(name) {
        return Ok(id);
    }
    if let Ok(id) = name.parse::<NodeId>()
        && state.members().contains_key(&id)
    {
        return Ok(id);
    }
    let names: Vec<&str> = state.members().values().map(|member| member.name.as_str()).collect();
    let hint = match nearest(name, names.iter().copied()) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => "see the nodes: flt admin node list".into(),
    };
    Err(anyhow!("no node of this fleet is called `{name}`")).hint(hint)
}

#[derive(Debug, Serialize)]
struct Shown(NodeView);

impl View for Shown {
    const SCHEMA: &'static str = "flt.node/1";

    fn text(&self, style: &Style) -> String {
        let view = &self.0;
        let row = &view.row;
        let mut lines: Vec<(&str, String)> = vec![
            ("name", row.name.to_string()),
            ("key", row.id.to_string()),
            ("role", row.role.to_string()),
            ("state", row.condition.to_string()),
        ];
        let mut put = |name, value: Option<String>| lines.extend(value.filter(|v| !v.is_empty()).map(|v| (name, v)));
        put("quarantine", row.quarantine.clone());
        put("note", Some(row.note.clone()));
        let seen = row.silent_seconds.map(|s| format!("{} ago", format::age(Duration::from_secs(s))));
        put("seen", Some(seen.unwrap_or_else(|| "not since the coordinator started".into())));
        put("behind", row.behind.map(|n| if n == 0 { "no".into() } else { format!("{n} entries") }));
        let labels: Vec<String> = row.labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
        put("labels", Some(labels.join(" ")));
        put("version", row.version.clone());
        put("os", view.facts.as_ref().and_then(|f| f.os_name.clone()));
        let addrs = view.addr.as_ref().map(|a| a.addrs.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "));
        put("addresses", addrs);
        put("relay", view.addr.as_ref().and_then(|a| a.relay.clone()));
        let beats = &view.beats;
        if beats.remembered > 0 {
            let rtt = beats.median_rtt_micros.map(|m| format!(", median {}.{:03} ms", m / 1000, m % 1000));
            put(
                "heartbeats",
                Some(format!("{} remembered, {} missed{}", beats.remembered, beats.missed, rtt.unwrap_or_default())),
            );
        }
        let mut text: String = lines.iter().map(|(name, value)| format!("{name:<11} {}\n", plain(value))).collect();
        if !view.parts.is_empty() {
            text.push('\n');
            text.push_str(&parts(&view.parts, style));
        }
        for part in view.parts.iter().filter(|part| !part.message.is_empty() || !part.steps.is_empty()) {
            text.push_str(&format!("\n{} of entry {}: {}\n", part.declaration, part.generation, plain(&part.message)));
            for step in &part.steps {
                text.push_str(&format!("  {}\n", plain(step)));
            }
        }
        if !view.former.is_empty() {
            text.push_str("\nno longer declared, left as it is:\n");
            text.push_str(&parts(&view.former, style));
        }
        for problem in &row.problems {
            text.push_str(&format!("not believed: {}\n", plain(problem)));
        }
        text
    }
}

fn parts(parts: &[PartRow], style: &Style) -> String {
    let mut table = Table::new(&["DECLARATION", "SUBJECT", "STATE", "ENTRY", "ATTEMPTS"]);
    for part in parts {
        let state = match (part.verdict, part.played) {
            (Some(verdict), _) => verdict.to_string(),
            (None, Some(older)) => format!("has entry {older}"),
            (None, None) => "waiting".into(),
        };
        table.row([
            part.declaration.to_string(),
            part.subject.to_string(),
            state,
            part.generation.to_string(),
            part.attempts.to_string(),
        ]);
    }
    table.text(style)
}

#[derive(Debug, Serialize)]
struct Facts {
    node: String,
    stable: Option<StableFacts>,
    volatile: Option<VolatileFacts>,
}

impl View for Facts {
    const SCHEMA: &'static str = "flt.facts/1";

    fn text(&self, _style: &Style) -> String {
        let mut text = String::new();
        for value in [serde_json::to_value(&self.stable), serde_json::to_value(&self.volatile)].into_iter().flatten() {
            lines("", &value, &mut text);
        }
        text
    }
}

fn lines(path: &str, value: &serde_json::Value, out: &mut String) {
    match value {
        serde_json::Value::Object(fields) => {
            for (key, value) in fields {
                lines(&if path.is_empty() { key.clone() } else { format!("{path}.{key}") }, value, out);
            }
        }
        serde_json::Value::Null => {}
        serde_json::Value::Array(items) => {
            let items: Vec<String> =
                items.iter().map(|i| i.as_str().map_or_else(|| i.to_string(), str::to_owned)).collect();
            out.push_str(&plain(&format!("{path} = {}", items.join(" "))));
            out.push('\n');
        }
        serde_json::Value::String(text) => out.push_str(&format!("{path} = {}\n", plain(text))),
        other => out.push_str(&format!("{path} = {other}\n")),
    }
}

/// What nodes say must not steer the terminal.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

pub(super) async fn facts(args: NodeArgs, admin: &Admin<'_>) -> anyhow::Result<Code> {
    let online = admin.online().await?;
    let view = one(&args.name, &online).await;
    online.close().await;
    let view = view?;
    if view.facts.is_none() && view.volatile.is_none() {
        return Err(anyhow!("`{}` has told nothing of itself yet", view.row.name))
            .hint(format!("see whether it was ever online: flt admin node show {}", view.row.name));
    }
    admin.out.view(&Facts { node: view.row.name.to_string(), stable: view.facts, volatile: view.volatile })?;
    Ok(Code::Done)
}
