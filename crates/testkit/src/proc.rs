//! Child processes that a test starts, listens to, interrupts and kills.

mod ports;
mod program;

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

pub(crate) use rustix::process::Signal;
use tempfile::TempDir;

pub use ports::free_port;
pub use program::{Output, Program, flt_binary};

use crate::Undo;
use crate::wait::DEADLINE;

/// A process that runs, leader of its own process group. Dropping it kills the group.
///
/// What it prints goes to files. If it is dropped while the test panics, the end of both streams is shown; with
/// `FLT_TEST_TAIL=1` every line is shown as it comes.
#[derive(Debug)]
pub struct Proc {
    program: Program,
    child: Mutex<Child>,
    pid: u32,
    logs: TempDir,
    undo: Option<Undo>,
}

/// A place in what a process has printed, to look only at what comes after it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Mark {
    stdout: u64,
    stderr: u64,
}

impl Proc {
    /// The number of the process, which is that of its group too.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// The name it has in messages.
    pub fn name(&self) -> &str {
        self.program.name()
    }

    /// Everything it has printed to its standard output so far.
    pub fn stdout(&self) -> String {
        self.text(STDOUT, 0)
    }

    /// Everything it has printed to its standard error so far.
    pub fn stderr(&self) -> String {
        self.text(STDERR, 0)
    }

    /// Where its two streams are now, for [`Proc::wait_for_after`].
    pub fn mark(&self) -> Mark {
        let length = |stream: &str| std::fs::metadata(self.logs.path().join(stream)).map_or(0, |meta| meta.len());
        Mark { stdout: length(STDOUT), stderr: length(STDERR) }
    }

    /// Waits for a line that contains a text, on either stream, from the start; gives the whole line.
    ///
    /// Panics with both streams when it ends without having printed it, or when it takes longer than [`DEADLINE`].
    #[track_caller]
    pub fn wait_for(&self, text: &str) -> String {
        self.wait_for_after(Mark::default(), text, DEADLINE)
    }

    /// [`Proc::wait_for`] among what was printed after a mark, within a time.
    #[track_caller]
    pub fn wait_for_after(&self, mark: Mark, text: &str, within: Duration) -> String {
        let begun = Instant::now();
        loop {
            let running = self.is_running();
            if let Some(line) = self.line_after(mark, text) {
                return line;
            }
            assert!(running, "{} ended without printing {text:?}{}", self.name(), self.streams());
            assert!(begun.elapsed() < within, "{} did not print {text:?} in {within:?}{}", self.name(), self.streams());
            std::thread::sleep(PAUSE);
        }
    }

    /// The first complete line after a mark that contains a text.
    pub fn line_after(&self, mark: Mark, text: &str) -> Option<String> {
        [(STDOUT, mark.stdout), (STDERR, mark.stderr)].into_iter().find_map(|(stream, from)| {
            let printed = self.text(stream, from);
            printed
                .split_inclusive('\n')
                .find(|line| line.ends_with('\n') && line.contains(text))
                .map(|line| line.trim_end_matches('\n').to_owned())
        })
    }

    /// Whether it has not ended yet. A stopped process runs in this sense.
    pub fn is_running(&self) -> bool {
        matches!(self.child().try_wait(), Ok(None))
    }

    /// Kills it and its whole group at once, as a crash does, and waits until it is gone.
    pub fn kill(&mut self) {
        self.end();
    }

    /// Asks its group to end (SIGTERM); follow with [`Proc::wait`].
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Asks its group to end as a person does on a terminal (SIGINT).
    pub fn interrupt(&self) {
        self.signal(Signal::INT);
    }

    /// Stops it in the middle of whatever it does (SIGSTOP): a machine that hangs, a virtual machine that is paused.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on after [`Proc::freeze`].
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    /// Asks it to read its configuration again (SIGHUP).
    pub fn hang_up(&self) {
        self.signal(Signal::HUP);
    }

