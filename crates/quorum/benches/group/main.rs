//! How fast a group of three decides: compare-and-set by one client and by 64, and the gap after its leader is killed.
//! Beside it etcd on the same machine, if `etcd` is installed (Debian: etcd-server). Both sync to disk before they answer.
//!
//! `cargo bench -p quorum --bench group`; `SECS` is how long each cell is measured (default 10).

mod etcd;
mod members;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Something that has registers which are changed by compare-and-set.
trait Registers: Send + Sync + 'static {
    /// Sets the register of this client from the value it has to the next one; false if that is not known to have worked.
    fn advance(&self, client: usize, to: u64) -> impl Future<Output = bool> + Send;
}

fn main() {
    let secs = std::env::var("SECS").ok().and_then(|s| s.parse().ok()).unwrap_or(10);
    let each = Duration::from_secs(secs);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.unwrap_or_else(|error| panic!("no runtime: {error}"));
    println!("| system | clients | per second | p50 ms | p99 ms |\n|---|---|---|---|---|");
    runtime.block_on(async {
        let group = Arc::new(members::Members::start().await);
        for clients in [1, members::CLIENTS] {
            measure("group of 3, one process, fsync each", &group, clients, each).await;
        }
        let gaps = members::gaps(&group, 3).await;
        println!("gap after the leader ends, group of 3: {}", shown(&gaps));
    });
    match etcd::Cluster::start() {
        Ok(mut cluster) => {
            runtime.block_on(async {
                let etcd = Arc::new(cluster.client().await);
                for clients in [1, members::CLIENTS] {
                    measure("etcd, 3 processes, fsync each", &etcd, clients, each).await;
                }
            });
            let gaps = runtime.block_on(cluster.gaps(3));
            println!("gap after the leader is killed, etcd: {}", shown(&gaps));
        }
        Err(why) => println!("etcd is not measured: {why}"),
    }
}

async fn measure<R: Registers>(name: &str, registers: &Arc<R>, clients: usize, each: Duration) {
    static VALUE: AtomicU64 = AtomicU64::new(1);
    let until = Instant::now() + each;
    let tasks: Vec<_> = (0..clients)
        .map(|client| {
            let registers = Arc::clone(registers);
            tokio::spawn(async move {
                let mut took = Vec::new();
                while Instant::now() < until {
                    let began = Instant::now();
                    if registers.advance(client, VALUE.fetch_add(1, Ordering::Relaxed)).await {
                        took.push(began.elapsed());
                    }
                }
                took
            })
        })
        .collect();
    let mut took = Vec::new();
    for task in tasks {
        took.extend(task.await.unwrap_or_default());
    }
    took.sort_unstable();
    let at = |part: f64| took.get((took.len() as f64 * part) as usize).map_or(f64::NAN, |t| t.as_secs_f64() * 1e3);
    let rate = took.len() as f64 / each.as_secs_f64();
    println!("| {name} | {clients} | {rate:.0} | {:.2} | {:.2} |", at(0.5), at(0.99));
}

fn shown(gaps: &[Duration]) -> String {
    gaps.iter().map(|gap| format!("{:.2} s", gap.as_secs_f64())).collect::<Vec<_>>().join(", ")
}
