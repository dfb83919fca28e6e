//! The fence: begun when the lease can no longer be proven in time, done when a rung is verified, never silently over.

use super::io::{Alarm, Command, Stand};
use super::term::{Shadow, Term};
use super::{How, Node, Parting};
use crate::flight::Happening;
use crate::ids::{Epoch, Position};
use crate::mutation::Mutation;
use crate::settings::{FailoverStrategy, Rung, RungPlan, Settings};
use crate::table::FenceProof;
use crate::time::{LocalTime, Span};

impl Node {
    /// When a fence must begin so that all of the ladder fits before the lease is over.
    pub(super) fn fence_at(&self) -> LocalTime {
        self.term.map_or(LocalTime::NEVER, |term| self.fence_before(term.until))
    }

    /// The same for another end of the lease.
    pub(super) fn fence_before(&self, end: LocalTime) -> LocalTime {
        match &self.settings {
            Some(settings) if !self.waits_for_no_group() => end - settings.fence_budget(),
            _ => LocalTime::NEVER,
        }
    }

    /// Whether this node's lease cannot be taken however silent the group is: failover is paused, and was so when it
    /// last heard. The group lets nobody take over after a pause until this node has acknowledged its end.
    pub(super) fn waits_for_no_group(&self) -> bool {
        let Some(view) = &self.view else { return false };
        view.paused && view.holder == Some(self.me) && self.term.is_some_and(|term| term.epoch == view.epoch)
    }

    /// Fences, or serves on without a lease where that is allowed, when the lease is about to end.
    pub(super) fn guard_lease(&mut self) {
        let Some(epoch) = self.stand.held() else { return };
        if self.now < self.fence_at() || self.has(Mutation::NeverFence) {
            return;
        }
        if !self.splits() {
            self.begin_fence(Some(epoch));
        } else if matches!(self.stand, Stand::Serving { .. } | Stand::Stopping { .. }) {
            self.degrade(epoch);
        }
    }

    /// The workload writes on without a lease.
    pub(super) fn degrade(&mut self, epoch: Epoch) {
        if !self.has(Mutation::DegradeSilently) {
            self.alarm(Alarm::Degraded(epoch));
        }
        if matches!(self.stand, Stand::Serving { .. }) {
            self.turn(Stand::Degraded { epoch });
        }
    }

    /// The lease is proven again.
    pub(super) fn regain_lease(&mut self, epoch: Epoch) {
        self.alarmed = self.alarmed.filter(|alarm| *alarm != Alarm::Degraded(epoch));
        self.turn(Stand::Serving { epoch });
    }

    /// Keeps in which epoch this node may serve beside another, or that what it wrote needs nobody's care.
    pub(super) fn keep_may_split(&mut self, epoch: Option<Epoch>) {
        if self.durable.may_split != epoch {
            self.durable.may_split = epoch;
            self.commands.push_back(Command::Persist(self.durable));
        }
    }

    /// Has its owner told, once nothing writes here any more, that another has held the lease since.
    pub(super) fn reconcile(&mut self) {
        let (Some(epoch), Some(view)) = (self.durable.may_split, &self.view) else { return };
        let mine = view.epoch == epoch.next() && view.holder == Some(self.me);
        if view.epoch <= epoch || mine || self.has(Mutation::ForgetReconcile) {
            return;
        }
        self.commands.push_back(Command::Reconcile { epoch });
        if !self.has(Mutation::ReconcileForEver) {
            self.keep_may_split(None);
        }
    }

    pub(super) fn splits(&self) -> bool {
        self.settings.as_ref().is_some_and(|settings| settings.strategy == FailoverStrategy::SplitBrainAllowed)
    }

    /// Gives up the epoch for good, and climbs the ladder from its first rung.
    pub(super) fn begin_fence(&mut self, epoch: Option<Epoch>) {
        if let Some(epoch) = epoch {
            self.spent = self.spent.max(epoch);
            let (ttl, longest) = self.settings.as_ref().map_or((Span::ZERO, Span::ZERO), |s| (s.ttl, s.hold_down_max));
            self.shadow = Shadow::after_fence(self.now, self.hold_down.fenced(self.now, ttl, longest.max(ttl)));
            if self.has(Mutation::NoShadowLease) {
                self.shadow = Shadow::default();
            }
            if self.has(Mutation::ConfirmBeforeVerified) {
                let proof = FenceProof::Rung(Rung::Immediate);
                self.parting = Some(Parting { epoch, how: How::Fenced { proof, position: None } });
            }
        }
        self.given_up = self.term.take().filter(|_| self.splits());
        self.polls.clear();
        self.fences = self.fences.saturating_add(1);
        self.step_on(0, epoch);
    }

