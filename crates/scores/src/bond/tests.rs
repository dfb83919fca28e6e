use std::collections::BTreeMap;

use protocols::Mac;

use super::*;
use crate::Plan;
use crate::switch::{Change, Config, Family, Lag, Link, Snapshot, SwitchStep};

pub(super) fn mac(n: u8) -> Mac {
    Mac::new([2, 0, 0, 0, 0, n])
}

fn port(text: &str) -> Port {
    text.parse().unwrap()
}

fn score() -> BondScore {
    BondScore {
        name: "bond0".into(),
        nics: BTreeSet::from(["eth1".into(), "eth2".into()]),
        device: "rack-3".parse().unwrap(),
        channel: None,
        id: None,
        ports: BTreeSet::new(),
        addresses: BTreeSet::from(["10.0.0.5/24".into()]),
        gateways: BTreeSet::new(),
        dhcp: false,
        lose_addresses: false,
    }
}

fn host() -> HostLinks {
    let link = |n| HostLink { mac: Some(mac(n)), up: true, ..HostLink::default() };
    let links = BTreeMap::from([("eth1".into(), link(1)), ("eth2".into(), link(2)), ("eth3".into(), link(3))]);
    HostLinks { links, ..HostLinks::default() }
}

fn snapshot() -> Snapshot {
    let up = Link { up: true, megabits: Some(10_000) };
    let links = (1..=4).map(|n| (port(&format!("1/1/{n}")), up)).collect();
    Snapshot { family: Family::FastIron, running: Config::default(), startup: Config::default(), links }
}

/// The first NIC is seen on 1/1/1, the second on 1/1/2.
fn around() -> Surroundings {
    let addresses = (1..=3).map(|n| (port(&format!("1/1/{n}")), BTreeSet::from([mac(n)]))).collect();
    Surroundings { addresses, ..Surroundings::default() }
}

fn found(score: &BondScore) -> BondObserved {
    let (host, switch, surroundings) = (host(), snapshot(), around());
    let ports = score.find_ports(&host, &switch, &surroundings).unwrap();
    BondObserved { host, switch, surroundings, ports }
}

/// Takes a step as both sides do.
fn take(step: &BondStep, seen: &mut BondObserved) {
    match step {
        BondStep::Host(bond) => {
            seen.host.running = Some((**bond).clone());
            let member = AdMember { up: true, aggregator: Some(1) };
            let members = bond.nics.iter().map(|nic| (nic.clone(), member.clone())).collect();
            seen.host.state = Some(AdState { lacp: true, aggregator: Some(1), partner: None, members });
        }
        BondStep::Switch(SwitchStep::Change(change)) => match &**change {
            Change::Lag { id, to: Some(to), .. } => drop(seen.switch.running.lags.insert(*id, to.clone())),
            other => panic!("{other}"),
        },
        BondStep::Switch(SwitchStep::Save) => seen.switch.startup = seen.switch.running.clone(),
        BondStep::Agree => {
            seen.host.state.as_mut().unwrap().partner = Some(mac(99));
            seen.surroundings.carrying = seen.ports.iter().map(|port| (*port, Some(true))).collect();
        }
        BondStep::Keep(bond) => seen.host.startup = Some((**bond).clone()),
    }
}

