//! The model's state, what the adversary can do to it, and what must hold.

use std::sync::Arc;

use failover::mutation::Mutations;
use failover::settings::{Candidate, Rung, RungPlan};
use failover::{
    Answer, Attempt, Author, ClusterName, Command, Durable, Entry, Epoch, Event, LeaseTable, LocalTime, LogTime, Node,
    NodeId, Phase, Refusal, Request, Settings, Span, Stamp, Stand, Workload,
};
use stateright::Property;

use crate::sim::plan::node;

/// How much the adversary may do after the cluster has come up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Budget {
    /// Units of time.
    pub(crate) horizon: u8,
    /// Messages that arrive and yet stay on their way.
    pub(crate) duplicates: u8,
    /// Agents that are paused, each for as long as the adversary likes.
    pub(crate) pauses: u8,
    /// Agents that die, each for as long as the adversary likes; their workload lives on.
    pub(crate) crashes: u8,
    /// Units that a machine's clock loses; one within a lease is what the slack covers.
    pub(crate) lost_ticks: u8,
    /// Rungs that fail.
    pub(crate) failing_rungs: u8,
    /// Workloads that end by themselves; something of them may be left.
    pub(crate) endings: u8,
    /// Withdrawals of the cluster, and declarations of it, for both nodes or for one.
    pub(crate) declarations: u8,
    /// Whether it begins with the cluster withdrawn, and its lease forgotten.
    pub(crate) forgotten: bool,
}

impl Budget {
    pub(crate) const NONE: Self = Self {
        horizon: 0,
        duplicates: 0,
        pauses: 0,
        crashes: 0,
        lost_ticks: 0,
        failing_rungs: 0,
        endings: 0,
        declarations: 0,
        forgotten: false,
    };
}

