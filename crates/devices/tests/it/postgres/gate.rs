//! Nothing becomes writable but by an order.

use std::process::{Command, Stdio};

use failover::{Epoch, LocalTime};

use super::TOOLS;
use super::bed::{BIN, Cluster, rows, soon};

#[tokio::test(flavor = "multi_thread")]
async fn no_start_but_an_ordered_one_makes_it_writable() {
    if !testkit::require("no_start_but_an_ordered_one_makes_it_writable", TOOLS) {
        return;
    }
    let mut cluster = Cluster::new(&["a"]).await;
    {
        let a = cluster.node("a");
        a.start(1, None).await;
        rows(&a.session().await, "CREATE TABLE t (n int)").await.unwrap();
        let data = a.folder.join("data");
        assert!(data.join("standby.signal").exists(), "also while it is writable");
        a.kill();

        // By hand, as the account, without what the agent starts it with.
        let by_hand = Command::new("setpriv")
            .args(["--reuid=postgres", "--regid=postgres", "--clear-groups", &format!("{BIN}/postgres"), "-D"])
            .arg(&data)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&by_hand.stderr).into_owned();
        assert!(!by_hand.status.success() && said.contains("started_by_flotilla_alone"), "{said}");
    }
    // By an agent that has restarted and knows nothing, whatever the files say that a start reads.
    std::fs::remove_file(cluster.node("a").folder.join("data/standby.signal")).unwrap();
    cluster.open("a").await;
    let a = cluster.node("a");
    assert_eq!(a.detach().await.unwrap().position().epoch, Epoch(1));
    let client = a.session().await;
    assert_eq!(rows(&client, "SHOW transaction_read_only").await.unwrap(), ["on"]);
    let refused = rows(&client, "INSERT INTO t VALUES (1)").await.unwrap_err();
    assert_eq!(refused.code().map(|code| code.code()), Some("25006"));

    // An order whose time is over is none.
    let late = a.instance.start(Epoch(2), LocalTime::from_micros(1), None).await.unwrap_err();
    assert!(scores::chain(&late).contains("its time is over"), "{}", scores::chain(&late));
    assert_eq!(a.ask("SELECT pg_is_in_recovery()").await, ["t"]);
    // What a crash of one session does to it: it ends as a whole, and does not come back by itself.
    a.start(3, None).await;
    let backend: i32 = a.ask("SELECT pg_backend_pid()").await[0].parse().unwrap();
    let session = a.session().await;
    let backend_now: i32 = rows(&session, "SELECT pg_backend_pid()").await.unwrap()[0].parse().unwrap();
    assert_ne!(backend, backend_now);
    let pid = rustix::process::Pid::from_raw(backend_now).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    tokio::time::timeout(testkit::DEADLINE, a.instance.ended()).await.unwrap();
    a.instance.fence(&failover::settings::Rung::Immediate, soon(20)).await.unwrap();
    assert_eq!(a.detach().await.unwrap().position().epoch, Epoch(3));
}
