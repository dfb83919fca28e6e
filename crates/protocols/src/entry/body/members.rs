//! Members: how they come in, and how agents are set apart.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ids::{FleetId, Millis, Name, NodeId};
use crate::key::{SecretKey, Signature};
use crate::selector::Labels;

/// The most labels of one node.
pub const LABELS_MAX: usize = 64;
/// The longest value of a label, in bytes.
pub const LABEL_BYTES_MAX: usize = 128;

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
