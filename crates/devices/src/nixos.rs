//! A NixOS machine: systems published, delivered, activated on probation, and taken back when they do not hold.
//!
//! Nothing here trusts the way by which a closure came: the manifest is named by the signed score, every path is checked
//! against the keys that may sign, here and by the store. Nothing here relies on this process staying alive during a
//! switch: the switch runs detached, a way back is armed outside, and a journal says how far it came.

mod activate;
mod deliver;
mod facts;
mod journal;
mod nix;
mod observe;
mod publish;
mod revert;
mod roots;
mod runner;
mod scripts;
mod settle;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use scores::nixos::{NixosScore, NixosSystem, Observed, TrustedKey};
use scores::{Artifacts, DeviceError, Resume, Stage, Topology, Trial};

use activate::why_taken_back;
pub use deliver::StageError;
pub use facts::PathFacts;
pub use nix::{Nix, NixError};
pub use observe::reboot_reasons;
pub use publish::{PackError, PublishError, PublishProgress, PublishStats, Published, publish};
pub use runner::Runner;

/// A NixOS machine, this one: the topology that plays `nixos/1`. Needs root.
pub struct NixosHost {
    paths: Paths,
    nix: Nix,
    runner: Runner,
    artifacts: Arc<dyn Artifacts>,
    trusted: Arc<dyn Fn() -> Vec<TrustedKey> + Send + Sync>,
    import_time: Duration,
}

/// Where things are on the machine.
#[derive(Debug, Clone)]
pub struct Paths {
    /// What stands for `/`.
    root: PathBuf,
    /// A folder of our own that outlives boots.
    state: PathBuf,
}

impl NixosHost {
    /// This machine. `state` is a folder of its own, outliving boots; `trusted` gives, whenever asked, the keys whose
    /// signatures on store paths are believed now, and those alone.
    pub fn new(
        state: impl Into<PathBuf>,
        artifacts: Arc<dyn Artifacts>,
        trusted: Arc<dyn Fn() -> Vec<TrustedKey> + Send + Sync>,
    ) -> Self {
        let paths = Paths { root: "/".into(), state: state.into() };
        let nix = Nix { home: Some(paths.state.join("nix-home")), ..Nix::default() };
        let runner = Runner::detect(&paths.root);
        Self { paths, nix, runner, artifacts, trusted, import_time: IMPORT_TIME }
    }

    /// Runs Nix's programs from this folder instead of from `PATH`.
    #[must_use]
    pub fn with_nix_in(mut self, bin: impl Into<PathBuf>) -> Self {
        self.nix.bin = Some(bin.into());
        self
    }

    /// Reaches the store in this way, as `NIX_REMOTE` says it, and not as the environment has it.
    #[must_use]
    pub fn with_store(mut self, remote: impl Into<String>) -> Self {
        self.nix.remote = Some(remote.into());
        self
    }

    /// Runs switches by other means than those that were found.
    #[must_use]
    pub fn with_runner(mut self, runner: Runner) -> Self {
        self.runner = runner;
        self
    }

    /// Whether a folder's root is that of a NixOS machine, so that this topology makes sense on it.
    pub fn is_nixos(root: &Path) -> bool {
        root.join("etc/NIXOS").exists() && root.join("run/current-system").exists()
    }
}

impl fmt::Debug for NixosHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NixosHost").field("paths", &self.paths).field("runner", &self.runner).finish_non_exhaustive()
    }
}

impl Paths {
    fn current_system(&self) -> PathBuf {
        self.root.join("run/current-system")
    }

    fn profile(&self) -> PathBuf {
        self.root.join("nix/var/nix/profiles/system")
    }

    fn roots(&self) -> PathBuf {
        self.root.join("nix/var/nix/gcroots/flotilla")
    }

    fn switch_lock(&self) -> PathBuf {
        self.root.join("run/nixos/switch-to-configuration.lock")
    }

    fn boot_id(&self) -> PathBuf {
        self.root.join("proc/sys/kernel/random/boot_id")
    }

    fn store(&self) -> PathBuf {
        self.root.join("nix/store")
    }

    fn memory(&self) -> PathBuf {
        self.state.join("nixos.json")
    }

    fn imports(&self) -> PathBuf {
        self.state.join("imports")
    }
}

impl Topology for NixosHost {
    fn name(&self) -> &str {
        "nixos"
    }

    async fn ensure_ready(&self) -> Result<(), DeviceError> {
        if !self.paths.current_system().exists() {
            return Err(DeviceError::permanent("find /run/current-system: this machine does not run NixOS"));
        }
        scores::durable::make_folder(&self.paths.state)
            .map_err(|error| DeviceError::io(format!("make the folder {}", self.paths.state.display()), error))?;
        self.nix.query("nix-store", ["--version"]).await.map_err(store_error).map(drop)
    }
}

impl NixosSystem for NixosHost {
    async fn observe(&self, score: &NixosScore) -> Result<Observed, DeviceError> {
        self.look(score).await
    }

    async fn begin(&self, score: &NixosScore, trial: &Trial) -> Result<(), DeviceError> {
        self.open_journal(score, trial)
    }

    async fn stage(&self, score: &NixosScore, trial: &Trial, stage: &dyn Stage) -> Result<(), DeviceError> {
        self.deliver(score, trial, stage).await.map_err(DeviceError::from)
    }

    async fn activate(&self, score: &NixosScore, trial: &Trial, stage: &dyn Stage) -> Result<(), DeviceError> {
        self.switch(score, trial, stage).await
    }

    async fn make_default(&self, score: &NixosScore, trial: &Trial) -> Result<(), DeviceError> {
        self.settle(score, trial).await
    }

    async fn confirm(&self, score: &NixosScore, trial: &Trial) -> Result<(), DeviceError> {
        self.remember_confirmed(score, trial).await
    }

    async fn revert(&self, score: &NixosScore, trial: &Trial) -> Result<(), DeviceError> {
        self.go_back(score, trial).await
    }

    async fn resume(&self, score: &NixosScore, trial: &Trial) -> Result<Resume, DeviceError> {
        self.pick_up(score, trial).await
    }

    async fn taken_back(&self, score: &NixosScore, trial: &Trial) -> Option<DeviceError> {
        why_taken_back(score, trial)
    }
}

/// What failed in asking or changing the store, for the driver: a full disk or a lock may pass, so all of it may.
fn store_error(error: NixError) -> DeviceError {
    match error {
        NixError::Start { .. } | NixError::Unreadable { .. } => {
            DeviceError::permanent("use the Nix store").because(error)
        }
        NixError::Late { .. } | NixError::Failed { .. } => DeviceError::transient("use the Nix store").because(error),
    }
}

/// What importing a whole closure may take; the policy's `apply_seconds` is usually shorter.
const IMPORT_TIME: Duration = Duration::from_secs(24 * 3600);
