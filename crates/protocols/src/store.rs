//! Where a role keeps what it must not lose: one folder, one lock, one database, synced before anything is answered.

use std::fs::File;
use std::io::{ErrorKind, Read as _, Seek as _, Write as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use redb::{Database, Durability, ReadTransaction, ReadableDatabase as _, StorageError, WriteTransaction};

mod ledger;
mod records;
mod values;

pub use ledger::{Ledger, LedgerError, Tail};
pub use records::{RecordBook, Records, WriteRecordError};
pub use values::Values;

/// Name of the lock file in a data folder.
const LOCK_FILE: &str = "lock";
/// Name of the database in a data folder.
const DATABASE_FILE: &str = "state.redb";
/// Memory that the database may use to keep pages, in bytes. Roles keep what they work with themselves; redb's own default
/// is 1 GiB.
const CACHE_BYTES: usize = 16 * 1024 * 1024;

/// A data folder that this process alone has open.
#[derive(Debug)]
pub struct Store {
    dir: PathBuf,
    database: Mutex<Option<Database>>,
    /// How often the database was opened: what was not durable is gone each time.
    opened: AtomicU64,
    _lock: File,
}

/// Why the store could not be opened, read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process has it.
    #[error("the data folder {dir} is in use by {by}; one flt runs per data folder")]
    InUse {
        /// The folder.
        dir: PathBuf,
        /// Who, as far as is known.
        by: String,
    },
    /// The folder cannot be made or used.
    #[error("cannot use the data folder {dir}")]
    Folder {
        /// The folder.
        dir: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// No space is left.
    #[error("no space is left in the data folder {dir}; free some and try again")]
    Full {
        /// The folder.
        dir: PathBuf,
    },
    /// The database cannot be read.
    #[error("the database in {dir} is damaged: {why}")]
    Damaged {
        /// The folder.
        dir: PathBuf,
        /// What was found.
        why: String,
    },
    /// Anything else the database said.
    #[error("the database in {dir} failed")]
    Database {
        /// The folder.
        dir: PathBuf,
        /// What it said.
        source: Box<redb::Error>,
    },
}

impl Store {
    /// Opens or makes the data folder, readable by its owner alone.
    ///
    /// # Errors
    /// [`StoreError::InUse`] if another process has it open; others as they say.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        use std::os::unix::fs::DirBuilderExt as _;
        let folder = |source| StoreError::Folder { dir: dir.to_owned(), source };
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(folder)?;
        let lock = lock(dir)?;
        let store = Self { dir: dir.to_owned(), database: Mutex::new(None), opened: AtomicU64::new(0), _lock: lock };
        store.read(|_| Ok(()))?;
        Ok(store)
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Reads in one snapshot.
    fn read<T>(&self, f: impl FnOnce(&ReadTransaction) -> Result<T, redb::Error>) -> Result<T, StoreError> {
        let mut slot = self.database()?;
        let Some(database) = slot.as_ref() else { return Err(self.damaged("it is closed")) };
        let result = guarded(|| database.begin_read().map_err(redb::Error::from).and_then(|t| f(&t)));
        result.map_err(|error| self.failed(&mut slot, error))
    }

    /// Writes in one transaction: all of it or nothing. With `durable` it is on the disk when this returns; without, it
    /// is visible at once and on the disk with the next durable write.
    fn write<T>(
        &self,
        durable: bool,
        f: impl FnOnce(&WriteTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        let mut slot = self.database()?;
        let Some(database) = slot.as_ref() else { return Err(self.damaged("it is closed")) };
        let result = guarded(|| transact(database, durable, f));
        result.map_err(|error| self.failed(&mut slot, error))
    }

    /// The open database. It is opened anew after a failure: redb refuses everything after an I/O error, and a full
    /// disk must not outlast itself.
    fn database(&self) -> Result<MutexGuard<'_, Option<Database>>, StoreError> {
        let mut slot = self.database.lock().unwrap_or_else(PoisonError::into_inner);
        if slot.is_none() {
            let path = self.dir.join(DATABASE_FILE);
            let database = guarded(|| {
                let new = !path.exists();
                let database = redb::Builder::new().set_cache_size(CACHE_BYTES).create(&path)?;
                if new {
                    // The file's name must last as its contents do.
                    File::open(&self.dir)?.sync_all()?;
                }
                Ok(database)
            });
            *slot = Some(database.map_err(|e| self.describe(e))?);
            self.opened.fetch_add(1, Ordering::Relaxed);
        }
        Ok(slot)
    }

    fn failed(&self, slot: &mut Option<Database>, error: redb::Error) -> StoreError {
        use redb::Error as E;
        if matches!(error, E::Io(_) | E::PreviousIo | E::LockPoisoned(_) | E::Corrupted(_) | E::DatabaseClosed) {
            close(slot.take());
        }
        self.describe(error)
    }

    fn describe(&self, error: redb::Error) -> StoreError {
        let dir = self.dir.clone();
        match error {
            redb::Error::Io(e) if e.kind() == ErrorKind::StorageFull => StoreError::Full { dir },
            redb::Error::Io(e) if matches!(e.kind(), ErrorKind::InvalidData | ErrorKind::UnexpectedEof) => {
                self.damaged(&e.to_string())
            }
            redb::Error::Io(source) => StoreError::Folder { dir, source },
            redb::Error::Corrupted(why) => StoreError::Damaged { dir, why },
            redb::Error::RepairAborted | redb::Error::UpgradeRequired(_) => self.damaged(&error.to_string()),
            other => StoreError::Database { dir, source: Box::new(other) },
        }
    }

    /// A number that changes whenever writes that were not durable may have been lost.
    fn opened(&self) -> u64 {
        self.opened.load(Ordering::Relaxed)
    }

    fn damaged(&self, why: &str) -> StoreError {
        StoreError::Damaged { dir: self.dir.clone(), why: why.into() }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        close(self.database.get_mut().unwrap_or_else(PoisonError::into_inner).take());
    }
}

/// Closing writes, and so may fail or panic as anything else does on a damaged file, which is repaired when it is opened
/// again.
fn close(database: Option<Database>) {
    drop(catch_unwind(AssertUnwindSafe(|| drop(database))));
}

/// Runs what reads the database's pages. Some of its checks of them are assertions: on a damaged file they panic.
fn guarded<T>(f: impl FnOnce() -> Result<T, redb::Error>) -> Result<T, redb::Error> {
    catch_unwind(AssertUnwindSafe(f)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no reason given");
        Err(corrupted(format!("reading it broke off ({})", crate::outcome::shorten(text, 200))))
    })
}

