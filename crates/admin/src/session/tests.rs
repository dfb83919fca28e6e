use protocols::control::{Liveness, NodeReport};
use protocols::facts::StableFacts;
use protocols::record::{FACTS_STABLE, RECORDS_WITH_EMPTY_MAX, SignedRecord};
use protocols::{BlobHash, Body, Entry, SecretKey};

use super::*;
use crate::author::Intent;
use crate::testing::{Fake, Fault, NOW, enroll, node_key, publish};

fn enter(body: Body) -> Intent {
    Intent::Enter(body)
}

/// How often a body of this verb is in the coordinator's ledger.
fn count(fake: &Fake, verb: &str) -> usize {
    let body = |signed: &SignedEntry| serde_json::from_slice::<Entry>(&signed.bytes).unwrap().body;
    fake.entries().iter().filter(|signed| body(signed).verb() == verb).count()
}

#[tokio::test]
async fn an_entry_is_submitted_and_the_copy_survives() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::start(dir.path());
    let mut session = fake.session(&dir.path().join("anna"));
    assert!(matches!(session.state(), Err(SessionError::Empty)));
    assert_eq!(session.sync().await.unwrap(), 1);
    let planned = session.state().unwrap().clone();
    let submitted = session.submit(&planned, &enter(enroll(1, &[])), || NOW).await.unwrap();
    assert_eq!(submitted.entry.seq(), 1);
    assert!(submitted.between.is_empty());
    drop(session);
    // Another process later: the copy is there before anything is asked.
    let session = fake.session(&dir.path().join("anna"));
    assert_eq!(session.state().unwrap().head().seq, 1);
    assert_eq!(session.hello().await.unwrap().head.seq, 1);
}

#[tokio::test]
async fn a_lost_race_is_signed_again_when_nothing_was_touched() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::start(dir.path());
    fake.enter(enroll(1, &[("role", "edge")]));
    let mut session = fake.session(&dir.path().join("anna"));
    session.sync().await.unwrap();
    let planned = session.state().unwrap().clone();
    fake.rival(publish("other/x", "edge-1", "/srv", "x"));
    let submitted =
        session.submit(&planned, &enter(publish("edge/motd", "role=edge", "/etc", "hi")), || NOW).await.unwrap();
    assert_eq!(submitted.entry.seq(), 3);
    assert_eq!(submitted.between, ["2 anna publish other/x on edge-1 (files/1)"]);
    assert_eq!(fake.submissions(), 2);
}

#[tokio::test]
async fn a_lost_race_that_touched_the_same_is_shown_instead() {
    for rival in [
        publish("edge/motd", "edge-1", "/etc", "theirs"),
        publish("core/etc", "*", "/etc", "theirs"),
        enroll(2, &[("role", "edge")]),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let fake = Fake::start(dir.path());
        fake.enter(enroll(1, &[("role", "edge")]));
        let mut session = fake.session(&dir.path().join("anna"));
        session.sync().await.unwrap();
        let planned = session.state().unwrap().clone();
        fake.rival(rival);
        let intent = enter(publish("edge/motd", "role=edge", "/etc", "mine"));
        let failure = session.submit(&planned, &intent, || NOW).await.unwrap_err();
        let SubmitFailure::Overtaken { touched, between } = failure else { panic!("{failure:?}") };
        assert_eq!((touched.len(), between.len()), (1, 1), "{touched:?}");
        assert_eq!(fake.submissions(), 1);
    }
}

#[tokio::test]
async fn a_lost_answer_does_not_enter_twice() {
    for fault in [Fault::LoseAnswer, Fault::LoseRequest] {
        let dir = tempfile::tempdir().unwrap();
        let fake = Fake::start(dir.path());
        let mut session = fake.session(&dir.path().join("anna"));
        session.sync().await.unwrap();
        let planned = session.state().unwrap().clone();
        fake.fault(fault);
        let submitted = session.submit(&planned, &enter(enroll(1, &[])), || NOW).await.unwrap();
        assert_eq!(submitted.entry.seq(), 1, "{fault:?}");
        assert_eq!(count(&fake, "enroll"), 1, "{fault:?}");
    }
}

