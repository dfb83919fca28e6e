//! How requests reach the coordinators' group, and questions the other candidates.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use failover::{Attempt, ClusterName, Outcome, Request};
use protocols::control::{Control, Lease, LeaseError, SignedLease};
use protocols::lease_word::LeaseWord;
use protocols::node::AskPromise;
use protocols::{Client, NodeId, Signature};
use tokio::time::timeout;

use crate::agent::{Agent, lock};

/// Finds the coordinator that orders leases, and stays with it.
pub(crate) struct Group {
    agent: Arc<Agent>,
    leader: Mutex<Option<NodeId>>,
    turn: AtomicUsize,
    misses: AtomicU32,
}

impl Group {
    pub(crate) fn new(agent: Arc<Agent>) -> Arc<Self> {
        Arc::new(Self { agent, leader: Mutex::default(), turn: AtomicUsize::new(0), misses: AtomicU32::new(0) })
    }

    /// Asks once; who is answered by another name for the leader asks that one too. Nothing is repeated.
    pub(super) async fn ask(&self, cluster: &ClusterName, attempt: Attempt, request: Request) -> Option<Outcome> {
        let asks = |client: Client<Control>| {
            let lease = Lease { cluster: cluster.clone(), attempt, request: request.clone() };
            async move { client.rpc(lease).await }
        };
        self.round(cluster, asks).await
    }

    /// The same, for an answer that is signed.
    pub(crate) async fn ask_signed(
        &self,
        cluster: &ClusterName,
        attempt: Attempt,
        request: Request,
    ) -> Option<LeaseWord> {
        let asks = |client: Client<Control>| {
            let lease = SignedLease { cluster: cluster.clone(), attempt, request: request.clone() };
            async move { client.rpc(lease).await }
        };
        self.round(cluster, asks).await
    }

    async fn round<T, F, E>(&self, cluster: &ClusterName, ask: impl Fn(Client<Control>) -> F) -> Option<T>
    where
        F: Future<Output = Result<Result<T, LeaseError>, E>>,
        E: std::fmt::Display,
    {
        let mut to = self.whom()?;
        for _ in 0..HOPS {
            match timeout(ANSWER_WITHIN, ask(self.agent.uplink.control(to))).await {
                Ok(Ok(Ok(answer))) => {
                    self.misses.store(0, Ordering::Relaxed);
                    *lock(&self.leader) = Some(to);
                    return Some(answer);
                }
                Ok(Ok(Err(LeaseError::NotLeader { leader, .. }))) if leader != to => {
                    *lock(&self.leader) = Some(leader);
                    to = leader;
                }
                Ok(Ok(Err(error))) => {
                    tracing::debug!(%cluster, %error, "a request about a lease was not decided");
                    self.next();
                    return None;
                }
                Ok(Err(error)) => {
                    tracing::debug!(%cluster, %error, "a request about a lease was not answered");
                    self.missed(to);
                    return None;
                }
                Err(_) => {
                    self.missed(to);
                    return None;
                }
            }
        }
        None
    }

    fn whom(&self) -> Option<NodeId> {
        let leader = *lock(&self.leader);
        let coordinators = self.agent.coordinators();
        if let Some(leader) = leader.filter(|leader| coordinators.contains(leader)) {
            return Some(leader);
        }
        coordinators.get(self.turn.load(Ordering::Relaxed) % coordinators.len().max(1)).copied()
    }

    fn next(&self) {
        *lock(&self.leader) = None;
        self.turn.fetch_add(1, Ordering::Relaxed);
    }

    /// A connection that stays silent is thrown away; a late answer on it would have counted, so not at once.
    fn missed(&self, coordinator: NodeId) {
        if self.misses.fetch_add(1, Ordering::Relaxed) + 1 >= MISSES_MAX {
            self.misses.store(0, Ordering::Relaxed);
            self.agent.uplink.reset(coordinator);
        }
        self.next();
    }
}

/// Asks another candidate for a promise: its signature under it, if it was given.
pub(crate) async fn ask_peer(agent: &Agent, to: NodeId, question: AskPromise) -> Option<Signature> {
    let answer = timeout(PROMISED_WITHIN, agent.uplink.node(to).rpc(question)).await;
    answer.ok()?.ok()?.ok()
}

/// How often a request follows the name of another leader.
const HOPS: usize = 3;
/// How long an answer is waited for; one of any age counts for what it proves.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// How many requests may stay without an answer before the connection is thrown away.
const MISSES_MAX: u32 = 3;
/// How long a promise is waited for.
const PROMISED_WITHIN: Duration = Duration::from_secs(4);
