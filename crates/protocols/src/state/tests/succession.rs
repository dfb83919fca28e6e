//! Keys that take others' places, stolen keys, recovery, and agents set apart.

use super::*;

fn rotate(chain: &Chain, old: u8, new: u8) -> Body {
    Body::Rotate(Rotate::new(chain.state.fleet(), id(old), &key(new)))
}

fn compromised(n: u8, since: u64) -> Body {
    Body::Revoke(Revoke { key: id(n), reason: "stolen".into(), compromised_since: Some(since) })
}

fn rooted(to: u8) -> Body {
    Body::Grant(grant(to, &Verb::ALL, "*", "*"))
}

/// A fleet with recovery keys 61, 62 and 63, of which two must agree.
fn recoverable() -> Chain {
    let safe = |n: u8| Founder { key: id(n), name: format!("safe-{n}").parse().unwrap() };
    let recovery = Recovery { keys: vec![safe(61), safe(62), safe(63)], threshold: 2 };
    found(1, Genesis { recovery: Some(recovery), ..genesis(&[1], &[2]) }).unwrap()
}

fn recover(chain: &Chain, to: u8, by: &[u8], revoke: &[u8], since: Option<u64>) -> Recover {
    let (name, revoke) = ("rescuer".parse().unwrap(), revoke.iter().map(|n| id(*n)).collect());
    let plain = Recover { name, revoke, compromised_since: since, approvals: Vec::new() };
    let set_by = chain.state.recovery().map_or(0, |set| set.since);
    let approve = |n: &u8| plain.approve(chain.state.fleet(), set_by, id(to), &key(*n));
    Recover { approvals: by.iter().map(approve).collect(), ..plain }
}

#[test]
fn a_rotated_admin_keeps_all_it_had_and_the_old_key_is_nothing() {
    let mut chain = fleet();
    chain.act(1, Body::Grant(grant(10, &[Verb::Grant, Verb::Publish], "*", "*"))).unwrap();
    chain.act(10, Body::Grant(grant(11, &[Verb::Publish], "*", "*"))).unwrap();
    chain.act(10, Body::Publish(publish("a/a", "*", "files/1", "x"))).unwrap();
    // The new key must agree, be nobody yet, and not have been revoked.
    assert!(matches!(
        chain.act(10, Body::Rotate(Rotate { to: id(12), ..Rotate::new(chain.state.fleet(), id(10), &key(13)) })),
        Err(Refusal::Invalid { .. })
    ));
    let other = Rotate::new(FleetId::from_bytes([9; 32]), id(10), &key(12));
    assert!(matches!(chain.act(10, Body::Rotate(other)), Err(Refusal::Invalid { .. })), "for another fleet");
    assert!(matches!(chain.act(10, rotate(&chain.clone(), 10, 11)), Err(Refusal::KeyTaken { .. })));
    chain.act(10, rotate(&chain.clone(), 10, 12)).unwrap();
    assert!(!chain.state.knows(id(10)) && chain.state.successor(id(10)) == Some(id(12)));
    assert_eq!(chain.act(10, withdraw("a/a")), Err(Refusal::Revoked { key: id(10), by: 4 }));
    // What it gave on, it can take back: under its new key.
    chain.act(12, revoke(11)).unwrap();
    chain.act(12, withdraw("a/a")).unwrap();
    assert!(matches!(chain.act(1, revoke(10)), Err(Refusal::Invalid { .. })), "says which key it is now");
    chain.act(1, revoke(12)).unwrap();
}

#[test]
fn members_rotate_their_keys_themselves() {
    let mut chain = fleet();
    chain.act(1, enroll(20, "edge-1", Role::Agent)).unwrap();
    chain.act(20, rotate(&chain.clone(), 20, 21)).unwrap();
    assert_eq!(chain.state.member_named("edge-1").map(|(key, m)| (key, m.since)), Some((id(21), 1)));
    chain.act(2, rotate(&chain.clone(), 2, 3)).unwrap();
    assert!(chain.state.is_coordinator(id(3)) && chain.state.orderer() == id(3));
    assert_eq!(chain.act(20, rotate(&chain.clone(), 20, 22)), Err(Refusal::Revoked { key: id(20), by: 2 }));
    assert_eq!(chain.act(40, rotate(&chain.clone(), 40, 41)), Err(Refusal::UnknownAuthor(id(40))));
}