#[tokio::test]
async fn a_lost_answer_and_a_rival_do_not_enter_twice() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::start(dir.path());
    fake.enter(enroll(1, &[]));
    let mut session = fake.session(&dir.path().join("anna"));
    session.sync().await.unwrap();
    let planned = session.state().unwrap().clone();
    fake.fault(Fault::LoseAnswer);
    let motd = enter(publish("edge/motd", "edge-1", "/etc", "hi"));
    session.submit(&planned, &motd, || NOW).await.unwrap();
    fake.enter(publish("other/x", "edge-1", "/srv", "x"));
    // The same once more, planned against the old state: what is there now is shown, nothing is entered.
    let failure = session.submit(&planned, &motd, || NOW).await.unwrap_err();
    assert!(matches!(failure, SubmitFailure::Overtaken { .. }), "{failure:?}");
    assert_eq!(count(&fake, "publish"), 2);
}

#[tokio::test]
async fn what_the_rules_refuse_is_not_even_sent() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::start(dir.path());
    let mut session = fake.session(&dir.path().join("anna"));
    session.sync().await.unwrap();
    let planned = session.state().unwrap().clone();
    let withdraw = Body::Withdraw(protocols::entry::Withdraw { name: "a/b".parse().unwrap() });
    let failure = session.submit(&planned, &enter(withdraw), || NOW).await.unwrap_err();
    assert_eq!(failure.to_string(), "no declaration is named `a/b`");
    assert_eq!(fake.submissions(), 0);
}

#[tokio::test]
async fn a_contradicting_coordinator_is_not_asked_for_ever() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::start(dir.path());
    let mut session = fake.session(&dir.path().join("anna"));
    session.sync().await.unwrap();
    let planned = session.state().unwrap().clone();
    fake.fault(Fault::AlwaysStale);
    let failure = session.submit(&planned, &enter(enroll(1, &[])), || NOW).await.unwrap_err();
    assert!(matches!(failure, SubmitFailure::Session(SessionError::Behind { .. })), "{failure:?}");
    assert_eq!(fake.submissions(), 1);
}

#[tokio::test]
async fn two_stories_told_to_one_admin_leave_the_proof() {
    let dir = tempfile::tempdir().unwrap();
    let (one, other) = (Fake::start(&dir.path().join("one")), Fake::start(&dir.path().join("other")));
    one.enter(enroll(1, &[]));
    one.enter(enroll(2, &[]));
    other.enter(enroll(1, &[]));
    other.enter(enroll(3, &[]));
    let anna = dir.path().join("anna");
    one.session(&anna).sync().await.unwrap();
    let error = other.session(&anna).sync().await.unwrap_err();
    let SessionError::Split { seq: 2, evidence: Some(file) } = &error else { panic!("{error:?}") };
    assert!(error.to_string().contains("the evidence is in "), "{error}");
    let evidence = protocols::ForkEvidence::from_json(&std::fs::read(file).unwrap()).unwrap();
    let proof = evidence.verify(crate::testing::fleet().1.fleet).unwrap();
    assert_eq!(proof.liar(), Some(crate::testing::coordinator_key().id()));
    // The copy is what it was.
    one.session(&anna).sync().await.unwrap();
}

#[tokio::test]
async fn a_tampered_or_forged_tail_is_refused_and_not_stored() {
    for fault in [Fault::TamperTail, Fault::ForgeTail] {
        let dir = tempfile::tempdir().unwrap();
        let fake = Fake::start(dir.path());
        let mut session = fake.session(&dir.path().join("anna"));
        session.sync().await.unwrap();
        fake.enter(enroll(1, &[]));
        fake.fault(fault);
        let error = session.sync().await.unwrap_err();
        let expected = match fault {
            Fault::TamperTail => matches!(error, SessionError::Unverified(_)),
            _ => matches!(error, SessionError::Refused { seq: 2, .. }),
        };
        assert!(expected, "{error:?}");
        assert!(!error.hint().is_empty() && !error.is_passing());
        let stored = fake.session(&dir.path().join("anna"));
        assert!(stored.state().unwrap().declarations().is_empty());
    }
}

#[tokio::test]
async fn another_fleets_coordinator_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::start(dir.path());
    let other = FleetId::from_bytes([9; 32]);
    let author = Author::new(SecretKey::generate());
    let mut session = Session::open(Workspace::new(dir.path().join("b")), other, author, fake.client.clone()).unwrap();
    assert!(matches!(session.hello().await, Err(SessionError::OtherFleet { .. })));
    assert!(matches!(session.sync().await, Err(SessionError::OtherFleet { .. })));
    assert!(session.state().is_err());
}

