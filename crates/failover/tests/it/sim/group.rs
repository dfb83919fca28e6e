//! The coordinators' group: the real table, and leaders that come and go with their own clocks.

use failover::mutation::Mutations;
use failover::{Entry, LeaseTable, LocalTime, LogClock, Outcome};

/// How many members may lead.
pub(crate) const LEADERS: usize = 3;

#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub(crate) table: LeaseTable,
    clocks: [LogClock; LEADERS],
    drift: Vec<i64>,
    leader: usize,
    term: u64,
    pub(crate) down_until: u64,
}

impl Group {
    pub(crate) fn new(drift: &[i64], mutations: Mutations) -> Self {
        let clock = LogClock::new().with_mutations(mutations);
        Self {
            table: LeaseTable::with_mutations(mutations),
            clocks: [clock; LEADERS],
            drift: drift.to_vec(),
            leader: 0,
            term: 1,
            down_until: 0,
        }
    }

    pub(crate) fn is_up(&self, now: u64) -> bool {
        now >= self.down_until
    }

    /// Another member leads, or the same one again, in a new term.
    pub(crate) fn elect(&mut self, leader: usize, until: u64) {
        self.leader = leader % LEADERS;
        self.term += 1;
        self.down_until = self.down_until.max(until);
    }

    pub(crate) fn apply(&mut self, now: u64, entry: &Entry) -> Outcome {
        let drift = self.drift.get(self.leader).copied().unwrap_or(0);
        let local = LocalTime::from_micros(super::machine::drifted(now, drift) + 77_000_000 * self.leader as u64);
        let stamp = self.clocks[self.leader].stamp(self.term, local);
        self.table.apply(stamp, entry)
    }
}
