//! `flt admin revoke`: what a revocation takes away is shown before it is signed, and good versions come back after it.

use admin::author::Intent;
use admin::race;
use admin::void::{Loss, Repair, repairs};
use anyhow::{Context as _, anyhow};
use clap::Args;
use protocols::entry::{Publish, Revoke, VerifiedEntry};
use protocols::key::parse_public;
use protocols::state::Refusal;
use protocols::{Body, DeclarationName, FleetState, NodeId};
use serde::Serialize;

use super::context::{Admin, Online, usage};
use super::history;
use super::keys::Since;
use crate::compose;
use crate::output::{Style, View};
use crate::report::{Advise as _, Code};

/// `flt admin revoke`.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Examples:\n  flt admin revoke edge-7 --reason 'scrapped'\n  flt admin revoke ben --reason 'left' --dry-run\n  flt admin revoke ben --reason 'laptop stolen' --compromised-since 2026-03-01T12:00:00Z --restore\n  flt admin revoke ben --reason 'laptop stolen' --compromised-since 1207 --restore --yes\n\nWhat the key signed before stays. With --compromised-since, what it signed from there on is void: declarations end,\nrights given on end and with them what came of those, nodes let in are removed, nodes changed are put into quarantine."
)]
pub(crate) struct RevokeArgs {
    /// A node's or person's name, or any key: of a node, a person or an invite
    who: String,
    /// Say why, for the record
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Make void what the key signed from this entry or moment on: `1207`, `2026-03-01T12:00:00Z`, `2h`
    #[arg(long, value_name = "WHEN")]
    compromised_since: Option<Since>,
    /// Publish the last good version of each declaration that was spoilt again
    #[arg(long, requires = "compromised_since")]
    restore: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// Only show what would be entered
    #[arg(long)]
    dry_run: bool,
}

/// A revocation, and all that came of it.
#[derive(Debug, Serialize)]
struct Revoked {
    entry: u64,
    what: String,
    dry_run: bool,
    loss: Loss,
    repairs: Vec<Repair>,
    restored: Vec<Restored>,
}

/// A declaration that is as it was.
#[derive(Debug, Serialize)]
struct Restored {
    name: DeclarationName,
    /// The entry whose version it is.
    version: u64,
    /// The entry that published it again.
    entry: u64,
}

impl View for Revoked {
    const SCHEMA: &'static str = "flt.entered/1";

    fn text(&self, _style: &Style) -> String {
        let Self { entry, what, dry_run, .. } = self;
        let begin = if *dry_run { "would be entry" } else { "entry" };
        let mut text = format!("{begin} {entry}: {what}\n");
        if *dry_run {
            text.push_str(&lines(&self.loss, &self.repairs));
        }
        for one in &self.restored {
            text.push_str(&format!("{} restored from entry {} in entry {}\n", one.name, one.version, one.entry));
        }
        text
    }
}

/// What is lost, and what brings it back, as people read it.
fn lines(loss: &Loss, repairs: &[Repair]) -> String {
    let mut text: String = loss.lines().iter().map(|line| format!("  {line}\n")).collect();
    for repair in repairs {
        text.push_str(&format!("  entry {}: {}\n    {}\n", repair.entry, repair.what, repair.command));
    }
    text
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
    let entries = if args.compromised_since.is_some() { history::entries(online)? } else { Vec::new() };
    let since = args.compromised_since.map(|since| place(since, &entries, &state)).transpose()?;
    let intent = Intent::Enter(Body::Revoke(Revoke { key, reason: args.reason, compromised_since: since }));
    let (entry, after) = online
        .session
        .author()
        .sign(&state, &intent, compose::now())
        .map_err(|error| anyhow::Error::from(error).context(format!("cannot revoke {what}")))?;
    let loss = Loss::between(&state, &after);
    let repairs = since.map(|since| repairs(&entries, &state, &after, &[key], since)).unwrap_or_default();
    let out = online.admin.out;
    if args.dry_run {
        let (entry, what) = (entry.seq(), race::summary_in(&intent.body(&state), &state));
        out.view(&Revoked { entry, what, dry_run: true, loss, repairs, restored: Vec::new() })?;
        return Ok(Code::Done);
    }
    let own = if own { " This is your own key: afterwards you can do nothing in this fleet." } else { "" };
    let end = if state.revoked().contains_key(&key) {
        format!("The key of {what} is revoked already; this makes void what it signed.")
    } else {
        format!("This ends the rights and the membership of {what}, for good.{own}")
    };
    let shown = lines(&loss, &repairs);
    let question = if shown.is_empty() { end } else { format!("{end}\n{}", shown.trim_end()) };
    if args.yes {
        out.status(&question);
    }
    out.confirm_name(&question, &args.who, args.yes)?;
    let submitted = online.submit(&state, &intent).await?;
    online.admin.app.on_interrupt("the revocation is entered; what was not restored yet is not");
    let restored = if args.restore { restore(&repairs, online).await? } else { Vec::new() };
    let what = race::summary_in(&intent.body(&state), &state);
    let by_hand = repairs.iter().filter(|repair| !args.restore || repair.publish.is_none()).count();
    out.view(&Revoked { entry: submitted.entry.seq(), what, dry_run: false, loss, repairs, restored })?;
    if by_hand > 0 {
        out.hint("undo what is left with the commands above; each is for a person to decide");
    }
    Ok(Code::Done)
}

