//! What a member's log is made of: a database for what changes seldom, and files of frames for the entries.

use std::path::{Path, PathBuf};

use redb::{Database, ReadableDatabase as _, TableDefinition, TableError};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::LogError;
use super::frames::Frames;
use crate::file::{self, OpenError};
use crate::types::{LogId, RaftEntry};

const VALUES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("values");

const DISK: &str = "disk";
pub(super) const VOTE: &str = "vote";
pub(super) const PURGED: &str = "purged";
pub(super) const META: &str = "snapshot-meta";
pub(super) const SNAPSHOT: &str = "snapshot";
pub(super) const REMOVED: &str = "removed";

/// Memory for pages, in bytes.
const CACHE_BYTES: usize = 16 * 1024 * 1024;

/// An entry as it is on the disk, and where.
pub(super) type Row = (u64, Vec<u8>);

/// The database, the entries, and the number that was drawn when both were made.
#[derive(Debug)]
pub(super) struct Disk {
    pub(super) path: PathBuf,
    // Before the database, whose lock keeps others out of these files too.
    frames: Frames,
    database: Database,
    pub(super) number: u64,
}

/// The database alone.
struct Values<'a> {
    path: &'a Path,
    database: &'a Database,
}

/// The folder with the entries of a database.
fn entries_of(path: &Path) -> PathBuf {
    path.with_extension("entries")
}

impl Disk {
    /// Opens or makes both. Blocks.
    pub(super) fn open(path: &Path) -> Result<Self, LogError> {
        let database = file::open(path, CACHE_BYTES).map_err(|error| match error {
            OpenError::Database(source) => LogError::Database { path: path.into(), source },
            OpenError::Folder(source) => LogError::File { path: path.into(), source },
        })?;
        let (values, dir) = (Values { path, database: &database }, entries_of(path));
        let (number, frames) = match values.get(DISK)? {
            Some(number) => {
                let purged = values.get::<LogId>(PURGED)?.map(|id| id.index);
                (number, Frames::open(&dir, number, purged)?)
            }
            None => {
                // A crash before the last step leaves a log that has not begun.
                let number = draw(path)?;
                let frames = Frames::create(&dir, number)?;
                values.set(&[(DISK, values.bytes(&number)?)])?;
                (number, frames)
            }
        };
        Ok(Self { path: path.into(), frames, database, number })
    }

    fn values(&self) -> Values<'_> {
        Values { path: &self.path, database: &self.database }
    }

    pub(super) fn bytes(&self, value: &impl Serialize) -> Result<Vec<u8>, LogError> {
        self.values().bytes(value)
    }

    pub(super) fn parse<T: DeserializeOwned>(&self, bytes: &[u8]) -> Result<T, LogError> {
        self.values().parse(bytes)
    }

    pub(super) fn get_raw(&self, name: &str) -> Result<Option<Vec<u8>>, LogError> {
        self.values().get_raw(name)
    }

    pub(super) fn get<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, LogError> {
        self.values().get(name)
    }

    pub(super) fn set(&self, values: &[(&str, Vec<u8>)]) -> Result<(), LogError> {
        self.values().set(values)
    }

    /// The newest entry that is here, or what was purged last if none is.
    pub(super) fn last(&self) -> Result<Option<LogId>, LogError> {
        match self.frames.last()? {
            Some(bytes) => Ok(Some(self.parse::<RaftEntry>(&bytes)?.log_id)),
            None => self.get(PURGED),
        }
    }

    /// Entries from one place up to another, at least one if there is any, and no more than so many bytes. Beside them
    /// how many bytes they have, unless some are left out.
    pub(super) fn range(&self, from: u64, to: u64, max: usize) -> Result<(Vec<RaftEntry>, Option<usize>), LogError> {
        let (rows, total) = self.frames.range(from, to, max)?;
        Ok((rows.iter().map(|bytes| self.parse(bytes)).collect::<Result<_, _>>()?, total))
    }

    pub(super) fn append(&self, rows: &[Row]) -> Result<(), LogError> {
        self.frames.append(rows)
    }

    /// Cuts off the entries from this one on.
    pub(super) fn truncate(&self, from: u64) -> Result<(), LogError> {
        self.frames.truncate(from)
    }

    /// Throws away the entries up to this one.
    pub(super) fn purge(&self, upto: LogId) -> Result<(), LogError> {
        self.set(&[(PURGED, self.bytes(&upto)?)])?;
        self.frames.purge(upto.index)
    }
}

impl Values<'_> {
    fn failed(&self, source: redb::Error) -> LogError {
        LogError::Database { path: self.path.into(), source: Box::new(source) }
    }

    fn bytes(&self, value: &impl Serialize) -> Result<Vec<u8>, LogError> {
        postcard::to_stdvec(value).map_err(|source| LogError::Damaged { path: self.path.into(), source })
    }

    fn parse<T: DeserializeOwned>(&self, bytes: &[u8]) -> Result<T, LogError> {
        postcard::from_bytes(bytes).map_err(|source| LogError::Damaged { path: self.path.into(), source })
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

    /// All of them or none, and on the disk when this returns.
    fn set(&self, values: &[(&str, Vec<u8>)]) -> Result<(), LogError> {
        let write = || -> Result<(), redb::Error> {
            let write = self.database.begin_write()?;
            let mut table = write.open_table(VALUES)?;
            for (name, value) in values {
                table.insert(*name, value.as_slice())?;
            }
            drop(table);
            Ok(write.commit()?)
        };
        write().map_err(|e| self.failed(e))
    }
}

fn draw(path: &Path) -> Result<u64, LogError> {
    let mut drawn = [0; 8];
    getrandom::fill(&mut drawn).map_err(|source| LogError::Random { path: path.into(), source })?;
    Ok(u64::from_le_bytes(drawn))
}
