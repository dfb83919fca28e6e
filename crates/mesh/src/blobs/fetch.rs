//! Fetching a blob from those who have it: resumed, verified, from several at once when it is large.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use iroh_blobs::api::remote::GetProgressItem;
use iroh_blobs::get::StreamPair;
use iroh_blobs::protocol::{ChunkRanges, ChunkRangesExt, GetRequest};
use n0_future::StreamExt;
use protocols::{BlobHash, BlobRef, NodeId};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::wire::Watched;
use super::{BLOBS_ALPN, BlobPlane, NoRoom, StoreError, hash, usage};
use crate::Mesh;
use crate::rpc::ConnectError;

/// What a fetch moved.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FetchReport {
    /// Bytes that came over the wire, hashes included; 0 when the blob was here.
    pub bytes_moved: u64,
    /// The same per provider, for those that sent anything.
    pub from: Vec<(NodeId, u64)>,
}

/// Why one provider did not deliver.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProviderError {
    /// It cannot be connected to.
    #[error("{0}")]
    Connect(#[from] ConnectError),
    /// It does not have the blob, sent something else, stalled, or went away.
    #[error("{0}")]
    Transfer(String),
}

/// Why a blob could not be fetched. What has arrived is kept for the next attempt.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// There is no room for it.
    #[error("cannot fetch the artifact {hash}")]
    NoRoom {
        /// Which.
        hash: BlobHash,
        /// What is missing.
        source: NoRoom,
    },
    /// Nobody was named who could have it.
    #[error("nobody is known to have the artifact {hash}")]
    NoProvider {
        /// Which.
        hash: BlobHash,
    },
    /// Everybody failed.
    #[error("no provider delivered the artifact {hash}: {}", list(failures))]
    Providers {
        /// Which.
        hash: BlobHash,
        /// The last failure of each.
        failures: Vec<(NodeId, ProviderError)>,
    },
    /// The hash is that of a blob with another size.
    #[error("the artifact {hash} has {size} bytes, not {expected}")]
    OtherSize {
        /// Which.
        hash: BlobHash,
        /// What it has.
        size: u64,
        /// What was said.
        expected: u64,
    },
    /// The own store failed.
    #[error("cannot fetch the artifact {hash}")]
    Store {
        /// Which.
        hash: BlobHash,
        /// How.
        source: StoreError,
    },
}

impl BlobPlane {
    /// Makes sure that a blob is here, from any of `providers`, the preferred first. A small one comes
    /// from one of them, a large one from several at a time; who fails is passed over. What an earlier
    /// attempt brought, even one that was killed, is not fetched again. `progress` follows the bytes
    /// that are here.
    ///
    /// # Errors
    /// [`FetchError`] when no provider is left, or there is no room.
    pub async fn fetch(
        &self,
        mesh: &Mesh,
        blob: &BlobRef,
        providers: &[NodeId],
        progress: &watch::Sender<u64>,
    ) -> Result<FetchReport, FetchError> {
        let turn = self.turn(blob).lock_owned().await;
        let outcome = self.fetch_in_turn(mesh, blob, providers, progress).await;
        drop(turn);
        let mut fetching = self.0.fetching.lock().unwrap_or_else(PoisonError::into_inner);
        fetching.retain(|_, turn| Arc::strong_count(turn) > 1);
        outcome
    }

    fn turn(&self, blob: &BlobRef) -> Arc<tokio::sync::Mutex<()>> {
        let mut fetching = self.0.fetching.lock().unwrap_or_else(PoisonError::into_inner);
        fetching.entry(hash(blob)).or_default().clone()
    }

