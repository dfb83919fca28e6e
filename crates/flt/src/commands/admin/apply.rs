//! `flt admin apply`: hands over files, publishes, and waits until the nodes are as declared.

use std::time::Duration;

use admin::changes::{Action, Changes};
use admin::fleetfile::{Source, Upload};
use admin::follow::{Ending, Follow, Track};
use anyhow::Context as _;
use clap::Args;
use protocols::{BlobRef, DeclarationName, Millis};
use serde::Serialize;
use tokio::time::Instant;

use super::context::{Admin, Online, told};
use super::plan::{self, FileArgs, PlanView};
use crate::compose;
use crate::compose::admin::Content;
use crate::output::{Progress, Style, Table, View, format};
use crate::report::Code;

/// How commands wait for nodes.
#[derive(Debug, Clone, Args)]
pub(crate) struct WaitArgs {
    /// Return once it is published
    #[arg(long)]
    no_wait: bool,
    /// Wait this long for the nodes
    #[arg(long, value_name = "SPAN", default_value = "10m", value_parser = format::parse_span)]
    timeout: Duration,
}

/// `flt admin apply`.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Examples:\n  flt admin apply fleet.toml\n  flt admin apply fleet.toml --timeout 30m\n  flt admin apply fleet.toml --no-wait\n  flt admin apply fleet.toml --not-after 2h\n\nExit codes: 0 every node is as declared; 1 refused, or some node failed; 4 published, and some nodes are not through."
)]
pub(crate) struct ApplyArgs {
    #[command(flatten)]
    file: FileArgs,
    #[command(flatten)]
    wait: WaitArgs,
    /// Do not ask before something is withdrawn
    #[arg(long)]
    yes: bool,
    /// Let no node begin after this span, or after a moment like 2026-03-01T12:00:00Z
    #[arg(long, value_name = "WHEN", value_parser = parse_until)]
    not_after: Option<Millis>,
    /// Only show what would be done
    #[arg(long)]
    dry_run: bool,
}

/// A span from now, or a moment.
fn parse_until(text: &str) -> Result<Millis, String> {
    let moment = text.parse::<jiff::Timestamp>().ok().and_then(|at| u64::try_from(at.as_millisecond()).ok());
    let at = match moment {
        Some(at) => Millis(at),
        None => {
            let span = format::parse_span(text)
                .map_err(|_| "write a span like 2h or 7d, or a moment like 2026-03-01T12:00:00Z".to_owned())?;
            compose::now().plus(span)
        }
    };
    if at <= compose::now() { Err("that moment is over".into()) } else { Ok(at) }
}

/// What was applied, and how it went.
#[derive(Debug, Serialize)]
struct ApplyView {
    entries: Vec<Published>,
    ending: Ending,
    nodes: Vec<Track>,
    waited: bool,
}

/// One declaration that was entered.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Published {
    pub(super) name: DeclarationName,
    pub(super) action: Action,
    pub(super) entry: u64,
}

impl View for ApplyView {
    const SCHEMA: &'static str = "flt.apply/1";

    fn text(&self, style: &Style) -> String {
        let mut text = String::new();
        for one in &self.entries {
            let verb = if one.action == Action::Withdraw { "withdrawn" } else { "published" };
            text.push_str(&format!("{} {verb} in entry {}\n", one.name, one.entry));
        }
        if self.waited && !self.nodes.is_empty() {
            let mut table = Table::new(&["NODE", "DECLARATION", "STATE", "MESSAGE"]);
            for track in &self.nodes {
                table.row([
                    track.node.to_string(),
                    track.declaration.to_string(),
                    track.progress.to_string(),
                    track.message.clone(),
                ]);
            }
            text.push_str(&table.text(style));
        }
        text
    }
}

pub(super) async fn run(args: ApplyArgs, admin: &Admin<'_>) -> anyhow::Result<Code> {
    let file = plan::read(&args.file.file)?;
    let mut online = admin.online().await?;
    online.session.set_not_after(args.not_after);
    let result = run_online(&args, &file, &mut online).await;
    online.close().await;
    result
}

