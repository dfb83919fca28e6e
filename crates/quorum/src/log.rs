//! The group's log on disk: entries, the vote, the newest snapshot. Everything is on the disk before it is acknowledged.

use std::fmt::Debug;
use std::io::Cursor;
use std::ops::{Bound, RangeBounds};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use openraft::storage::{LogFlushed, RaftLogStorage};
use openraft::{LogState, OptionalSend, RaftLogId as _, RaftLogReader, Snapshot, SnapshotMeta, Vote};
use redb::{Database, ReadableDatabase as _, ReadableTable as _, TableDefinition, TableError};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::file::{self, OpenError};
use crate::types::{IoError, LogId, Member, RaftEntry, State, StorageError, Types};

const ENTRIES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("entries");
const VALUES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("values");

const DISK: &str = "disk";
const VOTE: &str = "vote";
const PURGED: &str = "purged";
const META: &str = "snapshot-meta";
const SNAPSHOT: &str = "snapshot";
const REMOVED: &str = "removed";

/// Memory for pages, in bytes.
const CACHE_BYTES: usize = 16 * 1024 * 1024;
/// How many bytes of entries are sent to another member at once, if more than one entry is.
const SEND_BYTES_MAX: usize = 2 * 1024 * 1024;

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
    /// The file or its folder.
    #[error("the group's log {path} cannot be made: {source}")]
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
    /// No random number.
    #[error("no number for the group's log {path} can be drawn: {source}")]
    Random {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: getrandom::Error,
    },
    /// The blocking task.
    #[error("writing the group's log {path} broke off")]
    BrokeOff {
        /// The file.
        path: PathBuf,
    },
}

/// A snapshot as it is on disk.
pub(crate) type Stored = (SnapshotMeta<Member, ()>, Vec<u8>);

/// The log, shared by its readers.
#[derive(Clone, Debug)]
pub(crate) struct Log(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    database: Database,
    disk: u64,
}

impl Log {
    /// Opens or makes the log. Blocks.
    pub(crate) fn open(path: &Path) -> Result<Self, LogError> {
        let database = file::open(path, CACHE_BYTES).map_err(|error| match error {
            OpenError::Database(source) => LogError::Database { path: path.into(), source },
            OpenError::Folder(source) => LogError::File { path: path.into(), source },
        })?;
        let mut inner = Inner { path: path.into(), database, disk: 0 };
        inner.disk = match inner.get(DISK)? {
            Some(disk) => disk,
            None => {
                let mut number = [0; 8];
                getrandom::fill(&mut number).map_err(|source| LogError::Random { path: path.into(), source })?;
                let disk = u64::from_le_bytes(number);
                inner.set(&[(DISK, inner.bytes(&disk)?)])?;
                disk
            }
        };
        Ok(Self(Arc::new(inner)))
    }

    /// The number of this disk.
    pub(crate) fn disk(&self) -> u64 {
        self.0.disk
    }

    /// Whether others said that this member was removed.
    pub(crate) fn is_removed(&self) -> Result<bool, LogError> {
        Ok(self.0.get(REMOVED)?.unwrap_or(false))
    }

    /// Remembers that this member was removed. Blocks.
    pub(crate) fn set_removed(&self) -> Result<(), LogError> {
        self.0.set(&[(REMOVED, self.0.bytes(&true)?)])
    }

    /// The newest snapshot.
    pub(crate) fn snapshot(&self) -> Result<Option<Stored>, LogError> {
        Ok(self.0.get(META)?.zip(self.0.get_raw(SNAPSHOT)?))
    }

    /// The state that the newest snapshot holds.
    pub(crate) fn state(&self) -> Result<State, LogError> {
        match self.snapshot()? {
            Some((_, bytes)) => self.0.parse(&bytes),
            None => Ok(State::default()),
        }
    }

    /// Writes a snapshot in place of the one before. Blocks.
    pub(crate) fn set_snapshot(&self, meta: &SnapshotMeta<Member, ()>, state: &[u8]) -> Result<(), LogError> {
        self.0.set(&[(META, self.0.bytes(meta)?), (SNAPSHOT, state.to_vec())])
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T, LogError> + Send + 'static,
    ) -> Result<T, LogError> {
        let inner = Arc::clone(&self.0);
        let path = self.0.path.clone();
        tokio::task::spawn_blocking(move || work(&inner)).await.unwrap_or(Err(LogError::BrokeOff { path }))
    }
}

impl Inner {
    fn failed(&self, source: redb::Error) -> LogError {
        LogError::Database { path: self.path.clone(), source: Box::new(source) }
    }

    fn bytes(&self, value: &impl Serialize) -> Result<Vec<u8>, LogError> {
        postcard::to_stdvec(value).map_err(|source| LogError::Damaged { path: self.path.clone(), source })
    }

    fn parse<T: DeserializeOwned>(&self, bytes: &[u8]) -> Result<T, LogError> {
        postcard::from_bytes(bytes).map_err(|source| LogError::Damaged { path: self.path.clone(), source })
    }

    fn get_raw(&self, name: &str) -> Result<Option<Vec<u8>>, LogError> {
        let read = || -> Result<Option<Vec<u8>>, redb::Error> {
            match self.database.begin_read()?.open_table(VALUES) {
                Err(TableError::TableDoesNotExist(_)) => Ok(None),
                table => Ok(table?.get(name)?.map(|value| value.value().to_vec())),
            }
        };
        read().map_err(|e| self.failed(e))
    }

