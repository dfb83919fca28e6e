//! Who belongs to the fleet and who may do what: invite, enroll, grant, revoke; and checkpoints.

use std::time::Duration;

use admin::author::Intent;
use anyhow::{Context as _, anyhow};
use clap::Args;
use protocols::entry::{Enroll, Grant, Invite, KindPattern, Revoke, Role, Verb};
use protocols::key::parse_public;
use protocols::state::Refusal;
use protocols::ticket::InviteSecret;
use protocols::{Body, FleetState, Name, NodeId, SecretKey, Selector};
use serde::Serialize;

use super::context::{Admin, Online, after, told, usage};
use crate::output::{Style, View, format};
use crate::report::{Advise as _, Code};

/// `flt admin invite`.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Examples:\n  flt admin invite --label role=edge --label rack-3\n  flt admin invite --name hub --expires 1h\n\nThe ticket is a secret: who has it can join. It is printed on stdout and nowhere else."
)]
pub(crate) struct InviteArgs {
    /// Give the node this label: `role=edge`, or a bare tag
    #[arg(long, value_name = "LABEL", value_parser = parse_label)]
    label: Vec<(Name, String)>,
    /// Let the node take this name only
    #[arg(long)]
    name: Option<Name>,
    /// Let the ticket expire after this time
    #[arg(long, value_name = "SPAN", default_value = "24h", value_parser = format::parse_span)]
    expires: Duration,
    /// Let this many nodes join with it
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    uses: u32,
    /// Only show what would be entered
    #[arg(long)]
    dry_run: bool,
}

/// `flt admin enroll`.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Examples:\n  flt admin enroll \"$(cat /etc/ssh/ssh_host_ed25519_key.pub)\" --name edge-1 --label role=edge\n\nFor a key that is a member already, its name and labels become these."
)]
pub(crate) struct EnrollArgs {
    /// The node's public key: 64 hex digits, or an OpenSSH public key
    #[arg(value_parser = parse_key)]
    key: NodeId,
    /// Call the node so
    #[arg(long)]
    name: Name,
    /// Give the node this label: `role=edge`, or a bare tag
    #[arg(long, value_name = "LABEL", value_parser = parse_label)]
    label: Vec<(Name, String)>,
    /// Make it a coordinator instead of an agent
    #[arg(long)]
    coordinator: bool,
    /// Only show what would be entered
    #[arg(long)]
    dry_run: bool,
}

/// `flt admin grant`.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Examples:\n  flt admin grant KEY --name ben --may publish,read --on 'role=web' --kinds 'files/*'\n  flt admin grant KEY --name carla --may grant,enroll,publish,rollout,tunnel,exec,read"
)]
pub(crate) struct GrantArgs {
    /// The person's public key: 64 hex digits, or an OpenSSH public key
    #[arg(value_parser = parse_key)]
    key: NodeId,
    /// Call the person so
    #[arg(long)]
    name: Name,
    /// Allow these: grant, enroll, publish, rollout, tunnel, exec, read
    #[arg(long, value_name = "VERBS", required = true, value_delimiter = ',')]
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

/// `flt admin revoke`.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Examples:\n  flt admin revoke edge-7 --reason 'scrapped'\n  flt admin revoke KEY --reason 'key leaked' --yes"
)]
pub(crate) struct RevokeArgs {
    /// A node's or person's name, or any key: of a node, a person or an invite
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

/// `flt admin checkpoint`.
#[derive(Debug, Args)]
pub(crate) struct CheckpointArgs {
    /// Only show what would be entered
    #[arg(long)]
    dry_run: bool,
}

/// A ticket with an invite.
#[derive(Debug, Serialize)]
struct InviteView {
    ticket: String,
    invite: NodeId,
    expires: u64,
    uses: u32,
    entry: u64,
}

impl View for InviteView {
    const SCHEMA: &'static str = "flt.invite/1";

