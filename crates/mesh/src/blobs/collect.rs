//! Collection of what nobody pins: what it must spare, and whether it still runs.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use iroh_blobs::Hash;
use iroh_blobs::api::TempTag;
use iroh_blobs::store::{GcConfig, ProtectOutcome};
use tokio::time::Instant;

/// When the collector last began a run.
#[derive(Debug)]
pub(super) struct Pulse {
    last: Mutex<Instant>,
    every: Duration,
}

impl Pulse {
    pub(super) fn new(every: Duration) -> Self {
        Self { last: Mutex::new(Instant::now()), every }
    }

    /// Whether the last run began not too long ago.
    pub(super) fn beats(&self) -> bool {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).elapsed() < self.every * 3 + SLACK
    }

    fn beat(&self) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }
}

/// Tags that keep what is new until it had time to be pinned.
#[derive(Debug, Default)]
pub(super) struct Held(Vec<(Instant, TempTag)>);

impl Held {
    pub(super) fn keep(&mut self, tag: TempTag, during: Duration) {
        self.0.push((Instant::now() + during, tag));
    }

    fn current(&mut self) -> impl Iterator<Item = Hash> + '_ {
        let now = Instant::now();
        self.0.retain(|(until, _)| *until > now);
        self.0.iter().map(|(_, tag)| tag.hash())
    }
}

/// How the store is to collect.
pub(super) fn config(every: Duration, pulse: Arc<Pulse>, held: Arc<Mutex<Held>>) -> GcConfig {
    GcConfig {
        interval: every,
        add_protected: Some(Arc::new(move |live: &mut HashSet<Hash>| {
            pulse.beat();
            live.extend(held.lock().unwrap_or_else(PoisonError::into_inner).current());
            Box::pin(std::future::ready(ProtectOutcome::Continue))
        })),
    }
}

/// How late a run may be on a busy machine.
const SLACK: Duration = Duration::from_secs(60);
