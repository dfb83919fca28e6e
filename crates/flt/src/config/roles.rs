//! The roles' configuration as types, and what makes no sense in them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use protocols::{Name, Ticket};
use serde::{Deserialize, Deserializer};

use super::keys::Role;
use super::problems::Problem;
use super::{DeviceConfig, GroupConfig, RoleConfig, groups};

/// What an agent is told.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct AgentConfig {
    /// The folder of its ledger, journal and blobs.
    pub(crate) data: PathBuf,
    /// Its key; `key` in the data folder if nothing is said, made at the first start.
    key_file: Option<PathBuf>,
    /// The ticket it joins with, and finds its fleet with.
    pub(crate) ticket_file: Option<PathBuf>,
    /// The ticket itself, given by flag.
    #[serde(skip)]
    pub(crate) join: Option<Ticket>,
    /// The name it asks for when it joins.
    pub(crate) name: Option<Name>,
    /// The UDP addresses it listens on.
    pub(crate) listen: Vec<SocketAddr>,
    /// Whether it looks for its fleet by mDNS.
    pub(crate) mdns: bool,
    /// Where it serves `/metrics` and `/healthz`.
    #[serde(deserialize_with = "addr_or_off")]
    pub(crate) metrics: Option<SocketAddr>,
    /// What it logs.
    pub(crate) log: String,
    heartbeat_seconds: u64,
    /// The folder that `files/1` scores write into.
    pub(crate) files_root: PathBuf,
    /// The socket of a process of root's that plays for it; it plays itself if nothing is said.
    pub(crate) hands: Option<PathBuf>,
    /// The folder of that process.
    pub(crate) hands_data: PathBuf,
    /// The user that the agent runs as beside it.
    pub(crate) hands_user: String,
    /// What it manages that runs no agent itself.
    #[serde(default)]
    devices: BTreeMap<Name, DeviceConfig>,
    /// Which of them are changed as one.
    #[serde(default)]
    device_groups: BTreeMap<Name, GroupConfig>,
    device_facts_seconds: u64,
}

/// What a coordinator is told.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct CoordinatorConfig {
    /// The folder of its ledger and documents.
    pub(crate) data: PathBuf,
    /// Its key; `key` in the data folder if nothing is said.
    key_file: Option<PathBuf>,
    /// The fleet's genesis entry; needed at the first start of a fleet's first coordinator.
    pub(crate) genesis: Option<PathBuf>,
    /// The fleet's ticket; needed at the first start of each further one.
    pub(crate) ticket_file: Option<PathBuf>,
    /// The ticket itself, given by flag.
    #[serde(skip)]
    pub(crate) join: Option<Ticket>,
    /// The UDP addresses it listens on.
    pub(crate) listen: Vec<SocketAddr>,
    /// The addresses that tickets name, where they differ from what the machine sees of itself.
    pub(crate) advertise: Vec<SocketAddr>,
    /// Whether it is found by mDNS.
    pub(crate) mdns: bool,
    /// Where it serves `/metrics` and `/healthz`.
    #[serde(deserialize_with = "addr_or_off")]
    pub(crate) metrics: Option<SocketAddr>,
    /// What it logs.
    pub(crate) log: String,
    /// The relay in its process.
    pub(crate) relay: Option<RelayConfig>,
}

/// What a coordinator's relay is told.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct RelayConfig {
    /// Its TCP address.
    pub(crate) listen: SocketAddr,
    /// How nodes reach it; made of the address if nothing is said.
    pub(crate) url: Option<String>,
    /// Where its certificate comes from.
    pub(crate) tls: RelayTls,
    /// The certificate chain, PEM.
    pub(crate) cert_file: Option<PathBuf>,
    /// The certificate's key, PEM.
    pub(crate) key_file: Option<PathBuf>,
    /// The UDP address that tells nodes their own public address.
    pub(crate) quic_listen: Option<SocketAddr>,
}

