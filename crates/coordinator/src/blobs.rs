//! Artifacts: fetched from the admin who offers them, kept as long as a declaration in force needs them.

use std::collections::HashSet;
use std::time::Duration;

use irpc::channel::mpsc;
use protocols::control::{Denied, OFFER_BLOBS_MAX, OfferProgress, SubmitError};
use protocols::entry::Verb;
use protocols::state::Declaration;
use protocols::{BlobHash, BlobRef, Body, Kind, Millis, NodeId, PeerAddr, VerifiedEntry};
use scores::Score as _;
use scores::nixos::{MANIFEST_BYTES_MAX, Manifest, NixosScore};

use crate::coordinator::Coordinator;

/// How long a blob that no declaration needs is kept after it was offered: time enough to sign the entry that names it,
/// and to roll back to what was in force a short while ago.
pub const RETENTION: Duration = Duration::from_secs(7 * 24 * 3600);
/// How often blobs that nothing needs any more are let go.
pub(crate) const KEEP_TICK: Duration = Duration::from_secs(3600);

/// Name prefix of pins that a declaration holds.
const NEEDED: &str = "needed/";
/// Name prefix of pins that an offer holds: followed by when, in hexadecimal milliseconds, and the hash.
const OFFERED: &str = "offered/";

impl Coordinator {
    /// Fetches what an admin offers, and says how far it got.
    pub(crate) async fn offer(
        &self,
        caller: NodeId,
        blobs: Vec<BlobRef>,
        from: PeerAddr,
        tx: &mpsc::Sender<Result<OfferProgress, Denied>>,
    ) -> Result<(), irpc::channel::SendError> {
        // Another coordinator offers what it was offered itself, for an entry that it hands on.
        let state = self.state();
        if !state.is_coordinator(caller) && !state.may(caller, Verb::Publish, (self.clock)()) {
            return tx.send(Err(Denied::NotAllowed("publish".into()))).await;
        }
        if blobs.len() > OFFER_BLOBS_MAX {
            return tx.send(Err(Denied::Bounds(format!("at most {OFFER_BLOBS_MAX} blobs at once")))).await;
        }
        self.wire.learn(PeerAddr { id: caller, ..from });
        let mut progress = OfferProgress { blobs: 0, of: blobs.len() as u64, bytes: 0 };
        for blob in &blobs {
            if !self.wire.has(blob).await {
                let fetched = tokio::select! {
                    fetched = self.wire.fetch(blob, caller) => fetched,
                    // Nobody waits for it any more; what is here already stays and is not fetched again.
                    () = tx.closed() => return Ok(()),
                };
                match fetched {
                    Ok(bytes) => progress.bytes += bytes,
                    Err(error) => return tx.send(Err(Denied::Unavailable(error.to_string()))).await,
                }
            }
            let name = format!("{OFFERED}{:016x}/{}", (self.clock)().0, blob.hash);
            if let Err(error) = self.wire.pin(name, blob).await {
                return tx.send(Err(Denied::Unavailable(error.to_string()))).await;
            }
            progress.blobs += 1;
            tx.send(Ok(progress)).await?;
        }
        if blobs.is_empty() {
            tx.send(Ok(progress)).await?;
        }
        Ok(())
    }

    /// Every blob that a publication needs; nothing for other entries.
    pub(crate) async fn blobs_of(&self, entry: &VerifiedEntry) -> Vec<BlobRef> {
        let Body::Publish(publish) = &entry.entry().body else { return Vec::new() };
        let mut blobs = publish.artifacts.clone();
        blobs.extend(self.nested(&publish.kind, publish.payload.get()).await.unwrap_or_default());
        blobs.sort_unstable();
        blobs.dedup();
        blobs
    }

    /// A publication whose blobs are not here would be one that nobody can carry out.
    pub(crate) async fn check_blobs(&self, entry: &VerifiedEntry) -> Result<(), SubmitError> {
        let Body::Publish(publish) = &entry.entry().body else { return Ok(()) };
        for blob in &publish.artifacts {
            if !self.wire.has(blob).await {
                return Err(SubmitError::MissingBlob(blob.hash));
            }
        }
        // A kind that this coordinator does not know is none of its business: agents judge it.
        let nested = self.nested(&publish.kind, publish.payload.get()).await;
        for blob in nested.map_err(SubmitError::Unverified)? {
            if !self.wire.has(&blob).await {
                return Err(SubmitError::MissingBlob(blob.hash));
            }
        }
        Ok(())
    }

    /// Pins what declarations in force need, and lets go of what nothing needs any more.
    pub(crate) async fn keep_blobs(&self) {
        let state = self.state();
        let mut needed: HashSet<BlobHash> = HashSet::new();
        let pins = match self.wire.pins().await {
            Ok(pins) => pins,
            Err(error) => {
                tracing::warn!(%error, "cannot list the blobs that are kept");
                return;
            }
        };
        let held: HashSet<&str> = pins.iter().filter_map(|(name, _)| name.strip_prefix(NEEDED)).collect();
        for declaration in state.declarations().values() {
            for blob in self.needs(declaration).await {
                needed.insert(blob.hash);
                if !held.contains(blob.hash.to_string().as_str())
                    && self.wire.has(&blob).await
                    && let Err(error) = self.wire.pin(format!("{NEEDED}{}", blob.hash), &blob).await
                {
                    tracing::warn!(%error, blob = %blob.hash, "cannot keep a blob");
                }
            }
        }
        let now = (self.clock)();
        let old = |since: Millis| now.since(since) > RETENTION;
        for (name, hash) in &pins {
            let stale = match (name.strip_prefix(NEEDED), name.strip_prefix(OFFERED)) {
                (Some(_), _) => !needed.contains(hash),
                (_, Some(rest)) => rest
                    .split('/')
                    .next()
                    .and_then(|at| u64::from_str_radix(at, 16).ok())
                    .is_none_or(|at| old(Millis(at))),
                _ => false,
            };
            if stale && let Err(error) = self.wire.unpin(name.clone()).await {
                tracing::warn!(%error, name, "cannot let go of a blob");
            }
        }
    }

    pub(crate) async fn needs(&self, declaration: &Declaration) -> Vec<BlobRef> {
        let mut blobs = declaration.artifacts.clone();
        match self.nested(&declaration.kind, declaration.payload.get()).await {
            Ok(nested) => blobs.extend(nested),
            Err(why) => tracing::warn!(name = %declaration.name, why, "cannot tell which blobs a declaration needs"),
        }
        blobs
    }

    /// Blobs that are named in a blob: those of a closure's manifest.
    async fn nested(&self, kind: &Kind, payload: &str) -> Result<Vec<BlobRef>, String> {
        if *kind != NixosScore::KIND {
            return Ok(Vec::new());
        }
        let score: NixosScore = scores::score::parse(payload).map_err(|e| e.to_string())?;
        let max = usize::try_from(MANIFEST_BYTES_MAX).unwrap_or(usize::MAX);
        let bytes = self.wire.read(&score.manifest, max).await.map_err(|e| e.to_string())?;
        let manifest = Manifest::parse(&bytes, &score.toplevel).map_err(|e| e.to_string())?;
        Ok(manifest.paths().iter().map(|path| path.nar_zst).collect())
    }
}
