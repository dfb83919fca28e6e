//! What the hands ask of the network half: blobs, and whether the network is as a check wants it.
//!
//! Nothing that comes back is believed: a blob is hashed while it is written into a folder of the hands' own, and an answer
//! to a check can at worst cause a change to be undone, or kept that its check would have refused.

use std::collections::HashMap;
use std::error::Error;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use protocols::outcome::{MESSAGE_BYTES_MAX, shorten};
use protocols::{BlobRef, Check};
use scores::{ArtifactError, Artifacts, BoxFuture, CheckFailed, Checks, Stage, durable};
use tokio::fs::File;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::wire::{Unfetched, Word};
use crate::agent::lock;

/// The hands' side of the socket: the connection of now, if there is one.
#[derive(Debug)]
pub struct Link {
    session: watch::Sender<Option<Arc<Session>>>,
    spool: PathBuf,
    files: AtomicU64,
}

/// One connection.
#[derive(Debug)]
pub(super) struct Session {
    /// In the order in which they were accepted.
    number: u64,
    pub(super) out: mpsc::Sender<Word>,
    pub(super) closed: CancellationToken,
    asked: Mutex<HashMap<u64, Asked>>,
    next: AtomicU64,
}

#[derive(Debug)]
enum Asked {
    Check(oneshot::Sender<Result<(), String>>),
    Fetch(mpsc::Sender<Part>),
}

/// What comes of a blob.
#[derive(Debug)]
enum Part {
    Bytes(Bytes),
    End(Result<(), Unfetched>),
}

impl Link {
    /// A link without a connection, which keeps blobs below `data` as long as a play needs them.
    ///
    /// # Errors
    /// If that folder cannot be made or emptied.
    pub fn new(data: &Path) -> io::Result<Arc<Self>> {
        // Not the name of an agent's blob store: the hands may have its folder.
        let spool = data.join("brought");
        let this = Self { session: watch::Sender::new(None), spool, files: AtomicU64::new(0) };
        this.clear()?;
        Ok(Arc::new(this))
    }

    /// Puts a connection in the place of an older one, which ends; one that is older itself ends at once.
    pub(super) fn install(&self, session: Arc<Session>) {
        self.session.send_if_modified(|now| {
            if now.as_ref().is_some_and(|now| now.number > session.number) {
                session.closed.cancel();
                return false;
            }
            if let Some(before) = now.replace(session) {
                before.closed.cancel();
            }
            true
        });
    }

    /// A connection has ended.
    pub(super) fn remove(&self, session: &Arc<Session>) {
        session.closed.cancel();
        self.session.send_if_modified(|now| {
            let ours = now.as_ref().is_some_and(|now| Arc::ptr_eq(now, session));
            if ours {
                *now = None;
            }
            ours
        });
    }

    /// Waits until somebody is connected.
    pub(super) async fn connected(&self) {
        let mut session = self.session.subscribe();
        // The sender is ours, so this does not fail.
        drop(session.wait_for(Option::is_some).await.map(drop));
    }

    /// Says a line of progress, if somebody listens.
    pub(super) fn progress(&self, line: &str) {
        if let Some(session) = self.current() {
            // Nobody waits for a line of progress: a full queue drops it.
            drop(session.out.try_send(Word::Progress { line: shorten(line, MESSAGE_BYTES_MAX) }));
        }
    }

    /// Has the network half run a check.
    pub(super) async fn check(&self, check: &Check) -> Result<(), String> {
        let Some(session) = self.current() else { return Err(AWAY.into()) };
        let text = serde_json::to_string(check).map_err(|e| e.to_string())?;
        let (tx, rx) = oneshot::channel();
        let pending = session.ask(Asked::Check(tx));
        let asked = async {
            session.out.send(Word::Check { id: pending.id, check: text }).await.map_err(|_| AWAY.to_owned())?;
            tokio::select! {
                () = session.closed.cancelled() => Err(AWAY.to_owned()),
                answer = rx => answer.unwrap_or_else(|_| Err(AWAY.to_owned())),
            }
        };
        let answer = timeout(CHECK_DEADLINE, asked).await;
        answer.unwrap_or_else(|_| Err("the network half of the agent does not answer".into())).map_err(|why| {
            let plain: String = why.chars().filter(|c| !c.is_control()).collect();
            shorten(&plain, MESSAGE_BYTES_MAX)
        })
    }

    /// Forgets all blobs: the play that needed them has ended.
    pub(super) fn clear(&self) -> io::Result<()> {
        durable::make_folder(&self.spool)?;
        for entry in fs::read_dir(&self.spool)? {
            fs::remove_file(entry?.path())?;
        }
        Ok(())
    }

    fn current(&self) -> Option<Arc<Session>> {
        self.session.borrow().clone()
    }

    async fn bring(&self, blob: &BlobRef) -> Result<PathBuf, Unbrought> {
        let path = self.spool.join(blob.hash.to_string());
        // Only what was verified gets this name.
        if tokio::fs::try_exists(&path).await.map_err(Unbrought::Disk)? {
            return Ok(path);
        }
        let session = self.current().ok_or(Unbrought::Away)?;
        let (tx, parts) = mpsc::channel(PARTS_QUEUED);
        let pending = session.ask(Asked::Fetch(tx));
        session.out.send(Word::Fetch { id: pending.id, blob: *blob }).await.map_err(|_| Unbrought::Away)?;
        let aside = self.spool.join(format!("{}.part", self.files.fetch_add(1, Ordering::Relaxed)));
        let written = match receive(&session, parts, blob, &aside).await {
            Ok(()) => tokio::fs::rename(&aside, &path).await.map_err(Unbrought::Disk),
            Err(error) => Err(error),
        };
        if written.is_err() {
            // What is left is swept with the others.
            drop(tokio::fs::remove_file(&aside).await);
        }
        written.map(|()| path)
    }
}

