//! Entries at random, from a seed: every body by every kind of author, sound ones and ones with something wrong.

use std::collections::BTreeSet;

use protocols::entry::{
    Appoint, Approval, Checkpoint, Enroll, Founder, Genesis, Grant, Invite, Payload, Place, Publish, Quarantine,
    Recover, Recovery, Redeem, Release, Revoke, Role, Rotate, SetRecovery, Verb, Withdraw,
};
use protocols::ticket::RelayPin;
use protocols::{
    BlobHash, BlobRef, Body, Check, Digest, Entry, FleetId, FleetState, Labels, Millis, Name, NodeId, Policy,
    SecretKey, SignedEntry,
};

const NAMES: [&str; 6] = ["edge-1", "edge-2", "core-1", "core-2", "x", "key-3"];
const SELECTORS: [&str; 12] = [
    "*",
    "edge-*",
    "edge-1",
    "role=web",
    "!edge-1",
    "core-*,edge-2",
    "*,!role=web",
    "@spare",
    "edge-?",
    "role=w*, !core-1",
    "@tag*",
    "role=",
];
const KINDS: [&str; 3] = ["files/1", "files/2", "nixos/1"];
const PATTERNS: [&str; 5] = ["*", "files/*", "nixos/1", "files/1", "*/1"];
const DECLARATIONS: [&str; 4] = ["a/a", "a/b", "b/a", "c/c"];
/// Keys 1 and 3 found the fleet, 2 and 4 are its coordinators; any may be anything later.
pub(super) const KEYS: u64 = 40;
/// Keys of which recovery keys are taken.
const SAFE: u64 = 60;

/// A stream of numbers from a seed (SplitMix64).
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }

    /// True once in `n` times.
    pub(super) fn once_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    pub(super) fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[usize::try_from(self.below(all.len() as u64)).unwrap()]
    }

    fn maybe<T>(&mut self, n: u64, make: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.once_in(n).then(|| make(self))
    }
}

pub(super) fn key(n: u64) -> SecretKey {
    let mut seed = [9; 32];
    seed[..8].copy_from_slice(&n.to_le_bytes());
    SecretKey::from_seed(&seed)
}

pub(super) fn id(n: u64) -> NodeId {
    key(n).id()
}

fn founder(n: u64) -> Founder {
    Founder { key: id(n), name: format!("key-{n}").parse().unwrap() }
}

fn safe(keys: u64, threshold: u8) -> Recovery {
    Recovery { keys: (SAFE..SAFE + keys).map(founder).collect(), threshold }
}

/// A fleet whose founders and coordinators are those above, with recovery keys one time in two.
pub(super) fn genesis(random: &mut Random) -> SignedEntry {
    let genesis = Genesis {
        name: "acme".parse().unwrap(),
        nonce: Digest::from_bytes(*id(random.below(1000)).as_bytes()),
        admins: vec![founder(1), founder(3)],
        coordinators: vec![founder(2), founder(4)],
        recovery: random.maybe(2, |_| safe(3, 2)),
    };
    let body = Body::Genesis(genesis);
    let author = id(1);
    Entry { fleet: None, seq: 0, prev: None, at: Millis(1000), not_after: None, author, body }.sign(&key(1)).unwrap()
}

/// The next attempt: by whom, and what.
pub(super) fn attempt(random: &mut Random, state: &FleetState) -> (u64, Entry) {
    let author = author(random, state);
    let body = body(random, state, author);
    let head = state.head();
    let time = state.time().0;
    let at = match random.below(12) {
        0 => random.below(4000),
        1 => time + random.below(3 * 24 * 60 * 60 * 1000),
        2 => u64::MAX - random.below(3),
        _ => time + random.below(50),
    };
    let mut entry = Entry {
        fleet: Some(state.fleet()),
        seq: head.seq + 1,
        prev: Some(head.hash),
        at: Millis(at),
        not_after: random.maybe(10, |r| Millis((time + 60).saturating_sub(r.below(80)))),
        author: id(author),
        body,
    };
    match random.below(60) {
        0 => entry.seq += random.below(3),
        1 => entry.prev = None,
        2 => entry.fleet = random.maybe(2, |_| FleetId::from_bytes([7; 32])),
        3 => entry.seq = head.seq,
        _ => {}
    }
    (author, entry)
}

