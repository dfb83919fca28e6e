//! Makes a schedule that violates something smaller, as long as it goes on violating it.

use failover::mutation::Mutations;

use super::plan::Plan;
use super::world::Violation;

/// The smallest schedule that was found within `tries` plays, and what it violates.
pub(crate) fn shrink(plan: &Plan, mutations: Mutations, violation: &Violation, tries: usize) -> (Plan, Violation) {
    let (mut best, mut found) = (plan.clone(), violation.clone());
    let mut left = tries;
    loop {
        let before = (best.faults.len(), best.ambushes.len(), best.heal_at, format!("{:?}", best.knobs));
        for smaller in candidates(&best) {
            if left == 0 {
                return (best, found);
            }
            left -= 1;
            let run = super::play(&smaller, mutations, false);
            if let Some(again) = run.violation.filter(|again| again.invariant == found.invariant) {
                (best, found) = (smaller, again);
                break;
            }
        }
        if before == (best.faults.len(), best.ambushes.len(), best.heal_at, format!("{:?}", best.knobs)) {
            return (best, found);
        }
    }
}

/// Schedules with one thing less, the most telling first.
fn candidates(plan: &Plan) -> Vec<Plan> {
    let mut smaller = Vec::new();
    let mut with = |change: &dyn Fn(&mut Plan)| {
        let mut less = plan.clone();
        change(&mut less);
        smaller.push(less);
    };
    for index in 0..plan.faults.len() {
        with(&|plan| {
            plan.faults.remove(index);
        });
    }
    for index in 0..plan.ambushes.len() {
        with(&|plan| {
            plan.ambushes.remove(index);
        });
    }
    if plan.knobs.attic > 0 {
        with(&|plan| plan.knobs.attic = 0);
    }
    if plan.knobs.duplicates > 0 {
        with(&|plan| plan.knobs.duplicates = 0);
    }
    if plan.knobs.loss > 0 {
        with(&|plan| plan.knobs.loss = 0);
    }
    if plan.knobs.fence_fails + plan.knobs.fence_slow > 0 {
        with(&|plan| (plan.knobs.fence_fails, plan.knobs.fence_slow) = (0, 0));
    }
    if plan.knobs.unbound {
        with(&|plan| plan.knobs.unbound = false);
    }
    if plan.knobs.drift.iter().any(|drift| *drift != 0) {
        with(&|plan| plan.knobs.drift.fill(0));
    }
    smaller
}
