//! Two hosts, each behind a NAT of its own, and a public network between them.

use std::net::Ipv4Addr;

use super::{Namespace, Port, Quality, cable};

/// How a NAT chooses the public port of a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nat {
    /// The same as the private one wherever it is free: two such hosts find a direct path by sending to each other at
    /// the same time.
    PortPreserving,
    /// A random one for every destination (symmetric): a direct path cannot be found, only a relay helps.
    FullyRandom,
}

/// One of the two hosts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// 10.1.0.2 behind 203.0.113.101.
    A,
    /// 10.2.0.2 behind 203.0.113.102.
    B,
}

/// `a` – NAT – public network – NAT – `b`. The public network is a bridge, on which a relay can run at
/// [`TwoNats::RELAY`]. Nothing that was not asked for from inside passes a NAT.
#[derive(Debug)]
pub struct TwoNats {
    ports: [Port; 2],
    hosts: [Namespace; 2],
    routers: [Namespace; 2],
    public: Namespace,
}

impl TwoNats {
    /// The address of the public network's own host.
    pub const RELAY: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 10);

    /// Two NATs of one sort.
    #[track_caller]
    pub fn new(nat: Nat) -> Self {
        Self::with(nat, nat, None)
    }

    /// Two NATs of any sort; with a quality, the cable between each and the public network is so.
    #[track_caller]
    pub fn with(a: Nat, b: Nat, quality: Option<Quality>) -> Self {
        let public = Namespace::new("public");
        public.ip("link add br0 type bridge");
        public.ip(&format!("addr add {}/24 dev br0", Self::RELAY));
        public.ip("link set br0 up");
        let (host_a, router_a, port_a) = half(&public, Side::A, a, quality);
        let (host_b, router_b, port_b) = half(&public, Side::B, b, quality);
        Self { ports: [port_a, port_b], hosts: [host_a, host_b], routers: [router_a, router_b], public }
    }

    /// The host of a side.
    pub fn host(&self, side: Side) -> &Namespace {
        pick(&self.hosts, side)
    }

    /// Host `a`.
    pub fn a(&self) -> &Namespace {
        self.host(Side::A)
    }

    /// Host `b`.
    pub fn b(&self) -> &Namespace {
        self.host(Side::B)
    }

    /// The NAT of a side.
    pub fn router(&self, side: Side) -> &Namespace {
        pick(&self.routers, side)
    }

    /// The public network's own host, at [`TwoNats::RELAY`].
    pub fn public(&self) -> &Namespace {
        &self.public
    }

    /// The port of a side's NAT in the public network, where its cable can be broken.
    pub fn port(&self, side: Side) -> &Port {
        pick(&self.ports, side)
    }

    /// The private address of a side's host.
    pub fn private_address(side: Side) -> Ipv4Addr {
        Ipv4Addr::new(10, side.number(), 0, 2)
    }

    /// The public address that a side's NAT has at first.
    pub fn public_address(side: Side) -> Ipv4Addr {
        Ipv4Addr::new(203, 0, 113, 100 + side.number())
    }

    /// Gives a side's NAT another public address, as a provider does at night: every mapping it had is void.
    #[track_caller]
    pub fn set_public_address(&self, side: Side, address: Ipv4Addr) {
        let router = self.router(side);
        router.ip("addr flush dev wan scope global");
        router.ip(&format!("addr add {address}/24 dev wan"));
    }
}

impl Side {
    fn number(self) -> u8 {
        match self {
            Self::A => 1,
            Self::B => 2,
        }
    }
}

fn pick<T>(pair: &[T; 2], side: Side) -> &T {
    let [a, b] = pair;
    match side {
        Side::A => a,
        Side::B => b,
    }
}

/// One host with its NAT, connected to the public network.
#[track_caller]
fn half(public: &Namespace, side: Side, nat: Nat, quality: Option<Quality>) -> (Namespace, Namespace, Port) {
    let (label, number) = match side {
        Side::A => ("a", 1),
        Side::B => ("b", 2),
    };
    let host = Namespace::new(label);
    let router = Namespace::new(&format!("nat-{label}"));
    let none = cable((&host, "eth0"), (&router, "lan"), None);
    debug_assert!(none.is_none(), "a plain cable has no thread");
    host.ip(&format!("addr add {}/24 dev eth0", TwoNats::private_address(side)));
    host.ip("link set eth0 up");
    router.ip(&format!("addr add 10.{number}.0.1/24 dev lan"));
    router.ip("link set lan up");
    host.ip(&format!("route add default via 10.{number}.0.1"));

    let device = format!("p{label}");
    let wire = cable((public, &device), (&router, "wan"), quality);
    public.ip(&format!("link set {device} master br0 up"));
    router.ip(&format!("addr add {}/24 dev wan", TwoNats::public_address(side)));
    router.ip("link set wan up");
    router.sh("echo 1 > /proc/sys/net/ipv4/ip_forward");
    let masquerade = match nat {
        Nat::PortPreserving => "masquerade",
        Nat::FullyRandom => "masquerade fully-random",
    };
    router.nft(&RULES.replace("MASQUERADE", masquerade));
    let port = Port::new((public, &device), (&router, "wan"), wire);
    (host, router, port)
}

const RULES: &str = r#"
table ip nat {
    chain leaving {
        type nat hook postrouting priority 100;
        oifname "wan" MASQUERADE
    }
}
table inet filter {
    chain through {
        type filter hook forward priority 0; policy drop;
        iifname "lan" accept
        ct state established,related accept
    }
    chain inward {
        type filter hook input priority 0; policy drop;
        iifname { "lo", "lan" } accept
        ct state established,related accept
        icmp type echo-request accept
    }
}
"#;
