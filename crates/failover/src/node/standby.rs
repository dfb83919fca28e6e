//! What a node does that does not hold the lease: follow the primary, leave it when its lease is over, ask for it.

use super::Node;
use super::io::{Alarm, Command, Stand};
use super::talk::Kind;
use crate::flight::Happening;
use crate::ids::{Epoch, NodeId, Position, Round};
use crate::mutation::Mutation;
use crate::settings::{Failback, Rung, Settings};
use crate::table::{Phase, Request, View};
use crate::time::LocalTime;

impl Node {
    pub(super) fn stand_by(&mut self) {
        self.reconcile();
        let (Some(view), Some(settings)) = (self.view.clone(), self.settings.clone()) else { return };
        if view.holder == Some(self.me) && view.phase == Phase::Held {
            // Unless the answer that grants it is on its way.
            let patience = settings.renew.times(2);
            let asked = |(_, pending): (_, &super::Pending)| {
                pending.kind == Kind::Acquire && self.now.since(pending.sent) <= patience
            };
            if view.epoch <= self.spent || !self.pending.iter().any(asked) {
                self.disown(view.epoch);
            }
            return;
        }
        if self.has(Mutation::StartBeforeGrant) && view.open && settings.priority(self.me).is_some() {
            self.start_unasked();
        }
        if let Some(serial) = view.rebuild {
            self.rebuild(&view, serial);
            return;
        }
        // The cluster was withdrawn meanwhile, and the order is forgotten with its lease. What is here is not whole all the
        // same, so it is nothing to serve with: a lease would be given back, and asked for again.
        if let Stand::Rebuilding { serial, .. } = self.stand
            && !self.has(Mutation::SeekWhileRebuilding)
        {
            self.rebuild(&view, serial);
            return;
        }
        self.rebuilt = None;
        let silence = self.now.since(self.heard);
        let by_own_clock = self.has(Mutation::GrantByAskersClock) && silence > settings.certain();
        if (view.open || by_own_clock) && settings.priority(self.me).is_some() {
            self.seek(&view, &settings);
        } else if view.wants_proof {
            self.seek_proof(&view, &settings);
        } else if view.phase == Phase::Held {
            self.follow(&view, &settings);
        }
    }

    /// Follows the holder. A database asks the group first, so that what it reported before is void.
    fn follow(&mut self, view: &View, settings: &Settings) {
        let Some(holder) = view.holder else { return };
        let epoch = view.epoch;
        if matches!(self.stand, Stand::Following { epoch: followed } if followed == epoch) {
            self.fall_back(view, settings);
            return;
        }
        if matches!(self.stand, Stand::Detaching { .. }) {
            self.detach(epoch);
        } else if settings.gated() && !self.has(Mutation::AttachWithoutFollow) {
            self.ask_group(Kind::Follow, Request::Follow { epoch });
        } else {
            self.attach(holder, epoch);
        }
    }

    /// The group has made every earlier report of this node void.
    pub(super) fn may_follow(&mut self, epoch: Epoch, round: Round) {
        let Some(view) = &self.view else { return };
        let current = view.epoch == epoch && view.phase == Phase::Held && round > self.reported;
        let ready = match self.stand {
            Stand::Resting | Stand::Detached { .. } => true,
            Stand::Following { epoch: followed } => followed < epoch,
            _ => false,
        };
        if let Some(holder) = view.holder.filter(|holder| current && ready && *holder != self.me) {
            self.attach(holder, epoch);
        }
    }

    fn attach(&mut self, holder: NodeId, epoch: Epoch) {
        self.following_since = self.now;
        self.halted = None;
        self.turn(Stand::Following { epoch });
        self.commands.push_back(Command::Attach { holder, epoch });
    }

    /// Takes over in order from a holder that is preferred less, if the settings say so.
    fn fall_back(&mut self, view: &View, settings: &Settings) {
        let Failback::After(after) = settings.failback else { return };
        let holders = view.holder.and_then(|holder| settings.priority(holder));
        let preferred = settings.priority(self.me) > holders;
        if preferred
            && self.shadow.is_held(self.now)
            && self.now.since(self.following_since) >= after
            && view.switchover.is_none()
            && !view.paused
        {
            self.ask_group(Kind::Failback, Request::Switchover { epoch: view.epoch, to: self.me });
        }
    }

