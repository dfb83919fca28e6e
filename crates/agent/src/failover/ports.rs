//! The remote action `switch-port`: who takes over has the ports shut that lead to the silent writer, by the agents that
//! manage the switches; and what such an agent looks at before it shuts one.
//!
//! The asked agent believes its own copy of the ledger, and the coordinators' majority. Nothing else can be asked for than
//! what an admin declared: this port, against this candidate, by another one of the same cluster whose turn it is.

use std::sync::Arc;
use std::time::Duration;

use failover::{ClusterName, Epoch};
use protocols::control::{Denied, LeaseError, Leases};
use protocols::node::ShutPort;
use protocols::{FleetState, Name, NodeId, Policy};
use scores::failover::{Cluster, SWITCH_PORT, SwitchPort, clusters, fleet_id, lease_id};
use scores::switch::{InterfaceScore, PortFenceScore};
use scores::workload::Peer;
use scores::{Assignment, Score as _, score};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::agent::Agent;
use crate::stage::PlayStage;

/// Has every port shut that leads to a silent writer; why not, if one is not known to be.
pub(super) async fn shut_all(agent: &Arc<Agent>, cluster: &Cluster, epoch: Epoch, target: &Peer) -> Result<(), String> {
    let ports = cluster.ports.get(&target.name).filter(|ports| !ports.is_empty());
    let ports = ports.ok_or_else(|| format!("the declaration names no port that leads to `{}`", target.name))?;
    let state = agent.state().ok_or("no ledger is here yet")?;
    let mut asked = JoinSet::new();
    for port in ports {
        let SwitchPort { agent: manager, device, port } = port.clone();
        let id = state.members().iter().find(|(_, member)| member.name == manager).map(|(id, _)| *id);
        let id = id.ok_or_else(|| format!("the agent `{manager}` is not of this fleet"))?;
        let question = ShutPort {
            cluster: cluster.name.clone(),
            epoch,
            target: fleet_id(target.node),
            device: device.clone(),
            port: port.to_string(),
        };
        let agent = Arc::clone(agent);
        asked.spawn(async move {
            let done = if id == agent.id() {
                Ok(agent.shut_port(id, question).await)
            } else {
                agent.uplink.node(id).rpc(question).await
            };
            let done = match done {
                Ok(Ok(())) => Ok(()),
                Ok(Err(Denied::Unavailable(why))) => Err(why),
                Ok(Err(denied)) => Err(denied.to_string()),
                Err(error) => Err(scores::chain(&error)),
            };
            done.map_err(|why| format!("port {port} of `{device}`, by `{manager}`: {why}"))
        });
    }
    while let Some(done) = asked.join_next().await {
        done.map_err(|error| error.to_string())??;
    }
    Ok(())
}

/// What a person has to know afterwards.
pub(super) fn notice(cluster: &Cluster, target: &Peer) -> String {
    let ports = cluster.ports.get(&target.name).into_iter().flatten();
    let ports: Vec<String> = ports.map(|port| format!("{} of `{}`", port.port, port.device)).collect();
    format!(
        "shut port {} that leads to `{}`: when it may be open again, publish switch.port-fence/1 with `fenced = false`",
        ports.join(", "),
        target.name
    )
}

impl Agent {
    /// Another candidate wants a port shut that leads to a silent writer.
    pub(crate) async fn shut_port(self: &Arc<Self>, caller: NodeId, question: ShutPort) -> Result<(), Denied> {
        let unavailable = |why: String| Denied::Unavailable(why);
        if !self.may_act() {
            return Err(unavailable("this node acts on nothing now: it is behind, or in quarantine".into()));
        }
        let state = self.state().ok_or_else(|| unavailable("the node has no ledger yet".into()))?;
        let cluster = clusters(&state).remove(&question.cluster);
        let cluster = cluster.ok_or_else(|| Denied::NotAllowed(format!("a cluster `{}`", question.cluster)))?;
        let name = state.members().get(&self.id()).map(|member| member.name.clone());
        let name = name.ok_or_else(|| unavailable("this node is no member".into()))?;
        let port = declared_port(&cluster, &name, caller, &question)?.clone();
        self.has_turn(caller, &question).await?;
        not_declared_open(&state, self.id(), &port).map_err(unavailable)?;
        // It goes on if nobody waits for it any more: what is begun is brought to an end.
        let this = Arc::clone(self);
        let shut = tokio::spawn(async move { this.play_fence(&port, &question.cluster).await }).await;
        shut.map_err(|error| unavailable(error.to_string()))?.map_err(unavailable)
    }

