//! What the supervisor holds, and how it ends it.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::ffi::OsString;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{ChildStdin, Command, Stdio};
use std::rc::Rc;
use std::time::Duration;

use failover::{LocalTime, Span};
use rustix::process::{WaitOptions, WaitStatus, wait};
use scores::workload::{HOOK_OUTPUT_BYTES_MAX, HookEnd, Nudge, Program};
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe::Receiver;
use tokio::sync::{oneshot, watch};
use tokio::time::{sleep, timeout};

use super::unit::Unit;
use super::{MARK, now, proc};

/// The main program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Main {
    /// None runs.
    Off(String),
    /// It runs.
    On,
}

/// Everything that is held. On one thread: programs die with the thread that started them.
pub(super) struct Held {
    mark: OsString,
    program: PathBuf,
    unit: Option<Unit>,
    namespaces: bool,
    deadline: watch::Sender<LocalTime>,
    main: watch::Sender<Main>,
    /// The main program's inside, and the pipe that carries its signals.
    inside: RefCell<Option<(i32, ChildStdin)>>,
    hooks: RefCell<HashMap<i32, oneshot::Sender<Option<i32>>>>,
    bites: watch::Sender<u32>,
    killing: Cell<u32>,
}

impl Held {
    pub(super) fn new(mark: OsString, program: PathBuf, unit: Option<String>, namespaces: bool) -> Rc<Self> {
        Rc::new(Self {
            mark,
            program,
            unit: unit.map(|name| Unit { name }),
            namespaces,
            deadline: watch::Sender::new(LocalTime::NEVER),
            main: watch::Sender::new(Main::Off("it was not started".into())),
            inside: RefCell::default(),
            hooks: RefCell::default(),
            bites: watch::Sender::new(0),
            killing: Cell::new(0),
        })
    }

    pub(super) fn arm(&self, until: LocalTime) {
        self.deadline.send_replace(until);
    }

    pub(super) fn is_running(&self) -> bool {
        *self.main.borrow() == Main::On
    }

    /// Waits for the end of the main program.
    pub(super) async fn ended(&self) -> String {
        let mut main = self.main.subscribe();
        match main.wait_for(|main| *main != Main::On).await.as_deref() {
            Ok(Main::Off(why)) => why.clone(),
            _ => "the supervisor stops".to_owned(),
        }
    }

    /// Waits until the instant has come and everything was ended; each time is told once.
    pub(super) async fn bitten(&self) {
        let mut bites = self.bites.subscribe();
        drop(bites.wait_for(|bites| *bites > 0).await.map(drop));
        self.bites.send_modify(|bites| *bites = bites.saturating_sub(1));
    }

    /// What was not told of earlier bites is of no use after an end that was asked for.
    pub(super) fn forget_bites(&self) {
        self.bites.send_replace(0);
    }

    /// Ends everything when the instant comes. The clock is looked at often, because timers stand still while a machine
    /// sleeps.
    pub(super) async fn watch_deadline(self: &Rc<Self>) {
        let mut armed = self.deadline.subscribe();
        loop {
            let (until, now) = (*armed.borrow_and_update(), now());
            if until <= now {
                tracing::warn!("the instant has come: everything is ended");
                self.kill().await;
                self.deadline.send_if_modified(|deadline| {
                    let same = *deadline == until;
                    if same {
                        *deadline = LocalTime::NEVER;
                    }
                    same
                });
                self.bites.send_modify(|bites| *bites = bites.saturating_add(1));
                continue;
            }
            let left = Duration::from_micros(until.since(now).min(LOOK).as_micros());
            tokio::select! {
                () = sleep(left) => {}
                changed = armed.changed() => if changed.is_err() { return },
            }
        }
    }

    /// Starts the main program.
    pub(super) async fn run(self: &Rc<Self>, program: &Program, until: LocalTime) -> Result<(), String> {
        self.may_begin()?;
        if self.is_running() {
            return Err("it runs already".into());
        }
        if now() >= until {
            return Err("it is too late to start it".into());
        }
        if until != LocalTime::NEVER && *self.deadline.borrow() == LocalTime::NEVER {
            return Err("no end is armed".into());
        }
        if let Some(unit) = &self.unit {
            return self.start_unit(unit).await;
        }
        let mut command = self.command(program, self.namespaces)?;
        let mut child = command.spawn().map_err(|error| format!("it does not start: {error}"))?;
        let stdin = child.stdin.take().ok_or("it has no standard input")?;
        let pid = i32::try_from(child.id()).map_err(|error| error.to_string())?;
        *self.inside.borrow_mut() = Some((pid, stdin));
        self.main.send_replace(Main::On);
        self.bites.send_replace(0);
        // It may have ended already, and been reaped as nobody's.
        self.reap();
        Ok(())
    }

