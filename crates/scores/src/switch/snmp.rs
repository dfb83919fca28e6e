//! `switch.snmp/1`: a user of SNMPv3 and its group, with secrets that are sealed to the agent's node.

use std::collections::BTreeSet;

use protocols::{Kind, Name, SealedText, Subject};
use serde::{Deserialize, Serialize};

use super::play::{Declares, subject};
use super::{Config, Snapshot, SnmpAuth, SnmpGroup, SnmpKeys, SnmpPrivacy, SnmpUser, Touched, text};
use crate::{Invalid, Score};

/// A user of SNMPv3 that shall be, or shall not be.
///
/// A switch does not tell the secrets that it holds. The agent remembers, sealed, what it has set; so a user that it has
/// not made is refused, unless `replace` says that what was there need not come back when the change is undone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SnmpScore {
    /// The switch.
    pub device: Name,
    /// The user's name.
    pub user: String,
    /// Its group, which is made where it is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// What its group may do.
    #[serde(default)]
    pub access: SnmpAccess,
    /// How it proves who it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<SnmpAuthKey>,
    /// How it encrypts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub privacy: Option<SnmpPrivacyKey>,
    /// Whether MD5 and DES, which are broken, may be used.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub weak: bool,
    /// Whether a user that somebody else made may be replaced.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub replace: bool,
    /// Whether there shall be no such user.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub absent: bool,
}

/// What users of a group may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SnmpAccess {
    /// Read everything.
    #[default]
    Read,
    /// Read and write everything.
    ReadWrite,
}

/// An algorithm and a secret for authentication.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SnmpAuthKey {
    /// The algorithm; SHA where nothing is said.
    #[serde(default = "sha")]
    pub algorithm: SnmpAuth,
    /// The secret.
    pub secret: SealedText,
}

/// An algorithm and a secret for privacy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SnmpPrivacyKey {
    /// The algorithm; AES where nothing is said.
    #[serde(default = "aes")]
    pub algorithm: SnmpPrivacy,
    /// The secret.
    pub secret: SealedText,
}

const fn sha() -> SnmpAuth {
    SnmpAuth::Sha
}

const fn aes() -> SnmpPrivacy {
    SnmpPrivacy::Aes
}

impl Score for SnmpScore {
    const KIND: Kind = Kind::from_static("switch.snmp/1");

    fn subject(&self) -> Subject {
        subject(&self.device, "snmp", &self.user)
    }

    fn check(&self) -> Result<(), Invalid> {
        text::word("user", &self.user, text::NAME_BYTES_MAX)?;
        if let Some(group) = &self.group {
            text::word("group", group, text::NAME_BYTES_MAX)?;
        }
        if self.absent {
            if self.auth.is_some() || self.privacy.is_some() {
                return Err(Invalid::at("absent", "a user that shall not be has no secrets"));
            }
            return Ok(());
        }
        if self.group.is_none() {
            return Err(Invalid::at("group", "a user is in a group"));
        }
        let Some(auth) = &self.auth else {
            return Err(Invalid::at("auth", "a user proves who it is"));
        };
        if !self.weak && auth.algorithm == SnmpAuth::Md5 {
            return Err(Invalid::at("auth.algorithm", "MD5 is broken; `weak = true` allows it"));
        }
        match &self.privacy {
            Some(privacy) if !self.weak && privacy.algorithm == SnmpPrivacy::Des => {
                Err(Invalid::at("privacy.algorithm", "DES is broken; `weak = true` allows it"))
            }
            None if !self.weak => {
                Err(Invalid::at("privacy", "without it all is sent in clear; `weak = true` allows it"))
            }
            _ => Ok(()),
        }
    }

    fn secrets(&self) -> Vec<&SealedText> {
        let auth = self.auth.iter().map(|auth| &auth.secret);
        auth.chain(self.privacy.iter().map(|privacy| &privacy.secret)).collect()
    }
}

impl SnmpScore {
    /// Its secrets.
    pub(super) fn keys(&self) -> Option<SnmpKeys> {
        let auth = self.auth.as_ref()?.secret.clone();
        Some(SnmpKeys { auth, privacy: self.privacy.as_ref().map(|privacy| privacy.secret.clone()) })
    }

    fn declared_group(&self) -> SnmpGroup {
        let all = || Some("all".to_owned());
        let write = if self.access == SnmpAccess::ReadWrite { all() } else { None };
        SnmpGroup { encrypted: self.privacy.is_some(), read: all(), write }
    }
}

impl Declares for SnmpScore {
    fn device(&self) -> &Name {
        &self.device
    }

    fn touched(&self, _now: &Snapshot) -> Touched {
        Touched {
            users: BTreeSet::from([self.user.clone()]),
            groups: self.group.iter().filter(|_| !self.absent).cloned().collect(),
            ..Touched::default()
        }
    }

    fn declare(&self, _now: &Snapshot, config: &mut Config) {
        let (Some(group), false) = (&self.group, self.absent) else {
            config.users.remove(&self.user);
            return;
        };
        config.groups.entry(group.clone()).or_insert_with(|| self.declared_group());
        let user = SnmpUser {
            group: group.clone(),
            auth: self.auth.as_ref().map(|auth| auth.algorithm),
            privacy: self.privacy.as_ref().map(|privacy| privacy.algorithm),
            keys: self.keys(),
        };
        config.users.insert(self.user.clone(), user);
    }

    fn objections(&self, now: &Snapshot) -> Vec<String> {
        let mut all = Vec::new();
        let found = now.running.users.get(&self.user);
        if found.is_some_and(|user| user.keys.is_none()) && !self.replace {
            all.push(format!(
                "the user {:?} is there, and its secrets are not known, so that a change could not be undone; \
                 `replace = true` gives them up",
                self.user
            ));
        }
        if self.absent {
            return all;
        }
        if let Some((name, group)) = self.group.as_ref().and_then(|name| now.running.groups.get_key_value(name))
            && *group != self.declared_group()
        {
            all.push(format!("the group {name:?} is there with other rights than are declared"));
        }
        all
    }
}
