//! One member of the group: its log, its state machine, its way to the others.

mod change;
mod options;
mod serve;
mod tell;
mod watch;

pub use options::{Carry, EnterError, GroupError, Options, Timing};
pub use tell::{hand_on, handle_alone, read_from};
pub use watch::Figures;

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use failover::Outcome;
use protocols::control::{LeaseError, LeaseViews};
use protocols::entry::Head;
use protocols::{NodeId, SignedEntry};
use tokio::sync::{Mutex, Notify, mpsc, oneshot};
use tokio::time::{Instant, timeout};
use tokio_util::task::AbortOnDropHandle;

use crate::batch::{self, QUEUED, Waiting};
use crate::call::{ProposeError, Transport};
use crate::log::Log;
use crate::machine::{Ledger, Machine};
use crate::network::{Heard, Network};
use crate::types::{Done, Item, Member, Raft};
use crate::views::{Ask, Views};
use options::config;

/// How long an item is tried again while the leader changes.
const TRY_FOR: Duration = Duration::from_secs(6);
/// The same of a ledger entry, which changes nothing when it is ordered twice.
const TRY_ENTRY_FOR: Duration = Duration::from_secs(10);
/// The pause before that.
const AGAIN: Duration = Duration::from_millis(100);
/// How long a member that has started waits for the leader: longer than that takes to notice that its connection is dead.
const STAND_BY: Duration = Duration::from_secs(3);
/// How long the answer to a question of reading may take.
pub(crate) const READ_DEADLINE: Duration = Duration::from_secs(3);

/// This coordinator's place in the group, if it has one.
pub struct Group {
    options: Options,
    running: RwLock<Option<Arc<Running>>>,
    /// Held while the members change, and while this one begins or ends to be one.
    changing: Mutex<()>,
    removed: Arc<Notify>,
}

/// A member that runs.
pub(crate) struct Running {
    pub(crate) me: Member,
    pub(crate) raft: Raft,
    pub(crate) machine: Machine,
    pub(crate) log: Log,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) heard: Arc<Heard>,
    /// Told when a leader has sent something that this member took.
    pub(crate) led: Notify,
    ledger: Arc<dyn Ledger>,
    queue: mpsc::Sender<Waiting>,
    tasks: std::sync::Mutex<Vec<AbortOnDropHandle<()>>>,
}

impl std::fmt::Debug for Group {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Group").field("options", &self.options).finish_non_exhaustive()
    }
}

impl Group {
    /// Goes on as the member that this disk is of, if it is of one.
    ///
    /// # Errors
    /// [`GroupError`].
    pub async fn open(options: Options) -> Result<Arc<Self>, GroupError> {
        let this = Arc::new(Self {
            options,
            running: RwLock::new(None),
            changing: Mutex::new(()),
            removed: Arc::new(Notify::new()),
        });
        if this.options.path.exists() {
            let log = this.open_log().await?;
            if log.is_removed()? {
                tracing::warn!("this coordinator was removed from the group, and orders nothing: it follows");
            } else {
                this.start(log).await?;
            }
        }
        Ok(this)
    }

    /// Whether this coordinator is a member that votes or is being brought up to date.
    pub fn is_member(&self) -> bool {
        self.running().is_some_and(|running| running.is_member())
    }

    /// Whether this coordinator leads, as far as it knows.
    pub fn leads(&self) -> bool {
        self.running().is_some_and(|running| batch::leads(&running.raft.metrics().borrow()))
    }

    /// Whether a coordinator is a member, as far as this one knows.
    pub fn has(&self, node: NodeId) -> bool {
        self.running().is_some_and(|running| {
            let metrics = running.raft.metrics();
            let metrics = metrics.borrow();
            metrics.membership_config.membership().nodes().any(|(id, ())| id.key() == node)
        })
    }

    /// The members, as far as this one knows.
    pub fn members(&self) -> Vec<NodeId> {
        let Some(running) = self.running() else { return Vec::new() };
        let metrics = running.raft.metrics();
        let metrics = metrics.borrow();
        metrics.membership_config.membership().nodes().map(|(id, ())| id.key()).collect()
    }

