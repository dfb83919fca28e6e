//! Carries out what nodes want done: the network, the workload, the fence.

use std::rc::Rc;

use failover::{Author, Command, Entry, Event, LocalTime, NodeId, Phase, Request};

use super::db::Role;
use super::plan::{Knobs, Trigger, node};
use super::world::{Acked, Asked, Began, Deed, Doing, Ev, World};
use crate::invariants;

impl World {
    pub(crate) fn index_of(&self, id: NodeId) -> Option<usize> {
        (0..self.machines.len()).find(|index| node(*index) == id)
    }

    /// Carries out the commands of a node in order. Whatever strikes between two of them, the rest is never done.
    pub(crate) fn carry_out(&mut self, index: usize) {
        let incarnation = self.machines[index].incarnation;
        loop {
            let machine = &mut self.machines[index];
            if machine.incarnation != incarnation || machine.paused > self.now || machine.agent_paused > self.now {
                break;
            }
            let Some(command) = machine.agent.as_mut().and_then(failover::Node::poll_command) else { break };
            let trigger = trigger_of(&command);
            if trigger.is_some_and(|trigger| self.ambush(index, trigger, true)) && self.is_struck(index, incarnation) {
                // Struck before it was done. A paused agent does it when it goes on.
                if self.machines[index].incarnation == incarnation {
                    self.carry(index, incarnation, command);
                }
                break;
            }
            self.carry(index, incarnation, command);
            if let Some(trigger) = trigger {
                self.ambush(index, trigger, false);
            }
        }
        if !self.is_struck(index, incarnation) {
            invariants::carried_out(self, index);
        }
        self.set_alarm_clock(index);
    }

    fn is_struck(&self, index: usize, incarnation: u64) -> bool {
        let machine = &self.machines[index];
        machine.incarnation != incarnation || machine.paused > self.now || machine.agent_paused > self.now
    }

    fn set_alarm_clock(&mut self, index: usize) {
        let machine = &mut self.machines[index];
        machine.wake += 1;
        let Some(agent) = &machine.agent else { return };
        let (wake, at) = (machine.wake, machine.real(agent.next_deadline()));
        self.at(at.max(self.now + 1), Ev::Wake { machine: index, wake });
    }

    fn carry(&mut self, index: usize, incarnation: u64, command: Command) {
        if !matches!(command, Command::Record(_) | Command::Watchdog { .. }) {
            self.tell(|| format!("{index}: > {command:?}"));
        }
        // What is done while the agent is paused is done when it goes on.
        let wait = self.machines[index].agent_paused.max(self.machines[index].paused).saturating_sub(self.now);
        match command {
            Command::Persist(durable) => self.durable(index, durable),
            Command::Send { attempt, request } => {
                let (from, sent) = (index, self.now);
                self.send(
                    index,
                    self.machines.len(),
                    wait,
                    Ev::ToGroup(Rc::new(Asked { from, attempt, request, sent })),
                );
            }
            Command::Ask { to, attempt, epoch, term } => {
                let event = Rc::new(Event::Asked { from: node(index), attempt, epoch, term });
                if let Some(to) = self.index_of(to) {
                    self.send(index, to, wait, Ev::ToNode { to, event, sent: None });
                }
            }
            Command::Promise { to, attempt } => {
                invariants::promised(self, index, to, attempt);
                let event = Rc::new(Event::Promised { from: node(index), attempt });
                if let Some(to) = self.index_of(to) {
                    self.send(index, to, wait, Ev::ToNode { to, event, sent: None });
                }
            }
            Command::Watchdog { until } => {
                self.machines[index].watchdog = until;
                if until != LocalTime::NEVER {
                    let at = self.machines[index].real(until);
                    self.at(at, Ev::Bite { machine: index, until });
                }
            }
            Command::Start { epoch, again, until, sync, serial } => {
                if again {
                    invariants::revived(self, index, epoch);
                }
                let slow = self.rng.chance(400);
                let takes = self.rng.between(10_000, if slow { 2_000_000 } else { 60_000 });
                self.begin(index, incarnation, wait + takes, Deed::Start { epoch, again, until, sync, serial });
            }
            Command::Stop { epoch, .. } => {
                let takes = self.rng.between(20_000, 500_000);
                self.begin(index, incarnation, wait + takes, Deed::Stop { epoch, tries: 0 });
            }
            Command::Fence { fence, rung, by } => self.fence(index, incarnation, wait, (fence, rung, by)),
            Command::Detach { serial } => {
                let takes = self.rng.between(5_000, 300_000);
                self.begin(index, incarnation, wait + takes, Deed::Detach { serial });
            }
            Command::Attach { holder, epoch } => {
                let takes = self.rng.between(5_000, 300_000);
                if let Some(source) = self.index_of(holder) {
                    self.begin(index, incarnation, wait + takes, Deed::Attach { source, epoch });
                }
            }
            Command::ApplySync { serial, set } => {
                let takes = self.rng.between(5_000, 1_500_000);
                let what = Deed::Sync { serial, set };
                self.after(wait + takes, doing(index, incarnation, None, what));
            }
            Command::Rebuild { serial, holder, epoch } => {
                self.machines[index].db.log.clear();
                let takes = self.rng.between(500_000, 4_000_000);
                if let Some(source) = self.index_of(holder) {
                    self.begin(index, incarnation, wait + takes, Deed::Rebuild { serial, source, epoch });
                }
            }
            Command::Act { epoch, target, .. } => {
                let takes = self.rng.between(100_000, 2_000_000);
                if let Some(target) = self.index_of(target) {
                    self.after(wait + takes, Ev::Acted { machine: index, incarnation, epoch, target });
                }
            }
            Command::Alarm(alarm) => invariants::alarmed(self, index, alarm),
            Command::Reconcile { epoch } => invariants::reconciled(self, index, epoch),
            Command::Record(event) => invariants::recorded(self, index, event),
        }
    }

