//! How a bond is made on both sides, and judged; how it is undone is in `back.rs`.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use tokio::time::Instant;

use super::notes::Notes;
use super::{BondObserved, BondScore, BondStep, HostNetwork, Plugged};
use crate::topology::{Pair, Side};
use crate::{DeviceError, Interpret, Plan, Stage, Trial, chain, durable};

impl<H: HostNetwork, W: Plugged> Interpret<Pair<H, W>> for BondScore {
    async fn observe(&self, on: &Pair<H, W>) -> Result<BondObserved, DeviceError> {
        let host = on.first().look(&self.name).await.map_err(|error| on.told(Side::First, error))?;
        let surroundings = on.second().surroundings().await.map_err(|error| on.told(Side::Second, error))?;
        let mut why = self.objections(&host);
        let found = match self.known_ports(&host) {
            Some(ports) => Ok(ports),
            None => {
                let switch = on.second().read().await.map_err(|error| on.told(Side::Second, error))?;
                self.find_ports(&host, &switch, &surroundings)
            }
        };
        let ports = match found {
            Ok(ports) => ports,
            Err(reason) => {
                why.push(reason);
                BTreeSet::new()
            }
        };
        if !why.is_empty() {
            return Err(DeviceError::permanent(format!("not possible on {}: {}", on.first().name(), why.join("; "))));
        }
        let channel = self.port_channel(ports.clone());
        let switch = channel.observe(on.second()).await.map_err(|error| on.told(Side::Second, error))?;
        let found = BondObserved { host, switch, surroundings, ports };
        if let Some(other) = self.others_channel(&found) {
            return Err(DeviceError::permanent(format!("not possible on {}: {other}", on.second().name())));
        }
        let doubts = self.doubts(&found);
        if !doubts.is_empty() {
            // A switch may remember for some minutes where an interface was plugged into before.
            return Err(DeviceError::transient(format!(
                "not possible on {}: {}",
                on.second().name(),
                doubts.join("; ")
            )));
        }
        Ok(found)
    }

    async fn begin(&self, on: &Pair<H, W>, trial: &Trial, steps: &[BondStep]) -> Result<(), DeviceError> {
        let seat = Side::Second.seat(trial).await?;
        let claimed = on.second().claim(&trial.subject).await;
        let grant = claimed.map_err(|error| on.told(Side::Second, error))?.map(|grant| grant.epoch);
        let found = self.observe(on).await?;
        let (bond, ports) = (self.host_bond(&found), found.ports);
        let own: Vec<_> = steps.iter().filter_map(switch_step).cloned().collect();
        let channel = self.port_channel(ports);
        channel.begin(on.second(), &seat, &own).await.map_err(|error| on.told(Side::Second, error))?;
        // Only now: nobody else changes the switch from here on.
        if self.plan(&self.observe(on).await?) != steps {
            return Err(DeviceError::transient("begin: it is not as it was when it was planned"));
        }
        let record = on.first().record(&self.name).await.map_err(|error| on.told(Side::First, error))?;
        let path = file(trial).await?;
        let failed = |error| DeviceError::io("write what was on the host before", error);
        let written = tokio::task::spawn_blocking(move || durable::write(&path, record.as_bytes())).await;
        written.map_err(|error| failed(std::io::Error::other(error)))?.map_err(failed)?;
        Notes { grant, bond, answered: None, sent: false }.write(trial).await
    }

    async fn apply(
        &self,
        on: &Pair<H, W>,
        step: &BondStep,
        trial: &Trial,
        stage: &dyn Stage,
    ) -> Result<(), DeviceError> {
        match step {
            BondStep::Host(bond) => {
                note_contact(trial, stage).await?;
                on.first().set(bond).await.map_err(|error| on.told(Side::First, error))?;
                self.made(on).await?;
                self.reach(on, trial, stage).await
            }
            BondStep::Switch(step) => {
                note_contact(trial, stage).await?;
                Notes::sends(trial).await?;
                let part = Side::Second.part(trial);
                let channel = self.port_channel(BTreeSet::new());
                let applied = channel.apply(on.second(), step, &part, stage).await;
                applied.map_err(|error| on.told(Side::Second, error))
            }
            BondStep::Agree => self.agree(on, trial, stage).await,
            BondStep::Keep(bond) => {
                // It is there already, unless the change goes on after a restart.
                let claimed = self.claim_again(on, trial).await;
                claimed.map_err(|(Lost::ToAnother(error) | Lost::Unknown(error))| on.told(Side::Second, error))?;
                on.first().keep(bond).await.map_err(|error| on.told(Side::First, error))
            }
        }
    }

    async fn confirm(&self, on: &Pair<H, W>, trial: &Trial) -> Result<(), DeviceError> {
        let part = Side::Second.part(trial);
        let channel = self.port_channel(BTreeSet::new());
        channel.confirm(on.second(), &part).await.map_err(|error| on.told(Side::Second, error))
    }

    async fn revert(&self, on: &Pair<H, W>, trial: &Trial) -> Result<(), DeviceError> {
        let reverted = self.bring_back(on, trial).await;
        // Only now: until the host is as before, too, the change goes on.
        if reverted.as_ref().map_or_else(DeviceError::is_overtaken, |()| true) {
            on.second().release(&trial.subject);
        }
        reverted
    }
}

