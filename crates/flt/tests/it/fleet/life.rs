//! What a fleet does by itself: it converges, heals, comes back, and goes on with whatever is left.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use admin::session::SubmitFailure;
use bytes::Bytes;
use flt::compose::admin::Content;
use flt::compose::coordinator::ClockPart;
use flt::compose::now;
use protocols::control::SubmitError;
use protocols::entry::Withdraw;
use protocols::facts::StableFacts;
use protocols::{BlobRef, Body, Check, Millis, NodeId, Policy, Verdict};
use testkit::until_async;

use super::impostor::{Impostor, Lie};
use super::rig::{FILES, Rig, SOON, motd, publish};

/// A policy whose one check runs a shell.
fn checked(script: &str) -> Policy {
    let command = ["/bin/sh", "-c", script].map(String::from).to_vec();
    Policy { checks: vec![Check::Exec { command, seconds: 10 }], check_seconds: 2, ..Policy::default() }
}

/// A policy whose check writes down what every version left in `/etc/motd`.
fn logged(rig: &Rig, of: &str, log: &Path) -> Policy {
    checked(&format!(
        "cat '{}' >> '{}'; echo >> '{}'",
        rig.root(of).join("etc/motd").display(),
        log.display(),
        log.display()
    ))
}

async fn stable_facts(rig: &Rig, node: NodeId) -> StableFacts {
    let stable = async || rig.admin.session.reports(&[node], "facts/").await.ok()?.pop()?.stable;
    until_async("facts of the node", SOON, stable).await
}

