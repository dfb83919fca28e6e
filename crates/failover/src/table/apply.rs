//! Decides each request against the lease as it stands.

use std::sync::Arc;

use super::LeaseTable;
use super::grant::Bid;
use super::lease::{Beat, Handoff, Lease, Phase, RemoteTurn, Switchover};
use super::request::{Answer, Author, FenceProof, Refusal, Request};
use crate::ids::{Attempt, ClusterName, Epoch, NodeId, Position, Round};
use crate::mutation::{Mutation, Mutations};
use crate::settings::{Failback, Rung, Settings, SettingsError};
use crate::time::LogTime;

impl LeaseTable {
    pub(super) fn decide(
        &mut self,
        cluster: &ClusterName,
        author: Author,
        attempt: Attempt,
        request: &Request,
    ) -> Result<Answer, Refusal> {
        if let Request::Configure(settings) = request {
            return match author {
                Author::Admin => self.configure(cluster, settings),
                Author::Node(_) => Err(Refusal::NotAdmin),
            };
        }
        if request.is_custody() {
            return self.decide_custody(cluster, author, request);
        }
        let (now, mutations) = (self.now, self.mutations);
        let lease = self.leases.get_mut(cluster).ok_or(Refusal::UnknownCluster)?;
        match author {
            Author::Admin => lease.decide_for_admin(now, request, mutations),
            Author::Node(node) => lease.decide_for_node(now, node, attempt, request, mutations),
        }
    }

    fn configure(&mut self, cluster: &ClusterName, settings: &Arc<Settings>) -> Result<Answer, Refusal> {
        settings.check()?;
        if let Some(lease) = self.leases.get_mut(cluster) {
            return lease.reconfigure(settings, self.mutations);
        }
        if self.leases.len() >= Self::MAX_CLUSTERS {
            return Err(Refusal::TooManyClusters);
        }
        let lease = self.retired.revive(cluster, settings, self.mutations);
        self.leases.insert(cluster.clone(), lease);
        Ok(Answer::Noted)
    }
}

impl Lease {
    fn reconfigure(&mut self, settings: &Arc<Settings>, mutations: Mutations) -> Result<Answer, Refusal> {
        if self.settings.workload == settings.workload {
            self.withdrawn = false;
        }
        if self.settings == *settings {
            return Ok(Answer::Noted);
        }
        if self.settings.workload != settings.workload {
            return Err(Refusal::Settings("the workload of a cluster cannot change its kind".to_owned()));
        }
        self.version = self.version.saturating_add(1);
        // A holder counts on the promises of the candidates it knows, and fences by the policy it knows.
        let added = settings.candidates.iter().any(|candidate| self.settings.priority(candidate.node).is_none());
        let stricter = self.settings.strategy != settings.strategy || self.settings.promotion != settings.promotion;
        if added || stricter {
            self.must_see = self.version;
        }
        self.settings = Arc::clone(settings);
        let removed = self.holder.is_some_and(|holder| settings.priority(holder).is_none());
        if removed && self.phase == Phase::Held && mutations.has(Mutation::RemovalEndsLease) {
            self.phase = Phase::Released;
        }
        Ok(Answer::Noted)
    }

    fn decide_for_admin(&mut self, now: LogTime, request: &Request, mutations: Mutations) -> Result<Answer, Refusal> {
        match request {
            Request::Pause | Request::Resume => {
                let paused = *request == Request::Pause;
                if self.paused != paused {
                    self.version = self.version.saturating_add(1);
                    self.paused = paused;
                    if !paused {
                        self.must_see = self.version;
                    }
                }
                Ok(Answer::Noted)
            }
            Request::Switchover { epoch, to } => self.plan_switchover(now, *epoch, *to),
            Request::Reinit { node } if self.settings.priority(*node).is_none() => Err(Refusal::NotCandidate),
            Request::Reinit { node } if self.holder == Some(*node) => Err(Refusal::NotFree),
            // There must be somebody to copy from.
            Request::Reinit { .. } if self.phase != Phase::Held || self.expired(now) => Err(Refusal::NotHeld),
            Request::Reinit { node } => {
                self.rebuild_serial = self.rebuild_serial.saturating_add(1);
                self.rebuilding.insert(*node, self.rebuild_serial);
                self.reports.remove(node);
                Ok(Answer::Noted)
            }
            Request::Attest { epoch } => self.prove(now, *epoch),
            Request::Withdraw => {
                self.withdrawn = true;
                self.switchover = None;
                if self.phase == Phase::Held && mutations.has(Mutation::WithdrawalEndsLease) {
                    self.phase = Phase::Released;
                }
                Ok(Answer::Noted)
            }
            _ => Err(Refusal::NotCandidate),
        }
    }