#[test]
fn what_a_stolen_key_did_is_void_from_there_on() {
    let mut chain = fleet();
    chain.act(1, enroll(20, "edge-1", Role::Agent)).unwrap();
    chain.act(1, enroll(21, "edge-2", Role::Agent)).unwrap();
    chain.act(1, rooted(10)).unwrap();
    chain.act(10, Body::Publish(publish("a/good", "*", "files/1", "x"))).unwrap();
    let stolen = chain.state.head().seq + 1;
    // The thief publishes, lets a node in, makes an accomplice who publishes in turn, relabels, and rotates.
    chain.act(10, Body::Publish(publish("a/bad", "*", "files/1", "y"))).unwrap();
    chain.act(10, enroll(30, "edge-3", Role::Agent)).unwrap();
    chain.act(10, rooted(11)).unwrap();
    chain.act(11, Body::Publish(publish("a/worse", "*", "files/1", "z"))).unwrap();
    chain.act(11, rooted(12)).unwrap();
    chain.act(10, invite(50, None, 9000, 5)).unwrap();
    chain.act(10, enroll(21, "core-2", Role::Agent)).unwrap();
    let safe = Recovery { keys: vec![Founder { key: id(61), name: "thief".parse().unwrap() }], threshold: 1 };
    chain.act(10, Body::SetRecovery(SetRecovery { recovery: Some(safe), approvals: Vec::new() })).unwrap();
    chain.act(10, rotate(&chain.clone(), 10, 13)).unwrap();
    chain.act(1, compromised(13, stolen)).unwrap();
    let declared: Vec<&str> = chain.state.declarations().keys().map(DeclarationName::as_str).collect();
    assert_eq!(declared, ["a/good"], "what the owner declared stays");
    assert_eq!(chain.state.admins().keys().copied().collect::<Vec<_>>(), [id(1)]);
    assert!(!chain.state.knows(id(30)) && chain.state.invites().is_empty() && chain.state.recovery().is_none());
    assert!(chain.state.quarantine(id(21)).is_some() && chain.state.quarantine(id(20)).is_none());
    for gone in [10, 11, 12, 13] {
        let late = Entry { at: Millis(1), ..chain.next(gone, withdraw("a/good")) };
        assert!(matches!(chain.put(gone, &late), Err(Refusal::Revoked { .. })), "back-dated or not");
    }
    // Looked at and enrolled as it shall be: it acts again.
    chain.act(1, enroll(21, "edge-2", Role::Agent)).unwrap();
    assert!(chain.state.quarantine(id(21)).is_none());
}

#[test]
fn a_compromise_can_be_found_after_the_revocation_and_never_leaves_nobody() {
    let mut chain = fleet();
    chain.act(1, rooted(10)).unwrap();
    chain.act(10, Body::Publish(publish("a/a", "*", "files/1", "x"))).unwrap();
    chain.act(1, revoke(10)).unwrap();
    assert_eq!(chain.state.declarations().len(), 1, "what it signed before stays");
    assert!(matches!(chain.act(1, compromised(10, 99)), Err(Refusal::Invalid { .. })));
    assert!(matches!(chain.act(1, compromised(10, 0)), Err(Refusal::Invalid { .. })));
    chain.act(1, compromised(10, 2)).unwrap();
    assert!(chain.state.declarations().is_empty());
    // A root made by a stolen root is no root that could remain.
    let mut chain = fleet();
    chain.act(1, rooted(10)).unwrap();
    assert_eq!(chain.act(10, compromised(1, 1)), Err(Refusal::LastAdmin));
    // A coordinator that a stolen key enrolled and appointed cannot go before another is appointed.
    let mut chain = fleet();
    chain.act(1, rooted(10)).unwrap();
    chain.act(10, enroll(3, "theirs", Role::Coordinator)).unwrap();
    chain.act(10, appoint(3)).unwrap();
    assert!(matches!(chain.act(1, compromised(10, 2)), Err(Refusal::Invalid { .. })));
    chain.act(1, appoint(2)).unwrap();
    chain.act(1, compromised(10, 2)).unwrap();
    assert!(!chain.state.is_coordinator(id(3)));
}

