//! A role's own document and those it follows: the fast path, which may fail at any time and be missed by nobody.
//!
//! Whoever is a member may sync any document whose id it knows. So an agent's document holds sealed values under opaque
//! keys, and the coordinators' holds nothing but the ledger, which every member may read.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use mesh::MeshBuilder;
use mesh::docs::{DocId, DocPlane, DocTuning, Publisher};
use protocols::PeerAddr;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// What each node's own document is derived for.
const CONTEXT: &str = "flotilla document 1";

/// What came by a document.
#[derive(Debug, Clone)]
pub(crate) struct Heard {
    /// Under which key.
    pub(crate) key: String,
    /// What.
    pub(crate) value: Bytes,
}

type Listener = Arc<dyn Fn(Heard) + Send + Sync>;

/// Documents, or nothing where they are switched off.
pub(crate) struct Documents(Option<Parts>);

struct Parts {
    plane: DocPlane,
    publisher: Publisher,
    /// What is to be published, the last value of each key.
    pending: Arc<Pending>,
    running: Mutex<Option<Running>>,
}

#[derive(Default)]
struct Pending {
    values: Mutex<HashMap<String, Bytes>>,
    more: Notify,
}

struct Running {
    tasks: TaskTracker,
    stop: CancellationToken,
    heard: Listener,
    followed: HashMap<[u8; 32], (CancellationToken, Arc<Notify>)>,
}

impl std::fmt::Debug for Documents {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Documents").field(&self.own().is_some()).finish()
    }
}

impl Documents {
    /// Takes part in documents, if they are on.
    pub(crate) async fn install(builder: MeshBuilder, on: bool) -> anyhow::Result<(MeshBuilder, Self)> {
        if !on {
            return Ok((builder, Self(None)));
        }
        let (builder, plane) = builder.docs(DocTuning::default()).await?;
        let publisher = plane.publisher(CONTEXT)?;
        let parts = Parts { plane, publisher, pending: Arc::default(), running: Mutex::default() };
        Ok((builder, Self(Some(parts))))
    }

    /// Begins to publish and to follow, once the role is there to hear what comes.
    pub(crate) fn start(
        &self,
        tasks: &TaskTracker,
        stop: &CancellationToken,
        heard: impl Fn(Heard) + Send + Sync + 'static,
    ) {
        let Some(parts) = &self.0 else { return };
        let running =
            Running { tasks: tasks.clone(), stop: stop.clone(), heard: Arc::new(heard), followed: HashMap::new() };
        *lock(&parts.running) = Some(running);
        tasks.spawn(publish(parts.publisher.clone(), Arc::clone(&parts.pending), stop.clone()));
    }

    pub(crate) fn own(&self) -> Option<[u8; 32]> {
        self.0.as_ref().map(|p| *p.publisher.id().as_bytes())
    }

    pub(crate) fn publish(&self, key: String, value: Bytes) {
        if let Some(parts) = &self.0 {
            // Bounded by the number of keys that the roles use.
            lock(&parts.pending.values).insert(key, value);
            parts.pending.more.notify_one();
        }
    }

    pub(crate) fn follow(&self, document: [u8; 32], from: PeerAddr) {
        let Some(parts) = &self.0 else { return };
        let mut running = lock(&parts.running);
        let Some(running) = running.as_mut() else { return };
        let writer = from.id;
        if let Some((_, again)) = running.followed.get(&document) {
            again.notify_one();
            return;
        }
        let mut follower = match parts.plane.follow(DocId::from_bytes(document), vec![from]) {
            Ok(follower) => follower,
            Err(error) => {
                tracing::warn!(%error, "cannot follow a document; what it says comes by other ways");
                return;
            }
        };
        let until = running.stop.child_token();
        let again = Arc::new(Notify::new());
        running.followed.insert(document, (until.clone(), Arc::clone(&again)));
        let heard = Arc::clone(&running.heard);
        running.tasks.spawn(async move {
            loop {
                let event = tokio::select! {
                    () = until.cancelled() => return,
                    () = again.notified() => {
                        follower.add_peer(writer);
                        continue;
                    }
                    event = follower.next() => event,
                };
                let Some(event) = event else { return };
                if let (Ok(key), Some(value)) = (String::from_utf8(event.key.to_vec()), event.value) {
                    heard(Heard { key, value });
                }
            }
        });
    }

    pub(crate) fn unfollow(&self, document: [u8; 32]) {
        let Some(parts) = &self.0 else { return };
        if let Some((until, _)) = lock(&parts.running).as_mut().and_then(|r| r.followed.remove(&document)) {
            until.cancel();
        }
    }
}

/// Publishes what is pending, one value after the other, until `stop`.
async fn publish(publisher: Publisher, pending: Arc<Pending>, stop: CancellationToken) {
    loop {
        let next = {
            let mut values = lock(&pending.values);
            let key = values.keys().next().cloned();
            key.and_then(|key| values.remove_entry(&key))
        };
        let Some((key, value)) = next else {
            tokio::select! {
                () = stop.cancelled() => return,
                () = pending.more.notified() => continue,
            }
        };
        if let Err(error) = publisher.publish(key.as_bytes(), value).await {
            tracing::debug!(%error, key, "cannot publish in the document; it goes by other ways");
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
