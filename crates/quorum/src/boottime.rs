//! The clock that leases are measured by: since the machine started, time asleep included, never set by anybody.

use failover::LocalTime;

/// `CLOCK_BOOTTIME` now.
pub(crate) fn now() -> LocalTime {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let secs = u64::try_from(time.tv_sec).unwrap_or(0);
    let micros = u64::try_from(time.tv_nsec).unwrap_or(0) / 1_000;
    LocalTime::from_micros(secs.saturating_mul(1_000_000).saturating_add(micros))
}

#[cfg(test)]
mod tests {
    #[test]
    fn it_goes_forward() {
        let before = super::now();
        std::thread::sleep(std::time::Duration::from_millis(2));
        assert!(super::now().since(before).as_micros() >= 2_000);
    }
}
