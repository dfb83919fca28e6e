//! What is configured on a switch, as far as scores govern it, and the changes from one configuration to another.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use protocols::SealedText;
use serde::{Deserialize, Serialize};

use super::Port;

/// A configuration, or a part of one.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Port channels by id.
    pub lags: BTreeMap<u16, Lag>,
    /// Ports and port channels with a configuration of their own. One that is not here has the default.
    pub ports: BTreeMap<Port, PortConfig>,
    /// VLANs by id.
    pub vlans: BTreeMap<u16, Vlan>,
    /// SNMPv3 groups by name.
    pub groups: BTreeMap<String, SnmpGroup>,
    /// SNMPv3 users by name.
    pub users: BTreeMap<String, SnmpUser>,
}

/// A port channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lag {
    /// Its name, where the device has names for them.
    pub name: Option<String>,
    /// How its members agree.
    pub mode: LagMode,
    /// Its member ports.
    pub members: BTreeSet<Port>,
    /// The member that stands for all, where the device has one.
    pub primary: Option<Port>,
    /// Whether it is in force; devices that know no other state always say so.
    pub deployed: bool,
}

/// How the members of a port channel agree with their peers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LagMode {
    /// By LACP.
    Lacp,
    /// Not at all.
    Static,
}

/// What is configured for a port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PortConfig {
    /// Its description.
    pub description: Option<String>,
    /// Whether it is administratively up.
    pub enabled: bool,
    /// Whether spanning tree holds it for an edge port.
    pub edge: bool,
    /// The VLANs that it is in.
    pub vlans: Membership,
    /// The first line of layer-3 configuration on it.
    pub layer3: Option<String>,
}

/// The VLANs of a port.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Membership {
    /// The VLAN of untagged frames; none stands for the device's default.
    pub untagged: Option<u16>,
    /// The VLANs of tagged frames.
    pub tagged: BTreeSet<u16>,
    /// Whether it carries every VLAN, tagged.
    pub all: bool,
    /// Whether it is a trunk although it carries nothing tagged yet, where the device makes a difference.
    pub trunk: bool,
}

/// A VLAN.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vlan {
    /// Its name.
    pub name: Option<String>,
}

/// An SNMPv3 group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SnmpGroup {
    /// Whether its users must encrypt.
    pub encrypted: bool,
    /// The view that they may read.
    pub read: Option<String>,
    /// The view that they may write.
    pub write: Option<String>,
}

/// An SNMPv3 user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SnmpUser {
    /// Its group.
    pub group: String,
    /// How it proves who it is.
    pub auth: Option<SnmpAuth>,
    /// How it encrypts.
    pub privacy: Option<SnmpPrivacy>,
    /// The secrets that it was last given, where that is known.
    pub keys: Option<SnmpKeys>,
}

/// Algorithms of SNMPv3 authentication.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SnmpAuth {
    /// HMAC-SHA-1.
    Sha,
    /// HMAC-MD5: weak.
    Md5,
}

/// Algorithms of SNMPv3 privacy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SnmpPrivacy {
    /// AES-128.
    Aes,
    /// DES: weak.
    Des,
}

/// The secrets of an SNMPv3 user, sealed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SnmpKeys {
    /// For authentication.
    pub auth: SealedText,
    /// For privacy.
    pub privacy: Option<SealedText>,
}

/// Parts of a configuration, by their names.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Touched {
    /// Port channels.
    pub lags: BTreeSet<u16>,
    /// Ports.
    pub ports: BTreeSet<Port>,
    /// VLANs.
    pub vlans: BTreeSet<u16>,
    /// SNMPv3 groups.
    pub groups: BTreeSet<String>,
    /// SNMPv3 users.
    pub users: BTreeSet<String>,
}

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

impl Default for PortConfig {
    fn default() -> Self {
        Self { description: None, enabled: true, edge: false, vlans: Membership::default(), layer3: None }
    }
}

impl Config {
    /// What is configured for a port.
    pub fn port(&self, port: Port) -> PortConfig {
        self.ports.get(&port).cloned().unwrap_or_default()
    }

    /// Configures a port. The default is not kept.
    pub fn set_port(&mut self, port: Port, config: PortConfig) {
        if config == PortConfig::default() {
            self.ports.remove(&port);
        } else {
            self.ports.insert(port, config);
        }
    }

    /// The port channel that a port is in.
    pub fn lag_of(&self, port: Port) -> Option<(u16, &Lag)> {
        self.lags.iter().find(|(_, lag)| lag.members.contains(&port)).map(|(id, lag)| (*id, lag))
    }

    /// The ports that are in a VLAN by name, not by carrying all.
    pub fn members_of(&self, vlan: u16) -> Vec<Port> {
        let is_in = |config: &PortConfig| config.vlans.untagged == Some(vlan) || config.vlans.tagged.contains(&vlan);
        self.ports.iter().filter(|(_, config)| is_in(config)).map(|(port, _)| *port).collect()
    }

    /// Only these parts of it.
    #[must_use]
    pub fn only(&self, touched: &Touched) -> Self {
        fn pick<K: Ord + Clone, V: Clone>(map: &BTreeMap<K, V>, keys: &BTreeSet<K>) -> BTreeMap<K, V> {
            map.iter().filter(|(key, _)| keys.contains(key)).map(|(key, value)| (key.clone(), value.clone())).collect()
        }
        Self {
            lags: pick(&self.lags, &touched.lags),
            ports: pick(&self.ports, &touched.ports),
            vlans: pick(&self.vlans, &touched.vlans),
            groups: pick(&self.groups, &touched.groups),
            users: pick(&self.users, &touched.users),
        }
    }

    /// The same with these parts as they are in another.
    #[must_use]
    pub fn with(mut self, touched: &Touched, other: &Self) -> Self {
        fn put<K: Ord + Clone, V: Clone>(map: &mut BTreeMap<K, V>, keys: &BTreeSet<K>, other: &BTreeMap<K, V>) {
            for key in keys {
                match other.get(key) {
                    Some(value) => map.insert(key.clone(), value.clone()),
                    None => map.remove(key),
                };
            }
        }
        put(&mut self.lags, &touched.lags, &other.lags);
        put(&mut self.ports, &touched.ports, &other.ports);
        put(&mut self.vlans, &touched.vlans, &other.vlans);
        put(&mut self.groups, &touched.groups, &other.groups);
        put(&mut self.users, &touched.users, &other.users);
        self
    }

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

fn set<K: Ord, V: Clone>(map: &mut BTreeMap<K, V>, key: K, value: &Option<V>) {
    match value {
        Some(value) => drop(map.insert(key, value.clone())),
        None => drop(map.remove(&key)),
    }
}

fn keys<K: Ord + Clone, V>(one: &BTreeMap<K, V>, other: &BTreeMap<K, V>) -> BTreeSet<K> {
    one.keys().chain(other.keys()).cloned().collect()
}

impl fmt::Display for LagMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lacp => "LACP",
            Self::Static => "static",
        })
    }
}

impl fmt::Display for Membership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let untagged = self.untagged.map_or_else(|| "the default VLAN".into(), |vlan| format!("VLAN {vlan}"));
        let tagged: Vec<String> = self.tagged.iter().map(u16::to_string).collect();
        match (self.all, tagged.as_slice()) {
            (true, _) => write!(f, "{untagged}, all tagged"),
            (false, []) if self.trunk => write!(f, "{untagged}, a trunk"),
            (false, []) => f.write_str(&untagged),
            (false, tagged) => write!(f, "{untagged}, tagged {}", tagged.join(" ")),
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
