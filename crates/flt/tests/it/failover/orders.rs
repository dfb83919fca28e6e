//! What a person orders: a switchover, a pause, other thresholds; and what is shown of it.

use testkit::{DEADLINE, until};

use super::stage::{NAMES, RECOVERY, Stage, TTL, signal_to};

#[test]
fn a_person_moves_pauses_and_looks() {
    let stage = Stage::set();
    let first = stage.writes().unwrap();

    let status = stage.bed.json(["failover", "status"]);
    let cluster = &status["clusters"][0];
    assert_eq!(
        (&cluster["cluster"], &cluster["holder"]),
        (&"service/ledger".into(), &first.node.clone().into()),
        "{status}"
    );
    assert_eq!(cluster["in_force"], true, "{status}");
    let text = stage.bed.admin(["failover", "status"]).ok();
    assert!(text.contains(&format!("service/ledger: {} holds epoch {}", first.node, first.epoch)), "{text}");
    assert!(text.contains("serving") && text.contains("following") && text.contains(" left"), "{text}");

    // In order: nobody is fenced, and the target writes soon.
    let to = NAMES.into_iter().find(|name| *name != first.node).unwrap();
    let moved = stage.bed.admin(["failover", "switchover", "service/ledger", "--to", to]).ok();
    assert!(moved.contains(&format!("{to} writes in epoch")), "{moved}");
    let second = stage.writer_after(first.epoch);
    assert_eq!(second.node, to);

    let svg = stage.bed.path().join("history.svg");
    let history = stage.bed.admin(["failover", "history", "service/ledger", "--svg", "history.svg"]).ok();
    for word in ["stopping", "serving", "heartbeats", "\na: ", "\nb: ", "\nc: "] {
        assert!(history.contains(word), "{word:?} is missing:\n{history}");
    }
    assert!(std::fs::read_to_string(svg).unwrap().starts_with("<svg"));

    // Paused: the writer dies for good, and nobody takes over before it is resumed.
    assert!(stage.bed.admin(["failover", "pause", "service/ledger"]).ok().contains("paused"));
    until("the candidates to know of the pause", DEADLINE, || {
        let status = stage.bed.admin(["failover", "status"]).ok();
        if status.contains("paused") { Ok(()) } else { Err(status) }
    });
    let paused = std::time::Instant::now();
    until("two ttls in which nobody takes over", DEADLINE, || {
        // It is started again where it was, once.
        if let Some(pid) = stage.find_writer() {
            signal_to("KILL", &pid);
        }
        assert!(stage.lines().iter().all(|line| line.epoch <= second.epoch), "somebody took over during a pause");
        if paused.elapsed() > TTL * 2 { Ok(()) } else { Err("") }
    });
    stage.bed.admin(["failover", "resume", "service/ledger"]).ok();
    let third = stage.writer_after(second.epoch);

    // Other thresholds are in force without a new epoch.
    stage.declare(", times = { ttl_ms = 6000 }");
    until("the new settings to be in force", RECOVERY, || {
        let status = stage.bed.json(["failover", "status"]);
        let cluster = &status["clusters"][0];
        let there = cluster["in_force"] == true && cluster["settings"]["ttl"] == 6_000_000;
        if there { Ok(()) } else { Err(status) }
    });
    assert_eq!(stage.writes().map(|line| line.epoch), Ok(third.epoch));

    let wrong = stage.bed.admin(["failover", "pause", "service/leger"]).run();
    assert!(wrong.stderr.contains("service/ledger") || wrong.stderr.contains("no cluster"), "{wrong:?}");
    stage.strike();
}