/// Mostly somebody who may do something.
fn author(random: &mut Random, state: &FleetState) -> u64 {
    let alive: Vec<u64> = (0..KEYS).filter(|n| state.knows(id(*n))).collect();
    let roots: Vec<u64> =
        alive.iter().copied().filter(|n| state.admins().get(&id(*n)).is_some_and(|a| a.is_root())).collect();
    match random.below(10) {
        0 => random.below(KEYS),
        1..=3 => random.one_of(&alive),
        4..=5 => {
            let admins: Vec<u64> = alive.iter().copied().filter(|n| state.admins().contains_key(&id(*n))).collect();
            random.one_of(&admins)
        }
        6 => (0..KEYS).find(|n| id(*n) == state.orderer()).unwrap(),
        _ => random.one_of(&roots),
    }
}

fn fresh(random: &mut Random, state: &FleetState) -> u64 {
    let found =
        (0..5).map(|_| random.below(KEYS)).find(|n| !state.knows(id(*n)) && !state.revoked().contains_key(&id(*n)));
    found.unwrap_or_else(|| random.below(KEYS))
}

fn known(random: &mut Random, all: &[NodeId]) -> NodeId {
    if all.is_empty() || random.once_in(8) { id(random.below(KEYS)) } else { random.one_of(all) }
}

fn labels(random: &mut Random) -> Labels {
    let all = [("role", "web"), ("role", "db"), ("spare", ""), ("tag", "tag-1"), ("rack", "a b")];
    let count = random.below(3);
    let mut labels = Labels::new();
    for _ in 0..count {
        let most = if random.once_in(20) { 5 } else { 4 };
        let (name, value) = random.one_of(&all[..most]);
        labels.insert(name.parse().unwrap(), value.to_owned());
    }
    labels
}

fn name(random: &mut Random) -> Name {
    if random.once_in(3) {
        format!("node-{}", random.below(30)).parse().unwrap()
    } else {
        random.one_of(&NAMES).parse().unwrap()
    }
}

fn note(random: &mut Random) -> String {
    let all = ["a reason", "", "größer \u{1f600} \"quoted\" \\ /", "a\nb", "\u{85}", "\u{7f}", "\u{2028}"];
    if random.once_in(40) {
        "é".repeat(251)
    } else {
        let most = if random.once_in(4) { 7 } else { 3 };
        random.one_of(&all[..most]).to_owned()
    }
}

fn policy(random: &mut Random) -> Policy {
    let mut policy = Policy::default();
    if random.once_in(3) {
        let all = [
            Check::Exec { command: vec!["true".into(), "ä".into()], seconds: 10 },
            Check::Exec { command: vec![String::new()], seconds: 10 },
            Check::Tcp { address: "localhost:+080".into() },
            Check::Tcp { address: "localhost:65536".into() },
            Check::Http { url: "http://[::1]/x".into(), status: 204, contains: Some("ok".into()) },
            Check::Http { url: "http://x y".into(), status: 200, contains: None },
            Check::Unit { name: "a@b.service".into(), stable_seconds: 600 },
            Check::Unit { name: "-a".into(), stable_seconds: 2 },
            Check::Contact,
            Check::Contact,
            Check::Contact,
        ];
        for _ in 0..random.below(3) {
            policy.checks.push(all[usize::try_from(random.below(all.len() as u64)).unwrap()].clone());
        }
        policy.attempts = u32::try_from(random.below(12)).unwrap();
    }
    policy
}

