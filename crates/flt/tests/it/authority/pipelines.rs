//! A pipeline as an admin with a narrow grant: no terminal, no questions, and an exit code that tells the truth.

use serde_json::Value;

use super::people::{Person, founder, says};
use crate::processes::bed::Bed;

/// What a pipeline runs: the key by file, stdin closed, JSON out.
fn apply(ci: &Person<'_>, file: &str, more: &[&str]) -> testkit::Output {
    let key = ci.data().join("key");
    let words = ["apply", file, "--key-file", key.to_str().unwrap()];
    ci.admin(&words).arg("--json").args(more).run()
}

#[test]
fn a_pipeline_publishes_what_it_may_and_nothing_else() {
    let bed = Bed::found();
    let _coordinator = bed.start_coordinator();
    let _agent = bed.join("edge-1");
    let ci = Person::new(&bed, "pipeline");
    ci.joins(&["--role", "ci", "--on", "role=edge", "--kinds", "files/*", "--expires", "90d"]);
    bed.declare("fleet.toml", "hello\n", &["true"]);
    let done = apply(&ci, "fleet.toml", &["--no-wait"]).expect(0);
    let json: Value = serde_json::from_str(&done.stdout).unwrap();
    assert_eq!((json["schema"].as_str(), json["waited"].as_bool()), (Some("flt.apply/1"), Some(false)), "{json}");
    assert_eq!(json["entries"].as_array().unwrap().len(), 1);
    bed.wait_for_motd("edge-1", "hello\n");
    // Once more: done already.
    let again = apply(&ci, "fleet.toml", &[]).expect(0);
    let json: Value = serde_json::from_str(&again.stdout).unwrap();
    assert_eq!((json["entries"].as_array().unwrap().len(), json["ending"].as_str()), (0, Some("converged")), "{json}");
    // What fails on the node is a failure here.
    bed.declare("fleet.toml", "bad\n", &["false"]);
    let failed = apply(&ci, "fleet.toml", &["--timeout", "60s"]).expect(1);
    let json: Value = serde_json::from_str(&failed.stdout).unwrap();
    assert_eq!(json["ending"], "failed", "{json}");
    // Outside its rights: nothing is entered, and a machine can read why.
    let head = bed.json(["status"])["head"].clone();
    let text = std::fs::read_to_string(bed.path().join("fleet.toml")).unwrap();
    std::fs::write(bed.path().join("all.toml"), text.replace("role=edge", "*").replace("group.edge", "group.all"))
        .unwrap();
    bed.admin(["enroll", &key_of_nobody(&bed), "--name", "core-1"]).ok();
    let before = bed.json(["status"])["head"].as_u64().unwrap();
    assert_eq!(before, head.as_u64().unwrap() + 1);
    let refused = apply(&ci, "all.toml", &["--no-wait"]).expect(1);
    let error: Value = serde_json::from_str(refused.stderr.lines().last().unwrap()).unwrap();
    assert_eq!((error["schema"].as_str(), error["code"].as_u64()), (Some("flt.error/1"), Some(1)), "{error}");
    let told = format!("{} {}", error["error"], error["causes"]);
    assert!(told.contains("pipeline may not publish files/1"), "{error}");
    assert!(!error["hints"].as_array().unwrap().is_empty(), "{error}");
    assert!(refused.stdout.is_empty(), "{}", refused.stdout);
    ci.admin(&["score", "withdraw", "edge/motd", "--yes"]).run().expect(0);
    says(ci.admin(&["invite"]).run(), 1, &["pipeline may not invite"]);
    says(ci.admin(&["revoke", "alice", "--reason", "x", "--yes"]).run(), 1, &["pipeline may not revoke `alice`"]);
    says(ci.admin(&["grant", &"09".repeat(32), "--name", "x", "--role", "ci"]).run(), 1, &["error:"]);
    // Asked for a confirmation, with nobody there: usage, not a hang.
    says(ci.admin(&["revoke", "pipeline", "--reason", "x"]).run(), 2, &["no terminal to ask on", "--yes"]);
    // And when the rights end, so does it.
    founder(&bed, &["revoke", "pipeline", "--reason", "leaked", "--yes"]).ok();
    let gone = apply(&ci, "fleet.toml", &["--no-wait"]).expect(1);
    let error: Value = serde_json::from_str(gone.stderr.lines().last().unwrap()).unwrap();
    assert!(error["hints"].to_string().contains("flt admin grant"), "{error}");
}

#[test]
fn a_node_that_is_off_is_admitted_and_not_converged() {
    let bed = Bed::found();
    let _coordinator = bed.start_coordinator();
    let mut agent = bed.join("edge-1");
    agent.terminate();
    agent.wait(testkit::DEADLINE);
    let ci = Person::new(&bed, "pipeline");
    ci.joins(&["--role", "ci"]);
    bed.declare("fleet.toml", "hello\n", &["true"]);
    let late = apply(&ci, "fleet.toml", &["--timeout", "1s"]).expect(4);
    let json: Value = serde_json::from_str(&late.stdout).unwrap();
    assert_eq!(json["ending"], "pending", "{json}");
    says(apply(&ci, "fleet.toml", &["--nonsense"]), 2, &["--nonsense"]);
}

/// A key that is somebody's, though nobody comes with it.
fn key_of_nobody(bed: &Bed) -> String {
    let made = bed.flt().args(["key", "new", "--out", "nobody", "--json"]).ok();
    let json: Value = serde_json::from_str(&made).unwrap();
    json["id"].as_str().unwrap().to_owned()
}
