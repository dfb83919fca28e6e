//! The ledger: printed, exported, verified, and gone back in.

use std::io::{BufReader, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use admin::author::Intent;
use admin::changes::Action;
use admin::view::LogRow;
use anyhow::{Context as _, anyhow};
use clap::Args;
use protocols::entry::{Publish, VerifiedEntry};
use protocols::store::Ledger;
use protocols::{Body, DeclarationName, FleetId, FleetState, Millis, export};
use serde::Serialize;

use super::apply::{Published, WaitArgs, settle};
use super::context::{Admin, Online, told, usage};
use super::keys::Since;
use super::scores::find;
use crate::output::{Output, Style, Table, View, format};
use crate::report::{Advise as _, Code};

/// `flt admin log`.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Examples:\n  flt admin log\n  flt admin log --last 20 --json\n  flt admin log --by ben --kind publish --kind withdraw --since 7d\n  flt admin log --node edge-1\n  flt admin log --export acme.ledger && flt admin verify acme.ledger --fleet FLEET-ID"
)]
pub(crate) struct LogArgs {
    /// Print the last entries only
    #[arg(long, value_name = "COUNT")]
    last: Option<usize>,
    /// Print what was done to this declaration only
    #[arg(long, value_name = "DECLARATION")]
    name: Option<DeclarationName>,
    /// Print what this admin or coordinator did only: a name, or a key or its beginning
    #[arg(long, value_name = "WHO")]
    by: Option<String>,
    /// Print what concerned this node only
    #[arg(long, value_name = "NODE")]
    node: Option<String>,
    /// Print entries of this kind only, such as grant or publish; may be given several times
    #[arg(long, value_name = "VERB")]
    kind: Vec<String>,
    /// Print what was done from this entry or moment on: `1207`, `2026-03-01T12:00:00Z`, `7d`
    #[arg(long, value_name = "WHEN")]
    since: Option<Since>,
    /// Verify every entry from the first on, and say so
    #[arg(long)]
    verify: bool,
    /// Write the entries into a file that can be verified anywhere
    #[arg(long, value_name = "FILE")]
    export: Option<PathBuf>,
    /// Use the copy on this machine, without asking the coordinator
    #[arg(long)]
    offline: bool,
}

/// `flt admin verify`.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Examples:\n  flt admin verify acme.ledger --fleet 1f0c...\n  flt admin verify --fork\n  flt admin verify --fork fork-17-1f0c2a.json --fleet 1f0c...\n\nFor a file nothing but the file and the fleet's id is needed. Without a file, --fork asks every member that can be\nreached how far its ledger goes, and whether all of them lie on one history."
)]
pub(crate) struct VerifyArgs {
    /// The exported ledger, or the evidence
    #[arg(required_unless_present = "fork")]
    pub(super) file: Option<PathBuf>,
    /// The fleet's id
    #[arg(long, value_name = "FLEET-ID", required_unless_present = "fork")]
    pub(super) fleet: Option<FleetId>,
    /// Look for a split history: judge the evidence in the file, or without one ask the members
    #[arg(long)]
    pub(super) fork: bool,
}

/// `flt admin rollback`.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Examples:\n  flt admin rollback edge/motd\n  flt admin rollback edge/motd --to 17\n\nThe older version is published again as a new entry; the record of what was in between stays."
)]
pub(crate) struct RollbackArgs {
    /// The declaration's name, `group/name`
    name: DeclarationName,
    /// Publish the version of this entry instead of the one before
    #[arg(long, value_name = "ENTRY")]
    to: Option<u64>,
    #[command(flatten)]
    wait: WaitArgs,
    /// Only show what would be entered
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Serialize)]
struct LogView {
    fleet: String,
    head: u64,
    verified: bool,
    entries: Vec<LogRow>,
}

impl View for LogView {
    const SCHEMA: &'static str = "flt.log/1";

