//! The tree of commands, roles first.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::commands;

/// Run a fleet from signed declarations, peer to peer
#[derive(Debug, Parser)]
#[command(name = "flt", version, long_about = LONG, propagate_version = true)]
#[command(subcommand_required = true, arg_required_else_help = true, max_term_width = 100)]
#[command(disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) globals: Globals,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command takes.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Globals {
    /// Print JSON instead of text
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Say nothing but answers, warnings and errors
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
    /// Log more on stderr; twice for still more
    #[arg(long, short, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    /// When to use colour
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub(crate) color: ColorChoice,
    /// Read this configuration file before the user's and the machine's
    #[arg(long, global = true, value_name = "FILE", env = "FLT_CONFIG")]
    pub(crate) config: Option<PathBuf>,
}

/// When to use colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum ColorChoice {
    /// On a terminal
    #[default]
    Auto,
    /// Also in files and pipes
    Always,
    /// Not at all
    Never,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Order and publish what admins signed
    #[command(subcommand)]
    Coordinator(commands::coordinator::CoordinatorCommand),
    /// Verify what admins signed for this machine, and play it
    #[command(subcommand)]
    Agent(commands::agent::AgentCommand),
    /// Declare what the fleet shall be, and see what it is
    #[command(subcommand)]
    Admin(Box<commands::admin::AdminCommand>),
    /// Run a fleet of its own on this machine, to try things
    #[command(subcommand)]
    Dev(crate::dev::DevCommand),
    /// Make, show and convert keys
    #[command(subcommand)]
    Key(commands::key::KeyCommand),
    /// Show the configuration that holds
    #[command(subcommand)]
    Config(commands::config::ConfigCommand),
    /// Find out why this machine does not reach its fleet
    Doctor(commands::doctor::DoctorArgs),
    /// Print a shell's completion script
    Completions(commands::reference::CompletionsArgs),
    /// Write the man pages into a folder
    Man(commands::reference::ManArgs),
    /// Print the version
    Version,
}

const LONG: &str = "\
Run a fleet from signed declarations, peer to peer

An admin declares what nodes shall be and signs it; a coordinator orders and publishes it; every node's agent verifies \
it, plays it, reports, and undoes what is bad.

Examples:
  flt dev demo                          see it all on this machine
  flt admin init --name acme            begin a fleet
  flt coordinator run --config c.toml   run its coordinator
  flt admin invite --label role=edge    let a node in
  flt agent run --join TICKET           join as that node
  flt admin apply fleet.toml            declare what the fleet shall be
  flt admin status                      see what it is";

#[cfg(test)]
mod tests;
