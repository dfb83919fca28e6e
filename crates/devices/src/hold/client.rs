//! The agent's side of the supervisor: starts it when it is not there, and asks it.

use std::io;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use failover::LocalTime;
use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use scores::workload::{Hold, HookEnd, Nudge, Program};
use scores::{BoxFuture, DeviceError};
use tokio::net::UnixStream;
use tokio::process::Command;
use tokio::sync::Mutex;
use tokio::time::{sleep, timeout};

use super::server::lock_path;
use super::socket;
use super::wire::{Answer, Ask, read, write};

/// What reaches a supervisor.
#[derive(Debug, Clone)]
pub struct HoldClientParts {
    /// Where it listens, or will.
    pub socket: PathBuf,
    /// The systemd unit that it holds instead of a program.
    pub unit: Option<String>,
    /// `flt`, which is started as the supervisor.
    pub program: PathBuf,
    /// Whether systemd is to start it, in a unit of its own: without the bonds and the end of this process's unit.
    pub detached: bool,
}

/// A supervisor, started when it is needed. It outlives this process.
#[derive(Debug)]
pub struct HoldClient {
    parts: HoldClientParts,
    /// Held by whoever starts one.
    starting: Mutex<()>,
}

impl HoldClient {
    /// Reaches the supervisor at this socket; its folder must exist, and be nobody else's.
    pub fn new(parts: HoldClientParts) -> Self {
        Self { parts, starting: Mutex::new(()) }
    }

    async fn ask(&self, doing: &str, ask: Ask, within: Duration) -> Result<Answer, DeviceError> {
        let failed = |why: String| DeviceError::transient(format!("{doing}: {why}"));
        let asked = async {
            let mut stream = self.connect().await.map_err(|error| failed(error.to_string()))?;
            write(&mut stream, &ask).await.map_err(|error| failed(format!("the supervisor is gone: {error}")))?;
            read(&mut stream).await.map_err(|error| failed(format!("the supervisor is gone: {error}")))
        };
        match timeout(within, asked).await {
            Ok(Ok(Answer::Failed(why))) => Err(failed(why)),
            Ok(answer) => answer,
            Err(_) => Err(failed(format!("the supervisor does not answer within {} ms", within.as_millis()))),
        }
    }

    async fn connect(&self) -> io::Result<UnixStream> {
        if let Ok(stream) = socket::connect(&self.parts.socket).await {
            return Ok(stream);
        }
        let _one = self.starting.lock().await;
        if let Ok(stream) = socket::connect(&self.parts.socket).await {
            return Ok(stream);
        }
        self.spawn()?;
        loop {
            match socket::connect(&self.parts.socket).await {
                Ok(stream) => return Ok(stream),
                Err(_) => sleep(AGAIN).await,
            }
        }
    }

    /// Starts a supervisor; one that is not needed, because another has the lock, ends by itself.
    fn spawn(&self) -> io::Result<()> {
        let program = &self.parts.program;
        let mut child =
            self.command(if self.parts.detached { detached(program) } else { Command::new(program) }).spawn()?;
        let direct = self.parts.detached.then(|| self.command(Command::new(program)));
        tokio::spawn(async move {
            let ended = child.wait().await;
            let Some(mut direct) = direct.filter(|_| !ended.is_ok_and(|status| status.success())) else { return };
            // Better one that ends with this unit than none.
            tracing::error!("systemd does not start the supervisor of a workload: it runs in this unit");
            match direct.spawn() {
                Ok(mut child) => drop(child.wait().await),
                Err(error) => tracing::error!(%error, "the supervisor of a workload does not start"),
            }
        });
        Ok(())
    }

    fn command(&self, mut command: Command) -> Command {
        command.args(["agent", "hold", "--socket"]).arg(&self.parts.socket);
        if let Some(unit) = &self.parts.unit {
            command.args(["--unit", unit]);
        }
        // Its own group: what ends the agent by its terminal must not end it at the same time.
        command.stdin(Stdio::null()).process_group(0).kill_on_drop(false);
        command
    }

    /// Ends the supervisor itself, wherever it hangs. What it held ends with it.
    fn end_supervisor(&self) {
        let lock = std::fs::File::open(lock_path(&self.parts.socket));
        // Who can take the lock finds no supervisor, and must not kill whoever has its number now.
        let Ok(lock) = lock else { return };
        if flock(&lock, FlockOperation::NonBlockingLockShared).is_ok() {
            return;
        }
        let number = io::read_to_string(&lock).ok().and_then(|text| text.trim().parse().ok());
        let Some(pid) = number.and_then(Pid::from_raw) else { return };
        if let Ok(handle) = pidfd_open(pid, PidfdFlags::empty())
            && flock(&lock, FlockOperation::NonBlockingLockShared).is_err()
            && let Err(error) = pidfd_send_signal(&handle, Signal::KILL)
        {
            tracing::warn!(%error, "the supervisor could not be ended");
        }
    }

