//! `[devices.NAME]`: what an agent manages that runs no agent itself.

use std::path::{Path, PathBuf};

use protocols::Name;
use serde::Deserialize;
use switches::{Declaration, HostKey, Netconf};
use toml::Value;

use super::keys;
use super::suggest::nearest;

/// A device, as the agent's configuration declares it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct DeviceConfig {
    /// There is one kind so far, and a file must name it.
    kind: DeviceKind,
    address: String,
    user: String,
    password_file: Option<PathBuf>,
    key_file: Option<PathBuf>,
    enable_password_file: Option<PathBuf>,
    host_key: Option<String>,
    known_hosts: Option<PathBuf>,
    #[serde(default)]
    legacy: Vec<String>,
    #[serde(default)]
    netconf: Netconf,
    #[serde(default)]
    exclusive: bool,
}

/// What a device is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum DeviceKind {
    /// A network switch, spoken to over SSH.
    Switch,
}

impl DeviceConfig {
    /// As what it is.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn declaration(&self, name: &Name) -> Result<Declaration, String> {
        let (host, port) = host_and_port(&self.address)?;
        let host_key = match (&self.host_key, &self.known_hosts) {
            (Some(print), None) => HostKey::Fingerprint(print.clone()),
            (None, Some(path)) => HostKey::KnownHosts(path.clone()),
            (Some(_), Some(_)) => return Err("`host-key` and `known-hosts` cannot be given together".into()),
            (None, None) => {
                return Err(format!("`host-key` is needed; see it: flt admin device probe {}", self.address));
            }
        };
        let declaration = Declaration {
            name: name.clone(),
            host,
            port,
            host_key,
            user: self.user.clone(),
            password_file: self.password_file.clone(),
            key_file: self.key_file.clone(),
            enable_password_file: self.enable_password_file.clone(),
            legacy: self.legacy.clone(),
            netconf: self.netconf,
            exclusive: self.exclusive,
        };
        // The check names fields as the declaration does; here they are written with dashes.
        declaration.check().map_err(|why| why.replace("host_key.fingerprint", "host-key").replace('_', "-"))?;
        Ok(declaration)
    }

    /// The files that it names, and under which keys.
    pub(super) fn files(&self) -> impl Iterator<Item = (&'static str, &Path)> {
        let files = [
            ("password-file", &self.password_file),
            ("key-file", &self.key_file),
            ("enable-password-file", &self.enable_password_file),
            ("known-hosts", &self.known_hosts),
        ];
        files.into_iter().filter_map(|(key, path)| Some((key, path.as_deref()?)))
    }
}

/// `host`, `host:port`, `[address]:port`.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn host_and_port(address: &str) -> Result<(String, u16), String> {
    let wrong = || format!("`address` should be a host name or an address, with a port or without, and is `{address}`");
    let (host, port) = match address.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest.split_once(']').ok_or_else(wrong)?;
            (host, if after.is_empty() { None } else { Some(after.strip_prefix(':').ok_or_else(wrong)?) })
        }
        // More than one colon is an IPv6 address without a port.
        None if address.matches(':').count() > 1 => (address, None),
        None => address.split_once(':').map_or((address, None), |(host, port)| (host, Some(port))),
    };
    let port = port.map_or(Ok(SSH_PORT), |port| port.parse().map_err(|_| wrong()))?;
    if host.is_empty() || port == 0 {
        return Err(wrong());
    }
    Ok((host.to_owned(), port))
}

/// What is wrong with the whole table, key by key.
pub(super) fn check(value: &Value) -> Result<(), String> {
    let Value::Table(devices) = value else {
        return Err("should be tables, such as [devices.rack-3]".into());
    };
    if devices.len() > DEVICES_MAX {
        return Err(format!("has {} devices, and may have {DEVICES_MAX}", devices.len()));
    }
    for (name, device) in devices {
        let within = |why: String| format!("`{name}`: {why}");
        name.parse::<Name>().map_err(|error| within(error.to_string()))?;
        let Value::Table(keys) = device else {
            return Err(within(format!("should be a table: [devices.{name}]")));
        };
        if let Some(unknown) = keys.keys().find(|key| !KEYS.contains(&key.as_str())) {
            let near = nearest(unknown, KEYS.iter().copied()).map(|near| format!("; did you mean `{near}`?"));
            let near = near.unwrap_or_else(|| format!("; it has {}", KEYS.join(", ")));
            return Err(within(format!("a device has no key `{unknown}`{near}")));
        }
        DeviceConfig::deserialize(device.clone()).map_err(|error| within(error.message().to_owned()))?;
    }
    Ok(())
}

/// The same with its paths as they are meant.
pub(super) fn absolute(value: &Value, meant: impl Fn(&str) -> PathBuf) -> Value {
    let mut value = value.clone();
    let tables = value.as_table_mut().into_iter().flat_map(|devices| devices.iter_mut());
    for device in tables.filter_map(|(_, device)| device.as_table_mut()) {
        for key in PATHS {
            if let Some(Value::String(path)) = device.get(*key) {
                let path = keys::path_value(&meant(path));
                device.insert((*key).to_owned(), path);
            }
        }
    }
    value
}

/// The keys of a device.
const KEYS: &[&str] = &[
    "kind",
    "address",
    "user",
    "password-file",
    "key-file",
    "enable-password-file",
    "host-key",
    "known-hosts",
    "legacy",
    "netconf",
    "exclusive",
];
/// Those that are paths.
const PATHS: &[&str] = &["password-file", "key-file", "enable-password-file", "known-hosts"];
/// Where SSH listens if nothing is said.
const SSH_PORT: u16 = 22;
/// The most devices of an agent.
const DEVICES_MAX: usize = 256;
