//! What a revocation takes away, and what of it can be brought back: read from the ledger before anything is signed.

use std::collections::{BTreeMap, BTreeSet};

use protocols::entry::{Enroll, Publish, Role, VerifiedEntry};
use protocols::{Body, DeclarationName, FleetState, Labels, Name, NodeId};
use serde::Serialize;

use crate::race::who;

/// What one entry takes away.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Loss {
    /// Admins who have no rights any more.
    pub admins: Vec<String>,
    /// Admins who lose some of theirs.
    pub reduced: Vec<String>,
    /// Members who leave.
    pub members: Vec<String>,
    /// Nodes that are set apart.
    pub quarantined: Vec<String>,
    /// Declarations that end.
    pub declarations: Vec<DeclarationName>,
    /// Invites that end.
    pub invites: usize,
    /// Whether the recovery keys end.
    pub recovery: bool,
}

/// Something that was done by a key that is void, and how to undo it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Repair {
    /// The entry that did it.
    pub entry: u64,
    /// What was done.
    pub what: String,
    /// The command that undoes it.
    pub command: String,
    /// The last good version, if what was done can be undone by publishing it.
    #[serde(skip)]
    pub publish: Option<(u64, Publish)>,
}

impl Loss {
    /// What `after` lacks of `before`.
    pub fn between(before: &FleetState, after: &FleetState) -> Self {
        let mut loss = Self::default();
        for (key, admin) in before.admins() {
            match after.admins().get(key) {
                None if after.successor(*key).is_none() => loss.admins.push(admin.name.to_string()),
                Some(left) if left.capabilities.len() < admin.capabilities.len() => {
                    loss.reduced.push(admin.name.to_string());
                }
                _ => {}
            }
        }
        for (key, member) in before.members() {
            if !after.members().contains_key(key) && after.successor(*key).is_none() {
                loss.members.push(member.name.to_string());
            } else if member.quarantine.is_none() && after.quarantine(*key).is_some() {
                loss.quarantined.push(member.name.to_string());
            }
        }
        loss.declarations =
            before.declarations().keys().filter(|n| !after.declarations().contains_key(*n)).cloned().collect();
        loss.invites = before.invites().keys().filter(|key| !after.invites().contains_key(key)).count();
        loss.recovery = before.recovery().is_some() && after.recovery().is_none();
        loss
    }

    /// One line for each kind of loss.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let mut named = |what: &str, names: &[String]| {
            if !names.is_empty() {
                lines.push(format!("{what}: {}", names.join(", ")));
            }
        };
        named("admins who lose every right", &self.admins);
        named("admins who lose some of their rights", &self.reduced);
        named("members removed", &self.members);
        named("nodes put into quarantine", &self.quarantined);
        let declarations: Vec<String> = self.declarations.iter().map(ToString::to_string).collect();
        named("declarations that end", &declarations);
        if self.invites > 0 {
            lines.push(format!("invites that end: {}", self.invites));
        }
        if self.recovery {
            lines.push("the recovery keys end".into());
        }
        lines
    }
}

/// From which entry on each key's word does not count, if `after` follows `before` by declaring `key` compromised.
fn void_words(before: &FleetState, after: &FleetState, keys: &[NodeId], since: u64) -> BTreeMap<NodeId, u64> {
    let mut void: BTreeMap<NodeId, u64> = keys.iter().map(|key| (*key, since)).collect();
    for (key, admin) in before.admins() {
        if !after.admins().contains_key(key) && !keys.contains(key) {
            void.insert(*key, admin.since);
        }
    }
    // What was signed before a rotation was signed by the same hand.
    for old in before.revoked().keys() {
        if let Some(from) = before.successor(*old).and_then(|new| void.get(&new).copied()) {
            void.insert(*old, from);
        }
    }
    void
}

/// What void words did that their revocation alone does not undo, oldest first.
pub fn repairs<'a>(
    entries: impl IntoIterator<Item = &'a VerifiedEntry>,
    before: &FleetState,
    after: &FleetState,
    keys: &[NodeId],
    since: u64,
) -> Vec<Repair> {
    let void = void_words(before, after, keys, since);
    // Also what somebody published by a right that turned out void, beside others that are not.
    let ended = before.declarations().values().filter(|d| !after.declarations().contains_key(&d.name));
    let ended: BTreeSet<u64> = ended.map(|d| d.generation).collect();
    let mut reader = Reader::default();
    for verified in entries {
        let entry = verified.entry();
        let is_void = void.get(&entry.author).is_some_and(|from| entry.seq >= *from) || ended.contains(&entry.seq);
        reader.read(entry.seq, &entry.body, is_void);
    }
    reader.finish(before, after)
}

/// A node as it was.
#[derive(Debug, Clone)]
struct Known {
    name: Name,
    labels: Labels,
    role: Role,
}