    fn text(&self, style: &Style) -> String {
        let mut table = Table::new(&["ENTRY", "AUTHOR", "VERB", "WHAT", "THROUGH", "AT"]);
        for row in &self.entries {
            let what = match &row.note {
                Some(note) => format!("{} [{note}]", row.what),
                None => row.what.clone(),
            };
            let at = format::moment(Millis(row.at));
            let through = row.authority();
            table.row([row.seq.to_string(), row.author.clone(), row.verb.to_owned(), what, through, at]);
        }
        table.text(style)
    }
}

/// One entry, as it comes.
#[derive(Debug, Serialize)]
pub(super) struct LogEvent(pub(super) LogRow);

impl View for LogEvent {
    const SCHEMA: &'static str = "flt.entry/1";

    fn text(&self, _style: &Style) -> String {
        let LogRow { seq, author, verb, what, at, .. } = &self.0;
        format!("{}  entry {seq}  {author}  {verb} {what}\n", format::moment(Millis(*at)))
    }
}

pub(super) async fn log(args: LogArgs, admin: &Admin<'_>) -> anyhow::Result<Code> {
    let fleet = if args.offline { None } else { Some(fetch(admin).await?) };
    let ledger = admin.workspace.ledger(fleet).context("cannot read the copy of the ledger")?;
    let state = ledger.state().cloned().ok_or_else(|| anyhow!("the copy of the ledger is empty"));
    let state = state.hint("fetch it from the coordinator: flt admin log, without --offline")?;
    let mut rows = Vec::new();
    let mut writer = args.export.as_deref().map(create).transpose()?;
    args.check_kinds()?;
    // Names and rights are those of the moment, so the ledger is gone through from its beginning; that verifies it again.
    let mut replay: Option<FleetState> = None;
    each(&ledger, |entry| {
        let row = match &mut replay {
            Some(replay) => {
                let row = LogRow::new(&entry, replay);
                replay.apply(&entry)?;
                row
            }
            None => LogRow::new(&entry, replay.insert(FleetState::found(&entry)?)),
        };
        if let Some((_, writer)) = &mut writer {
            export::write_line(writer, entry.signed()).context("cannot write the export")?;
        }
        if args.wants(&entry, &row) {
            rows.push(row);
        }
        Ok(())
    })?;
    if let Some((file, mut writer)) = writer {
        let done = writer.flush().and_then(|()| writer.get_ref().as_file().sync_all());
        done.context("cannot write the export")?;
        let (temporary, _unwritten) = writer.into_parts();
        temporary.persist(&file).with_context(|| format!("cannot write {}", file.display()))?;
        admin.out.status(format!("Exported {} entries to {}", state.head().seq + 1, file.display()));
        admin.out.hint(format!("verify it anywhere: flt admin verify {} --fleet {}", file.display(), state.fleet()));
    }
    if args.verify {
        let same = replay.as_ref().is_some_and(|replay| replay.digest() == state.digest());
        if !same {
            return Err(anyhow!("the ledger's entries do not amount to its state"));
        }
        admin.out.status(format!(
            "Verified {} entries of fleet {}, the newest is {}",
            state.head().seq + 1,
            state.fleet(),
            state.head()
        ));
    }
    if let Some(last) = args.last {
        rows.drain(..rows.len().saturating_sub(last));
    }
    let head = state.head().seq;
    admin.out.view(&LogView { fleet: state.fleet().to_string(), head, verified: args.verify, entries: rows })?;
    Ok(Code::Done)
}

impl LogArgs {
    fn check_kinds(&self) -> anyhow::Result<()> {
        match self.kind.iter().find(|kind| !VERBS.contains(&kind.as_str())) {
            None => Ok(()),
            Some(odd) => {
                Err(usage(format!("there are no entries of kind `{odd}`"), format!("one of {}", VERBS.join(", "))))
            }
        }
    }

