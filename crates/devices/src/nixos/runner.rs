//! How a program is run so that it outlives this process: in a transient unit of systemd, or in a session of its own.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use scores::DeviceError;
use tokio::process::Command;
use tokio::time::{Instant, sleep};

use super::scripts::{Script, quoted};

/// What runs a program detached from this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Runner {
    /// systemd: transient units and timers, outside the agent's own control group.
    Systemd,
    /// A session of its own, for machines where systemd is not the first process (containers, tests).
    Session,
}

impl Runner {
    /// What this machine has: systemd, if it was booted with it.
    pub fn detect(root: &Path) -> Self {
        if root.join("run/systemd/system").is_dir() { Self::Systemd } else { Self::Session }
    }

    /// Whether the machine is still starting, when a switch would wait for that without end.
    pub(super) async fn is_starting(self) -> Result<bool, DeviceError> {
        if self == Self::Session {
            return Ok(false);
        }
        let state =
            run("ask systemd for its state", "systemctl", &["show", "--property=SystemState", "--value"]).await?;
        Ok(matches!(state.trim(), "initializing" | "starting"))
    }

    /// Starts a program as `unit`.
    pub(super) async fn start(self, unit: &str, script: &Script, args: &[&str]) -> Result<(), DeviceError> {
        let file = script.file.to_string_lossy();
        match self {
            Self::Systemd => {
                let unit = format!("--unit={unit}");
                let mut all = vec![&*unit, "--collect", "--quiet", "--no-ask-password", "--service-type=exec"];
                all.extend(["--", "/bin/sh", &*file]);
                all.extend(args);
                run("start a transient unit", "systemd-run", &all).await.map(drop)
            }
            Self::Session => {
                let mut all = vec!["--fork", "/bin/sh", &*file];
                all.extend(args);
                launch("start a session", &all).await?;
                self.wait_for_start(script).await
            }
        }
    }

    /// Whether a program that was started as `unit` still runs.
    pub(super) async fn is_running(self, unit: &str, script: &Script) -> Result<bool, DeviceError> {
        match self {
            Self::Systemd => {
                let unit = format!("{unit}.service");
                let state =
                    run("ask for a unit", "systemctl", &["show", "--property=ActiveState", "--value", &unit]).await?;
                Ok(matches!(state.trim(), "active" | "activating" | "deactivating" | "reloading"))
            }
            Self::Session => Ok(live(script).is_some()),
        }
    }

    /// Stops it, with all that it started.
    pub(super) async fn stop(self, unit: &str, script: &Script) -> Result<(), DeviceError> {
        match self {
            Self::Systemd => {
                let unit = format!("{unit}.service");
                // A unit that is gone already is what was wanted, and `systemctl` calls it a failure.
                drop(run("stop a unit", "systemctl", &["stop", &unit]).await);
            }
            Self::Session => {
                if let Some(pid) = live(script) {
                    // It may be gone by now; whether it is is looked at below.
                    let _gone = rustix::process::kill_process_group(pid, rustix::process::Signal::KILL);
                }
            }
        }
        let end = Instant::now() + STOP_TIME;
        while self.is_running(unit, script).await? {
            if Instant::now() > end {
                return Err(DeviceError::transient(format!("stop {unit}")));
            }
            sleep(LOOK).await;
        }
        Ok(())
    }

    /// The line of a shell that does the same as [`stop`](Self::stop).
    pub(super) fn stop_line(self, unit: &str, script: &Script) -> String {
        match self {
            Self::Systemd => format!("systemctl stop {unit}.service 2>/dev/null || :"),
            Self::Session => {
                let pid = quoted(&script.pid);
                format!("if [ -e {pid} ]; then read -r pid <{pid} && kill -s KILL -- \"-$pid\" 2>/dev/null; fi")
            }
        }
    }

