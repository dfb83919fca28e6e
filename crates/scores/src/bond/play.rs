//! How a bond is made on both sides, judged, and undone on both sides.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use tokio::time::Instant;

use super::{BondObserved, BondScore, BondStep, HostNetwork, Plugged};
use crate::switch::{bring_back_channel, is_as_before};
use crate::topology::{Pair, Side};
use crate::{DeviceError, Interpret, Plan, Stage, Trial, durable};

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
        Ok(BondObserved { host, switch, surroundings, ports })
    }

    async fn begin(&self, on: &Pair<H, W>, trial: &Trial, steps: &[BondStep]) -> Result<(), DeviceError> {
        let seat = Side::Second.seat(trial).await?;
        let ports = self.observe(on).await?.ports;
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
        written.map_err(|error| failed(std::io::Error::other(error)))?.map_err(failed)
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
                on.first().set(bond).await.map_err(|error| on.told(Side::First, error))?;
                self.made(on).await
            }
            BondStep::Switch(step) => {
                let part = Side::Second.part(trial);
                let channel = self.port_channel(BTreeSet::new());
                let applied = channel.apply(on.second(), step, &part, stage).await;
                applied.map_err(|error| on.told(Side::Second, error))
            }
            BondStep::Agree => self.agree(on, stage).await,
            BondStep::Keep(bond) => {
                // It is there already, unless the change goes on after a restart.
                let claimed = on.second().claim(&trial.subject).await;
                claimed.map_err(|error| on.told(Side::Second, error))?;
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
    async fn made<H: HostNetwork, W: Plugged>(&self, on: &Pair<H, W>) -> Result<(), DeviceError> {
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

    /// Waits until both ends speak LACP on every port.
    async fn agree<H: HostNetwork, W: Plugged>(&self, on: &Pair<H, W>, stage: &dyn Stage) -> Result<(), DeviceError> {
        let until = Instant::now() + AGREE_WITHIN;
        loop {
            let why = self.disagreements(&self.observe(on).await?);
            if why.is_empty() {
                return Ok(());
            }
            if Instant::now() >= until || stage.cancelled().is_some() {
                let within = AGREE_WITHIN.as_secs();
                let why = why.join("; ");
                return Err(DeviceError::permanent(format!("see LACP on every port within {within} seconds: {why}")));
            }
            tokio::time::sleep(LOOK_PAUSE).await;
        }
    }

    /// Brings back both sides, in reverse: the switch was changed last.
    async fn bring_back<H: HostNetwork, W: Plugged>(&self, on: &Pair<H, W>, trial: &Trial) -> Result<(), DeviceError> {
        let part = Side::Second.part(trial);
        let told = |error| on.told(Side::Second, error);
        let switch = bring_back_channel(on.second(), &part).await;
        match switch {
            Ok(()) => self.bring_back_host(on, trial).await,
            Err(overtaken) if overtaken.is_overtaken() => {
                // The switch is left as it is. A host without a bond would be cut off by a port channel that stays, while
                // one with a bond carries traffic either way: it goes back only if there is nothing to leave.
                if !is_as_before(on.second(), &part).await.map_err(told)? {
                    return Err(told(overtaken));
                }
                self.bring_back_host(on, trial).await
            }
            Err(first) => {
                self.bring_back_host(on, trial).await?;
                // The way to the switch may lead through the interfaces that have just come back.
                tracing::info!(error = %crate::chain(&first), "the host's network is back: undoing the switch's side again");
                bring_back_channel(on.second(), &part).await.map_err(told)
            }
        }
    }

    async fn bring_back_host<H: HostNetwork, W: Plugged>(
        &self,
        on: &Pair<H, W>,
        trial: &Trial,
    ) -> Result<(), DeviceError> {
        let path = path(trial);
        let read = move || match std::fs::read(&path) {
            Ok(bytes) => String::from_utf8(bytes).map(Some).map_err(std::io::Error::other),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        };
        let failed = |error| DeviceError::io("read what was on the host before", error);
        let record = tokio::task::spawn_blocking(read).await;
        let record = record.map_err(|error| failed(std::io::Error::other(error)))?.map_err(failed)?;
        // Nothing was changed before it was written.
        let Some(record) = record else { return Ok(()) };
        on.first().put_back(&self.name, &record).await.map_err(|error| on.told(Side::First, error))
    }
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

fn path(trial: &Trial) -> PathBuf {
    Side::First.part(trial).dir.join(RECORD)
}

/// What it takes to undo the host's side.
const RECORD: &str = "before";
/// How long a host has to make a bond.
const MADE_WITHIN: Duration = Duration::from_secs(30);
/// How long both ends have to speak LACP: a partner in slow mode says something every 30 seconds.
const AGREE_WITHIN: Duration = Duration::from_secs(95);
/// The pause between two looks.
const LOOK_PAUSE: Duration = Duration::from_millis(500);
