//! The world: a queue of what will happen, and what has.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::rc::Rc;
use std::sync::Arc;

use failover::mutation::Mutations;
use failover::{
    Attempt, Author, ClusterName, Durable, Entry, Epoch, Event, LocalTime, Node, Outcome, Request, Settings,
};

use super::db::{Record, Role};
use super::group::Group;
use super::machine::{Machine, REACTION};
use super::plan::{Plan, Trigger, node};
use super::rng::Rng;
use crate::invariants;
use crate::invariants::withdrawal::{Before, Reached};

/// Something that is going to happen. It is moved about a lot, so what is large is boxed, and shared by the copies of
/// one message.
#[derive(Clone, Debug)]
pub(crate) enum Ev {
    ToGroup(Rc<Asked>),
    ToNode { to: usize, event: Rc<Event>, sent: Option<u64> },
    Local { machine: usize, incarnation: u64, event: Box<Event> },
    Wake { machine: usize, wake: u64 },
    Bite { machine: usize, until: LocalTime },
    Do(Box<Doing>),
    Stream { machine: usize },
    Write { machine: usize },
    Flushed { to: usize, from: usize, epoch: Epoch, held: usize },
    Clock,
    Fault(usize),
    Lift(usize),
    AgentDown { machine: usize },
    AgentUp { machine: usize },
    MachineUp { machine: usize },
    WorkloadEnds { machine: usize, operation: u64 },
    Acted { machine: usize, incarnation: u64, epoch: Epoch, target: usize },
    Heal,
    End,
}

/// A request on its way to the group.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) from: usize,
    pub(crate) attempt: Attempt,
    pub(crate) request: Request,
    pub(crate) sent: u64,
}

/// Something that a machine is doing, by which start of its agent, and what makes it void.
#[derive(Clone, Debug)]
pub(crate) struct Doing {
    pub(crate) machine: usize,
    pub(crate) incarnation: u64,
    pub(crate) operation: Option<u64>,
    pub(crate) what: Deed,
}

#[derive(Clone, Debug)]
pub(crate) enum Deed {
    Start { epoch: Epoch, again: bool, until: LocalTime, sync: Option<failover::SyncSet>, serial: u64 },
    Stop { epoch: Epoch, tries: u32 },
    Fence { fence: u64, rung: failover::settings::Rung, succeeds: bool, begun: u64 },
    Detach { serial: u64 },
    Attach { source: usize, epoch: Epoch },
    Sync { serial: u64, set: failover::SyncSet },
    Rebuild { serial: u64, source: usize, epoch: Epoch },
}

/// A write that a client was told is safe.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Acked {
    pub(crate) record: Record,
    pub(crate) index: usize,
}

/// A workload that became writable.
#[derive(Clone, Debug)]
pub(crate) struct Began {
    pub(crate) epoch: Epoch,
    pub(crate) log: Rc<Vec<Record>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Violation {
    pub(crate) invariant: &'static str,
    pub(crate) at: u64,
    pub(crate) what: String,
}

/// What became of a schedule.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    pub(crate) violation: Option<Violation>,
    pub(crate) events: u64,
    pub(crate) acked: usize,
    pub(crate) epochs: u64,
    pub(crate) trace: Vec<String>,
    /// A digest of everything that happened, in order.
    pub(crate) digest: u64,
}

