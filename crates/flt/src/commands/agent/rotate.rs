//! `flt agent rotate`: a new key for this node. The agent itself enters it and switches to it; for one that is two
//! processes, this command does, while they are stopped.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use admin::workspace::KeyFiles;
use anyhow::{Context as _, anyhow};
use clap::Args;
use protocols::{NodeId, SecretKey};
use serde::Serialize;
use toml::Value;

use crate::app::App;
use crate::config::{self, AgentConfig, Flag, path_value};
use crate::output::{Style, View, format};
use crate::report::{Advise as _, Code};
use crate::run;
use crate::run::apart::{self, Ended};

/// `flt agent rotate`.
#[derive(Debug, Args)]
pub(crate) struct RotateArgs {
    /// The agent's data folder
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Return at once; the agent goes on by itself
    #[arg(long)]
    no_wait: bool,
    /// Do it here and now, as root: the agent is two processes, and both are stopped
    #[arg(long, conflicts_with = "no_wait")]
    stopped: bool,
    /// The folder of the process that is root's
    #[arg(long, value_name = "DIR", requires = "stopped")]
    hands_data: Option<PathBuf>,
    /// The user of the process that has the network, by name or number
    #[arg(long, value_name = "USER", requires = "stopped")]
    hands_user: Option<String>,
    /// The copy of the key that this user has in a folder of its own, if there is one
    #[arg(long, value_name = "FILE", requires = "stopped")]
    key_file: Option<PathBuf>,
    /// Wait this long for the agent or the fleet
    #[arg(long, value_name = "SPAN", default_value = "2m", value_parser = format::parse_span)]
    timeout: Duration,
}

#[derive(Debug, Serialize)]
struct RotateView {
    old: NodeId,
    new: NodeId,
    key_file: PathBuf,
    done: bool,
}

impl View for RotateView {
    const SCHEMA: &'static str = "flt.rotated/1";

    fn text(&self, _style: &Style) -> String {
        let verb = if self.done { "rotated" } else { "rotating" };
        format!("{verb} {} to {}\n", self.old, self.new)
    }
}

pub(super) fn rotate(args: &RotateArgs, app: &App) -> anyhow::Result<Code> {
    let path = |key, name, path: &Option<PathBuf>| Some((key, name, path_value(path.as_deref()?)));
    let flags: [Option<Flag>; 4] = [
        path("--data", "data", &args.data),
        path("--hands-data", "hands-data", &args.hands_data),
        path("--key-file", "key-file", &args.key_file),
        args.hands_user.clone().map(|user| ("--hands-user", "hands-user", Value::String(user))),
    ];
    let flags: Vec<Flag> = flags.into_iter().flatten().collect();
    let loaded = config::typed(app.config_file(), flags, &app.env).context("cannot rotate the agent's key");
    let config: AgentConfig = loaded.code(Code::Config)?;
    if args.stopped { rotate_stopped(args, &config, app) } else { rotate_running(args, &config, app) }
}

