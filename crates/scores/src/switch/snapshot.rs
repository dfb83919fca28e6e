//! What is found on a switch.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use super::{Config, Port};

/// A switch as it was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// What it is.
    pub family: Family,
    /// The configuration that is in force.
    pub running: Config,
    /// The configuration of the next boot.
    pub startup: Config,
    /// Its links, by port: every port that it has.
    pub links: BTreeMap<Port, Link>,
}

/// A family of switches that are configured alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Family {
    /// FastIron whose port channels have a primary port and are deployed.
    FastIronDeploy,
    /// FastIron whose port channels are interfaces of their own.
    FastIron,
    /// Network OS.
    NetworkOs,
}

/// The state of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Link {
    /// Whether it is up.
    pub up: bool,
    /// Its speed in Mbit/s, where it is up.
    pub megabits: Option<u32>,
}

impl Family {
    /// The ids that port channels may have.
    pub const fn lag_ids(self) -> RangeInclusive<u16> {
        match self {
            Self::FastIronDeploy | Self::FastIron => 1..=256,
            Self::NetworkOs => 1..=6144,
        }
    }

    /// The most members of a port channel.
    pub const fn lag_members_max(self) -> usize {
        16
    }

    /// Whether port channels have names.
    pub const fn names_lags(self) -> bool {
        matches!(self, Self::FastIronDeploy | Self::FastIron)
    }

    /// Whether a port channel is a port that can be described and put into VLANs.
    pub const fn has_lag_ports(self) -> bool {
        matches!(self, Self::FastIron | Self::NetworkOs)
    }

    /// The longest name of a VLAN, in bytes.
    pub const fn vlan_name_bytes_max(self) -> usize {
        match self {
            Self::FastIronDeploy | Self::FastIron => 31,
            Self::NetworkOs => 32,
        }
    }

    /// Whether the name of a VLAN can be taken away.
    pub const fn forgets_vlan_names(self) -> bool {
        matches!(self, Self::NetworkOs)
    }
}

/// The VLAN of ports that are in no other.
pub(super) const DEFAULT_VLAN: u16 = 1;
/// The highest VLAN: those above are taken by the devices themselves.
pub(super) const VLAN_MAX: u16 = 4090;
