//! Artifacts: content that is named by its hash, kept on disk, and moved between nodes.
//!
//! The store is the node's own and is served under an ALPN of its own, apart from the in-memory
//! store that carries document values. Whoever the access rule lets in on that ALPN can fetch any
//! blob whose hash it knows, and nothing can be listed or written from outside.
//!
//! What is added or fetched stays for at least two collection intervals; what shall stay longer
//! must be pinned by then.

mod collect;
mod export;
mod fetch;
mod serve;
mod usage;
mod wire;

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use iroh_blobs::api::blobs::{AddPathOptions, AddProgress, BlobStatus};
use iroh_blobs::api::{Store, TempTag};
use iroh_blobs::store::fs::FsStore;
use iroh_blobs::store::fs::options::Options;
use iroh_blobs::{BlobFormat, Hash, HashAndFormat};
use n0_future::StreamExt;
use protocols::{BlobHash, BlobRef};
use tokio::io::{AsyncRead, AsyncSeek};

use crate::net::MeshBuilder;

pub(crate) use serve::Provider;
pub(crate) use wire::Watched;

pub use export::ExportError;
pub use fetch::{FetchError, FetchReport};
pub use usage::Usage;

/// The ALPN under which artifacts are served.
pub const BLOBS_ALPN: &[u8] = b"flotilla/blobs/1";

/// How long the store may take to open.
pub const OPEN_DEADLINE: Duration = Duration::from_secs(20);

/// Where artifacts are kept, and within which bounds.
#[derive(Debug, Clone)]
pub struct BlobConfig {
    /// The folder. One process at a time.
    pub dir: PathBuf,
    /// The most bytes on disk that the store may take.
    pub quota: u64,
    /// The largest single blob, in bytes.
    pub blob_max: u64,
    /// Bytes that must stay free on the disk. A full disk would break the store's database.
    pub reserve: u64,
    /// How often what nobody pins is collected.
    pub collect_every: Duration,
    /// How long a provider may be silent during a transfer.
    pub idle: Duration,
    /// Transfers that one peer may run at a time.
    pub transfers_per_peer: u32,
}

impl BlobConfig {
    /// The defaults for a folder: 64 GiB, blobs up to 32 GiB, 64 MiB reserve, collected every five minutes.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            quota: 64 << 30,
            blob_max: 32 << 30,
            reserve: 64 << 20,
            collect_every: Duration::from_secs(300),
            idle: Duration::from_secs(10),
            transfers_per_peer: 8,
        }
    }
}

/// Why the store does not open, or fails while open.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The folder cannot be used.
    #[error("cannot use the artifact folder {path}")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The store inside it does not work.
    #[error("the artifact store in {path} fails: {why}")]
    Store {
        /// The folder.
        path: PathBuf,
        /// The chain of causes.
        why: String,
    },
}

/// Why there is no room.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoRoom {
    /// More than a single blob may have.
    #[error("{size} bytes are more than the {max} that one artifact may have")]
    TooLarge {
        /// What it has.
        size: u64,
        /// What it may have.
        max: u64,
    },
    /// The store would outgrow its quota.
    #[error("{needed} more bytes do not fit: {used} of the {quota} bytes for artifacts are in use")]
    Quota {
        /// What is missing.
        needed: u64,
        /// What is used.
        used: u64,
        /// The limit.
        quota: u64,
    },
    /// The disk is full, or nearly.
    #[error("{needed} more bytes do not fit on the disk: {free} are free, of which {reserve} are kept in reserve")]
    Disk {
        /// What is missing.
        needed: u64,
        /// What is free.
        free: u64,
        /// What must stay free.
        reserve: u64,
    },
}

