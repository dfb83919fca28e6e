//! Workloads with one writer: a driver for each cluster that this node is a candidate of, following the ledger.
//!
//! Who may write is decided by `failover::Node`, which knows no clock, no network and no disk. A [driver](self) gives it
//! the time and what happened, carries its commands out in order, and nothing else.

mod driver;
mod jobs;
mod kept;
mod requests;
mod store;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use failover::{ClusterName, LocalTime};
use protocols::control::Denied;
use protocols::node::{AskPromise, DriverReport};
use protocols::{Kind, NodeId};
use rustix::time::{ClockId, clock_gettime};
use scores::BoxFuture;
use scores::failover::{Cluster, clusters, fleet_id, lease_id};
use scores::workload::{Hold, OpenWorkload};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::agent::{Agent, lock};
use crate::decide::held;

pub use kept::KeptHere;

/// What drivers are made of.
#[derive(Clone)]
pub struct DriversOptions {
    /// The folder for what they keep.
    pub folder: PathBuf,
    /// Makes the hold of a cluster: its folder, and the score's payload.
    pub hold: MakeHold,
    /// Opens workloads, by the kinds of scores.
    pub workloads: Vec<Arc<dyn OpenWorkload>>,
}

/// Makes the hold of a cluster.
pub type MakeHold = Arc<dyn Fn(&std::path::Path, &Cluster) -> Arc<dyn Hold> + Send + Sync>;

impl std::fmt::Debug for DriversOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DriversOptions").field("folder", &self.folder).finish_non_exhaustive()
    }
}

/// The drivers of a node.
pub struct Drivers {
    options: DriversOptions,
    running: Mutex<BTreeMap<ClusterName, Running>>,
    kept: watch::Sender<BTreeMap<ClusterName, kept::State>>,
}

struct Running {
    kind: Kind,
    inbox: mpsc::Sender<Inbox>,
    report: watch::Receiver<Option<DriverReport>>,
    cluster: Arc<Cluster>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

/// What a driver is told.
#[allow(clippy::large_enum_variant, reason = "answers are the most frequent")]
enum Inbox {
    /// Something that its node wants to know.
    Event(failover::Event),
    /// A holder asks for a promise; it is given by answering.
    Asked { from: failover::NodeId, question: AskPromise, give: oneshot::Sender<()> },
    /// The ledger says something else about the cluster.
    Declared(Arc<Cluster>),
}

impl std::fmt::Debug for Drivers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Drivers").field("options", &self.options).finish_non_exhaustive()
    }
}

impl Drivers {
    /// Drives nothing yet.
    pub fn new(options: DriversOptions) -> Arc<Self> {
        Arc::new(Self { options, running: Mutex::default(), kept: watch::Sender::default() })
    }

    /// The topology that scores with one writer are played on, by these drivers.
    pub fn topology(&self) -> KeptHere {
        KeptHere::new(self.kept.subscribe())
    }

    /// Follows the ledger until `stop`, and then stops what is driven.
    pub async fn run(self: Arc<Self>, agent: Arc<Agent>, stop: CancellationToken) {
        if agent.drivers.set(Arc::clone(&self)).is_err() {
            tracing::error!("this agent has drivers already");
            return;
        }
        let mut states = agent.watch();
        loop {
            self.follow(&agent).await;
            tokio::select! {
                () = stop.cancelled() => break,
                changed = states.changed() => if changed.is_err() { break },
                () = tokio::time::sleep(LOOK) => {}
            }
        }
        let all = std::mem::take(&mut *lock(&self.running));
        for running in all.values() {
            running.stop.cancel();
        }
        for (cluster, running) in all {
            if let Err(error) = running.task.await {
                tracing::error!(%cluster, %error, "a driver ended in a bug of flt");
            }
        }
    }

    /// Begins and ends drivers, so that there are those that the ledger wants.
    async fn follow(self: &Arc<Self>, agent: &Arc<Agent>) {
        let Some(state) = agent.state() else { return };
        let me = lease_id(agent.id());
        let mut wanted = clusters(&state);
        let others: Vec<ClusterName> =
            wanted.iter().filter(|(_, c)| c.settings.priority(me).is_none()).map(|(name, _)| name.clone()).collect();
        let mut kept = BTreeMap::new();
        for name in others {
            // Nothing is to be done here for it.
            if let Some(cluster) = wanted.remove(&name) {
                kept.insert(name, kept::State { payload: cluster.payload, why_not: None });
            }
        }
        let mut ended = Vec::new();
        {
            let mut running = lock(&self.running);
            let over: Vec<ClusterName> = running
                .iter()
                .filter(|(name, r)| r.task.is_finished() || wanted.get(name).is_none_or(|c| c.kind != r.kind))
                .map(|(name, _)| name.clone())
                .collect();
            ended.extend(over.into_iter().filter_map(|name| running.remove_entry(&name)));
        }
        for (cluster, running) in ended {
            running.stop.cancel();
            if let Err(error) = running.task.await {
                tracing::error!(%cluster, %error, "a driver ended in a bug of flt");
            }
        }
        for (name, cluster) in wanted {
            let payload = cluster.payload.clone();
            let why_not = self.ensure(agent, &state, cluster).await.err();
            kept.insert(name, kept::State { payload, why_not });
        }
        self.kept.send_if_modified(|now| {
            let changed = *now != kept;
            *now = kept;
            changed
        });
    }

