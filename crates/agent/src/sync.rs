//! Following the ledger: find a coordinator, join if need be, take its entries, and begin again when it goes.

use std::time::Duration;

use protocols::control::{Hello, Tail, TailBatch, Welcome};
use protocols::enroll::{EnrollError, RedeemInvite};
use protocols::entry::Head;
use protocols::entry::Redeem;
use protocols::incoming::Incoming;
use protocols::store::LedgerError;
use protocols::{HeadClaim, Name, NodeId, Signature, SignedEntry};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::agent::{Agent, TakeError};
use crate::gossip::{Source, Unsigned};

/// How long a coordinator may take to answer.
pub(crate) const ANSWER_DEADLINE: Duration = Duration::from_secs(15);
/// The pause before the first new try, and the longest one.
const PAUSE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));
/// How long one may take to say hello where there are others.
const HELLO_DEADLINE: Duration = Duration::from_secs(5);
/// The pause before the next of several coordinators is tried.
const NEXT: Duration = Duration::from_millis(100);
/// How long a coordinator may speak of entries and send none of them.
const WITHHELD_AFTER: Duration = Duration::from_secs(60);
/// How many batches may wait to be verified.
const BATCHES_QUEUED: usize = 4;

#[derive(Debug, thiserror::Error)]
enum SyncError {
    #[error("no answer: {0}")]
    Unreachable(String),
    #[error("the coordinator serves fleet {0}, which is not ours")]
    OtherFleet(protocols::FleetId),
    #[error("not a member yet: {0}")]
    NotEnrolled(String),
    #[error("the coordinator speaks of entry {claimed} and sends nothing after entry {ours}")]
    Withheld { claimed: u64, ours: u64 },
    #[error(transparent)]
    Unsigned(#[from] Unsigned),
    #[error("the coordinator's entries were not taken")]
    Take(#[from] TakeError),
}

impl Agent {
    pub(crate) async fn sync_loop(&self, stop: CancellationToken) {
        let mut pause = PAUSE.0;
        let (mut turn, mut failed) = (0, 0);
        loop {
            let coordinators = self.coordinators();
            let before = self.head();
            let Some(coordinator) = coordinators.get(turn % coordinators.len().max(1)).copied() else {
                tracing::error!("this node knows no coordinator any more");
                return;
            };
            let result = tokio::select! {
                () = stop.cancelled() => return,
                result = self.follow_coordinator(coordinator) => result,
            };
            let followed = self.coordinator.send_replace(None).is_some();
            match result {
                Ok(()) => tracing::info!(coordinator = %coordinator.short(), "the coordinator went away"),
                Err(error) => {
                    let error = scores::chain(&error);
                    tracing::warn!(coordinator = %coordinator.short(), %error, "cannot follow the ledger");
                    // A connection that answers nothing must not be asked again.
                    self.uplink.reset(coordinator);
                }
            }
            turn += 1;
            failed = if followed { 1 } else { failed + 1 };
            // Nodes that lost one coordinator must not all come to another in one instant.
            let spread = u32::from(self.id().as_bytes()[0]);
            let wait = if failed < coordinators.len() {
                // There are others that were not tried since one answered.
                NEXT + NEXT * spread / 256
            } else {
                failed = 0;
                pause = if self.head() == before { (pause * 2).min(PAUSE.1) } else { PAUSE.0 };
                pause + pause * spread / 512
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// Takes entries until the connection ends.
    async fn follow_coordinator(&self, coordinator: NodeId) -> Result<(), SyncError> {
        let welcome = self.greet(coordinator).await?;
        if welcome.fleet != self.options.ticket.fleet {
            return Err(SyncError::OtherFleet(welcome.fleet));
        }
        self.claimed(coordinator, welcome.head, welcome.claim)?;
        self.welcomed(welcome.head.seq);
        if let Some(document) = welcome.document {
            self.uplink.follow(document, coordinator);
        }
        if !self.options.pulls && self.is_member() {
            self.coordinator.send_replace(Some(coordinator));
            return std::future::pending().await;
        }
        let client = self.uplink.control(coordinator);
        let request = Tail { after: self.head(), follow: true };
        let batches = timeout(ANSWER_DEADLINE, client.server_streaming(request, BATCHES_QUEUED))
            .await
            .map_err(|_| SyncError::Unreachable("no answer in time".into()))?
            .map_err(|e| SyncError::Unreachable(e.to_string()))?;
        let mut batches = Incoming::new(batches);
        self.coordinator.send_replace(Some(coordinator));
        tracing::info!(coordinator = %coordinator.short(), head = welcome.head.seq, "following the ledger");
        let mut withheld = std::pin::pin!(self.withheld());
        loop {
            tokio::select! {
                batch = batches.next() => match batch {
                    Ok(Some(batch)) => self.take(coordinator, batch)?,
                    Ok(None) | Err(_) => return Ok(()),
                },
                error = &mut withheld => return Err(error),
                // A stream that says nothing while others know more is asked again, over a call of its own.
                () = self.behind.notified() => self.catch_up(coordinator).await?,
            }
        }
    }

    /// Ends when the coordinator has spoken of entries for a while and sends none of them: another one may.
    async fn withheld(&self) -> SyncError {
        let mut newest = self.newest.subscribe();
        loop {
            let before = self.head();
            if self.caught_up() {
                // The sender lives as long as this agent.
                let _alive = newest.changed().await;
                continue;
            }
            tokio::time::sleep(WITHHELD_AFTER).await;
            if !self.caught_up() && self.head() == before {
                return SyncError::Withheld { claimed: *newest.borrow(), ours: before.map_or(0, |h| h.seq) };
            }
        }
    }

    /// Takes a batch, whose head and last entry the coordinator must have signed for: what it serves can be held against
    /// it.
    fn take(&self, coordinator: NodeId, batch: TailBatch) -> Result<(), SyncError> {
        let signed = |head: Head, signature: Option<Signature>| {
            let claim = signature
                .and_then(|signature| HeadClaim::checked(self.options.ticket.fleet, head, coordinator, signature));
            claim.ok_or_else(|| Unsigned::of(head))
        };
        let newest = signed(batch.head, batch.claim)?;
        self.heard_of(batch.head.seq);
        let mut last = newest;
        if let Some(end) = batch.entries.last().and_then(head_of).filter(|end| *end != batch.head) {
            last = signed(end, batch.end)?;
        }
        if !batch.entries.is_empty()
            && let Err(error) = self.append(batch.entries.clone())
        {
            if matches!(error, TakeError::Ledger(LedgerError::Fork { .. })) {
                self.suspect(last, Source::Coordinator(coordinator), batch.entries);
            }
            return Err(error.into());
        }
        for claim in [last, newest] {
            self.claimed(coordinator, claim.head, claim.signature)?;
        }
        Ok(())
    }

    /// Asks once for what is missing. The stream may bring the same: what is here already is passed over.
    async fn catch_up(&self, coordinator: NodeId) -> Result<(), SyncError> {
        if !self.may_lack() {
            return Ok(());
        }
        let client = self.uplink.control(coordinator);
        let ask = async {
            let request = Tail { after: self.head(), follow: false };
            let mut batches = client.server_streaming(request, BATCHES_QUEUED).await.ok()?;
            let mut all = Vec::new();
            while let Ok(Some(batch)) = batches.recv().await {
                all.push(batch);
                if all.len() == BATCHES_QUEUED {
                    break;
                }
            }
            Some(all)
        };
        let batches = timeout(ANSWER_DEADLINE, ask).await.ok().flatten();
        let batches = batches.ok_or_else(|| SyncError::Unreachable("no entries in time".into()))?;
        let before = self.head();
        for batch in batches {
            self.take(coordinator, batch)?;
        }
        if self.head() != before && !self.caught_up() {
            self.behind.notify_one();
        }
        Ok(())
    }

    /// Says hello; joins first if this node is not known there.
    async fn greet(&self, coordinator: NodeId) -> Result<Welcome, SyncError> {
        let first = self.hello(coordinator).await;
        match (first, self.is_member()) {
            (Ok(welcome), _) => Ok(welcome),
            (Err(error), true) => Err(error),
            (Err(error), false) => {
                if self.invite().is_none() {
                    return Err(error);
                }
                self.redeem(coordinator).await?;
                // The connection that was refused stays so; a new one is let in.
                self.uplink.reset(coordinator);
                self.hello(coordinator).await
            }
        }
    }

    async fn hello(&self, coordinator: NodeId) -> Result<Welcome, SyncError> {
        let deadline = if self.coordinators().len() > 1 { HELLO_DEADLINE } else { ANSWER_DEADLINE };
        let answer = timeout(deadline, self.uplink.control(coordinator).rpc(Hello)).await;
        let answer = answer.map_err(|_| SyncError::Unreachable("no answer in time".into()))?;
        let answer = answer.map_err(|e| SyncError::Unreachable(scores::chain(&e)))?;
        answer.map_err(|denied| SyncError::NotEnrolled(denied.to_string()))
    }

    async fn redeem(&self, coordinator: NodeId) -> Result<(), SyncError> {
        let Some(invite) = self.invite() else { return Ok(()) };
        let name: Name = invite.name.clone().unwrap_or_else(|| self.options.name.clone());
        let request = Redeem::new(self.options.ticket.fleet, &invite.key(), &self.options.key, name.clone());
        let answer = timeout(ANSWER_DEADLINE, self.uplink.enrollment(coordinator).rpc(RedeemInvite(request))).await;
        let answer = answer.map_err(|_| SyncError::Unreachable("no answer in time".into()))?;
        let answer = answer.map_err(|e| SyncError::Unreachable(scores::chain(&e)))?;
        match answer {
            Ok(_) => {
                tracing::info!(%name, "joined the fleet");
                Ok(())
            }
            Err(EnrollError::Refused(refusal)) => Err(SyncError::NotEnrolled(format!("{refusal}; {}", refusal.hint()))),
            Err(refused) => Err(SyncError::NotEnrolled(refused.to_string())),
        }
    }
}

/// What an entry would be as the newest; nothing for bytes that are no entry, which are refused in any case.
fn head_of(entry: &SignedEntry) -> Option<Head> {
    let verified = entry.clone().verify().ok()?;
    Some(Head { seq: verified.seq(), hash: verified.hash() })
}
