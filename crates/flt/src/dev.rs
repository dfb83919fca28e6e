//! `flt dev`: a fleet of its own on this machine.

mod demo;
pub mod fleet;
mod local;
mod paste;
mod switch;

use clap::Subcommand;

use crate::app::App;
use crate::report::Code;

/// What can be done with the local fleet.
#[derive(Debug, Subcommand)]
pub(crate) enum DevCommand {
    /// Show in half a minute what a fleet does, and leave nothing behind
    Demo(demo::DemoArgs),
    /// Start a fleet that goes on running, or what is missing of it
    Up(local::UpArgs),
    /// Stop it
    Down(local::DownArgs),
    /// List its processes
    Status(local::StatusArgs),
    /// Simulate a network switch, to try declarations and clients on
    Switch(Box<switch::SwitchArgs>),
    /// Run a command as a process of its own
    #[command(hide = true)]
    Detach(local::DetachArgs),
}

/// Runs it.
pub(crate) async fn run(command: DevCommand, app: &App) -> anyhow::Result<Code> {
    match command {
        DevCommand::Demo(args) => demo::run(args, app).await,
        DevCommand::Up(args) => local::up(args, app).await,
        DevCommand::Down(args) => local::down(args, app).await,
        DevCommand::Status(args) => local::status(&args, app),
        DevCommand::Switch(args) => switch::run(*args, app).await,
        DevCommand::Detach(args) => local::detach(&args),
    }
}
