//! What is missing between a host and a switch as they are found, and a bond as it is declared.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use protocols::Mac;
use serde::Serialize;

use super::host::is_missed;
use super::{BondScore, HostBond, HostLinks, Surroundings};
use crate::Plan;
use crate::switch::{Lag, Port, PortChannelScore, Snapshot, SwitchStep};

/// What was found on both sides.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BondObserved {
    /// The host.
    pub host: HostLinks,
    /// The switch.
    pub switch: Snapshot,
    /// What the switch sees.
    pub surroundings: Surroundings,
    /// The ports that the members are plugged into.
    pub ports: BTreeSet<Port>,
}

/// A step on one of the two sides.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum BondStep {
    /// The host bonds its interfaces.
    Host(Box<HostBond>),
    /// A change on the switch.
    Switch(SwitchStep),
    /// LACP is seen on every port, from both ends.
    Agree,
    /// The bond will be there after a boot of the host.
    Keep(Box<HostBond>),
}

impl fmt::Display for BondStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |nics: &BTreeSet<String>| nics.iter().cloned().collect::<Vec<_>>().join(" ");
        match self {
            Self::Host(bond) => {
                let ports: Vec<String> = bond.ports.iter().map(Port::to_string).collect();
                let ports = ports.join(" ");
                write!(
                    f,
                    "host: bond {} by LACP as {}, plugged into {ports} of {}",
                    list(&bond.nics),
                    bond.name,
                    bond.device
                )?;
                let addresses: Vec<&str> = bond.addresses.iter().map(String::as_str).collect();
                if !addresses.is_empty() {
                    write!(f, ", with {}", addresses.join(" "))?;
                }
                if bond.dhcp { f.write_str(", with DHCP") } else { Ok(()) }
            }
            Self::Switch(step) => write!(f, "switch: {step}"),
            Self::Agree => f.write_str("both: see LACP on every port"),
            Self::Keep(bond) => write!(f, "host: keep {} over boots", bond.name),
        }
    }
}

impl Plan for BondScore {
    type Observed = BondObserved;
    type Step = BondStep;

    fn plan(&self, found: &BondObserved) -> Vec<BondStep> {
        let bond = self.host_bond(found);
        let mut steps = Vec::new();
        if found.host.running.as_ref() != Some(&bond) || !self.is_made(&found.host) {
            steps.push(BondStep::Host(Box::new(bond.clone())));
        }
        let switch = self.port_channel(found.ports.clone()).plan(&found.switch);
        let (last, first): (Vec<_>, Vec<_>) = switch.into_iter().partition(PortChannelScore::after_checks);
        steps.extend(first.into_iter().map(BondStep::Switch));
        // Also where they agree now: what was changed may have ended that.
        if !steps.is_empty() || !self.disagreements(found).is_empty() {
            steps.push(BondStep::Agree);
        }
        if found.host.startup.as_ref() != Some(&bond) {
            steps.push(BondStep::Keep(Box::new(bond)));
        }
        steps.extend(last.into_iter().map(BondStep::Switch));
        steps
    }

    fn after_checks(step: &BondStep) -> bool {
        match step {
            BondStep::Keep(_) => true,
            BondStep::Switch(step) => PortChannelScore::after_checks(step),
            BondStep::Host(_) | BondStep::Agree => false,
        }
    }
}

impl BondScore {
    /// What the host is to be set to.
    pub(super) fn host_bond(&self, found: &BondObserved) -> HostBond {
        HostBond {
            name: self.name.clone(),
            nics: self.nics.clone(),
            mac: self.nics.first().and_then(|nic| found.host.links.get(nic)?.mac),
            addresses: self.addresses.clone(),
            gateways: self.gateways.clone(),
            dhcp: self.dhcp,
            device: self.device.clone(),
            ports: found.ports.clone(),
        }
    }

    /// Whether the bond has exactly its members.
    pub(super) fn is_made(&self, host: &HostLinks) -> bool {
        host.state.as_ref().is_some_and(|state| state.lacp && state.members.keys().eq(self.nics.iter()))
    }

