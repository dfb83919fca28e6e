#![allow(clippy::unwrap_used, reason = "a test may fail so")]

use std::collections::BTreeSet;

use scores::switch::{Change, Config, Family, Lag, LagMode, Membership, PortConfig};

use super::{commands, fastiron_family};
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
fn the_syntax_is_told_by_what_is_configured_and_then_by_the_version() {
    let of = |text: &str| fastiron::configuration(&crate::parse::lines(text)).unwrap();
    let old = of("lag a static id 1\n ports ethe 1/1/1\n primary-port 1/1/1\n!\nend");
    let new = of("interface lag 1\n port-name x\n!\nend");
    let none = ParsedConfig::default();
    assert_eq!(fastiron_family("08.0.95j", &old), Some(Family::FastIronDeploy));
    assert_eq!(fastiron_family("08.0.30h", &new), Some(Family::FastIron));
    assert_eq!(fastiron_family("08.0.30hT311", &none), Some(Family::FastIronDeploy));
    assert_eq!(fastiron_family("08.0.61aT211", &none), Some(Family::FastIron));
    assert_eq!(fastiron_family("09.0.10", &none), Some(Family::FastIron));
    assert_eq!(fastiron_family("07.3.00c", &none), Some(Family::FastIronDeploy));
    assert_eq!(fastiron_family("unheard of", &none), None);
    let empty: BTreeSet<u16> = BTreeSet::new();
    assert!(none.config.lags.is_empty() && empty.is_empty());
}
