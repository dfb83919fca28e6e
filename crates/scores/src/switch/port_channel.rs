//! `switch.port-channel/1`: a port channel, static or by LACP, with its members as one set.

use std::collections::BTreeSet;

use protocols::{Kind, Name, Subject};
use serde::{Deserialize, Serialize};

use super::play::{Declares, subject};
use super::{Config, Family, Lag, LagMode, Membership, Port, Snapshot, Touched, text};
use crate::{Invalid, Score};

/// A port channel that shall be, or shall not be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PortChannelScore {
    /// The switch.
    pub device: Name,
    /// Its name. Where a device has no names for port channels, it is told by `id`.
    pub name: String,
    /// Its id. Where nothing is said it keeps the one it has, or gets the lowest that is free.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<u16>,
    /// How its members agree with their peers.
    #[serde(default = "lacp")]
    pub mode: LagMode,
    /// All its member ports.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub members: BTreeSet<Port>,
    /// Its description, on devices where a port channel is a port of its own. Left alone where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Whether there shall be none of this name.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub absent: bool,
}

const fn lacp() -> LagMode {
    LagMode::Lacp
}

impl Score for PortChannelScore {
    const KIND: Kind = Kind::from_static("switch.port-channel/1");

    fn subject(&self) -> Subject {
        subject(&self.device, "port-channel", &self.name)
    }

    fn check(&self) -> Result<(), Invalid> {
        text::word("name", &self.name, text::NAME_BYTES_MAX)?;
        if self.id == Some(0) {
            return Err(Invalid::at("id", "ids start at 1"));
        }
        if let Some(description) = &self.description {
            text::line("description", description, text::DESCRIPTION_BYTES_MAX)?;
        }
        if self.absent {
            if !self.members.is_empty() || self.description.is_some() {
                return Err(Invalid::at("absent", "one that shall not be has no members and no description"));
            }
            return Ok(());
        }
        if self.members.is_empty() || self.members.len() > MEMBERS_MAX {
            let why = format!("there are {} and may be 1 to {MEMBERS_MAX}", self.members.len());
            return Err(Invalid::at("members", why));
        }
        if let Some(port) = self.members.iter().find(|port| port.channel_id().is_some()) {
            return Err(Invalid::at("members", format!("{port} is a port channel itself")));
        }
        Ok(())
    }
}

impl PortChannelScore {
    /// Its id on this switch: the one it has, the one that is declared, or the lowest that is free.
    fn id_on(&self, now: &Snapshot) -> Option<u16> {
        let named = |config: &Config| {
            config.lags.iter().find(|(_, lag)| lag.name.as_ref() == Some(&self.name)).map(|(id, _)| *id)
        };
        if self.id.is_some() || !now.family.names_lags() {
            return self.id;
        }
        let taken = |id: &u16| now.running.lags.contains_key(id) || now.startup.lags.contains_key(id);
        let known = named(&now.running).or_else(|| named(&now.startup));
        known.or_else(|| if self.absent { None } else { now.family.lag_ids().find(|id| !taken(id)) })
    }
}

impl Declares for PortChannelScore {
    fn device(&self) -> &Name {
        &self.device
    }

    fn touched(&self, now: &Snapshot) -> Touched {
        let mut touched = Touched::default();
        let Some(id) = self.id_on(now) else { return touched };
        touched.lags.insert(id);
        touched.ports.insert(Port::channel(id));
        touched.ports.extend(self.members.iter().copied());
        for config in [&now.running, &now.startup] {
            touched.ports.extend(config.lags.get(&id).iter().flat_map(|lag| lag.members.iter().copied()));
        }
        touched
    }

    fn declare(&self, now: &Snapshot, config: &mut Config) {
        let Some(id) = self.id_on(now) else { return };
        let port = Port::channel(id);
        if self.absent {
            let same = |lag: &Lag| !now.family.names_lags() || lag.name.as_ref() == Some(&self.name);
            if config.lags.get(&id).is_some_and(same) {
                config.lags.remove(&id);
                config.ports.remove(&port);
            }
            return;
        }
        let named = now.family.names_lags();
        let deploys = now.family == Family::FastIronDeploy;
        let kept = config.lags.get(&id).and_then(|lag| lag.primary).filter(|primary| self.members.contains(primary));
        let primary = if deploys { kept.or_else(|| self.members.first().copied()) } else { None };
        let name = named.then(|| self.name.clone());
        let lag = Lag { name, mode: self.mode, members: self.members.clone(), primary, deployed: true };
        config.lags.insert(id, lag);
        if let Some(description) = &self.description {
            let described = super::PortConfig { description: Some(description.clone()), ..config.port(port) };
            config.set_port(port, described);
        }
    }