async fn run_online(
    args: &ApplyArgs,
    file: &admin::fleetfile::FleetFile,
    online: &mut Online<'_>,
) -> anyhow::Result<Code> {
    let state = online.state()?;
    let out = online.admin.out;
    let plan = plan::make(&args.file, file, &state, online, !args.dry_run).await?;
    if args.dry_run {
        out.view(&PlanView { plan: &plan, preview: Vec::new() })?;
        plan::judge(&plan, online)?;
        return Ok(Code::Done);
    }
    plan::judge(&plan, online)?;
    let gone: Vec<String> =
        plan.changes.iter().filter(|c| c.action == Action::Withdraw).map(|c| c.name.to_string()).collect();
    if !gone.is_empty() {
        let question = format!(
            "This withdraws {}; nodes keep what they have, and stop workloads with one writer.",
            gone.join(", ")
        );
        out.confirm_name(&question, state.name().as_str(), args.yes)?;
    }
    hand_over(&plan.uploads(), online).await?;
    let entries = enter(&plan, &state, online).await?;
    // Also what is unchanged is followed: `apply` answers whether the fleet is as the file says.
    let names: Vec<DeclarationName> =
        plan.changes.iter().filter(|c| c.action != Action::Withdraw).map(|c| c.name.clone()).collect();
    settle(&args.wait, names, entries, online).await
}

/// Hands the files to the coordinator, so that nodes have them also when this machine is off.
async fn hand_over(uploads: &[Upload], online: &Online<'_>) -> anyhow::Result<()> {
    if uploads.is_empty() {
        return Ok(());
    }
    let total: u64 = uploads.iter().map(|upload| upload.blob.size).sum();
    let progress =
        online.admin.out.progress(format!("Handing over {} files ({})", uploads.len(), format::bytes(total)));
    for upload in uploads {
        let content = match &upload.source {
            Source::File(path) => Content::File(path.clone()),
            Source::Bytes(bytes) => Content::Bytes(bytes.clone()),
        };
        online.link.serve(&upload.blob, content).await.context("cannot offer a file to the coordinator")?;
    }
    let from = online.link.addr().await;
    let blobs: Vec<BlobRef> = uploads.iter().map(|upload| upload.blob).collect();
    let offered = online.session.offer(&blobs, &from, |at| {
        progress.update(format!("Handing over files: {} of {}, {}", at.blobs, at.of, format::bytes(at.bytes)));
    });
    told(offered.await)
}

async fn enter(
    plan: &Changes,
    planned: &protocols::FleetState,
    online: &mut Online<'_>,
) -> anyhow::Result<Vec<Published>> {
    let mut entries: Vec<Published> = Vec::new();
    let mut planned = planned.clone();
    for (name, intent) in plan.intents() {
        let progress = online.admin.out.progress(format!("Publishing {name}"));
        let result = online.submit(&planned, &intent).await;
        drop(progress);
        let submitted = result.with_context(|| match entries.as_slice() {
            [] => format!("cannot enter `{name}`; nothing was changed"),
            done => format!(
                "cannot enter `{name}`; {} of the changes before it are entered, and running it again goes on",
                done.len()
            ),
        })?;
        let action = plan.changes.iter().find(|c| c.name == name).map_or(Action::Update, |c| c.action);
        entries.push(Published { name, action, entry: submitted.entry.seq() });
        // The next one was planned against a state with this one in it.
        planned = (*online.state()?).clone();
        online
            .admin
            .app
            .on_interrupt("what was published stands, and the nodes go on by themselves; see flt admin status");
    }
    Ok(entries)
}