/// By the agent itself.
fn rotate_running(args: &RotateArgs, config: &AgentConfig, app: &App) -> anyhow::Result<Code> {
    if config.hands.is_some() {
        let error = anyhow!("this agent is two processes, and neither can change the key by itself");
        return Err(error).hint(format!("as root, with both stopped: flt agent rotate --stopped; {UNITS}"));
    }
    if config.names_key() {
        let error = anyhow!(
            "the key file {} was named by somebody, and is not the agent's to replace",
            config.key_path().display()
        );
        return Err(error).hint("an admin lets another key take the node's place: flt admin node replace NAME");
    }
    let files = KeyFiles::at(config.key_path());
    let old = read(files.current())?;
    let new = run::next_key(&files)?;
    let mut view = RotateView { old: old.id(), new: new.id(), key_file: files.current().to_owned(), done: false };
    if args.no_wait {
        app.out.view(&view)?;
        app.out.hint("the agent enters it when it runs, and is then the same node with another key");
        return Ok(Code::Done);
    }
    let refused = files.current().with_extension("refused");
    let progress = app.out.progress("Waiting for the agent to switch to its new key");
    let deadline = Instant::now() + args.timeout;
    while Instant::now() < deadline {
        if read(files.current())?.id() == new.id() {
            drop(progress);
            view.done = true;
            app.out.view(&view)?;
            app.out.hint(RESEAL);
            return Ok(Code::Done);
        }
        if read(&refused).is_ok_and(|key| key.id() == new.id()) {
            drop(progress);
            return Err(anyhow!("the fleet does not take the new key")).hint("see why in the agent's log");
        }
        std::thread::sleep(LOOK_EVERY);
    }
    drop(progress);
    app.out.view(&view)?;
    app.out.status(format!("Not through after {}; the agent goes on by itself.", format::took(args.timeout)));
    app.out.hint("see whether it runs and reaches its coordinator: flt doctor");
    Ok(Code::NotConverged)
}

/// By this command, for an agent of two processes.
fn rotate_stopped(args: &RotateArgs, config: &AgentConfig, app: &App) -> anyhow::Result<Code> {
    crate::daemon::log::for_commands(app.globals.verbose, &app.env);
    let progress = app.out.progress("Waiting for the fleet to take the new key");
    // One thread, this one: what it starts ends with it.
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot make a runtime")?;
    let rotated = runtime.block_on(apart::rotate(config, args.timeout)).context("cannot rotate the node's key");
    drop(progress);
    let rotation = rotated?;
    let done = matches!(rotation.ended, Ended::Done);
    let view = RotateView { old: rotation.old, new: rotation.new, key_file: rotation.key_file, done };
    match rotation.ended {
        Ended::Done => {
            app.out.view(&view)?;
            app.out.hint(format!("start both again: systemctl start {UNITS}"));
            app.out.hint(RESEAL);
            Ok(Code::Done)
        }
        Ended::Refused(why) => {
            Err(anyhow!("the fleet does not take the new key: {why}")).hint("the node goes on with the one it has")
        }
        Ended::NotYet(why) => {
            app.out.view(&view)?;
            app.out.status(format!("Not through after {}.", format::took(args.timeout)));
            if let Some(why) = why {
                app.out.status(format!("Last: {why}"));
            }
            app.out.hint("the fleet may have the new key already: go on with the same command before both are started");
            Ok(Code::NotConverged)
        }
    }
}

/// Does what of it needs the network. Nobody runs it by hand.
pub(super) fn half(app: &App) -> anyhow::Result<Code> {
    crate::daemon::log::for_commands(app.globals.verbose, &app.env);
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot make a runtime")?;
    runtime.block_on(run::rotate_half())?;
    Ok(Code::Done)
}

fn read(path: &Path) -> anyhow::Result<SecretKey> {
    let read = SecretKey::read(path, || None);
    read.with_context(|| format!("cannot use the key {}", path.display()))
        .hint("name the agent's data folder: --data DIR")
}

/// The units of the two processes.
const UNITS: &str = "flotilla-hands flotilla-agent";
const RESEAL: &str =
    "what is sealed to the old key can be opened here until an admin seals it again: flt admin secret reseal";
/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(300);

pub(super) const EXAMPLES: &str = "\
Name, labels and all that is declared stay; only the key is another. The agent must run; cut short at any moment, it
goes on by itself.

Examples:
  flt agent rotate --data /var/lib/flotilla/agent
  flt agent rotate --data /var/lib/flotilla/agent --no-wait

An agent of two processes (`flt agent hands`) is stopped first. Cut short, the same command goes on.

  systemctl stop flotilla-agent flotilla-hands
  flt agent rotate --stopped --config /etc/flotilla/agent.toml
  systemctl start flotilla-hands flotilla-agent";