#[test]
fn the_host_is_first_and_what_lasts_is_last() {
    let score = score();
    let mut seen = found(&score);
    let steps = score.plan(&seen);
    let lines: Vec<String> = steps.iter().map(ToString::to_string).collect();
    let expected = [
        "host: bond eth1 eth2 by LACP as bond0, plugged into 1/1/1 1/1/2 of rack-3, with 10.0.0.5/24",
        "switch: make port channel 1 \"bond0\" (LACP) of 1/1/1 1/1/2",
        "both: see LACP on every port",
        "host: keep bond0 over boots",
        "switch: save the configuration",
    ];
    assert_eq!(lines, expected);
    let (last, first): (Vec<_>, Vec<_>) = steps.into_iter().partition(BondScore::after_checks);
    first.iter().for_each(|step| take(step, &mut seen));
    assert_eq!(score.plan(&seen), last, "only what lasts is left");
    last.iter().for_each(|step| take(step, &mut seen));
    assert_eq!(score.plan(&seen), []);
    // Another address: whether both ends still agree is seen afterwards.
    let moved = BondScore { addresses: BTreeSet::from(["10.0.0.6/24".into()]), ..score.clone() };
    let lines: Vec<String> = moved.plan(&seen).iter().map(ToString::to_string).collect();
    assert_eq!(lines[1..], ["both: see LACP on every port", "host: keep bond0 over boots"]);
    // The members have one address now, and what was found out is remembered.
    seen.surroundings.addresses = BTreeMap::from([(Port::channel(1), BTreeSet::from([mac(1)]))]);
    assert_eq!(score.known_ports(&seen.host), Some(seen.ports.clone()));
    // A member that carries nothing is to be seen to, and nothing else.
    seen.surroundings.carrying.insert(port("1/1/2"), Some(false));
    assert_eq!(score.plan(&seen), [BondStep::Agree]);
}

#[test]
fn ports_are_found_only_where_nothing_else_is_behind_them() {
    let score = score();
    let ask = |change: &dyn Fn(&mut HostLinks, &mut Snapshot, &mut Surroundings)| {
        let (mut host, mut switch, mut around) = (host(), snapshot(), around());
        change(&mut host, &mut switch, &mut around);
        score.find_ports(&host, &switch, &around)
    };
    let two = BTreeSet::from([port("1/1/1"), port("1/1/2")]);
    assert_eq!(ask(&|_, _, _| {}), Ok(two.clone()));
    type Case<'a> = (&'a dyn Fn(&mut HostLinks, &mut Snapshot, &mut Surroundings), &'a str);
    let cases: [Case<'_>; 7] = [
        (&|_, _, around| drop(around.addresses.remove(&port("1/1/2"))), "eth2 (02:00:00:00:00:02) is not seen"),
        (
            &|_, _, around| drop(around.addresses.insert(port("1/1/4"), BTreeSet::from([mac(2)]))),
            "on the ports 1/1/2 1/1/4",
        ),
        (
            &|_, _, around| {
                around.addresses.get_mut(&port("1/1/2")).unwrap().insert(mac(77));
            },
            "1 addresses that are not this host's",
        ),
        (
            &|_, _, around| {
                around.addresses.remove(&port("1/1/2"));
                around.addresses.insert(Port::channel(9), BTreeSet::from([mac(2)]));
            },
            "on the port channel lg9",
        ),
        (
            &|_, _, around| {
                around.addresses.remove(&port("1/1/2"));
                around.addresses.get_mut(&port("1/1/1")).unwrap().insert(mac(2));
            },
            "eth1 and eth2 are both seen on port 1/1/1",
        ),
        (
            &|_, _, around| drop(around.neighbours.insert(port("1/1/2"), BTreeSet::from(["core-1".into()]))),
            "what says that it is there is core-1",
        ),
        (&|host, _, _| host.links.get_mut("eth2").unwrap().mac = None, "eth2 has no hardware address"),
    ];
    for (change, expected) in cases {
        let why = ask(change).unwrap_err();
        assert!(why.contains(expected) && why.contains("declare `ports`"), "{why}");
    }
    // A host that says that it is there may have others behind it.
    let with_guests = ask(&|_, _, around| {
        around.addresses.get_mut(&port("1/1/2")).unwrap().insert(mac(77));
        around.neighbours.insert(port("1/1/2"), BTreeSet::from(["0200.0000.0002".into()]));
    });
    assert_eq!(with_guests, Ok(two));
    // The port channel is there already. Another host may call its own so: it counts where it leads here.
    let members = BTreeSet::from([port("1/1/3"), port("1/1/4")]);
    let lag = Lag {
        name: Some("bond0".into()),
        mode: LagMode::Lacp,
        members: members.clone(),
        primary: None,
        deployed: true,
    };
    let there = |learnt: Option<Mac>, told: Option<&str>| {
        ask(&|_, switch, around| {
            switch.running.lags.insert(7, lag.clone());
            around.addresses = learnt.map(|mac| (Port::channel(7), BTreeSet::from([mac]))).into_iter().collect();
            let told = told.map(|told| members.iter().map(move |port| (*port, BTreeSet::from([told.to_owned()]))));
            around.neighbours = told.into_iter().flatten().collect();
        })
    };
    assert_eq!(there(Some(mac(1)), None), Ok(members.clone()));
    assert_eq!(there(None, Some("0200.0000.0002")), Ok(members.clone()));
    for (learnt, told) in [(None, None), (Some(mac(77)), None), (None, Some("db-2"))] {
        let why = there(learnt, told).unwrap_err();
        assert!(why.contains("is not seen on any port") && why.contains("declare `ports`"), "{why}");
    }
}

