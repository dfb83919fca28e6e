//! One coordinator orders, the others follow: which one, the ledger itself says, and it may change with any entry.
//!
//! An entry is appended here only while the newest state names this coordinator, and while nothing is known that it
//! lacks ([`Hold`]). Everything else is handed on to the one that orders.
//!
//! Where coordinators order as a group, each member orders through it, whichever one the ledger names; who is no member
//! hands on to one that is.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use protocols::control::{Receipt, Submit, SubmitError};
use protocols::entry::{Body, Head};
use protocols::store::{LedgerError, StoreError, Tail};
use protocols::{FleetState, NodeId, SignedEntry, VerifiedEntry};
use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};

use quorum::{EnterError, Group, ProposeError, Unfit};

use super::{AppendError, LocalOrder, Order};
use crate::coordinator::lock;
use crate::wire::{BoxFuture, Wire};

/// How long the one that orders may take to be reached.
const REACH_DEADLINE: Duration = Duration::from_secs(14);
/// How often it is dialed within that.
const REACH_TRIES: usize = 2;
/// How long it may take to answer.
const FORWARD_DEADLINE: Duration = Duration::from_secs(7);
/// How often an entry is handed on when no answer came. The same bytes again change nothing.
const FORWARD_TRIES: usize = 2;
/// How long to wait for an entry to come back by the tail after it was appended elsewhere.
const ECHO_DEADLINE: Duration = Duration::from_secs(5);
/// How often an entry is tried again while the one that orders changes, and the pause between.
const HANDOVERS_MAX: usize = 8;
const HANDOVER_PAUSE: Duration = Duration::from_millis(200);
/// How long an append waits for a hold to end before it is refused.
const HOLD_DEADLINE: Duration = Duration::from_secs(12);

/// Why nothing is appended here, though the state names this coordinator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hold {
    /// Nothing is known against it.
    Free,
    /// The others are still being asked what they have.
    Asking(String),
    /// Somebody has seen a newer entry.
    Lacks {
        /// The newest entry that was seen.
        seen: Head,
        /// By whom.
        by: String,
    },
    /// Somebody has another history, and a person must say which one holds.
    Split {
        /// The first place where they differ.
        seq: u64,
        /// Who has it.
        with: String,
    },
}

impl std::fmt::Display for Hold {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Free => f.write_str("nothing holds it"),
            Self::Asking(whom) => write!(f, "it has just started and is asking {whom} for newer entries"),
            Self::Lacks { seen, by } => write!(f, "{by} has seen entry {seen}, which it lacks"),
            Self::Split { seq, with } => write!(
                f,
                "its history and that of {with} differ from entry {seq} on, and a person must say which one holds: \
                 flt coordinator recover"
            ),
        }
    }
}

/// The order of a group of which one appends.
pub struct Chair {
    local: Arc<LocalOrder>,
    me: NodeId,
    wire: Arc<dyn Wire>,
    hold: watch::Sender<Hold>,
    /// Whether this process has appended as the one that orders, and still is it. What is newest then is what it wrote,
    /// whatever anybody claims.
    sure: AtomicBool,
    group: OnceLock<Arc<Group>>,
    /// The members of the group that others told of.
    others_group: Mutex<Vec<NodeId>>,
}

impl std::fmt::Debug for Chair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Chair").field("me", &self.me).field("hold", &*self.hold.borrow()).finish_non_exhaustive()
    }
}

impl Chair {
    /// The order as the coordinator `me` sees it.
    pub fn new(local: LocalOrder, me: NodeId, wire: Arc<dyn Wire>, hold: Hold) -> Self {
        let hold = watch::Sender::new(hold);
        Self {
            local: Arc::new(local),
            me,
            wire,
            hold,
            sure: AtomicBool::new(false),
            group: OnceLock::new(),
            others_group: Mutex::default(),
        }
    }

    /// The ledger here, without regard to who orders.
    pub(crate) const fn local(&self) -> &Arc<LocalOrder> {
        &self.local
    }

    /// This coordinator.
    pub(crate) const fn me(&self) -> NodeId {
        self.me
    }

    /// From here on, this coordinator may be a member of a group.
    pub(crate) fn set_group(&self, group: Arc<Group>) {
        // Only ever set once, when the coordinator starts.
        let _again = self.group.set(group);
    }

    /// This coordinator's place in a group.
    pub(crate) fn group(&self) -> Option<&Arc<Group>> {
        self.group.get()
    }

    /// The group, if this coordinator is a member.
    pub(crate) fn as_member(&self) -> Option<&Arc<Group>> {
        self.group.get().filter(|group| group.is_member())
    }

    /// The members of the group that this coordinator is not of, as others said.
    pub(crate) fn others_group(&self) -> Vec<NodeId> {
        lock(&self.others_group).clone()
    }

