//! The hands as a process of their own: root's, without a network, at a socket. It keeps its own copy of the ledger.

mod serve;

use std::io;
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use protocols::entry::Head;
use protocols::state::Declaration;
use protocols::store::{Ledger, LedgerError, Store, StoreError};
use protocols::{Check, FleetId, FleetState, Millis, NodeId, SignedEntry, Subject, Verdict};
use scores::{Assignment, BoxFuture, Cancel, Ensemble, PlayReport, Stage};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::begun::Begun;
use super::floor::Floor;
use super::leases::{Carried, FarCarrier};
use super::link::Link;
use super::{Hands, Told};
use crate::agent::{Clock, lock};
use crate::decide::{assignment, held, is_too_late};
use crate::failover::{Carrier, Drivers};

pub use serve::Admit;

/// What a keeper is made of.
#[derive(Clone)]
pub struct KeeperOptions {
    /// The node that it plays for.
    pub node: NodeId,
    /// The fleet whose ledger it follows, and no other.
    pub fleet: FleetId,
    /// Its folder, which nobody else may write.
    pub data: PathBuf,
    /// How long it waits at its start for the network half before it judges what was left open without it.
    pub patience: Duration,
    /// Tells the time.
    pub clock: Clock,
}

impl std::fmt::Debug for KeeperOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeeperOptions").field("node", &self.node).field("data", &self.data).finish_non_exhaustive()
    }
}

