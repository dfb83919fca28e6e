//! What a ledger's entries amount to: who may do what, who is a member, what is declared.
//!
//! One pure function, [`FleetState::apply`], run by admin, coordinator and agent alike: the same entries give the same
//! state everywhere, so a coordinator that admits what it should refuse is found out by every agent.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::blob::BlobRef;
use crate::entry::{Head, Payload, Place, Recovery, Role, VerifiedEntry};
use crate::ids::{DeclarationName, Digest, FleetId, Kind, Millis, Name, NodeId, Subject};
use crate::policy::Policy;
use crate::selector::{Labels, Selector};

mod apply;
mod authority;
mod holders;
mod refusal;

pub use authority::{Capability, Scope};
pub use holders::{Coverage, GrantRole, Holder};
pub use refusal::Refusal;

/// The state of a fleet after some entry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FleetState {
    fleet: FleetId,
    name: Name,
    head: Head,
    time: Millis,
    admins: BTreeMap<NodeId, Admin>,
    members: BTreeMap<NodeId, Member>,
    invites: BTreeMap<NodeId, OpenInvite>,
    declarations: BTreeMap<DeclarationName, Arc<Declaration>>,
    revoked: BTreeMap<NodeId, u64>,
    rotated: BTreeMap<NodeId, NodeId>,
    orderer: NodeId,
    supervised: u64,
    recovery: Option<RecoverySet>,
}

/// Somebody who may sign entries.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Admin {
    /// What people call them.
    pub name: Name,
    /// What they may do.
    pub capabilities: Vec<Capability>,
    /// Who gave them their first right; nobody for the founders.
    pub given_by: Option<NodeId>,
    /// The entry that made them an admin.
    pub since: u64,
}

/// A node of the fleet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Member {
    /// Its name, unique among members.
    pub name: Name,
    /// What it is for.
    pub role: Role,
    /// Its labels.
    pub labels: Labels,
    /// The entry that made it a member.
    pub since: u64,
    /// The invite it came by, if it did.
    pub invite: Option<NodeId>,
    /// The enrolment or invite that let it in.
    pub voucher: Act,
    /// What changed it last, if anything did.
    pub changed: Option<Act>,
    /// Why it acts on nothing, if it shall not.
    pub quarantine: Option<Isolation>,
    /// Where it said it is, if it is a coordinator and did.
    pub place: Option<Place>,
    /// What it wrote into the ledger itself of late.
    pub own: OwnEntries,
}

/// How many entries a member wrote itself since an admin's last one: there is a limit, or one hostile node could fill
/// everybody's disks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnEntries {
    /// The admin's entry that they came after.
    pub after: u64,
    /// How many they are.
    pub count: u32,
}

/// Somebody's entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Act {
    /// Its place.
    pub seq: u64,
    /// Whose it is, by the key they have now.
    pub by: NodeId,
}

/// A quarantine: the agent stays connected, reports, and acts on nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Isolation {
    /// The entry that says so.
    pub act: Act,
    /// Why.
    pub reason: String,
}

/// The recovery keys in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecoverySet {
    /// The keys.
    pub recovery: Recovery,
    /// The entry that set them; approvals are bound to it.
    pub since: u64,
    /// Who wrote it.
    pub by: NodeId,
}

/// An invite that can still be redeemed, or has run out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OpenInvite {
    /// The name the node must take, if one was set.
    pub name: Option<Name>,
    /// The labels it gets.
    pub labels: Labels,
    /// Until when.
    pub expires: Millis,
    /// How many may still redeem it.
    pub uses_left: u32,
    /// Who made it.
    pub by: NodeId,
    /// The entry that made it.
    pub since: u64,
    /// The agent whose place its redeemer takes.
    pub replaces: Option<NodeId>,
    /// What its maker's right was limited to: the node must be within all of these.
    pub within: Vec<Selector>,
}

/// A declaration in force.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Declaration {
    /// Its name.
    pub name: DeclarationName,
    /// The entry that published it: the higher, the newer.
    pub generation: u64,
    /// For which nodes.
    pub on: Selector,
    /// What its author's right was limited to: a node must be within all of these too.
    pub within: Vec<Selector>,
    /// The score's language.
    pub kind: Kind,
    /// What it governs on a node.
    pub subject: Subject,
    /// How to apply it.
    pub policy: Policy,
    /// The score.
    pub payload: Payload,
    /// The blobs a node needs to begin.
    pub artifacts: Vec<BlobRef>,
    /// Who published it.
    pub author: NodeId,
    /// When, by the author's clock.
    pub at: Millis,
    /// A word for the record.
    pub note: Option<String>,
    /// Until when a node may begin with it; any time if absent.
    pub not_after: Option<Millis>,
}

impl Declaration {
    /// Whether it is meant for a node of this name and labels.
    pub fn targets(&self, name: &str, labels: &Labels) -> bool {
        self.on.matches(name, labels) && self.within.iter().all(|s| s.matches(name, labels))
    }

    /// Whether its time is over at `now`: who has not begun with it then does not begin any more.
    pub fn is_over(&self, now: Millis) -> bool {
        self.not_after.is_some_and(|end| now > end)
    }
}

