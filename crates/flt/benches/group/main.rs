//! How fast three coordinators decide, as processes, over the mesh and encrypted: compare-and-set by one client and by 64,
//! and how long nothing is decided after the leader is killed with -9. Beside them etcd and NATS JetStream with three
//! replicas, if `etcd` and `nats-server` are installed (Debian: etcd-server, nats-server), in turns on the same machine.
//!
//! `cargo bench -p flt --bench group`; `SECS` is how long each cell is measured (default 10), `ROUNDS` how often (3),
//! `KILLS` how many leaders are killed (3). Figures are of this run on this machine; compare them within a run only. What
//! fails is said in its place, and the rest goes on. Do not give it real-time priority: it and its servers would keep the
//! kernel's threads, which carry the disk's and the network's work, from the processors.

#![allow(clippy::unwrap_used, missing_docs, reason = "a program for people who look at its figures")]

mod etcd;
#[path = "../shared/ledger.rs"]
mod ledger;
mod nats;
mod ours;

use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::timeout;

/// How many clients at most, each with a register of its own.
const CLIENTS: usize = 64;
/// How long a cluster may take to begin or to find its next leader.
const SOON: Duration = Duration::from_secs(60);
/// How long a client waits for an answer before it asks again.
const ANSWER: Duration = Duration::from_secs(2);
/// The pause between two tries while nobody decides.
const AGAIN: Duration = Duration::from_millis(5);
/// The pause between two looks at a cluster that does not answer yet.
const POLL: Duration = Duration::from_millis(100);
/// How long a member that returned is left alone.
const SETTLE: Duration = Duration::from_secs(2);

/// A client of one member: registers that are changed by compare-and-set.
trait Registers: Send + Sync + 'static {
    /// Changes the register of this client, from what it was to something else; false if it is not known to have worked.
    fn advance(&self, client: usize) -> impl Future<Output = bool> + Send;
}

/// Three processes.
trait Cluster: Sized {
    const NAME: &'static str;
    /// What is on which disks before a change is answered.
    const SYNCS: &'static str;
    type Client: Registers;
    async fn start() -> Result<Self, String>;
    /// Who leads, as 0 to 2.
    async fn leader(&self) -> Option<usize>;
    async fn client(&self, of: usize) -> Self::Client;
    fn procs(&mut self) -> &mut [Proc; 3];
    /// Starts a member that was killed.
    fn again(&mut self, n: usize);
}

/// Killed when dropped.
struct Proc(Child);

impl Proc {
    fn spawn(command: &mut Command) -> Self {
        Self(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }

    fn kill(&mut self) {
        drop((self.0.kill(), self.0.wait()));
    }

    fn resident_mb(&self) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap_or_default();
        let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.parse().ok());
        kib.map_or(f64::NAN, |kib: f64| kib / 1024.0)
    }
}

impl Drop for Proc {
    fn drop(&mut self) {
        self.kill();
    }
}

