//! A small fleet to write ledgers for.

use protocols::entry::{Body, Enroll, Entry, Founder, Genesis, Payload, Publish, Role};
use protocols::selector::Labels;
use protocols::{Digest, FleetId, Head, Millis, Policy, SecretKey, Selector, SignedEntry};

pub(crate) fn key(n: u8) -> SecretKey {
    SecretKey::from_seed(&[n; 32])
}

pub(crate) fn genesis() -> (FleetId, SignedEntry) {
    let founder = |n: u8| Founder { key: key(n).id(), name: format!("key-{n}").parse().unwrap() };
    let genesis = Genesis {
        name: "acme".parse().unwrap(),
        nonce: Digest::from_bytes([7; 32]),
        admins: vec![founder(1)],
        coordinators: vec![founder(2)],
        recovery: None,
    };
    let body = Body::Genesis(genesis);
    let entry = Entry { fleet: None, seq: 0, prev: None, at: Millis(1), not_after: None, author: key(1).id(), body };
    let signed = entry.sign(&key(1)).unwrap();
    (FleetId::from_bytes(*signed.hash().as_bytes()), signed)
}

/// The founder's next entry.
pub(crate) fn next(fleet: FleetId, head: Head, body: Body) -> SignedEntry {
    let (seq, prev) = (head.seq + 1, Some(head.hash));
    Entry { fleet: Some(fleet), seq, prev, at: Millis(seq), not_after: None, author: key(1).id(), body }
        .sign(&key(1))
        .unwrap()
}

pub(crate) fn publish(n: u64, payload_bytes: usize) -> Body {
    Body::Publish(Publish {
        name: format!("base/motd-{n}").parse().unwrap(),
        on: Selector::everything(),
        kind: "files/1".parse().unwrap(),
        subject: format!("files/motd-{n}").parse().unwrap(),
        policy: Policy::default(),
        payload: Payload::from_json(format!("\"{}\"", "x".repeat(payload_bytes))).unwrap(),
        artifacts: Vec::new(),
        note: None,
    })
}

pub(crate) fn enroll(n: u8) -> Body {
    let name = format!("edge-{n}").parse().unwrap();
    Body::Enroll(Enroll { key: key(n).id(), name, role: Role::Agent, labels: Labels::new(), replaces: None })
}
