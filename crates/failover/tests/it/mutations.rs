//! Deliberate faults, each switched on in the real state machines: the simulator must catch every one of them.
//!
//! What no schedule can catch is either not needed, or not looked at. Both would be worth knowing.

use failover::mutation::{Mutation, Mutations};

use crate::scenarios;
use crate::sim::{Plan, Theme, play};

/// The kinds of schedules in which a fault should show, and how many of each are tried at most.
fn themes(mutation: Mutation) -> &'static [Theme] {
    use Mutation as M;
    match mutation {
        M::ClockCountsOtherTerms => &[Theme::Group],
        M::ForgetSlack | M::LateAcknowledgement | M::PromiseOfSome => &[Theme::Drift],
        M::WatchdogWaitsForEver => &[Theme::Pauses],
        M::NeverFence => &[Theme::Links, Theme::Group, Theme::Storm],
        M::GrantWithoutSyncGate | M::SkipDetach | M::GrantToLesserPosition => &[Theme::StoppedClocks, Theme::Pauses],
        M::CommitSyncAtOnce
        | M::ApplySyncFirst
        | M::HandOverToAnybody
        | M::ReleaseBeforeStopped
        | M::LeaveBeforeStopped => &[Theme::Operators],
        M::ForgetHeldCluster => &[Theme::Operators],
        M::ForgetWithdrawnVersions | M::GrantWithdrawn | M::WithdrawalEndsLease | M::RemovalEndsLease => {
            &[Theme::Declarations]
        }
        M::TrustFailedRung | M::NoEscalation | M::ConfirmBeforeVerified => &[Theme::Fences],
        M::NeverAcquire => &[Theme::Calm],
        M::ReviveBeforeVerified | M::ReviveRenews | M::ReviveUngated | M::ReviveForEver => &[Theme::Crashes],
        M::NeverYield
        | M::YieldToEarlier
        | M::WatchdogThoughAllowed
        | M::DegradeSilently
        | M::ForgetReconcile
        | M::ForgetDegradedAtRestart
        | M::ReconcileForEver
        | M::ReconcileBeforeStopped => &[Theme::SplitBrain],
        _ => &[Theme::Storm, Theme::Pauses, Theme::Links, Theme::Group, Theme::StoppedClocks, Theme::Fences],
    }
}

/// Seeds that are tried for one fault, on each theme in turn.
const MOST: u64 = 1_500;

#[test]
fn every_deliberate_fault_is_caught() {
    let mut missed = Vec::new();
    let began = std::time::Instant::now();
    for mutation in Mutation::ALL {
        if let Some(story) = scenarios::of(mutation) {
            match story(Mutations::only(mutation)) {
                Err(what) => println!("{mutation:?}: caught by a story: {}", what.chars().take(60).collect::<String>()),
                Ok(()) => missed.push(mutation),
            }
            continue;
        }
        match caught(mutation) {
            Some((tried, theme, invariant)) => {
                println!("{mutation:?}: caught by \"{invariant}\" in {tried} schedules ({theme:?})");
            }
            None => missed.push(mutation),
        }
    }
    let count = Mutation::ALL.len();
    println!("{} of {count} caught in {:.1} s", count - missed.len(), began.elapsed().as_secs_f64());
    assert!(missed.is_empty(), "no schedule caught {missed:?}");
}

fn caught(mutation: Mutation) -> Option<(u64, Theme, &'static str)> {
    let themes = themes(mutation);
    (0..MOST).find_map(|seed| {
        let theme = themes[usize::try_from(seed).unwrap_or(0) % themes.len()];
        let run = play(&Plan::themed(seed, theme), Mutations::only(mutation), false);
        let violation = run.violation?;
        let sound = play(&Plan::themed(seed, theme), Mutations::NONE, false).violation;
        assert_eq!(sound, None, "without any fault, seed {seed} of {theme:?}");
        Some((seed + 1, theme, violation.invariant))
    })
}
