//! The reader's side of a document.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use bytes::Bytes;
use iroh_blobs::Hash;
use iroh_blobs::get::StreamPair;
use iroh_blobs::protocol::GetRequest;
use iroh_docs::{Capability, NamespaceId};
use protocols::NodeId;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::catch_up::CatchUp;
use super::inbox::{Inbox, Known};
use super::neighbours::Neighbours;
use super::publish::TERMINATOR;
use super::stack::Stack;
use super::{DocId, KEY_MAX, KEYS_MAX, LOOKS_PAUSE, Plane, VALUE_MAX, lock};
use crate::blobs::Watched;

/// A change in a document that is followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocEvent {
    /// The document.
    pub doc: DocId,
    /// The key.
    pub key: Bytes,
    /// Its value; `None` when it was removed.
    pub value: Option<Bytes>,
}

/// Follows one document until it is dropped. Who reads slowly sees the latest value of each key, not
/// every one; nothing waits for the reader.
#[derive(Debug)]
pub struct Follower {
    plane: Weak<Plane>,
    doc: Arc<Doc>,
}

impl Follower {
    pub(super) fn new(plane: Weak<Plane>, doc: Arc<Doc>) -> Self {
        Self { plane, doc }
    }

    /// The document.
    pub fn id(&self) -> DocId {
        self.doc.id
    }

    /// Waits for the next change; `None` when the plane has ended.
    pub async fn next(&mut self) -> Option<DocEvent> {
        loop {
            if let Some(event) = self.doc.pop() {
                return Some(event);
            }
            let stopped = self.plane.upgrade()?.stopped.clone();
            tokio::select! {
                () = self.doc.arrived.notified() => {}
                () = stopped.cancelled() => return None,
            }
        }
    }

    /// The next change, if there is one now.
    pub fn try_next(&mut self) -> Option<DocEvent> {
        self.doc.pop()
    }

    /// Peers to sync with besides those that were named.
    pub fn add_peer(&self, peer: NodeId) {
        self.doc.add_peer(peer);
        self.doc.hurry.notify_one();
    }

    /// Whether the document has more keys than [`KEYS_MAX`], or some that are out of bounds: then
    /// not all of it is seen.
    pub fn is_truncated(&self) -> bool {
        self.doc.truncated.load(Ordering::Relaxed)
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.doc.left.notify_one();
        if let Some(plane) = self.plane.upgrade() {
            lock(&plane.followers).remove(&self.doc.id);
        }
    }
}

/// A document that is followed here: what was delivered, apart from any stack.
#[derive(Debug)]
pub(super) struct Doc {
    id: DocId,
    peers: Mutex<HashSet<NodeId>>,
    outbox: Mutex<Outbox>,
    arrived: Notify,
    /// The follower was dropped.
    left: Notify,
    /// Something new to sync with.
    hurry: Notify,
    truncated: AtomicBool,
    joined: AtomicU64,
}

#[derive(Debug, Default)]
struct Outbox {
    /// What was handed over, by key: time and hash.
    delivered: HashMap<Bytes, (u64, Hash)>,
    /// What waits for the reader, and in which order.
    waiting: HashMap<Bytes, Option<Bytes>>,
    order: VecDeque<Bytes>,
}

impl Doc {
    pub(super) fn new(id: DocId, peers: HashSet<NodeId>) -> Self {
        Self {
            id,
            peers: Mutex::new(peers),
            outbox: Mutex::default(),
            arrived: Notify::new(),
            left: Notify::new(),
            hurry: Notify::new(),
            truncated: AtomicBool::new(false),
            joined: AtomicU64::new(0),
        }
    }

    /// Follows on a stack, for as long as that lives.
    pub(super) fn join(self: &Arc<Self>, plane: &Arc<Plane>, stack: &Arc<Stack>) {
        if self.joined.swap(stack.life, Ordering::AcqRel) == stack.life {
            return;
        }
        let (doc, plane, on) = (self.clone(), plane.clone(), stack.clone());
        stack.run(async move {
            tokio::select! {
                () = doc.keep(&plane, &on) => {}
                () = doc.left.notified() => {}
            }
            if let Ok(Some(open)) = on.docs.open(NamespaceId::from(doc.id.0)).await {
                drop(open.leave().await);
                drop(on.docs.drop_doc(open.id()).await);
            }
        });
    }

    async fn keep(&self, plane: &Arc<Plane>, stack: &Arc<Stack>) {
        loop {
            let capability = Capability::Read(NamespaceId::from(self.id.0));
            if let Some(inbox) = Inbox::open(plane, stack, capability).await {
                self.keep_open(plane, stack, &inbox).await;
            }
            tokio::time::sleep(plane.tuning.repair).await;
        }
    }