    fn get<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, LogError> {
        self.get_raw(name)?.map(|bytes| self.parse(&bytes)).transpose()
    }

    fn set(&self, values: &[(&str, Vec<u8>)]) -> Result<(), LogError> {
        let write = || -> Result<(), redb::Error> {
            let write = self.database.begin_write()?;
            {
                let mut table = write.open_table(VALUES)?;
                for (name, value) in values {
                    table.insert(*name, value.as_slice())?;
                }
            }
            write.commit()?;
            Ok(())
        };
        write().map_err(|e| self.failed(e))
    }

    fn last(&self) -> Result<Option<LogId>, LogError> {
        let read = || -> Result<Option<Vec<u8>>, redb::Error> {
            match self.database.begin_read()?.open_table(ENTRIES) {
                Err(TableError::TableDoesNotExist(_)) => Ok(None),
                table => Ok(table?.last()?.map(|(_, bytes)| bytes.value().to_vec())),
            }
        };
        let last = read().map_err(|e| self.failed(e))?;
        last.map(|bytes| self.parse::<RaftEntry>(&bytes).map(|entry| entry.log_id)).transpose()
    }

    fn range(&self, range: impl RangeBounds<u64>, bytes_max: usize) -> Result<Vec<RaftEntry>, LogError> {
        let bounds = (range.start_bound().cloned(), range.end_bound().cloned());
        if let (Bound::Included(from), Bound::Excluded(to)) = bounds
            && from >= to
        {
            return Ok(Vec::new());
        }
        let read = || -> Result<Vec<Vec<u8>>, redb::Error> {
            let table = match self.database.begin_read()?.open_table(ENTRIES) {
                Err(TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
                table => table?,
            };
            let (mut found, mut total) = (Vec::new(), 0usize);
            for row in table.range::<u64>(bounds)? {
                let bytes = row?.1.value().to_vec();
                total = total.saturating_add(bytes.len());
                if total > bytes_max && !found.is_empty() {
                    break;
                }
                found.push(bytes);
            }
            Ok(found)
        };
        let rows = read().map_err(|e| self.failed(e))?;
        rows.iter().map(|bytes| self.parse(bytes)).collect()
    }

    fn append(&self, entries: &[RaftEntry]) -> Result<(), LogError> {
        let rows: Vec<(u64, Vec<u8>)> =
            entries.iter().map(|e| Ok((e.log_id.index, self.bytes(e)?))).collect::<Result<_, LogError>>()?;
        self.write(|table| {
            for (index, bytes) in &rows {
                table.insert(*index, bytes.as_slice())?;
            }
            Ok(())
        })
    }

    fn write(
        &self,
        change: impl Fn(&mut redb::Table<'_, u64, &'static [u8]>) -> Result<(), redb::Error>,
    ) -> Result<(), LogError> {
        let write = || -> Result<(), redb::Error> {
            let write = self.database.begin_write()?;
            change(&mut write.open_table(ENTRIES)?)?;
            write.commit()?;
            Ok(())
        };
        write().map_err(|e| self.failed(e))
    }
}

impl RaftLogReader<Types> for Log {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<RaftEntry>, StorageError> {
        self.0.range(range, usize::MAX).map_err(|e| IoError::read_logs(&e).into())
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<RaftEntry>, StorageError> {
        self.0.range(start..end, SEND_BYTES_MAX).map_err(|e| IoError::read_logs(&e).into())
    }
}

impl RaftLogStorage<Types> for Log {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<Types>, StorageError> {
        let purged = self.0.get::<LogId>(PURGED).map_err(|e| IoError::read_logs(&e))?;
        let last = self.0.last().map_err(|e| IoError::read_logs(&e))?;
        Ok(LogState { last_purged_log_id: purged, last_log_id: last.or(purged) })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote<Member>) -> Result<(), StorageError> {
        let vote = *vote;
        let saved = self.blocking(move |log| log.set(&[(VOTE, log.bytes(&vote)?)])).await;
        saved.map_err(|e| IoError::write_vote(&e).into())
    }

    async fn read_vote(&mut self) -> Result<Option<Vote<Member>>, StorageError> {
        self.0.get(VOTE).map_err(|e| IoError::read_vote(&e).into())
    }

    async fn append<I>(&mut self, entries: I, callback: LogFlushed<Types>) -> Result<(), StorageError>
    where
        I: IntoIterator<Item = RaftEntry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<RaftEntry> = entries.into_iter().collect();
        match self.blocking(move |log| log.append(&entries)).await {
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
        let cut = move |log: &Inner| log.write(|table| Ok(table.retain(|index, _| index < log_id.index)?));
        self.blocking(cut).await.map_err(|e| IoError::write_logs(&e).into())
    }

    async fn purge(&mut self, log_id: LogId) -> Result<(), StorageError> {
        // What was purged is said first: entries that are there beside it do no harm.
        let cut = move |log: &Inner| {
            log.set(&[(PURGED, log.bytes(&log_id)?)])?;
            log.write(|table| Ok(table.retain_in(..=log_id.get_log_id().index, |_, _| false)?))
        };
        self.blocking(cut).await.map_err(|e| IoError::write_logs(&e).into())
    }
}

/// A snapshot as openraft passes it on.
pub(crate) fn packed(meta: SnapshotMeta<Member, ()>, bytes: Vec<u8>) -> Snapshot<Types> {
    Snapshot { meta, snapshot: Box::new(Cursor::new(bytes)) }
}
