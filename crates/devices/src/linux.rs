//! A Linux host: its files, changed in one piece and brought back exactly.

mod accounts;
mod change;
mod look;
mod undo;
mod walk;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use protocols::secret::Place;
use protocols::{BlobRef, SealedText, SecretKey, SecretValue};
use scores::files::{Content, FileStep, FileTree, Tree};
use scores::secrets::open_with;
use scores::{Artifacts, DeviceError, OpenSecrets, Stage, Topology, Trial};
use tokio::sync::Mutex;

use self::accounts::Accounts;
use self::walk::Walk;

/// The host that the agent runs on, or a tree that stands for one.
#[derive(Clone)]
pub struct LinuxHost {
    root: Arc<PathBuf>,
    artifacts: Arc<dyn Artifacts>,
    /// The node's own, and then those that it had before.
    keys: Arc<[SecretKey]>,
    /// Held by whatever touches the files, also by work whose waiter has given up: so what undoes comes after it.
    turn: Arc<Mutex<()>>,
}

impl LinuxHost {
    /// The host whose `/` is this folder, which gets blobs from there. It opens no secrets until it has a key.
    pub fn new(root: impl Into<PathBuf>, artifacts: Arc<dyn Artifacts>) -> Self {
        Self { root: Arc::new(root.into()), artifacts, keys: Arc::from([]), turn: Arc::new(Mutex::new(())) }
    }

    /// The same with the node's key, which secrets are sealed to.
    #[must_use]
    pub fn with_key(self, key: SecretKey) -> Self {
        self.with_keys(vec![key])
    }

    /// The same with the node's key, and then those that it had before: what is sealed to one of them is opened, too.
    #[must_use]
    pub fn with_keys(self, keys: Vec<SecretKey>) -> Self {
        Self { keys: keys.into(), ..self }
    }

    /// Does something with the files, off the runtime's threads.
    async fn with_files<R, F>(&self, act: F) -> Result<R, DeviceError>
    where
        R: Send + 'static,
        F: FnOnce(&Walk) -> Result<R, DeviceError> + Send + 'static,
    {
        let turn = Arc::clone(&self.turn).lock_owned().await;
        let root = Arc::clone(&self.root);
        let work = move || {
            let walk = Walk::from(&root)?;
            let result = act(&walk);
            drop(turn);
            result
        };
        match tokio::task::spawn_blocking(work).await {
            Ok(result) => result,
            Err(error) => Err(DeviceError::transient("change files").because(error)),
        }
    }
}

impl fmt::Debug for LinuxHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LinuxHost").field("root", &self.root).finish_non_exhaustive()
    }
}

impl Topology for LinuxHost {
    fn name(&self) -> &str {
        "the host"
    }
}

impl FileTree for LinuxHost {
    async fn look(&self, paths: &[String]) -> Result<Tree, DeviceError> {
        let paths = paths.to_vec();
        self.with_files(move |walk| {
            let accounts = Accounts::of(walk)?;
            let seen = |path: String| look::look(walk, &accounts, &path).map(|seen| (path, seen));
            paths.into_iter().map(seen).collect()
        })
        .await
    }

    async fn know(&self, users: &[String], groups: &[String]) -> Result<(), DeviceError> {
        let (users, groups) = (users.to_vec(), groups.to_vec());
        self.with_files(move |walk| {
            let accounts = Accounts::of(walk)?;
            users.iter().try_for_each(|user| accounts.user(user).map(drop))?;
            groups.iter().try_for_each(|group| accounts.group(group).map(drop))
        })
        .await
    }

    async fn remember(&self, steps: &[FileStep], trial: &Trial) -> Result<(), DeviceError> {
        // All of them before anything changes: a download may take long, and a host half changed must not wait for it.
        for step in steps {
            if let FileStep::Write { content: Content::Blob(blob), .. } = step {
                self.fetch(blob).await?;
            }
        }
        let paths: Vec<String> = steps.iter().map(|step| step.path().to_owned()).collect();
        let dir = trial.dir.clone();
        self.with_files(move |walk| undo::remember(walk, &paths, &dir)).await
    }

    async fn change(
        &self,
        step: &FileStep,
        secret: Option<&SecretValue>,
        _stage: &dyn Stage,
    ) -> Result<(), DeviceError> {
        let blob = match step {
            FileStep::Write { content: Content::Blob(blob), .. } => Some(self.fetch(blob).await?),
            _ => None,
        };
        let (step, secret) = (step.clone(), secret.cloned());
        self.with_files(move |walk| change::change(walk, &step, blob.as_deref(), secret.as_ref())).await
    }

    async fn restore(&self, trial: &Trial) -> Result<(), DeviceError> {
        let dir = trial.dir.clone();
        self.with_files(move |walk| undo::restore(walk, &dir)).await
    }
}

impl OpenSecrets for LinuxHost {
    async fn open(&self, secret: &SealedText, place: Place<'_>) -> Result<SecretValue, DeviceError> {
        open_with(&self.keys, secret, place).await
    }
}

impl LinuxHost {
    async fn fetch(&self, blob: &BlobRef) -> Result<PathBuf, DeviceError> {
        Ok(self.artifacts.fetch(blob).await?)
    }
}
