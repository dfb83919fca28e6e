//! Plays schedules from seeds: some in CI, as many as wanted by `just simulate`.

use std::collections::BTreeMap;
use std::time::Duration;

use failover::mutation::Mutations;

use crate::sim::{Plan, Theme, plan::THEMES, play, shrink::shrink};

/// Plays these seeds; the first violation is shrunk and told with what is needed to see it again.
fn play_all(
    seeds: std::ops::Range<u64>,
    within: Duration,
    only: Option<Theme>,
) -> BTreeMap<String, (u64, u64, u64, u64)> {
    let began = std::time::Instant::now();
    let mut told = BTreeMap::new();
    for seed in seeds {
        let plan = only.map_or_else(|| Plan::from_seed(seed), |theme| Plan::themed(seed, theme));
        let run = play(&plan, Mutations::NONE, false);
        if let Some(violation) = run.violation {
            fail(&plan, &violation);
        }
        let (schedules, events, acked, epochs) = told.entry(format!("{:?}", plan.theme)).or_insert((0, 0, 0, 0));
        *schedules += 1;
        *events += run.events;
        *acked += run.acked as u64;
        *epochs += run.epochs;
        if began.elapsed() > within {
            break;
        }
    }
    told
}

fn fail(plan: &Plan, violation: &crate::sim::Violation) -> ! {
    let (small, violation) = shrink(plan, Mutations::NONE, violation, 400);
    let run = play(&small, Mutations::NONE, true);
    let tail = run.trace.len().saturating_sub(80);
    panic!(
        "seed {} violates \"{}\" at {} µs: {}\n{small:#?}\n{}\n\nsee it again: FLT_THEME={:?} just simulate-replay {}",
        plan.seed,
        violation.invariant,
        violation.at,
        violation.what,
        run.trace[tail..].iter().map(|line| line.chars().take(260).collect::<String>()).collect::<Vec<_>>().join("\n"),
        plan.theme,
        plan.seed
    );
}

fn report(told: &BTreeMap<String, (u64, u64, u64, u64)>, took: Duration) {
    let total: u64 = told.values().map(|row| row.0).sum();
    for (theme, (schedules, events, acked, epochs)) in told {
        println!("{theme:>14}: {schedules} schedules, {events} events, {acked} acknowledged writes, {epochs} epochs");
    }
    println!("{total} schedules in {:.1} s: {:.0} a second", took.as_secs_f64(), total as f64 / took.as_secs_f64());
}

/// The first seeds. A slow machine stops early, but not before it has played a thousand.
#[test]
fn thousands_of_schedules_violate_nothing() {
    let began = std::time::Instant::now();
    let mut told = play_all(0..1_000, Duration::from_secs(600), None);
    for (theme, more) in play_all(1_000..CI_SCHEDULES, Duration::from_secs(20), None) {
        let row = told.entry(theme).or_default();
        *row = (row.0 + more.0, row.1 + more.1, row.2 + more.2, row.3 + more.3);
    }
    report(&told, began.elapsed());
    assert!(told.values().all(|(_, _, acked, epochs)| *acked > 0 && *epochs > 0), "schedules in which nothing happens");
}

const CI_SCHEDULES: u64 = 6_000;

/// `FLT_SCHEDULES` seeds from `FLT_SEED` on, on every core, of the kind that `FLT_THEME` names or of all: `just simulate`.
#[test]
#[ignore = "plays as many schedules as it is told to"]
fn on_demand() {
    let number = |name: &str, otherwise: u64| variable(name).and_then(|text| text.parse().ok()).unwrap_or(otherwise);
    let (first, count) = (number("FLT_SEED", 1_000_000), number("FLT_SCHEDULES", 1_000_000));
    let threads = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
    let share = count.div_ceil(threads);
    let began = std::time::Instant::now();
    let mut told = BTreeMap::<String, (u64, u64, u64, u64)>::new();
    std::thread::scope(|scope| {
        let players: Vec<_> = (0..threads)
            .map(|thread| {
                let from = first + thread * share;
                let to = (from + share).min(first + count);
                let theme = theme_named();
                scope.spawn(move || play_all(from..to, Duration::MAX, theme))
            })
            .collect();
        for player in players {
            for (theme, more) in player.join().expect("a violation, told above") {
                let row = told.entry(theme).or_default();
                *row = (row.0 + more.0, row.1 + more.1, row.2 + more.2, row.3 + more.3);
            }
        }
    });
    report(&told, began.elapsed());
}

/// One seed, `FLT_SEED`, told event by event: `just simulate-replay SEED`.
#[test]
#[ignore = "tells one schedule"]
fn replay() {
    let seed = variable("FLT_SEED").and_then(|text| text.parse().ok()).unwrap_or(0);
    let plan = theme_named().map_or_else(|| Plan::from_seed(seed), |theme| Plan::themed(seed, theme));
    let run = play(&plan, Mutations::NONE, true);
    println!("{plan:#?}\n{}", run.trace.join("\n"));
    println!("{} events, {} acknowledged writes, violation: {:?}", run.events, run.acked, run.violation);
}

/// The kind of schedules that `FLT_THEME` names.
fn theme_named() -> Option<Theme> {
    let theme = variable("FLT_THEME")?;
    THEMES.into_iter().find(|known| theme == format!("{known:?}"))
}

#[test]
fn the_same_seed_is_the_same_run() {
    for seed in 0..20 {
        let plan = Plan::from_seed(seed);
        let (once, again) = (play(&plan, Mutations::NONE, false), play(&plan, Mutations::NONE, true));
        assert_eq!((once.digest, once.events, once.acked), (again.digest, again.events, again.acked), "seed {seed}");
    }
}

#[allow(clippy::disallowed_methods, reason = "a test is told its seeds by the environment")]
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
