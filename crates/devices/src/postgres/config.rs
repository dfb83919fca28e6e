//! The files that PostgreSQL is started with, written anew whenever anything in them changes.

use std::fmt::Write as _;

use failover::Epoch;
use protocols::Name;
use scores::DeviceError;
use serde::{Deserialize, Serialize};

use super::setup::Setup;
use super::timeline::Timeline;

/// What changes while an instance lives, kept beside its configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct State {
    /// The timeline that this node's copy is on, or follows.
    pub timeline: u32,
    /// Whom it receives from, if from anybody.
    pub upstream: Option<Upstream>,
    /// By whom writes are acknowledged.
    pub sync: Sync,
    /// Whether clients are kept out: it is not certain yet that it may be writable.
    #[serde(default)]
    pub closed: bool,
}

/// The primary that a standby receives from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Upstream {
    pub node: Name,
    pub epoch: Epoch,
}

/// By whom a write is acknowledged before its client is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum Sync {
    /// By nobody that exists: every commit waits. What an instance is left with that nobody has told a set.
    Nobody,
    /// By the primary alone.
    Alone,
    /// By as many of these standbys.
    Any { num: u8, names: Vec<Name> },
}

impl Default for State {
    fn default() -> Self {
        Self { timeline: Timeline::FIRST.0, upstream: None, sync: Sync::Nobody, closed: false }
    }
}

impl Sync {
    /// The value of `synchronous_standby_names`.
    pub(super) fn setting(&self) -> String {
        match self {
            // Never empty here: with an empty setting PostgreSQL acknowledges alone, and only later looks again.
            Self::Nobody => format!("ANY 1 (\"{NOBODY}\")"),
            Self::Alone => String::new(),
            Self::Any { num, names } => {
                let names: Vec<String> = names.iter().map(|name| format!("\"{name}\"")).collect();
                format!("ANY {num} ({})", names.join(", "))
            }
        }
    }
}

/// `postgresql.conf`.
pub(super) fn postgresql(setup: &Setup, state: &State) -> Result<String, DeviceError> {
    let (layout, address) = (setup.layout(), setup.address()?);
    let path = |path: std::path::PathBuf| path.to_string_lossy().into_owned();
    let conf = |file: &str| path(layout.conf().join(file));
    let tls = |file: &str| path(layout.tls().join(file));
    let mut text = String::from("# Written by Flotilla from the declaration; changes here are overwritten.\n");
    let mut set = |name: &str, value: &str| {
        // Writing to a string does not fail.
        let _infallible = writeln!(text, "{name} = {}", quoted(value));
    };
    for (name, value) in DEFAULTS {
        set(name, value);
    }
    for (name, value) in &setup.score.parameters {
        set(name, value);
    }
    for (name, value) in FIXED {
        set(name, value);
    }
    set("cluster_name", setup.score.name.as_str());
    set("listen_addresses", &address.ip().to_string());
    set("port", &address.port().to_string());
    set("unix_socket_directories", &path(layout.socket()));
    set("log_directory", &path(layout.log()));
    set("hba_file", &conf(HBA));
    set("ident_file", &conf(IDENT));
    set("ssl_ca_file", &tls(AUTHORITIES));
    set("ssl_cert_file", &tls(CERTIFICATE));
    set("ssl_key_file", &tls(KEY));
    set("synchronous_standby_names", &state.sync.setting());
    set("recovery_target_timeline", &state.timeline.to_string());
    let upstream = match &state.upstream {
        Some(upstream) => conninfo(setup, &upstream.node, "")?,
        None => String::new(),
    };
    set("primary_conninfo", &upstream);
    Ok(text)
}

/// What is declared for a setting that is a number; `None` if that is PostgreSQL's own default.
pub(super) fn declared(setup: &Setup, name: &str) -> Option<u32> {
    let default = DEFAULTS.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
    setup.score.parameters.get(name).map(String::as_str).or(default)?.trim().parse().ok()
}

/// How this node connects to another's PostgreSQL. It proves its name, and is proven the other's.
pub(super) fn conninfo(setup: &Setup, node: &Name, database: &str) -> Result<String, DeviceError> {
    let address = setup.address_of(node)?;
    let tls = |file: &str| setup.layout().tls().join(file).to_string_lossy().into_owned();
    let mut text = format!(
        "host={node} hostaddr={} port={} user={ROLE} application_name={} sslmode=verify-full gssencmode=disable \
         sslrootcert={} sslcert={} sslkey={} connect_timeout=5 keepalives_idle=5 keepalives_interval=2 \
         keepalives_count=3 tcp_user_timeout=10000",
        address.ip(),
        address.port(),
        setup.me,
        tls(AUTHORITIES),
        tls(CERTIFICATE),
        tls(KEY),
    );
    if !database.is_empty() {
        text.push_str(" dbname=");
        text.push_str(database);
    }
    Ok(text)
}

