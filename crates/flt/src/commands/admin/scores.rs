//! `flt admin score`: what is declared, and ending it.

use std::time::Duration;

use admin::view::{ScoreRow, ScoreView};
use anyhow::anyhow;
use clap::Args;
use protocols::entry::Withdraw;
use protocols::state::Declaration;
use protocols::{Body, DeclarationName, FleetState};
use serde::Serialize;

use super::context::{Admin, Online};
use super::status::reports;
use crate::compose;
use crate::config::nearest;
use crate::output::{Style, Table, View, format};
use crate::report::{Advise as _, Code};

/// A command about one declaration.
#[derive(Debug, Args)]
pub(crate) struct ScoreArgs {
    /// The declaration's name, `group/name`
    name: DeclarationName,
}

/// `flt admin score withdraw`.
#[derive(Debug, Args)]
pub(crate) struct WithdrawArgs {
    /// The declaration's name, `group/name`
    name: DeclarationName,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// Only show what would be entered
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Serialize)]
struct Scores {
    scores: Vec<ScoreRow>,
}

impl View for Scores {
    const SCHEMA: &'static str = "flt.scores/1";

    fn text(&self, style: &Style) -> String {
        table(&self.scores, style)
    }
}

/// The table of declarations.
pub(super) fn table(scores: &[ScoreRow], style: &Style) -> String {
    let mut table = Table::new(&["NAME", "KIND", "ON", "NODES", "CONVERGED", "FAILING", "ENTRY", "AGE"]);
    for score in scores {
        table.row([
            score.name.to_string(),
            score.kind.to_string(),
            score.on.to_string(),
            score.nodes.to_string(),
            score.converged.to_string(),
            score.failing.to_string(),
            score.generation.to_string(),
            format::age(Duration::from_secs(score.age_seconds)),
        ]);
    }
    table.text(style)
}

pub(super) async fn list(admin: &Admin<'_>) -> anyhow::Result<Code> {
    let online = admin.online().await?;
    let result = async {
        let reports = reports(&online, &[]).await?;
        Ok(ScoreRow::all(&*online.state()?, &reports, compose::now()))
    };
    let result: anyhow::Result<Vec<ScoreRow>> = result.await;
    online.close().await;
    admin.out.view(&Scores { scores: result? })?;
    Ok(Code::Done)
}

#[derive(Debug, Serialize)]
struct Shown(ScoreView);

impl View for Shown {
    const SCHEMA: &'static str = "flt.score/1";

    fn text(&self, style: &Style) -> String {
        let view = &self.0;
        let row = &view.row;
        let lines = [
            ("name", row.name.to_string()),
            ("kind", row.kind.to_string()),
            ("governs", row.subject.to_string()),
            ("on", row.on.to_string()),
            ("entry", format!("{} by {} at {}", row.generation, row.author, format::moment(protocols::Millis(row.at)))),
            ("note", row.note.clone().unwrap_or_default()),
            ("checks", view.policy.checks.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")),
        ];
        let shown = lines.iter().filter(|(_, value)| !value.is_empty());
        let mut text: String = shown.map(|(name, value)| format!("{name:<8} {value}\n")).collect();
        let pretty = serde_json::from_str::<serde_json::Value>(view.payload.get());
        let pretty = pretty.and_then(|value| serde_json::to_string_pretty(&value));
        text.push_str(&format!("\n{}\n\n", pretty.unwrap_or_else(|_| view.payload.get().to_owned())));
        let mut table = Table::new(&["NODE", "STATE", "ONLINE", "MESSAGE"]);
        for target in &view.targets {
            let state = match (&target.shadowed_by, target.verdict) {
                (Some(by), _) => format!("{by} counts"),
                (None, Some(verdict)) => verdict.to_string(),
                (None, None) => "waiting".into(),
            };
            let online = if target.online { "yes" } else { "no" };
            table.row([target.name.to_string(), state, online.to_owned(), target.message.clone()]);
        }
        if !table.is_empty() {
            text.push_str(&table.text(style));
        }
        text
    }
}

pub(super) async fn show(args: ScoreArgs, admin: &Admin<'_>) -> anyhow::Result<Code> {
    let online = admin.online().await?;
    let result = show_online(&args, &online).await;
    online.close().await;
    admin.out.view(&Shown(result?))?;
    Ok(Code::Done)
}

async fn show_online(args: &ScoreArgs, online: &Online<'_>) -> anyhow::Result<ScoreView> {
    let state = online.state()?;
    find(&state, &args.name)?;
    let reports = reports(online, &[]).await?;
    ScoreView::new(&state, &args.name, &reports, compose::now())
        .ok_or_else(|| anyhow!("`{}` is not readable", args.name))
}

/// The declaration of a name.
pub(super) fn find<'s>(state: &'s FleetState, name: &DeclarationName) -> anyhow::Result<&'s Declaration> {
    if let Some(declaration) = state.declarations().get(name) {
        return Ok(declaration);
    }
    let names = state.declarations().keys().map(DeclarationName::as_str);
    let hint = match nearest(name.as_str(), names) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => "see what is declared: flt admin score list".into(),
    };
    Err(anyhow!("no declaration is named `{name}`")).hint(hint)
}

pub(super) async fn withdraw(args: WithdrawArgs, admin: &Admin<'_>) -> anyhow::Result<Code> {
    let mut online = admin.online().await?;
    let result = withdraw_online(&args, &mut online).await;
    online.close().await;
    result.map(|()| Code::Done)
}

async fn withdraw_online(args: &WithdrawArgs, online: &mut Online<'_>) -> anyhow::Result<()> {
    let state = online.state()?;
    let declaration = find(&state, &args.name)?;
    if !args.dry_run {
        let count = state.targets(declaration).count();
        let question = format!("This ends `{}`, which {count} node(s) play; they keep what they have.", args.name);
        online.admin.out.confirm_name(&question, args.name.as_str(), args.yes)?;
    }
    online.enter(Body::Withdraw(Withdraw { name: args.name.clone() }), args.dry_run).await
}
