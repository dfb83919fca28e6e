//! Who is granted a lease, and on what evidence.

use std::collections::BTreeSet;

use super::lease::{Lease, Phase};
use super::request::{Answer, Refusal};
use super::sync::{SyncSet, covered, widened};
use crate::ids::{Attempt, Epoch, NodeId, Position};
use crate::mutation::{Mutation, Mutations};
use crate::time::{LogTime, Span};

/// What a candidate says when it asks for the lease.
pub(super) struct Bid {
    pub(super) node: NodeId,
    pub(super) attempt: Attempt,
    pub(super) epoch: Epoch,
    pub(super) version: u64,
    pub(super) silence: Span,
}

impl Lease {
    pub(super) fn acquire(&mut self, now: LogTime, bid: &Bid, mutations: Mutations) -> Result<Answer, Refusal> {
        let has = |mutation| mutations.has(mutation);
        if self.settings.priority(bid.node).is_none() && !has(Mutation::GrantToRemoved) {
            return Err(Refusal::NotCandidate);
        }
        if bid.epoch != self.epoch && !has(Mutation::GrantWithoutCompare) {
            return Err(Refusal::Epoch(self.epoch));
        }
        if self.paused {
            return Err(Refusal::Paused);
        }
        if self.withdrawn && !has(Mutation::GrantWithdrawn) {
            return Err(Refusal::Withdrawn);
        }
        let by_asker = has(Mutation::GrantByAskersClock) && bid.silence > self.settings.certain();
        if !by_asker {
            self.is_free(now, bid.node, mutations)?;
        }
        if self.settings.gated() && self.epoch > Epoch(0) && !has(Mutation::GrantWithoutSyncGate) {
            self.holds_everything(bid.node, mutations)?;
        }
        Ok(self.grant(now, bid, mutations))
    }

    /// Whether nobody else can be writing, or soon be writing, by this lease.
    fn is_free(&self, now: LogTime, node: NodeId, mutations: Mutations) -> Result<(), Refusal> {
        if self.phase == Phase::Vacant && self.settings.first.is_some_and(|first| first != node) {
            return Err(Refusal::NotFirst);
        }
        if self.phase == Phase::Held {
            return match self.expired(now) {
                false => Err(Refusal::NotFree),
                true if self.may_succeed_silence(now, mutations) => Ok(()),
                true if self.seen < self.must_see => Err(Refusal::HolderUnaware),
                true => Err(Refusal::NoProof),
            };
        }
        match self.kept_for(now) {
            Some(to) if to != node && !mutations.has(Mutation::HandOverToAnybody) => Err(Refusal::NotFree),
            _ => Ok(()),
        }
    }

    /// Whether this node, among those which stopped receiving, must hold every write that was ever acknowledged.
    ///
    /// Nodes that hold more do not count as witnesses: what they hold beyond is what could be missing.
    fn holds_everything(&self, node: NodeId, mutations: Mutations) -> Result<(), Refusal> {
        if mutations.has(Mutation::HandOverToAnybody) && self.phase == Phase::Released {
            return Ok(());
        }
        if self.rebuilding.contains_key(&node) {
            return Err(Refusal::BeingRebuilt);
        }
        let mine: Position = *self.reports.get(&node).ok_or(Refusal::NotReported)?;
        let any = mutations.has(Mutation::GrantToLesserPosition);
        let mut witnesses: BTreeSet<NodeId> =
            self.reports.iter().filter(|(_, position)| any || **position <= mine).map(|(node, _)| *node).collect();
        if mutations.has(Mutation::CountDuplicateReports) {
            let heard = usize::try_from(self.reports_heard).unwrap_or(usize::MAX);
            let names = self.sync.last().map(|set| set.names.clone()).unwrap_or_default();
            witnesses.extend(names.into_iter().take(heard));
        }
        if covered(&self.sync, &witnesses) { Ok(()) } else { Err(Refusal::NotCovered) }
    }

    fn grant(&mut self, now: LogTime, bid: &Bid, mutations: Mutations) -> Answer {
        let ttl = self.settings.ttl;
        self.epoch = self.epoch.next();
        self.holder = Some(bid.node);
        self.phase = Phase::Held;
        self.expires = now + ttl;
        self.renewed = Some(bid.attempt);
        self.seen = bid.version.min(self.version);
        self.handoff = None;
        self.switchover = None;
        self.remote = None;
        self.proof = None;
        self.next_round();
        if self.settings.gated() {
            let set = self.set_of(bid.node);
            if mutations.has(Mutation::ForgetOldSyncSets) {
                self.sync.clear();
            }
            self.sync = widened(&self.sync, set);
            self.sync_serial = self.sync_serial.saturating_add(1);
        }
        Answer::Granted { epoch: self.epoch, ttl }
    }

    /// The set by which the settings want a primary to acknowledge.
    fn set_of(&self, primary: NodeId) -> SyncSet {
        let others = self.settings.candidates.iter().map(|candidate| candidate.node).filter(|node| *node != primary);
        SyncSet { primary, names: others.collect(), num: self.settings.sync }
    }

    /// Begins to acknowledge by another set.
    pub(super) fn begin_sync(&mut self, node: NodeId, epoch: Epoch, set: &SyncSet) -> Result<Answer, Refusal> {
        self.is_held_by(node, epoch)?;
        if *set != self.set_of(node) {
            return Err(Refusal::BadSet);
        }
        self.sync = widened(&self.sync, set.clone());
        self.sync_serial = self.sync_serial.saturating_add(1);
        Ok(Answer::Noted)
    }

    /// What was acknowledged by older sets is held by the newest.
    pub(super) fn commit_sync(&mut self, node: NodeId, epoch: Epoch, serial: u64) -> Result<Answer, Refusal> {
        self.is_held_by(node, epoch)?;
        if serial != self.sync_serial {
            return Err(Refusal::BadSet);
        }
        let newest = self.sync.pop();
        self.sync = newest.into_iter().collect();
        Ok(Answer::Noted)
    }

    /// Whether this node holds this epoch. It may do so beyond its expiry, as long as nobody took over.
    pub(super) fn is_held_by(&self, node: NodeId, epoch: Epoch) -> Result<(), Refusal> {
        if epoch != self.epoch {
            return Err(Refusal::Epoch(self.epoch));
        }
        match (self.holder == Some(node), self.phase) {
            (true, Phase::Held) => Ok(()),
            (true, _) => Err(Refusal::NotHeld),
            (false, _) => Err(Refusal::NotHolder),
        }
    }
}
