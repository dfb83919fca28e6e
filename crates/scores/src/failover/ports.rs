//! The action `switch-port`: the ports of switches that lead to a silent writer are shut, by the agents that manage them.

use std::collections::BTreeMap;

use failover::settings::Rung;
use protocols::Name;
use serde::{Deserialize, Serialize};

use super::{RungTime, Succession};
use crate::Invalid;
use crate::switch::Port;

/// A port of a switch, and the agent that manages the switch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SwitchPort {
    /// The agent, by its node's name.
    pub agent: Name,
    /// What that agent calls the switch.
    pub device: Name,
    /// The port.
    pub port: Port,
}

/// The name of the action.
pub const SWITCH_PORT: &str = "switch-port";
/// How many ports may lead to one candidate.
pub const PORTS_MAX: usize = 8;

impl Succession {
    /// Whether a silent writer is cut off by the ports that lead to it.
    pub fn shuts_ports(&self) -> bool {
        self.remote.as_ref().is_some_and(|remote| is_switch_port(&remote.rung))
    }

    /// Checks which ports are named, and that they can be of use.
    pub(super) fn check_ports(&self) -> Result<(), Invalid> {
        if self.ladder.iter().any(|RungTime { rung, .. }| is_switch_port(rung)) {
            return Err(Invalid::at(
                "ladder",
                "`switch-port` is an action of others against a silent writer: `remote`",
            ));
        }
        if !self.shuts_ports() {
            return match self.ports.is_empty() {
                true => Ok(()),
                false => {
                    Err(Invalid::at("ports", "are of use to `remote = { rung = { action = \"switch-port\" }, … }`"))
                }
            };
        }
        if self.ports.is_empty() {
            return Err(Invalid::at("ports", "must name the switch ports that lead to each candidate"));
        }
        for (name, ports) in &self.ports {
            if !self.candidates.is_empty() && !self.candidates.contains(name) {
                return Err(Invalid::at("ports", format!("names `{name}`, which is no candidate")));
            }
            if ports.is_empty() || ports.len() > PORTS_MAX {
                return Err(Invalid::at(
                    "ports",
                    format!("names {} for `{name}`; 1 to {PORTS_MAX} can lead to it", ports.len()),
                ));
            }
            if let Some(channel) = ports.iter().find(|port| port.port.channel_id().is_some()) {
                return Err(Invalid::at(
                    "ports",
                    format!("`{}` of `{name}`: name its members one by one", channel.port),
                ));
            }
        }
        if let Some(without) = self.candidates.iter().find(|name| !self.ports.contains_key(*name)) {
            return Err(Invalid::at("ports", format!("names none for the candidate `{without}`")));
        }
        Ok(())
    }
}

pub(super) fn is_switch_port(rung: &Rung) -> bool {
    matches!(rung, Rung::Action(name) if name == SWITCH_PORT)
}

/// Which ports lead to whom.
pub type Ports = BTreeMap<Name, Vec<SwitchPort>>;
