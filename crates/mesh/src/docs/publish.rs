//! The writer's side of a document.

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use iroh_blobs::Hash;
use iroh_docs::{Capability, ContentStatus, NamespaceSecret, Record, SignedEntry};
use protocols::NodeId;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::inbox::{Inbox, Known};
use super::neighbours::Neighbours;
use super::stack::Stack;
use super::{DocId, KEY_MAX, KEYS_MAX, LOOKS_PAUSE, Plane, VALUE_MAX, lock};

/// Why something was not published.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// The key is empty or too long.
    #[error("a key has 1 to {KEY_MAX} bytes, not {0}")]
    KeyLength(usize),
    /// The key contains what ends keys.
    #[error("a key must not contain a zero byte")]
    KeyByte,
    /// The value is empty or too large.
    #[error("a value has 1 to {VALUE_MAX} bytes, not {0}")]
    ValueLength(usize),
    /// The document is full.
    #[error("a document has at most {KEYS_MAX} keys")]
    TooManyKeys,
}

/// What publishing did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Published {
    /// The value is new and goes out.
    New,
    /// It is the one that was there; nothing was written.
    Same,
}

/// Publishes one document. What was published is in memory only: after a restart, publish it again.
#[derive(Debug, Clone)]
pub struct Publisher {
    plane: Arc<Plane>,
    doc: Arc<Doc>,
}

impl Publisher {
    pub(super) fn new(plane: Arc<Plane>, doc: Arc<Doc>) -> Self {
        Self { plane, doc }
    }

    /// The document's id, to tell those who shall read it.
    pub fn id(&self) -> DocId {
        self.doc.id
    }

    /// Gives a key this value. It goes out at once if replication runs, and otherwise when it does.
    ///
    /// # Errors
    /// [`PublishError`] if key or value is out of bounds; nothing has changed then.
    pub async fn publish(&self, key: &[u8], value: impl Into<Bytes>) -> Result<Published, PublishError> {
        let value = value.into();
        if value.is_empty() || value.len() > VALUE_MAX {
            return Err(PublishError::ValueLength(value.len()));
        }
        self.change(key, Some(value)).await
    }

    /// Removes a key, if it is there.
    ///
    /// # Errors
    /// [`PublishError`] if the key is out of bounds.
    pub async fn remove(&self, key: &[u8]) -> Result<Published, PublishError> {
        if !lock(&self.doc.values).contains_key(&terminated(key)?) {
            return Ok(Published::Same);
        }
        self.change(key, None).await
    }

    async fn change(&self, key: &[u8], value: Option<Bytes>) -> Result<Published, PublishError> {
        let key = terminated(key)?;
        {
            let mut values = lock(&self.doc.values);
            match values.get(&key) {
                Some(there) if *there == value => return Ok(Published::Same),
                None if values.len() >= KEYS_MAX => return Err(PublishError::TooManyKeys),
                _ => values.insert(key.clone(), value),
            };
        }
        if let Some(stack) = self.plane.stack() {
            self.doc.write(&self.plane, &stack, key, 0).await;
        }
        Ok(Published::New)
    }
}

/// A document that is published here: what is in it, apart from any stack.
#[derive(Debug)]
pub(super) struct Doc {
    id: DocId,
    secret: NamespaceSecret,
    /// By key with its terminator; `None` where it was removed.
    values: Mutex<BTreeMap<Bytes, Option<Bytes>>>,
    /// Who followed it, as far as it was seen; outlives the stack.
    readers: Mutex<HashSet<NodeId>>,
    /// The stack that it has joined, so that it joins each once.
    joined: AtomicU64,
    writing: tokio::sync::Mutex<()>,
}

impl Doc {
    pub(super) fn new(id: DocId, secret: NamespaceSecret) -> Self {
        Self {
            id,
            secret,
            values: Mutex::default(),
            readers: Mutex::default(),
            joined: AtomicU64::new(0),
            writing: tokio::sync::Mutex::default(),
        }
    }

    /// Publishes on a stack, for as long as that lives.
    pub(super) fn join(self: &Arc<Self>, plane: &Arc<Plane>, stack: &Arc<Stack>) {
        if self.joined.swap(stack.life, Ordering::AcqRel) == stack.life {
            return;
        }
        let (doc, plane, on) = (self.clone(), plane.clone(), stack.clone());
        stack.run(async move { doc.keep(&plane, &on).await });
    }

    async fn keep(&self, plane: &Arc<Plane>, stack: &Arc<Stack>) {
        loop {
            if let Some(inbox) = Inbox::open(plane, stack, Capability::Write(self.secret.clone())).await {
                self.keep_open(plane, stack, &inbox).await;
            }
            tokio::time::sleep(plane.tuning.repair).await;
        }
    }

