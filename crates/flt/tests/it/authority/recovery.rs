//! The only admin's key is lost: keys that were kept offline make another admin.

use serde_json::Value;
use testkit::Program;

use super::people::{Person, says};
use crate::processes::bed::Bed;

/// A fleet with three recovery keys, of which two must agree.
fn recoverable() -> Bed {
    let bed = Bed::found();
    let plain = bed.path().join("home");
    std::fs::remove_dir_all(&plain).unwrap();
    std::fs::remove_dir_all(bed.path().join("coordinator")).unwrap();
    let mut words: Vec<String> =
        ["admin", "init", "--name", "acme", "--recovery-threshold", "2"].map(str::to_owned).into();
    for name in ["safe", "bank", "home"] {
        let made = bed.flt().args(["key", "new", "--json", "--out", &format!("{name}.key")]).ok();
        let json: Value = serde_json::from_str(&made).unwrap();
        words.extend(["--recovery-key".to_owned(), format!("{name}={}", json["id"].as_str().unwrap())]);
    }
    let founded = bed.flt().args(&words).ok();
    assert!(founded.contains("  recovery     2 of safe, bank, home\n"), "{founded}");
    bed
}

/// On a machine with nothing but the key: no network, no folder.
fn approve(bed: &Bed, request: &str, key: &str) -> Program {
    let home = bed.path().join("offline");
    let flt = bed.flt().env("HOME", home);
    flt.args(["admin", "recovery", "approve", request, "--key-file", key]).named(format!("approve with {key}"))
}

