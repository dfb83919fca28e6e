//! `flt admin plan`: what applying a fleet file would change.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use admin::changes::{Action, Changes, Finding, Options, Prune, Severity, Sign};
use admin::fleetfile::{FILE_BYTES_MAX, FleetFile, Format};
use admin::secrets::News;
use anyhow::{Context as _, anyhow};
use clap::{Args, ValueEnum};
use protocols::facts::StableFacts;
use protocols::record::FACTS_STABLE;
use protocols::{FleetState, NodeId};
use serde::Serialize;

use super::context::{Admin, Online, told};
use super::preview::{self, NodeSteps};
use super::resolver::ThisMachine;
use super::secrets::{self, ValueArgs};
use crate::compose;
use crate::output::{Style, View};
use crate::report::{Advise as _, Code};

/// What a plan is made of.
#[derive(Debug, Args)]
pub(crate) struct FileArgs {
    /// The fleet file: TOML or JSON, or `-` for stdin
    pub(super) file: PathBuf,
    /// Withdraw what the file does not hold: of its groups, or of all
    #[arg(long, value_name = "WHAT", num_args = 0..=1, default_missing_value = "groups", require_equals = true)]
    prune: Option<PruneArg>,
    /// Allow selectors that match no node yet
    #[arg(long)]
    allow_empty: bool,
    #[command(flatten)]
    secrets: ValueArgs,
}

/// What `--prune` withdraws.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum PruneArg {
    /// Declarations of the file's groups
    Groups,
    /// Every declaration of the fleet
    All,
}

/// `flt admin plan`.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Examples:\n  flt admin plan fleet.toml\n  flt admin plan fleet.toml --preview\n  flt admin plan fleet.toml --exit-code || echo 'something would change'"
)]
pub(crate) struct PlanArgs {
    #[command(flatten)]
    file: FileArgs,
    /// End with exit code 3 if something would change
    #[arg(long)]
    exit_code: bool,
    /// Ask the nodes that are online which steps they would take
    #[arg(long)]
    preview: bool,
}

/// A plan, printed.
#[derive(Debug, Serialize)]
pub(super) struct PlanView<'a> {
    #[serde(flatten)]
    pub(super) plan: &'a Changes,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) preview: Vec<NodeSteps>,
}

impl View for PlanView<'_> {
    const SCHEMA: &'static str = "flt.plan/1";

    fn text(&self, _style: &Style) -> String {
        use std::fmt::Write as _;
        let mut text = String::new();
        for change in self.plan.changes.iter().filter(|change| change.action != Action::Unchanged) {
            let sign = match change.action {
                Action::Create => '+',
                Action::Withdraw => '-',
                Action::Update | Action::Unchanged => '~',
            };
            let names: Vec<&str> = change.targets.iter().take(NAMES_MAX).map(protocols::Name::as_str).collect();
            let more = change.targets.len().saturating_sub(NAMES_MAX);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            let count = change.targets.len();
            let nodes = if count == 1 { "node" } else { "nodes" };
            let list = if names.is_empty() { String::new() } else { format!(": {}{more}", names.join(", ")) };
            // Writing into a text cannot fail.
            let _infallible = writeln!(text, "{sign} {} ({}) on {count} {nodes}{list}", change.name, change.kind);
            for line in &change.diff {
                let sign = match line.sign {
                    Sign::Add => '+',
                    Sign::Remove => '-',
                    Sign::Keep => ' ',
                };
                let _infallible = writeln!(text, "    {sign} {}", line.text);
            }
            for used in change.secrets.iter().filter(|used| used.news != News::Unchanged) {
                let _infallible = writeln!(text, "    {used}");
            }
        }
        for node in &self.preview {
            let _infallible = writeln!(text, "{}", node.heading());
            for step in &node.steps {
                let _infallible = writeln!(text, "    {step}");
            }
        }
        let counts: Vec<String> =
            self.plan.counts().iter().map(|(action, n)| format!("{n} {}", done(*action))).collect();
        let _infallible = writeln!(text, "{} (against entry {})", counts.join(", "), self.plan.against.seq);
        text
    }
}

const fn done(action: Action) -> &'static str {
    match action {
        Action::Create => "to create",
        Action::Update => "to update",
        Action::Withdraw => "to withdraw",
        Action::Unchanged => "unchanged",
    }
}

pub(super) async fn run(args: PlanArgs, admin: &Admin<'_>) -> anyhow::Result<Code> {
    let file = read(&args.file.file)?;
    let mut online = admin.online().await?;
    let result = run_online(&args, &file, &mut online).await;
    online.close().await;
    result
}

