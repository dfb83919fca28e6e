//! How a closure comes to the node: manifest, what is missing, its archives, and through the store's own checks into it.
//!
//! The missing paths are laid out as a private binary cache that Nix copies from, with exactly the fleet's keys as trusted
//! ones. Signatures and archives are checked here as well, before Nix sees them: a store can be configured to believe
//! anything, and a precise error needs no parsing of another program's words.

mod cache;

use std::collections::HashSet;
use std::path::Path;

use nix_narinfo::NarInfo;
use scores::nixos::{BadManifest, Manifest, NarHash, NixosScore, PathInfo, StorePath, TrustedKey};
use scores::{ArtifactError, DeviceError, Stage, Trial, durable};
use tokio::task::JoinSet;

use super::NixosHost;
use super::nix::NixError;
use super::roots::Root;

/// Why a closure could not be brought into the store.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// A blob could not be had.
    #[error("bring {what}")]
    Fetch {
        /// What it carries.
        what: String,
        /// Why.
        #[source]
        source: ArtifactError,
    },
    /// The manifest is refused.
    #[error("read the closure's manifest")]
    Manifest(#[from] BadManifest),
    /// Nobody whom the fleet allows has signed a path.
    #[error("{path} is not signed by a key that may publish nixos scores{}", have(signatures))]
    Unsigned {
        /// The path.
        path: StorePath,
        /// The names of the keys that did sign it.
        signatures: Vec<String>,
    },
    /// A path claims to be made from its content, and is not.
    #[error("{path} is not what its content address says")]
    NotContentAddressed {
        /// The path.
        path: StorePath,
    },
    /// There is not enough room.
    #[error("{needed} bytes are needed for {paths} paths and {free} are free in {}", folder.display())]
    NoSpace {
        /// What the missing paths take, and some room besides.
        needed: u64,
        /// What is free.
        free: u64,
        /// How many paths.
        paths: usize,
        /// Where.
        folder: std::path::PathBuf,
    },
    /// An archive is not what was signed.
    #[error("the archive of {path} is not the one that was signed: {why}")]
    Tampered {
        /// The path.
        path: StorePath,
        /// What differs.
        why: String,
    },
    /// A file or folder could not be used.
    #[error("{doing}")]
    Disk {
        /// What was being done.
        doing: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The store said no.
    #[error("import the closure")]
    Store(#[from] NixError),
    /// The store took everything and still lacks something.
    #[error("the store still lacks {0} after the import")]
    StillMissing(StorePath),
    /// A root could not be made.
    #[error("hold the closure in the store")]
    Hold(#[source] DeviceError),
    /// The work was stopped.
    #[error("the work was stopped")]
    Stopped,
}

impl From<StageError> for DeviceError {
    fn from(error: StageError) -> Self {
        let transient = match &error {
            StageError::Fetch { source, .. } => source.transient,
            StageError::Disk { source, .. } => matches!(
                source.kind(),
                std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded | std::io::ErrorKind::Interrupted
            ),
            StageError::NoSpace { .. } | StageError::Store(_) | StageError::StillMissing(_) | StageError::Stopped => {
                true
            }
            StageError::Hold(source) => source.is_transient(),
            _ => false,
        };
        let doing = "bring the closure";
        let made = if transient { Self::transient(doing) } else { Self::permanent(doing) };
        made.because(error)
    }
}

impl NixosHost {
    pub(super) async fn deliver(&self, score: &NixosScore, trial: &Trial, stage: &dyn Stage) -> Result<(), StageError> {
        let manifest = self.fetch_manifest(score).await?;
        check_signatures(&manifest, &(self.trusted)())?;
        // From the moment the toplevel is valid this root counts, so no collector can come in between.
        self.hold(Root::Candidate, &score.toplevel).map_err(StageError::Hold)?;
        let all: Vec<StorePath> = manifest.paths().iter().map(|info| info.path.clone()).collect();
        let missing: HashSet<StorePath> = self.nix.missing(&all).await?.into_iter().collect();
        if !missing.is_empty() {
            let wanted: Vec<&PathInfo> = manifest.paths().iter().filter(|info| missing.contains(&info.path)).collect();
            self.check_space(&wanted)?;
            let cache = self.paths.imports().join(trial.generation.to_string());
            let imported = self.import(score, &manifest, &wanted, &cache, stage).await;
            drop(std::fs::remove_dir_all(&cache));
            imported?;
        }
        match self.nix.missing(&all).await?.into_iter().next() {
            Some(path) => Err(StageError::StillMissing(path)),
            None => Ok(()),
        }
    }

    async fn fetch_manifest(&self, score: &NixosScore) -> Result<Manifest, StageError> {
        let fetched = self.artifacts.fetch(&score.manifest).await;
        let file = fetched.map_err(|source| StageError::Fetch { what: "the closure's manifest".into(), source })?;
        let toplevel = score.toplevel.clone();
        let size = score.manifest.size;
        blocking(move || {
            let bytes = std::fs::read(&file)
                .map_err(|source| StageError::Disk { doing: format!("read {}", file.display()), source })?;
            if bytes.len() as u64 != size {
                return Err(BadManifest::TooLarge(bytes.len() as u64).into());
            }
            Ok(Manifest::parse(&bytes, &toplevel)?)
        })
        .await
    }

    fn check_space(&self, wanted: &[&PathInfo]) -> Result<(), StageError> {
        let folder = self.paths.store();
        let doing = || format!("see how much room is in {}", folder.display());
        let found =
            rustix::fs::statvfs(&folder).map_err(|error| StageError::Disk { doing: doing(), source: error.into() })?;
        let free = found.f_bavail.saturating_mul(found.f_frsize);
        let bytes = wanted.iter().fold(0u64, |sum, info| sum.saturating_add(info.nar_size));
        let needed = bytes.saturating_add(bytes / 20).saturating_add(SPARE_BYTES);
        if free < needed {
            return Err(StageError::NoSpace { needed, free, paths: wanted.len(), folder });
        }
        Ok(())
    }

    async fn import(
        &self,
        score: &NixosScore,
        manifest: &Manifest,
        wanted: &[&PathInfo],
        cache: &Path,
        stage: &dyn Stage,
    ) -> Result<(), StageError> {
        let disk = |doing: &str| {
            let doing = format!("{doing} {}", cache.display());
            move |source| StageError::Disk { doing, source }
        };
        drop(std::fs::remove_dir_all(cache));
        durable::make_folder(cache).map_err(disk("make the folder"))?;
        let bytes: u64 = wanted.iter().map(|info| info.nar_zst.size).sum();
        stage.progress(&format!("fetching {} of {} paths, {bytes} bytes", wanted.len(), manifest.paths().len()));
        self.fetch_archives(wanted, cache, stage).await?;
        for info in manifest.paths() {
            cache::write_narinfo(cache, info).map_err(disk("write in"))?;
        }
        cache::write_header(cache).map_err(disk("write in"))?;
        stage.progress("importing");
        Ok(self.nix.import(cache, &score.toplevel, &(self.trusted)(), self.import_time).await?)
    }

    async fn fetch_archives(&self, wanted: &[&PathInfo], cache: &Path, stage: &dyn Stage) -> Result<(), StageError> {
        let mut left = wanted.iter().map(|info| (*info).clone());
        let mut jobs: JoinSet<Result<(), StageError>> = JoinSet::new();
        let mut done = 0;
        loop {
            while jobs.len() < FETCH_AT_ONCE
                && let Some(info) = left.next()
            {
                let (artifacts, cache) = (self.artifacts.clone(), cache.to_owned());
                jobs.spawn(async move {
                    let fetched = artifacts.fetch(&info.nar_zst).await;
                    let file = fetched.map_err(|source| StageError::Fetch { what: info.path.to_string(), source })?;
                    blocking(move || cache::place(&cache, &info, &file)).await
                });
            }
            let Some(joined) = jobs.join_next().await else { return Ok(()) };
            joined.map_err(|_| StageError::Stopped)??;
            done += 1;
            if done % PROGRESS_EVERY == 0 {
                stage.progress(&format!("fetched {done} of {} paths", wanted.len()));
            }
        }
    }

    /// Removes what an interrupted import left.
    pub(super) async fn sweep_imports(&self) -> Result<(), DeviceError> {
        let folder = self.paths.imports();
        match tokio::fs::remove_dir_all(&folder).await {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(DeviceError::io(format!("remove {}", folder.display()), error))
            }
            _ => Ok(()),
        }
    }
}

/// Checks that every path is signed by one of these keys, or is made from its content.
fn check_signatures(manifest: &Manifest, keys: &[TrustedKey]) -> Result<(), StageError> {
    for info in manifest.paths() {
        if info.is_signed_by(keys) {
            continue;
        }
        if info.ca.is_none() {
            let names = info.signatures.iter().filter_map(|text| text.split_once(':')).map(|(name, _)| name.to_owned());
            return Err(StageError::Unsigned { path: info.path.clone(), signatures: names.collect() });
        }
        let read = info.narinfo("nar/x.nar.zst").parse::<NarInfo>();
        if !read.is_ok_and(|read| read.is_content_addressed(read.store_dir())) {
            return Err(StageError::NotContentAddressed { path: info.path.clone() });
        }
    }
    Ok(())
}

async fn blocking<R: Send + 'static>(
    work: impl FnOnce() -> Result<R, StageError> + Send + 'static,
) -> Result<R, StageError> {
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(StageError::Stopped))
}

fn have(signatures: &[String]) -> String {
    if signatures.is_empty() { String::new() } else { format!(" (only by {})", signatures.join(", ")) }
}

/// What an archive's hash is called in a message.
fn differs(found: &NarHash) -> String {
    format!("its hash is {found}")
}

/// How many archives are fetched at once.
const FETCH_AT_ONCE: usize = 4;
/// How many archives are fetched between two lines of progress.
const PROGRESS_EVERY: usize = 25;
/// What must stay free besides the closure, in bytes (32 MiB).
const SPARE_BYTES: u64 = 32 * 1024 * 1024;

#[cfg(test)]
mod tests;
