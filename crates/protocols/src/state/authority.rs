//! Who may do what: capabilities, and how one is given on without ever growing.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::FleetState;
use crate::entry::{Grant, KindPattern, Verb};
use crate::ids::{Kind, Millis, NodeId};
use crate::selector::{Labels, Selector};

/// A right: some verbs, within every one of the scopes it was given through.
///
/// A grant adds a scope and never drops one, so no delegation can exceed its giver's right, whatever it says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Capability {
    /// What it allows.
    pub verbs: BTreeSet<Verb>,
    /// The limits, all of which hold.
    pub scopes: Vec<Scope>,
}

/// One limit of a capability.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scope {
    /// On which nodes.
    pub on: Selector,
    /// With which kinds.
    pub kinds: Vec<KindPattern>,
    /// Until when, by the ledger's time.
    pub expires: Option<Millis>,
}

impl Capability {
    /// A founder's right: everything.
    pub(super) fn everything() -> Self {
        Self { verbs: Verb::ALL.into_iter().collect(), scopes: Vec::new() }
    }

    fn has(&self, verb: Verb, now: Millis) -> bool {
        self.verbs.contains(&verb) && self.scopes.iter().all(|s| s.expires.is_none_or(|end| now < end))
    }

    fn covers_kind(&self, kind: &Kind) -> bool {
        self.scopes.iter().all(|s| s.kinds.iter().any(|p| p.matches(kind)))
    }

    fn covers_node(&self, name: &str, labels: &Labels) -> bool {
        self.scopes.iter().all(|s| s.on.matches(name, labels))
    }

    /// Whether nothing limits it, in nodes or kinds.
    fn is_unlimited(&self) -> bool {
        self.scopes.iter().all(|s| s.on.is_everything() && s.kinds.iter().any(|p| p.as_str() == "*"))
    }

    fn within(&self) -> Vec<Selector> {
        let mut within: Vec<Selector> = Vec::new();
        for scope in &self.scopes {
            if !scope.on.is_everything() && !within.contains(&scope.on) {
                within.push(scope.on.clone());
            }
        }
        within
    }
}

impl FleetState {
    /// The capabilities of `who` that hold `verb` at the ledger's time, or `now` if that is later.
    fn holding(&self, who: NodeId, verb: Verb, now: Millis) -> impl Iterator<Item = &Capability> {
        let now = now.max(self.time);
        let admin = self.admins.get(&who);
        admin.into_iter().flat_map(|a| &a.capabilities).filter(move |c| c.has(verb, now))
    }

    /// Whether `who` may do `verb` at all.
    pub fn may(&self, who: NodeId, verb: Verb, now: Millis) -> bool {
        self.holding(who, verb, now).next().is_some()
    }

    /// Whether `who` may do `verb` everywhere.
    pub fn may_everywhere(&self, who: NodeId, verb: Verb, now: Millis) -> bool {
        self.holding(who, verb, now).any(Capability::is_unlimited)
    }

    /// Whether `who` may do `verb` on a node.
    pub fn may_on(&self, who: NodeId, verb: Verb, name: &str, labels: &Labels, now: Millis) -> bool {
        self.holding(who, verb, now).any(|c| c.covers_node(name, labels))
    }

    /// The keys that may publish `kind` on a node: whose signatures on store paths it trusts.
    pub fn publishers(&self, kind: &Kind, node: NodeId) -> Vec<NodeId> {
        let Some(member) = self.members.get(&node) else { return Vec::new() };
        let can = |id: NodeId| {
            self.holding(id, Verb::Publish, self.time)
                .any(|c| c.covers_kind(kind) && c.covers_node(member.name.as_str(), &member.labels))
        };
        self.admins.keys().copied().filter(|id| can(*id)).collect()
    }

    /// What a publication of `kind` on `on` by `who` is limited to.
    pub(super) fn may_publish(
        &self,
        who: NodeId,
        kind: &Kind,
        on: &Selector,
        now: Millis,
    ) -> Result<Vec<Selector>, String> {
        let mut outside = None;
        for capability in self.holding(who, Verb::Publish, now).filter(|c| c.covers_kind(kind)) {
            let stray = self.select(on).find(|(_, m)| !capability.covers_node(m.name.as_str(), &m.labels));
            match stray {
                None => return Ok(capability.within()),
                Some((_, member)) => outside = Some(member.name.clone()),
            }
        }
        Err(outside.map_or_else(|| format!("publish {kind}"), |name| format!("publish {kind} on `{name}`")))
    }

    /// What an enrolment of a node by `who` is limited to. The name is empty where it is not known yet.
    pub(super) fn may_enroll(
        &self,
        who: NodeId,
        name: Option<&str>,
        labels: &Labels,
        now: Millis,
    ) -> Option<Vec<Selector>> {
        self.holding(who, Verb::Enroll, now)
            .find(|c| name.is_none_or(|name| c.covers_node(name, labels)))
            .map(Capability::within)
    }

    /// The capability that a grant by `who` gives.
    pub(super) fn delegate(&self, who: NodeId, grant: &Grant, now: Millis) -> Option<Capability> {
        let from = self.holding(who, Verb::Grant, now).find(|c| grant.verbs.is_subset(&c.verbs))?;
        let mut scopes = from.scopes.clone();
        scopes.push(Scope { on: grant.on.clone(), kinds: grant.kinds.clone(), expires: grant.expires });
        Some(Capability { verbs: grant.verbs.clone(), scopes })
    }

    /// Whether `who` may take `target`'s rights: it may grant everything, or its grants are where they came from.
    pub(super) fn may_revoke_admin(&self, who: NodeId, target: NodeId, now: Millis) -> bool {
        if self.may_everywhere(who, Verb::Grant, now) {
            return true;
        }
        let mut at = target;
        // Each step goes to an older admin, so this ends; the bound guards against a state from elsewhere.
        for _ in 0..self.admins.len() {
            match self.admins.get(&at).and_then(|a| a.given_by) {
                Some(giver) if giver == who => return self.may(who, Verb::Grant, now),
                Some(giver) => at = giver,
                None => return false,
            }
        }
        false
    }
}
