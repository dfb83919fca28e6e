//! The whole protocol, every order of events up to a horizon: two real nodes, the real table, and an adversary who
//! decides which message arrives when, twice or never, who is paused or dies, whose clock loses time, and which rung
//! of the ladder fails.
//!
//! Checked by stateright, breadth first and completely, from a cluster at peace and from ones in which the holder, or
//! everybody, or the group has been out of reach for one to six units already. Time passes in whole units; within one the adversary may do as much as it
//! likes, as long as its budget lasts. What it may do is bounded by [`Budget`], and so is the network: a message that
//! is pushed out by newer ones is lost.

mod world;

use failover::mutation::{Mutation, Mutations};
use stateright::{Checker, HasDiscoveries, Model as _};

use world::{Budget, Model};

/// Explores, and says how many states there were and which property failed.
fn explore(name: &str, budget: Budget, mutations: Mutations) -> (usize, Vec<&'static str>) {
    let began = std::time::Instant::now();
    let checker =
        Model { budget, mutations }.checker().threads(2).finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    let reached = checker.discovery("reached: the other takes over").is_some();
    assert!(
        reached || mutations != Mutations::NONE || budget.horizon < 3,
        "{name}: no order of events leads to a failover"
    );
    let failed: Vec<&'static str> =
        checker.discoveries().into_keys().filter(|name: &&'static str| !name.starts_with("reached: ")).collect();
    let states = checker.unique_state_count();
    println!(
        "model {name}: {states} states, depth {}, {:.1} s, failed: {failed:?}",
        checker.max_depth(),
        began.elapsed().as_secs_f64()
    );
    (states, failed)
}

/// What CI explores, all of it: each row lets the adversary do something else.
const ROWS: [(&str, Budget); 5] = [
    ("delays and loss", Budget { horizon: 3, ..Budget::NONE }),
    ("duplicates", Budget { horizon: 2, duplicates: 1, ..Budget::NONE }),
    ("pauses", Budget { horizon: 1, pauses: 1, ..Budget::NONE }),
    ("crashes", Budget { horizon: 1, crashes: 1, ..Budget::NONE }),
    ("drift and failing rungs", Budget { horizon: 1, lost_ticks: 1, failing_rungs: 1, ..Budget::NONE }),
];

#[test]
fn no_order_of_events_breaks_an_invariant() {
    let mut total = 0;
    for (name, budget) in ROWS {
        let (states, failed) = explore(name, budget, Mutations::NONE);
        assert!(failed.is_empty(), "{name}: {failed:?}");
        assert!(states > 1_000, "{name}: the adversary can do nothing");
        total += states;
    }
    println!("model: {total} states in all");
}

/// A longer horizon and everything at once: as long as it takes. `cargo test -p failover --test it -- --ignored everything_at_once`.
#[test]
#[ignore = "takes long, and much memory"]
fn everything_at_once() {
    let all = Budget { horizon: 5, duplicates: 1, pauses: 1, crashes: 1, lost_ticks: 1, failing_rungs: 1 };
    assert_eq!(explore("everything", all, Mutations::NONE).1, Vec::<&str>::new());
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
        let (_, failed) = explore(&format!("{mutation:?}"), budget, Mutations::only(mutation));
        assert!(!failed.is_empty(), "the model does not find {mutation:?}");
    }
}
