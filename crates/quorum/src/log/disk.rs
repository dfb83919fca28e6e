//! The tables that a member's log is made of, in one database.

use std::path::{Path, PathBuf};

use openraft::RaftLogId as _;
use redb::{Database, ReadableDatabase as _, ReadableTable as _, TableDefinition, TableError, WriteTransaction};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::LogError;
use crate::file::{self, OpenError};
use crate::types::{LogId, RaftEntry};

const ENTRIES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("entries");
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

/// The database, and the number that was drawn when it was made.
#[derive(Debug)]
pub(super) struct Disk {
    pub(super) path: PathBuf,
    database: Database,
    pub(super) number: u64,
}

impl Disk {
    /// Opens or makes the database. Blocks.
    pub(super) fn open(path: &Path) -> Result<Self, LogError> {
        let database = file::open(path, CACHE_BYTES).map_err(|error| match error {
            OpenError::Database(source) => LogError::Database { path: path.into(), source },
            OpenError::Folder(source) => LogError::File { path: path.into(), source },
        })?;
        let mut disk = Self { path: path.into(), database, number: 0 };
        disk.number = match disk.get(DISK)? {
            Some(number) => number,
            None => {
                let mut drawn = [0; 8];
                getrandom::fill(&mut drawn).map_err(|source| LogError::Random { path: path.into(), source })?;
                let number = u64::from_le_bytes(drawn);
                disk.set(&[(DISK, disk.bytes(&number)?)])?;
                number
            }
        };
        Ok(disk)
    }

    fn failed(&self, source: redb::Error) -> LogError {
        LogError::Database { path: self.path.clone(), source: Box::new(source) }
    }

    pub(super) fn bytes(&self, value: &impl Serialize) -> Result<Vec<u8>, LogError> {
        postcard::to_stdvec(value).map_err(|source| LogError::Damaged { path: self.path.clone(), source })
    }

    pub(super) fn parse<T: DeserializeOwned>(&self, bytes: &[u8]) -> Result<T, LogError> {
        postcard::from_bytes(bytes).map_err(|source| LogError::Damaged { path: self.path.clone(), source })
    }

    pub(super) fn get_raw(&self, name: &str) -> Result<Option<Vec<u8>>, LogError> {
        let read = || -> Result<Option<Vec<u8>>, redb::Error> {
            match self.database.begin_read()?.open_table(VALUES) {
                Err(TableError::TableDoesNotExist(_)) => Ok(None),
                table => Ok(table?.get(name)?.map(|value| value.value().to_vec())),
            }
        };
        read().map_err(|e| self.failed(e))
    }

    pub(super) fn get<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, LogError> {
        self.get_raw(name)?.map(|bytes| self.parse(&bytes)).transpose()
    }

    pub(super) fn set(&self, values: &[(&str, Vec<u8>)]) -> Result<(), LogError> {
        self.write(|write| put(write, values))
    }

    /// The newest entry that is here, or what was purged last if none is.
    pub(super) fn last(&self) -> Result<Option<LogId>, LogError> {
        let read = || -> Result<Option<Vec<u8>>, redb::Error> {
            match self.database.begin_read()?.open_table(ENTRIES) {
                Err(TableError::TableDoesNotExist(_)) => Ok(None),
                table => Ok(table?.last()?.map(|(_, bytes)| bytes.value().to_vec())),
            }
        };
        match read().map_err(|e| self.failed(e))? {
            Some(bytes) => Ok(Some(self.parse::<RaftEntry>(&bytes)?.log_id)),
            None => self.get(PURGED),
        }
    }

    /// Entries from one place up to another, at least one if there is any, and no more than so many bytes. Beside them
    /// how many bytes they have, unless some are left out.
    pub(super) fn range(&self, from: u64, to: u64, max: usize) -> Result<(Vec<RaftEntry>, Option<usize>), LogError> {
        let read = || -> Result<(Vec<Vec<u8>>, Option<usize>), redb::Error> {
            let (mut found, mut total) = (Vec::new(), 0usize);
            let table = match self.database.begin_read()?.open_table(ENTRIES) {
                Err(TableError::TableDoesNotExist(_)) => return Ok((found, Some(0))),
                table => table?,
            };
            for row in table.range(from..to)? {
                let bytes = row?.1.value().to_vec();
                total = total.saturating_add(bytes.len());
                if total > max && !found.is_empty() {
                    return Ok((found, None));
                }
                found.push(bytes);
            }
            Ok((found, Some(total)))
        };
        let (rows, total) = read().map_err(|e| self.failed(e))?;
        Ok((rows.iter().map(|bytes| self.parse(bytes)).collect::<Result<_, _>>()?, total))
    }

    pub(super) fn append(&self, rows: &[Row]) -> Result<(), LogError> {
        self.write(|write| {
            let mut table = write.open_table(ENTRIES)?;
            for (index, bytes) in rows {
                table.insert(*index, bytes.as_slice())?;
            }
            Ok(())
        })
    }

    /// Cuts off the entries from this one on.
    pub(super) fn truncate(&self, from: u64) -> Result<(), LogError> {
        self.write(|write| Ok(write.open_table(ENTRIES)?.retain_in(from.., |_, _| false)?))
    }

    /// Throws away the entries up to this one.
    pub(super) fn purge(&self, upto: LogId) -> Result<(), LogError> {
        let purged = self.bytes(&upto)?;
        self.write(|write| {
            put(write, &[(PURGED, purged)])?;
            Ok(write.open_table(ENTRIES)?.retain_in(..=upto.get_log_id().index, |_, _| false)?)
        })
    }

    /// All of a change or nothing of it, and on the disk when this returns.
    fn write(&self, change: impl FnOnce(&WriteTransaction) -> Result<(), redb::Error>) -> Result<(), LogError> {
        let write = || -> Result<(), redb::Error> {
            let write = self.database.begin_write()?;
            change(&write)?;
            write.commit()?;
            Ok(())
        };
        write().map_err(|e| self.failed(e))
    }
}

fn put(write: &WriteTransaction, values: &[(&str, Vec<u8>)]) -> Result<(), redb::Error> {
    let mut table = write.open_table(VALUES)?;
    for (name, value) in values {
        table.insert(*name, value.as_slice())?;
    }
    Ok(())
}
