//! The agent itself: what it holds, how it is opened, what runs.

mod taking;
mod whereabouts;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use protocols::entry::Verb;
use protocols::record::VerifiedRecord;
use protocols::store::{Ledger, LedgerError, RecordBook, Store, StoreError, Values};
use protocols::ticket::InviteSecret;
use protocols::{FleetState, Millis, Name, NodeId, SecretKey, Ticket, alpn};
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::failover::Drivers;
use crate::fetcher::Fetcher;
use crate::gossip::{MAIL_MAX, Mail};
use crate::hands::Hands;
use crate::reports::Facts;
use crate::uplink::Uplink;
use crate::witness::Witness;

use whereabouts::learn_places;

/// Where the time comes from: the system's clock, or a test's.
pub type Clock = Arc<dyn Fn() -> Millis + Send + Sync>;

/// What an agent is made of.
#[derive(Clone)]
pub struct Options {
    /// Its key.
    pub key: SecretKey,
    /// The fleet, where it is, and perhaps the right to join it.
    pub ticket: Ticket,
    /// The name to join under, where the invite leaves that open.
    pub name: Name,
    /// Time between heartbeats.
    pub heartbeat: Duration,
    /// Time between looks for drift.
    pub drift: Duration,
    /// Time between looks at the devices that it manages, for their facts.
    pub device_facts: Duration,
    /// How long after its start the agent waits for news before it acts on what it knows.
    pub grace: Duration,
    /// Whether entries are asked for and records handed over. Without, news travel by documents alone, once the node has
    /// joined.
    pub pulls: bool,
    /// The clock.
    pub clock: Clock,
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options").field("key", &self.key).field("name", &self.name).finish_non_exhaustive()
    }
}

/// Why an agent could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The ledger.
    #[error("cannot open this node's copy of the ledger")]
    Ledger(#[from] LedgerError),
    /// The records.
    #[error("cannot open this node's records")]
    Records(#[from] StoreError),
}

/// Why entries were not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TakeError {
    /// They are not sound, or cannot be stored.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// None are taken.
    #[error("this node takes no entries until an operator or an admin resolves it: {0}")]
    Refusing(String),
}

/// Figures for `/metrics`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stats {
    /// The newest entry known.
    pub head: u64,
    /// Whether a coordinator is connected.
    pub connected: bool,
    /// Whether a coordinator showed a history that differs from ours, since the start.
    pub split: bool,
    /// Whether no more entries are taken, because of that.
    pub refuses: bool,
    /// Whether entries are missing that are known to exist.
    pub behind: bool,
    /// Whether nobody has been heard for so long that nobody knows.
    pub unsure: bool,
    /// Heartbeats sent.
    pub beats: u64,
    /// Heartbeats that nobody answered in time.
    pub missed: u64,
    /// Declarations played.
    pub plays: u64,
}

/// A running agent.
pub struct Agent {
    pub(crate) options: Options,
    pub(crate) uplink: Arc<dyn Uplink>,
    pub(crate) hands: Arc<dyn Hands>,
    pub(crate) facts: Arc<dyn Facts>,
    pub(crate) fetcher: Arc<Fetcher>,
    pub(crate) book: RecordBook,
    ledger: Mutex<Ledger>,
    /// The state, once there is a genesis entry.
    pub(crate) state: watch::Sender<Option<Arc<FleetState>>>,
    /// The newest entry that the coordinator of now has spoken of, or that somebody of this fleet signed.
    pub(crate) newest: watch::Sender<u64>,
    /// The newest entry that a document names: worth a question, no more, because nobody signs it.
    hinted: AtomicU64,
    /// The coordinator that is connected.
    pub(crate) coordinator: watch::Sender<Option<NodeId>>,
    /// A coordinator showed two histories: an alarm that stays.
    split: AtomicBool,
    /// What coordinators signed for, and what is held against them.
    pub(crate) witness: Witness,
    /// What is to be looked into.
    pub(crate) mail: mpsc::Sender<Mail>,
    incoming: Mutex<Option<mpsc::Receiver<Mail>>>,
    /// The data folder.
    pub(crate) folder: PathBuf,
    /// Wakes the tail: an entry is known to be missing.
    pub(crate) behind: Notify,
    /// Wakes the reporter: a record was written.
    pub(crate) written: Notify,
    pub(crate) beats: AtomicU64,
    pub(crate) missed: AtomicU64,
    pub(crate) plays: AtomicU64,
    /// What drives workloads with one writer here, if anything does.
    pub(crate) drivers: OnceLock<Arc<Drivers>>,
    /// Held while a port is shut that leads to a silent writer.
    pub(crate) shutting: tokio::sync::Mutex<()>,
}

impl std::fmt::Debug for Agent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Agent").field("options", &self.options).finish_non_exhaustive()
    }
}