    /// What is not yet as it is when both ends speak LACP on every port.
    pub(super) fn disagreements(&self, found: &BondObserved) -> Vec<String> {
        let mut all = match &found.host.state {
            Some(state) => state.lacking(&self.nics),
            None => vec![format!("there is no bond {}", self.name)],
        };
        for port in &found.ports {
            match found.surroundings.carrying.get(port) {
                Some(Some(true)) => {}
                Some(Some(false)) => all.push(format!("port {port} of the switch does not carry traffic")),
                Some(None) | None => all.push(format!("the switch does not tell of LACP on port {port}")),
            }
        }
        all
    }

    /// What keeps it from being made on a host that is found so.
    pub(super) fn objections(&self, host: &HostLinks) -> Vec<String> {
        let mut all = Vec::new();
        if let Some(other) = &host.foreign {
            all.push(other.clone());
        }
        let ours = host.running.as_ref().or(host.startup.as_ref());
        if let Some(other) = ours.filter(|bond| bond.device != self.device) {
            all.push(format!("{} is declared with the switch `{}` already", self.name, other.device));
        }
        if ours.is_none() && host.links.contains_key(&self.name) {
            all.push(format!("there is a {} already, which no declaration has made", self.name));
        }
        for nic in &self.nics {
            let Some(link) = host.links.get(nic) else {
                let known: Vec<&str> = host.links.keys().map(String::as_str).collect();
                all.push(format!("there is no interface {nic}; there are {}", known.join(" ")));
                continue;
            };
            if let Some(master) = link.master.as_ref().filter(|master| **master != self.name) {
                all.push(format!("{nic} is a member of {master}"));
            }
            let above = link.above.iter().filter(|above| **above != self.name);
            let above: Vec<&str> = above.map(String::as_str).collect();
            if !above.is_empty() {
                all.push(format!("{nic} carries {}, which would be cut off", above.join(" ")));
            }
            let lost = link.addresses.iter().filter(|address| is_missed(address) && !self.addresses.contains(*address));
            let lost: Vec<&str> = lost.map(String::as_str).collect();
            if !lost.is_empty() && !self.lose_addresses {
                let lost = lost.join(" ");
                all.push(format!(
                    "{nic} would lose {lost}: declare it among the bond's `addresses`, or set `lose_addresses`"
                ));
            }
        }
        all
    }

    /// The ports that the members are plugged into, as it is declared or was found when the bond was made.
    pub(super) fn known_ports(&self, host: &HostLinks) -> Option<BTreeSet<Port>> {
        if !self.ports.is_empty() {
            return Some(self.ports.clone());
        }
        let mut known = [&host.running, &host.startup].into_iter().flatten();
        let same = |bond: &&HostBond| bond.device == self.device && bond.nics == self.nics;
        known.find(same).map(|bond| bond.ports.clone())
    }

    /// The ports that the members are plugged into, as the port channel has them, or where the switch sees them now.
    ///
    /// # Errors
    /// Why that cannot be told; names what was seen.
    pub(super) fn find_ports(
        &self,
        host: &HostLinks,
        switch: &Snapshot,
        surroundings: &Surroundings,
    ) -> Result<BTreeSet<Port>, String> {
        let own: BTreeSet<Mac> = host.links.values().filter_map(|link| link.mac).collect();
        // Other hosts may call theirs the same: what leads here is this one's.
        if let Some((id, lag)) = self.channel_on(switch).filter(|(_, lag)| lag.members.len() == self.nics.len()) {
            let macs = surroundings.addresses.get(&Port::channel(id));
            let learnt = macs.is_some_and(|macs| !macs.is_empty() && macs.is_subset(&own));
            let told = |port: &Port| surroundings.neighbours.get(port).is_some_and(|told| is_told(told, &own));
            if learnt || lag.members.iter().all(told) {
                return Ok(lag.members.clone());
            }
        }
        let (mut found, mut why) = (BTreeMap::new(), Vec::new());
        for nic in &self.nics {
            match seen(host, nic, &own, surroundings) {
                Ok(port) => {
                    if let Some(other) = found.insert(port, nic) {
                        why.push(format!("{other} and {nic} are both seen on port {port}"));
                    }
                }
                Err(reason) => why.push(reason),
            }
        }
        if why.is_empty() {
            return Ok(found.into_keys().collect());
        }
        Err(format!("which ports lead here cannot be told: {}; declare `ports`", why.join("; ")))
    }
}

