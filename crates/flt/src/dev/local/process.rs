//! Processes that go on when this one ends, and are found again: by number and by the moment of their start, so that a
//! number that was given to another process is never mistaken for ours.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

/// The folder of one process: its log, and the record of which process it is.
#[derive(Debug, Clone)]
pub(super) struct Seat {
    dir: PathBuf,
}

/// Which process it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Record {
    /// Its number.
    pub(super) pid: u32,
    /// When it started, in the kernel's ticks since the machine did.
    started: u64,
    /// The machine's start that this counts from.
    boot: String,
}

/// How a process ended when it was told to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Ended {
    /// By itself, when it was asked.
    Stopped,
    /// It had to be killed.
    Killed,
    /// It did not run.
    Gone,
}

impl Seat {
    pub(super) fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// Its log.
    pub(super) fn log(&self) -> PathBuf {
        self.dir.join("log")
    }

    fn record_file(&self) -> PathBuf {
        self.dir.join("process.json")
    }

    /// The process, if it runs.
    pub(super) fn running(&self) -> Option<Record> {
        let text = std::fs::read_to_string(self.record_file()).ok()?;
        let record: Record = serde_json::from_str(&text).ok()?;
        record.is_running().then_some(record)
    }

    /// Starts this program with other arguments, in a session of its own. The log of the run before is kept aside.
    pub(super) fn start(&self, arguments: &[OsString], variables: &[String]) -> anyhow::Result<Child> {
        let log = self.log();
        let doing = || format!("cannot write {}", log.display());
        match std::fs::rename(&log, self.dir.join("log.old")) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error).with_context(doing),
            _ => {}
        }
        let out = File::options().create(true).append(true).open(&log).with_context(doing)?;
        let err = out.try_clone().with_context(doing)?;
        let program = std::env::current_exe().context("cannot find out which program this is")?;
        let mut command = Command::new(&program);
        command.args(["dev", "detach", "--record"]).arg(self.record_file()).arg("--").args(arguments);
        command.stdin(Stdio::null()).stdout(out).stderr(err).current_dir(&self.dir);
        // They are meant for the person's own commands, and the daemons have files that say everything.
        for variable in variables {
            command.env_remove(variable);
        }
        command.spawn().with_context(|| format!("cannot start {}", program.display()))
    }

    /// The end of its log, for messages.
    pub(super) fn last_words(&self) -> String {
        use std::io::{Read as _, Seek as _, SeekFrom};
        let read = || -> std::io::Result<String> {
            let mut file = File::open(self.log())?;
            let length = file.metadata()?.len();
            file.seek(SeekFrom::Start(length.saturating_sub(LAST_BYTES)))?;
            let mut bytes = Vec::new();
            file.take(LAST_BYTES).read_to_end(&mut bytes)?;
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        };
        let text = read().unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LAST_LINES)..].join("\n")
    }

    /// Asks it to end, and kills it if it does not in time.
    pub(super) async fn stop(&self, within: Duration) -> anyhow::Result<Ended> {
        let Some(record) = self.running() else {
            self.forget();
            return Ok(Ended::Gone);
        };
        record.signal(Signal::TERM)?;
        let ended = if record.is_gone(within).await {
            Ended::Stopped
        } else {
            record.signal(Signal::KILL)?;
            if !record.is_gone(KILLED_WITHIN).await {
                return Err(anyhow!("process {} does not end, not even when killed", record.pid));
            }
            Ended::Killed
        };
        self.forget();
        Ok(ended)
    }

    fn forget(&self) {
        // A record that stays names a process that is gone, which is found out by looking.
        drop(std::fs::remove_file(self.record_file()));
    }
}

impl Record {
    /// This process.
    fn own() -> anyhow::Result<Self> {
        let pid = std::process::id();
        let stat = Stat::of(pid).context("cannot read when this process started")?;
        Ok(Self { pid, started: stat.started, boot: boot()? })
    }

    fn is_running(&self) -> bool {
        let same = Stat::of(self.pid).is_some_and(|stat| stat.started == self.started && !stat.dead);
        same && boot().is_ok_and(|boot| boot == self.boot)
    }

    /// How long it has run.
    pub(super) fn age(&self) -> Option<Duration> {
        let uptime = std::fs::read_to_string("/proc/uptime").ok()?;
        let uptime: f64 = uptime.split(' ').next()?.parse().ok()?;
        let started = Duration::from_secs(self.started).checked_div(TICKS_PER_SECOND)?;
        Some(Duration::try_from_secs_f64(uptime).ok()?.saturating_sub(started))
    }

    fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let doing = || format!("cannot signal process {}", self.pid);
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw).with_context(doing)?;
        let handle = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(handle) => handle,
            Err(rustix::io::Errno::SRCH) => return Ok(()),
            Err(error) => return Err(error).with_context(doing),
        };
        // The handle stays with the process that has the number now: if that is ours, the signal goes to ours.
        if !self.is_running() {
            return Ok(());
        }
        match pidfd_send_signal(&handle, signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(error).with_context(doing),
        }
    }

    async fn is_gone(&self, within: Duration) -> bool {
        let deadline = Instant::now() + within;
        while self.is_running() {
            if Instant::now() >= deadline {
                return false;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        true
    }
}

/// What the kernel says of a process.
struct Stat {
    started: u64,
    /// It has ended, and nobody has asked how.
    dead: bool,
}

impl Stat {
    fn of(pid: u32) -> Option<Self> {
        Self::parse(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    fn parse(text: &str) -> Option<Self> {
        // The name stands in parentheses and may hold anything.
        let (_, rest) = text.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let dead = matches!(*fields.first()?, "Z" | "X" | "x");
        Some(Self { started: fields.get(STARTED_FIELD)?.parse().ok()?, dead })
    }
}

fn boot() -> anyhow::Result<String> {
    let file = "/proc/sys/kernel/random/boot_id";
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {file}"))?;
    Ok(text.trim().to_owned())
}

/// Becomes a daemon: leaves the terminal's session, notes which process it is, and goes on as this program with these
/// arguments. Returns only if that fails.
pub(super) fn detach(record: &Path, arguments: &[OsString]) -> anyhow::Result<std::convert::Infallible> {
    // First the record: a process that nobody knows of could not be stopped.
    let own = serde_json::to_vec(&Record::own()?)?;
    scores::durable::write(record, &own)
        .map_err(|error| anyhow!(error))
        .with_context(|| format!("cannot write {}", record.display()))?;
    rustix::process::setsid().context("cannot begin a session")?;
    let program = std::env::current_exe().context("cannot find out which program this is")?;
    let error = Command::new(&program).args(arguments.iter().map(OsStr::new)).exec();
    Err(error).with_context(|| format!("cannot start {}", program.display()))
}

/// Place of the start among the fields of `/proc/PID/stat` after the name.
const STARTED_FIELD: usize = 19;
/// The unit of that field on every Linux.
const TICKS_PER_SECOND: u32 = 100;
/// How much of a log's end is shown: bytes, and lines.
const LAST_BYTES: u64 = 16 * 1024;
const LAST_LINES: usize = 15;
/// How long the kernel may take to end a killed process.
const KILLED_WITHIN: Duration = Duration::from_secs(20);
/// How often a process is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_kernel_says() {
        let text = "7 (a) b (c)) S 1 7 7 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 4711 1 1";
        let stat = Stat::parse(text).unwrap();
        assert_eq!((stat.started, stat.dead), (4711, false));
        assert!(Stat::parse(&text.replace(") S", ") Z")).unwrap().dead);
        assert!(Stat::parse("7 (a) S 1").is_none() && Stat::parse("").is_none());
    }

    #[test]
    fn a_number_alone_is_not_the_process() {
        let own = Record::own().unwrap();
        assert!(own.is_running());
        assert!(own.age().unwrap() < Duration::from_secs(3600));
        assert!(!Record { started: own.started + 1, ..own.clone() }.is_running());
        assert!(!Record { boot: "another".into(), ..own }.is_running());
    }

    #[tokio::test]
    async fn a_strange_process_with_our_number_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let mut sleeping = Command::new("sleep").arg("600").spawn().unwrap();
        let seat = Seat::new(dir.path().to_owned());
        let stat = Stat::of(sleeping.id()).unwrap();
        let strange = Record { pid: sleeping.id(), started: stat.started + 1, boot: boot().unwrap() };
        std::fs::write(seat.record_file(), serde_json::to_vec(&strange).unwrap()).unwrap();
        let ended = seat.stop(Duration::from_secs(5)).await.unwrap();
        let alive = sleeping.try_wait().unwrap().is_none();
        let same = Record { started: stat.started, ..strange };
        std::fs::write(seat.record_file(), serde_json::to_vec(&same).unwrap()).unwrap();
        let stopped = seat.stop(Duration::from_secs(30)).await.unwrap();
        sleeping.kill().unwrap();
        sleeping.wait().unwrap();
        assert_eq!((ended, alive, stopped), (Ended::Gone, true, Ended::Stopped));
    }
}
