//! What a bond's trial remembers beside what each end was before.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::HostBond;
use crate::{DeviceError, Trial, durable};

/// How far a bond has come.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Notes {
    /// By which grant the switch was had when it was begun; none if nobody had to be asked.
    pub(super) grant: Option<u64>,
    /// The host's end as it shall be: whatever the switch does, one of its ports carries traffic.
    pub(super) bond: HostBond,
    /// Whether a coordinator answered before the first step, so that one must after the last; nothing before it was tried.
    pub(super) answered: Option<bool>,
    /// Whether anything may have been sent to the switch.
    pub(super) sent: bool,
}

impl Notes {
    pub(super) async fn write(&self, trial: &Trial) -> Result<(), DeviceError> {
        let failed = |error| DeviceError::io("note how far the bond has come", error);
        let bytes = serde_json::to_vec(self).map_err(|error| failed(std::io::Error::other(error)))?;
        let path = path(trial);
        let written = tokio::task::spawn_blocking(move || durable::write(&path, &bytes)).await;
        written.map_err(|error| failed(std::io::Error::other(error)))?.map_err(failed)
    }

    /// Nothing where nothing was begun.
    pub(super) async fn read(trial: &Trial) -> Result<Option<Self>, DeviceError> {
        let path = path(trial);
        let read = move || match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(std::io::Error::other),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        };
        let failed = |error| DeviceError::io("read how far the bond has come", error);
        let read = tokio::task::spawn_blocking(read).await;
        read.map_err(|error| failed(std::io::Error::other(error)))?.map_err(failed)
    }

    /// Writes that something is about to be sent to the switch, once.
    pub(super) async fn sends(trial: &Trial) -> Result<(), DeviceError> {
        match Self::read(trial).await? {
            Some(notes) if !notes.sent => Self { sent: true, ..notes }.write(trial).await,
            _ => Ok(()),
        }
    }
}

fn path(trial: &Trial) -> PathBuf {
    trial.dir.join("notes.json")
}
