//! What an admin with limited rights must not be able to do, whatever they sign.

use super::*;

/// Key 3 may do everything but only on `edge-*`, key 4 nothing yet.
fn limited(kinds: &str) -> Chain {
    let mut chain = fleet();
    chain.act(1, Body::Grant(grant(3, &Verb::ALL, "edge-*", kinds))).unwrap();
    chain.act(1, enroll(10, "edge-1", Role::Agent)).unwrap();
    chain
}

#[test]
fn a_right_is_given_on_within_its_limits_only() {
    let mut chain = limited("files/*");
    chain.act(1, enroll(11, "core-1", Role::Agent)).unwrap();
    chain.act(3, Body::Grant(grant(4, &[Verb::Publish, Verb::Grant], "*", "*"))).unwrap();
    chain.act(4, Body::Publish(publish("a/a", "edge-1", "files/1", "a"))).unwrap();
    for bad in [
        publish("a/b", "*", "files/1", "b"),
        publish("a/b", "core-1", "files/1", "b"),
        publish("a/b", "edge-1", "nixos/1", "b"),
    ] {
        assert!(matches!(chain.act(4, Body::Publish(bad)), Err(Refusal::NotAllowed { .. })));
    }
    assert!(matches!(chain.act(4, enroll(12, "edge-2", Role::Agent)), Err(Refusal::NotAllowed { .. })));
    assert!(matches!(chain.act(4, Body::Grant(grant(5, &[Verb::Enroll], "*", "*"))), Err(Refusal::NotAllowed { .. })));
    assert!(matches!(chain.act(3, enroll(12, "core-2", Role::Agent)), Err(Refusal::NotAllowed { .. })));
    assert!(matches!(chain.act(3, enroll(12, "edge-2", Role::Coordinator)), Err(Refusal::NotAllowed { .. })));
    assert!(
        matches!(chain.act(3, enroll(11, "edge-2", Role::Agent)), Err(Refusal::NotAllowed { .. })),
        "nor take core-1"
    );
    for theirs in [revoke(11), revoke(1), revoke(2)] {
        assert!(matches!(chain.act(3, theirs), Err(Refusal::NotAllowed { .. })));
    }
    for bad in [grant(5, &[], "*", "*"), Grant { kinds: vec![], ..grant(5, &[Verb::Read], "*", "*") }] {
        assert!(matches!(chain.act(1, Body::Grant(bad)), Err(Refusal::Invalid { .. })));
    }
    let named = Grant { name: "key-3".parse().unwrap(), ..grant(5, &[Verb::Read], "*", "*") };
    assert_eq!(chain.act(1, Body::Grant(named)), Err(Refusal::NameTaken("key-3".parse().unwrap())));
    assert!(matches!(chain.act(1, Body::Grant(grant(10, &[Verb::Read], "*", "*"))), Err(Refusal::KeyTaken { .. })));
    // The giver's end is the receiver's.
    chain.act(3, revoke(4)).unwrap();
    assert_eq!(chain.act(4, withdraw("a/a")), Err(Refusal::Revoked { key: id(4), by: 6 }));
    assert_eq!(
        chain.act(1, Body::Grant(grant(4, &[Verb::Read], "*", "*"))),
        Err(Refusal::Revoked { key: id(4), by: 6 })
    );
}

#[test]
fn what_a_limited_admin_publishes_never_reaches_further_nodes() {
    let mut chain = limited("*");
    chain.act(3, Body::Publish(publish("a/all", "*", "files/1", "x"))).unwrap();
    chain.act(1, enroll(11, "core-1", Role::Agent)).unwrap();
    assert_eq!(chain.state.desired(id(10)).len(), 1);
    assert_eq!(chain.state.desired(id(11)).len(), 0);
}

#[test]
fn declarations_for_nodes_to_come_are_not_a_limited_admins() {
    // Only edge nodes exist, so for now all that these mean lies within key 3's right.
    let mut chain = limited("*");
    chain.act(1, Body::Publish(publish("base/fw", "*", "files/1", "fw"))).unwrap();
    chain.act(1, Body::Publish(publish("core/fw", "core-*", "files/1", "fw2"))).unwrap();
    chain.act(1, Body::Publish(publish("edge/fw", "edge-1", "files/1", "fw3"))).unwrap();
    for name in ["base/fw", "core/fw"] {
        assert!(matches!(chain.act(3, withdraw(name)), Err(Refusal::NotAllowed { .. })));
        let body = Body::Publish(publish(name, "edge-1", "files/1", "fw"));
        assert!(matches!(chain.act(3, body), Err(Refusal::NotAllowed { .. })));
    }
    chain.act(3, Body::Publish(publish("edge/fw", "edge-*", "files/1", "fw3"))).unwrap();
    chain.act(3, withdraw("edge/fw")).unwrap();
}

