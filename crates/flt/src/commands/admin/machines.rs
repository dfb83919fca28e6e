//! The life of a node, as an admin steers it: renamed, relabelled, set apart, replaced, removed.

use std::time::Duration;

use admin::author::Intent;
use anyhow::anyhow;
use clap::Args;
use protocols::entry::{Enroll, Quarantine, Release, Revoke, Role};
use protocols::state::Member;
use protocols::{Body, FleetState, Labels, Name, NodeId};
use scores::failover::declared;

use super::context::{Admin, Online, usage};
use super::failover;
use super::members::{self, parse_key, parse_label};
use super::nodes::find;
use crate::compose;
use crate::output::format;
use crate::report::{Advise as _, Code};

/// `flt admin node rename`.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  flt admin node rename edge-1 edge-berlin-1")]
pub(crate) struct RenameArgs {
    /// The node's name
    name: String,
    /// Call it so from now on
    to: Name,
    /// Only show what would be entered
    #[arg(long)]
    dry_run: bool,
}

/// `flt admin node label`.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Examples:\n  flt admin node label edge-1 role=db rack-3\n  flt admin node label edge-1 role=db --remove rack-3 --dry-run"
)]
pub(crate) struct LabelArgs {
    /// The node's name
    name: String,
    /// Give it this label, or change it: `role=edge`, or a bare tag
    #[arg(value_name = "LABEL", value_parser = parse_label, required_unless_present = "remove")]
    labels: Vec<(Name, String)>,
    /// Take this label away
    #[arg(long, value_name = "LABEL")]
    remove: Vec<Name>,
    /// Only show what would be entered
    #[arg(long)]
    dry_run: bool,
}

/// `flt admin node remove`.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Examples:\n  flt admin node remove edge-1\n  flt admin node remove edge-1 --reason 'sold' --yes\n\nIt is cut off at once and keeps what it has; what it published stays in the record. Its key can never come back."
)]
pub(crate) struct RemoveArgs {
    /// The node's name
    name: String,
    /// Say why, for the record
    #[arg(long, value_name = "TEXT", default_value = "removed")]
    reason: String,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// Only show what would be entered
    #[arg(long)]
    dry_run: bool,
}

/// `flt admin node replace`.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Examples:\n  flt admin node replace edge-1\n  flt admin node replace edge-1 --key \"$(cat /etc/ssh/ssh_host_ed25519_key.pub)\" --yes\n\nPrints a ticket for the new machine. It takes name and labels of the old one, whose key is revoked when the new machine\njoins; with --key, at once."
)]
pub(crate) struct ReplaceArgs {
    /// The name of the node that goes
    name: String,
    /// The new machine's public key: 64 hex digits, or an OpenSSH public key
    #[arg(long, value_parser = parse_key)]
    key: Option<NodeId>,
    /// Let the ticket expire after this time
    #[arg(long, value_name = "SPAN", default_value = "24h", value_parser = format::parse_span, conflicts_with = "key")]
    expires: Duration,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// Only show what would be entered
    #[arg(long)]
    dry_run: bool,
}

/// `flt admin node quarantine`.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Examples:\n  flt admin node quarantine edge-1 --reason 'looks broken into'\n\nThe node stays connected and reports; it plays nothing and mends nothing until it is released."
)]
pub(crate) struct QuarantineArgs {
    /// The node's name
    name: String,
    /// Say why, for the record
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Only show what would be entered
    #[arg(long)]
    dry_run: bool,
}

