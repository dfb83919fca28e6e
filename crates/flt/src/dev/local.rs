//! `flt dev up`, `down` and `status`: a fleet of real processes in one folder, which goes on when the command ends.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::Duration;

use admin::author::{Author, Intent};
use admin::session::Session;
use anyhow::{Context as _, anyhow, ensure};
use clap::Args;
use protocols::entry::{Invite, Role};
use protocols::ticket::InviteSecret;
use protocols::{Body, FleetId, Labels, Name, NodeId, SecretKey, Ticket};
use tokio::time::Instant;

mod layout;
mod process;
mod view;

use super::paste;
use crate::app::App;
use crate::compose::admin::{self as link, AdminLink};
use crate::compose::now;
use crate::output::Progress;
use crate::report::{Advise as _, Code};
use layout::Layout;
use process::Seat;
use view::{DownView, NodeLine, StatusView, UpView};

/// Where the fleet is.
#[derive(Debug, Args)]
pub(crate) struct Place {
    /// Keep the fleet in this folder
    #[arg(long, value_name = "DIR", default_value = DIR)]
    dir: PathBuf,
}

/// `flt dev up`.
#[derive(Debug, Args)]
#[command(after_long_help = UP_EXAMPLES)]
pub(crate) struct UpArgs {
    /// Run this many agents; 3 in a new fleet, and as many as there are in one that is there
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=AGENTS_MAX))]
    agents: Option<u16>,
    #[command(flatten)]
    place: Place,
}

/// `flt dev down`.
#[derive(Debug, Args)]
#[command(after_long_help = DOWN_EXAMPLES)]
pub(crate) struct DownArgs {
    /// Remove the folder too, with all keys and data in it
    #[arg(long)]
    remove: bool,
    /// Do not ask before the folder is removed
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    place: Place,
}

/// `flt dev status`.
#[derive(Debug, Args)]
#[command(after_long_help = STATUS_EXAMPLES)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    place: Place,
}

/// `flt dev detach`.
#[derive(Debug, Args)]
pub(crate) struct DetachArgs {
    /// Note in this file which process it is
    #[arg(long, value_name = "FILE")]
    record: PathBuf,
    /// What to run
    #[arg(last = true, required = true)]
    arguments: Vec<OsString>,
}

/// Becomes a daemon.
pub(super) fn detach(args: &DetachArgs) -> anyhow::Result<Code> {
    match process::detach(&args.record, &args.arguments)? {}
}

/// Starts what does not run, and waits until all of it works.
pub(super) async fn up(args: UpArgs, app: &App) -> anyhow::Result<Code> {
    let layout = Layout::at(&args.place.dir)?;
    tokio::select! {
        done = start(&args, &layout, app) => done,
        pressed = tokio::signal::ctrl_c() => {
            pressed.context("cannot listen for ctrl-C")?;
            let down = command(&layout, "down");
            crate::output::stderr(&format!("interrupted: what was started goes on; stop it: {down}\n"));
            Ok(Code::Interrupted)
        }
    }
}

async fn start(args: &UpArgs, layout: &Layout, app: &App) -> anyhow::Result<Code> {
    let mark = match layout.mark()? {
        Some(mark) => mark,
        None => layout.found()?,
    };
    let _held = layout.lock()?;
    let there = u16::try_from(layout.agents()?.len()).unwrap_or(u16::MAX);
    let wanted = args.agents.unwrap_or(if there == 0 { AGENTS } else { there });
    if wanted < there {
        app.out.warning(format!("the fleet has {there} agents, and all of them stay"));
    }
    layout.add_agents(wanted.max(there))?;
    let progress = app.out.progress("Looking after the coordinator");
    let mut fleet = Running::new(layout, mark.fleet, app);
    let ticket = fleet.coordinator(&progress).await?;
    progress.update("Joining the fleet as its admin");
    let mut admin = Admin::open(layout, &ticket, mark.fleet).await?;
    let result = fleet.agents(&mut admin, &ticket, &progress).await;
    admin.link.close().await;
    result?;
    drop(progress);
    layout.workspace().set_ticket(&ticket).context("cannot store the ticket")?;
    let flt = paste::program();
    let config = paste::path(&layout.named_config());
    app.out.view(&UpView {
        dir: layout.named.clone(),
        fleet_id: mark.fleet,
        already: fleet.started.is_empty(),
        started: fleet.started.iter().map(|one| one.name.clone()).collect(),
        nodes: lines(layout)?,
        next: vec![
            format!("{flt} --config {config} admin status"),
            format!("{flt} --config {config} admin apply {}", paste::path(&layout.named_fleet_file())),
            command(layout, "status"),
            command(layout, "down"),
        ],
    })?;
    Ok(Code::Done)
}

