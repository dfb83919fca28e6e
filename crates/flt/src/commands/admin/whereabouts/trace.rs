//! From tables of addresses to cables: which of the ports that have seen an address leads to it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use protocols::facts::StableFacts;
use protocols::facts::device::{DeviceFacts, NeighbourFact};
use protocols::{Mac, Name};
use serde::Serialize;

/// A network interface that is looked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Nic {
    /// Whose it is; nothing if no node of the fleet has it.
    pub(super) node: Option<Name>,
    /// What it is called there.
    pub(super) nic: Option<String>,
    /// The addresses that frames from it may have.
    pub(super) macs: Vec<Mac>,
}

/// A port behind which an address was seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Place {
    pub(super) mac: Mac,
    pub(super) node: Option<Name>,
    pub(super) nic: Option<String>,
    /// The switch.
    pub(super) device: Name,
    /// The node that manages it.
    pub(super) agent: Name,
    /// The port, or the port channel.
    pub(super) port: String,
    /// The ports of the port channel.
    pub(super) members: Vec<String>,
    pub(super) how: How,
    /// What says that it is at the other end.
    pub(super) neighbour: Option<String>,
    /// How many addresses are behind this port.
    pub(super) addresses: usize,
    /// Seconds since that was seen to be so.
    pub(super) age_seconds: Option<u64>,
}

/// Where a port leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum How {
    /// To the address, and to no other switch.
    Edge,
    /// It cannot be told.
    Unclear,
    /// To the address by way of other switches.
    Through,
}

/// What a switch has told.
#[derive(Debug, Clone)]
pub(super) struct Table {
    pub(super) device: Name,
    pub(super) agent: Name,
    pub(super) age_seconds: Option<u64>,
    pub(super) facts: DeviceFacts,
}

/// What nodes and switches have told.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub(super) tables: Vec<Table>,
    nics: BTreeMap<Name, Vec<Nic>>,
    /// What nodes call themselves, beside their names in the fleet.
    hostnames: BTreeMap<String, Name>,
}

/// What is at the other end of a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Far {
    /// A node of the fleet, or the very interface that is looked for.
    Node,
    /// Nothing that says so.
    Silent,
    /// Something that is no node of the fleet.
    Other,
}

impl Told {
    /// Adds what a node tells of its interfaces. Those that the kernel made count where nothing else has their address.
    pub(super) fn host(&mut self, node: &Name, facts: &StableFacts) {
        let mut nics: Vec<(bool, Nic)> = Vec::new();
        for (name, interface) in &facts.interfaces {
            let macs: BTreeSet<Mac> = interface.macs().filter(|mac| mac.bytes() != [0; 6]).collect();
            if !macs.is_empty() {
                let (node, nic) = (Some(node.clone()), Some(name.clone()));
                nics.push((interface.physical, Nic { node, nic, macs: macs.into_iter().collect() }));
            }
        }
        nics.sort_by_key(|(physical, _)| !physical);
        let mut kept: Vec<Nic> = Vec::new();
        for (physical, nic) in nics {
            let known = |mac: &Mac| kept.iter().any(|other| other.macs.contains(mac));
            // A bond, a bridge and a VLAN have the address of a port.
            if physical || !nic.macs.iter().all(known) {
                kept.push(nic);
            }
        }
        self.nics.insert(node.clone(), kept);
        if let Some(hostname) = &facts.hostname {
            self.hostnames.insert(hostname.to_ascii_lowercase(), node.clone());
        }
    }

    /// Adds what a switch tells. Of one that several nodes manage, what was seen last counts.
    pub(super) fn switch(&mut self, table: Table) {
        let serials = |facts: &DeviceFacts| -> BTreeSet<String> {
            facts.units.iter().filter_map(|unit| unit.serial.clone()).collect()
        };
        let own = serials(&table.facts);
        // Some tell of every unit of a stack or a fabric, some of the one that they are logged in to.
        let same = |other: &&mut Table| other.device == table.device || !serials(&other.facts).is_disjoint(&own);
        match self.tables.iter_mut().find(same) {
            Some(other) if table.age_seconds.unwrap_or(u64::MAX) < other.age_seconds.unwrap_or(u64::MAX) => {
                *other = table;
            }
            Some(_) => {}
            None => self.tables.push(table),
        }
    }

    /// The interfaces of a node.
    pub(super) fn nics_of(&self, node: &Name) -> Vec<Nic> {
        self.nics.get(node).cloned().unwrap_or_default()
    }

    /// The interface that has this address, as far as it is known, to look for this address alone.
    pub(super) fn nic_of(&self, mac: Mac) -> Nic {
        let owner = self.nics.values().flatten().find(|nic| nic.macs.contains(&mac));
        let (node, nic) = owner.map_or((None, None), |owner| (owner.node.clone(), owner.nic.clone()));
        Nic { node, nic, macs: vec![mac] }
    }

