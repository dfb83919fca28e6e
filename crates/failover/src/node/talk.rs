//! What a node says to the group and to its peers, and what their answers prove.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::io::{Alarm, Command, Stand};
use super::term::{Poll, Term};
use super::{How, Node};
use crate::flight::{Happening, Verdict};
use crate::ids::{Attempt, Epoch, NodeId};
use crate::mutation::{Mutation, Mutations};
use crate::settings::Settings;
use crate::table::{Answer, Outcome, Phase, Request, View};
use crate::time::{LocalTime, Span};

/// A request that the group has not answered.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Pending {
    pub(super) sent: LocalTime,
    pub(super) kind: Kind,
}

/// What a request is for; each is repeated once in a renewal interval, under a new name, and [`Kind::Acquire`] four times:
/// nobody writes meanwhile, and what it waits for is another candidate's report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Kind {
    Beat,
    Ask,
    Follow,
    Report,
    Acquire,
    Parting,
    BeginSync,
    CommitSync,
    Detach,
    Remote,
    RemoteDone,
    Rebuilt,
    Failback,
}

impl Node {
    fn name(&mut self) -> Attempt {
        self.seq = self.seq.saturating_add(1);
        Attempt { boot: self.durable.boot, seq: self.seq }
    }

    /// Whether it is time for this again; if so, the next time is set.
    pub(super) fn is_due(&mut self, kind: Kind) -> bool {
        if self.retry.get(&kind).is_some_and(|at| *at > self.now) {
            return false;
        }
        let every = self.renew_every();
        let next = self.now + if kind == Kind::Acquire { every.part(4) } else { every };
        self.retry.insert(kind, next);
        true
    }

    /// Asks the group, unless it is too early to ask the same again.
    pub(super) fn ask_group(&mut self, kind: Kind, request: Request) {
        if !self.is_due(kind) {
            return;
        }
        let attempt = self.name();
        if self.pending.len() >= Self::MAX_PENDING
            && let Some((lost, pending)) = self.pending.pop_first()
            && pending.kind == Kind::Beat
        {
            self.record(Happening::Answered { attempt: lost, verdict: Verdict::Lost });
        }
        self.pending.insert(attempt, Pending { sent: self.now, kind });
        if kind == Kind::Beat {
            let epoch = match &request {
                Request::Renew { epoch, .. } => Some(*epoch),
                _ => None,
            };
            self.record(Happening::Sent { attempt, renews: epoch });
        }
        self.commands.push_back(Command::Send { attempt, request });
    }

    /// Says that this node is there, and renews its lease if it has one.
    pub(super) fn beat(&mut self) {
        let version = self.version;
        let request = match self.stand.held() {
            Some(epoch) => Request::Renew { epoch, version },
            None => Request::Beat { version, position: self.position },
        };
        self.ask_group(Kind::Beat, request);
    }

    /// Tells the group of a lease that was given up, until it knows.
    pub(super) fn say_parting(&mut self) {
        let Some(parting) = self.parting.clone() else { return };
        let known = self.view.as_ref().is_some_and(|view| {
            view.epoch > parting.epoch || (view.epoch == parting.epoch && view.phase != Phase::Held)
        });
        if known {
            self.parting = None;
            return;
        }
        let epoch = parting.epoch;
        let request = match parting.how {
            How::Released { position, to } => Request::Release { epoch, position, to },
            How::Fenced { proof, position } => Request::FenceConfirmed { epoch, proof, position },
        };
        self.ask_group(Kind::Parting, request);
    }

