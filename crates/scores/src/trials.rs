//! The durable record of every change on probation: what is being tried, how far it got, what becomes of it.
//!
//! One folder a subject, `<dir>/<key>/`, with `trial.json` written aside and renamed at every turn, and `undo/`, which
//! belongs to the score. A crash finds it as it was at the last turn.

use std::path::{Path, PathBuf};
use std::{fs, io};

use protocols::{Subject, Verdict};
use serde::{Deserialize, Serialize};

use crate::{Assignment, Trial, durable};

/// The folder that holds the trials of a node.
#[derive(Debug, Clone)]
pub struct Trials {
    dir: PathBuf,
}

/// Why the record of a trial cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[error("{doing}{}", if path.as_os_str().is_empty() { String::new() } else { format!(" `{}`", path.display()) })]
pub struct TrialError {
    doing: &'static str,
    path: PathBuf,
    #[source]
    source: io::Error,
}

impl TrialError {
    pub(crate) fn stopped(source: io::Error) -> Self {
        Self { doing: "write the trial", path: PathBuf::new(), source }
    }

    pub(crate) fn is_disk_full(&self) -> bool {
        matches!(self.source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
    }
}

/// One trial, as it is on the disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Record {
    pub(crate) assignment: Assignment,
    pub(crate) phase: Phase,
    pub(crate) steps: Vec<String>,
    /// How often a trial of this generation was found open by a new process.
    pub(crate) interruptions: u32,
}

/// How far a trial got.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Phase {
    /// What it takes to undo is being recorded.
    Begun,
    /// Steps are being taken.
    Applying,
    /// The steps are taken, the checks run.
    Judging,
    /// The checks have passed; what makes it permanent is being done.
    Settling,
    /// It is being undone, and this is what will be said of it.
    Reverting { verdict: Verdict, message: String },
    /// Ended: it was interrupted and undone.
    Interrupted,
    /// Ended: it failed and was undone, and is not tried again.
    Quarantined { message: String },
}

impl Phase {
    /// Whether the node may be half changed.
    pub(crate) const fn is_open(&self) -> bool {
        !matches!(self, Self::Interrupted | Self::Quarantined { .. })
    }
}

impl Trials {
    /// Opens the folder, makes it where it is missing, and removes what a crash left of trials that had ended.
    ///
    /// # Errors
    /// When the folder cannot be made or read.
    pub fn open(dir: impl Into<PathBuf>) -> Result<Self, TrialError> {
        let dir = dir.into();
        let at = |doing| {
            let path = dir.clone();
            move |source| TrialError { doing, path, source }
        };
        durable::make_folder(&dir).map_err(at("make the folder"))?;
        durable::sweep(&dir).map_err(at("sweep the folder"))?;
        Ok(Self { dir })
    }

    pub(crate) fn slot(&self, subject: &Subject) -> Slot {
        let digest = blake3::hash(subject.as_str().as_bytes());
        self.at(&data_encoding::HEXLOWER.encode(&digest.as_bytes()[..16]))
    }

    fn at(&self, key: &str) -> Slot {
        Slot { dir: self.dir.join(key), proven: self.dir.with_extension("proven").join(key) }
    }

    /// Every record; one that cannot be read is moved aside, so that it is reported once and stays for people to see.
    pub(crate) fn all(&self) -> Result<Vec<Result<Record, TrialError>>, TrialError> {
        let failed = |source| TrialError { doing: "read the folder", path: self.dir.clone(), source };
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.dir).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let odd = path.extension().is_some() || path.to_string_lossy().contains(durable::GONE);
            if odd || !path.is_dir() {
                continue;
            }
            let Some(key) = path.file_name().and_then(|name| name.to_str()) else { continue };
            let slot = self.at(key);
            match slot.read() {
                Ok(None) => slot.close()?,
                Ok(Some(record)) => found.push(Ok(record)),
                Err(error) => {
                    slot.set_aside();
                    found.push(Err(error));
                }
            }
        }
        Ok(found)
    }
}

