//! What must hold of a `postgres/1` score beyond its types.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use super::PostgresScore;
use crate::Invalid;
use crate::failover::FailoverScore;

/// Settings of PostgreSQL that failover rests on, and that no score may therefore change.
pub const OWN_PARAMETERS: &[&str] = &[
    "archive_command",
    "archive_library",
    "archive_mode",
    "cluster_name",
    "config_file",
    "data_directory",
    "data_sync_retry",
    "external_pid_file",
    "fsync",
    "full_page_writes",
    "hba_file",
    "hot_standby",
    "ident_file",
    "include",
    "include_dir",
    "include_if_exists",
    "listen_addresses",
    "log_directory",
    "logging_collector",
    "password_encryption",
    "port",
    "primary_conninfo",
    "primary_slot_name",
    "promote_trigger_file",
    "recovery_end_command",
    "recovery_min_apply_delay",
    "recovery_target",
    "recovery_target_action",
    "recovery_target_inclusive",
    "recovery_target_lsn",
    "recovery_target_name",
    "recovery_target_time",
    "recovery_target_timeline",
    "recovery_target_xid",
    "restart_after_crash",
    "restore_command",
    "ssl",
    "ssl_ca_file",
    "ssl_cert_file",
    "ssl_key_file",
    "synchronous_commit",
    "synchronous_standby_names",
    "unix_socket_directories",
    "wal_level",
    "wal_log_hints",
];

pub(super) fn check(score: &PostgresScore) -> Result<(), Invalid> {
    score.succession.check(PostgresScore::WORKLOAD).map_err(|error| error.within("succession"))?;
    members(score)?;
    for (field, folder) in [("programs", &score.programs), ("folder", &score.folder), ("tls.folder", &score.tls.folder)]
    {
        absolute(folder).map_err(|why| Invalid::at(field, why))?;
    }
    let sound = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if score.account.is_empty() || score.account.len() > 32 || !score.account.chars().all(sound) {
        return Err(Invalid::at(
            "account",
            format!("`{}` is not the name of an account", score.account.escape_debug()),
        ));
    }
    if score.account == "root" {
        return Err(Invalid::at("account", "is root, and PostgreSQL refuses to run as root; name another account"));
    }
    authorities(score)?;
    parameters(score)?;
    roles(score)?;
    if let Some(name) = score.succession.actions().next() {
        let why = format!("names the action `{name}`; the rungs of a database are immediate, kill and cut-traffic");
        return Err(Invalid::at("succession.ladder", why));
    }
    if score.clients.len() > CLIENTS_MAX {
        let why = format!("names {} networks and may name {CLIENTS_MAX}", score.clients.len());
        return Err(Invalid::at("clients", why));
    }
    for (place, network) in score.clients.iter().enumerate() {
        is_network(network).map_err(|why| Invalid::at(format!("clients[{place}]"), why))?;
    }
    Ok(())
}

/// Who takes part, and where.
fn members(score: &PostgresScore) -> Result<(), Invalid> {
    let succession = &score.succession;
    if succession.candidates.is_empty() {
        return Err(Invalid::at("succession.candidates", "is empty; name the nodes that hold a copy"));
    }
    let Some(first) = &succession.first else {
        let why = "is missing; name the candidate that makes the cluster's first copy, the others copy it from there";
        return Err(Invalid::at("succession.first", why));
    };
    if !succession.candidates.contains(first) {
        return Err(Invalid::at("succession.first", format!("is `{first}`, which is not among `candidates`")));
    }
    let mut taken = BTreeSet::new();
    for candidate in &succession.candidates {
        let field = format!("addresses.{candidate}");
        let Some(address) = score.addresses.get(candidate) else {
            return Err(Invalid::at(field, "is missing; say where this candidate's PostgreSQL listens"));
        };
        reachable(*address).map_err(|why| Invalid::at(&field, why))?;
        if !taken.insert(*address) {
            return Err(Invalid::at(field, format!("is {address}, which another candidate has already")));
        }
    }
    if let Some(name) = score.addresses.keys().find(|name| !succession.candidates.contains(name)) {
        return Err(Invalid::at(format!("addresses.{name}"), "is not the address of a candidate"));
    }
    if let Some(route) = score.route {
        if !route.ip().is_loopback() {
            let why = format!("is {route} and must be a loopback address: it leads on without asking who connects");
            return Err(Invalid::at("route", why));
        }
        if route.port() == 0 || taken.contains(&route) {
            return Err(Invalid::at("route", format!("is {route}; give it a port of its own")));
        }
    }
    Ok(())
}

