//! The story that the README tells, by hand and with real processes.

use std::time::Duration;

use testkit::{DEADLINE, until};

use super::bed::{Bed, get};

#[test]
fn by_hand_from_an_empty_folder_to_a_fleet_that_heals_itself() {
    let bed = Bed::found();
    let mut coordinator = bed.start_coordinator();
    assert_eq!(coordinator.stdout().trim(), bed.ticket(), "the ticket is all there is on stdout");
    bed.admin(["use", &bed.ticket()]).ok();
    let mut agent = bed.join("edge-1");

    bed.declare("fleet.toml", "hello\n", &["true"]);
    let plan = bed.admin(["plan", "fleet.toml", "--exit-code"]).run().expect(3).stdout;
    assert!(plan.contains("+ edge/motd (files/1) on 1 node: edge-1"), "{plan}");
    assert!(plan.contains("1 to create"), "{plan}");
    assert_eq!(bed.motd("edge-1"), None, "a plan changes nothing");
    let apply = bed.admin(["apply", "fleet.toml"]).run().expect(0);
    assert!(apply.stdout.contains("edge/motd published in entry") && apply.stdout.contains("converged"), "{apply:?}");
    assert_eq!(bed.motd("edge-1").as_deref(), Some("hello\n"));
    bed.admin(["plan", "fleet.toml", "--exit-code"]).run().expect(0);

    let status = bed.json(["status"]);
    assert_eq!((&status["schema"], &status["in_order"]), (&"flt.status/1".into(), &1.into()), "{status}");
    let node = bed.json(["node", "show", "edge-1"]);
    assert_eq!(node["parts"][0]["verdict"], "converged", "{node}");
    assert!(bed.admin(["node", "show", "edge-1"]).ok().contains("write /etc/motd"));
    assert!(bed.admin(["facts", "edge-1"]).ok().contains("kinds = files/1"));
    assert!(bed.admin(["score", "list"]).ok().contains("edge/motd"));

    // A second version; one that fails its check is undone and quarantined, and the command says so by its exit code.
    bed.declare("fleet.toml", "second\n", &["true"]);
    bed.admin(["apply", "fleet.toml"]).ok();
    bed.declare("fleet.toml", "bad\n", &["false"]);
    let bad = bed.admin(["apply", "fleet.toml"]).run().expect(1);
    assert!(bad.stdout.contains("quarantined") && bad.stdout.contains("undone"), "{bad:?}");
    assert!(bad.stderr.contains("flt admin node show edge-1"), "{bad:?}");
    assert_eq!(bed.motd("edge-1").as_deref(), Some("second\n"));
    let status = bed.admin(["status"]).ok();
    assert!(status.contains("failing") && status.contains("edge/motd quarantined"), "{status}");
    bed.admin(["rollback", "edge/motd"]).ok();
    assert_eq!(bed.json(["status"])["in_order"], 1);
    assert_eq!(bed.motd("edge-1").as_deref(), Some("second\n"));

    // Asked for on a terminal only; a script has to mean it.
    let asked = bed.admin(["score", "withdraw", "edge/motd"]).run().expect(2);
    assert!(asked.stderr.contains("--yes"), "{asked:?}");
    bed.admin(["score", "withdraw", "edge/motd", "--yes"]).ok();
    assert_eq!(bed.json(["score", "list"])["scores"].as_array().map(Vec::len), Some(0));
    assert_eq!(bed.motd("edge-1").as_deref(), Some("second\n"), "what was declared stays");

    // The record of it all, verified here and by somebody who has nothing but the file and the fleet's id.
    let log = bed.admin(["log", "--verify"]).run().expect(0);
    assert!(log.stderr.contains("Verified"), "{log:?}");
    for verb in ["genesis", "invite", "redeem", "publish", "withdraw"] {
        assert!(log.stdout.contains(verb), "{verb} is missing:\n{}", log.stdout);
    }
    bed.admin(["log", "--export", "acme.ledger"]).ok();
    let fleet = status_fleet(&bed);
    assert!(bed.admin(["verify", "acme.ledger", "--fleet", &fleet]).ok().starts_with("ok: "));
    let other = "11".repeat(32);
    bed.admin(["verify", "acme.ledger", "--fleet", &other]).run().expect(1);
    let file = bed.path().join("acme.ledger");
    let mut forged = std::fs::read(&file).unwrap();
    let middle = forged.len() / 2;
    forged[middle] = if forged[middle] == b'A' { b'B' } else { b'A' };
    std::fs::write(&file, forged).unwrap();
    bed.admin(["verify", "acme.ledger", "--fleet", &fleet]).run().expect(1);

    let metrics = get(bed.metrics, "/metrics");
    assert!(metrics.contains("\nflotilla_members ") && metrics.contains("\nflotilla_ledger_head "), "{metrics}");
    assert!(get(bed.metrics, "/healthz").starts_with("HTTP/1.1 200"));
    for daemon in [&mut agent, &mut coordinator] {
        daemon.terminate();
        daemon.wait(STOP).expect(0);
    }
}

fn status_fleet(bed: &Bed) -> String {
    bed.json(["status"])["fleet_id"].as_str().unwrap().to_owned()
}

#[test]
fn who_is_away_converges_later_and_straight_to_the_newest() {
    let bed = Bed::found();
    let _coordinator = bed.start_coordinator();
    let mut agent = bed.join("edge-1");
    bed.declare("fleet.toml", "one\n", &["true"]);
    bed.admin(["apply", "fleet.toml"]).ok();
    agent.terminate();
    agent.wait(STOP).expect(0);
    // Nobody is there: published, and not converged within the time that was given.
    for content in ["two\n", "three\n"] {
        bed.declare("fleet.toml", content, &["true"]);
        let apply = bed.admin(["apply", "fleet.toml", "--timeout", "1s"]).run().expect(4);
        assert!(apply.stdout.contains("published in entry"), "{apply:?}");
    }
    assert_eq!(bed.motd("edge-1").as_deref(), Some("one\n"));
    let back = bed.agent("edge-1").spawn();
    bed.wait_for_motd("edge-1", "three\n");
    until("the fleet in order", DEADLINE, || {
        let status = bed.json(["status"]);
        if status["in_order"] == 1 { Ok(()) } else { Err(status) }
    });
    let node = bed.json(["node", "show", "edge-1"]);
    assert_eq!(node["parts"][0]["attempts"], 1, "{node}");
    drop(back);
}

#[test]
fn watch_tells_what_happens_as_it_happens() {
    let bed = Bed::found();
    let _coordinator = bed.start_coordinator();
    let _agent = bed.join("edge-1");
    let mut watch = bed.admin(["watch"]).spawn();
    watch.wait_for("edge-1");
    bed.declare("fleet.toml", "seen\n", &["true"]);
    bed.admin(["apply", "fleet.toml"]).ok();
    watch.wait_for("converged");
    watch.interrupt();
    let ended = watch.wait(STOP);
    assert!(matches!(ended.code, Some(0 | 130)), "{ended:?}");
}

/// Within this time everything ends after a signal; the daemons promise 25 s.
const STOP: Duration = Duration::from_secs(30);