#[test]
fn enough_recovery_keys_make_an_admin() {
    let mut chain = recoverable();
    chain.act(1, Body::Publish(publish("a/a", "*", "files/1", "x"))).unwrap();
    let try_with = |chain: &mut Chain, by: &[u8]| {
        let body = Body::Recover(recover(chain, 5, by, &[1], Some(1)));
        chain.act(5, body)
    };
    for too_few in [&[][..], &[61], &[61, 61], &[61, 40], &[1, 61]] {
        assert!(matches!(try_with(&mut chain, too_few), Err(Refusal::NotApproved { needed: 2, .. })));
    }
    // Approved for key 5, so nobody else can use it; and each word of it counts.
    let good = recover(&chain, 5, &[63, 61], &[1], Some(1));
    assert!(matches!(chain.act(6, Body::Recover(good.clone())), Err(Refusal::NotApproved { .. })));
    for changed in [
        Recover { revoke: Vec::new(), ..good.clone() },
        Recover { compromised_since: None, ..good.clone() },
        Recover { name: "other".parse().unwrap(), ..good.clone() },
    ] {
        assert!(matches!(chain.act(5, Body::Recover(changed)), Err(Refusal::NotApproved { .. })));
    }
    chain.act(5, Body::Recover(good.clone())).unwrap();
    assert!(chain.state.declarations().is_empty() && chain.state.admins()[&id(5)].is_root());
    assert_eq!(chain.act(1, withdraw("a/a")), Err(Refusal::Revoked { key: id(1), by: 2 }));
    // Once used it does nothing again: its key is an admin, or revoked.
    assert_eq!(chain.act(5, Body::Recover(good.clone())), Err(Refusal::NoSuchKey(id(1))));
    chain.act(5, rooted(7)).unwrap();
    chain.act(7, revoke(5)).unwrap();
    assert!(matches!(chain.act(5, Body::Recover(good)), Err(Refusal::Revoked { .. })));
    // A recovery key is for nothing else.
    assert_eq!(chain.act(61, enroll(20, "edge-1", Role::Agent)), Err(Refusal::UnknownAuthor(id(61))));
    let own = recover(&chain, 61, &[61, 62], &[], None);
    assert!(matches!(chain.act(61, Body::Recover(own)), Err(Refusal::KeyTaken { .. })));
    let mut without = fleet();
    let body = Body::Recover(recover(&without, 5, &[61, 62], &[1], None));
    assert_eq!(without.act(5, body), Err(Refusal::NoRecovery));
}