    async fn fetch_in_turn(
        &self,
        mesh: &Mesh,
        blob: &BlobRef,
        providers: &[NodeId],
        progress: &watch::Sender<u64>,
    ) -> Result<FetchReport, FetchError> {
        let store = |source| FetchError::Store { hash: blob.hash, source };
        if let Some(size) = self.size_of(blob.hash).await {
            if size != blob.size {
                return Err(FetchError::OtherSize { hash: blob.hash, size, expected: blob.size });
            }
            self.hold(hash(blob)).await.map_err(store)?;
            progress.send_replace(size);
            return Ok(FetchReport::default());
        }
        let no_room = |source| FetchError::NoRoom { hash: blob.hash, source };
        if blob.size > self.0.config.blob_max {
            return Err(no_room(NoRoom::TooLarge { size: blob.size, max: self.0.config.blob_max }));
        }
        let mut providers: Vec<Provider> =
            providers.iter().filter(|p| **p != mesh.id()).map(|p| Provider::new(*p)).collect();
        if providers.is_empty() {
            return Err(FetchError::NoProvider { hash: blob.hash });
        }
        // Before the first byte: a partial blob is as unprotected as a whole one.
        let _tag = self
            .0
            .store
            .tags()
            .temp_tag(iroh_blobs::HashAndFormat::raw(hash(blob)))
            .await
            .map_err(|e| store(self.store_error(e)))?;
        let mut missing = self.missing(blob).await.map_err(store)?;
        let _room = self.room(length(&missing)).map_err(no_room)?;

        while !missing.is_empty() {
            let failed = self.round(mesh, blob, &missing, &mut providers, progress).await;
            let before = length(&missing);
            missing = self.missing(blob).await.map_err(store)?;
            if missing.is_empty() {
                break;
            }
            if failed.is_some_and(|why| usage::is_disk_full(&why)) {
                return Err(no_room(self.disk_full(length(&missing))));
            }
            let moved = length(&missing) < before;
            for provider in &mut providers {
                // Who has delivered something and then failed is worth another try, as long as we advance.
                if moved && provider.moved() > provider.moved_before && provider.failures <= RETRIES {
                    provider.failed_now = false;
                }
                provider.moved_before = provider.moved();
            }
            if providers.iter().all(|p| p.failed_now) {
                let failures = providers.into_iter().filter_map(|p| p.error.map(|e| (p.id, e))).collect();
                return Err(FetchError::Providers { hash: blob.hash, failures });
            }
        }
        if self.size_of(blob.hash).await.is_none() {
            return Err(store(self.store_error("what was fetched is not there")));
        }
        self.hold(hash(blob)).await.map_err(store)?;
        self.0.store.sync_db().await.map_err(|e| store(self.store_error(e)))?;
        progress.send_replace(blob.size);
        let from: Vec<_> = providers.iter().map(|p| (p.id, p.moved())).filter(|(_, moved)| *moved > 0).collect();
        Ok(FetchReport { bytes_moved: from.iter().map(|(_, moved)| moved).sum(), from })
    }