fn main() {
    if let Ok(n) = std::env::var(ours::MEMBER) {
        return ours::member(n.parse().unwrap());
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let (secs, rounds, kills) = (number("SECS", 10), number("ROUNDS", 3), number("KILLS", 3));
    runtime.block_on(async {
        let mut ours = started::<ours::Group>().await;
        let mut etcd = started::<etcd::Etcd>().await;
        let mut nats = started::<nats::Nats>().await;
        println!("| cluster | round | clients | per second | p50 ms | p99 ms | failed |\n|---|---|---|---|---|---|---|");
        for round in 1..=rounds {
            for clients in [1, CLIENTS] {
                let each = Duration::from_secs(secs);
                measure(ours.as_ref(), round, clients, each).await;
                measure(etcd.as_ref(), round, clients, each).await;
                measure(nats.as_ref(), round, clients, each).await;
            }
        }
        println!("\n| cluster | leader's resident MB | nothing decided after kill -9 of the leader, s | on disk before the answer |");
        println!("|---|---|---|---|");
        gaps(ours.as_mut(), kills).await;
        gaps(etcd.as_mut(), kills).await;
        gaps(nats.as_mut(), kills).await;
    });
    runtime.shutdown_timeout(Duration::from_secs(2));
}

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

async fn started<C: Cluster>() -> Option<C> {
    let why = match timeout(SOON * 2, C::start()).await {
        Ok(Ok(cluster)) => return Some(cluster),
        Ok(Err(why)) => why,
        Err(_) => "it does not come up".into(),
    };
    println!("{} is not measured: {why}\n", C::NAME);
    None
}

/// A client of one member, once that answers.
async fn answering<C: Cluster>(cluster: &C, n: usize) -> Result<C::Client, String> {
    let until = Instant::now() + SOON;
    loop {
        let client = cluster.client(n).await;
        // The first time it may only learn what the register is.
        if client.advance(0).await || client.advance(0).await {
            return Ok(client);
        }
        if Instant::now() > until {
            return Err(format!("member {n} answers nothing for {} s", SOON.as_secs()));
        }
        tokio::time::sleep(POLL).await;
    }
}

/// A client of the leader, once there is one that answers.
async fn ready<C: Cluster>(cluster: &C) -> Result<(usize, C::Client), String> {
    let until = Instant::now() + SOON;
    loop {
        if let Some(leader) = cluster.leader().await {
            let client = cluster.client(leader).await;
            if client.advance(0).await || client.advance(0).await {
                return Ok((leader, client));
            }
        }
        if Instant::now() > until {
            return Err(format!("nobody leads for {} s", SOON.as_secs()));
        }
        tokio::time::sleep(POLL).await;
    }
}

async fn measure<C: Cluster>(cluster: Option<&C>, round: u64, clients: usize, each: Duration) {
    let Some(cluster) = cluster else { return };
    let registers = match ready(cluster).await {
        Ok((_, client)) => Arc::new(client),
        Err(why) => return println!("| {} | {round} | {clients} | {why} | | | |", C::NAME),
    };
    let until = Instant::now() + each;
    let tasks: Vec<_> = (0..clients)
        .map(|client| {
            let registers = Arc::clone(&registers);
            tokio::spawn(async move {
                let (mut took, mut failed) = (Vec::new(), 0u64);
                while Instant::now() < until {
                    let began = Instant::now();
                    if registers.advance(client).await {
                        took.push(began.elapsed());
                    } else {
                        failed += 1;
                        tokio::time::sleep(AGAIN).await;
                    }
                }
                (took, failed)
            })
        })
        .collect();
    let (mut took, mut failed) = (Vec::new(), 0);
    for task in tasks {
        let (of_one, failed_of_one) = task.await.unwrap();
        took.extend(of_one);
        failed += failed_of_one;
    }
    took.sort_unstable();
    #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "ranks")]
    let at = |part: f64| took.get((took.len() as f64 * part) as usize).map_or(f64::NAN, |t| t.as_secs_f64() * 1e3);
    #[expect(clippy::cast_precision_loss, reason = "a figure to look at")]
    let rate = took.len() as f64 / each.as_secs_f64();
    println!("| {} | {round} | {clients} | {rate:.0} | {:.2} | {:.2} | {failed} |", C::NAME, at(0.5), at(0.99));
}

/// The longest time between two changes that clients of the two who stay see around the leader's death.
async fn gaps<C: Cluster>(cluster: Option<&mut C>, kills: u64) {
    let Some(cluster) = cluster else { return };
    let resident = match ready(cluster).await {
        Ok((leader, _)) => format!("{:.0}", cluster.procs()[leader].resident_mb()),
        Err(why) => why,
    };
    let mut gaps = Vec::new();
    for _ in 0..kills {
        match gap(cluster).await {
            Ok(gap) => gaps.push(format!("{:.2}", gap.as_secs_f64())),
            Err(why) => {
                gaps.push(why);
                break;
            }
        }
    }
    println!("| {} | {resident} | {} | {} |", C::NAME, gaps.join(", "), C::SYNCS);
}

async fn gap<C: Cluster>(cluster: &mut C) -> Result<Duration, String> {
    let mut others = Vec::new();
    let (leader, _) = ready(cluster).await?;
    for n in (0..3).filter(|n| *n != leader) {
        others.push(answering(cluster, n).await?);
    }
    cluster.procs()[leader].kill();
    let began = Instant::now();
    let mut turn = 0;
    while !others[turn % 2].advance(0).await {
        if began.elapsed() > SOON {
            return Err(format!("over {} s", SOON.as_secs()));
        }
        turn += 1;
        tokio::time::sleep(AGAIN).await;
    }
    let gap = began.elapsed();
    cluster.again(leader);
    // What returned has to have caught up before the next one goes.
    answering(cluster, leader).await?;
    tokio::time::sleep(SETTLE).await;
    Ok(gap)
}