#[test]
fn recovery_keys_are_replaced_only_by_their_own_word() {
    let mut chain = recoverable();
    let new = Recovery { keys: vec![Founder { key: id(70), name: "new".parse().unwrap() }], threshold: 1 };
    let set = SetRecovery { recovery: Some(new), approvals: Vec::new() };
    assert!(matches!(
        chain.act(1, Body::SetRecovery(set.clone())),
        Err(Refusal::NotApproved { approved: 0, needed: 2 })
    ));
    let by = |chain: &Chain, set: &SetRecovery, keys: &[u8]| {
        let set_by = chain.state.recovery().map_or(0, |set| set.since);
        let approvals = keys.iter().map(|n| set.approve(chain.state.fleet(), set_by, &key(*n))).collect();
        Body::SetRecovery(SetRecovery { approvals, ..set.clone() })
    };
    let body = by(&chain, &set, &[61, 62]);
    assert!(matches!(chain.act(10, body.clone()), Err(Refusal::UnknownAuthor(_))));
    chain.act(1, body.clone()).unwrap();
    assert!(matches!(chain.act(1, body), Err(Refusal::NotApproved { .. })), "bound to the keys it replaced");
    for bad in [(vec![70], 0), (vec![70], 2), (vec![70, 70], 1), (vec![], 1), (vec![1], 1), (vec![2], 1)] {
        let keys = bad.0.iter().map(|n| Founder { key: id(*n), name: format!("k-{n}").parse().unwrap() }).collect();
        let set = SetRecovery { recovery: Some(Recovery { keys, threshold: bad.1 }), approvals: Vec::new() };
        let body = by(&chain, &set, &[70]);
        assert!(matches!(chain.act(1, body), Err(Refusal::Invalid { .. } | Refusal::KeyTaken { .. })));
    }
    let none = by(&chain, &SetRecovery { recovery: None, approvals: Vec::new() }, &[70]);
    chain.act(1, none).unwrap();
    assert!(chain.state.recovery().is_none());
}

#[test]
fn a_machine_is_replaced_under_its_name() {
    let mut chain = fleet();
    chain.act(1, enroll(20, "edge-1", Role::Agent)).unwrap();
    let replace = |n: u8, name: &str, old: u8| {
        let (key, name) = (id(n), name.parse().unwrap());
        Body::Enroll(Enroll { key, name, role: Role::Agent, labels: Labels::new(), replaces: Some(id(old)) })
    };
    assert_eq!(chain.act(1, replace(21, "edge-1", 40)), Err(Refusal::NoSuchKey(id(40))));
    assert_eq!(chain.act(1, replace(21, "edge-1", 2)), Err(Refusal::NoSuchKey(id(2))), "no agent");
    chain.act(1, replace(21, "edge-1", 20)).unwrap();
    assert_eq!(chain.state.member_named("edge-1").map(|(key, _)| key), Some(id(21)));
    assert!(chain.state.revoked().contains_key(&id(20)));
    // By an invite: the old one works on until the new one is there.
    let (name, labels, expires) = (Some("edge-1".parse().unwrap()), Labels::new(), Millis(9000));
    let invite = |name: Option<Name>, old: u8| {
        let (labels, replaces) = (labels.clone(), Some(id(old)));
        Body::Invite(Invite { invite: id(50), name, labels, expires, uses: 1, replaces })
    };
    assert!(matches!(chain.act(1, invite(None, 21)), Err(Refusal::Invalid { .. })));
    chain.act(1, invite(name, 21)).unwrap();
    assert!(chain.state.is_agent(id(21)));
    let fleet = chain.state.fleet();
    chain.act(2, Body::Redeem(redeem(fleet, 50, 22, "edge-1"))).unwrap();
    assert!(chain.state.is_agent(id(22)) && !chain.state.knows(id(21)));
    // Whoever may not enroll the old one may not replace it.
    chain.act(1, Body::Grant(grant(10, &[Verb::Enroll], "core-*", "*"))).unwrap();
    assert!(matches!(chain.act(10, replace(23, "core-1", 22)), Err(Refusal::NotAllowed { .. })));
}

#[test]
fn agents_are_set_apart_and_released() {
    let mut chain = fleet();
    let quarantine = |n: u8| Body::Quarantine(Quarantine { key: id(n), reason: "odd".into() });
    let release = |n: u8| Body::Release(Release { key: id(n) });
    chain.act(1, enroll(20, "edge-1", Role::Agent)).unwrap();
    assert_eq!(chain.act(1, quarantine(2)), Err(Refusal::NoSuchKey(id(2))), "coordinators are retired instead");
    assert!(matches!(chain.act(1, release(20)), Err(Refusal::Invalid { .. })));
    chain.act(1, quarantine(20)).unwrap();
    assert_eq!(chain.state.quarantine(id(20)).map(|q| q.reason.as_str()), Some("odd"));
    chain.act(1, Body::Grant(grant(10, &[Verb::Enroll], "core-*", "*"))).unwrap();
    assert!(matches!(chain.act(10, release(20)), Err(Refusal::NotAllowed { .. })));
    chain.act(1, release(20)).unwrap();
    assert!(chain.state.quarantine(id(20)).is_none());
}

