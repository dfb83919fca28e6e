#![allow(clippy::unwrap_used, reason = "a test may fail so")]

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::{Plan, Score, score};

fn device() -> Name {
    "rack-3".parse().unwrap()
}

fn port(number: u16) -> Port {
    Port::new(Media::Plain, &[1, 1, number]).unwrap()
}

prop_compose! {
    fn membership()(
        untagged in proptest::option::of(2u16..6),
        tagged in proptest::collection::btree_set(6u16..10, 0..3),
    ) -> Membership {
        Membership { untagged, tagged, all: false, trunk: false }
    }
}

prop_compose! {
    fn port_config()(
        description in proptest::option::of("[a-c]{1,3}"),
        enabled: bool,
        edge: bool,
        vlans in membership(),
    ) -> PortConfig {
        PortConfig { description, enabled, edge, vlans, layer3: None }
    }
}

prop_compose! {
    /// Members of different port channels are different ports.
    fn config()(
        lags in proptest::collection::btree_map(1u16..5, (any::<bool>(), 1u16..4, any::<bool>()), 0..4),
        ports in proptest::collection::btree_map(1u16..20, port_config(), 0..6),
        vlans in proptest::collection::btree_map(2u16..10, proptest::option::of("[a-c]{1,3}"), 0..6),
    ) -> Config {
        let lag = |(id, (lacp, members, deployed)): (u16, (bool, u16, bool))| {
            let members: BTreeSet<Port> = (0..members).map(|at| port(id * 4 + at)).collect();
            let mode = if lacp { LagMode::Lacp } else { LagMode::Static };
            (id, Lag { name: Some(format!("lag-{id}")), mode, primary: members.first().copied(), members, deployed })
        };
        let mut config = Config { lags: lags.into_iter().map(lag).collect(), ..Config::default() };
        for (number, found) in ports {
            config.set_port(port(number), found);
        }
        config.vlans = vlans.into_iter().map(|(id, name)| (id, Vlan { name })).collect();
        config
    }
}

fn snapshot(family: Family, running: Config, startup: Config) -> Snapshot {
    Snapshot { family, running, startup, links: BTreeMap::new() }
}

/// Once every step but saving is taken, only saving is left; once it is saved, nothing.
fn law<S: Plan<Observed = Snapshot, Step = SwitchStep>>(score: &S, mut now: Snapshot) -> Result<(), TestCaseError> {
    for step in score.plan(&now) {
        if let SwitchStep::Change(change) = step {
            now.running.apply(&change);
        }
    }
    let left = score.plan(&now);
    prop_assert!(left.iter().all(|step| *step == SwitchStep::Save), "{left:?}");
    now.startup = now.running.clone();
    let left = score.plan(&now);
    prop_assert!(left.is_empty(), "{left:?}");
    Ok(())
}

proptest! {
    #[test]
    fn the_changes_from_one_configuration_lead_to_the_other(from in config(), to in config()) {
        let mut at = from.clone();
        for change in from.changes_to(&to) {
            at.apply(&change);
        }
        prop_assert_eq!(&at, &to);
        prop_assert!(at.changes_to(&to).is_empty());
    }

    #[test]
    fn parts_are_put_back_alone(from in config(), to in config()) {
        let touched = Touched { vlans: BTreeSet::from([2, 3, 4]), ports: BTreeSet::from([port(4)]), ..Touched::default() };
        let back = to.clone().with(&touched, &from.only(&touched));
        prop_assert_eq!(back.only(&touched), from.only(&touched));
        prop_assert_eq!(&back.lags, &to.lags);
    }

    #[test]
    fn plans_obey_the_law(running in config(), startup in config(), old: bool, absent: bool, id in 1u16..6) {
        let family = if old { Family::FastIronDeploy } else { Family::FastIron };
        let now = snapshot(family, running, startup);
        let members = if absent { BTreeSet::new() } else { BTreeSet::from([port(4), port(5)]) };
        let channel = PortChannelScore {
            device: device(),
            name: format!("lag-{id}"),
            id: Some(id),
            mode: LagMode::Lacp,
            members,
            description: None,
            absent,
        };
        law(&channel, now.clone())?;
        let interface = InterfaceScore {
            device: device(),
            port: port(id),
            description: Some("x".into()),
            enabled: Some(absent),
            mode: Some(PortMode::Trunk { tagged: [7, 8].into(), native: None }),
            edge: Some(old),
        };
        law(&interface, now.clone())?;
        law(&VlanScore { device: device(), vlan: id + 1, name: None, absent }, now.clone())?;
        law(&PortFenceScore { device: device(), port: port(id), fenced: absent }, now)?;
    }
}

