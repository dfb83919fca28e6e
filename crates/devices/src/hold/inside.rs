//! What stands between the supervisor and a program that it started: it ends the program when the supervisor is gone, and
//! passes signals on. In a PID namespace it is the first process, whose end is the end of all others there.

use std::ffi::OsString;
use std::io::{self, Read as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::{
    Pid, Signal, WaitOptions, getpid, getppid, kill_process, set_child_subreaper, set_parent_process_death_signal, wait,
};

/// What is run, and how.
#[derive(Debug, Clone)]
pub struct InsideParts {
    /// The supervisor's process; nothing once in the namespace.
    pub parent: Option<u32>,
    /// Whether to make a PID namespace first.
    pub unshare: bool,
    /// User and group to become, by number.
    pub user: Option<(u32, u32)>,
    /// This program, to be run again in the namespace.
    pub program: OsString,
    /// The program and its arguments.
    pub command: Vec<OsString>,
}

/// Runs the program to its end. Returns the status to exit with.
///
/// Standard input carries signals, a byte each; its end means that the supervisor is gone.
///
/// # Errors
/// If the program cannot be started.
pub fn inside(parts: &InsideParts) -> io::Result<i32> {
    if parts.unshare {
        // The namespace ends with this process, so this process may end as hard as the supervisor does. Without a
        // namespace it must outlive the supervisor, to end what it runs.
        set_parent_process_death_signal(Some(Signal::KILL))?;
        // The supervisor may have died before that was in force.
        if getppid().and_then(|pid| u32::try_from(pid.as_raw_pid()).ok()) != parts.parent {
            return Err(io::Error::other("the supervisor is gone"));
        }
        return Err(in_namespace(parts));
    }
    set_child_subreaper(Some(getpid()))?;
    let (program, arguments) = parts.command.split_first().ok_or_else(|| io::Error::other("no program is named"))?;
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null());
    if let Some((user, group)) = parts.user {
        command.gid(group).uid(user);
    }
    let child = command.spawn()?;
    let main =
        i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or_else(|| io::Error::other("it has no id"))?;
    std::thread::Builder::new().name("signals".into()).spawn(move || pass_on(main))?;
    loop {
        match wait(WaitOptions::empty()) {
            // It is the other thread that ends this process then, when nothing is left.
            Ok(Some((pid, _))) if pid == main && ENDING.load(Ordering::Acquire) => {}
            Err(rustix::io::Errno::CHILD) if ENDING.load(Ordering::Acquire) => std::thread::park(),
            Ok(Some((pid, status))) if pid == main => {
                let signal = status.terminating_signal().map(|signal| 128 + signal);
                return Ok(status.exit_status().or(signal).unwrap_or(1));
            }
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Becomes `unshare`, which runs this program again as the first process of a namespace.
fn in_namespace(parts: &InsideParts) -> io::Error {
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--kill-child=SIGKILL", "--"]).arg(&parts.program);
    command.args(["agent", "hold-inside"]);
    if let Some((user, group)) = parts.user {
        command.args(["--uid", &user.to_string(), "--gid", &group.to_string()]);
    }
    command.arg("--").args(&parts.command).exec()
}

/// Passes signals on until the supervisor is gone, and then ends everything.
fn pass_on(main: Pid) {
    let mut byte = [0];
    while matches!(io::stdin().read(&mut byte), Ok(1)) {
        let signal = match byte[0] {
            b'H' => Signal::HUP,
            b'I' => Signal::INT,
            b'Q' => Signal::QUIT,
            b'1' => Signal::USR1,
            b'2' => Signal::USR2,
            _ => Signal::TERM,
        };
        kill_process(main, signal).ok();
    }
    ENDING.store(true, Ordering::Release);
    // What is in the namespace ends with this process. Without one, this process adopted what its program left behind.
    while super::proc::kill_descendants() > 0 {
        std::thread::sleep(AGAIN);
    }
    std::process::exit(GONE);
}

/// Whether everything is being ended, because the supervisor is gone.
static ENDING: AtomicBool = AtomicBool::new(false);

/// How soon the processes that are left are looked for again.
const AGAIN: std::time::Duration = std::time::Duration::from_millis(10);
/// The exit status when the supervisor is gone.
const GONE: i32 = 137;
