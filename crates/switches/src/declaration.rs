//! How an agent is told of a device: where it is, how it is known, who to be there.

use std::path::PathBuf;

use protocols::Name;
use serde::{Deserialize, Serialize};

/// A device, as the agent's configuration declares it. Secrets are in files, which `files/1` can bring from the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Declaration {
    /// The name that scores know it by.
    pub name: Name,
    /// Its host name or IP address.
    pub host: String,
    /// Its SSH port.
    #[serde(default = "ssh_port")]
    pub port: u16,
    /// How its host key is known. Any other is refused before anything secret is sent.
    pub host_key: HostKey,
    /// The user to log in as.
    pub user: String,
    /// A file with the password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_file: Option<PathBuf>,
    /// A file with a private key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_file: Option<PathBuf>,
    /// A file with the password of `enable`. The device may need none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enable_password_file: Option<PathBuf>,
    /// Old algorithms that may be used with it, by their SSH names, each only when it offers nothing better.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub legacy: Vec<String>,
    /// Whether it is read by NETCONF.
    #[serde(default, skip_serializing_if = "is_auto")]
    pub netconf: Netconf,
    /// Whether it is certain that no other agent changes it: then it is changed also while nobody can be asked.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub exclusive: bool,
}

/// Whether a device is read by NETCONF. Only Network OS has it, and changes are always made on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Netconf {
    /// Where it can be opened.
    #[default]
    Auto,
    /// Always: a device that has none is not read.
    On,
    /// Never.
    Off,
}

fn is_auto(netconf: &Netconf) -> bool {
    *netconf == Netconf::Auto
}

/// How a host key is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum HostKey {
    /// By its fingerprint, as `SHA256:…`.
    Fingerprint(String),
    /// By a file in the format of OpenSSH's `known_hosts`.
    KnownHosts(PathBuf),
}

const fn ssh_port() -> u16 {
    22
}

impl Declaration {
    /// Where it is, for people.
    pub fn address(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// What is wrong with it, if anything.
    ///
    /// # Errors
    /// Names the field.
    pub fn check(&self) -> Result<(), String> {
        if self.host.is_empty()
            || self.host.len() > 253
            || self.host.contains(|c: char| c.is_whitespace() || c.is_control())
        {
            return Err("`host` is not a host name or an address".into());
        }
        if self.user.is_empty() || self.user.len() > 64 || self.user.contains(|c: char| c.is_control()) {
            return Err("`user` is not a user's name".into());
        }
        if let HostKey::Fingerprint(text) = &self.host_key {
            let print = text.parse::<russh::keys::ssh_key::Fingerprint>();
            if !print.is_ok_and(|print| print.is_sha256()) {
                return Err("`host_key.fingerprint` is not like `SHA256:…`, as `ssh-keygen -lf` prints it".into());
            }
        }
        if self.password_file.is_none() && self.key_file.is_none() {
            return Err("`password_file` or `key_file` is needed to log in".into());
        }
        crate::ssh::check_legacy(&self.legacy)
    }
}
