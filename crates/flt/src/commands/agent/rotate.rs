//! `flt agent rotate`: a new key for this node. The agent itself enters it and switches to it.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use admin::workspace::KeyFiles;
use anyhow::{Context as _, anyhow};
use clap::Args;
use protocols::key::KeyFormat;
use protocols::{NodeId, SecretKey};
use serde::Serialize;

use crate::app::App;
use crate::config::{self, AgentConfig, Flag, path_value};
use crate::output::{Style, View, format};
use crate::report::{Advise as _, Code};

/// `flt agent rotate`.
#[derive(Debug, Args)]
pub(crate) struct RotateArgs {
    /// The agent's data folder
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Return at once; the agent goes on by itself
    #[arg(long)]
    no_wait: bool,
    /// Wait this long for the agent
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
    let flags: Vec<Flag> = args.data.as_deref().map(|dir| ("--data", "data", path_value(dir))).into_iter().collect();
    let loaded = config::typed(app.config_file(), flags, &app.env).context("cannot rotate the agent's key");
    let config: AgentConfig = loaded.code(Code::Config)?;
    if config.names_key() {
        let error = anyhow!(
            "the key file {} was named by somebody, and is not the agent's to replace",
            config.key_path().display()
        );
        return Err(error).hint("an admin lets another key take the node's place: flt admin node replace NAME");
    }
    let files = KeyFiles::at(config.key_path());
    let old = read(files.current())?;
    // One that an earlier call left is gone on with.
    let new = if files.next().exists() {
        read(&files.next())?
    } else {
        let new = SecretKey::generate();
        new.write_new(&files.next(), KeyFormat::OpenSsh, "flotilla agent").context("cannot write the new key")?;
        new
    };
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
            app.out.hint("what is sealed to the old key can be opened here until an admin seals it again: flt admin secret reseal");
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

fn read(path: &Path) -> anyhow::Result<SecretKey> {
    let read = SecretKey::read(path, || None);
    read.with_context(|| format!("cannot use the key {}", path.display()))
        .hint("name the agent's data folder: --data DIR")
}

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(300);

pub(super) const EXAMPLES: &str = "\
Name, labels and all that is declared stay; only the key is another. The agent must run; cut short at any moment, it
goes on by itself.

Examples:
  flt agent rotate --data /var/lib/flotilla/agent
  flt agent rotate --data /var/lib/flotilla/agent --no-wait";