    pub(super) fn answered(&mut self, outcome: Outcome) {
        let pending = outcome.attempt.and_then(|attempt| self.pending.remove(&attempt));
        if let Some(view) = outcome.view {
            self.learn(view);
        }
        let (Some(attempt), Some(pending)) = (outcome.attempt, pending) else { return };
        if pending.kind == Kind::Beat {
            let round_trip = self.now.since(pending.sent);
            let verdict = match &outcome.answer {
                Err(refusal) => Verdict::Refused { round_trip, why: refusal.to_string() },
                Ok(_) if round_trip > self.renew_every() => Verdict::Late { round_trip },
                Ok(_) => Verdict::InTime { round_trip },
            };
            self.record(Happening::Answered { attempt, verdict });
        }
        let Ok(answer) = outcome.answer else { return };
        let (own, slack) = self.settings.as_ref().map_or((Span::ZERO, Span::ZERO), |s| (s.ttl, s.slack));
        match answer {
            // Only a beat proves the shadow, as only a renewal proves the lease.
            Answer::Noted if pending.kind == Kind::Beat => self.shadow.prove(pending.sent, own - slack),
            Answer::Noted => {}
            Answer::Renewed { epoch, ttl } => {
                if let Some(term) = &mut self.term
                    && term.epoch == epoch
                {
                    prove(term, &pending, self.now, (ttl.min(own), slack), self.mutations);
                    self.arm_watchdog();
                }
            }
            Answer::Granted { epoch, ttl } => self.granted(epoch, pending.sent, ttl.min(own) - slack),
            Answer::Following { epoch, round } => self.may_follow(epoch, round),
            Answer::YourTurn { epoch } => self.act(epoch),
            // Nothing that a node of a cluster asks for.
            Answer::Entrusted { .. } => {}
        }
    }

    /// Whether these settings are those that the node's own ledger declares.
    fn may_take(&self, settings: &Arc<Settings>) -> bool {
        self.declared.as_ref().is_none_or(|declared| declared == settings) || self.has(Mutation::TakeAnySettings)
    }

    /// Whether the group goes by settings that this node has taken.
    pub(super) fn agrees(&self) -> bool {
        self.view.as_ref().is_some_and(|view| view.version <= self.version)
    }

    /// A person is told when the group goes by foreign settings for longer than an entry of the ledger is on its way.
    pub(super) fn mind_settings(&mut self) {
        if self.agrees() || self.view.is_none() {
            self.foreign = None;
            self.alarmed = self.alarmed.filter(|alarm| *alarm != Alarm::ForeignSettings);
        } else if self.now.since(*self.foreign.get_or_insert(self.now)) >= FOREIGN_PATIENCE {
            self.alarm(Alarm::ForeignSettings);
        }
    }

    /// Takes in how the cluster stands, unless something newer is known.
    fn learn(&mut self, mut view: View) {
        if self.view.as_ref().is_some_and(|known| known.index >= view.index) {
            return;
        }
        if let Some(settings) = view.settings.take()
            && view.version > self.version
            && self.may_take(&settings)
        {
            let first = self.settings.is_none();
            self.version = view.version;
            if first {
                // A node that has just started is trusted after a whole ttl in touch with the group.
                self.shadow.need = self.shadow.need.map(|need| need.max(settings.ttl));
            }
            self.settings = Some(settings);
        }
        let renewed = |view: &View| (view.epoch, view.renewed);
        if self.view.as_ref().is_none_or(|known| renewed(known) != renewed(&view)) {
            self.heard = self.now;
        }
        // Its holder has said itself that it is done with this epoch; what was promised to others still binds.
        if view.phase != Phase::Held {
            self.promises.remove(&view.epoch);
        }
        self.open_since = if view.open { self.open_since.or(Some(self.now)) } else { None };
        self.view = Some(Arc::new(view));
        if self.stand.held().is_some() {
            self.arm_watchdog();
        }
    }

    /// Asks every other candidate to promise not to take the lease, when the group does not answer.
    pub(super) fn ask_peers(&mut self) {
        let (Some(term), Some(settings)) = (self.term, self.settings.clone()) else { return };
        if self.now.since(term.proven) < settings.renew.times(2) || !self.is_due(Kind::Ask) {
            return;
        }
        let attempt = self.name();
        while self.polls.len() >= Self::MAX_PENDING {
            self.polls.pop_first();
        }
        self.polls.insert(attempt, Poll { sent: self.now, given: BTreeSet::new(), arrived: 0 });
        let peers = settings.candidates.iter().map(|candidate| candidate.node).filter(|node| *node != self.me);
        for to in peers {
            self.commands.push_back(Command::Ask { to, attempt, epoch: term.epoch, term: settings.ttl });
        }
        self.count_promises(attempt);
    }