fn payload(random: &mut Random) -> Payload {
    let all = [
        r#"{"x": [1,2]}"#.to_owned(),
        "\"\\ud800 \\u0000\"".to_owned(),
        "[ 1e999, -0.0 ,\n\tnull]".to_owned(),
        "\"ä\u{1f600}\"".to_owned(),
        "7".to_owned(),
        format!("{}{}", "[".repeat(3000), "]".repeat(3000)),
    ];
    let most = if random.once_in(5) { 6 } else { 1 };
    let at = usize::try_from(random.below(most)).unwrap();
    Payload::from_json(all[at].clone()).unwrap()
}

fn place(random: &mut Random, coordinator: NodeId) -> Body {
    let all = ["192.0.2.1:4433", "[2001:db8::1]:1", "[::ffff:1.2.3.4]:9", "[fe80::1%7]:65535", "[1:0:0:2:0:0:0:3]:0"];
    let count = if random.once_in(10) { 17 } else { random.below(4) };
    let addrs = (0..count).map(|_| random.one_of(&all).parse().unwrap()).collect();
    let relay = random.maybe(3, |r| RelayPin {
        url: "https://relay.example/".repeat(if r.once_in(5) { 60 } else { 1 }),
        ca: r.maybe(2, |r| vec![1; if r.once_in(5) { 9000 } else { 100 }]),
        quic_port: r.maybe(2, |_| 7842),
    });
    Body::Place(Place { coordinator, addrs, relay })
}

fn approvals(random: &mut Random, approve: impl Fn(&SecretKey) -> Approval) -> Vec<Approval> {
    let mut by: BTreeSet<u64> = BTreeSet::new();
    for _ in 0..3 {
        by.insert(SAFE + random.below(4));
    }
    by.into_iter().map(|n| approve(&key(n))).collect()
}

fn since(random: &mut Random, state: &FleetState) -> Option<u64> {
    random.maybe(2, |r| r.below(state.head().seq + 3))
}

fn grant(random: &mut Random, state: &FleetState) -> Grant {
    let root = random.once_in(3);
    let some: BTreeSet<Verb> = Verb::ALL.into_iter().filter(|_| random.once_in(2)).collect();
    let admins: Vec<NodeId> = state.admins().keys().copied().collect();
    let to = if random.once_in(3) { known(random, &admins) } else { id(fresh(random, state)) };
    let kinds = 1 + random.below(2);
    Grant {
        to,
        name: format!("admin-{}", random.below(20)).parse().unwrap(),
        verbs: if root { Verb::ALL.into_iter().collect() } else { some },
        on: if root { "*" } else { random.one_of(&SELECTORS) }.parse().unwrap(),
        kinds: if root {
            vec!["*".parse().unwrap()]
        } else {
            (0..kinds).map(|_| random.one_of(&PATTERNS).parse().unwrap()).collect()
        },
        expires: random.maybe(5, |r| Millis(state.time().0 + r.below(2000))),
    }
}

fn redeem(random: &mut Random, state: &FleetState) -> Body {
    let open: Vec<NodeId> = state.invites().keys().copied().collect();
    let invite = known(random, &open);
    let fleet = if random.once_in(12) { FleetId::from_bytes([1; 32]) } else { state.fleet() };
    let wanted = state.invites().get(&invite).and_then(|i| i.name.clone());
    let name = wanted.filter(|_| !random.once_in(8)).unwrap_or_else(|| name(random));
    let secret = (0..KEYS).find(|n| id(*n) == invite).unwrap();
    Body::Redeem(Redeem::new(fleet, &key(secret), &key(fresh(random, state)), name))
}

