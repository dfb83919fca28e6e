//! Where each target begins: real values, small, the same at each run.

use failover::settings::{Candidate, Settings};
use failover::{Attempt, ClusterName, Epoch, LogTime, Position, Request, Span, Workload};
use protocols::control as c;
use protocols::control::{Control, Denied, Echoed, NodeReport, TailBatch, Welcome};
use protocols::enroll::{Enrollment, RedeemInvite};
use protocols::entry::{Body, Checkpoint, Grant, Invite, Quarantine, Redeem, Release, Revoke, Verb, Withdraw};
use protocols::facts::StableFacts;
use protocols::heartbeat::Beat;
use protocols::node::{AskPromise, Draft, DriverReport, GetChain, Node, NodeTail, PlanScore};
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
        "leases" => leases(),
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
        ("lease", packed(&Control::Lease(lease(Request::Configure(settings().into()))))),
        ("group", packed(&Control::ChangeGroup(c::ChangeGroup { add: vec![key(3).id()], remove: Vec::new() }))),
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
        ("promise", packed(&Node::Promise(promise()))),
    ]
}

fn promise() -> AskPromise {
    AskPromise { cluster: cluster(), attempt: attempt(), epoch: Epoch(3), term: Span::from_secs(15) }
}

fn cluster() -> ClusterName {
    ClusterName::try_from("service/ledger".to_owned()).expect("a name")
}

fn attempt() -> Attempt {
    Attempt { boot: 2, seq: 7 }
}

fn lease(request: Request) -> c::Lease {
    c::Lease { cluster: cluster(), attempt: attempt(), request }
}

fn candidate(n: u8) -> failover::NodeId {
    failover::NodeId::from_bytes(*key(n).id().as_bytes())
}

fn settings() -> Settings {
    let candidates = [3, 4, 5].map(|n| Candidate { node: candidate(n), priority: 0 });
    Settings::lan(Workload::StatefulSql, candidates.into())
}

/// A cluster that is set up, and whose lease goes from the first candidate to the second.
fn leases() -> Vec<(&'static str, Vec<u8>)> {
    let held = |lsn| Position { epoch: Epoch(1), lsn };
    let beat = |lsn| Request::Beat { version: 1, position: Some(held(lsn)) };
    let acquire =
        |epoch, silence| Request::Acquire { epoch: Epoch(epoch), version: 1, silence: Span::from_secs(silence) };
    let story = [
        (0, 0, Request::Configure(settings().into())),
        (1, 5, beat(0)),
        (1, 5, acquire(0, 60)),
        (1, 9, Request::Renew { epoch: Epoch(1), version: 1 }),
        (2, 3, Request::Follow { epoch: Epoch(1) }),
        (2, 3, beat(40)),
        (3, 3, beat(40)),
        (0, 9, Request::Switchover { epoch: Epoch(1), to: candidate(4) }),
        (1, 9, Request::Release { epoch: Epoch(1), position: held(40), to: candidate(4) }),
        (2, 200, acquire(1, 20)),
        (0, 1, Request::Pause),
        (0, 1, Request::Resume),
        (0, 1, Request::Attest { epoch: Epoch(1) }),
        (0, 1, Request::Reinit { node: candidate(5) }),
    ];
    let asked = story.map(|(who, tenths, request)| packed(&(who as u8, tenths as u8, lease(request)))).concat();
    let set_up = packed(&(0_u8, 0_u8, lease(Request::Configure(settings().into()))));
    let outcome = failover::Outcome {
        at: LogTime::default(),
        attempt: Some(attempt()),
        answer: Ok(failover::Answer::Noted),
        view: None,
    };
    let status = c::GroupStatus {
        term: 4,
        leader: Some(key(2).id()),
        by: key(2).id(),
        last: 9,
        applied: 9,
        members: vec![c::GroupMember { node: key(2).id(), votes: true, has: Some(9), silent_millis: Some(3) }],
    };
    let told = |which: u8, answer: Vec<u8>| [vec![which], answer].concat();
    vec![
        ("story", told(0, asked)),
        ("set-up", told(0, set_up)),
        ("outcome", told(1, packed(&Ok::<_, c::LeaseError>(outcome)))),
        (
            "elsewhere",
            told(
                1,
                packed(&Err::<failover::Outcome, _>(c::LeaseError::NotLeader {
                    leader: key(2).id(),
                    name: "hub".into(),
                })),
            ),
        ),
        (
            "views",
            told(2, packed(&Ok::<_, c::LeaseError>(c::LeaseViews { exact: true, views: Vec::new(), more: false }))),
        ),
        ("status", told(3, packed(&Ok::<_, Denied>(Some(status))))),
        ("size", told(4, packed(&Err::<c::GroupStatus, _>(c::ChangeError::Size { would: 4 })))),
        ("drivers", told(5, packed(&Ok::<Vec<DriverReport>, Denied>(Vec::new())))),
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
