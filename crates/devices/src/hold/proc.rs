//! Finds the processes of a hold, and kills them: descendants of the supervisor, and whatever carries its mark.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// Kills everything of a hold that there is now, and says how many processes that were. Whoever is not among the living
/// any more is not counted.
pub(super) fn kill_all(mark: &OsStr) -> usize {
    let me = std::process::id();
    let victims = victims(me, mark);
    for (pid, started) in &victims {
        let Some(target) = i32::try_from(*pid).ok().and_then(Pid::from_raw) else { continue };
        // Between the look and the kill the number may have become another process's: the file descriptor names one
        // process for good, and it is looked at again.
        let Ok(handle) = pidfd_open(target, PidfdFlags::empty()) else { continue };
        if stat(*pid).is_some_and(|now| now.started == *started)
            && let Err(error) = pidfd_send_signal(&handle, Signal::KILL)
        {
            tracing::debug!(pid, %error, "a process could not be killed");
        }
    }
    victims.len()
}

/// Every living process of a hold, and when it was started.
fn victims(me: u32, mark: &OsStr) -> Vec<(u32, u64)> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let pid = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok());
        if let Some((pid, stat)) = pid.and_then(|pid| Some((pid, stat(pid)?))) {
            all.insert(pid, stat);
        }
    }
    let mut ours: BTreeSet<u32> = all.keys().copied().filter(|pid| is_marked(*pid, mark)).collect();
    ours.insert(me);
    loop {
        let more: Vec<u32> = all
            .iter()
            .filter(|(pid, stat)| !ours.contains(pid) && ours.contains(&stat.parent))
            .map(|(p, _)| *p)
            .collect();
        if more.is_empty() {
            break;
        }
        ours.extend(more);
    }
    let living = all.iter().filter(|(pid, stat)| **pid != me && stat.lives && ours.contains(pid));
    living.map(|(pid, stat)| (*pid, stat.started)).collect()
}

struct Stat {
    parent: u32,
    started: u64,
    lives: bool,
}

fn stat(pid: u32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name stands in parentheses and may hold anything.
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |place: usize| fields.get(place).and_then(|field| field.parse::<u64>().ok());
    let parent = u32::try_from(number(1)?).ok()?;
    Some(Stat { parent, started: number(19)?, lives: !matches!(fields.first(), Some(&"Z" | &"X")) })
}

fn is_marked(pid: u32, mark: &OsStr) -> bool {
    let Ok(environment) = fs::read(format!("/proc/{pid}/environ")) else { return false };
    let wanted = [super::MARK.as_bytes(), b"=", mark.as_bytes()].concat();
    environment.split(|byte| *byte == 0).any(|entry| entry == wanted)
}

/// Kills every living descendant of this process, and says how many there were.
pub(super) fn kill_descendants() -> usize {
    // No process has an environment with a mark that is empty and this.
    kill_all(OsStr::new("\u{1}none"))
}
