//! What a node does that holds the lease: start, renew, keep the synchronous set true, hand over.

use super::io::{Command, Stand};
use super::talk::Kind;
use super::term::{Shadow, Term};
use super::{How, Node};
use crate::ids::{Epoch, NodeId, Position};
use crate::mutation::Mutation;
use crate::table::{FenceProof, Phase, Request, SyncSet};
use crate::time::{LocalTime, Span};

impl Node {
    /// The group has granted the lease, by a request that was sent at `sent`.
    pub(super) fn granted(&mut self, epoch: Epoch, sent: LocalTime, certain: Span) {
        let knows_better = self.view.as_ref().is_some_and(|view| {
            view.epoch > epoch || (view.epoch == epoch && (view.holder != Some(self.me) || view.phase != Phase::Held))
        });
        let busy =
            self.stand.held().is_some() || matches!(self.stand, Stand::Fencing { .. } | Stand::Rebuilding { .. });
        if epoch <= self.spent || knows_better || busy {
            // The lease is given back as never used, as soon as the group's view shows it.
            return;
        }
        self.term = Some(Term { epoch, until: sent + certain, granted: sent + certain, proven: sent });
        self.shadow = Shadow::default();
        self.parting = None;
        self.sync_asked = None;
        self.sync_in_force = None;
        self.turn(Stand::Granted { epoch });
    }

    /// Everything that a holder must see to.
    pub(super) fn hold(&mut self) {
        let Some(epoch) = self.stand.held() else { return };
        if self.has_lost(epoch) {
            self.yield_lease(epoch);
            return;
        }
        match self.stand {
            Stand::Granted { .. } => {
                let within = self.settings.as_ref().map_or(Span::ZERO, |settings| settings.start_within);
                self.start_workload(epoch, false, within);
            }
            Stand::Starting { by, .. } | Stand::Reviving { by, .. } if self.now >= by => self.begin_fence(Some(epoch)),
            Stand::Degraded { .. } if self.now < self.fence_at() => self.regain_lease(epoch),
            Stand::Stopping { to, by, .. } if self.now >= by => self.stop_is_late(epoch, to),
            Stand::Serving { .. } => {
                self.keep_sync(epoch);
                self.hand_over(epoch);
            }
            _ => {}
        }
        if self.stand.held().is_some() {
            self.ask_peers();
        }
    }

    /// Whether the group knows that this epoch is over.
    pub(super) fn has_lost(&self, epoch: Epoch) -> bool {
        let Some(view) = &self.view else { return false };
        view.epoch > epoch || (view.epoch == epoch && (view.phase != Phase::Held || view.holder != Some(self.me)))
    }

    fn yield_lease(&mut self, epoch: Epoch) {
        if self.has(Mutation::NeverFence) || self.has(Mutation::RenewAnyEpoch) {
            return;
        }
        if !self.splits() {
            self.begin_fence(Some(epoch));
            return;
        }
        match self.stand {
            _ if self.has(Mutation::NeverYield) => {}
            // It has not begun to serve.
            Stand::Granted { .. } => {
                self.spent = self.spent.max(epoch);
                self.term = None;
                self.turn(Stand::Resting);
            }
            Stand::Stopping { .. } => {}
            // Nothing of it is known to run.
            Stand::Reviving { .. } => self.begin_fence(Some(epoch)),
            _ => {
                self.degrade(epoch);
                self.stop(epoch, None);
                if self.has(Mutation::ReconcileBeforeStopped) {
                    self.reconcile();
                }
            }
        }
    }

    /// Starts the workload, once nothing that this node promised stands against it.
    pub(super) fn start_workload(&mut self, epoch: Epoch, again: bool, within: Span) {
        let Some(term) = self.term else { return };
        let promised = !self.promises.is_empty() && !self.has(Mutation::IgnorePromiseAtGrant);
        if promised || self.now >= self.fence_at() || !(again || self.agrees()) {
            return;
        }
        // What the others promise carries on what was begun. Whoever begins has the group's own word for it, which may have
        // granted the lease to another one since: that one would have to wait, and the workload would move twice.
        let is_early = self.now < self.fence_before(term.granted);
        if !again && !is_early && !self.has(Mutation::StartByPromise) {
            return;
        }
        let Some(view) = self.view.as_ref().filter(|_| self.settings.is_some()) else { return };
        let ungated = again && self.has(Mutation::ReviveUngated);
        let (sync, serial) = (view.sync.clone().filter(|_| !ungated), view.sync_serial);
        let by = self.now + within;
        self.turn(Stand::Starting { epoch, by });
        // Armed before anything runs.
        self.arm_watchdog();
        self.halted = None;
        self.sync_asked = Some(serial);
        self.sync_in_force = self.has(Mutation::CommitSyncAtOnce).then_some(serial);
        // Who is cut off may serve on where that is allowed, but nobody begins to serve without a lease.
        let end = if again || self.has(Mutation::StartByPromise) { term.until } else { term.granted };
        let until = if self.waits_for_no_group() { LocalTime::NEVER } else { end };
        self.commands.push_back(Command::Start { epoch, again, until, sync, serial });
    }

    pub(super) fn started(&mut self, epoch: Epoch) {
        if matches!(self.stand, Stand::Starting { epoch: starting, .. } if starting == epoch) {
            self.turn(Stand::Serving { epoch });
        }
    }

