//! What a fence leaves of an instance under load, and what is held after a crash.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use devices::postgres::Lsn;
use failover::settings::Rung;
use rustix::process::{Signal, kill_process};
use scores::workload::Ended;
use testkit::DEADLINE;

use super::TOOLS;
use super::bed::{Cluster, Node, rows, soon};

/// How many clients write.
const WRITERS: u64 = 6;

/// Clients that write numbered rows as fast as they can, and count what was acknowledged.
async fn writers(node: &Node) -> (Vec<tokio::task::JoinHandle<()>>, Arc<AtomicU64>) {
    let acknowledged = Arc::new(AtomicU64::new(0));
    let mut tasks = Vec::new();
    for writer in 0..WRITERS {
        let (client, acknowledged) = (node.session().await, Arc::clone(&acknowledged));
        tasks.push(tokio::spawn(async move {
            for n in 0.. {
                if rows(&client, &format!("INSERT INTO t VALUES ({writer}, {n})")).await.is_err() {
                    return;
                }
                acknowledged.fetch_add(1, Ordering::SeqCst);
            }
        }));
    }
    testkit::until_async("the writers to write", DEADLINE, async || acknowledged.load(Ordering::SeqCst) > 100).await;
    (tasks, acknowledged)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_rung_ends_all_of_it_under_six_writers() {
    if !testkit::require("every_rung_ends_all_of_it_under_six_writers", TOOLS) {
        return;
    }
    let cluster = Cluster::new(&["a"]).await;
    let a = cluster.node("a");
    let mut total = 0;
    for (epoch, rung) in [(1, Rung::Immediate), (2, Rung::Kill), (3, Rung::CutTraffic)] {
        a.start(epoch, None).await;
        if epoch == 1 {
            rows(&a.session().await, "CREATE TABLE t (writer bigint, n bigint)").await.unwrap();
        }
        let (tasks, acknowledged) = writers(a).await;
        let begun = Instant::now();
        a.instance.fence(&rung, soon(20)).await.unwrap_or_else(|why| panic!("{rung:?}: {why}"));
        let took = begun.elapsed();
        assert!(!a.instance.has_processes(), "{rung:?}");
        assert!(a.try_session().await.is_err(), "{rung:?}");
        for task in tasks {
            task.await.unwrap();
        }
        total += acknowledged.load(Ordering::SeqCst);
        // It comes back as a standby, with all that was acknowledged.
        let held = a.detach().await.unwrap();
        assert_eq!(held.position().epoch.0, epoch);
        let found: u64 = a.ask("SELECT count(*) FROM t").await[0].parse().unwrap();
        assert!((total..=total + epoch * WRITERS).contains(&found), "{rung:?}: {found} rows, {total} acknowledged");
        total = found;
        println!("{rung:?}: {} ms", took.as_millis());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_is_stopped_by_a_signal_is_ended_by_the_second_rung() {
    if !testkit::require("an_instance_that_is_stopped_by_a_signal_is_ended_by_the_second_rung", TOOLS) {
        return;
    }
    let cluster = Cluster::new(&["a"]).await;
    let a = cluster.node("a");
    a.start(1, None).await;
    kill_process(a.postmaster(), Signal::STOP).unwrap();
    let why = a.instance.fence(&Rung::Immediate, soon(1)).await.unwrap_err();
    assert!(why.contains("processes of it are left"), "{why}");
    a.instance.fence(&Rung::Kill, soon(20)).await.unwrap();
    assert!(!a.instance.has_processes());
    let why = a.instance.fence(&Rung::Action("pdu".into()), soon(20)).await.unwrap_err();
    assert!(why.contains("no action `pdu`"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_crash_what_is_held_lies_between_acknowledged_and_written() {
    if !testkit::require("after_a_crash_what_is_held_lies_between_acknowledged_and_written", TOOLS) {
        return;
    }
    let cluster = Cluster::new(&["a"]).await;
    let a = cluster.node("a");
    a.start(1, None).await;
    rows(&a.session().await, "CREATE TABLE t (writer bigint, n bigint)").await.unwrap();
    let (tasks, acknowledged) = writers(a).await;
    // The watcher's last answer is what was flushed at least; the main process is killed while it asks.
    let watcher = a.session().await;
    let (seen, mut looks) = tokio::sync::watch::channel(0_u32);
    let flushed = tokio::spawn(async move {
        let mut last = Lsn(0);
        while let Ok(found) = rows(&watcher, "SELECT pg_current_wal_flush_lsn()").await {
            last = found[0].parse().unwrap();
            seen.send_modify(|looks| *looks += 1);
        }
        last
    });
    looks.wait_for(|looks| *looks > 20).await.unwrap();
    let ended = {
        let instance = Arc::clone(&a.instance);
        tokio::spawn(async move { instance.ended().await })
    };
    kill_process(a.postmaster(), Signal::KILL).unwrap();
    let reason = tokio::time::timeout(DEADLINE, ended).await.unwrap().unwrap();
    assert!(matches!(&reason, Ended::Gone(why) if why.contains("PostgreSQL has ended")), "{reason:?}");
    for task in tasks {
        task.await.unwrap();
    }
    let flushed = flushed.await.unwrap();
    let held = a.detach().await.unwrap();
    assert!(held.lsn >= flushed, "{held} {flushed}");
    let found: u64 = a.ask("SELECT count(*) FROM t").await[0].parse().unwrap();
    let acknowledged = acknowledged.load(Ordering::SeqCst);
    assert!((acknowledged..=acknowledged + WRITERS).contains(&found), "{found} rows, {acknowledged} acknowledged");
    // It does not grow by being looked at, nor by another crash.
    a.kill();
    assert_eq!(a.detach().await.unwrap(), held);
}
