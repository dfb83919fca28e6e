//! What would hurt is refused before the first command is sent.

use protocols::Verdict;
use scores::Score;
use scores::switch::{InterfaceScore, PortChannelScore, PortFenceScore, PortMode, VlanScore};
use switchsim::Profile;

use super::{channel, device, interface, is_harmless, vlan};
use crate::bed::Bed;

async fn refused<S: Score>(bed: &Bed, score: &S, why: &str) {
    let before = bed.sim.commands().len();
    let report = bed.play(score, 1).await;
    assert_eq!(report.verdict, Verdict::Refused, "{score:?}: {report:?}");
    assert!(report.message.contains(why), "{why:?} is not in {:?}", report.message);
    assert!(bed.sim.commands()[before..].iter().all(|command| is_harmless(command)));
    assert!(bed.plan(score).await.unwrap_err().contains(why));
    assert_eq!(bed.open_trials(), 0);
}

#[tokio::test]
async fn on_fastiron() {
    for profile in [Profile::fastiron_8030(), Profile::fastiron_8095()] {
        let bed = Bed::new(profile.clone()).await;
        let old = bed.sim.running_config().contains("ver 08.0.30");
        let said = bed.sim.configure(&[
            "vlan 10 name servers by port",
            "untagged ethernet 1/1/9",
            "exit",
            "interface ethernet 1/1/10",
            "ip address 10.0.0.1 255.255.255.0",
            "exit",
            "lag other dynamic id 5",
            "ports ethernet 1/1/11 to 1/1/12",
        ]);
        if old {
            bed.sim.configure(&["lag other dynamic id 5", "primary-port 1/1/11", "deploy"]);
        }
        assert!(!said.contains("Error"), "{said}");
        refused(&bed, &channel(&["1/1/1", "1/1/11"]), "port 1/1/11 is in the port channel 5 \"other\"").await;
        refused(&bed, &channel(&["1/1/1", "1/1/10"]), "port 1/1/10 has layer-3 configuration: `ip address 10.0.0.1")
            .await;
        refused(&bed, &channel(&["1/1/1", "9/1/1"]), "there is no port 9/1/1").await;
        refused(&bed, &channel(&["1/1/1", "1/1/9"]), "VLAN 10").await;
        let with_id = |id| PortChannelScore { id: Some(id), ..channel(&["1/1/1", "1/1/2"]) };
        refused(&bed, &with_id(5), "the id 5 is in use by the port channel \"other\"").await;
        refused(&bed, &with_id(257), "the id 257 is not one of 1 to 256").await;
        let same_name = PortChannelScore { name: "other".into(), ..with_id(6) };
        refused(&bed, &same_name, "the name \"other\" is in use by the port channel 5").await;
        let fast = if old { "1/2/1" } else { "1/3/1" };
        refused(&bed, &channel(&["1/1/1", fast]), "different speeds: 1000, 10000").await;
        refused(&bed, &VlanScore { absent: true, ..vlan(10, None) }, "VLAN 10 has members: 1/1/9").await;
        refused(&bed, &vlan(11, Some("servers")), "the name \"servers\" is in use by VLAN 10").await;
        let access = |port: &str, vlan| InterfaceScore { mode: Some(PortMode::Access { vlan }), ..interface(port) };
        refused(&bed, &access("1/1/1", 99), "there is no VLAN 99").await;
        refused(&bed, &access("1/1/12", 10), "port 1/1/12 follows the VLANs of").await;
        refused(&bed, &access("1/1/10", 10), "layer-3 configuration").await;
        refused(&bed, &access("lg77", 10), "there is no port lg77").await;
        let fence = PortFenceScore { device: device(), port: "7/7/7".parse().unwrap(), fenced: true };
        refused(&bed, &fence, "there is no port 7/7/7").await;
        let other = VlanScore { device: "rack-4".parse().unwrap(), ..vlan(12, None) };
        let job = crate::bed::assignment(&other, 1);
        let report = bed.ensemble().play(&job, &bed.stage).await;
        assert_eq!(report.verdict, Verdict::Refused, "{report:?}");
    }
}

#[tokio::test]
async fn on_network_os() {
    let bed = Bed::new(Profile::nos()).await;
    bed.sim.configure(&[
        "interface TenGigabitEthernet 1/0/9",
        "switchport",
        "exit",
        "interface TenGigabitEthernet 1/0/11",
        "channel-group 5 mode active type standard",
    ]);
    let score = |id, members: &[&str]| PortChannelScore { id, ..channel(members) };
    refused(&bed, &score(None, &["te1/0/1"]), "declare an `id`").await;
    refused(&bed, &score(Some(7000), &["te1/0/1"]), "not one of 1 to 6144").await;
    refused(&bed, &score(Some(7), &["te1/0/1", "te1/0/9"]), "port te1/0/9 is in VLAN 1").await;
    refused(&bed, &score(Some(7), &["te1/0/1", "te1/0/11"]), "port te1/0/11 is in the port channel 5").await;
    refused(&bed, &score(Some(7), &["1/0/1"]), "there is no port 1/0/1").await;
}

#[tokio::test]
async fn what_is_of_no_concern_is_no_hindrance() {
    let bed = Bed::new(Profile::fastiron_8030()).await;
    bed.sim.configure(&["snmp-server location x", "logging buffered 1000", "hostname renamed"]);
    let report = bed.play(&vlan(10, None), 1).await;
    assert_eq!(report.verdict, Verdict::Converged, "{report:?}");
}
