//! What a node knows about itself.

pub mod device;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::Mac;
use crate::ids::{Kind, Millis};

/// Facts that change rarely. Written again only when one of them changed. Unknown ones are absent.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct StableFacts {
    /// Version of `flt`.
    pub flt_version: String,
    /// The kinds of scores it can play.
    pub kinds: Vec<Kind>,
    /// Host name.
    pub hostname: Option<String>,
    /// `/etc/machine-id`, hashed together with the word `flotilla` so that it identifies and does not leak.
    pub machine_id: Option<String>,
    /// `ID` of os-release.
    pub os_id: Option<String>,
    /// `VERSION_ID` of os-release.
    pub os_version: Option<String>,
    /// `PRETTY_NAME` of os-release.
    pub os_name: Option<String>,
    /// Kernel release.
    pub kernel: Option<String>,
    /// Machine architecture, as uname gives it.
    pub arch: Option<String>,
    /// Logical processors.
    pub cpus: Option<u32>,
    /// Memory, in bytes.
    pub memory_bytes: Option<u64>,
    /// The kernel's id of this boot.
    pub boot_id: Option<String>,
    /// Version of Nix, if it is there.
    pub nix_version: Option<String>,
    /// The NixOS system that runs.
    pub nixos_current: Option<String>,
    /// The NixOS system that was booted.
    pub nixos_booted: Option<String>,
    /// Network interfaces by name.
    pub interfaces: BTreeMap<String, Interface>,
    /// How many more interfaces there are than are told here.
    #[serde(skip_serializing_if = "is_zero")]
    pub interfaces_left_out: u32,
}

/// A network interface.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Interface {
    /// Hardware address.
    pub mac: Option<String>,
    /// IP addresses.
    pub addresses: Vec<String>,
    /// Whether it is administratively up.
    pub up: bool,
    /// Whether something answers at the other end, where the kernel tells it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link: Option<bool>,
    /// Its speed in Mbit/s, where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub megabits: Option<u32>,
    /// Whether it is hardware, and not made by the kernel.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub physical: bool,
    /// The bond that it is a member of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bond: Option<String>,
    /// The address that it was made with, where another one is in use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub permanent: Option<String>,
}

impl Interface {
    /// The hardware addresses that frames from it may have.
    pub fn macs(&self) -> impl Iterator<Item = Mac> {
        [&self.mac, &self.permanent].into_iter().flatten().filter_map(|mac| mac.parse().ok())
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
const fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// Facts that change all the time.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct VolatileFacts {
    /// The node's clock when these were taken.
    pub clock: Millis,
    /// Seconds since boot.
    pub uptime_seconds: Option<u64>,
    /// Load average over one minute, in hundredths.
    pub load_hundredths: Option<u32>,
    /// Memory that programs can still get, in bytes.
    pub memory_available_bytes: Option<u64>,
    /// Free bytes where the agent keeps its data.
    pub data_free_bytes: Option<u64>,
    /// Free bytes of the Nix store.
    pub store_free_bytes: Option<u64>,
}
