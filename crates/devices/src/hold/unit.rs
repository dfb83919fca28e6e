//! A systemd unit as what is held: it must not restart, and its control group is killed as a whole.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A unit of systemd's.
#[derive(Debug, Clone)]
pub(super) struct Unit {
    pub(super) name: String,
}

impl Unit {
    /// Ends it: no restart by systemd, and the kernel kills the whole group. Short and blocking: nothing else matters at
    /// this moment.
    pub(super) fn kill(&self) {
        // Queued, not waited for: systemd may be as slow as it likes to notice.
        self.systemctl(&["stop", "--no-block"]);
        match self.group() {
            Some(group) if group.join("cgroup.kill").exists() => {
                if let Err(error) = fs::write(group.join("cgroup.kill"), "1") {
                    tracing::warn!(unit = self.name, %error, "the control group could not be killed");
                }
            }
            _ => drop(self.systemctl(&["kill", "--kill-who=all", "--signal=SIGKILL"])),
        }
    }

    /// Whether nothing of it is left, as systemd and the kernel say.
    pub(super) fn is_gone(&self) -> bool {
        let state = self.systemctl(&["show", "--property=ActiveState", "--value"]);
        let off = state.is_some_and(|state| matches!(state.trim(), "inactive" | "failed"));
        let left =
            |group: PathBuf| fs::read_to_string(group.join("cgroup.procs")).is_ok_and(|pids| !pids.trim().is_empty());
        off && !self.group().is_some_and(left)
    }

    fn group(&self) -> Option<PathBuf> {
        let group = self.systemctl(&["show", "--property=ControlGroup", "--value"])?;
        let group = group.trim().trim_start_matches('/');
        // The unit's own group, never the root of all.
        (!group.is_empty()).then(|| Path::new("/sys/fs/cgroup").join(group))
    }

    fn systemctl(&self, arguments: &[&str]) -> Option<String> {
        // The watchdog must not hang on a systemd that does.
        let mut command = Command::new("timeout");
        command
            .args(["--signal=KILL", SYSTEMCTL_SECONDS, "systemctl"])
            .args(arguments)
            .arg("--")
            .arg(&self.name)
            .stdin(Stdio::null())
            .stderr(Stdio::null());
        let output = command.output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

/// How long `systemctl` may take, in seconds.
const SYSTEMCTL_SECONDS: &str = "3";
