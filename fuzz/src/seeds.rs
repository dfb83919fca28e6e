//! Where each target begins: real values, small, the same at each run.

use protocols::control as c;
use protocols::control::{Control, Denied, Echoed, NodeReport, TailBatch, Welcome};
use protocols::enroll::{Enrollment, RedeemInvite};
use protocols::entry::{Body, Checkpoint, Grant, Invite, Quarantine, Redeem, Release, Revoke, Verb, Withdraw};
use protocols::facts::StableFacts;
use protocols::heartbeat::Beat;
use protocols::node::{Draft, GetChain, Node, NodeTail, PlanScore};
use protocols::record::{FACTS_STABLE, KeyVersion};
use protocols::relay_token::relay_token;
use protocols::selector::Labels;
use protocols::ticket::{InviteSecret, RelayPin};
use protocols::{
    BlobHash, BlobRef, Digest, Entry, ForkEvidence, Head, HeadClaim, Millis, PeerAddr, SignedRecord, Ticket, export,
};
use scores::nixos::{Manifest, NarHash, PathInfo};

use super::bodies::{FILES, KEYS, TOPLEVEL, fleet, history, key, publish};

/// The seeds of a target: name and bytes.
pub fn seeds(target: &str) -> Vec<(&'static str, Vec<u8>)> {
    match target {
        "control" => control(),
        "enroll" => vec![("redeem", packed(&Enrollment::Redeem(RedeemInvite(redeem()))))],
        "node" => node(),
        "answers" => answers(),
        "claims" => claims(),
        "entries" => entries(),
        "records" => records(),
        "texts" => texts(),
        "payloads" => vec![
            ("files", FILES.into()),
            (
                "nixos",
                format!(r#"{{"toplevel":"{TOPLEVEL}","manifest":{{"hash":"{}","size":9}}}}"#, hash()).into_bytes(),
            ),
        ],
        "manifest" => vec![("one", manifest().to_bytes())],
        "ledger" => vec![("small", ledger())],
        _ => Vec::new(),
    }
}

fn control() -> Vec<(&'static str, Vec<u8>)> {
    let head = Some(fleet().head());
    vec![
        ("echo", packed(&Control::Echo(c::Echo("hello".into())))),
        ("hello", packed(&Control::Hello(c::Hello))),
        ("tail", packed(&Control::Tail(c::Tail { after: head, follow: true }))),
        ("submit", packed(&Control::Submit(c::Submit(history().remove(3))))),
        ("beat", packed(&Control::Beat(c::SendBeat(beat())))),
        ("push", packed(&Control::Push(c::Push(vec![record()])))),
        ("report", packed(&Control::Report(c::Report { nodes: vec![key(3).id()], prefix: "facts".into() }))),
        ("offer", packed(&Control::Offer(c::Offer { blobs: vec![BlobRef { hash: hash(), size: 9 }], from: addr() }))),
        ("provide", packed(&Control::Provide(c::Provide { have: vec![hash()], gone: Vec::new() }))),
    ]
}

fn node() -> Vec<(&'static str, Vec<u8>)> {
    let draft = Draft {
        name: "base/motd".parse().expect("a name"),
        kind: "files/1".parse().expect("a kind"),
        subject: "files/etc".parse().expect("a subject"),
        policy_json: "{}".into(),
        payload: FILES.into(),
    };
    vec![
        ("plan", packed(&Node::Plan(PlanScore(draft)))),
        ("tail", packed(&Node::Tail(NodeTail { after: None }))),
        ("chain", packed(&Node::Chain(GetChain { from: 2 }))),
    ]
}

fn answers() -> Vec<(&'static str, Vec<u8>)> {
    let head = fleet().head();
    let claim = HeadClaim::sign(&key(2), fleet().fleet(), head).signature;
    let mut entries = history();
    entries.truncate(2);
    let batch = TailBatch { entries, head, claim: Some(claim), end: None };
    let welcome = Welcome {
        fleet: fleet().fleet(),
        head,
        claim,
        document: Some([1; 32]),
        clock: Millis(9),
        version: "0.1.0".into(),
    };
    let liveness =
        protocols::control::Liveness { silent_millis: Some(3), online: true, head: Some(head), addr: Some(addr()) };
    let report = NodeReport { node: key(3).id(), liveness, records: vec![record()] };
    let told = |which: u8, answer: Vec<u8>| [vec![which], answer].concat();
    vec![
        ("tail", told(0, packed(&batch))),
        ("welcome", told(1, packed(&Ok::<_, Denied>(welcome)))),
        ("versions", told(4, packed(&Ok::<_, Denied>(versions())))),
        ("report", told(5, packed(&Ok::<_, Denied>(report)))),
        ("providers", told(7, packed(&Ok::<_, Denied>(vec![addr()])))),
        ("ticket", told(8, packed(&Ok::<_, Denied>(ticket())))),
        ("denied", told(9, packed(&Err::<protocols::enroll::Enrolled, _>(protocols::enroll::EnrollError::Busy)))),
        ("echo", told(12, packed(&Echoed { text: "x".into(), caller: key(3).id() }))),
    ]
}

fn claims() -> Vec<(&'static str, Vec<u8>)> {
    let (id, head) = (fleet().fleet(), fleet().head());
    let claim = HeadClaim::sign(&key(2), id, head);
    // Another entry in the place of the last.
    let mut branch = history();
    let last = branch.pop().expect("there is one");
    let before = branch.last().expect("there is one").hash();
    let body = Body::Withdraw(Withdraw { name: "base/motd".parse().expect("a name") });
    let other = Entry {
        fleet: Some(id),
        seq: head.seq,
        prev: Some(before),
        at: Millis(8),
        not_after: None,
        author: key(1).id(),
        body,
    };
    let other = other.sign(&key(1)).expect("within bounds");
    let lie = HeadClaim::sign(&key(2), id, Head { seq: head.seq, hash: other.hash() });
    let (evidence, _) = ForkEvidence::new([claim, lie], [vec![last], vec![other]]).expect("a fork");
    let json = evidence.to_json().expect("small");
    vec![
        ("claim", [vec![0], packed(&claim)].concat()),
        ("alarm", [vec![1], packed(&[claim, lie])].concat()),
        ("head", [vec![2], packed(&head)].concat()),
        ("fork", [vec![3], json.into_bytes()].concat()),
    ]
}

fn entries() -> Vec<(&'static str, Vec<u8>)> {
    let name = |text: &str| text.parse().expect("a name");
    let bodies = [
        ("publish", 1, publish()),
        ("withdraw", 1, Body::Withdraw(Withdraw { name: "base/motd".parse().expect("a name") })),
        ("revoke", 1, Body::Revoke(Revoke { key: key(5).id(), reason: "gone".into(), compromised_since: Some(4) })),
        ("quarantine", 1, Body::Quarantine(Quarantine { key: key(3).id(), reason: "odd".into() })),
        ("release", 1, Body::Release(Release { key: key(3).id() })),
        ("checkpoint", 2, Body::Checkpoint(Checkpoint { state: fleet().digest() })),
        (
            "grant",
            1,
            Body::Grant(Grant {
                to: key(6).id(),
                name: name("ops"),
                verbs: [Verb::Grant, Verb::Enroll].into(),
                on: "edge-*".parse().expect("a selector"),
                kinds: vec!["*".parse().expect("a pattern")],
                expires: Some(Millis(99)),
            }),
        ),
        (
            "invite",
            1,
            Body::Invite(Invite {
                invite: key(9).id(),
                name: None,
                labels: Labels::new(),
                expires: Millis(1000),
                uses: 2,
                replaces: None,
            }),
        ),
        ("redeem", 2, Body::Redeem(redeem())),
        ("narrow", 5, publish()),
    ];
    let json = |body: Body| {
        let entry =
            Entry { fleet: None, seq: 9, prev: None, at: Millis(9), not_after: None, author: key(1).id(), body };
        serde_json::to_vec(&entry).expect("JSON")
    };
    // No zero, which ends an entry.
    let piece = |by: u8, body: &Body| [vec![by - 1 + KEYS], json(body.clone())].concat();
    let mut seeds: Vec<_> = bodies.iter().map(|(name, by, body)| (*name, piece(*by, body))).collect();
    // An invite and what redeems it, one after the other.
    let invited = [piece(1, &bodies[7].2), vec![0], piece(2, &bodies[8].2)].concat();
    seeds.push(("invited", invited));
    seeds
}

fn records() -> Vec<(&'static str, Vec<u8>)> {
    let facts = serde_json::to_vec(&StableFacts::default()).expect("JSON");
    vec![
        ("record", [vec![0], packed(&record())].concat()),
        ("versions", [vec![1], packed(&versions())].concat()),
        ("beat", [vec![2], packed(&beat())].concat()),
        ("facts", [vec![4], facts].concat()),
    ]
}

fn texts() -> Vec<(&'static str, Vec<u8>)> {
    let token = relay_token(&key(9), fleet().fleet(), key(6).id());
    let told = |which: u8, text: &str| [vec![which], text.as_bytes().to_vec()].concat();
    vec![
        ("ticket", told(0, &ticket().to_string())),
        ("token", told(1, &token)),
        ("selector", told(2, "edge-*,role=web,!@rack-3")),
        ("kinds", told(3, "nixos/*")),
        ("subject", told(4, "files/etc")),
        ("name", told(5, "edge-1.example")),
        ("id", told(6, &key(3).id().to_string())),
        ("policy", told(7, r#"{"checks":[{"type":"exec","command":["true"]},{"type":"contact"}],"check_seconds":20}"#)),
    ]
}

fn ledger() -> Vec<u8> {
    let mut file = Vec::new();
    for entry in history() {
        export::write_line(&mut file, &entry).expect("memory");
    }
    file
}

fn manifest() -> Manifest {
    let nar_hash: NarHash = format!("sha256:{}", "0".repeat(52)).parse().expect("a hash");
    let path = PathInfo {
        path: TOPLEVEL.parse().expect("a path"),
        nar_hash,
        nar_size: 120,
        references: vec![TOPLEVEL.parse().expect("a path")],
        deriver: None,
        ca: None,
        signatures: vec!["edge:AAAA".into()],
        nar_zst: BlobRef { hash: hash(), size: 99 },
    };
    Manifest::new(TOPLEVEL.parse().expect("a path"), vec![path]).expect("a closure of one")
}

fn redeem() -> Redeem {
    Redeem::new(fleet().fleet(), &key(9), &key(8), "edge-8".parse().expect("a name"))
}

fn record() -> SignedRecord {
    SignedRecord::sign(&key(3), FACTS_STABLE, 7, &StableFacts::default()).expect("within bounds")
}

fn versions() -> Vec<KeyVersion> {
    vec![KeyVersion { key: FACTS_STABLE.into(), version: 7 }, KeyVersion { key: "beats".into(), version: 1 }]
}

fn beat() -> Beat {
    Beat {
        number: 5,
        head: fleet().head(),
        records: Digest::from_bytes([3; 32]),
        addr: addr(),
        document: Some([2; 32]),
    }
}

fn addr() -> PeerAddr {
    let addrs = vec!["10.0.0.1:4433".parse().expect("an address"), "[fe80::1]:9".parse().expect("an address")];
    PeerAddr { id: key(3).id(), addrs, relay: Some("https://relay.example/".into()) }
}

fn ticket() -> Ticket {
    Ticket {
        fleet: fleet().fleet(),
        name: "acme".parse().expect("a name"),
        coordinators: vec![addr()],
        relays: vec![RelayPin { url: "https://relay.example/".into(), ca: Some(vec![1, 2, 3]), quic_port: Some(7842) }],
        invite: Some(InviteSecret::new(&key(9), Millis(1000), None)),
    }
}

fn hash() -> BlobHash {
    BlobHash::from_bytes([5; 32])
}

fn packed<T: serde::Serialize>(value: &T) -> Vec<u8> {
    postcard::to_stdvec(value).expect("it encodes")
}
