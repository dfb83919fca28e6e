//! The fleet's coordinators: enrolled, looked at, appointed, moved and retired; and which of them a command speaks with.

pub(super) mod group;

use std::net::SocketAddr;
use std::time::Duration;

use admin::session::{SessionError, coordinators};
use anyhow::{Context as _, anyhow};
use clap::{Args, Subcommand};
use protocols::control::{Denied, Hello};
use protocols::entry::{Appoint, Enroll, Place as PlaceBody, Revoke, Role};
use protocols::key::parse_public;
use protocols::ticket::RelayPin;
use protocols::{Body, FleetState, Name, NodeId, Ticket};
use serde::Serialize;
use tokio::task::JoinSet;

use super::context::{Admin, Online, told, usage};
use super::{Nothing, With};
use crate::output::table::Table;
use crate::output::{Style, View};
use crate::report::{Advise as _, Code};

/// How long a coordinator may take to say how far it is.
const HELLO_WITHIN: Duration = Duration::from_secs(5);

/// Coordinators.
#[derive(Debug, Subcommand)]
pub(crate) enum CoordinatorCommand {
    /// List the coordinators, and what each of them has
    List(With<Nothing>),
    /// Make a key that of a further coordinator
    Enroll(With<EnrollArgs>),
    /// Let coordinators order together, as a group of 3 or 5
    Add(With<AddArgs>),
    /// Let coordinators of the group order no more
    Remove(With<RemoveArgs>),
    /// Let another coordinator order the ledger
    Appoint(With<AppointArgs>),
    /// Remove a coordinator from the fleet
    Retire(With<RetireArgs>),
    /// Say where a coordinator is
    Place(With<PlaceArgs>),
    /// Print a ticket that names all coordinators
    Ticket(With<Nothing>),
}

/// `flt admin coordinator enroll`.
#[derive(Debug, Args)]
#[command(
    after_long_help = "The key is what `flt coordinator init` prints on the machine where it will run. Start it there with the fleet's ticket.\n\nExamples:\n  flt admin coordinator enroll KEY --name coordinator-2\n  flt coordinator run --join \"$(flt admin coordinator ticket)\""
)]
pub(crate) struct EnrollArgs {
    /// The coordinator's public key
    #[arg(value_parser = parse_key)]
    key: NodeId,
    /// Call it so
    #[arg(long)]
    name: Name,
    /// Only show what would be entered
    #[arg(long)]
    dry_run: bool,
}

/// `flt admin coordinator add`.
#[derive(Debug, Args)]
#[command(
    after_long_help = "A group has 1, 3 or 5 members, so name as many as lead to one of these at once. Each must be enrolled and running. A member that has lost its disk is added again by its name, and takes its own place.\n\nExamples:\n  flt admin coordinator add coordinator-2 coordinator-3\n  flt admin coordinator add coordinator-4 --replace coordinator-2"
)]
pub(crate) struct AddArgs {
    /// The coordinators' names or keys
    #[arg(required = true)]
    who: Vec<String>,
    /// A member whose place is taken; may be given several times
    #[arg(long, value_name = "NAME")]
    replace: Vec<String>,
}

/// `flt admin coordinator remove`.
#[derive(Debug, Args)]
#[command(
    after_long_help = "A group has 1, 3 or 5 members, so name two at once, or replace one: flt admin coordinator add NEW --replace OLD. They stay coordinators and follow; to end that too: flt admin coordinator retire.\n\nExamples:\n  flt admin coordinator remove coordinator-4 coordinator-5"
)]
pub(crate) struct RemoveArgs {
    /// The coordinators' names or keys
    #[arg(required = true)]
    who: Vec<String>,
}

/// `flt admin coordinator appoint`.
#[derive(Debug, Args)]
#[command(
    after_long_help = "If the one that orders cannot be reached, the one that is appointed takes over by itself, unless it knows that it lacks entries. Appoint another one only if you know that the old one has stopped: entries that it took afterwards, and that nobody else has, are lost, and it will not order again.\n\nExamples:\n  flt admin coordinator appoint coordinator-2"
)]
pub(crate) struct AppointArgs {
    /// The coordinator's name or key
    who: String,
    /// Only show what would be entered
    #[arg(long)]
    dry_run: bool,
}

