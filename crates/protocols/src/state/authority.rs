//! Who may do what: capabilities, and how one is given on without ever growing.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{Admin, Declaration, FleetState, OpenInvite, Refusal};
use crate::entry::{Entry, Grant, KindPattern, Verb};
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
    /// The keys it came through, the founder's first; nobody for a founder's own.
    pub through: Vec<NodeId>,
}

/// How often a right may be handed on from one to the next.
pub(super) const HANDS_MAX: usize = 16;
/// The most rights that one admin may give to one key.
pub(super) const CAPABILITIES_PER_GIVER_MAX: usize = 16;

/// One limit of a capability.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scope {
    /// On which nodes.
    pub on: Selector,
    /// With which kinds.
    pub kinds: Vec<KindPattern>,
    /// Until when, by the ledger's time.
    pub expires: Option<Millis>,
    /// The entry that set it.
    pub since: u64,
}

impl Capability {
    /// A founder's right: everything.
    pub(super) fn everything() -> Self {
        Self { verbs: Verb::ALL.into_iter().collect(), scopes: Vec::new(), through: Vec::new() }
    }

    /// Whether it is everything, everywhere, for ever.
    pub fn is_root(&self) -> bool {
        let all = Verb::ALL.iter().all(|verb| self.verbs.contains(verb));
        all && self.is_unlimited() && self.scopes.iter().all(|s| s.expires.is_none())
    }

    /// When the first of its limits ends it.
    pub fn expires(&self) -> Option<Millis> {
        self.scopes.iter().filter_map(|s| s.expires).min()
    }

    /// Whether it covers every node, now or later, that `on` and all of `within` mean. May say no where it is yes.
    pub(super) fn covers_selection(&self, on: Option<&Selector>, within: &[Selector]) -> bool {
        let inside = |s: &Scope| on.into_iter().chain(within).any(|selector| selector.is_within(&s.on));
        self.scopes.iter().all(|s| s.on.is_everything() || inside(s))
    }