    async fn start_unit(self: &Rc<Self>, unit: &Unit) -> Result<(), String> {
        let command = ["systemctl", "start", "--", &unit.name].map(str::to_owned).to_vec();
        let ended = self.hook(&Program { command, ..Program::default() }, UNIT_START).await?;
        if !ended.success() {
            return Err(format!("systemd does not start it: {}", ended.output.trim()));
        }
        self.main.send_replace(Main::On);
        let this = Rc::clone(self);
        tokio::task::spawn_local(async move {
            while this.is_running() {
                sleep(UNIT_LOOK).await;
                if this.unit.as_ref().is_some_and(Unit::is_gone) {
                    this.main.send_replace(Main::Off("the unit is not active any more".into()));
                }
            }
        });
        Ok(())
    }

    /// Sends the main program a signal.
    pub(super) fn signal(&self, signal: Nudge) -> Result<(), String> {
        let byte = match signal {
            Nudge::Hup => b'H',
            Nudge::Int => b'I',
            Nudge::Quit => b'Q',
            Nudge::Term => b'T',
            Nudge::Usr1 => b'1',
            Nudge::Usr2 => b'2',
        };
        match &mut *self.inside.borrow_mut() {
            Some((_, pipe)) => pipe.write_all(&[byte]).map_err(|error| format!("it takes no signals: {error}")),
            None => Err("it does not run".into()),
        }
    }

    /// Runs a hook to its end. What it leaves running is ended when this future is dropped before that, else with
    /// everything else.
    pub(super) async fn hook(&self, program: &Program, within: Duration) -> Result<HookEnd, String> {
        self.may_begin()?;
        let mut command = self.command(program, false)?;
        let (read, write) = io::pipe().map_err(|error| format!("cannot make a pipe: {error}"))?;
        let also = write.try_clone().map_err(|error| format!("cannot make a pipe: {error}"))?;
        command.stdout(write).stderr(also);
        let mut child = command.spawn().map_err(|error| format!("it does not start: {error}"))?;
        // It holds the writing ends of the pipe.
        drop(command);
        let pid = i32::try_from(child.id()).map_err(|error| error.to_string())?;
        let (tell, status) = oneshot::channel();
        self.hooks.borrow_mut().insert(pid, tell);
        // When this is dropped, the inside ends what it runs.
        let stdin = child.stdin.take();
        self.reap();
        let mut said = Said::new(read.into())?;
        let ended = timeout(within, async {
            let mut status = std::pin::pin!(status);
            loop {
                tokio::select! {
                    ended = &mut status => return ended.ok().flatten(),
                    () = said.read() => {}
                }
            }
        });
        let ended = ended.await;
        drop(timeout(LAST_WORDS, said.read_all()).await);
        drop(stdin);
        Ok(HookEnd { status: ended.unwrap_or(None), output: said.text() })
    }

    fn may_begin(&self) -> Result<(), String> {
        if self.killing.get() > 0 { Err("everything is being ended".into()) } else { Ok(()) }
    }

    /// Ends everything, and returns when it is verified that nothing is left.
    pub(super) async fn kill(&self) {
        self.killing.set(self.killing.get().saturating_add(1));
        let _no_more = Killing(&self.killing);
        loop {
            if let Some(unit) = &self.unit {
                unit.kill();
            }
            let living = proc::kill_all(&self.mark);
            let childless = self.reap();
            let gone = self.unit.as_ref().is_none_or(Unit::is_gone);
            if living == 0 && childless && gone {
                break;
            }
            sleep(if self.unit.is_some() { UNIT_AGAIN } else { AGAIN }).await;
        }
        self.inside.borrow_mut().take();
        if self.is_running() {
            self.main.send_replace(Main::Off("it was ended".into()));
        }
    }