/// A `flt dev` command for this folder.
fn command(layout: &Layout, verb: &str) -> String {
    let flt = paste::program();
    match &layout.named {
        dir if dir == Path::new(DIR) => format!("{flt} dev {verb}"),
        dir => format!("{flt} dev {verb} --dir {}", paste::path(dir)),
    }
}

/// The processes that run, and those that this command has started.
struct Running<'a> {
    layout: &'a Layout,
    fleet: FleetId,
    /// Variables that daemons shall not see.
    variables: Vec<String>,
    started: Vec<Started>,
}

/// A process that this command has started.
struct Started {
    name: String,
    seat: Seat,
    child: Child,
    at: Instant,
}

impl<'a> Running<'a> {
    fn new(layout: &'a Layout, fleet: FleetId, app: &App) -> Self {
        let variables = app.env.starting("FLT_").map(|(name, _)| name.to_owned()).collect();
        Self { layout, fleet, variables, started: Vec::new() }
    }

    fn start(&mut self, name: &str, seat: Seat, role: &str, config: &Path) -> anyhow::Result<()> {
        let arguments = [OsString::from("--config"), config.into(), role.into(), "run".into()];
        let child = seat.start(&arguments, &self.variables).with_context(|| format!("cannot start {name}"))?;
        self.started.push(Started { name: name.to_owned(), seat, child, at: Instant::now() });
        Ok(())
    }

    /// Fails with the last words of a process that ended.
    fn check(&mut self) -> anyhow::Result<()> {
        for one in &mut self.started {
            if let Some(status) = one.child.try_wait().context("cannot look after a process")? {
                let words = one.seat.last_words();
                return Err(anyhow!("{} ended with {status}; its last words:\n{words}", one.name))
                    .hint(format!("see the whole log: {}", one.seat.log().display()));
            }
        }
        Ok(())
    }