    fn objections(&self, now: &Snapshot) -> Vec<String> {
        let mut all = Vec::new();
        let family = now.family;
        if let Some(id) = self.id.filter(|id| !family.lag_ids().contains(id)) {
            let ids = family.lag_ids();
            all.push(format!("the id {id} is not one of {} to {}", ids.start(), ids.end()));
        }
        let Some(id) = self.id_on(now) else {
            if !family.names_lags() {
                all.push("this switch tells port channels by number alone: declare an `id`".into());
            } else if !self.absent {
                all.push("no id is free for another port channel".into());
            }
            return all;
        };
        if family.names_lags() {
            for (other, lag) in &now.running.lags {
                let (same_id, same_name) = (*other == id, lag.name.as_ref() == Some(&self.name));
                if same_id && !same_name && !self.absent {
                    let name = lag.name.as_deref().unwrap_or("");
                    all.push(format!("the id {id} is in use by the port channel {name:?}"));
                }
                if same_name && !same_id {
                    all.push(format!("the name {:?} is in use by the port channel {other}", self.name));
                }
            }
        }
        if self.absent {
            return all;
        }
        if self.description.is_some() && !family.has_lag_ports() {
            all.push("a port channel of this switch has no description: leave it out".into());
        }
        if self.members.len() > family.lag_members_max() {
            all.push(format!("it may have {} members", family.lag_members_max()));
        }
        self.object_to_members(now, id, &mut all);
        all
    }
}

impl PortChannelScore {
    fn object_to_members(&self, now: &Snapshot, id: u16, all: &mut Vec<String>) {
        let mut speeds = BTreeSet::new();
        let mut new_ones = Vec::new();
        for port in &self.members {
            let Some(link) = now.links.get(port) else {
                all.push(format!("there is no port {port}"));
                continue;
            };
            if let Some(megabits) = link.megabits.filter(|_| link.up) {
                speeds.insert(megabits);
            }
            match now.running.lag_of(*port) {
                Some((other, _)) if other == id => {}
                Some((other, lag)) => {
                    let name = lag.name.as_ref().map_or_else(String::new, |name| format!(" {name:?}"));
                    all.push(format!("port {port} is in the port channel {other}{name}"));
                }
                None => {
                    let config = now.running.port(*port);
                    if let Some(layer3) = &config.layer3 {
                        all.push(format!("port {port} has layer-3 configuration: `{layer3}`"));
                    }
                    new_ones.push((*port, config.vlans));
                }
            }
        }
        if speeds.len() > 1 {
            let speeds: Vec<String> = speeds.iter().map(u32::to_string).collect();
            all.push(format!("its members run at different speeds: {} Mbit/s", speeds.join(", ")));
        }
        // What members must have: in the old syntax what the primary port has, else nothing of their own.
        let led = now.running.lags.get(&id).filter(|lag| lag.deployed).and_then(|lag| lag.primary);
        let wanted = match (now.family, led) {
            (Family::FastIronDeploy, Some(primary)) => {
                let vlans = now.running.port(primary).vlans;
                if !self.members.contains(&primary) && vlans != Membership::default() {
                    all.push(format!(
                        "port {primary} is its primary port, whose VLANs ({vlans}) all members have: it cannot leave it"
                    ));
                }
                Some(vlans)
            }
            (Family::FastIronDeploy, None) => new_ones.first().map(|(_, vlans)| vlans.clone()),
            (Family::FastIron | Family::NetworkOs, _) => Some(Membership::default()),
        };
        for (port, vlans) in new_ones {
            if wanted.as_ref().is_some_and(|wanted| *wanted != vlans) {
                let wanted = wanted.clone().unwrap_or_default();
                all.push(format!("port {port} is in {vlans}, and to be a member it must be in {wanted}"));
            }
        }
    }
}

/// The most members of any port channel.
const MEMBERS_MAX: usize = 64;
