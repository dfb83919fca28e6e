//! Who belongs to the fleet: nodes that come, change, are replaced and are set apart, and the invites they come by.

use super::{check_labels, check_note};
use crate::addr::ADDRS_MAX;
use crate::entry::{Appoint, Enroll, Entry, Invite, Place, Redeem, Role, Rotate, Verb};
use crate::ids::{Millis, Name, NodeId};
use crate::selector::Labels;
use crate::state::{Act, FleetState, Isolation, Member, OpenInvite, OwnEntries, Refusal};
use crate::ticket::RelayPin;

/// How many nodes one invite may let in.
const INVITE_USES_MAX: u32 = 10_000;
/// The longest URL of a relay, in bytes.
const RELAY_URL_BYTES_MAX: usize = 1024;
/// The longest certificate of a relay, in bytes of DER.
const RELAY_CA_BYTES_MAX: usize = 8 * 1024;

impl FleetState {
    pub(super) fn enroll(&mut self, entry: &Entry, enroll: &Enroll) -> Result<(), Refusal> {
        check_labels(&enroll.labels)?;
        self.check_new_key(enroll.key)?;
        let what = format!("enroll `{}`", enroll.name);
        let old = self.members.get(&enroll.key);
        let replaced = self.replaced(enroll.replaces, enroll.key)?;
        match enroll.role {
            Role::Agent => {
                let may = |name: &Name, labels: &Labels| {
                    self.may_enroll(entry.author, Some(name.as_str()), labels, entry.at).is_some()
                };
                let covers = |member: Option<&Member>| member.is_none_or(|m| may(&m.name, &m.labels));
                if !covers(old) || !covers(replaced) || !may(&enroll.name, &enroll.labels) {
                    return Err(self.not_allowed(entry.author, what));
                }
            }
            Role::Coordinator => {
                if !self.may_everywhere(entry.author, Verb::Grant, entry.at) {
                    return Err(self.not_allowed(entry.author, what));
                }
                if replaced.is_some() {
                    return Err(Refusal::invalid(
                        "replaces",
                        "is for agents; a coordinator is enrolled and another one retired",
                    ));
                }
            }
        }
        self.check_free(enroll.key, &enroll.name, enroll.role, enroll.replaces)?;
        let by = entry.author;
        let member = Member {
            name: enroll.name.clone(),
            role: enroll.role,
            labels: enroll.labels.clone(),
            since: old.map_or(entry.seq, |m| m.since),
            invite: old.and_then(|m| m.invite),
            voucher: old.map_or(Act { seq: entry.seq, by }, |m| m.voucher),
            changed: old.map(|_| Act { seq: entry.seq, by }),
            quarantine: None,
            place: old.and_then(|m| m.place.clone()),
            own: old.map_or_else(OwnEntries::default, |m| m.own),
        };
        self.replace(entry, enroll.replaces);
        self.members.insert(enroll.key, member);
        Ok(())
    }

    /// The agent that another key is to take the place of.
    fn replaced(&self, replaces: Option<NodeId>, key: NodeId) -> Result<Option<&Member>, Refusal> {
        let Some(old) = replaces else { return Ok(None) };
        if self.members.contains_key(&key) {
            return Err(Refusal::invalid("replaces", "is for a key that is not a member yet"));
        }
        let agent = self.members.get(&old).filter(|m| m.role == Role::Agent);
        agent.map(Some).ok_or(Refusal::NoSuchKey(old))
    }

    fn replace(&mut self, entry: &Entry, replaces: Option<NodeId>) {
        if let Some(old) = replaces {
            self.members.remove(&old);
            self.revoked.insert(old, entry.seq);
        }
    }

    pub(super) fn invite(&mut self, entry: &Entry, invite: &Invite) -> Result<(), Refusal> {
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
        let replaced = self.replaced(invite.replaces, invite.invite)?;
        if replaced.is_some_and(|old| invite.name.as_ref() != Some(&old.name)) {
            return Err(Refusal::invalid("name", "must be that of the agent whose place is taken"));
        }
        if let Some(old) = replaced
            && self.may_enroll(entry.author, Some(old.name.as_str()), &old.labels, entry.at).is_none()
        {
            return Err(self.not_allowed(entry.author, format!("replace `{}`", old.name)));
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
            since: entry.seq,
            replaces: invite.replaces,
            within: capability.within(),
        };
        self.invites.insert(invite.invite, open);
        Ok(())
    }

    pub(super) fn redeem(&mut self, entry: &Entry, redeem: &Redeem) -> Result<(), Refusal> {
        if !self.is_coordinator(entry.author) {
            return Err(self.not_allowed(entry.author, "redeem invites".into()));
        }
        let invite = self.redeemable(redeem, entry.at)?;
        let replaces = invite.replaces;
        let member = Member {
            name: redeem.name.clone(),
            role: Role::Agent,
            labels: invite.labels.clone(),
            since: entry.seq,
            invite: Some(redeem.invite),
            voucher: Act { seq: invite.since, by: invite.by },
            changed: None,
            quarantine: None,
            place: None,
            own: OwnEntries::default(),
        };
        self.replace(entry, replaces);
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
        if let Some(old) = invite.replaces {
            let agent = self.members.get(&old).filter(|m| m.role == Role::Agent).ok_or(Refusal::NoSuchKey(old))?;
            // It may have become another node since, which the invite's maker has no right to.
            let same = invite.name.as_ref() == Some(&agent.name);
            if !same || !invite.within.iter().all(|s| s.matches(agent.name.as_str(), &agent.labels)) {
                let why = format!("was for a node that is now `{}`, and another than then", agent.name);
                return Err(Refusal::invalid("the invite", why));
            }
        }
        self.check_free(redeem.key, &redeem.name, Role::Agent, invite.replaces)?;
        Ok(invite)
    }

