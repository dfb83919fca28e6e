//! The switch: journal, way back, detached run, exit status. And picking up a switch that another process started.

use std::fs::File;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use scores::nixos::{NixosScore, StorePath};
use scores::{DeviceError, Resume, Stage, Trial};
use tokio::time::{Instant, sleep};

use super::NixosHost;
use super::journal::{Because, Decision, Journal, Phase, Run, decided, went_back_by_itself};
use super::roots::Root;
use super::scripts::{LOCKED, Script, write_action, write_back};

/// What a switch said of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Switched {
    /// 1.
    #[error("it was refused by a check of the system or its boot loader (exit status 1)")]
    Refused,
    /// 2.
    #[error("its activation script failed (exit status 2)")]
    Activation,
    /// 4.
    #[error("units failed (exit status 4)")]
    Units,
    /// 11.
    #[error("another switch is going on (exit status 11)")]
    Locked,
    /// 100.
    #[error("it needs a reboot (exit status 100)")]
    NeedsReboot,
    /// Anything else.
    #[error("it ended with exit status {0}, which has no known meaning")]
    Unknown(i32),
    /// It has no exit status.
    #[error("it was killed, or never began")]
    Killed,
    /// It did not end.
    #[error("it did not end in {0} seconds")]
    Late(u64),
    /// The machine went back while it ran.
    #[error("the machine went back by itself, because it took too long")]
    TakenBack,
    /// The machine went back after it.
    #[error("the machine went back by itself, because nobody confirmed the change within {0} seconds (revert_seconds)")]
    Unconfirmed(u32),
    /// It says that it succeeded, and something else runs.
    #[error("it succeeded, and another system runs than it switched to")]
    NotCurrent,
}

impl Switched {
    /// What an exit status means; nothing for 0.
    pub(super) const fn of(status: i32) -> Option<Self> {
        match status {
            0 => None,
            1 => Some(Self::Refused),
            2 => Some(Self::Activation),
            4 => Some(Self::Units),
            LOCKED => Some(Self::Locked),
            100 => Some(Self::NeedsReboot),
            other => Some(Self::Unknown(other)),
        }
    }
}

impl NixosHost {
    /// Records what the machine is before anything is done to it, and what to go back to.
    pub(super) fn open_journal(&self, score: &NixosScore, trial: &Trial) -> Result<(), DeviceError> {
        drop(std::fs::remove_dir_all(self.paths.imports()));
        let (current, default, memory) = (self.current(), self.default_system(), self.memory()?);
        let boot = self.boot()?;
        // A system that runs only because an earlier way back failed is none to go back to; what boots, or what was
        // confirmed, is. A system that was started by hand is.
        let doubtful = current != default
            && memory
                .probation
                .as_ref()
                .is_some_and(|(system, since)| Some(system) == current.as_ref() && *since == boot);
        let confirmed = memory.confirmed.clone().filter(|system| self.paths.in_store(system).exists());
        let target = if doubtful { confirmed.or_else(|| default.clone()) } else { current };
        if let Some(target) = &target {
            self.hold(Root::Confirmed, target)?;
        }
        let journal = Journal {
            toplevel: score.toplevel.clone(),
            target,
            default_before: default,
            phase: Phase::Staging,
            returning: None,
            returned: false,
        };
        journal.write(trial)
    }

    pub(super) async fn switch(&self, score: &NixosScore, trial: &Trial, stage: &dyn Stage) -> Result<(), DeviceError> {
        let mut journal = Journal::require(trial)?;
        if self.look(score).await?.boot_only.is_some() {
            stage.progress("the running system cannot be switched to this one: it will be booted");
            return Ok(());
        }
        let script = Script::new(&trial.dir, "switch");
        let run = match self.run_at_work(&journal, &script).await? {
            Some(run) => run,
            None => self.start_switch(score, trial, &mut journal, &script).await?,
        };
        let within = Duration::from_secs(score.revert_seconds.into());
        let outcome = self.follow(&run, &script, trial, within, |line| stage.progress(line)).await?;
        self.weigh(score, outcome, &run, trial).await
    }

