//! Who belongs to the fleet: invite and enroll; and checkpoints.

use std::time::Duration;

use admin::author::Intent;
use clap::Args;
use protocols::entry::{Enroll, Invite, Role};
use protocols::key::parse_public;
use protocols::ticket::InviteSecret;
use protocols::{Body, Labels, Name, NodeId, SecretKey};
use serde::Serialize;

use super::context::{Admin, Online, after, told};
use crate::output::{Style, View, format};
use crate::report::Code;

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
    let wanted = Wanted {
        name: args.name,
        labels: args.label.into_iter().collect(),
        expires: args.expires,
        uses: args.uses,
        replaces: None,
        dry_run: args.dry_run,
    };
    invite_for(wanted, online).await
}

/// An invite in the making.
pub(super) struct Wanted {
    pub(super) name: Option<Name>,
    pub(super) labels: Labels,
    pub(super) expires: Duration,
    pub(super) uses: u32,
    /// The agent whose place its redeemer takes.
    pub(super) replaces: Option<NodeId>,
    pub(super) dry_run: bool,
}

/// Enters an invite and prints its ticket.
pub(super) async fn invite_for(args: Wanted, online: &mut Online<'_>) -> anyhow::Result<Code> {
    let secret = SecretKey::generate();
    let expires = after(args.expires);
    let replaced = args.replaces;
    let invite = Invite {
        invite: secret.id(),
        name: args.name.clone(),
        labels: args.labels,
        expires,
        uses: args.uses,
        replaces: args.replaces,
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
    if replaced.is_some() {
        out.status("When the new machine joins, the old one is cut off; until then it stays as it is.");
    }
    out.hint("on the node: flt agent run --join TICKET");
    Ok(Code::Done)
}

pub(super) async fn enroll(args: EnrollArgs, admin: &Admin<'_>) -> anyhow::Result<Code> {
    let role = if args.coordinator { Role::Coordinator } else { Role::Agent };
    let enroll =
        Enroll { key: args.key, name: args.name, role, labels: args.label.into_iter().collect(), replaces: None };
    enter(Body::Enroll(enroll), args.dry_run, admin).await
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

pub(super) fn parse_label(text: &str) -> Result<(Name, String), String> {
    let (key, value) = text.split_once('=').unwrap_or((text, ""));
    Ok((key.parse().map_err(|e: protocols::ids::BadId| e.to_string())?, value.to_owned()))
}

pub(super) fn parse_key(text: &str) -> Result<NodeId, String> {
    parse_public(text).map_err(|_| "expected a public key: 64 hex digits, or `ssh-ed25519 ...`".to_owned())
}
