//! Connections that are lost at one command, and agents that end with them.

use std::time::Duration;

use protocols::Verdict;
use scores::{PlayReport, Recovered};
use switchsim::Sim;

/// How a connection is lost.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Cut {
    /// The command was carried out, and its answer lost.
    After,
    /// The command was lost.
    Before,
    /// The command was carried out, and the agent ends with it: another one finds the trial.
    AfterAndCrash,
}

/// Loses the connection at a command, counted from one.
pub(crate) fn lose(sim: &Sim, cut: Cut, position: usize) {
    match cut {
        Cut::After | Cut::AfterAndCrash => sim.drop_after(position),
        Cut::Before => sim.drop_before(position),
    }
}

/// Tries every position, four at a time; gives how many it tried.
pub(crate) async fn each(count: usize, one: impl AsyncFn(usize)) -> usize {
    let tried = async |position: usize| {
        if position > count {
            return 0;
        }
        one(position).await;
        1
    };
    let mut positions = 0;
    for first in (1..=count).step_by(4) {
        let (a, b, c, d) = tokio::join!(tried(first), tried(first + 1), tried(first + 2), tried(first + 3));
        positions += a + b + c + d;
    }
    assert_eq!(positions, count);
    positions
}

/// Plays until the agent is gone, which it is as soon as it would connect to this switch again; if it comes to its end
/// before, says how.
pub(crate) async fn until_lost(sim: &Sim, playing: impl Future<Output = PlayReport>) -> Option<PlayReport> {
    // The first login is the play's own, where nothing was prepared.
    let logins = sim.logins().max(1);
    tokio::pin!(playing);
    loop {
        tokio::select! {
            biased;
            report = &mut playing => return Some(report),
            () = tokio::time::sleep(Duration::from_millis(1)) => {
                if sim.logins() > logins { return None }
            }
        }
    }
}

/// What a new agent made of what the one before had begun.
pub(crate) fn recovered(all: Vec<Recovered>) -> PlayReport {
    match all.into_iter().next() {
        Some(recovered) => recovered.report,
        None => {
            PlayReport { verdict: Verdict::Failed, message: "nothing had begun".into(), steps: Vec::new(), attempts: 0 }
        }
    }
}

/// Prints how many positions were cut, for who adds them up. There must be at least as many as this.
pub(crate) fn told(positions: usize, floor: usize) {
    println!("positions of failure: {positions}");
    assert!(positions >= floor, "there are {positions} positions, and were {floor}");
}
