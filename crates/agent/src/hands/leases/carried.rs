//! The hands' side: asks through the line, and believes what is signed.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use failover::{Attempt, ClusterName, Outcome, Request};
use protocols::lease_word::{LeaseWord, PromiseWord};
use protocols::node::{AskPromise, DriverReport};
use protocols::{FleetId, FleetState, NodeId, Signature};
use scores::BoxFuture;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::wire::{Ask, Tell};
use crate::agent::lock;
use crate::failover::{Carrier, Workloads};
use crate::hands::wire::{self, FRAME_BYTES_MAX, WireError};

/// The line as the hands see it: the connection of now, if there is one.
#[derive(Debug, Default)]
pub(in crate::hands) struct Carried {
    session: watch::Sender<Option<Arc<Session>>>,
}

/// One connection.
#[derive(Debug)]
struct Session {
    out: mpsc::Sender<Ask>,
    closed: CancellationToken,
    asked: Mutex<HashMap<u64, Asked>>,
    next: AtomicU64,
}

#[derive(Debug)]
enum Asked {
    Lease(oneshot::Sender<Option<LeaseWord>>),
    Peer(oneshot::Sender<Option<Signature>>),
}

impl Carried {
    /// Serves a connection until it ends or a newer one takes its place.
    pub(in crate::hands) async fn attend(
        &self,
        mut reader: OwnedReadHalf,
        mut writer: OwnedWriteHalf,
        workloads: &Arc<dyn Workloads>,
    ) -> Result<(), WireError> {
        let (out, mut words) = mpsc::channel(QUEUED);
        let closed = CancellationToken::new();
        let session = Arc::new(Session { out, closed, asked: Mutex::default(), next: AtomicU64::new(0) });
        if let Some(before) = self.session.send_replace(Some(Arc::clone(&session))) {
            before.closed.cancel();
        }
        let write = async {
            while let Some(word) = words.recv().await {
                wire::write(&mut writer, &word).await?;
            }
            Ok(())
        };
        let ended = tokio::select! {
            () = session.closed.cancelled() => Ok(()),
            ended = write => ended,
            ended = session.listen(&mut reader, workloads) => ended,
        };
        session.closed.cancel();
        self.session.send_if_modified(|now| {
            let ours = now.as_ref().is_some_and(|now| Arc::ptr_eq(now, &session));
            if ours {
                *now = None;
            }
            ours
        });
        ended
    }

    /// Asks once; nothing if there is no line, if it is full, or if it ends before the answer.
    async fn ask<T>(
        &self,
        asked: impl FnOnce(oneshot::Sender<Option<T>>) -> Asked,
        ask: impl FnOnce(u64) -> Ask,
    ) -> Option<T> {
        let session = self.session.borrow().clone()?;
        let id = session.next.fetch_add(1, Ordering::Relaxed);
        let (tx, rx) = oneshot::channel();
        lock(&session.asked).insert(id, asked(tx));
        let _forgotten = Forget { session: Arc::clone(&session), id };
        session.out.try_send(ask(id)).ok()?;
        tokio::select! {
            () = session.closed.cancelled() => None,
            answer = timeout(ANSWER_WITHIN, rx) => answer.ok()?.ok()?,
        }
    }
}

/// A question that is forgotten when nobody waits for its answer any more.
struct Forget {
    session: Arc<Session>,
    id: u64,
}

impl Drop for Forget {
    fn drop(&mut self) {
        drop(lock(&self.session.asked).remove(&self.id));
    }
}

impl Session {
    async fn listen(
        self: &Arc<Self>,
        reader: &mut OwnedReadHalf,
        workloads: &Arc<dyn Workloads>,
    ) -> Result<(), WireError> {
        let mut questions = JoinSet::new();
        while let Some(tell) = wire::read::<Tell>(reader).await? {
            while questions.try_join_next().is_some() {}
            match tell {
                Tell::Leased { id, word } => {
                    if let Some(Asked::Lease(tx)) = self.taken(id, |asked| matches!(asked, Asked::Lease(_))) {
                        // Whoever asked may have given up.
                        drop(tx.send(word));
                    }
                }
                Tell::Promised { id, signature } => {
                    if let Some(Asked::Peer(tx)) = self.taken(id, |asked| matches!(asked, Asked::Peer(_))) {
                        tx.send(signature).ok();
                    }
                }
                Tell::Asked { .. } | Tell::Report { .. } if questions.len() >= QUESTIONS_MAX => {
                    tracing::warn!("the network half asks for too much at once about leases");
                    return Ok(());
                }
                Tell::Asked { id, from, question } => {
                    let (this, workloads) = (Arc::clone(self), Arc::clone(workloads));
                    questions.spawn(async move {
                        let result = workloads.promise(from, question).await.map_err(|denied| denied.to_string());
                        drop(this.out.send(Ask::Given { id, result }).await);
                    });
                }
                Tell::Report { id, cluster } => {
                    let (this, workloads) = (Arc::clone(self), Arc::clone(workloads));
                    questions.spawn(async move {
                        let reports = fitting(workloads.reports(cluster).await);
                        drop(this.out.send(Ask::Reports { id, reports }).await);
                    });
                }
            }
        }
        Ok(())
    }

