//! Workloads with one writer: a driver for each cluster that this node is a candidate of, following the ledger.
//!
//! Who may write is decided by `failover::Node`, which knows no clock, no network and no disk. A [driver](self) gives it
//! the time and what happened, carries its commands out in order, and nothing else.

mod carrier;
mod driver;
mod jobs;
mod kept;
mod leftover;
mod ports;
mod requests;
mod store;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use failover::{ClusterName, LocalTime};
use protocols::control::Denied;
use protocols::lease_word::PromiseWord;
use protocols::node::{AskPromise, DriverReport};
use protocols::{FleetState, Kind, NodeId, Signature};
use rustix::time::{ClockId, clock_gettime};
use scores::BoxFuture;
use scores::failover::{Cluster, Declared, declared, fleet_id, lease_id};
use scores::workload::{Hold, OpenWorkload};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::agent::{Agent, lock};
use crate::decide::held;

pub use carrier::{AgentCarrier, Carrier, Workloads};
pub use kept::KeptHere;
pub(crate) use requests::{Group, ask_peer};

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
    /// What was withdrawn, and is about to end.
    ending: Mutex<BTreeMap<ClusterName, JoinHandle<()>>>,
    kept: watch::Sender<BTreeMap<ClusterName, kept::State>>,
    quits: CancellationToken,
}

struct Running {
    kind: Kind,
    inbox: mpsc::Sender<Inbox>,
    report: watch::Receiver<Option<DriverReport>>,
    cluster: Arc<Cluster>,
    stop: CancellationToken,
    /// Nothing is to be driven any more; cancelled before `stop`.
    withdrawn: CancellationToken,
    task: JoinHandle<()>,
}

