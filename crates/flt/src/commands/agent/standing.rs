//! `flt agent status` and `flt agent resolve`: how a node stands to the ledger, and how it goes on after a split history.

use std::io::Read as _;
use std::path::PathBuf;
use std::sync::Arc;

use agent::Resolution;
use anyhow::{Context as _, anyhow};
use clap::Args;
use protocols::standing::{STANDING_FILE, Standing};
use protocols::store::Store;
use protocols::{Millis, SecretKey};
use serde::Serialize;
use toml::Value;

use crate::app::App;
use crate::compose::now;
use crate::config::{Flag, path_value};
use crate::output::{Style, View, format};
use crate::report::{Advise as _, Code};

/// The largest status file, in bytes.
const STATUS_BYTES_MAX: u64 = 64 * 1024;
/// A status file that is older than this is of an agent that does not run, in seconds.
const STALE_SECONDS: u64 = 120;

/// `flt agent status`.
#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// Of the agent whose folder this is
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

/// `flt agent resolve`.
#[derive(Debug, Args)]
pub(crate) struct ResolveArgs {
    /// Of the agent whose folder this is
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Use this key; without it, the one in the data folder
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// Go on with the history that is here
    #[arg(long, conflicts_with = "rejoin", required_unless_present = "rejoin")]
    keep: bool,
    /// Drop the history that is here, and take the one that a coordinator gives
    #[arg(long)]
    rejoin: bool,
    /// Write the evidence into this file first
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
}

#[derive(Debug, Serialize)]
struct StatusView {
    /// Whether the agent wrote it lately.
    current: bool,
    age_seconds: u64,
    /// How many entries are missing that are known to exist.
    behind: u64,
    #[serde(flatten)]
    standing: Standing,
}

impl View for StatusView {
    const SCHEMA: &'static str = "flt.agent-status/1";

    fn text(&self, _style: &Style) -> String {
        let Standing { at, head, newest, behind_since, coordinator_at, peer_at, unsure, .. } = &self.standing;
        let ago = |then: &Option<Millis>| {
            then.map_or_else(|| "not since the start".to_owned(), |then| format!("{} ago", format::age(at.since(then))))
        };
        let entry = |entry: &Option<u64>| entry.map_or_else(|| "none".to_owned(), |n| n.to_string());
        let mut text = format!("entry        {}\n", entry(head));
        text.push_str(&format!("newest known {}\n", entry(newest)));
        text.push_str(&format!("coordinator  {}\n", ago(coordinator_at)));
        text.push_str(&format!("other agents {}\n", ago(peer_at)));
        if let Some(since) = behind_since {
            text.push_str(&format!("BEHIND       {} entries, for {}\n", self.behind, format::age(at.since(*since))));
        }
        if *unsure {
            text.push_str(
                "UNSURE       nobody was heard for so long that this node cannot know whether it has the newest\n",
            );
        }
        if let Some(why) = &self.standing.withheld {
            text.push_str(&format!("WITHHELD     {why}\n"));
        }
        if let Some(why) = &self.standing.refuses {
            text.push_str(&format!("STOPPED      takes no more entries: {why}\n"));
        }
        if self.standing.suspicious > 0 {
            text.push_str(&format!("SUSPICIOUS   {} signed heads that lead nowhere\n", self.standing.suspicious));
        }
        if !self.current {
            let age = format::age(std::time::Duration::from_secs(self.age_seconds));
            text.push_str(&format!("this was {age} ago: the agent does not run\n"));
        }
        text
    }
}

pub(super) fn status(args: StatusArgs, app: &App) -> anyhow::Result<Code> {
    let config = super::typed(data_flag(&args.data), app)?;
    let path = config.data.join(STANDING_FILE);
    let mut text = String::new();
    let read = std::fs::File::open(&path).and_then(|file| file.take(STATUS_BYTES_MAX).read_to_string(&mut text));
    read.with_context(|| format!("cannot read {}", path.display()))
        .hint("name the agent's folder, --data DIR, and read it as the user that the agent runs as")?;
    let standing: Standing =
        serde_json::from_str(&text).with_context(|| format!("{} is not an agent's status", path.display()))?;
    let age_seconds = now().since(standing.at).as_secs();
    let behind = standing.newest.unwrap_or(0).saturating_sub(standing.head.unwrap_or(0));
    let well = standing.refuses.is_none();
    app.out.view(&StatusView { current: age_seconds <= STALE_SECONDS, age_seconds, behind, standing })?;
    if !well {
        app.out.hint("look at what everybody has: flt admin verify --fork; then decide: flt agent resolve");
    }
    Ok(Code::Done)
}

#[derive(Debug, Serialize)]
struct ResolvedView {
    /// What is gone on with.
    with: &'static str,
    why: Option<String>,
    saved: Option<String>,
}

impl View for ResolvedView {
    const SCHEMA: &'static str = "flt.agent-resolved/1";

    fn text(&self, _style: &Style) -> String {
        let why = self.why.as_deref().unwrap_or("the node had not stopped");
        format!("was: {why}\nnow: it goes on with {} at its next start\n", self.with)
    }
}

pub(super) fn resolve(args: ResolveArgs, app: &App) -> anyhow::Result<Code> {
    let mut flags = data_flag(&args.data);
    if let Some(file) = &args.key_file {
        flags.push(("--key-file", "key-file", path_value(file)));
    }
    let config = super::typed(flags, app)?;
    let path = config.key_path();
    let key = SecretKey::read(&path, || {
        app.out.passphrase(&format!("Passphrase of {}: ", path.display())).map(|p| p.as_str().to_owned())
    });
    let key = key.with_context(|| format!("cannot use the key {}", path.display()))?;
    if !config.data.is_dir() {
        return Err(anyhow!("there is no folder {}", config.data.display()))
            .hint("name the agent's folder: --data DIR");
    }
    let store = Store::open(&config.data).context("cannot open the agent's folder");
    let store = Arc::new(store.hint("stop the agent first")?);
    if let Some(file) = &args.save {
        let evidence = agent::evidence(&store).context("cannot read the evidence")?;
        let evidence = evidence.ok_or_else(|| anyhow!("this node has no evidence of a split history"))?;
        let json = evidence.to_json().context("cannot write the evidence")?;
        std::fs::write(file, json).with_context(|| format!("cannot write {}", file.display()))?;
    }
    let how = if args.rejoin { Resolution::Rejoin } else { Resolution::Keep };
    let resolved = agent::resolve(&store, key, how)?;
    app.out.view(&ResolvedView {
        with: if args.rejoin { "the history that a coordinator gives" } else { "the history that is here" },
        why: resolved.why,
        saved: args.save.map(|file| file.display().to_string()),
    })?;
    Ok(Code::Done)
}

fn data_flag(data: &Option<PathBuf>) -> Vec<Flag> {
    let value: Option<Value> = data.as_deref().map(path_value);
    value.into_iter().map(|value| ("--data", "data", value)).collect()
}

pub(super) const STATUS_EXAMPLES: &str = "\
Examples:
  flt agent status --data /var/lib/flotilla/agent
  flt agent status --json";

pub(super) const RESOLVE_EXAMPLES: &str = "\
A node that has evidence of a split history takes no more entries. It goes on by itself once an admin has taken the
accused coordinator away (flt admin revoke). Where that is not the answer, somebody has to say which history counts.

Examples:
  flt agent resolve --data /var/lib/flotilla/agent --keep
  flt agent resolve --data /var/lib/flotilla/agent --rejoin --save fork.json";
