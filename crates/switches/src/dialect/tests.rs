#![allow(clippy::unwrap_used, reason = "a test may fail so")]

use scores::switch::{Change, Config, Family, Lag, LagMode, Membership, PortConfig};

use super::{Why, commands, configured_family, knows_lag_interfaces, told_family};
use crate::parse::{ParsedConfig, fastiron};

fn said(family: Family, running: &Config, change: &Change) -> Vec<String> {
    let commands = commands(family, running, change, None).unwrap();
    commands.iter().map(ToString::to_string).filter(|text| text != "exit").collect()
}

fn lag(members: &[&str], primary: Option<&str>) -> Lag {
    Lag {
        name: Some("uplink".into()),
        mode: LagMode::Lacp,
        members: members.iter().map(|port| port.parse().unwrap()).collect(),
        primary: primary.map(|port| port.parse().unwrap()),
        deployed: true,
    }
}

#[test]
fn members_are_said_as_one_set() {
    let config = Config::default();
    let make = |lag: Lag| Change::Lag { id: 7, from: None, to: Some(lag) };
    let four = ["1/2/5", "1/2/6", "2/2/5", "2/2/6"];
    assert_eq!(
        said(Family::FastIronDeploy, &config, &make(lag(&four, Some("1/2/5")))),
        [
            "lag uplink dynamic id 7",
            "ports ethernet 1/2/5 to 1/2/6 ethernet 2/2/5 to 2/2/6",
            "primary-port 1/2/5",
            "deploy"
        ]
    );
    assert_eq!(
        said(Family::FastIron, &config, &make(lag(&four, None))),
        ["lag uplink dynamic id 7", "ports ethernet 1/2/5 to 1/2/6 ethernet 2/2/5 to 2/2/6"]
    );
    let change = Change::Lag { id: 7, from: Some(lag(&four[..3], None)), to: Some(lag(&four[1..], None)) };
    assert_eq!(
        said(Family::FastIron, &config, &change),
        ["lag uplink dynamic id 7", "no ports ethernet 1/2/5", "ports ethernet 1/2/6 ethernet 2/2/5 to 2/2/6"]
    );
    let gone = Change::Lag { id: 7, from: Some(lag(&four, Some("1/2/5"))), to: None };
    assert_eq!(
        said(Family::FastIronDeploy, &config, &gone),
        ["lag uplink dynamic id 7", "no deploy", "no lag uplink dynamic id 7"]
    );
}

#[test]
fn vlans_are_left_before_others_are_entered() {
    let config = Config::default();
    let with = |untagged, tagged: &[u16]| PortConfig {
        vlans: Membership { untagged, tagged: tagged.iter().copied().collect(), all: false, trunk: false },
        ..PortConfig::default()
    };
    let change = |from, to| Change::Port { port: "1/1/5".parse().unwrap(), from, to };
    let from_to = change(with(Some(10), &[]), with(Some(20), &[30]));
    assert_eq!(
        said(Family::FastIronDeploy, &config, &from_to),
        [
            "vlan 10",
            "no untagged ethernet 1/1/5",
            "vlan 20",
            "tagged ethernet 1/1/5",
            "vlan 30",
            "tagged ethernet 1/1/5",
            "interface ethernet 1/1/5",
            "dual-mode 20"
        ]
    );
    assert_eq!(
        said(Family::FastIron, &config, &from_to),
        [
            "vlan 10",
            "no untagged ethernet 1/1/5",
            "vlan 30",
            "tagged ethernet 1/1/5",
            "vlan 20",
            "untagged ethernet 1/1/5"
        ]
    );
    assert!(said(Family::FastIron, &config, &change(with(None, &[]), with(None, &[]))).is_empty());
}

#[test]
fn the_syntax_is_told_by_what_is_configured_then_by_asking_and_then_by_the_version() {
    let of = |text: &str| fastiron::configuration(&crate::parse::lines(text)).unwrap();
    let old = of("lag a static id 1\n ports ethe 1/1/1\n primary-port 1/1/1\n!\nend");
    let new = of("interface lag 1\n port-name x\n!\nend");
    assert_eq!(configured_family(&old), Some(Family::FastIronDeploy));
    assert_eq!(configured_family(&new), Some(Family::FastIron));
    assert_eq!(configured_family(&ParsedConfig::default()), None);
    for (answer, known) in [
        (Ok(&()), Some(true)),
        (Err("Incomplete command."), Some(true)),
        (Err("Invalid input -> lag"), Some(false)),
        (Err("Invalid input -> interfaces lag"), None),
        (Err("Ambiguous input -> lag"), None),
        (Err("Command authorization failed"), None),
        (Err("Error - no"), None),
    ] {
        assert_eq!(knows_lag_interfaces(answer), known, "{answer:?}");
    }
    // What it says counts more than its version.
    assert_eq!(told_family("08.0.30hT311", Some(true)), Some((Family::FastIron, Why::Asked(true))));
    assert_eq!(told_family("08.0.95j", Some(false)), Some((Family::FastIronDeploy, Why::Asked(false))));
    let by_version = |version: &str| told_family(version, None).map(|(family, _)| family);
    assert_eq!(by_version("08.0.30hT311"), Some(Family::FastIronDeploy));
    assert_eq!(by_version("08.0.61aT211"), Some(Family::FastIron));
    assert_eq!(by_version("09.0.10"), Some(Family::FastIron));
    assert_eq!(by_version("07.3.00c"), Some(Family::FastIronDeploy));
    assert_eq!(by_version("unheard of"), None);
}
