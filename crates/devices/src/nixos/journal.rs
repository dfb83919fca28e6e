//! What is written to disk before every act: how far a trial came, and what the machine was before it.

use std::io;
use std::path::{Path, PathBuf};

use scores::nixos::{BootOnly, StorePath};
use scores::{DeviceError, Trial, durable};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::NixosHost;
use super::scripts::BY_TIMER;

/// The record of one trial, in the trial's own folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Journal {
    /// What is being tried.
    pub(super) toplevel: StorePath,
    /// What to go back to, if there is anything.
    pub(super) target: Option<StorePath>,
    /// What the profile named before.
    pub(super) default_before: Option<StorePath>,
    /// How far it came.
    pub(super) phase: Phase,
    /// The way back that the agent itself started: its unit, and the boot.
    #[serde(default)]
    pub(super) returning: Option<(String, String)>,
    /// Whether the machine was taken back and seen to be back.
    #[serde(default)]
    pub(super) returned: bool,
}

/// How far a trial came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum Phase {
    /// The closure is being brought; nothing of the machine has changed.
    Staging,
    /// A switch was started, or is about to be.
    Switching(Run),
}

/// One run of a switch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Run {
    /// The unit that runs it.
    pub(super) unit: String,
    /// The unit that takes the machine back, and the timer of the same name.
    pub(super) back: String,
    /// The boot in which it was started: in another one nothing of it is left.
    pub(super) boot: String,
}

/// What outlives trials, in the state folder.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Memory {
    /// The system that was last confirmed.
    pub(super) confirmed: Option<StorePath>,
    /// The system that the profile was set to while the boot loader was not told yet.
    pub(super) boot_entry_due: Option<StorePath>,
    /// The system that runs on probation, and the boot in which it was switched to.
    pub(super) probation: Option<(StorePath, String)>,
    /// A system that a switch refused in this boot.
    pub(super) boot_only: Option<(StorePath, String, Because)>,
}

/// Why a system was refused by the switch itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Because {
    /// Its exit status 100.
    Refused,
}

impl From<Because> for BootOnly {
    fn from(because: Because) -> Self {
        match because {
            Because::Refused => Self::Refused,
        }
    }
}

/// Who decided what becomes of a switched system: whoever comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decision {
    /// It stays.
    Confirmed,
    /// It goes.
    Reverted,
}

impl Journal {
    /// Reads the record; nothing if the trial did not come so far as to have one.
    pub(super) fn read(trial: &Trial) -> Result<Option<Self>, DeviceError> {
        read(&trial.dir.join("journal.json"))
    }

    /// Writes it; on the disk when this returns.
    pub(super) fn write(&self, trial: &Trial) -> Result<(), DeviceError> {
        write(&trial.dir.join("journal.json"), self)
    }

    /// The record of a trial that must have one.
    pub(super) fn require(trial: &Trial) -> Result<Self, DeviceError> {
        Self::read(trial)?.ok_or_else(|| DeviceError::permanent("find the journal of the trial"))
    }
}

impl NixosHost {
    pub(super) fn memory(&self) -> Result<Memory, DeviceError> {
        Ok(read(&self.paths.memory())?.unwrap_or_default())
    }

    pub(super) fn remember(&self, change: impl FnOnce(&mut Memory)) -> Result<(), DeviceError> {
        let before = self.memory()?;
        let mut memory = before.clone();
        change(&mut memory);
        if memory == before {
            return Ok(());
        }
        write(&self.paths.memory(), &memory)
    }
}

/// Decides, unless somebody else has; returns what holds. The script of the way back does the same with `ln`.
pub(super) fn decide(trial: &Trial, decision: Decision) -> Result<Decision, DeviceError> {
    let failed = |error| DeviceError::io("write the decision on the trial", error);
    let mine = trial.dir.join(format!("decision.{}", std::process::id()));
    durable::write(&mine, decision.word().as_bytes()).map_err(failed)?;
    let linked = std::fs::hard_link(&mine, decision_path(trial));
    drop(std::fs::remove_file(&mine));
    match linked {
        Ok(()) => {
            durable::sync_folder(&trial.dir).map_err(failed)?;
            Ok(decision)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            // It exists, so it is whole: both sides make it by a link.
            decided(trial)?.ok_or_else(|| DeviceError::transient("read the decision on the trial"))
        }
        Err(error) => Err(failed(error)),
    }
}

/// Takes a confirmation back: what was to make it permanent failed.
pub(super) fn decide_to_revert(trial: &Trial) -> Result<(), DeviceError> {
    if decide(trial, Decision::Reverted)? == Decision::Confirmed {
        durable::write(&decision_path(trial), Decision::Reverted.word().as_bytes())
            .map_err(|error| DeviceError::io("write the decision on the trial", error))?;
    }
    Ok(())
}

/// Whether the way back decided by itself, and is at work or was.
pub(super) fn went_back_by_itself(trial: &Trial) -> bool {
    std::fs::read_to_string(decision_path(trial)).is_ok_and(|word| word.trim() == BY_TIMER)
}

/// What was decided.
pub(super) fn decided(trial: &Trial) -> Result<Option<Decision>, DeviceError> {
    match std::fs::read_to_string(decision_path(trial)) {
        Ok(word) if word.trim() == Decision::Confirmed.word() => Ok(Some(Decision::Confirmed)),
        // Anything else, also a file that a power cut emptied: the old system is the safe side.
        Ok(_) => Ok(Some(Decision::Reverted)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(DeviceError::io("read the decision on the trial", error)),
    }
}

impl Decision {
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Confirmed => "confirmed",
            Self::Reverted => "reverted",
        }
    }
}

fn decision_path(trial: &Trial) -> PathBuf {
    trial.dir.join("decision")
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, DeviceError> {
    let bytes = match std::fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(|error| DeviceError::io(format!("read {}", path.display()), error))?,
    };
    let parsed = serde_json::from_slice(&bytes);
    parsed.map(Some).map_err(|error| DeviceError::permanent(format!("understand {}", path.display())).because(error))
}

fn write<T: Serialize>(path: &Path, what: &T) -> Result<(), DeviceError> {
    let bytes = serde_json::to_vec(what).map_err(|error| DeviceError::permanent("write a record").because(error))?;
    durable::write(path, &bytes).map_err(|error| DeviceError::io(format!("write {}", path.display()), error))
}
