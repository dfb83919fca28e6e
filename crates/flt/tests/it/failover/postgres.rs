//! Real PostgreSQL kept by real agents, with clients that note every row that was acknowledged: whatever ends, hangs or is
//! cut off, no such row is lost, and never two nodes acknowledge for overlapping times.

mod faults;
mod ledger;
mod stage;

use faults::Fault;
use stage::Stage;

/// What is always tried.
const QUICK: &[Fault] = &[Fault::KillPostgres, Fault::KillAgent, Fault::KillNode];

#[test]
fn acknowledged_rows_outlive_what_ends_their_primary() {
    if !testkit::require("acknowledged_rows_outlive_what_ends_their_primary", stage::TOOLS) {
        return;
    }
    let mut stage = Stage::set();
    for fault in QUICK {
        stage.suffer(*fault);
    }
    stage.strike();
}

/// Every fault, as often as `FLT_FAILOVER_RUNS` says; `scripts/failover-matrix` runs it.
#[test]
#[ignore = "takes hours; run it with scripts/failover-matrix"]
fn acknowledged_rows_outlive_everything() {
    if !testkit::require("acknowledged_rows_outlive_everything", stage::TOOLS) {
        return;
    }
    let runs: usize = std::env::var("FLT_FAILOVER_RUNS").map_or(1, |runs| runs.parse().unwrap());
    let only = std::env::var("FLT_FAILOVER_ONLY").unwrap_or_default();
    let chosen: Vec<Fault> = Fault::ALL.iter().copied().filter(|fault| fault.to_string().contains(&only)).collect();
    assert!(!chosen.is_empty(), "no fault is called {only}; there are {:?}", Fault::ALL.map(|fault| fault.to_string()));
    for fault in chosen {
        let mut stage = Stage::set();
        for _ in 0..runs {
            stage.suffer(fault);
        }
        stage.strike();
    }
}
