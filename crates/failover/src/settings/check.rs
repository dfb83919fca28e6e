//! Refuses settings that cannot hold what they promise, and names the numbers.

use std::collections::BTreeSet;

use super::{Failback, FailoverStrategy, Rung, Settings, Workload};
use crate::time::Span;

/// What settings are measured against: how fast the group, the network and the fence really are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Surroundings {
    /// The longest time the group may be without a leader after it lost one.
    pub election: Span,
    /// The round trip to the group that 99 of 100 requests keep.
    pub round_trip: Span,
    /// How long the first rung was measured to take, if it was.
    pub fence: Option<Span>,
}

impl Surroundings {
    /// A group on one site with its usual timers.
    pub const LAN: Self = Self { election: Span::from_millis(3_500), round_trip: Span::from_millis(100), fence: None };
    /// A group on one site with the fastest timers.
    pub const FAST: Self = Self { election: Span::from_millis(1_100), round_trip: Span::from_millis(50), fence: None };
    /// A group over long or mobile lines.
    pub const WAN: Self = Self { election: Span::from_secs(14), round_trip: Span::from_secs(2), fence: None };
}

/// Why settings are refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// Too few or too many candidates, or one twice.
    #[error("a cluster has 1 to {most} different candidates, and these are {0}", most = Settings::MAX_CANDIDATES)]
    Candidates(usize),
    /// The first holder is no candidate.
    #[error("the first holder must be one of the candidates")]
    First,
    /// A database may not have two writers.
    #[error("split-brain-allowed is refused for stateful-sql: two databases that both took writes cannot be made one")]
    SplitBrain,
    /// More synchronous standbys than there are.
    #[error("sync = {sync} standbys must hold each write, but {candidates} candidates leave {} standbys", candidates - 1)]
    Sync {
        /// What was asked for.
        sync: u8,
        /// How many candidates there are.
        candidates: usize,
    },
    /// A service has no positions that could be compared.
    #[error("sync = {0} is for stateful-sql; a service has no writes that standbys could hold")]
    SyncOfService(u8),
    /// The ladder has too few or too many rungs.
    #[error(
        "the fence ladder has {0} rungs; absolute-consistency needs 1 to {most}, split-brain-allowed none",
        most = Settings::MAX_RUNGS
    )]
    Ladder(usize),
    /// A time that must not be zero, or is longer than a day.
    #[error("{name} = {value}, and must be more than nothing and at most {}", LONGEST)]
    Time {
        /// The setting.
        name: &'static str,
        /// Its value.
        value: Span,
    },
    /// An action's name is empty or too long.
    #[error("an action's name has 1 to {most} bytes, and this one has {0}", most = Settings::MAX_ACTION_BYTES)]
    Action(usize),
    /// The slack does not cover the drift of two clocks over one ttl.
    #[error("slack = {slack} must cover the drift of two clocks over ttl = {ttl}, which may be {needed}")]
    Slack {
        /// The slack.
        slack: Span,
        /// The ttl.
        ttl: Span,
        /// Twice the worst drift over one ttl.
        needed: Span,
    },
    /// Two renewals in a row and a fence do not fit into a lease.
    #[error(
        "2 × renew ({renew}) must be less than ttl ({ttl}) − slack ({slack}) − fence ladder ({fence}) = {}, \
         or one lost renewal fences",
        *ttl - *slack - *fence
    )]
    Renew {
        /// The renewal interval.
        renew: Span,
        /// The ttl.
        ttl: Span,
        /// The slack.
        slack: Span,
        /// All rungs together.
        fence: Span,
    },
    /// A fenced node would hold back for less than a lease.
    #[error("hold_down_max ({hold_down}) must be at least ttl ({ttl})")]
    HoldDown {
        /// The longest hold-down.
        hold_down: Span,
        /// The ttl.
        ttl: Span,
    },
    /// An election of the group would fence a healthy primary.
    #[error(
        "election ({election}) + 2 × renew ({renew}) + round trip ({round_trip}) = {} must be less than \
         ttl ({ttl}) − slack ({slack}) − fence ladder ({fence}) = {}, or an election fences a healthy primary",
        *election + renew.times(2) + *round_trip, *ttl - *slack - *fence
    )]
    Election {
        /// How long the group may be without a leader.
        election: Span,
        /// The renewal interval.
        renew: Span,
        /// The round trip to the group.
        round_trip: Span,
        /// The ttl.
        ttl: Span,
        /// The slack.
        slack: Span,
        /// All rungs together.
        fence: Span,
    },
    /// The first rung has too little time beside what was measured.
    #[error("the fence ladder ({fence}) must be at least {} times what its first rung took ({measured})", FENCE_MARGIN)]
    Fence {
        /// All rungs together.
        fence: Span,
        /// What the first rung took.
        measured: Span,
    },
    /// The thresholds leave no time to fence.
    #[error(
        "failover_timeout ({failover}) − slack ({slack}) must be more than (failure_threshold + 1) × heartbeat_timeout \
         = {silence}: nothing is left to fence in"
    )]
    Seed {
        /// The failover timeout.
        failover: Span,
        /// The slack.
        slack: Span,
        /// After how long a silent primary begins to fence.
        silence: Span,
    },
}

