//! Network switches that run no agent: an SSH session that never loses step, what their output says, and scores played on them.
//!
//! A [`Device`] is made of a [`Declaration`] and is a topology with the capability [`scores::switch::Switch`]. The agent
//! plays every score of switches on it with [`player`], and on all members of a [`Group`] or on none with [`group_player`].

mod declaration;
mod device;
mod dialect;
mod group;
mod inventory;
mod netconf;
pub mod parse;
mod patience;
mod session;
mod ssh;

use scores::switch::{InterfaceScore, PortChannelScore, PortFenceScore, SnmpScore, VlanScore};
use scores::{Player, Registry};

pub use declaration::{Declaration, HostKey, Netconf};
pub use device::{Device, Inventory, NetconfFound, Probe, probe};
pub use group::{Group, Member, group_player};
pub use inventory::facts;
pub use netconf::{Element, NetconfError, RpcError, Severity};
pub use patience::Patience;
pub use session::{Command, SessionError};
pub use ssh::{known_legacy, look_at_key};

/// Plays every score of switches on a device, for the subjects that are its own.
pub fn player(device: Device) -> Player<Device> {
    let subjects = device.subjects();
    let registry = Registry::new()
        .with::<PortChannelScore>()
        .with::<InterfaceScore>()
        .with::<VlanScore>()
        .with::<SnmpScore>()
        .with::<PortFenceScore>();
    Player::new(device, registry).only(subjects)
}
