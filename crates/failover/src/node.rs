//! The state machine of a node that may hold a lease: told what happened and when, it says what to do.

mod fence;
mod holder;
mod io;
mod revive;
mod standby;
mod talk;
mod term;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

pub use crate::table::FenceProof;
pub use io::{Alarm, Command, Durable, Event, Stand};

use crate::flight::{FlightEvent, Happening};
use crate::ids::{Attempt, Epoch, NodeId, Position, Round};
use crate::mutation::{Mutation, Mutations};
use crate::settings::Settings;
use crate::table::View;
use crate::time::{LocalTime, Span};
use talk::{Kind, Pending};
use term::{HoldDown, Poll, Shadow, Term};

/// One node's part in one cluster.
///
/// It has no clock: `now` is this machine's `CLOCK_BOOTTIME`, and time that goes back counts as standing still.
/// It serves an epoch at most once: what it has given up it never takes up again, only a later epoch.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Node {
    me: NodeId,
    now: LocalTime,
    durable: Durable,
    settings: Option<Arc<Settings>>,
    version: u64,
    /// What the node's own ledger declares, if that is compared.
    declared: Option<Arc<Settings>>,
    /// Since when the group goes by other settings.
    foreign: Option<LocalTime>,
    /// Whether the agent is about to end.
    leaving: bool,
    /// Shared by the copies of a node, and looked at while it changes.
    view: Option<Arc<View>>,
    stand: Stand,
    term: Option<Term>,
    /// The lease that was given up by the fence that goes on, where a node may serve on without one.
    given_up: Option<Term>,
    /// The latest epoch that was given up here.
    spent: Epoch,
    parting: Option<Parting>,
    shadow: Shadow,
    hold_down: HoldDown,
    /// When the workload was started again in its epoch, lately.
    revived: Vec<LocalTime>,
    /// Until when it promised the holder of which epoch not to use a lease that it is granted over that one's head.
    promises: BTreeMap<Epoch, LocalTime>,
    polls: BTreeMap<Attempt, Poll>,
    /// The latest round in which this node may have reported.
    reported: Round,
    following_since: LocalTime,
    position: Option<Position>,
    /// What it holds exactly, while nothing can change that.
    halted: Option<Position>,
    detaches: u64,
    /// Which synchronous set the workload was told to acknowledge by, and which it does.
    sync_asked: Option<u64>,
    sync_in_force: Option<u64>,
    rebuilt: Option<(Epoch, u64)>,
    alarmed: Option<Alarm>,
    /// When the holder was last known to have renewed.
    heard: LocalTime,
    open_since: Option<LocalTime>,
    seq: u64,
    fences: u64,
    pending: BTreeMap<Attempt, Pending>,
    retry: BTreeMap<Kind, LocalTime>,
    commands: VecDeque<Command>,
    mutations: Mutations,
}

/// A lease that was given up, of which the group may not know yet.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Parting {
    epoch: Epoch,
    how: How,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum How {
    Released { position: Position, to: NodeId },
    Fenced { proof: FenceProof, position: Option<Position> },
}

impl Node {
    /// A node whose agent starts at `now`, with what the last one kept.
    ///
    /// It trusts nothing that may be running: it fences first, and is not granted a lease before it has been in touch
    /// with the group for a whole ttl, or for the longest promise it may have forgotten.
    pub fn start(me: NodeId, durable: Durable, now: LocalTime) -> Self {
        Self::start_with_mutations(me, durable, now, Mutations::NONE)
    }

    /// The same with deliberate faults.
    #[doc(hidden)]
    pub fn start_with_mutations(me: NodeId, durable: Durable, now: LocalTime, mutations: Mutations) -> Self {
        let durable = Durable { boot: durable.boot.saturating_add(1), ..durable };
        let forgets = mutations.has(Mutation::ForgetPromiseAtRestart);
        let shadow = if forgets { Shadow::default() } else { Shadow::demand(durable.promised) };
        let mut node = Self {
            me,
            now,
            durable,
            settings: None,
            version: 0,
            declared: None,
            foreign: None,
            leaving: false,
            view: None,
            stand: Stand::Resting,
            term: None,
            given_up: None,
            spent: Epoch(0),
            parting: None,
            shadow,
            hold_down: HoldDown::default(),
            revived: Vec::new(),
            promises: BTreeMap::new(),
            polls: BTreeMap::new(),
            reported: Round(0),
            following_since: now,
            position: None,
            halted: None,
            detaches: 0,
            sync_asked: None,
            sync_in_force: None,
            rebuilt: None,
            alarmed: None,
            heard: now,
            open_since: None,
            seq: 0,
            fences: 0,
            pending: BTreeMap::new(),
            retry: BTreeMap::new(),
            commands: VecDeque::new(),
            mutations,
        };
        if mutations.has(Mutation::ForgetDegradedAtRestart) {
            node.durable.may_split = None;
        }
        node.commands.push_back(Command::Persist(node.durable));
        node.begin_fence(None);
        node.advance();
        node
    }

    /// Switches deliberate faults on in a node that runs.
    #[doc(hidden)]
    pub const fn mutate(&mut self, mutations: Mutations) {
        self.mutations = mutations;
    }

