//! A program, run without a shell, in a process group of its own that does not outlive it.

use std::ffi::OsStr;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;
use tokio::time::timeout;

/// How a program ended, and the end of what it said.
#[derive(Debug)]
pub(super) struct Ran {
    status: ExitStatus,
    /// Its standard output, from its start.
    pub(super) stdout: String,
    stderr: String,
}

impl Ran {
    /// Whether it ended with status 0; else what it said.
    pub(super) fn success(&self) -> Result<(), String> {
        if self.status.success() {
            return Ok(());
        }
        Err(format!("{}{}", self.status, said(&self.stdout, &self.stderr)))
    }
}

/// Runs a program to its end or to the deadline. Whatever it started in its group ends with it, also when this future
/// is dropped.
pub(super) async fn run<S: AsRef<OsStr>>(path: &OsStr, command: &[S], deadline: Duration) -> Result<Ran, String> {
    let [program, arguments @ ..] = command else {
        return Err("it names no program".into());
    };
    let mut command = Command::new(program);
    command.args(arguments).env_clear().env("PATH", path).env("LC_ALL", "C").current_dir("/");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.process_group(0).kill_on_drop(true);
    let started = command.spawn();
    let mut child = started.map_err(|error| format!("`{}` does not start: {error}", program.as_ref().display()))?;
    let group = Group(child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw));
    let stdout = Pipe::read(child.stdout.take());
    let stderr = Pipe::read(child.stderr.take());
    let ended = timeout(deadline, child.wait()).await;
    drop(group);
    let (stdout, stderr) = (stdout.text().await, stderr.text().await);
    match ended {
        Ok(Ok(status)) => Ok(Ran { status, stdout, stderr }),
        Ok(Err(error)) => Err(format!("cannot wait for it: {error}")),
        Err(_) => Err(format!("not done within {} seconds{}", deadline.as_secs(), said(&stdout, &stderr))),
    }
}

/// Kills a process group when it goes out of scope.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // There is none left when everything has ended by itself.
            kill_process_group(group, Signal::KILL).ok();
        }
    }
}

/// The start of what comes out of a pipe; the rest is read and thrown away, so that nobody waits at a full pipe.
struct Pipe {
    kept: Arc<Mutex<Vec<u8>>>,
    reader: tokio::task::JoinHandle<()>,
}

impl Pipe {
    fn read(pipe: Option<impl AsyncRead + Send + Unpin + 'static>) -> Self {
        let kept = Arc::new(Mutex::new(Vec::new()));
        let into = Arc::clone(&kept);
        let reader = tokio::spawn(async move {
            let Some(mut pipe) = pipe else { return };
            let mut chunk = [0; 4096];
            while let Ok(read @ 1..) = pipe.read(&mut chunk).await {
                let mut kept = into.lock().unwrap_or_else(PoisonError::into_inner);
                let room = OUTPUT_BYTES_MAX.saturating_sub(kept.len());
                kept.extend_from_slice(&chunk[..read.min(room)]);
            }
        });
        Self { kept, reader }
    }

    async fn text(mut self) -> String {
        // A process that left the group may hold the pipe open; what it says then is not waited for.
        drop(timeout(LAST_WORDS, &mut self.reader).await);
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&kept).into_owned()
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

fn said(stdout: &str, stderr: &str) -> String {
    let text = if stderr.trim().is_empty() { stdout } else { stderr };
    let line = text.trim().lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" | ");
    let line: String = line.chars().filter(|c| !c.is_control()).collect();
    if line.is_empty() { String::new() } else { format!(": {}", protocols::outcome::shorten(&line, SAID_BYTES_MAX)) }
}

/// The most that is kept of each output, in bytes.
const OUTPUT_BYTES_MAX: usize = 16 * 1024;
/// The most of it that goes into a message, in bytes.
const SAID_BYTES_MAX: usize = 512;
/// How long the pipes are still read after the end.
const LAST_WORDS: Duration = Duration::from_millis(500);