/// `flt admin coordinator retire`.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  flt admin coordinator retire coordinator-1 --reason 'moved to new hardware'")]
pub(crate) struct RetireArgs {
    /// The coordinator's name or key
    who: String,
    /// Say why, for the record
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// Only show what would be entered
    #[arg(long)]
    dry_run: bool,
}

/// `flt admin coordinator place`.
#[derive(Debug, Args)]
#[command(
    after_long_help = "A coordinator says by itself where it is. This is for the only one before it moves, so that everybody knows both places; and for one that nobody finds.\n\nExamples:\n  flt admin coordinator place coordinator-1 --addr 192.0.2.7:4433 --addr 198.51.100.7:4433"
)]
pub(crate) struct PlaceArgs {
    /// The coordinator's name or key
    who: String,
    /// An address where it can be reached; may be given several times
    #[arg(long, value_name = "ADDR", required = true)]
    addr: Vec<SocketAddr>,
    /// The URL of its relay, if that is another one now; its certificate must be one that everybody accepts
    #[arg(long, value_name = "URL")]
    relay: Option<String>,
    /// Only show what would be entered
    #[arg(long)]
    dry_run: bool,
}

/// Runs a command.
pub(super) async fn run<'a, F>(command: CoordinatorCommand, at: F) -> anyhow::Result<Code>
where
    F: Fn(super::Place) -> anyhow::Result<Admin<'a>>,
{
    match command {
        CoordinatorCommand::List(With { place, .. }) => list(&at(place)?).await,
        CoordinatorCommand::Enroll(With { args, place }) => {
            let role = Role::Coordinator;
            let enroll = Enroll { key: args.key, name: args.name, role, labels: Default::default(), replaces: None };
            let admin = at(place)?;
            admin.while_online(async |online| online.enter(Body::Enroll(enroll), args.dry_run).await).await?;
            admin.out.hint("start it with the fleet's ticket: flt coordinator run --join TICKET; print that: flt admin coordinator ticket");
            Ok(Code::Done)
        }
        CoordinatorCommand::Add(With { args, place }) => group::change(&args.who, &args.replace, &at(place)?).await,
        CoordinatorCommand::Remove(With { args, place }) => group::change(&[], &args.who, &at(place)?).await,
        CoordinatorCommand::Appoint(With { args, place }) => {
            at(place)?.while_online(async |online| appoint(&args, online).await).await
        }
        CoordinatorCommand::Retire(With { args, place }) => {
            at(place)?.while_online(async |online| retire(&args, online).await).await
        }
        CoordinatorCommand::Place(With { args, place }) => {
            at(place)?.while_online(async |online| move_to(&args, online).await).await
        }
        CoordinatorCommand::Ticket(With { place, .. }) => ticket(&at(place)?).await,
    }
}

/// Finds out which coordinator answers, of those that the ticket and the copy of the ledger name, and goes on with that
/// one. Where there is only one, nothing is asked.
pub(super) async fn find(online: &mut Online<'_>, ticket: &Ticket) -> anyhow::Result<()> {
    let known = coordinators(ticket, online.session.state().ok().map(AsRef::as_ref));
    if let [only] = known.as_slice() {
        online.link.learn(&known);
        if only.id != online.link.coordinator() {
            online.link.choose(only.id);
            online.session.use_client(online.link.control());
        }
        return Ok(());
    }
    let state = online.session.state().ok().cloned();
    let name = |id: NodeId| {
        let member = state.as_ref().and_then(|s| s.members().get(&id).map(|m| m.name.to_string()));
        member.unwrap_or_else(|| id.short())
    };
    match online.link.find(ticket.fleet, &known).await {
        Ok(reached) => {
            for (id, error) in &reached.skipped {
                online.admin.out.status(format!("skipped the coordinator {}: {error}", name(*id)));
            }
            for id in &reached.silent {
                online.admin.out.status(format!("skipped the coordinator {}: it did not answer at once", name(*id)));
            }
            online.session.use_client(online.link.control());
            Ok(())
        }
        Err(mut failed) => {
            if failed.is_empty() {
                return Ok(());
            }
            // One whose history is split sends everybody to another one. Where there is none it can still be read.
            let can_be_read =
                |(_, error): &(NodeId, SessionError)| matches!(error, SessionError::Denied(Denied::Unavailable(_)));
            if let Some(at) = failed.iter().position(can_be_read) {
                let (id, why) = failed.remove(at);
                for (id, error) in &failed {
                    online.admin.out.status(format!("skipped the coordinator {}: {error}", name(*id)));
                }
                online.admin.out.warning(format!("only the coordinator {} answers: {why}", name(id)));
                online.link.choose(id);
                online.session.use_client(online.link.control());
                return Ok(());
            }
            let (_, first) = failed.remove(0);
            for (id, error) in &failed {
                online.admin.out.status(format!("the coordinator {}: {error}", name(*id)));
            }
            told(Err(first))
        }
    }
}

