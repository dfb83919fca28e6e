//! How a bond is undone on both sides, also where the only way to the switch leads through the interfaces of the bond.
//!
//! The switch is undone first: a host whose interfaces are bonded carries traffic by one of them whatever the switch does,
//! while one without a bond is cut off by ports that wait for LACP. So a host that was booted in the middle, and that
//! reaches neither the switch nor a coordinator, bonds its interfaces once more for as long as that takes.

use std::time::Duration;

use tokio::time::Instant;

use super::notes::Notes;
use super::play::path;
use super::{BondScore, HostBond, HostNetwork, Plugged};
use crate::switch::{bring_back_channel, is_as_before};
use crate::topology::{Pair, Side};
use crate::{DeviceError, Trial, chain};

/// What the host's end is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Bonded,
    AsBefore,
}

impl BondScore {
    /// Brings back both sides, in reverse.
    pub(super) async fn bring_back<H: HostNetwork, W: Plugged>(
        &self,
        on: &Pair<H, W>,
        trial: &Trial,
    ) -> Result<(), DeviceError> {
        let notes = Notes::read(trial).await?;
        if notes.as_ref().is_some_and(|notes| !notes.sent) {
            // What the switch has is none of this bond's, and a host that is cut off needs nobody to get back.
            return self.bring_back_host(on, trial).await;
        }
        let Some(mut why) = bring_back_switch(on, trial, AGAIN_WITHIN).await? else {
            return self.bring_back_host(on, trial).await;
        };
        let Some(notes) = notes.filter(|_| why.is_transient()) else { return Err(why) };
        if !is_cut_off(on, trial).await {
            // The host has its network: it waits for the switch as it is.
            return Err(why);
        }
        let looked = on.first().look(&self.name).await;
        let bonded = looked.is_ok_and(|host| host.running.as_ref() == Some(&notes.bond) && self.is_made(&host));
        let ways: &[Shape] =
            if bonded { &[Shape::AsBefore, Shape::Bonded] } else { &[Shape::Bonded, Shape::AsBefore, Shape::Bonded] };
        for shape in ways {
            tracing::warn!(error = %chain(&why), "this host is cut off: it looks for the switch as {shape:?}");
            let taken = match shape {
                Shape::Bonded => self.bond_again(on, &notes.bond).await,
                Shape::AsBefore => self.bring_back_host(on, trial).await,
            };
            if let Err(error) = taken {
                tracing::warn!(error = %chain(&error), "this end could not be made so");
            }
            match bring_back_switch(on, trial, WAY_WITHIN).await? {
                None => return self.bring_back_host(on, trial).await,
                Some(error) => why = error,
            }
        }
        Err(why)
    }

    async fn bond_again<H: HostNetwork, W: Plugged>(
        &self,
        on: &Pair<H, W>,
        bond: &HostBond,
    ) -> Result<(), DeviceError> {
        on.first().set(bond).await.map_err(|error| on.told(Side::First, error))?;
        self.made(on).await
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

/// Brings back the switch's side, as often as it takes in this time; says why it could not be.
///
/// # Errors
/// If it must not be: another agent may have changed it since, and it has something of this bond.
async fn bring_back_switch<H: HostNetwork, W: Plugged>(
    on: &Pair<H, W>,
    trial: &Trial,
    within: Duration,
) -> Result<Option<DeviceError>, DeviceError> {
    let part = Side::Second.part(trial);
    let told = |error| on.told(Side::Second, error);
    let until = Instant::now() + within;
    loop {
        let error = match bring_back_channel(on.second(), &part).await {
            Ok(()) => return Ok(None),
            Err(overtaken) if overtaken.is_overtaken() => {
                // The switch is left as it is. A host without a bond would be cut off by a port channel that stays: it
                // goes back only if there is nothing to leave.
                match is_as_before(on.second(), &part).await {
                    Ok(true) => return Ok(None),
                    Ok(false) => return Err(told(overtaken)),
                    Err(error) => error,
                }
            }
            Err(error) => error,
        };
        if !error.is_transient() || Instant::now() >= until {
            return Ok(Some(told(error)));
        }
        tracing::info!(error = %chain(&error), "undoing the switch's side again");
        tokio::time::sleep(AGAIN_PAUSE).await;
    }
}

/// Whether this host reaches neither the switch nor a coordinator.
async fn is_cut_off<H: HostNetwork, W: Plugged>(on: &Pair<H, W>, trial: &Trial) -> bool {
    if !on.second().read().await.is_err_and(|error| error.is_transient()) {
        return false;
    }
    // What was had is no news, and an exclusive device is had for ever: who gives it back and has it again was heard.
    on.second().release(&trial.subject);
    !matches!(on.second().claim(&trial.subject).await, Ok(Some(_)))
}

/// How long the switch's side is tried as the host is.
const AGAIN_WITHIN: Duration = Duration::from_secs(10);
/// How long one end or the other has to lead to the switch: ports may learn for 30 seconds before they carry.
const WAY_WITHIN: Duration = Duration::from_secs(60);
/// The pause before it is tried again.
const AGAIN_PAUSE: Duration = Duration::from_secs(1);
