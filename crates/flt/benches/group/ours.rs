//! Three coordinators in processes of their own: this program, started again as one of them.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use failover::{Attempt, ClusterName, Epoch, Outcome, Request, Span};
use flt::compose::coordinator::{self, ClockPart, CoordinatorParts};
use flt::compose::now;
use mesh::{Mesh, MeshBuilder, MeshConfig};
use protocols::control::{self, AskGroup, Control};
use protocols::entry::{Enroll, Founder, Payload, Publish, Role};
use protocols::{Body, Digest, FleetState, Labels, NodeId, PeerAddr, Policy, SecretKey, SignedEntry, alpn};
use tokio::time::timeout;

use crate::{ANSWER, CLIENTS, Cluster, POLL, Proc, Registers, SOON, ledger};

/// Names the member that a process is to be, 0 to 2.
pub(crate) const MEMBER: &str = "FLT_BENCH_MEMBER";
/// Names the folder.
const DIR: &str = "FLT_BENCH_DIR";
/// The first of three ports.
const PORT: u16 = 42479;

pub(crate) struct Group {
    dir: tempfile::TempDir,
    procs: [Proc; 3],
    admin: Mesh,
    agent: Mesh,
}

pub(crate) struct Client {
    client: protocols::Client<Control>,
}

/// A node counts its requests, and none may be older than one before.
static ATTEMPTS: AtomicU64 = AtomicU64::new(1);

fn key(n: usize) -> SecretKey {
    SecretKey::from_seed(&[u8::try_from(n + 1).unwrap(); 32])
}

const ADMIN: usize = 100;
const AGENT: usize = 101;

fn addr(n: usize) -> PeerAddr {
    let at = SocketAddr::from(([127, 0, 0, 1], PORT + u16::try_from(n).unwrap()));
    PeerAddr { id: key(n).id(), addrs: vec![at], relay: None }
}

fn data(dir: &Path, n: usize) -> PathBuf {
    dir.join(format!("c{n}"))
}

/// One coordinator, until it is killed.
pub(crate) fn member(n: usize) {
    let dir = PathBuf::from(std::env::var(DIR).unwrap());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let genesis = std::fs::read(dir.join("genesis")).unwrap();
        let running = coordinator::start(CoordinatorParts {
            data: data(&dir, n),
            key: key(n),
            genesis: serde_json::from_slice(&genesis).unwrap(),
            listen: addr(n).addrs,
            advertise: Vec::new(),
            relay: None,
            mdns: false,
            documents: false,
            clock: ClockPart::default(),
        })
        .await
        .unwrap();
        (0..3).filter(|other| *other != n).for_each(|other| running.mesh.learn(addr(other)));
        std::future::pending::<()>().await;
    });
}

fn spawn(dir: &Path, n: usize) -> Proc {
    Proc::spawn(Command::new(std::env::current_exe().unwrap()).env(MEMBER, n.to_string()).env(DIR, dir))
}

