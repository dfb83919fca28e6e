//! What drivers need of the half of the agent that talks to the network: it carries their messages, and decides nothing.

use std::sync::{Arc, Weak};

use failover::{Attempt, ClusterName, Epoch, Outcome, Request};
use protocols::control::Denied;
use protocols::node::{AskPromise, DriverReport};
use protocols::{FleetState, NodeId};
use scores::BoxFuture;
use scores::failover::Cluster;
use scores::workload::Peer;
use tokio::sync::watch;

use super::ports;
use super::requests::{Group, ask_peer};
use crate::agent::Agent;

/// Carries what drivers ask, and what they are answered.
///
/// What it says the group or a peer answered must be their answer: a driver acts by it.
pub trait Carrier: Send + Sync + 'static {
    /// This node.
    fn id(&self) -> NodeId;

    /// The ledger that this node has verified.
    fn states(&self) -> watch::Receiver<Option<Arc<FleetState>>>;

    /// Whether this ledger is new enough to act by.
    fn may_act_by(&self, _state: &FleetState) -> bool {
        true
    }

    /// Asks the coordinators' group once. Nothing is repeated.
    fn ask_group(
        &self,
        cluster: ClusterName,
        attempt: Attempt,
        request: Request,
    ) -> BoxFuture<'static, Option<Outcome>>;

    /// Asks another candidate for a promise; whether it was given.
    fn ask_peer(&self, to: NodeId, question: AskPromise) -> BoxFuture<'static, bool>;

    /// Has the switch ports shut that lead to a silent writer, and seen to be shut; or why not.
    fn shut_ports(
        &self,
        _cluster: Arc<Cluster>,
        _epoch: Epoch,
        _target: Peer,
    ) -> BoxFuture<'static, Result<(), String>> {
        Box::pin(async { Err("an agent in two processes cannot ask for it yet".to_owned()) })
    }
}

/// What drives workloads, as whoever asks a node about them sees it.
pub trait Workloads: Send + Sync {
    /// A holder asks for a promise; it is given by `Ok`.
    fn promise(&self, from: NodeId, question: AskPromise) -> BoxFuture<'_, Result<(), Denied>>;

    /// How the clusters stand here; one with its last heartbeats, or all without.
    fn reports(&self, cluster: Option<ClusterName>) -> BoxFuture<'_, Vec<DriverReport>>;
}

/// Carries for drivers in the agent's own process.
pub struct AgentCarrier {
    id: NodeId,
    states: watch::Receiver<Option<Arc<FleetState>>>,
    group: Arc<Group>,
    agent: Weak<Agent>,
}

impl std::fmt::Debug for AgentCarrier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AgentCarrier").field("id", &self.id).finish_non_exhaustive()
    }
}

impl AgentCarrier {
    /// Carries by the connections of this agent.
    pub fn new(agent: &Arc<Agent>) -> Arc<Self> {
        let group = Group::new(Arc::clone(agent));
        Arc::new(Self { id: agent.id(), states: agent.watch(), group, agent: Arc::downgrade(agent) })
    }
}

impl Carrier for AgentCarrier {
    fn shut_ports(&self, cluster: Arc<Cluster>, epoch: Epoch, target: Peer) -> BoxFuture<'static, Result<(), String>> {
        let agent = self.agent.upgrade();
        Box::pin(async move {
            let agent = agent.ok_or("the agent stops")?;
            ports::shut_all(&agent, &cluster, epoch, &target).await
        })
    }

    fn id(&self) -> NodeId {
        self.id
    }

    fn states(&self) -> watch::Receiver<Option<Arc<FleetState>>> {
        self.states.clone()
    }

    fn ask_group(
        &self,
        cluster: ClusterName,
        attempt: Attempt,
        request: Request,
    ) -> BoxFuture<'static, Option<Outcome>> {
        let group = Arc::clone(&self.group);
        Box::pin(async move { group.ask(&cluster, attempt, request).await })
    }

    fn ask_peer(&self, to: NodeId, question: AskPromise) -> BoxFuture<'static, bool> {
        let agent = self.agent.clone();
        Box::pin(async move {
            let Some(agent) = agent.upgrade() else { return false };
            // The connection says whose promise it is.
            ask_peer(&agent, to, question).await.is_some()
        })
    }
}
