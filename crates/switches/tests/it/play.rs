//! Scores, played: planned, made, read back, saved, undone, refused.

mod cut;
mod refused;
mod snmp;

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use protocols::{Name, Verdict};
use scores::Score;
use scores::switch::{InterfaceScore, LagMode, Port, PortChannelScore, PortFenceScore, PortMode, VlanScore};
use switchsim::{Nasty, Profile};

use crate::bed::Bed;

pub(crate) use self::snmp::sealed;

pub(crate) fn ports(ports: &[&str]) -> BTreeSet<Port> {
    ports.iter().map(|port| port.parse().unwrap()).collect()
}

pub(crate) fn device() -> Name {
    "rack-3".parse().unwrap()
}

pub(crate) fn channel(members: &[&str]) -> PortChannelScore {
    PortChannelScore {
        device: device(),
        name: "uplink".into(),
        id: None,
        mode: LagMode::Lacp,
        members: ports(members),
        description: None,
        absent: false,
    }
}

pub(crate) fn interface(port: &str) -> InterfaceScore {
    InterfaceScore {
        device: device(),
        port: port.parse().unwrap(),
        description: None,
        enabled: None,
        mode: None,
        edge: None,
    }
}

pub(crate) fn vlan(vlan: u16, name: Option<&str>) -> VlanScore {
    VlanScore { device: device(), vlan, name: name.map(str::to_owned), absent: false }
}

/// Plays a score and plays it again: planned, made, saved, and then nothing to do.
async fn made<S: Score>(bed: &Bed, score: &S, generation: u64) {
    let commands = bed.sim.commands().len();
    let config = bed.sim.running_config();
    let planned = bed.plan(score).await.unwrap();
    assert!(!planned.is_empty(), "{score:?}");
    assert_eq!(bed.sim.running_config(), config, "a plan changes nothing");
    assert!(bed.sim.commands()[commands..].iter().all(|command| is_harmless(command)), "{:?}", bed.sim.commands());
    let report = bed.play(score, generation).await;
    assert_eq!(report.verdict, Verdict::Converged, "{score:?}: {report:?}\n{}", bed.sim.running_config());
    assert_eq!(report.steps, planned);
    assert_eq!(bed.sim.running_config(), bed.sim.startup_config(), "it is saved");
    assert_ne!(bed.sim.running_config(), config);
    let before = bed.sim.commands().len();
    let again = bed.play(score, generation).await;
    assert_eq!((again.verdict, again.steps.len()), (Verdict::Converged, 0), "{again:?}");
    assert!(bed.sim.commands()[before..].iter().all(|command| is_harmless(command)), "nothing to do, nothing done");
    assert_eq!(bed.open_trials(), 0);
}

fn is_harmless(command: &str) -> bool {
    command.is_empty()
        || ["show ", "enable", "skip-page-display", "terminal ", "netconf get-", "netconf show-"]
            .iter()
            .any(|word| command.starts_with(word))
}

fn holds(bed: &Bed, text: &str) {
    let config = bed.sim.running_config();
    assert!(config.contains(text), "no {text:?} in\n{config}");
}

fn lacks(bed: &Bed, text: &str) {
    let config = bed.sim.running_config();
    assert!(!config.contains(text), "{text:?} in\n{config}");
}

#[tokio::test]
async fn a_port_channel_in_the_old_syntax() {
    let bed = Bed::new(Profile::fastiron_8030()).await;
    made(&bed, &channel(&["1/1/1", "1/1/2", "2/1/1", "2/1/2"]), 1).await;
    holds(
        &bed,
        "lag uplink dynamic id 1\n ports ethe 1/1/1 to 1/1/2 ethe 2/1/1 to 2/1/2\n primary-port 1/1/1\n deploy\n",
    );
    // One more, one less; another primary port; static; gone.
    made(&bed, &channel(&["1/1/1", "1/1/3", "2/1/1", "2/1/2"]), 2).await;
    holds(&bed, " ports ethe 1/1/1 ethe 1/1/3 ethe 2/1/1 to 2/1/2\n");
    made(&bed, &channel(&["1/1/3", "2/1/2"]), 3).await;
    holds(&bed, " ports ethe 1/1/3 ethe 2/1/2\n primary-port 1/1/3\n deploy\n");
    made(&bed, &PortChannelScore { mode: LagMode::Static, ..channel(&["1/1/3", "2/1/2"]) }, 4).await;
    holds(&bed, "lag uplink static id 1\n");
    made(&bed, &PortChannelScore { absent: true, ..channel(&[]) }, 5).await;
    lacks(&bed, "lag uplink");
    let inventory = bed.device.inventory().await.unwrap();
    assert!(inventory.lags.is_empty());
}

