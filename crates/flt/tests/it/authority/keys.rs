//! An admin's own key: rotated, killed in the middle, encrypted, and raced for.

use std::time::Duration;

use serde_json::Value;
use testkit::{DEADLINE, until};

use super::people::{Person, founder, says};
use crate::processes::bed::Bed;

#[test]
fn a_rotated_key_keeps_the_rights_and_the_old_one_is_nothing() {
    let bed = Bed::found();
    let _coordinator = bed.start_coordinator();
    let ben = Person::new(&bed, "ben");
    ben.joins(&["--role", "operator"]);
    let before = std::fs::read(ben.data().join("key")).unwrap();
    let dry = ben.json(&["rotate", "--dry-run"]);
    assert_eq!(dry["dry_run"], true);
    assert_eq!(std::fs::read(ben.data().join("key")).unwrap(), before);
    let rotated = ben.json(&["rotate"]);
    assert_ne!(rotated["old"], rotated["new"]);
    assert_ne!(std::fs::read(ben.data().join("key")).unwrap(), before);
    assert!(!ben.data().join("key.old").exists() && !ben.data().join("key.new").exists());
    ben.admin(&["invite", "--name", "edge-1"]).ok();
    let log = ben.json(&["log", "--kind", "rotate"]);
    assert_eq!(log["entries"].as_array().unwrap().len(), 1, "{log}");
    assert_eq!(log["entries"][0]["author"], "ben");
    // The old key: nobody's.
    let old = bed.path().join("old-key");
    std::fs::write(&old, before).unwrap();
    std::fs::set_permissions(&old, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let gone = ben.admin(&["status", "--key-file", old.to_str().unwrap()]).run();
    says(gone, 1, &["no rights in the fleet"]);
    // To a key of one's own choice; never to one that is somebody's.
    bed.flt().args(["key", "new", "--out", "chosen", "--format", "raw"]).ok();
    let chosen = bed.path().join("chosen");
    ben.admin(&["rotate", "--new-key-file", chosen.to_str().unwrap()]).ok();
    assert_eq!(std::fs::read(ben.data().join("key")).unwrap(), std::fs::read(&chosen).unwrap());
    let again = ben.admin(&["rotate", "--new-key-file", chosen.to_str().unwrap()]).run();
    says(again, 1, &["the key was not rotated", "somebody's already"]);
    ben.admin(&["status"]).ok();
    assert!(!ben.data().join("key.new").exists());
}

#[test]
fn a_rotation_that_is_killed_leaves_a_workspace_that_works() {
    let bed = Bed::found();
    let _coordinator = bed.start_coordinator();
    let ben = Person::new(&bed, "ben");
    ben.joins(&["--role", "operator"]);
    let mut rotations = 0;
    for millis in [40, 120, 200, 280, 360, 440, 520, 600, 700, 850] {
        let mut rotate = ben.admin(&["rotate"]).spawn();
        let begun = std::time::Instant::now();
        // Not a wait for anything: the moment of the kill is what is varied.
        while begun.elapsed() < Duration::from_millis(millis) && rotate.is_running() {
            std::thread::sleep(Duration::from_millis(5));
        }
        rotate.kill();
        assert!(ben.data().join("key").exists(), "killed after {millis} ms");
        // Whatever was done, the next command works, with one key or the other.
        until("a status", DEADLINE, || {
            let status = ben.admin(&["status", "--json"]).run();
            if status.code == Some(0) { Ok(()) } else { Err(status.stderr) }
        });
        rotations += usize::from(!ben.data().join("key.new").exists());
    }
    ben.admin(&["rotate"]).ok();
    assert!(!ben.data().join("key.new").exists() && !ben.data().join("key.old").exists());
    ben.admin(&["invite", "--name", "edge-1"]).ok();
    let log = ben.json(&["log", "--kind", "rotate"]);
    assert!(!log["entries"].as_array().unwrap().is_empty(), "{rotations}");
    founder(&bed, &["log", "--verify"]).ok();
}

#[test]
fn an_encrypted_key_asks_for_its_passphrase_and_stays_encrypted() {
    let bed = Bed::found();
    let _coordinator = bed.start_coordinator();
    let ben = Person::new(&bed, "ben");
    let pass = bed.path().join("pass");
    std::fs::write(&pass, "correct horse\n").unwrap();
    let pass = pass.to_str().unwrap();
    says(ben.admin(&["request", "--encrypt"]).run(), 2, &["no terminal", "--passphrase-file FILE"]);
    assert!(!ben.data().join("key").exists());
    let with = |words: &[&str]| ben.admin(words).args(["--passphrase-file", pass]);
    let request = with(&["request", "--encrypt"]).ok();
    let granted: Value = serde_json::from_str(
        &founder(&bed, &["grant", "--request", request.trim(), "--role", "operator"]).arg("--json").ok(),
    )
    .unwrap();
    with(&["join", granted["ticket"].as_str().unwrap()]).ok();
    says(ben.admin(&["status"]).run(), 1, &["the key is encrypted and needs its passphrase", "--passphrase-file"]);
    with(&["rotate"]).ok();
    let text = std::fs::read_to_string(ben.data().join("key")).unwrap();
    assert!(text.starts_with("-----BEGIN OPENSSH PRIVATE KEY-----"), "{text}");
    says(ben.admin(&["status"]).run(), 1, &["needs its passphrase"]);
    with(&["status"]).ok();
    // ssh-keygen opens it, and `flt key convert` makes such files.
    let key = ben.data().join("key");
    let public =
        testkit::Program::new("ssh-keygen").args(["-y", "-P", "correct horse", "-f", key.to_str().unwrap()]).ok();
    assert!(public.starts_with("ssh-ed25519 "), "{public}");
    bed.flt().args(["key", "new", "--out", "plain"]).ok();
    let convert = ["key", "convert", "plain", "--encrypt", "--new-passphrase-file", pass, "--out", "sealed"];
    bed.flt().args(convert).ok();
    says(bed.flt().args(["key", "show", "sealed"]).run(), 1, &["needs its passphrase"]);
    bed.flt().args(["key", "show", "sealed", "--passphrase-file", pass]).ok();
    says(bed.flt().args(["key", "convert", "plain", "--encrypt", "--out", "s2"]).run(), 2, &["no terminal"]);
}

#[test]
fn a_rotation_and_a_revocation_at_once_end_in_one_of_two_ways() {
    let bed = Bed::found();
    let _coordinator = bed.start_coordinator();
    for name in ["ben", "carla", "dora"] {
        let person = Person::new(&bed, name);
        person.joins(&["--role", "operator"]);
        let mut rotate = person.admin(&["rotate"]).spawn();
        let mut revoke = founder(&bed, &["revoke", name, "--reason", "race", "--yes"]).spawn();
        let (rotated, revoked) = (rotate.wait(DEADLINE), revoke.wait(DEADLINE));
        let admins: Value = serde_json::from_str(&founder(&bed, &["who-can", "read"]).arg("--json").ok()).unwrap();
        let left = admins["admins"].as_array().unwrap().iter().any(|admin| admin["name"] == *name);
        match (rotated.code, revoked.code) {
            // Revoked first: the old key may do nothing; or it was rotated, and its successor was revoked in time.
            (_, Some(0)) => assert!(!left, "{admins}"),
            // Rotated first: the revocation names a key that is nobody's, and says so.
            (Some(0), Some(1)) => {
                assert!(left, "{admins}");
                founder(&bed, &["revoke", name, "--reason", "again", "--yes"]).ok();
            }
            _ => panic!("{rotated:?}\n{revoked:?}"),
        }
        assert!(person.admin(&["status"]).run().code == Some(1), "in either case the person has no rights in the end");
    }
    founder(&bed, &["log", "--verify"]).ok();
}