    /// The lease is free: a database first leaves the old primary and says what it holds, then the lease is asked for.
    fn seek(&mut self, view: &View, settings: &Settings) {
        if !self.promises.is_empty() {
            return;
        }
        let gated = settings.gated() && view.epoch > Epoch(0);
        if gated {
            match self.stand {
                Stand::Detached { epoch, round, position } => {
                    if (epoch, round) != (view.epoch, view.round) {
                        let (epoch, round) = (view.epoch, view.round);
                        self.turn(Stand::Detached { epoch, round, position });
                    }
                    self.report(view, position);
                    if !view.reported {
                        return;
                    }
                }
                _ => return self.detach(view.epoch),
            }
        }
        let kept = view.kept_for.is_some_and(|to| to != self.me);
        let later = view.phase == Phase::Vacant && settings.first.is_some_and(|first| first != self.me);
        // The holder has stopped for this node, as it was told to: holding back would help nobody.
        let wanted = view.kept_for == Some(self.me) && self.shadow.is_waived();
        let trusted = wanted || (self.shadow.is_held(self.now) && self.now >= self.my_turn(settings));
        if kept || later || !trusted || self.leaving || !self.agrees() || self.has(Mutation::NeverAcquire) {
            return;
        }
        let silence = self.now.since(self.heard);
        let request = Request::Acquire { epoch: view.epoch, version: self.version, silence };
        self.ask_group(Kind::Acquire, request);
    }

    /// Candidates that are preferred more ask half a renewal interval earlier, each.
    fn my_turn(&self, settings: &Settings) -> LocalTime {
        let mine = settings.priority(self.me);
        let before = settings.candidates.iter().filter(|other| Some(other.priority) > mine).count();
        let wait = settings.renew.part(2).times(u64::try_from(before).unwrap_or(0));
        self.open_since.unwrap_or(self.now) + wait
    }

    fn detach(&mut self, epoch: Epoch) {
        if self.has(Mutation::SkipDetach) {
            let position = self.position.unwrap_or_default();
            self.turn(Stand::Detaching { epoch });
            self.detached(self.detaches, Some(position));
            return;
        }
        self.turn(Stand::Detaching { epoch });
        if self.is_due(Kind::Detach) {
            self.detaches = self.detaches.saturating_add(1);
            self.commands.push_back(Command::Detach { serial: self.detaches });
        }
    }

    /// The standby receives nothing any more. Without a position it is of no use as a witness, and is asked again.
    pub(super) fn detached(&mut self, serial: u64, position: Option<Position>) {
        if serial != self.detaches {
            return;
        }
        let (Stand::Detaching { .. }, Some(position), Some(view)) = (self.stand, position, &self.view) else { return };
        let (epoch, round) = (view.epoch, view.round);
        self.halted = Some(position);
        self.position = self.halted;
        self.turn(Stand::Detached { epoch, round, position });
    }

    fn report(&mut self, view: &View, position: Position) {
        if !view.reported {
            self.reported = self.reported.max(view.round);
            let (epoch, round) = (view.epoch, view.round);
            self.ask_group(Kind::Report, Request::Report { epoch, round, position });
            if self.has(Mutation::CountDuplicateReports) {
                self.retry.remove(&Kind::Report);
            }
        }
    }

    /// The holder is silent, and the settings want somebody to make sure of it.
    fn seek_proof(&mut self, view: &View, settings: &Settings) {
        if !self.promises.is_empty() {
            return;
        }
        self.alarm(Alarm::NoProof(view.epoch));
        if settings.remote.is_some() && settings.priority(self.me).is_some() {
            self.ask_group(Kind::Remote, Request::RemoteTurn { epoch: view.epoch });
        }
    }

    pub(super) fn act(&mut self, epoch: Epoch) {
        let (Some(view), Some(settings)) = (&self.view, &self.settings) else { return };
        if let (true, Some(target), Some(remote)) = (view.epoch == epoch, view.holder, settings.remote.clone()) {
            self.retry.insert(Kind::Remote, self.now + remote.within);
            self.record(Happening::Rung { rung: Rung::Action(remote.action.clone()), verified: None });
            self.commands.push_back(Command::Act { epoch, target, remote });
        }
    }

    pub(super) fn acted(&mut self, epoch: Epoch, verified: bool) {
        if let Some(remote) = self.settings.as_ref().and_then(|settings| settings.remote.as_ref()) {
            let rung = Rung::Action(remote.action.clone());
            self.record(Happening::Rung { rung, verified: Some(verified) });
        }
        if verified {
            self.ask_group(Kind::RemoteDone, Request::RemoteDone { epoch });
        } else {
            self.retry.insert(Kind::Remote, self.now + self.renew_every());
        }
    }

    fn rebuild(&mut self, view: &View, serial: u64) {
        let Some(holder) = view.holder.filter(|_| view.phase == Phase::Held) else { return };
        let epoch = view.epoch;
        if self.rebuilt == Some((epoch, serial)) {
            self.ask_group(Kind::Rebuilt, Request::Rebuilt { epoch, serial });
        } else if self.stand != (Stand::Rebuilding { serial, epoch }) {
            self.turn(Stand::Rebuilding { serial, epoch });
            self.halted = None;
            self.commands.push_back(Command::Rebuild { serial, holder, epoch });
        }
    }

    /// The copy is whole, and comes from the primary of `epoch`: it counts if that is still the primary.
    pub(super) fn was_rebuilt(&mut self, epoch: Epoch, serial: u64) {
        if self.stand == (Stand::Rebuilding { serial, epoch }) {
            self.rebuilt = Some((epoch, serial));
            self.turn(Stand::Resting);
        }
    }
}