#[tokio::test]
async fn a_port_channel_in_the_new_syntax() {
    let bed = Bed::new(Profile::fastiron_8095()).await;
    let described = PortChannelScore {
        id: Some(23),
        description: Some("to the core".into()),
        ..channel(&["1/1/1", "1/1/2", "2/1/1", "2/1/2"])
    };
    made(&bed, &described, 1).await;
    holds(&bed, "lag uplink dynamic id 23\n ports ethe 1/1/1 to 1/1/2 ethe 2/1/1 to 2/1/2\n");
    holds(&bed, "interface lag 23\n port-name to the core\n");
    let inventory = bed.device.inventory().await.unwrap();
    assert_eq!(inventory.lags.len(), 1);
    assert!(inventory.lags[0].lacp && inventory.lags[0].members.iter().all(|member| member.operational == Some(true)));
    made(&bed, &vlan(10, Some("servers")), 1).await;
    let tagged = PortMode::Trunk { tagged: BTreeSet::from([10]), native: None };
    made(&bed, &InterfaceScore { mode: Some(tagged), ..interface("lg23") }, 1).await;
    holds(&bed, " tagged lag 23\n");
    // Made anew as a static one, it keeps its VLANs and its description.
    made(&bed, &PortChannelScore { mode: LagMode::Static, ..described.clone() }, 2).await;
    holds(&bed, "lag uplink static id 23\n");
    holds(&bed, " tagged lag 23\n");
    holds(&bed, " port-name to the core\n");
    made(&bed, &PortChannelScore { id: None, absent: true, ..channel(&[]) }, 3).await;
    lacks(&bed, "lag 23");
}

#[tokio::test]
async fn a_port_channel_on_network_os() {
    let bed = Bed::new(Profile::nos()).await;
    let score = |members: &[&str]| PortChannelScore {
        id: Some(3476),
        description: Some("to the core".into()),
        ..channel(members)
    };
    made(&bed, &score(&["te1/0/1", "te2/0/1"]), 1).await;
    holds(&bed, "interface Port-channel 3476\n description to the core\n no shutdown\n");
    holds(&bed, "interface TenGigabitEthernet 2/0/1\n channel-group 3476 mode active type standard\n");
    made(&bed, &score(&["te1/0/1", "te2/0/2"]), 2).await;
    made(&bed, &PortChannelScore { mode: LagMode::Static, ..score(&["te1/0/1", "te2/0/2"]) }, 3).await;
    holds(&bed, " channel-group 3476 mode on type standard\n");
    assert_eq!(bed.device.inventory().await.unwrap().lags.len(), 1);
    made(&bed, &PortChannelScore { absent: true, description: None, ..score(&[]) }, 4).await;
    lacks(&bed, "3476");
}

#[tokio::test]
async fn ports_and_vlans() {
    for (profile, port) in
        [(Profile::fastiron_8030(), "1/1/5"), (Profile::fastiron_8095(), "1/1/5"), (Profile::nos(), "te1/0/5")]
    {
        let bed = Bed::new(profile).await;
        for (id, name) in [(10, "servers"), (20, "storage"), (30, "voice")] {
            made(&bed, &vlan(id, Some(name)), 1).await;
        }
        made(&bed, &vlan(40, None), 1).await;
        let mut generation = 0;
        let trunk = |tagged: &[u16], native| PortMode::Trunk { tagged: tagged.iter().copied().collect(), native };
        for mode in [
            PortMode::Access { vlan: 10 },
            PortMode::Access { vlan: 20 },
            trunk(&[10, 20], None),
            trunk(&[10, 30], Some(20)),
            trunk(&[30], Some(10)),
            PortMode::Access { vlan: 30 },
            trunk(&[10, 20, 30], Some(40)),
            PortMode::Access { vlan: 1 },
        ] {
            generation += 1;
            made(&bed, &InterfaceScore { mode: Some(mode), ..interface(port) }, generation).await;
        }
        let (one, other) = (port != "te1/0/5", port == "te1/0/5");
        let all = InterfaceScore {
            description: Some("db-1 eth0".into()),
            enabled: Some(other),
            edge: Some(true),
            mode: Some(PortMode::Access { vlan: 10 }),
            ..interface(port)
        };
        made(&bed, &all, 20).await;
        made(&bed, &InterfaceScore { enabled: Some(one), edge: Some(false), ..interface(port) }, 21).await;
        holds(&bed, "db-1 eth0");
        made(&bed, &VlanScore { absent: true, ..vlan(20, None) }, 2).await;
        lacks(&bed, "storage");
    }
}

