//! Entries of the ledger as people audit them: who, what, when, from where, and on whose authority.

use protocols::entry::{Verb, VerifiedEntry};
use protocols::state::Capability;
use protocols::{Body, EntryHash, FleetState, NodeId};
use serde::Serialize;

use crate::race;

/// One entry of the ledger.
#[derive(Debug, Clone, Serialize)]
pub struct LogRow {
    /// Its place.
    pub seq: u64,
    /// Who signed it.
    pub author: String,
    /// With which key.
    pub key: NodeId,
    /// What was done.
    pub verb: &'static str,
    /// In a few words.
    pub what: String,
    /// When, by the author's clock, in milliseconds since 1970.
    pub at: u64,
    /// Its hash.
    pub hash: EntryHash,
    /// On whose authority: those the right came through, the founder first, the author last. Empty for what needs no right
    /// that somebody gave: a founder's entries, and those that a member writes about itself.
    pub through: Vec<String>,
    /// The invite that it came by, and who made that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub invite: Option<InviteOf>,
    /// The coordinator that ordered it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ordered_by: Option<String>,
    /// The members, admins and declarations that it is about, by name.
    pub about: Vec<String>,
    /// A word for the record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// An invite, as a log shows it.
#[derive(Debug, Clone, Serialize)]
pub struct InviteOf {
    /// The invite's public key.
    pub invite: NodeId,
    /// The entry that made it.
    pub entry: u64,
    /// Who made it.
    pub by: String,
}

impl LogRow {
    /// The row of an entry. `state` is what it followed, or for a glance any later one: names and rights are those of
    /// then.
    pub fn new(verified: &VerifiedEntry, state: &FleetState) -> Self {
        let entry = verified.entry();
        let verb = entry.body.verb();
        let what = race::summary_in(&entry.body, state);
        let note = match &entry.body {
            Body::Publish(publish) => publish.note.clone(),
            _ => None,
        };
        let invite = match &entry.body {
            Body::Redeem(redeem) => state.invites().get(&redeem.invite).map(|open| InviteOf {
                invite: redeem.invite,
                entry: open.since,
                by: race::who(open.by, state),
            }),
            _ => None,
        };
        let mut through: Vec<String> = authority(&entry.body, entry.author, state)
            .map(|capability| capability.through.iter().map(|key| race::who(*key, state)).collect())
            .unwrap_or_default();
        if let Some(invite) = &invite {
            through.push(invite.by.clone());
        }
        let author = race::who(entry.author, state);
        if !through.is_empty() {
            through.push(author.clone());
        }
        Self {
            seq: entry.seq,
            author,
            key: entry.author,
            verb,
            what: what.strip_prefix(verb).map(|rest| rest.trim_start().to_owned()).unwrap_or(what),
            at: entry.at.0,
            hash: verified.hash(),
            through,
            invite,
            ordered_by: (entry.seq > 0).then(|| race::who(state.orderer(), state)),
            about: about(&entry.body, state),
            note,
        }
    }

    /// On whose authority, for a table: the hands that the right came through.
    pub fn authority(&self) -> String {
        self.through.join(" > ")
    }
}

/// What a body needs.
const fn needs(body: &Body) -> Option<Verb> {
    match body {
        Body::Publish(_) | Body::Withdraw(_) => Some(Verb::Publish),
        Body::Enroll(_) | Body::Invite(_) | Body::Quarantine(_) | Body::Release(_) => Some(Verb::Enroll),
        Body::Grant(_) | Body::Revoke(_) | Body::Appoint(_) | Body::Place(_) | Body::Checkpoint(_) => Some(Verb::Grant),
        Body::SetRecovery(_) => Some(Verb::Grant),
        Body::Genesis(_) | Body::Rotate(_) | Body::Redeem(_) | Body::Recover(_) => None,
    }
}

/// The right by which somebody could do this: of those that cover it, the one through the fewest hands.
fn authority<'a>(body: &Body, author: NodeId, state: &'a FleetState) -> Option<&'a Capability> {
    let verb = match body {
        Body::Revoke(revoke) if !state.admins().contains_key(&revoke.key) => Verb::Enroll,
        _ => needs(body)?,
    };
    let admin = state.admins().get(&author)?;
    let covers = |capability: &&Capability| match body {
        Body::Publish(publish) => capability.scopes.iter().all(|scope| {
            scope.kinds.iter().any(|kinds| kinds.matches(&publish.kind))
                && state.select(&publish.on).all(|(_, m)| scope.on.matches(m.name.as_str(), &m.labels))
        }),
        Body::Enroll(enroll) => {
            capability.scopes.iter().all(|scope| scope.on.matches(enroll.name.as_str(), &enroll.labels))
        }
        _ => true,
    };
    let rights = admin.capabilities.iter().filter(|capability| capability.verbs.contains(&verb));
    rights.filter(covers).min_by_key(|capability| capability.through.len())
}

fn about(body: &Body, state: &FleetState) -> Vec<String> {
    let mut about = match body {
        Body::Genesis(genesis) => {
            genesis.admins.iter().chain(&genesis.coordinators).map(|f| f.name.to_string()).collect()
        }
        Body::Grant(grant) => vec![grant.name.to_string()],
        Body::Revoke(revoke) => vec![race::who(revoke.key, state)],
        Body::Enroll(enroll) => {
            let old = state.members().get(&enroll.key).map(|member| member.name.to_string());
            let replaced = enroll.replaces.map(|key| race::who(key, state));
            [Some(enroll.name.to_string()), old, replaced].into_iter().flatten().collect()
        }
        Body::Rotate(_) => Vec::new(),
        Body::Quarantine(quarantine) => vec![race::who(quarantine.key, state)],
        Body::Release(release) => vec![race::who(release.key, state)],
        Body::Invite(invite) => invite.name.iter().map(ToString::to_string).collect(),
        Body::Redeem(redeem) => vec![redeem.name.to_string()],
        Body::Publish(publish) => {
            let nodes = state.select(&publish.on).map(|(_, member)| member.name.to_string());
            std::iter::once(publish.name.to_string()).chain(nodes).collect()
        }
        Body::Withdraw(withdraw) => vec![withdraw.name.to_string()],
        Body::Checkpoint(_) | Body::SetRecovery(_) => Vec::new(),
        Body::Appoint(appoint) => vec![race::who(appoint.coordinator, state)],
        Body::Place(place) => vec![race::who(place.coordinator, state)],
        Body::Recover(recover) => std::iter::once(recover.name.to_string())
            .chain(recover.revoke.iter().map(|key| race::who(*key, state)))
            .collect(),
    };
    about.dedup();
    about
}