    /// Has every provider that is still good work on what is missing, until all is here or all have failed.
    /// Returns the failure of the own store, if that is what stopped it.
    async fn round(
        &self,
        mesh: &Mesh,
        blob: &BlobRef,
        missing: &[Range<u64>],
        providers: &mut [Provider],
        progress: &watch::Sender<u64>,
    ) -> Option<String> {
        let good = providers.iter().filter(|p| !p.failed_now).count();
        let work = Arc::new(Mutex::new(segments(missing, good)));
        let here = Arc::new(AtomicU64::new(blob.size - length(missing)));
        let mut workers = JoinSet::new();
        let at_once = work.lock().unwrap_or_else(PoisonError::into_inner).len().clamp(1, PARALLEL_MAX);
        for (index, provider) in providers.iter().enumerate().filter(|(_, p)| !p.failed_now).take(at_once) {
            let (plane, mesh, blob, id) = (self.clone(), mesh.clone(), *blob, provider.id);
            let (work, moved, here, progress) = (work.clone(), provider.moved.clone(), here.clone(), progress.clone());
            workers.spawn(async move {
                loop {
                    let next = work.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                    let Some(segment) = next else { return (index, Ok(())) };
                    let got = plane.segment(&mesh, &blob, id, segment.clone(), &moved, &here, &progress).await;
                    if let Err(why) = got {
                        // Another one takes it over; what of it has arrived is not asked for again.
                        work.lock().unwrap_or_else(PoisonError::into_inner).push_front(segment);
                        return (index, Err(why));
                    }
                }
            });
        }
        let mut commit = tokio::time::interval(COMMIT_EVERY);
        let mut own = None;
        loop {
            tokio::select! {
                ended = workers.join_next() => match ended {
                    None => return own,
                    Some(Ok((_, Ok(())))) => {}
                    Some(Ok((index, Err(why)))) => {
                        tracing::debug!(provider = %providers[index].id, %why, "a provider did not deliver");
                        if usage::is_disk_full(&why.to_string()) {
                            own = Some(why.to_string());
                        }
                        providers[index].failed(why);
                    }
                    // A worker that panicked has taken its provider with it.
                    Some(Err(why)) => own = Some(why.to_string()),
                },
                // What has arrived survives a crash only once the store has committed it.
                _ = commit.tick() => drop(self.0.store.sync_db().await),
            }
        }
    }

    /// Gets what is missing of one segment from one provider.
    #[expect(clippy::too_many_arguments, reason = "a worker's whole context, used in one place")]
    async fn segment(
        &self,
        mesh: &Mesh,
        blob: &BlobRef,
        provider: NodeId,
        segment: Range<u64>,
        moved: &Arc<AtomicU64>,
        here: &AtomicU64,
        progress: &watch::Sender<u64>,
    ) -> Result<(), ProviderError> {
        let transfer = |why: String| ProviderError::Transfer(why);
        let missing = self.missing(blob).await.map_err(|e| transfer(chain(&e)))?;
        let wanted: Vec<_> = missing.iter().filter_map(|m| overlap(m, &segment)).collect();
        if wanted.is_empty() {
            return Ok(());
        }
        let ranges = wanted.iter().fold(ChunkRanges::empty(), |all, r| all | ChunkRanges::bytes(r.clone()));
        let connection = mesh.link(provider, BLOBS_ALPN).connection().await?;
        let idle = self.0.config.idle;
        let (send, recv) = tokio::time::timeout(idle, connection.open_bi())
            .await
            .map_err(|_| transfer(format!("it accepts no further transfer within {idle:?}")))?
            .map_err(|e| transfer(format!("{e:#}")))?;
        let recv = Watched::new(recv, blob.size, length(&wanted), idle, moved.clone());
        let pair = StreamPair::new(connection.stable_id() as u64, recv, send);
        let request = GetRequest::blob_ranges(hash(blob), ranges);
        let mut items = std::pin::pin!(self.0.store.remote().execute_get(pair, request).stream());
        let mut seen = 0;
        while let Some(item) = items.next().await {
            match item {
                GetProgressItem::Progress(bytes) => {
                    let total =
                        here.fetch_add(bytes.saturating_sub(seen), Ordering::Relaxed) + bytes.saturating_sub(seen);
                    seen = seen.max(bytes);
                    progress.send_if_modified(|now| {
                        let forward = total > *now && total <= blob.size;
                        *now = if forward { total } else { *now };
                        forward
                    });
                }
                GetProgressItem::Done(_) => return Ok(()),
                GetProgressItem::Error(why) => return Err(transfer(format!("{why:#}"))),
            }
        }
        Err(transfer(io::Error::from(io::ErrorKind::UnexpectedEof).to_string()))
    }

    /// The bytes of a blob that are not here, in order.
    async fn missing(&self, blob: &BlobRef) -> Result<Vec<Range<u64>>, StoreError> {
        let have = self.0.store.blobs().observe(hash(blob)).await.map_err(|e| self.store_error(e))?;
        let missing = ChunkRanges::bytes(..blob.size) - have.ranges;
        let bounds: Vec<u64> = missing.boundaries().iter().map(|chunk| chunk.to_bytes().min(blob.size)).collect();
        Ok(bounds
            .chunks(2)
            .map(|pair| pair[0]..pair.get(1).copied().unwrap_or(blob.size))
            .filter(|r| !r.is_empty())
            .collect())
    }
}