/// What a driver is told.
#[allow(clippy::large_enum_variant, reason = "answers are the most frequent")]
enum Inbox {
    /// Something that its node wants to know.
    Event(failover::Event),
    /// A holder asks for a promise; it is given by answering.
    Asked { from: failover::NodeId, question: AskPromise, give: oneshot::Sender<()> },
    /// A person should know something.
    Note(String),
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
        let (running, ending) = (Mutex::default(), Mutex::default());
        Arc::new(Self { options, running, ending, kept: watch::Sender::default(), quits: CancellationToken::new() })
    }

    /// The topology that scores with one writer are played on, by these drivers.
    pub fn topology(&self) -> KeptHere {
        KeptHere::new(self.kept.subscribe())
    }

    /// Follows the ledger until `stop`, and then stops what is driven.
    pub async fn run(self: Arc<Self>, carrier: Arc<dyn Carrier>, stop: CancellationToken) {
        let mut states = carrier.states();
        let mut swept = false;
        loop {
            let state = states.borrow_and_update().clone();
            if let Some(state) = state.filter(|state| carrier.may_act_by(state)) {
                let declared = declared(&state);
                if !std::mem::replace(&mut swept, true) {
                    self.sweep(&carrier, &declared).await;
                }
                self.follow(&carrier, &state, declared).await;
            }
            tokio::select! {
                () = stop.cancelled() => break,
                changed = states.changed() => if changed.is_err() { break },
                () = tokio::time::sleep(LOOK) => {}
            }
        }
        self.quits.cancel();
        let all = std::mem::take(&mut *lock(&self.running));
        for running in all.values() {
            running.stop.cancel();
        }
        let ending = std::mem::take(&mut *lock(&self.ending));
        for (cluster, task) in all.into_iter().map(|(cluster, running)| (cluster, running.task)).chain(ending) {
            ended(&cluster, task).await;
        }
    }

    /// Begins and ends drivers, so that there are those that the ledger wants.
    async fn follow(self: &Arc<Self>, carrier: &Arc<dyn Carrier>, state: &FleetState, declared: Declared) {
        let me = lease_id(carrier.id());
        let (mut wanted, unclear) = (declared.clusters, declared.unclear);
        let others: Vec<ClusterName> =
            wanted.iter().filter(|(_, c)| c.settings.priority(me).is_none()).map(|(name, _)| name.clone()).collect();
        let mut kept = BTreeMap::new();
        for name in others {
            // Nothing is to be done here for it.
            if let Some(cluster) = wanted.remove(&name) {
                kept.insert(name, kept::State { payload: cluster.payload, why_not: None });
            }
        }
        let (mut over, mut broken) = (Vec::new(), Vec::new());
        {
            let mut running = lock(&self.running);
            let unwanted = |name: &ClusterName, running: &Running| {
                wanted.get(name).is_none_or(|cluster| cluster.kind != running.kind) && !unclear.contains_key(name)
            };
            let names: Vec<ClusterName> = running
                .iter()
                .filter(|(n, r)| r.task.is_finished() || unwanted(n, r))
                .map(|(n, _)| n.clone())
                .collect();
            for (name, running) in names.into_iter().filter_map(|name| running.remove_entry(&name)) {
                if running.task.is_finished() { broken.push((name, running.task)) } else { over.push((name, running)) }
            }
        }
        for (cluster, task) in broken {
            ended(&cluster, task).await;
        }
        {
            // Telling the coordinators may take as long as it wants; nothing of that name begins before it has ended.
            let mut ending = lock(&self.ending);
            ending.retain(|_, task| !task.is_finished());
            for (name, running) in over {
                tracing::info!(cluster = %name, "not declared for this node any more: it is stopped");
                running.withdrawn.cancel();
                running.stop.cancel();
                ending.insert(name, running.task);
            }
        }
        for (name, cluster) in wanted {
            let payload = cluster.payload.clone();
            let why_not = self.ensure(carrier, state, cluster).await.err();
            kept.insert(name, kept::State { payload, why_not });
        }
        self.kept.send_if_modified(|now| {
            // What is declared and cannot be made sense of goes on as it was.
            let before = now.iter().filter(|(name, _)| unclear.contains_key(*name));
            kept.extend(before.map(|(name, state)| (name.clone(), state.clone())));
            let changed = *now != kept;
            *now = kept;
            changed
        });
    }

    /// Makes sure that a cluster is driven as declared.
    async fn ensure(
        self: &Arc<Self>,
        carrier: &Arc<dyn Carrier>,
        state: &FleetState,
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
        if let Some(isolation) = held(state, carrier.id()) {
            return Err(format!("this node is in quarantine: {}", isolation.reason));
        }
        if lock(&self.ending).get(&cluster.name).is_some_and(|task| !task.is_finished()) {
            return Err("what was declared under this name before is about to end".into());
        }
        let name = cluster.name.clone();
        let begun = self.begin(carrier, cluster, CancellationToken::new()).await?;
        lock(&self.running).insert(name, begun);
        Ok(())
    }

    /// Opens a driver. What runs is fenced first.
    async fn begin(
        &self,
        carrier: &Arc<dyn Carrier>,
        cluster: Arc<Cluster>,
        withdrawn: CancellationToken,
    ) -> Result<Running, String> {
        let opener = self.options.workloads.iter().find(|opener| opener.kind() == cluster.kind);
        let opener = opener.ok_or_else(|| format!("this node plays no `{}`", cluster.kind))?;
        let (inbox, notes) = mpsc::channel(INBOX_MAX);
        let (told, report) = watch::channel(None);
        let stop = CancellationToken::new();
        let parts = driver::Parts {
            carrier: Arc::clone(carrier),
            cluster: Arc::clone(&cluster),
            options: self.options.clone(),
            opener: Arc::clone(opener),
            inbox: inbox.clone(),
            report: told,
            stop: stop.clone(),
            withdrawn: withdrawn.clone(),
            quits: self.quits.clone(),
        };
        let driver = driver::Driver::open(parts).await?;
        let task = tokio::spawn(driver.run(notes));
        Ok(Running { kind: cluster.kind.clone(), inbox, report, cluster, stop, withdrawn, task })
    }

    fn inbox(&self, cluster: &ClusterName, asker: failover::NodeId) -> Option<mpsc::Sender<Inbox>> {
        let running = lock(&self.running);
        let running = running.get(cluster)?;
        running.cluster.settings.priority(asker)?;
        Some(running.inbox.clone())
    }
}