    fn decide_for_node(
        &mut self,
        now: LogTime,
        node: NodeId,
        attempt: Attempt,
        request: &Request,
        mutations: Mutations,
    ) -> Result<Answer, Refusal> {
        let removed = self.settings.priority(node).is_none() && !mutations.has(Mutation::GrantToRemoved);
        if removed && self.holder != Some(node) {
            return Err(Refusal::NotCandidate);
        }
        match request {
            Request::Configure(_)
            | Request::Pause
            | Request::Resume
            | Request::Withdraw
            | Request::Reinit { .. }
            | Request::Attest { .. } => Err(Refusal::NotAdmin),
            Request::Switchover { epoch, to } => {
                let mine = self.settings.priority(node);
                let holders = self.holder.and_then(|holder| self.settings.priority(holder));
                if *to != node || self.settings.failback == Failback::Manual || mine <= holders {
                    return Err(Refusal::NotAdmin);
                }
                self.plan_switchover(now, *epoch, *to)
            }
            Request::Beat { position, .. } => {
                self.heard(now, node, attempt, *position);
                Ok(Answer::Noted)
            }
            Request::Renew { epoch, version } => self.renew(now, node, attempt, (*epoch, *version), mutations),
            Request::Follow { epoch } => self.follow(now, node, *epoch),
            Request::Report { epoch, round, position } => {
                self.report(now, node, (*epoch, *round), *position, mutations)
            }
            Request::Acquire { epoch, version, silence } => {
                let bid = Bid { node, attempt, epoch: *epoch, version: *version, silence: *silence };
                self.acquire(now, &bid, mutations)
            }
            Request::Release { epoch, position, to } => {
                self.is_held_by(node, *epoch)?;
                self.phase = Phase::Released;
                self.reports.insert(node, *position);
                let until = now + self.settings.handoff_within;
                self.handoff = Some(Handoff { to: *to, min: *position, until });
                Ok(Answer::Noted)
            }
            Request::FenceConfirmed { epoch, proof, position } => self.fenced(node, *epoch, proof, *position),
            Request::BeginSync { epoch, set } => self.begin_sync(node, *epoch, set),
            Request::CommitSync { epoch, serial } => self.commit_sync(node, *epoch, *serial),
            Request::RemoteTurn { epoch } => self.remote_turn(now, node, *epoch),
            Request::RemoteDone { epoch } => match self.remote {
                Some(turn) if turn.actor == node => self.prove(now, *epoch),
                _ => Err(Refusal::NotYourTurn),
            },
            Request::Rebuilt { epoch, serial } => {
                // Built from the primary of this epoch, so it holds all that was acknowledged before it was built.
                if *epoch != self.epoch || self.phase != Phase::Held || self.holder == Some(node) {
                    return Err(Refusal::Epoch(self.epoch));
                }
                if self.rebuilding.get(&node) == Some(serial) {
                    self.rebuilding.remove(&node);
                }
                Ok(Answer::Noted)
            }
            // Decided without a cluster.
            Request::TakeCustody | Request::KeepCustody { .. } | Request::EndCustody { .. } => Err(Refusal::NotHeld),
        }
    }

    fn heard(&mut self, now: LogTime, node: NodeId, attempt: Attempt, position: Option<Position>) {
        self.beats.retain(|known, _| self.settings.priority(*known).is_some() || self.holder == Some(*known));
        let beat = self.beats.entry(node).or_insert(Beat { at: now, attempt, position });
        if attempt >= beat.attempt {
            *beat = Beat { at: now, attempt, position: position.or(beat.position) };
        }
    }

    fn renew(
        &mut self,
        now: LogTime,
        node: NodeId,
        attempt: Attempt,
        (epoch, version): (Epoch, u64),
        mutations: Mutations,
    ) -> Result<Answer, Refusal> {
        let ttl = self.settings.ttl;
        if mutations.has(Mutation::RenewAnyEpoch) && (epoch != self.epoch || self.phase != Phase::Held) {
            return Ok(Answer::Renewed { epoch, ttl });
        }
        self.is_held_by(node, epoch)?;
        if self.renewed.is_some_and(|renewed| attempt <= renewed) {
            return Err(Refusal::Overtaken);
        }
        self.renewed = Some(attempt);
        self.seen = self.seen.max(version.min(self.version));
        self.expires = self.expires.max(now + ttl);
        if !self.reports.is_empty() && !mutations.has(Mutation::AttachWithoutFollow) {
            self.next_round();
        }
        self.heard(now, node, attempt, None);
        Ok(Answer::Renewed { epoch, ttl })
    }