/// `pg_hba.conf`.
pub(super) fn hba(setup: &Setup, state: &State) -> Result<String, DeviceError> {
    let mut text = String::from("# Written by Flotilla from the declaration; changes here are overwritten.\n");
    text.push_str("local all all peer map=here\n");
    // Standbys, by certificate alone, from wherever they come.
    for database in ["replication", "postgres"] {
        let _infallible = writeln!(text, "hostssl {database} {ROLE} all cert clientcert=verify-full map=candidates");
    }
    let _infallible = writeln!(text, "host all,replication {ROLE},postgres all reject");
    text.push_str("host replication all all reject\n");
    if state.closed {
        text.push_str("host all all all reject\n");
        return Ok(text);
    }
    // Clients, by their passwords: through the routes of the candidates, and from where the score allows.
    let own = setup.address()?.ip();
    let whole = |ip: std::net::IpAddr| if ip.is_ipv4() { 32 } else { 128 };
    let _infallible = writeln!(text, "host all all {own}/{} scram-sha-256", whole(own));
    for address in setup.others().values() {
        let ip = address.ip();
        if ip != own {
            let _infallible = writeln!(text, "hostssl all all {ip}/{} scram-sha-256", whole(ip));
        }
    }
    for network in &setup.score.clients {
        let _infallible = writeln!(text, "hostssl all all {network} scram-sha-256");
    }
    Ok(text)
}

/// `pg_ident.conf`: the agent and the account are the superuser here, and the other candidates replicate.
pub(super) fn ident(setup: &Setup) -> String {
    let mut text = String::from("# Written by Flotilla from the declaration; changes here are overwritten.\n");
    for account in ["root", &setup.score.account] {
        let _infallible = writeln!(text, "here \"{account}\" postgres");
    }
    for node in setup.others().keys() {
        let _infallible = writeln!(text, "candidates \"{node}\" {ROLE}");
    }
    text
}

/// A value as PostgreSQL's configuration files want it.
fn quoted(value: &str) -> String {
    format!("'{}'", value.replace('\\', "\\\\").replace('\'', "''"))
}

/// The role that standbys connect as.
pub(super) const ROLE: &str = "flotilla_replication";
/// The file with who may connect.
pub(super) const HBA: &str = "pg_hba.conf";
/// The file with who is who.
pub(super) const IDENT: &str = "pg_ident.conf";
/// The main file.
pub(super) const MAIN: &str = "postgresql.conf";
/// The file with [`State`].
pub(super) const STATE: &str = "state.json";
/// The certificates of every site's authority.
pub(super) const AUTHORITIES: &str = "authorities.pem";
/// The node's certificate, for listening and connecting.
pub(super) const CERTIFICATE: &str = "node.pem";
/// Its key.
pub(super) const KEY: &str = "node.key";
/// No node can have this name: names have no capitals.
const NOBODY: &str = "NOBODY";

/// What a score may change.
const DEFAULTS: &[(&str, &str)] = &[
    ("max_connections", "100"),
    ("max_wal_senders", "16"),
    ("max_replication_slots", "16"),
    ("wal_keep_size", "1GB"),
    // Nobody's slot may fill the disk.
    ("max_slot_wal_keep_size", "4GB"),
    ("wal_sender_timeout", "15s"),
    ("wal_receiver_timeout", "15s"),
    ("wal_receiver_status_interval", "1s"),
    ("wal_retrieve_retry_interval", "200ms"),
    ("tcp_keepalives_idle", "5"),
    ("tcp_keepalives_interval", "2"),
    ("tcp_keepalives_count", "3"),
    ("tcp_user_timeout", "10000"),
    ("ssl_min_protocol_version", "TLSv1.2"),
    // After a crash it makes sure of its files before it replays: of the file system at once, not of each file in turn.
    ("recovery_init_sync_method", "syncfs"),
    ("log_line_prefix", "%m [%p] %q%u@%d %a "),
    ("log_filename", "postgresql-%a.log"),
    ("log_rotation_age", "1d"),
    ("log_rotation_size", "0"),
    ("log_truncate_on_rotation", "on"),
];

/// What failover rests on.
const FIXED: &[(&str, &str)] = &[
    ("wal_level", "replica"),
    ("wal_log_hints", "on"),
    ("full_page_writes", "on"),
    ("fsync", "on"),
    ("hot_standby", "on"),
    ("synchronous_commit", "on"),
    ("archive_mode", "off"),
    ("restore_command", ""),
    ("recovery_target", ""),
    ("recovery_min_apply_delay", "0"),
    ("primary_slot_name", ""),
    // A crashed backend ends the whole instance: whether it may be writable again is not its own decision.
    ("restart_after_crash", "off"),
    ("password_encryption", "scram-sha-256"),
    ("ssl", "on"),
    ("logging_collector", "on"),
];

#[cfg(test)]
mod tests;