    async fn keep_open(&self, plane: &Arc<Plane>, stack: &Arc<Stack>, inbox: &Arc<Inbox>) {
        let keys: Vec<_> = lock(&self.values).keys().cloned().collect();
        for key in keys {
            self.write(plane, stack, key, 0).await;
        }
        let mut next_sync = Instant::now();
        let mut first = true;
        let mut lost = HashSet::new();
        let mut neighbours = Neighbours::new(plane.tuning.resync * LOOKS_PAUSE);
        let mut greetings = JoinSet::new();
        loop {
            if Instant::now() >= next_sync {
                // Readers sync with us at intervals. Our part is to be listening again if bad input has
                // ended that, and to look for those that we lost.
                let mut to = std::mem::take(&mut lost);
                if neighbours.is_empty() {
                    to.extend(lock(&self.readers).iter().take(READERS_DIALED));
                }
                inbox.sync(plane, to).await;
                if !std::mem::take(&mut first) {
                    self.settle(plane, stack, inbox.all(plane).await.0).await;
                }
                next_sync = plane.next_sync(self.id);
            }
            while greetings.try_join_next().is_some() {}
            if greetings.is_empty() {
                let readers: Vec<_> = match neighbours.is_empty() {
                    true => lock(&self.readers).iter().copied().take(READERS_DIALED).collect(),
                    false => Vec::new(),
                };
                let missing = neighbours.missing(readers);
                if !missing.is_empty() {
                    greetings.spawn(inbox.clone().greet(plane.clone(), stack.clone(), missing));
                }
            }
            let until = next_sync.min(neighbours.next()).saturating_duration_since(Instant::now());
            let news = inbox.wait(until.max(TICK_MIN)).await;
            if news.ended {
                return;
            }
            {
                let mut readers = lock(&self.readers);
                let room = READERS_MAX.saturating_sub(readers.len());
                readers.extend(news.up.iter().take(room));
            }
            neighbours.note(&news);
            if !news.down.is_empty() {
                lost.extend(news.down);
                next_sync = next_sync.min(Instant::now() + AFTER_DOWN);
            }
            self.settle(plane, stack, news.entries).await;
        }
    }

    /// Says again what others have otherwise: values of an earlier life of this node that carry a later
    /// time than it has now.
    async fn settle(&self, plane: &Plane, stack: &Stack, entries: impl IntoIterator<Item = (Bytes, Known)>) {
        for (key, known) in entries {
            let current = lock(&self.values).get(&key).cloned();
            let wanted = match &current {
                Some(Some(value)) => Hash::new(value),
                Some(None) => Hash::EMPTY,
                // Left over from an earlier life: nothing is said about it now.
                None => continue,
            };
            if known.hash != wanted {
                self.write(plane, stack, key, known.timestamp + 1).await;
            }
        }
    }

    /// Writes what a key has now, at a time not before `at_least`.
    async fn write(&self, plane: &Plane, stack: &Stack, key: Bytes, at_least: u64) {
        let _one = self.writing.lock().await;
        let Some(value) = lock(&self.values).get(&key).cloned() else { return };
        let write = async {
            // Not joined yet: joining writes all there is.
            let Ok(Some(doc)) = stack.docs.open(self.id.0.into()).await else { return Ok(()) };
            let author = plane.author.id();
            let now = now();
            if at_least <= now {
                let local = match &value {
                    Some(value) => doc.set_bytes(author, key.clone(), value.clone()).await.map(drop),
                    None => doc.del(author, key.clone()).await.map(drop),
                };
                if local.is_ok() {
                    return Ok(());
                }
            }
            // The clock has stepped back: an entry of a later time is there, and would win for ever.
            let there = doc.get_exact(author, key.clone(), true).await?.map_or(0, |entry| entry.timestamp());
            let at = now.max(at_least).max(there + 1);
            let record = match &value {
                Some(value) => {
                    let tag = stack.values.blobs().add_bytes(value.clone()).temp_tag().await?;
                    Record::new(tag.hash(), value.len() as u64, at)
                }
                None => Record::empty(at),
            };
            let entry = SignedEntry::from_parts(&self.secret, &plane.author, &key, record);
            let me = *plane.key.id().as_bytes();
            stack.sync.insert_remote(self.id.0.into(), entry, me, ContentStatus::Complete).await
        };
        match timeout(plane.tuning.stall, write).await {
            Ok(Ok(())) => {}
            // More than ten minutes back: the next looks at the document try again.
            Ok(Err(why)) => tracing::debug!(doc = %self.id, why = %format!("{why:#}"), "a value waits to be published"),
            Err(_) => plane.want_rebuild("a value was not written"),
        }
    }
}

/// A key as it is stored. Writing a key removes what it is a prefix of, so none may be one.
pub(super) fn terminated(key: &[u8]) -> Result<Bytes, PublishError> {
    if key.is_empty() || key.len() > KEY_MAX {
        return Err(PublishError::KeyLength(key.len()));
    }
    if key.contains(&TERMINATOR) {
        return Err(PublishError::KeyByte);
    }
    Ok([key, &[TERMINATOR]].concat().into())
}

/// The microseconds that entries carry.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |t| t.as_micros().try_into().unwrap_or(u64::MAX))
}

/// Ends every key.
pub(super) const TERMINATOR: u8 = 0;
/// Readers that are remembered.
const READERS_MAX: usize = 1024;
/// Readers that are dialed when none is connected.
const READERS_DIALED: usize = 16;
/// How soon after a neighbour was lost a sync is started.
const AFTER_DOWN: Duration = Duration::from_millis(500);
/// The least time between two looks, while readers are being greeted.
const TICK_MIN: Duration = Duration::from_millis(100);
