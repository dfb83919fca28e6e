//! What a device tells, as the facts that its agent publishes.

use std::collections::BTreeMap;

use protocols::facts::device::{ChannelFact, DeviceFacts, NeighbourFact, PortFact, UnitFact};
use scores::switch::Port;

use crate::{Device, Inventory, SessionError};

impl Device {
    /// Asks it for all that it tells, as facts.
    ///
    /// # Errors
    /// [`SessionError`]; also when something that it says is not understood.
    pub async fn facts(&self) -> Result<DeviceFacts, SessionError> {
        Ok(facts(&self.inventory().await?))
    }
}

/// An inventory as facts. Addresses are those that were learnt: what is configured says nothing about cables.
pub fn facts(found: &Inventory) -> DeviceFacts {
    let units = found.version.units.iter();
    let units = units.map(|unit| UnitFact { id: unit.id, model: unit.model.clone(), serial: unit.serial.clone() });
    let ports = found.interfaces.iter().map(|interface| {
        let fact = PortFact {
            up: interface.up,
            disabled: interface.disabled,
            megabits: interface.megabits,
            description: interface.name.clone(),
        };
        (interface.port.to_string(), fact)
    });
    let channels = found.lags.iter().map(|lag| {
        let members = lag.members.iter().map(|member| (member.port.to_string(), member.operational)).collect();
        let fact = ChannelFact { name: lag.name.clone(), lacp: lag.lacp, members };
        (Port::channel(lag.id).to_string(), fact)
    });
    let neighbours = found.neighbours.iter().map(|far| NeighbourFact {
        port: far.port.to_string(),
        chassis: far.chassis.clone(),
        far_port: far.far_port.clone(),
        name: far.name.clone(),
        fabric: false,
    });
    let fabric = found.fabric.iter().map(|link| NeighbourFact {
        port: link.port.to_string(),
        chassis: String::new(),
        far_port: link.far_port.to_string(),
        name: Some(link.name.clone()),
        fabric: true,
    });
    let mut facts = DeviceFacts {
        system: found.version.system.to_string(),
        version: found.version.version.clone(),
        model: found.version.model.clone(),
        units: units.collect(),
        ports: ports.collect(),
        channels: channels.collect(),
        neighbours: neighbours.chain(fabric).collect(),
        addresses: BTreeMap::new(),
        ..DeviceFacts::default()
    };
    for entry in found.addresses.iter().filter(|entry| entry.learnt) {
        // On a port channel in the old syntax, the table names whichever member it was seen on.
        let channel = found.lags.iter().find(|lag| lag.deployed && lag.members.iter().any(|m| m.port == entry.port));
        let port = channel.map_or(entry.port, |lag| Port::channel(lag.id));
        facts.addresses.entry(port.to_string()).or_default().insert(entry.mac);
    }
    facts
}