/// The place of one subject's trial.
#[derive(Debug, Clone)]
pub(crate) struct Slot {
    dir: PathBuf,
    /// Beside the folder of the trials: which generation was good here. It outlasts the trials.
    proven: PathBuf,
}

impl Slot {
    pub(crate) fn trial(&self, assignment: &Assignment) -> Trial {
        Trial { subject: assignment.subject.clone(), generation: assignment.generation, dir: self.dir.join("undo") }
    }

    /// Starts a record with an empty undo folder.
    pub(crate) fn begin(&self, record: &Record) -> Result<(), TrialError> {
        self.close()?;
        let undo = self.dir.join("undo");
        durable::make_folder(&undo).map_err(|source| TrialError { doing: "make the folder", path: undo, source })?;
        self.write(record)
    }

    pub(crate) fn write(&self, record: &Record) -> Result<(), TrialError> {
        let path = self.file();
        let failed = |path: &Path, source| TrialError { doing: "write the trial", path: path.to_owned(), source };
        durable::make_folder(&self.dir).map_err(|source| failed(&path, source))?;
        let bytes = serde_json::to_vec(record).map_err(|error| failed(&path, io::Error::other(error)))?;
        durable::write(&path, &bytes).map_err(|source| failed(&path, source))
    }

    pub(crate) fn read(&self) -> Result<Option<Record>, TrialError> {
        let path = self.file();
        let failed = |source| TrialError { doing: "read the trial", path: path.clone(), source };
        match fs::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
            Ok(found) if found.len() > RECORD_BYTES_MAX => {
                return Err(failed(io::Error::other(format!("it has {} bytes", found.len()))));
            }
            Ok(_) => {}
        }
        let bytes = fs::read(&path).map_err(failed)?;
        serde_json::from_slice(&bytes).map(Some).map_err(|error| failed(io::Error::other(error)))
    }

    /// Ends the trial but keeps its record. What it took to undo goes first: that gives a full disk room for the record.
    pub(crate) fn end(&self, record: &Record) -> Result<(), TrialError> {
        let path = self.dir.join("undo");
        durable::remove_folder(&path).map_err(|source| TrialError { doing: "remove the folder", path, source })?;
        self.write(record)
    }

    /// Ends the trial and forgets it.
    pub(crate) fn close(&self) -> Result<(), TrialError> {
        durable::remove_folder(&self.dir).map_err(|source| TrialError {
            doing: "remove the folder",
            path: self.dir.clone(),
            source,
        })
    }

    /// The generation that was last seen as declared, with its checks passed. What cannot be read is as good as unknown.
    pub(crate) fn proven(&self) -> Option<u64> {
        let found = fs::metadata(&self.proven).ok()?;
        if found.len() > PROVEN_BYTES_MAX {
            return None;
        }
        fs::read_to_string(&self.proven).ok()?.trim().parse().ok()
    }

    /// Writes down that this generation was good.
    pub(crate) fn prove(&self, generation: u64) -> Result<(), TrialError> {
        let failed = |source| TrialError { doing: "note what was good", path: self.proven.clone(), source };
        if let Some(folder) = self.proven.parent() {
            durable::make_folder(folder).map_err(failed)?;
        }
        durable::write(&self.proven, format!("{generation}\n").as_bytes()).map_err(failed)
    }

    pub(crate) fn set_aside(&self) {
        let aside = self.dir.with_extension("unreadable");
        drop(durable::remove_folder(&aside));
        if let Err(error) = fs::rename(&self.dir, &aside) {
            tracing::error!(%error, path = %self.dir.display(), "cannot set an unreadable trial aside");
        }
    }

    fn file(&self) -> PathBuf {
        self.dir.join("trial.json")
    }
}

/// The longest number of a generation, in bytes.
const PROVEN_BYTES_MAX: u64 = 32;
/// The longest record of a trial, in bytes: a payload, escaped, and its steps.
const RECORD_BYTES_MAX: u64 = 32 * 1024 * 1024;
