//! Processes that are killed at any moment: what was acknowledged stays, and everything converges afterwards.

use std::time::{Duration, Instant};

use testkit::{DEADLINE, until};

use super::bed::{Bed, ready};

#[test]
fn ledger_survives_kill_after_ack() {
    let bed = Bed::found();
    let mut coordinator = bed.start_coordinator();
    for round in 0..10 {
        let name = format!("node-{round}");
        let invited = bed.json(["invite", "--name", &name]);
        // It has been answered for: now, at once, the coordinator is killed.
        coordinator.kill();
        coordinator.wait(DEADLINE);
        coordinator.restart();
        ready(&coordinator);
        let log = bed.admin(["log", "--verify"]).ok();
        assert!(log.contains(&format!("for {name}")), "round {round}: {invited} was acknowledged and is gone:\n{log}");
    }
    // Nothing of it came from the admin's own copy.
    let other = bed.path().join("other");
    let key = bed.path().join("home/.local/share/flotilla/admin/key");
    let log = bed
        .admin(["log", "--verify", "--data"])
        .arg(other)
        .arg("--key-file")
        .arg(key)
        .args(["--ticket-file", "coordinator/data/ticket"])
        .ok();
    for round in 0..10 {
        assert!(log.contains(&format!("for node-{round}")), "{log}");
    }
}

#[test]
fn kills_at_random_moments_lose_nothing_and_everything_converges() {
    let bed = Bed::found();
    let mut coordinator = bed.start_coordinator();
    let mut agent = bed.join("edge-1");
    let mut dice = Dice::new();
    let versions = |n: u32| format!("version {n}\n").repeat(200);
    let mut acknowledged = Vec::new();
    for round in 1..=20 {
        bed.declare("fleet.toml", &versions(round), &["true"]);
        let apply = bed.admin(["apply", "fleet.toml", "--no-wait"]).spawn();
        let victim = if dice.below(2) == 0 { &mut coordinator } else { &mut agent };
        let (moment, began) = (dice.below(400), Instant::now());
        let ended = |mut apply: testkit::Proc| apply.wait(DEADLINE);
        while began.elapsed() < Duration::from_millis(moment) {
            std::thread::sleep(Duration::from_millis(1));
            // What is there at any time is a whole version.
            if let Some(motd) = bed.motd("edge-1") {
                assert!((1..=round).any(|n| motd == versions(n)), "round {round}: half a file: {motd:?}");
            }
        }
        victim.kill();
        victim.wait(DEADLINE);
        victim.restart();
        ready(victim);
        // What it says it has published was acknowledged, however the command ended.
        let answer = ended(apply).stdout;
        acknowledged.extend(answer.split_once("published in entry ").map(|(_, entry)| entry.trim().to_owned()));
    }
    assert!(!acknowledged.is_empty(), "nothing was ever acknowledged");
    let log = bed.admin(["log", "--verify"]).ok();
    let published = |entry: &str| {
        log.lines().any(|line| line.split_whitespace().next() == Some(entry) && line.contains(" publish "))
    };
    for entry in &acknowledged {
        assert!(published(entry), "entry {entry} was acknowledged and is gone:\n{log}");
    }
    bed.declare("fleet.toml", "the last\n", &["true"]);
    bed.admin(["apply", "fleet.toml", "--timeout", "2m"]).limit(DEADLINE * 3).ok();
    assert_eq!(bed.motd("edge-1").as_deref(), Some("the last\n"));
    until("the fleet in order", DEADLINE, || {
        let status = bed.json(["status"]);
        if status["in_order"] == 1 { Ok(()) } else { Err(status) }
    });
    let left: Vec<_> =
        std::fs::read_dir(bed.root("edge-1").join("etc")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left, ["motd"], "nothing half done is left");
}

#[test]
fn daemons_stop_in_time_also_in_the_middle_of_a_play() {
    let bed = Bed::found();
    let mut coordinator = bed.start_coordinator();
    let mut agent = bed.join("edge-1");
    bed.declare("fleet.toml", "hello\n", &["sleep", "5"]);
    let fleet = std::fs::read_to_string(bed.path().join("fleet.toml")).unwrap();
    std::fs::write(bed.path().join("fleet.toml"), fleet.replace("check_seconds = 1", "check_seconds = 120")).unwrap();
    bed.admin(["apply", "fleet.toml", "--no-wait"]).ok();
    bed.wait_for_motd("edge-1", "hello\n");
    for daemon in [&mut agent, &mut coordinator] {
        let began = Instant::now();
        daemon.terminate();
        daemon.wait(Duration::from_secs(30)).expect(0);
        assert!(began.elapsed() < Duration::from_secs(26), "{} took {:?}", daemon.name(), began.elapsed());
    }
    // The play that was cut short is brought to an end by the next start.
    coordinator.restart();
    ready(&coordinator);
    agent.restart();
    let apply = bed.admin(["apply", "fleet.toml", "--timeout", "2m"]).limit(DEADLINE * 3);
    apply.ok();
    assert_eq!(bed.motd("edge-1").as_deref(), Some("hello\n"));
}

/// Numbers that differ from run to run; the seed is printed, so that a failure can be looked at again.
struct Dice(u64);

impl Dice {
    fn new() -> Self {
        let seed = std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64 | 1;
        eprintln!("the dice start with {seed}");
        Self(seed)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}