/// A ledger with three coordinators, an agent, and a service for each client, of which that agent is the candidate.
fn declared() -> Vec<SignedEntry> {
    let admin = key(ADMIN);
    let founders = (0..3).map(|n| Founder { key: key(n).id(), name: format!("coordinator-{n}").parse().unwrap() });
    let nonce = Digest::from_bytes([7; 32]);
    let (name, first) = ("bench".parse().unwrap(), "admin".parse().unwrap());
    let founded = ::admin::found::found(name, first, &admin, founders.collect(), nonce, now()).unwrap();
    let mut state = FleetState::found(&founded.genesis.clone().verify().unwrap()).unwrap();
    let mut log = vec![founded.genesis];
    let labels: Labels = [("role".parse().unwrap(), "bench".to_owned())].into();
    let agent =
        Enroll { key: key(AGENT).id(), name: "agent".parse().unwrap(), role: Role::Agent, labels, replaces: None };
    let publish = |client: usize| {
        let payload = format!(r#"{{"name":"s-{client}","run":{{"program":{{"command":["/bin/true"]}}}}}}"#);
        Body::Publish(Publish {
            name: format!("bench/s-{client}").parse().unwrap(),
            on: "role=bench".parse().unwrap(),
            kind: "service/1".parse().unwrap(),
            subject: format!("service/s-{client}").parse().unwrap(),
            policy: Policy::default(),
            payload: Payload::from_json(payload).unwrap(),
            artifacts: Vec::new(),
            note: None,
        })
    };
    for body in std::iter::once(Body::Enroll(agent)).chain((0..CLIENTS).map(publish)) {
        ledger::enter(&mut log, &mut state, &admin, body);
    }
    log
}

async fn mesh(n: usize) -> Mesh {
    let nobody = |_: NodeId, _: &[u8]| false;
    let mut config = MeshConfig::new(key(n), Arc::new(nobody));
    config.bind = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
    config.peers = (0..3).map(addr).collect();
    MeshBuilder::bind(config).await.unwrap().start()
}

impl Cluster for Group {
    const NAME: &'static str = "flt, 3 coordinators";
    const SYNCS: &'static str = "every entry, on the leader's disk and one other's";
    type Client = Client;

    async fn start() -> Result<Self, String> {
        let dir = tempfile::tempdir().unwrap();
        let log = declared();
        std::fs::write(dir.path().join("genesis"), serde_json::to_vec(&log[0]).unwrap()).unwrap();
        (0..3).for_each(|n| ledger::store(&data(dir.path(), n), &log, log.len()));
        let procs = std::array::from_fn(|n| spawn(dir.path(), n));
        let this = Self { dir, procs, admin: mesh(ADMIN).await, agent: mesh(AGENT).await };
        this.found().await?;
        this.acquire().await?;
        Ok(this)
    }

    async fn leader(&self) -> Option<usize> {
        for n in 0..3 {
            let client = self.admin.client::<Control>(key(n).id(), alpn::CONTROL);
            let Ok(Ok(Ok(Some(status)))) = timeout(ANSWER, client.rpc(AskGroup)).await else { continue };
            if let Some(leader) = status.leader {
                return (0..3).find(|n| key(*n).id() == leader);
            }
        }
        None
    }

    async fn client(&self, of: usize) -> Client {
        Client { client: self.agent.client(key(of).id(), alpn::CONTROL) }
    }

    fn procs(&mut self) -> &mut [Proc; 3] {
        &mut self.procs
    }

    fn again(&mut self, n: usize) {
        self.procs[n] = spawn(self.dir.path(), n);
    }
}

impl Group {
    async fn found(&self) -> Result<(), String> {
        let until = Instant::now() + SOON;
        loop {
            let change = control::ChangeGroup { add: vec![key(1).id(), key(2).id()], remove: Vec::new() };
            let client = self.admin.client::<Control>(key(0).id(), alpn::CONTROL);
            let why = match timeout(SOON, client.rpc(change)).await {
                Ok(Ok(Ok(_))) => return Ok(()),
                other => format!("{other:?}"),
            };
            if Instant::now() > until {
                return Err(format!("no group: {why}"));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Each client becomes the holder of its lease, once the coordinators have put it in force.
    async fn acquire(&self) -> Result<(), String> {
        let client = self.client(0).await;
        for register in 0..CLIENTS {
            let until = Instant::now() + SOON;
            loop {
                let acquire = Request::Acquire { epoch: Epoch(0), version: 1, silence: Span::ZERO };
                match client.ask(register, acquire).await {
                    Ok(outcome) if outcome.answer.is_ok() => break,
                    why if Instant::now() > until => return Err(format!("no lease: {why:?}")),
                    _ => tokio::time::sleep(POLL).await,
                }
            }
        }
        Ok(())
    }
}

impl Client {
    async fn ask(&self, register: usize, request: Request) -> Result<Outcome, String> {
        let seq = ATTEMPTS.fetch_add(1, Ordering::Relaxed);
        let cluster = ClusterName::try_from(format!("service/s-{register}")).unwrap();
        let lease = control::Lease { cluster, attempt: Attempt { boot: 1, seq }, request };
        let answer = timeout(ANSWER, self.client.rpc(lease)).await.map_err(|e| e.to_string())?;
        answer.map_err(|e| format!("{e:?}"))?.map_err(|e| e.to_string())
    }
}

impl Registers for Client {
    async fn advance(&self, register: usize) -> bool {
        // A renewal is a compare-and-set: by the holder of this epoch alone, ordered like everything else.
        let renewed = self.ask(register, Request::Renew { epoch: Epoch(1), version: 1 }).await;
        renewed.is_ok_and(|outcome| outcome.answer.is_ok())
    }
}
