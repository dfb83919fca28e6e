//! A database's file, opened so that it lasts.

use std::fs::File;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use redb::{Database, DatabaseError};

/// How long another owner in this process, which is about to go, is waited for: longer than any of them waits for answers.
const IN_USE_WAIT: Duration = Duration::from_secs(10);
/// The pause before an owner is looked for again.
const IN_USE_PAUSE: Duration = Duration::from_millis(20);

/// Why a file could not be opened or made.
pub(crate) enum OpenError {
    /// The database.
    Database(Box<redb::Error>),
    /// The folder that it is in.
    Folder(io::Error),
}

/// Opens or makes a database, with so many bytes of memory for its pages. Blocks.
pub(crate) fn open(path: &Path, cache: usize) -> Result<Database, OpenError> {
    let new = !path.exists();
    let until = Instant::now() + IN_USE_WAIT;
    let database = loop {
        match redb::Builder::new().set_cache_size(cache).create(path) {
            Err(DatabaseError::DatabaseAlreadyOpen) if Instant::now() < until => std::thread::sleep(IN_USE_PAUSE),
            other => break other.map_err(|error| OpenError::Database(Box::new(error.into())))?,
        }
    };
    if new && let Some(dir) = path.parent() {
        // The file's name must last as its contents do.
        File::open(dir).and_then(|dir| dir.sync_all()).map_err(OpenError::Folder)?;
    }
    Ok(database)
}
