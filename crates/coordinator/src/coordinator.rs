//! The coordinator itself: what it holds, how it is opened, what runs.

mod house;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use protocols::control::NodeReport;
use protocols::facts::StableFacts;
use protocols::record::{DEVICE_PREFIX, FACTS_STABLE, VerifiedRecord};
use protocols::seal::Sealed;
use protocols::store::{LedgerError, Records, Store, StoreError, Values};
use protocols::{FleetState, Kind, Millis, NodeId, SecretKey, SignedEntry, SignedRecord, alpn};
use quorum::{Figures, Transport};
use tokio::sync::{Semaphore, broadcast, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::claims::Claims;
use crate::gallery::Gallery;
use crate::heads::Heads;
use crate::hold::{self, Asking, Seen};
use crate::liveness::Liveness;
use crate::order::{Chair, Hold, LocalOrder, Order};
use crate::wire::Wire;

/// Where the time comes from: the system's clock, or a test's.
pub type Clock = Arc<dyn Fn() -> Millis + Send + Sync>;

/// How many changes a slow watcher may fall behind before it is told everything again.
const CHANGES_KEPT: usize = 4096;
/// How many invites may be under redemption at once.
const ENROLMENTS_AT_ONCE: usize = 16;
/// How many members may wait to be asked for what they claim to have.
const CLAIMS_QUEUED: usize = 256;
/// Name of the log of leases in the data folder.
pub(crate) const LEASES_FILE: &str = "leases.redb";

/// What a coordinator is made of.
#[derive(Clone)]
pub struct Options {
    /// Its own key.
    pub key: SecretKey,
    /// The fleet's genesis entry.
    pub genesis: SignedEntry,
    /// The clock.
    pub clock: Clock,
    /// Its version of `flt`.
    pub version: String,
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options").field("key", &self.key).field("version", &self.version).finish_non_exhaustive()
    }
}

/// Why a coordinator could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The ledger.
    #[error("cannot open the ledger")]
    Ledger(#[from] LedgerError),
    /// The records.
    #[error("cannot open the records of agents")]
    Records(#[from] StoreError),
    /// The key is not a coordinator's.
    #[error("the key {0} is not a coordinator of this fleet: its ledger names other keys, or this one was retired")]
    NotACoordinator(NodeId),
}

/// Figures for `/metrics`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stats {
    /// The newest entry.
    pub head: u64,
    /// Members.
    pub members: usize,
    /// Nodes heard of lately.
    pub online: usize,
    /// Declarations in force.
    pub declarations: usize,
    /// Whether this coordinator is the one that orders.
    pub orders: bool,
    /// Whether something holds it back from appending.
    pub held: bool,
    /// Whether its history was found to be split.
    pub split: bool,
    /// The group that orders, if this coordinator is a member of it.
    pub group: Option<Figures>,
}

/// A running coordinator.
pub struct Coordinator {
    pub(crate) key: SecretKey,
    pub(crate) claims: Claims,
    pub(crate) clock: Clock,
    pub(crate) version: String,
    pub(crate) order: Arc<dyn Order>,
    pub(crate) chair: Arc<Chair>,
    pub(crate) values: Values,
    pub(crate) heads: Mutex<Heads>,
    pub(crate) asking: Mutex<Option<Asking>>,
    pub(crate) seen: Mutex<Option<Seen>>,
    pub(crate) claimants: mpsc::Sender<NodeId>,
    claimed: Mutex<Option<mpsc::Receiver<NodeId>>>,
    pub(crate) leases: Arc<quorum::Alone>,
    pub(crate) transport: OnceLock<Arc<dyn Transport>>,
    /// The data folder.
    pub(crate) dir: PathBuf,
    pub(crate) records: Records,
    pub(crate) wire: Arc<dyn Wire>,
    pub(crate) liveness: Mutex<Liveness>,
    pub(crate) gallery: Mutex<Gallery>,
    pub(crate) documents: Mutex<HashMap<NodeId, [u8; 32]>>,
    pub(crate) kinds: Mutex<HashMap<NodeId, Vec<Kind>>>,
    pub(crate) changes: broadcast::Sender<NodeId>,
    pub(crate) enrolments: Semaphore,
}