/// Where a relay's certificate comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum RelayTls {
    /// Issued by the coordinator itself, and pinned in every ticket.
    SelfSigned,
    /// From files.
    Files,
    /// Plain HTTP, for loopback.
    None,
}

/// What an admin's commands are told.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct AdminConfig {
    /// The folder of the admin's copy of the ledger.
    pub(crate) data: PathBuf,
    key_file: Option<PathBuf>,
    ticket_file: Option<PathBuf>,
}

impl AgentConfig {
    /// Where its key is, or will be.
    pub(crate) fn key_path(&self) -> PathBuf {
        key_path(&self.data, self.key_file.as_deref())
    }

    /// Whether the key file was named by somebody: such a one is never made.
    pub(crate) const fn names_key(&self) -> bool {
        self.key_file.is_some()
    }

    /// Where the key is that the hands use, or will make.
    pub(crate) fn hands_key_path(&self) -> PathBuf {
        key_path(&self.hands_data, self.key_file.as_deref())
    }

    /// The devices that it manages. They were checked with the rest.
    pub(crate) fn devices(&self) -> Vec<switches::Declaration> {
        self.devices.iter().filter_map(|(name, device)| device.declaration(name).ok()).collect()
    }

    /// The groups of devices that are changed as one. They were checked with the rest.
    pub(crate) fn device_groups(&self) -> Vec<switches::Group> {
        self.device_groups.iter().map(|(name, group)| group.group(name)).collect()
    }

    /// How often it looks at its devices, for their facts.
    pub(crate) const fn device_facts(&self) -> Duration {
        Duration::from_secs(self.device_facts_seconds)
    }

    /// How often it gives a sign of life.
    pub(crate) const fn heartbeat(&self) -> Duration {
        Duration::from_secs(self.heartbeat_seconds)
    }
}

impl CoordinatorConfig {
    /// Where its key is.
    pub(crate) fn key_path(&self) -> PathBuf {
        key_path(&self.data, self.key_file.as_deref())
    }
}

impl AdminConfig {
    /// Where the admin's key is, or will be.
    pub(crate) fn key_path(&self) -> PathBuf {
        key_path(&self.data, self.key_file.as_deref())
    }

    /// Where the fleet's ticket is, or will be.
    pub(crate) fn ticket_path(&self) -> PathBuf {
        self.ticket_file.clone().unwrap_or_else(|| self.data.join("ticket"))
    }
}

impl RoleConfig for AgentConfig {
    const ROLE: Role = Role::Agent;

    fn check(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        check_listen(&self.listen, &mut problems);
        check_metrics(self.metrics, &mut problems);
        if !self.files_root.is_absolute() {
            problems.push(Problem::with("files-root", "should be an absolute path"));
        }
        for (name, device) in &self.devices {
            if let Err(why) = device.declaration(name) {
                problems.push(Problem::with("devices", format!("`{name}`: {why}")));
            }
        }
        if problems.iter().all(|problem| problem.key() != Some("devices")) {
            let wrong = groups::problems(&self.device_groups, &self.devices());
            problems.extend(wrong.into_iter().map(|why| Problem::with("device-groups", why)));
        }
        problems
    }

    fn check_files(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        check_file("key-file", self.key_file.as_deref(), &mut problems);
        check_file("ticket-file", self.ticket_file.as_deref(), &mut problems);
        if !self.files_root.is_dir() {
            problems.push(Problem::with("files-root", format!("{} is no folder", self.files_root.display())));
        }
        for (name, device) in &self.devices {
            for (key, path) in device.files() {
                if let Err(error) = std::fs::File::open(path) {
                    let why = format!("`{name}`: {key}: cannot read {}: {error}", path.display());
                    problems.push(Problem::with("devices", why));
                }
            }
        }
        problems
    }
}

impl RoleConfig for CoordinatorConfig {
    const ROLE: Role = Role::Coordinator;