impl FleetState {
    /// The state after a genesis entry.
    ///
    /// # Errors
    /// A [`Refusal`] if the entry is no genesis entry, or not a sound one.
    pub fn found(genesis: &VerifiedEntry) -> Result<Self, Refusal> {
        apply::found(genesis)
    }

    /// Applies the next entry. On refusal the state is as it was.
    ///
    /// # Errors
    /// A [`Refusal`] that says why, and what to do.
    pub fn apply(&mut self, entry: &VerifiedEntry) -> Result<(), Refusal> {
        apply::apply(self, entry)
    }

    /// The fleet's id.
    pub const fn fleet(&self) -> FleetId {
        self.fleet
    }

    /// What people call the fleet.
    pub const fn name(&self) -> &Name {
        &self.name
    }

    /// The newest entry applied.
    pub const fn head(&self) -> Head {
        self.head
    }

    /// The latest time any applied entry stated: the clock that expiries are measured by. It never runs backwards.
    pub const fn time(&self) -> Millis {
        self.time
    }

    /// Who may sign entries.
    pub const fn admins(&self) -> &BTreeMap<NodeId, Admin> {
        &self.admins
    }

    /// The fleet's nodes.
    pub const fn members(&self) -> &BTreeMap<NodeId, Member> {
        &self.members
    }

    /// The open invites.
    pub const fn invites(&self) -> &BTreeMap<NodeId, OpenInvite> {
        &self.invites
    }

    /// The declarations in force.
    pub const fn declarations(&self) -> &BTreeMap<DeclarationName, Arc<Declaration>> {
        &self.declarations
    }

    /// Keys that were revoked, and by which entry.
    pub const fn revoked(&self) -> &BTreeMap<NodeId, u64> {
        &self.revoked
    }

    /// The key that took another's place, if one did.
    pub fn successor(&self, key: NodeId) -> Option<NodeId> {
        let mut last = *self.rotated.get(&key)?;
        while let Some(next) = self.rotated.get(&last) {
            last = *next;
        }
        Some(last)
    }

    /// The coordinator that orders the ledger; the others follow it.
    pub const fn orderer(&self) -> NodeId {
        self.orderer
    }

    /// The recovery keys, if there are any.
    pub const fn recovery(&self) -> Option<&RecoverySet> {
        self.recovery.as_ref()
    }

    /// Why an agent acts on nothing, if it shall not.
    pub fn quarantine(&self, node: NodeId) -> Option<&Isolation> {
        self.members.get(&node)?.quarantine.as_ref()
    }

    /// A member by its name.
    pub fn member_named(&self, name: &str) -> Option<(NodeId, &Member)> {
        self.members.iter().find(|(_, m)| m.name.as_str() == name).map(|(id, m)| (*id, m))
    }

    /// The members of one role.
    pub fn with_role(&self, role: Role) -> impl Iterator<Item = (NodeId, &Member)> {
        self.members.iter().filter(move |(_, m)| m.role == role).map(|(id, m)| (*id, m))
    }

    /// Whether the key is a coordinator.
    pub fn is_coordinator(&self, key: NodeId) -> bool {
        self.members.get(&key).is_some_and(|m| m.role == Role::Coordinator)
    }

    /// Whether the key is an agent.
    pub fn is_agent(&self, key: NodeId) -> bool {
        self.members.get(&key).is_some_and(|m| m.role == Role::Agent)
    }

    /// Whether the key belongs to the fleet in any way.
    pub fn knows(&self, key: NodeId) -> bool {
        self.members.contains_key(&key) || self.admins.contains_key(&key)
    }

    /// The agents a selector means, by name.
    pub fn select<'a>(&'a self, on: &'a Selector) -> impl Iterator<Item = (NodeId, &'a Member)> + 'a {
        self.with_role(Role::Agent).filter(|(_, m)| on.matches(m.name.as_str(), &m.labels))
    }

    /// What a node shall be: for each subject the newest declaration that targets it.
    pub fn desired(&self, node: NodeId) -> BTreeMap<&Subject, &Arc<Declaration>> {
        let mut desired: BTreeMap<&Subject, &Arc<Declaration>> = BTreeMap::new();
        let Some(member) = self.members.get(&node).filter(|m| m.role == Role::Agent) else { return desired };
        for declaration in self.declarations.values().filter(|d| d.targets(member.name.as_str(), &member.labels)) {
            let newest = desired.entry(&declaration.subject).or_insert(declaration);
            if declaration.generation > newest.generation {
                *newest = declaration;
            }
        }
        desired
    }

    /// The agents a declaration is for, including those where a newer one of the same subject stands before it.
    pub fn targets<'a>(&'a self, declaration: &'a Declaration) -> impl Iterator<Item = (NodeId, &'a Member)> + 'a {
        self.with_role(Role::Agent).filter(|(_, m)| declaration.targets(m.name.as_str(), &m.labels))
    }

    /// BLAKE3 of the state's JSON: equal for equal states.
    pub fn digest(&self) -> Digest {
        let json = serde_json::to_vec(self).unwrap_or_default();
        Digest::from_bytes(*blake3::hash(&json).as_bytes())
    }
}

#[cfg(test)]
mod tests;