impl BondScore {
    /// What the switch has now under the id or the name that the port channel shall have.
    fn channel_on<'a>(&self, switch: &'a Snapshot) -> Option<(u16, &'a Lag)> {
        let name = self.port_channel(BTreeSet::new()).name;
        let found = switch.running.lags.iter().find(|(id, lag)| match self.id {
            Some(wanted) => **id == wanted,
            None => lag.name.as_ref() == Some(&name),
        });
        found.map(|(id, lag)| (*id, lag))
    }

    /// The bonds of this name that this host was given on this switch.
    fn given<'a>(&'a self, host: &'a HostLinks) -> impl Iterator<Item = &'a HostBond> {
        [&host.running, &host.startup].into_iter().flatten().filter(|bond| bond.device == self.device)
    }

    /// What says that the port channel which is there by that id or name is somebody else's: it has other ports, and none
    /// of those that this host was given.
    pub(super) fn others_channel(&self, found: &BondObserved) -> Option<String> {
        let (id, lag) = self.channel_on(&found.switch)?;
        let given = self.given(&found.host).any(|bond| !bond.ports.is_disjoint(&lag.members));
        if lag.members.is_empty() || lag.members == found.ports || given {
            return None;
        }
        let members: Vec<String> = lag.members.iter().map(Port::to_string).collect();
        let name = lag.name.as_ref().map_or_else(String::new, |name| format!(" {name:?}"));
        Some(format!(
            "the port channel {id}{name} is there already, with {}, and nothing shows that it is this host's: declare \
             another `channel` or `id`",
            members.join(" ")
        ))
    }

    /// What the switch sees that is not so if these are the ports: nothing, once the host was given them.
    pub(super) fn doubts(&self, found: &BondObserved) -> Vec<String> {
        if self.given(&found.host).any(|bond| bond.ports == found.ports) {
            return Vec::new();
        }
        let mine = self.channel_on(&found.switch).map(|(id, _)| Port::channel(id));
        let mut all = Vec::new();
        for nic in &self.nics {
            let Some(mac) = found.host.links.get(nic).and_then(|link| link.mac) else { continue };
            let seen = found.surroundings.addresses.iter().filter(|(_, macs)| macs.contains(&mac));
            let elsewhere =
                seen.map(|(port, _)| port).filter(|port| !found.ports.contains(*port) && Some(**port) != mine);
            all.extend(elsewhere.map(|port| format!("{nic} ({mac}) is seen on {port}, which is none of the `ports`")));
        }
        all
    }
}

/// Whether what is told of a neighbour is one of these addresses.
fn is_told(told: &BTreeSet<String>, own: &BTreeSet<Mac>) -> bool {
    told.iter().any(|text| text.parse::<Mac>().is_ok_and(|mac| own.contains(&mac)))
}

/// The one port behind which an interface is seen, and nothing but this host.
fn seen(host: &HostLinks, nic: &str, own: &BTreeSet<Mac>, around: &Surroundings) -> Result<Port, String> {
    let Some(mac) = host.links.get(nic).and_then(|link| link.mac) else {
        return Err(format!("{nic} has no hardware address"));
    };
    let ports: Vec<(&Port, &BTreeSet<Mac>)> = around.addresses.iter().filter(|(_, macs)| macs.contains(&mac)).collect();
    let (port, macs) = match ports.as_slice() {
        [] => return Err(format!("{nic} ({mac}) is not seen on any port; it may be silent, or without a link")),
        [one] => *one,
        several => {
            let several: Vec<String> = several.iter().map(|(port, _)| port.to_string()).collect();
            return Err(format!("{nic} ({mac}) is seen on the ports {}", several.join(" ")));
        }
    };
    if port.channel_id().is_some() {
        return Err(format!("{nic} ({mac}) is seen on the port channel {port}"));
    }
    match around.neighbours.get(port) {
        Some(neighbours) if is_told(neighbours, own) => Ok(*port),
        Some(neighbours) => {
            let told: Vec<&str> = neighbours.iter().map(String::as_str).collect();
            let told = told.join(" ");
            Err(format!("{nic} ({mac}) is seen on port {port}, and what says that it is there is {told}"))
        }
        None if macs.is_subset(own) => Ok(*port),
        None => {
            let others = macs.difference(own).count();
            Err(format!("{nic} ({mac}) is seen on port {port}, and so are {others} addresses that are not this host's"))
        }
    }
}
