//! The log: lines for people on a terminal, JSON for journals; on stderr.

use std::io::IsTerminal as _;

use anyhow::Context as _;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::FmtSpan;

use super::Settings;
use crate::config::Env;
use crate::report::{Advise as _, Code};

/// Libraries that tell of their inner life in words that worry people: iroh-docs warns of every sync that ends as syncs
/// do, and openraft of every member that is away, several times a second. What matters of it is reported in our own words. A filter that names them comes after this and wins.
const QUIETED: &str = "iroh=error,iroh_docs=error,iroh_gossip=error,iroh_blobs=error,iroh_relay=error,noq=error,\
    noq_proto=error,noq_udp=error,swarm_discovery=error,hyper=error,hickory_resolver=error,openraft=error,\
    openraft::replication=off";

/// How the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Human,
    Json,
}

/// Starts a daemon's log.
///
/// # Errors
/// If the filter or the format cannot be understood.
pub(crate) fn for_daemons(settings: &Settings, env: &Env) -> anyhow::Result<()> {
    let filter = match (env.get("FLT_LOG"), settings.verbose) {
        (Some(text), _) => text.to_owned(),
        (None, 0) => settings.log.clone(),
        (None, more) => verbose(more).to_owned(),
    };
    let filter = EnvFilter::try_new(format!("{QUIETED},{filter}"))
        .with_context(|| format!("cannot understand the log filter `{filter}`"))
        .hint("write it like `info` or `info,mesh=debug`")
        .code(Code::Config)?;
    let format = match env.get("FLT_LOG_FORMAT") {
        Some("json") => Format::Json,
        Some("human") => Format::Human,
        Some(other) => {
            return Err(anyhow::anyhow!("FLT_LOG_FORMAT is `{other}`, and may be `human` or `json`"))
                .code(Code::Config);
        }
        None => by_surroundings(env),
    };
    start(filter, format);
    Ok(())
}

/// Starts the log of a command: warnings of our own, and more with `-v`.
pub(crate) fn for_commands(verbosity: u8, env: &Env) {
    let asked = env.get("FLT_LOG").filter(|_| verbosity == 0);
    let filter = asked.unwrap_or_else(|| verbose(verbosity));
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("error"));
    start(filter, Format::Human);
}

fn start(filter: EnvFilter, format: Format) {
    let builder =
        tracing_subscriber::fmt().with_env_filter(filter).with_span_events(FmtSpan::NONE).with_writer(std::io::stderr);
    let colour = std::io::stderr().is_terminal();
    // There is one log per process; tests start more than one daemon in theirs.
    let started = match format {
        Format::Human => builder.with_ansi(colour).try_init(),
        Format::Json => builder.json().flatten_event(true).try_init(),
    };
    drop(started);
}

fn by_surroundings(env: &Env) -> Format {
    // systemd sets it for units whose stderr goes to the journal.
    let journal = env.get("JOURNAL_STREAM").is_some() && !std::io::stderr().is_terminal();
    if journal { Format::Json } else { Format::Human }
}

const fn verbose(verbosity: u8) -> &'static str {
    match verbosity {
        // What the network library calls an error is often a peer that went away, or our own end.
        0 => "error,iroh=off",
        1 => "info",
        2 => "info,flt=debug,mesh=debug,agent=debug,coordinator=debug,admin=debug,scores=debug,devices=debug",
        _ => "debug",
    }
}
