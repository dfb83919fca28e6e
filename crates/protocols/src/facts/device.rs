//! What an agent found out about a device that runs no agent, and how it fits into records.
//!
//! A table of addresses may be longer than a record. It is cut into pages by a hash of the address, so that one that comes
//! or goes changes one page; everything else goes into pages in order. What does not fit is left out port by port, those
//! with the most addresses first, and counted.

mod pages;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::Mac;
use crate::ids::{Millis, Name};

pub use pages::{Page, collect};

/// What is known of a device.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct DeviceFacts {
    /// Its operating system.
    pub system: String,
    /// The version of that.
    pub version: String,
    /// Its model.
    pub model: Option<String>,
    /// Its units, where it has some.
    pub units: Vec<UnitFact>,
    /// Its ports, by name.
    pub ports: BTreeMap<String, PortFact>,
    /// Its port channels, by the name of their port: `lg12`.
    pub channels: BTreeMap<String, ChannelFact>,
    /// What says that it is at the other end of a cable.
    pub neighbours: Vec<NeighbourFact>,
    /// The addresses that it has learnt, by the port behind which they are.
    pub addresses: BTreeMap<String, BTreeSet<Mac>>,
    /// What did not fit.
    pub left_out: LeftOut,
}

/// A unit of a stack or fabric.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct UnitFact {
    /// Its number.
    pub id: u16,
    /// Its model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Its serial number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serial: Option<String>,
}

/// A port.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct PortFact {
    /// Whether its link is up.
    pub up: bool,
    /// Whether it is shut.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub disabled: bool,
    /// Its speed in Mbit/s, where it is up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub megabits: Option<u32>,
    /// Its description.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// A port channel.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ChannelFact {
    /// Its name, where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Whether it speaks LACP.
    pub lacp: bool,
    /// Its members, and whether they carry traffic, where that is told.
    pub members: BTreeMap<String, Option<bool>>,
}

/// What is at the other end of a cable, as it says.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct NeighbourFact {
    /// The port here.
    pub port: String,
    /// Its chassis id.
    pub chassis: String,
    /// Its port.
    pub far_port: String,
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Whether it is a member of the same fabric.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub fabric: bool,
}

/// What did not fit into the records of a device.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct LeftOut {
    /// How many addresses, by port; by no port for those of further ports.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub addresses: BTreeMap<String, u32>,
    /// How many ports, port channels and neighbours.
    pub rows: u32,
    /// How many units.
    pub units: u32,
}

/// When a node looked at its devices.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct DeviceLooks {
    /// By device.
    pub devices: BTreeMap<Name, Look>,
    /// How many more devices it manages than it tells of.
    pub left_out: u32,
}

/// When a device was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Look {
    /// When its facts were last seen as they are told.
    pub seen: Option<Millis>,
    /// When it was last tried in vain, since then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed: Option<Millis>,
    /// Why that failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

impl LeftOut {
    /// Whether everything fitted.
    pub fn is_empty(&self) -> bool {
        self.addresses.is_empty() && self.rows == 0 && self.units == 0
    }
}

/// The most devices that a node tells of.
pub const DEVICES_TOLD_MAX: usize = 16;
/// The most records for the facts of all devices of a node: half of what it may have, the others are for outcomes.
pub const DEVICE_RECORDS_MAX: usize = 64;
/// The most records for one device.
pub const RECORDS_PER_DEVICE_MAX: usize = 24;
/// The longest reason why a device was not seen, in bytes.
pub const WHY_BYTES_MAX: usize = 200;

/// How many records each of so many devices may have.
pub fn records_each(devices: usize) -> usize {
    (DEVICE_RECORDS_MAX / devices.clamp(1, DEVICES_TOLD_MAX)).min(RECORDS_PER_DEVICE_MAX)
}

#[cfg(test)]
mod tests;
