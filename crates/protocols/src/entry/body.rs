//! What an entry can do to the fleet.

use std::collections::BTreeSet;
use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use crate::blob::BlobRef;
use crate::ids::{DeclarationName, Digest, FleetId, Kind, Millis, Name, NodeId, Subject};
use crate::key::{SecretKey, Signature};
use crate::policy::Policy;
use crate::selector::{Labels, Selector, glob};
use crate::ticket::RelayPin;

mod succession;

pub use succession::{
    APPROVALS_MAX, Approval, RECOVER_DOMAIN, RECOVER_REVOKES_MAX, RECOVERY_KEYS_MAX, ROTATE_DOMAIN, Recover, Recovery,
    Rotate, SET_RECOVERY_DOMAIN, SetRecovery,
};

/// The largest payload of a score, in bytes of JSON. Larger content travels as blobs.
pub const PAYLOAD_BYTES_MAX: usize = 384 * 1024;
/// The most blobs that one declaration names.
pub const ARTIFACTS_MAX: usize = 1024;
/// The most labels of one node.
pub const LABELS_MAX: usize = 64;
/// The longest value of a label, in bytes.
pub const LABEL_BYTES_MAX: usize = 128;
/// The longest note of an entry, in bytes.
pub const NOTE_BYTES_MAX: usize = 500;
/// The most admins or coordinators named in a genesis entry.
pub const FOUNDERS_MAX: usize = 32;

/// What is done by an entry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Body {
    /// Founds the fleet.
    Genesis(Genesis),
    /// Gives an admin rights.
    Grant(Grant),
    /// Ends a key's rights and membership.
    Revoke(Revoke),
    /// Makes a key a member, or renames and relabels one.
    Enroll(Enroll),
    /// Puts another key in the place of its author's.
    Rotate(Rotate),
    /// Makes an agent stay connected and act on nothing.
    Quarantine(Quarantine),
    /// Ends a quarantine.
    Release(Release),
    /// Lets whoever holds a one-time secret become a member.
    Invite(Invite),
    /// Makes a member of a key that proved to hold an invite's secret.
    Redeem(Redeem),
    /// Declares what nodes shall be.
    Publish(Publish),
    /// Ends a declaration; nodes keep what they have.
    Withdraw(Withdraw),
    /// States what the fleet's state is here.
    Checkpoint(Checkpoint),
    /// Names the coordinator that orders the ledger from here on.
    Appoint(Appoint),
    /// Says where a coordinator can be reached.
    Place(Place),
    /// Makes an admin of a key by the recovery keys' word, when no admin's key is at hand or none can be trusted.
    Recover(Recover),
    /// Sets, replaces or ends the fleet's recovery keys.
    SetRecovery(SetRecovery),
}

impl Body {
    /// The name of what is done, as `flt admin log` prints it.
    pub const fn verb(&self) -> &'static str {
        match self {
            Self::Genesis(_) => "genesis",
            Self::Grant(_) => "grant",
            Self::Revoke(_) => "revoke",
            Self::Enroll(_) => "enroll",
            Self::Invite(_) => "invite",
            Self::Redeem(_) => "redeem",
            Self::Publish(_) => "publish",
            Self::Withdraw(_) => "withdraw",
            Self::Checkpoint(_) => "checkpoint",
            Self::Rotate(_) => "rotate",
            Self::Quarantine(_) => "quarantine",
            Self::Release(_) => "release",
            Self::Appoint(_) => "appoint",
            Self::Place(_) => "place",
            Self::Recover(_) => "recover",
            Self::SetRecovery(_) => "set-recovery",
        }
    }
}

/// The first entry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Genesis {
    /// What people call the fleet.
    pub name: Name,
    /// Randomness, so that two fleets of one name and key differ.
    pub nonce: Digest,
    /// Who may do everything. The entry's author is one of them.
    pub admins: Vec<Founder>,
    /// Who orders the ledger (the first of them) and relays.
    pub coordinators: Vec<Founder>,
    /// Keys, kept offline, that can make an admin when all else is lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovery: Option<Recovery>,
}

/// A key and its name, in a genesis entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Founder {
    /// The key.
    pub key: NodeId,
    /// What people call its holder.
    pub name: Name,
}

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

/// What a member is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Carries out declarations.
    Agent,
    /// Orders the ledger and relays.
    Coordinator,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Agent => "agent",
            Self::Coordinator => "coordinator",
        })
    }
}

/// Makes a key a member. For a key that is one already: its new name and labels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Enroll {
    /// The key.
    pub key: NodeId,
    /// The member's name, unique in the fleet.
    pub name: Name,
    /// What it is for.
    pub role: Role,
    /// Its labels.
    #[serde(default)]
    pub labels: Labels,
    /// The agent whose place it takes: that one's key is revoked, its name becomes free.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<NodeId>,
}

