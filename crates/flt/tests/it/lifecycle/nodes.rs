//! What an admin does with nodes.

use serde_json::Value;
use testkit::{DEADLINE, until};

use crate::authority::people::{founder, says};
use crate::processes::bed::Bed;

fn condition(bed: &Bed, name: &str) -> String {
    bed.json(["node", "show", name])["condition"].as_str().unwrap().to_owned()
}

#[test]
fn a_node_is_renamed_and_relabelled_and_says_what_counts_for_it() {
    let bed = Bed::found();
    let _coordinator = bed.start_coordinator();
    let _agent = bed.join("edge-1");
    bed.declare("fleet.toml", "hello\n", &["true"]);
    bed.admin(["apply", "fleet.toml"]).ok();
    let renamed = bed.admin(["node", "rename", "edge-1", "berlin-1"]).ok();
    assert!(renamed.contains(": enroll agent berlin-1"), "{renamed}");
    says(bed.admin(["node", "show", "edge-1"]).run(), 1, &["edge-1", "flt admin node list"]);
    says(bed.admin(["node", "rename", "berlin-1", "berlin-1"]).run(), 0, &["is so already"]);
    let away = bed.admin(["node", "label", "berlin-1", "--remove", "role", "--dry-run"]).run();
    says(away, 0, &["`edge/motd` counts for it no longer; it keeps what it has"]);
    bed.admin(["node", "label", "berlin-1", "site=berlin", "spare", "--remove", "role"]).ok();
    let node = bed.json(["node", "show", "berlin-1"]);
    assert_eq!(node["labels"], serde_json::json!({"site": "berlin", "spare": ""}), "{node}");
    let back = bed.admin(["node", "label", "berlin-1", "role=edge"]).run();
    says(back, 0, &["from then on `edge/motd` counts for it"]);
    says(
        bed.admin(["node", "label", "berlin-1", "--remove", "no"]).run(),
        1,
        &["has no label `no`", "it has: role, site, spare"],
    );
    says(bed.admin(["node", "label", "berlin-1", "x=1", "--remove", "x"]).run(), 2, &["both given and removed"]);
    says(bed.admin(["node", "label", "nobody", "x"]).run(), 1, &["`nobody`"]);
    let _second = bed.join("edge-2");
    says(bed.admin(["node", "rename", "edge-2", "berlin-1"]).run(), 1, &["the name `berlin-1` is taken"]);
}

#[test]
fn a_node_in_quarantine_stays_connected_and_acts_on_nothing() {
    let bed = Bed::found();
    let _coordinator = bed.start_coordinator();
    let mut agent = bed.join("edge-1");
    bed.declare("fleet.toml", "one\n", &["true"]);
    bed.admin(["apply", "fleet.toml"]).ok();
    says(bed.admin(["node", "quarantine", "edge-1"]).run(), 2, &["--reason"]);
    bed.admin(["node", "quarantine", "edge-1", "--reason", "looks odd"]).ok();
    assert_eq!(condition(&bed, "edge-1"), "quarantined");
    let status = bed.admin(["status"]).ok();
    assert!(status.contains("edge-1: in quarantine, acts on nothing: looks odd"), "{status}");
    bed.declare("fleet.toml", "two\n", &["true"]);
    bed.admin(["apply", "fleet.toml", "--timeout", "3s"]).run().expect(4);
    // It knows of the entry, is heard, and does nothing; also when it starts anew.
    let knows = || {
        until("the node to know", DEADLINE, || {
            let node = bed.json(["node", "show", "edge-1"]);
            if node["behind"] == 0 && node["silent_seconds"].as_u64().is_some_and(|s| s < 10) {
                Ok(())
            } else {
                Err(node)
            }
        });
    };
    knows();
    assert_eq!(bed.motd("edge-1").as_deref(), Some("one\n"));
    agent.restart();
    agent.wait_for("following the ledger");
    knows();
    assert_eq!(bed.motd("edge-1").as_deref(), Some("one\n"));
    says(bed.admin(["node", "label", "edge-1", "x"]).run(), 1, &["is in quarantine", "flt admin node release edge-1"]);
    says(bed.admin(["node", "quarantine", "edge-1", "--reason", "looks odd"]).run(), 0, &["in quarantine already"]);
    bed.admin(["node", "release", "edge-1"]).ok();
    bed.wait_for_motd("edge-1", "two\n");
    says(bed.admin(["node", "release", "edge-1"]).run(), 0, &["is not in quarantine"]);
    says(bed.admin(["node", "quarantine", "coordinator-1", "--reason", "x"]).run(), 1, &["is a coordinator"]);
}

