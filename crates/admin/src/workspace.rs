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