fn reachable(address: SocketAddr) -> Result<(), String> {
    if address.ip().is_unspecified() || address.ip().is_multicast() {
        return Err(format!("is {address}; name the one address that the other candidates reach it at"));
    }
    if address.port() == 0 {
        return Err(format!("is {address}; name a port"));
    }
    Ok(())
}

fn authorities(score: &PostgresScore) -> Result<(), Invalid> {
    let authorities = &score.tls.authorities;
    if authorities.is_empty() || authorities.len() > AUTHORITIES_MAX {
        let why = format!("has {} and may have 1 to {AUTHORITIES_MAX}; one for each site", authorities.len());
        return Err(Invalid::at("tls.authorities", why));
    }
    for (site, pem) in authorities {
        let field = || format!("tls.authorities.{site}");
        if pem.len() > AUTHORITY_BYTES_MAX {
            let why = format!("has {} bytes and may have {AUTHORITY_BYTES_MAX}", pem.len());
            return Err(Invalid::at(field(), why));
        }
        if pem.contains("PRIVATE KEY") {
            return Err(Invalid::at(field(), "holds a private key; that must never leave its site: make a new one"));
        }
        let begins = pem.matches("-----BEGIN CERTIFICATE-----").count();
        let ends = pem.matches("-----END CERTIFICATE-----").count();
        if begins != 1 || ends != 1 || !pem.is_ascii() {
            return Err(Invalid::at(field(), "is not one certificate in PEM"));
        }
    }
    Ok(())
}

fn parameters(score: &PostgresScore) -> Result<(), Invalid> {
    if score.parameters.len() > PARAMETERS_MAX {
        let why = format!("has {} and may have {PARAMETERS_MAX}", score.parameters.len());
        return Err(Invalid::at("parameters", why));
    }
    for (name, value) in &score.parameters {
        let field = || format!("parameters.\"{}\"", name.escape_debug());
        let sound = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '.');
        let starts = name.starts_with(|c: char| c.is_ascii_lowercase());
        if !starts || name.len() > NAME_BYTES_MAX || !name.chars().all(sound) {
            return Err(Invalid::at(field(), "is not the name of a setting in lower case"));
        }
        if OWN_PARAMETERS.contains(&name.as_str()) {
            return Err(Invalid::at(field(), "is set by Flotilla, because failover rests on it; leave it out"));
        }
        if value.len() > VALUE_BYTES_MAX || value.chars().any(char::is_control) {
            let why = format!("may have {VALUE_BYTES_MAX} bytes on one line");
            return Err(Invalid::at(field(), why));
        }
    }
    Ok(())
}

