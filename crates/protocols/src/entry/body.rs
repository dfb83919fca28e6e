//! What an entry can do to the fleet.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::ids::{Digest, Name, NodeId};
use crate::ticket::RelayPin;

mod declarations;
mod members;
mod rights;
mod succession;

pub use declarations::{ARTIFACTS_MAX, NOTE_BYTES_MAX, PAYLOAD_BYTES_MAX, Payload, Publish, Withdraw};
pub use members::{Enroll, Invite, LABEL_BYTES_MAX, LABELS_MAX, Quarantine, REDEEM_DOMAIN, Redeem, Release, Role};
pub use rights::{Grant, KindPattern, Revoke, Verb};
pub use succession::{
    APPROVALS_MAX, Approval, RECOVER_DOMAIN, RECOVER_REVOKES_MAX, RECOVERY_KEYS_MAX, ROTATE_DOMAIN, Recover, Recovery,
    Rotate, SET_RECOVERY_DOMAIN, SetRecovery,
};

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

/// States the digest of the fleet's state before this entry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checkpoint {
    /// [`FleetState::digest`](crate::FleetState::digest).
    pub state: Digest,
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