    pub(super) fn rotate(&mut self, entry: &Entry, rotate: &Rotate) -> Result<(), Refusal> {
        let (old, new) = (entry.author, rotate.to);
        self.check_new_key(new)?;
        if self.knows(new) {
            return Err(Refusal::KeyTaken { key: new, what: "somebody's already".into() });
        }
        if self.recovery.as_ref().is_some_and(|set| set.recovery.keys.iter().any(|k| k.key == new)) {
            return Err(Refusal::KeyTaken { key: new, what: "a recovery key".into() });
        }
        if !rotate.verifies(self.fleet, old) {
            return Err(Refusal::invalid("signature", "is not the new key's: its holder did not agree"));
        }
        if let Some(member) = self.members.remove(&old) {
            self.members.insert(new, member);
            if self.orderer == old {
                self.orderer = new;
            }
        } else if let Some(admin) = self.admins.remove(&old) {
            self.admins.insert(new, admin);
        } else {
            return Err(Refusal::UnknownAuthor(old));
        }
        let renew = |key: &mut NodeId| {
            if *key == old {
                *key = new;
            }
        };
        // Rights that came through the old key now come through the new one, or nobody could take them back.
        for admin in self.admins.values_mut() {
            admin.given_by.iter_mut().for_each(renew);
            admin.capabilities.iter_mut().flat_map(|c| &mut c.through).for_each(renew);
        }
        self.invites.values_mut().for_each(|invite| {
            renew(&mut invite.by);
            invite.replaces.iter_mut().for_each(renew);
        });
        for member in self.members.values_mut() {
            renew(&mut member.voucher.by);
            member.changed.iter_mut().for_each(|act| renew(&mut act.by));
            member.place.iter_mut().for_each(|place| renew(&mut place.coordinator));
        }
        self.recovery.iter_mut().for_each(|set| renew(&mut set.by));
        self.rotated.insert(old, new);
        self.revoked.insert(old, entry.seq);
        Ok(())
    }

    pub(super) fn isolate(&mut self, entry: &Entry, key: NodeId, reason: Option<&str>) -> Result<(), Refusal> {
        check_note("reason", reason)?;
        let Some(member) = self.members.get(&key).filter(|m| m.role == Role::Agent) else {
            return Err(Refusal::NoSuchKey(key));
        };
        if self.may_enroll(entry.author, Some(member.name.as_str()), &member.labels, entry.at).is_none() {
            return Err(self.not_allowed(entry.author, format!("quarantine or release `{}`", member.name)));
        }
        if reason.is_none() && member.quarantine.is_none() {
            return Err(Refusal::invalid("key", format!("is that of `{}`, which is not in quarantine", member.name)));
        }
        let act = Act { seq: entry.seq, by: entry.author };
        if let Some(member) = self.members.get_mut(&key) {
            member.quarantine = reason.map(|reason| Isolation { act, reason: reason.to_owned() });
            member.changed = Some(act);
        }
        Ok(())
    }

    pub(super) fn appoint(&mut self, entry: &Entry, appoint: &Appoint) -> Result<(), Refusal> {
        if !self.may_everywhere(entry.author, Verb::Grant, entry.at) {
            return Err(self.not_allowed(entry.author, "appoint coordinators".into()));
        }
        if !self.is_coordinator(appoint.coordinator) {
            return Err(Refusal::invalid("coordinator", "is not a coordinator of this fleet: enroll it first"));
        }
        self.orderer = appoint.coordinator;
        Ok(())
    }

    pub(super) fn place(&mut self, entry: &Entry, place: &Place) -> Result<(), Refusal> {
        if entry.author != place.coordinator && !self.may_everywhere(entry.author, Verb::Grant, entry.at) {
            return Err(self.not_allowed(entry.author, "say where a coordinator is".into()));
        }
        let long = |pin: &RelayPin| {
            pin.url.len() > RELAY_URL_BYTES_MAX || pin.ca.as_ref().is_some_and(|ca| ca.len() > RELAY_CA_BYTES_MAX)
        };
        if place.addrs.len() > ADDRS_MAX || place.relay.as_ref().is_some_and(long) {
            return Err(Refusal::invalid("place", format!("has more than {ADDRS_MAX} addresses or too long a relay")));
        }
        let member = self.members.get_mut(&place.coordinator).filter(|m| m.role == Role::Coordinator);
        let Some(member) = member else {
            return Err(Refusal::invalid("coordinator", "is not a coordinator of this fleet"));
        };
        member.place = Some(place.clone());
        Ok(())
    }
}