/// Lets whoever proves to hold a secret key become an agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Invite {
    /// The public half of the invite's one-time key. The secret half is in the ticket and nowhere else.
    pub invite: NodeId,
    /// The name the node must take; any free one if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Name>,
    /// The labels it gets.
    #[serde(default)]
    pub labels: Labels,
    /// Until when it can be redeemed.
    pub expires: Millis,
    /// How many nodes may redeem it, 1 to 10000.
    pub uses: u32,
    /// The agent whose place the node takes when it redeems. The invite then has that one's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<NodeId>,
}

/// A redeemed invite, entered by a coordinator. Without the invite's secret no coordinator can make one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Redeem {
    /// The invite.
    pub invite: NodeId,
    /// The node's key.
    pub key: NodeId,
    /// The name it takes.
    pub name: Name,
    /// By the invite's key, over [`Redeem::message`].
    pub invite_signature: Signature,
    /// By the node's key, over the same.
    pub key_signature: Signature,
}

/// What the signatures in a [`Redeem`] cover before the message.
pub const REDEEM_DOMAIN: &[u8] = b"flotilla redeem 1\0";

impl Redeem {
    /// The request of a node that holds an invite's secret.
    pub fn new(fleet: FleetId, invite: &SecretKey, key: &SecretKey, name: Name) -> Self {
        let message = Self::message(fleet, invite.id(), key.id(), &name);
        Self {
            invite: invite.id(),
            key: key.id(),
            name,
            invite_signature: invite.sign(REDEEM_DOMAIN, &message),
            key_signature: key.sign(REDEEM_DOMAIN, &message),
        }
    }

    /// Whether both signatures hold for this fleet.
    pub fn verifies(&self, fleet: FleetId) -> bool {
        let message = Self::message(fleet, self.invite, self.key, &self.name);
        self.invite.verifies(REDEEM_DOMAIN, &message, &self.invite_signature)
            && self.key.verifies(REDEEM_DOMAIN, &message, &self.key_signature)
    }

    /// Fleet id, invite, key (32 bytes each) and the name's bytes.
    fn message(fleet: FleetId, invite: NodeId, key: NodeId, name: &Name) -> Vec<u8> {
        [fleet.as_bytes(), invite.as_bytes(), key.as_bytes(), name.as_str().as_bytes()].concat()
    }
}

/// Declares what the selected nodes shall be. A later publication of the same name replaces it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Publish {
    /// The declaration.
    pub name: DeclarationName,
    /// For which nodes.
    pub on: Selector,
    /// The score's language.
    pub kind: Kind,
    /// What it governs there: what the score says of itself, repeated so that the state needs no score's code.
    pub subject: Subject,
    /// How to apply it.
    #[serde(default)]
    pub policy: Policy,
    /// The score, as its author wrote it.
    pub payload: Payload,
    /// The blobs a node needs to begin.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub artifacts: Vec<BlobRef>,
    /// A word for the record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// Ends a declaration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Withdraw {
    /// Which.
    pub name: DeclarationName,
}

/// States the digest of the fleet's state before this entry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checkpoint {
    /// [`FleetState::digest`](crate::FleetState::digest).
    pub state: Digest,
}

/// Makes an agent stay connected and act on nothing, until it is released or enrolled anew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quarantine {
    /// The agent.
    pub key: NodeId,
    /// Why, for the record.
    pub reason: String,
}

/// Ends a quarantine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Release {
    /// The agent.
    pub key: NodeId,
}

/// Names the coordinator that orders the ledger from here on; the others follow it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Appoint {
    /// The coordinator.
    pub coordinator: NodeId,
}

/// Says where a coordinator can be reached, so that members find it without a new ticket. No more than a hint: who
/// answers there must still hold the coordinator's key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Place {
    /// The coordinator.
    pub coordinator: NodeId,
    /// Its direct addresses, at most [`ADDRS_MAX`](crate::addr::ADDRS_MAX).
    #[serde(default)]
    pub addrs: Vec<SocketAddr>,
    /// Its relay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relay: Option<RelayPin>,
}

/// A score's JSON, byte for byte as it was signed.
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Payload(Box<RawValue>);

impl Payload {
    /// Takes a JSON text as it stands.
    ///
    /// # Errors
    /// If it is not JSON.
    pub fn from_json(text: String) -> Result<Self, serde_json::Error> {
        RawValue::from_string(text).map(Self)
    }

    /// The text.
    pub fn get(&self) -> &str {
        self.0.get()
    }

    /// BLAKE3 of the text.
    pub fn digest(&self) -> Digest {
        Digest::from_bytes(*blake3::hash(self.get().as_bytes()).as_bytes())
    }
}

impl PartialEq for Payload {
    fn eq(&self, other: &Self) -> bool {
        self.get() == other.get()
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&crate::outcome::shorten(self.get(), 120))
    }
}