    /// Begins a rung.
    fn step_on(&mut self, rung: usize, epoch: Option<Epoch>) {
        let ladder = self.ladder();
        let Some(plan) = ladder.get(rung).or_else(|| ladder.first()) else { return };
        let rung = if rung < ladder.len() { rung } else { 0 };
        let (by, fence) = (self.now + plan.within, self.fences);
        self.turn(Stand::Fencing { epoch, fence, rung, by });
        self.commands.push_back(Command::Fence { fence, rung: plan.rung.clone(), by });
        self.record(Happening::Rung { rung: plan.rung.clone(), verified: None });
    }

    /// The next rung, when one has failed or its time is up; after the last one a person is told, and it begins anew.
    fn step_up(&mut self, rung: usize, epoch: Option<Epoch>) {
        if self.has(Mutation::NoEscalation) {
            let fence = self.fences;
            self.turn(Stand::Fencing { epoch, fence, rung, by: LocalTime::NEVER });
            return;
        }
        let next = rung.saturating_add(1);
        if next >= self.ladder().len() {
            self.alarm(Alarm::LadderExhausted(epoch.unwrap_or(self.spent)));
        }
        self.step_on(next, epoch);
    }

    pub(super) fn climb_ladder(&mut self) {
        if let Stand::Fencing { epoch, rung, by, .. } = self.stand
            && self.now >= by
        {
            self.step_up(rung, epoch);
        }
    }

    /// A rung came to an end. One that is verified late is verified all the same, if it belongs to this fence.
    pub(super) fn fence_result(&mut self, of: u64, done: &Rung, verified: bool, position: Option<Position>) {
        let (epoch, fence, rung) = match self.stand {
            Stand::Fencing { epoch, fence, rung, .. } => (epoch, fence, rung),
            Stand::Reviving { epoch, fence, .. } if of == fence => {
                self.record(Happening::Rung { rung: done.clone(), verified: Some(verified) });
                return self.is_gone(epoch, verified);
            }
            _ => return,
        };
        if of != fence {
            return;
        }
        self.record(Happening::Rung { rung: done.clone(), verified: Some(verified) });
        if verified || self.has(Mutation::TrustFailedRung) {
            self.is_fenced(epoch, FenceProof::Rung(done.clone()), position);
        } else if self.ladder().get(rung).is_some_and(|plan| plan.rung == *done) {
            self.step_up(rung, epoch);
        }
    }

    /// The watchdog ended the workload and verified it.
    pub(super) fn bitten(&mut self) {
        let served = self.stand.held();
        let epoch = match self.stand {
            Stand::Fencing { epoch, .. } => epoch,
            _ if served.is_some() => served,
            _ => return,
        };
        self.alarm(Alarm::WatchdogBit(epoch.unwrap_or(self.spent)));
        if served.is_some() {
            self.begin_fence(epoch);
        }
        self.is_fenced(epoch, FenceProof::Watchdog, None);
    }

    /// The workload is of no use here any more: make sure that it is off, and let another take over at once.
    pub(super) fn died(&mut self) {
        if let Some(epoch) = self.stand.held() {
            // Something of it may be left, or all of it, if it is ill.
            self.begin_fence(Some(epoch));
        }
    }

    /// It is verified that nothing of the workload writes.
    fn is_fenced(&mut self, epoch: Option<Epoch>, proof: FenceProof, position: Option<Position>) {
        self.commands.push_back(Command::Watchdog { until: LocalTime::NEVER });
        self.was_alone(self.given_up);
        self.given_up = None;
        self.halted = position;
        self.position = position.or(self.position);
        self.turn(Stand::Resting);
        if let Some(epoch) = epoch {
            self.part(epoch, How::Fenced { proof, position });
            if self.has(Mutation::ServeSpentEpoch) {
                self.regain(epoch);
            }
        } else if self.has(Mutation::StartAtRestart) {
            self.start_unasked();
        }
    }

    pub(super) fn part(&mut self, epoch: Epoch, how: How) {
        self.parting = Some(Parting { epoch, how });
    }

    /// Who is within its lease has served beside nobody.
    pub(super) fn was_alone(&mut self, term: Option<Term>) {
        let Some(term) = term else { return };
        let passed_on = self.view.as_ref().is_some_and(|view| view.epoch > term.epoch);
        if self.now < term.until && !passed_on {
            self.keep_may_split(None);
        }
    }

    pub(super) fn ladder(&self) -> Vec<RungPlan> {
        match &self.settings {
            Some(settings) if !settings.ladder.is_empty() => settings.ladder.clone(),
            _ => Settings::ladder_of(Self::UNKNOWN_FENCE),
        }
    }
}
