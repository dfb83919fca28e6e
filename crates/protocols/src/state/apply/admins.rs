//! Who may sign: grants, revocations, and recovery when no admin's key can be trusted.

use super::check_note;
use crate::entry::body::{APPROVALS_MAX, RECOVER_DOMAIN, RECOVER_REVOKES_MAX, SET_RECOVERY_DOMAIN};
use crate::entry::{Entry, Grant, Recover, Revoke, Role, SetRecovery, Verb};
use crate::ids::NodeId;
use crate::state::authority::CAPABILITIES_PER_GIVER_MAX;
use crate::state::{Admin, Capability, FleetState, RecoverySet, Refusal};

impl FleetState {
    pub(super) fn grant(&mut self, entry: &Entry, grant: &Grant) -> Result<(), Refusal> {
        if grant.verbs.is_empty() || grant.kinds.is_empty() || grant.kinds.len() > 64 {
            return Err(Refusal::invalid("grant", "needs at least one verb and 1 to 64 kinds"));
        }
        self.check_new_key(grant.to)?;
        if let Some(member) = self.members.get(&grant.to) {
            return Err(Refusal::KeyTaken { key: grant.to, what: format!("the {} `{}`", member.role, member.name) });
        }
        if self.admins.iter().any(|(key, a)| a.name == grant.name && *key != grant.to) {
            return Err(Refusal::NameTaken(grant.name.clone()));
        }
        let Some(capability) = self.delegate(entry, grant)? else {
            let verbs = grant.verbs.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            return Err(self.not_allowed(entry.author, format!("grant {verbs}")));
        };
        let ended = |c: &Capability| c.expires().is_some_and(|end| end <= self.time);
        let old: Vec<Capability> = self.admins.get(&grant.to).map_or_else(Vec::new, |a| a.capabilities.clone());
        let old: Vec<Capability> = old.into_iter().filter(|c| !ended(c)).collect();
        let of_giver = old.iter().filter(|c| c.through.last() == Some(&entry.author)).count();
        if !old.iter().any(|c| c.is_like(&capability)) && of_giver >= CAPABILITIES_PER_GIVER_MAX {
            let why = format!("gives `{}` more than {CAPABILITIES_PER_GIVER_MAX} rights of one giver", grant.name);
            return Err(Refusal::invalid("grant", why));
        }
        let admin = self.admins.entry(grant.to).or_insert_with(|| Admin {
            name: grant.name.clone(),
            capabilities: Vec::new(),
            given_by: Some(entry.author),
            since: entry.seq,
        });
        admin.capabilities = old;
        if !admin.capabilities.iter().any(|c| c.is_like(&capability)) {
            admin.capabilities.push(capability);
        }
        Ok(())
    }

    pub(super) fn revoke(&mut self, entry: &Entry, revoke: &Revoke) -> Result<(), Refusal> {
        check_note("reason", Some(&revoke.reason))?;
        if let Some(new) = self.rotated.get(&revoke.key) {
            return Err(Refusal::invalid("key", format!("was rotated to {new}: revoke that one")));
        }
        let since = match revoke.compromised_since {
            Some(since) if since == 0 || since > self.head.seq => {
                let why = format!("must be a place in the ledger, 1 to {}", self.head.seq);
                return Err(Refusal::invalid("compromised_since", why));
            }
            since => since,
        };
        let Some(since) = since else { return self.revoke_key(entry, revoke.key) };
        // It undoes more than whoever has limited rights may undo, also where the key is their own: what came of the
        // key's words has been others' to change since.
        if !self.may_everywhere(entry.author, Verb::Grant, entry.at) {
            return Err(self.not_allowed(entry.author, "declare a key compromised".into()));
        }
        // What is void is found only by going through everything, and may turn out to leave nobody: so on a copy.
        let mut after = self.clone();
        if !after.revoked.contains_key(&revoke.key) {
            after.revoke_key(entry, revoke.key)?;
        }
        after.void(entry, &[revoke.key], since)?;
        *self = after;
        Ok(())
    }

    fn revoke_key(&mut self, entry: &Entry, key: NodeId) -> Result<(), Refusal> {
        if let Some(invite) = self.invites.get(&key) {
            if !self.may_uninvite(entry.author, invite, entry.at) {
                return Err(self.not_allowed(entry.author, "withdraw this invite".into()));
            }
            self.invites.remove(&key);
        } else if let Some(member) = self.members.get(&key) {
            let allowed = match member.role {
                Role::Agent => {
                    self.may_enroll(entry.author, Some(member.name.as_str()), &member.labels, entry.at).is_some()
                }
                Role::Coordinator => self.may_everywhere(entry.author, Verb::Grant, entry.at),
            };
            if !allowed {
                return Err(self.not_allowed(entry.author, format!("remove `{}`", member.name)));
            }
            self.check_dispensable(key)?;
            self.members.remove(&key);
        } else if let Some(admin) = self.admins.get(&key) {
            if !self.may_revoke_admin(entry.author, key, entry.at) {
                return Err(self.not_allowed(entry.author, format!("revoke `{}`", admin.name)));
            }
            if !self.admins.iter().any(|(other, a)| *other != key && a.is_root()) {
                return Err(Refusal::LastAdmin);
            }
            self.drop_admin(entry, key);
        } else {
            return Err(Refusal::NoSuchKey(key));
        }
        self.revoked.insert(key, entry.seq);
        Ok(())
    }