#[tokio::test]
async fn a_port_is_fenced_and_opened_again() {
    for (profile, port) in
        [(Profile::fastiron_8030(), "1/1/1"), (Profile::fastiron_8095(), "1/1/1"), (Profile::nos(), "te1/0/1")]
    {
        let bed = Bed::new(profile).await;
        let fence = |fenced| PortFenceScore { device: device(), port: port.parse().unwrap(), fenced };
        if port == "te1/0/1" {
            made(&bed, &fence(false), 1).await;
        }
        let up = |inventory: switches::Inventory| {
            inventory.interfaces.into_iter().find(|one| one.port.to_string() == port).unwrap().up
        };
        assert!(up(bed.device.inventory().await.unwrap()));
        made(&bed, &fence(true), 2).await;
        assert!(!up(bed.device.inventory().await.unwrap()));
        made(&bed, &fence(false), 3).await;
        assert!(up(bed.device.inventory().await.unwrap()));
    }
    // Also a member of a port channel, in both syntaxes.
    for profile in [Profile::fastiron_8030(), Profile::fastiron_8095()] {
        let bed = Bed::new(profile).await;
        made(&bed, &channel(&["1/1/1", "1/1/2"]), 1).await;
        for port in ["1/1/1", "1/1/2"] {
            let fence = |fenced| PortFenceScore { device: device(), port: port.parse().unwrap(), fenced };
            made(&bed, &fence(true), 1).await;
            made(&bed, &fence(false), 2).await;
        }
    }
}

#[tokio::test]
async fn nasty_devices_are_configured_all_the_same() {
    for profile in [Profile::fastiron_8030(), Profile::fastiron_8095()] {
        let bed = Bed::new(profile.nasty(Nasty { busy_flash: 2, ..Nasty::everything() })).await;
        made(&bed, &channel(&["1/1/1", "1/1/2", "2/1/1", "2/1/2"]), 1).await;
        made(&bed, &vlan(10, Some("servers")), 1).await;
        let mode = Some(PortMode::Access { vlan: 10 });
        made(&bed, &InterfaceScore { mode, description: Some("a > b #".into()), ..interface("1/1/5") }, 1).await;
    }
    let bed = Bed::new(Profile::nos().nasty(Nasty { busy_flash: 2, ..Nasty::everything() })).await;
    made(&bed, &PortChannelScore { id: Some(7), ..channel(&["te1/0/1", "te2/0/1"]) }, 1).await;
    made(&bed, &vlan(10, Some("servers")), 1).await;
}

#[tokio::test]
async fn a_failed_check_brings_back_what_was_before_and_saves_nothing() {
    for (profile, members) in [
        (Profile::fastiron_8030(), ["1/1/1", "1/1/2", "1/1/3"]),
        (Profile::fastiron_8095(), ["1/1/1", "1/1/2", "1/1/3"]),
        (Profile::nos(), ["te1/0/1", "te1/0/2", "te1/0/3"]),
    ] {
        let bed = Bed::new(profile).await;
        let channel = |members: &[&str], mode| PortChannelScore { id: Some(9), mode, ..channel(members) };
        let first = channel(&members[..2], LagMode::Lacp);
        bed.play(&vlan(10, Some("servers")), 1).await;
        bed.play(&first, 1).await;
        let (running, startup) = (bed.sim.running_config(), bed.sim.startup_config());
        bed.checks.fail.store(true, Ordering::SeqCst);
        let attempts: [&dyn Fn() -> PortChannelScore; 4] = [
            &|| channel(&members, LagMode::Lacp),
            &|| channel(&members[..1], LagMode::Lacp),
            &|| channel(&members[..2], LagMode::Static),
            &|| PortChannelScore { absent: true, ..channel(&[], LagMode::Lacp) },
        ];
        for (at, score) in attempts.iter().enumerate() {
            let mut job = crate::bed::assignment(&score(), 2 + at as u64);
            job.policy.checks = vec![protocols::Check::Tcp { address: "x:1".into() }];
            let report = bed.ensemble().play(&job, &bed.stage).await;
            assert_eq!(report.verdict, Verdict::Quarantined, "{report:?}");
            assert!(report.message.ends_with("; undone"), "{}", report.message);
            assert_eq!(bed.sim.running_config(), running, "{:?}", score());
            assert_eq!(bed.sim.startup_config(), startup);
        }
        bed.checks.fail.store(false, Ordering::SeqCst);
        assert_eq!(bed.play(&first, 9).await.verdict, Verdict::Converged);
    }
}

#[tokio::test]
async fn two_changes_at_once_wait_for_each_other() {
    let bed = Bed::new(Profile::fastiron_8095()).await;
    let ensemble = bed.ensemble();
    let jobs: Vec<_> = (10..16).map(|id| crate::bed::assignment(&vlan(id, Some(&format!("v{id}"))), 1)).collect();
    let plays = jobs.iter().map(|job| ensemble.play(job, &bed.stage));
    let (a, b, c, d, e, f) = {
        let mut plays = plays;
        let mut next = || plays.next().unwrap();
        tokio::join!(next(), next(), next(), next(), next(), next())
    };
    for report in [a, b, c, d, e, f] {
        assert_eq!(report.verdict, Verdict::Converged, "{report:?}");
    }
    for id in 10..16 {
        holds(&bed, &format!("vlan {id} name v{id} by port"));
    }
    assert_eq!(bed.sim.running_config(), bed.sim.startup_config());
}