    /// Waits for its end; panics with both streams when that takes longer.
    #[track_caller]
    pub fn wait(&mut self, within: Duration) -> Output {
        let begun = Instant::now();
        loop {
            let ended = self.child().try_wait();
            match ended {
                Ok(Some(status)) => return self.output(status),
                Ok(None) => {}
                Err(error) => panic!("cannot wait for {}: {error}", self.name()),
            }
            assert!(begun.elapsed() < within, "{} did not end in {within:?}{}", self.name(), self.streams());
            std::thread::sleep(PAUSE);
        }
    }

    /// Kills it if it still runs and starts the same program again, with empty streams.
    #[track_caller]
    pub fn restart(&mut self) {
        self.end();
        *self = self.program.clone().spawn();
    }

    /// The command that it was started with.
    pub fn program(&self) -> &Program {
        &self.program
    }

    fn child(&self) -> MutexGuard<'_, Child> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn signal(&self, signal: Signal) {
        // While it is not waited for, its number cannot be given to another process.
        if self.is_running() {
            kill_group(self.pid, signal);
        }
    }

    fn output(&self, status: ExitStatus) -> Output {
        Output::new(self.name(), status, self.stdout(), self.stderr())
    }

    fn text(&self, stream: &str, from: u64) -> String {
        tail(&self.logs.path().join(stream), from).unwrap_or_default()
    }

    fn streams(&self) -> String {
        show(&self.stdout(), &self.stderr())
    }

    /// Kills whatever is left of the group and waits for the process.
    fn end(&mut self) {
        kill_group(self.pid, Signal::KILL);
        let mut child = self.child();
        if let Err(error) = child.wait() {
            eprintln!("cannot wait for {}: {error}", self.program.name());
        }
        drop(child);
        if let Some(undo) = self.undo.take() {
            undo.cancel();
        }
    }
}

impl Drop for Proc {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{} (process {}){}", self.name(), self.pid, self.streams());
        }
        self.end();
    }
}

/// Sends a signal to a process group, if there is one.
pub(crate) fn kill_group(group: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(group).ok().and_then(rustix::process::Pid::from_raw) {
        // An error means that no process of the group is left.
        let _gone = rustix::process::kill_process_group(pid, signal);
    }
}

/// What a file holds from a place on, its end only where that is very long.
fn tail(file: &Path, from: u64) -> std::io::Result<String> {
    let mut file = File::open(file)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(from.max(length.saturating_sub(STREAM_BYTES_MAX))))?;
    let mut bytes = Vec::new();
    file.take(STREAM_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Both streams for a message, their last lines only.
fn show(stdout: &str, stderr: &str) -> String {
    let last = |name: &str, text: &str| {
        let lines: Vec<&str> = text.lines().collect();
        let from = lines.len().saturating_sub(SHOWN_LINES);
        let omitted = if from > 0 { format!(" (last {SHOWN_LINES} lines of {})", lines.len()) } else { String::new() };
        format!("\n--- {name}{omitted}\n{}", lines.get(from..).unwrap_or_default().join("\n"))
    };
    last("stdout", stdout) + &last("stderr", stderr)
}

/// The files of a process that has just been given its streams.
fn log_files(logs: &Path) -> std::io::Result<(File, File)> {
    let open = |name: &str| File::options().create(true).append(true).open(logs.join(name));
    Ok((open(STDOUT)?, open(STDERR)?))
}

/// Prints the lines of a process as they come, until it has ended.
fn follow(name: String, pid: u32, logs: PathBuf) {
    let mut at = [0, 0];
    loop {
        let alive = crate::undo::started(pid).is_some() && logs.exists();
        for (place, stream) in at.iter_mut().zip([STDOUT, STDERR]) {
            let text = tail(&logs.join(stream), *place).unwrap_or_default();
            for line in text.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
                *place += line.len() as u64;
                eprint!("[{name}] {line}");
            }
        }
        if !alive {
            return;
        }
        std::thread::sleep(FOLLOW_PAUSE);
    }
}

const STDOUT: &str = "stdout";
const STDERR: &str = "stderr";
const PAUSE: Duration = Duration::from_millis(10);
const FOLLOW_PAUSE: Duration = Duration::from_millis(50);
/// How much of a stream is looked at, in bytes from its end.
const STREAM_BYTES_MAX: u64 = 64 << 20;
/// How many lines of a stream a message shows.
const SHOWN_LINES: usize = 60;
