//! The folder of a local fleet: what is where, and how it is founded, whole or not at all.

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};

use admin::found;
use admin::workspace::Workspace;
use anyhow::{Context as _, anyhow};
use protocols::entry::Founder;
use protocols::key::KeyFormat;
use protocols::{Digest, FleetId, Name, SecretKey, Ticket};
use serde::{Deserialize, Serialize};

use super::process::Seat;
use crate::report::{Advise as _, Code};

/// The folder of a local fleet.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    /// As it was named.
    pub(super) named: PathBuf,
    /// From the root.
    dir: PathBuf,
}

/// What makes a folder that of a local fleet.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Mark {
    version: u32,
    /// Its fleet.
    pub(super) fleet: FleetId,
}

impl Layout {
    pub(super) fn at(named: &Path) -> anyhow::Result<Self> {
        let dir = std::path::absolute(named).with_context(|| format!("cannot use the folder {}", named.display()))?;
        Ok(Self { named: named.to_owned(), dir })
    }

    /// The fleet's mark; nothing if there is none, and an error if there is something else.
    pub(super) fn mark(&self) -> anyhow::Result<Option<Mark>> {
        let file = self.dir.join(MARK);
        let text = match std::fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", file.display())),
        };
        let mark: Mark =
            serde_json::from_str(&text).with_context(|| format!("{} is not understood", file.display()))?;
        if mark.version != VERSION {
            return Err(anyhow!("{} is of version {}, and this is {VERSION}", file.display(), mark.version));
        }
        Ok(Some(mark))
    }

    /// Keeps other `flt dev` commands out as long as the file is held.
    pub(super) fn lock(&self) -> anyhow::Result<File> {
        let doing = || format!("cannot lock {}", self.named.display());
        let file = File::options().create(true).append(true).open(self.dir.join("lock")).with_context(doing)?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => {
                Err(anyhow!("another `flt dev` command is at work in {}", self.named.display()))
                    .hint("wait until it is done")
            }
            Err(TryLockError::Error(error)) => Err(error).with_context(doing),
        }
    }

    /// Founds a fleet, in a folder beside that then takes its place.
    pub(super) fn found(&self) -> anyhow::Result<Mark> {
        let doing = || format!("cannot make the folder {}", self.named.display());
        let parent = self.dir.parent().unwrap_or_else(|| Path::new("/"));
        std::fs::create_dir_all(parent).with_context(doing)?;
        let aside = tempfile::Builder::new().prefix(".flt-dev-").tempdir_in(parent).with_context(doing)?;
        let mark = found_in(aside.path())?;
        match std::fs::rename(aside.path(), &self.dir) {
            Ok(()) => {
                // It has another name now; there is nothing left to remove.
                let _moved = aside.keep();
                Ok(mark)
            }
            // Somebody was faster, or it is a folder of something else.
            Err(error) if is_taken(&error) => match self.mark()? {
                Some(mark) => Ok(mark),
                None => Err(anyhow!("{} holds something else than a local fleet", self.named.display()))
                    .hint("choose another folder: flt dev up --dir DIR")
                    .code(Code::Usage),
            },
            Err(error) => Err(error).with_context(doing),
        }
    }

    /// The admin's data folder.
    pub(super) fn workspace(&self) -> Workspace {
        Workspace::new(self.dir.join(ADMIN))
    }

    /// The agents that were set up, in the order of their numbers.
    pub(super) fn agents(&self) -> anyhow::Result<Vec<Name>> {
        let doing = || format!("cannot read the folder {}", self.named.display());
        let mut found = BTreeMap::new();
        for entry in std::fs::read_dir(&self.dir).with_context(doing)? {
            let entry = entry.with_context(doing)?;
            let name = entry.file_name();
            let number = name.to_str().and_then(|name| name.strip_prefix(AGENT_PREFIX)).and_then(|n| n.parse().ok());
            if let Some(number) = number.filter(|_| entry.path().join(AGENT_CONFIG).is_file()) {
                found.insert(number, agent_name(number)?);
            }
        }
        Ok(found.into_values().collect())
    }

    /// Sets up agents until there are `count`.
    pub(super) fn add_agents(&self, count: u16) -> anyhow::Result<()> {
        for number in 1..=count {
            let name = agent_name(number)?;
            let dir = self.agent_dir(&name);
            if dir.join(AGENT_CONFIG).is_file() {
                continue;
            }
            make(&dir.join("root"))?;
            if !dir.join(KEY).exists() {
                SecretKey::generate().write_new(&dir.join(KEY), KeyFormat::Raw, "").context("cannot write a key")?;
            }
            // Last: with it the agent is set up.
            write(&dir.join(AGENT_CONFIG), &agent_config(&name))?;
        }
        Ok(())
    }

    fn agent_dir(&self, name: &Name) -> PathBuf {
        self.dir.join(name.as_str())
    }

    /// An agent's key.
    pub(super) fn agent_key(&self, name: &Name) -> anyhow::Result<SecretKey> {
        let file = self.agent_dir(name).join(KEY);
        SecretKey::read(&file, || None).with_context(|| format!("cannot use the key {}", file.display()))
    }

    /// Gives an agent the ticket that it starts with.
    pub(super) fn give_ticket(&self, name: &Name, ticket: &Ticket) -> anyhow::Result<()> {
        crate::run::write_private(&self.agent_dir(name).join(TICKET), &format!("{ticket}\n"))
    }

    /// Where an agent runs.
    pub(super) fn agent_seat(&self, name: &Name) -> Seat {
        Seat::new(self.agent_dir(name))
    }

    /// Where the coordinator runs.
    pub(super) fn coordinator_seat(&self) -> Seat {
        Seat::new(self.dir.join(COORDINATOR))
    }

    /// An agent's configuration.
    pub(super) fn agent_config(&self, name: &Name) -> PathBuf {
        self.agent_dir(name).join(AGENT_CONFIG)
    }

    /// The coordinator's configuration.
    pub(super) fn coordinator_config(&self) -> PathBuf {
        self.dir.join(COORDINATOR).join(COORDINATOR_CONFIG)
    }

    /// Where the coordinator writes its ticket when it is ready.
    pub(super) fn coordinator_ticket(&self) -> PathBuf {
        self.dir.join(COORDINATOR).join("data").join(TICKET)
    }

    /// The configuration of an admin's commands, as the person would name it.
    pub(super) fn named_config(&self) -> PathBuf {
        self.named.join(CONFIG)
    }

    /// The fleet file, as the person would name it.
    pub(super) fn named_fleet_file(&self) -> PathBuf {
        self.named.join(FLEET_FILE)
    }

    /// Removes everything. The mark goes first: what is left of an interrupted removal is no fleet.
    pub(super) fn remove(&self) -> anyhow::Result<()> {
        let removed = std::fs::remove_file(self.dir.join(MARK)).and_then(|()| std::fs::remove_dir_all(&self.dir));
        removed.with_context(|| format!("cannot remove {}", self.named.display()))
    }
}