    /// The ports behind which an interface was seen, and which of them lead to it.
    pub(super) fn places(&self, nic: &Nic) -> Vec<Place> {
        nic.macs.iter().flat_map(|mac| self.places_of(nic, *mac)).collect()
    }

    fn places_of(&self, nic: &Nic, mac: Mac) -> Vec<Place> {
        let mut seen: Vec<(Far, Place)> = Vec::new();
        for table in &self.tables {
            let ports = table.facts.addresses.iter().filter(|(_, addresses)| addresses.contains(&mac));
            for (port, addresses) in ports {
                let members: Vec<String> = table
                    .facts
                    .channels
                    .get(port)
                    .map(|channel| channel.members.keys().cloned().collect())
                    .unwrap_or_default();
                let (far, neighbour) = self.far(&table.facts.neighbours, mac, port, &members);
                let place = Place {
                    mac,
                    node: nic.node.clone(),
                    nic: nic.nic.clone(),
                    device: table.device.clone(),
                    agent: table.agent.clone(),
                    port: port.clone(),
                    members,
                    how: How::Through,
                    neighbour,
                    addresses: addresses.len(),
                    age_seconds: table.age_seconds,
                };
                seen.push((far, place));
            }
        }
        let Some(best) = seen.iter().map(|(far, place)| (*far, place.addresses)).min() else { return Vec::new() };
        let equals = seen.iter().filter(|(far, place)| (*far, place.addresses) == best).count();
        for (far, place) in &mut seen {
            if (*far, place.addresses) != best {
                continue;
            }
            place.how = match far {
                Far::Other => How::Through,
                Far::Node if equals == 1 => How::Edge,
                Far::Silent if equals == 1 && place.addresses <= HOST_ADDRESSES_MAX => How::Edge,
                _ => How::Unclear,
            };
        }
        seen.into_iter().map(|(_, place)| place).collect()
    }

    /// What is at the other end of a port, or of the members of a port channel.
    fn far(&self, neighbours: &[NeighbourFact], mac: Mac, port: &str, members: &[String]) -> (Far, Option<String>) {
        let here = |far: &&NeighbourFact| far.port == port || members.contains(&far.port);
        let mut found = (Far::Silent, None);
        for far in neighbours.iter().filter(here) {
            let node = if far.fabric { None } else { self.node(far) };
            let told =
                [far.name.as_deref(), Some(far.chassis.as_str())].into_iter().flatten().find(|text| !text.is_empty());
            // What says of itself that it has this address is what is looked for, whoever's it is.
            let itself = [&far.chassis, &far.far_port].iter().any(|text| text.parse() == Ok(mac));
            let (kind, name) = match node {
                Some(node) => (Far::Node, node.to_string()),
                None if itself => (Far::Node, told.unwrap_or_default().to_owned()),
                None => (Far::Other, told.unwrap_or_default().to_owned()),
            };
            // One that is no node is enough: it may lead on.
            if kind == Far::Other || found.1.is_none() {
                found = (kind, Some(name));
            }
        }
        found
    }

    /// The node that a neighbour is, by an address or by its name.
    fn node(&self, far: &NeighbourFact) -> Option<&Name> {
        let macs = [&far.chassis, &far.far_port].into_iter().filter_map(|text| text.parse::<Mac>().ok());
        let by_mac = macs.into_iter().find_map(|mac| self.nics.values().flatten().find(|nic| nic.macs.contains(&mac)));
        if let Some(node) = by_mac.and_then(|nic| nic.node.as_ref()) {
            return Some(node);
        }
        let name = far.name.as_deref()?.to_ascii_lowercase();
        let names = self.nics.keys().map(|node| (node.as_str(), node));
        let mut names = names.chain(self.hostnames.iter().map(|(host, node)| (host.as_str(), node)));
        match name.strip_suffix('~') {
            // A switch cuts long names.
            Some(head) if !head.is_empty() => {
                let found: BTreeSet<&Name> =
                    names.filter(|(known, _)| known.starts_with(head)).map(|(_, node)| node).collect();
                if found.len() == 1 { found.first().copied() } else { None }
            }
            _ => names.find(|(known, _)| *known == name).map(|(_, node)| node),
        }
    }
}

impl fmt::Display for How {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Edge => "edge",
            Self::Unclear => "unclear",
            Self::Through => "through",
        })
    }
}

impl fmt::Display for Nic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let (Some(node), Some(nic)) = (&self.node, &self.nic) {
            write!(f, "{node} {nic} ")?;
        }
        let macs: Vec<String> = self.macs.iter().map(Mac::to_string).collect();
        f.write_str(&macs.join(" "))
    }
}

/// The most addresses behind a port that is still held for a host's, where nothing says what is there.
const HOST_ADDRESSES_MAX: usize = 64;

#[cfg(test)]
mod tests;
