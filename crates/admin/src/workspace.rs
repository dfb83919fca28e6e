//! The admin's data folder: its key, its ticket, and its own verified copy of the ledger.
//!
//! The copy's lock is held only while it is read or written, so that several commands can run at once.

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use protocols::store::{Ledger, LedgerError, Store, StoreError};
use protocols::ticket::{BadTicket, TICKET_CHARS_MAX};
use protocols::{FleetId, SignedEntry, Ticket};

/// Name of the key file in the folder.
pub const KEY_FILE: &str = "key";
/// Name of the ticket file in the folder.
pub const TICKET_FILE: &str = "ticket";
/// Name of the ledger's folder in the folder.
pub const LEDGER_FOLDER: &str = "ledger";
/// How long to wait for another command of the same admin that has the ledger open.
pub const LOCK_WAIT: Duration = Duration::from_secs(20);

/// An admin's data folder.
#[derive(Debug, Clone)]
pub struct Workspace {
    dir: PathBuf,
    ticket: PathBuf,
}

/// Why the folder could not be used.
#[derive(Debug, thiserror::Error)]
pub enum WorkspaceError {
    /// A file or the folder itself.
    #[error("cannot {doing} {path}")]
    File {
        /// What was being done.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// No ticket is stored.
    #[error("no ticket in {0}: it is not known how to reach the fleet's coordinator")]
    NoTicket(PathBuf),
    /// The ticket file does not hold a ticket.
    #[error("{path} does not hold a ticket")]
    BadTicket {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: BadTicket,
    },
    /// The ledger's copy.
    #[error("cannot use the copy of the ledger in {dir}")]
    Ledger {
        /// The folder.
        dir: PathBuf,
        /// Why.
        source: LedgerError,
    },
}

/// A key file, and beside it the key that is to take its place.
#[derive(Debug, Clone)]
pub struct KeyFiles {
    current: PathBuf,
}

impl KeyFiles {
    /// Those at a path.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { current: path.into() }
    }

    /// The key in use.
    pub fn current(&self) -> &Path {
        &self.current
    }

    /// The key that is to follow.
    pub fn next(&self) -> PathBuf {
        self.beside("new")
    }

    /// The key that was in use, while it is being replaced.
    pub fn old(&self) -> PathBuf {
        self.beside("old")
    }

    fn beside(&self, end: &str) -> PathBuf {
        let mut name = self.current.file_name().unwrap_or_default().to_owned();
        name.push(".");
        name.push(end);
        self.current.with_file_name(name)
    }

    /// Puts the next key in the place of the current one. At every moment the current file is one of the two, and both
    /// keys are somewhere; the old one goes last.
    ///
    /// # Errors
    /// [`WorkspaceError::File`]. Then calling it again goes on.
    pub fn install(&self) -> Result<(), WorkspaceError> {
        let (next, old) = (self.next(), self.old());
        let failed = |doing, path: &Path| {
            let path = path.to_owned();
            move |source| WorkspaceError::File { doing, path, source }
        };
        match std::fs::remove_file(&old) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed("remove", &old)(error)),
            _ => {}
        }
        std::fs::hard_link(&self.current, &old).map_err(failed("write", &old))?;
        std::fs::rename(&next, &self.current).map_err(failed("replace", &self.current))?;
        self.sync()?;
        std::fs::remove_file(&old).map_err(failed("remove", &old))?;
        self.sync()
    }

    fn sync(&self) -> Result<(), WorkspaceError> {
        let folder = self.current.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
        let synced = std::fs::File::open(folder).and_then(|dir| dir.sync_all());
        synced.map_err(|source| WorkspaceError::File { doing: "write", path: folder.to_owned(), source })
    }
}