/// `flt admin node release`.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  flt admin node release edge-1")]
pub(crate) struct ReleaseArgs {
    /// The node's name
    name: String,
    /// Only show what would be entered
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn rename(args: RenameArgs, admin: &Admin<'_>) -> anyhow::Result<Code> {
    let change = |_: &FleetState, _: NodeId, node: &Member| {
        if node.name == args.to {
            return Ok(None);
        }
        Ok(Some((args.to.clone(), node.labels.clone())))
    };
    change_node(&args.name, args.dry_run, admin, change).await
}

pub(super) async fn label(args: LabelArgs, admin: &Admin<'_>) -> anyhow::Result<Code> {
    let change = |_: &FleetState, _: NodeId, node: &Member| {
        let mut labels = node.labels.clone();
        for gone in &args.remove {
            if args.labels.iter().any(|(key, _)| key == gone) {
                return Err(usage(format!("the label `{gone}` is both given and removed"), "leave one of them out"));
            }
            if labels.remove(gone).is_none() {
                let has: Vec<&str> = node.labels.keys().map(Name::as_str).collect();
                return Err(anyhow!("`{}` has no label `{gone}`", node.name))
                    .hint(format!("it has: {}", if has.is_empty() { "none".into() } else { has.join(", ") }));
            }
        }
        labels.extend(args.labels.iter().cloned());
        Ok((labels != node.labels).then(|| (node.name.clone(), labels)))
    };
    change_node(&args.name, args.dry_run, admin, change).await
}

/// Enrolls a node anew under another name or with other labels, and says what counts for it from then on.
async fn change_node(
    name: &str,
    dry_run: bool,
    admin: &Admin<'_>,
    change: impl FnOnce(&FleetState, NodeId, &Member) -> anyhow::Result<Option<(Name, Labels)>>,
) -> anyhow::Result<Code> {
    admin.while_online(async |online| change_online(name, dry_run, online, change).await).await
}

async fn change_online(
    name: &str,
    dry_run: bool,
    online: &mut Online<'_>,
    change: impl FnOnce(&FleetState, NodeId, &Member) -> anyhow::Result<Option<(Name, Labels)>>,
) -> anyhow::Result<Code> {
    let state = online.state()?;
    let (key, node) = member(&state, name)?;
    let Some((new, labels)) = change(&state, key, node)? else {
        online.admin.out.status(format!("Nothing to change: `{}` is so already.", node.name));
        return Ok(Code::Done);
    };
    if node.quarantine.is_some() {
        // Enrolling it anew would release it, and nobody said so.
        return Err(anyhow!("`{}` is in quarantine, and would be released by this", node.name))
            .hint(format!("release it first: flt admin node release {}", node.name));
    }
    let enroll = Enroll { key, name: new, role: node.role, labels, replaces: None };
    let intent = Intent::Enter(Body::Enroll(enroll));
    let (_, after) = online.session.author().sign(&state, &intent, compose::now())?;
    for line in changes(&state, &after, key) {
        online.admin.out.status(line);
    }
    let unclear = declared(&state).unclear;
    for (cluster, why) in declared(&after).unclear.into_iter().filter(|(cluster, _)| !unclear.contains_key(cluster)) {
        online
            .admin
            .out
            .warning(format!("{cluster} goes on as it was, and its declaration is unclear from then on: {why}"));
    }
    online.enter_intent(intent, dry_run).await?;
    Ok(Code::Done)
}

/// What counts for a node from then on, and what no longer.
fn changes(before: &FleetState, after: &FleetState, node: NodeId) -> Vec<String> {
    let (was, is) = (before.desired(node), after.desired(node));
    let mut lines = Vec::new();
    for (subject, declaration) in &is {
        if was.get(subject).is_none_or(|old| old.generation != declaration.generation) {
            lines.push(format!("from then on `{}` counts for it", declaration.name));
        }
    }
    for (subject, declaration) in &was {
        if !is.contains_key(subject) {
            lines.push(format!("`{}` counts for it no longer; it keeps what it has", declaration.name));
        }
    }
    lines
}

/// A node by its name or key.
fn member<'a>(state: &'a FleetState, name: &str) -> anyhow::Result<(NodeId, &'a Member)> {
    let key = find(state, name)?;
    let member = state.members().get(&key).ok_or_else(|| anyhow!("`{name}` left the fleet just now"))?;
    Ok((key, member))
}

/// The same, and an agent.
fn agent<'a>(state: &'a FleetState, name: &str) -> anyhow::Result<(NodeId, &'a Member)> {
    let (key, node) = member(state, name)?;
    if node.role == Role::Coordinator {
        return Err(anyhow!("`{}` is a coordinator, and this is for agents", node.name))
            .hint("see what can be done with coordinators: flt admin coordinator --help");
    }
    Ok((key, node))
}