    /// Takes an admin's rights. An invite is its maker's standing word: whoever holds the secret would join in their
    /// name, so theirs end too.
    fn drop_admin(&mut self, entry: &Entry, key: NodeId) {
        self.admins.remove(&key);
        let theirs: Vec<NodeId> = self.invites.iter().filter(|(_, i)| i.by == key).map(|(key, _)| *key).collect();
        for invite in theirs {
            self.invites.remove(&invite);
            self.revoked.insert(invite, entry.seq);
        }
        self.revoked.insert(key, entry.seq);
    }

    /// The fleet can do without this coordinator; anybody else it can do without anyway.
    pub(super) fn check_dispensable(&self, key: NodeId) -> Result<(), Refusal> {
        if !self.is_coordinator(key) {
            return Ok(());
        }
        if self.with_role(Role::Coordinator).count() == 1 {
            return Err(Refusal::invalid("key", "is that of the only coordinator"));
        }
        if self.orderer == key {
            return Err(Refusal::invalid(
                "key",
                "is that of the coordinator that orders the ledger: appoint another one first",
            ));
        }
        Ok(())
    }

    pub(super) fn recover(&mut self, entry: &Entry, recover: &Recover) -> Result<(), Refusal> {
        let Some(set) = &self.recovery else { return Err(Refusal::NoRecovery) };
        if recover.approvals.len() > APPROVALS_MAX || recover.revoke.len() > RECOVER_REVOKES_MAX {
            return Err(Refusal::invalid("recover", "has too many approvals, or revokes too many keys"));
        }
        let message = recover.message(self.fleet, set.since, entry.author);
        let approved = set.recovery.approved(RECOVER_DOMAIN, &message, &recover.approvals);
        if approved < usize::from(set.recovery.threshold) {
            return Err(Refusal::NotApproved { approved, needed: set.recovery.threshold });
        }
        self.check_new_key(entry.author)?;
        if set.recovery.keys.iter().any(|k| k.key == entry.author) {
            return Err(Refusal::KeyTaken { key: entry.author, what: "a recovery key".into() });
        }
        if let Some(member) = self.members.get(&entry.author) {
            return Err(Refusal::KeyTaken {
                key: entry.author,
                what: format!("the {} `{}`", member.role, member.name),
            });
        }
        if self
            .admins
            .iter()
            .any(|(key, a)| a.name == recover.name && *key != entry.author && !recover.revoke.contains(key))
        {
            return Err(Refusal::NameTaken(recover.name.clone()));
        }
        if recover.compromised_since.is_some_and(|since| since == 0 || since > self.head.seq) {
            return Err(Refusal::invalid("compromised_since", "is no place in the ledger"));
        }
        let mut after = self.clone();
        for key in &recover.revoke {
            if *key == entry.author || !after.admins.contains_key(key) {
                return Err(Refusal::NoSuchKey(*key));
            }
            after.drop_admin(entry, *key);
        }
        let (name, since) = (recover.name.clone(), entry.seq);
        let admin = Admin { name, capabilities: vec![Capability::everything()], given_by: None, since };
        after.admins.insert(entry.author, admin);
        if let Some(since) = recover.compromised_since {
            after.void(entry, &recover.revoke, since)?;
        }
        *self = after;
        Ok(())
    }

    pub(super) fn set_recovery(&mut self, entry: &Entry, set: &SetRecovery) -> Result<(), Refusal> {
        if !self.is_root(entry.author) {
            return Err(self.not_allowed(entry.author, "set recovery keys".into()));
        }
        if set.approvals.len() > APPROVALS_MAX {
            return Err(Refusal::invalid("approvals", format!("number more than {APPROVALS_MAX}")));
        }
        if let Some(old) = &self.recovery {
            let message = set.message(self.fleet, old.since);
            let approved = old.recovery.approved(SET_RECOVERY_DOMAIN, &message, &set.approvals);
            if approved < usize::from(old.recovery.threshold) {
                return Err(Refusal::NotApproved { approved, needed: old.recovery.threshold });
            }
        }
        if let Some(recovery) = &set.recovery {
            recovery.check().map_err(|why| Refusal::invalid("recovery", why))?;
            for founder in &recovery.keys {
                self.check_new_key(founder.key)?;
                if self.knows(founder.key) {
                    let what = "in daily use, and a recovery key is kept apart".into();
                    return Err(Refusal::KeyTaken { key: founder.key, what });
                }
            }
        }
        let (since, by) = (entry.seq, entry.author);
        self.recovery = set.recovery.clone().map(|recovery| RecoverySet { recovery, since, by });
        Ok(())
    }
}
