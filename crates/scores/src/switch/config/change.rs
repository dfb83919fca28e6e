//! The changes from one configuration to another: which, in which order, and how they are told.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Config, Lag, PortConfig, SnmpGroup, SnmpUser, Vlan};
use crate::switch::Port;

/// One change to a configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Change {
    /// A port channel, from nothing, to another shape, or to nothing.
    Lag {
        /// Its id.
        id: u16,
        /// What it is.
        from: Option<Lag>,
        /// What it shall be.
        to: Option<Lag>,
    },
    /// What is configured for a port.
    Port {
        /// Which.
        port: Port,
        /// What it is.
        from: PortConfig,
        /// What it shall be.
        to: PortConfig,
    },
    /// A VLAN.
    Vlan {
        /// Its id.
        id: u16,
        /// What it is.
        from: Option<Vlan>,
        /// What it shall be.
        to: Option<Vlan>,
    },
    /// An SNMPv3 group.
    Group {
        /// Its name.
        name: String,
        /// What it is.
        from: Option<SnmpGroup>,
        /// What it shall be.
        to: Option<SnmpGroup>,
    },
    /// An SNMPv3 user.
    User {
        /// Its name.
        name: String,
        /// What it is.
        from: Option<SnmpUser>,
        /// What it shall be.
        to: Option<SnmpUser>,
    },
}

impl Config {
    /// The changes that lead to another configuration, in an order that a device accepts: what is in the way goes first.
    pub fn changes_to(&self, wanted: &Self) -> Vec<Change> {
        let mut changes = Vec::new();
        let mut shrink = Vec::new();
        let mut grow = Vec::new();
        for id in keys(&self.lags, &wanted.lags) {
            let (from, to) = (self.lags.get(&id).cloned(), wanted.lags.get(&id).cloned());
            if from == to {
                continue;
            }
            // Members may be only in one at a time: those that give some up come before those that take some.
            let gives = match (&from, &to) {
                (Some(_), None) => true,
                (Some(from), Some(to)) => to.members.is_subset(&from.members),
                _ => false,
            };
            if gives { &mut shrink } else { &mut grow }.push(Change::Lag { id, from, to });
        }
        changes.append(&mut shrink);
        for id in keys(&self.vlans, &wanted.vlans) {
            let (from, to) = (self.vlans.get(&id).cloned(), wanted.vlans.get(&id).cloned());
            if from != to && to.is_some() {
                changes.push(Change::Vlan { id, from, to });
            }
        }
        changes.append(&mut grow);
        for port in keys(&self.ports, &wanted.ports) {
            // What is configured for a port channel goes with it.
            let gone =
                port.channel_id().is_some_and(|id| self.lags.contains_key(&id) && !wanted.lags.contains_key(&id));
            let (from, to) = (self.port(port), wanted.port(port));
            if from != to && !gone {
                changes.push(Change::Port { port, from, to });
            }
        }
        for id in self.vlans.keys().filter(|id| !wanted.vlans.contains_key(id)) {
            changes.push(Change::Vlan { id: *id, from: self.vlans.get(id).cloned(), to: None });
        }
        for name in keys(&self.users, &wanted.users) {
            let (from, to) = (self.users.get(&name).cloned(), wanted.users.get(&name).cloned());
            if from.is_some() && to.is_none() {
                changes.push(Change::User { name, from, to });
            }
        }
        for name in keys(&self.groups, &wanted.groups) {
            let (from, to) = (self.groups.get(&name).cloned(), wanted.groups.get(&name).cloned());
            if from != to {
                changes.push(Change::Group { name, from, to });
            }
        }
        for name in keys(&self.users, &wanted.users) {
            let (from, to) = (self.users.get(&name).cloned(), wanted.users.get(&name).cloned());
            if from != to && to.is_some() {
                changes.push(Change::User { name, from, to });
            }
        }
        changes
    }