async fn run_online(args: &PlanArgs, file: &FleetFile, online: &mut Online<'_>) -> anyhow::Result<Code> {
    let state = online.state()?;
    let plan = make(&args.file, file, &state, online, false).await?;
    let steps = if args.preview { preview::ask(&plan, &state, online).await? } else { Vec::new() };
    online.admin.out.view(&PlanView { plan: &plan, preview: steps })?;
    judge(&plan, online)?;
    if !plan.is_empty() {
        online.admin.out.hint(format!("apply it: flt admin apply {}", args.file.file.display()));
        if args.exit_code {
            return Ok(Code::Changes);
        }
    }
    Ok(Code::Done)
}

/// Reads a fleet file.
pub(super) fn read(path: &Path) -> anyhow::Result<FleetFile> {
    let name = path.display().to_string();
    let mut text = String::new();
    let most = FILE_BYTES_MAX as u64 + 1;
    let read = if name == "-" {
        std::io::stdin().lock().take(most).read_to_string(&mut text)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(most).read_to_string(&mut text))
    };
    read.with_context(|| format!("cannot read the fleet file {name}"))?;
    let shown = if name == "-" { "<stdin>" } else { name.as_str() };
    let file = FleetFile::read(shown, &text, Format::guess(&name, &text), &scores::catalogue())?;
    Ok(file)
}

/// Makes the plan. `asks` says whether it is going to be applied, so that secrets that nobody knows are asked for.
pub(super) async fn make(
    args: &FileArgs,
    file: &FleetFile,
    state: &FleetState,
    online: &Online<'_>,
    asks: bool,
) -> anyhow::Result<Changes> {
    file.check_fleet(state.name())?;
    let base =
        if args.file.as_os_str() == "-" { Path::new("") } else { args.file.parent().unwrap_or_else(|| Path::new("")) };
    let catalogue = scores::catalogue();
    let mut sealer = secrets::sealer(state, online, &catalogue);
    let named = file.secrets();
    args.secrets.give(&mut sealer, &secrets::names(&named), args.file.as_os_str() == "-", online.admin.out)?;
    if asks {
        secrets::ask_for(sealer.unknown(&named), &mut sealer, online.admin.out)?;
    } else {
        sealer.pretend();
    }
    let wanted = {
        let progress = online.admin.out.progress("Reading what the file names");
        let key = online.session.author().key().clone();
        let mut machine = ThisMachine::new(base, key, online.admin.workspace.dir(), sealer, &progress);
        file.resolve(&catalogue, &mut machine)?
    };
    let facts: BTreeMap<NodeId, StableFacts> = told(online.session.reports(&[], FACTS_STABLE).await)?
        .into_iter()
        .filter_map(|report| Some((report.node, report.stable?)))
        .collect();
    let prune = match args.prune {
        None => Prune::Nothing,
        Some(PruneArg::Groups) => Prune::Groups,
        Some(PruneArg::All) => Prune::Everything,
    };
    let options = Options { prune, allow_empty: args.allow_empty };
    Ok(Changes::plan(state, wanted, file.groups(), &facts, options))
}

/// Prints what is wrong with a plan; fails if it must not be applied.
pub(super) fn judge(plan: &Changes, online: &Online<'_>) -> anyhow::Result<()> {
    let state = online.state()?;
    for finding in plan.findings.iter().filter(|finding| finding.severity == Severity::Warning) {
        online.admin.out.warning(format!("{}: {}", finding.name, finding.what));
    }
    let errors: Vec<&Finding> = plan.findings.iter().filter(|finding| finding.severity == Severity::Error).collect();
    if let Some(first) = errors.first() {
        let lines: Vec<String> = errors.iter().map(|finding| format!("{}: {}", finding.name, finding.what)).collect();
        let error = anyhow!("the file cannot be applied:\n{}", lines.join("\n"));
        return match &first.hint {
            Some(hint) => Err(error).hint(hint),
            None => Err(error),
        };
    }
    let intents = plan.intents();
    let bodies: Vec<_> = intents.iter().map(|(_, intent)| intent.clone()).collect();
    match online.session.author().rehearse(&state, &bodies, compose::now()) {
        Ok(_) => Ok(()),
        Err((at, error)) => {
            let name = intents.get(at).map(|(name, _)| name.to_string()).unwrap_or_default();
            Err(error).with_context(|| format!("`{name}` cannot be entered"))
        }
    }
}

/// The most node names in one line.
const NAMES_MAX: usize = 6;
