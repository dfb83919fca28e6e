//! `switch.interface/1`: a port's VLANs, description, administrative state and place in the spanning tree.

use std::collections::BTreeSet;

use protocols::{Kind, Name, Subject};
use serde::{Deserialize, Serialize};

use super::play::{Declares, subject};
use super::snapshot::DEFAULT_VLAN;
use super::{Config, Family, Membership, Port, Snapshot, Touched, text};
use crate::{Invalid, Score};

/// What a port shall be. What is not said is left alone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InterfaceScore {
    /// The switch.
    pub device: Name,
    /// The port, or the port channel as `lg12`.
    pub port: Port,
    /// Its description.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Whether it is administratively up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Which VLANs it carries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<PortMode>,
    /// Whether spanning tree holds it for an edge port, behind which there is no bridge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edge: Option<bool>,
}

/// Which VLANs a port carries.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum PortMode {
    /// One, untagged.
    Access {
        /// The VLAN.
        vlan: u16,
    },
    /// Some tagged, and one untagged.
    Trunk {
        /// The VLANs of tagged frames.
        tagged: BTreeSet<u16>,
        /// The VLAN of untagged frames; what the device does by default where nothing is said.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        native: Option<u16>,
    },
}

impl Score for InterfaceScore {
    const KIND: Kind = Kind::from_static("switch.interface/1");

    fn subject(&self) -> Subject {
        subject(&self.device, "interface", self.port)
    }

    fn check(&self) -> Result<(), Invalid> {
        if let Some(description) = &self.description {
            text::line("description", description, text::DESCRIPTION_BYTES_MAX)?;
        }
        match &self.mode {
            Some(PortMode::Access { vlan }) => text::vlan("mode.access.vlan", *vlan)?,
            Some(PortMode::Trunk { tagged, native }) => {
                if tagged.is_empty() {
                    return Err(Invalid::at("mode.trunk.tagged", "there are none"));
                }
                for vlan in tagged.iter().chain(native) {
                    text::vlan("mode.trunk", *vlan)?;
                }
                if let Some(native) = native.filter(|native| tagged.contains(native)) {
                    return Err(Invalid::at("mode.trunk.native", format!("VLAN {native} is among the tagged ones")));
                }
            }
            None => {}
        }
        if self.description.is_none() && self.enabled.is_none() && self.mode.is_none() && self.edge.is_none() {
            return Err(Invalid::at("", "nothing is declared of the port"));
        }
        Ok(())
    }
}

impl InterfaceScore {
    fn membership(&self, family: Family) -> Option<Membership> {
        // The default VLAN is not written down for a port, but where a port is a switched one only if something is.
        let untagged = |vlan: u16| (vlan != DEFAULT_VLAN || family == Family::NetworkOs).then_some(vlan);
        Some(match self.mode.as_ref()? {
            PortMode::Access { vlan } => Membership { untagged: untagged(*vlan), ..Membership::default() },
            PortMode::Trunk { tagged, native } => Membership {
                // In the old syntax of FastIron a tagged port is in no VLAN untagged, unless that is said.
                untagged: native.filter(|vlan| *vlan != DEFAULT_VLAN || family == Family::FastIronDeploy),
                tagged: tagged.clone(),
                all: false,
                trunk: family == Family::NetworkOs,
            },
        })
    }
}

impl Declares for InterfaceScore {
    fn device(&self) -> &Name {
        &self.device
    }

    fn touched(&self, _now: &Snapshot) -> Touched {
        Touched { ports: BTreeSet::from([self.port]), ..Touched::default() }
    }

    fn declare(&self, now: &Snapshot, config: &mut Config) {
        let mut port = config.port(self.port);
        if let Some(description) = &self.description {
            port.description = Some(description.clone());
        }
        if let Some(enabled) = self.enabled {
            port.enabled = enabled;
        }
        if let Some(edge) = self.edge {
            port.edge = edge;
        }
        if let Some(vlans) = self.membership(now.family) {
            port.vlans = vlans;
        }
        config.set_port(self.port, port);
    }

    fn objections(&self, now: &Snapshot) -> Vec<String> {
        let mut all = missing_port(now, self.port);
        if self.mode.is_some() {
            if let Some((id, _)) = now.running.lag_of(self.port) {
                let primary = now.running.lags.get(&id).and_then(|lag| lag.primary);
                if primary != Some(self.port) {
                    let whose = primary.unwrap_or_else(|| Port::channel(id));
                    all.push(format!("port {} follows the VLANs of {whose}, whose member it is", self.port));
                }
            }
            if let Some(layer3) = now.running.port(self.port).layer3 {
                all.push(format!("port {} has layer-3 configuration: `{layer3}`", self.port));
            }
        }
        if let Some(vlans) = self.membership(now.family) {
            for vlan in vlans.tagged.iter().chain(&vlans.untagged).filter(|vlan| **vlan != DEFAULT_VLAN) {
                if !now.running.vlans.contains_key(vlan) {
                    all.push(format!("there is no VLAN {vlan}"));
                }
            }
        }
        all
    }
}

/// Whether a switch lacks a port.
pub(super) fn missing_port(now: &Snapshot, port: Port) -> Vec<String> {
    let there = match port.channel_id() {
        Some(id) => now.family.has_lag_ports() && now.running.lags.contains_key(&id),
        None => now.links.contains_key(&port),
    };
    if there { Vec::new() } else { vec![format!("there is no port {port}")] }
}
