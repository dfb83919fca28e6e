//! `net.bond/1`: interfaces of a host bonded by LACP, and the port channel of the switch that they are plugged into, as
//! one change.
//!
//! The host's side is set first: a bond without a partner still carries traffic by one of its ports, while ports of a
//! switch that wait for LACP carry none. Both sides have a state that is in force and one that is there after a boot; the
//! second is written when LACP has been seen on every port from both ends, a coordinator has answered if one did before,
//! and the checks have passed.

mod back;
mod host;
mod notes;
mod plan;
mod play;
mod plugged;

use std::collections::BTreeSet;
use std::net::IpAddr;

use protocols::{Kind, Name, Subject};
use serde::{Deserialize, Serialize};

pub use host::{AdMember, AdState, HostBond, HostLink, HostLinks, HostNetwork};
pub use plan::{BondObserved, BondStep};
pub use plugged::{Plugged, Surroundings};

use crate::switch::{LagMode, Media, Port, PortChannelScore};
use crate::{Invalid, Score};

/// A bond that shall be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BondScore {
    /// What it is called on the host.
    pub name: String,
    /// The interfaces of the host that are bonded.
    pub nics: BTreeSet<String>,
    /// The switch that they are plugged into.
    pub device: Name,
    /// What the port channel is called there; as the bond if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
    /// The id of the port channel. Where nothing is said it keeps the one it has, or gets the lowest that is free.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<u16>,
    /// The ports that they are plugged into. Where nothing is said, the switch is asked behind which ports it sees them.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub ports: BTreeSet<Port>,
    /// The addresses of the bond, with the length of their prefix: `10.0.0.5/24`.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub addresses: BTreeSet<String>,
    /// Its gateways.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub gateways: BTreeSet<IpAddr>,
    /// Whether it asks for addresses by DHCP.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dhcp: bool,
    /// Whether addresses that the interfaces have now, and that the bond is not declared to have, may go.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub lose_addresses: bool,
}

impl Score for BondScore {
    const KIND: Kind = Kind::from_static("net.bond/1");

    fn subject(&self) -> Subject {
        let text = |name: &str| format!("bond/{}/{name}", self.device);
        // A name that `check` refuses need not be told from others.
        let subject = text(&self.name).parse().or_else(|_| text("-").parse());
        subject.unwrap_or_else(|_| unreachable!("a name is a part of a subject"))
    }

    fn check(&self) -> Result<(), Invalid> {
        interface("name", &self.name)?;
        for nic in &self.nics {
            interface("nics", nic)?;
        }
        if self.nics.contains(&self.name) {
            return Err(Invalid::at("nics", "the bond is none of its own members"));
        }
        if !(1..=NICS_MAX).contains(&self.nics.len()) {
            return Err(Invalid::at("nics", format!("there are {} and may be 1 to {NICS_MAX}", self.nics.len())));
        }
        if !self.ports.is_empty() && self.ports.len() != self.nics.len() {
            let why = format!("there are {} for {} interfaces: declare all or none", self.ports.len(), self.nics.len());
            return Err(Invalid::at("ports", why));
        }
        if self.addresses.len() > ADDRESSES_MAX || self.gateways.len() > ADDRESSES_MAX {
            return Err(Invalid::at("addresses", format!("there may be {ADDRESSES_MAX} addresses and gateways")));
        }
        if let Some(bad) = self.addresses.iter().find(|address| cidr(address).is_none()) {
            let bad: String = bad.chars().take(60).collect();
            return Err(Invalid::at("addresses", format!("`{}` is not like 10.0.0.5/24", bad.escape_default())));
        }
        // What the switch's own score says of the name, the id and the ports.
        let ports = if self.ports.is_empty() {
            Port::new(Media::Plain, &[1]).into_iter().collect()
        } else {
            self.ports.clone()
        };
        self.port_channel(ports).check().map_err(|invalid| match invalid.path.as_str() {
            "name" => Invalid::at("channel", invalid.why),
            "members" => Invalid::at("ports", invalid.why),
            _ => invalid,
        })
    }
}

impl BondScore {
    /// What is declared of the switch, where these are the ports.
    pub fn port_channel(&self, ports: BTreeSet<Port>) -> PortChannelScore {
        PortChannelScore {
            device: self.device.clone(),
            name: self.channel.clone().unwrap_or_else(|| self.name.clone()),
            id: self.id,
            mode: LagMode::Lacp,
            members: ports,
            description: None,
            absent: false,
        }
    }
}

/// A name that the kernel takes for an interface, and that is the same in every file.
fn interface(field: &str, text: &str) -> Result<(), Invalid> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let starts = text.starts_with(|c: char| c.is_ascii_alphanumeric());
    if text.len() > INTERFACE_BYTES_MAX || !starts || !text.chars().all(plain) {
        let text: String = text.chars().take(40).collect();
        let why = format!("`{}` is no name of an interface: at most 15 letters, digits, - _ .", text.escape_default());
        return Err(Invalid::at(field, why));
    }
    Ok(())
}

/// An address and the length of its prefix.
fn cidr(text: &str) -> Option<(IpAddr, u8)> {
    let (address, length) = text.split_once('/')?;
    let address: IpAddr = address.parse().ok()?;
    let length: u8 = length.parse().ok()?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    (length <= most).then_some((address, length))
}

/// The longest name of an interface, in bytes.
const INTERFACE_BYTES_MAX: usize = 15;
/// The most interfaces of a bond: as many as a port channel has ports on every family.
const NICS_MAX: usize = 16;
/// The most addresses of a bond.
const ADDRESSES_MAX: usize = 32;

#[cfg(test)]
mod tests;
