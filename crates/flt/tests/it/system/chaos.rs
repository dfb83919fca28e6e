//! Bad ways between real processes: slow, lossy, cut for a while; a coordinator that is away.

use std::sync::Arc;
use std::time::Duration;

use testkit::{DEADLINE, Lan, Namespace, Quality, until};

use crate::processes::bed::{Bed, ready};

#[test]
fn a_node_behind_a_bad_link_converges() {
    if !testkit::require("a_node_behind_a_bad_link_converges", testkit::NETWORK) {
        return;
    }
    let far = Namespace::new("far");
    let mut lan = Lan::new(1);
    // A radio link far away: 600 ms there and back, and every tenth packet lost, in each direction.
    let bad = Quality { delay: Duration::from_millis(300), jitter: Duration::from_millis(50), loss: 10.0 };
    assert_eq!(lan.attach_by(&far, bad), 1);
    let lan = Arc::new(lan);
    let bed = Bed::found_on(&lan);
    let _coordinator = bed.start_coordinator();
    let _agent = bed.join_by(bed.agent_in(&far, "edge-1"), "edge-1");
    let blob: Vec<u8> = (0..300_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 11) as u8).collect();
    std::fs::write(bed.path().join("big"), &blob).unwrap();
    bed.declare("fleet.toml", "small\n", &["true"]);
    apply(&bed);
    assert_eq!(bed.motd("edge-1").as_deref(), Some("small\n"));
    let text = std::fs::read_to_string(bed.path().join("fleet.toml")).unwrap();
    std::fs::write(bed.path().join("fleet.toml"), text.replace("content = \"small\\n\"", "file = \"big\"")).unwrap();
    apply(&bed);
    assert!(std::fs::read(bed.root("edge-1").join("etc/motd")).unwrap() == blob, "the file came through whole");
    // Cut in the middle of a download, and there again after a while.
    let other: Vec<u8> = blob.iter().rev().copied().collect();
    std::fs::write(bed.path().join("big"), &other).unwrap();
    bed.admin(["apply", "fleet.toml", "--no-wait"]).ok();
    lan.port(1).block();
    let silent = || bed.json(["status"])["nodes"][0]["condition"].clone();
    until("the node is missed", DEADLINE * 2, || {
        let condition = silent();
        if condition == "ok" || condition == "pending" { Err(condition) } else { Ok(()) }
    });
    lan.port(1).unblock();
    until("the file, after the cut", DEADLINE * 3, || {
        std::fs::read(bed.root("edge-1").join("etc/motd")).is_ok_and(|there| there == other)
    });
}

#[test]
fn a_fleet_without_its_coordinator_goes_on_and_catches_up() {
    if !testkit::require("a_fleet_without_its_coordinator_goes_on_and_catches_up", testkit::NETWORK) {
        return;
    }
    let lan = Arc::new(Lan::new(3));
    let bed = Bed::found_on(&lan);
    let mut coordinator = bed.start_coordinator();
    let agents = [1, 2].map(|i| {
        let name = format!("edge-{i}");
        bed.join_by(bed.agent_in(lan.host(i), &name), &name)
    });
    bed.declare("fleet.toml", "one\n", &["true"]);
    apply(&bed);
    coordinator.kill();
    coordinator.wait(DEADLINE);
    // Long enough for every connection to be given up.
    std::thread::sleep(OUTAGE);
    for agent in &agents {
        assert!(agent.is_running(), "{}", agent.stderr());
    }
    for node in ["edge-1", "edge-2"] {
        assert_eq!(bed.motd(node).as_deref(), Some("one\n"), "what is declared holds without a coordinator");
    }
    coordinator.restart();
    ready(&coordinator);
    bed.declare("fleet.toml", "two\n", &["true"]);
    apply(&bed);
    for node in ["edge-1", "edge-2"] {
        assert_eq!(bed.motd(node).as_deref(), Some("two\n"));
    }
}

/// Applies, and waits until the nodes are as declared.
fn apply(bed: &Bed) {
    bed.admin(["apply", "fleet.toml", "--timeout", "3m"]).limit(DEADLINE * 4).ok();
}

/// How long the coordinator is away: this is the test's subject and not a wait for something.
const OUTAGE: Duration = Duration::from_secs(40);
