//! The log of leases on disk: batches of entries, and now and then the whole table in their stead.

use std::path::{Path, PathBuf};

use failover::{Entry, LeaseTable, Stamp};
use redb::{Database, ReadableDatabase as _, ReadableTable as _, TableDefinition, TableError};

use crate::file::{self, OpenError};

const BATCHES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("batches");
/// The table after the batch of this number.
const TABLE: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("table");

/// How many batches there are before the table takes their place.
const BATCHES_MAX: u64 = 4096;
/// Memory for pages, in bytes.
const CACHE_BYTES: usize = 4 * 1024 * 1024;

/// Why the log could not be read or written.
#[derive(Debug, thiserror::Error)]
pub(super) enum LeaseStoreError {
    /// The database.
    #[error("the log of leases {path} failed: {source}")]
    Database { path: PathBuf, source: Box<redb::Error> },
    /// The folder.
    #[error("the folder of {path} cannot be synced: {source}")]
    Folder { path: PathBuf, source: std::io::Error },
    /// What it holds.
    #[error("the log of leases {path} is damaged: {source}")]
    Damaged { path: PathBuf, source: postcard::Error },
}

/// The log of leases, open.
#[derive(Debug)]
pub(super) struct LeaseStore {
    path: PathBuf,
    database: Database,
    /// The number of the next batch.
    next: u64,
    /// The number of the first batch that the stored table lacks.
    first: u64,
    /// How many batches there are before the table takes their place.
    pub(super) batches_max: u64,
}

impl LeaseStore {
    /// Opens or makes the log, and replays it.
    pub(super) fn open(path: &Path) -> Result<(Self, LeaseTable), LeaseStoreError> {
        let opened = file::open(path, CACHE_BYTES).map_err(|error| match error {
            OpenError::Database(source) => LeaseStoreError::Database { path: path.into(), source },
            OpenError::Folder(source) => LeaseStoreError::Folder { path: path.into(), source },
        })?;
        let mut store = Self { path: path.into(), database: opened, next: 0, first: 0, batches_max: BATCHES_MAX };
        let table = store.replay()?;
        Ok((store, table))
    }

    fn replay(&mut self) -> Result<LeaseTable, LeaseStoreError> {
        let damaged = |source| LeaseStoreError::Damaged { path: self.path.clone(), source };
        let (stored, batches) = self.read().map_err(|e| database(&self.path, e))?;
        let mut table = LeaseTable::new();
        if let Some((number, bytes)) = stored {
            table = postcard::from_bytes(&bytes).map_err(damaged)?;
            self.first = number + 1;
        }
        self.next = self.first;
        for (number, bytes) in batches {
            let entries: Vec<(Stamp, Entry)> = postcard::from_bytes(&bytes).map_err(damaged)?;
            for (stamp, entry) in &entries {
                table.apply(*stamp, entry);
            }
            self.next = number + 1;
        }
        Ok(table)
    }

    #[expect(clippy::type_complexity, reason = "two tables' rows")]
    fn read(&self) -> Result<(Option<(u64, Vec<u8>)>, Vec<(u64, Vec<u8>)>), redb::Error> {
        let read = self.database.begin_read()?;
        let stored = match read.open_table(TABLE) {
            Err(TableError::TableDoesNotExist(_)) => None,
            table => table?.last()?.map(|(number, bytes)| (number.value(), bytes.value().to_vec())),
        };
        let from = stored.as_ref().map_or(0, |(number, _)| number + 1);
        let mut batches = Vec::new();
        match read.open_table(BATCHES) {
            Err(TableError::TableDoesNotExist(_)) => {}
            table => {
                for row in table?.range(from..)? {
                    let (number, bytes) = row?;
                    batches.push((number.value(), bytes.value().to_vec()));
                }
            }
        }
        Ok((stored, batches))
    }

    /// Writes a batch; it is on the disk when this returns.
    pub(super) fn append(&mut self, entries: &[(Stamp, Entry)]) -> Result<(), LeaseStoreError> {
        let damaged = |source| LeaseStoreError::Damaged { path: self.path.clone(), source };
        let bytes = postcard::to_stdvec(entries).map_err(damaged)?;
        let write = || -> Result<(), redb::Error> {
            let write = self.database.begin_write()?;
            write.open_table(BATCHES)?.insert(self.next, bytes.as_slice())?;
            write.commit()?;
            Ok(())
        };
        write().map_err(|e| database(&self.path, e))?;
        self.next += 1;
        Ok(())
    }

    /// Lets the table take the place of the batches when there are many. A failure loses nothing.
    pub(super) fn compact(&mut self, table: &LeaseTable) -> Result<(), String> {
        if self.next - self.first < self.batches_max {
            return Ok(());
        }
        let bytes = postcard::to_stdvec(table).map_err(|e| e.to_string())?;
        let last = self.next - 1;
        let write = || -> Result<(), redb::Error> {
            let write = self.database.begin_write()?;
            {
                let mut tables = write.open_table(TABLE)?;
                tables.retain(|_, _| false)?;
                tables.insert(last, bytes.as_slice())?;
                write.open_table(BATCHES)?.retain(|number, _| number > last)?;
            }
            write.commit()?;
            Ok(())
        };
        write().map_err(|e| database(&self.path, e).to_string())?;
        self.first = self.next;
        Ok(())
    }
}

fn database(path: &Path, source: redb::Error) -> LeaseStoreError {
    LeaseStoreError::Database { path: path.into(), source: Box::new(source) }
}
