//! What members and admins may not do, and what the coordinator does with what they should not send.

use std::sync::Arc;
use std::time::Duration;

use admin::author::Intent;
use admin::session::{SessionError, SubmitFailure};
use bytes::Bytes;
use flt::compose::now;
use protocols::control::{Compare, Denied, Echo, Push, Report, SendBeat, Submit, SubmitError};
use protocols::entry::{Head, Payload, Publish, Verb};
use protocols::heartbeat::Beat;
use protocols::key::Signature;
use protocols::record::{FACTS_STABLE, RECORD_BYTES_MAX};
use protocols::{Body, Digest, EntryHash, Labels, PeerAddr, Policy, Refusal, SecretKey, SignedRecord, Verdict};

use super::rig::{AdminRig, FILES, Rig, entry_after, motd, publish};

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_cannot_write_anothers_records() {
    let mut rig = Rig::found().await;
    let (own, other) = (rig.enroll("edge-1", Labels::new()).await, rig.enroll("edge-2", Labels::new()).await);
    let agent = rig.raw(rig.keys["edge-1"].clone()).await;
    let sign =
        |of: &str| SignedRecord::sign(&rig.keys[of], FACTS_STABLE, 1, &serde_json::json!({"kinds": []})).unwrap();
    // Soundly signed by the other, as somebody who saw it could hand it over; and under a false name.
    let denied = agent.control().rpc(Push(vec![sign("edge-1"), sign("edge-2")])).await.unwrap();
    assert_eq!(denied, Err(Denied::NotAllowed("write another node's records".into())));
    let false_name = SignedRecord { writer: other, ..sign("edge-1") };
    assert!(agent.control().rpc(Push(vec![false_name])).await.unwrap().is_err());
    assert!(rig.report(other).await.stable.is_none());
    assert!(rig.report(own).await.stable.is_none(), "all of it or nothing");
    agent.control().rpc(Push(vec![sign("edge-1")])).await.unwrap().unwrap();
    assert!(rig.report(own).await.stable.is_some());
    agent.mesh.close().await;
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_read_gets_no_reports() {
    let mut rig = Rig::found().await;
    rig.enroll("edge-1", Labels::new()).await;
    rig.enroll("core-1", Labels::new()).await;
    let agent = rig.raw(rig.keys["edge-1"].clone()).await;
    let ask = Report { nodes: Vec::new(), prefix: String::new() };
    let mut answers = agent.control().server_streaming(ask, 8).await.unwrap();
    let answer = answers.recv().await.unwrap().unwrap();
    assert_eq!(answer, Err(Denied::NotAllowed("read what nodes report".into())));
    let (blind, narrow) = (SecretKey::generate(), SecretKey::generate());
    rig.admin.grant(blind.id(), "blind", &[Verb::Publish], "*").await;
    rig.admin.grant(narrow.id(), "narrow", &[Verb::Read], "core-*").await;
    let blind = AdminRig::connect(rig.dir.path().join("blind"), blind, &rig.ticket()).await;
    let error = blind.session.reports(&[], "").await.unwrap_err();
    assert!(matches!(error, SessionError::Denied(Denied::NotAllowed(_))), "{error}");
    let error = blind.session.watch(&[]).await.unwrap().next().await.unwrap_err();
    assert!(matches!(error, SessionError::Denied(Denied::NotAllowed(_))), "{error}");
    let narrow = AdminRig::connect(rig.dir.path().join("narrow"), narrow, &rig.ticket()).await;
    let all = [rig.keys["edge-1"].id(), rig.keys["core-1"].id()];
    let seen: Vec<_> = narrow.session.reports(&all, "").await.unwrap().iter().map(|r| r.node).collect();
    assert_eq!(seen, [rig.keys["core-1"].id()]);
    agent.mesh.close().await;
    blind.link.close().await;
    narrow.link.close().await;
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_of_agents_and_narrow_admins_are_refused() {
    let mut rig = Rig::found().await;
    let agent_id = rig.enroll("edge-1", Labels::new()).await;
    let (carl, stranger) = (SecretKey::generate(), SecretKey::generate());
    rig.admin.grant(carl.id(), "carl", &[Verb::Publish], "core-*").await;
    let agent = rig.raw(rig.keys["edge-1"].clone()).await;
    let submit = async |entry| agent.control().rpc(Submit(entry)).await.unwrap().unwrap_err();
    let evil = || publish("base/motd", "*", &motd("evil"), Policy::default());
    let state = rig.state();
    let not_allowed = |error: &SubmitError| matches!(error, SubmitError::Refused(Refusal::NotAllowed { .. }));
    let error = submit(entry_after(&state, &rig.keys["edge-1"], evil())).await;
    assert!(not_allowed(&error), "{error}");
    let error = submit(entry_after(&state, &stranger, evil())).await;
    assert_eq!(error, SubmitError::Refused(Refusal::UnknownAuthor(stranger.id())));
    // For other nodes than his own, also where he names only some of them.
    for on in ["*", "edge-1", "!core-*"] {
        let body = publish("base/motd", on, &motd("evil"), Policy::default());
        let error = submit(entry_after(&state, &carl, body)).await;
        assert!(not_allowed(&error), "{on}: {error}");
    }
    let tampered = entry_after(&state, rig.admin.session.author().key(), evil());
    let tampered = protocols::SignedEntry { signature: Signature::from_bytes([0; 64]), ..tampered };
    assert!(matches!(submit(tampered).await, SubmitError::Unverified(_)));
    assert_eq!(rig.state().head(), state.head());
    assert!(state.is_agent(agent_id));
    agent.mesh.close().await;
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_admins_at_once_lose_nothing_and_are_told() {
    let mut rig = Rig::found().await;
    let bob = SecretKey::generate();
    rig.admin.grant(bob.id(), "bob", &[Verb::Publish, Verb::Read], "*").await;
    let mut bob = AdminRig::connect(rig.dir.path().join("bob"), bob, &rig.ticket()).await;
    let planned = Arc::clone(bob.session.state().unwrap());
    rig.publish("*", "by anna").await;
    // What it does not touch: signed anew by itself, and said.
    let other = r#"{"root":"/srv","entries":{"x":{"content":"by bob"}}}"#;
    let intent = Intent::Enter(publish("base/x", "*", other, Policy::default()));
    let submitted = bob.session.submit(&planned, &intent, now).await.unwrap();
    assert_eq!(submitted.between.len(), 1);
    assert!(submitted.between[0].contains("anna publish base/motd"), "{:?}", submitted.between);
    // What it does touch is for a person to decide.
    let intent = Intent::Enter(publish("base/motd", "*", &motd("by bob"), Policy::default()));
    let failure = bob.session.submit(&planned, &intent, now).await.unwrap_err();
    assert!(matches!(&failure, SubmitFailure::Overtaken { touched, .. } if touched.len() == 1), "{failure}");
    // Truly at once: each is in the ledger, in some order.
    let before = rig.state().head().seq;
    let mine = async {
        for i in 0..5 {
            let json = format!(r#"{{"root":"/anna-{i}","entries":{{"x":{{"content":"x"}}}}}}"#);
            rig.admin.enter(publish(&format!("anna/x-{i}"), "*", &json, Policy::default())).await;
        }
    };
    let his = async {
        for i in 0..5 {
            let json = format!(r#"{{"root":"/bob-{i}","entries":{{"x":{{"content":"x"}}}}}}"#);
            bob.enter(publish(&format!("bob/x-{i}"), "*", &json, Policy::default())).await;
        }
    };
    tokio::join!(mine, his);
    assert_eq!(rig.state().head().seq, before + 10);
    assert_eq!(rig.state().declarations().len(), 12);
    bob.link.close().await;
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kind_that_a_node_cannot_play_is_refused_at_publish_and_at_the_node() {
    let mut rig = Rig::found().await;
    let publication = || {
        Body::Publish(Publish {
            name: "net/ports".parse().unwrap(),
            on: "*".parse().unwrap(),
            kind: "brocade.port-channel/1".parse().unwrap(),
            subject: "switch/rack-3".parse().unwrap(),
            policy: Policy::default(),
            payload: Payload::from_json(r#"{"ports":[]}"#.into()).unwrap(),
            artifacts: Vec::new(),
            note: None,
        })
    };
    // Nothing is known of this node yet: it judges by itself.
    let node = rig.enroll("edge-1", Labels::new()).await;
    let generation = rig.admin.enter(publication()).await;
    rig.start_again("edge-1").await;
    let outcome = rig.outcome(node, generation, Verdict::Refused).await;
    assert!(outcome.message.contains("brocade.port-channel/1") && outcome.message.contains(FILES), "{outcome:?}");
    testkit::until_async("facts of the node", super::rig::SOON, async || rig.report(node).await.stable.is_some()).await;
    let failure = rig.admin.try_enter(publication()).await.unwrap_err();
    let SubmitFailure::Rejected(SubmitError::Incapable { node, kind, offers }) = failure else { panic!("{failure}") };
    assert_eq!((node.as_str(), kind.as_str()), ("edge-1", "brocade.port-channel/1"));
    assert!(offers.contains(FILES), "{offers}");
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subject_that_is_not_the_scores_own_is_refused_by_the_node() {
    let mut rig = Rig::found().await;
    let node = rig.join("edge-1").await;
    let Body::Publish(sound) = publish("base/motd", "*", &motd("one"), Policy::default()) else { unreachable!() };
    let body = Body::Publish(Publish { subject: "files/elsewhere".parse().unwrap(), ..sound });
    let generation = rig.admin.enter(body).await;
    let outcome = rig.outcome(node, generation, Verdict::Refused).await;
    assert_eq!(outcome.message, "it was published for `files/elsewhere` and governs `files/etc`");
    assert_eq!(rig.motd("edge-1"), None);
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_and_oversize_records_and_beats_hurt_nobody() {
    let mut rig = Rig::found().await;
    let good = rig.join("edge-1").await;
    let generation = rig.publish("*", "one").await;
    let bad = rig.enroll("bad-1", Labels::new()).await;
    let agent = rig.raw(rig.keys["bad-1"].clone()).await;
    let key = rig.keys["bad-1"].clone();
    let push = async |records| agent.control().rpc(Push(records)).await;
    let record =
        |name: &str, value: &'static [u8]| SignedRecord::sign_bytes(&key, name, 1, Bytes::from_static(value)).unwrap();
    // Larger than any record, too many at once, not signed, and larger than any request.
    let large = SignedRecord { value: vec![0; RECORD_BYTES_MAX + 1].into(), ..record("x", b"1") };
    assert!(matches!(push(vec![large]).await, Ok(Err(Denied::Bounds(_)))));
    let many = (0..65).map(|i| record(&format!("k{i}"), b"1")).collect();
    assert!(matches!(push(many).await, Ok(Err(Denied::Bounds(_)))));
    let unsigned = SignedRecord { version: 2, ..record("x", b"1") };
    assert!(matches!(push(vec![unsigned]).await, Ok(Err(Denied::Bounds(_)))));
    let huge = SignedRecord { value: vec![0; 5 << 20].into(), ..record("x", b"1") };
    assert!(push(vec![huge]).await.is_err());
    // More records than a writer may have: those beyond are not kept.
    for batch in 0..4 {
        let some = (0..64).map(|i| record(&format!("junk/{batch}/{i}"), b"{")).collect();
        assert_eq!(push(some).await.unwrap(), Ok(()));
    }
    assert!(agent.control().rpc(Compare).await.unwrap().unwrap().len() <= 128);
    // Signed garbage in the place of facts.
    assert_eq!(push(vec![record(FACTS_STABLE, b"\xff{{")]).await.unwrap(), Ok(()));
    let addr = PeerAddr { id: good, addrs: vec!["192.0.2.1:1".parse().unwrap(); 500], relay: Some("x".repeat(9000)) };
    for number in [0, u64::MAX] {
        let head = Head { seq: u64::MAX, hash: EntryHash::from_bytes([9; 32]) };
        let records = Digest::from_bytes([7; 32]);
        let document = Some(*SecretKey::generate().id().as_bytes());
        let beat = Beat { number, head, records, addr: addr.clone(), document };
        agent.control().rpc(SendBeat(beat)).await.unwrap().unwrap();
    }
    rig.outcome(good, generation, Verdict::Converged).await;
    let reports = rig.reports("").await;
    assert_eq!(reports.len(), 2);
    let report = rig.report(bad).await;
    assert!(report.stable.is_none());
    let at = report.liveness.addr.unwrap();
    assert!(at.id == bad && at.addrs.len() <= 16, "{at:?}");
    // It may not speak for another's address.
    let other = rig.report(good).await.liveness.addr.unwrap();
    assert!(other.addrs.iter().all(|a| a.ip().is_loopback()), "{other:?}");
    let echoed = rig.admin.link.control().rpc(Echo("alive".into())).await.unwrap();
    assert_eq!(echoed.text, "alive");
    let second = rig.publish("edge-*", "two").await;
    rig.outcome(good, second, Verdict::Converged).await;
    agent.mesh.close().await;
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_admin_whose_clock_is_a_year_off_is_told_so() {
    let mut rig = Rig::found().await;
    let year = Duration::from_secs(365 * 24 * 3600);
    let planned = Arc::clone(rig.admin.session.state().unwrap());
    let intent = Intent::Enter(publish("base/motd", "*", &motd("one"), Policy::default()));
    let ahead = || now().plus(year);
    let behind = || protocols::Millis(now().0 - u64::try_from(year.as_millis()).unwrap());
    let failure = rig.admin.session.submit(&planned, &intent, ahead).await.unwrap_err();
    let SubmitFailure::Rejected(SubmitError::ClockOff { minutes }) = failure else { panic!("{failure}") };
    assert!((525_599..=525_600).contains(&minutes), "{minutes}");
    let failure = rig.admin.session.submit(&planned, &intent, behind).await.unwrap_err();
    let SubmitFailure::Rejected(SubmitError::ClockOff { minutes }) = failure else { panic!("{failure}") };
    assert!((-525_601..=-525_599).contains(&minutes), "{minutes}");
    assert_eq!(rig.state().head(), planned.head(), "nothing was entered");
    rig.admin.session.submit(&planned, &intent, now).await.unwrap();
    rig.stop().await;
}
