//! Who may do what: asked of the ledger, and given.

use std::time::Duration;

use admin::author::Intent;
use admin::request::JoinRequest;
use admin::view::HolderRow;
use anyhow::anyhow;
use clap::Args;
use protocols::entry::{Grant, KindPattern, Verb};
use protocols::state::GrantRole;
use protocols::{Body, Millis, Name, NodeId, Selector};
use serde::Serialize;

use super::context::{Admin, Online, after, told, usage};
use super::history;
use super::members::parse_key;
use crate::compose;
use crate::output::{Style, Table, View, format};
use crate::report::{Advise as _, Code};

/// `flt admin who-can`.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Examples:\n  flt admin who-can publish\n  flt admin who-can publish 'nixos/*' --on role=db\n  flt admin who-can grant --json\n\nThe ledger answers: it is what the coordinator and every agent go by."
)]
pub(crate) struct WhoCanArgs {
    /// To do this: grant, enroll, publish, rollout, tunnel, exec, read
    verb: Verb,
    /// With these kinds of scores
    #[arg(default_value = "*")]
    kinds: KindPattern,
    /// On these nodes
    #[arg(long, value_name = "SELECTOR", default_value = "*")]
    on: Selector,
    /// Use the copy on this machine, without asking the coordinator
    #[arg(long)]
    offline: bool,
}

/// `flt admin grant`.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Examples:\n  flt admin grant --request fltreq1abc... --role operator\n  flt admin grant KEY --name ben --may publish,read --on 'role=web' --kinds 'files/*'\n  flt admin grant KEY --name pipeline --role ci --on role=web --kinds 'nixos/*' --expires 90d\n\nRoles: operator (all but grant), deployer (publish, rollout, read), auditor (read), ci (publish, read)."
)]
#[command(group(clap::ArgGroup::new("who").required(true).args(["key", "request"])))]
#[command(group(clap::ArgGroup::new("what").required(true).multiple(true).args(["role", "may"])))]
pub(crate) struct GrantArgs {
    /// The person's public key: 64 hex digits, or an OpenSSH public key
    #[arg(value_parser = parse_key)]
    key: Option<NodeId>,
    /// Approve this request, as `flt admin request` printed it
    #[arg(long, value_name = "REQUEST", value_parser = parse_request)]
    request: Option<JoinRequest>,
    /// Call the person so; as the request says if nothing is said
    #[arg(long, required_unless_present = "request")]
    name: Option<Name>,
    /// Allow what this role may: operator, deployer, auditor, ci
    #[arg(long)]
    role: Option<GrantRole>,
    /// Allow these: grant, enroll, publish, rollout, tunnel, exec, read
    #[arg(long, value_name = "VERBS", value_delimiter = ',')]
    may: Vec<Verb>,
    /// Allow it on these nodes
    #[arg(long, value_name = "SELECTOR", default_value = "*")]
    on: Selector,
    /// Allow it with these kinds of scores
    #[arg(long, value_name = "KINDS", default_value = "*", value_delimiter = ',')]
    kinds: Vec<KindPattern>,
    /// End it after this time
    #[arg(long, value_name = "SPAN", value_parser = format::parse_span)]
    expires: Option<Duration>,
    /// Only show what would be entered
    #[arg(long)]
    dry_run: bool,
}

fn parse_request(text: &str) -> Result<JoinRequest, String> {
    text.parse().map_err(|error: admin::BadText| error.to_string())
}

#[derive(Debug, Serialize)]
struct WhoCan {
    verb: Verb,
    kinds: KindPattern,
    on: Selector,
    head: u64,
    admins: Vec<HolderRow>,
}

impl View for WhoCan {
    const SCHEMA: &'static str = "flt.who-can/1";

    fn text(&self, style: &Style) -> String {
        let mut table = Table::new(&["NAME", "KEY", "COVERS", "THROUGH", "EXPIRES"]);
        for row in &self.admins {
            let through = if row.through.is_empty() { "founder".into() } else { row.through.join(" > ") };
            let expires = row.expires.map_or_else(|| "never".into(), |at| format::moment(Millis(at)));
            table.row([row.name.clone(), row.key.short(), row.covers.clone(), through, expires]);
        }
        if table.is_empty() { "nobody\n".into() } else { table.text(style) }
    }
}

pub(super) async fn who_can(args: WhoCanArgs, admin: &Admin<'_>) -> anyhow::Result<Code> {
    if !args.offline {
        history::fetch(admin).await?;
    }
    let state = admin.local_state()?;
    let admins = HolderRow::all(&state, args.verb, &args.kinds, &args.on, compose::now());
    let head = state.head().seq;
    admin.out.view(&WhoCan { verb: args.verb, kinds: args.kinds, on: args.on, head, admins })?;
    Ok(Code::Done)
}

/// A grant that was entered.
#[derive(Debug, Serialize)]
struct Granted {
    entry: u64,
    what: String,
    dry_run: bool,
    /// The ticket that a newcomer joins with.
    #[serde(skip_serializing_if = "Option::is_none")]
    ticket: Option<String>,
}

impl View for Granted {
    const SCHEMA: &'static str = "flt.entered/1";

    fn text(&self, _style: &Style) -> String {
        let Self { entry, what, dry_run, ticket } = self;
        let begin = if *dry_run { "would be entry" } else { "entry" };
        let ticket = ticket.as_ref().map(|ticket| format!("{ticket}\n")).unwrap_or_default();
        format!("{begin} {entry}: {what}\n{ticket}")
    }
}

pub(super) async fn grant(args: GrantArgs, admin: &Admin<'_>) -> anyhow::Result<Code> {
    let (Some(to), Some(name)) = (
        args.key.or_else(|| args.request.as_ref().map(JoinRequest::key)),
        args.name.or_else(|| args.request.as_ref().map(|request| request.name().clone())),
    ) else {
        return Err(usage("nobody is named", "name a key and its holder, or a request: flt admin grant --help"));
    };
    let verbs = args.role.iter().flat_map(|role| role.verbs().iter().copied()).chain(args.may).collect();
    let grant = Grant { to, name, verbs, on: args.on, kinds: args.kinds, expires: args.expires.map(after) };
    let mut online = admin.online().await?;
    let result = grant_online(grant, args.request.is_some(), args.dry_run, &mut online).await;
    online.close().await;
    result.map(|()| Code::Done)
}

async fn grant_online(grant: Grant, newcomer: bool, dry_run: bool, online: &mut Online<'_>) -> anyhow::Result<()> {
    let state = online.state()?;
    if let Some(known) = state.admins().get(&grant.to)
        && known.name != grant.name
    {
        let error = anyhow!("this key is that of the admin `{}` already", known.name);
        return Err(error).hint(format!("give it more rights under that name: --name {}", known.name));
    }
    // The ticket first: a newcomer who cannot be told where to go is of no use.
    let ticket = if newcomer { Some(told(online.session.fleet_ticket().await)?.to_string()) } else { None };
    let intent = Intent::Enter(Body::Grant(grant));
    let what = admin::race::summary(&intent.body(&state));
    let entry = if dry_run {
        online.session.author().sign(&state, &intent, compose::now())?.0.seq()
    } else {
        online.submit(&state, &intent).await?.entry.seq()
    };
    let ticket = ticket.filter(|_| !dry_run);
    let out = online.admin.out;
    out.view(&Granted { entry, what, dry_run, ticket: ticket.clone() })?;
    if ticket.is_some() {
        out.hint("send them the ticket, which is no secret; on their machine: flt admin join TICKET");
    }
    Ok(())
}