#[test]
fn scores_are_read_and_checked() {
    let text = r#"{"device":"rack-3","name":"uplink","members":["1/1/1","1/1/2"]}"#;
    let channel: PortChannelScore = score::parse(text).unwrap();
    assert_eq!(channel.subject().as_str(), "switch/rack-3/port-channel/uplink");
    assert_eq!(channel.mode, LagMode::Lacp);
    let refused = |kind: &str, text: &str| {
        let kind = kind.parse().unwrap();
        crate::catalogue().validate(&kind, text).unwrap_err().to_string()
    };
    for (kind, text, why) in [
        ("switch.port-channel/1", r#"{"device":"a","name":"x y","members":["1/1/1"]}"#, "`name`"),
        ("switch.port-channel/1", r#"{"device":"a","name":"x\nreload","members":["1/1/1"]}"#, "`name`"),
        ("switch.port-channel/1", r#"{"device":"a","name":"x"}"#, "`members`"),
        ("switch.port-channel/1", r#"{"device":"a","name":"x","members":["lg1"]}"#, "port channel itself"),
        ("switch.port-channel/1", r#"{"device":"a","name":"x","members":["1/1/1"],"id":0}"#, "`id`"),
        ("switch.port-channel/1", r#"{"device":"a","name":"x","members":["1/1"],"mod":1}"#, "unknown field"),
        ("switch.interface/1", r#"{"device":"a","port":"1/1/1"}"#, "nothing is declared"),
        ("switch.interface/1", r#"{"device":"a","port":"1/1/1","description":"a\"b"}"#, "`description`"),
        ("switch.interface/1", r#"{"device":"a","port":"1/1/1","mode":{"access":{"vlan":4091}}}"#, "is not a VLAN"),
        ("switch.interface/1", r#"{"device":"a","port":"1/1/1","mode":{"trunk":{"tagged":[]}}}"#, "there are none"),
        ("switch.interface/1", r#"{"device":"a","port":"1/1/1","mode":{"trunk":{"tagged":[5],"native":5}}}"#, "native"),
        ("switch.vlan/1", r#"{"device":"a","vlan":1}"#, "device's own"),
        ("switch.vlan/1", r#"{"device":"a","vlan":7,"name":"x","absent":true}"#, "has no name"),
        ("switch.port-fence/1", r#"{"device":"a","port":"lg4","fenced":true}"#, "one by one"),
        ("switch.snmp/1", r#"{"device":"a","user":"u","group":"g"}"#, "`auth`"),
        ("switch.snmp/1", r#"{"device":"a","user":"u v","group":"g"}"#, "`user`"),
    ] {
        let said = refused(kind, text);
        assert!(said.contains(why), "{text}: {said}");
    }
}

#[test]
fn what_is_saved_is_what_is_declared() {
    let score = VlanScore { device: device(), vlan: 7, name: None, absent: false };
    let with = Config { vlans: BTreeMap::from([(7, Vlan::default())]), ..Config::default() };
    let plan =
        |running: &Config, startup: &Config| score.plan(&snapshot(Family::FastIron, running.clone(), startup.clone()));
    assert!(plan(&with, &with).is_empty());
    assert_eq!(plan(&with, &Config::default()), [SwitchStep::Save]);
    assert_eq!(plan(&Config::default(), &with).len(), 1, "it comes back at the next boot anyway");
    assert_eq!(plan(&Config::default(), &Config::default()).len(), 2);
}