    /// Sees to it that a program runs after a while, whatever becomes of this process.
    pub(super) async fn arm(self, unit: &str, after: Duration, script: &Script) -> Result<(), DeviceError> {
        let (file, seconds) = (script.file.to_string_lossy(), after.as_secs());
        match self {
            Self::Systemd => {
                let (unit, after) = (format!("--unit={unit}"), format!("--on-active={seconds}s"));
                let all =
                    [&*unit, &*after, "--collect", "--quiet", "--no-ask-password", "--timer-property=AccuracySec=1s"];
                let all: Vec<&str> = all.into_iter().chain(["--", "/bin/sh", &*file]).collect();
                run("arm the way back", "systemd-run", &all).await.map(drop)
            }
            Self::Session => {
                let line = format!(
                    "printf '%s\\n' $$ >{pid}; sleep {seconds}; exec /bin/sh {file}",
                    pid = quoted(&script.pid),
                    file = quoted(&script.file)
                );
                launch("arm the way back", &["--fork", "/bin/sh", "-c", &line]).await?;
                self.wait_for_start(script).await
            }
        }
    }

    /// Takes that back. The program must not be at work: whoever decided knows.
    pub(super) async fn disarm(self, unit: &str, script: &Script) -> Result<(), DeviceError> {
        match self {
            Self::Systemd => {
                let timer = format!("{unit}.timer");
                drop(run("disarm the way back", "systemctl", &["stop", &timer]).await);
                let state = ["show", "--property=ActiveState", "--value", &timer];
                let state = run("ask for a timer", "systemctl", &state).await?;
                match state.trim() {
                    "active" | "activating" => Err(DeviceError::transient("disarm the way back")),
                    _ => Ok(()),
                }
            }
            Self::Session => self.stop(unit, script).await,
        }
    }

    /// Waits until a program has said who it is, so that it can be found and stopped.
    async fn wait_for_start(self, script: &Script) -> Result<(), DeviceError> {
        let end = Instant::now() + STOP_TIME;
        while !script.pid.exists() && !script.status.exists() {
            if Instant::now() > end {
                return Err(DeviceError::transient(format!("start {}", script.file.display())));
            }
            sleep(LOOK).await;
        }
        Ok(())
    }
}

/// The process that runs a script, if the one that wrote its id is still that.
fn live(script: &Script) -> Option<rustix::process::Pid> {
    let pid: i32 = std::fs::read_to_string(&script.pid).ok()?.trim().parse().ok()?;
    let command = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let name = script.file.to_string_lossy();
    let ours = command.windows(name.len()).any(|part| part == name.as_bytes());
    ours.then(|| rustix::process::Pid::from_raw(pid)).flatten()
}

async fn run(doing: &str, program: &str, args: &[&str]) -> Result<String, DeviceError> {
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let output = tokio::time::timeout(RUN_TIME, command.output())
        .await
        .map_err(|_| DeviceError::transient(format!("{doing}: {program} did not answer")))?
        .map_err(|error| DeviceError::io(format!("{doing}: run {program}"), error))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let said: String = said.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(SAID_CHARS).collect();
        return Err(DeviceError::transient(format!("{doing}: {program} ended with {}: {said}", output.status)));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Starts a session that keeps none of our files open.
async fn launch(doing: &str, args: &[&str]) -> Result<(), DeviceError> {
    let mut command = Command::new("setsid");
    command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let status = tokio::time::timeout(RUN_TIME, command.status())
        .await
        .map_err(|_| DeviceError::transient(format!("{doing}: setsid did not answer")))?
        .map_err(|error| DeviceError::io(format!("{doing}: run setsid"), error))?;
    if status.success() { Ok(()) } else { Err(DeviceError::transient(format!("{doing}: setsid ended with {status}"))) }
}

/// How often a state is looked at.
const LOOK: Duration = Duration::from_millis(50);
/// What stopping may take: systemd kills what does not stop after 90 seconds.
const STOP_TIME: Duration = Duration::from_secs(120);
/// What a question to systemd may take; it may be busy with the switch itself.
const RUN_TIME: Duration = Duration::from_secs(150);
/// How much of what a program says is kept.
const SAID_CHARS: usize = 300;