    /// Takes note of who the members of the group are that others told of; true if that is news.
    pub(crate) fn set_others_group(&self, members: Vec<NodeId>) -> bool {
        let mut known = lock(&self.others_group);
        let news = *known != members;
        *known = members;
        news
    }

    /// Who is to order an entry that this coordinator hands on: the one that the ledger names, and the group's members.
    pub(crate) fn orderers(&self) -> Vec<NodeId> {
        let named = self.local.state().orderer();
        let group = self.others_group();
        let mut orderers: Vec<NodeId> = group.iter().copied().filter(|id| *id == named).collect();
        orderers.extend(group.into_iter().filter(|id| *id != named && *id != self.me));
        if orderers.is_empty() {
            orderers.push(named);
        }
        orderers
    }

    /// What holds it back.
    pub fn hold(&self) -> Hold {
        self.hold.borrow().clone()
    }

    /// Changes what holds it back. What is held by a split stays so.
    pub fn set_hold(&self, hold: Hold) {
        self.hold.send_if_modified(|now| {
            let change = *now != hold && !matches!(now, Hold::Split { .. });
            if change {
                *now = hold;
            }
            change
        });
    }

    /// Whether this coordinator orders: as a member of a group, or because the newest entry names it.
    pub fn is_mine(&self) -> bool {
        self.as_member().is_some() || (self.local.state().orderer() == self.me && lock(&self.others_group).is_empty())
    }

    /// Whether nobody can have seen a newer entry: this coordinator orders, and has appended since it began to.
    pub fn is_sure(&self) -> bool {
        if self.as_member().is_some() {
            return true;
        }
        if !self.is_mine() {
            self.sure.store(false, Ordering::Relaxed);
        }
        self.sure.load(Ordering::Relaxed)
    }

    async fn append_any(&self, entry: SignedEntry) -> Result<Head, AppendError> {
        let mut last = AppendError::Stale(self.local.state().head());
        // Again while the one that orders changes under the entry's feet.
        for attempt in 0..HANDOVERS_MAX {
            if attempt > 0 {
                tokio::time::sleep(HANDOVER_PAUSE).await;
            }
            let state = self.local.state();
            if let held @ Hold::Split { .. } = self.hold() {
                return Err(AppendError::Rejected(SubmitError::Withheld { why: held.to_string() }));
            }
            if let Some(group) = self.as_member() {
                return self.enter(group, entry).await;
            }
            if self.is_mine() {
                self.free().await?;
                if let Some(head) = self.local.append_as(self.me, entry.clone(), false).await? {
                    self.sure.store(true, Ordering::Relaxed);
                    return Ok(head);
                }
                continue;
            }
            let orderers = self.orderers();
            let Some(orderer) = orderers.get(attempt % orderers.len()).copied() else { break };
            last = match self.forward(orderer, &entry).await {
                // Another member of the group may be there.
                Err(gone @ AppendError::Rejected(SubmitError::NoOrderer { .. }))
                    if !self.others_group().is_empty() && attempt + 1 < orderers.len() =>
                {
                    gone
                }
                // Nobody takes the place of a group.
                Err(gone @ AppendError::Rejected(SubmitError::NoOrderer { .. })) if !self.others_group().is_empty() => {
                    return Err(gone);
                }
                Err(AppendError::Rejected(gone @ SubmitError::NoOrderer { .. })) if !self.is_mine() => {
                    let verified = entry.clone().verify().map_err(|e| AppendError::Unverified(e.to_string()))?;
                    if !appoints(&verified, self.me) {
                        return Err(AppendError::Rejected(gone));
                    }
                    return self.take_over(entry).await;
                }
                // Asked was one that does not order, or not any more, or does not know it yet.
                Err(AppendError::Stale(theirs))
                    if theirs.seq < state.head().seq || self.local.state().orderer() != state.orderer() =>
                {
                    AppendError::Stale(theirs)
                }
                Err(gone @ AppendError::Rejected(SubmitError::NoOrderer { .. })) => gone,
                other => return other,
            };
        }
        Err(last)
    }

    /// Appends through the group, and waits until the entry is here, so that whoever sent it finds it here.
    async fn enter(&self, group: &Group, entry: SignedEntry) -> Result<Head, AppendError> {
        let head = match group.enter(entry).await {
            Ok(head) => head,
            Err(EnterError::Unfit(Unfit::Stale(head))) => {
                self.echoed(head).await;
                return Err(AppendError::Stale(head));
            }
            Err(EnterError::Unfit(Unfit::Refused(refusal))) => return Err(AppendError::Refused(refusal)),
            Err(EnterError::Unfit(Unfit::Unverified(why))) => return Err(AppendError::Unverified(why)),
            Err(EnterError::Propose(error)) => {
                let why = match error {
                    ProposeError::NoLeader(why) => why,
                    ProposeError::Lost(why) => format!("{why}; it is not known whether the entry was taken"),
                    ProposeError::Overloaded => "more waits than it can take: try again in a moment".into(),
                };
                return Err(AppendError::Rejected(SubmitError::NoMajority { why }));
            }
        };
        self.echoed(head).await;
        Ok(head)
    }

