//! What every body does, and every way in which it is refused.

use super::*;
use crate::entry::{
    Appoint, Body, Checkpoint, Enroll, Entry, Founder, Genesis, Grant, Invite, KindPattern, Place, Publish, Quarantine,
    Recover, Recovery, Redeem, Release, Revoke, Rotate, SetRecovery, SignedEntry, Verb, Withdraw,
};
use crate::key::SecretKey;

mod limits;
mod sequences;
mod succession;

/// A day, in milliseconds.
const DAY: u64 = 24 * 60 * 60 * 1000;

/// A fleet of keys 1 (founder) and 2 (coordinator), and the entries that made it what it is.
#[derive(Debug, Clone)]
struct Chain {
    state: FleetState,
    log: Vec<SignedEntry>,
    at: Millis,
}

fn key(n: u8) -> SecretKey {
    SecretKey::from_seed(&[n; 32])
}

fn id(n: u8) -> NodeId {
    key(n).id()
}

fn genesis(admins: &[u8], coordinators: &[u8]) -> Genesis {
    let founder = |n: &u8| Founder { key: id(*n), name: format!("key-{n}").parse().unwrap() };
    Genesis {
        name: "acme".parse().unwrap(),
        nonce: Digest::from_bytes([7; 32]),
        admins: admins.iter().map(founder).collect(),
        coordinators: coordinators.iter().map(founder).collect(),
        recovery: None,
    }
}

fn found(author: u8, genesis: Genesis) -> Result<Chain, Refusal> {
    let at = Millis(1000);
    let entry = Entry {
        fleet: None,
        seq: 0,
        prev: None,
        at,
        not_after: None,
        author: id(author),
        body: Body::Genesis(genesis),
    };
    let signed = entry.sign(&key(author)).unwrap();
    let state = FleetState::found(&signed.clone().verify().unwrap())?;
    Ok(Chain { state, log: vec![signed], at })
}

fn fleet() -> Chain {
    found(1, genesis(&[1], &[2])).unwrap()
}

impl Chain {
    /// The next entry, as its author would write it.
    fn next(&self, author: u8, body: Body) -> Entry {
        let head = self.state.head();
        Entry {
            fleet: Some(self.state.fleet()),
            seq: head.seq + 1,
            prev: Some(head.hash),
            at: self.at,
            not_after: None,
            author: id(author),
            body,
        }
    }

    /// Signs and applies; a refusal must leave no trace.
    fn put(&mut self, author: u8, entry: &Entry) -> Result<(), Refusal> {
        let signed = entry.sign(&key(author)).unwrap();
        let before = self.state.clone();
        let result = self.state.apply(&signed.clone().verify().unwrap());
        match result {
            Ok(()) => {
                assert_eq!(self.state.head(), Head { seq: entry.seq, hash: signed.hash() });
                self.log.push(signed);
            }
            Err(_) => assert_eq!(self.state, before, "refused and yet changed"),
        }
        result
    }

    fn act(&mut self, author: u8, body: Body) -> Result<(), Refusal> {
        let entry = self.next(author, body);
        self.put(author, &entry)
    }
}

fn grant(to: u8, verbs: &[Verb], on: &str, kinds: &str) -> Grant {
    Grant {
        to: id(to),
        name: format!("key-{to}").parse().unwrap(),
        verbs: verbs.iter().copied().collect(),
        on: on.parse().unwrap(),
        kinds: kinds.split(',').map(|k| k.parse::<KindPattern>().unwrap()).collect(),
        expires: None,
    }
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(k, v)| (k.parse().unwrap(), (*v).to_owned())).collect()
}

fn enroll(n: u8, name: &str, role: Role) -> Body {
    Body::Enroll(Enroll { key: id(n), name: name.parse().unwrap(), role, labels: Labels::new(), replaces: None })
}

fn invite(n: u8, name: Option<&str>, expires: u64, uses: u32) -> Body {
    let name = name.map(|n| n.parse().unwrap());
    Body::Invite(Invite { invite: id(n), name, labels: Labels::new(), expires: Millis(expires), uses, replaces: None })
}

fn redeem(fleet: FleetId, invite: u8, n: u8, name: &str) -> Redeem {
    Redeem::new(fleet, &key(invite), &key(n), name.parse().unwrap())
}

