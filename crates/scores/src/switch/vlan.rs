//! `switch.vlan/1`: a VLAN that is there, by name, or is not.

use std::collections::BTreeSet;

use protocols::{Kind, Name, Subject};
use serde::{Deserialize, Serialize};

use super::play::{Declares, subject};
use super::snapshot::DEFAULT_VLAN;
use super::{Config, Snapshot, Touched, Vlan, text};
use crate::{Invalid, Score};

/// A VLAN that shall be, or shall not be. Its ports are declared with `switch.interface/1`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VlanScore {
    /// The switch.
    pub device: Name,
    /// The VLAN.
    pub vlan: u16,
    /// Its name. Left alone where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Whether there shall be no such VLAN. It is removed only when no port is in it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub absent: bool,
}

impl Score for VlanScore {
    const KIND: Kind = Kind::from_static("switch.vlan/1");

    fn subject(&self) -> Subject {
        subject(&self.device, "vlan", self.vlan)
    }

    fn check(&self) -> Result<(), Invalid> {
        text::vlan("vlan", self.vlan)?;
        if self.vlan == DEFAULT_VLAN {
            return Err(Invalid::at("vlan", "the default VLAN is the device's own"));
        }
        if let Some(name) = &self.name {
            text::word("name", name, text::NAME_BYTES_MAX)?;
            if self.absent {
                return Err(Invalid::at("absent", "a VLAN that shall not be has no name"));
            }
        }
        Ok(())
    }
}

impl Declares for VlanScore {
    fn device(&self) -> &Name {
        &self.device
    }

    fn touched(&self, _now: &Snapshot) -> Touched {
        Touched { vlans: BTreeSet::from([self.vlan]), ..Touched::default() }
    }

    fn declare(&self, _now: &Snapshot, config: &mut Config) {
        if self.absent {
            config.vlans.remove(&self.vlan);
            return;
        }
        let vlan: &mut Vlan = config.vlans.entry(self.vlan).or_default();
        if let Some(name) = &self.name {
            vlan.name = Some(name.clone());
        }
    }

    fn objections(&self, now: &Snapshot) -> Vec<String> {
        let mut all = Vec::new();
        if self.absent {
            let members = now.running.members_of(self.vlan);
            if !members.is_empty() && now.running.vlans.contains_key(&self.vlan) {
                let members: Vec<String> = members.iter().map(ToString::to_string).collect();
                all.push(format!("VLAN {} has members: {}", self.vlan, members.join(" ")));
            }
            return all;
        }
        if let Some(name) = &self.name {
            let found = now.running.vlans.get(&self.vlan);
            if !now.family.forgets_vlan_names() && found.is_some_and(|vlan| vlan.name.is_none()) {
                all.push(format!(
                    "VLAN {} is there without a name, and this switch cannot take a name away again, so it could not be undone",
                    self.vlan
                ));
            }
            if name.len() > now.family.vlan_name_bytes_max() {
                all.push(format!("a name may have {} bytes here", now.family.vlan_name_bytes_max()));
            }
            let other =
                now.running.vlans.iter().find(|(id, vlan)| **id != self.vlan && vlan.name.as_ref() == Some(name));
            if let Some((id, _)) = other {
                all.push(format!("the name {name:?} is in use by VLAN {id}"));
            }
        }
        all
    }
}
