//! Making a system permanent: the decision, the profile, the boot entry, and what is remembered.

use scores::nixos::{NixosScore, StorePath};
use scores::{DeviceError, Trial};

use super::activate::Switched;
use super::journal::{Decision, Journal, Phase, decide};
use super::roots::Root;
use super::scripts::Script;
use super::{NixosHost, store_error};

impl NixosHost {
    pub(super) async fn settle(&self, score: &NixosScore, trial: &Trial) -> Result<(), DeviceError> {
        let journal = Journal::require(trial)?;
        if decide(trial, Decision::Confirmed)? == Decision::Reverted {
            return Err(DeviceError::permanent("confirm the system: the machine went back by itself before"));
        }
        self.disarm(&journal, trial).await?;
        self.set_default(&score.toplevel, journal.target.as_ref(), trial).await?;
        self.remember(|memory| memory.probation = None)
    }

    /// Names a system in the profile and to the boot loader.
    pub(super) async fn set_default(
        &self,
        system: &StorePath,
        tools: Option<&StorePath>,
        trial: &Trial,
    ) -> Result<(), DeviceError> {
        let due = self.memory()?.boot_entry_due.as_ref() == Some(system);
        if self.default_system().as_ref() == Some(system) && !due {
            return Ok(());
        }
        // A crash from here on leaves the profile ahead of the boot loader; this says so.
        self.remember(|memory| memory.boot_entry_due = Some(system.clone()))?;
        if self.default_system().as_ref() != Some(system) {
            self.nix.set_profile(&self.paths.profile(), system).await.map_err(store_error)?;
        }
        let doing = || format!("write the boot entry of {system}");
        match self.run_action(system, "boot", tools, trial).await? {
            None => self.remember(|memory| memory.boot_entry_due = None),
            Some(locked @ Switched::Locked) => Err(DeviceError::transient(doing()).because(locked)),
            Some(bad) => Err(DeviceError::permanent(doing()).because(bad)),
        }
    }

    /// Takes the way back away, if one was armed in this boot.
    pub(super) async fn disarm(&self, journal: &Journal, trial: &Trial) -> Result<(), DeviceError> {
        let Phase::Switching(run) = &journal.phase else { return Ok(()) };
        if run.boot != self.boot()? {
            return Ok(());
        }
        self.runner.disarm(&run.back, &Script::new(&trial.dir, "back")).await
    }

    pub(super) async fn remember_confirmed(&self, score: &NixosScore, trial: &Trial) -> Result<(), DeviceError> {
        if let Some(journal) = Journal::read(trial)? {
            self.disarm(&journal, trial).await?;
        }
        if self.current().as_ref() == Some(&score.toplevel) {
            if let Some(old) = self.held(Root::Confirmed).filter(|old| *old != score.toplevel) {
                self.hold(Root::Previous, &old)?;
            }
            self.hold(Root::Confirmed, &score.toplevel)?;
            self.remember(|memory| {
                memory.confirmed = Some(score.toplevel.clone());
                memory.probation = None;
            })?;
        }
        // What waits for a boot is held by the profile.
        self.release(Root::Candidate)
    }
}