#[test]
fn enough_recovery_keys_make_an_admin_and_fewer_do_not() {
    let bed = recoverable();
    let _coordinator = bed.start_coordinator();
    bed.admin(["status"]).ok();
    let shown = bed.admin(["recovery", "show"]).ok();
    assert!(shown.starts_with("2 of 3 must agree (entry 0)\nNAME  KEY\nsafe  "), "{shown}");
    let ticket = bed.ticket();
    // The founder's machine is gone, with its key and its copy of the ledger.
    std::fs::remove_dir_all(bed.path().join("home")).unwrap();
    let anna = Person::new(&bed, "anna");
    says(anna.admin(&["recovery", "request"]).run(), 1, &["the copy of the ledger is empty", "--ticket TICKET"]);
    let asked = anna.admin(&["recovery", "request", "--name", "anna", "--ticket", &ticket]).run().expect(0);
    let request = asked.stdout.trim();
    assert!(request.starts_with("fltrec1") && request.lines().count() == 1, "{request}");
    assert!(asked.stderr.contains("gets every right, on every node, for ever"), "{}", asked.stderr);
    // Nobody approves blindly, and nobody without a terminal by accident.
    let unasked = approve(&bed, request, "safe.key").run();
    says(unasked, 2, &["You are asked to approve:", "new admin  anna", "--yes"]);
    says(approve(&bed, &request[..60], "safe.key").arg("--yes").run(), 2, &["damaged or incomplete"]);
    let yes = |key: &str| approve(&bed, request, key).arg("--yes").ok().trim().to_owned();
    let (safe, bank) = (yes("safe.key"), yes("bank.key"));
    assert!(!bed.path().join("offline").exists(), "nothing is written there");
    let submit = |approvals: &[&str]| {
        let words: Vec<&str> =
            ["recovery", "submit", request].iter().chain(approvals).copied().chain(["--ticket", &ticket]).collect();
        anna.admin(&words).run()
    };
    says(submit(&[&safe]), 1, &["1 of the recovery keys agreed, and 2 must", "flt admin recovery approve"]);
    says(submit(&[&safe, &safe]), 1, &["1 of the recovery keys agreed, and 2 must"]);
    // A key that is no recovery key counts for nothing.
    bed.flt().args(["key", "new", "--out", "odd.key"]).ok();
    let odd = yes("odd.key");
    says(submit(&[&safe, &odd]), 1, &["1 of the recovery keys agreed, and 2 must"]);
    // An approval of something else.
    let other = anna.admin(&["recovery", "request", "--name", "ann", "--ticket", &ticket]).ok();
    let elsewhere = approve(&bed, other.trim(), "bank.key").arg("--yes").ok();
    says(submit(&[&safe, elsewhere.trim()]), 1, &["is for another request"]);
    // Somebody else's machine cannot use it.
    let crook = Person::new(&bed, "crook");
    crook.request();
    let stolen = crook.admin(&["recovery", "submit", request, &safe, &bank, "--ticket", &ticket]).run();
    says(stolen, 2, &["the request is for the key"]);
    let entered = submit(&[&safe, &bank]).expect(0);
    assert!(entered.stdout.starts_with("entry 1: recover anna, revoking 0 key(s)"), "{}", entered.stdout);
    let who = anna.json(&["who-can", "grant"]);
    let names: Vec<&str> = who["admins"].as_array().unwrap().iter().map(|a| a["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["alice", "anna"]);
    anna.admin(&["revoke", "alice", "--reason", "key lost", "--yes"]).ok();
    // Once more the same: it is spent, for the key is an admin's already and nothing bad comes of it.
    anna.admin(&["status"]).ok();
    anna.admin(&["log", "--verify"]).ok();
}

#[test]
fn a_thief_with_the_only_key_is_thrown_out_and_recovery_keys_are_replaced_by_their_own_word() {
    let bed = recoverable();
    let _coordinator = bed.start_coordinator();
    let anna = Person::new(&bed, "anna");
    let ticket = bed.ticket();
    let founder = bed.json(["who-can", "grant"])["admins"][0]["key"].as_str().unwrap().to_owned();
    // The thief, who has the founder's key, makes an accomplice.
    let crook = Person::new(&bed, "crook");
    crook.joins(&["--may", "grant,enroll,publish,rollout,tunnel,exec,read"]);
    let words = [
        "recovery",
        "request",
        "--name",
        "anna",
        "--ticket",
        &ticket,
        "--revoke",
        &founder,
        "--compromised-since",
        "1",
    ];
    let request = anna.admin(&words).run().expect(0);
    assert!(request.stderr.contains("all that the revoked keys signed from entry 1 on"), "{}", request.stderr);
    let request = request.stdout.trim().to_owned();
    let approval = |key: &str| approve(&bed, &request, key).arg("--yes").ok().trim().to_owned();
    let (bank, home) = (approval("bank.key"), approval("home.key"));
    anna.admin(&["recovery", "submit", &request, &bank, &home, "--ticket", &ticket]).ok();
    let who = anna.json(&["who-can", "read"]);
    let names: Vec<&str> = who["admins"].as_array().unwrap().iter().map(|a| a["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["anna"], "thief and accomplice are out");
    says(bed.admin(["status"]).run(), 1, &["error:"]);
    says(crook.admin(&["status"]).run(), 1, &["error:"]);
    // Other recovery keys: not by an admin alone.
    let made = bed.flt().args(["key", "new", "--json", "--out", "new.key"]).ok();
    let json: Value = serde_json::from_str(&made).unwrap();
    let set = anna.admin(&["recovery", "set", "--recovery-key", &format!("vault={}", json["id"].as_str().unwrap())]);
    let set = set.run().expect(0);
    assert!(set.stderr.contains("Nothing is changed yet"), "{}", set.stderr);
    let request = set.stdout.trim().to_owned();
    let approval = |key: &str| approve(&bed, &request, key).arg("--yes").ok().trim().to_owned();
    let (safe, bank) = (approval("safe.key"), approval("bank.key"));
    says(anna.admin(&["recovery", "submit", &request, &safe]).run(), 1, &["1 of the recovery keys agreed, and 2 must"]);
    anna.admin(&["recovery", "submit", &request, &safe, &bank]).ok();
    let shown = anna.admin(&["recovery", "show"]).ok();
    assert!(shown.starts_with("1 of 1 must agree") && shown.contains("vault"), "{shown}");
}

#[test]
fn recovery_keys_can_be_set_later_and_mistakes_are_named() {
    let bed = Bed::found();
    let _coordinator = bed.start_coordinator();
    assert_eq!(bed.admin(["recovery", "show"]).ok(), "this fleet has no recovery keys\n");
    says(bed.admin(["recovery", "request", "--revoke", "alice"]).run(), 1, &["this fleet has no recovery keys"]);
    says(bed.admin(["recovery", "set"]).run(), 2, &["no recovery key is named"]);
    let made = bed.flt().args(["key", "new", "--json", "--out", "safe.key"]).ok();
    let key = serde_json::from_str::<Value>(&made).unwrap()["openssh"].as_str().unwrap().to_owned();
    let twice = ["recovery", "set", "--recovery-key", &key, "--recovery-key", &key];
    says(bed.admin(twice).run(), 2, &["twice"]);
    let much = ["recovery", "set", "--recovery-key", &key, "--recovery-threshold", "2"];
    says(bed.admin(much).run(), 2, &["its threshold may be 1 to that"]);
    let own = bed.json(["who-can", "grant"])["admins"][0]["key"].as_str().unwrap().to_owned();
    let daily = bed.admin(["recovery", "set", "--recovery-key", &own, "--yes"]).run();
    says(daily, 1, &["in daily use, and a recovery key is kept apart"]);
    says(bed.admin(["recovery", "set", "--recovery-key", &key]).run(), 2, &["--yes"]);
    let named = format!("safe={key}");
    let done = bed.admin(["recovery", "set", "--recovery-key", &named, "--yes"]).ok();
    assert_eq!(done, "entry 1: set-recovery 1 of 1\n");
    says(
        bed.admin(["recovery", "approve", "nonsense", "--key-file", "safe.key"]).run(),
        2,
        &["this is no recovery request"],
    );
}