    fn follow(&mut self, now: LogTime, node: NodeId, epoch: Epoch) -> Result<Answer, Refusal> {
        if epoch != self.epoch {
            return Err(Refusal::Epoch(self.epoch));
        }
        if self.phase != Phase::Held || self.expired(now) || self.holder == Some(node) {
            return Err(Refusal::NotHeld);
        }
        self.next_round();
        Ok(Answer::Following { epoch, round: self.round })
    }

    fn report(
        &mut self,
        now: LogTime,
        node: NodeId,
        (epoch, round): (Epoch, Round),
        position: Position,
        mutations: Mutations,
    ) -> Result<Answer, Refusal> {
        if epoch != self.epoch {
            return Err(Refusal::Epoch(self.epoch));
        }
        if round != self.round && !mutations.has(Mutation::CountStaleReports) {
            return Err(Refusal::Round);
        }
        if self.phase == Phase::Held && !self.expired(now) {
            return Err(Refusal::NotFree);
        }
        if self.rebuilding.contains_key(&node) {
            return Err(Refusal::BeingRebuilt);
        }
        self.reports.insert(node, position);
        self.reports_heard = self.reports_heard.saturating_add(1);
        Ok(Answer::Noted)
    }

    fn fenced(
        &mut self,
        node: NodeId,
        epoch: Epoch,
        proof: &FenceProof,
        position: Option<Position>,
    ) -> Result<Answer, Refusal> {
        self.is_held_by(node, epoch)?;
        if let FenceProof::Rung(Rung::Action(name)) = proof
            && name.len() > Settings::MAX_ACTION_BYTES
        {
            // It is kept by every member, and its length is the asker's to choose.
            return Err(SettingsError::Action(name.len()).into());
        }
        self.phase = Phase::Fenced;
        self.proof = Some(proof.clone());
        self.switchover = None;
        if let Some(position) = position {
            self.reports.insert(node, position);
        }
        Ok(Answer::Noted)
    }

    fn plan_switchover(&mut self, now: LogTime, epoch: Epoch, to: NodeId) -> Result<Answer, Refusal> {
        if epoch != self.epoch {
            return Err(Refusal::Epoch(self.epoch));
        }
        if self.paused {
            return Err(Refusal::Paused);
        }
        if self.withdrawn {
            return Err(Refusal::Withdrawn);
        }
        if self.settings.priority(to).is_none() {
            return Err(Refusal::NotCandidate);
        }
        if self.phase != Phase::Held || self.expired(now) || self.holder == Some(to) {
            return Err(Refusal::NotHeld);
        }
        if self.rebuilding.contains_key(&to) {
            return Err(Refusal::BeingRebuilt);
        }
        if self.beats.get(&to).is_none_or(|beat| now.since(beat.at) > self.settings.ttl) {
            return Err(Refusal::TargetSilent);
        }
        let holds = self.beats.get(&to).and_then(|beat| beat.position).map(|position| position.epoch);
        if self.settings.gated() && holds != Some(self.epoch) {
            // It is being copied, or rewound: the lease would be kept for it in vain.
            return Err(Refusal::TargetBehind);
        }
        self.switchover = Some(Switchover { to, until: now + self.settings.handoff_within });
        Ok(Answer::Noted)
    }

    fn remote_turn(&mut self, now: LogTime, node: NodeId, epoch: Epoch) -> Result<Answer, Refusal> {
        let remote = self.settings.remote.as_ref().ok_or(Refusal::NoRemote)?;
        if epoch != self.epoch {
            return Err(Refusal::Epoch(self.epoch));
        }
        if !self.expired(now) || self.holder == Some(node) {
            return Err(Refusal::NotFree);
        }
        match self.remote {
            Some(turn) if now <= turn.until && turn.actor != node => Err(Refusal::NotYourTurn),
            _ => {
                self.remote = Some(RemoteTurn { actor: node, until: now + remote.within });
                Ok(Answer::YourTurn { epoch })
            }
        }
    }

    /// Somebody else has verified that the holder of this epoch writes no more.
    fn prove(&mut self, now: LogTime, epoch: Epoch) -> Result<Answer, Refusal> {
        if epoch != self.epoch {
            return Err(Refusal::Epoch(self.epoch));
        }
        if !self.expired(now) {
            return Err(Refusal::NotFree);
        }
        self.phase = Phase::Proven;
        Ok(Answer::Noted)
    }
}

#[cfg(test)]
mod tests;
