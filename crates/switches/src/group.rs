//! Switches that are changed as one: what is declared for a group is on all of its members, or on none.

use protocols::secret::Place;
use protocols::{Name, SealedText, SecretValue, Subject};
use scores::switch::{Change, InterfaceScore, PortChannelScore, Snapshot, SnmpScore, SnmpSecrets, Switch, VlanScore};
use scores::topology::{Each, Redundant};
use scores::{DeviceError, Grant, OpenSecrets, Player, Registry, Topology};

use crate::{Device, HostKey};

/// A group of devices, as it is declared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// What declarations call it.
    pub name: Name,
    /// The names of its members.
    pub members: Vec<Name>,
}

/// A switch as a member of a group. It is known by the group's name to declarations, and by its own to people.
#[derive(Debug, Clone)]
pub struct Member {
    device: Device,
    group: Name,
}

/// Plays scores of switches on all members of a group, for the subjects that are the group's own.
///
/// A fence is not among them: it shuts one port of one switch.
///
/// # Errors
/// When a member is none of these devices, and whatever else keeps the members from being put together.
pub fn group_player(group: &Group, devices: &[Device]) -> Result<Player<Redundant<Member>>, String> {
    let mut members = Vec::new();
    for name in &group.members {
        let device = devices.iter().find(|device| device.declaration().name == *name);
        let device = device.ok_or_else(|| format!("`{name}` is no device"))?.clone();
        members.push(Member { device, group: group.name.clone() });
    }
    // In one order everywhere: so two agents, or two groups, never each wait for what the other has.
    members.sort_by_key(|member| order(&member.device));
    let subjects = format!("switch/{}/*", group.name);
    let redundant = Redundant::new(group.name.as_str(), members).map_err(|error| error.to_string())?;
    let registry = Registry::new()
        .with::<Each<PortChannelScore>>()
        .with::<Each<InterfaceScore>>()
        .with::<Each<VlanScore>>()
        .with::<Each<SnmpScore>>();
    Ok(Player::new(redundant, registry).only(subjects))
}

/// What is the same of a device wherever it is declared.
fn order(device: &Device) -> (bool, String) {
    let declaration = device.declaration();
    match &declaration.host_key {
        HostKey::Fingerprint(print) => (false, print.clone()),
        HostKey::KnownHosts(_) => (true, declaration.address()),
    }
}

impl Topology for Member {
    fn name(&self) -> &str {
        self.device.name()
    }

    async fn ensure_ready(&self) -> Result<(), DeviceError> {
        self.device.ensure_ready().await
    }
}

impl Switch for Member {
    fn device(&self) -> &Name {
        &self.group
    }

    async fn read(&self) -> Result<Snapshot, DeviceError> {
        self.device.read().await
    }

    async fn change(&self, change: &Change, secrets: Option<&SnmpSecrets>) -> Result<(), DeviceError> {
        self.device.change(change, secrets).await
    }

    async fn save(&self) -> Result<(), DeviceError> {
        self.device.save().await
    }

    async fn claim(&self, subject: &Subject) -> Result<Option<Grant>, DeviceError> {
        self.device.claim(subject).await
    }

    fn release(&self, subject: &Subject) {
        self.device.release(subject);
    }
}

impl OpenSecrets for Member {
    async fn open(&self, secret: &SealedText, place: Place<'_>) -> Result<SecretValue, DeviceError> {
        self.device.open(secret, place).await
    }
}
