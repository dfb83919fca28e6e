//! What a device tells of itself and of what is plugged into it.

use scores::switch::Family;

use super::Device;
use super::spoken::Spoken;
use crate::Declaration;
use crate::parse::{self, FabricLink, Interface, LagState, MacEntry, Neighbour, System, Version, VlanState};
use crate::session::{Session, SessionError};

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
    /// The links of the fabric; nothing where there is none. By NETCONF every member of it tells its own, so that each
    /// stands there from both ends.
    pub fabric: Vec<FabricLink>,
    /// Its VLANs.
    pub vlans: Vec<VlanState>,
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
    /// Which syntax of port channels it has.
    pub family: Family,
    /// How that is known.
    pub family_told: String,
    /// Whether it is read by NETCONF.
    pub netconf: NetconfFound,
}

/// Whether a device is read by NETCONF, and what is found then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NetconfFound {
    /// It is not, and why.
    No(String),
    /// It is.
    Yes {
        /// Whether its messages go in chunks (base:1.1).
        chunked: bool,
        /// How many capabilities it announces.
        capabilities: usize,
        /// Where its running configuration says other things by NETCONF than on the command line, in ports, port
        /// channels and VLANs.
        differences: Vec<String>,
    },
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
        let running = live.running().await?;
        let (family, why) = live.family(&running).await?;
        let version = live.units().await?;
        let netconf = match &mut live.spoken {
            Spoken::Lines(why) => NetconfFound::No(why.clone()),
            Spoken::Netconf(client) => {
                let told = client.configuration().await?;
                NetconfFound::Yes {
                    chunked: client.hello().is_chunked(),
                    capabilities: client.hello().capabilities.len(),
                    differences: parse::netconf::differences(&running.config, &told),
                }
            }
        };
        Ok(Probe {
            host_key: live.session.host_key().to_owned(),
            algorithms: live.session.agreed().to_vec(),
            version,
            family,
            family_told: why.to_string(),
            netconf,
        })
    });
    let found = found.await;
    device.close().await;
    found
}

impl Device {
    /// What `show …` prints, line by line.
    ///
    /// # Errors
    /// [`SessionError`]; also when it is more than one line that shall be typed.
    pub async fn show(&self, what: &str) -> Result<Vec<String>, SessionError> {
        if what.contains(|c: char| c.is_control()) || what.len() > SHOW_BYTES_MAX {
            return Err(SessionError::Impossible("show what stands in no one line".into()));
        }
        self.reading(async |live| live.session.show(&format!("show {what}")).await).await
    }

    /// Asks it for all that it tells.
    ///
    /// # Errors
    /// [`SessionError`]; also when something that it says is not understood.
    pub async fn inventory(&self) -> Result<Inventory, SessionError> {
        self.reading(async |live| {
            let interfaces = live.interfaces().await?;
            let version = live.units().await?;
            let session = &mut live.session;
            Ok(match (version.system, live.spoken.client()) {
                (System::FastIron, _) => Inventory {
                    interfaces,
                    lags: parse::fastiron::lags(&session.show("show lag").await?)?,
                    addresses: parse::fastiron::addresses(&session.show("show mac-address").await?)?,
                    neighbours: match session.try_show("show lldp neighbors").await? {
                        Some(lines) => parse::fastiron::neighbours(&lines)?,
                        None => Vec::new(),
                    },
                    fabric: Vec::new(),
                    vlans: parse::fastiron::vlans(&session.show("show vlan").await?)?,
                    version,
                },
                (System::NetworkOs, client) => {
                    let addresses = parse::nos::addresses(&session.show("show mac-address-table").await?)?;
                    let neighbours = match session.try_show("show lldp neighbors").await? {
                        Some(lines) => parse::nos::neighbours(&lines)?,
                        None => Vec::new(),
                    };
                    let (lags, fabric, vlans) = match client {
                        Some(client) => (client.lags().await?, client.fabric().await?, client.vlans().await?),
                        None => by_lines(session).await?,
                    };
                    Inventory { interfaces, lags, addresses, neighbours, fabric, vlans, version }
                }
            })
        })
        .await
    }
}

/// What NETCONF would tell, from the command line of Network OS.
async fn by_lines(session: &mut Session) -> Result<(Vec<LagState>, Vec<FabricLink>, Vec<VlanState>), SessionError> {
    let lags = parse::nos::lags(&session.show("show port-channel").await?)?;
    let fabric = match session.try_show("show fabric isl").await? {
        Some(lines) => parse::nos::fabric(&lines)?,
        None => Vec::new(),
    };
    // Its table of VLANs is wrapped where nobody knows; the configuration names them all.
    let running = parse::nos::configuration(&session.show("show running-config").await?)?;
    let vlans = running.config.vlans.into_iter().map(|(id, vlan)| VlanState { id, name: vlan.name });
    Ok((lags, fabric, vlans.collect()))
}

/// The longest of what is shown, in bytes.
const SHOW_BYTES_MAX: usize = 256;
