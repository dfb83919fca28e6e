//! `flt completions`, `flt man` and `flt version`: what the program says about itself.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use clap::{Args, CommandFactory as _};
use clap_complete::Shell;
use serde::Serialize;

use crate::app::App;
use crate::cli::Cli;
use crate::output::{Style, View};
use crate::report::Code;

/// Arguments of `flt completions`.
#[derive(Debug, Args)]
#[command(after_long_help = COMPLETIONS_EXAMPLES)]
pub(crate) struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

/// Arguments of `flt man`.
#[derive(Debug, Args)]
#[command(after_long_help = MAN_EXAMPLES)]
pub(crate) struct ManArgs {
    /// The folder, which is made if it is not there
    dir: PathBuf,
}

/// Prints a completion script.
pub(crate) fn completions(args: &CompletionsArgs, app: &App) -> anyhow::Result<Code> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "flt", &mut script);
    app.out.raw(&String::from_utf8_lossy(&script))?;
    Ok(Code::Done)
}

/// Writes one man page for each command.
pub(crate) fn man(args: &ManArgs, app: &App) -> anyhow::Result<Code> {
    std::fs::create_dir_all(&args.dir).with_context(|| format!("cannot make the folder {}", args.dir.display()))?;
    let mut command = Cli::command();
    command.build();
    let count = pages(&command, "flt", &args.dir)?;
    app.out.status(format!("wrote {count} man pages into {}", args.dir.display()));
    Ok(Code::Done)
}

/// Prints the version.
pub(crate) fn version(app: &App) -> anyhow::Result<Code> {
    app.out.view(&Version { version: env!("CARGO_PKG_VERSION") })?;
    Ok(Code::Done)
}

#[derive(Serialize)]
struct Version {
    version: &'static str,
}

impl View for Version {
    const SCHEMA: &'static str = "flt.version/1";

    fn text(&self, _: &Style) -> String {
        format!("flt {}\n", self.version)
    }
}

/// Writes the page of a command, whose words are `name`, and those of the commands below it.
fn pages(command: &clap::Command, name: &str, dir: &Path) -> anyhow::Result<usize> {
    let mut count = 1;
    // clap keeps names as long as the program lives; there are as many as there are commands.
    let file: &'static str = String::leak(name.replace(' ', "-"));
    let page = clap_mangen::Man::new(command.clone().name(file).bin_name(name));
    let mut text = Vec::new();
    page.render(&mut text).map_err(|error| anyhow!("cannot write the page of {name}: {error}"))?;
    let path = dir.join(format!("{file}.1"));
    std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    for inner in command.get_subcommands().filter(|inner| !inner.is_hide_set()) {
        count += pages(inner, &format!("{name} {}", inner.get_name()), dir)?;
    }
    Ok(count)
}

const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  flt completions bash > /etc/bash_completion.d/flt
  flt completions fish > ~/.config/fish/completions/flt.fish";

const MAN_EXAMPLES: &str = "\
Examples:
  flt man /usr/local/share/man/man1";
