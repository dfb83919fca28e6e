//! Processes: listened to, frozen, killed, started again.

use std::time::Duration;

use testkit::{DEADLINE, Program, until};

/// Of builtins alone: a shell that waits for the start of a child cannot be stopped until that has started.
const TICKER: &str = "trap 'echo asked to end; exit 7' TERM; echo began $$ >&2
while :; do echo tick; i=0; while [ $i -lt 5000 ]; do i=$((i + 1)); done; done";

#[test]
fn a_process_is_heard_frozen_asked_and_started_again() {
    let mut ticker = Program::new("sh").args(["-c", TICKER]).named("ticker").spawn();
    assert!(ticker.wait_for("began").ends_with(&ticker.pid().to_string()));
    ticker.wait_for("tick");

    ticker.freeze();
    until("the state of a stopped process", DEADLINE, || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", ticker.pid())).unwrap();
        if stat.contains(") T ") { Ok(()) } else { Err(stat) }
    });
    assert!(ticker.is_running());
    let frozen = ticker.mark();
    assert_eq!(ticker.line_after(frozen, "tick"), None);
    ticker.thaw();
    ticker.wait_for_after(frozen, "tick", DEADLINE);

    ticker.terminate();
    let output = ticker.wait(DEADLINE).expect(7);
    assert!(output.stdout.ends_with("asked to end\n"));

    ticker.restart();
    ticker.wait_for("tick");
    assert!(!ticker.stdout().contains("asked to end"));
    ticker.kill();
    assert_eq!(ticker.wait(Duration::ZERO).signal, Some(9));
}

#[test]
fn dropping_a_process_kills_its_children_too() {
    let parent = Program::new("sh").args(["-c", "sleep 600 & echo child $!; wait"]).spawn();
    let line = parent.wait_for("child ");
    let child = format!("/proc/{}", line.trim_start_matches("child "));
    assert!(std::path::Path::new(&child).exists());
    drop(parent);
    until("the child to be gone", DEADLINE, || !std::path::Path::new(&child).exists());
}

#[test]
#[should_panic(expected = "early ended without printing \"never\"\n--- stdout\n\n--- stderr\nbye")]
fn waiting_for_a_process_that_ended_says_so_at_once() {
    Program::new("sh").args(["-c", "echo bye >&2"]).named("early").spawn().wait_for("never");
}
