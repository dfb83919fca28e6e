//! What strikes: whom, how, and until when.

use std::sync::Arc;

use failover::{FailoverStrategy, NodeId, Request, Settings, Span, Workload};

use super::plan::{AmbushKind, CHANGE_STRATEGY, FaultKind, Theme, Trigger, node};
use super::world::{Ev, World};

impl World {
    pub(crate) fn strike(&mut self, index: usize) {
        let fault = self.plan.faults[index];
        if self.healed {
            return;
        }
        self.tell(|| format!("fault {index}: {:?} for {:.1} s", fault.kind, fault.lasts as f64 / 1e6));
        let until = self.now + fault.lasts;
        let group = self.machines.len();
        match fault.kind {
            FaultKind::Cut { .. } | FaultKind::Isolate(_) | FaultKind::CutFromGroup(_) | FaultKind::OnlyPeer { .. } => {
                for link in self.links(fault.kind) {
                    *self.cut.entry(link).or_insert(0) += 1;
                }
            }
            FaultKind::Delays => self.slow += 1,
            FaultKind::GroupDown => self.group.down_until = self.group.down_until.max(until),
            FaultKind::Election => self.election(),
            FaultKind::PauseAgent(machine) => self.pause_agent(machine, until),
            FaultKind::PauseMachine { machine, clock_stops } => self.pause_machine(machine, until, clock_stops),
            FaultKind::CrashAgent(machine) => {
                self.agent_down(machine);
                self.at(until, Ev::AgentUp { machine });
            }
            FaultKind::CrashMachine(machine) => {
                self.machine_down(machine);
                self.at(until, Ev::MachineUp { machine });
            }
            FaultKind::CrashWorkload(machine) => self.crash_workload(machine),
            FaultKind::CrashPrimary => {
                if let Some(machine) = (0..group).find(|index| self.machines[*index].db.primary().is_some()) {
                    self.crash_workload(machine);
                }
            }
            FaultKind::Switchover(machine) => {
                let epoch = self.epoch();
                self.admin(Request::Switchover { epoch, to: node(machine) });
            }
            FaultKind::Leave(machine) => self.leave(machine, 0, until),
            FaultKind::Withdraw => {
                self.admin(Request::Withdraw);
                for machine in 0..group {
                    // Some hear of it late, and some never.
                    if self.rng.chance(800) {
                        let hears = self.rng.between(0, 3_000_000);
                        self.leave(machine, hears, until);
                    }
                }
            }
            FaultKind::Remove(machine) => self.remove(machine, until),
            FaultKind::RemoveHolder => {
                let holder = self.group.table.lease(&self.cluster).and_then(|lease| lease.holder);
                if let Some(machine) = holder.and_then(|holder| self.index_of(holder)) {
                    self.remove(machine, until);
                }
            }
            FaultKind::PauseFailover => self.admin(Request::Pause),
            FaultKind::Reconfigure(how) => self.reconfigure(how),
            FaultKind::Reinit(machine) => self.admin(Request::Reinit { node: node(machine) }),
        }
        debug_assert!(group >= 2, "a cluster of one has nothing to strike");
        self.at(until, Ev::Lift(index));
    }

    pub(crate) fn lift(&mut self, index: usize) {
        if self.healed {
            return;
        }
        match self.plan.faults[index].kind {
            kind @ (FaultKind::Cut { .. }
            | FaultKind::Isolate(_)
            | FaultKind::CutFromGroup(_)
            | FaultKind::OnlyPeer { .. }) => {
                for link in self.links(kind) {
                    match self.cut.get_mut(&link) {
                        Some(count) if *count > 1 => *count -= 1,
                        _ => {
                            self.cut.remove(&link);
                        }
                    }
                }
            }
            FaultKind::Delays => self.slow = self.slow.saturating_sub(1),
            FaultKind::PauseFailover => self.admin(Request::Resume),
            FaultKind::Withdraw => {
                let mut settings = self.plan.settings.clone();
                if settings.candidates.len() > 2 && self.rng.chance(300) {
                    settings.candidates.rotate_left(1);
                    settings.first = None;
                }
                if self.plan.theme == Theme::Declarations && self.rng.chance(300) {
                    let gone = self.rng.index(settings.candidates.len());
                    settings = without(settings, node(gone));
                }
                self.admin(Request::Configure(Arc::new(settings)));
            }
            FaultKind::Remove(_) | FaultKind::RemoveHolder if self.declared.is_some() && self.rng.chance(700) => {
                let settings = Settings { first: None, ..self.plan.settings.clone() };
                self.admin(Request::Configure(Arc::new(settings)));
            }
            _ => {}
        }
    }

