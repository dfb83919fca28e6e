//! One entry's effect on the state. Everything is checked before anything is changed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::authority::CAPABILITIES_PER_GIVER_MAX;
use super::{Admin, Capability, Declaration, FleetState, Member, OpenInvite, Refusal};
use crate::entry::body::{ARTIFACTS_MAX, FOUNDERS_MAX, LABEL_BYTES_MAX, LABELS_MAX, NOTE_BYTES_MAX, PAYLOAD_BYTES_MAX};
use crate::entry::{
    Body, Enroll, Entry, Founder, Genesis, Grant, Head, Invite, Publish, Redeem, Revoke, Role, Verb, VerifiedEntry,
};
use crate::ids::{FleetId, Millis, Name, NodeId};
use crate::selector::Labels;

/// How many nodes one invite may let in.
const INVITE_USES_MAX: u32 = 10_000;
/// The most declarations in force at once.
const DECLARATIONS_MAX: usize = 10_000;
/// The latest moment an entry may state: the end of the year 9999.
const AT_MAX: Millis = Millis(253_402_300_799_999);
/// How far one entry of an admin with limited rights may move the ledger's time.
const STEP_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// How far ahead of a coordinator's clock an entry may be signed.
const AHEAD_MAX: Duration = Duration::from_secs(10 * 60);

pub(super) fn found(verified: &VerifiedEntry) -> Result<FleetState, Refusal> {
    let entry = verified.entry();
    let Body::Genesis(genesis) = &entry.body else {
        return Err(Refusal::Genesis("the ledger's first entry is not a genesis entry".into()));
    };
    if entry.seq != 0 || entry.prev.is_some() || entry.fleet.is_some() {
        return Err(Refusal::Genesis("a genesis entry stands at place 0 and follows nothing".into()));
    }
    check_at(entry.at)?;
    check_genesis(genesis, entry.author)?;
    let admin = |f: &Founder| {
        let admin =
            Admin { name: f.name.clone(), capabilities: vec![Capability::everything()], given_by: None, since: 0 };
        (f.key, admin)
    };
    let member = |f: &Founder| {
        let member =
            Member { name: f.name.clone(), role: Role::Coordinator, labels: Labels::new(), since: 0, invite: None };
        (f.key, member)
    };
    Ok(FleetState {
        fleet: FleetId::from_bytes(*verified.hash().as_bytes()),
        name: genesis.name.clone(),
        head: Head { seq: 0, hash: verified.hash() },
        time: entry.at,
        admins: genesis.admins.iter().map(admin).collect(),
        members: genesis.coordinators.iter().map(member).collect(),
        invites: BTreeMap::new(),
        declarations: BTreeMap::new(),
        revoked: BTreeMap::new(),
    })
}

fn check_genesis(genesis: &Genesis, author: NodeId) -> Result<(), Refusal> {
    let bad = |why: &str| Err(Refusal::Genesis(format!("the genesis entry {why}")));
    if !genesis.admins.iter().any(|a| a.key == author) {
        return bad("is not signed by one of the admins it names");
    }
    if genesis.coordinators.is_empty() {
        return bad("names no coordinator");
    }
    if genesis.admins.len() > FOUNDERS_MAX || genesis.coordinators.len() > FOUNDERS_MAX {
        return bad("names more than 32 admins or coordinators");
    }
    let mut keys: Vec<NodeId> = genesis.admins.iter().chain(&genesis.coordinators).map(|f| f.key).collect();
    if keys.iter().any(|key| !key.is_key()) {
        return bad("names a key that is no ed25519 key");
    }
    keys.sort_unstable();
    if keys.windows(2).any(|pair| pair[0] == pair[1]) {
        return bad("names one key twice; admin and coordinator need keys of their own");
    }
    let mut names: Vec<&Name> = genesis.coordinators.iter().map(|f| &f.name).collect();
    names.sort_unstable();
    if names.windows(2).any(|pair| pair[0] == pair[1]) {
        return bad("names two coordinators alike");
    }
    let mut names: Vec<&Name> = genesis.admins.iter().map(|f| &f.name).collect();
    names.sort_unstable();
    if names.windows(2).any(|pair| pair[0] == pair[1]) {
        return bad("names two admins alike");
    }
    Ok(())
}

