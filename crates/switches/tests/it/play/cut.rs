//! The connection is lost at every single command of every score: the device ends as before or as declared, and the
//! outcome says which.

use protocols::Verdict;
use scores::Score;
use scores::switch::{InterfaceScore, LagMode, PortChannelScore, PortFenceScore, PortMode, VlanScore};
use switchsim::{Profile, Sim};

use super::{channel, device, interface, vlan};
use crate::bed::{Bed, assignment};

/// How a connection is lost.
#[derive(Debug, Clone, Copy)]
enum Cut {
    /// The command was carried out, and its answer lost.
    After,
    /// The command was lost.
    Before,
    /// The command was carried out, and the agent ends with it: another one finds the trial.
    AfterAndCrash,
}

/// How many positions were cut.
async fn everywhere<S: Score>(profile: Profile, prepare: impl AsyncFn(&Bed), score: &S) -> usize {
    everywhere_with(&protocols::SecretKey::generate(), profile, prepare, score).await
}

async fn everywhere_with<S: Score>(
    key: &protocols::SecretKey,
    profile: Profile,
    prepare: impl AsyncFn(&Bed),
    score: &S,
) -> usize {
    // How it goes where nothing is lost.
    let plain = Bed::with_key(profile.clone(), key.clone()).await;
    prepare(&plain).await;
    let before = plain.sim.running_config();
    let commands = plain.sim.commands().len();
    assert_eq!(plain.play(score, 7).await.verdict, Verdict::Converged);
    let declared = plain.sim.running_config();
    assert_ne!(before, declared);
    let count = plain.sim.commands().len() - commands;
    let one = async |cut: Cut, position: usize| {
        if position > count {
            return 0;
        }
        let mut bed = Bed::with_key(profile.clone(), key.clone()).await;
        prepare(&bed).await;
        lose(&bed.sim, cut, position);
        let job = assignment(score, 7);
        let report = if matches!(cut, Cut::AfterAndCrash) {
            crash(&mut bed, &job).await
        } else {
            bed.ensemble().play(&job, &bed.stage).await
        };
        let at = format!("{cut:?} {position} of {count}: {report:?}");
        let (running, startup) = (bed.sim.running_config(), bed.sim.startup_config());
        match report.verdict {
            Verdict::Converged => {
                assert_eq!(running, declared, "{at}");
                assert_eq!(startup, declared, "{at}");
            }
            Verdict::Failed => {
                assert_eq!(running, before, "{at}\n{:?}", bed.sim.commands());
                assert_eq!(startup, before, "{at}");
            }
            other => panic!("{other:?}: {at}"),
        }
        if !matches!(cut, Cut::AfterAndCrash) {
            assert_eq!(bed.open_trials(), 0, "{at}");
        }
        let next = bed.play(score, 7).await;
        assert_eq!(next.verdict, Verdict::Converged, "{at}, then {next:?}");
        assert_eq!(bed.sim.startup_config(), declared, "{at}");
        1
    };
    let mut positions = 0;
    for cut in [Cut::After, Cut::Before, Cut::AfterAndCrash] {
        for first in (1..=count).step_by(4) {
            let (a, b, c, d) =
                tokio::join!(one(cut, first), one(cut, first + 1), one(cut, first + 2), one(cut, first + 3));
            positions += a + b + c + d;
        }
    }
    assert_eq!(positions, 3 * count);
    println!("positions of failure: {positions}");
    positions
}

fn lose(sim: &Sim, cut: Cut, position: usize) {
    match cut {
        Cut::After | Cut::AfterAndCrash => sim.drop_after(position),
        Cut::Before => sim.drop_before(position),
    }
}

/// Plays until the connection is lost, drops everything there, and lets a new agent recover.
async fn crash(bed: &mut Bed, job: &scores::Assignment) -> scores::PlayReport {
    // The first login is the play's own, where nothing was prepared.
    let logins = bed.sim.logins().max(1);
    let played = {
        let ensemble = bed.ensemble();
        let playing = ensemble.play(job, &bed.stage);
        tokio::pin!(playing);
        // The process is gone as soon as it would connect again, or when it has come to its end.
        loop {
            tokio::select! {
                biased;
                report = &mut playing => break Some(report),
                () = tokio::time::sleep(std::time::Duration::from_millis(1)) => {
                    if bed.sim.logins() > logins { break None }
                }
            }
        }
    };
    if let Some(report) = played {
        return report;
    }
    bed.restart();
    let recovered = bed.ensemble().recover(&bed.stage).await;
    match recovered.into_iter().next() {
        Some(recovered) => recovered.report,
        // It had not begun.
        None => scores::PlayReport {
            verdict: Verdict::Failed,
            message: "nothing had begun".into(),
            steps: Vec::new(),
            attempts: 0,
        },
    }
}

fn both() -> [Profile; 2] {
    [Profile::fastiron_8030(), Profile::fastiron_8095()]
}

async fn nothing(_bed: &Bed) {}

fn numbered(members: &[&str]) -> PortChannelScore {
    PortChannelScore { id: Some(9), ..channel(members) }
}

async fn made(profile: Profile, members: &[&str]) {
    let positions = everywhere(profile, nothing, &numbered(members)).await;
    assert!(positions > 30, "{positions}");
}

#[tokio::test]
async fn while_a_port_channel_is_made_in_the_old_syntax() {
    made(Profile::fastiron_8030(), &["1/1/1", "1/1/2", "2/1/1", "2/1/2"]).await;
}

#[tokio::test]
async fn while_a_port_channel_is_made_in_the_new_syntax() {
    made(Profile::fastiron_8095(), &["1/1/1", "1/1/2", "2/1/1", "2/1/2"]).await;
}