    async fn keep_open(&self, plane: &Arc<Plane>, stack: &Arc<Stack>, inbox: &Arc<Inbox>) {
        let tuning = plane.tuning;
        let mut wanted: HashMap<Bytes, Known> = HashMap::new();
        let mut asked: HashMap<Bytes, Instant> = HashMap::new();
        let mut fetches: JoinSet<(Bytes, Known, Option<Bytes>)> = JoinSet::new();
        let mut next_sync = Instant::now();
        let mut first = true;
        let mut heard = Instant::now();
        let mut neighbours = Neighbours::new(tuning.resync * LOOKS_PAUSE);
        let mut catch_up = CatchUp::default();
        let mut greetings = JoinSet::new();
        let mut patience = SYNC_PATIENCE;
        loop {
            if Instant::now() >= next_sync {
                let peers: Vec<_> = lock(&self.peers).iter().copied().collect();
                if !peers.is_empty() && heard.elapsed() > tuning.resync * 3 + tuning.stall {
                    tracing::info!(doc = %self.id, "no sync ends: joining the document anew");
                    inbox.leave(plane).await;
                    heard = Instant::now();
                }
                let somebody = !peers.is_empty();
                inbox.sync(plane, peers).await;
                // Events are hints. What is there and was not delivered is what counts.
                if !std::mem::take(&mut first) {
                    let (all, more) = inbox.all(plane).await;
                    if more {
                        self.truncated.store(true, Ordering::Relaxed);
                    }
                    self.want(&mut wanted, all);
                }
                next_sync = plane.next_sync(self.id);
                if somebody {
                    // Two who begin at the same time may turn each other down, and then neither begins again.
                    next_sync = next_sync.min(Instant::now() + patience);
                    patience = (patience * 2).min(tuning.resync.max(SYNC_PATIENCE));
                }
            }
            let due = catch_up.due();
            if !due.is_empty() {
                inbox.sync(plane, due).await;
            }
            if greetings.is_empty() {
                let missing = neighbours.missing(lock(&self.peers).iter().copied());
                if !missing.is_empty() {
                    greetings.spawn(inbox.clone().greet(plane.clone(), stack.clone(), missing));
                }
            }
            for (key, known) in &wanted {
                let due = asked.get(key).is_none_or(|at| at.elapsed() >= tuning.repair);
                if due && fetches.len() < FETCHES_MAX {
                    asked.insert(key.clone(), Instant::now());
                    let providers = self.providers(known.from);
                    let (plane, stack, key, known) = (plane.clone(), stack.clone(), key.clone(), *known);
                    fetches.spawn(async move {
                        let value = value(&plane, &stack, known, &providers).await;
                        (key, known, value)
                    });
                }
            }
            let mut until = catch_up.next().map_or(next_sync, |due| due.min(next_sync));
            if greetings.is_empty() {
                until = until.min(neighbours.next());
            }
            let until = until.saturating_duration_since(Instant::now());
            let pause = if wanted.is_empty() { until } else { until.min(tuning.repair) };
            tokio::select! {
                news = inbox.wait(pause) => {
                    if news.ended {
                        return;
                    }
                    if news.finished || !news.entries.is_empty() {
                        heard = Instant::now();
                    }
                    neighbours.note(&news);
                    catch_up.note(&news);
                    if !news.synced.is_empty() {
                        patience = SYNC_PATIENCE;
                        next_sync = plane.next_sync(self.id);
                    }
                    for peer in news.up {
                        self.add_peer(peer);
                    }
                    if !news.down.is_empty() {
                        next_sync = next_sync.min(Instant::now() + AFTER_DOWN);
                    }
                    self.want(&mut wanted, news.entries);
                }
                Some(done) = fetches.join_next(), if !fetches.is_empty() => {
                    let Ok((key, known, value)) = done else { continue };
                    if let Some(value) = value {
                        self.deliver(&key, known, Some(value));
                        if wanted.get(&key).is_some_and(|w| w.timestamp <= known.timestamp) {
                            wanted.remove(&key);
                            asked.remove(&key);
                        }
                    }
                }
                Some(_) = greetings.join_next(), if !greetings.is_empty() => {}
                () = self.hurry.notified() => {
                    next_sync = Instant::now();
                    neighbours.soon();
                }
            }
        }
    }