async fn receive(
    session: &Session,
    mut parts: mpsc::Receiver<Part>,
    blob: &BlobRef,
    aside: &Path,
) -> Result<(), Unbrought> {
    let mut file =
        File::options().write(true).create_new(true).mode(0o600).open(aside).await.map_err(Unbrought::Disk)?;
    let mut hasher = blake3::Hasher::new();
    let mut size = 0_u64;
    loop {
        let part = tokio::select! {
            () = session.closed.cancelled() => return Err(Unbrought::Away),
            part = parts.recv() => part.ok_or(Unbrought::Away)?,
        };
        match part {
            Part::Bytes(bytes) => {
                size = size.saturating_add(bytes.len() as u64);
                if size > blob.size {
                    return Err(Unbrought::Other);
                }
                hasher.update(&bytes);
                file.write_all(&bytes).await.map_err(Unbrought::Disk)?;
            }
            Part::End(Err(why)) => return Err(Unbrought::Not(why)),
            Part::End(Ok(())) => break,
        }
    }
    file.flush().await.map_err(Unbrought::Disk)?;
    let same = size == blob.size && hasher.finalize().as_bytes() == blob.hash.as_bytes();
    if same { Ok(()) } else { Err(Unbrought::Other) }
}

impl Artifacts for Link {
    fn fetch<'a>(&'a self, blob: &'a BlobRef) -> BoxFuture<'a, Result<PathBuf, ArtifactError>> {
        Box::pin(async move {
            self.bring(blob).await.map_err(|error| {
                let transient = match &error {
                    Unbrought::Not(why) => why.transient,
                    Unbrought::Disk(why) => why.kind() == io::ErrorKind::StorageFull,
                    Unbrought::Away | Unbrought::Other => true,
                };
                if matches!(error, Unbrought::Other) {
                    tracing::error!(hash = %blob.hash, "the network half of the agent sent a blob that is not what its hash says");
                }
                let source: Box<dyn Error + Send + Sync> = Box::new(error);
                ArtifactError { blob: *blob, transient, source }
            })
        })
    }
}

/// Why a blob was not brought.
#[derive(Debug, thiserror::Error)]
enum Unbrought {
    #[error("{AWAY}")]
    Away,
    #[error("what came is not what its hash says")]
    Other,
    #[error(transparent)]
    Not(Unfetched),
    #[error("write the blob")]
    Disk(#[source] io::Error),
}

impl Session {
    pub(super) fn new(number: u64, out: mpsc::Sender<Word>) -> Arc<Self> {
        let closed = CancellationToken::new();
        Arc::new(Self { number, out, closed, asked: Mutex::default(), next: AtomicU64::new(0) })
    }

    fn ask(self: &Arc<Self>, asked: Asked) -> Pending {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        lock(&self.asked).insert(id, asked);
        Pending { session: Arc::clone(self), id }
    }

    /// How a check went. An answer to nothing is passed over.
    pub(super) fn checked(&self, id: u64, result: Result<(), String>) {
        let asked = lock(&self.asked).remove(&id);
        if let Some(Asked::Check(tx)) = asked {
            // Whoever asked may have given up.
            drop(tx.send(result));
        }
    }

    /// The next part of a blob; it waits until there is room for it.
    pub(super) async fn part(&self, id: u64, bytes: Bytes) {
        self.pass(id, Part::Bytes(bytes)).await;
    }

    /// The end of a blob.
    pub(super) async fn fetched(&self, id: u64, result: Result<(), Unfetched>) {
        self.pass(id, Part::End(result)).await;
    }

    async fn pass(&self, id: u64, part: Part) {
        let to = match lock(&self.asked).get(&id) {
            Some(Asked::Fetch(to)) => to.clone(),
            _ => return,
        };
        // Whoever asked may have given up.
        drop(to.send(part).await);
    }
}

/// A question that is forgotten when nobody waits for its answer any more.
struct Pending {
    session: Arc<Session>,
    id: u64,
}

impl Drop for Pending {
    fn drop(&mut self) {
        drop(lock(&self.session.asked).remove(&self.id));
    }
}

/// Runs the checks that need the network through a [`Link`], and the others here.
pub struct LinkedChecks {
    link: Arc<Link>,
    here: Arc<dyn Checks>,
}

impl LinkedChecks {
    /// Runs what needs no network by `here`.
    pub fn new(link: Arc<Link>, here: Arc<dyn Checks>) -> Self {
        Self { link, here }
    }
}

impl std::fmt::Debug for LinkedChecks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LinkedChecks").finish_non_exhaustive()
    }
}

impl Checks for LinkedChecks {
    fn run<'a>(&'a self, check: &'a Check, stage: &'a dyn Stage) -> BoxFuture<'a, Result<(), CheckFailed>> {
        match check {
            Check::Tcp { .. } | Check::Http { .. } | Check::Contact => {
                Box::pin(async move { self.link.check(check).await.map_err(|why| CheckFailed::new(check, why)) })
            }
            Check::Exec { .. } | Check::Unit { .. } => self.here.run(check, stage),
        }
    }
}

const AWAY: &str = "the network half of the agent is not connected";
/// How long the network half may take to run a check; its own deadlines are shorter.
const CHECK_DEADLINE: Duration = Duration::from_secs(45);
/// How many parts of a blob wait to be written.
const PARTS_QUEUED: usize = 4;
