//! Which processes belong to an instance: every one of PostgreSQL works in its data folder, whoever started it.

use std::fs;
use std::path::Path;

use rustix::process::{Pid, Signal, kill_process};

/// The processes that work in this data folder.
///
/// Those of other users are seen by root alone; PostgreSQL itself refuses a folder of another user.
pub(super) fn of(data: &Path) -> Vec<Pid> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| works_in(*pid, data)).filter_map(Pid::from_raw).collect()
}

/// Kills them all, and those that they start meanwhile. Whether none is left.
pub(super) fn kill(data: &Path) -> bool {
    for _ in 0..KILL_ROUNDS {
        let found = of(data);
        if found.is_empty() {
            return true;
        }
        for pid in found {
            // One that is gone already is what was wanted.
            let _gone = kill_process(pid, Signal::KILL);
        }
        std::thread::yield_now();
    }
    of(data).is_empty()
}

fn works_in(pid: i32, data: &Path) -> bool {
    let Ok(folder) = fs::read_link(format!("/proc/{pid}/cwd")) else { return false };
    // A folder that was replaced under a process is called so.
    let same = folder == data || folder.to_str().and_then(|path| path.strip_suffix(" (deleted)")) == data.to_str();
    same && !is_dead(pid) && is_postgres(pid)
}

/// Whether it has ended, and only its parent has not looked yet.
fn is_dead(pid: i32) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { return true };
    stat.rsplit_once(')').is_some_and(|(_, rest)| matches!(rest.trim_start().chars().next(), Some('Z' | 'X')))
}

fn is_postgres(pid: i32) -> bool {
    let program = fs::read_link(format!("/proc/{pid}/exe"));
    program.is_ok_and(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("postgres")))
}

/// How often it is looked for processes that were started while others were killed.
const KILL_ROUNDS: u32 = 100;
