//! The parameters that counters of heartbeats are tuned by, and what they mean for a lease.

use serde::{Deserialize, Serialize};

use super::{Settings, SettingsError};
use crate::time::Span;

/// Failover tuned by counting heartbeats.
///
/// Counting attempts does not measure time: a machine that is paused between two attempts counts nothing. So each
/// number is turned into the time it stands for, and that time is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeedSettings {
    /// How often a heartbeat is sent, and how long an attempt may take.
    pub heartbeat_timeout: Span,
    /// How many attempts may fail in a row before a primary fences.
    pub failure_threshold: u32,
    /// How many attempts must succeed in a row before a fenced primary is trusted again.
    pub success_threshold: u32,
    /// After how long without a heartbeat of the primary a replica takes over.
    pub failover_timeout: Span,
}

impl SeedSettings {
    /// These numbers as times, in place of those of `settings`.
    ///
    /// | number | becomes |
    /// |---|---|
    /// | `heartbeat_timeout` | `renew` |
    /// | `failover_timeout` | `ttl` |
    /// | a fifteenth of it, at most 1 s | `slack` |
    /// | `(failure_threshold + 1) × heartbeat_timeout` | when the fence begins: the ladder has the rest of the lease |
    /// | `success_threshold × heartbeat_timeout` | the longest hold-down is at least that; a fenced node waits a ttl in any case |
    ///
    /// It is one attempt more than the threshold because the last success may be almost an interval old when the
    /// first attempt fails.
    pub fn apply_to(&self, settings: &Settings) -> Result<Settings, SettingsError> {
        let ttl = self.failover_timeout;
        let slack = ttl.part(15).min(Span::from_secs(1));
        let silence = self.heartbeat_timeout.times(u64::from(self.failure_threshold).saturating_add(1));
        let fence = ttl - slack - silence;
        if fence == Span::ZERO {
            return Err(SettingsError::Seed { failover: ttl, slack, silence });
        }
        let trust = self.heartbeat_timeout.times(self.success_threshold.into());
        let mapped = Settings {
            ttl,
            slack,
            renew: self.heartbeat_timeout,
            ladder: if settings.ladder.is_empty() { Vec::new() } else { Settings::ladder_of(fence) },
            hold_down_max: settings.hold_down_max.max(trust).max(ttl),
            ..settings.clone()
        };
        mapped.check()?;
        Ok(mapped)
    }
}
