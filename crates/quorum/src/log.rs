//! The group's log: entries, the vote, the newest snapshot. Everything is on the disk before anybody is told of it.
//!
//! With one exception, which saves a leader the time of its own disk: it sends entries to the others while its disk still
//! writes them. That changes nothing that anybody can see, by these rules:
//!
//! * Only entries with requests, only as the leader of the term whose vote is on this disk. Members change, and a term
//!   begins, by entries that are written first, so who decides what is never in doubt.
//! * openraft takes such an entry for written. What it concludes from that waits for the disk: an entry is carried out
//!   here ([`Log::stored`]), and others are told that it may be ([`Log::stored_of`]), when this disk has it too. So what
//!   anybody is told of is on this disk and on those of a majority.
//! * All writes have one order. So a member that follows another leader, or votes for one, has its own entries on the disk
//!   before it says so: the new vote is written behind them.
//! * A crash forgets entries that others have. The member must not take them for its own again, so it never goes on in a
//!   term that it led: it begins as one that asks for votes in a new one ([`RaftLogStorage::read_vote`]).
//! * A disk that fails takes nothing any more, and a leader whose disk fails or hangs falls silent ([`Log::is_stuck`]), so
//!   that the others choose another one.

mod disk;
mod frames;
pub(crate) mod gate;
mod tail;
mod writer;

use std::fmt::Debug;
use std::io::Cursor;
use std::ops::{Bound, RangeBounds};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use openraft::storage::{LogFlushed, RaftLogStorage};
use openraft::{EntryPayload, LogState, OptionalSend, RaftLogReader, Snapshot, SnapshotMeta, Vote};
use tokio::sync::watch;

use crate::types::{IoError, LogId, Member, RaftEntry, State, StorageError, Types};
use disk::{Disk, META, PURGED, REMOVED, Row, SNAPSHOT, VOTE};
use tail::{Ahead, Tail};
use writer::Writer;

/// How many bytes of entries are sent to another member at once, if more than one entry is.
const SEND_BYTES_MAX: usize = 2 * 1024 * 1024;
/// How long a leader's disk may take for entries before the leader falls silent.
const PATIENCE: Duration = Duration::from_secs(if cfg!(test) { 5 } else { 1 });

/// Why the log could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The database.
    #[error("the group's log {path} failed: {source}")]
    Database {
        /// The file.
        path: PathBuf,
        /// What it said.
        source: Box<redb::Error>,
    },
    /// The file, its folder, or what writes it.
    #[error("the group's log {path} cannot be made or written: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// What it holds.
    #[error("the group's log {path} is damaged: {source}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Why it cannot be read.
        source: postcard::Error,
    },
    /// Entries are missing or are not what was written.
    #[error(
        "the group's log {path} is damaged: {what}. What this coordinator acknowledged may be lost with it, so it must not go \
        on with it: move group.redb and group.entries away, start it again, and let it be added anew, flt admin coordinator \
        add NAME"
    )]
    Unsound {
        /// The file, or the folder.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// No random number.
    #[error("no number for the group's log {path} can be drawn: {source}")]
    Random {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: getrandom::Error,
    },
    /// The thread that writes.
    #[error("writing the group's log {path} broke off")]
    BrokeOff {
        /// The file.
        path: PathBuf,
    },
    /// It failed before.
    #[error("the group's log {path} takes nothing any more: {why}")]
    Stopped {
        /// The file.
        path: PathBuf,
        /// Why it failed.
        why: String,
    },
}

/// Says which file an error of the system is about.
trait IntoLogError<T> {
    fn or_file(self, path: &Path) -> Result<T, LogError>;
}

impl<T> IntoLogError<T> for std::io::Result<T> {
    fn or_file(self, path: &Path) -> Result<T, LogError> {
        self.map_err(|source| match source.kind() {
            std::io::ErrorKind::InvalidData => LogError::Unsound { path: path.into(), what: source.to_string() },
            _ => LogError::File { path: path.into(), source },
        })
    }
}

/// A snapshot as it is on disk.
pub(crate) type Stored = (SnapshotMeta<Member, ()>, Vec<u8>);

/// The log, shared by its readers.
#[derive(Clone, Debug)]
pub(crate) struct Log {
    disk: Arc<Disk>,
    writer: Writer,
    shared: Arc<Mutex<Shared>>,
    ahead: watch::Sender<Ahead>,
}

#[derive(Debug)]
struct Shared {
    tail: Tail,
    /// The vote on the disk; nothing before one was written by this process.
    vote: Option<Vote<Member>>,
}

