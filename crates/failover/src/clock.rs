//! The log clock: how the group's leader measures time so that no member ever runs ahead of it.

use serde::{Deserialize, Serialize};

use crate::mutation::{Mutation, Mutations};
use crate::time::{LocalTime, Span};

/// What a leader puts on each entry it orders: how long it has led since the entry before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Stamp {
    /// Time on the leader's `CLOCK_BOOTTIME` since it stamped its previous entry; zero for the first one of a term.
    pub elapsed: Span,
}

/// The leader's side of the log clock.
///
/// The table adds up what entries say has elapsed. An entry that is never committed takes its share with it, and the
/// first entry of a term carries none: so the log clock can only lag behind real time, which makes leases longer,
/// never shorter. No wall clock is read anywhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct LogClock {
    last: Option<(u64, LocalTime)>,
    mutations: Mutations,
}

impl LogClock {
    /// A clock that has stamped nothing.
    pub const fn new() -> Self {
        Self { last: None, mutations: Mutations::NONE }
    }

    /// The same clock with one deliberate fault.
    #[doc(hidden)]
    #[must_use]
    pub const fn with_mutations(self, mutations: Mutations) -> Self {
        Self { mutations, ..self }
    }

    /// The stamp of an entry that this member orders as the leader of `term` at `now`.
    ///
    /// Stamps must be taken in the order in which entries are appended.
    pub fn stamp(&mut self, term: u64, now: LocalTime) -> Stamp {
        let elapsed = match self.last {
            Some((led, at)) if led == term || self.mutations.has(Mutation::ClockCountsOtherTerms) => now.since(at),
            _ => Span::ZERO,
        };
        self.last = Some((term, now));
        Stamp { elapsed }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_term_begins_with_no_elapsed_time() {
        let at = |secs: u64| LocalTime::from_micros(secs * 1_000_000);
        let mut clock = LogClock::new();
        assert_eq!(clock.stamp(1, at(10)).elapsed, Span::ZERO);
        assert_eq!(clock.stamp(1, at(12)).elapsed, Span::from_secs(2));
        // Led again without having noticed that another led in between.
        assert_eq!(clock.stamp(3, at(60)).elapsed, Span::ZERO);
        assert_eq!(clock.stamp(3, at(61)).elapsed, Span::from_secs(1));
    }

    #[test]
    fn a_clock_that_goes_back_counts_as_standing_still() {
        let mut clock = LogClock::new();
        clock.stamp(1, LocalTime::from_micros(9));
        assert_eq!(clock.stamp(1, LocalTime::from_micros(3)).elapsed, Span::ZERO);
    }
}