    async fn done(&self, doing: &str, ask: Ask, within: Duration) -> Result<(), DeviceError> {
        self.ask(doing, ask, within).await.map(drop)
    }
}

/// Has systemd start a program, in a unit that it ends with all that is in it when the program ends.
fn detached(program: &std::path::Path) -> Command {
    let mut command = Command::new("systemd-run");
    command.args(["--quiet", "--collect", "--no-ask-password", "--service-type=exec", "--working-directory=/"]);
    for name in PASSED_ON {
        if let Some(value) = std::env::var_os(name) {
            let mut set = std::ffi::OsString::from(format!("--setenv={name}="));
            set.push(value);
            command.arg(set);
        }
    }
    command.arg("--").arg(program);
    command
}

impl Hold for HoldClient {
    fn arm(&self, until: LocalTime) -> BoxFuture<'_, Result<(), DeviceError>> {
        Box::pin(self.done("arm the watchdog", Ask::Arm(until), SHORT))
    }

    fn run<'a>(&'a self, program: &'a Program, until: LocalTime) -> BoxFuture<'a, Result<(), DeviceError>> {
        Box::pin(self.done("start the workload", Ask::Run(program.clone(), until), LONG))
    }

    fn hook<'a>(&'a self, program: &'a Program, within: Duration) -> BoxFuture<'a, Result<HookEnd, DeviceError>> {
        Box::pin(async move {
            let doing = format!("run `{}`", program.command.first().map_or("", String::as_str));
            match self.ask(&doing, Ask::Hook(program.clone(), within), within + LONG).await? {
                Answer::Hook(ended) => Ok(ended),
                _ => Err(DeviceError::transient(format!("{doing}: the supervisor answers something else"))),
            }
        })
    }

    fn signal(&self, signal: Nudge) -> BoxFuture<'_, Result<(), DeviceError>> {
        Box::pin(self.done("signal the workload", Ask::Signal(signal), SHORT))
    }

    fn ended(&self) -> BoxFuture<'_, String> {
        Box::pin(async move {
            match self.ask("wait for the workload", Ask::Ended, FOREVER).await {
                Ok(Answer::Ended(why)) => why,
                Ok(_) => "the supervisor answers something else".to_owned(),
                Err(error) => scores::chain(&error),
            }
        })
    }

    fn bitten(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            loop {
                // One that is not there holds nothing that it could end.
                if let Ok(mut stream) = socket::connect(&self.parts.socket).await
                    && write(&mut stream, &Ask::Bitten).await.is_ok()
                    && read::<Answer>(&mut stream).await.is_ok()
                {
                    return;
                }
                sleep(BITTEN_AGAIN).await;
            }
        })
    }

    fn is_running(&self) -> BoxFuture<'_, Result<bool, DeviceError>> {
        Box::pin(async move {
            let answer = self.ask("ask whether the workload runs", Ask::State, SHORT).await?;
            Ok(answer == Answer::Running(true))
        })
    }

    fn kill(&self) -> BoxFuture<'_, Result<(), DeviceError>> {
        Box::pin(self.done("end the workload", Ask::Kill, FOREVER))
    }

    fn kill_hard(&self) -> BoxFuture<'_, Result<(), DeviceError>> {
        Box::pin(async move {
            self.end_supervisor();
            self.done("end the workload", Ask::Kill, FOREVER).await
        })
    }

    fn quit(&self) -> BoxFuture<'_, Result<(), DeviceError>> {
        Box::pin(self.done("end the supervisor", Ask::Quit, LONG))
    }
}

/// What a supervisor that systemd starts has of this process's environment.
const PASSED_ON: [&str; 3] = ["PATH", "FLT_LOG", "LC_ALL"];
/// How long a supervisor may take to answer what needs no work.
const SHORT: Duration = Duration::from_secs(2);
/// How long a supervisor may take to answer what needs some, and to start.
const LONG: Duration = Duration::from_secs(10);
/// Who waits for this long drops the future when it is enough.
const FOREVER: Duration = Duration::from_secs(365 * 24 * 3600);
/// How soon a supervisor that was started is looked for again.
const AGAIN: Duration = Duration::from_millis(5);
/// How soon a supervisor is looked for again to be asked whether it has bitten.
const BITTEN_AGAIN: Duration = Duration::from_millis(200);