    /// The coordinator, running and ready; gives the ticket that reaches it.
    async fn coordinator(&mut self, progress: &Progress) -> anyhow::Result<Ticket> {
        let file = self.layout.coordinator_ticket();
        let seat = self.layout.coordinator_seat();
        if seat.running().is_none() {
            // It writes a ticket when it is ready: one from before would say nothing.
            match std::fs::remove_file(&file) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(error).with_context(|| format!("cannot remove {}", file.display()));
                }
                _ => {}
            }
            progress.update("Starting the coordinator");
            self.start(COORDINATOR, seat, "coordinator", &self.layout.coordinator_config())?;
        }
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            // The file is there whole or not at all.
            match std::fs::read_to_string(&file) {
                Ok(text) => {
                    let ticket: Ticket =
                        text.parse().with_context(|| format!("cannot use the ticket in {}", file.display()))?;
                    ensure!(ticket.fleet == self.fleet, "{} is the ticket of another fleet", file.display());
                    return Ok(ticket);
                }
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(error).with_context(|| format!("cannot read {}", file.display())),
            }
            self.check()?;
            if Instant::now() >= deadline {
                return Err(anyhow!("the coordinator is not ready after {} s", READY_WITHIN.as_secs())).hint(format!(
                    "look why: {}; then begin again: {}",
                    self.layout.coordinator_seat().log().display(),
                    command(self.layout, "down")
                ));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// All agents, as members, online.
    async fn agents(&mut self, admin: &mut Admin, ticket: &Ticket, progress: &Progress) -> anyhow::Result<()> {
        let mut agents: Vec<(Name, NodeId)> = Vec::new();
        for name in self.layout.agents()? {
            let key = self.layout.agent_key(&name)?;
            agents.push((name, key.id()));
        }
        admin.hello().await?;
        admin.session.sync().await.context("cannot fetch the ledger")?;
        let state = admin.session.state()?.clone();
        let strangers = agents.iter().filter(|(_, id)| !state.is_agent(*id)).count();
        let invite = match u32::try_from(strangers)? {
            0 => None,
            uses => Some(admin.invite(uses).await?),
        };
        for (name, id) in &agents {
            let seat = self.layout.agent_seat(name);
            // One that waits for an invite that ran out waits for ever.
            let waits = !state.is_agent(*id);
            if seat.running().is_some() && !waits {
                continue;
            }
            seat.stop(STOP_WITHIN).await?;
            let invite = invite.clone().filter(|_| waits);
            self.layout.give_ticket(name, &Ticket { invite, ..ticket.clone() })?;
            progress.update(format!("Starting {name}"));
            self.start(name.as_str(), seat, "agent", &self.layout.agent_config(name))?;
        }
        progress.update(format!("Waiting for {} agents", agents.len()));
        let deadline = Instant::now() + ONLINE_WITHIN;
        loop {
            self.check()?;
            let missing = self.missing(admin, &agents).await?;
            if missing.is_empty() {
                return Ok(());
            }
            if Instant::now() >= deadline {
                let text = format!("not online after {} s: {}", ONLINE_WITHIN.as_secs(), missing.join(", "));
                return Err(anyhow!(text)).hint(format!("look at the log in {}", self.layout.named.display()));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// The agents that are no members yet, or were not heard since they were started.
    async fn missing(&self, admin: &mut Admin, agents: &[(Name, NodeId)]) -> anyhow::Result<Vec<String>> {
        admin.session.sync().await.context("cannot fetch the ledger")?;
        let state = admin.session.state()?.clone();
        let ids: Vec<NodeId> = agents.iter().map(|(_, id)| *id).filter(|id| state.is_agent(*id)).collect();
        let reports = if ids.is_empty() { Vec::new() } else { admin.session.reports(&ids, NO_RECORDS).await? };
        let online = |name: &Name, id: NodeId| {
            let report = reports.iter().find(|report| report.node == id);
            let since = self.started.iter().find(|one| one.name == name.as_str()).map(|one| one.at.elapsed());
            report.is_some_and(|report| {
                let silent = report.liveness.silent_millis.map(Duration::from_millis);
                report.liveness.online && silent.is_some_and(|silent| since.is_none_or(|since| silent < since))
            })
        };
        Ok(agents.iter().filter(|(name, id)| !online(name, *id)).map(|(name, _)| name.to_string()).collect())
    }
}

/// The fleet's admin.
struct Admin {
    session: Session,
    link: AdminLink,
    ticket: Ticket,
}

impl Admin {
    async fn open(layout: &Layout, ticket: &Ticket, fleet: FleetId) -> anyhow::Result<Self> {
        let workspace = layout.workspace();
        let file = workspace.key_file();
        let key = SecretKey::read(&file, || None).with_context(|| format!("cannot use the key {}", file.display()))?;
        let listen = [([127, 0, 0, 1], 0).into()];
        let link = link::connect(key.clone(), ticket, workspace.dir(), &listen, false).await?;
        let session = Session::open(workspace, fleet, Author::new(key), link.control())?;
        Ok(Self { session, link, ticket: ticket.clone() })
    }

    /// Waits until the coordinator answers.
    async fn hello(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            match tokio::time::timeout(HELLO_WITHIN, self.session.hello()).await {
                Ok(Ok(_)) => return Ok(()),
                Ok(Err(error)) if Instant::now() >= deadline => return Err(error.into()),
                Err(_) if Instant::now() >= deadline => return Err(anyhow!("the coordinator does not answer")),
                Ok(Err(_)) | Err(_) => tokio::time::sleep(LOOK_EVERY).await,
            }
        }
    }

    async fn invite(&mut self, uses: u32) -> anyhow::Result<InviteSecret> {
        let key = SecretKey::generate();
        let expires = now().plus(INVITE_FOR);
        let labels = Labels::from([("role".parse()?, "edge".to_owned())]);
        let invite = Invite { invite: key.id(), name: None, labels, expires, uses, replaces: None };
        let planned = self.session.state()?.clone();
        let intent = Intent::Enter(Body::Invite(invite));
        self.session.submit(&planned, &intent, now).await.context("cannot invite the agents")?;
        ensure!(self.ticket.fleet == self.session.state()?.fleet(), "the ledger is another fleet's");
        Ok(InviteSecret::new(&key, expires, None))
    }
}

/// Stops what runs.
pub(super) async fn down(args: DownArgs, app: &App) -> anyhow::Result<Code> {
    let layout = Layout::at(&args.place.dir)?;
    if layout.mark()?.is_none() {
        app.out.view(&DownView::nothing(layout.named))?;
        return Ok(Code::Done);
    }
    let _held = layout.lock()?;
    if args.remove {
        let name = layout.named.file_name().unwrap_or(layout.named.as_os_str()).to_string_lossy().into_owned();
        let what = format!("This removes {} with all keys and data in it.", layout.named.display());
        app.out.confirm_name(&what, &name, args.yes)?;
    }
    let progress = app.out.progress("Stopping the agents");
    let mut view = DownView::nothing(layout.named.clone());
    let mut stopping = tokio::task::JoinSet::new();
    for name in layout.agents()? {
        let seat = layout.agent_seat(&name);
        stopping.spawn(async move { (name.to_string(), seat.stop(STOP_WITHIN).await) });
    }
    while let Some(stopped) = stopping.join_next().await {
        let (name, ended) = stopped.context("cannot stop an agent")?;
        view.add(&name, ended.with_context(|| format!("cannot stop {name}"))?);
    }
    progress.update("Stopping the coordinator");
    let ended = layout.coordinator_seat().stop(STOP_WITHIN).await.context("cannot stop the coordinator")?;
    view.add(COORDINATOR, ended);
    drop(progress);
    if args.remove {
        layout.remove()?;
        view.removed = true;
    }
    app.out.view(&view)?;
    Ok(Code::Done)
}

/// Lists the processes.
pub(super) fn status(args: &StatusArgs, app: &App) -> anyhow::Result<Code> {
    let layout = Layout::at(&args.place.dir)?;
    let Some(mark) = layout.mark()? else {
        return Err(anyhow!("there is no local fleet in {}", layout.named.display()))
            .hint(format!("start one: {}", command(&layout, "up")));
    };
    let view = StatusView { dir: layout.named.clone(), fleet_id: mark.fleet, nodes: lines(&layout)? };
    app.out.view(&view)?;
    if view.nodes.iter().any(|node| node.pid.is_none()) {
        app.out.hint(format!("start what does not run: {}", command(&layout, "up")));
    }
    Ok(Code::Done)
}

fn lines(layout: &Layout) -> anyhow::Result<Vec<NodeLine>> {
    let mut lines = vec![NodeLine::of(COORDINATOR, Role::Coordinator, &layout.coordinator_seat())];
    for name in layout.agents()? {
        lines.push(NodeLine::of(name.as_str(), Role::Agent, &layout.agent_seat(&name)));
    }
    Ok(lines)
}

/// Where the fleet is if nothing is said.
const DIR: &str = ".dev";
const COORDINATOR: &str = "coordinator";
/// How many agents a new fleet has.
const AGENTS: u16 = 3;
/// The most agents.
const AGENTS_MAX: i64 = 50;
/// A prefix that no record has: liveness alone is asked for.
const NO_RECORDS: &str = "-";
/// How long the coordinator may take until it is ready.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// How long it may take to answer once.
const HELLO_WITHIN: Duration = Duration::from_secs(10);
/// How long the agents may take until they are online.
const ONLINE_WITHIN: Duration = Duration::from_secs(90);
/// How long a process may take to end when it is asked; daemons take 25 s at most.
const STOP_WITHIN: Duration = Duration::from_secs(30);
/// How long an invite can be used.
const INVITE_FOR: Duration = Duration::from_secs(3600);
/// How often a condition is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

const UP_EXAMPLES: &str = "\
It starts a coordinator and agents as processes of their own, on loopback, and waits until all of them work. What runs
already is left alone, and what does not is started.

Examples:
  flt dev up
  flt dev up --agents 5 --dir /tmp/fleet";

const DOWN_EXAMPLES: &str = "\
Examples:
  flt dev down
  flt dev down --remove --yes";

const STATUS_EXAMPLES: &str = "\
Examples:
  flt dev status
  flt dev status --json";
