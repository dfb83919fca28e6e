//! Hosts on one switch.

use std::net::Ipv4Addr;

use super::{Namespace, Port, Quality, cable, ip};

/// A bridge, and hosts on it with the addresses 10.77.0.10, .11 and so on. The bridge itself is 10.77.0.1.
#[derive(Debug)]
pub struct Lan {
    // Dropped in this order: cables before their ends.
    ports: Vec<Port>,
    addresses: Vec<Ipv4Addr>,
    hosts: Vec<Namespace>,
    switch: Namespace,
}

impl Lan {
    /// The address of the bridge.
    pub const SWITCH: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);

    /// A network of so many hosts, numbered from 0. More can be attached.
    #[track_caller]
    pub fn new(hosts: usize) -> Self {
        let switch = Namespace::new("switch");
        switch.ip("link add br0 type bridge");
        switch.ip(&format!("addr add {}/24 dev br0", Self::SWITCH));
        switch.ip("link set br0 up");
        let mut lan = Self { ports: Vec::new(), addresses: Vec::new(), hosts: Vec::new(), switch };
        for number in 0..hosts {
            let host = Namespace::new(&format!("host{number}"));
            lan.attach(&host);
            lan.hosts.push(host);
        }
        lan
    }

    /// The namespace of a host that this network was made with.
    #[track_caller]
    pub fn host(&self, number: usize) -> &Namespace {
        self.hosts.get(number).unwrap_or_else(|| panic!("this network has no host {number} of its own"))
    }

    /// The address of a host.
    #[track_caller]
    pub fn address(&self, number: usize) -> Ipv4Addr {
        *self.addresses.get(number).unwrap_or_else(|| panic!("this network has no host {number}"))
    }

    /// The port of a host, where its cable can be broken.
    #[track_caller]
    pub fn port(&self, number: usize) -> &Port {
        self.ports.get(number).unwrap_or_else(|| panic!("this network has no host {number}"))
    }

    /// The namespace of the bridge: a place for servers that every host reaches, at [`Lan::SWITCH`].
    pub fn switch(&self) -> &Namespace {
        &self.switch
    }

    /// Connects a namespace that exists, a machine's for example, by a new interface `eth0`; gives its number.
    #[track_caller]
    pub fn attach(&mut self, host: &Namespace) -> usize {
        self.connect(host, None)
    }

    /// [`Lan::attach`] by a cable that delays and loses.
    #[track_caller]
    pub fn attach_by(&mut self, host: &Namespace, quality: Quality) -> usize {
        self.connect(host, Some(quality))
    }

    /// Gives a host another address in 10.77.0.0/24, as DHCP does after a move; existing connections break.
    #[track_caller]
    pub fn set_address(&mut self, number: usize, address: Ipv4Addr) {
        let host = self.port(number).host().to_owned();
        ip(&host, "addr flush dev eth0 scope global");
        assign(&host, address);
        if let Some(known) = self.addresses.get_mut(number) {
            *known = address;
        }
    }

    #[track_caller]
    fn connect(&mut self, host: &Namespace, quality: Option<Quality>) -> usize {
        let number = self.ports.len();
        let last = u8::try_from(number).ok().and_then(|number| number.checked_add(10)).filter(|last| *last < 255);
        let Some(last) = last else { panic!("the network 10.77.0.0/24 is full") };
        let address = Ipv4Addr::new(10, 77, 0, last);
        let device = format!("p{number}");
        let wire = cable((&self.switch, &device), (host, "eth0"), quality);
        self.switch.ip(&format!("link set {device} master br0 up"));
        host.ip("link set eth0 up");
        assign(host.name(), address);
        self.ports.push(Port::new((&self.switch, &device), (host, "eth0"), wire));
        self.addresses.push(address);
        number
    }
}

/// Gives `eth0` an address and the routes that a host has: the default one, over which multicast goes too.
#[track_caller]
fn assign(host: &str, address: Ipv4Addr) {
    ip(host, &format!("addr add {address}/24 dev eth0"));
    ip(host, &format!("route replace default via {} dev eth0", Lan::SWITCH));
}
