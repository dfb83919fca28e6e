//! Who is left out, by ledgers that are signed entry by entry.

use failover::{NodeId as LeaseId, Workload};
use protocols::entry::{Enroll, Founder, Genesis, Invite, Payload, Revoke, Role, Rotate};
use protocols::{Body, Digest, Entry, Millis, NodeId, SecretKey};

use super::super::{Cluster, lease_id};
use super::*;

/// A fleet of an admin, a coordinator, and the nodes `a`, `b` and `c` with the keys 10, 11 and 12.
struct Ledger {
    state: FleetState,
}

fn key(n: u8) -> SecretKey {
    SecretKey::from_seed(&[n; 32])
}

fn lease(n: u8) -> LeaseId {
    lease_id(key(n).id())
}

fn enroll(n: u8, name: &str) -> Body {
    let labels = [("role".parse().unwrap(), "db".to_owned())].into();
    Body::Enroll(Enroll { key: key(n).id(), name: name.parse().unwrap(), role: Role::Agent, labels, replaces: None })
}

fn revoke(n: u8) -> Body {
    Body::Revoke(Revoke { key: key(n).id(), reason: "gone".into(), compromised_since: None })
}

fn publish(succession: &str) -> Publish {
    let payload =
        format!(r#"{{"name":"ledger","succession":{succession},"run":{{"program":{{"command":["/bin/true"]}}}}}}"#);
    Publish {
        name: "db/ledger".parse().unwrap(),
        on: "role=db".parse().unwrap(),
        kind: "service/1".parse().unwrap(),
        subject: "service/ledger".parse().unwrap(),
        policy: protocols::Policy::default(),
        payload: Payload::from_json(payload).unwrap(),
        artifacts: Vec::new(),
        note: None,
    }
}

const THREE: &str = r#"{"candidates":["a","b","c"]}"#;

impl Ledger {
    fn found() -> Self {
        let founder = |n: u8, name: &str| Founder { key: key(n).id(), name: name.parse().unwrap() };
        let genesis = Genesis {
            name: "test".parse().unwrap(),
            nonce: Digest::from_bytes([9; 32]),
            admins: vec![founder(1, "anna")],
            coordinators: vec![founder(2, "hub")],
            recovery: None,
        };
        let (author, body) = (key(1).id(), Body::Genesis(genesis));
        let genesis = Entry { fleet: None, seq: 0, prev: None, at: Millis(1), not_after: None, author, body };
        let state = FleetState::found(&genesis.sign(&key(1)).unwrap().verify().unwrap()).unwrap();
        let mut ledger = Self { state };
        for (n, name) in (10..).zip(["a", "b", "c"]) {
            ledger.put(1, enroll(n, name));
        }
        ledger
    }

    fn with(succession: &str) -> Self {
        let mut ledger = Self::found();
        ledger.put(1, Body::Publish(publish(succession)));
        ledger
    }

    fn put(&mut self, author: u8, body: Body) {
        let head = self.state.head();
        let (fleet, seq, prev) = (Some(self.state.fleet()), head.seq + 1, Some(head.hash));
        let author = key(author);
        let entry = Entry { fleet, seq, prev, at: Millis(2), not_after: None, author: author.id(), body };
        self.state.apply(&entry.sign(&author).unwrap().verify().unwrap()).unwrap();
    }

    fn cluster(&self) -> Result<Cluster, String> {
        let mut found = declared(&self.state);
        match found.clusters.pop_first() {
            Some((_, cluster)) => Ok(cluster),
            None => Err(found.unclear.pop_first().expect("it is declared").1.to_string()),
        }
    }

    /// The candidates in force, by their keys' numbers.
    fn candidates(&self) -> Vec<u8> {
        let settings = self.cluster().unwrap().settings;
        (10..30).filter(|n| settings.priority(lease(*n)).is_some()).collect()
    }
}

#[test]
fn who_was_removed_is_left_out_and_the_others_go_on() {
    let mut ledger = Ledger::with(THREE);
    let before = ledger.cluster().unwrap();
    assert_eq!((ledger.candidates(), before.left.len()), (vec![10, 11, 12], 0));
    ledger.put(1, revoke(11));
    let after = ledger.cluster().unwrap();
    assert_eq!(ledger.candidates(), [10, 12]);
    assert_eq!(after.left.iter().map(Name::as_str).collect::<Vec<_>>(), ["b"]);
    let names: BTreeSet<&str> = after.names.values().map(Name::as_str).collect();
    assert_eq!(names, ["a", "c"].into());
    // Who was preferred is so still, and nothing else changes.
    assert_eq!(after.settings.priority(lease(10)), before.settings.priority(lease(10)));
    assert_eq!((after.settings.ttl, after.generation), (before.settings.ttl, before.generation));

    ledger.put(1, revoke(10));
    assert_eq!(ledger.candidates(), [12]);
    ledger.put(1, revoke(12));
    assert!(ledger.cluster().unwrap_err().contains("`a` is a candidate"), "nobody is left, so it is unclear");
}

#[test]
fn who_comes_by_the_name_of_one_that_left_is_a_candidate() {
    let mut ledger = Ledger::with(THREE);
    ledger.put(1, revoke(11));
    ledger.put(1, enroll(20, "b"));
    assert_eq!(ledger.candidates(), [10, 12, 20]);
    assert!(ledger.cluster().unwrap().left.is_empty());
}

#[test]
fn who_was_renamed_relabelled_or_changed_its_key_did_not_leave() {
    let mut ledger = Ledger::with(THREE);
    ledger.put(1, enroll(11, "b2"));
    assert!(ledger.cluster().unwrap_err().contains("`b` is a candidate"));
    ledger.put(1, enroll(11, "b"));
    assert_eq!(ledger.candidates(), [10, 11, 12]);

    // The old key is revoked, and the node is there.
    let rotate = Rotate::new(ledger.state.fleet(), key(11).id(), &key(21));
    ledger.put(11, Body::Rotate(rotate));
    assert_eq!(ledger.candidates(), [10, 12, 21]);
    ledger.put(1, enroll(21, "b2"));
    assert!(ledger.cluster().is_err(), "a key that was rotated is nobody that left");
    ledger.put(1, revoke(21));
    assert_eq!(ledger.candidates(), [10, 12]);

    let mut ledger = Ledger::with(THREE);
    let labels = [("role".parse().unwrap(), "spare".to_owned())].into();
    let name = "b".parse().unwrap();
    ledger.put(1, Body::Enroll(Enroll { key: key(11).id(), name, role: Role::Agent, labels, replaces: None }));
    ledger.put(1, revoke(12));
    assert!(ledger.cluster().is_err(), "it has its name, and the declaration is not for it");
}

#[test]
fn a_name_that_nobody_ever_had_is_no_one_who_left() {
    let mut ledger = Ledger::found();
    ledger.put(1, enroll(13, "d"));
    ledger.put(1, revoke(13));
    let typo = publish(r#"{"candidates":["a","b","see"]}"#);
    assert_eq!(candidates_exist(&ledger.state, &typo), Err(NoSuchCandidate("see".parse().unwrap())));
    let left_before = publish(r#"{"candidates":["a","d"]}"#);
    assert_eq!(candidates_exist(&ledger.state, &left_before), Err(NoSuchCandidate("d".parse().unwrap())));
    let first = publish(r#"{"first":"see"}"#);
    assert_eq!(candidates_exist(&ledger.state, &first), Err(NoSuchCandidate("see".parse().unwrap())));
    assert_eq!(candidates_exist(&ledger.state, &publish(THREE)), Ok(()));
    assert_eq!(candidates_exist(&ledger.state, &publish("{}")), Ok(()));

    // Whoever is invited by name will come.
    let expires = Millis(1_000_000);
    let (invite, name) = (key(30).id(), Some("see".parse().unwrap()));
    let labels = protocols::Labels::default();
    ledger.put(1, Body::Invite(Invite { invite, name, labels, expires, uses: 1, replaces: None }));
    assert_eq!(candidates_exist(&ledger.state, &typo), Ok(()));

    // It was let through all the same: then it stays unclear, whoever left before.
    let mut ledger = Ledger::found();
    ledger.put(1, enroll(13, "d"));
    ledger.put(1, revoke(13));
    ledger.put(1, Body::Publish(typo));
    assert!(ledger.cluster().unwrap_err().contains("`see`"));
}

#[test]
fn nobody_begins_in_the_place_of_the_first_who_left() {
    let mut ledger = Ledger::with(r#"{"candidates":["a","b"],"first":"a"}"#);
    assert_eq!(ledger.cluster().unwrap().settings.first, Some(lease(10)));
    ledger.put(1, revoke(10));
    let cluster = ledger.cluster().unwrap();
    assert_eq!((cluster.settings.first, cluster.first_left), (None, true));
    assert_eq!(ledger.candidates(), [11]);
}

#[test]
fn a_node_that_is_to_go_is_told_where_it_is_named() {
    let ledger = Ledger::with(THREE);
    let named = naming(&ledger.state, key(11).id());
    let others: Vec<&str> = named[0].1.iter().map(Name::as_str).collect();
    assert_eq!((named.len(), named[0].0.as_str(), others), (1, "service/ledger", vec!["a", "c"]));
    assert_eq!(naming(&ledger.state, key(2).id()), []);
}

#[test]
fn a_write_is_held_by_as_many_standbys_as_are_left() {
    let settings = |json: &str, left: &[&str]| {
        let succession: Succession = serde_json::from_str(json).unwrap();
        let all: [(&str, NodeId); 3] = [("a", key(10).id()), ("b", key(11).id()), ("c", key(12).id())];
        let nodes = all.iter().filter(|(name, _)| !left.contains(name));
        let nodes = nodes.map(|(name, id)| (name.parse().unwrap(), lease_id(*id))).collect();
        let left = left.iter().map(|name| name.parse().unwrap()).collect();
        succession.settings_without(Workload::StatefulSql, &nodes, &left)
    };
    for (json, left, sync) in [
        (THREE, &[][..], 1),
        (THREE, &["b"][..], 1),
        (THREE, &["b", "c"][..], 0),
        (r#"{"candidates":["a","b","c"],"sync":2}"#, &[][..], 2),
        (r#"{"candidates":["a","b","c"],"sync":2}"#, &["a"][..], 1),
        (r#"{"candidates":["a","b","c"],"sync":2}"#, &["a", "b"][..], 0),
        (r#"{"candidates":["a","b","c"],"sync":0}"#, &["a"][..], 0),
    ] {
        let settings = settings(json, left).unwrap();
        assert_eq!((settings.sync, settings.candidates.len()), (sync, 3 - left.len()), "{json} without {left:?}");
        assert!(settings.check().is_ok());
    }
    // Who declares more than there are is told so, as before.
    let error = settings(r#"{"candidates":["a","b","c"],"sync":3}"#, &[]).unwrap_err();
    assert!(error.to_string().contains("sync = 3"), "{error}");
}
