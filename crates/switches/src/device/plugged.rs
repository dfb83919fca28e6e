//! What a switch tells of what is plugged into it.

use std::collections::BTreeMap;

use scores::DeviceError;
use scores::bond::{Plugged, Surroundings};
use scores::switch::Port;

use super::Device;

impl Plugged for Device {
    async fn surroundings(&self) -> Result<Surroundings, DeviceError> {
        let found = self.inventory().await?;
        let mut around = Surroundings::default();
        for lag in &found.lags {
            // One whose members are told of without LACP says nothing of it.
            let carries = |operational: Option<bool>| if lag.lacp && lag.deployed { operational } else { Some(false) };
            let members = lag.members.iter().map(|member| (member.port, carries(member.operational)));
            around.carrying.extend(members);
        }
        let channels: BTreeMap<Port, Port> = found
            .lags
            .iter()
            .filter(|lag| lag.deployed)
            .flat_map(|lag| lag.members.iter().map(|member| (member.port, Port::channel(lag.id))))
            .collect();
        for entry in found.addresses.iter().filter(|entry| entry.learnt) {
            let port = channels.get(&entry.port).copied().unwrap_or(entry.port);
            around.addresses.entry(port).or_default().insert(entry.mac);
        }
        for far in &found.neighbours {
            let told = [Some(&far.chassis), Some(&far.far_port), far.name.as_ref()];
            let told = told.into_iter().flatten().filter(|text| !text.is_empty()).cloned();
            around.neighbours.entry(far.port).or_default().extend(told);
        }
        for link in &found.fabric {
            around.neighbours.entry(link.port).or_default().insert(link.name.clone());
        }
        Ok(around)
    }
}