    /// Adds to what is wanted what is within bounds and newer than what was delivered.
    fn want(&self, wanted: &mut HashMap<Bytes, Known>, entries: impl IntoIterator<Item = (Bytes, Known)>) {
        for (key, known) in entries {
            let bounded = key.len() <= KEY_MAX + 1
                && key.last() == Some(&TERMINATOR)
                && key[..key.len() - 1].iter().all(|b| *b != TERMINATOR)
                && known.len <= VALUE_MAX as u64;
            if !bounded {
                self.truncated.store(true, Ordering::Relaxed);
                continue;
            }
            let delivered = lock(&self.outbox).delivered.get(&key).copied();
            if delivered.is_some_and(|(at, hash)| at > known.timestamp || (at == known.timestamp && hash == known.hash))
            {
                continue;
            }
            if known.len == 0 {
                wanted.remove(&key);
                self.deliver(&key, known, None);
                continue;
            }
            if wanted.len() >= KEYS_MAX && !wanted.contains_key(&key) {
                self.truncated.store(true, Ordering::Relaxed);
                continue;
            }
            match wanted.get_mut(&key) {
                Some(older) if older.timestamp > known.timestamp => {}
                Some(same) if same.hash == known.hash && same.timestamp == known.timestamp => {
                    same.from = known.from.or(same.from);
                }
                _ => drop(wanted.insert(key, known)),
            }
        }
    }

    fn deliver(&self, key: &Bytes, known: Known, value: Option<Bytes>) {
        let mut outbox = lock(&self.outbox);
        let before = outbox.delivered.get(key).copied();
        if before.is_some_and(|(at, _)| at > known.timestamp) {
            return;
        }
        if before.is_none() && outbox.delivered.len() >= KEYS_MAX {
            self.truncated.store(true, Ordering::Relaxed);
            return;
        }
        outbox.delivered.insert(key.clone(), (known.timestamp, known.hash));
        // A later time and the same value is no change.
        if before.is_some_and(|(_, hash)| hash == known.hash) || (before.is_none() && value.is_none()) {
            return;
        }
        if outbox.waiting.insert(key.clone(), value).is_none() {
            outbox.order.push_back(key.clone());
        }
        drop(outbox);
        self.arrived.notify_one();
    }

    fn pop(&self) -> Option<DocEvent> {
        let mut outbox = lock(&self.outbox);
        let key = outbox.order.pop_front()?;
        let value = outbox.waiting.remove(&key)?;
        let key = key.slice(..key.len().saturating_sub(1));
        Some(DocEvent { doc: self.id, key, value })
    }

    fn add_peer(&self, peer: NodeId) {
        let mut peers = lock(&self.peers);
        if peers.len() < PEERS_MAX {
            peers.insert(peer);
        }
    }

    /// Who may have a value: who brought the entry, then the others.
    fn providers(&self, from: Option<NodeId>) -> Vec<NodeId> {
        let others: Vec<_> =
            lock(&self.peers).iter().copied().filter(|p| Some(*p) != from).take(PROVIDERS_MAX).collect();
        from.into_iter().chain(others).collect()
    }
}

/// A value: from the store, or from one of those who may have it.
async fn value(plane: &Plane, stack: &Stack, known: Known, providers: &[NodeId]) -> Option<Bytes> {
    for provider in std::iter::once(None).chain(providers.iter().map(Some)) {
        if let Some(provider) = provider {
            let fetched = timeout(FETCH_TIMEOUT, fetch(plane, stack, known, *provider)).await;
            if !matches!(fetched, Ok(Some(()))) {
                continue;
            }
        }
        if stack.values.blobs().has(known.hash).await.unwrap_or(false) {
            let bytes = stack.values.blobs().get_bytes(known.hash).await.ok()?;
            return (bytes.len() as u64 == known.len).then_some(bytes);
        }
    }
    None
}

async fn fetch(plane: &Plane, stack: &Stack, known: Known, provider: NodeId) -> Option<()> {
    let connection = plane.links.get(provider, iroh_blobs::ALPN).connection().await.ok()?;
    let (send, recv) = connection.open_bi().await.ok()?;
    let recv = Watched::new(recv, known.len, known.len, FETCH_TIMEOUT, Arc::default());
    let pair = StreamPair::new(connection.stable_id() as u64, recv, send);
    stack.values.remote().execute_get(pair, GetRequest::blob(known.hash)).await.ok()?;
    Some(())
}

/// Values of one document that are fetched at a time.
const FETCHES_MAX: usize = 16;
/// Time for one value from one peer.
const FETCH_TIMEOUT: Duration = Duration::from_secs(5);
/// Peers that are remembered per document.
const PEERS_MAX: usize = 64;
/// Peers that are asked for one value.
const PROVIDERS_MAX: usize = 4;
/// How long the first sync may take before another is started.
const SYNC_PATIENCE: Duration = Duration::from_secs(3);
/// How soon after a neighbour was lost a sync is started.
const AFTER_DOWN: Duration = Duration::from_millis(500);