#[test]
fn a_subject_is_not_taken_from_a_kind_that_one_may_not_publish() {
    let mut chain = limited("files/*");
    chain.act(1, Body::Publish(publish("base/os", "*", "nixos/1", "nixos"))).unwrap();
    let squat = Body::Publish(publish("a/os", "edge-1", "files/1", "nixos"));
    assert!(matches!(chain.act(3, squat.clone()), Err(Refusal::NotAllowed { .. })));
    chain.act(1, squat).unwrap();
}

#[test]
fn a_founder_can_be_replaced_but_not_the_last_one() {
    let mut chain = fleet();
    assert_eq!(chain.act(1, revoke(1)), Err(Refusal::LastAdmin));
    let ends = Grant { expires: Some(Millis(DAY)), ..grant(3, &Verb::ALL, "*", "*") };
    chain.act(1, Body::Grant(ends)).unwrap();
    chain.act(1, Body::Grant(grant(4, &[Verb::Grant], "*", "*"))).unwrap();
    assert_eq!(chain.act(1, revoke(1)), Err(Refusal::LastAdmin), "one right ends, the other is not all of them");
    chain.act(1, Body::Grant(grant(5, &Verb::ALL, "*", "*"))).unwrap();
    chain.act(5, revoke(1)).unwrap();
    assert_eq!(chain.act(5, revoke(5)), Err(Refusal::LastAdmin));
    chain.act(5, enroll(10, "edge-1", Role::Agent)).unwrap();
}

#[test]
fn adding_a_right_to_somebody_gives_no_power_over_them() {
    let mut chain = limited("*");
    chain.act(3, Body::Grant(grant(4, &[Verb::Read], "edge-1", "*"))).unwrap();
    chain.act(1, Body::Grant(grant(4, &Verb::ALL, "*", "*"))).unwrap();
    assert!(matches!(chain.act(3, revoke(4)), Err(Refusal::NotAllowed { .. })));
    chain.act(4, revoke(4)).unwrap();
}

#[test]
fn rights_do_not_pile_up() {
    let mut chain = limited("*");
    let mut given = 0;
    for n in 0..40 {
        let more = Grant { expires: Some(Millis(DAY * 400 + n)), ..grant(4, &[Verb::Read], "edge-1", "*") };
        given += u64::from(chain.act(3, Body::Grant(more)).is_ok());
    }
    assert_eq!(given, 16);
    chain.act(1, Body::Grant(grant(4, &[Verb::Read], "*", "*"))).unwrap();
    // Handing on to oneself, too, ends somewhere.
    let mut handed = 0;
    for n in 0..40 {
        let from = if n % 2 == 0 { 3 } else { 5 };
        let to = if n % 2 == 0 { 5 } else { 3 };
        handed += u64::from(chain.act(from, Body::Grant(grant(to, &Verb::ALL, "*", &format!("k{n}/*,*")))).is_ok());
    }
    assert!(handed < 40 && chain.state.admins()[&id(3)].capabilities.iter().all(|c| c.scopes.len() <= 16));
    // What has ended makes room.
    chain.at = Millis(DAY * 500);
    chain.act(1, enroll(20, "x", Role::Agent)).unwrap();
    chain.act(3, Body::Grant(grant(4, &[Verb::Read], "edge-1", "*"))).unwrap();
    assert_eq!(chain.state.admins()[&id(4)].capabilities.len(), 2);
}

#[test]
fn invites_end_with_their_makers_right_and_are_nobody_elses() {
    let mut chain = limited("*");
    let fleet = chain.state.fleet();
    chain.act(1, invite(60, None, DAY, 5)).unwrap();
    assert!(matches!(chain.act(3, revoke(60)), Err(Refusal::NotAllowed { .. })));
    chain.act(3, invite(61, None, DAY, 5)).unwrap();
    let outside = Body::Redeem(redeem(fleet, 61, 11, "core-1"));
    assert!(matches!(chain.act(2, outside), Err(Refusal::Invalid { .. })));
    chain.act(2, Body::Redeem(redeem(fleet, 61, 11, "edge-2"))).unwrap();
    chain.act(1, revoke(3)).unwrap();
    assert_eq!(chain.act(2, Body::Redeem(redeem(fleet, 61, 12, "edge-3"))), Err(Refusal::NoSuchInvite));
    let ends = Grant { expires: Some(Millis(2000)), ..grant(4, &Verb::ALL, "*", "*") };
    chain.act(1, Body::Grant(ends)).unwrap();
    chain.act(4, invite(62, None, DAY, 5)).unwrap();
    assert_eq!(chain.state.invites()[&id(62)].expires, Millis(2000));
    let late = Entry { at: Millis(2000), ..chain.next(2, Body::Redeem(redeem(fleet, 62, 13, "edge-4"))) };
    assert_eq!(chain.put(2, &late), Err(Refusal::InviteExpired));
}

