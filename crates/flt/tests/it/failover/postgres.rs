//! Real PostgreSQL kept by real agents, with clients that note every row that was acknowledged: whatever ends, hangs or is
//! cut off, no such row is lost, and never two nodes acknowledge for overlapping times.

mod coordinators;
mod faults;
mod figures;
mod ledger;
mod stage;

use faults::Fault;
use figures::Row;
use stage::Stage;

/// What is always tried.
const QUICK: &[Fault] = &[
    Fault::KillPostgres,
    Fault::EndAgent,
    Fault::KillAgent,
    Fault::KillNode,
    Fault::Partition,
    Fault::PartitionCoordinators,
    Fault::StopNode(5),
];

#[test]
fn acknowledged_rows_outlive_what_ends_their_primary() {
    if !testkit::require("acknowledged_rows_outlive_what_ends_their_primary", stage::TOOLS) {
        return;
    }
    outlive(QUICK, Stage::set(1, &Fault::KillPostgres.needs()));
}

/// No acknowledged row is lost, and none overlaps, whichever of these comes.
fn outlive(faults: &[Fault], mut stage: Stage) {
    let mut rows = Vec::new();
    for fault in faults {
        let mut row = Row::new(*fault);
        stage.suffer(*fault, &mut row);
        rows.push(row);
    }
    stage.strike(rows.iter_mut());
    figures::tell(&rows);
    figures::are_sound(&rows);
}

/// What is tried where agents are two processes: the end of either, of what they keep, and of all.
const OF_HALVES: &[Fault] = &[
    Fault::KillAgent,
    Fault::KillHands,
    Fault::KillPostgres,
    Fault::EndAgent,
    Fault::KillNode,
    Fault::PartitionCoordinators,
];

#[test]
fn acknowledged_rows_outlive_either_half_of_an_agent() {
    let name = "acknowledged_rows_outlive_either_half_of_an_agent";
    if !testkit::require(name, stage::TOOLS) || !testkit::require(name, super::halves::TOOLS) {
        return;
    }
    outlive(OF_HALVES, Stage::set(1, &Fault::KillHands.needs()));
}

/// A standby dies and is removed from the fleet, then the primary: what is left goes on, at last alone.
#[test]
fn nodes_that_are_removed_take_no_acknowledged_row_with_them() {
    if !testkit::require("nodes_that_are_removed_take_no_acknowledged_row_with_them", stage::TOOLS) {
        return;
    }
    let mut stage = Stage::set(1, &Fault::KillNode.needs());
    let first = stage.primary().unwrap();
    let dead = stage::others(&[first])[0];
    Fault::KillNode.strike(&mut stage, dead);
    stage.remove(dead);
    stage.writes("rows after a standby was removed");
    for node in stage::others(&[dead]) {
        stage.restart(node);
    }
    stage.writes("rows after the agents of both others were started anew");
    stage.follows(1);
    // Until the coordinators have forgotten the set that the removed one was in, it might hold what the last one lacks.
    let begun = std::time::Instant::now();
    while begun.elapsed().as_secs() < 10 {
        stage.writes("rows that the two acknowledge");
    }

    let before = stage.primary().unwrap();
    let last = stage::others(&[dead, before])[0];
    Fault::KillNode.strike(&mut stage, before);
    stage.wait_for_primary(last);
    // Nobody is left that could hold a write, until it is said that nobody is to.
    stage.remove(before);
    stage.writes("rows of the last one alone");
    let mut rows = [Row::new(Fault::KillNode)];
    stage.strike(rows.iter_mut());
    figures::are_sound(&rows);
}

/// Every fault, as often as `FLT_FAILOVER_RUNS` says, with a group of three coordinators; `scripts/failover-matrix` runs it.
#[test]
#[ignore = "takes hours; run it with scripts/failover-matrix"]
fn acknowledged_rows_outlive_everything() {
    if !testkit::require("acknowledged_rows_outlive_everything", stage::TOOLS) {
        return;
    }
    let runs: usize = std::env::var("FLT_FAILOVER_RUNS").map_or(1, |runs| runs.parse().unwrap());
    let only = std::env::var("FLT_FAILOVER_ONLY").unwrap_or_default();
    let clock = std::env::var("FLT_FAILOVER_CLOCK").is_ok_and(|value| value == "1");
    let exact = Fault::ALL.iter().any(|fault| fault.to_string() == only);
    let named = |name: String| if exact { name == only } else { name.contains(&only) };
    let wanted = |fault: &Fault| named(fault.to_string()) && (clock || !fault.steps_the_clock());
    let chosen: Vec<Fault> = Fault::ALL.iter().copied().filter(wanted).collect();
    assert!(!chosen.is_empty(), "no fault is called {only}; there are {:?}", Fault::ALL.map(|fault| fault.to_string()));
    let mut rows = Vec::new();
    for fault in chosen {
        let (mut stage, mut row) = (Stage::set(3, &fault.needs()), Row::new(fault));
        for _ in 0..runs {
            stage.suffer(fault, &mut row);
        }
        stage.strike(std::iter::once(&mut row));
        rows.push(row);
        figures::tell(&rows);
        figures::are_sound(&rows);
    }
}
