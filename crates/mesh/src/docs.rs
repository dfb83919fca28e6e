//! Documents: small values that one node publishes and others follow, as fast copies of a truth
//! that lives elsewhere.
//!
//! A document has one writer, whose key its id is derived from. Whoever the access rule lets in on
//! the three document protocols ([`DOC_ALPNS`]) and knows a document's id can read it, key names and
//! values alike, from anybody who follows it; the id cannot be revoked. What must stay secret is
//! sealed before it is published. Nobody but the writer can make entries.
//!
//! Everything here is in memory and is built anew from what publishers and followers say: at start,
//! on demand, and whenever the replication stack underneath stalls or has grown too much. That stack
//! fails silently in several ways, so nothing here waits for its events alone: both ends start a
//! sync at intervals, followers compare what they delivered with what is there, and fetch values
//! themselves, within bounds.

mod catch_up;
mod follow;
mod inbox;
mod neighbours;
mod publish;
mod serve;
mod stack;

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use iroh::Endpoint;
use iroh_docs::{Author, NamespaceSecret};
use protocols::{NodeId, PeerAddr, SecretKey};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::net::{Gate, Lookups, MeshBuilder};
use crate::rpc::Links;
use stack::Stack;

pub use follow::{DocEvent, Follower};
pub use publish::{PublishError, Published, Publisher};

/// The protocols that documents use. The access rule is asked about each of them.
pub const DOC_ALPNS: [&[u8]; 3] = [iroh_docs::ALPN, iroh_gossip::ALPN, iroh_blobs::ALPN];
/// The longest key, in bytes.
pub const KEY_MAX: usize = 512;
/// The largest value, in bytes.
pub const VALUE_MAX: usize = 16 * 1024;
/// The most keys that one document may have.
pub const KEYS_MAX: usize = 4096;
/// The most documents that a node follows, and that it publishes.
pub const DOCS_MAX: usize = 5000;

/// The id of a document.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DocId([u8; 32]);

impl DocId {
    /// Wraps the 32 bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The id of the document that the owner of `key` publishes for `context`.
    pub fn of(key: &SecretKey, context: &str) -> Self {
        Self(secret(key, context).id().to_bytes())
    }
}

impl fmt::Display for DocId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for DocId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DocId({})", data_encoding::HEXLOWER.encode(&self.0[..5]))
    }
}

/// How eagerly documents are kept in sync.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DocTuning {
    /// How often a sync is started although nothing seems wrong.
    pub resync: Duration,
    /// How often a value that did not arrive is asked for again.
    pub repair: Duration,
    /// Entries after which everything is built anew, because the stack underneath never forgets one.
    pub rebuild_after: u64,
    /// How long the stack may take for one step before it counts as stalled.
    pub stall: Duration,
}

impl Default for DocTuning {
    fn default() -> Self {
        Self {
            resync: Duration::from_secs(60),
            repair: Duration::from_secs(5),
            rebuild_after: 100_000,
            stall: Duration::from_secs(10),
        }
    }
}

/// Why the document plane does not work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DocError {
    /// The replication stack did not come up.
    #[error("cannot start document replication: {0}")]
    Start(String),
    /// There are as many documents as there may be.
    #[error("more than {DOCS_MAX} documents")]
    TooMany,
    /// Somebody follows this document here already.
    #[error("the document {0} is followed already")]
    Followed(DocId),
}

/// The documents of a node. Clones share them.
#[derive(Debug, Clone)]
pub struct DocPlane(Arc<Plane>);

#[derive(Debug)]
struct Plane {
    endpoint: Endpoint,
    gate: Arc<Gate>,
    lookups: Lookups,
    links: Arc<Links>,
    key: SecretKey,
    author: Author,
    tuning: DocTuning,
    stack: RwLock<Option<Arc<Stack>>>,
    publishers: Mutex<HashMap<DocId, Arc<publish::Doc>>>,
    followers: Mutex<HashMap<DocId, Arc<follow::Doc>>>,
    /// Entries that the present stack has seen.
    entries: AtomicU64,
    rebuilds: AtomicU64,
    rebuilding: tokio::sync::Mutex<()>,
    rebuild_wanted: Notify,
    stopped: CancellationToken,
}