#[test]
fn an_entry_is_appended_in_time_or_not_at_all() {
    let mut chain = fleet();
    let dated = |chain: &Chain, at: u64, end: u64| {
        let body = Body::Publish(publish("a/a", "*", "files/1", "x"));
        Entry { at: Millis(at), not_after: Some(Millis(end)), ..chain.next(1, body) }
    };
    let entry = dated(&chain, 2000, 1999);
    assert_eq!(chain.put(1, &entry), Err(Refusal::Expired));
    let entry = dated(&chain, 2000, 2000);
    chain.put(1, &entry).unwrap();
    let declaration = chain.state.declarations().values().next().unwrap();
    assert!(!declaration.is_over(Millis(2000)) && declaration.is_over(Millis(2001)));
    let entry = dated(&chain, 1500, 1999);
    assert_eq!(chain.put(1, &entry), Err(Refusal::Expired), "by the ledger's time, whatever it says of its own");
}

#[test]
fn a_coordinator_says_where_it_is() {
    let mut chain = fleet();
    let place = |n: u8, count: usize| {
        let addrs = vec!["192.0.2.1:4433".parse().unwrap(); count];
        Body::Place(Place { coordinator: id(n), addrs, relay: None })
    };
    chain.act(2, place(2, 1)).unwrap();
    assert_eq!(chain.state.members()[&id(2)].place.as_ref().map(|p| p.addrs.len()), Some(1));
    chain.act(1, place(2, 2)).unwrap();
    assert!(matches!(chain.act(2, place(2, 17)), Err(Refusal::Invalid { .. })));
    chain.act(1, enroll(3, "second", Role::Coordinator)).unwrap();
    assert!(matches!(chain.act(2, place(3, 1)), Err(Refusal::NotAllowed { .. })), "not of another");
    assert!(matches!(chain.act(1, place(40, 1)), Err(Refusal::Invalid { .. })));
}

#[test]
fn no_member_fills_the_ledger_by_itself() {
    let mut chain = fleet();
    chain.act(1, enroll(100, "edge-1", Role::Agent)).unwrap();
    for n in 100..116 {
        chain.act(n, rotate(&chain.clone(), n, n + 1)).unwrap();
    }
    assert!(matches!(chain.act(116, rotate(&chain.clone(), 116, 117)), Err(Refusal::TooMany { most: 16, .. })));
    for _ in 0..16 {
        let checkpoint = Checkpoint { state: chain.state.digest() };
        chain.act(2, Body::Checkpoint(checkpoint)).unwrap();
    }
    let checkpoint = Body::Checkpoint(Checkpoint { state: chain.state.digest() });
    assert!(matches!(chain.act(2, checkpoint), Err(Refusal::TooMany { .. })), "coordinators neither");
    // Redemptions are what invites allow, and go on.
    chain.act(1, invite(50, None, 9000, 30)).unwrap();
    let fleet = chain.state.fleet();
    for n in 120..140 {
        chain.act(2, Body::Redeem(redeem(fleet, 50, n, &format!("core-{n}")))).unwrap();
    }
    chain.act(116, rotate(&chain.clone(), 116, 117)).unwrap();
}