    /// A node is declared a candidate no more. It may hear of that late, and then its agent ends; or never.
    fn remove(&mut self, machine: usize, until: u64) {
        let Some(settings) = self.declared.clone() else { return };
        if settings.candidates.len() < 2 {
            return;
        }
        self.admin(Request::Configure(Arc::new(without((*settings).clone(), node(machine)))));
        if self.rng.chance(500) {
            let hears = self.rng.between(0, 3_000_000);
            self.leave(machine, hears, until);
        }
    }

    /// The agent is told to end after a while, ends a while later, and comes back.
    fn leave(&mut self, machine: usize, after: u64, until: u64) {
        let incarnation = self.machines[machine].incarnation;
        let by = self.machines[machine].local(self.now + after) + Span::from_secs(5);
        self.after(after, Ev::Local { machine, incarnation, event: Box::new(failover::Event::Leave { by }) });
        let ends = self.now + after + self.rng.between(1_000_000, 8_000_000);
        self.at(ends, Ev::AgentDown { machine });
        self.at(until.max(ends) + 1, Ev::AgentUp { machine });
    }

    /// The main process ends, and what it has started with it, or after a while of its own.
    fn crash_workload(&mut self, machine: usize) {
        if self.machines[machine].db.primary().is_none() || !self.machines[machine].runs(self.now) {
            return;
        }
        self.machines[machine].ended = true;
        if self.rng.chance(600) {
            self.machines[machine].db.turn_off();
        }
        let incarnation = self.machines[machine].incarnation;
        let event = if self.rng.chance(850) { failover::Event::Ended } else { failover::Event::Died };
        self.after(1_000, Ev::Local { machine, incarnation, event: Box::new(event) });
    }

    fn links(&self, kind: FaultKind) -> Vec<(usize, usize)> {
        let group = self.machines.len();
        let both = |a: usize, b: usize| [(a, b), (b, a)];
        match kind {
            FaultKind::Cut { from, to } => vec![(from, to)],
            FaultKind::CutFromGroup(machine) => both(machine, group).to_vec(),
            FaultKind::OnlyPeer { machine, peer } => {
                (0..=group).filter(|other| *other != peer).flat_map(|other| both(machine, other)).collect()
            }
            FaultKind::Isolate(machine) => (0..=group).flat_map(|other| both(machine, other)).collect(),
            _ => Vec::new(),
        }
    }

    fn election(&mut self) {
        let lasts = self.rng.between(10_000, 1_500_000);
        let leader = self.rng.index(super::group::LEADERS);
        self.group.elect(leader, self.now + lasts);
    }

    fn pause_agent(&mut self, index: usize, until: u64) {
        let machine = &mut self.machines[index];
        machine.agent_paused = machine.agent_paused.max(until);
        machine.hampered = machine.hampered.max(until);
        if machine.agent.is_some() {
            self.at(until, Ev::Wake { machine: index, wake: self.machines[index].wake });
        }
    }

    fn pause_machine(&mut self, index: usize, until: u64, clock_stops: bool) {
        let now = self.now;
        let machine = &mut self.machines[index];
        if !machine.up || machine.paused > now {
            return;
        }
        machine.paused = until;
        machine.resumed = until;
        machine.hampered = machine.hampered.max(until);
        if clock_stops {
            machine.stop_clock(now);
            // The clock goes on with the machine: the first thing that happens then finds it running.
            machine.start_clock(until);
        }
        self.at(until, Ev::Wake { machine: index, wake: self.machines[index].wake });
    }

