//! `flt agent hold` and `flt agent hold-inside`: the supervisor of a workload, and what stands around each of its programs.
//! Nobody runs them by hand.

use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use devices::hold::{HoldParts, InsideParts, inside as stand_inside, supervise};

use crate::app::App;
use crate::report::Code;

/// What a supervisor is told.
#[derive(Debug, Args)]
pub(crate) struct HoldArgs {
    /// Listen at this socket
    #[arg(long, value_name = "SOCKET")]
    socket: PathBuf,
    /// Hold this systemd unit instead of a program
    #[arg(long, value_name = "UNIT")]
    unit: Option<String>,
}

/// What stands around a program is told.
#[derive(Debug, Args)]
pub(crate) struct InsideArgs {
    /// End when this process does
    #[arg(long, value_name = "PID")]
    parent: Option<u32>,
    /// Make a PID namespace first
    #[arg(long)]
    unshare: bool,
    /// Become this user
    #[arg(long, value_name = "UID", requires = "gid")]
    uid: Option<u32>,
    /// Become this group
    #[arg(long, value_name = "GID", requires = "uid")]
    gid: Option<u32>,
    /// The program and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// Holds until it is told to quit.
pub(super) fn hold(args: HoldArgs, app: &App) -> anyhow::Result<Code> {
    crate::daemon::log::for_commands(app.globals.verbose, &app.env);
    let program = std::env::current_exe().context("cannot find this program")?;
    let parts = HoldParts { socket: args.socket, unit: args.unit, program };
    // One thread, this one: what it starts ends with it.
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot make a runtime")?;
    tokio::task::LocalSet::new().block_on(&runtime, supervise(parts))?;
    Ok(Code::Done)
}

/// Runs a program to its end, and exits as it does.
pub(super) fn inside(args: InsideArgs) -> anyhow::Result<Code> {
    let program = std::env::current_exe().context("cannot find this program")?;
    let user = args.uid.zip(args.gid);
    let parts = InsideParts {
        parent: args.parent,
        unshare: args.unshare,
        user,
        program: program.into(),
        command: args.command,
    };
    let status = stand_inside(&parts).context("cannot run the program")?;
    std::process::exit(status);
}
