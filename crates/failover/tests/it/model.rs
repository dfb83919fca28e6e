//! The whole protocol, every order of events up to a horizon: two real nodes, the real table, and an adversary who
//! decides which message arrives when, twice or never, who is paused or dies, whose clock loses time, and which rung
//! of the ladder fails.
//!
//! Checked by stateright, breadth first and completely, from a cluster at peace and from ones in which the holder, or
//! everybody, or the group has been out of reach for one to six units already. Time passes in whole units; within one the adversary may do as much as it
//! likes, as long as its budget lasts. What it may do is bounded by [`Budget`], and so is the network: a message that
//! is pushed out by newer ones is lost.

mod world;

use std::time::{Duration, Instant};

use failover::mutation::{Mutation, Mutations};
use stateright::{Checker, HasDiscoveries, Model as _};

use crate::simulate::variable;
use world::{Budget, Model};

/// Explores breadth first, and says how many states there were and which property failed. Within a time, depth first:
/// that keeps few states in memory beside the marks of those that were seen.
fn explore(name: &str, budget: Budget, mutations: Mutations, within: Option<Duration>) -> (usize, Vec<&'static str>) {
    let began = Instant::now();
    let checker = Model { budget, mutations }.checker().finish_when(HasDiscoveries::AnyFailures);
    match within {
        Some(within) => {
            let checker = checker.threads(2).timeout(within).spawn_dfs().join();
            let whole = began.elapsed() < within;
            tell(name, budget, (began, whole), &checker)
        }
        None => tell(name, budget, (began, true), &checker.threads(2).spawn_bfs().join()),
    }
}

fn tell(
    name: &str,
    budget: Budget,
    (began, whole): (Instant, bool),
    checker: &impl Checker<Model>,
) -> (usize, Vec<&'static str>) {
    let reached = checker.discovery("reached: the other takes over").is_some();
    assert!(
        reached || checker.model().mutations != Mutations::NONE || budget.horizon < 3 || budget.forgotten || !whole,
        "{name}: no order of events leads to a failover"
    );
    let failed: Vec<&'static str> =
        checker.discoveries().into_keys().filter(|name: &&'static str| !name.starts_with("reached: ")).collect();
    let states = checker.unique_state_count();
    println!(
        "model {name}: {states} states, depth {}, {:.1} s, {}, {}, failed: {failed:?}",
        checker.max_depth(),
        began.elapsed().as_secs_f64(),
        if whole { "all there are" } else { "and there are more" },
        most_memory()
    );
    (states, failed)
}

/// What CI explores, all of it: each row lets the adversary do something else.
const ROWS: [(&str, Budget); 8] = [
    ("delays and loss", Budget { horizon: 3, ..Budget::NONE }),
    ("duplicates", Budget { horizon: 2, duplicates: 1, ..Budget::NONE }),
    ("pauses", Budget { horizon: 1, pauses: 1, ..Budget::NONE }),
    ("crashes", Budget { horizon: 1, crashes: 1, ..Budget::NONE }),
    ("drift and failing rungs", Budget { horizon: 1, lost_ticks: 1, failing_rungs: 1, ..Budget::NONE }),
    ("workloads that end", Budget { horizon: 1, endings: 1, failing_rungs: 1, ..Budget::NONE }),
    ("withdrawn, declared again, for fewer", Budget { horizon: 1, declarations: 2, ..Budget::NONE }),
    ("forgotten, declared again", Budget { horizon: 2, declarations: 1, forgotten: true, ..Budget::NONE }),
];

#[test]
fn no_order_of_events_breaks_an_invariant() {
    let mut total = 0;
    for (name, budget) in ROWS {
        let (states, failed) = explore(name, budget, Mutations::NONE, None);
        assert!(failed.is_empty(), "{name}: {failed:?}");
        assert!(states > 1_000, "{name}: the adversary can do nothing");
        total += states;
    }
    println!("model: {total} states in all");
}

/// Longer horizons and more at once, the one named by `FLT_ROW`, for `FLT_SECONDS` each or until all is explored:
/// `cargo test -p failover --test it -- --ignored --nocapture larger_rows`.
#[test]
#[ignore = "takes up to ten minutes a row, and memory for its last ones"]
fn larger_rows() {
    let number = |name: &str| variable(name).and_then(|text| text.parse::<usize>().ok());
    let within = Duration::from_secs(number("FLT_SECONDS").unwrap_or(600) as u64);
    let only = number("FLT_ROW");
    for (row, (name, budget)) in LARGER_ROWS.into_iter().enumerate() {
        if only.is_none_or(|only| only == row) {
            assert_eq!(explore(name, budget, Mutations::NONE, Some(within)).1, Vec::<&str>::new(), "{name}");
        }
    }
}

const LARGER_ROWS: [(&str, Budget); 10] = [
    ("a crash and a pause", Budget { horizon: 1, pauses: 1, crashes: 1, ..Budget::NONE }),
    ("a pause, longer", Budget { horizon: 2, pauses: 1, ..Budget::NONE }),
    ("a crash, longer", Budget { horizon: 2, crashes: 1, ..Budget::NONE }),
    ("a crash and a pause, longer", Budget { horizon: 2, pauses: 1, crashes: 1, ..Budget::NONE }),
    ("delays and loss, longer", Budget { horizon: 4, ..Budget::NONE }),
    ("workloads that end, longer", Budget { horizon: 2, endings: 2, ..Budget::NONE }),
    ("workloads that end, and a pause", Budget { horizon: 1, endings: 1, pauses: 1, ..Budget::NONE }),
    (
        "everything",
        Budget {
            horizon: 5,
            duplicates: 1,
            pauses: 1,
            crashes: 1,
            lost_ticks: 1,
            failing_rungs: 1,
            endings: 1,
            declarations: 2,
            forgotten: false,
        },
    ),
    ("withdrawn, declared again, and a crash", Budget { horizon: 1, crashes: 1, declarations: 2, ..Budget::NONE }),
    ("withdrawn, declared again, longer", Budget { horizon: 2, declarations: 2, ..Budget::NONE }),
];

/// The most memory that this process has had, where that can be read.
fn most_memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kilobytes.map_or_else(String::new, |kilobytes| format!("{} MB at most", kilobytes / 1_024))
}