    fn wants(&self, entry: &VerifiedEntry, row: &LogRow) -> bool {
        let by = |who: &String| row.author == *who || row.key.to_string().starts_with(who.as_str());
        self.name.as_ref().is_none_or(|name| about(entry, name))
            && self.by.as_ref().is_none_or(by)
            && self.node.as_ref().is_none_or(|node| row.about.contains(node) || row.author == *node)
            && (self.kind.is_empty() || self.kind.iter().any(|kind| kind == row.verb))
            && match self.since {
                None => true,
                Some(Since::Entry(seq)) => row.seq >= seq,
                Some(Since::At(at)) => row.at >= at.0,
            }
    }
}

/// What entries do.
const VERBS: [&str; 16] = [
    "genesis",
    "grant",
    "revoke",
    "rotate",
    "recover",
    "set-recovery",
    "enroll",
    "invite",
    "redeem",
    "quarantine",
    "release",
    "publish",
    "withdraw",
    "checkpoint",
    "appoint",
    "place",
];

/// Fetches what is new; without the coordinator, the copy has to do.
pub(super) async fn fetch(admin: &Admin<'_>) -> anyhow::Result<FleetId> {
    let fleet = admin.ticket()?.fleet;
    let mut online = admin.connect().await?;
    let progress = admin.out.progress("Fetching the ledger from the coordinator");
    let synced = online.session.sync().await;
    drop(progress);
    let known = online.session.state().is_ok();
    online.close().await;
    match synced {
        Err(error) if error.is_passing() && known => {
            admin.out.warning(format!("{error}; this is the copy on this machine, which may be old"));
        }
        other => drop(told(other)?),
    }
    Ok(fleet)
}

/// Every entry of the copy on this machine.
pub(super) fn entries(online: &Online<'_>) -> anyhow::Result<Vec<VerifiedEntry>> {
    let fleet = online.state()?.fleet();
    let ledger = online.admin.workspace.ledger(Some(fleet)).context("cannot read the copy of the ledger")?;
    let mut entries = Vec::new();
    each(&ledger, |entry| {
        entries.push(entry);
        Ok(())
    })?;
    Ok(entries)
}

/// Reads every entry of a copy, in order.
fn each(ledger: &Ledger, mut f: impl FnMut(VerifiedEntry) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let mut next = 0;
    loop {
        let batch = ledger.range(next, BATCH_ENTRIES, BATCH_BYTES)?;
        if batch.is_empty() {
            return Ok(());
        }
        for signed in batch {
            f(signed.verify()?)?;
            next += 1;
        }
    }
}

fn about(entry: &VerifiedEntry, name: &DeclarationName) -> bool {
    match &entry.entry().body {
        Body::Publish(publish) => publish.name == *name,
        Body::Withdraw(withdraw) => withdraw.name == *name,
        _ => false,
    }
}

#[derive(Debug, Serialize)]
struct VerifyView {
    fleet: String,
    name: String,
    entries: u64,
    head: String,
    state: String,
}

impl View for VerifyView {
    const SCHEMA: &'static str = "flt.verify/1";

    fn text(&self, _style: &Style) -> String {
        format!(
            "ok: {} entries of the fleet {} ({}), the newest is {}\n",
            self.entries, self.name, self.fleet, self.head
        )
    }
}

pub(super) fn verify(args: VerifyArgs, out: &Output) -> anyhow::Result<Code> {
    let (Some(path), Some(fleet)) = (args.file, args.fleet) else {
        return Err(usage("no file and no fleet", "flt admin verify FILE --fleet FLEET-ID"));
    };
    let shown = path.display();
    let file = std::fs::File::open(&path).with_context(|| format!("cannot read {shown}"))?;
    let state =
        export::verify_export(BufReader::new(file), fleet).with_context(|| format!("{shown} does not verify"))?;
    out.view(&VerifyView {
        fleet: state.fleet().to_string(),
        name: state.name().to_string(),
        entries: state.head().seq + 1,
        head: state.head().hash.to_string(),
        state: state.digest().to_string(),
    })?;
    Ok(Code::Done)
}

pub(super) async fn rollback(args: RollbackArgs, admin: &Admin<'_>) -> anyhow::Result<Code> {
    let mut online = admin.online().await?;
    let result = rollback_online(&args, &mut online).await;
    online.close().await;
    result
}