/// Why something was not added.
#[derive(Debug, thiserror::Error)]
pub enum AddError {
    /// There is no room for it.
    #[error("cannot add the artifact")]
    NoRoom(#[from] NoRoom),
    /// It cannot be read.
    #[error("cannot read {what}")]
    Read {
        /// What was being added.
        what: String,
        /// Why.
        source: io::Error,
    },
    /// The store failed.
    #[error("cannot add the artifact")]
    Store(#[from] StoreError),
}

/// The artifacts of a node. Clones share them.
#[derive(Debug, Clone)]
pub struct BlobPlane(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Store,
    config: BlobConfig,
    pulse: Arc<collect::Pulse>,
    /// What was just added or fetched, until it had time to be pinned.
    held: Arc<Mutex<collect::Held>>,
    /// One fetch at a time per blob: the second finds the work of the first.
    fetching: Mutex<HashMap<Hash, Arc<tokio::sync::Mutex<()>>>>,
    /// Room promised to work in progress.
    promised: usage::Promised,
}

impl BlobPlane {
    /// Opens the store in a folder, which is made if there is none.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be used, for instance because another process uses it.
    pub async fn open(mut config: BlobConfig) -> Result<Self, StoreError> {
        let folder = |source| StoreError::Folder { path: config.dir.clone(), source };
        std::fs::create_dir_all(&config.dir).map_err(folder)?;
        config.dir = std::fs::canonicalize(&config.dir).map_err(folder)?;
        let held = Arc::new(Mutex::new(collect::Held::default()));
        let pulse = Arc::new(collect::Pulse::new(config.collect_every));
        let mut options = Options::new(&config.dir);
        options.gc = Some(collect::config(config.collect_every, pulse.clone(), held.clone()));
        let failed = |why: String| StoreError::Store { path: config.dir.clone(), why };
        // On a disk without any space the store below waits for itself without end.
        let store = tokio::time::timeout(OPEN_DEADLINE, FsStore::load_with_opts(config.dir.join("blobs.db"), options))
            .await
            .map_err(|_| failed(format!("it did not open within {} s: is the disk full?", OPEN_DEADLINE.as_secs())))?
            .map_err(|e| failed(format!("{e:#}")))?;
        Ok(Self(Arc::new(Inner {
            store: store.into(),
            pulse,
            held,
            fetching: Mutex::default(),
            promised: usage::Promised::default(),
            config,
        })))
    }

    /// Adds a file by copying it.
    ///
    /// # Errors
    /// [`AddError`]; the store is as before then.
    pub async fn add_file(&self, path: &Path) -> Result<BlobRef, AddError> {
        let read = |source| AddError::Read { what: path.display().to_string(), source };
        let path = std::path::absolute(path).map_err(read)?;
        let size = tokio::fs::metadata(&path).await.map_err(read)?.len();
        // Asked of the file itself, because the store's own error would not tell reading from writing.
        drop(tokio::fs::File::open(&path).await.map_err(read)?);
        let _room = self.room(size)?;
        let mode = iroh_blobs::api::blobs::ImportMode::Copy;
        let options = AddPathOptions { path, format: BlobFormat::Raw, mode };
        self.added(self.0.store.blobs().add_path_with_opts(options)).await
    }

    /// Adds bytes.
    ///
    /// # Errors
    /// [`AddError`]; the store is as before then.
    pub async fn add_bytes(&self, bytes: impl Into<Bytes>) -> Result<BlobRef, AddError> {
        let bytes = bytes.into();
        let _room = self.room(bytes.len() as u64)?;
        self.added(self.0.store.blobs().add_bytes(bytes)).await
    }

    /// Adds what a reader gives, up to its end. It goes to a file first, because the store would not
    /// stop at a quota that is passed half-way.
    ///
    /// # Errors
    /// [`AddError`]; the store is as before then.
    pub async fn add_reader(&self, mut reader: impl AsyncRead + Unpin + Send) -> Result<BlobRef, AddError> {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let dir = self.0.config.dir.join("incoming");
        let folder = |source| StoreError::Folder { path: dir.clone(), source };
        std::fs::create_dir_all(&dir).map_err(folder)?;
        let spool = Spool(dir.join(format!("{:032x}", u128::from_le_bytes(random()))));
        let mut file = tokio::fs::File::create(&spool.0).await.map_err(folder)?;
        let mut buffer = vec![0; SPOOL_STEP];
        let mut size = 0u64;
        loop {
            let read = |source| AddError::Read { what: "the given stream".into(), source };
            let n = reader.read(&mut buffer).await.map_err(read)?;
            if n == 0 {
                break;
            }
            let before = size;
            size += n as u64;
            // Looking at the disk for every step would cost more than writing the step.
            if before / SPOOL_CHECK != size / SPOOL_CHECK || before == 0 {
                drop(self.room(size.max(SPOOL_CHECK.min(self.0.config.blob_max)))?);
            }
            if let Err(source) = file.write_all(&buffer[..n]).await {
                return Err(self.disk_error(source, size));
            }
        }
        if let Err(source) = file.flush().await {
            return Err(self.disk_error(source, size));
        }
        drop(file);
        self.add_file(&spool.0).await
    }

    /// Whether a blob is here, whole.
    pub async fn has(&self, blob: &BlobRef) -> bool {
        self.size_of(blob.hash).await == Some(blob.size)
    }

    /// Reads a whole blob that is here into memory, unless it has more than `max` bytes.
    ///
    /// # Errors
    /// [`ExportError`] if it is larger, not here, or damaged.
    pub async fn read(&self, blob: &BlobRef, max: usize) -> Result<Bytes, ExportError> {
        if blob.size > max as u64 {
            return Err(ExportError::TooLarge { hash: blob.hash, size: blob.size, max: max as u64 });
        }
        self.must_have(blob).await?;
        let bytes = self
            .0
            .store
            .blobs()
            .get_bytes(hash(blob))
            .await
            .map_err(|e| ExportError::Damaged { hash: blob.hash, why: format!("{e:#}") })?;
        if blake3::hash(&bytes).as_bytes() != blob.hash.as_bytes() {
            return Err(ExportError::Damaged { hash: blob.hash, why: "the content has another hash".into() });
        }
        Ok(bytes)
    }

    /// A reader of a blob that is here. It reads what the store holds; [`Self::export`] also verifies it.
    ///
    /// # Errors
    /// [`ExportError::Missing`] if it is not here.
    pub async fn reader(
        &self,
        blob: &BlobRef,
    ) -> Result<impl AsyncRead + AsyncSeek + Unpin + Send + use<>, ExportError> {
        self.must_have(blob).await?;
        Ok(self.0.store.blobs().reader(hash(blob)))
    }

    /// Keeps a blob until [`Self::unpin`] is called with the same tag. It need not be here yet.
    ///
    /// # Errors
    /// [`StoreError`] if that cannot be recorded.
    pub async fn pin(&self, tag: &str, blob: &BlobRef) -> Result<(), StoreError> {
        // Held as well: a collection that has already listed the tags must not take it.
        self.hold(hash(blob)).await?;
        let tags = self.0.store.tags();
        tags.set(tag, HashAndFormat::raw(hash(blob))).await.map_err(|e| self.store_error(e))?;
        self.0.store.sync_db().await.map_err(|e| self.store_error(e))
    }

    /// Removes a pin. The blob goes with the next collection unless it is pinned elsewhere.
    ///
    /// # Errors
    /// [`StoreError`] if that cannot be recorded.
    pub async fn unpin(&self, tag: &str) -> Result<(), StoreError> {
        self.0.store.tags().delete(tag).await.map_err(|e| self.store_error(e))?;
        self.0.store.sync_db().await.map_err(|e| self.store_error(e))
    }

    /// All pins, by tag.
    ///
    /// # Errors
    /// [`StoreError`] if they cannot be read.
    pub async fn pins(&self) -> Result<Vec<(String, BlobHash)>, StoreError> {
        let mut tags = self.0.store.tags().list().await.map_err(|e| self.store_error(e))?;
        let mut pins = Vec::new();
        while let Some(tag) = tags.next().await {
            let tag = tag.map_err(|e| self.store_error(e))?;
            pins.push((String::from_utf8_lossy(&tag.name.0).into_owned(), BlobHash::from_bytes(*tag.hash.as_bytes())));
        }
        Ok(pins)
    }

    /// Whether the collector still runs. It ends for good at an error; only reopening starts it again.
    pub fn is_collecting(&self) -> bool {
        self.0.pulse.beats()
    }

    /// Flushes and closes the store. Everything else fails from then on.
    pub async fn shutdown(&self) {
        if let Err(why) = self.0.store.shutdown().await {
            tracing::warn!(%why, "the artifact store did not close cleanly");
        }
    }

    async fn added(&self, progress: AddProgress<'_>) -> Result<BlobRef, AddError> {
        let tag = progress.temp_tag().await.map_err(|e| self.add_error(&e))?;
        let hash = tag.hash();
        self.keep(tag);
        self.0.store.sync_db().await.map_err(|e| self.add_error(&e))?;
        let hash = BlobHash::from_bytes(*hash.as_bytes());
        let size = self.size_of(hash).await.ok_or_else(|| self.store_error("what was added is not there"))?;
        Ok(BlobRef { hash, size })
    }

    async fn size_of(&self, hash: BlobHash) -> Option<u64> {
        match self.0.store.blobs().status(Hash::from_bytes(*hash.as_bytes())).await {
            Ok(BlobStatus::Complete { size }) => Some(size),
            _ => None,
        }
    }

    async fn must_have(&self, blob: &BlobRef) -> Result<(), ExportError> {
        match self.size_of(blob.hash).await {
            Some(size) if size == blob.size => Ok(()),
            Some(size) => Err(ExportError::OtherSize { hash: blob.hash, size, expected: blob.size }),
            None => Err(ExportError::Missing { hash: blob.hash }),
        }
    }

    /// Protects a blob from collection until it had time to be pinned.
    async fn hold(&self, hash: Hash) -> Result<(), StoreError> {
        let tag = self.0.store.tags().temp_tag(HashAndFormat::raw(hash)).await.map_err(|e| self.store_error(e))?;
        self.keep(tag);
        Ok(())
    }

    fn keep(&self, tag: TempTag) {
        let mut held = self.0.held.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        held.keep(tag, self.0.config.collect_every * 2);
    }

    fn add_error(&self, why: &impl std::fmt::Display) -> AddError {
        let text = format!("{why:#}");
        if usage::is_disk_full(&text) {
            return AddError::NoRoom(self.disk_full(0));
        }
        AddError::Store(self.store_error(text))
    }

    fn disk_error(&self, source: io::Error, needed: u64) -> AddError {
        if source.kind() == io::ErrorKind::StorageFull {
            return AddError::NoRoom(self.disk_full(needed));
        }
        AddError::Store(StoreError::Folder { path: self.0.config.dir.clone(), source })
    }

    fn store_error(&self, why: impl std::fmt::Display) -> StoreError {
        StoreError::Store { path: self.0.config.dir.clone(), why: format!("{why:#}") }
    }
}

impl MeshBuilder {
    /// Serves the artifacts of a plane to whom the access rule lets in on [`BLOBS_ALPN`].
    #[must_use]
    pub fn blobs(self, plane: &BlobPlane) -> Self {
        let handler = Provider::new(plane.0.store.clone(), plane.0.config.transfers_per_peer);
        self.accept(BLOBS_ALPN, handler)
    }
}

fn hash(blob: &BlobRef) -> Hash {
    Hash::from_bytes(*blob.hash.as_bytes())
}

fn random() -> [u8; 16] {
    let seed = protocols::SecretKey::generate();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&seed.id().as_bytes()[..16]);
    bytes
}

/// A file that goes when it is no longer needed.
struct Spool(PathBuf);

impl Drop for Spool {
    fn drop(&mut self) {
        let _gone = std::fs::remove_file(&self.0);
    }
}

/// Bytes read at a time from a stream that is added.
const SPOOL_STEP: usize = 256 * 1024;
/// Bytes after which the room for a stream that is added is looked at again.
const SPOOL_CHECK: u64 = 1 << 20;
