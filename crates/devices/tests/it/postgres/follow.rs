//! Who follows whom, with what.

use devices::postgres::Timeline;
use failover::Epoch;
use testkit::DEADLINE;

use super::TOOLS;
use super::bed::{Cluster, rows};

#[tokio::test(flavor = "multi_thread")]
async fn a_primary_is_copied_replaced_rewound_and_followed_again() {
    if !testkit::require("a_primary_is_copied_replaced_rewound_and_followed_again", TOOLS) {
        return;
    }
    let cluster = Cluster::new(&["a", "b"]).await;
    let (a, b) = (cluster.node("a"), cluster.node("b"));
    // Only the first node makes a copy out of nothing.
    assert_eq!(b.detach().await.unwrap().position(), failover::Position::default());
    let begin = a.detach().await.unwrap();
    assert_eq!((begin.timeline, begin.position().epoch), (Timeline::FIRST, Epoch(0)));

    a.start(1, b.acks()).await;
    b.attach(a, 1).await;
    a.instance.apply_sync(b.acks().as_ref()).await.unwrap();
    let writer = a.session().await;
    rows(&writer, "CREATE TABLE t (n int PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 500)").await.unwrap();

    // The standby leaves; what is written from here on is acknowledged by nobody.
    let held = b.detach().await.unwrap();
    assert_eq!(held.position().epoch, Epoch(1));
    let tail = tokio::spawn(async move { rows(&writer, "INSERT INTO t SELECT generate_series(501, 600)").await });
    testkit::until_async("the tail to be on the old primary's disk", DEADLINE, async || {
        let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
        if a.ask(waiting).await == ["1"] { Ok(()) } else { Err("nobody waits") }
    })
    .await;
    assert!(!tail.is_finished());
    a.kill();
    assert!(tail.await.unwrap().is_err(), "nobody may be told that the tail is written");

    b.start(2, a.acks()).await;
    let own = a.detach().await.unwrap();
    assert!(own.timeline == held.timeline && own.lsn > held.lsn, "{own:?} {held:?}");
    assert!(own.position() < b.instance.progress().await.unwrap().position());
    a.attach(b, 2).await;
    b.instance.apply_sync(a.acks().as_ref()).await.unwrap();
    rows(&b.session().await, "INSERT INTO t VALUES (1000)").await.unwrap();
    testkit::until_async("the old primary to hold what the new one has", DEADLINE, async || {
        let found = a.ask("SELECT count(*) || '/' || max(n) FROM t").await;
        if found == ["501/1000"] { Ok(()) } else { Err(found) }
    })
    .await;

    // And back, in order: nothing is rewound, and the positions are the same to the byte.
    let stopped = b.instance.stop(super::bed::soon(60)).await.unwrap();
    let there = a.detach().await.unwrap();
    assert_eq!(there, stopped);
    assert!(!b.instance.has_processes());
    a.start(3, b.acks()).await;
    b.attach(a, 3).await;
    a.instance.apply_sync(b.acks().as_ref()).await.unwrap();
    rows(&a.session().await, "INSERT INTO t VALUES (1001)").await.unwrap();
    assert_eq!(a.ask("SELECT count(*) FROM t").await, ["502"]);
    assert_eq!(a.ask("SELECT substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)").await, ["00000004"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_epoch_that_was_served_alone_is_never_taken_for_another() {
    if !testkit::require("an_epoch_that_was_served_alone_is_never_taken_for_another", TOOLS) {
        return;
    }
    let cluster = Cluster::new(&["a", "b", "c"]).await;
    let (a, b, c) = (cluster.node("a"), cluster.node("b"), cluster.node("c"));
    a.start(1, None).await;
    rows(&a.session().await, "CREATE TABLE t (n int)").await.unwrap();
    for standby in [b, c] {
        standby.attach(a, 1).await;
    }
    let end = a.instance.stop(super::bed::soon(60)).await.unwrap();
    assert_eq!(b.detach().await.unwrap(), end);
    assert_eq!(c.detach().await.unwrap(), end);

    // Both continue the same history from the same place: PostgreSQL alone would call both timelines the same.
    b.start(2, None).await;
    rows(&b.session().await, "INSERT INTO t VALUES (2)").await.unwrap();
    b.kill();
    c.start(7, None).await;
    rows(&c.session().await, "INSERT INTO t VALUES (7)").await.unwrap();
    assert_eq!(c.ask("SELECT substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)").await, ["00000008"]);
    assert_eq!(b.detach().await.unwrap().position().epoch, Epoch(2));

    b.attach(c, 7).await;
    a.attach(c, 7).await;
    for node in [a, b] {
        testkit::until_async("the later epoch alone to be held", DEADLINE, async || {
            let found = node.ask("SELECT n FROM t ORDER BY n").await;
            if found == ["7"] { Ok(()) } else { Err(found) }
        })
        .await;
        assert_eq!(node.detach().await.unwrap().position().epoch, Epoch(7));
    }
    // Who is no primary of that epoch is not followed.
    let error = b.instance.attach(&c.name, Epoch(6)).await.unwrap_err();
    assert!(scores::chain(&error).contains("that of epoch 7"), "{}", scores::chain(&error));
    let error = b.instance.start(Epoch(2), super::bed::soon(60), None).await.unwrap_err();
    assert!(scores::chain(&error).contains("served"), "{}", scores::chain(&error));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_held_after_a_detach_is_exact_and_stays_so_over_restarts() {
    if !testkit::require("what_is_held_after_a_detach_is_exact_and_stays_so_over_restarts", TOOLS) {
        return;
    }
    let mut cluster = Cluster::new(&["a", "b"]).await;
    {
        let (a, b) = (cluster.node("a"), cluster.node("b"));
        a.start(1, None).await;
        b.attach(a, 1).await;
        let writer = a.session().await;
        rows(&writer, "CREATE TABLE t (n int)").await.unwrap();
        let writing = tokio::spawn(async move {
            for n in 0.. {
                if rows(&writer, &format!("INSERT INTO t VALUES ({n})")).await.is_err() {
                    return;
                }
            }
        });
        for _ in 0..5 {
            let held = b.detach().await.unwrap();
            // The primary goes on, and nothing of it arrives.
            let before = a.instance.progress().await.unwrap();
            testkit::until_async("the primary to write on", DEADLINE, async || {
                a.instance.progress().await.is_some_and(|now| now.lsn.0 > before.lsn.0 + 8192)
            })
            .await;
            assert_eq!(b.detach().await.unwrap(), held);
            assert_eq!(b.instance.progress().await.unwrap(), held);
            // Nor after PostgreSQL was killed and started again.
            b.kill();
            assert_eq!(b.detach().await.unwrap(), held);
            b.attach(a, 1).await;
            testkit::until_async("the standby to receive again", DEADLINE, async || {
                b.instance.progress().await.is_some_and(|now| now.lsn > held.lsn)
            })
            .await;
        }
        writing.abort();
        b.detach().await.unwrap();
    }
    // Nor after the agent was.
    let held = cluster.node("b").instance.progress().await.unwrap();
    cluster.open("b").await;
    assert_eq!(cluster.node("b").detach().await.unwrap(), held);
    cluster.node("b").kill();
    cluster.open("b").await;
    assert_eq!(cluster.node("b").detach().await.unwrap(), held);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_is_lost_is_made_anew_and_never_out_of_nothing() {
    if !testkit::require("a_copy_that_is_lost_is_made_anew_and_never_out_of_nothing", TOOLS) {
        return;
    }
    let cluster = Cluster::new(&["a", "b"]).await;
    let (a, b) = (cluster.node("a"), cluster.node("b"));
    a.start(1, None).await;
    b.attach(a, 1).await;
    rows(&a.session().await, "CREATE TABLE t (n int); INSERT INTO t VALUES (1)").await.unwrap();
    b.instance.rebuild(&a.name, Epoch(1)).await.unwrap();
    a.instance.apply_sync(b.acks().as_ref()).await.unwrap();
    a.kill();
    std::fs::remove_dir_all(a.folder.join("data")).unwrap();
    // It was first once. That does not make an empty cluster out of it a second time.
    assert_eq!(a.detach().await, None);
    let error = a.instance.start(Epoch(2), super::bed::soon(60), None).await.unwrap_err();
    assert!(scores::chain(&error).contains("made here before and is gone"), "{}", scores::chain(&error));
    assert_eq!(b.detach().await.unwrap().position().epoch, Epoch(1));
    b.start(3, None).await;
    a.attach(b, 3).await;
    testkit::until_async("the new copy to hold the row", DEADLINE, async || {
        let found = a.ask("SELECT n FROM t").await;
        if found == ["1"] { Ok(()) } else { Err(found) }
    })
    .await;
    assert!(!a.folder.join("data.new").exists() && !a.folder.join("data.old").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_no_candidate_any_more_receives_nothing_more() {
    if !testkit::require("who_is_no_candidate_any_more_receives_nothing_more", TOOLS) {
        return;
    }
    let cluster = Cluster::new(&["a", "b", "c"]).await;
    let (a, b, c) = (cluster.node("a"), cluster.node("b"), cluster.node("c"));
    a.start(1, None).await;
    b.attach(a, 1).await;
    c.attach(a, 1).await;
    let receive = "SELECT string_agg(application_name, ' ' ORDER BY application_name) FROM pg_stat_replication";
    a.says(receive, "b c").await;

    // As when it was removed from the fleet: the others go on, and it does not come back.
    let remaining = || ["a", "c"].map(|name| name.parse().unwrap());
    a.instance.reconfigure(cluster.setup("a").among(remaining())).await.unwrap();
    a.says(receive, "c").await;
    rows(&a.session().await, "CREATE TABLE secret (n int)").await.unwrap();
    c.says("SELECT count(*) FROM pg_class WHERE relname = 'secret'", "1").await;
    let error = b.instance.attach(&a.name, Epoch(1)).await.unwrap_err();
    assert!(scores::chain(&error).contains("authentication failed"), "{}", scores::chain(&error));
    assert_eq!(b.ask("SELECT count(*) FROM pg_class WHERE relname = 'secret'").await, ["0"]);

    // It is one again.
    a.instance.reconfigure(cluster.setup("a")).await.unwrap();
    a.says(receive, "b c").await;
    b.says("SELECT count(*) FROM pg_class WHERE relname = 'secret'", "1").await;
}
