//! What a device tells of itself and of what is plugged into it.

use super::Device;
use crate::Declaration;
use crate::parse::{self, FabricLink, Interface, LagState, MacEntry, Neighbour, System, Version};
use crate::session::SessionError;

/// What is known of a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inventory {
    /// What it is.
    pub version: Version,
    /// Its interfaces.
    pub interfaces: Vec<Interface>,
    /// Its port channels.
    pub lags: Vec<LagState>,
    /// The addresses that it has seen, and behind which ports.
    pub addresses: Vec<MacEntry>,
    /// What says that it is plugged in, by LLDP; nothing where LLDP is off.
    pub neighbours: Vec<Neighbour>,
    /// The links of the fabric; nothing where there is none.
    pub fabric: Vec<FabricLink>,
}

/// What was found where a device is said to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// The fingerprint of its host key.
    pub host_key: String,
    /// The algorithms that were agreed on: key exchange, host key, cipher, MAC.
    pub algorithms: Vec<String>,
    /// What it is.
    pub version: Version,
}

/// Connects to a device, logs in, and tells what it is. Its host key must be the declared one.
///
/// # Errors
/// [`SessionError`].
pub async fn probe(declaration: &Declaration) -> Result<Probe, SessionError> {
    declaration.check().map_err(SessionError::Impossible)?;
    let folder = std::path::PathBuf::new();
    let device = Device::new(declaration.clone(), folder).map_err(SessionError::Impossible)?;
    let found = device.alone(async |live| {
        Ok(Probe {
            host_key: live.session.host_key().to_owned(),
            algorithms: live.session.agreed().to_vec(),
            version: live.version.clone(),
        })
    });
    let found = found.await;
    device.close().await;
    found
}

impl Device {
    /// Asks it for all that it tells.
    ///
    /// # Errors
    /// [`SessionError`]; also when something that it says is not understood.
    pub async fn inventory(&self) -> Result<Inventory, SessionError> {
        self.reading(async |live| {
            let version = live.version.clone();
            let session = &mut live.session;
            Ok(match version.system {
                System::FastIron => Inventory {
                    interfaces: parse::fastiron::interfaces(&session.show("show interfaces brief").await?)?,
                    lags: parse::fastiron::lags(&session.show("show lag").await?)?,
                    addresses: parse::fastiron::addresses(&session.show("show mac-address").await?)?,
                    neighbours: match session.try_show("show lldp neighbors").await? {
                        Some(lines) => parse::fastiron::neighbours(&lines)?,
                        None => Vec::new(),
                    },
                    fabric: Vec::new(),
                    version,
                },
                System::NetworkOs => Inventory {
                    interfaces: parse::nos::interfaces(&session.show("show interface status").await?)?,
                    lags: parse::nos::lags(&session.show("show port-channel").await?)?,
                    addresses: parse::nos::addresses(&session.show("show mac-address-table").await?)?,
                    neighbours: match session.try_show("show lldp neighbors").await? {
                        Some(lines) => parse::nos::neighbours(&lines)?,
                        None => Vec::new(),
                    },
                    fabric: match session.try_show("show fabric isl").await? {
                        Some(lines) => parse::nos::fabric(&lines)?,
                        None => Vec::new(),
                    },
                    version,
                },
            })
        })
        .await
    }
}