impl Log {
    /// Opens or makes the log. Blocks.
    pub(crate) fn open(path: &Path) -> Result<Self, LogError> {
        let disk = Arc::new(Disk::open(path)?);
        let shared = Shared { tail: Tail::new(disk.last()?), vote: None };
        let ahead = watch::Sender::new(Ahead::default());
        let writer = Writer::start(Arc::clone(&disk), ahead.clone())?;
        Ok(Self { disk, writer, shared: Arc::new(Mutex::new(shared)), ahead })
    }

    /// The number of this disk.
    pub(crate) fn disk(&self) -> u64 {
        self.disk.number
    }

    /// Whether others said that this member was removed.
    pub(crate) fn is_removed(&self) -> Result<bool, LogError> {
        Ok(self.disk.get(REMOVED)?.unwrap_or(false))
    }

    /// Remembers that this member was removed. Blocks.
    pub(crate) fn set_removed(&self) -> Result<(), LogError> {
        self.disk.set(&[(REMOVED, self.disk.bytes(&true)?)])
    }

    /// The newest snapshot.
    pub(crate) fn snapshot(&self) -> Result<Option<Stored>, LogError> {
        Ok(self.disk.get(META)?.zip(self.disk.get_raw(SNAPSHOT)?))
    }

    /// The state that the newest snapshot holds.
    pub(crate) fn state(&self) -> Result<State, LogError> {
        match self.snapshot()? {
            Some((_, bytes)) => self.disk.parse(&bytes),
            None => Ok(State::default()),
        }
    }

    /// Writes a snapshot in place of the one before. Blocks.
    pub(crate) fn set_snapshot(&self, meta: &SnapshotMeta<Member, ()>, state: &[u8]) -> Result<(), LogError> {
        self.disk.set(&[(META, self.disk.bytes(meta)?), (SNAPSHOT, state.to_vec())])
    }

    /// Waits until the disk has everything up to here.
    pub(crate) async fn stored(&self, index: u64) -> Result<(), LogError> {
        if self.ahead.borrow().has_stored(index) {
            return Ok(());
        }
        let path = || self.disk.path.clone();
        let mut ahead = self.ahead.subscribe();
        let over = ahead.wait_for(|ahead| ahead.has_stored(index) || ahead.broken.is_some()).await;
        let ahead = over.map_err(|_| LogError::BrokeOff { path: path() })?;
        match &ahead.broken {
            Some(why) if !ahead.has_stored(index) => Err(LogError::Stopped { path: path(), why: why.clone() }),
            _ => Ok(()),
        }
    }

    /// As much of what a majority has as the disk here has too.
    pub(crate) fn stored_of(&self, committed: Option<LogId>) -> Option<LogId> {
        self.ahead.borrow().stored_of(committed)
    }

    /// Whether the disk has failed, or hangs.
    pub(crate) fn is_stuck(&self) -> bool {
        self.ahead.borrow().is_stuck(PATIENCE)
    }