fn body(random: &mut Random, state: &FleetState, author: u64) -> Body {
    let fleet = if random.once_in(12) { FleetId::from_bytes([0; 32]) } else { state.fleet() };
    let set_by = state.recovery().map_or(0, |set| set.since);
    let agents: Vec<NodeId> = state.with_role(Role::Agent).map(|(key, _)| key).collect();
    let coordinators: Vec<NodeId> = state.with_role(Role::Coordinator).map(|(key, _)| key).collect();
    let anybody: Vec<NodeId> =
        state.members().keys().chain(state.admins().keys()).chain(state.invites().keys()).copied().collect();
    match random.below(40) {
        0..=5 => Body::Grant(grant(random, state)),
        6..=12 => {
            let artifact = BlobRef { hash: BlobHash::from_bytes([3; 32]), size: u64::MAX };
            Body::Publish(Publish {
                name: random.one_of(&DECLARATIONS).parse().unwrap(),
                on: random.one_of(&SELECTORS).parse().unwrap(),
                kind: random.one_of(&KINDS).parse().unwrap(),
                subject: random.one_of(&["x", "y~!"]).parse().unwrap(),
                policy: policy(random),
                payload: payload(random),
                artifacts: random.maybe(4, |_| vec![artifact]).unwrap_or_default(),
                note: random.maybe(3, note),
            })
        }
        13..=18 => {
            let replaces = random.maybe(4, |r| known(r, &agents));
            let key = if random.once_in(3) { known(random, &anybody) } else { id(fresh(random, state)) };
            let role = if random.once_in(5) { Role::Coordinator } else { Role::Agent };
            Body::Enroll(Enroll { key, name: name(random), role, labels: labels(random), replaces })
        }
        19..=21 => {
            let replaces = random.maybe(3, |r| known(r, &agents));
            let old = replaces.and_then(|key| state.members().get(&key)).map(|m| m.name.clone());
            let name = old.or_else(|| random.maybe(2, name));
            let uses = if name.is_some() { 1 } else { u32::try_from(random.below(4)).unwrap() };
            let invite = id(fresh(random, state));
            let expires = Millis(state.time().0 + random.below(3000));
            Body::Invite(Invite { invite, name, labels: labels(random), expires, uses, replaces })
        }
        22..=24 => redeem(random, state),
        25..=26 => {
            let revoked: Vec<NodeId> = state.revoked().keys().copied().collect();
            let key = if random.once_in(5) { known(random, &revoked) } else { known(random, &anybody) };
            Body::Revoke(Revoke { key, reason: note(random), compromised_since: since(random, state) })
        }
        27..=28 => {
            let old = if random.once_in(10) { random.below(KEYS) } else { author };
            Body::Rotate(Rotate::new(fleet, id(old), &key(fresh(random, state))))
        }
        29..=30 => Body::Quarantine(Quarantine { key: known(random, &agents), reason: note(random) }),
        31 => Body::Release(Release { key: known(random, &agents) }),
        32 => Body::Appoint(Appoint { coordinator: known(random, &coordinators) }),
        33 => {
            let coordinator = known(random, &coordinators);
            place(random, coordinator)
        }
        34 => {
            let revoke = (0..random.below(3)).map(|_| known(random, &anybody)).collect();
            let since = since(random, state);
            let name = format!("rescuer-{}", random.below(5)).parse().unwrap();
            let plain = Recover { name, revoke, compromised_since: since, approvals: Vec::new() };
            let approvals = approvals(random, |key| plain.approve(fleet, set_by, id(author), key));
            Body::Recover(Recover { approvals, ..plain })
        }
        35 => {
            let keys = 1 + random.below(3);
            let threshold = u8::try_from(random.below(4)).unwrap();
            let plain = SetRecovery { recovery: random.maybe(2, |_| safe(keys, threshold)), approvals: Vec::new() };
            let approvals = approvals(random, |key| plain.approve(fleet, set_by, key));
            Body::SetRecovery(SetRecovery { approvals, ..plain })
        }
        36..=37 => Body::Withdraw(Withdraw { name: random.one_of(&DECLARATIONS).parse().unwrap() }),
        38 => {
            let state = if random.once_in(4) { Digest::from_bytes([0; 32]) } else { state.digest() };
            Body::Checkpoint(Checkpoint { state })
        }
        _ => Body::Genesis(Genesis {
            name: "again".parse().unwrap(),
            nonce: Digest::from_bytes([0; 32]),
            admins: vec![founder(1)],
            coordinators: vec![founder(2)],
            recovery: None,
        }),
    }
}
