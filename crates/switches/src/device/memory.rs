//! Which sealed secrets the users of a device were last given: the device itself does not tell.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use scores::durable;
use scores::switch::{Config, SnmpKeys};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

#[derive(Debug)]
pub(super) struct Memory {
    path: PathBuf,
    /// Held while the file is read and written.
    known: Arc<Mutex<()>>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Known {
    running: BTreeMap<String, SnmpKeys>,
    startup: BTreeMap<String, SnmpKeys>,
}

impl Memory {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, known: Arc::default() }
    }

    /// Adds what is known to the users of both configurations.
    pub(super) async fn recall(&self, running: &mut Config, startup: &mut Config) -> io::Result<()> {
        if running.users.is_empty() && startup.users.is_empty() {
            return Ok(());
        }
        let known = self.with(|known| (known.running.clone(), known.startup.clone()), false).await?;
        for (config, known) in [(running, known.0), (startup, known.1)] {
            for (name, user) in &mut config.users {
                user.keys = known.get(name).cloned();
            }
        }
        Ok(())
    }

    /// Notes what a user has in the running configuration; nothing where it is not known.
    pub(super) async fn note(&self, name: &str, keys: Option<SnmpKeys>) -> io::Result<()> {
        let name = name.to_owned();
        let note = move |known: &mut Known| match keys {
            Some(keys) => drop(known.running.insert(name, keys)),
            None => drop(known.running.remove(&name)),
        };
        self.with(note, true).await
    }

    /// Notes that the running configuration was saved.
    pub(super) async fn saved(&self) -> io::Result<()> {
        let path = self.path.clone();
        if !tokio::task::spawn_blocking(move || path.exists()).await.map_err(io::Error::other)? {
            return Ok(());
        }
        self.with(|known| known.startup.clone_from(&known.running), true).await
    }

    async fn with<R: Send + 'static>(
        &self,
        act: impl FnOnce(&mut Known) -> R + Send + 'static,
        write: bool,
    ) -> io::Result<R> {
        let turn = Arc::clone(&self.known).lock_owned().await;
        let path = self.path.clone();
        let work = move || {
            let _turn = turn;
            let mut known = match std::fs::metadata(&path) {
                Ok(found) if found.len() > FILE_BYTES_MAX => return Err(io::Error::other("it is too large")),
                Ok(_) => serde_json::from_slice(&std::fs::read(&path)?).map_err(io::Error::other)?,
                Err(error) if error.kind() == io::ErrorKind::NotFound => Known::default(),
                Err(error) => return Err(error),
            };
            let result = act(&mut known);
            if write {
                if let Some(folder) = path.parent() {
                    durable::make_folder(folder)?;
                }
                durable::write(&path, &serde_json::to_vec(&known).map_err(io::Error::other)?)?;
            }
            Ok(result)
        };
        tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
    }
}

/// The largest file, in bytes: secrets sealed to many nodes are long.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;
