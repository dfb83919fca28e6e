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
    let mut stage = Stage::set(1, &Fault::KillPostgres.needs());
    let mut rows = Vec::new();
    for fault in QUICK {
        let mut row = Row::new(*fault);
        stage.suffer(*fault, &mut row);
        rows.push(row);
    }
    stage.strike(rows.iter_mut());
    figures::tell(&rows);
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