/// Waits for the nodes, unless told otherwise, and prints how it went.
pub(super) async fn settle(
    wait: &WaitArgs,
    names: Vec<DeclarationName>,
    entries: Vec<Published>,
    online: &mut Online<'_>,
) -> anyhow::Result<Code> {
    let state = online.state()?;
    let mut follow = Follow::new(&state, &names);
    let out = online.admin.out;
    if entries.is_empty() {
        out.status("Nothing to publish: everything is declared already.");
    }
    for shadow in follow.shadowed() {
        out.warning(format!("{}: {} does not count there; {} is newer", shadow.node, shadow.declaration, shadow.by));
    }
    if !wait.no_wait {
        let progress = out.progress(waiting(&follow));
        watch(&mut follow, wait.timeout, online, &progress).await?;
    }
    let ending = follow.ending();
    out.view(&ApplyView { entries, ending, nodes: follow.tracks().cloned().collect(), waited: !wait.no_wait })?;
    if wait.no_wait {
        out.hint("follow it: flt admin watch");
        return Ok(Code::Done);
    }
    match ending {
        Ending::Converged => Ok(Code::Done),
        Ending::Failed => {
            let bad = follow.tracks().find(|track| track.progress.is_bad());
            if let Some(track) = bad {
                out.hint(format!(
                    "see why: flt admin node show {}; go back: flt admin rollback {}",
                    track.node, track.declaration
                ));
            }
            Ok(Code::Failed)
        }
        Ending::Pending => {
            out.status(format!("Not through after {}; the nodes go on by themselves.", format::took(wait.timeout)));
            out.hint("follow them: flt admin watch");
            Ok(Code::NotConverged)
        }
    }
}

fn waiting(follow: &Follow) -> String {
    let counts: Vec<String> = follow.counts().into_iter().map(|(progress, n)| format!("{n} {progress}")).collect();
    format!("Waiting for the nodes: {}", if counts.is_empty() { "none".into() } else { counts.join(", ") })
}

/// Follows until every node had its last word or the time is up. A lost connection is made again.
async fn watch(
    follow: &mut Follow,
    timeout: Duration,
    online: &mut Online<'_>,
    progress: &Progress,
) -> anyhow::Result<()> {
    let deadline = Instant::now() + timeout;
    while !follow.is_done() && Instant::now() < deadline {
        match watch_once(follow, deadline, online, progress).await {
            Ok(()) => {}
            Err(error) if error.is_passing() => {
                progress.line(format!("the connection to the coordinator was lost, trying again: {error}"));
                tokio::time::sleep(RECONNECT_AFTER.min(deadline - Instant::now())).await;
            }
            Err(error) => return told(Err(error)),
        }
    }
    Ok(())
}

async fn watch_once(
    follow: &mut Follow,
    deadline: Instant,
    online: &mut Online<'_>,
    progress: &Progress,
) -> Result<(), admin::session::SessionError> {
    let nodes = follow.nodes();
    // First the watch, then the reports: what changes in between is not missed.
    let mut watching = online.session.watch(&nodes).await?;
    for report in online.session.reports(&nodes, "").await? {
        told_of(follow.observe(&report), progress);
    }
    let mut look = tokio::time::interval(LEDGER_EVERY);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while !follow.is_done() {
        progress.update(waiting(follow));
        tokio::select! {
            report = watching.next() => told_of(follow.observe(&report?), progress),
            _ = look.tick() => {
                online.session.sync().await?;
                let state = online.session.state()?.clone();
                told_of(follow.advance(&state), progress);
                // The guarantee beside the watch, which is only the fast path.
                for report in online.session.reports(&nodes, "").await? {
                    told_of(follow.observe(&report), progress);
                }
            }
            () = tokio::time::sleep_until(deadline) => return Ok(()),
        }
    }
    Ok(())
}

fn told_of(changed: Vec<Track>, progress: &Progress) {
    for track in changed {
        let message = if track.message.is_empty() { String::new() } else { format!(": {}", track.message) };
        progress.line(format!("{}  {}  {}{message}", track.node, track.declaration, track.progress));
    }
}

/// How often the ledger and all reports are looked at while a watch runs.
const LEDGER_EVERY: Duration = Duration::from_secs(5);
/// The pause before a lost watch is opened again.
const RECONNECT_AFTER: Duration = Duration::from_secs(1);