fn roles(score: &PostgresScore) -> Result<(), Invalid> {
    if score.users.len() > ROLES_MAX || score.databases.len() > ROLES_MAX {
        let why = format!("`users` and `databases` may have {ROLES_MAX} entries each");
        return Err(Invalid::at("", why));
    }
    for (user, role) in &score.users {
        let field = || format!("users.\"{}\"", user.escape_debug());
        identifier(user).map_err(|why| Invalid::at(field(), why))?;
        if user == "postgres" || user.starts_with("flotilla") || user.starts_with("pg_") {
            return Err(Invalid::at(field(), "is a name that is taken; choose another"));
        }
        if role.verifier.is_some() == role.secret.is_some() {
            return Err(Invalid::at(field(), "must have either a `verifier` or a `secret`"));
        }
        if role.verifier.as_ref().is_some_and(|verifier| !is_verifier(verifier)) {
            let why = "is not `SCRAM-SHA-256$…`; PostgreSQL makes one: set a password, then read rolpassword of \
                       pg_authid";
            return Err(Invalid::at(format!("{}.verifier", field()), why));
        }
    }
    for (database, owner) in &score.databases {
        let field = || format!("databases.\"{}\"", database.escape_debug());
        identifier(database).map_err(|why| Invalid::at(field(), why))?;
        if ["postgres", "template0", "template1"].contains(&database.as_str()) {
            return Err(Invalid::at(field(), "is a name that is taken; choose another"));
        }
        if owner != "postgres" && !score.users.contains_key(owner) {
            let why = format!("is owned by `{}`, which is not among `users`", owner.escape_debug());
            return Err(Invalid::at(field(), why));
        }
    }
    Ok(())
}

fn identifier(name: &str) -> Result<(), String> {
    let sound = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let starts = name.starts_with(|c: char| c.is_ascii_lowercase());
    if !starts || name.len() > IDENTIFIER_BYTES_MAX || !name.chars().all(sound) {
        return Err(format!("must be 1 to {IDENTIFIER_BYTES_MAX} of a-z 0-9 _ and begin with a letter"));
    }
    Ok(())
}

fn is_verifier(text: &str) -> bool {
    let sound = |c: char| c.is_ascii_alphanumeric() || matches!(c, '$' | ':' | '+' | '/' | '=' | '-');
    text.starts_with("SCRAM-SHA-256$") && text.len() <= VALUE_BYTES_MAX && text.chars().all(sound)
}

fn is_network(text: &str) -> Result<(), String> {
    let bad = || format!("`{}` is not a network, such as 10.0.0.0/8", text.escape_debug());
    let (address, bits) = text.split_once('/').ok_or_else(bad)?;
    let address: IpAddr = address.parse().map_err(|_| bad())?;
    let bits: u8 = bits.parse().map_err(|_| bad())?;
    if bits > if address.is_ipv4() { 32 } else { 128 } { Err(bad()) } else { Ok(()) }
}

fn absolute(path: &str) -> Result<(), String> {
    if !path.starts_with('/') || path.len() < 2 {
        return Err(format!("`{}` is not an absolute path", path.escape_debug()));
    }
    // The socket of PostgreSQL is in it, and a socket's path has at most 107 bytes.
    if path.len() > PATH_BYTES_MAX {
        return Err(format!("has {} bytes and may have {PATH_BYTES_MAX}", path.len()));
    }
    let sound = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '-' | '_' | '.');
    if !path.replace(NODE, "node").chars().all(sound) {
        return Err(format!("`{}` holds something else than letters, digits and / - _ .", path.escape_debug()));
    }
    if path[1..].split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err(format!("`{path}` holds an empty part, `.` or `..`"));
    }
    Ok(())
}

/// What stands for a node's name in a folder.
pub(super) const NODE: &str = "{node}";
/// The most sites of one cluster.
const AUTHORITIES_MAX: usize = 32;
/// The longest certificate of an authority, in bytes.
const AUTHORITY_BYTES_MAX: usize = 16 * 1024;
/// The most settings of one score.
const PARAMETERS_MAX: usize = 256;
/// The longest name of a setting, in bytes.
const NAME_BYTES_MAX: usize = 128;
/// The longest value of a setting, in bytes.
const VALUE_BYTES_MAX: usize = 1024;
/// The most users, and the most databases.
const ROLES_MAX: usize = 256;
/// The longest name of a role or database, in bytes.
const IDENTIFIER_BYTES_MAX: usize = 63;
/// The most networks of clients.
const CLIENTS_MAX: usize = 64;
/// The longest folder, in bytes.
const PATH_BYTES_MAX: usize = 72;