    /// What is to become of a trial whose process is gone.
    pub(super) async fn pick_up(&self, score: &NixosScore, trial: &Trial) -> Result<Resume, DeviceError> {
        let Some(journal) = Journal::read(trial)? else { return Ok(Resume::Revert) };
        let Phase::Switching(run) = &journal.phase else { return Ok(Resume::Revert) };
        if run.boot != self.boot()? {
            // A boot, wanted or not, has brought the old system back already.
            return Ok(Resume::Revert);
        }
        let script = Script::new(&trial.dir, "switch");
        let within = Duration::from_secs(score.revert_seconds.into());
        let outcome = self.follow(run, &script, trial, within, |_| {}).await?;
        if outcome == Some(Switched::Killed) {
            // The agent may have died before it started the run, so this says nothing against the system. If it does it
            // again, the driver's count of interruptions ends it.
            return Ok(Resume::Revert);
        }
        match self.weigh(score, outcome, run, trial).await {
            Ok(()) => Ok(Resume::Judge),
            Err(error) if error.is_transient() => Ok(Resume::Revert),
            Err(error) => {
                // The change failed, and was not merely interrupted. Going back here and having it judged then ends in
                // quarantine; a mere `Revert` would play it again.
                tracing::error!(error = %scores::chain(&error), "a switch that was going on when the agent stopped has failed");
                self.go_back(score, trial).await?;
                Ok(Resume::Judge)
            }
        }
    }

    /// A run of this trial that is going on or has ended in this boot.
    async fn run_at_work(&self, journal: &Journal, script: &Script) -> Result<Option<Run>, DeviceError> {
        let Phase::Switching(run) = &journal.phase else { return Ok(None) };
        let here = run.boot == self.boot()?;
        let found = here && (script.exit_status().is_some() || self.runner.is_running(&run.unit, script).await?);
        Ok(found.then(|| run.clone()))
    }

    async fn start_switch(
        &self,
        score: &NixosScore,
        trial: &Trial,
        journal: &mut Journal,
        script: &Script,
    ) -> Result<Run, DeviceError> {
        let target = journal.target.clone().ok_or_else(|| {
            DeviceError::permanent("find a system to go back to: the running one is not in the store")
        })?;
        if self.runner.is_starting().await? {
            return Err(DeviceError::transient("switch while the machine is still starting"));
        }
        self.check_lock()?;
        let name = unit_name(trial);
        let run =
            Run { unit: format!("flotilla-switch-{name}"), back: format!("flotilla-back-{name}"), boot: self.boot()? };
        let back = Script::new(&trial.dir, "back");
        script.clear();
        back.clear();
        write_action(script, &self.paths.root, &score.toplevel, "test", Some(&target))?;
        write_back(&back, &self.paths.root, &target, &self.runner.stop_line(&run.unit, script))?;
        journal.phase = Phase::Switching(run.clone());
        journal.write(trial)?;
        self.remember(|memory| {
            memory.confirmed.get_or_insert(target);
            memory.probation = Some((score.toplevel.clone(), run.boot.clone()));
        })?;
        self.runner.arm(&run.back, Duration::from_secs(score.revert_seconds.into()), &back).await?;
        self.runner.start(&run.unit, script, &[]).await?;
        Ok(run)
    }

    /// Waits for the end of a detached run, and passes on what it says.
    pub(super) async fn follow(
        &self,
        run: &Run,
        script: &Script,
        trial: &Trial,
        within: Duration,
        mut say: impl FnMut(&str),
    ) -> Result<Option<Switched>, DeviceError> {
        let end = Instant::now() + within;
        let mut heard = 0;
        let mut turn = 0u32;
        loop {
            let status = script.exit_status();
            heard = tell(script, heard, &mut say);
            if let Some(status) = status {
                return Ok(Switched::of(status));
            }
            if decided(trial)? == Some(Decision::Reverted) {
                return Ok(Some(Switched::TakenBack));
            }
            if turn % LOOKS_PER_QUESTION == LOOKS_PER_QUESTION - 1 && !self.runner.is_running(&run.unit, script).await?
            {
                // It may have ended between the two looks.
                return Ok(script.exit_status().map_or(Some(Switched::Killed), Switched::of));
            }
            if Instant::now() > end {
                return Ok(Some(Switched::Late(within.as_secs())));
            }
            turn += 1;
            sleep(LOOK).await;
        }
    }

    async fn weigh(
        &self,
        score: &NixosScore,
        outcome: Option<Switched>,
        run: &Run,
        trial: &Trial,
    ) -> Result<(), DeviceError> {
        let doing = format!("switch to {}", score.toplevel);
        match outcome {
            Some(Switched::NeedsReboot) => {
                // Nothing has changed, so there is nothing to go back from.
                self.runner.disarm(&run.back, &Script::new(&trial.dir, "back")).await?;
                self.remember(|memory| {
                    memory.probation = None;
                    memory.boot_only = Some((score.toplevel.clone(), run.boot.clone(), Because::Refused));
                })
            }
            Some(locked @ Switched::Locked) => Err(DeviceError::transient(doing).because(locked)),
            Some(Switched::Units) if score.accept_failed_units => self.require_current(score, doing),
            Some(bad) => Err(DeviceError::permanent(doing).because(bad)),
            None => self.require_current(score, doing),
        }
    }

