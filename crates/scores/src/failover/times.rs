//! The times of a succession, as people write them: in milliseconds, over a profile, or by counted heartbeats.

use failover::settings::{Candidate, Rung, RungPlan, SeedSettings};
use failover::{Settings, Span, Surroundings, Workload};
use serde::{Deserialize, Serialize};

use super::surroundings;

/// Where the nodes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Profile {
    /// On one site: 8 s until another takes over.
    #[default]
    Lan,
    /// On sites that long or mobile lines join: 45 s.
    Wan,
    /// Databases that a Kubernetes operator runs: 45 s, with 25 s to fence.
    Kubernetes,
    /// On one site with the fastest timers that hold: 5 s.
    Fast,
}

impl Profile {
    pub(super) fn settings(self, workload: Workload, candidates: Vec<Candidate>) -> Settings {
        match self {
            Self::Lan => Settings::lan(workload, candidates),
            Self::Wan => Settings::wan(workload, candidates),
            Self::Kubernetes => Settings::kubernetes(workload, candidates),
            Self::Fast => Settings::fast(workload, candidates),
        }
    }

    /// What its settings are measured against.
    pub const fn surroundings(self) -> Surroundings {
        surroundings(self)
    }
}

/// Times that differ from the profile's, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Times {
    /// How long the group keeps a lease after a renewal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_ms: Option<u64>,
    /// How much earlier the holder counts it as over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slack_ms: Option<u64>,
    /// How often it is renewed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renew_ms: Option<u64>,
    /// How long the usual fence ladder takes, all rungs together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fence_ms: Option<u64>,
    /// How long the workload may take to become writable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_within_ms: Option<u64>,
    /// How long a planned stop may take before it becomes a fence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_within_ms: Option<u64>,
    /// How long a planned handoff waits for its target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handoff_within_ms: Option<u64>,
    /// The longest time a node that was fenced repeatedly holds back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold_down_max_ms: Option<u64>,
}

impl Times {
    pub(super) fn apply_to(&self, settings: &mut Settings) {
        let ttl_as_stop = settings.stop_within == settings.ttl;
        let set = |place: &mut Span, millis: Option<u64>| {
            if let Some(millis) = millis {
                *place = Span::from_millis(millis);
            }
        };
        set(&mut settings.ttl, self.ttl_ms);
        if ttl_as_stop {
            settings.stop_within = settings.ttl;
        }
        set(&mut settings.slack, self.slack_ms);
        set(&mut settings.renew, self.renew_ms);
        set(&mut settings.start_within, self.start_within_ms);
        set(&mut settings.stop_within, self.stop_within_ms);
        set(&mut settings.handoff_within, self.handoff_within_ms);
        set(&mut settings.hold_down_max, self.hold_down_max_ms);
        if let Some(fence) = self.fence_ms.filter(|_| !settings.ladder.is_empty()) {
            settings.ladder = Settings::ladder_of(Span::from_millis(fence));
        }
    }
}

/// Times by counted heartbeats; `docs/failover.md` says what each number becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counted {
    /// How often a heartbeat is sent, and how long an attempt may take, in milliseconds.
    pub heartbeat_timeout_ms: u64,
    /// How many attempts may fail in a row before a writer fences.
    pub failure_threshold: u32,
    /// How many attempts must succeed in a row before a fenced writer is trusted again.
    pub success_threshold: u32,
    /// After how long without a heartbeat another takes over, in milliseconds.
    pub failover_timeout_ms: u64,
}

impl Counted {
    /// The numbers as the settings take them.
    pub const fn seed(&self) -> SeedSettings {
        SeedSettings {
            heartbeat_timeout: Span::from_millis(self.heartbeat_timeout_ms),
            failure_threshold: self.failure_threshold,
            success_threshold: self.success_threshold,
            failover_timeout: Span::from_millis(self.failover_timeout_ms),
        }
    }
}

/// A rung of the ladder and its time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RungTime {
    /// `"immediate"`, `"kill"`, `"cut-traffic"`, or `{ action = "name" }`.
    pub rung: Rung,
    /// How long it may take until it is verified, in milliseconds.
    pub within_ms: u64,
}

impl RungTime {
    pub(super) fn plan(&self) -> RungPlan {
        RungPlan { rung: self.rung.clone(), within: Span::from_millis(self.within_ms) }
    }
}