#[test]
fn only_who_may_grant_everywhere_undoes_what_a_key_did() {
    let mut chain = fleet();
    let ends = Grant { expires: Some(Millis(2000)), ..grant(10, &[Verb::Enroll, Verb::Grant], "edge-*", "*") };
    chain.act(1, Body::Grant(ends)).unwrap();
    chain.act(10, enroll(20, "edge-1", Role::Agent)).unwrap();
    chain.act(10, Body::Grant(grant(11, &[Verb::Enroll], "edge-*", "*"))).unwrap();
    chain.act(11, enroll(21, "edge-2", Role::Agent)).unwrap();
    // Both nodes are others' by now. Whoever let them in cannot take them along, neither by their own key nor by one they
    // gave rights to.
    chain.act(1, enroll(20, "core-1", Role::Agent)).unwrap();
    chain.act(1, enroll(21, "core-2", Role::Agent)).unwrap();
    for (author, key) in [(10, 10), (10, 11), (11, 11)] {
        assert!(matches!(chain.act(author, compromised(key, 1)), Err(Refusal::NotAllowed { .. })));
    }
    chain.at = Millis(3000);
    assert!(matches!(chain.act(10, compromised(10, 1)), Err(Refusal::NotAllowed { .. })), "their right ended long ago");
    chain.act(11, revoke(11)).unwrap();
    chain.act(10, revoke(10)).unwrap();
    assert!(chain.state.is_agent(id(20)) && chain.state.is_agent(id(21)));
    chain.act(1, compromised(11, 1)).unwrap();
    assert!(!chain.state.is_agent(id(21)));
}

#[test]
fn an_accomplice_with_rights_of_their_own_keeps_only_what_those_allow() {
    let mut chain = fleet();
    chain.act(1, Body::Grant(grant(7, &[Verb::Publish, Verb::Enroll], "edge-*", "files/*"))).unwrap();
    chain.act(1, rooted(10)).unwrap();
    chain.act(1, enroll(20, "edge-1", Role::Agent)).unwrap();
    chain.act(7, Body::Publish(publish("a/before", "edge-*", "files/1", "x"))).unwrap();
    let stolen = chain.state.head().seq + 1;
    // Key 10 is stolen, and its thief gives key 7 everything.
    chain.act(10, Body::Grant(Grant { name: "key-7".parse().unwrap(), ..grant(7, &Verb::ALL, "*", "*") })).unwrap();
    chain.act(7, Body::Publish(publish("a/mine", "edge-*", "files/1", "y"))).unwrap();
    chain.act(7, enroll(22, "core-2", Role::Agent)).unwrap();
    chain.act(7, Body::Publish(publish("a/all", "*", "files/1", "z"))).unwrap();
    chain.act(7, Body::Publish(publish("a/os", "edge-1", "nixos/1", "os"))).unwrap();
    chain.act(7, enroll(21, "edge-2", Role::Agent)).unwrap();
    chain.act(7, enroll(23, "theirs", Role::Coordinator)).unwrap();
    chain.act(7, Body::Grant(grant(8, &[Verb::Publish], "*", "*"))).unwrap();
    chain.act(7, invite(50, Some("core-9"), 9000, 1)).unwrap();
    let safe = Recovery { keys: vec![Founder { key: id(61), name: "thief".parse().unwrap() }], threshold: 1 };
    chain.act(7, Body::SetRecovery(SetRecovery { recovery: Some(safe), approvals: Vec::new() })).unwrap();
    chain.act(7, rotate(&chain.clone(), 7, 9)).unwrap();
    chain.act(1, compromised(10, stolen)).unwrap();
    let state = &chain.state;
    assert_eq!(state.admins().keys().copied().collect::<std::collections::BTreeSet<_>>(), [id(1), id(9)].into());
    assert_eq!(state.admins()[&id(9)].capabilities.len(), 1, "its own right stays");
    let declared: Vec<&str> = state.declarations().keys().map(DeclarationName::as_str).collect();
    assert_eq!(declared, ["a/before", "a/mine"]);
    assert!(state.quarantine(id(21)).is_none() && state.quarantine(id(20)).is_none());
    assert!(state.quarantine(id(22)).is_some(), "let in where it had no right of its own");
    assert!(!state.knows(id(23)) && state.recovery().is_none());
    assert!(!state.invites().contains_key(&id(50)), "made for a node out of reach");
}