impl Workloads for Drivers {
    fn promise(&self, from: NodeId, question: AskPromise) -> BoxFuture<'_, Result<(), Denied>> {
        Box::pin(async move {
            let from = lease_id(from);
            let inbox = self.inbox(&question.cluster, from);
            let inbox = inbox.ok_or_else(|| Denied::NotAllowed(format!("be a candidate of `{}`", question.cluster)))?;
            let (give, given) = oneshot::channel();
            let unavailable = |why: &str| Denied::Unavailable(why.to_owned());
            let asked = Inbox::Asked { from, question, give };
            inbox.try_send(asked).map_err(|_| unavailable("too much is asked at once"))?;
            match tokio::time::timeout(PROMISE_DEADLINE, given).await {
                Ok(Ok(())) => Ok(()),
                _ => Err(unavailable("no promise is given")),
            }
        })
    }

    fn reports(&self, cluster: Option<ClusterName>) -> BoxFuture<'_, Vec<DriverReport>> {
        let running = lock(&self.running);
        let wanted = running.iter().filter(|(name, _)| cluster.as_ref().is_none_or(|wanted| wanted == *name));
        let reports = wanted.filter_map(|(_, running)| running.report.borrow().clone()).take(REPORTS_MAX);
        let reports = reports
            .map(|mut report| {
                if cluster.is_none() {
                    (report.tape, report.frozen) = (None, None);
                }
                report
            })
            .collect();
        Box::pin(std::future::ready(reports))
    }
}

impl Agent {
    /// Has workloads driven in this process.
    ///
    /// # Errors
    /// If something drives them already.
    pub fn drive(&self, drivers: Arc<Drivers>) -> Result<(), Arc<Drivers>> {
        self.drivers.set(drivers)
    }

    /// What drives workloads for this node, here or behind the hands' socket.
    fn workloads(&self) -> Option<&dyn Workloads> {
        self.drivers.get().map(|drivers| drivers.as_ref() as &dyn Workloads).or_else(|| self.hands.workloads())
    }

    /// Another candidate asks for a promise; it is given by signing it.
    pub(crate) async fn promise(&self, caller: NodeId, question: AskPromise) -> Result<Signature, Denied> {
        let nobody = || Denied::NotAllowed(format!("be a candidate of `{}`", question.cluster));
        let workloads = self.workloads().ok_or_else(nobody)?;
        workloads.promise(caller, question.clone()).await?;
        Ok(PromiseWord { fleet: self.options.ticket.fleet, holder: caller, question: &question }
            .sign(&self.options.key))
    }

    /// How the clusters stand here.
    pub(crate) async fn driver_reports(
        &self,
        caller: NodeId,
        cluster: Option<ClusterName>,
    ) -> Result<Vec<DriverReport>, Denied> {
        let state = self.state().ok_or_else(|| Denied::Unavailable("the node has no ledger yet".into()))?;
        if !self.is_reader(&state, caller) {
            return Err(Denied::NotAllowed("read what this node has".into()));
        }
        let Some(workloads) = self.workloads() else { return Ok(Vec::new()) };
        Ok(workloads.reports(cluster).await)
    }
}

async fn ended(cluster: &ClusterName, task: JoinHandle<()>) {
    if let Err(error) = task.await {
        tracing::error!(%cluster, %error, "a driver ended in a bug of flt");
    }
}

/// This machine's clock, which goes on while it sleeps and is set by nobody.
pub(crate) fn now() -> LocalTime {
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
