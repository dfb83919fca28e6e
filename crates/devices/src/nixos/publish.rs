//! The admin's half of `nixos/1`: a system in the local store becomes signed metadata and one compressed file a path.
//!
//! Every path is packed once: a folder keeps the packed archives by the hash of what is in them, so that the next
//! publication packs only what changed, and one that was interrupted goes on where it was. What no publication used for
//! two months is forgotten.

mod pack;
mod prune;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use protocols::{BlobRef, SecretKey};
use scores::nixos::{BadManifest, Manifest, PathInfo, SIGNATURES_MAX, StorePath, TrustedKey, sign};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::facts::PathFacts;
use super::nix::{Nix, NixError};

pub use pack::PackError;

/// A system, ready to be added to a blob store and declared.
#[derive(Debug, Clone)]
pub struct Published {
    /// The manifest's bytes: a blob too, and the one that the score names.
    pub manifest: Vec<u8>,
    /// The manifest's hash and size.
    pub manifest_ref: BlobRef,
    /// The packed archives, each once.
    pub nars: Vec<(PathBuf, BlobRef)>,
    /// What it came to.
    pub stats: PublishStats,
}

/// What a publication came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PublishStats {
    /// Paths of the closure.
    pub paths: usize,
    /// Paths that had to be packed now.
    pub packed: usize,
    /// Paths that the admin's key signed.
    pub signed: usize,
    /// Size of the closure, unpacked, in bytes.
    pub nar_bytes: u64,
    /// Size of all packed archives, in bytes.
    pub packed_bytes: u64,
}

/// How far a publication is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishProgress {
    /// Paths that are done.
    pub done: usize,
    /// Paths of the closure.
    pub of: usize,
    /// The path that was done last.
    pub path: StorePath,
}