    /// Appends the entry that names this coordinator itself, because the one before it is gone.
    async fn take_over(&self, entry: SignedEntry) -> Result<Head, AppendError> {
        self.free().await?;
        let taken = self.local.append_as(self.me, entry, true).await?;
        self.sure.store(true, Ordering::Relaxed);
        taken.ok_or_else(|| AppendError::Stale(self.local.state().head()))
    }

    /// Waits until nothing holds it.
    async fn free(&self) -> Result<(), AppendError> {
        let mut hold = self.hold.subscribe();
        let free = hold.wait_for(|h| matches!(h, Hold::Free | Hold::Split { .. }));
        // The sender lives as long as this.
        let _waited = timeout(HOLD_DEADLINE, free).await;
        match self.hold() {
            Hold::Free => Ok(()),
            held => Err(AppendError::Rejected(SubmitError::Withheld { why: held.to_string() })),
        }
    }

    /// Hands the entry on, and waits until it is here.
    async fn forward(&self, orderer: NodeId, entry: &SignedEntry) -> Result<Head, AppendError> {
        let gone = |why: String| {
            let state = self.local.state();
            let name = state.members().get(&orderer).map_or_else(|| orderer.short(), |m| m.name.to_string());
            AppendError::Rejected(SubmitError::NoOrderer { name, why })
        };
        self.reach(orderer).await.map_err(gone)?;
        let mut last = String::new();
        for _ in 0..FORWARD_TRIES {
            let call = self.wire.control(orderer).rpc(Submit(entry.clone()));
            last = match timeout(FORWARD_DEADLINE, call).await {
                Ok(Ok(Ok(Receipt { head }))) => {
                    self.echoed(head).await;
                    return Ok(head);
                }
                Ok(Ok(Err(SubmitError::StaleHead { head }))) => {
                    self.echoed(head).await;
                    return Err(AppendError::Stale(head));
                }
                Ok(Ok(Err(rejected))) => return Err(AppendError::Rejected(rejected)),
                Ok(Err(error)) => scores::chain(&error),
                Err(_) => format!("no answer in {} seconds", FORWARD_DEADLINE.as_secs()),
            };
            self.wire.reset(orderer);
        }
        Err(gone(format!("{last}; it is not known whether it took the entry")))
    }

    /// Connects with the one that orders. Twice: a dial that others began while it was down tells nothing about now.
    async fn reach(&self, orderer: NodeId) -> Result<(), String> {
        let until = Instant::now() + REACH_DEADLINE;
        let mut why = format!("no answer in {} seconds", REACH_DEADLINE.as_secs());
        for _ in 0..REACH_TRIES {
            match timeout_at(until, self.wire.reach(orderer)).await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(error)) => why = error.0,
                Err(_) => break,
            }
        }
        Err(why)
    }

    /// Waits until an entry that was appended elsewhere is here, so that whoever sent it finds it here.
    pub(crate) async fn echoed(&self, head: Head) {
        let mut states = self.local.watch();
        let here = states.wait_for(|s| s.head().seq >= head.seq);
        let _late = timeout(ECHO_DEADLINE, here).await;
    }
}

/// Whether an entry makes `me` the one that orders.
fn appoints(entry: &VerifiedEntry, me: NodeId) -> bool {
    matches!(&entry.entry().body, Body::Appoint(appoint) if appoint.coordinator == me)
}

impl Order for Chair {
    fn state(&self) -> Arc<FleetState> {
        self.local.state()
    }

    fn watch(&self) -> watch::Receiver<Arc<FleetState>> {
        self.local.watch()
    }

    fn append(&self, entry: SignedEntry) -> BoxFuture<'_, Result<Head, AppendError>> {
        Box::pin(self.append_any(entry))
    }

    fn extend(&self, entries: Vec<SignedEntry>) -> BoxFuture<'_, Result<Head, LedgerError>> {
        self.local.extend(entries)
    }

    fn tail(&self, after: Option<Head>, count: usize, bytes: usize) -> Result<Tail, StoreError> {
        self.local.tail(after, count, bytes)
    }

    fn range(&self, from: u64, count: usize) -> Result<Vec<SignedEntry>, StoreError> {
        self.local.range(from, count)
    }
}
