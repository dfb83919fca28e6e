//! One run of the program: what was given to every command, and what every command needs.

use std::path::PathBuf;
use std::sync::Mutex;

use anyhow::Context as _;

use crate::cli::{Command, Globals};
use crate::commands;
use crate::config::{self, AdminConfig, Env, Flag};
use crate::output::Output;
use crate::report::Code;

/// What every command is given.
#[derive(Debug)]
pub(crate) struct App {
    /// The global flags.
    pub(crate) globals: Globals,
    /// Where to print.
    pub(crate) out: Output,
    /// The environment.
    pub(crate) env: Env,
    /// What to say when the person interrupts.
    on_interrupt: Mutex<Option<String>>,
}

impl App {
    /// Prepares a run.
    pub(crate) fn new(globals: Globals) -> Self {
        let env = Env::of_process();
        let out = Output::new(&globals, &env);
        Self { globals, out, env, on_interrupt: Mutex::new(None) }
    }

    /// Runs a command.
    pub(crate) fn run(&self, command: Command) -> anyhow::Result<Code> {
        match command {
            Command::Coordinator(command) => commands::coordinator::run(command, self),
            Command::Agent(command) => commands::agent::run(command, self),
            Command::Admin(command) => self.interruptible(commands::admin::run(*command, self)),
            Command::Dev(command) => self.block_on(crate::dev::run(command, self)),
            Command::Key(command) => commands::key::run(command, self),
            Command::Config(command) => commands::config::run(command, self),
            Command::Doctor(args) => self.interruptible(commands::doctor::run(args, self)),
            Command::Completions(args) => commands::reference::completions(&args, self),
            Command::Man(args) => commands::reference::man(&args, self),
            Command::Version => commands::reference::version(self),
        }
    }

    /// The file given with `--config`.
    pub(crate) fn config_file(&self) -> Option<&std::path::Path> {
        self.globals.config.as_deref()
    }

    /// An admin's configuration, with what the command's flags say.
    pub(crate) fn admin_config(&self, flags: &AdminFlags) -> anyhow::Result<AdminConfig> {
        config::typed(self.config_file(), flags.flags(), &self.env).context("cannot use the configuration")
    }

    /// What is to be said should the person interrupt from here on: whether something was already done, and how to
    /// follow it.
    pub(crate) fn on_interrupt(&self, note: impl Into<String>) {
        let note = Some(note.into());
        *self.on_interrupt.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = note;
    }

    /// Runs an asynchronous command that ctrl-C ends at once.
    pub(crate) fn interruptible(&self, command: impl Future<Output = anyhow::Result<Code>>) -> anyhow::Result<Code> {
        self.block_on(async {
            tokio::select! {
                result = command => result,
                pressed = tokio::signal::ctrl_c() => {
                    pressed.context("cannot listen for ctrl-C")?;
                    let note = self.on_interrupt.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
                    crate::output::stderr(&format!("interrupted: {}\n", note.as_deref().unwrap_or("nothing was changed")));
                    Ok(Code::Interrupted)
                }
            }
        })
    }

    /// Runs an asynchronous command that minds ctrl-C itself.
    fn block_on(&self, command: impl Future<Output = anyhow::Result<Code>>) -> anyhow::Result<Code> {
        crate::daemon::log::for_commands(self.globals.verbose, &self.env);
        let runtime = crate::daemon::runtime()?;
        let result = runtime.block_on(command);
        // Tasks that do not end by themselves must not keep the person waiting.
        runtime.shutdown_timeout(LEAVE_TIMEOUT);
        result
    }
}

/// Where an admin's things are, by flag.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct AdminFlags {
    /// Keep the copy of the ledger in this folder
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Sign with this key
    #[arg(long, value_name = "FILE")]
    pub(crate) key_file: Option<PathBuf>,
    /// Reach the fleet with this ticket
    #[arg(long, value_name = "FILE")]
    pub(crate) ticket_file: Option<PathBuf>,
}

impl AdminFlags {
    /// As a layer of the configuration.
    fn flags(&self) -> Vec<Flag> {
        let paths = [
            ("--data", "data", &self.data),
            ("--key-file", "key-file", &self.key_file),
            ("--ticket-file", "ticket-file", &self.ticket_file),
        ];
        let given = paths.into_iter().filter_map(|(flag, key, path)| Some((flag, key, path.as_deref()?)));
        given.map(|(flag, key, path)| (flag, key, config::path_value(path))).collect()
    }
}

/// How long the program waits for its own tasks when a command is over.
const LEAVE_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(2);