/// One coordinator.
#[derive(Debug, Serialize)]
struct CoordinatorView {
    name: String,
    key: NodeId,
    /// Whether it orders the ledger: as a member of the group, or alone.
    orders: bool,
    /// Its place in the group, if coordinators order as one.
    group: Option<group::Place>,
    /// The newest entry that it has; nothing if it did not answer.
    head: Option<u64>,
    version: Option<String>,
    error: Option<String>,
    addrs: Vec<SocketAddr>,
    relay: Option<String>,
    since: u64,
}

#[derive(Debug, Serialize)]
struct ListView {
    head: u64,
    /// How the group stands, if coordinators order as one.
    group: Option<group::GroupView>,
    coordinators: Vec<CoordinatorView>,
}

impl View for ListView {
    const SCHEMA: &'static str = "flt.coordinators/1";

    fn text(&self, style: &Style) -> String {
        let mut table = Table::new(&["NAME", "ROLE", "ENTRY", "PLACE", "KEY"]);
        for c in &self.coordinators {
            let head = c.head.map_or_else(|| "no answer".to_owned(), |seq| seq.to_string());
            let place = c.addrs.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
            let role = match &c.group {
                Some(place) => place.to_string(),
                None if c.orders => "orders".into(),
                None => "follows".into(),
            };
            table.row([c.name.clone(), role, head, place, c.key.short()]);
        }
        match &self.group {
            Some(group) => format!("{}{group}\n", table.text(style)),
            None => table.text(style),
        }
    }
}

async fn list(admin: &Admin<'_>) -> anyhow::Result<Code> {
    let online = admin.online().await?;
    let listed = list_online(&online).await;
    online.close().await;
    admin.out.view(&listed?)?;
    Ok(Code::Done)
}

async fn list_online(online: &Online<'_>) -> anyhow::Result<ListView> {
    let state = online.state()?;
    let mut asked = JoinSet::new();
    let ticket = online.admin.ticket()?;
    online.link.learn(&coordinators(&ticket, Some(&state)));
    for (id, _) in state.with_role(Role::Coordinator) {
        let client = online.link.control_of(id);
        asked.spawn(async move { (id, tokio::time::timeout(HELLO_WITHIN, client.rpc(Hello)).await) });
    }
    let mut views: Vec<CoordinatorView> = state
        .with_role(Role::Coordinator)
        .map(|(id, member)| CoordinatorView {
            name: member.name.to_string(),
            key: id,
            orders: state.orderer() == id,
            group: None,
            head: None,
            version: None,
            error: None,
            addrs: member.place.as_ref().map(|p| p.addrs.clone()).unwrap_or_default(),
            relay: member.place.as_ref().and_then(|p| p.relay.as_ref()).map(|r| r.url.clone()),
            since: member.since,
        })
        .collect();
    while let Some(answer) = asked.join_next().await {
        let Ok((id, answer)) = answer else { continue };
        let Some(view) = views.iter_mut().find(|v| v.key == id) else { continue };
        match answer {
            Ok(Ok(Ok(welcome))) => {
                view.head = Some(welcome.head.seq);
                view.version = Some(welcome.version);
            }
            Ok(Ok(Err(denied))) => view.error = Some(denied.to_string()),
            Ok(Err(error)) => view.error = Some(scores::chain(&error)),
            Err(_) => view.error = Some(format!("no answer in {} seconds", HELLO_WITHIN.as_secs())),
        }
    }
    views.sort_by(|a, b| a.name.cmp(&b.name));
    let status = group::status(online, &state).await;
    if let Some(status) = &status {
        for view in &mut views {
            view.group = group::place(status, view.key);
            view.orders = view.group.is_some();
        }
    }
    let group = status.map(|status| group::GroupView::new(&status, &state));
    Ok(ListView { head: state.head().seq, group, coordinators: views })
}

