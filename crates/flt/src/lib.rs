//! `flt`, as a library: the binary is its `main`, and tests start its parts.

use std::process::ExitCode;

use clap::Parser as _;

mod app;
mod cli;
mod commands;
pub mod compose;
mod config;
mod daemon;
pub mod dev;
mod output;
mod report;
mod run;

use report::Code;

/// Reads the command line, runs what it says, prints, and ends with the right code.
pub fn main() -> ExitCode {
    report::catch(|| match cli::Cli::try_parse() {
        Ok(cli) => start(cli),
        Err(error) => refused(&error),
    })
    .into()
}

fn start(cli: cli::Cli) -> Code {
    let json = cli.globals.json;
    match app::App::new(cli.globals).run(cli.command) {
        Ok(code) => code,
        Err(error) => report::show(&error, json),
    }
}

/// What clap has to say: help and versions are answers, everything else is a mistake on the command line.
fn refused(error: &clap::Error) -> Code {
    // Nobody there to read it is no failure.
    drop(error.print());
    if error.use_stderr() { Code::Usage } else { Code::Done }
}
