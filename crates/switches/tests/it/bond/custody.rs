//! Custody of the switch, and other agents that had it meanwhile.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use protocols::Verdict;
use scores::bond::BondScore;
use switchsim::Profile;

use super::both::Both;
use super::host::Fate;
use super::{judged, score, sent};
use crate::bed::assignment;

#[tokio::test]
async fn custody_of_the_switch_lasts_until_both_ends_have_a_verdict() {
    for fails in [false, true] {
        let (both, desk) = Both::in_custody(Profile::fastiron_8095()).await;
        let before = both.ends();
        both.bed.checks.fail.store(fails, Ordering::SeqCst);
        // Each step of the host makes sure that it is in custody.
        let report = both.play(&judged()).await;
        assert_eq!(report.verdict, if fails { Verdict::Quarantined } else { Verdict::Converged }, "{report:?}");
        assert_eq!((both.ends() == before, both.host.steps()), (fails, 2), "set, and kept or put back");
        assert_eq!((desk.is_taken(), desk.grants()), (false, 1), "taken once, and given back");
    }
}

#[tokio::test]
async fn a_host_that_is_not_back_yet_keeps_the_switch() {
    let (mut both, desk) = Both::in_custody(Profile::fastiron_8095()).await;
    let before = both.ends();
    both.bed.checks.fail.store(true, Ordering::SeqCst);
    both.host.inner.lock().unwrap().fate = Some((2, Fate::FailsBefore));
    let report = both.play(&judged()).await;
    assert_eq!(report.verdict, Verdict::Failed, "{report:?}");
    assert!(report.message.contains("could not be undone yet: host: reach the network's daemon"), "{report:?}");
    assert_eq!(both.ends()[0].0, before[0].0, "the switch's side is undone");
    assert!(desk.is_taken());
    let report = both.recover().await;
    assert!(report.message.ends_with("undone"), "{report:?}");
    assert_eq!((both.ends(), desk.is_taken()), (before, false));
}

#[tokio::test]
async fn what_another_agent_may_have_changed_is_left_as_it_is() {
    let (mut both, desk) = Both::in_custody(Profile::fastiron_8095()).await;
    both.host.inner.lock().unwrap().deaf = true;
    let job = assignment(&score(), 7);
    // Both sides are made, and the host has not heard of the switch yet.
    both.play_until_said(&job, "both: see LACP on every port").await;
    desk.overtake();
    both.bed.sim.configure(&["vlan 77 name others by port", "exit"]);
    both.host.inner.lock().unwrap().deaf = false;
    let (left, commands) = (both.ends(), sent(&both).len());
    let report = both.recover().await;
    assert_eq!(report.verdict, Verdict::Failed, "{report:?}");
    let why = "left as it is: rack-3: another agent may have changed `rack-3` since";
    assert!(report.message.contains(why), "{report:?}");
    assert_eq!((both.ends(), sent(&both).len(), both.host.steps()), (left, commands, 1), "neither end is touched");
    assert!(!desk.is_taken());
    // It goes on from what there is.
    let next = both.play(&job).await;
    assert_eq!(next.verdict, Verdict::Converged, "{next:?}");
    let [now, always] = both.ends();
    assert!(now == always && now.1.is_some() && now.0.contains("vlan 77"), "{now:?}");
}

#[tokio::test]
async fn what_is_declared_anew_is_made_of_whatever_an_overtaken_undoing_left() {
    let (mut both, desk) = Both::in_custody(Profile::fastiron_8095()).await;
    both.host.inner.lock().unwrap().deaf = true;
    both.play_until_said(&assignment(&score(), 7), "both: see LACP on every port").await;
    desk.overtake();
    both.bed.sim.configure(&["vlan 77 name others by port", "exit"]);
    both.host.inner.lock().unwrap().deaf = false;
    // The agent did not see to it before the newer one came.
    let newer = BondScore { addresses: BTreeSet::from(["10.0.0.6/24".into()]), ..score() };
    both.restart();
    let report = both.play(&assignment(&newer, 8)).await;
    assert_eq!(report.verdict, Verdict::Converged, "{report:?}");
    let [now, always] = both.ends();
    assert!(now == always && now.0.contains("vlan 77"), "{now:?}");
    assert_eq!(now.1.unwrap().addresses, newer.addresses);
    assert!(!desk.is_taken());
}

#[tokio::test]
async fn what_is_declared_while_an_undoing_goes_on_comes_after_it() {
    let (both, desk) = Both::in_custody(Profile::fastiron_8095()).await;
    both.bed.checks.fail.store(true, Ordering::SeqCst);
    both.host.inner.lock().unwrap().fate = Some((2, Fate::FailsBefore));
    let report = both.play(&judged()).await;
    assert!(report.message.contains("could not be undone yet"), "{report:?}");
    both.bed.checks.fail.store(false, Ordering::SeqCst);
    let newer = BondScore { addresses: BTreeSet::from(["10.0.0.6/24".into()]), ..score() };
    let report = both.play(&assignment(&newer, 8)).await;
    assert_eq!(report.verdict, Verdict::Converged, "{report:?}");
    let [now, always] = both.ends();
    assert_eq!((now == always, now.1.unwrap().addresses), (true, newer.addresses));
    // Put back, then made anew: 1 set, 2 put back in vain, 3 put back, 4 set, 5 kept.
    assert_eq!((both.host.steps(), desk.is_taken()), (5, false));
}

#[tokio::test]
async fn a_host_goes_back_where_the_switch_was_not_changed_yet() {
    let (mut both, desk) = Both::in_custody(Profile::fastiron_8095()).await;
    both.host.inner.lock().unwrap().fate = Some((1, Fate::EndsAfter));
    assert!(both.play_until_end(&assignment(&score(), 7)).await.is_none());
    assert!(both.host.set_up().0.is_some(), "the host's side is made");
    desk.overtake();
    // It needs nobody's leave for what is its own.
    both.host.inner.lock().unwrap().desk = None;
    let grants = desk.grants();
    both.bed.sim.configure(&["vlan 77 name others by port", "exit"]);
    let (switch, commands) = (both.ends().map(|end| end.0), sent(&both).len());
    let report = both.recover().await;
    assert!(report.message.ends_with("undone"), "{report:?}");
    assert_eq!((both.host.set_up(), both.ends().map(|end| end.0), sent(&both).len()), ((None, None), switch, commands));
    assert_eq!((desk.is_taken(), desk.grants()), (false, grants), "the switch is not even asked for");
}

#[tokio::test]
async fn what_has_passed_its_checks_goes_on_in_custody_after_a_restart() {
    let (mut both, desk) = Both::in_custody(Profile::fastiron_8095()).await;
    both.host.inner.lock().unwrap().fate = Some((2, Fate::EndsBefore));
    assert!(both.play_until_end(&assignment(&score(), 7)).await.is_none());
    let report = both.recover().await;
    assert_eq!(report.verdict, Verdict::Converged, "{report:?}");
    let [now, always] = both.ends();
    assert!(now == always && now.1.is_some(), "{now:?}");
    assert_eq!((desk.is_taken(), desk.grants()), (false, 2), "taken by each of the two processes, and given back");
}