async fn appoint(args: &AppointArgs, online: &mut Online<'_>) -> anyhow::Result<Code> {
    let state = online.state()?;
    let coordinator = coordinator(&state, &args.who)?;
    if state.orderer() == coordinator {
        return Err(anyhow!("`{}` orders the ledger already", args.who)).hint("see them: flt admin coordinator list");
    }
    // It takes over by itself if the other one is gone; so the entry goes to it. What it lacks it would say.
    if !args.dry_run {
        let client = online.link.control_of(coordinator);
        let answered = tokio::time::timeout(HELLO_WITHIN, client.rpc(Hello)).await;
        if !matches!(answered, Ok(Ok(Ok(_)))) {
            return Err(anyhow!("`{}` does not answer, so it cannot order the ledger", args.who))
                .hint("start it first; see them: flt admin coordinator list");
        }
        online.session.use_client(client);
        told(online.session.sync().await.map(drop))?;
    }
    online.enter(Body::Appoint(Appoint { coordinator }), args.dry_run).await?;
    Ok(Code::Done)
}

async fn retire(args: &RetireArgs, online: &mut Online<'_>) -> anyhow::Result<Code> {
    let state = online.state()?;
    let key = coordinator(&state, &args.who)?;
    if state.orderer() == key {
        return Err(anyhow!("`{}` orders the ledger", args.who))
            .hint("let another one order first: flt admin coordinator appoint NAME");
    }
    if !args.dry_run {
        let question = format!("This ends the membership of the coordinator {}, for good.", args.who);
        online.admin.out.confirm_name(&question, &args.who, args.yes)?;
    }
    let revoke = Revoke { key, reason: args.reason.clone(), compromised_since: None };
    online.enter(Body::Revoke(revoke), args.dry_run).await?;
    Ok(Code::Done)
}

async fn move_to(args: &PlaceArgs, online: &mut Online<'_>) -> anyhow::Result<Code> {
    let state = online.state()?;
    let coordinator = coordinator(&state, &args.who)?;
    let known = state.members().get(&coordinator).and_then(|m| m.place.as_ref()).and_then(|p| p.relay.clone());
    let relay = match &args.relay {
        Some(url) => Some(RelayPin { url: url.clone(), ca: None, quic_port: None }),
        None => known,
    };
    let place = PlaceBody { coordinator, addrs: args.addr.clone(), relay };
    online.enter(Body::Place(place), args.dry_run).await?;
    Ok(Code::Done)
}

#[derive(Debug, Serialize)]
struct TicketView {
    ticket: String,
    coordinators: Vec<String>,
}

impl View for TicketView {
    const SCHEMA: &'static str = "flt.coordinator-ticket/1";

    fn text(&self, _: &Style) -> String {
        format!("{}\n", self.ticket)
    }
}

async fn ticket(admin: &Admin<'_>) -> anyhow::Result<Code> {
    let online = admin.online().await?;
    let ticket = told(online.session.fleet_ticket().await);
    online.close().await;
    let ticket = ticket?;
    if !admin.config.ticket_path().exists() || admin.workspace.ticket().is_ok() {
        admin.workspace.set_ticket(&ticket).context("cannot store the ticket")?;
    }
    admin.out.view(&TicketView {
        coordinators: ticket.coordinators.iter().map(|c| c.id.to_string()).collect(),
        ticket: ticket.to_string(),
    })?;
    Ok(Code::Done)
}

/// The coordinator that a person means by a name or a key.
fn coordinator(state: &FleetState, who: &str) -> anyhow::Result<NodeId> {
    let named = state.member_named(who).map(|(key, _)| key).or_else(|| parse_public(who).ok());
    match named {
        Some(key) if state.is_coordinator(key) => Ok(key),
        Some(_) => Err(usage(format!("`{who}` is no coordinator"), "see them: flt admin coordinator list")),
        None => {
            Err(anyhow!("no coordinator of this fleet is called `{who}`")).hint("see them: flt admin coordinator list")
        }
    }
}

fn parse_key(text: &str) -> Result<NodeId, String> {
    parse_public(text).map_err(|_| "expected a public key: 64 hex digits, or `ssh-ed25519 ...`".to_owned())
}
