//! What a simulated switch is set to, and what is plugged into it.

use std::collections::{BTreeMap, BTreeSet};

use crate::ports::{Member, PortId};

/// Everything that a running configuration says.
#[derive(Clone, Debug)]
pub(crate) struct Model {
    pub(crate) hostname: String,
    pub(crate) ports: BTreeMap<PortId, Port>,
    pub(crate) lags: BTreeMap<u16, Lag>,
    pub(crate) vlans: BTreeMap<u16, Vlan>,
    /// Lines of `snmp-server`, as they were typed.
    pub(crate) snmp: Vec<String>,
    pub(crate) lldp: bool,
}

/// What can be set on a port and on a LAG.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Settings {
    pub(crate) name: Option<String>,
    pub(crate) disabled: bool,
    pub(crate) edge: bool,
    /// `ip address`: layer 3.
    pub(crate) address: Option<String>,
    /// Untagged VLAN of a port that is tagged elsewhere, in the old syntax of FastIron.
    pub(crate) dual_mode: Option<u16>,
    /// Of Network OS.
    pub(crate) switchport: Option<Switchport>,
    /// `vlag ignore-split`, of Network OS.
    pub(crate) ignore_split: bool,
}

/// Layer 2 of an interface of Network OS.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Switchport {
    pub(crate) trunk: bool,
    pub(crate) access: Option<u16>,
    pub(crate) all: bool,
    pub(crate) allowed: BTreeSet<u16>,
    pub(crate) native: Option<u16>,
}

#[derive(Clone, Debug)]
pub(crate) struct Port {
    /// Megabits a second.
    pub(crate) speed: u32,
    /// Whether a cable with something at its other end is plugged in.
    pub(crate) link: bool,
    pub(crate) settings: Settings,
    /// `channel-group` of Network OS.
    pub(crate) group: Option<Group>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Group {
    pub(crate) id: u16,
    pub(crate) mode: GroupMode,
    /// `type brocade` instead of `standard`.
    pub(crate) brocade: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GroupMode {
    Active,
    Passive,
    On,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LagKind {
    Static,
    Dynamic,
    KeepAlive,
}

impl LagKind {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Static => "static",
            Self::Dynamic => "dynamic",
            Self::KeepAlive => "keep-alive",
        }
    }
}

/// A LAG of FastIron, or an `interface Port-channel` of Network OS.
#[derive(Clone, Debug)]
pub(crate) struct Lag {
    pub(crate) name: String,
    pub(crate) kind: LagKind,
    pub(crate) ports: BTreeSet<PortId>,
    pub(crate) primary: Option<PortId>,
    pub(crate) deployed: bool,
    pub(crate) port_names: BTreeMap<PortId, String>,
    pub(crate) settings: Settings,
}

impl Lag {
    pub(crate) fn new(name: &str, kind: LagKind) -> Self {
        Self {
            name: name.to_owned(),
            kind,
            ports: BTreeSet::new(),
            primary: None,
            deployed: false,
            port_names: BTreeMap::new(),
            settings: Settings::default(),
        }
    }
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Vlan {
    pub(crate) name: Option<String>,
    pub(crate) tagged: BTreeSet<Member>,
    pub(crate) untagged: BTreeSet<Member>,
    pub(crate) stp: bool,
    pub(crate) router: Option<u16>,
}

/// Something at the other end of a cable.
#[derive(Clone, Debug)]
pub(crate) struct Neighbour {
    pub(crate) mac: [u8; 6],
    pub(crate) port: String,
    pub(crate) name: String,
}

/// An entry of the table of addresses.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Learnt {
    pub(crate) mac: [u8; 6],
    pub(crate) port: PortId,
    pub(crate) vlan: u16,
}

impl Model {
    /// The LAG that a port is in, deployed or not.
    pub(crate) fn lag_of(&self, port: PortId) -> Option<(u16, &Lag)> {
        self.lags.iter().find(|(_, lag)| lag.ports.contains(&port)).map(|(id, lag)| (*id, lag))
    }

    /// The VLANs in which something is tagged.
    pub(crate) fn tagged_in(&self, member: Member) -> BTreeSet<u16> {
        self.vlans.iter().filter(|(_, vlan)| vlan.tagged.contains(&member)).map(|(id, _)| *id).collect()
    }

    /// The VLAN, other than the default one, in which something is untagged.
    pub(crate) fn untagged_in(&self, member: Member) -> Option<u16> {
        self.vlans.iter().find(|(id, vlan)| **id != DEFAULT_VLAN && vlan.untagged.contains(&member)).map(|(id, _)| *id)
    }

    /// The MAC address of a port, made of its place.
    pub(crate) fn mac_of(port: PortId) -> [u8; 6] {
        let low = u8::try_from(port.port % 256).unwrap_or_default();
        let unit = u8::try_from(port.unit % 256).unwrap_or_default();
        let slot = u8::try_from(port.slot % 256).unwrap_or_default();
        [0xcc, 0x4e, 0x24, 0x39 + unit, 0x20 + slot, low]
    }
}

/// `cc4e.2439.2a40`
pub(crate) fn dotted(mac: [u8; 6]) -> String {
    let [a, b, c, d, e, f] = mac;
    format!("{a:02x}{b:02x}.{c:02x}{d:02x}.{e:02x}{f:02x}")
}

/// The VLAN that ports are in when nothing is said.
pub(crate) const DEFAULT_VLAN: u16 = 1;

/// The numbers that VLANs may have on both systems, and the highest that may be configured.
pub(crate) const HIGHEST_VLAN: u16 = 4090;
