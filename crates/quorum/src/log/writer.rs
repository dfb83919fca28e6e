//! Who writes a member's log: one thing after the other, each on the disk before the next begins.
//!
//! A thread of its own writes what nobody waits for. To wake it, and to be woken by it, takes about half as long as a write;
//! so what has to be waited for is written by whoever asks for it, if nothing is before it. tokio has other threads do
//! meanwhile what that one would.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::{mpsc, oneshot, watch};

use super::disk::Disk;
use super::tail::Ahead;
use super::{LogError, gate};

/// How many things may wait to be written.
const QUEUED: usize = 128;

type Work = Box<dyn FnOnce(&Disk) -> Result<(), LogError> + Send>;

struct Job {
    work: Work,
    /// Who waits for it; nobody for entries that the others have already.
    done: Option<oneshot::Sender<Result<(), LogError>>>,
}

/// The way to the thread. It ends when all of these are gone, and finishes before that what waits.
#[derive(Clone, Debug)]
pub(super) struct Writer {
    pen: Arc<Pen>,
    queue: mpsc::Sender<Job>,
}

/// What it takes to write.
#[derive(Debug)]
struct Pen {
    disk: Arc<Disk>,
    ahead: watch::Sender<Ahead>,
    /// What the thread was given and has not finished.
    waiting: AtomicUsize,
    /// Held by who writes.
    turn: Mutex<()>,
}

impl Writer {
    pub(super) fn start(disk: Arc<Disk>, ahead: watch::Sender<Ahead>) -> Result<Self, LogError> {
        let (queue, jobs) = mpsc::channel(QUEUED);
        let path = disk.path.clone();
        let pen = Arc::new(Pen { disk, ahead, waiting: AtomicUsize::new(0), turn: Mutex::new(()) });
        let thread = std::thread::Builder::new().name("group-log".into());
        let of_thread = Arc::clone(&pen);
        match thread.spawn(move || of_thread.run(jobs)) {
            Ok(_ends_by_itself) => Ok(Self { pen, queue }),
            Err(source) => Err(LogError::File { path, source }),
        }
    }

    /// Does something after everything that waits, and is over when it is on the disk.
    pub(super) async fn carry_out(
        &self,
        work: impl FnOnce(&Disk) -> Result<(), LogError> + Send + 'static,
    ) -> Result<(), LogError> {
        let has_others = Handle::try_current().is_ok_and(|on| on.runtime_flavor() == RuntimeFlavor::MultiThread);
        if has_others && self.pen.waiting.load(Ordering::Acquire) == 0 {
            return tokio::task::block_in_place(|| self.pen.write(work, false));
        }
        let (done, is_done) = oneshot::channel();
        self.place().await?.send(Box::new(work), Some(done));
        is_done.await.unwrap_or_else(|_| Err(self.broke_off()))
    }

    /// A place in the queue, for what nobody will wait for.
    pub(super) async fn place(&self) -> Result<Place<'_>, LogError> {
        let permit = self.queue.reserve().await.map_err(|_| self.broke_off())?;
        Ok(Place { permit, pen: &self.pen })
    }

    fn broke_off(&self) -> LogError {
        LogError::BrokeOff { path: self.pen.disk.path.clone() }
    }
}

/// A place in the queue.
pub(super) struct Place<'a> {
    permit: mpsc::Permit<'a, Job>,
    pen: &'a Pen,
}

impl Place<'_> {
    /// Writes the part that was pushed last to [`Ahead`].
    pub(super) fn take(self, work: impl FnOnce(&Disk) -> Result<(), LogError> + Send + 'static) {
        self.send(Box::new(work), None);
    }

    fn send(self, work: Work, done: Option<oneshot::Sender<Result<(), LogError>>>) {
        self.pen.waiting.fetch_add(1, Ordering::AcqRel);
        self.permit.send(Job { work, done });
    }
}

impl Pen {
    fn run(&self, mut jobs: mpsc::Receiver<Job>) {
        while let Some(Job { work, done }) = jobs.blocking_recv() {
            let result = self.write(work, done.is_none());
            self.waiting.fetch_sub(1, Ordering::AcqRel);
            if let Some(done) = done {
                // Who waited may have gone.
                let _gone = done.send(result);
            }
        }
    }

    fn write(&self, work: impl FnOnce(&Disk) -> Result<(), LogError>, is_ahead: bool) -> Result<(), LogError> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        // After a failure the disk may have any part of what was meant for it, so nothing may follow.
        let broken = self.ahead.borrow().broken.clone();
        let result = match broken {
            Some(why) => Err(LogError::Stopped { path: self.disk.path.clone(), why }),
            None => gate::pass(&self.disk).and_then(|()| work(&self.disk)),
        };
        if let Err(error) = &result {
            let why = error.to_string();
            self.ahead.send_if_modified(|ahead| {
                let first = ahead.broken.is_none();
                if first {
                    tracing::error!(%why, "this coordinator's share of the group's log takes nothing any more");
                    ahead.broken = Some(why);
                }
                first
            });
        } else if is_ahead {
            self.ahead.send_modify(Ahead::pop);
        }
        result
    }
}