impl DocPlane {
    /// The document that this node publishes for `context`, empty until something is published. A
    /// second call gives the same one.
    ///
    /// # Errors
    /// [`DocError::TooMany`].
    pub fn publisher(&self, context: &str) -> Result<Publisher, DocError> {
        let secret = secret(&self.0.key, context);
        let id = DocId(secret.id().to_bytes());
        let doc = {
            let mut publishers = lock(&self.0.publishers);
            if !publishers.contains_key(&id) && publishers.len() >= DOCS_MAX {
                return Err(DocError::TooMany);
            }
            publishers.entry(id).or_insert_with(|| Arc::new(publish::Doc::new(id, secret))).clone()
        };
        if let Some(stack) = self.0.stack() {
            doc.join(&self.0, &stack);
        }
        Ok(Publisher::new(self.0.clone(), doc))
    }

    /// Follows a document: what is in it, and what comes. `from` are peers to sync with, the writer
    /// or others who follow it. It ends when the follower is dropped.
    ///
    /// # Errors
    /// [`DocError`] if it is followed already, or there are too many.
    pub fn follow(&self, id: DocId, from: Vec<PeerAddr>) -> Result<Follower, DocError> {
        let doc = {
            let mut followers = lock(&self.0.followers);
            if followers.contains_key(&id) {
                return Err(DocError::Followed(id));
            }
            if followers.len() >= DOCS_MAX {
                return Err(DocError::TooMany);
            }
            for peer in &from {
                self.0.lookups.directory.learn(peer.clone());
            }
            let doc = Arc::new(follow::Doc::new(id, from.iter().map(|p| p.id).collect()));
            followers.insert(id, doc.clone());
            doc
        };
        if let Some(stack) = self.0.stack() {
            doc.join(&self.0, &stack);
        }
        Ok(Follower::new(Arc::downgrade(&self.0), doc))
    }

    /// Throws the replication stack away and builds it anew from what is published and followed here.
    /// For a follower that sees that something is missing.
    ///
    /// # Errors
    /// [`DocError::Start`]; it is tried again by itself.
    pub async fn rebuild(&self) -> Result<(), DocError> {
        self.0.rebuild().await
    }

    /// How often the stack was built anew since the start.
    pub fn rebuilds(&self) -> u64 {
        self.0.rebuilds.load(Ordering::Relaxed)
    }
}

impl MeshBuilder {
    /// Takes part in documents. Their three protocols are served to whom the access rule lets in.
    ///
    /// # Errors
    /// [`DocError::Start`].
    pub async fn docs(self, tuning: DocTuning) -> Result<(Self, DocPlane), DocError> {
        let key = self.key().clone();
        let plane = Arc::new(Plane {
            endpoint: self.endpoint().clone(),
            gate: self.gate().clone(),
            lookups: self.lookups().clone(),
            links: self.links().clone(),
            author: Author::from_bytes(&key.seed()),
            key,
            tuning,
            stack: RwLock::default(),
            publishers: Mutex::default(),
            followers: Mutex::default(),
            entries: AtomicU64::new(0),
            rebuilds: AtomicU64::new(0),
            rebuilding: tokio::sync::Mutex::default(),
            rebuild_wanted: Notify::new(),
            stopped: CancellationToken::new(),
        });
        let stack = Stack::spawn(&plane.endpoint, &plane.author).await.map_err(DocError::Start)?;
        *plane.stack.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(stack));
        tokio::spawn(supervise(plane.clone()));
        let mut builder = self;
        for alpn in DOC_ALPNS {
            builder = builder.accept(alpn, serve::Forward::new(alpn, plane.clone()));
        }
        Ok((builder, DocPlane(plane)))
    }
}