#[test]
fn rights_end_by_the_ledgers_time_which_few_can_move() {
    let mut chain = limited("*");
    let ends = Grant { expires: Some(Millis(DAY * 30)), ..grant(4, &[Verb::Enroll], "*", "*") };
    chain.act(1, Body::Grant(ends)).unwrap();
    // A coordinator cannot move the time, an admin with limits only by a day for an entry.
    chain.at = Millis(DAY * 365);
    let now = Body::Checkpoint(Checkpoint { state: chain.state.digest() });
    chain.act(2, now).unwrap();
    assert_eq!(chain.state.time(), Millis(1000));
    chain.act(3, enroll(11, "edge-2", Role::Agent)).unwrap();
    assert_eq!(chain.state.time(), Millis(1000 + DAY));
    chain.at = Millis(2000);
    chain.act(4, enroll(12, "edge-3", Role::Agent)).unwrap();
    chain.at = Millis(DAY * 30);
    assert!(matches!(chain.act(4, enroll(13, "edge-4", Role::Agent)), Err(Refusal::NotAllowed { .. })));
    chain.act(1, enroll(13, "edge-4", Role::Agent)).unwrap();
    // Nobody gets back behind it by an old date.
    chain.at = Millis(2000);
    assert!(matches!(chain.act(4, enroll(14, "edge-5", Role::Agent)), Err(Refusal::NotAllowed { .. })));
    assert_eq!(chain.state.time(), Millis(DAY * 30));
}

#[test]
fn who_can_is_answered_from_the_ledger() {
    let mut chain = fleet();
    let web = |n: u8, name: &str| {
        let (key, name, role) = (id(n), name.parse().unwrap(), Role::Agent);
        Body::Enroll(Enroll { key, name, role, labels: labels(&[("role", "web")]), replaces: None })
    };
    chain.act(1, web(20, "edge-1")).unwrap();
    chain.act(1, web(21, "core-1")).unwrap();
    chain.act(1, Body::Grant(grant(10, &[Verb::Publish], "edge-*", "nixos/*"))).unwrap();
    chain.act(1, Body::Grant(grant(11, &[Verb::Publish], "role=web", "*"))).unwrap();
    chain.act(1, Body::Grant(grant(12, &[Verb::Read], "*", "*"))).unwrap();
    let mut ends = grant(13, &[Verb::Publish], "*", "nixos/1");
    ends.expires = Some(Millis(5000));
    chain.act(1, Body::Grant(ends)).unwrap();
    let ask = |kinds: &str, on: &str, now: u64| -> Vec<(String, Coverage)> {
        let (kinds, on) = (kinds.parse().unwrap(), on.parse().unwrap());
        let found = chain.state.who_can(Verb::Publish, &kinds, &on, Millis(now));
        found.into_iter().map(|h| (h.name.to_string(), h.covers)).collect()
    };
    let named = |n: u8, covers: Coverage| (format!("key-{n}"), covers);
    let edge = Coverage::Some(vec!["edge-1".parse().unwrap()]);
    assert_eq!(
        ask("nixos/*", "role=web", 0),
        [named(1, Coverage::All), named(10, edge), named(11, Coverage::All)],
        "key 13 may not publish every kind of nixos"
    );
    assert_eq!(ask("nixos/1", "*", 0).last(), Some(&named(13, Coverage::All)));
    assert_eq!(ask("nixos/1", "*", 5000).len(), 3, "the right has ended");
    assert_eq!(ask("files/1", "core-1", 0), [named(1, Coverage::All), named(11, Coverage::AllNow)]);
    for role in GrantRole::ALL {
        assert_eq!(role.to_string().parse(), Ok(role));
        assert_eq!(GrantRole::of(&role.verbs().iter().copied().collect()), Some(role));
        assert!(!role.verbs().contains(&Verb::Grant), "a bundle never gives rights on");
    }
}