/// Publishes the last good versions again.
async fn restore(repairs: &[Repair], online: &mut Online<'_>) -> anyhow::Result<Vec<Restored>> {
    let mut restored = Vec::new();
    for (version, publish) in repairs.iter().filter_map(|repair| repair.publish.clone()) {
        let state = online.state()?;
        let name = publish.name.clone();
        let note = Some(format!("restored from entry {version}"));
        let intent = Intent::Enter(Body::Publish(Publish { note, ..publish }));
        let submitted = online.submit(&state, &intent).await.with_context(|| {
            format!("the key is revoked; cannot restore `{name}`, and {} were restored before it", restored.len())
        });
        let submitted = submitted.hint(format!("try it by hand: flt admin rollback {name} --to {version}"))?;
        restored.push(Restored { name, version, entry: submitted.entry.seq() });
    }
    Ok(restored)
}

/// The place in the ledger that a person means. Of a moment, the first entry after which the ledger's own clock, which
/// nobody can turn back, had passed it.
fn place(since: Since, entries: &[VerifiedEntry], state: &FleetState) -> anyhow::Result<u64> {
    let seq = match since {
        Since::Entry(seq) => seq,
        Since::At(at) => {
            let mut newest = 0;
            let mut first = None;
            for verified in entries {
                newest = newest.max(verified.entry().at.0);
                if newest >= at.0 {
                    first = Some(verified.seq().max(1));
                    break;
                }
            }
            first
                .ok_or_else(|| anyhow!("no entry is of then or later"))
                .hint(format!("the newest entry is {}: flt admin log --last 5", state.head().seq))?
        }
    };
    if seq == 0 || seq > state.head().seq {
        return Err(usage(
            format!("entry {seq} is no entry that could be void: the ledger has 1 to {}", state.head().seq),
            "see it: flt admin log",
        ));
    }
    Ok(seq)
}

/// Whom a person means by a name or a key.
pub(super) fn find(state: &FleetState, who: &str) -> anyhow::Result<(NodeId, String)> {
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
                "name the key instead: flt admin node list, flt admin who-can read",
            ));
        }
        (Some(found), None) | (None, Some(found)) => return Ok(found),
        (None, None) => {}
    }
    let Ok(key) = parse_public(who) else {
        return Err(anyhow!("nobody in this fleet is called `{who}`"))
            .hint("see the nodes: flt admin node list; and the admins: flt admin who-can read");
    };
    let what = if let Some(admin) = state.admins().get(&key) {
        format!("the admin `{}`", admin.name)
    } else if let Some(member) = state.members().get(&key) {
        format!("the {} `{}`", member.role, member.name)
    } else if state.invites().contains_key(&key) {
        format!("the invite {}", key.short())
    } else if state.revoked().contains_key(&key) {
        key.short()
    } else {
        return Err(Refusal::NoSuchKey(key)).context("cannot revoke it");
    };
    Ok((key, what))
}
