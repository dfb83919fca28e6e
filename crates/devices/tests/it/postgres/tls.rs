//! Islands of trust: who may follow is decided by whose authority the declaration names.

use devices::postgres::{Setup, make_authority};
use failover::Epoch;

use super::TOOLS;
use super::bed::Cluster;

fn with_authority(setup: Setup, site: &str, pem: Option<String>) -> Setup {
    let mut score = setup.score;
    match pem {
        Some(pem) => score.tls.authorities.insert(site.parse().unwrap(), pem),
        None => score.tls.authorities.remove(&site.parse().unwrap()),
    };
    Setup::new(score, setup.me)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_of_a_foreign_authority_is_refused_and_one_of_a_named_one_is_not() {
    if !testkit::require("a_standby_of_a_foreign_authority_is_refused_and_one_of_a_named_one_is_not", TOOLS) {
        return;
    }
    let cluster = Cluster::new(&["a", "b"]).await;
    let (a, b) = (cluster.node("a"), cluster.node("b"));
    a.start(1, None).await;
    let bundled = cluster.setup("a");

    // The primary does not know the other site: not even the first question is answered.
    a.instance.reconfigure(with_authority(bundled.clone(), "site-b", None)).await.unwrap();
    let error = b.instance.attach(&a.name, Epoch(1)).await.unwrap_err();
    let said = scores::chain(&error);
    assert!(said.contains("alert unknown ca") || said.contains("unknown certificate authority"), "{said}");

    // The standby does not know the primary's: it tells it nothing.
    a.instance.reconfigure(bundled.clone()).await.unwrap();
    b.instance.reconfigure(with_authority(cluster.setup("b"), "site-a", None)).await.unwrap();
    let error = b.instance.attach(&a.name, Epoch(1)).await.unwrap_err();
    assert!(scores::chain(&error).contains("certificate verify failed"), "{}", scores::chain(&error));

    // With both in the bundle of each it is followed, without a restart of the primary.
    b.instance.reconfigure(cluster.setup("b")).await.unwrap();
    b.attach(a, 1).await;
    let who = a.ask("SELECT client_dn FROM pg_stat_ssl JOIN pg_stat_replication USING (pid)").await;
    assert_eq!(who, ["/CN=b"]);

    // A key of its own site alone, and none of it in the declaration.
    for (name, other) in [("a", "b"), ("b", "a")] {
        let keys = std::fs::read_dir(cluster.node(name).folder.join("tls")).unwrap().flatten();
        let keys: Vec<String> = keys.map(|entry| std::fs::read_to_string(entry.path()).unwrap()).collect();
        let foreign = std::fs::read_to_string(cluster.path().join(format!("site-{other}/ca.key"))).unwrap();
        assert!(keys.iter().all(|text| !text.contains(foreign.trim())));
    }
    // A site whose authority the declaration does not name cannot issue anything that would be believed.
    std::fs::remove_dir_all(cluster.path().join("site-b")).unwrap();
    make_authority(&cluster.path().join("site-b"), "b").unwrap();
    let error = b.instance.reconfigure(cluster.setup("b")).await.unwrap_err();
    assert!(scores::chain(&error).contains("is not among `tls.authorities`"), "{}", scores::chain(&error));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_superuser_and_the_standbys_role_have_no_other_way_in() {
    if !testkit::require("the_superuser_and_the_standbys_role_have_no_other_way_in", TOOLS) {
        return;
    }
    let cluster = Cluster::new(&["a", "b"]).await;
    let a = cluster.node("a");
    a.start(1, None).await;
    for (user, mode) in [("postgres", "prefer"), ("postgres", "require"), ("flotilla_replication", "prefer")] {
        let conninfo = format!(
            "host=127.0.0.1 port={} user={user} dbname=postgres sslmode={mode} password=x connect_timeout=5",
            a.address.port()
        );
        let psql = std::process::Command::new("psql").args(["-w", "-d", &conninfo, "-c", "SELECT 1"]).output().unwrap();
        let said = String::from_utf8_lossy(&psql.stderr).into_owned();
        assert!(!psql.status.success(), "{user} {mode}");
        let refused = ["pg_hba.conf rejects", "requires a valid client certificate", "no pg_hba.conf entry"];
        assert!(refused.iter().any(|text| said.contains(text)), "{user} {mode}: {said}");
    }
}
