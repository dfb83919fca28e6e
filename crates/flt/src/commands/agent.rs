//! `flt agent`: the daemon on every node.

mod hold;
mod rotate;
mod standing;

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use protocols::Ticket;
use toml::Value;

use crate::app::App;
use crate::config::{self, AgentConfig, Flag, RoleConfig as _, path_value};
use crate::daemon;
use crate::report::{Advise as _, Code};

/// What can be done with an agent.
#[derive(Debug, Subcommand)]
pub(crate) enum AgentCommand {
    /// Run the agent until it is stopped
    #[command(after_long_help = RUN_EXAMPLES)]
    Run(Box<AgentArgs>),
    /// Run the part of an agent that needs root, for an agent that runs without
    #[command(after_long_help = HANDS_EXAMPLES)]
    Hands(Box<HandsArgs>),
    /// Say how this node stands to the ledger
    #[command(after_long_help = standing::STATUS_EXAMPLES)]
    Status(Box<standing::StatusArgs>),
    /// Give this node a new key
    #[command(after_long_help = rotate::EXAMPLES)]
    Rotate(Box<rotate::RotateArgs>),
    /// Do what of a rotation needs the network; `rotate` starts this by itself
    #[command(hide = true)]
    RotateHalf,
    /// Go on after evidence of a split history; the agent must be stopped
    #[command(after_long_help = standing::RESOLVE_EXAMPLES)]
    Resolve(Box<standing::ResolveArgs>),
    /// Hold the processes of a workload with one writer; the agent starts this by itself
    #[command(hide = true)]
    Hold(hold::HoldArgs),
    /// Stand between a hold and a program; the hold starts this by itself
    #[command(hide = true)]
    HoldInside(hold::InsideArgs),
    /// Check the agent's configuration, and list all that is wrong with it
    #[command(after_long_help = CHECK_EXAMPLES)]
    CheckConfig {
        #[command(flatten)]
        args: Box<AgentArgs>,
        /// Look at the files that it names, too
        #[arg(long)]
        files: bool,
    },
}

/// An agent's configuration, by flag.
#[derive(Debug, Default, Args)]
pub(crate) struct AgentArgs {
    /// Join with this ticket, as `flt admin invite` printed it
    #[arg(long, value_name = "TICKET", conflicts_with = "ticket_file")]
    join: Option<Ticket>,
    /// Keep everything in this folder
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Use this key; without it, one is made in the data folder
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// Join with the ticket in this file
    #[arg(long, value_name = "FILE")]
    ticket_file: Option<PathBuf>,
    /// Ask for this name; the host's name by default
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Listen on this UDP address; may be given several times
    #[arg(long, value_name = "ADDR")]
    listen: Vec<String>,
    /// Look for the fleet by mDNS on the local network
    #[arg(long)]
    mdns: bool,
    /// Serve /metrics and /healthz here, or `off`
    #[arg(long, value_name = "ADDR")]
    metrics: Option<String>,
    /// Log this much, such as `info` or `info,mesh=debug`
    #[arg(long, value_name = "FILTER")]
    log: Option<String>,
    /// Give a sign of life this often, in seconds
    #[arg(long, value_name = "N")]
    heartbeat_seconds: Option<i64>,
    /// Let files scores write into this folder alone
    #[arg(long, value_name = "DIR")]
    files_root: Option<PathBuf>,
    /// Play through the process that listens here, `flt agent hands`, and not in this one
    #[arg(long, value_name = "SOCKET")]
    hands: Option<PathBuf>,
}

/// The configuration of an agent's hands, by flag.
#[derive(Debug, Default, Args)]
pub(crate) struct HandsArgs {
    /// Listen at this socket; /run/flotilla/hands.sock if nothing else says
    #[arg(long, value_name = "SOCKET")]
    hands: Option<PathBuf>,
    /// Keep the ledger and the trials in this folder
    #[arg(long, value_name = "DIR")]
    hands_data: Option<PathBuf>,
    /// Let processes of this user connect, by name or number
    #[arg(long, value_name = "USER")]
    hands_user: Option<String>,
    /// Use this key, the node's; without it, one is made in the folder
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// Serve the fleet of the ticket in this file
    #[arg(long, value_name = "FILE")]
    ticket_file: Option<PathBuf>,
    /// Log this much, such as `info` or `info,scores=debug`
    #[arg(long, value_name = "FILTER")]
    log: Option<String>,
    /// Let files scores write into this folder alone
    #[arg(long, value_name = "DIR")]
    files_root: Option<PathBuf>,
}

