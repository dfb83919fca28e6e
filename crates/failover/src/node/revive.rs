//! A workload that ended by itself is started again in its epoch, if that is safe and has not been tried lately.

use super::Node;
use super::io::{Command, Stand};
use crate::flight::Happening;
use crate::ids::Epoch;
use crate::mutation::Mutation;
use crate::settings::{Rung, RungPlan};
use crate::time::Span;

impl Node {
    /// The workload was writable and ended by itself: the node goes on with its lease, or gives it up at once.
    pub(super) fn ended(&mut self) {
        let longest = self.settings.as_ref().map_or(Span::ZERO, |settings| settings.hold_down_max);
        self.revived.retain(|at| self.now.since(*at) < longest);
        let Some((epoch, plan)) = self.may_revive() else { return self.died() };
        self.revived.push(self.now);
        self.fences = self.fences.saturating_add(1);
        let (by, fence) = (self.now + plan.within, self.fences);
        self.turn(Stand::Reviving { epoch, fence, by });
        if self.has(Mutation::ReviveBeforeVerified) {
            return self.is_gone(epoch, true);
        }
        self.commands.push_back(Command::Fence { fence, rung: plan.rung.clone(), by });
        self.record(Happening::Rung { rung: plan.rung, verified: None });
    }

    /// The epoch in which the workload may be started again, and how it is made sure that nothing of it is left.
    ///
    /// Only within a lease that lasts longer than that takes, of which the group has said nothing else; not within a ttl
    /// of the last time, and [`MAX_REVIVALS`](Node::MAX_REVIVALS) times in
    /// [`hold_down_max`](crate::Settings::hold_down_max): a workload that ends again and again is another node's. What
    /// may serve on without a lease is not started again, as nobody begins to serve without one.
    fn may_revive(&self) -> Option<(Epoch, RungPlan)> {
        let (Stand::Serving { epoch }, Some(settings), Some(view)) = (self.stand, &self.settings, &self.view) else {
            return None;
        };
        let plan = self.ladder().into_iter().next()?;
        let soon = self.revived.last().is_some_and(|at| self.now.since(*at) < settings.ttl);
        let often = soon || self.revived.len() >= Self::MAX_REVIVALS;
        let ends_it = matches!(plan.rung, Rung::Immediate | Rung::Kill);
        let moves = view.switchover.is_some();
        let lasts = self.now + plan.within < self.fence_at();
        let barred = (often && !self.has(Mutation::ReviveForEver)) || moves || self.splits() || self.has_lost(epoch);
        (lasts && ends_it && !barred).then_some((epoch, plan))
    }

    /// It is verified that nothing of the ended workload is left, or it is not.
    pub(super) fn is_gone(&mut self, epoch: Epoch, verified: bool) {
        if !verified {
            return self.begin_fence(Some(epoch));
        }
        if self.has(Mutation::ReviveRenews)
            && let (Some(term), Some(settings)) = (&mut self.term, &self.settings)
        {
            term.prove(self.now, settings.certain());
        }
        // Soon, or another one is faster.
        let within = self.settings.as_ref().map_or(Span::ZERO, |s| s.start_within.min(s.ttl.part(5)));
        self.start_workload(epoch, true, within);
        if matches!(self.stand, Stand::Reviving { .. }) {
            self.begin_fence(Some(epoch));
        }
    }
}
