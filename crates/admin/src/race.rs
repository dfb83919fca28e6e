//! Two admins at once: what came between, and whether it touches what was meant.

use std::collections::BTreeSet;

use protocols::entry::{Publish, Role, VerifiedEntry};
use protocols::{Body, FleetState, NodeId};

/// One line about an entry, for people: `17 anna publish edge/motd on role=edge`.
pub fn describe(entry: &VerifiedEntry, state: &FleetState) -> String {
    let author = entry.entry().author;
    format!("{} {} {}", entry.seq(), who(author, state), summary(&entry.entry().body))
}

/// What a body does, in a few words.
pub fn summary(body: &Body) -> String {
    summarized(body, NodeId::short)
}

/// The same, with names for keys where `state` knows them.
pub fn summary_in(body: &Body, state: &FleetState) -> String {
    summarized(body, |key| who(*key, state))
}

fn summarized(body: &Body, named: impl Fn(&NodeId) -> String) -> String {
    let what = match body {
        Body::Genesis(genesis) => format!("{} by {} admin(s)", genesis.name, genesis.admins.len()),
        Body::Grant(grant) => {
            let verbs: Vec<String> = grant.verbs.iter().map(ToString::to_string).collect();
            let kinds: Vec<&str> = grant.kinds.iter().map(protocols::entry::KindPattern::as_str).collect();
            let kinds = if kinds == ["*"] { String::new() } else { format!(" with {}", kinds.join(",")) };
            let until = if grant.expires.is_some() { " for a time" } else { "" };
            format!("{} to {} on {}{kinds}{until}", verbs.join(","), grant.name, grant.on)
        }
        Body::Revoke(revoke) => {
            let since = revoke.compromised_since.map(|seq| format!(", void from entry {seq} on")).unwrap_or_default();
            format!("{} ({}){since}", named(&revoke.key), revoke.reason)
        }
        Body::Enroll(enroll) => {
            let replaces = enroll.replaces.map(|old| format!(" in the place of {}", named(&old))).unwrap_or_default();
            format!("{} {}{replaces}", enroll.role, enroll.name)
        }
        Body::Invite(invite) => {
            let name = invite.name.as_ref().map_or("any name", |name| name.as_str());
            format!("{} for {name}, {} use(s)", invite.invite.short(), invite.uses)
        }
        Body::Redeem(redeem) => format!("{} as {}", redeem.invite.short(), redeem.name),
        Body::Publish(publish) => format!("{} on {} ({})", publish.name, publish.on, publish.kind),
        Body::Withdraw(withdraw) => withdraw.name.to_string(),
        Body::Checkpoint(checkpoint) => checkpoint.state.short(),
        Body::Rotate(rotate) => format!("to {}", rotate.to.short()),
        Body::Quarantine(quarantine) => format!("{} ({})", named(&quarantine.key), quarantine.reason),
        Body::Release(release) => named(&release.key),
        Body::Appoint(appoint) => named(&appoint.coordinator),
        Body::Place(place) => format!("{} at {} address(es)", named(&place.coordinator), place.addrs.len()),
        Body::Recover(recover) => format!("{}, revoking {} key(s)", recover.name, recover.revoke.len()),
        Body::SetRecovery(set) => {
            set.recovery.as_ref().map_or_else(|| "none".into(), |r| format!("{} of {}", r.threshold, r.keys.len()))
        }
    };
    format!("{} {what}", body.verb())
}

/// What people call a key: an admin's or member's name, else the beginning of the key.
pub fn who(key: NodeId, state: &FleetState) -> String {
    let name = state.admins().get(&key).map(|a| &a.name).or_else(|| state.members().get(&key).map(|m| &m.name));
    name.map_or_else(|| key.short(), ToString::to_string)
}

/// What changed between two states of all that `body` touches; nothing if it means the same in both.
pub fn touched(before: &FleetState, after: &FleetState, body: &Body) -> Vec<String> {
    let mut found = Vec::new();
    match body {
        Body::Publish(publish) => touched_by_publish(before, after, publish, &mut found),
        Body::Withdraw(withdraw)
            if generation(before, withdraw.name.as_str()) != generation(after, withdraw.name.as_str()) =>
        {
            found.push(format!("`{}` was published or withdrawn", withdraw.name));
        }
        Body::Grant(grant) if before.admins().get(&grant.to) != after.admins().get(&grant.to) => {
            found.push(format!("the rights of `{}` changed", grant.name));
        }
        Body::Revoke(revoke) => {
            let key = revoke.key;
            let same = before.admins().get(&key) == after.admins().get(&key)
                && before.members().get(&key) == after.members().get(&key)
                && before.invites().get(&key) == after.invites().get(&key);
            if !same {
                found.push(format!("what {} is changed", who(key, before)));
            }
        }
        Body::Enroll(enroll) if before.members().get(&enroll.key) != after.members().get(&enroll.key) => {
            found.push(format!("the member `{}` changed", enroll.name));
        }
        Body::Quarantine(protocols::entry::Quarantine { key, .. })
        | Body::Release(protocols::entry::Release { key })
            if before.members().get(key) != after.members().get(key) =>
        {
            found.push(format!("the member {} changed", who(*key, before)));
        }
        Body::Appoint(_) if before.orderer() != after.orderer() => {
            found.push(format!("{} was appointed", who(after.orderer(), after)));
        }
        Body::SetRecovery(_) | Body::Recover(_) if before.recovery() != after.recovery() => {
            found.push("the recovery keys changed".into());
        }
        _ => {}
    }
    found
}

fn touched_by_publish(before: &FleetState, after: &FleetState, publish: &Publish, found: &mut Vec<String>) {
    if generation(before, publish.name.as_str()) != generation(after, publish.name.as_str()) {
        found.push(format!("`{}` was published or withdrawn", publish.name));
    }
    let names = |state: &FleetState| -> BTreeSet<String> {
        state.select(&publish.on).map(|(_, member)| member.name.to_string()).collect()
    };
    let (was, is) = (names(before), names(after));
    for joined in is.difference(&was) {
        found.push(format!("`{joined}` is now one of the nodes that `{}` means", publish.on));
    }
    for left in was.difference(&is) {
        found.push(format!("`{left}` is no longer one of the nodes that `{}` means", publish.on));
    }
    // The same names can stand for other keys, and what is sealed to the old ones must not be published.
    let keys = |state: &FleetState| crate::secrets::recipients(state, &publish.on, &[], None);
    if found.is_empty() && publish.payload.get().contains(r#""age""#) && keys(before) != keys(after) {
        found.push("the keys that its secrets are sealed to".into());
    }
    for (name, declaration) in after.declarations() {
        if *name == publish.name || declaration.subject != publish.subject {
            continue;
        }
        let news = generation(before, name.as_str()) != Some(declaration.generation);
        let meets = |(_, member): (NodeId, &protocols::state::Member)| {
            member.role == Role::Agent && publish.on.matches(member.name.as_str(), &member.labels)
        };
        if news && after.targets(declaration).any(meets) {
            found.push(format!("`{name}` now governs {} on some of the same nodes", declaration.subject));
        }
    }
}

fn generation(state: &FleetState, name: &str) -> Option<u64> {
    state.declarations().iter().find(|(n, _)| n.as_str() == name).map(|(_, d)| d.generation)
}