/// Why a keeper could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum KeeperError {
    /// The ledger.
    #[error("cannot open the hands' copy of the ledger")]
    Ledger(#[from] LedgerError),
    /// The file that remembers how far the ledger was.
    #[error("cannot read how far the ledger went when something was played last")]
    Floor(#[source] io::Error),
    /// The file that remembers what was begun.
    #[error("cannot read what was begun before")]
    Begun(#[source] io::Error),
}

/// Why something is not played.
#[derive(Debug, thiserror::Error)]
pub enum NotPlayed {
    /// No entry has come yet.
    #[error("no ledger is here yet")]
    NotFounded,
    /// The ledger says something else.
    #[error("`{subject}` of entry {generation} is not what the ledger declares for this node{}", newer(*desired))]
    NotDesired {
        /// What was asked for.
        subject: Subject,
        /// What was asked for.
        generation: u64,
        /// What is declared.
        desired: Option<u64>,
    },
    /// The node is in quarantine.
    #[error("this node is in quarantine and acts on nothing: {0}")]
    Held(String),
    /// The ledger was longer once.
    #[error("the ledger ends at {}, and something was played by entry {} before", head.seq, floor.seq)]
    Older {
        /// Its newest entry.
        head: Head,
        /// The newest entry by which anything was played.
        floor: Head,
    },
    /// The ledger was another one.
    #[error("entry {} is not the one by which something was played before", floor.seq)]
    OtherHistory {
        /// The entry of before.
        floor: Head,
    },
    /// The disk.
    #[error("cannot keep how far the ledger went")]
    Floor(#[source] io::Error),
    /// The disk.
    #[error("cannot keep what was begun")]
    Begun(#[source] io::Error),
    /// The disk.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It is about to end.
    #[error("the hands are about to stop")]
    Stopping,
}

/// The hands behind a socket.
pub struct Keeper {
    options: KeeperOptions,
    ledger: Mutex<Ledger>,
    state: watch::Sender<Option<Arc<FleetState>>>,
    floor: Mutex<Floor>,
    begun: Mutex<Begun>,
    ensemble: Ensemble,
    link: Arc<Link>,
    /// Held by what is played.
    turn: Arc<tokio::sync::Mutex<()>>,
    running: Mutex<Option<Running>>,
    /// What became of what was open at the start, until somebody has heard of it; nothing until it is known.
    recovered: watch::Sender<Option<Vec<Told>>>,
    stop: CancellationToken,
    plays: TaskTracker,
    /// What drives workloads with one writer, and the line on which it speaks of leases.
    drivers: OnceLock<Arc<Drivers>>,
    leases: Arc<Carried>,
}

/// The play that goes on.
struct Running {
    subject: Subject,
    generation: u64,
    ended: watch::Receiver<Option<Told>>,
}

impl std::fmt::Debug for Keeper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keeper").field("options", &self.options).finish_non_exhaustive()
    }
}

impl Keeper {
    /// Opens the keeper's ledger in `store`; `state` carries what it amounts to, for the topologies of `ensemble`.
    ///
    /// # Errors
    /// [`KeeperError`], also if the ledger is another fleet's.
    pub fn open(
        store: Arc<Store>,
        options: KeeperOptions,
        link: Arc<Link>,
        ensemble: Ensemble,
        state: watch::Sender<Option<Arc<FleetState>>>,
        stop: CancellationToken,
    ) -> Result<Arc<Self>, KeeperError> {
        let ledger = Ledger::open(store, Some(options.fleet))?;
        let floor = Floor::open(&options.data).map_err(KeeperError::Floor)?;
        let begun = Begun::open(&options.data).map_err(KeeperError::Begun)?;
        state.send_replace(ledger.state().cloned());
        Ok(Arc::new(Self {
            options,
            ledger: Mutex::new(ledger),
            state,
            floor: Mutex::new(floor),
            begun: Mutex::new(begun),
            ensemble,
            link,
            turn: Arc::default(),
            running: Mutex::default(),
            recovered: watch::Sender::new(None),
            stop,
            plays: TaskTracker::new(),
            drivers: OnceLock::new(),
            leases: Arc::default(),
        }))
    }

    /// Has these drive workloads with one writer while it [runs](Self::run), by the ledger that the keeper has verified.
    ///
    /// # Errors
    /// If something drives them already.
    pub fn drive(&self, drivers: Arc<Drivers>) -> Result<(), Arc<Drivers>> {
        self.drivers.set(drivers)
    }

    /// Carries for the drivers by the line of the network half.
    fn carrier(self: &Arc<Self>) -> Arc<dyn Carrier> {
        let keeper = Arc::downgrade(self);
        let new_enough = move |state: &FleetState| {
            keeper.upgrade().is_some_and(|keeper| keeper.not_below_the_floor(state.head()).is_ok())
        };
        Arc::new(FarCarrier {
            node: self.options.node,
            fleet: self.options.fleet,
            states: self.state.subscribe(),
            line: Arc::clone(&self.leases),
            new_enough: Box::new(new_enough),
        })
    }

    /// The newest entry that was verified.
    pub fn head(&self) -> Option<Head> {
        self.state.borrow().as_ref().map(|s| s.head())
    }

    /// Takes entries: each is verified and applied, or it and all after it are refused.
    fn take(&self, mut entries: Vec<SignedEntry>) -> Result<Option<Head>, LedgerError> {
        let mut ledger = lock(&self.ledger);
        let mut result = Ok(());
        if ledger.state().is_none() && !entries.is_empty() {
            result = ledger.found(entries.remove(0), self.options.fleet);
        }
        let result = result.and_then(|()| ledger.append(entries));
        // Entries before a refused one were kept.
        let state = ledger.state().cloned();
        drop(ledger);
        self.state.send_if_modified(|now| {
            let changed = now.as_ref().map(|s| s.head()) != state.as_ref().map(|s| s.head());
            *now = state;
            changed
        });
        result
    }

    /// What is declared for this node, if it is what was asked for.
    fn declared(&self, subject: &Subject, generation: u64) -> Result<Arc<Declaration>, NotPlayed> {
        let state = self.state.borrow().clone().ok_or(NotPlayed::NotFounded)?;
        self.not_below_the_floor(state.head())?;
        let node = self.node(&state);
        if let Some(isolation) = held(&state, node) {
            return Err(NotPlayed::Held(isolation.reason.clone()));
        }
        let desired = state.desired(node);
        let declaration = desired.get(subject).filter(|d| d.generation == generation).ok_or_else(|| {
            let desired = desired.get(subject).map(|d| d.generation);
            NotPlayed::NotDesired { subject: subject.clone(), generation, desired }
        })?;
        Ok(Arc::clone(declaration))
    }

    /// By this machine's own clock or the fleet's, whichever is later: the network half has no say in it.
    fn is_too_late(&self, declaration: &Declaration) -> bool {
        let fleet = self.state.borrow().as_ref().map_or(Millis(0), |state| state.time());
        is_too_late(declaration, lock(&self.begun).of(&declaration.subject), (self.options.clock)().max(fleet))
    }

    /// Whether anything is declared for a subject here.
    fn declares(&self, subject: &Subject) -> bool {
        self.state.borrow().as_ref().is_some_and(|state| state.desired(self.node(state)).contains_key(subject))
    }

    /// The node, under the key that it has by now.
    fn node(&self, state: &FleetState) -> NodeId {
        state.successor(self.options.node).unwrap_or(self.options.node)
    }

    /// A ledger that was lost is filled again from its start: nothing is played before it is where it was.
    fn not_below_the_floor(&self, head: Head) -> Result<(), NotPlayed> {
        let Some(floor) = lock(&self.floor).head() else { return Ok(()) };
        if head.seq < floor.seq {
            return Err(NotPlayed::Older { head, floor });
        }
        let there = lock(&self.ledger).range(floor.seq, 1, usize::MAX)?;
        if there.first().is_some_and(|entry| entry.hash() == floor.hash) {
            return Ok(());
        }
        Err(NotPlayed::OtherHistory { floor })
    }

    /// Plays what the ledger declares for a subject, if that is of this generation. It goes on if nobody waits for it any
    /// more; who asks for the same again waits with it.
    async fn order(self: &Arc<Self>, subject: Subject, generation: u64) -> Result<Told, NotPlayed> {
        self.recovery_done().await;
        drop(self.declared(&subject, generation)?);
        let going_on = lock(&self.running).as_ref().and_then(|running| {
            let same = running.subject == subject && running.generation == generation;
            same.then(|| running.ended.clone())
        });
        let mut ended = match going_on {
            Some(ended) => ended,
            None => self.begin(subject, generation).await?,
        };
        let told = ended.wait_for(Option::is_some).await.map_err(|_| NotPlayed::Stopping)?.clone();
        told.ok_or(NotPlayed::Stopping)
    }

    async fn begin(
        self: &Arc<Self>,
        subject: Subject,
        generation: u64,
    ) -> Result<watch::Receiver<Option<Told>>, NotPlayed> {
        let turn = Arc::clone(&self.turn).lock_owned().await;
        if self.stop.is_cancelled() {
            return Err(NotPlayed::Stopping);
        }
        // Meanwhile the ledger may have gone on.
        let declaration = self.declared(&subject, generation)?;
        let (tell, ended) = watch::channel(None);
        if self.is_too_late(&declaration) {
            tracing::warn!(name = %declaration.name, generation, "not begun: its time is over");
            tell.send_replace(Some(Told::expired(&declaration)));
            return Ok(ended);
        }
        let assignment = assignment(&declaration);
        lock(&self.begun).begin(&subject, generation, |other| self.declares(other)).map_err(NotPlayed::Begun)?;
        if let Some(head) = self.head() {
            lock(&self.floor).raise(head).map_err(NotPlayed::Floor)?;
        }
        *lock(&self.running) = Some(Running { subject, generation, ended: ended.clone() });
        let this = Arc::clone(self);
        self.plays.spawn(async move {
            let told = this.play(&assignment).await;
            if let Err(error) = this.link.clear() {
                tracing::warn!(%error, "cannot clear the blobs of a play");
            }
            *lock(&this.running) = None;
            drop(turn);
            // Nobody may wait for it any more.
            tell.send_replace(Some(told));
        });
        Ok(ended)
    }

    async fn play(self: &Arc<Self>, assignment: &Assignment) -> Told {
        tracing::info!(name = %assignment.name, generation = assignment.generation, "playing");
        let stage = KeeperStage {
            keeper: Arc::clone(self),
            playing: Some((assignment.subject.clone(), assignment.generation)),
        };
        let too_late = async {
            self.stop.cancelled().await;
            tokio::time::sleep(STOP_PATIENCE).await;
        };
        let failed = |verdict, message: String| PlayReport { verdict, message, steps: Vec::new(), attempts: 1 };
        let report = tokio::select! {
            // A bug in the code of a score must not end the process; the trial stays open, and is judged at the next play.
            played = unwound(Hands::play(&self.ensemble, assignment, &stage)) => {
                played.unwrap_or_else(|| failed(Verdict::Failed, "the play ended in a bug of flt".into()))
            }
            () = too_late => {
                failed(Verdict::Playing, "the agent was stopped in the middle; it goes on at its next start".into())
            }
        };
        tracing::info!(
            name = %assignment.name, generation = assignment.generation, verdict = %report.verdict,
            message = report.message, "played"
        );
        Told::of(assignment, report)
    }

    /// Judges what a former process left open: with the network half if it comes soon, else without it, so that a machine
    /// whose network half is gone for good does not stay half changed.
    async fn recover(self: &Arc<Self>) {
        tokio::select! {
            () = self.link.connected() => {}
            () = tokio::time::sleep(self.options.patience) => {}
            () = self.stop.cancelled() => return,
        }
        let _turn = Arc::clone(&self.turn).lock_owned().await;
        let stage = KeeperStage { keeper: Arc::clone(self), playing: None };
        let told = unwound(Hands::recover(&self.ensemble, &stage)).await.unwrap_or_default();
        self.recovered.send_replace(Some(told));
    }

    async fn recovery_done(&self) {
        let mut recovered = self.recovered.subscribe();
        // The sender is ours, so this does not fail.
        drop(recovered.wait_for(Option::is_some).await.map(drop));
    }

    /// Some of what became of what was open, each once; nothing when all is told.
    async fn tell_recovered(&self) -> Vec<Told> {
        self.recovery_done().await;
        let mut told = Vec::new();
        self.recovered.send_if_modified(|recovered| {
            if let Some(recovered) = recovered {
                told = recovered.drain(..recovered.len().min(TOLD_MAX)).collect();
            }
            false
        });
        told
    }
}

/// Runs something whose panic must not spread; nothing if it panicked.
async fn unwound<T>(work: impl Future<Output = T>) -> Option<T> {
    let mut work = std::pin::pin!(work);
    std::future::poll_fn(|context| {
        let polled = std::panic::catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(context)));
        match polled {
            Ok(std::task::Poll::Ready(value)) => std::task::Poll::Ready(Some(value)),
            Ok(std::task::Poll::Pending) => std::task::Poll::Pending,
            Err(_) => std::task::Poll::Ready(None),
        }
    })
    .await
}