#[tokio::test]
async fn two_admins_at_once_both_get_in() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::start(dir.path());
    fake.enter(enroll(1, &[]));
    let run = |who: &'static str| {
        let (fake, dir) = (fake.clone(), dir.path().join(who));
        tokio::spawn(async move {
            let mut session = fake.session(&dir);
            session.sync().await.unwrap();
            for i in 0..5 {
                let planned = session.state().unwrap().clone();
                let body = publish(&format!("{who}/s{i}"), "edge-1", &format!("/{who}/{i}"), "x");
                session.submit(&planned, &enter(body), || NOW).await.unwrap();
            }
        })
    };
    let (a, b) = (run("anna"), run("ben"));
    a.await.unwrap();
    b.await.unwrap();
    assert_eq!(count(&fake, "publish"), 10);
}

#[tokio::test]
async fn reports_are_believed_under_their_nodes_signature_only() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::start(dir.path());
    let key = node_key(1);
    let facts = StableFacts { flt_version: "1".into(), ..StableFacts::default() };
    let good = SignedRecord::sign(&key, FACTS_STABLE, 1, &facts).unwrap();
    let outcome = serde_json::json!({"name": "a/b", "kind": "files/1", "subject": "files/x", "generation": 1,
        "verdict": "converged", "message": "", "steps": [], "attempts": 1, "at": 0});
    let forged = SignedRecord { version: 9, ..SignedRecord::sign(&key, "outcome/files/x", 1, &outcome).unwrap() };
    let foreign = SignedRecord::sign(&node_key(2), "outcome/files/x", 1, &outcome).unwrap();
    let misplaced = SignedRecord::sign(&key, "outcome/files/y", 1, &outcome).unwrap();
    let garbage = SignedRecord::sign(&key, "beats", 1, &"?").unwrap();
    let liveness = Liveness { silent_millis: Some(5), online: true, head: None, addr: None };
    fake.report(NodeReport { node: key.id(), liveness, records: vec![good, forged, foreign, misplaced, garbage] });
    let session = fake.session(&dir.path().join("anna"));
    let report = session.reports(&[], "").await.unwrap().remove(0);
    assert_eq!(report.stable, Some(facts));
    assert!(report.outcomes.is_empty());
    assert_eq!(report.problems.len(), 4, "{:?}", report.problems);
    assert!(report.problems[0].contains("is not signed by"), "{:?}", report.problems);
}

#[test]
fn records_that_were_taken_back_count_and_crowd_nothing_out() {
    let key = node_key(1);
    let facts = StableFacts { flt_version: "1".into(), ..StableFacts::default() };
    let good = SignedRecord::sign(&key, FACTS_STABLE, 1, &facts).unwrap();
    let check = |empty: usize| {
        let taken_back =
            |n| SignedRecord::sign_bytes(&key, &format!("outcome/files/{n}"), 2, bytes::Bytes::new()).unwrap();
        let records = (0..empty).map(taken_back).chain([good.clone()]).collect();
        let liveness = Liveness { silent_millis: None, online: false, head: None, addr: None };
        CheckedReport::check(NodeReport { node: key.id(), liveness, records })
    };
    let full = check(RECORDS_WITH_EMPTY_MAX - 1);
    assert_eq!((full.stable, full.problems), (Some(facts), Vec::new()));
    let over = check(RECORDS_WITH_EMPTY_MAX);
    assert_eq!((over.stable, over.problems), (None, vec!["1025 records came, more than a node may have".to_owned()]));
}

#[tokio::test]
async fn an_offer_that_is_not_fetched_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::start(dir.path());
    let session = fake.session(&dir.path().join("anna"));
    let blob = |n: u8| BlobRef { hash: BlobHash::from_bytes([n; 32]), size: 3 };
    let from = PeerAddr::unknown(SecretKey::generate().id());
    let mut seen = 0;
    session.offer(&[blob(1), blob(2), blob(1)], &from, |at| seen = at.blobs).await.unwrap();
    assert_eq!(seen, 2);
    fake.fault(Fault::DropOffer);
    let error = session.offer(&[blob(1), blob(2)], &from, |_| {}).await.unwrap_err();
    assert_eq!(error.to_string(), "the coordinator fetched 1 of 2 files and gave up");
}

#[tokio::test]
async fn a_coordinator_that_is_gone_is_a_passing_error() {
    let dir = tempfile::tempdir().unwrap();
    let fleet = crate::testing::fleet().1.fleet;
    let (tx, rx) = tokio::sync::mpsc::channel(1);
    drop(rx);
    let author = Author::new(SecretKey::generate());
    let mut session =
        Session::open(Workspace::new(dir.path()), fleet, author, Client::from(irpc::Client::local(tx))).unwrap();
    let error = session.sync().await.unwrap_err();
    assert!(error.is_passing(), "{error:?}");
    assert!(error.to_string().starts_with("cannot fetch the ledger: "), "{error}");
    assert!(error.hint().contains("flt doctor"));
}