    /// What a change makes of it.
    pub fn apply(&mut self, change: &Change) {
        match change {
            Change::Lag { id, to: Some(lag), .. } => drop(self.lags.insert(*id, lag.clone())),
            Change::Lag { id, to: None, .. } => {
                self.lags.remove(id);
                self.ports.remove(&Port::channel(*id));
            }
            Change::Port { port, to, .. } => self.set_port(*port, to.clone()),
            Change::Vlan { id, to, .. } => set(&mut self.vlans, *id, to),
            Change::Group { name, to, .. } => set(&mut self.groups, name.clone(), to),
            Change::User { name, to, .. } => set(&mut self.users, name.clone(), to),
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lag { id, from: None, to: Some(to) } => {
                write!(f, "make port channel {} ({}) of {}", called(*id, to), to.mode, list(&to.members))
            }
            Self::Lag { id, from: Some(from), to: None } => write!(f, "remove port channel {}", called(*id, from)),
            Self::Lag { id, from: Some(from), to: Some(to) } => {
                write!(f, "port channel {}: ", called(*id, from))?;
                if from.mode != to.mode || from.name != to.name {
                    return write!(f, "remove it and make {} ({}) of {}", called(*id, to), to.mode, list(&to.members));
                }
                let more: BTreeSet<Port> = to.members.difference(&from.members).copied().collect();
                let less: BTreeSet<Port> = from.members.difference(&to.members).copied().collect();
                let mut words = Vec::new();
                if !more.is_empty() {
                    words.push(format!("add {}", list(&more)));
                }
                if !less.is_empty() {
                    words.push(format!("remove {}", list(&less)));
                }
                if from.primary != to.primary {
                    let primary = to.primary.map_or_else(|| "none".into(), |port| port.to_string());
                    words.push(format!("primary port {primary}"));
                }
                if from.deployed != to.deployed {
                    words.push(if to.deployed { "deploy" } else { "undeploy" }.into());
                }
                f.write_str(&words.join(", "))
            }
            Self::Port { port, from, to } => {
                let mut words = Vec::new();
                if from.description != to.description {
                    words.push(match &to.description {
                        Some(text) => format!("describe it as {text:?}"),
                        None => "remove its description".into(),
                    });
                }
                if from.vlans != to.vlans {
                    words.push(format!("{} (was {})", to.vlans, from.vlans));
                }
                if from.edge != to.edge {
                    words.push(if to.edge { "make it an edge port" } else { "make it no edge port" }.into());
                }
                if from.enabled != to.enabled {
                    words.push(if to.enabled { "enable" } else { "shut" }.into());
                }
                write!(f, "port {port}: {}", words.join(", "))
            }
            Self::Vlan { id, from: None, to: Some(to) } => match &to.name {
                Some(name) => write!(f, "make VLAN {id} {name:?}"),
                None => write!(f, "make VLAN {id}"),
            },
            Self::Vlan { id, to: None, .. } => write!(f, "remove VLAN {id}"),
            Self::Vlan { id, to: Some(to), .. } => match &to.name {
                Some(name) => write!(f, "VLAN {id}: name it {name:?}"),
                None => write!(f, "VLAN {id}: remove its name"),
            },
            Self::Group { name, to: None, .. } => write!(f, "remove SNMP group {name:?}"),
            Self::Group { name, .. } => write!(f, "set SNMP group {name:?}"),
            Self::User { name, to: None, .. } => write!(f, "remove SNMP user {name:?}"),
            Self::User { name, from: None, .. } => write!(f, "make SNMP user {name:?}"),
            Self::User { name, .. } => write!(f, "set SNMP user {name:?} anew"),
            Self::Lag { id, .. } => write!(f, "port channel {id}"),
        }
    }
}

fn called(id: u16, lag: &Lag) -> String {
    lag.name.as_ref().map_or_else(|| id.to_string(), |name| format!("{id} {name:?}"))
}

fn list(ports: &BTreeSet<Port>) -> String {
    ports.iter().map(Port::to_string).collect::<Vec<_>>().join(" ")
}

fn set<K: Ord, V: Clone>(map: &mut BTreeMap<K, V>, key: K, value: &Option<V>) {
    match value {
        Some(value) => drop(map.insert(key, value.clone())),
        None => drop(map.remove(&key)),
    }
}

fn keys<K: Ord + Clone, V>(one: &BTreeMap<K, V>, other: &BTreeMap<K, V>) -> BTreeSet<K> {
    one.keys().chain(other.keys()).cloned().collect()
}