/// One play's view of the keeper.
struct KeeperStage {
    keeper: Arc<Keeper>,
    /// What is played; nothing while trials of an earlier process are judged.
    playing: Option<(Subject, u64)>,
}

impl Stage for KeeperStage {
    fn cancelled(&self) -> Option<Cancel> {
        if self.keeper.stop.is_cancelled() {
            return Some(Cancel::Stopping);
        }
        let (subject, generation) = self.playing.as_ref()?;
        let state = self.keeper.state.borrow().clone()?;
        let wanted = state.desired(self.keeper.node(&state)).get(subject).map(|d| d.generation);
        (wanted != Some(*generation)).then_some(Cancel::Superseded)
    }

    fn progress(&self, line: &str) {
        let subject = self.playing.as_ref().map_or("", |(s, _)| s.as_str());
        tracing::info!(subject, step = line, "progress");
        self.keeper.link.progress(line);
    }

    fn contact(&self) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(self.keeper.link.check(&Check::Contact))
    }
}

fn newer(desired: Option<u64>) -> String {
    desired.map_or_else(String::new, |desired| format!("; that is entry {desired}"))
}

/// How much of what was recovered is told at once: it fits into a frame.
const TOLD_MAX: usize = 16;
/// How long a play may take to heed a stop before it is left where it is.
const STOP_PATIENCE: Duration = Duration::from_secs(3);
