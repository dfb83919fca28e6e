//! A primary that ended by itself goes on in the epoch that it served.

use failover::settings::Rung;
use failover::{Epoch, LocalTime};
use rustix::process::{Signal, kill_process};
use testkit::DEADLINE;

use super::TOOLS;
use super::bed::{Cluster, rows, soon};

#[tokio::test(flavor = "multi_thread")]
async fn a_primary_that_was_killed_goes_on_on_its_timeline_and_waits_for_its_standby() {
    if !testkit::require("a_primary_that_was_killed_goes_on_on_its_timeline_and_waits_for_its_standby", TOOLS) {
        return;
    }
    let cluster = Cluster::new(&["a", "b"]).await;
    let (a, b) = (cluster.node("a"), cluster.node("b"));
    a.start(3, b.acks()).await;
    b.attach(a, 3).await;
    rows(&a.session().await, "CREATE TABLE t (n int)").await.unwrap();
    for n in 0..3 {
        rows(&a.session().await, &format!("INSERT INTO t VALUES ({n})")).await.unwrap();
        kill_process(a.postmaster(), Signal::KILL).unwrap();
        tokio::time::timeout(DEADLINE, a.instance.ended()).await.unwrap();
        a.instance.fence(&Rung::Immediate, soon(20)).await.unwrap();
        let begun = std::time::Instant::now();
        a.instance.resume(Epoch(3), soon(60), b.acks()).await.unwrap();
        println!("went on in {} ms", begun.elapsed().as_millis());
        assert!(a.folder.join("data/standby.signal").exists(), "also while it is writable");
    }
    // The standby follows as before, and is waited for.
    rows(&a.session().await, "INSERT INTO t VALUES (3)").await.unwrap();
    assert_eq!(b.detach().await.unwrap().position().epoch, Epoch(3));
    assert_eq!(b.ask("SELECT count(*) FROM t").await, ["4"]);
    let writer = a.session().await;
    let write = tokio::spawn(async move { rows(&writer, "INSERT INTO t VALUES (4)").await });
    a.says("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'", "1").await;
    assert!(!write.is_finished(), "nobody is there to acknowledge");
    b.attach(a, 3).await;
    write.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn no_other_epoch_is_gone_on_with_and_nobody_is_let_in_too_late() {
    if !testkit::require("no_other_epoch_is_gone_on_with_and_nobody_is_let_in_too_late", TOOLS) {
        return;
    }
    let mut cluster = Cluster::new(&["a"]).await;
    {
        let a = cluster.node("a");
        a.start(1, None).await;
        rows(&a.session().await, "CREATE ROLE app LOGIN PASSWORD 'secret'").await.unwrap();
        a.kill();
        for epoch in [2, 0] {
            let error = a.instance.resume(Epoch(epoch), soon(60), None).await.unwrap_err();
            assert!(scores::chain(&error).contains("has not served that epoch"), "{}", scores::chain(&error));
        }
        let late = a.instance.resume(Epoch(1), LocalTime::from_micros(1), None).await.unwrap_err();
        assert!(scores::chain(&late).contains("its time is over"), "{}", scores::chain(&late));
        // Whatever runs of it, clients are kept out.
        let refused = connect(a.address).await.unwrap_err();
        assert!(refused.contains("pg_hba.conf rejects"), "{refused}");
        a.instance.fence(&Rung::Immediate, soon(20)).await.unwrap();
    }
    // The next start, by whomever, is one of a standby.
    cluster.open("a").await;
    let a = cluster.node("a");
    assert_eq!(a.detach().await.unwrap().position().epoch, Epoch(1));
    connect(a.address).await.unwrap();
    assert_eq!(a.ask("SHOW transaction_read_only").await, ["on"]);
}

async fn connect(address: std::net::SocketAddr) -> Result<(), String> {
    let mut config = tokio_postgres::Config::new();
    config.host(address.ip().to_string()).port(address.port()).user("app").password("secret").dbname("postgres");
    config.ssl_mode(tokio_postgres::config::SslMode::Disable);
    match config.connect(tokio_postgres::NoTls).await {
        Ok(_) => Ok(()),
        Err(error) => Err(scores::chain(&error)),
    }
}
