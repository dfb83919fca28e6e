//! `flt coordinator`: the daemon that orders and publishes.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use protocols::Ticket;
use toml::Value;

mod backup;
mod init;
mod recover;

use crate::app::App;
use crate::config::{self, CoordinatorConfig, Flag, RoleConfig as _, path_value};
use crate::daemon;
use crate::report::{Advise as _, Code};

/// What can be done with a coordinator.
#[derive(Debug, Subcommand)]
pub(crate) enum CoordinatorCommand {
    /// Run the coordinator until it is stopped
    #[command(after_long_help = RUN_EXAMPLES)]
    Run(Box<CoordinatorArgs>),
    /// Make the key of a further coordinator, and print what an admin enrolls it by
    #[command(after_long_help = init::EXAMPLES)]
    Init(init::InitArgs),
    /// Write a backup, also while the coordinator runs
    #[command(after_long_help = backup::BACKUP_EXAMPLES)]
    Backup(Box<backup::BackupArgs>),
    /// Fill an empty data folder from a backup
    #[command(after_long_help = backup::RESTORE_EXAMPLES)]
    Restore(Box<backup::RestoreArgs>),
    /// Get the ledger back from the copies that agents and other coordinators hold
    #[command(after_long_help = recover::EXAMPLES)]
    Recover(Box<recover::RecoverArgs>),
    /// Check the coordinator's configuration, and list all that is wrong with it
    #[command(after_long_help = CHECK_EXAMPLES)]
    CheckConfig {
        #[command(flatten)]
        args: Box<CoordinatorArgs>,
        /// Look at the files that it names, too
        #[arg(long)]
        files: bool,
    },
}

/// A coordinator's configuration, by flag.
#[derive(Debug, Default, Args)]
pub(crate) struct CoordinatorArgs {
    /// Keep everything in this folder
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Use this key
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// Begin the ledger with this genesis entry
    #[arg(long, value_name = "FILE")]
    genesis: Option<PathBuf>,
    /// Join the fleet of this ticket as a further coordinator
    #[arg(long, value_name = "TICKET", conflicts_with = "ticket_file")]
    join: Option<Ticket>,
    /// Join the fleet of the ticket in this file as a further coordinator
    #[arg(long, value_name = "FILE")]
    ticket_file: Option<PathBuf>,
    /// Listen on this UDP address; may be given several times
    #[arg(long, value_name = "ADDR")]
    listen: Vec<String>,
    /// Name this address in tickets; may be given several times
    #[arg(long, value_name = "ADDR")]
    advertise: Vec<String>,
    /// Be found by mDNS on the local network
    #[arg(long)]
    mdns: bool,
    /// Serve /metrics and /healthz here, or `off`
    #[arg(long, value_name = "ADDR")]
    metrics: Option<String>,
    /// Log this much, such as `info` or `info,mesh=debug`
    #[arg(long, value_name = "FILTER")]
    log: Option<String>,
    /// Run a relay on this TCP address
    #[arg(long, value_name = "ADDR")]
    relay_listen: Option<String>,
    /// Name this URL of the relay in tickets
    #[arg(long, value_name = "URL")]
    relay_url: Option<String>,
}

impl CoordinatorArgs {
    fn flags(&self) -> Vec<Flag> {
        let path = |path: &Option<PathBuf>| path.as_deref().map(path_value);
        let text = |text: &Option<String>| text.clone().map(Value::String);
        let given = [
            ("--data", "data", path(&self.data)),
            ("--key-file", "key-file", path(&self.key_file)),
            ("--genesis", "genesis", path(&self.genesis)),
            ("--ticket-file", "ticket-file", path(&self.ticket_file)),
            ("--listen", "listen", config::list_value(&self.listen)),
            ("--advertise", "advertise", config::list_value(&self.advertise)),
            ("--mdns", "mdns", self.mdns.then_some(Value::Boolean(true))),
            ("--metrics", "metrics", text(&self.metrics)),
            ("--log", "log", text(&self.log)),
            ("--relay-listen", "relay.listen", text(&self.relay_listen)),
            ("--relay-url", "relay.url", text(&self.relay_url)),
        ];
        given.into_iter().filter_map(|(flag, key, value)| Some((flag, key, value?))).collect()
    }
}

/// Runs it.
pub(crate) fn run(command: CoordinatorCommand, app: &App) -> anyhow::Result<Code> {
    match command {
        CoordinatorCommand::Run(args) => {
            let config = load(&args, app)?;
            let settings = daemon::Settings {
                role: CoordinatorConfig::ROLE,
                log: config.log.clone(),
                metrics: config.metrics,
                verbose: app.globals.verbose,
            };
            daemon::run(&settings, &app.env, |context| crate::run::coordinator(config, context))
        }
        CoordinatorCommand::Init(args) => init::run(&args, app),
        CoordinatorCommand::Backup(args) => backup::backup(&args, app),
        CoordinatorCommand::Restore(args) => backup::restore(&args, app),
        CoordinatorCommand::Recover(args) => app.interruptible(recover::run(*args, app)),
        CoordinatorCommand::CheckConfig { args, files } => {
            let config = load(&args, app)?;
            daemon::check(&config, files, app)
        }
    }
}

fn load(args: &CoordinatorArgs, app: &App) -> anyhow::Result<CoordinatorConfig> {
    let loaded = config::typed(app.config_file(), args.flags(), &app.env).context("cannot run the coordinator");
    let mut config: CoordinatorConfig =
        loaded.hint("see where each value comes from: flt config show coordinator").code(Code::Config)?;
    config.join.clone_from(&args.join);
    Ok(config)
}

const RUN_EXAMPLES: &str = "\
Prints the ticket that reaches it when it is ready.

Examples:
  flt coordinator run --config coordinator/coordinator.toml
  flt coordinator run --data DIR --genesis genesis.json --key-file key --listen 0.0.0.0:4433
  flt coordinator run --data DIR --join TICKET";

const CHECK_EXAMPLES: &str = "\
Exits with 0 if the configuration is sound, and with 64 if not.

Examples:
  flt coordinator check-config --config coordinator.toml
  flt coordinator check-config --config coordinator.toml --files";
