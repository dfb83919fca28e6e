//! A coordinator that orders leases alone: one writer, one log on its disk, requests that wait together synced together.

mod store;

use std::path::PathBuf;
use std::time::Duration;

use failover::{Entry, LeaseTable, LogClock, Outcome, Stamp};
use protocols::control::{LeaseError, LeaseViews};
use tokio::sync::{mpsc, oneshot};
use tokio::time::MissedTickBehavior;
use tokio_util::task::AbortOnDropHandle;

use crate::boottime;
use crate::views::{Ask, Views, at_once};
use store::LeaseStore;

/// How many requests may wait to be ordered.
const QUEUED: usize = 1024;
/// How many are ordered by one sync to disk.
const BATCH_MAX: usize = 256;
/// How often time is put into the log while there are leases.
const CLOCK_EVERY: Duration = Duration::from_secs(1);
/// The term of a coordinator alone. Its clock begins anew with the process, which is what a new term would do.
const TERM: u64 = 1;

type Answer<T> = oneshot::Sender<Result<T, LeaseError>>;

enum Job {
    Ask(Ask, Answer<Outcome>),
    Views(Views, Answer<LeaseViews>),
    InCustody(Answer<bool>),
    Seal(Answer<LeaseTable>),
}

/// Orders leases on this machine alone. Nothing is written before the first cluster is configured.
#[derive(Debug)]
pub struct Alone {
    jobs: mpsc::Sender<Job>,
    _writer: AbortOnDropHandle<()>,
}

impl Alone {
    /// Goes on with the log at `path`, which is opened when it is needed. Needs a runtime.
    pub fn open(path: PathBuf) -> Self {
        let (jobs, waiting) = mpsc::channel(QUEUED);
        let writer = Writer { path, open: None, sealed: false };
        Self { jobs, _writer: AbortOnDropHandle::new(tokio::spawn(write(writer, waiting))) }
    }

    /// Orders a request. It is on the disk before it is answered.
    ///
    /// # Errors
    /// [`LeaseError`].
    pub async fn ask(&self, ask: Ask) -> Result<Outcome, LeaseError> {
        self.job(|answer| Job::Ask(ask, answer)).await
    }

    /// How leases stand, after everything that was answered before.
    ///
    /// # Errors
    /// [`LeaseError`].
    pub async fn views(&self, views: Views) -> Result<LeaseViews, LeaseError> {
        self.job(|answer| Job::Views(views, answer)).await
    }

    /// Whether anybody has custody of anything, after everything that was answered before.
    ///
    /// # Errors
    /// [`LeaseError`].
    pub async fn is_anything_in_custody(&self) -> Result<bool, LeaseError> {
        self.job(Job::InCustody).await
    }

    /// Orders nothing from here on, in this process, and gives the table to whoever goes on with it.
    ///
    /// # Errors
    /// [`LeaseError`].
    pub async fn seal(&self) -> Result<LeaseTable, LeaseError> {
        self.job(Job::Seal).await
    }

    async fn job<T>(&self, job: impl FnOnce(Answer<T>) -> Job) -> Result<T, LeaseError> {
        let (answer, answered) = oneshot::channel();
        self.jobs.try_send(job(answer)).map_err(|_| LeaseError::Overloaded)?;
        answered.await.map_err(|_| LeaseError::Lost { why: "the coordinator stops".into() })?
    }
}

