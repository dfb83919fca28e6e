//! The other coordinators: their ledgers followed, their nodes' words and signs of life shared.
//!
//! Every coordinator follows every other one. So each of them has the whole ledger, and can answer for nodes that are
//! connected elsewhere.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use protocols::NodeId;
use protocols::control::{AskGroup, Hello, NodeReport, Report, Tail, Watch};
use protocols::entry::Role;
use protocols::incoming::Incoming;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::coordinator::{Coordinator, lock};

/// How long another coordinator may take for a short answer.
const ANSWER_DEADLINE: Duration = Duration::from_secs(10);
/// The pause before the first new try, and the longest one.
const PAUSE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(10));
/// How long one whose history is another is left alone.
const DISBELIEVED_PAUSE: Duration = Duration::from_secs(60);
/// How often it is asked who was heard when.
const LIVENESS_EVERY: Duration = Duration::from_secs(5);
/// How many batches or reports may wait to be taken.
const QUEUED: usize = 16;
/// How the mesh ends when it says that a peer does not know us.
const TURNED_AWAY: &str = "not allowed";
/// A prefix that no record's key has: only liveness is asked for.
const NO_RECORDS: &str = "\0";

impl Coordinator {
    /// Keeps a follower for each other coordinator of the ledger, until `stop`.
    pub(crate) async fn fellows_loop(self: &Arc<Self>, stop: CancellationToken) {
        let mut states = self.order.watch();
        let mut followers: HashMap<NodeId, AbortOnDropHandle<()>> = HashMap::new();
        loop {
            let state = Arc::clone(&states.borrow_and_update());
            let fellows: Vec<NodeId> =
                state.with_role(Role::Coordinator).map(|(id, _)| id).filter(|id| *id != self.id()).collect();
            followers.retain(|id, _| fellows.contains(id));
            for (id, member) in state.with_role(Role::Coordinator) {
                if let Some(place) = &member.place {
                    self.wire.learn(place_addr(id, place));
                }
            }
            for fellow in fellows {
                followers.entry(fellow).or_insert_with(|| {
                    let this = Arc::clone(self);
                    AbortOnDropHandle::new(tokio::spawn(async move { this.keep_up_with(fellow).await }))
                });
            }
            tokio::select! {
                () = stop.cancelled() => return,
                changed = states.changed() => if changed.is_err() { return },
            }
        }
    }

    async fn keep_up_with(self: Arc<Self>, fellow: NodeId) {
        let mut pause = PAUSE.0;
        let mut told = false;
        loop {
            let began = Instant::now();
            let ended = tokio::select! {
                ended = self.follow(fellow) => ended,
                ended = self.share(fellow) => ended,
            };
            let who = self.name_of(fellow);
            match ended {
                Ok(()) => tracing::info!(%who, "the other coordinator went away"),
                Err(why) if !told && why.contains(TURNED_AWAY) => {
                    told = true;
                    tracing::error!(%who, %why, "the other coordinator refuses this one, which may have been retired");
                }
                Err(why) if !std::mem::replace(&mut told, true) => tracing::warn!(%who, %why, "cannot follow it"),
                Err(why) => tracing::debug!(%who, %why, "cannot follow it"),
            }
            self.wire.reset(fellow);
            if lock(&self.heads).is_disbelieved(fellow) {
                // Its history is another one: to look at it again and again would only cost both of us.
                tokio::time::sleep(DISBELIEVED_PAUSE).await;
            }
            if began.elapsed() > PAUSE.1 {
                (pause, told) = (PAUSE.0, false);
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE.1);
        }
    }

