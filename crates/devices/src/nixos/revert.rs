//! The way back, taken by the agent: the profile first, then the running system, and then a look whether it is so.

use std::time::Duration;

use scores::nixos::{NixosScore, StorePath};
use scores::{DeviceError, Trial};
use tokio::time::{Instant, sleep};

use super::NixosHost;
use super::activate::{Switched, unit_name};
use super::journal::{Journal, Phase, Run, decide_to_revert, went_back_by_itself};
use super::roots::Root;
use super::scripts::{Script, write_back};

impl NixosHost {
    pub(super) async fn go_back(&self, score: &NixosScore, trial: &Trial) -> Result<(), DeviceError> {
        if let Some(mut journal) = Journal::read(trial)? {
            decide_to_revert_unless_done(trial)?;
            let toplevel = &score.toplevel;
            // The profile first: a power cut from here on boots the old system.
            if let Some(before) = journal.default_before.as_ref().filter(|before| *before != toplevel)
                && self.default_system().as_ref() == Some(toplevel)
            {
                self.set_default(before, journal.target.as_ref(), trial).await?;
            }
            self.switch_back(&mut journal, trial).await?;
        }
        self.remember(|memory| {
            memory.probation = None;
            if memory.boot_entry_due.as_ref() == Some(&score.toplevel) {
                memory.boot_entry_due = None;
            }
        })?;
        self.sweep_imports().await?;
        self.release(Root::Candidate)
    }

    async fn switch_back(&self, journal: &mut Journal, trial: &Trial) -> Result<(), DeviceError> {
        let Some(target) = journal.target.clone() else { return Ok(()) };
        let back = Script::new(&trial.dir, "back");
        let mut done = true;
        if let Phase::Switching(run) = &journal.phase
            && run.boot == self.boot()?
            && !journal.returned
            && journal.returning.is_none()
        {
            done = self.end_way_back(run, &back, trial).await?;
        }
        done &= journal.returning.is_none() || journal.returned;
        if !done || self.current().as_ref() != Some(&target) {
            self.run_back(journal, &target, &back, trial).await?;
        }
        journal.returned = true;
        journal.write(trial)
    }

    /// Lets a way back that began by itself come to its end, and takes away one that did not. Says whether it went back.
    async fn end_way_back(&self, run: &Run, back: &Script, trial: &Trial) -> Result<bool, DeviceError> {
        if !went_back_by_itself(trial) {
            self.runner.disarm(&run.back, back).await?;
            return Ok(false);
        }
        let end = Instant::now() + BACK_TIME;
        while self.runner.is_running(&run.back, back).await? {
            if Instant::now() > end {
                self.runner.stop(&run.back, back).await?;
                break;
            }
            sleep(LOOK).await;
        }
        Ok(matches!(back.exit_status().map(Switched::of), Some(None | Some(Switched::Units))))
    }

    async fn run_back(
        &self,
        journal: &mut Journal,
        target: &StorePath,
        back: &Script,
        trial: &Trial,
    ) -> Result<(), DeviceError> {
        let doing = || format!("go back to {target}");
        let unit = match self.way_back_at_work(journal, back).await? {
            Some(unit) => unit,
            None => self.start_back(journal, target, back, trial).await?,
        };
        let end = Instant::now() + BACK_TIME;
        let mut turn = 0u32;
        let outcome = loop {
            if let Some(status) = back.exit_status() {
                break Switched::of(status);
            }
            turn += 1;
            if turn.is_multiple_of(LOOKS_PER_QUESTION) && !self.runner.is_running(&unit, back).await? {
                break back.exit_status().map_or(Some(Switched::Killed), Switched::of);
            }
            if Instant::now() > end {
                break Some(Switched::Late(BACK_TIME.as_secs()));
            }
            sleep(LOOK).await;
        };
        match outcome {
            // Units that fail in the old system are no reason to say that it is not back.
            None | Some(Switched::Units) if self.current().as_ref() == Some(target) => Ok(()),
            None | Some(Switched::Units) => Err(DeviceError::transient(doing()).because(Switched::NotCurrent)),
            Some(bad) => Err(DeviceError::transient(doing()).because(bad)),
        }
    }

    /// The unit of a way back that an agent before this one started: going back may have replaced that agent.
    async fn way_back_at_work(&self, journal: &Journal, back: &Script) -> Result<Option<String>, DeviceError> {
        let Some((unit, boot)) = &journal.returning else { return Ok(None) };
        let here = *boot == self.boot()?;
        let found = here && self.runner.is_running(unit, back).await?;
        Ok(found.then(|| unit.clone()))
    }

    async fn start_back(
        &self,
        journal: &mut Journal,
        target: &StorePath,
        back: &Script,
        trial: &Trial,
    ) -> Result<String, DeviceError> {
        let stop = match &journal.phase {
            Phase::Switching(run) => self.runner.stop_line(&run.unit, &Script::new(&trial.dir, "switch")),
            Phase::Staging => ":".into(),
        };
        let unit = format!("flotilla-return-{}", unit_name(trial));
        back.clear();
        write_back(back, &self.paths.root, target, &stop)?;
        journal.returning = Some((unit.clone(), self.boot()?));
        journal.write(trial)?;
        self.runner.start(&unit, back, &["decided"]).await?;
        Ok(unit)
    }
}

/// Decides for the way back; if it has decided so by itself, that word stays, because it tells who is at work.
fn decide_to_revert_unless_done(trial: &Trial) -> Result<(), DeviceError> {
    if went_back_by_itself(trial) { Ok(()) } else { decide_to_revert(trial) }
}

/// How often the way back is looked at.
const LOOK: Duration = Duration::from_millis(50);
/// After how many looks the machine is asked whether it still goes on.
const LOOKS_PER_QUESTION: u32 = 40;
/// What going back may take: it waits up to five minutes for a switch of somebody else.
const BACK_TIME: Duration = Duration::from_secs(900);
