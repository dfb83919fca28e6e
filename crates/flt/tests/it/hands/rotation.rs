//! A node of two processes that gets a new key, also when that is cut short.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use protocols::SecretKey;
use serde_json::Value;
use testkit::{DEADLINE, Proc, Program, until};

use super::bed::{STRANGER, Split, TOOLS, USER};
use crate::authority::people::says;
use crate::processes::bed::ready;

/// `flt agent rotate --stopped` for the node, as root.
fn rotate(split: &Split) -> Program {
    as_root(Program::new(split.bed.path().join("flt")), split)
}

fn as_root(flt: Program, split: &Split) -> Program {
    rotate_in(flt, split, &split.node().join(format!("of-{USER}/data")))
}

fn rotate_in(flt: Program, split: &Split, data: &Path) -> Program {
    let rotate = flt.named("flt agent rotate").folder(split.bed.path()).env("HOME", split.bed.path().join("home"));
    let rotate = rotate.args(["agent", "rotate", "--stopped", "--json", "--hands-user", &USER.to_string()]);
    let rotate = rotate.arg("--hands-data").arg(split.node().join("hands")).arg("--data").arg(data);
    ["XDG_CONFIG_HOME", "XDG_DATA_HOME", "RUST_BACKTRACE", "RUST_LOG", "FLT_LOG"]
        .into_iter()
        .fold(rotate.arg("--key-file").arg(copy_of_key(split)), Program::without_env)
        .limit(DEADLINE * 2)
}

/// The same with a configuration alone; the network half's key is one that systemd hands over, and not there now.
fn as_under_systemd(split: &Split) -> Program {
    let config = split.bed.path().join("agent.toml");
    let text = format!(
        "data = {:?}\nhands-data = {:?}\nhands-user = \"{USER}\"\nhands = {:?}\nkey-file = {:?}\nticket-file = {:?}\n",
        split.node().join(format!("of-{USER}/data")),
        split.node().join("hands"),
        split.socket(),
        "/run/credentials/flotilla-agent.service/key",
        "/run/credentials/flotilla-agent.service/ticket",
    );
    fs::write(&config, text).unwrap();
    let flt = Program::new(split.bed.path().join("flt")).folder(split.bed.path());
    let flt = flt.env("HOME", split.bed.path().join("home"));
    flt.args(["agent", "rotate", "--stopped", "--json", "--config"]).arg(config).limit(DEADLINE * 2)
}

/// Both, ended as their supervisor would.
fn stop(halves: [&mut Proc; 2]) {
    for half in halves {
        half.terminate();
        half.wait(DEADLINE).expect(0);
    }
}

fn start(halves: [&mut Proc; 2]) {
    for half in halves {
        half.restart();
        ready(half);
    }
}

fn in_order(split: &Split, key: &str) {
    until("the node in order with its new key", DEADLINE, || {
        let node = split.bed.json(["node", "show", "edge-1"]);
        if node["id"] == key && node["condition"] == "ok" { Ok(()) } else { Err(node) }
    });
}

fn key_in(file: &Path) -> String {
    SecretKey::read(file, || None).unwrap().id().to_string()
}

fn hands_key(split: &Split) -> PathBuf {
    split.node().join("hands/key")
}