    /// Orders an entry of the ledger, wherever the leader is. It is on a majority's disks and in the ledger here when
    /// this returns.
    ///
    /// # Errors
    /// [`EnterError`].
    pub async fn enter(&self, entry: SignedEntry) -> Result<Head, EnterError> {
        let until = Instant::now() + TRY_ENTRY_FOR;
        loop {
            let error = match self.propose_once(Item::Entry(entry.clone())).await {
                Ok(Done::Entry(Ok(head))) => return Ok(head),
                Ok(Done::Entry(Err(unfit))) => return Err(unfit.into()),
                Ok(_) => ProposeError::Lost("the leader answered something else".into()),
                Err(error) => error,
            };
            if Instant::now() >= until {
                return Err(error.into());
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// Orders a request about a lease, wherever the leader is. It is on a majority's disks when this returns.
    ///
    /// # Errors
    /// [`LeaseError`].
    pub async fn ask(&self, ask: Ask) -> Result<Outcome, LeaseError> {
        match self.propose(Item::Ask(ask)).await {
            Ok(Done::Lease(outcome)) => Ok(*outcome),
            Ok(_) => Err(LeaseError::Lost { why: "the leader answered something else".into() }),
            Err(error) => Err(error.into()),
        }
    }

    /// How leases stand: after everything that was answered before, if a majority answers; else as this member knows.
    ///
    /// # Errors
    /// [`LeaseError`] if this coordinator is no member.
    pub async fn views(&self, views: Views) -> Result<LeaseViews, LeaseError> {
        let Some(running) = self.running() else {
            return Err(LeaseError::NoMajority { why: "this coordinator is no member of the group".into() });
        };
        running.views(views).await
    }

    /// Again while it is certain that nothing was ordered.
    async fn propose(&self, item: Item) -> Result<Done, ProposeError> {
        let until = Instant::now() + TRY_FOR;
        loop {
            match self.propose_once(item.clone()).await {
                Err(ProposeError::NoLeader(_)) if Instant::now() < until => tokio::time::sleep(AGAIN).await,
                other => return other,
            }
        }
    }

    async fn propose_once(&self, item: Item) -> Result<Done, ProposeError> {
        let Some(running) = self.running() else {
            return Err(ProposeError::NoLeader("this coordinator is no member of the group".into()));
        };
        running.enqueue(item, false).await
    }

    pub(crate) fn running(&self) -> Option<Arc<Running>> {
        self.running.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn open_log(&self) -> Result<Log, GroupError> {
        let path = self.options.path.clone();
        let opened = tokio::task::spawn_blocking(move || Log::open(&path)).await;
        Ok(opened.map_err(|e| GroupError::Start(e.to_string()))??)
    }

    async fn start(self: &Arc<Self>, log: Log) -> Result<Arc<Running>, GroupError> {
        let Options { me, timing, ledger, transport, .. } = self.options.clone();
        let me = Member::new(me, log.disk());
        let machine = Machine::open(log.clone(), Arc::clone(&ledger), me)?;
        let heard = Arc::new(Heard::default());
        let network = Network {
            me,
            log: log.clone(),
            transport: Arc::clone(&transport),
            heard: Arc::clone(&heard),
            removed: Arc::clone(&self.removed),
        };
        let config = config(timing).map_err(GroupError::Start)?;
        let raft = Raft::new(me, Arc::new(config), network, log.clone(), machine.clone()).await;
        let raft = raft.map_err(|e| GroupError::Start(e.to_string()))?;
        // Until its task runs, its metrics name no members, and a member would take itself for none.
        let voters = raft.with_raft_state(|now| now.membership_state.effective().voter_ids().collect::<Vec<_>>()).await;
        if voters.map_err(|e| GroupError::Start(e.to_string()))? == [me] {
            // Nobody else can, and nobody need be waited for.
            raft.runtime_config().elect(true);
            raft.trigger().elect().await.map_err(|e| GroupError::Start(e.to_string()))?;
        }
        let (queue, waiting) = mpsc::channel(QUEUED);
        let running = Arc::new(Running {
            me,
            raft,
            machine,
            log,
            transport,
            heard,
            led: Notify::new(),
            ledger,
            queue,
            tasks: Default::default(),
        });
        let order = tokio::spawn(batch::order(Arc::clone(&running), waiting));
        let (this, carrier) = (Arc::downgrade(self), Arc::clone(&running));
        let carry = Arc::clone(&self.options.carry);
        let found = tokio::spawn(async move { carrier.carry(carry).await });
        let removed = Arc::clone(&self.removed);
        let leave = tokio::spawn(async move {
            removed.notified().await;
            if let Some(this) = this.upgrade() {
                // Its own task ends with it.
                tokio::spawn(async move { this.leave().await });
            }
        });
        let watch = tokio::spawn(watch::watch(Arc::clone(&running)));
        let stand_by = tokio::spawn(stand_by(Arc::clone(&running)));
        let tasks = [order, found, leave, watch, stand_by].map(AbortOnDropHandle::new);
        running.tasks.lock().unwrap_or_else(PoisonError::into_inner).extend(tasks);
        *self.running.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&running));
        Ok(running)
    }

    /// Others said that this one is a member no more.
    async fn leave(&self) {
        let _changing = self.changing.lock().await;
        let Some(running) = self.running() else { return };
        tracing::error!("this coordinator was removed from the group: from now on it follows");
        let log = running.log.clone();
        let noted = tokio::task::spawn_blocking(move || log.set_removed()).await;
        if let Ok(Err(error)) = noted {
            tracing::error!(%error, "cannot note that this coordinator was removed from the group");
        }
        self.stop(&running).await;
    }

    /// Ends this member's share, as the process ends.
    pub async fn shutdown(&self) {
        if let Some(running) = self.running() {
            self.stop(&running).await;
        }
    }

    async fn stop(&self, running: &Running) {
        *self.running.write().unwrap_or_else(PoisonError::into_inner) = None;
        if let Err(error) = running.raft.shutdown().await {
            tracing::debug!(%error, "the group's log broke off");
        }
        running.tasks.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Makes a group of this coordinator alone, to which others can be added.
    async fn found(self: &Arc<Self>) -> Result<Arc<Running>, GroupError> {
        let running = match self.running() {
            Some(running) => running,
            None => {
                self.put_away().await?;
                let log = self.open_log().await?;
                self.start(log).await?
            }
        };
        let members = BTreeMap::from([(running.me, ())]);
        running.raft.initialize(members).await.map_err(|e| GroupError::Start(e.to_string()))?;
        Ok(running)
    }

    /// Removes the log of an earlier group.
    async fn put_away(&self) -> Result<(), GroupError> {
        let path = self.options.path.clone();
        match tokio::fs::remove_file(&path).await {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => Err(GroupError::Old { path, source }),
            _ => Ok(()),
        }
    }
}

/// Lets a member that has started ask for votes only when no leader has found it in a while.
///
/// openraft has it do so at once. With a vote of its own it would then refuse the leader that there is, which would step
/// down, and the group would be without one until the next election.
async fn stand_by(running: Arc<Running>) {
    // That nobody leads is no fault.
    let _found = timeout(STAND_BY, running.led.notified()).await;
    running.raft.runtime_config().elect(true);
}

impl Drop for Group {
    fn drop(&mut self) {
        // Its tasks hold it, and so would keep it.
        if let Some(running) = self.running.get_mut().unwrap_or_else(PoisonError::into_inner).take() {
            running.tasks.lock().unwrap_or_else(PoisonError::into_inner).clear();
        }
    }
}

impl Running {
    pub(crate) fn is_member(&self) -> bool {
        self.raft.metrics().borrow().membership_config.membership().get_node(&self.me).is_some()
    }

    pub(crate) async fn enqueue(&self, item: Item, handed_on: bool) -> Result<Done, ProposeError> {
        let (answer, answered) = oneshot::channel();
        let waiting = Waiting { item, handed_on, answer };
        self.queue.try_send(waiting).map_err(|_| ProposeError::Overloaded)?;
        answered.await.unwrap_or_else(|_| Err(ProposeError::Lost("the coordinator stops".into())))
    }

    /// Where the group was founded: takes over what was there before, once, also after a start that was cut short.
    async fn carry(&self, carry: Carry) {
        loop {
            if self.machine.read(|state| state.head.is_some()) {
                return;
            }
            let alone = {
                let metrics = self.raft.metrics();
                let metrics = metrics.borrow();
                batch::leads(&metrics) && metrics.membership_config.membership().nodes().count() == 1
            };
            if alone {
                match carry().await {
                    Ok((table, head)) => {
                        let carried = self.enqueue(Item::Carry { table: Box::new(table), head }, false).await;
                        match carried {
                            Ok(_) => return tracing::info!(%head, "this coordinator orders as a group from here on"),
                            Err(error) => tracing::warn!(%error, "the group is not founded yet"),
                        }
                    }
                    Err(why) => tracing::error!(%why, "the group cannot take over the leases"),
                }
            }
            tokio::time::sleep(AGAIN).await;
        }
    }
}

#[cfg(test)]
mod tests;
