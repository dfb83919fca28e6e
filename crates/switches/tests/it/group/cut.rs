//! The connection to one member is lost at every single command: all of them end as before, or as declared.

use protocols::{SecretKey, Verdict};
use scores::Score;
use scores::switch::{InterfaceScore, PortMode};
use switchsim::Profile;

use super::{NAMES, Pair};
use crate::bed::assignment;
use crate::lost::{Cut, each, lose, told, until_lost};
use crate::play::{channel, interface, sealed, vlan};

type Profiles = fn() -> [Profile; 2];

/// How many positions were cut: each command that each of the members is sent, lost in each of three ways.
async fn everywhere<S: Score>(profiles: Profiles, key: &SecretKey, prepare: impl AsyncFn(&Pair), score: &S) -> usize {
    // How it goes where nothing is lost.
    let plain = Pair::new(profiles(), key.clone()).await;
    prepare(&plain).await;
    let before = plain.running();
    let sent = [0, 1].map(|side: usize| plain.sims[side].commands().len());
    assert_eq!(plain.play(score, 7).await.verdict, Verdict::Converged);
    let declared = plain.running();
    assert!(before[0] != declared[0] && before[1] != declared[1]);
    let counts = [0, 1].map(|side: usize| plain.sims[side].commands().len() - sent[side]);
    let one = async |cut: Cut, side: usize, position: usize| {
        let mut pair = Pair::new(profiles(), key.clone()).await;
        prepare(&pair).await;
        lose(&pair.sims[side], cut, position);
        let report = if matches!(cut, Cut::AfterAndCrash) {
            crash(&mut pair, side, score).await
        } else {
            Some(pair.play(score, 7).await)
        };
        let at = format!("{} {cut:?} {position} of {counts:?}: {report:?}", NAMES[side]);
        let (running, startup) = (pair.running(), pair.startup());
        match report.as_ref().map(|report| report.verdict) {
            Some(Verdict::Converged) => assert_eq!((&running, &startup), (&declared, &declared), "{at}"),
            Some(Verdict::Failed) => {
                assert_eq!((&running, &startup), (&before, &before), "{at}");
                let message = report.as_ref().map_or("", |report| report.message.as_str());
                let told = message.contains(&format!("{}: ", NAMES[side]));
                assert!(told || matches!(cut, Cut::AfterAndCrash), "{at}");
            }
            // It had not begun.
            None => assert_eq!((&running, &startup), (&before, &before), "{at}"),
            Some(other) => panic!("{other:?}: {at}"),
        }
        if !matches!(cut, Cut::AfterAndCrash) {
            assert_eq!(pair.open_trials(), 0, "{at}");
        }
        let next = pair.play(score, 7).await;
        assert_eq!(next.verdict, Verdict::Converged, "{at}, then {next:?}");
        assert_eq!(pair.startup(), declared, "{at}");
    };
    let mut positions = 0;
    for cut in [Cut::After, Cut::Before, Cut::AfterAndCrash] {
        for side in [0, 1] {
            positions += each(counts[side], async |position| one(cut, side, position).await).await;
        }
    }
    positions
}

/// Plays until the connection to this member is lost, drops everything there, and lets a new agent recover. Nothing,
/// where it had not begun.
async fn crash<S: Score>(pair: &mut Pair, side: usize, score: &S) -> Option<scores::PlayReport> {
    let (ensemble, job) = (pair.ensemble(), assignment(score, 7));
    if let Some(report) = until_lost(&pair.sims[side], ensemble.play(&job, &pair.stage)).await {
        return Some(report);
    }
    drop(ensemble);
    pair.restart();
    pair.ensemble().recover(&pair.stage).await.into_iter().next().map(|recovered| recovered.report)
}

fn fastiron() -> [Profile; 2] {
    [Profile::fastiron_8030(), Profile::fastiron_8095()]
}

fn mixed() -> [Profile; 2] {
    [Profile::fastiron_8095(), Profile::nos()]
}

fn fabric() -> [Profile; 2] {
    [Profile::nos().without_netconf(), Profile::nos()]
}

async fn nothing(_pair: &Pair) {}

#[tokio::test]
async fn while_a_vlan_is_made_on_two_fastirons() {
    told(everywhere(fastiron, &SecretKey::generate(), nothing, &vlan(10, Some("servers"))).await, 60);
}

#[tokio::test]
async fn while_a_vlan_is_made_on_two_systems() {
    told(everywhere(mixed, &SecretKey::generate(), nothing, &vlan(10, Some("servers"))).await, 60);
}

#[tokio::test]
async fn while_a_port_channel_is_made_on_two_fastirons() {
    told(everywhere(fastiron, &SecretKey::generate(), nothing, &channel(&["1/1/1", "1/1/2"])).await, 60);
}

#[tokio::test]
async fn while_a_port_is_set_on_two_of_network_os() {
    let there = async |pair: &Pair| {
        let report = pair.play(&vlan(10, None), 1).await;
        assert_eq!(report.verdict, Verdict::Converged, "{report:?}");
    };
    let mode = Some(PortMode::Trunk { tagged: [10].into(), native: None });
    let score = InterfaceScore { mode, description: Some("db-1".into()), ..interface("te1/0/5") };
    told(everywhere(fabric, &SecretKey::generate(), there, &score).await, 60);
}

#[tokio::test]
async fn while_an_snmp_user_is_made_on_two_systems() {
    let key = SecretKey::generate();
    let score = sealed(&key, "correct-horse");
    told(everywhere(mixed, &key, nothing, &score).await, 60);
}
