//! What is refused, and in which words.

use super::*;
use crate::ids::NodeId;
use crate::settings::{Candidate, SeedSettings};

fn nodes(count: u8) -> Vec<Candidate> {
    (1..=count).map(|id| Candidate { node: NodeId::from_bytes([id; 32]), priority: 0 }).collect()
}

fn lan() -> Settings {
    Settings::lan(Workload::StatefulSql, nodes(3))
}

#[test]
fn the_profiles_hold_where_they_are_meant_for() {
    let measured = |fence| Surroundings { fence: Some(Span::from_millis(fence)), ..Surroundings::LAN };
    assert_eq!(lan().fits(&measured(170)), Ok(()));
    assert_eq!(Settings::fast(Workload::Service, nodes(2)).fits(&Surroundings::FAST), Ok(()));
    assert_eq!(Settings::wan(Workload::StatefulSql, nodes(3)).fits(&Surroundings::WAN), Ok(()));
    assert_eq!(Settings::kubernetes(Workload::StatefulSql, nodes(3)).fits(&Surroundings::LAN), Ok(()));
    assert_eq!(Settings::lan(Workload::StatefulSql, nodes(1)).check(), Ok(()));
}

#[test]
fn an_inequality_that_fails_names_every_number() {
    let mut tight = lan();
    tight.ttl = Span::from_millis(7_500);
    let error = tight.fits(&Surroundings::LAN).unwrap_err();
    assert_eq!(
        error.to_string(),
        "election (3.5 s) + 2 × renew (800 ms) + round trip (100 ms) = 5.2 s must be less than ttl (7.5 s) − slack \
         (500 ms) − fence ladder (2 s) = 5 s, or an election fences a healthy primary"
    );
    let slow = Surroundings { fence: Some(Span::from_millis(600)), ..Surroundings::LAN };
    assert_eq!(
        lan().fits(&slow).unwrap_err().to_string(),
        "the fence ladder (2 s) must be at least 4 times what its first rung took (600 ms)"
    );
}

#[test]
fn settings_that_disagree_with_themselves_are_refused() {
    let with = |change: fn(&mut Settings)| {
        let mut settings = lan();
        change(&mut settings);
        settings.check().unwrap_err()
    };
    assert_eq!(with(|s| s.candidates = nodes(0)), SettingsError::Candidates(0));
    assert_eq!(with(|s| s.candidates = nodes(10)), SettingsError::Candidates(10));
    assert_eq!(with(|s| s.candidates[1] = s.candidates[0]), SettingsError::Candidates(3));
    assert_eq!(with(|s| s.first = Some(NodeId::from_bytes([9; 32]))), SettingsError::First);
    assert_eq!(with(|s| s.strategy = FailoverStrategy::SplitBrainAllowed), SettingsError::SplitBrain);
    assert_eq!(with(|s| s.sync = 3), SettingsError::Sync { sync: 3, candidates: 3 });
    assert_eq!(with(|s| s.workload = Workload::Service), SettingsError::SyncOfService(1));
    assert_eq!(with(|s| s.ladder.clear()), SettingsError::Ladder(0));
    assert_eq!(with(|s| s.ladder[0].rung = Rung::Action(String::new())), SettingsError::Action(0));
    assert_eq!(with(|s| s.renew = Span::ZERO), SettingsError::Time { name: "renew", value: Span::ZERO });
    assert!(matches!(with(|s| s.slack = Span::from_millis(10)), SettingsError::Slack { .. }));
    assert!(matches!(with(|s| s.renew = Span::from_secs(5)), SettingsError::Renew { .. }));
    assert!(matches!(with(|s| s.hold_down_max = Span::from_secs(5)), SettingsError::HoldDown { .. }));
}

#[test]
fn counted_heartbeats_become_times() {
    let seed = SeedSettings {
        heartbeat_timeout: Span::from_secs(2),
        failure_threshold: 3,
        success_threshold: 5,
        failover_timeout: Span::from_secs(15),
    };
    let mapped = seed.apply_to(&lan()).unwrap();
    assert_eq!(
        (mapped.ttl, mapped.renew, mapped.slack),
        (Span::from_secs(15), seed.heartbeat_timeout, Span::from_secs(1))
    );
    // 15 s − 1 s − (3 + 1) × 2 s
    assert_eq!(mapped.fence_budget(), Span::from_secs(6));
    assert_eq!(mapped.fits(&Surroundings::LAN), Ok(()));
}

#[test]
fn thresholds_that_leave_no_time_to_fence_are_refused_with_their_numbers() {
    let seed = SeedSettings {
        heartbeat_timeout: Span::from_secs(1),
        failure_threshold: 4,
        success_threshold: 1,
        failover_timeout: Span::from_secs(5),
    };
    assert_eq!(
        seed.apply_to(&lan()).unwrap_err().to_string(),
        "failover_timeout (5 s) − slack (333 ms) must be more than (failure_threshold + 1) × heartbeat_timeout = 5 s: \
         nothing is left to fence in"
    );
}