    /// Something happened at `now`.
    pub fn handle(&mut self, now: LocalTime, event: Event) {
        self.now = self.now.max(now);
        match event {
            Event::Tick => {}
            Event::Declared(settings) => self.declared = Some(settings),
            Event::Leave { by } => self.leave(by),
            Event::Answered(outcome) => self.answered(outcome),
            Event::Asked { from, attempt, epoch, term } => self.asked(from, attempt, epoch, term),
            Event::Promised { from, attempt } => self.promised(from, attempt),
            Event::Started { epoch } => self.started(epoch),
            Event::Died => self.died(),
            Event::Ended => self.ended(),
            Event::Bitten => self.bitten(),
            Event::Stopped { epoch, position } => self.stopped(epoch, position),
            Event::FenceResult { fence, rung, verified, position } => {
                self.fence_result(fence, &rung, verified, position);
            }
            Event::Detached { serial, position } => self.detached(serial, position),
            Event::Progress { position } => self.position = Some(position),
            Event::SyncInForce { serial } => self.sync_in_force = Some(serial),
            Event::Acted { epoch, verified } => self.acted(epoch, verified),
            Event::Rebuilt { epoch, serial } => self.was_rebuilt(epoch, serial),
        }
        self.advance();
    }

    /// The next thing to be done, in order.
    pub fn poll_command(&mut self) -> Option<Command> {
        self.commands.pop_front()
    }

    /// When the node must be told the time at the latest, even if nothing happens.
    pub fn next_deadline(&self) -> LocalTime {
        let by = match self.stand {
            Stand::Fencing { by, .. }
            | Stand::Starting { by, .. }
            | Stand::Reviving { by, .. }
            | Stand::Stopping { by, .. } => by,
            _ => LocalTime::NEVER,
        };
        let fence = if self.stand.held().is_some() { self.fence_at() } else { LocalTime::NEVER };
        let shadow = self.shadow.due().unwrap_or(LocalTime::NEVER);
        let promises = self.promises.values().copied();
        let ahead = [by, fence, shadow].into_iter().chain(promises).filter(|at| *at > self.now);
        ahead.chain(self.retry.values().copied().filter(|at| *at > self.now)).fold(LocalTime::NEVER, LocalTime::min)
    }

    /// Whether the workload may become or stay writable at `now`: in which epoch, and until when. The start gate.
    pub fn may_write(&self, now: LocalTime) -> Option<(Epoch, LocalTime)> {
        let term = self.term?;
        match self.stand {
            Stand::Starting { epoch, .. } | Stand::Serving { epoch } if epoch == term.epoch && now < term.until => {
                Some((epoch, term.until))
            }
            Stand::Degraded { epoch } if epoch == term.epoch => Some((epoch, LocalTime::NEVER)),
            _ => None,
        }
    }

    /// How the node stands.
    pub const fn stand(&self) -> Stand {
        self.stand
    }

    /// Which node this is.
    pub const fn id(&self) -> NodeId {
        self.me
    }

    /// How the cluster stood when the group last answered.
    pub fn view(&self) -> Option<&View> {
        self.view.as_deref()
    }

    /// The settings it knows.
    pub fn settings(&self) -> Option<&Settings> {
        self.settings.as_deref()
    }

    /// Until when its lease is proven, if it has one.
    pub fn certain_until(&self) -> Option<LocalTime> {
        self.term.map(|term| term.until)
    }

    /// What it keeps across restarts.
    pub const fn durable(&self) -> Durable {
        self.durable
    }

    /// Everything that follows from the time and from what is known.
    fn advance(&mut self) {
        self.promises.retain(|_, until| *until > self.now);
        if self.shadow.is_over(self.now) {
            self.shadow = Shadow::default();
        }
        self.mind_settings();
        self.guard_lease();
        self.climb_ladder();
        self.say_parting();
        match self.stand {
            Stand::Fencing { .. } => {}
            _ if self.stand.held().is_some() => self.hold(),
            _ => self.stand_by(),
        }
        self.beat();
    }

    fn turn(&mut self, stand: Stand) {
        if self.stand == stand {
            return;
        }
        let (from, to) = (self.stand.word(), stand.word());
        self.stand = stand;
        self.retry.retain(|kind, _| matches!(kind, Kind::Beat | Kind::Ask));
        if from != to && !(self.has(Mutation::TurnUnrecorded) && matches!(stand, Stand::Fencing { .. })) {
            let happening = Happening::Turned { from: from.into(), to: to.into(), epoch: stand.epoch() };
            self.record(happening);
        }
    }

    fn record(&mut self, happening: Happening) {
        let log = self.view.as_ref().map(|view| view.at);
        self.commands.push_back(Command::Record(FlightEvent { at: self.now, log, happening }));
    }

    fn alarm(&mut self, alarm: Alarm) {
        if self.alarmed != Some(alarm) {
            self.alarmed = Some(alarm);
            self.commands.push_back(Command::Alarm(alarm));
        }
    }

    fn has(&self, mutation: Mutation) -> bool {
        self.mutations.has(mutation)
    }

    fn renew_every(&self) -> Span {
        self.settings.as_ref().map_or(Self::UNKNOWN_RENEW, |settings| settings.renew)
    }

    /// How often a node says that it is there while it knows no settings.
    pub const UNKNOWN_RENEW: Span = Span::from_secs(1);
    /// How long the ladder of a node may take that knows no settings.
    pub const UNKNOWN_FENCE: Span = Span::from_secs(5);
    /// How often, within [`hold_down_max`](Settings::hold_down_max), a workload that ended is started again in its epoch.
    pub const MAX_REVIVALS: usize = 3;
    /// How many requests may be without an answer; an older one counts as lost, and its answer proves nothing.
    pub const MAX_PENDING: usize = 64;
}

#[cfg(test)]
mod tests;