pub(crate) struct World {
    pub(crate) now: u64,
    pub(crate) plan: Plan,
    pub(crate) mutations: Mutations,
    pub(crate) rng: Rng,
    pub(crate) cluster: ClusterName,
    pub(crate) machines: Vec<Machine>,
    pub(crate) group: Group,
    pub(crate) acked: Vec<Acked>,
    pub(crate) began: Vec<Began>,
    pub(crate) last_ack: u64,
    /// Nodes against which a remote action was verified, by epoch.
    pub(crate) felled: BTreeSet<u64>,
    /// Epochs whose holder has said that it is done.
    pub(crate) parted: BTreeSet<u64>,
    /// Epochs that were granted.
    pub(crate) granted: BTreeSet<u64>,
    /// Epochs that were granted after the holder before had stopped in order.
    pub(crate) handed_over: BTreeSet<u64>,
    /// Who wrote in which epoch while another wrote in a later one.
    pub(crate) beside: BTreeSet<(usize, Epoch)>,
    /// Whose writes in which epoch were to be merged, and by which start of its agent that was said.
    pub(crate) reconciled: BTreeMap<(usize, Epoch), Vec<u64>>,
    /// What strikes whom at the moment: links that are cut, counted.
    pub(crate) cut: BTreeMap<(usize, usize), u32>,
    pub(crate) slow: u32,
    pub(crate) triggered: BTreeMap<Trigger, u64>,
    pub(crate) healed: bool,
    pub(crate) violation: Option<Violation>,
    pub(crate) records: u64,
    /// What is declared, if the cluster is not withdrawn.
    pub(crate) declared: Option<Arc<Settings>>,
    /// How far the lease has ever come.
    pub(crate) furthest: Reached,
    /// Whether the lease has changed since [`invariants::sync_set`] was looked at.
    pub(crate) lease_changed: bool,
    queue: BinaryHeap<Reverse<When>>,
    slots: Vec<Option<Ev>>,
    free: Vec<usize>,
    /// When everything that recurs all the time comes next: the clock, and each machine's streaming and writing.
    recurring: Vec<When>,
    order: u64,
    events: u64,
    digest: u64,
    trace: Option<Vec<String>>,
}

/// When something happens, its place among what happens at that instant, and where it is kept: in one number, as that is
/// compared more often than anything else. There are less than 2^40 events in a schedule, and less than 2^24 at once.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct When(u128);

impl When {
    const NEVER: Self = Self(u128::MAX);

    const fn new(at: u64, order: u64, slot: usize) -> Self {
        debug_assert!(order < 1 << 40 && slot < 1 << 24, "too much happens");
        Self(((at as u128) << 64) | ((order as u128) << 24) | slot as u128)
    }

    const fn at(self) -> u64 {
        (self.0 >> 64) as u64
    }

    const fn slot(self) -> usize {
        (self.0 & 0xff_ffff) as usize
    }
}

impl World {
    pub(crate) fn new(plan: Plan, mutations: Mutations, trace: bool) -> Self {
        let mut rng = Rng::new(plan.seed ^ 0x00c0_ffee);
        let count = plan.settings.candidates.len();
        let drift = |index: usize| plan.knobs.drift.get(index).copied().unwrap_or(0);
        let machines = (0..count).map(|index| Machine::new(drift(index), rng.between(0, 1_000_000_000))).collect();
        let cluster = ClusterName::try_from("postgres/orders".to_owned()).expect("a name");
        let mut world = Self {
            now: 0,
            group: Group::new(plan.knobs.drift.get(count..).unwrap_or(&[]), mutations),
            plan,
            mutations,
            rng,
            cluster,
            machines,
            acked: Vec::new(),
            began: Vec::new(),
            last_ack: 0,
            felled: BTreeSet::new(),
            parted: BTreeSet::new(),
            granted: BTreeSet::new(),
            handed_over: BTreeSet::new(),
            beside: BTreeSet::new(),
            reconciled: BTreeMap::new(),
            cut: BTreeMap::new(),
            slow: 0,
            triggered: BTreeMap::new(),
            healed: false,
            violation: None,
            records: 0,
            declared: None,
            furthest: Reached::default(),
            lease_changed: true,
            queue: BinaryHeap::new(),
            slots: Vec::new(),
            free: Vec::new(),
            recurring: vec![When::NEVER; 2 * count + 1],
            order: 0,
            events: 0,
            digest: 0,
            trace: trace.then(Vec::new),
        };
        world.set_up();
        world
    }

    fn set_up(&mut self) {
        let settings = Arc::new(self.plan.settings.clone());
        self.admin(Request::Configure(settings));
        for machine in 0..self.machines.len() {
            self.after(self.plan.seed % 7 * 10_000, Ev::AgentUp { machine });
            self.after(100_000, Ev::Stream { machine });
            self.after(150_000, Ev::Write { machine });
        }
        self.after(1_000_000, Ev::Clock);
        for index in 0..self.plan.faults.len() {
            self.after(self.plan.faults[index].at, Ev::Fault(index));
        }
        self.after(self.plan.heal_at, Ev::Heal);
        self.after(self.plan.heal_at + self.plan.settings.ttl.times(3).as_micros(), Ev::End);
    }

