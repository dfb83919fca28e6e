//! The writer moves when it, its agent or its supervisor ends or hangs.

use testkit::{DEADLINE, until};

use super::stage::{Stage, TTL, signal_to};

#[test]
fn a_writer_that_dies_is_replaced_at_once() {
    let stage = Stage::set();
    let first = stage.writes().unwrap();
    assert!(signal_to("KILL", &stage.writer_pid()));
    let second = stage.writer_after(first.epoch);
    assert_ne!(first.node, second.node);
    stage.strike();
}

#[test]
fn the_end_of_an_agent_ends_its_writer() {
    let mut stage = Stage::set();
    let first = stage.writes().unwrap();
    stage.agent(&first.node).kill();
    let second = stage.writer_after(first.epoch);
    assert_ne!(first.node, second.node);
    // It comes back, and fences first.
    stage.agent(&first.node).restart();
    stage.agent(&first.node).wait_for("ready");
    let third = stage.writes().unwrap();
    assert_eq!(second.epoch, third.epoch);
    stage.strike();
}

#[test]
fn the_end_of_a_supervisor_ends_its_writer() {
    let stage = Stage::set();
    let first = stage.writes().unwrap();
    stage.signal_supervisor(&first.node, "KILL");
    stage.writer_after(first.epoch);
    stage.strike();
}

#[test]
fn a_supervisor_that_hangs_is_ended_with_what_it_holds() {
    let stage = Stage::set();
    let first = stage.writes().unwrap();
    stage.signal_supervisor(&first.node, "STOP");
    stage.writer_after(first.epoch);
    stage.strike();
}

#[test]
fn an_agent_that_hangs_longer_than_its_lease_has_no_writer_when_another_has() {
    let mut stage = Stage::set();
    let first = stage.writes().unwrap();
    stage.agent(&first.node).freeze();
    let second = stage.writer_after(first.epoch);
    assert_ne!(first.node, second.node);
    let last = stage.lines().into_iter().rfind(|line| line.epoch == first.epoch).unwrap();
    assert!(last.nanos < second.nanos);
    stage.agent(&first.node).thaw();
    // Long enough for whatever it still meant to do.
    let again = std::time::Instant::now();
    until("more than a ttl", DEADLINE, || if again.elapsed() > TTL * 2 { Ok(()) } else { Err("") });
    assert_eq!(stage.writes().map(|line| line.epoch), Ok(second.epoch));
    stage.strike();
}

#[test]
fn the_coordinators_end_fences_nobody_while_the_candidates_promise() {
    let mut stage = Stage::set();
    let first = stage.writes().unwrap();
    stage.coordinator.kill();
    let down = std::time::Instant::now();
    until("three ttls", DEADLINE, || {
        let line = stage.writes()?;
        assert_eq!((&line.node, line.epoch), (&first.node, first.epoch));
        if down.elapsed() > TTL * 3 { Ok(()) } else { Err(String::new()) }
    });
    stage.coordinator.restart();
    crate::processes::bed::ready(&stage.coordinator);
    assert!(signal_to("KILL", &stage.writer_pid()));
    stage.writer_after(first.epoch);
    stage.strike();
}
