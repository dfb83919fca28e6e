//! What a bond asks of a host.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use protocols::{Mac, Name};
use serde::{Deserialize, Serialize};

use super::cidr;
use crate::switch::Port;
use crate::{DeviceError, Topology};

/// A host whose interfaces can be bonded.
#[diagnostic::on_unimplemented(
    message = "the network of `{Self}` cannot be set",
    label = "needs the capability `HostNetwork`"
)]
pub trait HostNetwork: Topology {
    /// Its interfaces, and what is known of the bond of this name.
    fn look(&self, bond: &str) -> impl Future<Output = Result<HostLinks, DeviceError>> + Send;

    /// What it takes to bring back what is there now of this bond, as a text that only this host reads. Nothing changes.
    fn record(&self, bond: &str) -> impl Future<Output = Result<String, DeviceError>> + Send;

    /// Makes the bond, now and until the next boot. Done twice, it is as if done once.
    fn set(&self, bond: &HostBond) -> impl Future<Output = Result<(), DeviceError>> + Send;

    /// Sees to it that the bond is there after a boot, too. Done twice, it is as if done once.
    fn keep(&self, bond: &HostBond) -> impl Future<Output = Result<(), DeviceError>> + Send;

    /// Brings back what was recorded, and returns `Ok` only when it has made sure that it is there again. Done twice, it
    /// is as if done once; also when nothing was changed.
    fn put_back(&self, bond: &str, record: &str) -> impl Future<Output = Result<(), DeviceError>> + Send;
}

/// A bond as it is set on a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostBond {
    /// What it is called.
    pub name: String,
    /// Its members.
    pub nics: BTreeSet<String>,
    /// Its hardware address: that of its first member, so that the switch and DHCP know it.
    pub mac: Option<Mac>,
    /// Its addresses, with the length of their prefix.
    pub addresses: BTreeSet<String>,
    /// Its gateways.
    pub gateways: BTreeSet<IpAddr>,
    /// Whether it asks for addresses by DHCP.
    pub dhcp: bool,
    /// The switch at the other end. Kept with the bond, because its members are not told apart once it is there.
    pub device: Name,
    /// The ports at the other end.
    pub ports: BTreeSet<Port>,
}

/// What was found on a host.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct HostLinks {
    /// Its interfaces, by name.
    pub links: BTreeMap<String, HostLink>,
    /// The bond as it was set, where it was set by a declaration and nobody has changed that since.
    pub running: Option<HostBond>,
    /// The bond that will be there after a boot.
    pub startup: Option<HostBond>,
    /// Whether the host is set up for something of this name by somebody else.
    pub foreign: Option<String>,
    /// How the bond fares, where there is one.
    pub state: Option<AdState>,
}

/// An interface.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct HostLink {
    /// The address that it was made with.
    pub mac: Option<Mac>,
    /// Its addresses, with the length of their prefix, without those that every link has.
    pub addresses: BTreeSet<String>,
    /// The bond or bridge that it is a member of.
    pub master: Option<String>,
    /// Interfaces that are made of it, beside that: VLANs, for example.
    pub above: BTreeSet<String>,
    /// Whether its link is up.
    pub up: bool,
}

/// How a bond by 802.3ad fares.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct AdState {
    /// Whether it speaks LACP.
    pub lacp: bool,
    /// The aggregator that carries traffic.
    pub aggregator: Option<u16>,
    /// The system at the other end; nothing where none has spoken.
    pub partner: Option<Mac>,
    /// Its members.
    pub members: BTreeMap<String, AdMember>,
}

/// How a member of a bond fares.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct AdMember {
    /// Whether its link is up.
    pub up: bool,
    /// The aggregator that it is in.
    pub aggregator: Option<u16>,
}

impl AdState {
    /// What is not yet as it is when both ends speak LACP on every member.
    pub(super) fn lacking(&self, nics: &BTreeSet<String>) -> Vec<String> {
        let mut all = Vec::new();
        if !self.lacp {
            all.push("the bond does not speak LACP".to_owned());
        }
        if self.partner.is_none() {
            all.push("nothing speaks LACP at the other end of the bond".to_owned());
        }
        for nic in nics {
            match self.members.get(nic) {
                None => all.push(format!("{nic} is not in the bond")),
                Some(member) if !member.up => all.push(format!("{nic} has no link")),
                Some(member) if member.aggregator.is_none() || member.aggregator != self.aggregator => {
                    all.push(format!("{nic} does not carry traffic with the others"));
                }
                Some(_) => {}
            }
        }
        let more = self.members.keys().filter(|nic| !nics.contains(*nic));
        all.extend(more.map(|nic| format!("{nic} is in the bond, too")));
        all
    }
}

/// Whether an address would be missed: one that every link gives itself is not.
pub(super) fn is_missed(address: &str) -> bool {
    cidr(address).is_none_or(|(address, _)| match address {
        IpAddr::V4(v4) => !v4.is_link_local() && !v4.is_loopback(),
        IpAddr::V6(v6) => !v6.is_unicast_link_local() && !v6.is_loopback(),
    })
}