async fn write(mut writer: Writer, mut waiting: mpsc::Receiver<Job>) {
    let mut ticks = tokio::time::interval(CLOCK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut begun = writer.path.exists();
    loop {
        let mut batch = Vec::new();
        tokio::select! {
            taken = waiting.recv_many(&mut batch, BATCH_MAX) => if taken == 0 { return },
            _ = ticks.tick(), if begun => {}
        }
        // The sync to disk blocks.
        let done = tokio::task::spawn_blocking(move || {
            writer.carry_out(batch);
            writer
        });
        match done.await {
            Ok(back) => writer = back,
            Err(error) => return tracing::error!(%error, "the writer of leases broke off"),
        }
        begun = writer.is_begun();
    }
}

/// What has the log open.
struct Writer {
    path: PathBuf,
    open: Option<Opened>,
    sealed: bool,
}

struct Opened {
    store: Option<LeaseStore>,
    table: LeaseTable,
    clock: LogClock,
}

impl Writer {
    /// Whether time must be put into the log.
    fn is_begun(&self) -> bool {
        !self.sealed && self.open.as_ref().map_or_else(|| self.path.exists(), |o| o.table.needs_clock())
    }

    /// Carries out what waited; with nothing, only puts the time into the log.
    fn carry_out(&mut self, batch: Vec<Job>) {
        if let Err(why) = self.carry(batch) {
            tracing::error!(%why, path = %self.path.display(), "cannot store leases");
            // Read again from the disk: whether the last write is there, only the disk knows.
            self.open = None;
        }
    }

    fn carry(&mut self, batch: Vec<Job>) -> Result<(), String> {
        if let Err(why) = self.ensure_open() {
            for job in batch {
                fail(job, &LeaseError::Storage(why.clone()));
            }
            return Err(why);
        }
        let Some(open) = &mut self.open else { return Err("the log of leases is closed".into()) };
        let tick = batch.is_empty();
        let (mut asks, mut rest) = (Vec::new(), Vec::new());
        for job in batch {
            match job {
                Job::Ask(_, answer) if self.sealed => drop(answer.send(Err(moved()))),
                Job::Ask(ask, answer) => match at_once(&open.table, &ask) {
                    Some(known) => drop(answer.send(known)),
                    None => asks.push((ask, answer)),
                },
                other => rest.push(other),
            }
        }
        if !asks.is_empty() || (tick && open.table.needs_clock() && !self.sealed) {
            let mut entries: Vec<(Stamp, Entry)> = Vec::with_capacity(asks.len().max(1));
            let mut stamp = || open.clock.stamp(TERM, boottime::now());
            if asks.is_empty() {
                entries.push((stamp(), Entry::Clock));
            }
            for (ask, _) in &asks {
                entries.push((stamp(), ask.clone().into()));
            }
            let written = open.append(&self.path, &entries);
            if let Err(why) = &written {
                for (_, answer) in asks {
                    drop(answer.send(Err(LeaseError::Storage(why.clone()))));
                }
                for job in rest {
                    fail(job, &LeaseError::Storage(why.clone()));
                }
                return written;
            }
            let outcomes: Vec<Outcome> = entries.iter().map(|(stamp, entry)| open.table.apply(*stamp, entry)).collect();
            for ((_, answer), outcome) in asks.into_iter().zip(outcomes) {
                drop(answer.send(Ok(outcome)));
            }
        }
        for job in rest {
            match job {
                Job::Views(views, answer) => drop(answer.send(Ok(views.read(&open.table, true)))),
                Job::InCustody(answer) => drop(answer.send(Ok(open.table.is_anything_in_custody()))),
                Job::Seal(answer) => {
                    self.sealed = true;
                    drop(answer.send(Ok(open.table.clone())));
                }
                Job::Ask(..) => {}
            }
        }
        if let Some(store) = &mut open.store {
            store.compact(&open.table)?;
        }
        Ok(())
    }

    fn ensure_open(&mut self) -> Result<(), String> {
        if self.open.is_some() {
            return Ok(());
        }
        let (store, table) = if self.path.exists() {
            let (store, table) = LeaseStore::open(&self.path).map_err(|e| e.to_string())?;
            (Some(store), table)
        } else {
            (None, LeaseTable::new())
        };
        self.open = Some(Opened { store, table, clock: LogClock::new() });
        Ok(())
    }
}

impl Opened {
    fn append(&mut self, path: &std::path::Path, entries: &[(Stamp, Entry)]) -> Result<(), String> {
        let store = match &mut self.store {
            Some(store) => store,
            none => none.insert(LeaseStore::open(path).map_err(|e| e.to_string())?.0),
        };
        store.append(entries).map_err(|e| e.to_string())
    }
}

fn moved() -> LeaseError {
    LeaseError::NoMajority { why: "the coordinators are becoming a group".into() }
}

fn fail(job: Job, why: &LeaseError) {
    match job {
        Job::Ask(_, answer) => drop(answer.send(Err(why.clone()))),
        Job::Views(_, answer) => drop(answer.send(Err(why.clone()))),
        Job::InCustody(answer) => drop(answer.send(Err(why.clone()))),
        Job::Seal(answer) => drop(answer.send(Err(why.clone()))),
    }
}

#[cfg(test)]
mod tests;
