//! An open session, and what is known of the device since it was opened.

use scores::switch::{Family, Link, Snapshot};

use super::spoken::Spoken;
use crate::dialect::{self, Why};
use crate::parse::{self, Interface, ParsedConfig, System, Unit, Version};
use crate::session::{Session, SessionError};

pub(super) struct Live {
    pub(super) session: Session,
    pub(super) version: Version,
    pub(super) spoken: Spoken,
    /// Whether FastIron has said that it knows LAGs as interfaces.
    pub(super) asked: Option<Option<bool>>,
    /// What was read last, with every change since.
    pub(super) snapshot: Option<Snapshot>,
}

impl Live {
    /// Reads both configurations and the links.
    pub(super) async fn read(&mut self) -> Result<Snapshot, SessionError> {
        let running = self.running().await?;
        let startup = match self.version.system {
            System::FastIron => parse::fastiron::configuration(&self.session.show("show configuration").await?)?,
            System::NetworkOs => parse::nos::configuration(&self.session.show("show startup-config").await?)?,
        };
        let links = self.interfaces().await?;
        let (family, _) = self.family(&running).await?;
        let (mut running, mut startup) = (running.config, startup.config);
        if family == Family::FastIron {
            // They know no other state.
            for lag in running.lags.values_mut().chain(startup.lags.values_mut()) {
                lag.deployed = true;
            }
        }
        let link = |interface: Interface| (interface.port, Link { up: interface.up, megabits: interface.megabits });
        let snapshot = Snapshot { family, running, startup, links: links.into_iter().map(link).collect() };
        self.snapshot = Some(snapshot.clone());
        Ok(snapshot)
    }

    /// The running configuration, as the command line prints it: changes are made and read back in the same words.
    pub(super) async fn running(&mut self) -> Result<ParsedConfig, SessionError> {
        let lines = self.session.show("show running-config").await?;
        Ok(match self.version.system {
            System::FastIron => parse::fastiron::configuration(&lines)?,
            System::NetworkOs => parse::nos::configuration(&lines)?,
        })
    }

    /// The interfaces and the state of their links.
    pub(super) async fn interfaces(&mut self) -> Result<Vec<Interface>, SessionError> {
        if let Some(client) = self.spoken.client() {
            return client.interfaces().await;
        }
        Ok(match self.version.system {
            System::FastIron => parse::fastiron::interfaces(&self.session.show("show interfaces brief").await?)?,
            System::NetworkOs => parse::nos::interfaces(&self.session.show("show interface status").await?)?,
        })
    }

    /// What it is, with the units that Network OS does not name in `show version`: all switches of the fabric by
    /// NETCONF, and on the command line the one that one is logged in to.
    pub(super) async fn units(&mut self) -> Result<Version, SessionError> {
        if self.version.system == System::FastIron {
            return Ok(self.version.clone());
        }
        let mut version = self.version.clone();
        let told = match self.spoken.client() {
            Some(client) => client.nodes().await?,
            None => Vec::new(),
        };
        if !told.is_empty() {
            let first = told.first().and_then(|unit| unit.model.clone());
            version.model = first.filter(|model| told.iter().all(|unit| unit.model.as_ref() == Some(model)));
            version.units = told;
            return Ok(version);
        }
        let chassis = match self.session.try_show("show inventory chassis").await? {
            Some(lines) => Some(parse::nos::inventory(&lines)?),
            None => match self.session.try_show("show chassis").await? {
                Some(lines) => Some(parse::nos::chassis(&lines)?),
                None => None,
            },
        };
        if let Some(chassis) = chassis {
            // What `show version` counts are the modules of one chassis.
            let id = version.units.first().map_or(0, |unit| unit.id);
            version.model.clone_from(&chassis.model);
            version.units = vec![Unit { id, model: chassis.model, serial: chassis.serial }];
        }
        Ok(version)
    }

    /// Which syntax of port channels it has, and how that is known.
    pub(super) async fn family(&mut self, running: &ParsedConfig) -> Result<(Family, Why), SessionError> {
        if self.version.system == System::NetworkOs {
            return Ok((Family::NetworkOs, Why::System));
        }
        if let Some(family) = dialect::configured_family(running) {
            return Ok((family, Why::Configured));
        }
        let asked = match self.asked {
            Some(asked) => asked,
            None => {
                let answer = match self.session.show(dialect::LAG_QUESTION).await {
                    Ok(_) => Ok(()),
                    Err(SessionError::Refused { said, .. }) => Err(said),
                    Err(error) => return Err(error),
                };
                *self.asked.insert(dialect::knows_lag_interfaces(answer.as_ref().map_err(String::as_str)))
            }
        };
        dialect::told_family(&self.version.version, asked)
            .ok_or_else(|| SessionError::UnknownSystem(format!("FastIron of the version {}", self.version.version)))
    }
}