impl HandsArgs {
    fn flags(&self) -> Vec<Flag> {
        let path = |path: &Option<PathBuf>| path.as_deref().map(path_value);
        let text = |text: &Option<String>| text.clone().map(Value::String);
        let given = [
            ("--hands", "hands", path(&self.hands)),
            ("--hands-data", "hands-data", path(&self.hands_data)),
            ("--hands-user", "hands-user", text(&self.hands_user)),
            ("--key-file", "key-file", path(&self.key_file)),
            ("--ticket-file", "ticket-file", path(&self.ticket_file)),
            ("--log", "log", text(&self.log)),
            ("--files-root", "files-root", path(&self.files_root)),
        ];
        given.into_iter().filter_map(|(flag, key, value)| Some((flag, key, value?))).collect()
    }
}

impl AgentArgs {
    fn flags(&self) -> Vec<Flag> {
        let path = |path: &Option<PathBuf>| path.as_deref().map(path_value);
        let text = |text: &Option<String>| text.clone().map(Value::String);
        let given = [
            ("--data", "data", path(&self.data)),
            ("--key-file", "key-file", path(&self.key_file)),
            ("--ticket-file", "ticket-file", path(&self.ticket_file)),
            ("--name", "name", text(&self.name)),
            ("--listen", "listen", config::list_value(&self.listen)),
            ("--mdns", "mdns", self.mdns.then_some(Value::Boolean(true))),
            ("--metrics", "metrics", text(&self.metrics)),
            ("--log", "log", text(&self.log)),
            ("--heartbeat-seconds", "heartbeat-seconds", self.heartbeat_seconds.map(Value::Integer)),
            ("--files-root", "files-root", path(&self.files_root)),
            ("--hands", "hands", path(&self.hands)),
        ];
        given.into_iter().filter_map(|(flag, key, value)| Some((flag, key, value?))).collect()
    }
}

/// Runs it.
pub(crate) fn run(command: AgentCommand, app: &App) -> anyhow::Result<Code> {
    match command {
        AgentCommand::Run(args) => {
            let config = load(*args, app)?;
            let settings = daemon::Settings {
                role: AgentConfig::ROLE,
                log: config.log.clone(),
                metrics: config.metrics,
                verbose: app.globals.verbose,
            };
            daemon::run(&settings, &app.env, |context| crate::run::agent(config, context))
        }
        AgentCommand::Hands(args) => {
            let config = typed(args.flags(), app)?;
            let settings = daemon::Settings {
                role: AgentConfig::ROLE,
                log: config.log.clone(),
                // It has no network.
                metrics: None,
                verbose: app.globals.verbose,
            };
            daemon::run(&settings, &app.env, |context| crate::run::hands(config, context))
        }
        AgentCommand::Hold(args) => hold::hold(args, app),
        AgentCommand::HoldInside(args) => hold::inside(args),
        AgentCommand::Status(args) => standing::status(*args, app),
        AgentCommand::Rotate(args) => rotate::rotate(&args, app),
        AgentCommand::RotateHalf => rotate::half(app),
        AgentCommand::Resolve(args) => standing::resolve(*args, app),
        AgentCommand::CheckConfig { args, files } => {
            let config = load(*args, app)?;
            daemon::check(&config, files, app)
        }
    }
}

fn load(mut args: AgentArgs, app: &App) -> anyhow::Result<AgentConfig> {
    let join = args.join.take();
    let mut config = typed(args.flags(), app)?;
    config.join = join;
    Ok(config)
}

fn typed(flags: Vec<Flag>, app: &App) -> anyhow::Result<AgentConfig> {
    let loaded = config::typed(app.config_file(), flags, &app.env).context("cannot run the agent");
    loaded.hint("see where each value comes from: flt config show agent").code(Code::Config)
}

const RUN_EXAMPLES: &str = "\
Examples:
  flt agent run --join flt1abc... --data /var/lib/flotilla/agent
  flt agent run --config /etc/flotilla/agent.toml";

const HANDS_EXAMPLES: &str = "\
It has no network. It verifies the ledger by itself, and plays what that declares for this node and nothing else;
whoever is connected can only ask for that. Run it as root, with the configuration of the agent.

Examples:
  flt agent hands --config /etc/flotilla/agent.toml
  flt agent hands --hands /run/flotilla/hands.sock --hands-user flotilla --ticket-file /etc/flotilla/ticket";

const CHECK_EXAMPLES: &str = "\
Exits with 0 if the configuration is sound, and with 64 if not.

Examples:
  flt agent check-config --config agent.toml
  flt agent check-config --config agent.toml --files";