#[test]
fn an_invite_does_not_replace_what_became_another_node() {
    let mut chain = fleet();
    let fleet = chain.state.fleet();
    chain.act(1, Body::Grant(grant(10, &[Verb::Enroll], "edge-*,!role=db", "*"))).unwrap();
    chain.act(1, enroll(20, "edge-1", Role::Agent)).unwrap();
    let body = |n: u8| {
        let (name, labels) = (Some("edge-1".parse().unwrap()), Labels::new());
        Body::Invite(Invite { invite: id(n), name, labels, expires: Millis(9000), uses: 1, replaces: Some(id(20)) })
    };
    chain.act(10, body(50)).unwrap();
    // Meanwhile the founder gives the node another name, or other labels, out of key 10's reach.
    let good = Body::Redeem(redeem(fleet, 50, 30, "edge-1"));
    let mut renamed = chain.clone();
    renamed.act(1, enroll(20, "core-1", Role::Agent)).unwrap();
    assert!(matches!(renamed.act(2, good.clone()), Err(Refusal::Invalid { .. })));
    let mut relabelled = chain.clone();
    let (key, name, labels) = (id(20), "edge-1".parse().unwrap(), labels(&[("role", "db")]));
    relabelled.act(1, Body::Enroll(Enroll { key, name, role: Role::Agent, labels, replaces: None })).unwrap();
    assert!(matches!(relabelled.act(2, good.clone()), Err(Refusal::Invalid { .. })));
    // A key that was rotated is the same node still; one that was replaced already is none.
    let mut rotated = chain.clone();
    rotated.act(20, rotate(&rotated.clone(), 20, 21)).unwrap();
    rotated.act(2, good.clone()).unwrap();
    assert!(rotated.state.is_agent(id(30)) && !rotated.state.knows(id(21)));
    chain.act(10, body(51)).unwrap();
    chain.act(2, good).unwrap();
    assert_eq!(chain.act(2, Body::Redeem(redeem(fleet, 51, 31, "edge-1"))), Err(Refusal::NoSuchKey(id(20))));
}

#[test]
fn approvals_work_once_and_strangers_are_nobody() {
    let mut chain = recoverable();
    let good = recover(&chain, 5, &[61, 62], &[], None);
    chain.act(5, Body::Recover(good.clone())).unwrap();
    chain.act(1, revoke(5)).unwrap();
    assert!(
        matches!(chain.act(5, Body::Recover(good.clone())), Err(Refusal::Revoked { .. })),
        "not after a revocation"
    );
    // Approvals for keys that are replaced meanwhile are void, also if the same keys are set again.
    let waiting = recover(&chain, 6, &[61, 62], &[1], None);
    let same = SetRecovery { recovery: chain.state.recovery().map(|r| r.recovery.clone()), approvals: Vec::new() };
    let set_by = chain.state.recovery().map_or(0, |r| r.since);
    let approvals = [61, 63].map(|n| same.approve(chain.state.fleet(), set_by, &key(n))).to_vec();
    chain.act(1, Body::SetRecovery(SetRecovery { approvals, ..same })).unwrap();
    assert!(matches!(chain.act(6, Body::Recover(waiting)), Err(Refusal::NotApproved { .. })));
    // Who is nobody, an agent or a recovery key enters nothing of these.
    chain.act(1, enroll(20, "edge-1", Role::Agent)).unwrap();
    let place = |n: u8| Body::Place(Place { coordinator: id(n), addrs: Vec::new(), relay: None });
    for nobody in [40, 20, 61] {
        assert!(chain.act(nobody, place(2)).is_err() && chain.act(nobody, place(nobody)).is_err());
        assert!(chain.act(nobody, appoint(2)).is_err());
        assert!(chain.act(nobody, Body::Release(Release { key: id(20) })).is_err());
        assert!(chain.act(nobody, compromised(1, 1)).is_err());
        let recovery = SetRecovery { recovery: None, approvals: Vec::new() };
        assert!(chain.act(nobody, Body::SetRecovery(recovery)).is_err());
    }
}
