use protocols::control::Liveness;
use protocols::{Body, Millis};

use super::*;
use crate::testing::{enroll, node_key, publish, state_after};

fn report(n: u8, online: bool, outcome: Option<(u64, Verdict)>) -> CheckedReport {
    let outcome = outcome.map(|(generation, verdict)| Outcome {
        name: "edge/motd".parse().unwrap(),
        kind: "files/1".parse().unwrap(),
        subject: "files/etc".parse().unwrap(),
        generation,
        verdict,
        message: String::new(),
        steps: vec!["write /etc/f".into()],
        attempts: 1,
        at: Millis(0),
    });
    CheckedReport {
        node: node_key(n).id(),
        liveness: Liveness { silent_millis: None, online, head: None, addr: None },
        stable: None,
        volatile: None,
        beats: None,
        standing: None,
        outcomes: outcome.into_iter().map(|o| (o.subject.clone(), o)).collect(),
        looks: None,
        devices: BTreeMap::new(),
        problems: Vec::new(),
    }
}

fn bodies() -> Vec<Body> {
    vec![enroll(1, &[]), enroll(2, &[]), publish("edge/motd", "*", "/etc", "hi")]
}

fn follow() -> Follow {
    Follow::new(&state_after(&bodies()), [&"edge/motd".parse().unwrap()])
}

#[test]
fn nodes_are_followed_to_their_last_word() {
    let mut follow = follow();
    assert_eq!(follow.nodes().len(), 2);
    assert!(
        follow.observe(&report(1, true, Some((2, Verdict::Converged)))).is_empty(),
        "an older publication says nothing"
    );
    assert_eq!(follow.observe(&report(1, true, Some((3, Verdict::Playing))))[0].progress, Progress::Playing);
    assert_eq!(follow.observe(&report(1, false, Some((3, Verdict::Playing))))[0].progress, Progress::Offline);
    assert_eq!(follow.observe(&report(1, true, Some((3, Verdict::Failed))))[0].progress, Progress::Retrying);
    assert_eq!(follow.ending(), Ending::Pending);
    let done = follow.observe(&report(1, true, Some((3, Verdict::Converged))));
    assert_eq!((done[0].progress, done[0].steps.len()), (Progress::Converged, 1));
    assert!(follow.observe(&report(1, true, Some((3, Verdict::Playing)))).is_empty(), "a last word stays");
    follow.observe(&report(2, false, None));
    assert_eq!(follow.counts(), BTreeMap::from([(Progress::Offline, 1), (Progress::Converged, 1)]));
    assert_eq!(follow.ending().exit_code(), 4);
    let mut good = follow.clone();
    good.observe(&report(2, true, Some((3, Verdict::RebootPending))));
    assert_eq!(good.ending().exit_code(), 0);
    follow.observe(&report(2, true, Some((3, Verdict::Quarantined))));
    assert_eq!((follow.ending(), follow.ending().exit_code()), (Ending::Failed, 1));
}

#[test]
fn what_newer_declarations_govern_is_not_waited_for() {
    let mut all = bodies();
    all.push(publish("core/etc", "edge-2", "/etc", "other"));
    let state = state_after(&all);
    let shadowed = Follow::new(&state, [&"edge/motd".parse().unwrap()]);
    assert_eq!(shadowed.nodes().len(), 1);
    assert_eq!(shadowed.shadowed()[0].by.as_str(), "core/etc");
    let mut follow = follow();
    assert_eq!(follow.advance(&state)[0].progress, Progress::Overtaken);
    follow.observe(&report(1, true, Some((3, Verdict::Converged))));
    assert_eq!(follow.ending(), Ending::Converged);
}

#[test]
fn nobody_to_wait_for_is_done() {
    let state = state_after(&[publish("edge/motd", "*", "/etc", "hi")]);
    assert_eq!(Follow::new(&state, [&"edge/motd".parse().unwrap()]).ending(), Ending::Converged);
}

proptest::proptest! {
    /// Whatever order reports come in, a last word stays and the ending is what the last words say.
    #[test]
    fn last_words_stay(events in proptest::collection::vec((1..3u8, proptest::bool::ANY, 2..5u64, 0..6usize), 0..40)) {
        let verdicts = [Verdict::Playing, Verdict::Converged, Verdict::RebootPending, Verdict::Failed, Verdict::Quarantined, Verdict::Refused];
        let mut follow = follow();
        let mut last: BTreeMap<Name, Progress> = BTreeMap::new();
        for (n, online, generation, verdict) in events {
            follow.observe(&report(n, online, Some((generation, verdicts[verdict]))));
            for track in follow.tracks().filter(|track| track.progress.is_final()) {
                let first = *last.entry(track.node.clone()).or_insert(track.progress);
                assert_eq!(first, track.progress);
            }
        }
        assert_eq!(follow.is_done(), last.len() == 2);
        if follow.is_done() {
            assert_eq!(follow.ending() == Ending::Failed, last.values().any(|p| p.is_bad()));
        }
    }
}