    /// How long a healed cluster may take until it serves, in microseconds: the longest hold-down and a lease more.
    pub(crate) fn recovery(&self) -> u64 {
        (self.plan.settings.hold_down_max + self.plan.settings.ttl.times(12)).as_micros()
    }

    pub(crate) fn play(mut self) -> Run {
        while let Some((at, event)) = self.next() {
            self.now = at;
            if matches!(event, Ev::End) {
                // Over as soon as it has recovered, and when it must have.
                let late = at >= self.plan.heal_at + self.recovery();
                if late || invariants::recovery::is_well(&self) {
                    invariants::at_end(&mut self);
                    break;
                }
                self.after(self.plan.settings.ttl.as_micros(), Ev::End);
                continue;
            }
            self.events += 1;
            self.happen(event);
            invariants::always(&mut self);
            if self.violation.is_some() {
                break;
            }
        }
        let epochs = self.epoch().0;
        Run {
            violation: self.violation,
            events: self.events,
            acked: self.acked.len(),
            epochs,
            trace: self.trace.unwrap_or_default(),
            digest: self.digest,
        }
    }

    pub(crate) fn after(&mut self, delay: u64, event: Ev) {
        self.at(self.now.saturating_add(delay), event);
    }

    /// Takes what comes next: what recurs is most of it, and is kept beside the queue.
    fn next(&mut self) -> Option<(u64, Ev)> {
        let recurs = self.recurring.iter().copied().fold(When::NEVER, When::min);
        let queued = self.queue.peek().map_or(When::NEVER, |Reverse(when)| *when);
        if recurs < queued {
            let index = recurs.slot();
            self.recurring[index] = When::NEVER;
            let event = match (index / 2, index % 2) {
                (machine, _) if machine >= self.machines.len() => Ev::Clock,
                (machine, 0) => Ev::Stream { machine },
                (machine, _) => Ev::Write { machine },
            };
            return Some((recurs.at(), event));
        }
        let slot = self.queue.pop()?.0.slot();
        self.free.push(slot);
        Some((queued.at(), self.slots.get_mut(slot)?.take()?))
    }

    pub(crate) fn at(&mut self, at: u64, event: Ev) {
        self.order += 1;
        let at = at.max(self.now);
        let recurs = match event {
            Ev::Stream { machine } => Some(2 * machine),
            Ev::Write { machine } => Some(2 * machine + 1),
            Ev::Clock => Some(2 * self.machines.len()),
            _ => None,
        };
        if let Some(index) = recurs {
            self.recurring[index] = When::new(at, self.order, index);
            return;
        }
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        self.slots[slot] = Some(event);
        self.queue.push(Reverse(When::new(at, self.order, slot)));
    }

