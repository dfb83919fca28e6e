//! A stolen admin key: what it did is shown, voided, and what was good comes back.

use serde_json::Value;

use super::people::{Person, founder, says};
use crate::processes::bed::Bed;

#[test]
fn what_a_thief_did_is_voided_and_the_good_version_restored() {
    let bed = Bed::found();
    let _coordinator = bed.start_coordinator();
    let _one = bed.join("edge-1");
    let _two = bed.join("edge-2");
    let ben = Person::new(&bed, "ben");
    ben.joins(&["--role", "operator"]);
    bed.declare("fleet.toml", "good\n", &["true"]);
    ben.admin(&["apply", "fleet.toml"]).ok();
    let since = bed.json(["status"])["head"].as_u64().unwrap() + 1;
    // From here on it is somebody else.
    bed.declare("bad.toml", "bad\n", &["true"]);
    ben.admin(&["apply", "bad.toml"]).ok();
    bed.wait_for_motd("edge-1", "bad\n");
    ben.admin(&["node", "remove", "edge-2", "--yes"]).ok();
    ben.admin(&["node", "label", "edge-1", "role=edge", "owned"]).ok();
    let words = ["revoke", "ben", "--reason", "laptop stolen", "--compromised-since", &since.to_string(), "--restore"];
    let dry = founder(&bed, &words).arg("--dry-run").ok();
    for line in [
        "admins who lose every right: ben",
        "nodes put into quarantine: edge-1",
        "declarations that end: edge/motd",
        "edge/motd was replaced; its last good version is that of entry",
        "the node edge-2 was removed",
        "flt admin invite --name edge-2 --label role=edge",
    ] {
        assert!(dry.contains(line), "{line:?} is missing in\n{dry}");
    }
    says(founder(&bed, &words).run(), 2, &["declarations that end: edge/motd", "--yes"]);
    let done = founder(&bed, &words).args(["--yes", "--json"]).ok();
    let json: Value = serde_json::from_str(&done).unwrap();
    assert_eq!(json["restored"][0]["name"], "edge/motd", "{json}");
    assert_eq!(json["repairs"].as_array().unwrap().len(), 3, "{json}");
    says(ben.admin(&["status"]).run(), 1, &["no rights in the fleet"]);
    // In quarantine nothing is mended; looked at and enrolled as it shall be, the node is as it was.
    assert_eq!(bed.json(["status"])["nodes"][0]["condition"], "quarantined");
    let command = json["repairs"].as_array().unwrap().iter().map(|r| r["command"].as_str().unwrap());
    let enroll = command.clone().find(|c| c.starts_with("flt admin enroll")).unwrap().to_owned();
    let words: Vec<&str> = enroll.split(' ').skip(2).collect();
    founder(&bed, &words).ok();
    bed.wait_for_motd("edge-1", "good\n");
    founder(&bed, &["log", "--verify"]).ok();
}

#[test]
fn a_compromise_that_cannot_be_is_refused_in_words() {
    let bed = Bed::found();
    let _coordinator = bed.start_coordinator();
    let ben = Person::new(&bed, "ben");
    ben.joins(&["--role", "operator"]);
    let revoke = |more: &[&str]| {
        let words: Vec<&str> = ["revoke", "ben", "--reason", "x", "--yes"].iter().chain(more).copied().collect();
        founder(&bed, &words).run()
    };
    says(revoke(&["--compromised-since", "99"]), 2, &["the ledger has 1 to 1", "flt admin log"]);
    says(revoke(&["--compromised-since", "0"]), 2, &["is no entry that could be void"]);
    says(revoke(&["--compromised-since", "2999-01-01T00:00:00Z"]), 1, &["no entry is of then or later"]);
    says(revoke(&["--compromised-since", "soon"]), 2, &["an entry's number, a moment like"]);
    says(revoke(&["--restore"]), 2, &["--compromised-since"]);
    says(
        founder(&bed, &["revoke", "zoe", "--reason", "x", "--yes"]).run(),
        1,
        &["nobody in this fleet is called `zoe`"],
    );
    says(
        founder(&bed, &["revoke", "alice", "--reason", "x", "--yes"]).run(),
        1,
        &["cannot revoke the admin `alice`", "nobody could grant"],
    );
    // By age: all of the last hour.
    revoke(&["--compromised-since", "1h"]).expect(0);
    // Found out after the revocation.
    let key = bed.json(["log", "--kind", "grant"])["entries"][0]["about"][0].clone();
    assert_eq!(key, "ben");
}
