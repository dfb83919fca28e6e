//! The supervisor: starts after making sure that nothing of an earlier one runs, and answers at its socket.

use std::ffi::OsString;
use std::fs::{self, File, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use rustix::process::{geteuid, getpid, set_child_subreaper};
use tokio::net::{UnixListener, UnixStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::state::Held;
use super::wire::{ASK_DEADLINE, Answer, Ask, read, write};

/// What a supervisor runs with.
#[derive(Debug, Clone)]
pub struct HoldParts {
    /// Where it listens, in a folder that nobody else may enter.
    pub socket: PathBuf,
    /// The systemd unit that it holds instead of a program.
    pub unit: Option<String>,
    /// This program, which is run again around each program that is held.
    pub program: PathBuf,
}

/// Why a supervisor could not begin.
#[derive(Debug, thiserror::Error)]
pub enum HoldError {
    /// Another one holds the same.
    #[error("another supervisor holds {0}")]
    Taken(PathBuf),
    /// Something failed.
    #[error("cannot {doing}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Holds until it is told to quit. Must run on a `LocalSet` of a runtime with one thread, which is the process's first:
/// what it starts ends with that thread.
///
/// # Errors
/// [`HoldError`].
pub async fn supervise(parts: HoldParts) -> Result<(), HoldError> {
    let failed = |doing| move |source| HoldError::Io { doing, source };
    let _lock = take_place(&parts.socket).await?;
    set_child_subreaper(Some(getpid())).map_err(|error| failed("adopt orphans")(error.into()))?;
    let mut children = signal(SignalKind::child()).map_err(failed("hear of children"))?;
    let mark = mark(&parts.socket).map_err(failed("look at the folder"))?;
    let held = Held::new(mark, parts.program.clone(), parts.unit.clone(), namespaces());
    held.kill().await;
    let listener = listen(&parts.socket).map_err(failed("listen"))?;
    let stop = CancellationToken::new();
    let watching = Rc::clone(&held);
    tokio::task::spawn_local(async move { watching.watch_deadline().await });
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            _ = children.recv() => {
                held.reap();
            }
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) if admits(&stream) => {
                    let (held, stop) = (Rc::clone(&held), stop.clone());
                    tokio::task::spawn_local(async move { attend(stream, &held, &stop).await });
                }
                Ok(_) => tracing::warn!("refused a connection of another user"),
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    sleep(Duration::from_millis(50)).await;
                }
            },
        }
    }
    drop(fs::remove_file(&parts.socket));
    Ok(())
}

/// Takes the lock that one supervisor at a time has, and writes down who it is.
async fn take_place(socket: &Path) -> Result<File, HoldError> {
    let failed = |source| HoldError::Io { doing: "take the lock", source };
    let path = lock_path(socket);
    let mut lock = File::options().create(true).truncate(false).read(true).write(true).open(&path).map_err(failed)?;
    for _ in 0..LOCK_TRIES {
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok() {
            lock.set_len(0).map_err(failed)?;
            write!(lock, "{}", std::process::id()).map_err(failed)?;
            return Ok(lock);
        }
        sleep(LOCK_AGAIN).await;
    }
    Err(HoldError::Taken(socket.to_owned()))
}

/// The file that a supervisor locks, with its process's number in it.
pub(super) fn lock_path(socket: &Path) -> PathBuf {
    socket.with_extension("lock")
}

/// By what processes of this hold are known: its path, and the folder itself, for where containers share a machine and call
/// their folders the same.
fn mark(socket: &Path) -> io::Result<OsString> {
    use std::os::unix::fs::MetadataExt as _;
    let socket = std::path::absolute(socket)?;
    let folder = fs::metadata(socket.parent().unwrap_or(&socket))?;
    let mut mark = OsString::from(&socket);
    mark.push(format!("@{:x}:{:x}", folder.dev(), folder.ino()));
    Ok(mark)
}

/// Whether PID namespaces can be made here.
fn namespaces() -> bool {
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--kill-child=SIGKILL", "true"]);
    let made = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    let possible = made.is_ok_and(|status| status.success());
    if !possible {
        tracing::warn!(
            "no PID namespaces here: what the workload starts outlives a supervisor that is killed together with its helper"
        );
    }
    possible
}

fn listen(socket: &Path) -> io::Result<UnixListener> {
    match fs::remove_file(socket) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = super::socket::bind(socket)?;
    fs::set_permissions(socket, Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// The kernel says whose process asks.
fn admits(stream: &UnixStream) -> bool {
    stream.peer_cred().is_ok_and(|peer| peer.uid() == 0 || peer.uid() == geteuid().as_raw())
}

async fn attend(mut stream: UnixStream, held: &Rc<Held>, stop: &CancellationToken) {
    let ask = match timeout(ASK_DEADLINE, read::<Ask>(&mut stream)).await {
        Ok(Ok(ask)) => ask,
        Ok(Err(error)) => return tracing::debug!(%error, "a connection asked nothing"),
        Err(_) => return,
    };
    let quits = ask == Ask::Quit;
    let answer = tokio::select! {
        answer = answer(ask, held) => answer,
        // Who asked has gone: what was begun for it alone ends.
        _ = stream.readable_end() => return,
    };
    drop(timeout(ASK_DEADLINE, write(&mut stream, &answer)).await);
    if quits {
        stop.cancel();
    }
}

async fn answer(ask: Ask, held: &Rc<Held>) -> Answer {
    let done = |result: Result<(), String>| match result {
        Ok(()) => Answer::Done,
        Err(why) => Answer::Failed(why),
    };
    match ask {
        Ask::Arm(until) => {
            held.arm(until);
            Answer::Done
        }
        Ask::Run(program, until) => done(held.run(&program, until).await),
        Ask::Hook(program, within) => match held.hook(&program, within).await {
            Ok(ended) => Answer::Hook(ended),
            Err(why) => Answer::Failed(why),
        },
        Ask::Signal(signal) => done(held.signal(signal)),
        Ask::State => Answer::Running(held.is_running()),
        Ask::Ended => Answer::Ended(held.ended().await),
        Ask::Bitten => {
            held.bitten().await;
            Answer::Done
        }
        Ask::Kill | Ask::Quit => {
            held.kill().await;
            held.forget_bites();
            Answer::Done
        }
    }
}

trait ReadableEnd {
    /// Returns when the other side is gone, which says nothing after its question.
    async fn readable_end(&self);
}

impl ReadableEnd for UnixStream {
    async fn readable_end(&self) {
        let mut byte = [0];
        loop {
            if self.readable().await.is_err() {
                return;
            }
            match self.try_read(&mut byte) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                _ => return,
            }
        }
    }
}

/// How often the lock is tried: an earlier supervisor may be about to end.
const LOCK_TRIES: u32 = 100;
/// How soon it is tried again.
const LOCK_AGAIN: Duration = Duration::from_millis(20);
