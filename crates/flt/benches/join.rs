//! How long a new agent takes to have a fleet's whole ledger, verified and on its disk: `cargo bench -p flt --bench join
//! [-- ENTRIES]`, 10,000 without. A coordinator and an agent in this process, over loopback.
//!
//! Everybody verifies every entry from the first on; a checkpoint is one entry more to check, and skips nothing.

#![allow(clippy::unwrap_used, missing_docs, reason = "a program for people who look at its figures")]

#[path = "shared/ledger.rs"]
mod ledger;

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use flt::compose::agent::{self, AgentParts};
use flt::compose::coordinator::{self, ClockPart, CoordinatorParts};
use flt::compose::now;
use protocols::entry::{Checkpoint, Enroll, Founder, Payload, Publish, Role};
use protocols::{Body, Digest, FleetState, Labels, PeerAddr, Policy, SecretKey, SignedEntry, Ticket};

/// How many entries, if nothing else is said.
const ENTRIES: u64 = 10_000;
/// How many entries an agent is sent at once, about.
const BATCH: usize = 256;
/// How long one join may take.
const DEADLINE: Duration = Duration::from_secs(300);

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let entries = std::env::args().skip(1).find_map(|a| a.parse().ok()).unwrap_or(ENTRIES);
    for checkpoint_every in [None, Some(1000)] {
        let fleet = Fleet::write(entries, checkpoint_every);
        let with = if checkpoint_every.is_some() { "with a checkpoint every 1,000" } else { "without checkpoints" };
        println!("{} entries, {} bytes each, {with}", fleet.log.len(), fleet.bytes() / fleet.log.len());
        fleet.parts();
        for _ in 0..3 {
            runtime.block_on(fleet.join());
        }
    }
    runtime.shutdown_timeout(Duration::from_secs(5));
}

/// A fleet whose ledger is written, and one agent in it that never ran.
struct Fleet {
    coordinator: SecretKey,
    agent: SecretKey,
    log: Vec<SignedEntry>,
    state: FleetState,
}

impl Fleet {
    fn write(entries: u64, checkpoint_every: Option<u64>) -> Self {
        let [admin, coordinator, agent] = std::array::from_fn(|_| SecretKey::generate());
        let founder = Founder { key: coordinator.id(), name: "coordinator-1".parse().unwrap() };
        let nonce = Digest::from_bytes(*SecretKey::generate().id().as_bytes());
        let name = "bench".parse().unwrap();
        let founded =
            ::admin::found::found(name, "admin".parse().unwrap(), &admin, vec![founder], nonce, now()).unwrap();
        let state = FleetState::found(&founded.genesis.clone().verify().unwrap()).unwrap();
        let mut fleet = Self { coordinator, agent, log: vec![founded.genesis], state };
        let key = fleet.agent.id();
        fleet.enter(&admin, enroll(key, "joining".into()));
        for n in 2..entries {
            let body = match checkpoint_every {
                Some(every) if n % every == 0 => Body::Checkpoint(Checkpoint { state: fleet.state.digest() }),
                _ if n <= entries / 10 => enroll(SecretKey::generate().id(), format!("node-{n}")),
                _ => publish(n % 200),
            };
            fleet.enter(&admin, body);
        }
        fleet
    }

    fn enter(&mut self, author: &SecretKey, body: Body) {
        ledger::enter(&mut self.log, &mut self.state, author, body);
    }

    fn bytes(&self) -> usize {
        self.log.iter().map(|e| e.bytes.len() + 64).sum()
    }

    /// What of a join is not the way from one to the other.
    fn parts(&self) {
        let start = Instant::now();
        let verified: Vec<_> = self.log.iter().map(|e| e.clone().verify().unwrap()).collect();
        let verify = start.elapsed();
        let start = Instant::now();
        let mut state = FleetState::found(&verified[0]).unwrap();
        verified[1..].iter().for_each(|entry| state.apply(entry).unwrap());
        let apply = start.elapsed();
        let dir = tempfile::tempdir().unwrap();
        let start = Instant::now();
        self.store(dir.path());
        let all = start.elapsed();
        let store = all.saturating_sub(verify + apply);
        println!("  signatures {verify:.2?}, rules {apply:.2?}, storing by {BATCH} {store:.2?}");
    }

    fn store(&self, dir: &Path) {
        ledger::store(dir, &self.log, BATCH);
    }

    async fn join(&self) {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("coordinator");
        self.store(&data);
        let loopback = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
        let running = coordinator::start(CoordinatorParts {
            data,
            key: self.coordinator.clone(),
            genesis: self.log[0].clone(),
            listen: loopback.clone(),
            advertise: Vec::new(),
            relay: None,
            mdns: false,
            documents: false,
            clock: ClockPart::default(),
        })
        .await
        .unwrap();
        let at = PeerAddr { id: self.coordinator.id(), addrs: running.mesh.bound(), relay: None };
        let ticket = Ticket {
            fleet: self.state.fleet(),
            name: "bench".parse().unwrap(),
            coordinators: vec![at],
            relays: Vec::new(),
            invite: None,
        };
        let root = dir.path().join("root");
        std::fs::create_dir_all(&root).unwrap();
        let start = Instant::now();
        let agent = agent::start(AgentParts {
            data: dir.path().join("agent"),
            key: self.agent.clone(),
            ticket,
            name: "joining".parse().unwrap(),
            listen: loopback,
            mdns: false,
            documents: false,
            relay_only: false,
            heartbeat: Duration::from_secs(10),
            drift: Duration::from_secs(600),
            grace: agent::GRACE,
            pulls: true,
            files_root: root,
            devices: Vec::new(),
            device_groups: Vec::new(),
            device_facts: agent::DEVICE_FACTS,
            clock: ClockPart::default(),
        })
        .await
        .unwrap();
        let ready = start.elapsed();
        let mut states = agent.role.watch();
        let head = self.state.head();
        let whole = states.wait_for(|s| s.as_ref().is_some_and(|s| s.head() == head));
        drop(tokio::time::timeout(DEADLINE, whole).await.unwrap().unwrap());
        println!("  joined in {:.2?}, of which the start of the process's parts {ready:.2?}", start.elapsed());
        agent.stop().await;
        running.stop().await;
    }
}

fn enroll(key: protocols::NodeId, name: String) -> Body {
    let labels: Labels = [("role".parse().unwrap(), "web".to_owned())].into();
    Body::Enroll(Enroll { key, name: name.parse().unwrap(), role: Role::Agent, labels, replaces: None })
}

fn publish(n: u64) -> Body {
    Body::Publish(Publish {
        name: format!("base/motd-{n}").parse().unwrap(),
        on: "role=db".parse().unwrap(),
        kind: "files/1".parse().unwrap(),
        subject: format!("files/motd-{n}").parse().unwrap(),
        policy: Policy::default(),
        payload: Payload::from_json(format!("\"{}\"", "x".repeat(1024))).unwrap(),
        artifacts: Vec::new(),
        note: None,
    })
}
