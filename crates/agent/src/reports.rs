//! What this node says of itself: facts, outcomes, heartbeats. Written to its own store first; documents and RPC carry
//! copies.

use std::time::Duration;

use protocols::control::{Compare, PUSH_RECORDS_MAX, Push};
use protocols::entry::Role;
use protocols::facts::device::DeviceFacts;
use protocols::facts::{StableFacts, VolatileFacts};
use protocols::outcome::{MESSAGE_BYTES_MAX, STEPS_MAX, shorten};
use protocols::record::{FACTS_STABLE, FACTS_VOLATILE, OUTCOME_PREFIX, RECORD_BYTES_MAX};
use protocols::seal::Sealed;
use protocols::{Name, NodeId, Outcome, SignedRecord, Subject};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::agent::Agent;
use crate::sync::ANSWER_DEADLINE;
use crate::uplink::BoxFuture;

/// How often the facts that rarely change are looked at.
const STABLE_EVERY: Duration = Duration::from_secs(60);
/// How often the facts that always change are written.
const VOLATILE_EVERY: Duration = Duration::from_secs(300);

/// How soon the hands are asked again what they can play.
const KINDS_AGAIN: Duration = Duration::from_secs(2);

/// Where facts come from.
pub trait Facts: Send + Sync + 'static {
    /// Facts that rarely change.
    fn stable(&self) -> BoxFuture<'_, StableFacts>;
    /// Facts that always change.
    fn volatile(&self) -> BoxFuture<'_, VolatileFacts>;

    /// The devices that this node manages, in the order in which they are told of.
    fn devices(&self) -> Vec<Name> {
        Vec::new()
    }

    /// What one of them tells of itself, or why it cannot be seen.
    fn device<'a>(&'a self, name: &'a Name) -> BoxFuture<'a, Result<DeviceFacts, String>> {
        Box::pin(async move { Err(format!("there is no device `{name}` here")) })
    }
}

