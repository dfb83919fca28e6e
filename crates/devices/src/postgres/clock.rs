//! This machine's clock, which goes on while it sleeps, and is set by nobody.

use failover::LocalTime;
use rustix::time::{ClockId, clock_gettime};

/// Now.
pub(super) fn now() -> LocalTime {
    let time = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(time.tv_nsec).unwrap_or(0);
    LocalTime::from_micros(seconds.saturating_mul(1_000_000).saturating_add(nanos / 1_000))
}
