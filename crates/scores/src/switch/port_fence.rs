//! `switch.port-fence/1`: a port that is shut, so that whatever is behind it can no longer write anywhere.
//!
//! It governs the administrative state alone. A `switch.interface/1` for the same port should leave `enabled` out.

use std::collections::BTreeSet;

use protocols::{Kind, Name, Subject};
use serde::{Deserialize, Serialize};

use super::interface::missing_port;
use super::play::{Declares, subject};
use super::{Config, Port, Snapshot, Touched};
use crate::{Invalid, Score};

/// Whether a port is shut. It counts only when the link is seen to be down.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PortFenceScore {
    /// The switch.
    pub device: Name,
    /// The port.
    pub port: Port,
    /// Whether it is shut, or open again.
    pub fenced: bool,
}

impl Score for PortFenceScore {
    const KIND: Kind = Kind::from_static("switch.port-fence/1");

    fn subject(&self) -> Subject {
        subject(&self.device, "port-fence", self.port)
    }

    fn check(&self) -> Result<(), Invalid> {
        if self.port.channel_id().is_some() {
            return Err(Invalid::at("port", "a fence shuts a port; shut the members of a port channel one by one"));
        }
        Ok(())
    }
}

impl Declares for PortFenceScore {
    fn device(&self) -> &Name {
        &self.device
    }

    fn touched(&self, _now: &Snapshot) -> Touched {
        Touched { ports: BTreeSet::from([self.port]), ..Touched::default() }
    }

    fn declare(&self, _now: &Snapshot, config: &mut Config) {
        let port = super::PortConfig { enabled: !self.fenced, ..config.port(self.port) };
        config.set_port(self.port, port);
    }

    fn objections(&self, now: &Snapshot) -> Vec<String> {
        missing_port(now, self.port)
    }
}