pub(super) fn apply(state: &mut FleetState, verified: &VerifiedEntry) -> Result<(), Refusal> {
    let entry = verified.entry();
    if entry.fleet != Some(state.fleet) {
        let found = entry.fleet.map_or_else(|| "none".to_owned(), |f| f.to_string());
        return Err(Refusal::OtherFleet { found, expected: state.fleet });
    }
    if entry.prev != Some(state.head.hash) || state.head.seq.checked_add(1) != Some(entry.seq) {
        return Err(Refusal::OutOfPlace { expected: state.head.seq, found: entry.seq.saturating_sub(1) });
    }
    if let Some(by) = state.revoked.get(&entry.author) {
        return Err(Refusal::Revoked { key: entry.author, by: *by });
    }
    check_at(entry.at)?;
    let time = state.time_after(entry);
    match &entry.body {
        Body::Genesis(_) => return Err(Refusal::Genesis("a ledger has only one genesis entry".into())),
        Body::Grant(grant) => state.grant(entry, grant)?,
        Body::Revoke(revoke) => state.revoke(entry, revoke)?,
        Body::Enroll(enroll) => state.enroll(entry, enroll)?,
        Body::Invite(invite) => state.invite(entry, invite)?,
        Body::Redeem(redeem) => state.redeem(entry, redeem)?,
        Body::Publish(publish) => state.publish(entry, publish)?,
        Body::Withdraw(withdraw) => {
            let Some(old) = state.declarations.get(&withdraw.name) else {
                return Err(Refusal::NoSuchDeclaration(withdraw.name.clone()));
            };
            if !state.may_replace(entry.author, old, entry.at) {
                return Err(state.not_allowed(entry.author, format!("withdraw `{}`", withdraw.name)));
            }
            state.declarations.remove(&withdraw.name);
        }
        Body::Checkpoint(checkpoint) => {
            if !state.is_coordinator(entry.author) && !state.may(entry.author, Verb::Grant, entry.at) {
                return Err(state.not_allowed(entry.author, "write a checkpoint".into()));
            }
            if checkpoint.state != state.digest() {
                return Err(Refusal::WrongCheckpoint);
            }
        }
    }
    state.head = Head { seq: entry.seq, hash: verified.hash() };
    state.time = time;
    Ok(())
}

impl FleetState {
    /// Whether an entry signed at `at` may be taken by a coordinator whose clock says `now`.
    ///
    /// The state cannot know what time it is. A coordinator asks this before it appends what an admin sent, so that
    /// no wrong clock and no malice ends every right and every invite that expires.
    ///
    /// # Errors
    /// If the entry is signed in the future.
    pub fn check_clock(&self, at: Millis, now: Millis) -> Result<(), Refusal> {
        if at > now.plus(AHEAD_MAX) && at > self.time {
            let ahead = at.since(now).as_secs();
            return Err(Refusal::invalid("the entry", format!("is signed {ahead} s in the future: check the clocks")));
        }
        Ok(())
    }

    /// The ledger's time after an entry. Whoever may do everything sets it; others move it by a day at most, and
    /// coordinators not at all: by moving it, one could end rights that one may not take.
    fn time_after(&self, entry: &Entry) -> Millis {
        let reach = match self.admins.get(&entry.author) {
            Some(_) if self.is_root(entry.author) => entry.at,
            Some(_) => entry.at.min(self.time.plus(STEP_MAX)),
            None => self.time,
        };
        self.time.max(reach)
    }

    fn not_allowed(&self, who: NodeId, what: String) -> Refusal {
        let name = self.admins.get(&who).map(|a| &a.name).or_else(|| self.members.get(&who).map(|m| &m.name));
        match name {
            Some(name) => Refusal::NotAllowed { who: name.clone(), what },
            None => Refusal::UnknownAuthor(who),
        }
    }