impl Agent {
    pub(crate) async fn facts_loop(&self, stop: CancellationToken) {
        let mut stable = tokio::time::interval(STABLE_EVERY);
        let mut volatile = tokio::time::interval(VOLATILE_EVERY);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = stable.tick() => {
                    let mut facts = self.facts.stable().await;
                    // Facts that left the kinds out would take them back.
                    if let Some(kinds) = self.hands.kinds().await {
                        facts.kinds = kinds;
                        self.write_record(FACTS_STABLE, &facts);
                    } else {
                        stable.reset_after(KINDS_AGAIN);
                    }
                }
                _ = volatile.tick() => {
                    let mut facts = self.facts.volatile().await;
                    facts.clock = (self.options.clock)();
                    self.write_record(FACTS_VOLATILE, &facts);
                }
            }
        }
    }

    /// Hands new records to the coordinator as they are written, and all that it lacks when it is new.
    pub(crate) async fn push_loop(&self, stop: CancellationToken) {
        let mut connected = self.coordinator.subscribe();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.written.notified() => {}
                changed = connected.changed() => if changed.is_err() { return },
            }
            let coordinator = *connected.borrow_and_update();
            if let Some(coordinator) = coordinator.filter(|_| self.is_member()) {
                self.reconcile(coordinator).await;
            }
        }
    }

    /// Compares records with the coordinator and hands over what it lacks. What fails is done at the next heartbeat,
    /// whose answer says that records differ.
    pub(crate) async fn reconcile(&self, coordinator: NodeId) {
        if !self.options.pulls {
            return;
        }
        let client = self.uplink.control(coordinator);
        let Ok(Ok(Ok(theirs))) = timeout(ANSWER_DEADLINE, client.rpc(Compare)).await else { return };
        let missing = self.book.outdo(&theirs).map_err(|e| e.to_string());
        let missing = missing.and_then(|()| self.book.missing(&theirs).map_err(|e| e.to_string()));
        let missing = match missing {
            Ok(missing) => missing,
            Err(error) => {
                tracing::error!(error, "cannot read this node's records");
                return;
            }
        };
        for some in missing.chunks(PUSH_RECORDS_MAX) {
            let answer = timeout(ANSWER_DEADLINE, client.rpc(Push(some.to_vec()))).await;
            match answer {
                Ok(Ok(Ok(()))) => {}
                Ok(Ok(Err(denied))) => tracing::warn!(%denied, "the coordinator does not take our records"),
                Ok(Err(_)) | Err(_) => return,
            }
        }
    }

    /// Writes one of this node's records, and lets it be known. Nothing happens if the value is the one that stands.
    pub(crate) fn write_record<T: Serialize>(&self, name: &str, value: &T) {
        match self.book.write(name, value) {
            Ok(Some(record)) => self.announce(&record),
            Ok(None) => {}
            // The truth of a play is in its trial and in the next observation; a report that is lost is made again.
            Err(error) => tracing::error!(%error, name, "cannot write a record"),
        }
    }

    fn announce(&self, record: &SignedRecord) {
        self.publish_record(record);
        self.written.notify_one();
    }

    /// Publishes every record in this node's document, which does not outlive the process.
    pub(crate) fn publish_all_records(&self) {
        match self.book.all() {
            Ok(records) => records.iter().for_each(|r| self.publish_record(r)),
            Err(error) => tracing::error!(%error, "cannot read this node's records"),
        }
    }

    /// Sealed to the coordinators: who knows the document's id and reaches a holder of it can read no value.
    fn publish_record(&self, record: &SignedRecord) {
        let Some(state) = self.state() else { return };
        let coordinators: Vec<NodeId> = state.with_role(Role::Coordinator).map(|(id, _)| id).collect();
        let sealed = postcard::to_stdvec(record).ok().and_then(|plain| Sealed::seal(&plain, &coordinators).ok());
        if let Some(bytes) = sealed.and_then(|s| postcard::to_stdvec(&s).ok()) {
            self.uplink.publish(self.document_key(&record.key), bytes.into());
        }
    }

    /// A key that says nothing: a document's keys are there for all who sync it.
    fn document_key(&self, name: &str) -> String {
        let secret = self.options.key.derive("flotilla document keys 1");
        blake3::keyed_hash(&secret, name.as_bytes()).to_hex()[..32].to_owned()
    }

    pub(crate) fn book_value<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        let all = self.book.all().ok()?;
        all.into_iter().find(|r| r.key == name).and_then(|r| serde_json::from_slice(&r.value).ok())
    }

    /// Writes an outcome, cut to its bounds. One that says the same as the last, but for the time, is not written.
    pub(crate) fn write_outcome(&self, mut outcome: Outcome) {
        outcome.message = shorten(&outcome.message, MESSAGE_BYTES_MAX);
        outcome.steps.truncate(STEPS_MAX);
        let budget = (RECORD_BYTES_MAX - MESSAGE_BYTES_MAX * 2) / STEPS_MAX / 2;
        outcome.steps.iter_mut().for_each(|s| *s = shorten(s, budget));
        let name = outcome_key(&outcome.subject);
        let old: Option<Outcome> = self.book_value(&name);
        let same = old.as_ref().is_some_and(|old| {
            // A look for drift that found none has no steps: the steps that led here are worth more.
            let steps = outcome.steps.is_empty() || old.steps == outcome.steps;
            old.generation == outcome.generation
                && old.verdict == outcome.verdict
                && old.message == outcome.message
                && steps
        });
        if !same {
            self.write_record(&name, &outcome);
        }
    }

    /// Takes back all records of such keys.
    pub(crate) fn take_back_records(&self, which: impl Fn(&str) -> bool) {
        let all = self.book.all().unwrap_or_default();
        all.iter().filter(|record| which(&record.key)).for_each(|record| self.take_back_record(&record.key));
    }

    pub(crate) fn take_back_outcome(&self, subject: &Subject) {
        self.take_back_record(&outcome_key(subject));
    }

    fn take_back_record(&self, name: &str) {
        match self.book.take_back(name) {
            Ok(Some(record)) => self.announce(&record),
            Ok(None) => {}
            Err(error) => tracing::error!(%error, "cannot take a record back"),
        }
    }

    pub(crate) fn outcomes(&self) -> Vec<Outcome> {
        let all = self.book.all().unwrap_or_default();
        let outcomes = all.into_iter().filter(|r| r.key.starts_with(OUTCOME_PREFIX));
        outcomes.filter_map(|r| serde_json::from_slice(&r.value).ok()).collect()
    }
}

fn outcome_key(subject: &Subject) -> String {
    format!("{OUTCOME_PREFIX}{subject}")
}