    /// A change of settings that keeps the cluster's candidates.
    fn reconfigure(&mut self, how: u8) {
        let mut settings = self.settings().clone();
        match how {
            0 if settings.gated() && settings.candidates.len() > 2 => settings.sync = 3 - settings.sync.clamp(1, 2),
            1 if settings.ttl < Span::from_secs(20) => settings.ttl = settings.ttl + settings.ttl.part(3),
            2 => settings.ttl = self.plan.settings.ttl,
            3 if settings.candidates.len() > 2 && usize::from(settings.sync) + 2 < settings.candidates.len() + 1 => {
                settings.candidates.pop();
                settings.first = None;
            }
            CHANGE_STRATEGY if settings.workload == Workload::Service => {
                let split = settings.strategy == FailoverStrategy::SplitBrainAllowed;
                settings.ladder = if split { Settings::ladder_of(settings.ttl.part(4)) } else { Vec::new() };
                settings.strategy =
                    if split { FailoverStrategy::AbsoluteConsistency } else { FailoverStrategy::SplitBrainAllowed };
            }
            4 => settings.candidates = self.plan.settings.candidates.clone(),
            _ => settings.renew = settings.renew.times(2).part(3).max(self.plan.settings.renew.part(2)),
        }
        settings.hold_down_max = settings.hold_down_max.max(settings.ttl);
        self.admin(Request::Configure(Arc::new(settings)));
    }

    /// Lets a fault strike that waited for this; says whether one did.
    pub(crate) fn ambush(&mut self, index: usize, on: Trigger, before: bool) -> bool {
        if before {
            *self.triggered.entry(on).or_insert(0) += 1;
        }
        let seen = self.triggered.get(&on).copied().unwrap_or(0);
        let due = |a: &&super::plan::Ambush| a.on == on && a.before == before && a.after + 1 == seen;
        let Some(ambush) = self.plan.ambushes.iter().find(due).copied().filter(|_| !self.healed) else { return false };
        let until = self.now + ambush.lasts;
        self.tell(|| format!("{index}: ambushed {ambush:?}"));
        match ambush.kind {
            AmbushKind::PauseAgent => self.pause_agent(index, until),
            AmbushKind::PauseMachine => {
                let stops = self.plan.theme == Theme::StoppedClocks;
                self.pause_machine(index, until, stops);
            }
            AmbushKind::CrashAgent => {
                self.agent_down(index);
                self.at(until, Ev::AgentUp { machine: index });
            }
            AmbushKind::CrashMachine => {
                self.machine_down(index);
                self.at(until, Ev::MachineUp { machine: index });
            }
            AmbushKind::Election => self.election(),
            AmbushKind::CutFromGroup => {
                let links = self.links(FaultKind::CutFromGroup(index));
                for link in links {
                    // Until everything heals.
                    *self.cut.entry(link).or_insert(0) += 1;
                }
            }
        }
        true
    }

    /// Everything that was wrong is put right; from here on the cluster must recover by itself.
    pub(crate) fn heal(&mut self) {
        self.tell(|| "everything heals".to_owned());
        self.healed = true;
        self.cut.clear();
        self.slow = 0;
        self.group.down_until = self.now;
        let settings = Arc::new(self.plan.settings.clone());
        self.admin(Request::Configure(settings));
        self.admin(Request::Resume);
        for machine in 0..self.machines.len() {
            // Pauses that have begun end when they end, and that is soon enough.
            let late = self.machines[machine].paused.max(self.machines[machine].agent_paused).max(self.now);
            self.at(late, Ev::MachineUp { machine });
            self.at(late + 1, Ev::AgentUp { machine });
        }
    }
}

/// The same settings for one candidate fewer.
fn without(mut settings: Settings, gone: NodeId) -> Settings {
    settings.candidates.retain(|candidate| candidate.node != gone);
    settings.first = settings.first.filter(|first| *first != gone);
    settings.sync = settings.sync.min(u8::try_from(settings.candidates.len().saturating_sub(1)).unwrap_or(0));
    settings
}