    pub(crate) fn tell(&mut self, text: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{:>10.3} {}", self.now as f64 / 1e6, text()));
        }
    }

    pub(crate) fn violate(&mut self, invariant: &'static str, what: String) {
        if self.violation.is_none() {
            self.tell(|| format!("VIOLATED {invariant}: {what}"));
            self.violation = Some(Violation { invariant, at: self.now, what });
        }
    }

    /// The group orders this.
    pub(crate) fn order(&mut self, entry: &Entry) -> Outcome {
        let before = self.group.table.lease(&self.cluster).map(Before::of);
        let outcome = self.group.apply(self.now, entry);
        invariants::ordered(self, entry, &outcome, before);
        outcome
    }

    pub(crate) fn admin(&mut self, request: Request) {
        let ask = Entry::Ask {
            cluster: self.cluster.clone(),
            author: Author::Admin,
            attempt: Attempt { boot: 0, seq: 0 },
            request,
        };
        let outcome = self.order(&ask);
        self.tell(|| format!("admin: {:?}", outcome.answer));
    }

    /// The latest epoch that was ever granted.
    pub(crate) fn epoch(&self) -> Epoch {
        Epoch(self.granted.last().copied().unwrap_or(0))
    }

    pub(crate) fn settings(&self) -> &Settings {
        self.group.table.lease(&self.cluster).map_or(&self.plan.settings, |lease| &lease.settings)
    }

    fn happen(&mut self, event: Ev) {
        if let Some(later) = self.must_wait(&event) {
            self.at(later, event);
            return;
        }
        self.digest = self.digest.rotate_left(5) ^ self.now.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ self.order;
        match event {
            Ev::ToGroup(asked) => self.group_hears(Rc::unwrap_or_clone(asked)),
            Ev::ToNode { to, event, sent } => {
                if let (Some(sent), Event::Answered(outcome)) = (sent, &*event)
                    && outcome.answer.is_ok()
                {
                    self.machines[to].touched.push(sent);
                }
                self.give(to, Rc::unwrap_or_clone(event));
            }
            Ev::Local { machine, incarnation, event } => {
                if self.machines[machine].incarnation == incarnation {
                    self.give(machine, *event);
                }
            }
            Ev::Wake { machine, wake } => {
                if self.machines[machine].wake == wake {
                    self.give(machine, Event::Tick);
                }
            }
            Ev::Bite { machine, until } => self.bite(machine, until),
            Ev::Do(doing) => {
                let Doing { machine, incarnation, operation, what } = *doing;
                let current = operation.is_none_or(|operation| operation == self.machines[machine].db.operation);
                if self.machines[machine].up && current {
                    self.deed(machine, incarnation, what);
                }
            }
            Ev::Stream { machine } => {
                self.stream(machine);
                let next = self.pace(80_000);
                self.after(next, Ev::Stream { machine });
            }
            Ev::Write { machine } => {
                self.write(machine);
                let next = self.pace(120_000);
                self.after(next, Ev::Write { machine });
            }
            Ev::Flushed { to, from, epoch, held } => self.flushed(to, from, epoch, held),
            Ev::Clock => {
                if self.group.is_up(self.now) {
                    self.order(&Entry::Clock);
                }
                self.after(1_000_000, Ev::Clock);
            }
            Ev::Fault(index) => self.strike(index),
            Ev::Lift(index) => self.lift(index),
            Ev::AgentUp { machine } => self.agent_up(machine),
            Ev::AgentDown { machine } => self.agent_down(machine),
            Ev::MachineUp { machine } => self.machine_up(machine),
            Ev::WorkloadEnds { machine, operation } => {
                if self.machines[machine].db.operation == operation {
                    self.machines[machine].db.turn_off();
                    self.tell(|| format!("{machine}: the workload ends with its agent"));
                }
            }
            Ev::Acted { machine, incarnation, epoch, target } => self.felled(machine, incarnation, epoch, target),
            Ev::Heal => self.heal(),
            Ev::End => {}
        }
    }

    /// How long until the next of something that recurs; slower with slower leases.
    fn pace(&mut self, micros: u64) -> u64 {
        let usual = micros * self.plan.settings.ttl.as_micros() / 5_000_000;
        usual + self.rng.between(0, usual)
    }

    /// What is meant for something that is paused happens when it goes on.
    fn must_wait(&self, event: &Ev) -> Option<u64> {
        let (machine, of_agent) = match event {
            Ev::ToNode { to, .. } => (*to, true),
            Ev::Local { machine, .. } | Ev::Wake { machine, .. } | Ev::AgentUp { machine } => (*machine, true),
            Ev::Bite { machine, .. } => {
                // The watchdog is a process of the machine, and needs an instant after a pause.
                let machine = &self.machines[*machine];
                return (machine.paused > self.now).then(|| machine.paused + REACTION / 2);
            }
            Ev::Do(doing) => (doing.machine, false),
            Ev::WorkloadEnds { machine, .. } | Ev::Write { machine } | Ev::Stream { machine } => (*machine, false),
            Ev::Flushed { to, .. } => (*to, false),
            _ => return None,
        };
        let machine = &self.machines[machine];
        let until = if of_agent { machine.paused.max(machine.agent_paused) } else { machine.paused };
        (until > self.now).then_some(until)
    }

    fn give(&mut self, index: usize, event: Event) {
        let now = self.machines[index].local(self.now);
        let machine = &mut self.machines[index];
        let Some(agent) = machine.agent.as_mut().filter(|_| machine.up) else { return };
        let before = agent.stand();
        match &event {
            Event::Asked { from, attempt, .. } => {
                machine.asked.entry((*from, *attempt)).or_insert(now);
            }
            Event::Leave { .. } => machine.ended = true,
            Event::Answered(outcome) => {
                if let (Some(served), Some(view)) = (machine.db.primary(), &outcome.view)
                    && served < view.epoch
                    && machine.met.is_none()
                {
                    machine.met = Some((self.now, served));
                }
            }
            _ => {}
        }
        if let Some(trace) = &mut self.trace
            && !matches!(event, Event::Tick | Event::Progress { .. })
        {
            trace.push(format!("{:>10.3} {index}: {event:?}", self.now as f64 / 1e6));
        }
        agent.handle(now, event);
        let after = agent.stand();
        if before != after {
            self.tell(|| format!("{index}: {} {:?}", before.word(), after));
            invariants::turned(self, index, before, after);
        }
        self.carry_out(index);
    }

    pub(crate) fn agent_up(&mut self, index: usize) {
        let now = self.machines[index].local(self.now);
        let machine = &mut self.machines[index];
        if !machine.up || machine.agent.is_some() {
            return;
        }
        machine.incarnation += 1;
        machine.fencing_since = Some(self.now);
        machine.exhausted = false;
        machine.touched.clear();
        machine.recorded = "resting".to_owned();
        machine.degraded = None;
        machine.agent = Some(Node::start_with_mutations(node(index), machine.durable, now, self.mutations));
        self.tell(|| format!("{index}: the agent starts"));
        self.carry_out(index);
    }

    pub(crate) fn agent_down(&mut self, index: usize) {
        let linger = self.rng.between(0, 1_000_000);
        let machine = &mut self.machines[index];
        if machine.agent.take().is_none() {
            return;
        }
        machine.agent_paused = 0;
        machine.incarnation += 1;
        machine.hampered = self.now;
        machine.met = None;
        machine.fencing_since = None;
        machine.revived.clear();
        // What the agent had begun it does not finish, but what runs, runs on until it is ended.
        machine.db.operation += 1;
        let operation = machine.db.operation;
        if !self.plan.knobs.unbound && machine.db.role != Role::Off {
            self.after(linger, Ev::WorkloadEnds { machine: index, operation });
        }
        self.tell(|| format!("{index}: the agent dies"));
    }

    pub(crate) fn machine_down(&mut self, index: usize) {
        self.agent_down(index);
        let machine = &mut self.machines[index];
        machine.up = false;
        machine.paused = 0;
        machine.db.turn_off();
        machine.watchdog = LocalTime::NEVER;
        self.tell(|| format!("{index}: the machine goes down"));
    }

    fn machine_up(&mut self, index: usize) {
        let now = self.now;
        let machine = &mut self.machines[index];
        if machine.up {
            return;
        }
        machine.up = true;
        machine.boot_clock(now);
        machine.promises.clear();
        machine.asked.clear();
        self.tell(|| format!("{index}: the machine boots"));
        let delay = self.rng.between(0, 2_000_000);
        self.after(delay, Ev::AgentUp { machine: index });
    }

    fn bite(&mut self, index: usize, until: LocalTime) {
        let machine = &self.machines[index];
        if !machine.up || machine.watchdog != until {
            return;
        }
        if machine.local(self.now) < until {
            let again = machine.real(until);
            self.at(again, Ev::Bite { machine: index, until });
            return;
        }
        let incarnation = machine.incarnation;
        invariants::bitten(self, index);
        self.tell(|| format!("{index}: the watchdog bites"));
        let machine = &mut self.machines[index];
        machine.watchdog = LocalTime::NEVER;
        machine.db.turn_off();
        let delay = self.rng.between(1_000, 100_000);
        self.after(delay, Ev::Local { machine: index, incarnation, event: Box::new(Event::Bitten) });
    }

    /// A record that no other is.
    pub(crate) fn record(&mut self) -> u64 {
        self.records += 1;
        self.records
    }

    pub(crate) fn durable(&mut self, index: usize, durable: Durable) {
        self.machines[index].durable = durable;
    }
}