#[tokio::test(flavor = "multi_thread")]
async fn admin_can_get_subscriber_facts_via_coordinator() {
    let mut rig = Rig::found().await;
    let node = rig.join("edge-1").await;
    let facts = stable_facts(&rig, node).await;
    assert!(facts.kinds.iter().any(|k| k.as_str() == FILES), "{facts:?}");
    assert_eq!(facts.flt_version, env!("CARGO_PKG_VERSION"));
    assert!(facts.cpus.is_some_and(|n| n > 0) && facts.memory_bytes.is_some_and(|n| n > 1 << 20), "{facts:?}");
    until_async("the other facts", SOON, async || rig.report(node).await.volatile).await;
    until_async("heartbeats", SOON, async || rig.report(node).await.liveness.online).await;
    let report = rig.report(node).await;
    assert!(report.problems.is_empty(), "{report:?}");
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn admin_can_get_subscriber_facts_via_coordinator_after_coordinator_restart() {
    let mut rig = Rig::found().await;
    let node = rig.join("edge-1").await;
    let before = stable_facts(&rig, node).await;
    // The node is away for good: what it said is on the coordinator's disk.
    rig.stop_agent("edge-1").await;
    rig.stop_coordinator().await;
    rig.start_coordinator().await;
    assert_eq!(stable_facts(&rig, node).await, before);
    assert!(!rig.report(node).await.liveness.online);
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn offline_agent_converges_to_newest_only() {
    let mut rig = Rig::found().await;
    let node = rig.join("edge-1").await;
    let log = rig.dir.path().join("log");
    let policy = logged(&rig, "edge-1", &log);
    let first = rig.admin.enter(publish("base/motd", "*", &motd("one"), policy.clone())).await;
    rig.outcome(node, first, Verdict::Converged).await;
    rig.stop_agent("edge-1").await;
    rig.admin.enter(publish("base/motd", "*", &motd("two"), policy.clone())).await;
    let third = rig.admin.enter(publish("base/motd", "*", &motd("three"), policy)).await;
    rig.start_again("edge-1").await;
    rig.outcome(node, third, Verdict::Converged).await;
    let seen = std::fs::read_to_string(&log).unwrap();
    let seen: Vec<&str> = seen.lines().collect();
    assert!(seen.first() == Some(&"one") && seen.last() == Some(&"three"), "{seen:?}");
    assert!(!seen.contains(&"two"), "{seen:?}");
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_change_is_undone_and_quarantined_for_files() {
    let mut rig = Rig::found().await;
    let node = rig.join("edge-1").await;
    let first = rig.publish("*", "one").await;
    rig.outcome(node, first, Verdict::Converged).await;
    let bad = r#"{"root":"/etc","entries":{"motd":{"content":"bad"},"new/file":{"content":"x"}}}"#;
    let second = rig.admin.enter(publish("base/motd", "*", bad, checked("exit 3"))).await;
    let outcome = rig.outcome(node, second, Verdict::Quarantined).await;
    assert!(outcome.message.contains("exit 3"), "{outcome:?}");
    assert_eq!(rig.motd("edge-1").as_deref(), Some("one"));
    assert!(!rig.root("edge-1").join("etc/new").exists());
    // Nor is it tried again by the next process.
    rig.stop_agent("edge-1").await;
    rig.start_again("edge-1").await;
    testkit::until("heartbeats", SOON, || rig.agents["edge-1"].role.stats().beats > 3);
    assert_eq!(rig.agents["edge-1"].role.stats().plays, 0);
    rig.outcome(node, second, Verdict::Quarantined).await;
    assert_eq!(rig.motd("edge-1").as_deref(), Some("one"));
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn quarantine_ends_when_the_declaration_changes() {
    let mut rig = Rig::found().await;
    let node = rig.join("edge-1").await;
    let first = rig.admin.enter(publish("base/motd", "*", &motd("bad"), checked("exit 3"))).await;
    rig.outcome(node, first, Verdict::Quarantined).await;
    assert_eq!(rig.motd("edge-1"), None);
    let second = rig.publish("*", "good").await;
    rig.outcome(node, second, Verdict::Converged).await;
    assert_eq!(rig.motd("edge-1").as_deref(), Some("good"));
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_come_back_to_a_coordinator_that_restarts_and_nothing_is_lost() {
    let mut rig = Rig::found().await;
    let names = ["edge-1", "edge-2", "edge-3"];
    for of in names {
        rig.join(of).await;
    }
    let first = rig.publish("*", "one").await;
    for of in names {
        rig.outcome(rig.keys[of].id(), first, Verdict::Converged).await;
    }
    for round in 0..2 {
        let head = rig.state().head();
        rig.stop_coordinator().await;
        rig.start_coordinator().await;
        assert_eq!(rig.state().head(), head);
        let text = format!("after restart {round}");
        let generation = rig.publish("*", &text).await;
        for of in names {
            rig.outcome(rig.keys[of].id(), generation, Verdict::Converged).await;
            assert_eq!(rig.motd(of), Some(text.clone()));
        }
    }
    until_async("three nodes that are online", SOON, async || {
        let online = rig.reports("").await.iter().filter(|r| r.liveness.online && r.stable.is_some()).count();
        if online == 3 { Ok(()) } else { Err(online) }
    })
    .await;
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_coordinator_an_agent_keeps_what_it_knows_after_a_grace() {
    let mut rig = Rig::found().await;
    let node = rig.join("edge-1").await;
    let first = rig.publish("*", "one").await;
    rig.outcome(node, first, Verdict::Converged).await;
    rig.stop_agent("edge-1").await;
    rig.stop_coordinator().await;
    std::fs::write(rig.root("edge-1").join("etc/motd"), "changed by hand").unwrap();
    let mut parts = rig.parts("edge-1", rig.ticket());
    parts.grace = Duration::from_millis(200);
    rig.start("edge-1", parts).await;
    rig.says("edge-1", "one").await;
    assert!(!rig.agents["edge-1"].role.is_connected());
    // It finds the coordinator when there is one.
    rig.start_coordinator().await;
    let second = rig.publish("*", "two").await;
    rig.outcome(node, second, Verdict::Converged).await;
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_whose_clocks_are_a_year_off_join_converge_and_report() {
    let mut rig = Rig::found().await;
    let year = Duration::from_secs(365 * 24 * 3600);
    let millis = u64::try_from(year.as_millis()).unwrap();
    let ticket = rig.invite(None, 2, super::rig::later()).await;
    let clocks: [(&str, agent::Clock); 2] =
        [("ahead", Arc::new(move || now().plus(year))), ("behind", Arc::new(move || Millis(now().0 - millis)))];
    for (of, clock) in clocks {
        let mut parts = rig.parts(of, ticket.clone());
        parts.clock = ClockPart(clock);
        rig.start(of, parts).await;
        rig.is_member(of).await;
    }
    let generation = rig.publish("*", "one").await;
    for (of, off) in [("ahead", i128::from(millis)), ("behind", -i128::from(millis))] {
        let node = rig.keys[of].id();
        let outcome = rig.outcome(node, generation, Verdict::Converged).await;
        let found = i128::from(outcome.at.0) - i128::from(now().0);
        assert!((found - off).abs() < 120_000, "its own clock says {found}");
        assert_eq!(rig.motd(of).as_deref(), Some("one"));
        until_async("heartbeats", SOON, async || rig.report(node).await.liveness.online).await;
    }
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn drift_is_mended() {
    let mut rig = Rig::found().await;
    let node = rig.enroll("edge-1", protocols::Labels::new()).await;
    let mut parts = rig.parts("edge-1", rig.ticket());
    parts.drift = Duration::from_millis(300);
    rig.start("edge-1", parts).await;
    let generation = rig.publish("*", "one").await;
    rig.outcome(node, generation, Verdict::Converged).await;
    let file = rig.root("edge-1").join("etc/motd");
    for _ in 0..3 {
        std::fs::write(&file, "changed by hand").unwrap();
        rig.says("edge-1", "one").await;
        // Who writes while it is being mended fights with the agent: until the next look nothing is certain.
        let plays = rig.agents["edge-1"].role.stats().plays;
        testkit::until("another look", SOON, || rig.agents["edge-1"].role.stats().plays > plays);
    }
    std::fs::remove_file(&file).unwrap();
    rig.says("edge-1", "one").await;
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn withdrawing_takes_the_outcome_back_and_leaves_the_files() {
    let mut rig = Rig::found().await;
    let node = rig.join("edge-1").await;
    let generation = rig.publish("*", "one").await;
    rig.outcome(node, generation, Verdict::Converged).await;
    rig.admin.enter(Body::Withdraw(Withdraw { name: "base/motd".parse().unwrap() })).await;
    until_async("no outcomes", SOON, async || {
        let report = rig.report(node).await;
        if report.outcomes.is_empty() { Ok(()) } else { Err(report.outcomes) }
    })
    .await;
    assert_eq!(rig.motd("edge-1").as_deref(), Some("one"));
    let again = rig.publish("*", "two").await;
    rig.outcome(node, again, Verdict::Converged).await;
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_artifact_comes_from_the_coordinator_and_without_it_from_another_agent() {
    let mut rig = Rig::found().await;
    let first = rig.join("edge-1").await;
    let bytes = Bytes::from((0..300_000_u32).flat_map(u32::to_le_bytes).collect::<Vec<u8>>());
    let hash = scores::files::Content::Bytes(bytes.to_vec()).hash();
    let blob = BlobRef { hash, size: bytes.len() as u64 };
    let json = format!(r#"{{"root":"/srv","entries":{{"big":{{"blob":{}}}}}}}"#, serde_json::to_string(&blob).unwrap());
    let body = publish("base/big", "*", &json, Policy::default());
    let failure = rig.admin.try_enter(body.clone()).await.unwrap_err();
    assert!(matches!(failure, SubmitFailure::Rejected(SubmitError::MissingBlob(h)) if h == hash), "{failure}");
    rig.admin.link.serve(&blob, Content::Bytes(bytes.clone())).await.unwrap();
    let at = rig.admin.link.addr().await;
    let mut got = 0;
    rig.admin.session.offer(&[blob], &at, |p| got = p.bytes).await.unwrap();
    assert!(got >= blob.size, "{got}");
    let generation = rig.admin.enter(body).await;
    rig.outcome(first, generation, Verdict::Converged).await;
    let file = |rig: &Rig, of: &str| std::fs::read(rig.root(of).join("srv/big")).unwrap_or_default();
    assert_eq!(file(&rig, "edge-1"), bytes);
    // A coordinator without any artifacts, which knows the ledger and where the first agent is.
    let second = rig.enroll("edge-2", protocols::Labels::new()).await;
    let (head, workspace) = (rig.state().head(), rig.admin.session.workspace());
    let entries = workspace.ledger(Some(rig.fleet)).unwrap().range(0, 1000, usize::MAX).unwrap();
    testkit::until("the second's enrolment at the first", SOON, || rig.agents["edge-1"].role.stats().head == head.seq);
    rig.stop_coordinator().await;
    let told = Lie { what: "the truth", fleet: rig.fleet, head, entries };
    let holder = rig.agents["edge-1"].mesh.addr();
    let impostor = Impostor::start(&rig, HashMap::from([(second, told)]), vec![holder]).await;
    rig.start_again("edge-2").await;
    until_async("the artifact", SOON, async || (file(&rig, "edge-2") == bytes).then_some(())).await;
    impostor.stop().await;
    rig.stop().await;
}