    /// Takes the other's entries until the connection ends.
    async fn follow(&self, fellow: NodeId) -> Result<(), String> {
        let reached = timeout(ANSWER_DEADLINE, self.wire.reach(fellow)).await;
        reached.map_err(|_| "no answer in time".to_owned())?.map_err(|e| e.0)?;
        let client = self.wire.control(fellow);
        let welcome = timeout(ANSWER_DEADLINE, client.rpc(Hello)).await.map_err(|_| "no answer in time".to_owned())?;
        let welcome = welcome.map_err(|e| scores::chain(&e))?.map_err(|e| e.to_string())?;
        if welcome.fleet != self.state().fleet() {
            return Err(format!("it serves fleet {}", welcome.fleet));
        }
        self.note_head(fellow, welcome.head);
        let request = Tail { after: Some(self.state().head()), follow: true };
        let stream = timeout(ANSWER_DEADLINE, client.server_streaming(request, QUEUED)).await;
        let stream = stream.map_err(|_| "no answer in time".to_owned())?.map_err(|e| scores::chain(&e))?;
        let mut batches = Incoming::new(stream);
        while let Some(batch) = batches.next().await.map_err(|e| scores::chain(&e))? {
            if !batch.entries.is_empty() {
                self.take_from(fellow, batch.entries).await?;
            }
            self.note_head(fellow, batch.head);
            if self.state().head().seq >= batch.head.seq {
                self.answered(fellow);
            }
        }
        Ok(())
    }

    /// Takes what its nodes say until the connection ends.
    async fn share(&self, fellow: NodeId) -> Result<(), String> {
        let client = self.wire.control(fellow);
        let stream = timeout(ANSWER_DEADLINE, client.server_streaming(Watch { nodes: Vec::new() }, QUEUED)).await;
        let stream = stream.map_err(|_| "no answer in time".to_owned())?.map_err(|e| scores::chain(&e))?;
        let mut reports = Incoming::new(stream);
        let mut ticks = tokio::time::interval(LIVENESS_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                report = reports.next() => match report.map_err(|e| scores::chain(&e))? {
                    // Measured from now: that it may have waited on its way only makes a node look fresher by that much,
                    // and only until the next tick.
                    Some(report) => self.take_report(report.map_err(|e| e.to_string())?, Instant::now()),
                    None => return Ok(()),
                },
                _ = ticks.tick() => {
                    if let Ok(Ok(Ok(status))) = timeout(ANSWER_DEADLINE, client.rpc(AskGroup)).await {
                        self.note_group(fellow, status);
                    }
                    let asked = Instant::now();
                    let request = Report { nodes: Vec::new(), prefix: NO_RECORDS.into() };
                    let stream = timeout(ANSWER_DEADLINE, client.server_streaming(request, QUEUED)).await;
                    let stream = stream.map_err(|_| "no answer in time".to_owned())?.map_err(|e| scores::chain(&e))?;
                    let mut answers = Incoming::new(stream);
                    while let Ok(answer) = timeout(ANSWER_DEADLINE, answers.next()).await {
                        let Some(report) = answer.map_err(|e| scores::chain(&e))? else { break };
                        self.take_report(report.map_err(|e| e.to_string())?, asked);
                    }
                }
            }
        }
    }

    fn take_report(&self, report: NodeReport, asked: Instant) {
        if !self.state().is_agent(report.node) {
            return;
        }
        let verified: Vec<_> = report.records.into_iter().filter_map(|r| r.verify().ok()).collect();
        if !verified.is_empty()
            && let Err(error) = self.ingest(verified)
        {
            tracing::error!(%error, "cannot store the records that another coordinator has");
        }
        let heard = report.liveness;
        if let (Some(silent), Some(head), Some(addr)) = (heard.silent_millis, heard.head, heard.addr)
            && let Some(at) = asked.checked_sub(Duration::from_millis(silent))
        {
            let addr = self.bounded(report.node, addr);
            let (newer, turned) = lock(&self.liveness).heard_elsewhere(report.node, head, addr.clone(), at);
            if newer {
                self.wire.learn(addr);
            }
            if turned {
                self.changed(report.node);
            }
        }
    }
}

/// A coordinator's place as an address.
pub(crate) fn place_addr(id: NodeId, place: &protocols::entry::Place) -> protocols::PeerAddr {
    protocols::PeerAddr { id, addrs: place.addrs.clone(), relay: place.relay.as_ref().map(|r| r.url.clone()) }
}
