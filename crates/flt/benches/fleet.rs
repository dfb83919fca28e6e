//! A fleet on one machine, measured: how fast what is published is applied on 50 agents, and what 200 and 1,000 agents
//! cost a coordinator. `cargo bench -p flt --bench fleet`; `-- publish|beats|idle` runs one part.
//!
//! Figures are of this run on this machine; compare them within a run only.

#![allow(clippy::unwrap_used, missing_docs, reason = "a program for people who look at its figures")]

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use flt::dev::fleet::{DevFleet, DevOptions};
use mesh::{Mesh, MeshBuilder, MeshConfig};
use protocols::control::{Control, SendBeat, Tail};
use protocols::entry::{Enroll, Head, Role};
use protocols::heartbeat::Beat;
use protocols::record::records_digest;
use protocols::{Body, Labels, NodeId, Policy, SecretKey, Ticket, Verdict, alpn};

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let part = std::env::args().skip(1).find(|a| !a.starts_with('-'));
    let wanted = |name: &str| part.as_deref().is_none_or(|p| p == name);
    if wanted("publish") {
        runtime.block_on(publish(50, 20));
    }
    if wanted("idle") {
        runtime.block_on(idle());
    }
    if wanted("beats") {
        for agents in [200, 1000] {
            runtime.block_on(beats(agents));
        }
    }
    runtime.shutdown_timeout(Duration::from_secs(5));
}