    fn taken(&self, id: u64, fits: impl FnOnce(&Asked) -> bool) -> Option<Asked> {
        let mut asked = lock(&self.asked);
        if asked.get(&id).is_some_and(fits) { asked.remove(&id) } else { None }
    }
}

/// As many as fit into a frame.
fn fitting(mut reports: Vec<DriverReport>) -> Vec<DriverReport> {
    while postcard::to_stdvec(&reports).map_or(usize::MAX, |bytes| bytes.len()) > FRAME_BYTES_MAX - 1024 {
        if reports.pop().is_none() {
            break;
        }
    }
    reports
}

/// Carries for drivers behind the line, and lets nothing pass that is not signed as it must be.
pub(in crate::hands) struct FarCarrier {
    pub(in crate::hands) node: NodeId,
    pub(in crate::hands) fleet: FleetId,
    pub(in crate::hands) states: watch::Receiver<Option<Arc<FleetState>>>,
    pub(in crate::hands) line: Arc<Carried>,
    /// Whether this ledger is as new as one by which something was done before.
    pub(in crate::hands) new_enough: Box<dyn Fn(&FleetState) -> bool + Send + Sync>,
}

impl FarCarrier {
    /// The outcome of this request, if a coordinator of the ledger says so.
    fn believed(
        word: &LeaseWord,
        state: Option<&FleetState>,
        (fleet, node): (FleetId, NodeId),
        (cluster, attempt): (&ClusterName, Attempt),
    ) -> Option<Outcome> {
        if !state.is_some_and(|state| state.is_coordinator(word.by)) {
            tracing::error!(by = %word.by.short(), "an answer about a lease is signed by nobody who coordinates: dropped");
            return None;
        }
        let outcome = word.opened(fleet, node, cluster).filter(|outcome| outcome.attempt == Some(attempt));
        if outcome.is_none() {
            tracing::error!(%cluster, "an answer about a lease is not what a coordinator signed for it: dropped");
        }
        outcome
    }
}

impl Carrier for FarCarrier {
    fn id(&self) -> NodeId {
        self.node
    }

    fn states(&self) -> watch::Receiver<Option<Arc<FleetState>>> {
        self.states.clone()
    }

    fn may_act_by(&self, state: &FleetState) -> bool {
        (self.new_enough)(state)
    }

    fn ask_group(
        &self,
        cluster: ClusterName,
        attempt: Attempt,
        request: Request,
    ) -> BoxFuture<'static, Option<Outcome>> {
        let (line, states, whose) = (Arc::clone(&self.line), self.states.clone(), (self.fleet, self.node));
        Box::pin(async move {
            let named = cluster.clone();
            let word = line.ask(Asked::Lease, |id| Ask::Lease { id, cluster: named, attempt, request }).await?;
            let state = states.borrow().clone();
            Self::believed(&word, state.as_deref(), whose, (&cluster, attempt))
        })
    }

    fn ask_peer(&self, to: NodeId, question: AskPromise) -> BoxFuture<'static, bool> {
        let (line, fleet, holder) = (Arc::clone(&self.line), self.fleet, self.node);
        Box::pin(async move {
            let asked = question.clone();
            let signature = line.ask(Asked::Peer, |id| Ask::Peer { id, to, question: asked }).await;
            let word = PromiseWord { fleet, holder, question: &question };
            let holds = signature.as_ref().is_some_and(|signature| word.holds(to, signature));
            if signature.is_some() && !holds {
                tracing::error!(to = %to.short(), "a promise is not signed by whom it is said to be from: dropped");
            }
            holds
        })
    }
}

/// How many words may wait to be written; what is asked beyond that is not asked.
const QUEUED: usize = 256;
/// How many questions of the network half may wait for their answers.
const QUESTIONS_MAX: usize = 16;
/// How long an answer is waited for: a little longer than the network half waits for it.
const ANSWER_WITHIN: Duration = Duration::from_secs(8);