impl BondScore {
    /// Waits until the host's bond has its members.
    pub(super) async fn made<H: HostNetwork, W: Plugged>(&self, on: &Pair<H, W>) -> Result<(), DeviceError> {
        let until = Instant::now() + MADE_WITHIN;
        loop {
            let host = on.first().look(&self.name).await.map_err(|error| on.told(Side::First, error))?;
            if self.is_made(&host) {
                return Ok(());
            }
            if Instant::now() >= until {
                let why = match host.state {
                    None => format!("there is no bond {}", self.name),
                    Some(state) => state.lacking(&self.nics).join("; "),
                };
                let within = MADE_WITHIN.as_secs();
                let doing = format!("see the bond {} within {within} seconds: {why}", self.name);
                return Err(on.told(Side::First, DeviceError::permanent(doing)));
            }
            tokio::time::sleep(LOOK_PAUSE).await;
        }
    }

    /// Waits until the switch is reached again: the way to it may lead through interfaces that were just joined, and their
    /// ports may learn for a while before they carry. Nobody else may have had it meanwhile.
    async fn reach<H: HostNetwork, W: Plugged>(
        &self,
        on: &Pair<H, W>,
        trial: &Trial,
        stage: &dyn Stage,
    ) -> Result<(), DeviceError> {
        let until = Instant::now() + REACH_WITHIN;
        loop {
            let error = match self.claim_again(on, trial).await {
                Ok(()) => match on.second().read().await {
                    Ok(_) => return Ok(()),
                    Err(error) => error,
                },
                Err(Lost::ToAnother(error)) => return Err(on.told(Side::Second, error)),
                Err(Lost::Unknown(error)) => error,
            };
            if !error.is_transient() || Instant::now() >= until || stage.cancelled().is_some() {
                return Err(on.told(Side::Second, error));
            }
            tokio::time::sleep(LOOK_PAUSE).await;
        }
    }

    /// Has the switch again, and sure that nobody else had it since the trial was begun.
    async fn claim_again<H: HostNetwork, W: Plugged>(&self, on: &Pair<H, W>, trial: &Trial) -> Result<(), Lost> {
        let notes = Notes::read(trial).await.map_err(Lost::Unknown)?;
        let grant = on.second().claim(&trial.subject).await.map_err(Lost::Unknown)?;
        let begun = notes.and_then(|notes| notes.grant);
        if grant.zip(begun).is_some_and(|(now, then)| now.overtakes(then)) {
            let why = format!("another agent may have changed `{}` since", on.second().device());
            return Err(Lost::ToAnother(DeviceError::transient(why)));
        }
        Ok(())
    }

    /// Waits until both ends speak LACP on every port, and a coordinator answers if one did before.
    async fn agree<H: HostNetwork, W: Plugged>(
        &self,
        on: &Pair<H, W>,
        trial: &Trial,
        stage: &dyn Stage,
    ) -> Result<(), DeviceError> {
        let answered = Notes::read(trial).await?.and_then(|notes| notes.answered).unwrap_or_default();
        let until = Instant::now() + AGREE_WITHIN;
        loop {
            let mut why = match self.observe(on).await {
                Ok(found) => self.disagreements(&found),
                // While they come to terms nothing may get through.
                Err(error) if error.is_transient() => vec![chain(&error)],
                Err(error) => return Err(error),
            };
            if why.is_empty() && answered {
                why.extend(contact(stage).await.err().map(|error| format!("no coordinator answers any more: {error}")));
            }
            if why.is_empty() {
                return Ok(());
            }
            let why = why.join("; ");
            if stage.cancelled().is_some() {
                return Err(DeviceError::transient(format!("see LACP on every port: it is to stop now: {why}")));
            }
            if Instant::now() >= until {
                let within = AGREE_WITHIN.as_secs();
                return Err(DeviceError::permanent(format!("see LACP on every port within {within} seconds: {why}")));
            }
            tokio::time::sleep(LOOK_PAUSE).await;
        }
    }
}

/// Why the switch is not had any more.
enum Lost {
    /// Another agent may have changed it.
    ToAnother(DeviceError),
    /// That could not be told.
    Unknown(DeviceError),
}

/// Notes before the first step whether a coordinator answers: what could be reached before must be reached afterwards.
async fn note_contact(trial: &Trial, stage: &dyn Stage) -> Result<(), DeviceError> {
    match Notes::read(trial).await? {
        Some(notes) if notes.answered.is_none() => {
            let answered = Some(contact(stage).await.is_ok());
            Notes { answered, ..notes }.write(trial).await
        }
        _ => Ok(()),
    }
}

async fn contact(stage: &dyn Stage) -> Result<(), String> {
    let late = || Err(format!("not within {} seconds", CONTACT_WITHIN.as_secs()));
    tokio::time::timeout(CONTACT_WITHIN, stage.contact()).await.unwrap_or_else(|_| late())
}

fn switch_step(step: &BondStep) -> Option<&crate::switch::SwitchStep> {
    match step {
        BondStep::Switch(step) => Some(step),
        _ => None,
    }
}

/// Where it is kept what the host was like; its folder is made.
async fn file(trial: &Trial) -> Result<PathBuf, DeviceError> {
    Ok(Side::First.seat(trial).await?.dir.join(RECORD))
}

pub(super) fn path(trial: &Trial) -> PathBuf {
    Side::First.part(trial).dir.join(RECORD)
}

/// What it takes to undo the host's side.
const RECORD: &str = "before";
/// How long a host has to make a bond.
const MADE_WITHIN: Duration = Duration::from_secs(30);
/// How long the switch may be out of reach after that: ports may learn for 30 seconds before they carry.
const REACH_WITHIN: Duration = Duration::from_secs(90);
/// How long both ends have to speak LACP: a partner in slow mode says something every 30 seconds.
const AGREE_WITHIN: Duration = Duration::from_secs(120);
/// How long a coordinator may take to answer.
const CONTACT_WITHIN: Duration = Duration::from_secs(20);
/// The pause between two looks.
const LOOK_PAUSE: Duration = Duration::from_millis(500);
