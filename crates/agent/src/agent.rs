//! The agent itself: what it holds, how it is opened, what runs.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use protocols::control::{Locate, TAIL_BATCH_BYTES_MAX, TAIL_BATCH_MAX};
use protocols::entry::{Head, Role, Verb};
use protocols::record::VerifiedRecord;
use protocols::store::{Ledger, LedgerError, RecordBook, Store, StoreError, Tail, Values};
use protocols::ticket::InviteSecret;
use protocols::{FleetState, Millis, Name, NodeId, PeerAddr, SecretKey, SignedEntry, Ticket, alpn};
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::failover::Drivers;
use crate::fetcher::Fetcher;
use crate::gossip::{MAIL_MAX, Mail, ends_the_alarm};
use crate::hands::Hands;
use crate::hands::wire::{ENTRIES_BYTES_MAX, ENTRIES_MAX};
use crate::reports::Facts;
use crate::sync::ANSWER_DEADLINE;
use crate::uplink::Uplink;
use crate::witness::Witness;
use crate::witness::weigh::refused_at;

/// How many coordinators are asked where a node is while none serves this agent.
const LOCATE_ASKED_MAX: usize = 4;

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

    /// Takes what came by a coordinator's document: one entry or the newest head. It is as good as any other road.
    pub fn ingest(&self, key: &str, value: &Bytes) {
        if key == "head" {
            if let Ok(head) = postcard::from_bytes::<Head>(value) {
                self.hinted.fetch_max(head.seq, Ordering::Relaxed);
                if self.head().is_none_or(|h| h.seq < head.seq) {
                    self.behind.notify_one();
                }
            }
            return;
        }
        let Ok(entry) = postcard::from_bytes::<SignedEntry>(value) else { return };
        let Ok(verified) = entry.verify() else { return };
        let next = self.head().map_or(0, |h| h.seq + 1);
        self.heard_of_author(&verified);
        if verified.seq() == next
            && next > 0
            && let Err(error) = self.append(vec![verified.signed().clone()])
        {
            tracing::warn!(%error, "an entry from a document was refused");
        }
    }

    /// Only an entry by somebody with rights says anything about how far the ledger goes.
    fn heard_of_author(&self, entry: &protocols::VerifiedEntry) {
        let known = self.state().is_some_and(|s| s.knows(entry.entry().author));
        if known {
            self.heard_of(entry.seq());
        }
    }

    /// Somebody spoke of this entry: until it is here, nothing older is acted on.
    pub(crate) fn heard_of(&self, seq: u64) {
        self.newest.send_if_modified(|newest| {
            let more = seq > *newest;
            *newest = (*newest).max(seq);
            more
        });
        if self.head().is_none_or(|h| h.seq < seq) {
            self.behind.notify_one();
        }
    }

    /// A coordinator that was connected just now says how far it is. What others claimed before holds no longer: one
    /// that lied must not keep the node from acting for ever.
    pub(crate) fn welcomed(&self, seq: u64) {
        self.hinted.store(0, Ordering::Relaxed);
        self.newest.send_if_modified(|newest| std::mem::replace(newest, seq) != seq);
    }

    /// Whether it is worth a question whether there are entries that are not here.
    pub(crate) fn may_lack(&self) -> bool {
        let hinted = self.hinted.load(Ordering::Relaxed);
        !self.caught_up() || self.head().is_none_or(|h| h.seq < hinted)
    }

    pub(crate) fn head(&self) -> Option<Head> {
        self.state.borrow().as_ref().map(|s| s.head())
    }

    /// Entries from `from` on, a bounded number of them, for the hands.
    pub(crate) fn entries(&self, from: u64) -> Result<Vec<SignedEntry>, StoreError> {
        lock(&self.ledger).range(from, ENTRIES_MAX, ENTRIES_BYTES_MAX)
    }

    /// Entries after a place, a bounded number of them, for a coordinator.
    pub(crate) fn tail(&self, after: Option<Head>) -> Result<Option<Tail>, StoreError> {
        lock(&self.ledger).tail(after, TAIL_BATCH_MAX, TAIL_BATCH_BYTES_MAX)
    }

    /// Founds the ledger or appends to it, and lets everybody know.
    pub(crate) fn append(&self, mut entries: Vec<SignedEntry>) -> Result<(), TakeError> {
        let mut ledger = lock(&self.ledger);
        if let Some(alarm) = self.witness.alarm() {
            let ends = ledger.state().is_some_and(|state| ends_the_alarm(state, &entries, &alarm.accused));
            if !ends {
                return Err(TakeError::Refusing(alarm.why));
            }
            self.witness.stand_down().map_err(LedgerError::from)?;
            tracing::warn!("an admin took the accused coordinator away: entries are taken again");
        }
        if ledger.state().is_none() && !entries.is_empty() {
            ledger.found(entries.remove(0), self.options.ticket.fleet)?;
        }
        let mut result = ledger.append(entries);
        if let Err(LedgerError::Fork { seq, ours, theirs }) = &result {
            match refused_at(&ledger, *seq, theirs) {
                // Anybody of the fleet can sign something for a place that is taken. Only what could have stood there
                // proves anything.
                Some(refusal) => result = Err(LedgerError::Refused { seq: *seq, refusal }),
                None => {
                    let (ours, theirs) = (ours.hash(), theirs.hash());
                    tracing::error!(seq, %ours, %theirs, "the coordinator's history is split: ours is kept");
                    self.split.store(true, Ordering::Relaxed);
                }
            }
        }
        // Entries before a refused one were kept.
        let state = ledger.state().cloned();
        drop(ledger);
        let before = self.state.borrow().as_ref().map(|s| s.head());
        if let Some(state) = state.filter(|s| Some(s.head()) != before) {
            learn_places(self.uplink.as_ref(), &state);
            self.state.send_replace(Some(state));
            self.uplink.recheck();
        }
        Ok(result.map(|_| ())?)
    }

    /// Reads the ledger.
    pub(crate) fn with_ledger<T>(&self, read: impl FnOnce(&Ledger) -> T) -> T {
        read(&lock(&self.ledger))
    }

    pub(crate) fn set_split(&self) {
        self.split.store(true, Ordering::Relaxed);
    }

    async fn witness_all(self: &Arc<Self>, incoming: Option<mpsc::Receiver<Mail>>, stop: CancellationToken) {
        if let Some(incoming) = incoming {
            self.witness_loop(incoming, stop).await;
        }
    }

    /// Whether everything that any coordinator spoke of is here.
    pub(crate) fn caught_up(&self) -> bool {
        self.head().is_some_and(|h| h.seq >= *self.newest.borrow())
    }

    /// Whether this node is a member, as far as it knows.
    pub fn is_member(&self) -> bool {
        self.state().is_some_and(|s| s.is_agent(self.id()))
    }

    /// The coordinators to try, those of the ledger first.
    pub(crate) fn coordinators(&self) -> Vec<NodeId> {
        let mut ids: Vec<NodeId> =
            self.state().map(|s| s.with_role(Role::Coordinator).map(|(id, _)| id).collect()).unwrap_or_default();
        let revoked = |id: &NodeId| self.state().is_some_and(|s| s.revoked().contains_key(id));
        for c in &self.options.ticket.coordinators {
            if !ids.contains(&c.id) && !revoked(&c.id) {
                ids.push(c.id);
            }
        }
        // Those with an address first: of the others only a lookup could tell where they are.
        let state = self.state();
        let placed =
            |id: &NodeId| state.as_ref().is_some_and(|s| s.members().get(id).is_some_and(|m| m.place.is_some()));
        ids.sort_by_key(|id| !placed(id) && !self.options.ticket.coordinators.iter().any(|c| c.id == *id));
        ids
    }

    /// Asks the coordinator where a node is. Where none serves this agent, those are asked that keep it off: one whose
    /// history is split still says where others are, and these are who can tell that it is.
    pub async fn locate(&self, node: NodeId) -> Option<PeerAddr> {
        let connected = *self.coordinator.borrow();
        let asked = match connected {
            Some(coordinator) => vec![coordinator],
            // To ask another coordinator where a coordinator is, that one would have to be found first.
            None if self.state().is_some_and(|state| state.is_coordinator(node)) => Vec::new(),
            None => self.coordinators(),
        };
        for coordinator in asked.into_iter().filter(|c| *c != node).take(LOCATE_ASKED_MAX) {
            let answer = self.uplink.control(coordinator).rpc(Locate(node));
            if let Ok(Ok(Ok(Some(found)))) = tokio::time::timeout(ANSWER_DEADLINE, answer).await {
                return Some(found);
            }
        }
        None
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

/// Remembers where coordinators say they are; what was known before stays known.
fn learn_places(uplink: &dyn Uplink, state: &FleetState) {
    for (id, member) in state.with_role(Role::Coordinator) {
        if let Some(place) = &member.place {
            let relay = place.relay.as_ref().map(|r| r.url.clone());
            uplink.learn(PeerAddr { id, addrs: place.addrs.clone(), relay });
        }
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
