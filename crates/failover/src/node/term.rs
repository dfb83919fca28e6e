//! How long a node may be sure of something: its lease, its shadow of one, its promise, its hold-down.

use std::collections::BTreeSet;

use crate::ids::{Epoch, NodeId};
use crate::time::{LocalTime, Span};

/// The holder's own end of its lease, on its own clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Term {
    /// The epoch.
    pub(super) epoch: Epoch,
    /// Nobody else can use the lease before this instant.
    pub(super) until: LocalTime,
    /// The same by what the group has answered alone: nobody else can be granted it before.
    pub(super) granted: LocalTime,
    /// When the newest request was sent that proved it.
    pub(super) proven: LocalTime,
}

impl Term {
    /// Something that was asked at `sent` proves the lease for `certain` from then on, whenever the answer arrived.
    pub(super) fn prove(&mut self, sent: LocalTime, certain: Span) {
        self.granted = self.granted.max(sent + certain);
        self.until = self.until.max(self.granted);
        self.proven = self.proven.max(sent);
    }
}

/// A lease that is only imagined: what a fenced node must be able to hold before it is trusted with a real one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Shadow {
    /// What was asked before this counts for nothing, however late it is answered.
    from: LocalTime,
    since: Option<LocalTime>,
    until: LocalTime,
    /// For how long it must have been held; `None` when the node is trusted.
    pub(super) need: Option<Span>,
    /// Whether it must still be held when the node asks for a lease, or need only have been held once.
    fenced: bool,
}

impl Shadow {
    /// Begins anew: it must be held for `need`.
    pub(super) const fn demand(need: Span) -> Self {
        let zero = LocalTime::from_micros(0);
        Self { from: zero, since: None, until: zero, need: Some(need), fenced: false }
    }

    /// The same for a node that was fenced: it must also be in touch when it asks for a lease.
    pub(super) const fn after_fence(now: LocalTime, need: Span) -> Self {
        Self { from: now, fenced: true, ..Self::demand(need) }
    }

    /// Whether a person's order is enough: it is not for what this node may have promised and forgotten.
    pub(super) const fn is_waived(&self) -> bool {
        self.fenced
    }

    /// Whether nothing more is demanded.
    pub(super) fn is_over(&self, now: LocalTime) -> bool {
        self.need.is_some() && !self.fenced && self.is_held(now)
    }

    /// A request that was sent at `sent` was answered.
    pub(super) fn prove(&mut self, sent: LocalTime, certain: Span) {
        if sent < self.from {
            return;
        }
        if self.since.is_none() || sent > self.until {
            self.since = Some(sent);
        }
        self.until = self.until.max(sent + certain);
    }

    /// Whether it has been held long enough, without a gap, up to now.
    pub(super) fn is_held(&self, now: LocalTime) -> bool {
        self.due().is_none_or(|due| now >= due && now < self.until)
    }

    /// When it will have been held long enough, if a demand stands. Never, if it has not begun.
    pub(super) fn due(&self) -> Option<LocalTime> {
        let need = self.need?;
        Some(self.since.map_or(LocalTime::NEVER, |since| since + need))
    }
}

/// A question for promises, and who gave theirs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Poll {
    pub(super) sent: LocalTime,
    pub(super) given: BTreeSet<NodeId>,
    /// How many promises arrived, whoever gave them.
    pub(super) arrived: usize,
}

/// How long a node that was fenced holds back; it doubles with each fence that follows soon.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct HoldDown {
    last: Option<LocalTime>,
    span: Span,
}

impl HoldDown {
    /// The node is fenced at `now`: how long it must hold back.
    pub(super) fn fenced(&mut self, now: LocalTime, ttl: Span, longest: Span) -> Span {
        let soon = self.last.is_some_and(|last| now.since(last) <= longest.times(2));
        self.span = if soon { self.span.times(2).clamp(ttl, longest) } else { ttl };
        self.last = Some(now);
        self.span
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> LocalTime {
        LocalTime::from_micros(secs * 1_000_000)
    }

    #[test]
    fn a_late_answer_counts_from_when_it_was_asked() {
        let mut term = Term { epoch: Epoch(1), until: at(10), granted: at(10), proven: at(0) };
        term.prove(at(2), Span::from_secs(10));
        term.prove(at(1), Span::from_secs(10));
        assert_eq!((term.until, term.proven), (at(12), at(2)));
    }

    #[test]
    fn a_gap_begins_the_shadow_anew() {
        let mut shadow = Shadow::demand(Span::from_secs(10));
        for secs in [0, 4, 8] {
            shadow.prove(at(secs), Span::from_secs(5));
        }
        assert!(!shadow.is_held(at(9)) && shadow.is_held(at(10)) && shadow.is_held(at(12)));
        assert!(!shadow.is_held(at(13)), "it has lapsed");
        shadow.prove(at(14), Span::from_secs(5));
        assert_eq!(shadow.due(), Some(at(24)));
        assert!(Shadow::default().is_held(at(0)), "nothing is demanded of a node that was never fenced");
    }

    #[test]
    fn what_was_asked_before_the_fence_proves_no_shadow() {
        let mut shadow = Shadow::after_fence(at(10), Span::from_secs(5));
        shadow.prove(at(7), Span::from_secs(9));
        assert_eq!(shadow.due(), Some(LocalTime::NEVER));
        shadow.prove(at(10), Span::from_secs(9));
        assert!(!shadow.is_held(at(14)) && shadow.is_held(at(15)));
    }

    #[test]
    fn holding_back_doubles_up_to_the_longest_and_is_forgotten() {
        let mut hold = HoldDown::default();
        let mut fenced = |secs| hold.fenced(at(secs), Span::from_secs(15), Span::from_secs(60)).as_micros() / 1_000_000;
        assert_eq!([fenced(0), fenced(20), fenced(60), fenced(130), fenced(300)], [15, 30, 60, 60, 15]);
    }
}