    /// Brings the set that the workload acknowledges by to what the settings want: the group knows both while it may
    /// be either, and forgets the old one when a write has been acknowledged by the new one.
    fn keep_sync(&mut self, epoch: Epoch) {
        let (Some(settings), Some(view)) = (self.settings.clone(), self.view.clone()) else { return };
        if !settings.gated() || view.version != self.version || view.epoch != epoch {
            return;
        }
        let others = || settings.candidates.iter().map(|candidate| candidate.node).filter(|node| *node != self.me);
        let wanted = || SyncSet { primary: self.me, names: others().collect(), num: settings.sync };
        let serial = view.sync_serial;
        let is_wanted = |set: &SyncSet| {
            let named = set.names.len() == others().count() && others().all(|node| set.names.contains(&node));
            set.primary == self.me && set.num == settings.sync && named
        };
        if !view.sync.as_ref().is_some_and(is_wanted) {
            let wanted = wanted();
            if self.has(Mutation::ApplySyncFirst) {
                self.commands.push_back(Command::ApplySync { serial, set: wanted.clone() });
            }
            self.ask_group(Kind::BeginSync, Request::BeginSync { epoch, set: wanted });
            return;
        }
        if self.sync_asked != Some(serial) {
            let set = wanted();
            self.sync_asked = Some(serial);
            self.commands.push_back(Command::ApplySync { serial, set });
            if self.has(Mutation::CommitSyncAtOnce) {
                self.sync_in_force = Some(serial);
            }
        }
        if view.sync_joint && self.sync_in_force == Some(serial) {
            self.ask_group(Kind::CommitSync, Request::CommitSync { epoch, serial });
        }
    }

    /// Begins a planned handoff that somebody asked for.
    fn hand_over(&mut self, epoch: Epoch) {
        let to = self.view.as_ref().filter(|view| !view.paused).and_then(|view| view.switchover);
        if let Some(to) = to.filter(|to| *to != self.me) {
            self.stop(epoch, Some(to));
        }
    }

    pub(super) fn stop(&mut self, epoch: Epoch, to: Option<NodeId>) {
        let within = self.settings.as_ref().map_or(Self::UNKNOWN_FENCE, |settings| settings.stop_within);
        let by = self.now + within;
        self.turn(Stand::Stopping { epoch, to, by });
        self.commands.push_back(Command::Stop { epoch, by });
        if let Some(to) = to.filter(|_| self.has(Mutation::ReleaseBeforeStopped)) {
            let position = Position::default();
            self.part(epoch, How::Released { position, to });
        }
    }

    fn stop_is_late(&mut self, epoch: Epoch, to: Option<NodeId>) {
        if self.splits() { self.stop(epoch, to) } else { self.begin_fence(Some(epoch)) }
    }

    pub(super) fn stopped(&mut self, of: Epoch, position: Position) {
        let Stand::Stopping { epoch, to, .. } = self.stand else { return };
        if of != epoch {
            return;
        }
        self.was_alone(self.term);
        self.spent = self.spent.max(epoch);
        self.term = None;
        self.polls.clear();
        self.halted = Some(position);
        self.position = self.halted;
        self.commands.push_back(Command::Watchdog { until: LocalTime::NEVER });
        self.turn(Stand::Resting);
        if let Some(to) = to {
            self.part(epoch, How::Released { position, to });
        } else if self.leaving {
            self.part(epoch, How::Fenced { proof: FenceProof::NotRunning, position: Some(position) });
        }
    }

    /// The agent is about to end: what serves is stopped in order, what is about to is fenced.
    pub(super) fn leave(&mut self, by: LocalTime) {
        self.leaving = true;
        match self.stand {
            Stand::Serving { epoch } | Stand::Degraded { epoch }
                if self.splits() || self.now < by.min(self.fence_at()) =>
            {
                let by = if self.splits() { by } else { by.min(self.fence_at()) };
                self.turn(Stand::Stopping { epoch, to: None, by });
                self.commands.push_back(Command::Stop { epoch, by });
                if self.has(Mutation::LeaveBeforeStopped) {
                    self.part(epoch, How::Fenced { proof: FenceProof::NotRunning, position: None });
                }
            }
            Stand::Stopping { .. } => {}
            _ => self.died(),
        }
    }

    /// The group thinks that this node holds an epoch that it does not act by: says that it is off.
    pub(super) fn disown(&mut self, epoch: Epoch) {
        if self.parting.is_none() {
            self.spent = self.spent.max(epoch);
            self.part(epoch, How::Fenced { proof: FenceProof::NotRunning, position: self.halted });
            self.say_parting();
        }
    }

    /// A deliberate fault: takes an epoch up again that was given up.
    pub(super) fn regain(&mut self, epoch: Epoch) {
        let certain = self.settings.as_ref().map_or(Span::ZERO, |settings| settings.certain());
        self.say_parting();
        self.parting = None;
        let until = self.now + certain;
        self.term = Some(Term { epoch, until, granted: until, proven: self.now });
        self.turn(Stand::Granted { epoch });
    }

    /// A deliberate fault: starts the workload because it ran before.
    pub(super) fn start_unasked(&mut self) {
        let epoch = self.view.as_ref().map_or(Epoch(1), |view| view.epoch);
        self.commands.push_back(Command::Start { epoch, again: false, until: LocalTime::NEVER, sync: None, serial: 0 });
    }
}