    /// Takes in who has ended; whether there are no children left, and so, as orphans are adopted, no descendants.
    pub(super) fn reap(&self) -> bool {
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) => self.has_ended(pid.as_raw_pid(), status),
                Ok(None) => return false,
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => return true,
            }
        }
    }

    fn has_ended(&self, pid: i32, status: WaitStatus) {
        if let Some(tell) = self.hooks.borrow_mut().remove(&pid) {
            tell.send(status.exit_status()).ok();
        }
        let mut inside = self.inside.borrow_mut();
        if inside.as_ref().is_some_and(|(main, _)| *main == pid) {
            *inside = None;
            let how = match (status.exit_status(), status.terminating_signal()) {
                (Some(code), _) => format!("it ended with status {code}"),
                (_, Some(signal)) => format!("signal {signal} ended it"),
                _ => "it ended".to_owned(),
            };
            self.main.send_replace(Main::Off(how));
        }
    }

    fn command(&self, program: &Program, namespace: bool) -> Result<Command, String> {
        let mut command = Command::new(&self.program);
        command.args(["agent", "hold-inside", "--parent", &std::process::id().to_string()]);
        if namespace {
            command.arg("--unshare");
        }
        if let Some(user) = &program.user {
            let (uid, gid) = account(user)?;
            command.args(["--uid", &uid.to_string(), "--gid", &gid.to_string()]);
        }
        command.arg("--").args(&program.command);
        let path = std::env::var_os("PATH").unwrap_or_else(|| PATH.into());
        command.env_clear().env("PATH", path).envs(&program.environment).env(MARK, &self.mark);
        command.current_dir(program.folder.as_deref().unwrap_or_else(|| "/".as_ref()));
        command.stdin(Stdio::piped()).process_group(0);
        Ok(command)
    }
}

struct Killing<'a>(&'a Cell<u32>);

impl Drop for Killing<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get().saturating_sub(1));
    }
}

/// The end of what a hook printed.
struct Said {
    pipe: Option<Receiver>,
    kept: Vec<u8>,
}

impl Said {
    fn new(pipe: std::os::fd::OwnedFd) -> Result<Self, String> {
        let pipe = Receiver::from_owned_fd(pipe).map_err(|error| format!("cannot read what it says: {error}"))?;
        Ok(Self { pipe: Some(pipe), kept: Vec::new() })
    }

    /// Reads some; for ever pending at the end.
    async fn read(&mut self) {
        let Some(pipe) = &mut self.pipe else { return std::future::pending().await };
        let mut buffer = [0; 1024];
        match pipe.read(&mut buffer).await {
            Ok(length) if length > 0 => {
                self.kept.extend_from_slice(&buffer[..length]);
                let more = self.kept.len().saturating_sub(HOOK_OUTPUT_BYTES_MAX);
                self.kept.drain(..more);
            }
            _ => self.pipe = None,
        }
    }

    async fn read_all(&mut self) {
        while self.pipe.is_some() {
            self.read().await;
        }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.kept).into_owned()
    }
}

/// A local account's numbers.
pub(super) fn account(user: &str) -> Result<(u32, u32), String> {
    let accounts = fs::read_to_string("/etc/passwd").map_err(|error| format!("cannot read /etc/passwd: {error}"))?;
    let line =
        accounts.lines().map(|line| line.split(':').collect::<Vec<_>>()).find(|line| line.first() == Some(&user));
    let number = |place: usize| line.as_ref()?.get(place)?.parse::<u32>().ok();
    number(2).zip(number(3)).ok_or_else(|| format!("there is no local user `{user}`"))
}

/// How long, at most, between looks at the clock.
const LOOK: Span = Span::from_millis(50);
/// How soon what was killed is looked for again.
const AGAIN: Duration = Duration::from_millis(3);
/// The same for a unit, which systemd is asked about.
const UNIT_AGAIN: Duration = Duration::from_millis(20);
/// How often it is looked whether a unit still runs.
const UNIT_LOOK: Duration = Duration::from_millis(500);
/// How long systemd may take to start a unit; the one who asks is bound by less.
const UNIT_START: Duration = Duration::from_secs(3600);
/// How long the rest of what an ended hook printed is read, if something that it started holds the pipe.
const LAST_WORDS: Duration = Duration::from_millis(100);
/// Where programs are found if the environment says nothing.
const PATH: &str = "/run/current-system/sw/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