#[test]
fn a_new_machine_takes_a_nodes_place() {
    let bed = Bed::found();
    let _coordinator = bed.start_coordinator();
    let mut old = bed.join("edge-1");
    bed.declare("fleet.toml", "hello\n", &["true"]);
    bed.admin(["apply", "fleet.toml"]).ok();
    let before = bed.json(["node", "show", "edge-1"])["id"].clone();
    let replace = bed.admin(["node", "replace", "edge-1"]).run();
    let replace = says(replace, 0, &["the old one is cut off"]);
    assert_eq!(bed.json(["node", "show", "edge-1"])["id"], before, "until somebody comes");
    let ticket = replace.stdout.trim().to_owned();
    let root = bed.root("new-1");
    let new = bed.agent("new-1").args(["--join", &ticket]).spawn();
    new.wait_for("joined the fleet");
    until("the new machine in place", DEADLINE, || {
        let node = bed.json(["node", "show", "edge-1"]);
        if node["id"] != before && node["condition"] == "ok" { Ok(()) } else { Err(node) }
    });
    assert_eq!(std::fs::read_to_string(root.join("etc/motd")).unwrap(), "hello\n");
    let nodes = bed.json(["node", "list"]);
    assert_eq!(nodes["nodes"].as_array().unwrap().len(), 1, "{nodes}");
    // The old machine is nobody: it says so, and keeps what it has.
    old.kill();
    old.restart();
    old.wait_for("not allowed");
    assert_eq!(bed.motd("edge-1").as_deref(), Some("hello\n"));
    // By key, at once.
    let made = bed.flt().args(["key", "new", "--json", "--out", "third"]).ok();
    let id = serde_json::from_str::<Value>(&made).unwrap()["id"].as_str().unwrap().to_owned();
    says(bed.admin(["node", "replace", "edge-1", "--key", &id]).run(), 2, &["cut off at once", "--yes"]);
    let entered = bed.admin(["node", "replace", "edge-1", "--key", &id, "--yes"]).ok();
    assert!(entered.contains("enroll agent edge-1 in the place of edge-1"), "{entered}");
    assert_eq!(bed.json(["node", "show", "edge-1"])["id"], id.as_str());
}

#[test]
fn a_removed_node_is_cut_off_and_its_record_stays() {
    let bed = Bed::found();
    let _coordinator = bed.start_coordinator();
    let agent = bed.join("edge-1");
    bed.declare("fleet.toml", "hello\n", &["true"]);
    bed.admin(["apply", "fleet.toml"]).ok();
    says(bed.admin(["node", "remove", "edge-1"]).run(), 2, &["what it published stays in the record", "--yes"]);
    let dry = bed.admin(["node", "remove", "edge-1", "--dry-run"]).ok();
    assert!(dry.starts_with("would be entry ") && dry.contains("revoke"), "{dry}");
    let key = bed.json(["node", "show", "edge-1"])["id"].as_str().unwrap().to_owned();
    bed.admin(["node", "remove", "edge-1", "--reason", "sold", "--yes"]).ok();
    agent.wait_for("not allowed");
    assert!(bed.json(["node", "list"])["nodes"].as_array().unwrap().is_empty());
    assert_eq!(bed.motd("edge-1").as_deref(), Some("hello\n"), "it keeps what it has");
    let log = bed.json(["log", "--node", "edge-1"]);
    assert!(log["entries"].as_array().unwrap().iter().any(|e| e["verb"] == "revoke"), "{log}");
    // Its key can never come back.
    let again = founder(&bed, &["enroll", &key, "--name", "edge-1"]).run();
    says(again, 1, &["was revoked by entry"]);
    says(bed.admin(["node", "remove", "edge-1", "--yes"]).run(), 1, &["edge-1"]);
}

#[test]
fn a_copied_disk_is_named_by_status_and_doctor() {
    if !testkit::require("a_copied_disk_is_named_by_status_and_doctor", &["unshare", "mount"]) {
        return;
    }
    let bed = Bed::found();
    let _coordinator = bed.start_coordinator();
    let _first = bed.join("edge-1");
    bed.admin(["use", &bed.ticket()]).ok();
    let doctor = bed.flt().args(["doctor"]);
    // Several agents on one running system are no copies.
    let second = bed.join("edge-2");
    let found = doctor.run().expect(0).stdout;
    assert!(found.contains("no machine id is there twice"), "{found}");
    drop(second);
    // The same machine id, and another boot: that is another machine.
    let boot = bed.path().join("boot-id");
    std::fs::write(&boot, "6f0f8a3e-8f4d-4b3a-9a59-0d6a5f6b1c11\n").unwrap();
    let script = "mount --bind \"$1\" /proc/sys/kernel/random/boot_id && shift && exec \"$@\"";
    let words = ["agent", "run", "--name", "edge-2", "--listen", "127.0.0.1:0", "--metrics", "off"];
    let copy = testkit::Program::new("unshare").named("edge-2 elsewhere").args(["--mount", "sh", "-c", script, "sh"]);
    let copy = copy.arg(&boot).arg(testkit::flt_binary()).args(words).args(["--heartbeat-seconds", "2", "--data"]);
    let copy = copy.arg(bed.data("edge-2")).arg("--files-root").arg(bed.root("edge-2"));
    let _copy = copy.env("HOME", bed.path().join("home")).folder(bed.path()).spawn();
    let told = "edge-1, edge-2: they have one machine id: a disk was copied";
    until("the copy in the status", DEADLINE, || {
        let status = bed.admin(["status"]).ok();
        if status.contains(told) { Ok(()) } else { Err(status) }
    });
    let found = doctor.run().expect(0).stdout;
    assert!(found.contains("warning") && found.contains(told) && found.contains("flt admin node show"), "{found}");
}
