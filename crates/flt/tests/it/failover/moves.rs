//! The writer moves when it, its agent or its supervisor ends or hangs.

use testkit::{DEADLINE, until};

use super::stage::{RECOVERY, Stage, TTL, signal_to};

#[test]
fn a_writer_that_dies_is_started_again_and_replaced_when_it_dies_again() {
    let stage = Stage::set();
    let first = stage.writes().unwrap();
    let pid = stage.writer_pid();
    assert!(signal_to("KILL", &pid));
    until("the writer of the same epoch again", RECOVERY, || {
        let line = stage.writes()?;
        let anew = stage.find_writer().is_some_and(|found| found != pid);
        if anew && line.epoch == first.epoch && line.node == first.node { Ok(()) } else { Err(format!("{line:?}")) }
    });
    until("a writer of another node", RECOVERY, || {
        let line = stage.writes()?;
        if line.epoch > first.epoch {
            assert_ne!(first.node, line.node);
            return Ok(());
        }
        if let Some(pid) = stage.find_writer() {
            signal_to("KILL", &pid);
        }
        Err(format!("{line:?}"))
    });
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
    let pid = stage.writer_pid();
    stage.signal_supervisor(&first.node, "KILL");
    // A new one makes sure that nothing is left, and the writer is started again.
    until("another process to write", RECOVERY, || {
        let line = stage.writes()?;
        if stage.find_writer().is_some_and(|found| found != pid) { Ok(()) } else { Err(format!("{line:?}")) }
    });
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
    let first = stage.writes_on_without_its_coordinator();
    stage.agent(&first.node).kill();
    stage.writer_after(first.epoch);
    stage.strike();
}