#[tokio::test]
async fn while_a_port_channel_is_made_on_network_os() {
    made(Profile::nos(), &["te1/0/1", "te2/0/1"]).await;
}

async fn changed(profile: Profile, from: &[&str], to: PortChannelScore) {
    let there = async |bed: &Bed| {
        bed.play(&numbered(from), 1).await;
    };
    everywhere(profile, there, &to).await;
}

#[tokio::test]
async fn while_the_members_of_a_port_channel_change() {
    for profile in both() {
        changed(profile, &["1/1/1", "1/1/2"], numbered(&["1/1/1", "1/1/3", "2/1/1"])).await;
    }
}

#[tokio::test]
async fn while_a_port_channel_becomes_static() {
    for profile in both() {
        let to = PortChannelScore { mode: LagMode::Static, ..numbered(&["1/1/1", "1/1/2"]) };
        changed(profile, &["1/1/1", "1/1/2"], to).await;
    }
}

#[tokio::test]
async fn while_a_port_channel_of_network_os_changes() {
    let to = PortChannelScore { mode: LagMode::Static, ..numbered(&["te1/0/1", "te1/0/3"]) };
    changed(Profile::nos(), &["te1/0/1", "te1/0/2"], to).await;
}

/// Its members are in VLANs, which must be there again when it was brought back.
async fn removed(profile: Profile, port: &str) {
    let tagged = async |bed: &Bed| {
        bed.play(&vlan(10, Some("servers")), 1).await;
        bed.play(&numbered(&["1/1/1", "1/1/2"]), 1).await;
        let mode = Some(PortMode::Trunk { tagged: [10].into(), native: None });
        let report = bed.play(&InterfaceScore { mode, ..interface(port) }, 1).await;
        assert_eq!(report.verdict, Verdict::Converged, "{report:?}");
    };
    everywhere(profile, tagged, &PortChannelScore { absent: true, ..numbered(&[]) }).await;
}

#[tokio::test]
async fn while_a_port_channel_is_removed_in_the_old_syntax() {
    removed(Profile::fastiron_8030(), "1/1/1").await;
}

#[tokio::test]
async fn while_a_port_channel_is_removed_in_the_new_syntax() {
    removed(Profile::fastiron_8095(), "lg9").await;
}

async fn set(profile: Profile, port: &str) {
    let vlans = async |bed: &Bed| {
        for id in [10, 20] {
            bed.play(&vlan(id, None), 1).await;
        }
        bed.play(&InterfaceScore { mode: Some(PortMode::Access { vlan: 10 }), ..interface(port) }, 1).await;
    };
    let score = InterfaceScore {
        description: Some("db-1".into()),
        enabled: Some(port == "te1/0/5"),
        edge: Some(true),
        mode: Some(PortMode::Trunk { tagged: [10].into(), native: Some(20) }),
        ..interface(port)
    };
    everywhere(profile, vlans, &score).await;
}

#[tokio::test]
async fn while_a_port_is_set_in_the_old_syntax() {
    set(Profile::fastiron_8030(), "1/1/5").await;
}

#[tokio::test]
async fn while_a_port_is_set_in_the_new_syntax() {
    set(Profile::fastiron_8095(), "1/1/5").await;
}

#[tokio::test]
async fn while_a_port_is_set_on_network_os() {
    set(Profile::nos(), "te1/0/5").await;
}

async fn vlan_made(profile: Profile) {
    everywhere(profile, nothing, &vlan(10, Some("servers"))).await;
}

async fn vlan_removed(profile: Profile) {
    let there = async |bed: &Bed| {
        bed.play(&vlan(10, Some("servers")), 1).await;
    };
    everywhere(profile, there, &VlanScore { absent: true, ..vlan(10, None) }).await;
}

async fn fenced(profile: Profile, port: &str) {
    let fence = |fenced| PortFenceScore { device: device(), port: port.parse().unwrap(), fenced };
    let open = async |bed: &Bed| {
        bed.play(&fence(false), 1).await;
    };
    everywhere(profile, open, &fence(true)).await;
}

#[tokio::test]
async fn while_a_vlan_is_made_in_the_old_syntax() {
    vlan_made(Profile::fastiron_8030()).await;
}

#[tokio::test]
async fn while_a_vlan_is_made_in_the_new_syntax() {
    vlan_made(Profile::fastiron_8095()).await;
}

#[tokio::test]
async fn while_a_vlan_is_made_on_network_os() {
    vlan_made(Profile::nos()).await;
}

#[tokio::test]
async fn while_a_vlan_is_removed_in_the_old_syntax() {
    vlan_removed(Profile::fastiron_8030()).await;
}

#[tokio::test]
async fn while_a_vlan_is_removed_in_the_new_syntax() {
    vlan_removed(Profile::fastiron_8095()).await;
}

#[tokio::test]
async fn while_a_vlan_is_removed_on_network_os() {
    vlan_removed(Profile::nos()).await;
}

#[tokio::test]
async fn while_a_port_is_fenced_in_the_old_syntax() {
    fenced(Profile::fastiron_8030(), "1/1/1").await;
}

#[tokio::test]
async fn while_a_port_is_fenced_in_the_new_syntax() {
    fenced(Profile::fastiron_8095(), "1/1/1").await;
}

#[tokio::test]
async fn while_a_port_is_fenced_on_network_os() {
    fenced(Profile::nos(), "te1/0/1").await;
}

#[tokio::test]
async fn while_an_snmp_user_is_made() {
    for profile in [Profile::fastiron_8095(), Profile::nos()] {
        let key = protocols::SecretKey::generate();
        let score = super::snmp::sealed(&key, "correct-horse");
        everywhere_with(&key, profile, nothing, &score).await;
    }
}