/// What is known of a provider during a fetch.
struct Provider {
    id: NodeId,
    moved: Arc<AtomicU64>,
    moved_before: u64,
    failures: u32,
    failed_now: bool,
    error: Option<ProviderError>,
}

impl Provider {
    fn new(id: NodeId) -> Self {
        Self { id, moved: Arc::default(), moved_before: 0, failures: 0, failed_now: false, error: None }
    }

    fn moved(&self) -> u64 {
        self.moved.load(Ordering::Relaxed)
    }

    fn failed(&mut self, why: ProviderError) {
        self.failures += 1;
        self.failed_now = true;
        self.error = Some(why);
    }
}

/// Cuts what is missing into pieces, so that `providers` finish at about the same time.
fn segments(missing: &[Range<u64>], providers: usize) -> VecDeque<Range<u64>> {
    let total = length(missing);
    let step = if providers < 2 || total < SPLIT_MIN {
        SEGMENT_MAX
    } else {
        (total / (providers as u64 * 4)).clamp(SEGMENT_MIN, SEGMENT_MAX).next_multiple_of(GROUP)
    };
    let mut segments = VecDeque::new();
    for range in missing {
        let mut start = range.start;
        while start < range.end {
            let end = (start + step).next_multiple_of(GROUP).min(range.end);
            segments.push_back(start..end);
            start = end;
        }
    }
    segments
}

fn overlap(a: &Range<u64>, b: &Range<u64>) -> Option<Range<u64>> {
    let both = a.start.max(b.start)..a.end.min(b.end);
    (!both.is_empty()).then_some(both)
}

fn length(ranges: &[Range<u64>]) -> u64 {
    ranges.iter().map(|r| r.end - r.start).sum()
}

fn list(failures: &[(NodeId, ProviderError)]) -> String {
    failures.iter().map(|(id, why)| format!("{}: {why}", id.short())).collect::<Vec<_>>().join("; ")
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}

/// Bytes that are hashed together; a boundary inside one would fetch it twice.
const GROUP: u64 = 16 * 1024;
/// The smallest piece worth a request of its own, in bytes.
const SEGMENT_MIN: u64 = 1 << 20;
/// The largest piece, in bytes: what a provider that fails late costs at most.
const SEGMENT_MAX: u64 = 64 << 20;
/// Below this many missing bytes one provider is enough.
const SPLIT_MIN: u64 = 4 << 20;
/// Providers that are used at a time.
const PARALLEL_MAX: usize = 4;
/// Times a provider that has delivered something may fail.
const RETRIES: u32 = 3;
/// How often the store is told to commit during a transfer.
const COMMIT_EVERY: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::single_range_in_vec_init, reason = "a list of one range is meant")]
    fn segments_cover_what_is_missing_and_nothing_else() {
        for (missing, providers) in [
            (vec![0..1], 1),
            (vec![0..GROUP, 5 * GROUP..100 << 20], 3),
            (vec![(10 << 20)..(500 << 20) + 7], 4),
            (vec![], 2),
        ] {
            let cut = segments(&missing, providers);
            let all: Vec<_> = cut.iter().cloned().collect();
            assert_eq!(length(&all), length(&missing));
            assert!(all.iter().all(|s| missing.iter().any(|m| overlap(m, s) == Some(s.clone()))));
            assert!(all.windows(2).all(|w| w[0].end <= w[1].start));
        }
        assert!(segments(&[0..32 << 20], 3).len() >= 3, "a large blob is spread");
        assert_eq!(segments(&[0..1 << 20], 3).len(), 1, "a small one is not");
    }
}
