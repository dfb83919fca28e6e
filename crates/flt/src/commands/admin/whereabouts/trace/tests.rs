use protocols::facts::Interface;
use protocols::facts::device::ChannelFact;

use super::*;

fn mac(n: u8) -> Mac {
    Mac::new([2, 0, 0, 0, 0, n])
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

/// A node with these physical interfaces.
fn host(told: &mut Told, node: &str, nics: &[(&str, u8)]) {
    let fact = |(name, n): &(&str, u8)| {
        let mac = Some(mac(*n).to_string());
        ((*name).to_owned(), Interface { mac, physical: true, ..Interface::default() })
    };
    let facts = StableFacts {
        hostname: Some(format!("{node}.example")),
        interfaces: nics.iter().map(fact).collect(),
        ..StableFacts::default()
    };
    told.host(&name(node), &facts);
}

fn switch(told: &mut Told, device: &str, ports: &[(&str, &[u8])]) {
    let addresses =
        ports.iter().map(|(port, macs)| ((*port).to_owned(), macs.iter().map(|n| mac(*n)).collect())).collect();
    told.tables.push(Table {
        device: name(device),
        agent: name("edge-1"),
        age_seconds: Some(7),
        facts: DeviceFacts { addresses, ..DeviceFacts::default() },
    });
}

fn neighbour(told: &mut Told, device: &str, port: &str, chassis: &str, far: Option<&str>) {
    let table = told.tables.iter_mut().find(|table| table.device.as_str() == device).unwrap();
    table.facts.neighbours.push(NeighbourFact {
        port: port.into(),
        chassis: chassis.into(),
        far_port: "x".into(),
        name: far.map(str::to_owned),
        fabric: false,
    });
}

fn seen(told: &Told, n: u8) -> Vec<(String, String, How)> {
    let places = told.places(&told.nic_of(mac(n)));
    places.into_iter().map(|place| (place.device.to_string(), place.port, place.how)).collect()
}

fn is(device: &str, port: &str, how: How) -> (String, String, How) {
    (device.into(), port.into(), how)
}

#[test]
fn the_port_without_a_switch_behind_it_is_the_edge() {
    let mut told = Told::default();
    host(&mut told, "db-1", &[("eth0", 1)]);
    // The uplink has seen fewer addresses than the port of a host with virtual machines.
    switch(&mut told, "rack-3", &[("1/1/7", &[1, 2, 3])]);
    switch(&mut told, "spine", &[("1/3/1", &[1])]);
    neighbour(&mut told, "spine", "1/3/1", "cc4e.2439.2a40", Some("rack-3"));
    assert_eq!(seen(&told, 1), [is("rack-3", "1/1/7", How::Edge), is("spine", "1/3/1", How::Through)]);
    // By way of what the neighbour says: a virtual machine's address behind a node of the fleet.
    neighbour(&mut told, "rack-3", "1/1/7", "0200.0000.0001", None);
    assert_eq!(seen(&told, 3), [is("rack-3", "1/1/7", How::Edge)]);
    let place = told.places(&told.nic_of(mac(1))).remove(0);
    assert_eq!((place.neighbour.as_deref(), place.nic.as_deref(), place.addresses), (Some("db-1"), Some("eth0"), 3));
}

#[test]
fn without_lldp_the_fewest_addresses_tell() {
    let mut told = Told::default();
    switch(&mut told, "a", &[("1/1/1", &[1]), ("1/1/48", &[2, 3])]);
    switch(&mut told, "b", &[("1/1/48", &[1, 9]), ("1/1/2", &[2]), ("1/1/3", &[3])]);
    assert_eq!(seen(&told, 1), [is("a", "1/1/1", How::Edge), is("b", "1/1/48", How::Through)]);
    assert_eq!(seen(&told, 2), [is("a", "1/1/48", How::Through), is("b", "1/1/2", How::Edge)]);
    switch(&mut told, "c", &[("1/1/9", &[3])]);
    assert_eq!(seen(&told, 3).iter().filter(|(_, _, how)| *how == How::Unclear).count(), 2, "{:?}", seen(&told, 3));
    assert_eq!(seen(&told, 77), []);
    // Many addresses and nothing that says what is there.
    let many: Vec<u8> = (100..200).collect();
    switch(&mut told, "d", &[("1/1/1", &many)]);
    assert_eq!(seen(&told, 100), [is("d", "1/1/1", How::Unclear)]);
    // It says so itself, although it is no node of the fleet.
    switch(&mut told, "f", &[("1/1/1", &[202, 203])]);
    neighbour(&mut told, "f", "1/1/1", "0200.0000.00ca", Some("printer"));
    assert_eq!(seen(&told, 202), [is("f", "1/1/1", How::Edge)]);
    assert_eq!(seen(&told, 203), [is("f", "1/1/1", How::Through)]);
    // Only by way of others.
    switch(&mut told, "e", &[("1/1/1", &[201])]);
    neighbour(&mut told, "e", "1/1/1", "cc4e.2439.2a40", Some("core"));
    assert_eq!(seen(&told, 201), [is("e", "1/1/1", How::Through)]);
}

#[test]
fn a_port_channel_is_its_members_and_a_bond_is_its_ports() {
    let mut told = Told::default();
    host(&mut told, "db-1", &[("eth1", 1), ("eth2", 2)]);
    switch(&mut told, "rack-3", &[("lg5", &[1])]);
    let members = BTreeMap::from([("1/1/7".to_owned(), Some(true)), ("1/1/8".to_owned(), None)]);
    let channel = ChannelFact { name: Some("db".into()), lacp: true, members };
    told.tables[0].facts.channels.insert("lg5".into(), channel);
    // LLDP is told by the members.
    neighbour(&mut told, "rack-3", "1/1/8", "0200.0000.0002", None);
    let nics = told.nics_of(&name("db-1"));
    let places = told.places(&nics[0]);
    assert_eq!((places[0].members.join(" "), places[0].how), ("1/1/7 1/1/8".to_owned(), How::Edge));
    assert_eq!(places[0].neighbour.as_deref(), Some("db-1"));
    assert!(told.places(&nics[1]).is_empty());
    // What is at the other end of one member is enough to know that it leads on.
    neighbour(&mut told, "rack-3", "1/1/7", "cc4e.2439.2a40", Some("core"));
    assert_eq!(told.places(&nics[0])[0].how, How::Through);
}

#[test]
fn a_switch_that_two_nodes_manage_counts_once() {
    let mut told = Told::default();
    let table = |device: &str, agent: &str, age, serial: Option<&str>, port: &str| {
        let unit = protocols::facts::device::UnitFact { id: 1, model: None, serial: serial.map(str::to_owned) };
        let addresses = BTreeMap::from([(port.to_owned(), BTreeSet::from([mac(1)]))]);
        let facts = DeviceFacts { addresses, units: vec![unit], ..DeviceFacts::default() };
        Table { device: name(device), agent: name(agent), age_seconds: Some(age), facts }
    };
    told.switch(table("rack-3", "edge-1", 90, None, "1/1/1"));
    told.switch(table("rack-3", "edge-2", 5, Some("FEE1"), "1/1/2"));
    told.switch(table("rack-three", "edge-3", 7, Some("FEE1"), "1/1/1"));
    assert_eq!(seen(&told, 1), [is("rack-3", "1/1/2", How::Edge)]);
    // One that tells of the whole stack tells of the same switch.
    let mut whole = table("stack", "edge-4", 3, Some("FEE1"), "1/1/3");
    let second = protocols::facts::device::UnitFact { id: 2, model: None, serial: Some("FEE2".into()) };
    whole.facts.units.push(second);
    told.switch(whole);
    assert_eq!(seen(&told, 1), [is("stack", "1/1/3", How::Edge)]);
}

#[test]
fn names_are_believed_where_they_are_one_node_alone() {
    let mut told = Told::default();
    for (node, n) in [("database-main-1", 1), ("database-main-2", 2), ("web", 3)] {
        host(&mut told, node, &[("eth0", n)]);
    }
    switch(&mut told, "rack-3", &[("1/1/1", &[50]), ("1/1/2", &[51]), ("1/1/3", &[52])]);
    neighbour(&mut told, "rack-3", "1/1/1", "?", Some("database-mai~"));
    neighbour(&mut told, "rack-3", "1/1/2", "?", Some("WEB.example"));
    neighbour(&mut told, "rack-3", "1/1/3", "?", Some("~"));
    let how = |n| told.places(&told.nic_of(mac(n)))[0].how;
    assert_eq!((how(50), how(51), how(52)), (How::Through, How::Edge, How::Through));
}

#[test]
fn what_the_kernel_made_is_an_interface_only_with_an_address_of_its_own() {
    let mut told = Told::default();
    let of = |n, physical, permanent: Option<u8>| Interface {
        mac: Some(mac(n).to_string()),
        physical,
        permanent: permanent.map(|n| mac(n).to_string()),
        ..Interface::default()
    };
    let interfaces = BTreeMap::from([
        ("bond0".to_owned(), of(1, false, None)),
        ("eth1".to_owned(), of(1, true, None)),
        ("eth2".to_owned(), of(1, true, Some(2))),
        ("tap0".to_owned(), of(9, false, None)),
        ("wg0".to_owned(), Interface::default()),
    ]);
    told.host(&name("db-1"), &StableFacts { interfaces, ..StableFacts::default() });
    let nics = told.nics_of(&name("db-1"));
    let names: Vec<&str> = nics.iter().filter_map(|nic| nic.nic.as_deref()).collect();
    assert_eq!(names, ["eth1", "eth2", "tap0"]);
    assert_eq!(nics[1].macs, [mac(1), mac(2)]);
}
