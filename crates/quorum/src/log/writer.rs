//! The one thread that writes a member's log: one thing after the other, each on the disk before the next begins.

use std::path::PathBuf;
use std::sync::Arc;

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
    path: PathBuf,
    queue: mpsc::Sender<Job>,
}

impl Writer {
    pub(super) fn start(disk: Arc<Disk>, ahead: watch::Sender<Ahead>) -> Result<Self, LogError> {
        let (queue, jobs) = mpsc::channel(QUEUED);
        let path = disk.path.clone();
        let thread = std::thread::Builder::new().name("group-log".into());
        match thread.spawn(move || run(&disk, jobs, &ahead)) {
            Ok(_ends_by_itself) => Ok(Self { path, queue }),
            Err(source) => Err(LogError::File { path, source }),
        }
    }

    /// Does something after everything that waits, and is over when it is on the disk.
    pub(super) async fn carry_out(
        &self,
        work: impl FnOnce(&Disk) -> Result<(), LogError> + Send + 'static,
    ) -> Result<(), LogError> {
        let broke_off = || LogError::BrokeOff { path: self.path.clone() };
        let (done, is_done) = oneshot::channel();
        let job = Job { work: Box::new(work), done: Some(done) };
        self.queue.send(job).await.map_err(|_| broke_off())?;
        is_done.await.unwrap_or_else(|_| Err(broke_off()))
    }

    /// A place in the queue, for what nobody will wait for.
    pub(super) async fn place(&self) -> Result<Place<'_>, LogError> {
        self.queue.reserve().await.map(Place).map_err(|_| LogError::BrokeOff { path: self.path.clone() })
    }
}

/// A place in the queue.
pub(super) struct Place<'a>(mpsc::Permit<'a, Job>);

impl Place<'_> {
    /// Writes the part that was pushed last to [`Ahead`].
    pub(super) fn take(self, work: impl FnOnce(&Disk) -> Result<(), LogError> + Send + 'static) {
        self.0.send(Job { work: Box::new(work), done: None });
    }
}

fn run(disk: &Disk, mut jobs: mpsc::Receiver<Job>, ahead: &watch::Sender<Ahead>) {
    while let Some(Job { work, done }) = jobs.blocking_recv() {
        // After a failure the disk may have any part of what was meant for it, so nothing may follow.
        let broken = ahead.borrow().broken.clone();
        let result = match broken {
            Some(why) => Err(LogError::Stopped { path: disk.path.clone(), why }),
            None => gate::pass(disk).and_then(|()| work(disk)),
        };
        if let Err(error) = &result {
            let why = error.to_string();
            ahead.send_if_modified(|ahead| {
                let first = ahead.broken.is_none();
                if first {
                    tracing::error!(%why, "this coordinator's share of the group's log takes nothing any more");
                    ahead.broken = Some(why);
                }
                first
            });
        } else if done.is_none() {
            ahead.send_modify(Ahead::pop);
        }
        if let Some(done) = done {
            // Who waited may have gone.
            let _gone = done.send(result);
        }
    }
}