fn found_in(dir: &Path) -> anyhow::Result<Mark> {
    let (admin_key, coordinator_key) = (SecretKey::generate(), SecretKey::generate());
    let coordinator = Founder { key: coordinator_key.id(), name: "coordinator-1".parse()? };
    let nonce = Digest::from_bytes(*SecretKey::generate().id().as_bytes());
    let founded =
        found::found(FLEET.parse()?, "admin".parse()?, &admin_key, vec![coordinator], nonce, crate::compose::now())
            .context("cannot found the fleet")?;
    let workspace = Workspace::new(dir.join(ADMIN));
    workspace.create()?;
    admin_key.write_new(&workspace.key_file(), KeyFormat::Raw, "").context("cannot write the admin's key")?;
    workspace.save(founded.fleet, vec![founded.genesis.clone()]).context("cannot write the ledger")?;
    let beside = dir.join(COORDINATOR);
    make(&beside)?;
    coordinator_key.write_new(&beside.join(KEY), KeyFormat::Raw, "").context("cannot write the coordinator's key")?;
    write(&beside.join("genesis.json"), &found::genesis_to_text(&founded.genesis))?;
    write(&beside.join(COORDINATOR_CONFIG), &coordinator_config(&free_ports()?))?;
    write(&dir.join(CONFIG), ADMIN_CONFIG)?;
    write(&dir.join(FLEET_FILE), SAMPLE)?;
    let mark = Mark { version: VERSION, fleet: founded.fleet };
    write(&dir.join(MARK), &serde_json::to_string(&mark)?)?;
    Ok(mark)
}

/// Two ports that are free now, for UDP and TCP. They lie below those that the kernel gives to whoever asks for any, so
/// that they are still free when the coordinator comes back after a while.
fn free_ports() -> anyhow::Result<[u16; 2]> {
    let span = PORTS.end - PORTS.start;
    // Fleets of several folders begin at different places.
    let begin = u16::try_from(std::process::id() % u32::from(span)).unwrap_or(0);
    let all = (0..span).map(|step| PORTS.start + (begin + step) % span);
    let mut free = all.filter(|port| {
        let at = (Ipv4Addr::LOCALHOST, *port);
        UdpSocket::bind(at).is_ok() && TcpListener::bind(at).is_ok()
    });
    let mut next = || free.next().context("no port on loopback is free");
    Ok([next()?, next()?])
}