#[test]
fn a_port_channel_of_another_host_is_not_taken_from_it() {
    let score = BondScore { ports: BTreeSet::from([port("1/1/1"), port("1/1/2")]), ..score() };
    let mut seen = found(&score);
    assert_eq!((score.others_channel(&seen), score.doubts(&seen)), (None, Vec::new()));
    let of = |ports: [&str; 2]| Lag {
        name: Some("bond0".into()),
        mode: LagMode::Lacp,
        members: ports.into_iter().map(port).collect(),
        primary: None,
        deployed: true,
    };
    // Most hosts call their bond so, and the port channel after it.
    seen.switch.running.lags.insert(1, of(["1/1/3", "1/1/4"]));
    let why = score.others_channel(&seen).unwrap();
    assert!(why.contains("1 \"bond0\" is there already, with 1/1/3 1/1/4"), "{why}");
    assert!(why.contains("declare another `channel`"), "{why}");
    let named = BondScore { channel: Some("db-2".into()), ..score.clone() };
    assert_eq!(named.others_channel(&seen), None);
    let numbered = BondScore { id: Some(1), ..named };
    assert!(numbered.others_channel(&seen).is_some());
    // What was prepared with exactly these ports, or was this host's, is its own.
    seen.switch.running.lags.insert(1, of(["1/1/1", "1/1/2"]));
    assert_eq!(score.others_channel(&seen), None);
    seen.host.startup =
        Some(HostBond { ports: BTreeSet::from([port("1/1/3"), port("1/1/4")]), ..score.host_bond(&seen) });
    seen.switch.running.lags.insert(1, of(["1/1/3", "1/1/4"]));
    assert_eq!(score.others_channel(&seen), None);
}

#[test]
fn declared_ports_that_do_not_lead_here_are_doubted() {
    let score = BondScore { ports: BTreeSet::from([port("1/1/1"), port("1/1/4")]), ..score() };
    let mut seen = found(&BondScore { ports: BTreeSet::new(), ..score.clone() });
    seen.ports = score.ports.clone();
    let doubts = score.doubts(&seen);
    assert_eq!(doubts, ["eth2 (02:00:00:00:00:02) is seen on 1/1/2, which is none of the `ports`"]);
    // One that is silent may be anywhere, and what was set once is known.
    seen.surroundings.addresses.remove(&port("1/1/2"));
    assert_eq!(score.doubts(&seen), Vec::<String>::new());
    seen.surroundings.addresses.insert(Port::channel(9), BTreeSet::from([mac(2)]));
    assert!(score.doubts(&seen)[0].contains("is seen on lg9"));
    seen.host.running = Some(score.host_bond(&seen));
    assert_eq!(score.doubts(&seen), Vec::<String>::new());
}

