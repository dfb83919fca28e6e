//! How fast a ledger is verified and applied, what its state takes in memory, and the ledger on disk:
//! `cargo bench -p protocols --bench apply [-- ENTRIES]`, 100,000 without.
//!
//! One entry in ten enrolls a node; then declarations are published over and over, also by an admin with limited rights,
//! nodes are relabelled, set apart and released, admins come and go, keys rotate, invites are redeemed.

// The state is what is measured here; whatever goes wrong ends the program.
#![allow(clippy::unwrap_used, reason = "a benchmark stops at the first error")]
#![allow(clippy::disallowed_methods, reason = "time is what is measured")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use protocols::entry::{
    Body, Checkpoint, Enroll, Entry, Founder, Genesis, Grant, Invite, Payload, Publish, Quarantine, Redeem, Release,
    Revoke, Role, Rotate, Verb,
};
use protocols::export::write_line;
use protocols::selector::Labels;
use protocols::store::{Ledger, Store};
use protocols::{Digest, FleetState, Millis, NodeId, Policy, SecretKey, SignedEntry, VerifiedEntry};

/// How many entries, if nothing else is said.
const ENTRIES: u64 = 100_000;
/// How many declarations there are.
const DECLARATIONS: u64 = 200;

fn main() {
    let wanted = std::env::args().skip(1).find_map(|a| a.parse().ok()).unwrap_or(ENTRIES);
    let log = ledger(wanted);
    let entries = log.len() as u64;
    let bytes: usize = log.iter().map(|e| e.bytes.len() + 64).sum();
    println!("entries            {entries}");
    println!("bytes per entry    {} signed", bytes as u64 / entries);
    let rate = |what: &str, took: Duration| {
        println!("{what:<18} {:.0} entries/s, {took:.2?} for all", entries as f64 / took.as_secs_f64());
    };

    let (mut verify, mut apply) = (Duration::ZERO, Duration::ZERO);
    let before = resident();
    let mut state: Option<FleetState> = None;
    let mut slowest: Vec<(Duration, &'static str)> = Vec::new();
    for signed in &log {
        let start = Instant::now();
        let entry: VerifiedEntry = signed.clone().verify().unwrap();
        verify += start.elapsed();
        let start = Instant::now();
        match &mut state {
            None => state = Some(FleetState::found(&entry).unwrap()),
            Some(state) => state.apply(&entry).unwrap(),
        }
        let took = start.elapsed();
        apply += took;
        let verb = entry.entry().body.verb();
        match slowest.iter_mut().find(|(_, v)| *v == verb) {
            Some(sum) => sum.0 += took,
            None => slowest.push((took, verb)),
        }
    }
    let state = state.unwrap();
    rate("verify", verify);
    rate("apply", apply);
    slowest.sort();
    for (took, verb) in slowest.iter().rev().take(5) {
        let count = log.iter().filter(|e| is(e, verb)).count();
        println!("  of which         {took:.2?} in {count} of `{verb}`");
    }
    let (members, admins) = (state.members().len(), state.admins().len());
    let kept = resident().saturating_sub(before);
    println!("state              {:.1} MB resident for {members} members, {admins} admins", kept as f64 / 1024.0);
    let start = Instant::now();
    let copy = state.clone();
    println!("a copy             {:.2?}", start.elapsed());
    let start = Instant::now();
    let digest = copy.digest();
    println!("a digest           {:.2?}", start.elapsed());

    let dir = tempfile::tempdir().unwrap();
    let mut ledger = Ledger::open(Arc::new(Store::open(dir.path()).unwrap()), None).unwrap();
    let start = Instant::now();
    ledger.found(log[0].clone(), state.fleet()).unwrap();
    for batch in log[1..].chunks(256) {
        ledger.append(batch.to_vec()).unwrap();
    }
    rate("append by 256", start.elapsed());
    drop(ledger);
    let size = std::fs::metadata(dir.path().join("state.redb")).unwrap().len();
    let mut exported = Vec::new();
    log.iter().for_each(|entry| write_line(&mut exported, entry).unwrap());
    println!("bytes per entry    {} on disk, {} exported", size / entries, exported.len() as u64 / entries);
    drop(exported);

    let start = Instant::now();
    let ledger = Ledger::open(Arc::new(Store::open(dir.path()).unwrap()), Some(state.fleet())).unwrap();
    rate("open and replay", start.elapsed());
    assert_eq!(ledger.state().unwrap().digest(), digest);
}

fn is(entry: &SignedEntry, verb: &str) -> bool {
    let needle = format!("\"body\":{{\"{verb}\"");
    entry.bytes.windows(needle.len()).any(|w| w == needle.as_bytes())
}

/// What this process has in memory, in KiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// A ledger being written.
struct Writer {
    state: FleetState,
    log: Vec<SignedEntry>,
}

impl Writer {
    fn enter(&mut self, author: &SecretKey, body: Body) {
        let head = self.state.head();
        let (fleet, seq, prev, at) = (Some(self.state.fleet()), head.seq + 1, Some(head.hash), Millis(head.seq + 1));
        let signed = Entry { fleet, seq, prev, at, not_after: None, author: author.id(), body }.sign(author).unwrap();
        self.state.apply(&signed.clone().verify().unwrap()).unwrap();
        self.log.push(signed);
    }
}

fn ledger(entries: u64) -> Vec<SignedEntry> {
    let (admin, coordinator, limited) = (key(1, 0), key(2, 0), key(3, 0));
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
    let signed = first.sign(&admin).unwrap();
    let state = FleetState::found(&signed.clone().verify().unwrap()).unwrap();
    let mut all = Writer { state, log: vec![signed] };
    all.enter(&admin, grant(limited.id(), "limited", "role=web"));
    let nodes = entries / 10;
    for n in 0..nodes {
        all.enter(&admin, enroll(key(4, n).id(), n, "web"));
    }
    let mut n = 0;
    while (all.log.len() as u64) < entries {
        n += 1;
        let node = n * 7919 % nodes;
        match n % 100 {
            0 => {
                let invite = key(5, n);
                let (name, fleet) = (format!("joined-{n}").parse().unwrap(), all.state.fleet());
                all.enter(&admin, Body::Invite(self::invite(invite.id(), u64::MAX)));
                all.enter(&coordinator, Body::Redeem(Redeem::new(fleet, &invite, &key(6, n), name)));
            }
            1 => {
                let temporary = key(7, n).id();
                all.enter(&admin, grant(temporary, &format!("admin-{n}"), "*"));
                let reason = "left".to_owned();
                all.enter(&admin, Body::Revoke(Revoke { key: temporary, reason, compromised_since: None }));
            }
            2 => {
                let (old, new) = (key(6, n / 100 * 100), key(8, n));
                if all.state.is_agent(old.id()) {
                    let rotate = Rotate::new(all.state.fleet(), old.id(), &new);
                    all.enter(&old, Body::Rotate(rotate));
                }
            }
            3 => {
                let (key, reason) = (key(4, node).id(), "odd".to_owned());
                all.enter(&admin, Body::Quarantine(Quarantine { key, reason }));
                all.enter(&admin, Body::Release(Release { key }));
            }
            4..10 => all.enter(&admin, enroll(key(4, node).id(), node, if n % 2 == 0 { "web" } else { "db" })),
            10..15 => all.enter(&limited, publish(DECLARATIONS + n % 5, "node-7,node-8,!*")),
            15 if n % 2000 == 15 => {
                let state = all.state.digest();
                all.enter(&coordinator, Body::Checkpoint(Checkpoint { state }));
            }
            _ => all.enter(&admin, publish(n % DECLARATIONS, "role=web,!node-7")),
        }
    }
    all.log
}

fn key(sort: u8, n: u64) -> SecretKey {
    let mut seed = [sort; 32];
    seed[..8].copy_from_slice(&n.to_le_bytes());
    SecretKey::from_seed(&seed)
}

fn labels(role: &str) -> Labels {
    [("role".parse().unwrap(), role.to_owned())].into()
}

fn enroll(key: NodeId, n: u64, role: &str) -> Body {
    let name = format!("node-{n}").parse().unwrap();
    Body::Enroll(Enroll { key, name, role: Role::Agent, labels: labels(role), replaces: None })
}

fn invite(invite: NodeId, expires: u64) -> Invite {
    Invite { invite, name: None, labels: labels("web"), expires: Millis(expires), uses: 1, replaces: None }
}

fn grant(to: NodeId, name: &str, on: &str) -> Body {
    let (name, on, kinds) = (name.parse().unwrap(), on.parse().unwrap(), vec!["*".parse().unwrap()]);
    Body::Grant(Grant { to, name, verbs: [Verb::Publish, Verb::Read].into(), on, kinds, expires: None })
}

fn publish(n: u64, on: &str) -> Body {
    Body::Publish(Publish {
        name: format!("base/motd-{n}").parse().unwrap(),
        on: on.parse().unwrap(),
        kind: "files/1".parse().unwrap(),
        subject: format!("files/motd-{n}").parse().unwrap(),
        policy: Policy::default(),
        payload: Payload::from_json(format!("\"{}\"", "x".repeat(1024))).unwrap(),
        artifacts: Vec::new(),
        note: None,
    })
}
