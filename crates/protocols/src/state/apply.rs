//! One entry's effect on the state. Everything is checked before anything is changed.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Act, Admin, Capability, FleetState, Member, OwnEntries, RecoverySet, Refusal};
use crate::entry::body::{FOUNDERS_MAX, LABEL_BYTES_MAX, LABELS_MAX, NOTE_BYTES_MAX};
use crate::entry::{Body, Entry, Founder, Genesis, Head, Role, Verb, VerifiedEntry};
use crate::ids::{FleetId, Millis, Name, NodeId};
use crate::selector::Labels;

mod admins;
mod declarations;
mod members;
mod void;

/// The latest moment an entry may state: the end of the year 9999.
const AT_MAX: Millis = Millis(253_402_300_799_999);
/// How far one entry of an admin with limited rights may move the ledger's time.
const STEP_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// How many entries a member may write itself between two of admins.
const OWN_ENTRIES_MAX: u32 = 16;
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
        let member = Member {
            name: f.name.clone(),
            role: Role::Coordinator,
            labels: Labels::new(),
            since: 0,
            invite: None,
            voucher: Act { seq: 0, by: entry.author },
            changed: None,
            quarantine: None,
            place: None,
            own: OwnEntries::default(),
        };
        (f.key, member)
    };
    let Some(orderer) = genesis.coordinators.first().map(|f| f.key) else {
        return Err(Refusal::Genesis("the genesis entry names no coordinator".into()));
    };
    let recovery = genesis.recovery.clone();
    Ok(FleetState {
        fleet: FleetId::from_bytes(*verified.hash().as_bytes()),
        name: genesis.name.clone(),
        head: Head { seq: 0, hash: verified.hash() },
        time: entry.at,
        admins: genesis.admins.iter().map(admin).collect(),
        members: genesis.coordinators.iter().map(member).collect(),
        orderer,
        supervised: 0,
        recovery: recovery.map(|recovery| RecoverySet { recovery, since: 0, by: entry.author }),
        invites: BTreeMap::new(),
        declarations: BTreeMap::new(),
        revoked: BTreeMap::new(),
        rotated: BTreeMap::new(),
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
    if let Some(recovery) = &genesis.recovery {
        if let Err(why) = recovery.check() {
            return bad(&format!("names recovery keys; that {why}"));
        }
        keys.extend(recovery.keys.iter().map(|f| f.key));
    }
    keys.sort_unstable();
    if keys.windows(2).any(|pair| pair[0] == pair[1]) {
        return bad("names one key twice; admin, coordinator and recovery need keys of their own");
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
    if entry.not_after.is_some_and(|end| state.time.max(entry.at) > end) {
        return Err(Refusal::Expired);
    }
    let time = state.time_after(entry);
    let own = state.own_entry(entry)?;
    match &entry.body {
        Body::Genesis(_) => return Err(Refusal::Genesis("a ledger has only one genesis entry".into())),
        Body::Grant(grant) => state.grant(entry, grant)?,
        Body::Revoke(revoke) => state.revoke(entry, revoke)?,
        Body::Recover(recover) => state.recover(entry, recover)?,
        Body::SetRecovery(set) => state.set_recovery(entry, set)?,
        Body::Enroll(enroll) => state.enroll(entry, enroll)?,
        Body::Invite(invite) => state.invite(entry, invite)?,
        Body::Redeem(redeem) => state.redeem(entry, redeem)?,
        Body::Rotate(rotate) => state.rotate(entry, rotate)?,
        Body::Quarantine(quarantine) => state.isolate(entry, quarantine.key, Some(&quarantine.reason))?,
        Body::Release(release) => state.isolate(entry, release.key, None)?,
        Body::Appoint(appoint) => state.appoint(entry, appoint)?,
        Body::Place(place) => state.place(entry, place)?,
        Body::Publish(publish) => state.publish(entry, publish)?,
        Body::Withdraw(withdraw) => state.withdraw(entry, withdraw)?,
        Body::Checkpoint(checkpoint) => {
            if !state.is_coordinator(entry.author) && !state.may(entry.author, Verb::Grant, entry.at) {
                return Err(state.not_allowed(entry.author, "write a checkpoint".into()));
            }
            if checkpoint.state != state.digest() {
                return Err(Refusal::WrongCheckpoint);
            }
        }
    }
    match own {
        Some(own) => state.count_own(entry, own),
        None if state.admins.contains_key(&entry.author) => state.supervised = entry.seq,
        None => {}
    }
    state.head = Head { seq: entry.seq, hash: verified.hash() };
    state.time = time;
    Ok(())
}

impl FleetState {
    /// Whether an entry may be taken by a coordinator whose clock says `now`.
    ///
    /// The state cannot know what time it is. A coordinator asks this before it appends what an admin sent, so that
    /// no wrong clock and no malice ends every right and every invite that expires.
    ///
    /// # Errors
    /// If the entry is signed in the future, or its `not_after` is over.
    pub fn check_clock(&self, entry: &Entry, now: Millis) -> Result<(), Refusal> {
        let at = entry.at;
        if entry.not_after.is_some_and(|end| now > end) {
            return Err(Refusal::Expired);
        }
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

    /// What a member's count of own entries is after this one. Redemptions are bounded by the invites' uses, and do not
    /// count; an admin's entries do not, either.
    fn own_entry(&self, entry: &Entry) -> Result<Option<OwnEntries>, Refusal> {
        if matches!(entry.body, Body::Redeem(_)) {
            return Ok(None);
        }
        let Some(member) = self.members.get(&entry.author) else { return Ok(None) };
        let before = if member.own.after == self.supervised { member.own.count } else { 0 };
        if before >= OWN_ENTRIES_MAX {
            return Err(Refusal::TooMany { by: member.name.clone(), most: OWN_ENTRIES_MAX });
        }
        Ok(Some(OwnEntries { after: self.supervised, count: before + 1 }))
    }

    fn count_own(&mut self, entry: &Entry, own: OwnEntries) {
        // A key that rotated itself has its record under the new one by now.
        let key = self.rotated.get(&entry.author).copied().unwrap_or(entry.author);
        if let Some(member) = self.members.get_mut(&key) {
            member.own = own;
        }
    }

    fn not_allowed(&self, who: NodeId, what: String) -> Refusal {
        let name = self.admins.get(&who).map(|a| &a.name).or_else(|| self.members.get(&who).map(|m| &m.name));
        match name {
            Some(name) => Refusal::NotAllowed { who: name.clone(), what },
            None => Refusal::UnknownAuthor(who),
        }
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

    fn check_free(&self, key: NodeId, name: &Name, role: Role, replaces: Option<NodeId>) -> Result<(), Refusal> {
        if let Some(admin) = self.admins.get(&key) {
            return Err(Refusal::KeyTaken { key, what: format!("the admin `{}`", admin.name) });
        }
        if let Some(member) = self.members.get(&key).filter(|m| m.role != role) {
            return Err(Refusal::KeyTaken { key, what: format!("the {} `{}`", member.role, member.name) });
        }
        if self.members.iter().any(|(other, m)| m.name == *name && *other != key && Some(*other) != replaces) {
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
