//! `flt coordinator recover`: the ledger back from the copies of others.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use clap::Args;
use protocols::FleetId;
use serde::Serialize;

use super::CoordinatorArgs;
use crate::app::App;
use crate::compose::coordinator::recover::{RecoverParts, Recovered, recover};
use crate::output::{Style, View, format};
use crate::report::{Advise as _, Code};
use crate::run::{self, read_key};

/// `flt coordinator recover`.
#[derive(Debug, Args)]
pub(crate) struct RecoverArgs {
    #[command(flatten)]
    coordinator: CoordinatorArgs,
    /// Recover this fleet; not needed where a ticket, a genesis entry or an old ledger names it
    #[arg(long, value_name = "ID")]
    fleet: Option<FleetId>,
    /// Wait this long for members
    #[arg(long, value_name = "SPAN", default_value = "60s", value_parser = format::parse_span)]
    wait: Duration,
    /// Wait for no more than this many members
    #[arg(long, value_name = "COUNT")]
    members: Option<usize>,
    /// Do not believe this member; may be given several times
    #[arg(long, value_name = "NAME")]
    ignore: Vec<String>,
    /// Put the newest history in place though others differ from it
    #[arg(long)]
    even_if_split: bool,
}

#[derive(Debug, Serialize)]
struct MemberView {
    name: String,
    key: String,
    head: u64,
    is_here: bool,
}

/// What was recovered.
#[derive(Debug, Serialize)]
struct RecoveredView {
    head: u64,
    before: Option<u64>,
    members: Vec<MemberView>,
    silent: Vec<String>,
    aside: Option<PathBuf>,
}

impl From<Recovered> for RecoveredView {
    fn from(found: Recovered) -> Self {
        let member = |said: crate::compose::coordinator::recover::Said| MemberView {
            name: said.name.unwrap_or_else(|| "not a member".into()),
            key: said.id.to_string(),
            head: said.head.seq,
            is_here: said.is_here,
        };
        Self {
            head: found.head.seq,
            before: found.before.map(|h| h.seq),
            members: found.said.into_iter().map(member).collect(),
            silent: found.silent,
            aside: found.aside,
        }
    }
}

impl View for RecoveredView {
    const SCHEMA: &'static str = "flt.coordinator-recover/1";

    fn text(&self, _: &Style) -> String {
        let mut text = String::new();
        for member in &self.members {
            let differs = if member.is_here { "" } else { " (differs)" };
            // Writing to a string does not fail.
            let _infallible = writeln!(text, "{:<24} entry {}{differs}", member.name, member.head);
        }
        for name in &self.silent {
            let _infallible = writeln!(text, "{name:<24} did not answer");
        }
        let before = self.before.map_or_else(|| "no ledger".to_owned(), |seq| format!("entry {seq}"));
        let _infallible = writeln!(text, "recovered up to entry {}; here was {before}", self.head);
        text
    }
}

pub(super) async fn run(args: RecoverArgs, app: &App) -> anyhow::Result<Code> {
    let config = super::load(&args.coordinator, app)?;
    run::make_folder(&config.data)?;
    let path = config.key_path();
    let key = read_key(&path).with_context(|| format!("cannot read the coordinator's key {}", path.display())).hint(
        "without its key a coordinator cannot come back: enroll a new one with what an admin has of the ledger",
    )?;
    let ticket = run::coordinator_ticket(&config)?;
    let genesis = run::genesis(&config).ok().map(|entry| FleetId::from_bytes(*entry.hash().as_bytes()));
    let named = args.fleet.or_else(|| ticket.as_ref().map(|t| t.fleet)).or(genesis);
    let fleet = named
        .ok_or_else(|| anyhow!("it is not known which fleet to recover"))
        .hint("name it: --fleet ID, as `flt admin ticket --json` shows it; or give a ticket: --join TICKET")
        .code(Code::Usage)?;
    let parts = RecoverParts {
        data: config.data.clone(),
        key,
        fleet,
        ticket,
        listen: config.listen.clone(),
        relay: run::relay_parts(&config)?,
        mdns: config.mdns,
        wait: args.wait,
        members: args.members,
        ignore: args.ignore,
        even_if_split: args.even_if_split,
    };
    app.out.status(format!(
        "Waiting up to {} seconds for members at {}",
        args.wait.as_secs(),
        config.listen.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    ));
    let recovered = recover(parts, |id, head| tracing::info!(member = %id.short(), %head, "a member answered")).await?;
    run::save_recovered_genesis(&config.data)?;
    if let Some(aside) = &recovered.aside {
        app.out.warning(format!("another history was here; it is kept in {}", aside.display()));
    }
    app.out.view(&RecoveredView::from(recovered))?;
    app.out.hint("start it: flt coordinator run");
    Ok(Code::Done)
}

/// How it is used.
pub(super) const EXAMPLES: &str = "\
Listens where the coordinator listens, with its key. Nodes keep dialling the coordinators they know, so they come by
themselves. The newest ledger that verifies is taken; it is refused if a member has seen an entry that nobody gave.

Examples:
  flt coordinator recover --config coordinator.toml --fleet ID
  flt coordinator recover --data DIR --join TICKET --wait 5m --members 3";