    /// Makes sure that a cluster is driven as declared.
    async fn ensure(
        self: &Arc<Self>,
        agent: &Arc<Agent>,
        state: &protocols::FleetState,
        cluster: Cluster,
    ) -> Result<(), String> {
        let cluster = Arc::new(cluster);
        let told = {
            let mut running = lock(&self.running);
            match running.get_mut(&cluster.name) {
                Some(running) if running.cluster == cluster => return Ok(()),
                Some(running) => {
                    running.cluster = Arc::clone(&cluster);
                    Some(running.inbox.clone())
                }
                None => None,
            }
        };
        if let Some(inbox) = told {
            return inbox.send(Inbox::Declared(cluster)).await.map_err(|_| "the driver has ended".to_owned());
        }
        if let Some(isolation) = held(state, agent.id()) {
            return Err(format!("this node is in quarantine: {}", isolation.reason));
        }
        let opener = self.options.workloads.iter().find(|opener| opener.kind() == cluster.kind);
        let opener = opener.ok_or_else(|| format!("this node plays no `{}`", cluster.kind))?;
        let (inbox, notes) = mpsc::channel(INBOX_MAX);
        let (told, report) = watch::channel(None);
        let stop = CancellationToken::new();
        let parts = driver::Parts {
            agent: Arc::clone(agent),
            cluster: Arc::clone(&cluster),
            options: self.options.clone(),
            opener: Arc::clone(opener),
            inbox: inbox.clone(),
            report: told,
            stop: stop.clone(),
        };
        let driver = driver::Driver::open(parts).await?;
        let task = tokio::spawn(driver.run(notes));
        let (name, kind) = (cluster.name.clone(), cluster.kind.clone());
        let begun = Running { kind, inbox, report, cluster, stop, task };
        lock(&self.running).insert(name, begun);
        Ok(())
    }

    fn inbox(&self, cluster: &ClusterName, asker: failover::NodeId) -> Option<mpsc::Sender<Inbox>> {
        let running = lock(&self.running);
        let running = running.get(cluster)?;
        running.cluster.settings.priority(asker)?;
        Some(running.inbox.clone())
    }
}

impl Agent {
    /// Another candidate asks for a promise.
    pub(crate) async fn promise(&self, caller: NodeId, question: AskPromise) -> Result<(), Denied> {
        let from = lease_id(caller);
        let inbox = self.drivers.get().and_then(|drivers| drivers.inbox(&question.cluster, from));
        let inbox = inbox.ok_or_else(|| Denied::NotAllowed(format!("be a candidate of `{}`", question.cluster)))?;
        let (give, given) = oneshot::channel();
        let unavailable = |why: &str| Denied::Unavailable(why.to_owned());
        inbox.try_send(Inbox::Asked { from, question, give }).map_err(|_| unavailable("too much is asked at once"))?;
        match tokio::time::timeout(PROMISE_DEADLINE, given).await {
            Ok(Ok(())) => Ok(()),
            _ => Err(unavailable("no promise is given")),
        }
    }

    /// How the clusters stand here.
    pub(crate) fn driver_reports(
        &self,
        caller: NodeId,
        cluster: Option<&ClusterName>,
    ) -> Result<Vec<DriverReport>, Denied> {
        let state = self.state().ok_or_else(|| Denied::Unavailable("the node has no ledger yet".into()))?;
        if !self.is_reader(&state, caller) {
            return Err(Denied::NotAllowed("read what this node has".into()));
        }
        let Some(drivers) = self.drivers.get() else { return Ok(Vec::new()) };
        let running = lock(&drivers.running);
        let wanted = running.iter().filter(|(name, _)| cluster.is_none_or(|wanted| wanted == *name));
        let reports = wanted.filter_map(|(_, running)| running.report.borrow().clone());
        Ok(reports
            .take(REPORTS_MAX)
            .map(|mut report| {
                if cluster.is_none() {
                    (report.tape, report.frozen) = (None, None);
                }
                report
            })
            .collect())
    }
}

/// This machine's clock, which goes on while it sleeps and is set by nobody.
fn now() -> LocalTime {
    let time = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(time.tv_nsec).unwrap_or(0);
    LocalTime::from_micros(seconds.saturating_mul(1_000_000).saturating_add(nanos / 1_000))
}

/// A node of a lease, as requests name it.
fn peer_id(node: failover::NodeId) -> NodeId {
    fleet_id(node)
}

/// How many notes a driver may have waiting.
const INBOX_MAX: usize = 256;
/// How often it is looked whether every cluster is driven, beside each change of the ledger.
const LOOK: Duration = Duration::from_secs(2);
/// How long a node may take to give a promise.
const PROMISE_DEADLINE: Duration = Duration::from_secs(2);
/// The most clusters in one answer.
const REPORTS_MAX: usize = 256;

type Boxed<T> = BoxFuture<'static, T>;
