//! How fast a ledger is verified and applied, and what it takes on disk: `cargo bench -p protocols --bench apply`.

// The state is what is measured here; whatever goes wrong ends the program.
#![allow(clippy::unwrap_used, reason = "a benchmark stops at the first error")]
#![allow(clippy::disallowed_methods, reason = "time is what is measured")]

use std::sync::Arc;
use std::time::Instant;

use protocols::entry::{Body, Enroll, Entry, Founder, Genesis, Payload, Publish, Role};
use protocols::selector::Labels;
use protocols::store::{Ledger, Store};
use protocols::{Digest, FleetId, FleetState, Millis, Policy, SecretKey, SignedEntry, VerifiedEntry};

/// How many entries.
const ENTRIES: u64 = 20_000;
/// How many nodes enroll first; then declarations are published, over and over.
const NODES: u64 = 1_000;
/// How many declarations there are.
const DECLARATIONS: u64 = 200;

fn main() {
    let (fleet, log) = ledger();
    let bytes: usize = log.iter().map(|e| e.bytes.len() + 64).sum();
    println!("entries            {ENTRIES} ({NODES} enrolments, then publications of {DECLARATIONS} declarations)");
    println!("bytes per entry    {} signed", bytes as u64 / ENTRIES);

    let copy = log.clone();
    let start = Instant::now();
    let verified: Vec<VerifiedEntry> = copy.into_iter().map(|e| e.verify().unwrap()).collect();
    rate("verify", start);

    let start = Instant::now();
    let mut state = FleetState::found(&verified[0]).unwrap();
    for entry in &verified[1..] {
        state.apply(entry).unwrap();
    }
    rate("apply", start);

    let dir = tempfile::tempdir().unwrap();
    let mut ledger = Ledger::open(Arc::new(Store::open(dir.path()).unwrap()), None).unwrap();
    let start = Instant::now();
    ledger.found(log[0].clone(), fleet).unwrap();
    for batch in log[1..].chunks(256) {
        ledger.append(batch.to_vec()).unwrap();
    }
    rate("append by 256", start);
    drop(ledger);
    let size = std::fs::metadata(dir.path().join("state.redb")).unwrap().len();
    println!("bytes per entry    {} on disk", size / ENTRIES);

    let start = Instant::now();
    let ledger = Ledger::open(Arc::new(Store::open(dir.path()).unwrap()), Some(fleet)).unwrap();
    rate("open and replay", start);
    assert_eq!(ledger.state().unwrap().digest(), state.digest());
}

fn rate(what: &str, start: Instant) {
    println!("{what:<18} {:.0} entries/s", ENTRIES as f64 / start.elapsed().as_secs_f64());
}

fn ledger() -> (FleetId, Vec<SignedEntry>) {
    let (admin, coordinator) = (SecretKey::from_seed(&[1; 32]), SecretKey::from_seed(&[2; 32]));
    let founder = |key: &SecretKey, name: &str| Founder { key: key.id(), name: name.parse().unwrap() };
    let genesis = Body::Genesis(Genesis {
        name: "acme".parse().unwrap(),
        nonce: Digest::from_bytes([7; 32]),
        admins: vec![founder(&admin, "admin")],
        coordinators: vec![founder(&coordinator, "coordinator")],
        recovery: None,
    });
    let first =
        Entry { fleet: None, seq: 0, prev: None, at: Millis(1), not_after: None, author: admin.id(), body: genesis };
    let mut log = vec![first.sign(&admin).unwrap()];
    let fleet = FleetId::from_bytes(*log[0].hash().as_bytes());
    for seq in 1..ENTRIES {
        let body = if seq <= NODES { enroll(seq) } else { publish(seq % DECLARATIONS) };
        let prev = log.last().map(SignedEntry::hash);
        let entry = Entry { fleet: Some(fleet), seq, prev, at: Millis(seq), not_after: None, author: admin.id(), body };
        log.push(entry.sign(&admin).unwrap());
    }
    (fleet, log)
}

fn enroll(n: u64) -> Body {
    let mut seed = [3; 32];
    seed[..8].copy_from_slice(&n.to_le_bytes());
    let labels: Labels = [("role".parse().unwrap(), "web".to_owned())].into();
    let name = format!("node-{n}").parse().unwrap();
    Body::Enroll(Enroll { key: SecretKey::from_seed(&seed).id(), name, role: Role::Agent, labels, replaces: None })
}

fn publish(n: u64) -> Body {
    Body::Publish(Publish {
        name: format!("base/motd-{n}").parse().unwrap(),
        on: "role=web,!node-7".parse().unwrap(),
        kind: "files/1".parse().unwrap(),
        subject: format!("files/motd-{n}").parse().unwrap(),
        policy: Policy::default(),
        payload: Payload::from_json(format!("\"{}\"", "x".repeat(1024))).unwrap(),
        artifacts: Vec::new(),
        note: None,
    })
}