impl Settings {
    /// Whether the settings agree with themselves.
    pub fn check(&self) -> Result<(), SettingsError> {
        self.check_candidates()?;
        let (split, sql) = (self.strategy == FailoverStrategy::SplitBrainAllowed, Workload::StatefulSql);
        if split && self.workload == sql {
            return Err(SettingsError::SplitBrain);
        }
        if self.sync > 0 && self.workload != sql {
            return Err(SettingsError::SyncOfService(self.sync));
        }
        if split != self.ladder.is_empty() || self.ladder.len() > Self::MAX_RUNGS {
            return Err(SettingsError::Ladder(self.ladder.len()));
        }
        let actions = self.ladder.iter().filter_map(|plan| match &plan.rung {
            Rung::Action(name) => Some(name),
            _ => None,
        });
        for action in actions.chain(self.remote.as_ref().map(|remote| &remote.action)) {
            if action.is_empty() || action.len() > Self::MAX_ACTION_BYTES {
                return Err(SettingsError::Action(action.len()));
            }
        }
        self.check_times()
    }

    /// Whether the settings hold with a group, a network and a fence as fast as these.
    pub fn fits(&self, around: &Surroundings) -> Result<(), SettingsError> {
        self.check()?;
        let Self { ttl, slack, renew, .. } = *self;
        let (fence, Surroundings { election, round_trip, .. }) = (self.fence_budget(), *around);
        if election + renew.times(2) + round_trip >= ttl - slack - fence {
            return Err(SettingsError::Election { election, renew, round_trip, ttl, slack, fence });
        }
        match around.fence {
            Some(measured) if !self.ladder.is_empty() && fence < measured.times(FENCE_MARGIN) => {
                Err(SettingsError::Fence { fence, measured })
            }
            _ => Ok(()),
        }
    }

    fn check_candidates(&self) -> Result<(), SettingsError> {
        let nodes: BTreeSet<_> = self.candidates.iter().map(|candidate| candidate.node).collect();
        let count = self.candidates.len();
        if nodes.is_empty() || nodes.len() != count || count > Self::MAX_CANDIDATES {
            return Err(SettingsError::Candidates(count));
        }
        if self.first.is_some_and(|first| !nodes.contains(&first)) {
            return Err(SettingsError::First);
        }
        if usize::from(self.sync) >= count {
            return Err(SettingsError::Sync { sync: self.sync, candidates: count });
        }
        Ok(())
    }

    fn check_times(&self) -> Result<(), SettingsError> {
        let rungs = self.ladder.iter().map(|plan| ("ladder.within", plan.within));
        let remote = self.remote.iter().map(|remote| ("remote.within", remote.within));
        let failback = match self.failback {
            Failback::After(after) => Some(("failback.after", after)),
            Failback::Manual => None,
        };
        let times = [
            ("ttl", self.ttl),
            ("slack", self.slack),
            ("renew", self.renew),
            ("start_within", self.start_within),
            ("stop_within", self.stop_within),
            ("handoff_within", self.handoff_within),
            ("hold_down_max", self.hold_down_max),
        ];
        for (name, value) in times.into_iter().chain(rungs).chain(remote).chain(failback) {
            if value == Span::ZERO || value > LONGEST {
                return Err(SettingsError::Time { name, value });
            }
        }
        let Self { ttl, slack, renew, hold_down_max, .. } = *self;
        let needed = ttl.times(2 * MAX_DRIFT_PPM).part(1_000_000);
        if slack < needed || slack >= ttl {
            return Err(SettingsError::Slack { slack, ttl, needed });
        }
        let fence = self.fence_budget();
        if renew.times(2) >= ttl - slack - fence {
            return Err(SettingsError::Renew { renew, ttl, slack, fence });
        }
        if hold_down_max < ttl {
            return Err(SettingsError::HoldDown { hold_down: hold_down_max, ttl });
        }
        Ok(())
    }
}

/// How far a clock may run from real time, in parts of a million: many times what clocks of computers do.
const MAX_DRIFT_PPM: u64 = 1_000;

/// How much longer the ladder must be than its first rung was measured to take.
const FENCE_MARGIN: u64 = 4;

/// The longest time that any setting may name.
const LONGEST: Span = Span::from_secs(86_400);

#[cfg(test)]
mod tests;