    fn grant(&mut self, entry: &Entry, grant: &Grant) -> Result<(), Refusal> {
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
        let Some(capability) = self.delegate(entry.author, grant, entry.at)? else {
            let verbs = grant.verbs.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            return Err(self.not_allowed(entry.author, format!("grant {verbs}")));
        };
        let ended = |c: &Capability| c.expires().is_some_and(|end| end <= self.time);
        let old: Vec<Capability> = self.admins.get(&grant.to).map_or_else(Vec::new, |a| a.capabilities.clone());
        let old: Vec<Capability> = old.into_iter().filter(|c| !ended(c)).collect();
        let of_giver = old.iter().filter(|c| c.through.last() == Some(&entry.author)).count();
        if !old.contains(&capability) && of_giver >= CAPABILITIES_PER_GIVER_MAX {
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
        if !admin.capabilities.contains(&capability) {
            admin.capabilities.push(capability);
        }
        Ok(())
    }

    fn revoke(&mut self, entry: &Entry, revoke: &Revoke) -> Result<(), Refusal> {
        check_note("reason", Some(&revoke.reason))?;
        if let Some(invite) = self.invites.get(&revoke.key) {
            if !self.may_uninvite(entry.author, invite, entry.at) {
                return Err(self.not_allowed(entry.author, "withdraw this invite".into()));
            }
            self.invites.remove(&revoke.key);
            self.revoked.insert(revoke.key, entry.seq);
            return Ok(());
        }
        if let Some(member) = self.members.get(&revoke.key) {
            let allowed = match member.role {
                Role::Agent => {
                    self.may_enroll(entry.author, Some(member.name.as_str()), &member.labels, entry.at).is_some()
                }
                Role::Coordinator => self.may_everywhere(entry.author, Verb::Grant, entry.at),
            };
            if !allowed {
                return Err(self.not_allowed(entry.author, format!("remove `{}`", member.name)));
            }
            if member.role == Role::Coordinator && self.with_role(Role::Coordinator).count() == 1 {
                return Err(Refusal::invalid("key", "is that of the only coordinator"));
            }
            self.members.remove(&revoke.key);
        } else if let Some(admin) = self.admins.get(&revoke.key) {
            if !self.may_revoke_admin(entry.author, revoke.key, entry.at) {
                return Err(self.not_allowed(entry.author, format!("revoke `{}`", admin.name)));
            }
            if !self.admins.iter().any(|(key, a)| *key != revoke.key && a.is_root()) {
                return Err(Refusal::LastAdmin);
            }
            self.admins.remove(&revoke.key);
            // An invite is its maker's standing word: whoever holds the secret would join in their name.
            let theirs: Vec<NodeId> =
                self.invites.iter().filter(|(_, i)| i.by == revoke.key).map(|(key, _)| *key).collect();
            for invite in theirs {
                self.invites.remove(&invite);
                self.revoked.insert(invite, entry.seq);
            }
        } else {
            return Err(Refusal::NoSuchKey(revoke.key));
        }
        self.revoked.insert(revoke.key, entry.seq);
        Ok(())
    }

    fn enroll(&mut self, entry: &Entry, enroll: &Enroll) -> Result<(), Refusal> {
        check_labels(&enroll.labels)?;
        self.check_new_key(enroll.key)?;
        let what = format!("enroll `{}`", enroll.name);
        match enroll.role {
            Role::Agent => {
                let now = entry.at;
                let old = self.members.get(&enroll.key);
                let covers_old =
                    old.is_none_or(|m| self.may_enroll(entry.author, Some(m.name.as_str()), &m.labels, now).is_some());
                let covers_new =
                    self.may_enroll(entry.author, Some(enroll.name.as_str()), &enroll.labels, now).is_some();
                if !covers_old || !covers_new {
                    return Err(self.not_allowed(entry.author, what));
                }
            }
            Role::Coordinator => {
                if !self.may_everywhere(entry.author, Verb::Grant, entry.at) {
                    return Err(self.not_allowed(entry.author, what));
                }
            }
        }
        self.check_free(enroll.key, &enroll.name, enroll.role)?;
        let since = self.members.get(&enroll.key).map_or(entry.seq, |m| m.since);
        let invite = self.members.get(&enroll.key).and_then(|m| m.invite);
        let member =
            Member { name: enroll.name.clone(), role: enroll.role, labels: enroll.labels.clone(), since, invite };
        self.members.insert(enroll.key, member);
        Ok(())
    }

    fn invite(&mut self, entry: &Entry, invite: &Invite) -> Result<(), Refusal> {
        check_labels(&invite.labels)?;
        if invite.uses == 0 || invite.uses > INVITE_USES_MAX {
            return Err(Refusal::invalid("uses", format!("may be 1 to {INVITE_USES_MAX}")));
        }
        if invite.name.is_some() && invite.uses != 1 {
            return Err(Refusal::invalid("uses", "must be 1 for an invite with a name"));
        }
        if !invite.invite.is_key() || self.knows(invite.invite) || self.invites.contains_key(&invite.invite) {
            return Err(Refusal::invalid("invite", "is not a fresh key"));
        }
        if let Some(by) = self.revoked.get(&invite.invite) {
            return Err(Refusal::Revoked { key: invite.invite, by: *by });
        }
        let name = invite.name.as_ref().map(Name::as_str);
        let Some(capability) = self.may_enroll(entry.author, name, &invite.labels, entry.at) else {
            return Err(self.not_allowed(entry.author, "invite nodes with these labels".into()));
        };
        let open = OpenInvite {
            name: invite.name.clone(),
            labels: invite.labels.clone(),
            expires: capability.expires().map_or(invite.expires, |end| end.min(invite.expires)),
            uses_left: invite.uses,
            by: entry.author,
            within: capability.within(),
        };
        self.invites.insert(invite.invite, open);
        Ok(())
    }

    fn redeem(&mut self, entry: &Entry, redeem: &Redeem) -> Result<(), Refusal> {
        if !self.is_coordinator(entry.author) {
            return Err(self.not_allowed(entry.author, "redeem invites".into()));
        }
        let invite = self.redeemable(redeem, entry.at)?;
        let member = Member {
            name: redeem.name.clone(),
            role: Role::Agent,
            labels: invite.labels.clone(),
            since: entry.seq,
            invite: Some(redeem.invite),
        };
        if let Some(open) = self.invites.get_mut(&redeem.invite) {
            open.uses_left = open.uses_left.saturating_sub(1);
        }
        self.members.insert(redeem.key, member);
        Ok(())
    }

    /// The invite that a request would redeem at `now`; a coordinator asks before it signs.
    ///
    /// # Errors
    /// A [`Refusal`] that says what is wrong with the request.
    pub fn redeemable(&self, redeem: &Redeem, now: Millis) -> Result<&OpenInvite, Refusal> {
        let invite = self.invites.get(&redeem.invite).ok_or(Refusal::NoSuchInvite)?;
        if !redeem.verifies(self.fleet) {
            return Err(Refusal::InviteUnproven);
        }
        if now.max(self.time) >= invite.expires {
            return Err(Refusal::InviteExpired);
        }
        if invite.uses_left == 0 {
            return Err(Refusal::InviteUsed);
        }
        if let Some(name) = invite.name.as_ref().filter(|name| **name != redeem.name) {
            return Err(Refusal::InviteForOther(name.clone()));
        }
        if !invite.within.iter().all(|s| s.matches(redeem.name.as_str(), &invite.labels)) {
            let what = "a name that is outside what the invite's maker may enroll";
            return Err(Refusal::invalid("name", format!("`{}` is {what}", redeem.name)));
        }
        self.check_new_key(redeem.key)?;
        if let Some(member) = self.members.get(&redeem.key) {
            return Err(Refusal::KeyTaken { key: redeem.key, what: format!("the {} `{}`", member.role, member.name) });
        }
        self.check_free(redeem.key, &redeem.name, Role::Agent)?;
        Ok(invite)
    }

    fn publish(&mut self, entry: &Entry, publish: &Publish) -> Result<(), Refusal> {
        publish.policy.check().map_err(|e| Refusal::invalid(format!("`{}`:", publish.name), e.to_string()))?;
        check_note("note", publish.note.as_deref())?;
        if publish.payload.get().len() > PAYLOAD_BYTES_MAX {
            return Err(Refusal::invalid("payload", format!("has more than {PAYLOAD_BYTES_MAX} bytes")));
        }
        if publish.artifacts.len() > ARTIFACTS_MAX {
            return Err(Refusal::invalid("artifacts", format!("number more than {ARTIFACTS_MAX}")));
        }
        let within = self
            .may_publish(entry.author, &publish.kind, &publish.on, entry.at)
            .map_err(|what| self.not_allowed(entry.author, what))?;
        if let Some(old) = self.declarations.get(&publish.name) {
            if !self.may_replace(entry.author, old, entry.at) {
                return Err(self.not_allowed(entry.author, format!("replace `{}`", publish.name)));
            }
        } else if self.declarations.len() >= DECLARATIONS_MAX {
            return Err(Refusal::invalid("publish", format!("exceeds {DECLARATIONS_MAX} declarations in force")));
        }
        // The newest of one subject stands before the others, also before those of kinds its author has no right to.
        let others = self.declarations.values().filter(|d| d.subject == publish.subject && d.kind != publish.kind);
        for other in others.filter(|d| d.name != publish.name) {
            if !self.may_publish_kind(entry.author, &other.kind, entry.at) {
                let what = format!("take the subject `{}` from `{}`", other.subject, other.name);
                return Err(self.not_allowed(entry.author, what));
            }
        }
        let declaration = Declaration {
            name: publish.name.clone(),
            generation: entry.seq,
            on: publish.on.clone(),
            within,
            kind: publish.kind.clone(),
            subject: publish.subject.clone(),
            policy: publish.policy.clone(),
            payload: publish.payload.clone(),
            artifacts: publish.artifacts.clone(),
            author: entry.author,
            at: entry.at,
            note: publish.note.clone(),
        };
        self.declarations.insert(publish.name.clone(), Arc::new(declaration));
        Ok(())
    }

    /// A key that may become somebody: a point on the curve, and never revoked.
    fn check_new_key(&self, key: NodeId) -> Result<(), Refusal> {
        if !key.is_key() {
            return Err(Refusal::invalid("key", "is no ed25519 public key"));
        }
        if self.invites.contains_key(&key) {
            return Err(Refusal::KeyTaken { key, what: "that of an invite".into() });
        }
        match self.revoked.get(&key) {
            Some(by) => Err(Refusal::Revoked { key, by: *by }),
            None => Ok(()),
        }
    }

    fn check_free(&self, key: NodeId, name: &Name, role: Role) -> Result<(), Refusal> {
        if let Some(admin) = self.admins.get(&key) {
            return Err(Refusal::KeyTaken { key, what: format!("the admin `{}`", admin.name) });
        }
        if let Some(member) = self.members.get(&key).filter(|m| m.role != role) {
            return Err(Refusal::KeyTaken { key, what: format!("the {} `{}`", member.role, member.name) });
        }
        if self.members.iter().any(|(other, m)| m.name == *name && *other != key) {
            return Err(Refusal::NameTaken(name.clone()));
        }
        Ok(())
    }
}

fn check_at(at: Millis) -> Result<(), Refusal> {
    if at > AT_MAX {
        return Err(Refusal::invalid("at", "is after the year 9999"));
    }
    Ok(())
}

fn check_labels(labels: &Labels) -> Result<(), Refusal> {
    if labels.len() > LABELS_MAX {
        return Err(Refusal::invalid("labels", format!("number more than {LABELS_MAX}")));
    }
    for (key, value) in labels {
        let odd = |c: char| !(c.is_ascii_alphanumeric() || "-_./:+".contains(c));
        if value.len() > LABEL_BYTES_MAX || value.contains(odd) {
            let why = format!("may hold letters, digits and -_./:+, at most {LABEL_BYTES_MAX}");
            return Err(Refusal::invalid(format!("the value of label `{key}`"), why));
        }
    }
    Ok(())
}

fn check_note(field: &str, note: Option<&str>) -> Result<(), Refusal> {
    match note {
        Some(text) if text.len() > NOTE_BYTES_MAX || text.contains(|c: char| c.is_control()) => {
            Err(Refusal::invalid(field, format!("may have {NOTE_BYTES_MAX} bytes and no control characters")))
        }
        _ => Ok(()),
    }
}
