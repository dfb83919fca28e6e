//! The driver, through every turn and every crash.

use std::sync::atomic::Ordering;
use std::time::Duration;

use protocols::Verdict;
use scores::{Cancel, DeviceError, PlayReport, Recovered};

use crate::fake::{Node, assignment, files};

const FAILING: &str = r#"{"checks":[{"type":"exec","command":["fail"]}],"check_seconds":3}"#;

#[tokio::test(start_paused = true)]
async fn converges_and_then_has_nothing_to_do() {
    let node = Node::new();
    let agent = node.start();
    let job = assignment(&files(&[("a", "one"), ("d/b", "two")]), 1, "{}");
    assert_eq!(agent.plan(&job).await.unwrap().len(), 2);
    let report = agent.play(&job, &node.stage).await;
    assert_eq!((report.verdict, report.steps.len(), report.attempts), (Verdict::Converged, 2, 1), "{report:?}");
    assert_eq!(node.disk.tree().len(), 4);
    assert_eq!(node.open_trials(), 0);
    let again = agent.play(&job, &node.stage).await;
    assert_eq!((again.verdict, again.steps.len()), (Verdict::Converged, 0));
    assert!(agent.plan(&job).await.unwrap().is_empty());
    assert!(node.stage.lines.lock().unwrap().iter().any(|line| line.starts_with("[1/2] write /r/a")));
}

