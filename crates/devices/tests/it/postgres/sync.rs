//! By whom writes are acknowledged.

use std::sync::Arc;

use devices::postgres::Acks;
use testkit::DEADLINE;

use super::TOOLS;
use super::bed::{Cluster, rows};

/// How many sessions wait for a standby.
const WAITING: &str = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";

#[tokio::test(flavor = "multi_thread")]
async fn a_set_is_in_force_when_a_write_was_acknowledged_by_it_and_not_before() {
    if !testkit::require("a_set_is_in_force_when_a_write_was_acknowledged_by_it_and_not_before", TOOLS) {
        return;
    }
    let cluster = Cluster::new(&["a", "b", "c"]).await;
    let (a, b, c) = (cluster.node("a"), cluster.node("b"), cluster.node("c"));
    a.start(1, b.acks()).await;
    let writer = a.session().await;
    // From the first write on: nobody follows yet.
    let first = tokio::spawn(async move { rows(&writer, "CREATE TABLE t (n int)").await });
    let in_force = {
        let (instance, acks) = (Arc::clone(&a.instance), b.acks());
        tokio::spawn(async move { instance.apply_sync(acks.as_ref()).await })
    };
    a.says(WAITING, "2").await;
    // Whoever is not in the set changes nothing, although it holds both.
    c.attach(a, 1).await;
    let holds = "SELECT flush_lsn >= pg_current_wal_insert_lsn() FROM pg_stat_replication WHERE application_name = 'c'";
    a.says(holds, "t").await;
    assert_eq!(a.ask(WAITING).await, ["2"]);
    assert!(!first.is_finished() && !in_force.is_finished());
    b.attach(a, 1).await;
    in_force.await.unwrap().unwrap();
    first.await.unwrap().unwrap();

    // A wider set, of which one is gone: not in force before that one is back.
    let both = Acks { num: 2, names: vec![b.name.clone(), c.name.clone()] };
    c.detach().await.unwrap();
    let wider = {
        let (instance, acks) = (Arc::clone(&a.instance), both.clone());
        tokio::spawn(async move { instance.apply_sync(Some(&acks)).await })
    };
    a.says(WAITING, "1").await;
    let writer = a.session().await;
    let write = tokio::spawn(async move { rows(&writer, "INSERT INTO t VALUES (2)").await });
    a.says(WAITING, "2").await;
    let holds = "SELECT flush_lsn >= pg_current_wal_insert_lsn() FROM pg_stat_replication WHERE application_name = 'b'";
    a.says(holds, "t").await;
    assert_eq!(a.ask(WAITING).await, ["2"]);
    assert!(!wider.is_finished() && !write.is_finished());
    c.attach(a, 1).await;
    wider.await.unwrap().unwrap();
    write.await.unwrap().unwrap();

    // A standby is told no set.
    let error = b.instance.apply_sync(Some(&both)).await.unwrap_err();
    assert!(scores::chain(&error).contains("not writable"), "{}", scores::chain(&error));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_acknowledged_row_is_on_a_standby_while_sets_change() {
    if !testkit::require("every_acknowledged_row_is_on_a_standby_while_sets_change", TOOLS) {
        return;
    }
    let cluster = Cluster::new(&["a", "b", "c"]).await;
    let (a, b, c) = (cluster.node("a"), cluster.node("b"), cluster.node("c"));
    a.start(1, b.acks()).await;
    b.attach(a, 1).await;
    c.attach(a, 1).await;
    rows(&a.session().await, "CREATE TABLE t (n bigint)").await.unwrap();
    let writer = a.session().await;
    let (told, acknowledged) = tokio::sync::watch::channel(0_u64);
    let writing = tokio::spawn(async move {
        for n in 1_u64.. {
            if rows(&writer, &format!("INSERT INTO t VALUES ({n})")).await.is_err() {
                return;
            }
            told.send_replace(n);
        }
    });
    for turn in 0..4 {
        // From here on the other one alone acknowledges, and this one is taken away at once.
        let (stays, leaves) = if turn % 2 == 0 { (c, b) } else { (b, c) };
        a.instance.apply_sync(stays.acks().as_ref()).await.unwrap();
        leaves.detach().await.unwrap();
        let before = *acknowledged.borrow();
        testkit::until_async("more rows to be acknowledged", DEADLINE, async || *acknowledged.borrow() > before + 20)
            .await;
        let known = *acknowledged.borrow();
        let held = stays.detach().await.unwrap();
        let found: u64 = stays.ask("SELECT coalesce(max(n), 0) FROM t").await[0].parse().unwrap();
        assert!(found >= known, "turn {turn}: {known} acknowledged, {found} held at {held}");
        // Nobody is left to acknowledge.
        let after = *acknowledged.borrow();
        a.says(WAITING, "1").await;
        assert!(*acknowledged.borrow() <= after + 1);
        assert!(*acknowledged.borrow() <= found);
        stays.attach(a, 1).await;
        leaves.attach(a, 1).await;
    }
    writing.abort();
}
