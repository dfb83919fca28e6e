//! A bond over a host and a switch as one change: the switch is a simulated one behind real SSH, the host is one of which
//! every step can fail. Whatever is lost wherever, both ends are as before or both as declared.

mod both;
mod custody;
mod cut;
mod desk;
mod host;
mod inband;

use std::collections::BTreeSet;

use protocols::{Policy, Verdict};
use scores::bond::{BondScore, HostBond};
use scores::switch::Port;
use scores::{Assignment, PlayReport};
use switchsim::{PortId, Profile};

use crate::bed::assignment;
use both::Both;
use host::{Fate, mac};

fn score() -> BondScore {
    BondScore {
        name: "bond0".into(),
        nics: BTreeSet::from(["eth1".into(), "eth2".into()]),
        device: "rack-3".parse().unwrap(),
        channel: None,
        id: Some(9),
        ports: BTreeSet::new(),
        addresses: BTreeSet::from(["10.0.0.5/24".into()]),
        gateways: BTreeSet::new(),
        dhcp: false,
        lose_addresses: false,
    }
}

fn profiles() -> [Profile; 3] {
    [Profile::fastiron_8030(), Profile::fastiron_8095(), Profile::nos()]
}

/// The commands that are no questions.
fn sent(both: &Both) -> Vec<String> {
    let asks = ["show", "netconf ", "enable", "skip-page-display", "terminal length", "exit", "end"];
    let all = both.bed.sim.commands();
    all.into_iter().filter(|line| !line.is_empty() && !asks.iter().any(|ask| line.starts_with(ask))).collect()
}

#[tokio::test]
async fn both_ends_are_bonded_and_it_is_done_once() {
    for profile in profiles() {
        let both = Both::new(profile).await;
        let before = both.ends();
        let job = assignment(&score(), 7);
        let planned = both.ensemble().plan(&job).await.unwrap();
        assert_eq!(planned.len(), 5, "{planned:?}");
        assert_eq!((sent(&both), both.ends()), (Vec::new(), before), "a plan asks and changes nothing");
        let report = both.play(&job).await;
        assert_eq!(report.verdict, Verdict::Converged, "{report:?}");
        let [now, always] = both.ends();
        assert_eq!(now, always);
        let bond = now.1.unwrap();
        assert_eq!((bond.ports.len(), bond.mac), (2, Some(mac(0))), "{bond:?}");
        let (commands, steps) = (sent(&both).len(), both.host.steps());
        let again = both.play(&job).await;
        assert_eq!((again.verdict, again.steps.len()), (Verdict::Converged, 0), "{again:?}");
        assert_eq!((sent(&both).len(), both.host.steps()), (commands, steps), "nothing was to be done");
    }
}

#[tokio::test]
async fn what_cannot_be_told_is_refused_and_nothing_is_sent() {
    let both = Both::new(Profile::fastiron_8095()).await;
    let before = both.ends();
    // Its second interface is silent.
    both.bed.sim.plug(PortId { unit: 1, slot: 1, port: 2 }, None);
    let report = both.play(&assignment(&score(), 7)).await;
    assert_eq!(report.verdict, Verdict::Refused, "{report:?}");
    assert!(report.message.contains("eth2 (52:54:00:aa:00:01) is not seen on any port"), "{report:?}");
    // It would lose an address.
    both.host.inner.lock().unwrap().addresses.insert("10.0.0.9/24".into());
    let report = both.play(&assignment(&score(), 8)).await;
    assert!(report.message.contains("eth1 would lose 10.0.0.9/24"), "{report:?}");
    both.host.inner.lock().unwrap().addresses.clear();
    // A port of it is in another port channel: the switch's own score objects.
    both.bed.sim.configure(&["lag other dynamic id 3", "ports ethernet 1/1/5 to 1/1/6", "exit"]);
    let ports: BTreeSet<Port> = ["1/1/5", "1/1/7"].into_iter().map(|port| port.parse().unwrap()).collect();
    let report = both.play(&assignment(&BondScore { ports, ..score() }, 9)).await;
    assert_eq!(report.verdict, Verdict::Refused, "{report:?}");
    assert!(report.message.contains("port 1/1/5 is in the port channel 3"), "{report:?}");
    assert_eq!((sent(&both), both.host.steps()), (Vec::new(), 0));
    assert_eq!(both.ends()[0].1, before[0].1);
}

#[tokio::test]
async fn without_lacp_at_the_other_end_both_are_undone() {
    for deaf in [false, true] {
        let profile = Profile::fastiron_8095();
        let both = Both::new(if deaf { profile } else { profile.without_partners() }).await;
        both.host.inner.lock().unwrap().deaf = deaf;
        let before = both.ends();
        let policy = Policy { attempts: 1, apply_seconds: 8, ..Policy::default() };
        let report = both.play(&Assignment { policy, ..assignment(&score(), 7) }).await;
        assert_ne!(report.verdict, Verdict::Converged, "{report:?}");
        assert!(report.message.ends_with("undone"), "{report:?}");
        assert_eq!(both.ends(), before);
        assert_eq!(both.bed.open_trials(), usize::from(report.verdict == Verdict::Quarantined));
    }
}

#[tokio::test]
async fn a_check_that_fails_takes_both_back() {
    let both = Both::new(Profile::fastiron_8030()).await;
    let before = both.ends();
    both.bed.checks.fail.store(true, std::sync::atomic::Ordering::SeqCst);
    let report = both.play(&judged()).await;
    assert_eq!(report.verdict, Verdict::Quarantined, "{report:?}");
    assert_eq!(both.ends(), before);
}

fn judged() -> Assignment {
    let checks = vec![protocols::Check::Unit { name: "x.service".into(), stable_seconds: 0 }];
    let policy = Policy { attempts: 1, check_seconds: 1, checks, ..Policy::default() };
    Assignment { policy, ..assignment(&score(), 7) }
}

/// Both ends are as the outcome says, and the next play brings them to what is declared.
async fn is_whole(both: &Both, report: &PlayReport, before: &[(String, Option<HostBond>); 2], at: &str) {
    let ends = both.ends();
    match report.verdict {
        Verdict::Converged => {
            assert!(ends[0].1.is_some() && ends[0].0 != before[0].0, "{at}: {report:?}");
            assert_eq!(ends[0], ends[1], "{at}: {report:?}");
        }
        Verdict::Failed => assert_eq!(&ends, before, "{at}: {report:?}\n{:?}", both.bed.sim.commands()),
        other => panic!("{other:?}: {at}: {report:?}"),
    }
    let next = both.play(&assignment(&score(), 7)).await;
    assert_eq!(next.verdict, Verdict::Converged, "{at}, then {next:?}");
    let [now, always] = both.ends();
    assert!(now == always && now.1.is_some(), "{at}");
}

#[tokio::test]
async fn whatever_becomes_of_a_step_of_the_host_both_ends_are_alike() {
    for profile in profiles() {
        let plain = Both::new(profile.clone()).await;
        let job = assignment(&score(), 7);
        assert_eq!(plain.play(&job).await.verdict, Verdict::Converged);
        let steps = plain.host.steps();
        assert_eq!(steps, 2, "it is set, and kept");
        for fate in [Fate::FailsBefore, Fate::FailsAfter, Fate::EndsBefore, Fate::EndsAfter] {
            for step in 1..=steps {
                let mut both = Both::new(profile.clone()).await;
                let before = both.ends();
                both.host.inner.lock().unwrap().fate = Some((step, fate));
                let report = both.play_and_end(&job).await;
                is_whole(&both, &report, &before, &format!("{fate:?} at step {step}")).await;
            }
        }
    }
}
