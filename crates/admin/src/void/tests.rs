use protocols::SecretKey;
use protocols::entry::{Grant, KindPattern, Revoke, Verb, Withdraw};

use super::*;
use crate::author::{Author, Intent};
use crate::testing::{NOW, enroll, fleet, node_key, publish};

/// A ledger in memory.
struct Chain {
    state: FleetState,
    entries: Vec<VerifiedEntry>,
}

impl Chain {
    fn new() -> (Self, SecretKey) {
        let (key, founded) = fleet();
        let entries = vec![founded.genesis.clone().verify().unwrap()];
        (Self { state: founded.state, entries }, key)
    }

    fn act(&mut self, key: &SecretKey, body: Body) -> u64 {
        let (entry, after) = Author::new(key.clone()).sign(&self.state, &Intent::Enter(body), NOW).unwrap();
        self.state = after;
        self.entries.push(entry);
        self.state.head().seq
    }
}

fn rooted(key: &SecretKey, name: &str) -> Body {
    Body::Grant(Grant {
        to: key.id(),
        name: name.parse().unwrap(),
        verbs: Verb::ALL.into_iter().collect(),
        on: "*".parse().unwrap(),
        kinds: vec![KindPattern::any()],
        expires: None,
    })
}

fn withdraw(name: &str) -> Body {
    Body::Withdraw(Withdraw { name: name.parse().unwrap() })
}

fn revoke(key: NodeId, compromised_since: Option<u64>) -> Body {
    Body::Revoke(Revoke { key, reason: "stolen".into(), compromised_since })
}

#[test]
fn what_a_thief_did_is_listed_with_what_brings_it_back() {
    let (mut chain, anna) = Chain::new();
    let (ben, crook) = (SecretKey::from_seed(&[31; 32]), SecretKey::from_seed(&[32; 32]));
    for n in 1..=3 {
        chain.act(&anna, enroll(n, &[("role", "edge")]));
    }
    chain.act(&anna, rooted(&ben, "ben"));
    let good = chain.act(&ben, publish("edge/motd", "*", "/etc", "good"));
    chain.act(&anna, publish("edge/kept", "*", "/kept", "good"));
    chain.act(&anna, publish("edge/gone", "*", "/gone", "good"));
    // From here on somebody else has Ben's key.
    let since = chain.act(&ben, publish("edge/motd", "*", "/etc", "bad"));
    chain.act(&ben, withdraw("edge/gone"));
    chain.act(&ben, rooted(&crook, "crook"));
    chain.act(&crook, publish("evil/new", "*", "/evil", "bad"));
    chain.act(&ben, revoke(node_key(3).id(), None));
    let Body::Enroll(mut relabel) = enroll(2, &[("role", "core")]) else { panic!("another body") };
    relabel.name = "theirs".parse().unwrap();
    chain.act(&ben, Body::Enroll(relabel));
    let before = chain.state.clone();
    chain.act(&anna, revoke(ben.id(), Some(since)));
    let loss = Loss::between(&before, &chain.state);
    insta::assert_snapshot!(loss.lines().join("\n"), @r"
    admins who lose every right: ben, crook
    nodes put into quarantine: theirs
    declarations that end: edge/motd, evil/new
    ");
    let found = repairs(&chain.entries, &before, &chain.state, &[ben.id()], since);
    let lines: Vec<String> = found.iter().map(|r| format!("{} {}\n  {}", r.entry, r.what, r.command)).collect();
    insta::assert_snapshot!(lines.join("\n").replace(&node_key(2).id().to_string(), "KEY-2"), @r"
    8 edge/motd was replaced; its last good version is that of entry 5
      flt admin rollback edge/motd --to 5
    9 edge/gone was withdrawn; its last good version is that of entry 7
      flt admin rollback edge/gone --to 7
    12 the node edge-3 was removed; its key is spent, and it needs a new one
      flt admin invite --name edge-3 --label role=edge
    13 the node theirs was edge-2 before; it is in quarantine
      flt admin enroll KEY-2 --name edge-2 --label role=edge
    ");
    let motd = found.iter().find_map(|r| r.publish.as_ref().filter(|p| p.0 == good)).unwrap();
    assert!(motd.1.payload.get().contains("good"));
    // Nothing is to be repaired for a plain revocation.
    assert!(found.iter().all(|r| !r.what.contains("edge/kept") && !r.what.contains("evil/new")));
}

#[test]
fn a_plain_revocation_takes_rights_and_invites_and_nothing_else() {
    let (mut chain, anna) = Chain::new();
    let ben = SecretKey::from_seed(&[31; 32]);
    chain.act(&anna, rooted(&ben, "ben"));
    chain.act(&ben, publish("edge/motd", "*", "/etc", "good"));
    let before = chain.state.clone();
    chain.act(&anna, revoke(ben.id(), None));
    let loss = Loss::between(&before, &chain.state);
    assert_eq!(loss, Loss { admins: vec!["ben".into()], ..Loss::default() });
}
