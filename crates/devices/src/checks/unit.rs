//! Whether a systemd unit is active and stays so, from its properties, never from text for people.

use std::ffi::OsStr;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use super::exec;

pub(super) async fn active(path: &OsStr, systemctl: &OsStr, name: &str, stable: Duration) -> Result<(), String> {
    let wanted = "--property=LoadState,ActiveState,SubState,Result,NRestarts,ActiveEnterTimestampMonotonic";
    let command = [systemctl, OsStr::new("show"), OsStr::new(wanted), OsStr::new("--"), OsStr::new(name)];
    let ran = exec::run(path, &command, DEADLINE).await?;
    ran.success()?;
    let now = clock_gettime(ClockId::Monotonic);
    let now = u64::try_from(now.tv_sec).unwrap_or(0) * 1_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0) / 1000;
    judge(&ran.stdout, now, stable)
}

/// Judges the properties; `now` is the monotonic clock in microseconds.
fn judge(properties: &str, now: u64, stable: Duration) -> Result<(), String> {
    let of = |wanted: &str| {
        let value = |line: &str| line.split_once('=').filter(|(name, _)| *name == wanted).map(|(_, v)| v.to_owned());
        properties.lines().find_map(value).unwrap_or_default()
    };
    let load = of("LoadState");
    if load != "loaded" {
        return Err(format!("the unit is {}", if load.is_empty() { "unknown" } else { &load }));
    }
    let restarts = of("NRestarts");
    let restarts = if matches!(restarts.as_str(), "" | "0") { String::new() } else { format!(", {restarts} restarts") };
    let active = of("ActiveState");
    if active != "active" {
        return Err(format!("the unit is {active} ({}), result {}{restarts}", of("SubState"), of("Result")));
    }
    let since: u64 = of("ActiveEnterTimestampMonotonic").parse().unwrap_or(0);
    let lasted = Duration::from_micros(now.saturating_sub(since));
    if lasted < stable {
        let (lasted, stable) = (lasted.as_secs_f32(), stable.as_secs());
        return Err(format!("the unit is active for {lasted:.1} of {stable} seconds{restarts}"));
    }
    Ok(())
}

/// How long systemd may take to answer.
const DEADLINE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    const ACTIVE: &str = "LoadState=loaded\nActiveState=active\nSubState=running\nResult=success\nNRestarts=3\n\
                          ActiveEnterTimestampMonotonic=5000000\n";

    #[test]
    fn an_active_unit_must_last() {
        let two = Duration::from_secs(2);
        assert_eq!(judge(ACTIVE, 7_000_000, two), Ok(()));
        let young = judge(ACTIVE, 6_500_000, two).unwrap_err();
        assert_eq!(young, "the unit is active for 1.5 of 2 seconds, 3 restarts");
    }

    #[test]
    fn a_unit_that_failed_or_is_not_there_is_told_apart() {
        let failed =
            ACTIVE.replace("ActiveState=active", "ActiveState=failed").replace("Result=success", "Result=exit-code");
        let why = judge(&failed, 7_000_000, Duration::ZERO).unwrap_err();
        assert_eq!(why, "the unit is failed (running), result exit-code, 3 restarts");
        let missing = judge("LoadState=not-found\nActiveState=inactive\n", 0, Duration::ZERO).unwrap_err();
        assert_eq!(missing, "the unit is not-found");
        assert_eq!(judge("", 0, Duration::ZERO).unwrap_err(), "the unit is unknown");
    }
}