    /// Whether it is the same right, given by the same hands, whenever that was.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        let alike = |(a, b): (&Scope, &Scope)| a.on == b.on && a.kinds == b.kinds && a.expires == b.expires;
        self.verbs == other.verbs
            && self.through == other.through
            && self.scopes.len() == other.scopes.len()
            && self.scopes.iter().zip(&other.scopes).all(alike)
    }

    fn has(&self, verb: Verb, now: Millis) -> bool {
        self.verbs.contains(&verb) && self.scopes.iter().all(|s| s.expires.is_none_or(|end| now < end))
    }

    pub(super) fn covers_kind(&self, kind: &Kind) -> bool {
        self.scopes.iter().all(|s| s.kinds.iter().any(|p| p.matches(kind)))
    }

    /// Whether it covers every kind that a pattern means.
    pub(super) fn covers_kinds(&self, kinds: &KindPattern) -> bool {
        self.scopes.iter().all(|s| s.kinds.iter().any(|p| p.contains(kinds)))
    }

    /// The entry that gave it.
    pub(super) fn since(&self) -> u64 {
        self.scopes.last().map_or(0, |s| s.since)
    }

    pub(super) fn covers_node(&self, name: &str, labels: &Labels) -> bool {
        self.scopes.iter().all(|s| s.on.matches(name, labels))
    }

    /// Whether nothing limits it, in nodes or kinds.
    pub(super) fn is_unlimited(&self) -> bool {
        self.scopes.iter().all(|s| s.on.is_everything() && s.kinds.iter().any(|p| p.as_str() == "*"))
    }

    pub(super) fn within(&self) -> Vec<Selector> {
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
    pub(super) fn holding(&self, who: NodeId, verb: Verb, now: Millis) -> impl Iterator<Item = &Capability> {
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

    /// The keys that may publish `kind` on a node, or did what it shall be: whose signatures on store paths it trusts.
    pub fn publishers(&self, kind: &Kind, node: NodeId) -> Vec<NodeId> {
        let Some(member) = self.members.get(&node) else { return Vec::new() };
        let can = |id: NodeId| {
            self.holding(id, Verb::Publish, self.time)
                .any(|c| c.covers_kind(kind) && c.covers_node(member.name.as_str(), &member.labels))
        };
        let mut publishers: Vec<NodeId> = self.admins.keys().copied().filter(|id| can(*id)).collect();
        // What a key declared stays declared when the key was rotated or revoked since, and so does its signature.
        for declaration in self.desired(node).into_values().filter(|d| d.kind == *kind) {
            if !publishers.contains(&declaration.author) {
                publishers.push(declaration.author);
            }
        }
        publishers
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
            if capability.scopes.iter().all(|s| s.on.is_everything()) {
                return Ok(Vec::new());
            }
            let stray = self.select(on).find(|(_, m)| !capability.covers_node(m.name.as_str(), &m.labels));
            match stray {
                None => return Ok(capability.within()),
                Some((_, member)) => outside = Some(member.name.clone()),
            }
        }
        Err(outside.map_or_else(|| format!("publish {kind}"), |name| format!("publish {kind} on `{name}`")))
    }

    /// Whether `who` may replace or withdraw a declaration: on every node that it is for, also those still to come.
    pub(super) fn may_replace(&self, who: NodeId, old: &Declaration, now: Millis) -> bool {
        self.holding(who, Verb::Publish, now)
            .any(|c| c.covers_kind(&old.kind) && c.covers_selection(Some(&old.on), &old.within))
    }

    /// Whether `who` may publish `kind` on anything.
    pub(super) fn may_publish_kind(&self, who: NodeId, kind: &Kind, now: Millis) -> bool {
        self.holding(who, Verb::Publish, now).any(|c| c.covers_kind(kind))
    }

    /// The capability that covers an enrolment of a node by `who`. Nothing for a name that is not known yet.
    pub(super) fn may_enroll(
        &self,
        who: NodeId,
        name: Option<&str>,
        labels: &Labels,
        now: Millis,
    ) -> Option<&Capability> {
        self.holding(who, Verb::Enroll, now).find(|c| name.is_none_or(|name| c.covers_node(name, labels)))
    }

    /// Whether `who` may withdraw an invite: its own, or one for nodes that it may enroll.
    pub(super) fn may_uninvite(&self, who: NodeId, invite: &OpenInvite, now: Millis) -> bool {
        let name = invite.name.as_ref();
        self.holding(who, Verb::Enroll, now).any(|c| {
            invite.by == who
                || c.covers_selection(None, &invite.within)
                || name.is_some_and(|name| c.covers_node(name.as_str(), &invite.labels))
        })
    }

    /// The capability that a grant by `who` gives; nothing if none of theirs can be handed on so.
    ///
    /// # Errors
    /// If it was handed on too often.
    pub(super) fn delegate(&self, entry: &Entry, grant: &Grant) -> Result<Option<Capability>, Refusal> {
        let (who, now) = (entry.author, entry.at);
        let Some(from) = self.holding(who, Verb::Grant, now).find(|c| grant.verbs.is_subset(&c.verbs)) else {
            return Ok(None);
        };
        if from.through.len() >= HANDS_MAX {
            return Err(Refusal::invalid("grant", format!("hands on a right that went through {HANDS_MAX} already")));
        }
        let mut scopes = from.scopes.clone();
        scopes.push(Scope {
            on: grant.on.clone(),
            kinds: grant.kinds.clone(),
            expires: grant.expires,
            since: entry.seq,
        });
        let mut through = from.through.clone();
        through.push(who);
        Ok(Some(Capability { verbs: grant.verbs.clone(), scopes, through }))
    }

    /// Whether `who` may take `target`'s rights: they are its own, all of them came from it, or it may grant everywhere.
    pub(super) fn may_revoke_admin(&self, who: NodeId, target: NodeId, now: Millis) -> bool {
        if who == target || self.may_everywhere(who, Verb::Grant, now) {
            return true;
        }
        let all_from = |a: &Admin| a.capabilities.iter().all(|c| c.through.contains(&who));
        self.may(who, Verb::Grant, now) && self.admins.get(&target).is_some_and(all_from)
    }

    /// Whether `who` may do everything, everywhere, for ever.
    pub(super) fn is_root(&self, who: NodeId) -> bool {
        self.admins.get(&who).is_some_and(Admin::is_root)
    }
}

impl Admin {
    /// Whether they may do everything, everywhere, for ever. A fleet always has at least one such admin.
    pub fn is_root(&self) -> bool {
        self.capabilities.iter().any(Capability::is_root)
    }
}