impl std::fmt::Debug for Coordinator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Coordinator").field("key", &self.key).finish_non_exhaustive()
    }
}

impl Coordinator {
    /// Opens the coordinator's ledger and records in `store`. Needs a runtime, for what orders leases.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(store: Arc<Store>, options: Options, wire: Arc<dyn Wire>) -> Result<Arc<Self>, OpenError> {
        let order = LocalOrder::open(Arc::clone(&store), options.genesis)?;
        let me = options.key.id();
        if !order.state().is_coordinator(me) {
            return Err(OpenError::NotACoordinator(me));
        }
        let values = Values::new(Arc::clone(&store));
        let leases = Arc::new(quorum::Alone::open(store.dir().join(LEASES_FILE)));
        let dir = store.dir().to_owned();
        let records = Records::open(store)?;
        let mut heads = Heads::default();
        let (held, asking) = hold::at_start(&values, &order.state(), me, &mut heads)?;
        let seen = hold::seen(&values)?;
        let chair = Arc::new(Chair::new(order, me, Arc::clone(&wire), held));
        let (claimants, claimed) = mpsc::channel(CLAIMS_QUEUED);
        let this = Self {
            claims: Claims::new(options.key.clone()),
            key: options.key,
            clock: options.clock,
            version: options.version,
            order: Arc::clone(&chair) as Arc<dyn Order>,
            chair,
            values,
            heads: Mutex::new(heads),
            asking: Mutex::new(asking),
            seen: Mutex::new(seen),
            claimants,
            claimed: Mutex::new(Some(claimed)),
            leases,
            transport: OnceLock::new(),
            dir,
            records,
            wire,
            liveness: Mutex::default(),
            gallery: Mutex::default(),
            documents: Mutex::default(),
            kinds: Mutex::default(),
            changes: broadcast::Sender::new(CHANGES_KEPT),
            enrolments: Semaphore::new(ENROLMENTS_AT_ONCE),
        };
        this.read_kinds()?;
        Ok(Arc::new(this))
    }

    fn read_kinds(&self) -> Result<(), StoreError> {
        let state = self.state();
        for id in state.members().keys() {
            for record in self.records.of(*id, FACTS_STABLE)? {
                self.note_kinds(&record);
            }
        }
        Ok(())
    }

    fn note_kinds(&self, record: &SignedRecord) {
        if record.key == FACTS_STABLE
            && let Ok(facts) = serde_json::from_slice::<StableFacts>(&record.value)
        {
            lock(&self.kinds).insert(record.writer, facts.kinds);
        }
    }

    /// Its own id.
    pub fn id(&self) -> NodeId {
        self.key.id()
    }

    /// The fleet's state.
    pub fn state(&self) -> Arc<FleetState> {
        self.order.state()
    }

    /// The figures of now.
    pub fn stats(&self) -> Stats {
        let state = self.state();
        Stats {
            head: state.head().seq,
            members: state.members().len(),
            online: lock(&self.liveness).online(Instant::now()),
            declarations: state.declarations().len(),
            orders: self.chair.is_mine(),
            held: self.chair.hold() != Hold::Free,
            split: matches!(self.chair.hold(), Hold::Split { .. }),
            group: self.chair.group().and_then(|group| group.figures()),
        }
    }

    /// What holds this coordinator back from appending, if anything does.
    pub fn hold(&self) -> Hold {
        self.chair.hold()
    }

    /// The ledger's entries from a place on, at most `count`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn entries(&self, from: u64, count: usize) -> Result<Vec<SignedEntry>, StoreError> {
        self.order.range(from, count)
    }

    /// Whether a key may connect with this protocol. Strangers may only enroll.
    pub fn allows(&self, peer: NodeId, protocol: &[u8]) -> bool {
        let state = self.state();
        // One that was retired serves nobody.
        if !state.is_coordinator(self.id()) {
            return false;
        }
        if protocol == alpn::ENROLL {
            return !state.revoked().contains_key(&peer);
        }
        // Of coordinators, who is a member of the group is for the group to say.
        if protocol == alpn::GROUP {
            return state.is_coordinator(peer);
        }
        // Documents too: agents' values are sealed to coordinators, and the ledger is for all members to read.
        state.knows(peer)
    }

    /// Whether a key may use the relay: members, and those whose token proves that they hold an open invite.
    pub fn allows_relay(&self, peer: NodeId, token: Option<&str>) -> bool {
        let state = self.state();
        if state.knows(peer) {
            return true;
        }
        let Some(invite) = token.and_then(|t| protocols::relay_token::relay_token_invite(t, state.fleet(), peer))
        else {
            return false;
        };
        let now = (self.clock)().max(state.time());
        state.invites().get(&invite).is_some_and(|i| i.uses_left > 0 && now < i.expires)
    }

    /// Takes records that came by a document or by RPC, whoever brought them: their signatures speak for themselves.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn ingest(&self, records: Vec<VerifiedRecord>) -> Result<(), StoreError> {
        let state = self.state();
        let of_agents: Vec<VerifiedRecord> = records.into_iter().filter(|r| state.is_agent(r.get().writer)).collect();
        // Not synced one by one: an agent compares and sends again what a crash took.
        let fresh = self.records.put(of_agents, false)?;
        for record in &fresh {
            self.note_kinds(record.get());
            self.changed(record.get().writer);
        }
        Ok(())
    }

    /// Takes what came by an agent's document: one sealed record. Garbage is passed over; the heartbeat's digest tells
    /// whether anything is missing.
    pub fn ingest_document(&self, value: &[u8]) {
        let sealed: Option<Sealed> = postcard::from_bytes(value).ok();
        let plain = sealed.and_then(|s| s.open(&self.key).ok());
        let record: Option<SignedRecord> = plain.and_then(|p| postcard::from_bytes(&p).ok());
        let Some(verified) = record.and_then(|r| r.verify().ok()) else { return };
        if let Err(error) = self.ingest(vec![verified]) {
            tracing::error!(%error, "cannot store a record");
        }
    }

    pub(crate) fn changed(&self, node: NodeId) {
        // Nobody watching is no error.
        let _nobody = self.changes.send(node);
    }

    pub(crate) fn report(&self, node: NodeId, prefix: &str) -> Result<NodeReport, StoreError> {
        let liveness = lock(&self.liveness).of(node, Instant::now());
        let mut records = self.records.of(node, prefix)?;
        // They are long, and who watches a fleet is not interested in every address behind a switch.
        if prefix.is_empty() {
            records.retain(|record| !record.key.starts_with(DEVICE_PREFIX));
        }
        Ok(NodeReport { node, liveness, records })
    }

    /// Runs until `stop`: follows the other coordinators and is ready to be followed, looks into what members claim,
    /// publishes the ledger's document, notices silence and changes of membership, keeps blobs.
    pub async fn run(self: &Arc<Self>, stop: CancellationToken) {
        let claimed = lock(&self.claimed).take();
        let claims = async {
            if let Some(claimed) = claimed {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = self.claims_loop(claimed) => {}
                }
            }
        };
        let mirror = async {
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.mirror_loop(stop.clone()) => {}
            }
        };
        let place = async {
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.place_loop(stop.clone()) => {}
            }
        };
        tokio::join!(
            self.fellows_loop(stop.clone()),
            claims,
            mirror,
            place,
            self.keep_house(stop.clone()),
            self.declared_loop(stop.clone())
        );
        if let Some(group) = self.chair.group() {
            group.shutdown().await;
        }
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