/// Why a system cannot be published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// There is no such path.
    #[error("{path} does not exist in this machine's store; build it here first, or copy it here with `nix copy`")]
    Missing {
        /// The path.
        path: StorePath,
    },
    /// It exists, but the store does not vouch for it.
    #[error("{path} exists but is not valid in this machine's store; repair it with `nix-store --verify --repair`")]
    NotValid {
        /// The path.
        path: StorePath,
    },
    /// It cannot be activated.
    #[error("{path} is not a NixOS system: it has no bin/switch-to-configuration")]
    NotASystem {
        /// The path.
        path: StorePath,
    },
    /// The store cannot be asked.
    #[error("ask the store")]
    Store(#[from] NixError),
    /// An archive cannot be packed.
    #[error("pack {path}")]
    Pack {
        /// The path.
        path: StorePath,
        /// Why.
        #[source]
        source: PackError,
    },
    /// What the store says does not make a closure.
    #[error("describe the closure")]
    Manifest(#[from] BadManifest),
}

/// Makes the closure of `toplevel` ready for publication: packs what is not in `cache` yet, signs every path with `key`,
/// and keeps the signatures that are there. `progress` hears of every path.
///
/// # Errors
/// As [`PublishError`] says; what was packed until then stays in `cache` and is not packed again.
pub async fn publish(
    nix: &Nix,
    toplevel: &StorePath,
    key: &SecretKey,
    cache: &Path,
    mut progress: impl FnMut(PublishProgress),
) -> Result<Published, PublishError> {
    if !nix.missing(std::slice::from_ref(toplevel)).await?.is_empty() {
        let exists = std::fs::symlink_metadata(toplevel.as_str()).is_ok();
        let path = toplevel.clone();
        return Err(if exists { PublishError::NotValid { path } } else { PublishError::Missing { path } });
    }
    if !Path::new(toplevel.as_str()).join("bin/switch-to-configuration").exists() {
        return Err(PublishError::NotASystem { path: toplevel.clone() });
    }
    let closure = nix.closure(toplevel).await?;
    let facts = nix.facts(&closure).await?;
    let mut stats = PublishStats { paths: facts.len(), ..PublishStats::default() };
    let packed = pack_all(&facts, cache, &mut stats, &mut progress).await?;
    let mut infos = Vec::with_capacity(facts.len());
    for (facts, (_, blob)) in facts.into_iter().zip(&packed) {
        let info = describe(facts, *blob, key, &mut stats);
        stats.nar_bytes = stats.nar_bytes.saturating_add(info.nar_size);
        infos.push(info);
    }
    let manifest = Manifest::new(toplevel.clone(), infos)?.to_bytes();
    let hash = protocols::BlobHash::from_bytes(*blake3::hash(&manifest).as_bytes());
    let manifest_ref = BlobRef { hash, size: manifest.len() as u64 };
    let mut nars = packed;
    nars.sort_by_key(|(_, blob)| *blob);
    nars.dedup_by(|a, b| a.1 == b.1);
    let cache = cache.to_owned();
    let pruned = tokio::task::spawn_blocking(move || prune::prune(&cache, SystemTime::now(), prune::KEPT)).await;
    match pruned {
        Ok(Ok(0)) | Err(_) => {}
        Ok(Ok(bytes)) => tracing::info!(bytes, "forgot packed archives that were long unused"),
        Ok(Err(error)) => tracing::warn!(%error, "cannot look for packed archives that are long unused"),
    }
    stats.packed_bytes = nars.iter().map(|(_, blob)| blob.size).sum();
    Ok(Published { manifest, manifest_ref, nars, stats })
}

async fn pack_all(
    facts: &[PathFacts],
    cache: &Path,
    stats: &mut PublishStats,
    progress: &mut impl FnMut(PublishProgress),
) -> Result<Vec<(PathBuf, BlobRef)>, PublishError> {
    let at_once = std::thread::available_parallelism().map_or(1, |n| n.get().min(PACK_AT_ONCE_MAX));
    let turns = Arc::new(Semaphore::new(at_once));
    let mut jobs = JoinSet::new();
    for (at, facts) in facts.iter().cloned().enumerate() {
        let (turns, cache) = (turns.clone(), cache.to_owned());
        jobs.spawn(async move {
            let turn = turns.acquire_owned().await;
            let job = tokio::task::spawn_blocking(move || {
                let done = pack::pack(&facts, &cache);
                drop(turn);
                (facts.path, done)
            });
            (at, job.await)
        });
    }
    let mut packed: Vec<Option<(PathBuf, BlobRef)>> = vec![None; facts.len()];
    let mut done = 0;
    while let Some(joined) = jobs.join_next().await {
        // A packer does not panic and is not cancelled; should it, the path stays open and is named below.
        let Ok((at, Ok((path, result)))) = joined else { continue };
        let made = result.map_err(|source| PublishError::Pack { path: path.clone(), source })?;
        stats.packed += usize::from(made.fresh);
        packed[at] = Some((made.file, made.blob));
        done += 1;
        progress(PublishProgress { done, of: facts.len(), path });
    }
    let open = |at: usize| PublishError::Pack { path: facts[at].path.clone(), source: PackError::Stopped };
    packed.into_iter().enumerate().map(|(at, made)| made.ok_or_else(|| open(at))).collect()
}

fn describe(facts: PathFacts, nar_zst: BlobRef, key: &SecretKey, stats: &mut PublishStats) -> PathInfo {
    let PathFacts { path, nar_hash, nar_size, references, deriver, ca, signatures } = facts;
    let mut info = PathInfo { path, nar_hash, nar_size, references, deriver, ca, signatures, nar_zst };
    let own = TrustedKey::of_node(key.id());
    info.signatures.retain(|signature| !signature.starts_with(&format!("{}:", own.name())));
    if info.ca.is_none() {
        info.signatures.truncate(SIGNATURES_MAX - 1);
        info.signatures.push(sign(key, &info.fingerprint()));
        stats.signed += 1;
    }
    info.signatures.truncate(SIGNATURES_MAX);
    info
}

/// The most archives that are packed at once.
const PACK_AT_ONCE_MAX: usize = 8;