    /// A holder asks for a promise: it gets it unless this node may be on its way to a later epoch.
    pub(super) fn asked(&mut self, from: NodeId, attempt: Attempt, epoch: Epoch, term: Span) {
        if let Some(held) = self.stand.held().filter(|held| *held > epoch && self.has(Mutation::YieldToEarlier)) {
            self.stop(held, None);
        }
        let Some(view) = &self.view else { return };
        let agrees = epoch == view.epoch && view.holder == Some(from) && view.phase == Phase::Held;
        let bounded = self.settings.as_ref().is_some_and(|settings| term <= settings.ttl.times(MAX_PROMISE_TTLS));
        let room = self.promises.len() < MAX_PROMISES || self.promises.contains_key(&epoch);
        if !agrees || !bounded || !room || self.stand.held().is_some() || from == self.me {
            return;
        }
        if term > self.durable.promised {
            self.durable.promised = term;
            self.commands.push_back(Command::Persist(self.durable));
        }
        let until = self.now + term;
        self.promises.entry(epoch).and_modify(|promised| *promised = until.max(*promised)).or_insert(until);
        self.commands.push_back(Command::Promise { to: from, attempt });
    }

    pub(super) fn promised(&mut self, from: NodeId, attempt: Attempt) {
        let known = self.settings.as_ref().is_some_and(|settings| settings.priority(from).is_some());
        if let Some(poll) = self.polls.get_mut(&attempt).filter(|_| known) {
            poll.given.insert(from);
            poll.arrived = poll.arrived.saturating_add(1);
            self.count_promises(attempt);
        }
    }

    /// When every other candidate has promised, nobody can take over before their promises end.
    fn count_promises(&mut self, attempt: Attempt) {
        let (Some(settings), Some(poll)) = (&self.settings, self.polls.get(&attempt)) else { return };
        let others = || settings.candidates.iter().map(|candidate| candidate.node).filter(|node| *node != self.me);
        let all = others().all(|node| poll.given.contains(&node))
            || (self.has(Mutation::PromiseOfSome) && !poll.given.is_empty())
            || (self.has(Mutation::CountDuplicatePromises) && poll.arrived >= others().count());
        if !all {
            return;
        }
        let (sent, certain) = (poll.sent, settings.certain());
        if let Some(term) = &mut self.term {
            // The group has proven nothing: `proven` stays, so that the next question is asked in time.
            term.until = term.until.max(sent + certain);
            self.arm_watchdog();
        }
    }

    /// Sets the watchdog to the end of the lease. It waits while failover is paused, as nobody can take over, and
    /// where serving without a lease is allowed.
    pub(super) fn arm_watchdog(&mut self) {
        let Some(term) = self.term else { return };
        let allowed = self.splits() && !self.has(Mutation::WatchdogThoughAllowed);
        let waits = self.waits_for_no_group() || allowed || self.has(Mutation::WatchdogWaitsForEver);
        let until = if waits { LocalTime::NEVER } else { term.until };
        let started = matches!(
            self.stand,
            Stand::Starting { .. } | Stand::Serving { .. } | Stand::Reviving { .. } | Stand::Stopping { .. }
        );
        if !started {
            return;
        }
        // Kept before the watchdog may wait, and until it no longer does.
        if self.splits() {
            self.keep_may_split(Some(term.epoch));
        }
        self.commands.push_back(Command::Watchdog { until });
        if !self.splits() {
            self.was_alone(self.term);
        }
    }
}

fn prove(term: &mut Term, pending: &Pending, now: LocalTime, (ttl, slack): (Span, Span), mutations: Mutations) {
    let certain = if mutations.has(Mutation::ForgetSlack) { ttl } else { ttl - slack };
    let sent = if mutations.has(Mutation::LateAcknowledgement) { now } else { pending.sent };
    term.prove(sent, certain);
}

/// For how many of its own ttls a candidate binds itself at most, whatever it is asked for.
const MAX_PROMISE_TTLS: u64 = 4;

/// To the holders of how many epochs a candidate is bound at a time.
const MAX_PROMISES: usize = 8;

/// For how long the group may go by settings that this node has not heard of from its own ledger, before it says so.
const FOREIGN_PATIENCE: Span = Span::from_secs(15);
