//! What an instance is made from, where everything of it is, and the account it runs as.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, chown};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use std::{fs, io};

use protocols::Name;
use scores::DeviceError;
use scores::postgres::PostgresScore;

/// The declaration as one node sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct Setup {
    /// What is declared.
    pub score: PostgresScore,
    /// This node's name.
    pub me: Name,
    /// Whom the score's addresses count of, if not of all: one that left the fleet has no say any more.
    candidates: Option<BTreeSet<Name>>,
}

impl Setup {
    /// The declaration as this node sees it.
    pub fn new(mut score: PostgresScore, me: Name) -> Self {
        score.folder = PostgresScore::folder_of(&score.folder, &me);
        score.tls.folder = PostgresScore::folder_of(&score.tls.folder, &me);
        Self { score, me, candidates: None }
    }

    /// The same, where these alone are candidates, whoever else has an address.
    #[must_use]
    pub fn among(self, candidates: impl IntoIterator<Item = Name>) -> Self {
        Self { candidates: Some(candidates.into_iter().collect()), ..self }
    }

    /// Where this node's PostgreSQL listens.
    ///
    /// # Errors
    /// When the node is not a candidate.
    pub fn address(&self) -> Result<SocketAddr, DeviceError> {
        self.address_of(&self.me)
    }

    /// Where a candidate's PostgreSQL listens.
    ///
    /// # Errors
    /// When the node is not a candidate.
    pub fn address_of(&self, node: &Name) -> Result<SocketAddr, DeviceError> {
        self.score.addresses.get(node).copied().ok_or_else(|| {
            DeviceError::permanent(format!("find `{node}` among the addresses of postgres/{}", self.score.name))
        })
    }

    /// The other candidates.
    pub fn others(&self) -> BTreeMap<&Name, SocketAddr> {
        let counts = |name: &Name| self.candidates.as_ref().is_none_or(|candidates| candidates.contains(name));
        let others = self.score.addresses.iter().filter(|(name, _)| **name != self.me && counts(name));
        others.map(|(name, address)| (name, *address)).collect()
    }

    /// Whether this node makes the cluster's first copy.
    pub fn is_first(&self) -> bool {
        self.score.succession.first.as_ref() == Some(&self.me)
    }

    /// One of PostgreSQL's programs.
    pub fn program(&self, name: &str) -> String {
        format!("{}/{name}", self.score.programs)
    }

    /// Where everything of the instance is.
    pub fn layout(&self) -> Layout {
        Layout { folder: PathBuf::from(&self.score.folder) }
    }
}

/// Where everything of an instance is. The folder itself, the configuration and the keys belong to the agent, so that
/// nothing the database does can change what it is started with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    folder: PathBuf,
}

impl Layout {
    /// The cluster's files.
    pub fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// A copy that is being made, until it is complete.
    pub(super) fn fresh(&self) -> PathBuf {
        self.folder.join("data.new")
    }

    /// A copy that has been replaced, until it is removed.
    pub(super) fn stale(&self) -> PathBuf {
        self.folder.join("data.old")
    }

    /// The folder of the local socket.
    pub fn socket(&self) -> PathBuf {
        self.folder.join("run")
    }

    /// The folder of the log.
    pub fn log(&self) -> PathBuf {
        self.folder.join("log")
    }

    /// What is written by the account's programs for the agent to read.
    pub(super) fn scratch(&self) -> PathBuf {
        self.folder.join("scratch")
    }

    /// The configuration.
    pub(super) fn conf(&self) -> PathBuf {
        self.folder.join("conf")
    }

    /// Certificates and keys.
    pub(super) fn tls(&self) -> PathBuf {
        self.folder.join("tls")
    }

    /// Whether there is a complete copy of the cluster.
    pub(super) fn has_data(&self) -> bool {
        self.data().join("PG_VERSION").exists()
    }

    /// Makes what is missing.
    pub(super) fn make(&self, account: &Account) -> Result<(), DeviceError> {
        let doing = |path: &Path| format!("make {}", path.display());
        make_folder(&self.folder, 0o755).map_err(|error| DeviceError::io(doing(&self.folder), error))?;
        for (path, mode, to) in [
            (self.conf(), 0o750, To::Group),
            (self.tls(), 0o750, To::Group),
            (self.socket(), 0o755, To::Account),
            (self.log(), 0o700, To::Account),
            (self.scratch(), 0o700, To::Account),
        ] {
            make_folder(&path, mode)
                .and_then(|()| account.give(&path, to))
                .map_err(|error| DeviceError::io(doing(&path), error))?;
        }
        Ok(())
    }
}

/// Whom a file is given to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum To {
    /// The account may do everything with it.
    Account,
    /// It stays the agent's, and the account's group may read it.
    Group,
}

/// The account that PostgreSQL runs as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Its name.
    pub name: String,
    uid: u32,
    gid: u32,
}

impl Account {
    /// Looks an account up, wherever this machine keeps its accounts.
    ///
    /// # Errors
    /// When there is none of that name, or it is root's.
    pub async fn find(name: &str) -> Result<Self, DeviceError> {
        let doing = || format!("look up the account `{name}`");
        let mut command = tokio::process::Command::new("getent");
        command.args(["passwd", name]).stdin(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
        let output = tokio::time::timeout(LOOK_UP, command.output())
            .await
            .map_err(|_| DeviceError::transient(doing()).because("getent did not answer"))?
            .map_err(|error| DeviceError::io(doing(), error))?;
        let line = String::from_utf8_lossy(&output.stdout).into_owned();
        let number = |place: usize| line.trim().split(':').nth(place).and_then(|text| text.parse::<u32>().ok());
        let (Some(uid), Some(gid)) = (number(2), number(3)) else {
            return Err(DeviceError::permanent(doing()).because("there is none; install PostgreSQL or make it"));
        };
        if uid == 0 {
            return Err(DeviceError::permanent(doing()).because("it is root, and PostgreSQL refuses to run as root"));
        }
        Ok(Self { name: name.to_owned(), uid, gid })
    }

    pub(super) fn give(&self, path: &Path, to: To) -> io::Result<()> {
        // Who is not root can give nothing away, and runs PostgreSQL under its own account.
        if !rustix::process::geteuid().is_root() {
            return Ok(());
        }
        match to {
            To::Account => chown(path, Some(self.uid), Some(self.gid)),
            To::Group => chown(path, Some(0), Some(self.gid)),
        }
    }

    /// Writes a file that the account may read, whole or not at all; one that has this content already is left alone.
    pub(super) fn write(&self, path: &Path, content: &[u8]) -> Result<(), DeviceError> {
        if fs::read(path).is_ok_and(|known| known == content) {
            return Ok(());
        }
        let write = || {
            use std::io::Write as _;
            use std::os::unix::fs::OpenOptionsExt as _;
            let beside = path.with_extension("new");
            match fs::remove_file(&beside) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o640).open(&beside)?;
            file.write_all(content)?;
            self.give(&beside, To::Group)?;
            file.sync_all()?;
            fs::rename(&beside, path)?;
            path.parent().map_or(Ok(()), |folder| fs::File::open(folder)?.sync_all())
        };
        write().map_err(|error| DeviceError::io(format!("write {}", path.display()), error))
    }
}

pub(super) fn make_folder(path: &Path, mode: u32) -> io::Result<()> {
    match fs::DirBuilder::new().mode(mode).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        other => other,
    }
}

/// How long looking up an account may take: it may be in a directory on the network.
const LOOK_UP: Duration = Duration::from_secs(20);
