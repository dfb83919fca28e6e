//! One life of the replication stack underneath: in memory, bounded in how it starts and ends.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use iroh::Endpoint;
use iroh::endpoint::Connection;
use iroh_blobs::api::Store;
use iroh_blobs::store::mem::MemStore;
use iroh_docs::Author;
use iroh_docs::engine::{DefaultAuthorStorage, Engine};
use iroh_docs::protocol::Docs;
use iroh_gossip::net::Gossip;
use iroh_gossip::proto::HyparviewConfig;
use protocols::NodeId;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::lock;
use crate::greet::greet;
use crate::net::endpoint_id;

/// Gossip, documents, and the store of their values.
#[derive(Debug)]
pub(super) struct Stack {
    /// Which life this is; no two in a process have the same.
    pub(super) life: u64,
    pub(super) docs: Docs,
    pub(super) sync: iroh_docs::actor::SyncHandle,
    /// Nothing is collected here: collection is known to lose live values, and the whole store goes
    /// with the stack.
    pub(super) values: Store,
    gossip: Gossip,
    tasks: Mutex<JoinSet<()>>,
    /// When each peer was last greeted; locked while it is.
    greeted: Mutex<HashMap<NodeId, Arc<tokio::sync::Mutex<Option<Instant>>>>>,
    /// Set when it ends, for those who serve from it.
    pub(super) ended: CancellationToken,
}

impl Stack {
    pub(super) async fn spawn(endpoint: &Endpoint, author: &Author) -> Result<Self, String> {
        // With the default of 5, a document whose readers cannot reach each other reaches 5 of them.
        let membership = HyparviewConfig { active_view_capacity: ACTIVE_VIEW, ..HyparviewConfig::default() };
        let gossip =
            Gossip::builder().max_message_size(GOSSIP_BYTES_MAX).membership_config(membership).spawn(endpoint.clone());
        let values: Store = MemStore::new().into();
        let engine = Engine::spawn(
            endpoint.clone(),
            gossip.clone(),
            iroh_docs::store::Store::memory(),
            values.clone(),
            values.downloader(endpoint),
            DefaultAuthorStorage::Mem,
            None,
        );
        let engine =
            timeout(STEP, engine).await.map_err(|_| "it took too long".to_owned())?.map_err(|e| format!("{e:#}"))?;
        let sync = engine.sync.clone();
        sync.import_author(author.clone()).await.map_err(|e| format!("{e:#}"))?;
        static LIVES: AtomicU64 = AtomicU64::new(1);
        let life = LIVES.fetch_add(1, Ordering::Relaxed);
        Ok(Self {
            life,
            docs: Docs::new(engine),
            sync,
            values,
            gossip,
            tasks: Mutex::default(),
            greeted: Mutex::default(),
            ended: CancellationToken::new(),
        })
    }

    /// Runs something for as long as the stack lives.
    pub(super) fn run(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = lock(&self.tasks);
        while tasks.try_join_next().is_some() {}
        tasks.spawn(task);
    }

    pub(super) async fn accept_docs(&self, connection: Connection) {
        use iroh::protocol::ProtocolHandler;
        if let Err(why) = ProtocolHandler::accept(&self.docs, connection).await {
            tracing::debug!(%why, "a document connection ended");
        }
    }

    pub(super) async fn accept_gossip(&self, connection: Connection) {
        if let Err(why) = self.gossip.handle_connection(connection).await {
            tracing::debug!(%why, "a gossip connection ended");
        }
    }

    /// Brings a peer back to gossip, for all topics (see [`greet`]). Returns whether it was reached.
    pub(super) async fn greet(&self, endpoint: &Endpoint, peer: NodeId) -> bool {
        let Some(id) = endpoint_id(peer) else { return false };
        let greeted = {
            let mut all = lock(&self.greeted);
            if all.len() >= GREETED_MAX {
                all.retain(|_, greeted| Arc::strong_count(greeted) > 1);
            }
            all.entry(peer).or_default().clone()
        };
        // Many documents may miss the same peer.
        let mut last = greeted.lock().await;
        if last.is_some_and(|last| last.elapsed() < GREET_PAUSE) {
            return true;
        }
        let reached = greet(endpoint, &self.gossip, iroh_gossip::ALPN, id).await;
        if reached {
            *last = Some(Instant::now());
        }
        reached
    }

    pub(super) async fn shutdown(&self) {
        self.ended.cancel();
        let mut tasks = std::mem::take(&mut *lock(&self.tasks));
        tasks.shutdown().await;
        // A stack that stalled does not answer: then it is dropped as it is.
        let docs = timeout(STEP, iroh::protocol::ProtocolHandler::shutdown(&self.docs)).await;
        let gossip = timeout(STEP, self.gossip.shutdown()).await;
        let values = timeout(STEP, self.values.shutdown()).await;
        if docs.is_err() || gossip.is_err() || values.is_err() {
            tracing::warn!("document replication did not stop in time");
        }
    }
}

/// Time for one step of starting and ending.
const STEP: Duration = Duration::from_secs(5);
/// For how long a connection that was handed to gossip counts as new.
const GREET_PAUSE: Duration = Duration::from_secs(1);
/// Peers of whom it is remembered when they were greeted.
const GREETED_MAX: usize = 4096;
/// Largest gossip message, in bytes. One that is larger silently ends all documents between two peers,
/// so this is far above what the largest key makes.
const GOSSIP_BYTES_MAX: usize = 64 * 1024;
/// Neighbours that a node keeps per document.
const ACTIVE_VIEW: usize = 2000;