impl Workspace {
    /// The folder `dir`, which is made when something is written, with its ticket in its place.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        let dir = dir.into();
        let ticket = dir.join(TICKET_FILE);
        Self { dir, ticket }
    }

    /// The same with the ticket somewhere else.
    #[must_use]
    pub fn with_ticket_file(self, ticket: impl Into<PathBuf>) -> Self {
        Self { ticket: ticket.into(), ..self }
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where the key is, unless it was put elsewhere.
    pub fn key_file(&self) -> PathBuf {
        self.dir.join(KEY_FILE)
    }

    /// Where the ticket is.
    pub fn ticket_file(&self) -> &Path {
        &self.ticket
    }

    /// The key file and those beside it.
    pub fn key_files(&self) -> KeyFiles {
        KeyFiles::at(self.key_file())
    }

    /// Makes the folder, readable by its owner alone.
    ///
    /// # Errors
    /// [`WorkspaceError::File`].
    pub fn create(&self) -> Result<(), WorkspaceError> {
        use std::os::unix::fs::DirBuilderExt as _;
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.dir);
        made.map_err(|source| WorkspaceError::File { doing: "make", path: self.dir.clone(), source })
    }

    /// The stored ticket.
    ///
    /// # Errors
    /// [`WorkspaceError::NoTicket`] if there is none; others as they say.
    pub fn ticket(&self) -> Result<Ticket, WorkspaceError> {
        let path = self.ticket.clone();
        let file = match std::fs::File::open(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(WorkspaceError::NoTicket(path)),
            other => other,
        };
        let mut text = String::new();
        let read = file.and_then(|file| file.take(TICKET_CHARS_MAX as u64 + 2).read_to_string(&mut text));
        if let Err(source) = read {
            return Err(WorkspaceError::File { doing: "read", path, source });
        }
        text.parse().map_err(|source| WorkspaceError::BadTicket { path, source })
    }

    /// Stores the ticket that later commands use. It is replaced whole or not at all.
    ///
    /// # Errors
    /// [`WorkspaceError::File`].
    pub fn set_ticket(&self, ticket: &Ticket) -> Result<(), WorkspaceError> {
        use std::os::unix::fs::OpenOptionsExt as _;
        self.create()?;
        let aside = self.ticket.with_extension(format!("new-{}", std::process::id()));
        let written = (|| {
            let mut file =
                std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&aside)?;
            writeln!(file, "{ticket}")?;
            file.sync_all()?;
            std::fs::rename(&aside, &self.ticket)
        })();
        written.map_err(|source| WorkspaceError::File { doing: "write", path: self.ticket.clone(), source })
    }

    /// Opens the ledger's copy, waiting for another command that has it open. `fleet` is the fleet it must be of.
    ///
    /// # Errors
    /// [`WorkspaceError::Ledger`].
    pub fn ledger(&self, fleet: Option<FleetId>) -> Result<Ledger, WorkspaceError> {
        let dir = self.dir.join(LEDGER_FOLDER);
        let failed = |source| WorkspaceError::Ledger { dir: dir.clone(), source };
        let deadline = Instant::now() + LOCK_WAIT;
        loop {
            match Store::open(&dir) {
                Ok(store) => return Ledger::open(Arc::new(store), fleet).map_err(failed),
                Err(StoreError::InUse { .. }) if Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(30));
                }
                Err(error) => return Err(failed(error.into())),
            }
        }
    }

    /// Adds entries to the ledger's copy, which may have grown meanwhile.
    ///
    /// # Errors
    /// [`WorkspaceError::Ledger`].
    pub fn save(&self, fleet: FleetId, entries: Vec<SignedEntry>) -> Result<(), WorkspaceError> {
        let failed = |source| WorkspaceError::Ledger { dir: self.dir.join(LEDGER_FOLDER), source };
        let mut ledger = self.ledger(Some(fleet))?;
        let mut entries = entries.into_iter();
        if ledger.state().is_none()
            && let Some(genesis) = entries.next()
        {
            ledger.found(genesis, fleet).map_err(failed)?;
        }
        ledger.append(entries.collect()).map_err(failed)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_replaced_and_never_missing() {
        let dir = tempfile::tempdir().unwrap();
        let files = KeyFiles::at(dir.path().join("key"));
        std::fs::write(files.current(), "one").unwrap();
        std::fs::write(files.next(), "two").unwrap();
        // As a run that was killed in the middle leaves it.
        std::fs::write(files.old(), "one").unwrap();
        files.install().unwrap();
        assert_eq!(std::fs::read_to_string(files.current()).unwrap(), "two");
        assert!(!files.next().exists() && !files.old().exists());
        assert!(files.install().is_err(), "nothing is to follow");
        assert_eq!(std::fs::read_to_string(files.current()).unwrap(), "two");
    }
}