    #[cfg(test)]
    pub(crate) fn has_none_ahead_or_is_broken(&self) -> bool {
        let ahead = self.ahead.borrow();
        ahead.first().is_none() || ahead.broken.is_some()
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether entries may be sent before they are written: those of requests, of the term that this member leads.
    fn may_run_ahead(&self, entries: &[RaftEntry], bytes: usize) -> bool {
        let Some(vote) = self.shared().vote.filter(|vote| vote.committed) else { return false };
        let leader = vote.leader_id;
        leader.node_id.disk() == self.disk.number
            && entries
                .iter()
                .all(|entry| entry.log_id.leader_id == leader && matches!(entry.payload, EntryPayload::Normal(_)))
            && self.ahead.borrow().has_room(entries.len(), bytes)
    }

    /// Takes entries in, and writes them before that is over unless they may run ahead.
    pub(crate) async fn append_all(&self, entries: Vec<RaftEntry>) -> Result<(), LogError> {
        let row = |entry: &RaftEntry| Ok((entry.log_id.index, self.disk.bytes(entry)?));
        let rows: Vec<Row> = entries.iter().map(row).collect::<Result<_, LogError>>()?;
        let Some((first, _)) = rows.first() else { return Ok(()) };
        let (first, count, bytes) = (*first, rows.len(), rows.iter().map(|(_, bytes)| bytes.len()).sum());
        let sizes: Vec<usize> = rows.iter().map(|(_, bytes)| bytes.len()).collect();
        let sized = entries.iter().cloned().zip(sizes);
        if self.may_run_ahead(&entries, bytes) {
            let place = self.writer.place().await?;
            let mut shared = self.shared();
            let before = shared.tail.last();
            self.ahead.send_modify(|ahead| ahead.push(first, count, bytes, before));
            let first_ahead = self.ahead.borrow().first();
            shared.tail.extend(sized, first_ahead);
            place.take(move |disk| disk.append(&rows));
        } else {
            self.writer.carry_out(move |disk| disk.append(&rows)).await?;
            self.shared().tail.extend(sized, None);
        }
        Ok(())
    }

    fn range(&self, from: u64, to: u64, max: usize) -> Result<Vec<RaftEntry>, LogError> {
        let (kept, split) = {
            let tail = &self.shared().tail;
            let split = tail.first().unwrap_or(u64::MAX).max(from).min(to);
            (tail.range(split, to), split)
        };
        let (mut found, mut total) = (Vec::new(), 0usize);
        if from < split {
            let (older, bytes) = self.disk.range(from, split, max)?;
            found = older;
            match bytes {
                Some(bytes) => total = bytes,
                None => return Ok(found),
            }
        }
        for (entry, bytes) in kept {
            total = total.saturating_add(bytes);
            if total > max && !found.is_empty() {
                break;
            }
            found.push(entry);
        }
        Ok(found)
    }
}

impl RaftLogReader<Types> for Log {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<RaftEntry>, StorageError> {
        let from = match range.start_bound() {
            Bound::Included(from) => *from,
            Bound::Excluded(before) => before.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let to = match range.end_bound() {
            Bound::Included(last) => last.saturating_add(1),
            Bound::Excluded(to) => *to,
            Bound::Unbounded => u64::MAX,
        };
        self.range(from, to, usize::MAX).map_err(|e| IoError::read_logs(&e).into())
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<RaftEntry>, StorageError> {
        self.range(start, end, SEND_BYTES_MAX).map_err(|e| IoError::read_logs(&e).into())
    }
}

impl RaftLogStorage<Types> for Log {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<Types>, StorageError> {
        let purged = self.disk.get::<LogId>(PURGED).map_err(|e| IoError::read_logs(&e))?;
        Ok(LogState { last_purged_log_id: purged, last_log_id: self.shared().tail.last() })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote<Member>) -> Result<(), StorageError> {
        let vote = *vote;
        let saved = self.writer.carry_out(move |disk| disk.set(&[(VOTE, disk.bytes(&vote)?)])).await;
        saved.map_err(|e| IoError::write_vote(&e))?;
        self.shared().vote = Some(vote);
        Ok(())
    }

    /// The vote, without the word that a majority gave it to this member itself: openraft would have it lead again at
    /// once, and give numbers of entries that it forgot to others.
    async fn read_vote(&mut self) -> Result<Option<Vote<Member>>, StorageError> {
        let vote: Option<Vote<Member>> = self.disk.get(VOTE).map_err(|e| IoError::read_vote(&e))?;
        let mine = |vote: &Vote<Member>| vote.leader_id.node_id.disk() == self.disk.number;
        Ok(vote.map(|vote| Vote { committed: vote.committed && !mine(&vote), ..vote }))
    }

    async fn append<I>(&mut self, entries: I, callback: LogFlushed<Types>) -> Result<(), StorageError>
    where
        I: IntoIterator<Item = RaftEntry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        match self.append_all(entries.into_iter().collect()).await {
            Ok(()) => {
                callback.log_io_completed(Ok(()));
                Ok(())
            }
            Err(error) => {
                let said = IoError::write_logs(&error).into();
                callback.log_io_completed(Err(std::io::Error::other(error)));
                Err(said)
            }
        }
    }

    async fn truncate(&mut self, log_id: LogId) -> Result<(), StorageError> {
        let from = log_id.index;
        let cut = async {
            self.writer.carry_out(move |disk| disk.truncate(from)).await?;
            let last = self.disk.last()?;
            self.shared().tail.truncate(from, last);
            Ok(())
        };
        cut.await.map_err(|e: LogError| IoError::write_logs(&e).into())
    }

    async fn purge(&mut self, log_id: LogId) -> Result<(), StorageError> {
        let cut = self.writer.carry_out(move |disk| disk.purge(log_id)).await;
        cut.map_err(|e| IoError::write_logs(&e))?;
        self.shared().tail.purge(log_id);
        Ok(())
    }
}

/// A snapshot as openraft passes it on.
pub(crate) fn packed(meta: SnapshotMeta<Member, ()>, bytes: Vec<u8>) -> Snapshot<Types> {
    Snapshot { meta, snapshot: Box::new(Cursor::new(bytes)) }
}

#[cfg(test)]
mod tests;