/// From handing in the signed entry to the coordinator having the agent's signed report that it is applied.
async fn publish(agents: usize, rounds: usize) {
    let dir = tempfile::tempdir().unwrap();
    let mut fleet = DevFleet::found(dir.path(), DevOptions::default()).await.unwrap();
    let uses = u32::try_from(agents).unwrap();
    let ticket = fleet.invite(None, Labels::new(), uses).await.unwrap();
    for i in 0..agents {
        fleet.join_with(&format!("a-{i}").parse().unwrap(), ticket.clone()).await.unwrap();
    }
    let mut times = Vec::new();
    let mut watching = fleet.session.watch(&[]).await.unwrap();
    for round in 0..rounds {
        let text = format!("{round:04}").repeat(256);
        let payload = format!(r#"{{"root":"/etc","entries":{{"motd":{{"content":"{text}"}}}}}}"#);
        let began = Instant::now();
        let generation = fleet.publish("base/motd", "*", "files/1", &payload, Policy::default()).await.unwrap();
        let mut done: std::collections::HashSet<NodeId> = std::collections::HashSet::new();
        while done.len() < agents {
            let report = watching.next().await.unwrap();
            let applied = |o: &protocols::Outcome| o.generation == generation && o.verdict == Verdict::Converged;
            if report.outcomes.values().any(applied) && done.insert(report.node) {
                times.push(began.elapsed());
            }
        }
    }
    times.sort();
    let at = |q: f64| times[((times.len() - 1) as f64 * q) as usize];
    println!(
        "publish to applied and reported, files/1 of 1 KiB, {agents} agents in one process, {rounds} rounds: p50 {:.1?}, p99 {:.1?}, max {:.1?}",
        at(0.5),
        at(0.99),
        at(1.0)
    );
    fleet.stop().await;
}

/// What real processes take when nothing happens.
async fn idle() {
    let fleet = Processes::start().await;
    let agent = fleet.agent("idle-1").await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    println!("an idle agent: {:.1} MB resident", resident_mb(agent.0.id()));
    println!("an idle coordinator with one agent: {:.1} MB resident", resident_mb(fleet.coordinator.0.id()));
}

/// Heartbeats every ten seconds, as agents send them, over connections of their own that also follow the ledger.
async fn beats(agents: usize) {
    let mut fleet = Processes::start().await;
    let before = resident_mb(fleet.coordinator.0.id());
    let mut keys = Vec::new();
    for i in 0..agents {
        let key = SecretKey::generate();
        let enroll = Enroll {
            key: key.id(),
            name: format!("n-{i}").parse().unwrap(),
            role: Role::Agent,
            labels: Labels::new(),
            replaces: None,
        };
        fleet.enter(Body::Enroll(enroll)).await;
        keys.push(key);
    }
    let head = fleet.head();
    let coordinator = fleet.ticket.coordinators[0].clone();
    let mut running = Vec::new();
    for key in keys {
        let nobody = |_: NodeId, _: &[u8]| false;
        let mut config = MeshConfig::new(key, Arc::new(nobody));
        config.bind = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
        config.peers = vec![coordinator.clone()];
        let mesh = MeshBuilder::bind(config).await.unwrap().start();
        running.push((mesh.clone(), tokio::spawn(beat_on(mesh, coordinator.id, head))));
    }
    // Everybody connected and settled; then a window to measure.
    tokio::time::sleep(Duration::from_secs(20)).await;
    let (cpu, began) = (cpu_ticks(fleet.coordinator.0.id()), Instant::now());
    tokio::time::sleep(Duration::from_secs(40)).await;
    let used = (cpu_ticks(fleet.coordinator.0.id()) - cpu) as f64 / 100.0 / began.elapsed().as_secs_f64();
    let ended = running.iter().filter(|(_, task)| task.is_finished()).count();
    println!(
        "{agents} agents, a heartbeat every 10 s: coordinator {:.1} % of one core, {:.1} MB resident ({before:.1} MB before); {ended} lost",
        used * 100.0,
        resident_mb(fleet.coordinator.0.id()),
    );
    for (mesh, task) in running {
        task.abort();
        drop(tokio::time::timeout(Duration::from_millis(200), mesh.close()).await);
    }
}

async fn beat_on(mesh: Mesh, coordinator: NodeId, head: Head) {
    let client = mesh.client::<Control>(coordinator, alpn::CONTROL);
    let tail = Tail { after: Some(head), follow: true };
    let mut tail = client.server_streaming(tail, 4).await.unwrap();
    let drain = async { while let Ok(Some(_)) = tail.recv().await {} };
    let beats = async {
        for number in 0.. {
            let beat =
                Beat { number, head, records: records_digest(std::iter::empty()), addr: mesh.addr(), document: None };
            client.rpc(SendBeat(beat)).await.unwrap().unwrap();
            tokio::time::sleep(Duration::from_secs(10)).await;
        }
    };
    tokio::join!(drain, beats);
}

/// A coordinator as a real process, and an admin.
struct Processes {
    dir: tempfile::TempDir,
    coordinator: Running,
    ticket: Ticket,
    link: flt::compose::admin::AdminLink,
    session: admin::session::Session,
}

/// Ended when dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

impl Processes {
    async fn start() -> Self {
        use admin::{author::Author, session::Session, workspace::Workspace};
        let dir = tempfile::tempdir().unwrap();
        let flt = |args: &[&str]| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_flt"));
            command.args(args).current_dir(dir.path()).stdin(Stdio::null()).stderr(Stdio::null());
            command.env("HOME", dir.path()).env("XDG_DATA_HOME", dir.path().join("data"));
            command
        };
        let admin = dir.path().join("admin");
        let admin = admin.to_str().unwrap();
        assert!(
            flt(&["admin", "init", "--name", "bench", "--data", admin])
                .stdout(Stdio::null())
                .status()
                .unwrap()
                .success()
        );
        let listen = ["--listen", "127.0.0.1:0", "--metrics", "off", "--data", "c", "--key-file", "coordinator/key"];
        let mut args = vec!["coordinator", "run", "--genesis", "coordinator/genesis.json"];
        args.extend(listen);
        let child = flt(&args).stdout(Stdio::null()).spawn().unwrap();
        let coordinator = Running(child);
        let ticket = wait_for(&dir.path().join("c/ticket")).await;
        let ticket: Ticket = ticket.trim().parse().unwrap();
        let workspace = Workspace::new(admin);
        let key = SecretKey::read(&workspace.key_file(), || None).unwrap();
        let loopback = [SocketAddr::from(([127, 0, 0, 1], 0))];
        let link = flt::compose::admin::connect(key.clone(), &ticket, dir.path(), &loopback, false).await.unwrap();
        let mut session = Session::open(workspace, ticket.fleet, Author::new(key), link.control()).unwrap();
        session.sync().await.unwrap();
        Self { dir, coordinator, ticket, link, session }
    }

    fn head(&self) -> Head {
        self.session.state().unwrap().head()
    }

    async fn enter(&mut self, body: Body) {
        let planned = Arc::clone(self.session.state().unwrap());
        let intent = admin::author::Intent::Enter(body);
        self.session.submit(&planned, &intent, flt::compose::now).await.unwrap();
    }

    async fn agent(&self, name: &str) -> Running {
        let invite = Command::new(env!("CARGO_BIN_EXE_flt"))
            .args(["admin", "invite", "--name", name, "--data"])
            .arg(self.dir.path().join("admin"))
            .args(["--ticket-file"])
            .arg(self.dir.path().join("c/ticket"))
            .output()
            .unwrap();
        let ticket = String::from_utf8(invite.stdout).unwrap();
        let data = self.dir.path().join(name);
        let child = Command::new(env!("CARGO_BIN_EXE_flt"))
            .args(["agent", "run", "--metrics", "off", "--listen", "127.0.0.1:0", "--join", ticket.trim(), "--data"])
            .arg(&data)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // The link keeps the admin connected meanwhile, as it would be.
        drop(self.link.addr().await);
        Running(child)
    }
}

async fn wait_for(path: &Path) -> String {
    loop {
        match std::fs::read_to_string(path) {
            Ok(text) if text.ends_with('\n') => return text,
            _ => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

fn resident_mb(pid: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|l| l.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
}

/// User and system time of a process, in hundredths of a second.
fn cpu_ticks(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}