#[derive(Clone, Debug)]
pub(crate) struct Model {
    pub(crate) budget: Budget,
    pub(crate) mutations: Mutations,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct State {
    left: Budget,
    table: LeaseTable,
    /// For which nodes the cluster is declared; for none if it is withdrawn.
    declared: [bool; 2],
    /// The latest epoch that was ever granted.
    granted: Epoch,
    machines: [Machine; 2],
    net: Vec<Message>,
    room: usize,
    /// What was broken on the way here, if anything.
    broken: Option<&'static str>,
    /// Whether both machines have served.
    served: [bool; 2],
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Machine {
    agent: Option<Node>,
    paused: bool,
    durable: Durable,
    clock: LocalTime,
    watchdog: LocalTime,
    writes: Option<Epoch>,
    starting: Option<(Epoch, LocalTime)>,
    rung: Option<(u64, Rung)>,
    bitten: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[allow(clippy::large_enum_variant, reason = "a few are kept")]
enum Message {
    ToGroup { from: usize, attempt: Attempt, request: Request },
    ToNode { to: usize, event: Event },
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Action {
    /// A unit of time passes; this machine's clock does not notice.
    Pass {
        unnoticed_by: Option<usize>,
    },
    Deliver {
        message: usize,
        stays: bool,
    },
    Start(usize),
    EndRung {
        machine: usize,
        verified: bool,
    },
    Pause(usize),
    Resume(usize),
    Crash(usize),
    Restart(usize),
    /// The workload ends by itself.
    End {
        machine: usize,
        wholly: bool,
    },
    /// The cluster is declared for these nodes from now on, or withdrawn if there are none.
    Declare([bool; 2]),
}

/// Who has been out of reach before the adversary begins.
#[derive(Clone, Copy, Debug)]
enum Silence {
    Everybody,
    /// Node 0, for the group and for node 1.
    Holder,
    /// The group, while the nodes reach each other.
    Group,
}

impl Silence {
    fn lets_through(self, message: &Message) -> bool {
        match (self, message) {
            (Self::Everybody, _) => false,
            (Self::Holder, Message::ToGroup { from, .. }) => *from == 1,
            (Self::Holder, Message::ToNode { to, event }) => *to == 1 && matches!(event, Event::Answered(_)),
            (Self::Group, Message::ToNode { event, .. }) => !matches!(event, Event::Answered(_)),
            (Self::Group, Message::ToGroup { .. }) => false,
        }
    }
}

/// One unit of time.
const UNIT: Span = Span::from_secs(1);
/// How many messages are on their way at most; the oldest makes room.
const NET: usize = 2;
/// In how many units a node that is told to end has ended.
const ENDS_WITHIN: u64 = 4;

fn cluster() -> ClusterName {
    ClusterName::try_from("service/clock".to_owned()).expect("a name")
}

fn by_admin(request: Request) -> Entry {
    Entry::Ask { cluster: cluster(), author: Author::Admin, attempt: Attempt::default(), request }
}

/// What is declared for these nodes.
fn settings(declared: [bool; 2]) -> Settings {
    let named = (0..2).filter(|index| declared[*index]);
    let candidates = named.map(|index| Candidate { node: node(index), priority: 0 }).collect();
    let mut settings = Settings::lan(Workload::Service, candidates);
    settings.ttl = UNIT.times(4);
    settings.slack = UNIT;
    settings.renew = UNIT;
    settings.ladder = vec![RungPlan { rung: Rung::Immediate, within: Span::from_millis(900) }];
    settings.hold_down_max = settings.ttl;
    settings.first = declared[0].then(|| node(0));
    settings
}

impl State {
    /// Comes up in peace: node 0 serves, node 1 follows.
    fn peaceful(model: &Model) -> Self {
        let mut table = LeaseTable::with_mutations(model.mutations);
        let _configured = table.apply(Stamp::default(), &by_admin(Request::Configure(Arc::new(settings([true; 2])))));
        let machine = Machine {
            agent: None,
            paused: false,
            durable: Durable::default(),
            clock: LocalTime::from_micros(0),
            watchdog: LocalTime::NEVER,
            writes: None,
            starting: None,
            rung: None,
            bitten: false,
        };
        let calm = Budget { horizon: u8::MAX, ..Budget::NONE };
        let machines = [machine.clone(), machine];
        let mut state = Self {
            left: calm,
            table,
            declared: [true; 2],
            granted: Epoch(0),
            machines,
            net: Vec::new(),
            room: 64,
            broken: None,
            served: [false; 2],
        };
        for index in 0..2 {
            state.restart(index, Mutations::NONE);
        }
        while !state.is_at_peace() {
            state.settle();
            state.pass(None);
        }
        state.settle();
        for machine in &mut state.machines {
            if let Some(agent) = &mut machine.agent {
                agent.mutate(model.mutations);
            }
        }
        state.left = model.budget;
        state.room = NET;
        state.served = [false; 2];
        state.broken = None;
        state
    }

    /// Some units pass in which only some messages arrive.
    fn out_of_reach(&self, who: Silence, units: u8, model: &Model) -> Self {
        let mut state = self.clone();
        state.room = 64;
        for _ in 0..units {
            state.pass(None);
            while let Some(first) = state.net.first() {
                if who.lets_through(first) { state.deliver(0, false) } else { drop(state.net.remove(0)) }
            }
        }
        state.left = model.budget;
        state.room = NET;
        state
    }

    /// The cluster was withdrawn. Node 0 has heard of it, has given up its lease and has ended; node 1 may not have heard. The
    /// group knows where the lease ended, and no more.
    fn forgotten(&self, heard: [bool; 2], model: &Model) -> Self {
        let mut state = self.clone();
        state.room = 64;
        state.declare([false; 2]);
        for index in (0..2).filter(|index| heard[*index]) {
            let by = state.machines[index].clock + UNIT.times(ENDS_WITHIN);
            state.give(index, Event::Leave { by });
        }
        for _ in 0..ENDS_WITHIN {
            state.settle();
            state.pass(None);
        }
        state.settle();
        let forgotten = state.table.lease(&cluster()).is_none() && state.machines[0].writes.is_none();
        assert!(forgotten || model.mutations != Mutations::NONE, "a withdrawn cluster is not forgotten");
        for index in (0..2).filter(|index| heard[*index]) {
            state.machines[index].agent = None;
        }
        state.left = model.budget;
        state.room = NET;
        state.served = [false; 2];
        state
    }

    fn is_at_peace(&self) -> bool {
        let stand = |index: usize| self.machines[index].agent.as_ref().map(Node::stand);
        matches!((stand(0), stand(1)), (Some(Stand::Serving { .. }), Some(Stand::Following { .. })))
    }

    /// Everything that is on its way or under way comes to its end.
    fn settle(&mut self) {
        loop {
            if !self.net.is_empty() {
                self.deliver(0, false);
            } else if let Some(index) = (0..2).find(|index| self.machines[*index].rung.is_some()) {
                self.end_rung(index, true);
            } else if let Some(index) = (0..2).find(|index| self.machines[*index].starting.is_some()) {
                self.start(index);
            } else {
                return;
            }
        }
    }

    fn give(&mut self, index: usize, event: Event) {
        let machine = &mut self.machines[index];
        let clock = machine.clock;
        let Some(agent) = machine.agent.as_mut().filter(|_| !machine.paused) else { return };
        let fencing = matches!(agent.stand(), Stand::Fencing { .. });
        agent.handle(clock, event);
        let ended = fencing && !matches!(agent.stand(), Stand::Fencing { .. });
        if ended && machine.writes.is_some() {
            self.broken = Some("a fence that ended has ended the workload");
        }
        self.carry_out(index);
    }

    fn carry_out(&mut self, index: usize) {
        while let Some(command) = self.machines[index].agent.as_mut().and_then(Node::poll_command) {
            let machine = &mut self.machines[index];
            match command {
                Command::Persist(durable) => machine.durable = durable,
                Command::Send { attempt, request } => self.send(Message::ToGroup { from: index, attempt, request }),
                Command::Ask { attempt, epoch, term, .. } => {
                    let event = Event::Asked { from: node(index), attempt, epoch, term };
                    self.send(Message::ToNode { to: 1 - index, event });
                }
                Command::Promise { attempt, .. } => {
                    let event = Event::Promised { from: node(index), attempt };
                    self.send(Message::ToNode { to: 1 - index, event });
                }
                Command::Watchdog { until } => machine.watchdog = until,
                Command::Start { epoch, until, .. } => machine.starting = Some((epoch, until)),
                Command::Fence { fence, rung, .. } => {
                    machine.starting = None;
                    machine.rung = Some((fence, rung));
                }
                _ => {}
            }
        }
    }

    fn send(&mut self, message: Message) {
        if self.net.len() >= self.room {
            self.net.remove(0);
        }
        self.net.push(message);
    }

    fn deliver(&mut self, index: usize, stays: bool) {
        let message = if stays { self.net[index].clone() } else { self.net.remove(index) };
        match message {
            Message::ToGroup { from, attempt, request } => {
                let author = Author::Node(node(from));
                let renews = match request {
                    Request::Renew { epoch, .. } => self.holds(from, epoch),
                    _ => false,
                };
                let outcome =
                    self.table.apply(Stamp::default(), &Entry::Ask { cluster: cluster(), author, attempt, request });
                match &outcome.answer {
                    Ok(Answer::Granted { epoch, .. }) => {
                        if !self.declared[from] {
                            self.broken = Some("who is not declared is granted nothing");
                        }
                        if *epoch <= self.granted {
                            self.broken = Some("an epoch is granted once");
                        }
                        self.granted = self.granted.max(*epoch);
                    }
                    Err(refusal) if renews && *refusal != Refusal::Overtaken => {
                        self.broken = Some("what its holder renews is renewed");
                    }
                    _ => {}
                }
                self.send(Message::ToNode { to: from, event: Event::Answered(outcome) });
            }
            Message::ToNode { to, event } => self.give(to, event),
        }
    }

    /// Whether the group knows this node as the holder of this epoch.
    fn holds(&self, index: usize, epoch: Epoch) -> bool {
        let lease = self.table.lease(&cluster());
        lease.is_some_and(|l| l.epoch == epoch && l.holder == Some(node(index)) && l.phase == Phase::Held)
    }

    /// An admin declares the cluster for these nodes, or withdraws it. Whoever holds its lease holds it still.
    fn declare(&mut self, declared: [bool; 2]) {
        self.declared = declared;
        let held = self.table.lease(&cluster()).filter(|lease| lease.phase == Phase::Held);
        let held = held.map(|lease| (lease.epoch, lease.holder, lease.expires));
        let request = match declared {
            [false, false] => Request::Withdraw,
            _ => Request::Configure(Arc::new(settings(declared))),
        };
        let _decided = self.table.apply(Stamp::default(), &by_admin(request));
        self.is_still_held(held);
        if self.table.lease(&cluster()).is_some_and(|lease| lease.epoch < self.granted) {
            self.broken = Some("epochs go on where they ended");
        }
    }

    fn is_still_held(&mut self, held: Option<(Epoch, Option<NodeId>, LogTime)>) {
        let Some(held) = held else { return };
        let lease = self.table.lease(&cluster()).filter(|lease| lease.phase == Phase::Held);
        if lease.map(|lease| (lease.epoch, lease.holder, lease.expires)) != Some(held) {
            self.broken = Some("neither a declaration nor time ends a lease that is held");
        }
    }

    fn pass(&mut self, unnoticed_by: Option<usize>) {
        self.left.horizon = self.left.horizon.saturating_sub(1);
        let held = self.table.lease(&cluster()).filter(|lease| lease.phase == Phase::Held);
        let held = held.map(|lease| (lease.epoch, lease.holder, lease.expires));
        let _ticked = self.table.apply(Stamp { elapsed: UNIT }, &Entry::Clock);
        self.is_still_held(held);
        for index in 0..2 {
            let machine = &mut self.machines[index];
            if unnoticed_by != Some(index) {
                machine.clock = machine.clock + UNIT;
            }
            if machine.clock >= machine.watchdog {
                machine.watchdog = LocalTime::NEVER;
                machine.writes = None;
                machine.starting = None;
                machine.bitten = true;
            }
        }
        for index in 0..2 {
            self.wake(index);
        }
    }

    fn wake(&mut self, index: usize) {
        if self.machines[index].paused || self.machines[index].agent.is_none() {
            return;
        }
        if std::mem::take(&mut self.machines[index].bitten) {
            self.give(index, Event::Bitten);
        }
        self.give(index, Event::Tick);
    }

    fn start(&mut self, index: usize) {
        let machine = &mut self.machines[index];
        let Some((epoch, until)) = machine.starting.take() else { return };
        if machine.clock >= until {
            self.give(index, Event::Died);
            return;
        }
        if machine.writes.is_some() {
            self.broken = Some("nothing is started beside what runs");
        }
        machine.writes = Some(epoch);
        self.served[index] = true;
        if !self.holds(index, epoch) {
            self.broken = Some("the workload starts only with a valid lease");
        }
        self.give(index, Event::Started { epoch });
    }

    fn end_rung(&mut self, index: usize, verified: bool) {
        let machine = &mut self.machines[index];
        let Some((fence, rung)) = machine.rung.take() else { return };
        if verified {
            machine.writes = None;
            machine.starting = None;
        }
        self.give(index, Event::FenceResult { fence, rung, verified, position: None });
    }

    fn restart(&mut self, index: usize, mutations: Mutations) {
        let machine = &mut self.machines[index];
        machine.bitten = false;
        let (durable, clock) = (machine.durable, machine.clock);
        machine.agent = Some(Node::start_with_mutations(node(index), durable, clock, mutations));
        self.carry_out(index);
    }
}

impl stateright::Model for Model {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let peace = State::peaceful(self);
        let silences = [Silence::Everybody, Silence::Holder, Silence::Group];
        if self.budget.forgotten {
            return [[true, true], [true, false]].map(|heard| peace.forgotten(heard, self)).into();
        }
        let later = silences.into_iter().flat_map(|who| (1..=6).map(move |units| (who, units)));
        let mut states: Vec<State> = later.map(|(who, units)| peace.out_of_reach(who, units, self)).collect();
        states.push(peace);
        states
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        let left = state.left;
        if state.broken.is_some() {
            return;
        }
        if left.horizon > 0 {
            actions.push(Action::Pass { unnoticed_by: None });
            if left.lost_ticks > 0 {
                actions.extend((0..2).map(|index| Action::Pass { unnoticed_by: Some(index) }));
            }
        }
        if left.declarations > 0 {
            let others = [[false, false], [true, false], [false, true], [true, true]];
            actions.extend(others.into_iter().filter(|other| *other != state.declared).map(Action::Declare));
        }
        for message in 0..state.net.len() {
            actions.push(Action::Deliver { message, stays: false });
            if left.duplicates > 0 {
                actions.push(Action::Deliver { message, stays: true });
            }
        }
        for (index, machine) in state.machines.iter().enumerate() {
            if machine.starting.is_some() {
                actions.push(Action::Start(index));
            }
            if machine.rung.is_some() && machine.agent.is_some() && !machine.paused {
                actions.push(Action::EndRung { machine: index, verified: true });
                if left.failing_rungs > 0 {
                    actions.push(Action::EndRung { machine: index, verified: false });
                }
            }
            match (&machine.agent, machine.paused) {
                (None, _) => actions.push(Action::Restart(index)),
                (Some(_), true) => actions.push(Action::Resume(index)),
                (Some(_), false) => {
                    if left.pauses > 0 {
                        actions.push(Action::Pause(index));
                    }
                    if left.crashes > 0 {
                        actions.push(Action::Crash(index));
                    }
                    if left.endings > 0 && machine.writes.is_some() {
                        let ends = [true, false].map(|wholly| Action::End { machine: index, wholly });
                        actions.extend(ends);
                    }
                }
            }
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Pass { unnoticed_by } => {
                state.left.lost_ticks -= u8::from(unnoticed_by.is_some());
                state.pass(unnoticed_by);
            }
            Action::Deliver { message, stays } => {
                state.left.duplicates -= u8::from(stays);
                state.deliver(message, stays);
            }
            Action::Start(index) => state.start(index),
            Action::EndRung { machine, verified } => {
                state.left.failing_rungs -= u8::from(!verified);
                state.end_rung(machine, verified);
            }
            Action::Pause(index) => {
                state.left.pauses -= 1;
                state.machines[index].paused = true;
            }
            Action::Resume(index) => {
                state.machines[index].paused = false;
                state.wake(index);
            }
            Action::Crash(index) => {
                state.left.crashes -= 1;
                let machine = &mut state.machines[index];
                machine.agent = None;
                machine.starting = None;
                machine.rung = None;
            }
            Action::Restart(index) => state.restart(index, self.mutations),
            Action::End { machine, wholly } => {
                state.left.endings -= 1;
                if wholly {
                    state.machines[machine].writes = None;
                }
                state.give(machine, Event::Ended);
            }
            Action::Declare(declared) => {
                state.left.declarations -= 1;
                state.declare(declared);
            }
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("at most one writes", |_, state: &State| {
                state.machines.iter().filter(|machine| machine.writes.is_some()).count() <= 1
            }),
            Property::always("nothing was broken", |_, state: &State| state.broken.is_none()),
            Property::always("what was given up is off", |_, state: &State| {
                // What is withdrawn is forgotten when nobody holds it.
                let held = state.table.lease(&cluster()).filter(|lease| lease.phase == Phase::Held);
                let given_up = |epoch| held.is_none_or(|lease| lease.epoch != epoch) && epoch == state.granted;
                state.machines.iter().all(|machine| !machine.writes.is_some_and(given_up))
            }),
            Property::sometimes("reached: the other takes over", |_, state: &State| state.served[1]),
        ]
    }
}