    /// Whether the group of coordinators, and not only the caller, says that it may act against the holder now.
    async fn has_turn(&self, caller: NodeId, question: &ShutPort) -> Result<(), Denied> {
        let mut last = "no coordinator is known".to_owned();
        for coordinator in self.coordinators().into_iter().take(COORDINATORS_MAX) {
            let ask = Leases { cluster: Some(question.cluster.clone()), after: None };
            let views = match timeout(ANSWER_WITHIN, self.uplink.control(coordinator).rpc(ask)).await {
                Ok(Ok(Ok(views))) => views,
                Ok(Ok(Err(error @ LeaseError::NotAllowed(_)))) => return Err(Denied::Unavailable(error.to_string())),
                Ok(Ok(Err(error))) => {
                    last = error.to_string();
                    continue;
                }
                Ok(Err(error)) => {
                    last = scores::chain(&error);
                    continue;
                }
                Err(_) => {
                    last = "no coordinator answers in time".to_owned();
                    continue;
                }
            };
            if !views.exact {
                "the coordinators have no majority".clone_into(&mut last);
                continue;
            }
            let view = views.views.into_iter().find(|(name, _)| *name == question.cluster).map(|(_, view)| view);
            let its_turn = view.is_some_and(|view| {
                view.epoch == question.epoch
                    && view.holder == Some(lease_id(question.target))
                    && view.acting == Some(lease_id(caller))
            });
            let refused = || Denied::NotAllowed("act against the holder of this lease now".into());
            return if its_turn { Ok(()) } else { Err(refused()) };
        }
        Err(Denied::Unavailable(last))
    }

    async fn play_fence(self: &Arc<Self>, port: &SwitchPort, cluster: &ClusterName) -> Result<(), String> {
        let _turn = self.shutting.lock().await;
        let fence = PortFenceScore { device: port.device.clone(), port: port.port, fenced: true };
        let assignment = Assignment {
            name: NAME.parse().map_err(|_| "a name that is none")?,
            // Each time is another one: what was not possible once may be by now.
            generation: (self.options.clock)().0,
            kind: PortFenceScore::KIND,
            subject: fence.subject(),
            payload: score::payload(&fence).map_err(|error| error.to_string())?,
            policy: Policy { attempts: 1, ..Policy::default() },
        };
        tracing::warn!(%cluster, device = %port.device, port = %port.port, "shutting a port that leads to a silent writer");
        let stage = PlayStage { agent: Arc::clone(self), playing: None, stop: CancellationToken::new() };
        let report = self.hands.play(&assignment, &stage).await;
        let (verdict, message) = (report.verdict, &report.message);
        tracing::warn!(%cluster, device = %port.device, port = %port.port, %verdict, message, "a port that leads to a silent writer");
        if verdict.is_good() { Ok(()) } else { Err(format!("{verdict}: {message}")) }
    }
}

/// The port, if the ledger declares that this caller may have it shut here against this candidate.
fn declared_port<'a>(
    cluster: &'a Cluster,
    here: &Name,
    caller: NodeId,
    question: &ShutPort,
) -> Result<&'a SwitchPort, Denied> {
    let refused = |what: &str| Err(Denied::NotAllowed(what.to_owned()));
    let settings = &cluster.settings;
    if settings.remote.as_ref().is_none_or(|remote| remote.action != SWITCH_PORT) {
        return refused("shut ports for this cluster");
    }
    if caller == question.target || settings.priority(lease_id(caller)).is_none() {
        return refused("be another candidate of this cluster");
    }
    let target = cluster.names.get(&lease_id(question.target));
    let ports = target.and_then(|target| cluster.ports.get(target)).into_iter().flatten();
    let mut named = ports
        .filter(|port| port.agent == *here && port.device == question.device && port.port.to_string() == question.port);
    match named.next() {
        Some(port) => Ok(port),
        None => refused("shut a port that the declaration names for this candidate here"),
    }
}

/// What an admin has said of the port itself goes before: it would be opened again.
fn not_declared_open(state: &FleetState, node: NodeId, port: &SwitchPort) -> Result<(), String> {
    let fence = PortFenceScore { device: port.device.clone(), port: port.port, fenced: true };
    for (subject, declaration) in state.desired(node) {
        if *subject == fence.subject() {
            return Err(format!("`{}` declares whether this port is shut: withdraw it", declaration.name));
        }
        if declaration.kind == InterfaceScore::KIND
            && let Ok(interface) = score::parse::<InterfaceScore>(declaration.payload.get())
            && (&interface.device, interface.port, interface.enabled) == (&port.device, port.port, Some(true))
        {
            return Err(format!("`{}` declares that this port is open: leave `enabled` out of it", declaration.name));
        }
    }
    Ok(())
}

/// What such a play is called.
const NAME: &str = "failover/switch-port";
/// How long one coordinator may take to say whose turn it is.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// How many coordinators are asked.
const COORDINATORS_MAX: usize = 7;