    fn require_current(&self, score: &NixosScore, doing: String) -> Result<(), DeviceError> {
        if self.current().as_ref() == Some(&score.toplevel) {
            return Ok(());
        }
        Err(DeviceError::permanent(doing).because(Switched::NotCurrent))
    }

    /// Refuses while somebody else switches.
    fn check_lock(&self) -> Result<(), DeviceError> {
        let path = self.paths.switch_lock();
        let Ok(file) = File::open(&path) else { return Ok(()) };
        flock(&file, FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| DeviceError::transient(format!("take {}: another switch is going on", path.display())))
    }

    /// Runs an action of a system's switch program to its end, detached: it must not die with this process, nor be
    /// confined as it is.
    pub(super) async fn run_action(
        &self,
        system: &StorePath,
        action: &str,
        tools: Option<&StorePath>,
        trial: &Trial,
    ) -> Result<Option<Switched>, DeviceError> {
        let script = Script::new(&trial.dir, action);
        script.clear();
        write_action(&script, &self.paths.root, system, action, tools)?;
        let unit = format!("flotilla-{action}-{}", unit_name(trial));
        self.runner.start(&unit, &script, &[]).await?;
        let end = Instant::now() + ACTION_TIME;
        let mut turn = 0u32;
        loop {
            if let Some(status) = script.exit_status() {
                return Ok(Switched::of(status));
            }
            turn += 1;
            if turn.is_multiple_of(LOOKS_PER_QUESTION) && !self.runner.is_running(&unit, &script).await? {
                return Ok(script.exit_status().map_or(Some(Switched::Killed), Switched::of));
            }
            if Instant::now() > end {
                self.runner.stop(&unit, &script).await?;
                return Ok(Some(Switched::Late(ACTION_TIME.as_secs())));
            }
            sleep(LOOK).await;
        }
    }
}

/// Why a trial's machine went back, if it did: by itself, or because the switch was found to have failed.
pub(super) fn why_taken_back(score: &NixosScore, trial: &Trial) -> Option<DeviceError> {
    if !matches!(decided(trial), Ok(Some(Decision::Reverted))) {
        return None;
    }
    let by_itself = went_back_by_itself(trial);
    let why = match Script::new(&trial.dir, "switch").exit_status().map(Switched::of) {
        Some(Some(Switched::Units)) if score.accept_failed_units && by_itself => {
            Switched::Unconfirmed(score.revert_seconds)
        }
        Some(Some(bad)) => bad,
        Some(None) if by_itself => Switched::Unconfirmed(score.revert_seconds),
        Some(None) => Switched::NotCurrent,
        None if by_itself => Switched::TakenBack,
        None => Switched::Late(score.revert_seconds.into()),
    };
    Some(DeviceError::permanent(format!("switch to {}", score.toplevel)).because(why))
}

/// A name that no unit has had: the generation, and the moment.
pub(super) fn unit_name(trial: &Trial) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    format!("{}-{:x}", trial.generation, now.as_nanos())
}

/// Passes on whole lines that were added to a log.
fn tell(script: &Script, from: usize, say: &mut impl FnMut(&str)) -> usize {
    if from >= LOG_BYTES_MAX {
        return from;
    }
    let Ok(log) = std::fs::read(&script.log) else { return from };
    let new = log.get(from..log.len().min(LOG_BYTES_MAX)).unwrap_or_default();
    let Some(end) = new.iter().rposition(|byte| *byte == b'\n') else { return from };
    for line in String::from_utf8_lossy(&new[..end]).lines() {
        say(&line.chars().take(LINE_CHARS).collect::<String>());
    }
    from + end + 1
}

/// How often a run is looked at.
const LOOK: Duration = Duration::from_millis(50);
/// After how many looks the machine is asked whether the run still goes on.
const LOOKS_PER_QUESTION: u32 = 40;
/// What writing a boot entry may take.
const ACTION_TIME: Duration = Duration::from_secs(600);
/// How much of a switch's words is passed on, in bytes.
const LOG_BYTES_MAX: usize = 256 * 1024;
/// How much of a line is passed on.
const LINE_CHARS: usize = 300;