#[tokio::test(start_paused = true)]
async fn a_failed_check_undoes_and_quarantines_until_the_declaration_changes() {
    let node = Node::new();
    let agent = node.start();
    agent.play(&assignment(&files(&[("a", "good")]), 1, "{}"), &node.stage).await;
    let before = node.disk.tree();

    let bad = assignment(&files(&[("a", "bad"), ("b", "bad")]), 2, FAILING);
    let report = agent.play(&bad, &node.stage).await;
    assert_eq!(report.verdict, Verdict::Quarantined, "{report:?}");
    assert_eq!(report.message, "check `exec fail` failed: exit status: 1; undone");
    assert_eq!(node.disk.tree(), before);

    let changes = node.disk.changes.load(Ordering::SeqCst);
    for agent in [agent, node.start()] {
        let again = agent.play(&bad, &node.stage).await;
        assert_eq!((again.verdict, again.attempts), (Verdict::Quarantined, 0));
        assert!(again.message.contains("exit status: 1"), "{}", again.message);
    }
    assert_eq!(node.disk.changes.load(Ordering::SeqCst), changes, "it was not tried again");

    let agent = node.start();
    let known = agent.recover(&node.stage).await;
    assert_eq!(known.len(), 1);
    assert_eq!(known[0].report.verdict, Verdict::Quarantined);
    let good = agent.play(&assignment(&files(&[("a", "new")]), 3, "{}"), &node.stage).await;
    assert_eq!(good.verdict, Verdict::Converged);
    assert_eq!(node.open_trials(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_mend_that_fails_is_tried_again_and_a_new_generation_is_not() {
    let node = Node::new();
    let job = assignment(&files(&[("a", "good"), ("b", "good")]), 1, "{}");
    assert_eq!(node.start().play(&job, &node.stage).await.verdict, Verdict::Converged);
    let whole = node.disk.tree();
    // Twice somebody's hand is in the way, also across a restart of the agent; then it is gone.
    for turn in 0..2 {
        node.disk.tree.lock().unwrap().remove("/r/a");
        let drifted = node.disk.tree();
        node.disk.errors.lock().unwrap().push(DeviceError::permanent("somebody is at it"));
        let report = node.start().play(&job, &node.stage).await;
        assert_eq!(report.verdict, Verdict::Failed, "turn {turn}: {report:?}");
        assert_eq!(node.disk.tree(), drifted, "it was undone");
        assert_eq!(node.open_trials(), 0);
        assert!(node.start().recover(&node.stage).await.is_empty());
    }
    let mended = node.start().play(&job, &node.stage).await;
    assert_eq!(mended.verdict, Verdict::Converged, "{mended:?}");
    assert_eq!(node.disk.tree(), whole);

    // What was good before says nothing for what is declared now.
    let next = assignment(&files(&[("a", "new")]), 2, "{}");
    node.disk.errors.lock().unwrap().push(DeviceError::permanent("no"));
    for _ in 0..2 {
        assert_eq!(node.start().play(&next, &node.stage).await.verdict, Verdict::Quarantined);
    }
}

#[tokio::test(start_paused = true)]
async fn checks_are_repeated_until_they_pass_or_time_is_up() {
    let node = Node::new();
    let job = |generation, command: &str| {
        let policy = format!(r#"{{"checks":[{{"type":"exec","command":["{command}"]}}],"check_seconds":20}}"#);
        assignment(&files(&[("a", command)]), generation, &policy)
    };
    let report = node.start().play(&job(1, "soon"), &node.stage).await;
    assert_eq!(report.verdict, Verdict::Converged, "{report:?}");
    let started = tokio::time::Instant::now();
    let report = node.start().play(&job(2, "hang"), &node.stage).await;
    assert_eq!(report.verdict, Verdict::Quarantined);
    assert!(report.message.contains("no result within 20 seconds"), "{}", report.message);
    assert!(started.elapsed() < Duration::from_secs(25));
}

#[tokio::test(start_paused = true)]
async fn what_may_pass_is_tried_again_and_then_given_up() {
    let node = Node::new();
    let agent = node.start();
    let full = || DeviceError::io("write /r/a", std::io::Error::from(std::io::ErrorKind::StorageFull));
    node.disk.errors.lock().unwrap().extend([full(), full()]);
    let report = agent.play(&assignment(&files(&[("a", "1")]), 1, "{}"), &node.stage).await;
    assert_eq!((report.verdict, report.attempts), (Verdict::Converged, 3), "{report:?}");

    let before = node.disk.tree();
    node.disk.errors.lock().unwrap().extend((0..9).map(|_| full()));
    let report = agent.play(&assignment(&files(&[("a", "2")]), 2, r#"{"attempts":3}"#), &node.stage).await;
    assert_eq!((report.verdict, report.attempts), (Verdict::Failed, 3), "{report:?}");
    assert!(report.message.contains("no storage space"), "{}", report.message);
    assert_eq!(node.disk.tree(), before);
    assert_eq!(node.disk.errors.lock().unwrap().len(), 6);
    assert_eq!(node.open_trials(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_step_that_fails_for_good_undoes_those_before_it() {
    let node = Node::new();
    let agent = node.start();
    agent.play(&assignment(&files(&[("a", "old"), ("b", "old")]), 1, "{}"), &node.stage).await;
    let before = node.disk.tree();
    node.disk.errors.lock().unwrap().extend([DeviceError::permanent("no"), DeviceError::permanent("pass")]);
    let report = agent.play(&assignment(&files(&[("a", "1"), ("b", "2")]), 2, "{}"), &node.stage).await;
    assert_eq!((report.verdict, report.attempts), (Verdict::Quarantined, 1), "{report:?}");
    assert!(report.message.starts_with("step `write /r/b"), "{}", report.message);
    assert!(report.message.ends_with(": no; undone"), "{}", report.message);
    assert_eq!(node.disk.tree(), before);
}

#[tokio::test(start_paused = true)]
async fn what_nobody_can_play_is_refused_before_anything_changes() {
    let node = Node::new();
    let agent = node.start();
    let job = assignment(&files(&[("a", "1")]), 1, "{}");
    let refusal = |report: PlayReport, text: &str| {
        assert_eq!((report.verdict, report.attempts), (Verdict::Refused, 0), "{report:?}");
        assert!(report.message.contains(text), "{}", report.message);
    };
    let other = scores::Assignment { kind: "dial/1".parse().unwrap(), ..job.clone() };
    refusal(agent.play(&other, &node.stage).await, "this node plays no `dial/1` scores; it plays `files/1`");
    let other = scores::Assignment { subject: "lamp".parse().unwrap(), ..job.clone() };
    refusal(agent.play(&other, &node.stage).await, "none of its topologies has the subject `lamp`");
    let other = scores::Assignment { subject: "files/x".parse().unwrap(), ..job.clone() };
    refusal(agent.play(&other, &node.stage).await, "governs `files/r` and its declaration says `files/x`");
    let other = scores::Assignment { payload: "{\"root\":\"x\"}".into(), ..job.clone() };
    refusal(agent.play(&other, &node.stage).await, "the `files/1` score is not valid");
    let mut score = files(&[("a", "1")]);
    if let Some(scores::files::Entry::File { owner, .. }) = score.entries.get_mut("a") {
        *owner = Some("stranger".into());
    }
    let report = agent.play(&assignment(&score, 1, "{}"), &node.stage).await;
    assert_eq!(report.verdict, Verdict::Refused);
    assert!(report.message.contains("observe memory: find the user `stranger`"), "{}", report.message);
    assert_eq!(node.disk.tree().len(), 0);
    assert_eq!(node.open_trials(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_ends_between_steps_undoes() {
    let node = Node::new();
    let report = node.start().play(&assignment(&files(&[("a", "1"), ("forbidden", "2")]), 1, "{}"), &node.stage).await;
    assert_eq!(report.verdict, Verdict::Failed);
    assert!(report.message.contains("is not allowed now: the lease has ended; undone"), "{}", report.message);
    assert_eq!(node.disk.tree().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn superseded_undoes_and_stopping_leaves_it_for_the_next_process() {
    let job = |generation| assignment(&files(&[("a", "1"), ("b", "2")]), generation, "{}");
    let node = Node::new();
    *node.stage.cancel_at.lock().unwrap() = Some(("/r/a".into(), Cancel::Superseded));
    let report = node.start().play(&job(1), &node.stage).await;
    assert_eq!(report.verdict, Verdict::Failed, "{report:?}");
    assert_eq!((node.disk.tree().len(), node.open_trials()), (0, 0));

    let node = Node::new();
    *node.stage.cancel_at.lock().unwrap() = Some(("/r/a".into(), Cancel::Stopping));
    let report = node.start().play(&job(1), &node.stage).await;
    assert_eq!(report.verdict, Verdict::Playing, "{report:?}");
    assert_eq!((node.disk.tree().len(), node.open_trials()), (2, 1));

    *node.stage.cancel.lock().unwrap() = None;
    *node.stage.cancel_at.lock().unwrap() = None;
    let agent = node.start();
    let found: Vec<Recovered> = agent.recover(&node.stage).await;
    assert_eq!(found[0].report.verdict, Verdict::Failed);
    assert_eq!(found[0].report.message, "the agent or the node went down during this change; undone");
    assert_eq!(found[0].assignment.as_ref().unwrap().generation, 1);
    assert_eq!(node.disk.tree().len(), 0);
    assert_eq!(agent.play(&job(1), &node.stage).await.verdict, Verdict::Converged);
    assert_eq!(node.open_trials(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_step_that_hangs_is_cut_off_and_undone() {
    let node = Node::new();
    let job = assignment(&files(&[("a", "1"), ("b", "2")]), 1, r#"{"apply_seconds":30,"attempts":1}"#);
    node.disk.freeze_at.store(6, Ordering::SeqCst);
    let report = node.start().play(&job, &node.stage).await;
    assert_eq!(report.verdict, Verdict::Failed, "{report:?}");
    assert_eq!(report.message, "not done within 30 seconds (apply_seconds of the policy); undone");
    assert_eq!((node.disk.tree().len(), node.open_trials()), (0, 0));
}

/// The topology stops answering at every call in turn, the agent is dropped there, and a new one takes over, which is
/// dropped in its turn at every call of its recovery.
#[tokio::test(start_paused = true)]
async fn a_crash_at_any_instant_leaves_the_old_or_the_new_and_then_converges() {
    let old = files(&[("a", "old"), ("gone", "old")]);
    let good = files(&[("a", "new"), ("gone", "ABSENT"), ("d/e/f", "new")]);
    for policy in ["{}", FAILING_AT_ONCE] {
        let mut crash_at = 0;
        loop {
            crash_at += 1;
            let mut finished = false;
            for second_crash_after in 0.. {
                let node = Node::new();
                node.start().play(&assignment(&old, 1, "{}"), &node.stage).await;
                let before = node.disk.tree();
                let job = assignment(&good, 2, policy);
                let calls = node.disk.calls.load(Ordering::SeqCst);
                node.disk.freeze_at.store(calls + crash_at, Ordering::SeqCst);
                finished = crash(&node, &job).await;
                if finished {
                    break;
                }
                let at = if second_crash_after == 0 { 0 } else { calls + crash_at + second_crash_after };
                node.disk.freeze_at.store(at, Ordering::SeqCst);
                let recovered = crash_in_recovery(&node).await;
                node.disk.freeze_at.store(0, Ordering::SeqCst);
                let agent = node.start();
                if !recovered {
                    agent.recover(&node.stage).await;
                }
                let found = node.disk.tree();
                let report = agent.play(&job, &node.stage).await;
                if policy == "{}" {
                    assert_eq!(report.verdict, Verdict::Converged, "crash at {crash_at}: {report:?}");
                    assert_eq!(node.disk.tree().len(), 5, "crash at {crash_at}");
                    assert_eq!(node.open_trials(), 0);
                    assert!(found == before || found == node.disk.tree(), "crash at {crash_at}: half applied");
                } else {
                    assert_eq!(report.verdict, Verdict::Quarantined, "crash at {crash_at}: {report:?}");
                    assert_eq!(node.disk.tree(), before, "crash at {crash_at}");
                }
                if recovered && second_crash_after > 0 {
                    break;
                }
            }
            if finished {
                assert!(crash_at > 8, "the play has more turns than that");
                break;
            }
        }
    }
}

const FAILING_AT_ONCE: &str = r#"{"checks":[{"type":"exec","command":["fail"]}],"check_seconds":1}"#;

/// Plays until it ends (true) or until the topology stops answering.
async fn crash(node: &Node, job: &scores::Assignment) -> bool {
    let agent = node.start();
    tokio::select! {
        _ = agent.play(job, &node.stage) => true,
        () = frozen(node) => false,
    }
}

async fn crash_in_recovery(node: &Node) -> bool {
    let agent = node.start();
    tokio::select! {
        _ = agent.recover(&node.stage) => true,
        () = frozen(node) => false,
    }
}

async fn frozen(node: &Node) {
    loop {
        let at = node.disk.freeze_at.load(Ordering::SeqCst);
        if at > 0 && node.disk.calls.load(Ordering::SeqCst) >= at {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_change_that_takes_the_node_down_again_and_again_is_quarantined() {
    let node = Node::new();
    let job = assignment(&files(&[("a", "1"), ("b", "2")]), 1, "{}");
    for round in 1..=3 {
        *node.stage.cancel_at.lock().unwrap() = Some(("/r/a".into(), Cancel::Stopping));
        assert_eq!(node.start().play(&job, &node.stage).await.verdict, Verdict::Playing);
        *node.stage.cancel.lock().unwrap() = None;
        let found = node.start().recover(&node.stage).await;
        let expected = if round < 3 { Verdict::Failed } else { Verdict::Quarantined };
        assert_eq!(found[0].report.verdict, expected, "{found:?}");
        assert_eq!(node.disk.tree().len(), 0);
    }
    *node.stage.cancel_at.lock().unwrap() = None;
    let report = node.start().play(&job, &node.stage).await;
    assert_eq!((report.verdict, report.attempts), (Verdict::Quarantined, 0));
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_undone_yet_is_undone_first_the_next_time() {
    let node = Node::new();
    let agent = node.start();
    node.disk.restore_errors.lock().unwrap().push(DeviceError::transient("the disk is away"));
    let report = agent.play(&assignment(&files(&[("a", "bad")]), 1, FAILING), &node.stage).await;
    assert_eq!(report.verdict, Verdict::Failed, "{report:?}");
    assert!(report.message.ends_with("and it could not be undone yet: the disk is away"), "{}", report.message);
    assert_eq!((node.disk.tree().len(), node.open_trials()), (2, 1));
    let report = agent.play(&assignment(&files(&[("b", "good")]), 2, "{}"), &node.stage).await;
    assert_eq!(report.verdict, Verdict::Converged, "{report:?}");
    assert!(!node.disk.tree().contains_key("/r/a") && node.disk.tree().contains_key("/r/b"));
    assert_eq!(node.open_trials(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_record_that_cannot_be_read_is_reported_once_and_set_aside() {
    let node = Node::new();
    *node.stage.cancel_at.lock().unwrap() = Some(("/r/a".into(), Cancel::Stopping));
    let job = assignment(&files(&[("a", "1"), ("b", "2")]), 1, "{}");
    node.start().play(&job, &node.stage).await;
    let trials = node.folder.path().join("trials");
    let folder = std::fs::read_dir(&trials).unwrap().next().unwrap().unwrap().path();
    std::fs::write(folder.join("trial.json"), "{\"assignment\":").unwrap();
    let node = Node { stage: crate::fake::FakeStage::default(), ..node };
    let agent = node.start();
    let found = agent.recover(&node.stage).await;
    assert!(found[0].assignment.is_none() && found[0].report.message.contains("read the trial"), "{found:?}");
    assert!(agent.recover(&node.stage).await.is_empty());
    assert_eq!(agent.play(&job, &node.stage).await.verdict, Verdict::Converged);
}