pub(super) async fn remove(args: RemoveArgs, admin: &Admin<'_>) -> anyhow::Result<Code> {
    admin.while_online(async |online| remove_online(args, online).await).await
}

async fn remove_online(args: RemoveArgs, online: &mut Online<'_>) -> anyhow::Result<Code> {
    let state = online.state()?;
    let (key, node) = agent(&state, &args.name)?;
    let body = Body::Revoke(Revoke { key, reason: args.reason, compromised_since: None });
    let intent = Intent::Enter(body);
    let (_, after) = online.session.author().sign(&state, &intent, compose::now())?;
    for line in failover::on_removal(key, &state, &after, online).await {
        online.admin.out.status(line);
    }
    if !args.dry_run {
        let question = format!(
            "This removes `{}`: it is cut off at once and keeps what it has; what it published stays in the record.",
            node.name
        );
        online.admin.out.confirm_name(&question, node.name.as_str(), args.yes)?;
    }
    online.enter_intent(intent, args.dry_run).await?;
    Ok(Code::Done)
}

pub(super) async fn replace(args: ReplaceArgs, admin: &Admin<'_>) -> anyhow::Result<Code> {
    admin.while_online(async |online| replace_online(args, online).await).await
}

async fn replace_online(args: ReplaceArgs, online: &mut Online<'_>) -> anyhow::Result<Code> {
    let state = online.state()?;
    let (old, node) = agent(&state, &args.name)?;
    for line in failover::on_replacement(old, &state, online).await {
        online.admin.out.warning(line);
    }
    let Some(key) = args.key else {
        let wanted = members::Wanted {
            name: Some(node.name.clone()),
            labels: node.labels.clone(),
            expires: args.expires,
            uses: 1,
            replaces: Some(old),
            dry_run: args.dry_run,
        };
        return members::invite_for(wanted, online).await;
    };
    if !args.dry_run {
        let question =
            format!("This gives the name `{}` to another key; the old machine is cut off at once.", node.name);
        online.admin.out.confirm_name(&question, node.name.as_str(), args.yes)?;
    }
    let (name, labels) = (node.name.clone(), node.labels.clone());
    let enroll = Enroll { key, name, role: Role::Agent, labels, replaces: Some(old) };
    online.enter(Body::Enroll(enroll), args.dry_run).await?;
    online
        .admin
        .out
        .hint("on the new machine, with a ticket that any agent of the fleet has: flt agent run --ticket-file FILE");
    Ok(Code::Done)
}

pub(super) async fn quarantine(args: QuarantineArgs, admin: &Admin<'_>) -> anyhow::Result<Code> {
    let body = |key| Body::Quarantine(Quarantine { key, reason: args.reason.clone() });
    set_apart(&args.name, args.dry_run, admin, body).await
}

pub(super) async fn release(args: ReleaseArgs, admin: &Admin<'_>) -> anyhow::Result<Code> {
    set_apart(&args.name, args.dry_run, admin, |key| Body::Release(Release { key })).await
}

async fn set_apart(
    name: &str,
    dry_run: bool,
    admin: &Admin<'_>,
    body: impl FnOnce(NodeId) -> Body,
) -> anyhow::Result<Code> {
    let set = async |online: &mut Online<'_>| {
        let state = online.state()?;
        let (key, node) = agent(&state, name)?;
        let body = body(key);
        match (&body, &node.quarantine) {
            (Body::Release(_), None) => {
                online.admin.out.status(format!("Nothing to change: `{}` is not in quarantine.", node.name));
                return Ok(Code::Done);
            }
            (Body::Quarantine(new), Some(old)) if new.reason == old.reason => {
                online.admin.out.status(format!("Nothing to change: `{}` is in quarantine already.", node.name));
                return Ok(Code::Done);
            }
            _ => {}
        }
        online.enter(body, dry_run).await?;
        Ok(Code::Done)
    };
    admin.while_online(set).await
}