fn transact<T>(
    database: &Database,
    durable: bool,
    f: impl FnOnce(&WriteTransaction) -> Result<T, redb::Error>,
) -> Result<T, redb::Error> {
    let mut transaction = database.begin_write()?;
    transaction.set_durability(if durable { Durability::Immediate } else { Durability::None })?;
    let value = f(&transaction)?;
    transaction.commit()?;
    Ok(value)
}

/// A value in the database that is not what was written: it counts as corruption.
fn corrupted(why: impl std::fmt::Display) -> redb::Error {
    StorageError::Corrupted(why.to_string()).into()
}

fn lock(dir: &Path) -> Result<File, StoreError> {
    let folder = |source| StoreError::Folder { dir: dir.to_owned(), source };
    let path = dir.join(LOCK_FILE);
    let mut file = File::options().create(true).read(true).write(true).truncate(false).open(&path).map_err(folder)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(std::fs::TryLockError::WouldBlock) => {
            let mut pid = String::new();
            let read = (&mut file).take(20).read_to_string(&mut pid);
            let by = match read {
                Ok(_) if !pid.trim().is_empty() => format!("process {}", pid.trim()),
                _ => "another process".into(),
            };
            return Err(StoreError::InUse { dir: dir.to_owned(), by });
        }
        Err(std::fs::TryLockError::Error(source)) => return Err(folder(source)),
    }
    // The number is only for the message above, so a full disk must not keep the folder from opening.
    let note = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| writeln!(file, "{}", std::process::id()));
    drop(note);
    Ok(file)
}

#[cfg(test)]
mod tests;