    /// Begins something that makes unfinished things of the workload void.
    fn begin(&mut self, machine: usize, incarnation: u64, takes: u64, what: Deed) {
        let db = &mut self.machines[machine].db;
        // Whatever is begun, a fence above all, makes an unfinished start void.
        db.operation += 1;
        if !matches!(what, Deed::Fence { .. }) {
            db.start = db.operation;
        }
        let operation = if matches!(what, Deed::Fence { .. }) { None } else { Some(db.operation) };
        self.after(takes, doing(machine, incarnation, operation, what));
    }

    fn fence(
        &mut self,
        machine: usize,
        incarnation: u64,
        wait: u64,
        (fence, rung, by): (u64, failover::settings::Rung, LocalTime),
    ) {
        let budget = by.since(self.machines[machine].local(self.now)).as_micros();
        let slow = !self.healed && self.rng.chance(self.plan.knobs.fence_slow);
        let fails = !self.healed && self.rng.chance(self.plan.knobs.fence_fails);
        let takes =
            if slow { self.rng.between(budget, budget * 4) } else { self.rng.between(1_000, budget.max(8) / 4) };
        let what = Deed::Fence { fence, rung, succeeds: !fails, begun: self.machines[machine].db.operation };
        self.begin(machine, incarnation, wait + takes, what);
    }