#[derive(Debug, Default)]
struct Reader {
    good: BTreeMap<DeclarationName, (u64, Publish)>,
    spoilt: BTreeMap<DeclarationName, (u64, &'static str)>,
    nodes: BTreeMap<NodeId, Known>,
    invites: BTreeMap<NodeId, Labels>,
    removed: Vec<(u64, NodeId)>,
    changed: BTreeMap<NodeId, (u64, Known)>,
}

impl Reader {
    fn read(&mut self, seq: u64, body: &Body, is_void: bool) {
        match body {
            Body::Publish(publish) if is_void => drop(self.spoilt.insert(publish.name.clone(), (seq, "replaced"))),
            Body::Withdraw(withdraw) if is_void => drop(self.spoilt.insert(withdraw.name.clone(), (seq, "withdrawn"))),
            Body::Publish(publish) => {
                self.spoilt.remove(&publish.name);
                self.good.insert(publish.name.clone(), (seq, publish.clone()));
            }
            Body::Withdraw(withdraw) => {
                self.spoilt.remove(&withdraw.name);
                self.good.remove(&withdraw.name);
            }
            Body::Invite(invite) => drop(self.invites.insert(invite.invite, invite.labels.clone())),
            Body::Redeem(redeem) => {
                let labels = self.invites.get(&redeem.invite).cloned().unwrap_or_default();
                self.nodes.insert(redeem.key, Known { name: redeem.name.clone(), labels, role: Role::Agent });
            }
            Body::Enroll(enroll) => self.enrolled(seq, enroll, is_void),
            Body::Revoke(revoke) if is_void => self.removed.push((seq, revoke.key)),
            Body::Rotate(_) | Body::Genesis(_) | Body::Grant(_) | Body::Revoke(_) | Body::Quarantine(_) => {}
            Body::Release(_) | Body::Checkpoint(_) | Body::Appoint(_) | Body::Place(_) => {}
            Body::Recover(_) | Body::SetRecovery(_) => {}
        }
    }

    fn enrolled(&mut self, seq: u64, enroll: &Enroll, is_void: bool) {
        if is_void {
            self.removed.extend(enroll.replaces.map(|old| (seq, old)));
            if let Some(known) = self.nodes.get(&enroll.key) {
                self.changed.entry(enroll.key).or_insert_with(|| (seq, known.clone()));
            }
            return;
        }
        self.changed.remove(&enroll.key);
        let known = Known { name: enroll.name.clone(), labels: enroll.labels.clone(), role: enroll.role };
        self.nodes.insert(enroll.key, known);
    }

    fn finish(self, before: &FleetState, after: &FleetState) -> Vec<Repair> {
        let mut repairs = Vec::new();
        for (name, (entry, how)) in self.spoilt {
            if let Some(good) = self.good.get(&name).filter(|_| !after.declarations().contains_key(&name)) {
                repairs.push(Repair {
                    entry,
                    what: format!("{name} was {how}; its last good version is that of entry {}", good.0),
                    command: format!("flt admin rollback {name} --to {}", good.0),
                    publish: Some(good.clone()),
                });
            }
        }
        let taken: BTreeSet<&str> = after.members().values().map(|m| m.name.as_str()).collect();
        for (entry, key) in self.removed {
            let repair = match self.nodes.get(&key) {
                Some(node) if taken.contains(node.name.as_str()) => continue,
                Some(Known { name, labels, role: Role::Agent }) => Repair {
                    entry,
                    what: format!("the node {name} was removed; its key is spent, and it needs a new one"),
                    command: format!("flt admin invite --name {name}{}", flags(labels)),
                    publish: None,
                },
                Some(Known { name, .. }) => Repair {
                    entry,
                    what: format!("the coordinator {name} was removed"),
                    command: format!("flt admin enroll KEY --name {name} --coordinator"),
                    publish: None,
                },
                None if before.invites().contains_key(&key) => continue,
                None => Repair {
                    entry,
                    what: format!("{} was revoked; if that was an admin, they need a new key", who(key, before)),
                    command: "flt admin grant --request REQUEST --role ROLE".into(),
                    publish: None,
                },
            };
            repairs.push(repair);
        }
        for (key, (entry, Known { name, labels, .. })) in self.changed {
            if after.quarantine(key).is_some() {
                repairs.push(Repair {
                    entry,
                    what: format!("the node {} was {name} before; it is in quarantine", who(key, after)),
                    command: format!("flt admin enroll {key} --name {name}{}", flags(&labels)),
                    publish: None,
                });
            }
        }
        repairs.sort_by_key(|repair| repair.entry);
        repairs
    }
}

/// Labels as flags of a command.
pub fn flags(labels: &Labels) -> String {
    let flag = |(key, value): (&Name, &String)| {
        if value.is_empty() { format!(" --label {key}") } else { format!(" --label {key}={value}") }
    };
    labels.iter().map(flag).collect()
}

#[cfg(test)]
mod tests;
