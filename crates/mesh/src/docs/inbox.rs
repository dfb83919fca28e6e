//! What a document's subscription says, taken off it at once: whoever leaves events lying there
//! stops the whole stack.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use iroh_blobs::Hash;
use iroh_docs::api::Doc;
use iroh_docs::engine::LiveEvent;
use iroh_docs::store::{DownloadPolicy, Query};
use iroh_docs::{Capability, Entry};
use n0_future::StreamExt;
use protocols::NodeId;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::stack::Stack;
use super::{KEYS_MAX, Plane, lock};
use crate::net::node_id;

/// An entry as it is now known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) hash: Hash,
    pub(super) len: u64,
    pub(super) timestamp: u64,
    /// Who brought it, if a peer did.
    pub(super) from: Option<NodeId>,
}

/// What happened since it was last looked at. Newer news of a key replace older ones.
#[derive(Debug, Default)]
pub(super) struct News {
    pub(super) entries: HashMap<Bytes, Known>,
    pub(super) up: HashSet<NodeId>,
    pub(super) down: HashSet<NodeId>,
    /// A sync with somebody has ended, well or not.
    pub(super) finished: bool,
    /// With whom a sync has ended well, and when the last such one began.
    pub(super) synced: HashMap<NodeId, SystemTime>,
    /// The subscription has ended.
    pub(super) ended: bool,
}

/// A document that is open, with its news.
#[derive(Debug)]
pub(super) struct Inbox {
    pub(super) doc: Doc,
    news: Mutex<News>,
    arrived: Notify,
}

impl Inbox {
    /// Opens a document on a stack and starts to take its events.
    pub(super) async fn open(plane: &Arc<Plane>, stack: &Arc<Stack>, capability: Capability) -> Option<Arc<Self>> {
        let stall = plane.tuning.stall;
        let open = async {
            let doc = stack.docs.import_namespace(capability).await?;
            // Values are fetched by us, within bounds, and again if they do not come.
            doc.set_download_policy(DownloadPolicy::NothingExcept(Vec::new())).await?;
            let events = doc.subscribe().await?;
            Ok::<_, anyhow::Error>((doc, events))
        };
        let (doc, mut events) = match timeout(stall, open).await {
            Ok(Ok(opened)) => opened,
            Ok(Err(why)) => {
                tracing::warn!(why = %format!("{why:#}"), "a document did not open");
                return None;
            }
            Err(_) => {
                plane.want_rebuild("a document did not open");
                return None;
            }
        };
        let inbox = Arc::new(Self { doc, news: Mutex::default(), arrived: Notify::new() });
        let (taking, plane) = (inbox.clone(), plane.clone());
        stack.run(async move {
            while let Some(Ok(event)) = events.next().await {
                taking.take(&plane, event);
            }
            lock(&taking.news).ended = true;
            taking.arrived.notify_one();
        });
        Some(inbox)
    }

    fn take(&self, plane: &Plane, event: LiveEvent) {
        let mut news = lock(&self.news);
        match event {
            LiveEvent::InsertRemote { from, entry, .. } => {
                plane.count_entry();
                // Beyond that the writer is not one of ours; the look at all entries finds the rest.
                if news.entries.len() < KEYS_MAX {
                    news.put(&entry, Some(node_id(from)));
                }
            }
            LiveEvent::InsertLocal { .. } => plane.count_entry(),
            LiveEvent::NeighborUp(peer) => {
                news.up.insert(node_id(peer));
            }
            LiveEvent::NeighborDown(peer) => {
                news.down.insert(node_id(peer));
            }
            LiveEvent::SyncFinished(ended) => {
                news.finished = true;
                if ended.result.is_ok() && news.synced.len() < SYNCED_MAX {
                    let began = news.synced.entry(node_id(ended.peer)).or_insert(ended.started);
                    *began = ended.started.max(*began);
                }
            }
            LiveEvent::ContentReady { .. } | LiveEvent::PendingContentReady => return,
        }
        drop(news);
        self.arrived.notify_one();
    }

    /// Waits for news, at most so long; what there is then.
    pub(super) async fn wait(&self, at_most: Duration) -> News {
        let _timed_out = timeout(at_most, self.arrived.notified()).await;
        std::mem::take(&mut *lock(&self.news))
    }

    /// Everything that is in the document, whether it was news or not; at most [`KEYS_MAX`] keys, and
    /// whether there are more.
    pub(super) async fn all(&self, plane: &Plane) -> (HashMap<Bytes, Known>, bool) {
        let mut news = News::default();
        let mut count = 0;
        let look = async {
            let entries = self.doc.get_many(Query::all().include_empty()).await.ok()?;
            let mut entries = std::pin::pin!(entries);
            while let Some(Ok(entry)) = entries.next().await {
                news.put(&entry, None);
                count += 1;
                if count > KEYS_MAX {
                    break;
                }
            }
            Some(())
        };
        if timeout(plane.tuning.stall, look).await.is_err() {
            plane.want_rebuild("a document cannot be read");
        }
        (news.entries, count > KEYS_MAX)
    }

    /// Leaves the document, so that the next sync begins from nothing. A sync that hangs is otherwise
    /// taken for one that goes on, and no other is started with that peer.
    pub(super) async fn leave(&self, plane: &Plane) {
        match timeout(plane.tuning.stall, self.doc.leave()).await {
            Ok(Ok(())) => {}
            Ok(Err(why)) => tracing::debug!(why = %format!("{why:#}"), "a document was not left"),
            Err(_) => plane.want_rebuild("a document was not left"),
        }
    }

    /// Starts a sync with these peers. Live news depend on it on both ends: after a long silence, or bad
    /// input, neither end begins by itself.
    pub(super) async fn sync(&self, plane: &Plane, peers: impl IntoIterator<Item = NodeId>) {
        match timeout(plane.tuning.stall, self.doc.start_sync(plane.addrs(peers))).await {
            Ok(Ok(())) => {}
            Ok(Err(why)) => tracing::debug!(why = %format!("{why:#}"), "a document sync did not start"),
            Err(_) => plane.want_rebuild("a document sync did not start"),
        }
    }

    /// Brings back those who do not hear of news though they should: a new connection to each, and a sync over it.
    pub(super) async fn greet(self: Arc<Self>, plane: Arc<Plane>, stack: Arc<Stack>, missing: HashSet<NodeId>) {
        let mut greetings = JoinSet::new();
        for peer in missing {
            let (plane, stack) = (plane.clone(), stack.clone());
            greetings.spawn(async move { stack.greet(&plane.endpoint, peer).await.then_some(peer) });
        }
        let reached: Vec<_> = greetings.join_all().await.into_iter().flatten().collect();
        if !reached.is_empty() {
            tracing::debug!(doc = %self.doc.id(), peers = reached.len(), "joining those who miss the news");
            self.sync(&plane, reached).await;
        }
    }
}

impl News {
    fn put(&mut self, entry: &Entry, from: Option<NodeId>) {
        let known = Known { hash: entry.content_hash(), len: entry.content_len(), timestamp: entry.timestamp(), from };
        match self.entries.get(entry.key()) {
            Some(older) if older.timestamp > known.timestamp => {}
            _ => drop(self.entries.insert(Bytes::copy_from_slice(entry.key()), known)),
        }
    }
}

/// Peers of whom it is remembered between two looks that a sync with them has ended.
const SYNCED_MAX: usize = 4096;