    /// Something that was begun comes to its end.
    pub(crate) fn deed(&mut self, machine: usize, incarnation: u64, what: Deed) {
        let now = self.now;
        let local = self.machines[machine].local(now);
        let event = match what {
            Deed::Start { epoch, again, until, sync, serial } => {
                if local >= until {
                    Event::Died
                } else {
                    if self.machines[machine].db.primary().is_some() {
                        self.violate("revival", format!("{machine} starts epoch {epoch} beside what runs"));
                    }
                    let record = self.record();
                    self.machines[machine].db.become_primary(epoch, sync, serial, record);
                    let log = Rc::new(self.machines[machine].db.log.clone());
                    invariants::began(self, machine, (epoch, again), &log);
                    self.machines[machine].ended = false;
                    self.began.push(Began { epoch, log });
                    self.acknowledge(machine);
                    Event::Started { epoch }
                }
            }
            Deed::Stop { epoch, tries } => {
                // In order: standbys that are there get everything first.
                let behind = self.standbys_behind(machine, epoch);
                if behind && tries < 40 {
                    let operation = Some(self.machines[machine].db.operation);
                    let what = Deed::Stop { epoch, tries: tries + 1 };
                    self.after(100_000, doing(machine, incarnation, operation, what));
                    return;
                }
                self.machines[machine].db.turn_off();
                Event::Stopped { epoch, position: self.machines[machine].db.position() }
            }
            Deed::Fence { fence, rung, succeeds, begun } => {
                // What an agent that is gone had begun is over with it.
                let db = &self.machines[machine].db;
                if self.machines[machine].incarnation != incarnation || begun < db.start {
                    return;
                }
                if succeeds {
                    self.machines[machine].db.turn_off();
                }
                let position = (succeeds && self.rng.chance(700)).then(|| self.machines[machine].db.position());
                Event::FenceResult { fence, rung, verified: succeeds, position }
            }
            Deed::Detach { serial } => {
                self.machines[machine].db.role = Role::Alone;
                Event::Detached { serial, position: Some(self.machines[machine].db.position()) }
            }
            Deed::Attach { source, epoch } => {
                self.machines[machine].db.role = Role::Standby { source, epoch, joined: false };
                return;
            }
            Deed::Sync { serial, set } => {
                // However they overtake each other, an earlier set never takes the place of a later one.
                let db = &self.machines[machine].db;
                let current = db.primary().is_some() && serial >= db.serial;
                if self.machines[machine].incarnation == incarnation && current {
                    self.machines[machine].db.apply_sync(Some(set), serial);
                }
                return;
            }
            Deed::Rebuild { serial, source, epoch } => {
                if self.machines[source].db.primary() != Some(epoch) || !self.reaches(source, machine) {
                    let operation = Some(self.machines[machine].db.operation);
                    let what = Deed::Rebuild { serial, source, epoch };
                    self.after(500_000, doing(machine, incarnation, operation, what));
                    return;
                }
                let log = self.machines[source].db.log.clone();
                self.machines[machine].db.log = log;
                self.machines[machine].db.role = Role::Alone;
                Event::Rebuilt { epoch, serial }
            }
        };
        self.after(0, Ev::Local { machine, incarnation, event: Box::new(event) });
    }

    fn standbys_behind(&self, machine: usize, epoch: failover::Epoch) -> bool {
        let length = self.machines[machine].db.log.len();
        self.machines.iter().any(|other| match other.db.role {
            Role::Standby { source, epoch: of, .. } => {
                source == machine && of == epoch && other.runs(self.now) && other.db.log.len() < length
            }
            _ => false,
        })
    }

    pub(crate) fn group_hears(&mut self, Asked { from, attempt, request, sent }: Asked) {
        if !self.group.is_up(self.now) {
            return;
        }
        let author = Author::Node(node(from));
        let ask = Entry::Ask { cluster: self.cluster.clone(), author, attempt, request };
        let outcome = self.order(&ask);
        if let Some(lease) = self.group.table.lease(&self.cluster)
            && matches!(lease.phase, Phase::Fenced | Phase::Released | Phase::Proven)
        {
            self.parted.insert(lease.epoch.0);
        }
        let event = Rc::new(Event::Answered(outcome));
        self.send(self.machines.len(), from, 0, Ev::ToNode { to: from, event, sent: Some(sent) });
    }

    pub(crate) fn reaches(&self, from: usize, to: usize) -> bool {
        !self.cut.contains_key(&(from, to))
    }

    /// A message on its way: lost, doubled, kept back, overtaken.
    pub(crate) fn send(&mut self, from: usize, to: usize, wait: u64, message: Ev) {
        let Knobs { loss, duplicates, attic, delay: usual, .. } = self.plan.knobs;
        let copies = if !self.healed && self.rng.chance(duplicates) { 2 + self.rng.index(2) } else { 1 };
        for _ in 0..copies {
            if !self.reaches(from, to) || (!self.healed && self.rng.chance(loss)) {
                continue;
            }
            let mut delay = self.rng.between(200, usual.max(400));
            if !self.healed && self.rng.chance(attic) {
                delay += self.rng.between(0, self.plan.settings.ttl.as_micros() * 3);
            }
            if self.slow > 0 {
                delay += self.rng.between(0, self.plan.settings.ttl.as_micros());
            }
            if copies == 1 {
                return self.after(wait + delay, message);
            }
            self.after(wait + delay, message.clone());
        }
    }