/// What is wrong with withdrawals and removals is found by few steps.
#[test]
fn the_model_finds_faults_of_declarations() {
    let budget = Budget { horizon: 1, declarations: 2, ..Budget::NONE };
    for mutation in [
        Mutation::GrantWithdrawn,
        Mutation::WithdrawalEndsLease,
        Mutation::RemovalEndsLease,
        Mutation::ForgetHeldCluster,
    ] {
        let (_, failed) = explore(&format!("{mutation:?}"), budget, Mutations::only(mutation), None);
        assert!(!failed.is_empty(), "the model does not find {mutation:?}");
    }
    // And when all has gone well before: an epoch that comes a second time.
    let budget = Budget { horizon: 1, declarations: 1, forgotten: true, ..Budget::NONE };
    let (_, failed) = explore("an epoch again", budget, Mutations::only(Mutation::ForgetWithdrawnEpochs), None);
    assert!(!failed.is_empty(), "the model does not find ForgetWithdrawnEpochs");
}

/// The model is worth something only if it finds what is wrong.
#[test]
#[ignore = "takes minutes"]
fn the_model_finds_deliberate_faults() {
    let calm = Budget { horizon: 4, ..Budget::NONE };
    let found = [
        (Mutation::WatchdogWaitsForEver, Budget { pauses: 1, ..calm }),
        (Mutation::ConfirmBeforeVerified, Budget { failing_rungs: 1, ..calm }),
        (Mutation::StartBeforeGrant, calm),
        (Mutation::TrustFailedRung, Budget { failing_rungs: 1, ..calm }),
    ];
    for (mutation, budget) in found {
        let (_, failed) = explore(&format!("{mutation:?}"), budget, Mutations::only(mutation), None);
        assert!(!failed.is_empty(), "the model does not find {mutation:?}");
    }
}