fn publish(name: &str, on: &str, kind: &str, subject: &str) -> Publish {
    Publish {
        name: name.parse().unwrap(),
        on: on.parse().unwrap(),
        kind: kind.parse().unwrap(),
        subject: subject.parse().unwrap(),
        policy: Policy::default(),
        payload: Payload::from_json(r#"{"x": [1,2]}"#.into()).unwrap(),
        artifacts: Vec::new(),
        note: None,
    }
}

fn withdraw(name: &str) -> Body {
    Body::Withdraw(Withdraw { name: name.parse().unwrap() })
}

fn revoke(n: u8) -> Body {
    Body::Revoke(Revoke { key: id(n), reason: "test".into(), compromised_since: None })
}

fn appoint(n: u8) -> Body {
    Body::Appoint(Appoint { coordinator: id(n) })
}

#[test]
fn a_genesis_entry_founds_a_fleet_or_is_refused() {
    let chain = fleet();
    assert_eq!(chain.state.fleet().as_bytes(), chain.log[0].hash().as_bytes());
    assert!(chain.state.is_coordinator(id(2)) && chain.state.may_everywhere(id(1), Verb::Grant, Millis(0)));
    for (author, bad) in [
        (3, genesis(&[1], &[2])),
        (1, genesis(&[1], &[])),
        (1, genesis(&[1], &[1])),
        (1, genesis(&[1, 1], &[2])),
        (1, genesis(&[1], &[2, 2])),
        (1, genesis(&(1..40).collect::<Vec<u8>>(), &[50])),
    ] {
        assert!(matches!(found(author, bad), Err(Refusal::Genesis(_))));
    }
    let mut weak = genesis(&[1], &[2]);
    weak.coordinators[0].key = NodeId::from_bytes([0; 32]);
    assert!(matches!(found(1, weak), Err(Refusal::Genesis(_))));
    let mut alike = genesis(&[1, 3], &[2]);
    alike.admins[1].name = alike.admins[0].name.clone();
    assert!(matches!(found(1, alike), Err(Refusal::Genesis(_))));
    let mut chain = chain;
    assert!(matches!(chain.act(1, Body::Genesis(genesis(&[1], &[2]))), Err(Refusal::Genesis(_))));
    let other = chain.next(1, enroll(9, "edge-1", Role::Agent)).sign(&key(1)).unwrap().verify().unwrap();
    assert!(matches!(FleetState::found(&other), Err(Refusal::Genesis(_))));
}

#[test]
fn an_entry_has_one_place() {
    let mut chain = fleet();
    let good = chain.next(1, enroll(9, "edge-1", Role::Agent));
    let other = FleetId::from_bytes([1; 32]);
    assert!(matches!(chain.put(1, &Entry { fleet: Some(other), ..good.clone() }), Err(Refusal::OtherFleet { .. })));
    assert!(matches!(chain.put(1, &Entry { fleet: None, ..good.clone() }), Err(Refusal::OtherFleet { .. })));
    for bad in [
        Entry { seq: 2, ..good.clone() },
        Entry { seq: 0, ..good.clone() },
        Entry { seq: u64::MAX, ..good.clone() },
        Entry { prev: None, ..good.clone() },
        Entry { prev: Some(crate::ids::EntryHash::from_bytes([1; 32])), ..good.clone() },
    ] {
        assert!(matches!(chain.put(1, &bad), Err(Refusal::OutOfPlace { .. })));
    }
    let far = Entry { at: Millis(u64::MAX), ..good.clone() };
    assert!(matches!(chain.put(1, &far), Err(Refusal::Invalid { .. })));
    chain.put(1, &good).unwrap();
    assert!(matches!(chain.put(1, &good), Err(Refusal::OutOfPlace { expected: 1, found: 0 })));
}

#[test]
fn members_are_enrolled_renamed_and_removed() {
    let mut chain = fleet();
    chain.act(1, enroll(10, "edge-1", Role::Agent)).unwrap();
    assert_eq!(chain.act(1, enroll(11, "edge-1", Role::Agent)), Err(Refusal::NameTaken("edge-1".parse().unwrap())));
    assert!(matches!(chain.act(1, enroll(1, "edge-2", Role::Agent)), Err(Refusal::KeyTaken { .. })));
    assert!(matches!(chain.act(1, enroll(10, "edge-1", Role::Coordinator)), Err(Refusal::KeyTaken { .. })));
    assert_eq!(chain.act(40, enroll(11, "edge-2", Role::Agent)), Err(Refusal::UnknownAuthor(id(40))));
    assert!(matches!(chain.act(10, enroll(11, "edge-2", Role::Agent)), Err(Refusal::NotAllowed { .. })));
    chain.act(1, enroll(10, "core-1", Role::Agent)).unwrap();
    assert_eq!(chain.state.member_named("core-1").map(|(key, m)| (key, m.since)), Some((id(10), 1)));
    chain.act(1, enroll(3, "second", Role::Coordinator)).unwrap();
    assert!(matches!(chain.act(1, revoke(2)), Err(Refusal::Invalid { .. })), "the one that orders");
    chain.act(1, appoint(3)).unwrap();
    chain.act(1, revoke(2)).unwrap();
    assert!(matches!(chain.act(1, revoke(3)), Err(Refusal::Invalid { .. })), "the only coordinator");
    chain.act(1, revoke(10)).unwrap();
    assert_eq!(chain.act(1, enroll(10, "edge-1", Role::Agent)), Err(Refusal::Revoked { key: id(10), by: 6 }));
    assert_eq!(chain.act(1, revoke(10)), Err(Refusal::NoSuchKey(id(10))));
    let weak = Enroll {
        key: NodeId::from_bytes([0; 32]),
        name: "x".parse().unwrap(),
        role: Role::Agent,
        labels: labels(&[]),
        replaces: None,
    };
    assert!(matches!(chain.act(1, Body::Enroll(weak.clone())), Err(Refusal::Invalid { .. })));
    for bad in [labels(&[("a", "b c")]), labels(&[("a", &"x".repeat(129))])] {
        let body = Body::Enroll(Enroll { key: id(12), labels: bad, ..weak.clone() });
        assert!(matches!(chain.act(1, body), Err(Refusal::Invalid { .. })));
    }
}

#[test]
fn invites_are_redeemed_once_in_time_and_with_proof() {
    let mut chain = fleet();
    let fleet = chain.state.fleet();
    for uses in [0, 10_001] {
        assert!(matches!(chain.act(1, invite(60, None, 5000, uses)), Err(Refusal::Invalid { .. })));
    }
    assert!(matches!(chain.act(1, invite(60, Some("edge-1"), 5000, 2)), Err(Refusal::Invalid { .. })));
    assert!(matches!(chain.act(1, invite(2, None, 5000, 1)), Err(Refusal::Invalid { .. })), "not a fresh key");
    assert!(matches!(chain.act(2, invite(60, None, 5000, 1)), Err(Refusal::NotAllowed { .. })));
    chain.act(1, invite(60, Some("edge-1"), 5000, 1)).unwrap();
    assert!(matches!(chain.act(1, invite(60, None, 5000, 1)), Err(Refusal::Invalid { .. })), "twice");
    let good = redeem(fleet, 60, 10, "edge-1");
    assert!(matches!(chain.act(1, Body::Redeem(good.clone())), Err(Refusal::NotAllowed { .. })), "by a coordinator");
    assert_eq!(chain.act(2, Body::Redeem(redeem(fleet, 61, 10, "edge-1"))), Err(Refusal::NoSuchInvite));
    let forged = [
        Redeem { key: id(11), ..good.clone() },
        Redeem { name: "edge-2".parse().unwrap(), ..good.clone() },
        Redeem { invite_signature: good.key_signature, ..good.clone() },
        Redeem { key_signature: good.invite_signature, ..good.clone() },
        redeem(FleetId::from_bytes([3; 32]), 60, 10, "edge-1"),
    ];
    for bad in forged {
        assert_eq!(chain.act(2, Body::Redeem(bad)), Err(Refusal::InviteUnproven));
    }
    let other = redeem(fleet, 60, 10, "edge-2");
    assert_eq!(chain.act(2, Body::Redeem(other)), Err(Refusal::InviteForOther("edge-1".parse().unwrap())));
    let late = Entry { at: Millis(5000), ..chain.next(2, Body::Redeem(good.clone())) };
    assert_eq!(chain.put(2, &late), Err(Refusal::InviteExpired));
    for taken in [1, 2, 60] {
        let body = Body::Redeem(redeem(fleet, 60, taken, "edge-1"));
        assert!(matches!(chain.act(2, body), Err(Refusal::KeyTaken { .. })), "{taken}");
    }
    chain.act(2, Body::Redeem(good)).unwrap();
    assert_eq!(chain.state.member_named("edge-1").and_then(|(_, m)| m.invite), Some(id(60)));
    assert_eq!(chain.act(2, Body::Redeem(redeem(fleet, 60, 11, "edge-1"))), Err(Refusal::InviteUsed));
    // Withdrawn, an invite's key is used up for good.
    chain.act(1, invite(62, None, 5000, 5)).unwrap();
    chain.act(1, revoke(62)).unwrap();
    assert_eq!(chain.act(2, Body::Redeem(redeem(fleet, 62, 11, "x"))), Err(Refusal::NoSuchInvite));
    assert!(matches!(chain.act(1, invite(62, None, 5000, 5)), Err(Refusal::Revoked { .. })));
    chain.act(1, invite(63, None, 5000, 5)).unwrap();
    assert_eq!(
        chain.act(2, Body::Redeem(redeem(fleet, 63, 11, "edge-1"))),
        Err(Refusal::NameTaken("edge-1".parse().unwrap()))
    );
    assert!(matches!(chain.act(1, Body::Grant(grant(63, &[Verb::Read], "*", "*"))), Err(Refusal::KeyTaken { .. })));
}

#[test]
fn declarations_are_published_replaced_and_withdrawn() {
    let mut chain = fleet();
    chain.act(1, enroll(10, "edge-1", Role::Agent)).unwrap();
    chain.act(1, enroll(11, "core-1", Role::Agent)).unwrap();
    chain.act(1, Body::Publish(publish("base/motd", "*", "files/1", "files/motd"))).unwrap();
    chain.act(1, Body::Publish(publish("edge/motd", "edge-*", "files/1", "files/motd"))).unwrap();
    let desired = |chain: &Chain, n| {
        let desired = chain.state.desired(id(n));
        desired.values().map(|d| (d.name.to_string(), d.generation)).collect::<Vec<_>>()
    };
    assert_eq!(desired(&chain, 10), [("edge/motd".to_owned(), 4)]);
    assert_eq!(desired(&chain, 11), [("base/motd".to_owned(), 3)]);
    assert_eq!(desired(&chain, 2), [], "a coordinator plays nothing");
    chain.act(1, withdraw("edge/motd")).unwrap();
    assert_eq!(desired(&chain, 10), [("base/motd".to_owned(), 3)]);
    assert!(matches!(chain.act(1, withdraw("edge/motd")), Err(Refusal::NoSuchDeclaration(_))));
    assert!(matches!(chain.act(2, withdraw("base/motd")), Err(Refusal::NotAllowed { .. })));
    assert!(matches!(
        chain.act(11, Body::Publish(publish("a/b", "core-1", "files/1", "x"))),
        Err(Refusal::NotAllowed { .. })
    ));
    let good = publish("a/b", "*", "files/1", "x");
    let big = format!("\"{}\"", "x".repeat(crate::entry::body::PAYLOAD_BYTES_MAX));
    let blob = BlobRef { hash: crate::ids::BlobHash::from_bytes([0; 32]), size: 1 };
    for bad in [
        Publish { policy: Policy { attempts: 0, ..Policy::default() }, ..good.clone() },
        Publish { note: Some("x".repeat(501)), ..good.clone() },
        Publish { note: Some("a\u{1b}[31m".into()), ..good.clone() },
        Publish { payload: Payload::from_json(big).unwrap(), ..good.clone() },
        Publish { artifacts: vec![blob; 1025], ..good.clone() },
    ] {
        assert!(matches!(chain.act(1, Body::Publish(bad)), Err(Refusal::Invalid { .. })));
    }
}

#[test]
fn a_checkpoint_states_the_digest_before_it() {
    let mut chain = fleet();
    let now = |chain: &Chain| Body::Checkpoint(Checkpoint { state: chain.state.digest() });
    let body = now(&chain);
    chain.act(2, body.clone()).unwrap();
    assert_eq!(chain.act(2, body), Err(Refusal::WrongCheckpoint), "the head moved");
    let body = now(&chain);
    assert_eq!(chain.act(30, body.clone()), Err(Refusal::UnknownAuthor(id(30))));
    chain.act(1, body).unwrap();
    // The digest is of a JSON text, which must not have failed to be one.
    let json = serde_json::to_vec(&chain.state).unwrap();
    assert_eq!(chain.state.digest().as_bytes(), blake3::hash(&json).as_bytes());
    assert_eq!(serde_json::from_slice::<FleetState>(&json).unwrap(), chain.state);
}

#[test]
fn every_refusal_says_what_to_do() {
    let chain = fleet();
    for refusal in [Refusal::LastAdmin, Refusal::InviteUsed, Refusal::UnknownAuthor(id(1)), Refusal::WrongCheckpoint] {
        assert!(!refusal.hint().is_empty() && !refusal.to_string().is_empty());
    }
    let entry = |at| Entry { at: Millis(at), ..chain.next(1, withdraw("a/a")) };
    assert!(chain.state.check_clock(&entry(1_000_000_000), Millis(0)).is_err());
    assert!(chain.state.check_clock(&entry(60_000), Millis(0)).is_ok());
    let ends = Entry { not_after: Some(Millis(70_000)), ..entry(60_000) };
    assert_eq!(chain.state.check_clock(&ends, Millis(70_000)), Ok(()));
    assert_eq!(chain.state.check_clock(&ends, Millis(70_001)), Err(Refusal::Expired));
}
