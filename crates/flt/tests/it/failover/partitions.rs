//! The writer's node is cut off: it ends its writer before another begins.

use std::sync::Arc;

use testkit::{DEADLINE, Lan, NETWORK, require, until};

use super::stage::{NAMES, Stage, TTL};

#[test]
fn a_writer_that_is_cut_off_has_ended_when_another_begins() {
    if !require("a_writer_that_is_cut_off_has_ended_when_another_begins", NETWORK) {
        return;
    }
    let lan = Arc::new(Lan::new(4));
    let stage = Stage::set_on(&lan);
    let mut epoch = stage.writes().unwrap().epoch;
    for _ in 0..2 {
        let first = stage.writes().unwrap();
        let host = 1 + NAMES.iter().position(|name| *name == first.node).unwrap();
        lan.port(host).block();
        let second = stage.writer_after(epoch);
        assert_ne!(first.node, second.node);
        stage.never_two();
        lan.port(host).unblock();
        let healed = std::time::Instant::now();
        until("two ttls", DEADLINE, || if healed.elapsed() > TTL * 2 { Ok(()) } else { Err("") });
        assert_eq!(stage.writes().map(|line| line.epoch), Ok(second.epoch), "who was cut off follows");
        epoch = second.epoch;
    }
    stage.strike();
}