fn coordinator_config([port, relay]: &[u16; 2]) -> String {
    format!(
        "data = \"data\"\nkey-file = \"{KEY}\"\ngenesis = \"genesis.json\"\nlisten = [\"127.0.0.1:{port}\"]\n\
         advertise = []\nmdns = false\nmetrics = \"off\"\nlog = \"info\"\n\n\
         [relay]\nlisten = \"127.0.0.1:{relay}\"\ntls = \"none\"\n"
    )
}

fn agent_config(name: &Name) -> String {
    format!(
        "name = \"{name}\"\ndata = \"data\"\nkey-file = \"{KEY}\"\nticket-file = \"{TICKET}\"\n\
         listen = [\"127.0.0.1:0\"]\nmdns = false\nmetrics = \"off\"\nlog = \"info\"\nheartbeat-seconds = 2\n\
         # What stands for `/`: files scores write below it.\nfiles-root = \"root\"\n"
    )
}

fn agent_name(number: u16) -> anyhow::Result<Name> {
    Ok(format!("{AGENT_PREFIX}{number}").parse()?)
}

fn is_taken(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{AlreadyExists, DirectoryNotEmpty, NotADirectory};
    matches!(error.kind(), AlreadyExists | DirectoryNotEmpty | NotADirectory)
}

fn make(dir: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.with_context(|| format!("cannot make the folder {}", dir.display()))
}

fn write(file: &Path, text: &str) -> anyhow::Result<()> {
    let written = scores::durable::write(file, text.as_bytes());
    written.map_err(|error| anyhow!(error)).with_context(|| format!("cannot write {}", file.display()))
}

const MARK: &str = "flt-dev.json";
const VERSION: u32 = 1;
const FLEET: &str = "dev";
const ADMIN: &str = "admin";
const COORDINATOR: &str = "coordinator";
const AGENT_PREFIX: &str = "edge-";
const KEY: &str = "key";
const TICKET: &str = "ticket";
const CONFIG: &str = "flt.toml";
const FLEET_FILE: &str = "fleet.toml";
const AGENT_CONFIG: &str = "agent.toml";
const COORDINATOR_CONFIG: &str = "coordinator.toml";
/// Where ports are looked for: below the kernel's own range, which begins at 32768.
const PORTS: std::ops::Range<u16> = 24_200..32_700;

const ADMIN_CONFIG: &str = "\
# An admin of the fleet of `flt dev up`.
[admin]
data = \"admin\"
key-file = \"admin/key\"
ticket-file = \"admin/ticket\"
";

const SAMPLE: &str = r#"# What the nodes shall be. Change it, and apply it again.

[group.edge]
on = "role=edge"

# Each agent has a folder `root` that stands for its `/`.
[group.edge.score.motd]
kind = "files/1"
spec = { root = "/etc", entries = { motd = { content = "Hello from Flotilla.\n" } } }
# Undone unless the node still reaches its coordinator afterwards.
policy = { checks = [{ type = "contact" }] }
"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn founds_once_and_only_where_nothing_is() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::at(&dir.path().join("a/b")).unwrap();
        assert!(layout.mark().unwrap().is_none());
        let mark = layout.found().unwrap();
        assert_eq!(layout.mark().unwrap().unwrap().fleet, mark.fleet);
        assert_eq!(layout.found().unwrap().fleet, mark.fleet);
        let beside: Vec<_> = std::fs::read_dir(dir.path().join("a")).unwrap().collect();
        assert_eq!(beside.len(), 1, "{beside:?}");
        let other = Layout::at(&dir.path().join("a")).unwrap();
        let refused = other.found().unwrap_err();
        assert!(refused.to_string().ends_with("holds something else than a local fleet"), "{refused}");
    }

    #[test]
    fn agents_are_added_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::at(&dir.path().join("dev")).unwrap();
        layout.found().unwrap();
        layout.add_agents(2).unwrap();
        let first = layout.agent_key(&"edge-1".parse().unwrap()).unwrap().id();
        layout.add_agents(11).unwrap();
        let names: Vec<String> = layout.agents().unwrap().iter().map(ToString::to_string).collect();
        assert_eq!((names.len(), names[1].as_str(), names[10].as_str()), (11, "edge-2", "edge-11"));
        assert_eq!(layout.agent_key(&"edge-1".parse().unwrap()).unwrap().id(), first);
    }

    #[test]
    fn the_sample_is_a_fleet_file() {
        let catalogue = scores::catalogue();
        let read = admin::fleetfile::FleetFile::read("f", SAMPLE, admin::fleetfile::Format::Toml, &catalogue);
        let resolved =
            read.unwrap().resolve(&catalogue, &mut admin::fleetfile::LocalFiles::new(Path::new("/"))).unwrap();
        assert_eq!(resolved.len(), 1);
    }
}