    fn text(&self, _style: &Style) -> String {
        format!("{}\n", self.ticket)
    }
}

pub(super) async fn invite(args: InviteArgs, admin: &Admin<'_>) -> anyhow::Result<Code> {
    let mut online = admin.online().await?;
    let result = invite_online(args, &mut online).await;
    online.close().await;
    result
}

async fn invite_online(args: InviteArgs, online: &mut Online<'_>) -> anyhow::Result<Code> {
    let secret = SecretKey::generate();
    let expires = after(args.expires);
    let invite = Invite {
        invite: secret.id(),
        name: args.name.clone(),
        labels: args.label.into_iter().collect(),
        expires,
        uses: args.uses,
        replaces: None,
    };
    if args.dry_run {
        online.enter(Body::Invite(invite), true).await?;
        return Ok(Code::Done);
    }
    // The ticket first: an invite that nobody can be told of is of no use.
    let mut ticket = told(online.session.fleet_ticket().await)?;
    let state = online.state()?;
    let entered = online.submit(&state, &Intent::Enter(Body::Invite(invite))).await?;
    ticket.invite = Some(InviteSecret::new(&secret, expires, args.name));
    let out = online.admin.out;
    out.view(&InviteView {
        ticket: ticket.to_string(),
        invite: secret.id(),
        expires: expires.0,
        uses: args.uses,
        entry: entered.entry.seq(),
    })?;
    let uses = if args.uses == 1 { "one node".to_owned() } else { format!("{} nodes", args.uses) };
    out.status(format!("The ticket lets {uses} join until {}; it is a secret.", format::moment(expires)));
    out.hint("on the node: flt agent run --join TICKET");
    Ok(Code::Done)
}

pub(super) async fn enroll(args: EnrollArgs, admin: &Admin<'_>) -> anyhow::Result<Code> {
    let role = if args.coordinator { Role::Coordinator } else { Role::Agent };
    let enroll =
        Enroll { key: args.key, name: args.name, role, labels: args.label.into_iter().collect(), replaces: None };
    enter(Body::Enroll(enroll), args.dry_run, admin).await
}

pub(super) async fn grant(args: GrantArgs, admin: &Admin<'_>) -> anyhow::Result<Code> {
    let grant = Grant {
        to: args.key,
        name: args.name,
        verbs: args.may.into_iter().collect(),
        on: args.on,
        kinds: args.kinds,
        expires: args.expires.map(after),
    };
    enter(Body::Grant(grant), args.dry_run, admin).await
}

pub(super) async fn checkpoint(args: CheckpointArgs, admin: &Admin<'_>) -> anyhow::Result<Code> {
    let mut online = admin.online().await?;
    let result = online.enter_intent(Intent::Checkpoint, args.dry_run).await;
    online.close().await;
    result.map(|()| Code::Done)
}

async fn enter(body: Body, dry_run: bool, admin: &Admin<'_>) -> anyhow::Result<Code> {
    let mut online = admin.online().await?;
    let result = online.enter(body, dry_run).await;
    online.close().await;
    result.map(|()| Code::Done)
}

pub(super) async fn revoke(args: RevokeArgs, admin: &Admin<'_>) -> anyhow::Result<Code> {
    let mut online = admin.online().await?;
    let result = revoke_online(args, &mut online).await;
    online.close().await;
    result
}

async fn revoke_online(args: RevokeArgs, online: &mut Online<'_>) -> anyhow::Result<Code> {
    let state = online.state()?;
    let (key, what) = find(&state, &args.who)?;
    let own = key == online.session.author().id();
    let body = Body::Revoke(Revoke { key, reason: args.reason, compromised_since: None });
    if !args.dry_run {
        let own = if own { " This is your own key: afterwards you can do nothing in this fleet." } else { "" };
        let question = format!("This ends the rights and the membership of {what}, for good.{own}");
        online.admin.out.confirm_name(&question, &args.who, args.yes)?;
    }
    online.enter(body, args.dry_run).await?;
    Ok(Code::Done)
}

/// Whom a person means by a name or a key.
fn find(state: &FleetState, who: &str) -> anyhow::Result<(NodeId, String)> {
    let member = state.member_named(who).map(|(key, m)| (key, format!("the {} `{}`", m.role, m.name)));
    let admin = state
        .admins()
        .iter()
        .find(|(_, a)| a.name.as_str() == who)
        .map(|(k, a)| (*k, format!("the admin `{}`", a.name)));
    match (member, admin) {
        (Some(_), Some(_)) => {
            return Err(usage(
                format!("both a node and an admin are called `{who}`"),
                "name the key instead: flt admin node list",
            ));
        }
        (Some(found), None) | (None, Some(found)) => return Ok(found),
        (None, None) => {}
    }
    let Ok(key) = parse_public(who) else {
        return Err(anyhow!("nobody in this fleet is called `{who}`")).hint("see the members: flt admin node list");
    };
    let what = if let Some(admin) = state.admins().get(&key) {
        format!("the admin `{}`", admin.name)
    } else if let Some(member) = state.members().get(&key) {
        format!("the {} `{}`", member.role, member.name)
    } else if state.invites().contains_key(&key) {
        format!("the invite {}", key.short())
    } else {
        return Err(Refusal::NoSuchKey(key)).context("cannot revoke it");
    };
    Ok((key, what))
}

fn parse_label(text: &str) -> Result<(Name, String), String> {
    let (key, value) = text.split_once('=').unwrap_or((text, ""));
    Ok((key.parse().map_err(|e: protocols::ids::BadId| e.to_string())?, value.to_owned()))
}

fn parse_key(text: &str) -> Result<NodeId, String> {
    parse_public(text).map_err(|_| "expected a public key: 64 hex digits, or `ssh-ed25519 ...`".to_owned())
}
