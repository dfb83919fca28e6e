//! What a coordinator keeps in order while it runs: the ledger's document, who is silent, who is no member any more.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use protocols::entry::Head;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Coordinator, lock};

impl Coordinator {
    pub(super) async fn keep_house(&self, stop: CancellationToken) {
        let mut states = self.order.watch();
        let mut ticks = tokio::time::interval(SILENCE_TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        let mut keeping = tokio::time::interval(crate::blobs::KEEP_TICK);
        let mut last = self.state();
        self.publish_document(None);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => {
                    let silent = lock(&self.liveness).newly_silent(Instant::now());
                    silent.into_iter().for_each(|node| self.changed(node));
                    self.watch_claims();
                }
                _ = keeping.tick() => self.keep_blobs().await,
                changed = states.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let state = Arc::clone(&states.borrow_and_update());
                    self.publish_document(Some(last.head()));
                    if state.members().keys().ne(last.members().keys()) || state.admins() != last.admins() {
                        self.membership_changed();
                    }
                    if state.orderer() != last.orderer() {
                        let by = self.name_of(state.orderer());
                        tracing::warn!(%by, seq = state.head().seq, "another coordinator orders the ledger from here on");
                    }
                    if !state.is_coordinator(self.id()) && last.is_coordinator(self.id()) {
                        tracing::error!(seq = state.head().seq, "this coordinator was retired: it serves nobody any more");
                    }
                    if state.declarations().keys().ne(last.declarations().keys())
                        || state.declarations().values().any(|d| d.generation > last.head().seq)
                    {
                        self.keep_blobs().await;
                    }
                    last = state;
                }
            }
        }
    }

    /// Forgets who is no member any more. The state is asked for under each lock: by an older one, a node that joined
    /// meanwhile and was heard already would be forgotten.
    fn membership_changed(&self) {
        self.wire.recheck();
        self.forget_claims();
        let mut liveness = lock(&self.liveness);
        let state = self.state();
        liveness.retain(|id| state.is_agent(id));
        drop(liveness);
        let mut gallery = lock(&self.gallery);
        let state = self.state();
        gallery.retain(|id| state.knows(id));
        drop(gallery);
        let mut kinds = lock(&self.kinds);
        let state = self.state();
        kinds.retain(|id, _| state.is_agent(*id));
        drop(kinds);
        let mut documents = lock(&self.documents);
        let state = self.state();
        let gone: Vec<[u8; 32]> = documents.extract_if(|id, _| !state.is_agent(*id)).map(|(_, d)| d).collect();
        for document in gone.iter().filter(|gone| !documents.values().any(|d| d == *gone)) {
            self.wire.unfollow(*document);
        }
    }

    /// Writes the entries after `after` into the document, and the head last.
    fn publish_document(&self, after: Option<Head>) {
        let head = self.state().head();
        let oldest = head.seq.saturating_sub(DOCUMENT_ENTRIES - 1);
        let from = after.map_or(oldest, |h| (h.seq + 1).max(oldest));
        let count = usize::try_from(DOCUMENT_ENTRIES).unwrap_or(usize::MAX);
        let tail = match self.order.range(from, count) {
            Ok(entries) => entries,
            Err(error) => {
                tracing::warn!(%error, "cannot read the ledger for the document");
                return;
            }
        };
        for (seq, entry) in (from..).zip(tail) {
            match postcard::to_stdvec(&entry) {
                Ok(bytes) if bytes.len() <= DOCUMENT_ENTRY_BYTES_MAX => {
                    // A ring of keys: an entry takes the place of one that is DOCUMENT_ENTRIES older.
                    self.wire.publish(format!("entry/{}", seq % DOCUMENT_ENTRIES), bytes.into());
                }
                _ => {}
            }
        }
        if let Ok(bytes) = postcard::to_stdvec(&head) {
            self.wire.publish("head".into(), Bytes::from(bytes));
        }
    }
}

/// How often the coordinator looks for nodes that went silent.
const SILENCE_TICK: Duration = Duration::from_secs(1);
/// How many of the newest entries the document carries.
const DOCUMENT_ENTRIES: u64 = 256;
/// The largest entry the document carries, in bytes; larger ones travel by RPC alone.
const DOCUMENT_ENTRY_BYTES_MAX: usize = 14 * 1024;
