//! What is configured on a switch, as far as scores govern it.

mod change;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use protocols::SealedText;
use serde::{Deserialize, Serialize};

use super::Port;

pub use change::Change;

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
