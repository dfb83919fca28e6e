//! Rights: what they allow, and how they are given and ended.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize};

use crate::ids::{Kind, Millis, Name, NodeId};
use crate::selector::{Selector, glob};

/// What a right allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verb {
    /// Giving rights on, and taking them away.
    Grant,
    /// Inviting, enrolling, relabelling and removing nodes.
    Enroll,
    /// Publishing and withdrawing declarations.
    Publish,
    /// Steering rollouts.
    Rollout,
    /// Opening tunnels to nodes.
    Tunnel,
    /// Running commands on nodes.
    Exec,
    /// Reading facts, outcomes and heartbeats.
    Read,
}

impl Verb {
    /// Every verb.
    pub const ALL: [Self; 7] =
        [Self::Grant, Self::Enroll, Self::Publish, Self::Rollout, Self::Tunnel, Self::Exec, Self::Read];
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Grant => "grant",
            Self::Enroll => "enroll",
            Self::Publish => "publish",
            Self::Rollout => "rollout",
            Self::Tunnel => "tunnel",
            Self::Exec => "exec",
            Self::Read => "read",
        })
    }
}

impl FromStr for Verb {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let all = || Self::ALL.map(|v| v.to_string()).join(", ");
        Self::ALL.into_iter().find(|v| v.to_string() == text).ok_or_else(|| format!("`{text}` is not one of {}", all()))
    }
}

/// Which kinds of scores: a kind, or a pattern with `*` like `nixos/*`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct KindPattern(String);

impl KindPattern {
    /// The pattern `*`.
    pub fn any() -> Self {
        Self("*".into())
    }

    /// Whether `kind` is meant.
    pub fn matches(&self, kind: &Kind) -> bool {
        glob(&self.0, kind.as_str())
    }

    /// Whether every kind that `other` means is meant. A pattern has no other wildcard than `*`, so it can be read as a
    /// text that only a `*` here matches.
    pub fn contains(&self, other: &Self) -> bool {
        glob(&self.0, &other.0)
    }

    /// The pattern as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for KindPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let odd = |c: char| !(c.is_ascii_lowercase() || c.is_ascii_digit() || "-_./*".contains(c));
        if text.is_empty() || text.len() > 80 || text.contains(odd) {
            return Err(format!("`{text}` is not a pattern of kinds, like `nixos/*`"));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for KindPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl<'de> Deserialize<'de> for KindPattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Gives rights: these verbs, on these nodes, for these kinds, until then. Never more than the giver holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// The key that receives.
    pub to: NodeId,
    /// What people call its holder.
    pub name: Name,
    /// What it may do.
    pub verbs: BTreeSet<Verb>,
    /// On which nodes.
    pub on: Selector,
    /// With which kinds of scores.
    pub kinds: Vec<KindPattern>,
    /// Until when, by the ledger's time; for ever if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Millis>,
}

/// Ends a key's rights and membership. What it signed before stays.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Revoke {
    /// The key.
    pub key: NodeId,
    /// Why, for the record.
    pub reason: String,
    /// The first entry that its rightful owner may not have written. What the key signed from there on is void.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compromised_since: Option<u64>,
}
