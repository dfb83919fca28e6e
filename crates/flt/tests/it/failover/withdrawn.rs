//! What is not declared any more ends in order, and what is declared again goes on with a later epoch.

use testkit::until;

use super::stage::{NAMES, RECOVERY, Stage};
use crate::processes::bed::ready;

#[test]
fn what_is_withdrawn_ends_and_is_declared_again_with_a_later_epoch() {
    let stage = Stage::set();
    stage.withdraw();
    stage.wait_until_over();
    stage.never_two();
    let known = stage.bed.admin(["failover", "status"]).ok();
    assert!(!known.contains("service/ledger"), "{known}");

    let last = stage.lines().pop().unwrap();
    stage.declare("");
    stage.writer_after(last.epoch);
    stage.strike();
}

#[test]
fn what_is_withdrawn_while_no_agent_runs_is_ended_by_the_next() {
    let mut stage = Stage::set();
    for agent in &mut stage.agents {
        agent.kill();
    }
    until("that nobody writes", RECOVERY, || stage.writes().map_or(Ok(()), Err));
    let last = stage.lines().pop().unwrap();
    stage.withdraw();
    for agent in &mut stage.agents {
        agent.restart();
        ready(agent);
    }
    stage.wait_until_over();
    stage.declare("");
    stage.writer_after(last.epoch);
    stage.strike();
}

#[test]
fn who_is_no_candidate_any_more_stops_in_order() {
    let stage = Stage::set();
    let first = stage.writes().unwrap();
    let others: Vec<&str> = NAMES.into_iter().filter(|name| *name != first.node).collect();
    stage.declare_for(&others, "");
    let second = stage.writer_after(first.epoch);
    assert_ne!(second.node, first.node);
    stage.wait_until_forgotten(&first.node);
    let status = stage.bed.json(["failover", "status"]);
    assert_eq!(status["clusters"][0]["candidates"].as_array().map(Vec::len), Some(2), "{status}");

    // It is one again, and is asked to write.
    stage.declare("");
    until("the switchover back", RECOVERY, || {
        let moved = stage.bed.admin(["failover", "switchover", "service/ledger", "--to", &first.node]).run();
        if moved.code == Some(0) { Ok(()) } else { Err(moved.stderr) }
    });
    assert_eq!(stage.writer_after(second.epoch).node, first.node);
    stage.strike();
}