    pub(crate) fn stream(&mut self, machine: usize) {
        let Role::Standby { source, epoch, joined } = self.machines[machine].db.role else { return };
        let primary = &self.machines[source];
        let serves = primary.up && primary.runs(self.now) && primary.db.primary() == Some(epoch);
        let both = self.reaches(source, machine) && self.reaches(machine, source);
        if !self.machines[machine].runs(self.now) || !serves || !(joined || both) || !self.reaches(source, machine) {
            return;
        }
        let most = 1 + self.rng.index(40);
        let Ok([standby, primary]) = self.machines.get_disjoint_mut([machine, source]) else { return };
        let (db, log) = (&mut standby.db, &primary.db.log);
        if !joined {
            db.rewind_to(log);
            db.role = Role::Standby { source, epoch, joined: true };
        }
        let from = db.log.len();
        db.log.extend(log.iter().skip(from).take(most));
        let (held, position) = (db.log.len(), db.position());
        self.send(machine, source, 0, Ev::Flushed { to: source, from: machine, epoch, held });
        let incarnation = self.machines[machine].incarnation;
        self.after(0, Ev::Local { machine, incarnation, event: Box::new(Event::Progress { position }) });
    }

    pub(crate) fn write(&mut self, machine: usize) {
        let epoch = self.machines[machine].db.primary();
        if let Some(epoch) = epoch.filter(|_| self.machines[machine].runs(self.now)) {
            let record = (epoch.0, self.record());
            self.machines[machine].db.log.push(record);
            self.acknowledge(machine);
        }
    }

    pub(crate) fn flushed(&mut self, to: usize, from: usize, epoch: failover::Epoch, held: usize) {
        let db = &mut self.machines[to].db;
        if db.primary() == Some(epoch) {
            let known = db.flushed.entry(node(from)).or_insert(0);
            *known = (*known).max(held);
            self.acknowledge(to);
        }
    }

    /// Tells clients of every write that is safe by the rule of the primary.
    fn acknowledge(&mut self, machine: usize) {
        let Some(epoch) = self.machines[machine].db.primary() else { return };
        let upto = self.machines[machine].db.acknowledgeable();
        let db = &mut self.machines[machine].db;
        let (from, serial) = (db.acknowledged, db.serial);
        let fresh: Vec<Acked> = (from..upto).map(|index| Acked { record: db.log[index], index }).collect();
        db.acknowledged = db.acknowledged.max(upto);
        let proven = db.proving.is_some_and(|length| upto > length);
        if proven {
            db.proving = None;
        }
        for acked in fresh {
            invariants::acknowledged(self, machine, epoch, acked);
            self.acked.push(acked);
            self.last_ack = self.now;
        }
        if proven {
            let incarnation = self.machines[machine].incarnation;
            self.after(0, Ev::Local { machine, incarnation, event: Box::new(Event::SyncInForce { serial }) });
        }
    }

    /// Somebody switched a machine off from outside, and has seen that it is.
    pub(crate) fn felled(&mut self, machine: usize, incarnation: u64, epoch: failover::Epoch, target: usize) {
        let verified = self.healed || self.rng.chance(700);
        if verified {
            self.machine_down(target);
            self.felled.insert(epoch.0);
            let delay = self.rng.between(1_000_000, 20_000_000);
            self.after(delay, Ev::MachineUp { machine: target });
        }
        self.after(0, Ev::Local { machine, incarnation, event: Box::new(Event::Acted { epoch, verified }) });
    }
}

fn doing(machine: usize, incarnation: u64, operation: Option<u64>, what: Deed) -> Ev {
    Ev::Do(Box::new(Doing { machine, incarnation, operation, what }))
}

fn trigger_of(command: &Command) -> Option<Trigger> {
    match command {
        Command::Start { .. } => Some(Trigger::Start),
        Command::Send { request: Request::Acquire { .. }, .. } => Some(Trigger::Acquire),
        Command::Send { request: Request::FenceConfirmed { .. } | Request::Release { .. }, .. } => {
            Some(Trigger::Parting)
        }
        Command::Send { request: Request::Report { .. }, .. } => Some(Trigger::Report),
        Command::Promise { .. } => Some(Trigger::Promise),
        Command::Detach { .. } => Some(Trigger::Detach),
        Command::Attach { .. } => Some(Trigger::Attach),
        Command::Stop { .. } => Some(Trigger::Stop),
        Command::Fence { .. } => Some(Trigger::Fence),
        Command::ApplySync { .. } => Some(Trigger::Sync),
        Command::Persist(_) => Some(Trigger::Persist),
        _ => None,
    }
}