impl Agent {
    /// Opens the agent's ledger and records in `store`.
    ///
    /// # Errors
    /// [`OpenError`], also if the ledger is another fleet's than the ticket's.
    pub fn open(
        store: Arc<Store>,
        options: Options,
        uplink: Arc<dyn Uplink>,
        fetcher: Arc<Fetcher>,
        hands: Arc<dyn Hands>,
        facts: Arc<dyn Facts>,
    ) -> Result<Arc<Self>, OpenError> {
        let ledger = Ledger::open(Arc::clone(&store), Some(options.ticket.fleet))?;
        let folder = store.dir().to_owned();
        let witness = Witness::open(Values::new(Arc::clone(&store)))?;
        let (mail, incoming) = mpsc::channel(MAIL_MAX);
        let book = RecordBook::open(store, options.key.clone())?;
        let state = ledger.state().cloned();
        // What is learned last is tried first, and the ledger may be newer than the ticket.
        for coordinator in &options.ticket.coordinators {
            uplink.learn(coordinator.clone());
        }
        if let Some(state) = &state {
            learn_places(uplink.as_ref(), state);
        }
        let this = Self {
            uplink,
            hands,
            facts,
            fetcher,
            book,
            newest: watch::Sender::new(ledger.head().map_or(0, |h| h.seq)),
            ledger: Mutex::new(ledger),
            state: watch::Sender::new(state),
            coordinator: watch::Sender::new(None),
            hinted: AtomicU64::new(0),
            split: AtomicBool::new(witness.refuses()),
            witness,
            mail,
            incoming: Mutex::new(Some(incoming)),
            folder,
            behind: Notify::new(),
            written: Notify::new(),
            beats: AtomicU64::new(0),
            missed: AtomicU64::new(0),
            plays: AtomicU64::new(0),
            drivers: OnceLock::new(),
            shutting: tokio::sync::Mutex::default(),
            options,
        };
        this.fetcher.learn_state(this.state.subscribe(), this.coordinator.subscribe());
        Ok(Arc::new(this))
    }

    /// This node's id.
    pub fn id(&self) -> NodeId {
        self.options.key.id()
    }

    /// The fleet's state as this node verified it.
    pub fn state(&self) -> Option<Arc<FleetState>> {
        self.state.borrow().clone()
    }

    /// Follows the state.
    pub fn watch(&self) -> watch::Receiver<Option<Arc<FleetState>>> {
        self.state.subscribe()
    }

    /// Whether a coordinator answers.
    pub fn is_connected(&self) -> bool {
        self.coordinator.borrow().is_some()
    }

    /// The figures of now.
    pub fn stats(&self) -> Stats {
        let standing = self.standing();
        Stats {
            head: self.head().map_or(0, |h| h.seq),
            connected: self.is_connected(),
            split: self.split.load(Ordering::Relaxed),
            refuses: standing.refuses.is_some(),
            behind: standing.behind_since.is_some(),
            unsure: standing.unsure,
            beats: self.beats.load(Ordering::Relaxed),
            missed: self.missed.load(Ordering::Relaxed),
            plays: self.plays.load(Ordering::Relaxed),
        }
    }

    /// Runs until `stop`.
    pub async fn run(self: &Arc<Self>, stop: CancellationToken) {
        self.publish_all_records();
        let incoming = lock(&self.incoming).take();
        tokio::join!(
            self.sync_loop(stop.clone()),
            self.beat_loop(stop.clone()),
            self.push_loop(stop.clone()),
            self.facts_loop(stop.clone()),
            self.devices_loop(stop.clone()),
            self.conductor_loop(stop.clone()),
            self.witness_all(incoming, stop.clone()),
            self.hands.attend(Arc::clone(self), stop),
        );
    }

    /// Whether a key may connect with this protocol: coordinators, other agents for what members tell each other, and
    /// admins. Before the ledger is here, the coordinators of the ticket.
    pub fn allows(&self, peer: NodeId, protocol: &[u8]) -> bool {
        let from_ticket = self.options.ticket.coordinators.iter().any(|c| c.id == peer);
        let Some(state) = self.state() else { return from_ticket && protocol != alpn::BLOBS };
        if state.is_coordinator(peer) {
            return true;
        }
        match protocol {
            // Members fetch artifacts from one another.
            alpn::BLOBS => state.knows(peer),
            // What members may ask differs: each request says whose it is to make.
            alpn::NODE => state.knows(peer),
            alpn::HEADS => state.is_agent(peer),
            _ => false,
        }
    }

    /// Whether an admin may read what this node says.
    pub(crate) fn is_reader(&self, state: &FleetState, peer: NodeId) -> bool {
        let me = state.members().get(&self.id());
        me.is_some_and(|m| state.may_on(peer, Verb::Read, m.name.as_str(), &m.labels, (self.options.clock)()))
    }

    pub(crate) fn set_split(&self) {
        self.split.store(true, Ordering::Relaxed);
    }

    async fn witness_all(self: &Arc<Self>, incoming: Option<mpsc::Receiver<Mail>>, stop: CancellationToken) {
        if let Some(incoming) = incoming {
            self.witness_loop(incoming, stop).await;
        }
    }

    /// Whether this node is a member, as far as it knows.
    pub fn is_member(&self) -> bool {
        self.state().is_some_and(|s| s.is_agent(self.id()))
    }

    pub(crate) fn invite(&self) -> Option<&InviteSecret> {
        self.options.ticket.invite.as_ref()
    }

    /// This node's records, for its own document and for tests.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn records(&self) -> Result<Vec<VerifiedRecord>, StoreError> {
        Ok(self.book.all()?.into_iter().filter_map(|r| r.verify().ok()).collect())
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