async fn rollback_online(args: &RollbackArgs, online: &mut Online<'_>) -> anyhow::Result<Code> {
    let state = online.state()?;
    let mut versions: Vec<(u64, Publish)> = Vec::new();
    {
        let ledger =
            online.admin.workspace.ledger(Some(state.fleet())).context("cannot read the copy of the ledger")?;
        each(&ledger, |entry| {
            if let Body::Publish(publish) = &entry.entry().body
                && publish.name == args.name
            {
                versions.push((entry.seq(), publish.clone()));
            }
            Ok(())
        })?;
    }
    if versions.is_empty() {
        find(&state, &args.name)?;
    }
    let current = state.declarations().get(&args.name).map(|declaration| declaration.generation);
    let (seq, older) = choose(&versions, args.to, current, &args.name)?;
    if current == Some(*seq) {
        online.admin.out.status(format!("`{}` is the version of entry {seq} already.", args.name));
        return settle(&args.wait, vec![args.name.clone()], Vec::new(), online).await;
    }
    let mut publish = Publish { note: Some(format!("rollback to entry {seq}")), ..older.clone() };
    // Nodes may have come since, and what is published now must be for those of now.
    let catalogue = scores::catalogue();
    for name in super::secrets::sealer(&state, online, &catalogue).renew(&mut publish)? {
        online.admin.out.warning(format!(
            "the secret `{name}` stays sealed to the keys of entry {seq}, because this key cannot read it; nodes that came \
             later cannot open it"
        ));
    }
    let intent = Intent::Enter(Body::Publish(publish));
    if args.dry_run {
        online.enter_intent(intent, true).await?;
        return Ok(Code::Done);
    }
    let submitted = online.submit(&state, &intent).await?;
    let entries = vec![Published { name: args.name.clone(), action: Action::Update, entry: submitted.entry.seq() }];
    online.admin.app.on_interrupt("the older version is published, and the nodes go on by themselves");
    settle(&args.wait, vec![args.name.clone()], entries, online).await
}

/// The version to go back to: the one that was asked for, or the newest that differs from the one in force.
fn choose<'v>(
    versions: &'v [(u64, Publish)],
    to: Option<u64>,
    current: Option<u64>,
    name: &DeclarationName,
) -> anyhow::Result<&'v (u64, Publish)> {
    if let Some(to) = to {
        let all: Vec<String> = versions.iter().map(|(seq, _)| seq.to_string()).collect();
        return versions
            .iter()
            .find(|(seq, _)| *seq == to)
            .ok_or_else(|| anyhow!("entry {to} did not publish `{name}`"))
            .hint(format!("it was published in entries {}", all.join(", ")));
    }
    let in_force = current.and_then(|seq| versions.iter().find(|(at, _)| *at == seq));
    let differs = |version: &&(u64, Publish)| match in_force {
        // A rollback's own entry is not what a second rollback should return to.
        Some((seq, force)) => version.0 < *seq && !same(&version.1, force),
        None => true,
    };
    versions
        .iter()
        .rev()
        .find(differs)
        .ok_or_else(|| anyhow!("`{name}` has no older version that differs from the one in force"))
        .hint(format!("see its history: flt admin log --name {name}"))
}

fn same(a: &Publish, b: &Publish) -> bool {
    a.on == b.on && a.kind == b.kind && a.policy == b.policy && a.payload == b.payload
}

/// A file that appears under its name only when it is whole.
fn create(path: &Path) -> anyhow::Result<(PathBuf, BufWriter<tempfile::NamedTempFile>)> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    let file =
        tempfile::NamedTempFile::new_in(folder).with_context(|| format!("cannot write into {}", folder.display()))?;
    Ok((path.to_owned(), BufWriter::new(file)))
}

/// Entries read at once.
const BATCH_ENTRIES: usize = 256;
/// Bytes of entries read at once.
const BATCH_BYTES: usize = 4 * 1024 * 1024;