impl Plane {
    fn stack(&self) -> Option<Arc<Stack>> {
        self.stack.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Counts an entry; enough of them make it time to start anew.
    fn count_entry(&self) {
        if self.entries.fetch_add(1, Ordering::Relaxed) + 1 == self.tuning.rebuild_after {
            self.want_rebuild("many entries");
        }
    }

    fn want_rebuild(&self, why: &'static str) {
        tracing::info!(why, "document replication is to be built anew");
        self.rebuild_wanted.notify_one();
    }

    async fn rebuild(self: &Arc<Self>) -> Result<(), DocError> {
        let _one = self.rebuilding.lock().await;
        if self.stopped.is_cancelled() {
            return Ok(());
        }
        let old = self.stack.write().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(old) = old {
            old.shutdown().await;
        }
        // Some would outlive the stack, and peers would take them for live ones.
        self.gate.restart(&DOC_ALPNS);
        // Each stack adds address lookups to the endpoint and never takes them back.
        self.lookups.reinstall(&self.endpoint);
        let stack = Arc::new(Stack::spawn(&self.endpoint, &self.author).await.map_err(DocError::Start)?);
        self.entries.store(0, Ordering::Relaxed);
        *self.stack.write().unwrap_or_else(PoisonError::into_inner) = Some(stack.clone());
        self.rebuilds.fetch_add(1, Ordering::Relaxed);
        let publishers: Vec<_> = lock(&self.publishers).values().cloned().collect();
        for doc in publishers {
            doc.join(self, &stack);
        }
        let followers: Vec<_> = lock(&self.followers).values().cloned().collect();
        for doc in followers {
            doc.join(self, &stack);
        }
        Ok(())
    }

    async fn stop(&self) {
        self.stopped.cancel();
        let _one = self.rebuilding.lock().await;
        let stack = self.stack.write().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(stack) = stack {
            stack.shutdown().await;
        }
    }

    /// When a document is to be synced next: at intervals, and not all documents at once.
    fn next_sync(&self, id: DocId) -> Instant {
        let share = f64::from(id.0[0]) / 255.0;
        Instant::now() + self.tuning.resync.mul_f64(0.75 + share / 2.0)
    }

    /// Where to look for a document: these peers, with what is known of their whereabouts.
    fn addrs(&self, peers: impl IntoIterator<Item = NodeId>) -> Vec<iroh::EndpointAddr> {
        peers
            .into_iter()
            .filter(|peer| *peer != self.key.id())
            .map(|peer| self.lookups.directory.get(peer).unwrap_or_else(|| PeerAddr::unknown(peer)))
            .filter_map(|peer| crate::net::endpoint_addr(&peer))
            .collect()
    }
}

/// Builds the stack anew when somebody asks for it, not too often.
async fn supervise(plane: Arc<Plane>) {
    loop {
        tokio::select! {
            () = plane.stopped.cancelled() => return,
            () = plane.rebuild_wanted.notified() => {}
        }
        if let Err(why) = plane.rebuild().await {
            tracing::error!(%why, "document replication did not start");
            plane.rebuild_wanted.notify_one();
        }
        tokio::select! {
            () = plane.stopped.cancelled() => return,
            () = tokio::time::sleep(REBUILD_PAUSE) => {}
        }
    }
}

/// The secret of the document that the owner of `key` publishes for `context`.
fn secret(key: &SecretKey, context: &str) -> NamespaceSecret {
    NamespaceSecret::from_bytes(&key.derive(&format!("flotilla 2025 document {context}")))
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The pauses between looks for a neighbour that does not come grow up to so many intervals between syncs.
const LOOKS_PAUSE: u32 = 4;
/// The least time between two rebuilds that nobody asked for by name.
const REBUILD_PAUSE: Duration = Duration::from_secs(10);