    fn check(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        check_listen(&self.listen, &mut problems);
        check_metrics(self.metrics, &mut problems);
        if let Some(addr) = self.advertise.iter().find(|addr| addr.port() == 0 || addr.ip().is_unspecified()) {
            problems.push(Problem::with("advertise", format!("nobody can reach {addr}")));
        }
        if let Some(relay) = &self.relay {
            relay.check(&mut problems);
        }
        problems
    }

    fn check_files(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        check_file("key-file", self.key_file.as_deref(), &mut problems);
        check_file("genesis", self.genesis.as_deref(), &mut problems);
        check_file("ticket-file", self.ticket_file.as_deref(), &mut problems);
        if let Some(relay) = &self.relay {
            check_file("relay.cert-file", relay.cert_file.as_deref(), &mut problems);
            check_file("relay.key-file", relay.key_file.as_deref(), &mut problems);
        }
        problems
    }
}

impl RoleConfig for AdminConfig {
    const ROLE: Role = Role::Admin;

    fn check(&self) -> Vec<Problem> {
        Vec::new()
    }

    fn check_files(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        check_file("key-file", self.key_file.as_deref(), &mut problems);
        check_file("ticket-file", self.ticket_file.as_deref(), &mut problems);
        problems
    }
}

impl RelayConfig {
    fn check(&self, problems: &mut Vec<Problem>) {
        let files = self.tls == RelayTls::Files;
        for (key, file) in [("relay.cert-file", &self.cert_file), ("relay.key-file", &self.key_file)] {
            match file {
                None if files => problems.push(Problem::with(key, "is needed with tls = \"files\"")),
                Some(_) if !files => problems.push(Problem::with(key, "is read only with tls = \"files\"")),
                _ => {}
            }
        }
        let secure = self.url.as_deref().map(|url| url.starts_with("https://"));
        if self.tls == RelayTls::None {
            if !self.listen.ip().is_loopback() {
                let why = "tls = \"none\" is for loopback: listen on 127.0.0.1, or use tls = \"self-signed\"";
                problems.push(Problem::with("relay.listen", why));
            }
            if secure == Some(true) {
                problems.push(Problem::with("relay.url", "should begin with http:// where tls = \"none\""));
            }
            if self.quic_listen.is_some() {
                problems
                    .push(Problem::with("relay.quic-listen", "needs a certificate: it cannot go with tls = \"none\""));
            }
        } else if secure == Some(false) {
            problems.push(Problem::with("relay.url", "should begin with https://, as the relay speaks TLS"));
        }
    }
}

fn key_path(data: &Path, named: Option<&Path>) -> PathBuf {
    named.map_or_else(|| data.join("key"), Path::to_owned)
}

fn check_listen(listen: &[SocketAddr], problems: &mut Vec<Problem>) {
    if listen.is_empty() {
        problems.push(Problem::with("listen", "is empty: the node could not speak with anybody"));
    }
    for (at, addr) in listen.iter().enumerate() {
        if addr.port() != 0 && listen[..at].contains(addr) {
            problems.push(Problem::with("listen", format!("{addr} stands there twice")));
        }
    }
}

fn check_metrics(metrics: Option<SocketAddr>, problems: &mut Vec<Problem>) {
    if let Some(addr) = metrics
        && !addr.ip().is_loopback()
    {
        let why = format!("{addr} is not on loopback, and metrics are for this machine alone: 127.0.0.1 or [::1]");
        problems.push(Problem::with("metrics", why));
    }
}

fn check_file(key: &'static str, path: Option<&Path>, problems: &mut Vec<Problem>) {
    if let Some(path) = path
        && let Err(error) = std::fs::File::open(path)
    {
        problems.push(Problem::with(key, format!("cannot read {}: {error}", path.display())));
    }
}

fn addr_or_off<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SocketAddr>, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text == "off" {
        return Ok(None);
    }
    text.parse().map(Some).map_err(serde::de::Error::custom)
}