#[test]
fn what_stands_against_it_on_the_host_is_said() {
    let objections = |score: &BondScore, change: &dyn Fn(&mut HostLinks)| {
        let mut host = host();
        change(&mut host);
        score.objections(&host).join("; ")
    };
    let plain = score();
    assert_eq!(objections(&plain, &|_| {}), "");
    let with = |address: &'static str| {
        move |host: &mut HostLinks| {
            host.links.get_mut("eth1").unwrap().addresses.insert(address.into());
        }
    };
    // What moves to the bond is not lost, nor is what every link has.
    assert_eq!(objections(&plain, &with("10.0.0.5/24")), "");
    assert_eq!(objections(&plain, &with("fe80::1/64")), "");
    assert!(objections(&plain, &with("10.0.0.6/24")).contains("eth1 would lose 10.0.0.6/24"));
    let careless = BondScore { lose_addresses: true, ..score() };
    assert_eq!(objections(&careless, &with("10.0.0.6/24")), "");
    assert!(
        objections(&plain, &|host| drop(host.links.remove("eth2"))).contains("there is no interface eth2; there are")
    );
    let tagged = |host: &mut HostLinks| {
        host.links.get_mut("eth2").unwrap().above.insert("eth2.20".into());
    };
    assert!(objections(&plain, &tagged).contains("eth2 carries eth2.20, which would be cut off"));
    let member =
        |of: &'static str| move |host: &mut HostLinks| host.links.get_mut("eth2").unwrap().master = Some(of.into());
    assert!(objections(&plain, &member("br0")).contains("eth2 is a member of br0"));
    assert_eq!(objections(&plain, &member("bond0")), "");
    let there = |host: &mut HostLinks| drop(host.links.insert("bond0".into(), HostLink::default()));
    assert!(objections(&plain, &there).contains("which no declaration has made"));
    let mut seen = found(&plain);
    plain.plan(&seen).iter().for_each(|step| take(step, &mut seen));
    assert_eq!(plain.objections(&seen.host), Vec::<String>::new());
    let moved = BondScore { device: "rack-4".parse().unwrap(), ..score() };
    assert!(moved.objections(&seen.host)[0].contains("declared with the switch `rack-3` already"));
}

#[test]
fn what_makes_no_sense_is_refused_by_field() {
    let nics = |nics: &[&str]| BondScore { nics: nics.iter().map(|nic| (*nic).to_owned()).collect(), ..score() };
    let cases = [
        (BondScore { name: "bond 0".into(), ..score() }, "name"),
        (BondScore { name: "a-name-that-is-too-long".into(), ..score() }, "name"),
        (nics(&[]), "nics"),
        (nics(&["eth0", "../x"]), "nics"),
        (nics(&["bond0"]), "nics"),
        (BondScore { ports: BTreeSet::from([port("1/1/1")]), ..score() }, "ports"),
        (BondScore { ports: BTreeSet::from([port("1/1/1"), port("lg2")]), ..score() }, "ports"),
        (BondScore { addresses: BTreeSet::from(["10.0.0.5".into()]), ..score() }, "addresses"),
        (BondScore { addresses: BTreeSet::from(["10.0.0.5/33".into()]), ..score() }, "addresses"),
        (BondScore { channel: Some("a b".into()), ..score() }, "channel"),
        (BondScore { id: Some(0), ..score() }, "id"),
    ];
    for (bad, field) in cases {
        let invalid = bad.check().unwrap_err();
        assert_eq!(invalid.path, field, "{invalid}");
        let _subject = bad.subject();
    }
    score().check().unwrap();
    assert_eq!(score().subject().as_str(), "bond/rack-3/bond0");
    let text = crate::score::payload(&score()).unwrap();
    assert_eq!(crate::score::parse::<BondScore>(&text).unwrap(), score());
    assert!(crate::score::parse::<BondScore>(&text.replace("\"nics\"", "\"nisc\"")).is_err());
}