fn copy_of_key(split: &Split) -> PathBuf {
    split.node().join(format!("of-{USER}/key"))
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn a_node_of_two_processes_rotates_its_key_and_opens_what_was_sealed_before() {
    if !testkit::require("a_node_of_two_processes_rotates_its_key_and_opens_what_was_sealed_before", TOOLS) {
        return;
    }
    let split = Split::found();
    let (mut hands, mut half) = split.join();
    let bed = &split.bed;
    let file = "[group.edge]\non = \"role=edge\"\nscore.db.kind = \"files/1\"\nscore.db.spec.root = \"/etc\"\n\
                score.db.spec.entries.password = { secret = \"db-password\" }\n";
    fs::write(bed.path().join("fleet.toml"), file).unwrap();
    bed.admin(["apply", "fleet.toml", "--secret-file", "db-password=-"]).input("correct-horse").run().expect(0);
    let password = bed.root("edge-1").join("etc/password");
    assert_eq!(fs::read_to_string(&password).unwrap(), "correct-horse");
    let (before, old) = (bed.json(["node", "show", "edge-1"]), key_in(&hands_key(&split)));
    stop([&mut half, &mut hands]);
    // To have the file again, what is sealed to the key of before must be opened.
    fs::remove_file(&password).unwrap();
    let rotated = json(&rotate(&split).ok());
    let new = key_in(&hands_key(&split));
    assert_eq!((rotated["old"].as_str(), rotated["new"].as_str()), (Some(&*old), Some(&*new)), "{rotated}");
    assert!(old != new && rotated["done"] == true, "{rotated}");
    // Each half has the key in a file of its own, for its user alone; nothing else is left.
    assert_eq!(key_in(&copy_of_key(&split)), new);
    for (file, user, mode) in [(hands_key(&split), 0, 0o600), (copy_of_key(&split), USER, 0o400)] {
        let meta = fs::metadata(&file).unwrap();
        assert_eq!((meta.uid(), meta.mode() & 0o777), (user, mode), "{}", file.display());
        for end in ["new", "old", "refused", "new.made"] {
            assert!(!file.with_file_name(format!("key.{end}")).exists(), "key.{end} beside {}", file.display());
        }
    }
    let theirs = split.node().join(format!("of-{USER}/data"));
    let strange: Vec<_> = fs::read_dir(&theirs).unwrap().map(|e| e.unwrap()).collect();
    assert!(strange.iter().all(|e| e.metadata().unwrap().uid() == USER), "root left something: {strange:?}");
    start([&mut hands, &mut half]);
    in_order(&split, &new);
    let after = bed.json(["node", "show", "edge-1"]);
    assert_eq!((&after["labels"], &after["since_entry"]), (&before["labels"], &before["since_entry"]), "{after}");
    until("the secret to be there again", DEADLINE, || {
        let found = fs::read_to_string(&password).unwrap_or_default();
        if found == "correct-horse" { Ok(()) } else { Err((found, hands.stderr())) }
    });
    let log = bed.json(["log", "--kind", "rotate"]);
    assert_eq!(log["entries"].as_array().map(Vec::len), Some(1), "{log}");
    // Sealed again, the key of before is needed by nobody, and goes.
    let former = split.node().join("hands/former-keys").join(&old);
    assert_eq!(key_in(&former), old);
    bed.admin(["apply", "fleet.toml"]).ok();
    until("the former key to be gone", DEADLINE, || !former.exists());
    bed.admin(["log", "--verify"]).ok();
}

#[test]
fn a_rotation_of_two_processes_goes_on_wherever_it_was_killed() {
    if !testkit::require("a_rotation_of_two_processes_goes_on_wherever_it_was_killed", TOOLS) {
        return;
    }
    let split = Split::found();
    let (mut hands, mut half) = split.join();
    let bed = &split.bed;
    bed.declare("fleet.toml", "one\n", &["true"]);
    split.apply("1m").expect(0);
    let mut ended = 0;
    for (round, millis) in [15, 60, 110, 160, 220, 300, 420, 600].into_iter().enumerate() {
        stop([&mut half, &mut hands]);
        let old = key_in(&hands_key(&split));
        let mut rotating = rotate(&split).spawn();
        let begun = Instant::now();
        // Not a wait for anything: the moment of the kill is what is varied.
        while begun.elapsed() < Duration::from_millis(millis) && rotating.is_running() {
            std::thread::sleep(Duration::from_millis(3));
        }
        rotating.kill();
        rotating.wait(DEADLINE);
        let next = hands_key(&split).with_file_name("key.new");
        let chosen = next.exists().then(|| key_in(&next));
        // Whoever starts the halves too early does no harm by it.
        if round % 2 == 1 {
            start([&mut hands, &mut half]);
            stop([&mut half, &mut hands]);
        }
        let new = if key_in(&hands_key(&split)) == old {
            let rotated = json(&rotate(&split).ok());
            assert_eq!((rotated["old"].as_str(), rotated["done"].as_bool()), (Some(&*old), Some(true)), "{rotated}");
            rotated["new"].as_str().unwrap().to_owned()
        } else {
            ended += 1;
            key_in(&hands_key(&split))
        };
        // The key that was chosen first is the one.
        assert!(chosen.is_none_or(|chosen| chosen == new), "killed after {millis} ms");
        assert_eq!(key_in(&copy_of_key(&split)), new, "killed after {millis} ms");
        start([&mut hands, &mut half]);
        in_order(&split, &new);
    }
    eprintln!("{ended} rotations were at their end before they could be killed");
    let log = bed.json(["log", "--kind", "rotate"]);
    assert_eq!(log["entries"].as_array().map(Vec::len), Some(8), "one each: {log}");
    // Cut short between the ledger and the files, it goes on; the hands put the key in its place by themselves.
    stop([&mut half, &mut hands]);
    let (old, file) = (key_in(&hands_key(&split)), hands_key(&split));
    let new = json(&as_under_systemd(&split).ok())["new"].as_str().unwrap().to_owned();
    assert_eq!(key_in(&copy_of_key(&split)), old, "nobody named it");
    let stale = fs::read(copy_of_key(&split)).unwrap();
    let put_back = || {
        fs::rename(&file, file.with_file_name("key.new")).unwrap();
        fs::rename(split.node().join("hands/former-keys").join(&old), &file).unwrap();
    };
    // When the hands have the entry, and the other half has not got the key yet, the same command goes on.
    put_back();
    let rotated = json(&rotate(&split).ok());
    assert_eq!((rotated["new"].as_str(), rotated["done"].as_bool()), (Some(&*new), Some(true)), "{rotated}");
    assert_eq!((key_in(&file), key_in(&copy_of_key(&split))), (new.clone(), new.clone()));
    put_back();
    start([&mut hands, &mut half]);
    assert_eq!(key_in(&file), new);
    in_order(&split, &new);
    // Where the hands did so and nobody gave the other half its key, the next rotation does.
    stop([&mut half, &mut hands]);
    fs::write(copy_of_key(&split), stale).unwrap();
    let new = json(&rotate(&split).ok())["new"].as_str().unwrap().to_owned();
    assert_eq!((key_in(&file), key_in(&copy_of_key(&split))), (new.clone(), new.clone()));
    start([&mut hands, &mut half]);
    in_order(&split, &new);
    bed.declare("fleet.toml", "two\n", &["true"]);
    split.apply("1m").expect(0);
    assert_eq!(bed.motd("edge-1").as_deref(), Some("two\n"));
}

#[test]
fn a_rotation_of_two_processes_that_cannot_be_says_why() {
    if !testkit::require("a_rotation_of_two_processes_that_cannot_be_says_why", TOOLS) {
        return;
    }
    let mut split = Split::found();
    let (mut hands, mut half) = split.join();
    let bed = &split.bed;
    let old = key_in(&hands_key(&split));
    let config = bed.path().join("agent.toml");
    fs::write(&config, format!("hands = {:?}\n", split.socket())).unwrap();
    let plain = bed.flt().arg("--config").arg(&config).args(["agent", "rotate"]).run();
    says(plain, 1, &["is two processes", "flt agent rotate --stopped"]);
    // Either half that runs is in its way.
    says(rotate(&split).run(), 1, &["is in use", "systemctl stop flotilla-agent flotilla-hands"]);
    hands.terminate();
    hands.wait(DEADLINE).expect(0);
    says(rotate(&split).run(), 1, &["is in use", "systemctl stop flotilla-agent flotilla-hands"]);
    half.terminate();
    half.wait(DEADLINE).expect(0);
    for user in [USER, STRANGER].map(|user| user.to_string()) {
        let other = Program::new("setpriv").args(["--reuid", &user, "--regid", &user, "--clear-groups"]);
        let other = as_root(other.arg(bed.path().join("flt")), &split);
        says(other.env("HOME", "/").run(), 1, &["is root's", "run it as root"]);
    }
    // Another folder than the network half's, and a key that is nobody's.
    let nowhere = rotate_in(Program::new(bed.path().join("flt")), &split, &bed.path().join("nowhere"));
    says(nowhere.run(), 1, &["cannot use the ticket", "--data DIR"]);
    let file = hands_key(&split);
    fs::rename(&file, file.with_file_name("mine")).unwrap();
    says(rotate(&split).run(), 1, &["the hands made no key of their own", "flt admin node replace"]);
    SecretKey::generate().write_new(&file, protocols::key::KeyFormat::OpenSsh, "test").unwrap();
    says(rotate(&split).run(), 1, &["is not the one of a node of the fleet"]);
    fs::rename(file.with_file_name("mine"), &file).unwrap();
    assert_eq!((key_in(&file), key_in(&copy_of_key(&split))), (old.clone(), old.clone()));
    // A fleet that does not take the key: it is an admin's. Nothing has changed.
    let theirs = bed.path().join("home/.local/share/flotilla/admin/key");
    fs::copy(&theirs, file.with_file_name("key.new")).unwrap();
    says(rotate(&split).run(), 1, &["the fleet does not take the new key"]);
    assert!(file.with_file_name("key.refused").exists() && !file.with_file_name("key.new").exists());
    assert_eq!((key_in(&file), key_in(&copy_of_key(&split))), (old.clone(), old.clone()));
    // No coordinator: the same command goes on, with the same key.
    split.coordinator.kill();
    split.coordinator.wait(DEADLINE);
    let late = says(rotate(&split).args(["--timeout", "3s"]).run(), 4, &["Not through after"]);
    split.coordinator.restart();
    ready(&split.coordinator);
    let rotated = json(&rotate(&split).ok());
    assert_eq!((&rotated["new"], &rotated["done"]), (&json(&late.stdout)["new"], &true.into()));
    start([&mut hands, &mut half]);
    in_order(&split, rotated["new"].as_str().unwrap());
}
