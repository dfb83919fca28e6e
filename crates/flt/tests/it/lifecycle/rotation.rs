//! A node that changes its own key, also when it is killed in the middle of it.

use std::time::{Duration, Instant};

use protocols::secret::{OpenTextError, Place};
use protocols::{SealedText, SecretKey};
use serde_json::Value;
use testkit::{DEADLINE, Program, until};

use crate::authority::people::says;
use crate::processes::bed::Bed;

fn rotate(bed: &Bed, name: &str) -> Program {
    let data = bed.data(name);
    bed.flt().args(["agent", "rotate", "--json", "--data", data.to_str().unwrap()])
}

fn node(bed: &Bed, name: &str) -> Value {
    bed.json(["node", "show", name])
}

fn in_order(bed: &Bed, name: &str, key: &str) {
    until(&format!("{name} in order with its new key"), DEADLINE, || {
        let node = node(bed, name);
        if node["id"] == key && node["condition"] == "ok" { Ok(()) } else { Err(node) }
    });
}

#[test]
fn a_node_rotates_its_key_and_is_the_same_node() {
    let bed = Bed::found();
    let _coordinator = bed.start_coordinator();
    let _agent = bed.join("edge-1");
    bed.declare("fleet.toml", "one\n", &["true"]);
    bed.admin(["apply", "fleet.toml"]).ok();
    let before = node(&bed, "edge-1");
    let rotated: Value = serde_json::from_str(&rotate(&bed, "edge-1").ok()).unwrap();
    assert_eq!((rotated["old"].clone(), rotated["done"].as_bool()), (before["id"].clone(), Some(true)), "{rotated}");
    let key = rotated["new"].as_str().unwrap();
    in_order(&bed, "edge-1", key);
    let after = node(&bed, "edge-1");
    assert_eq!((&after["labels"], &after["since_entry"]), (&before["labels"], &before["since_entry"]), "{after}");
    assert!(!bed.data("edge-1").join("key.new").exists() && !bed.data("edge-1").join("key.old").exists());
    bed.declare("fleet.toml", "two\n", &["true"]);
    bed.admin(["apply", "fleet.toml"]).ok();
    bed.wait_for_motd("edge-1", "two\n");
    let log = bed.json(["log", "--kind", "rotate"]);
    assert_eq!(
        (log["entries"].as_array().unwrap().len(), &log["entries"][0]["author"]),
        (1, &"edge-1".into()),
        "{log}"
    );
    // Once more, with a declaration that turned out bad: the new key does not try it again.
    bed.declare("fleet.toml", "bad\n", &["false"]);
    bed.admin(["apply", "fleet.toml"]).run().expect(1);
    rotate(&bed, "edge-1").ok();
    until("the bad one stays so", DEADLINE, || {
        let node = node(&bed, "edge-1");
        if node["parts"][0]["verdict"] == "quarantined" && node["behind"] == 0 { Ok(()) } else { Err(node) }
    });
    assert_eq!(bed.motd("edge-1").as_deref(), Some("two\n"));
    bed.admin(["log", "--verify"]).ok();
}

#[test]
fn a_rotation_goes_on_wherever_the_agent_was_killed() {
    let bed = Bed::found();
    let _coordinator = bed.start_coordinator();
    let mut agent = bed.join("edge-1");
    bed.declare("fleet.toml", "one\n", &["true"]);
    bed.admin(["apply", "fleet.toml"]).ok();
    for millis in [0, 1500, 2050, 2120, 2200, 2300, 2450, 2700] {
        let begun = Instant::now();
        let rotating: Value = serde_json::from_str(&rotate(&bed, "edge-1").arg("--no-wait").ok()).unwrap();
        // Not a wait for anything: the moment of the kill is what is varied.
        while begun.elapsed() < Duration::from_millis(millis) {
            std::thread::sleep(Duration::from_millis(5));
        }
        agent.kill();
        assert!(bed.data("edge-1").join("key").exists(), "killed after {millis} ms");
        agent.restart();
        in_order(&bed, "edge-1", rotating["new"].as_str().unwrap());
    }
    bed.declare("fleet.toml", "two\n", &["true"]);
    bed.admin(["apply", "fleet.toml"]).ok();
    bed.wait_for_motd("edge-1", "two\n");
}

#[test]
fn what_cannot_be_rotated_says_so() {
    let bed = Bed::found();
    let _coordinator = bed.start_coordinator();
    let mut agent = bed.join("edge-1");
    let before = node(&bed, "edge-1")["id"].clone();
    // A key that is somebody's already is not taken, and put aside.
    let other = bed.path().join("home/.local/share/flotilla/admin/key");
    let next = bed.data("edge-1").join("key.new");
    if other.exists() {
        std::fs::copy(&other, &next).unwrap();
        agent.wait_for("the key is not rotated: the new one is put aside");
        assert!(bed.data("edge-1").join("key.refused").exists() && !next.exists());
        assert_eq!(node(&bed, "edge-1")["id"], before);
    }
    // An agent that does not run does it when it does.
    agent.terminate();
    agent.wait(DEADLINE);
    let late = rotate(&bed, "edge-1").args(["--timeout", "1s"]).run();
    let late = says(late, 4, &["the agent goes on by itself"]);
    let key = serde_json::from_str::<Value>(&late.stdout).unwrap()["new"].as_str().unwrap().to_owned();
    agent.restart();
    until("the new key", DEADLINE, || {
        let node = node(&bed, "edge-1");
        if node["id"] == key.as_str() { Ok(()) } else { Err(node) }
    });
    // A key file that somebody named is theirs.
    let config = bed.path().join("agent.toml");
    std::fs::write(&config, format!("data = {:?}\nkey-file = {:?}\n", bed.data("edge-1"), bed.path().join("host-key")))
        .unwrap();
    let named = bed.flt().args(["--config", config.to_str().unwrap(), "agent", "rotate"]).run();
    says(named, 1, &["is not the agent's to replace", "flt admin node replace"]);
    says(bed.flt().args(["agent", "rotate", "--data", "nowhere"]).run(), 1, &["cannot use the key", "--data DIR"]);
}

#[test]
fn secrets_are_opened_with_the_former_key_until_they_are_sealed_again() {
    let bed = Bed::found();
    let _coordinator = bed.start_coordinator();
    let _agent = bed.join("edge-1");
    let file = "[group.edge]\non = \"role=edge\"\nscore.db.kind = \"files/1\"\nscore.db.spec.root = \"/etc\"\n\
                score.db.spec.entries.password = { secret = \"db-password\" }\n";
    std::fs::write(bed.path().join("fleet.toml"), file).unwrap();
    let given = ["apply", "fleet.toml", "--secret-file", "db-password=-"];
    bed.admin(given).input("correct-horse").run().expect(0);
    let password = bed.root("edge-1").join("etc/password");
    let has = |value: &str| {
        until(&format!("the secret on edge-1 to be {value}"), DEADLINE, || {
            let found = std::fs::read_to_string(&password).unwrap_or_default();
            if found == value { Ok(()) } else { Err((found, node(&bed, "edge-1"))) }
        });
    };
    has("correct-horse");
    let old = SecretKey::read(&bed.data("edge-1").join("key"), || None).unwrap();
    // The file is lost: to have it again, what is sealed to the key of before must be opened.
    std::fs::remove_file(&password).unwrap();
    let rotated: Value = serde_json::from_str(&rotate(&bed, "edge-1").ok()).unwrap();
    has("correct-horse");
    in_order(&bed, "edge-1", rotated["new"].as_str().unwrap());
    let new = SecretKey::read(&bed.data("edge-1").join("key"), || None).unwrap();
    assert_eq!(
        (rotated["old"].as_str(), rotated["new"].as_str()),
        (Some(&*old.id().to_string()), Some(&*new.id().to_string()))
    );
    let former = bed.data("edge-1").join("former-keys").join(old.id().to_string());
    assert_eq!(SecretKey::read(&former, || None).unwrap().id(), old.id());
    // It is said, wherever one looks, that this is not how it should stay.
    let status = bed.admin(["status"]).ok();
    assert!(status.contains("the secret `db-password` is not sealed to edge-1: flt admin secret reseal"), "{status}");
    let list = bed.json(["secret", "list"]);
    assert_eq!(
        (&list["secrets"][0]["state"], &list["secrets"][0]["missing"][0]),
        (&"missing".into(), &"edge-1".into())
    );
    // The next time that the fleet file is applied, it is sealed again: the new key opens it, and the old one nothing new.
    let sealed = || -> SealedText {
        let score = bed.json(["score", "show", "edge/db"]);
        serde_json::from_value(score["payload"]["entries"]["password"]["secret"].clone()).unwrap()
    };
    let (kind, subject) = ("files/1".parse().unwrap(), "files/etc".parse().unwrap());
    let place = Place { kind: &kind, subject: &subject };
    assert!(sealed().open(place, &old).is_ok() && sealed().open(place, &new).is_err());
    bed.admin(["apply", "fleet.toml"]).ok();
    assert_eq!(sealed().open(place, &new).unwrap().expose(), b"correct-horse");
    assert_eq!(sealed().open(place, &old).unwrap_err(), OpenTextError::NotARecipient("db-password".parse().unwrap()));
    assert_eq!(bed.json(["secret", "list"])["secrets"][0]["state"], "sealed");
    until("the former key to be gone", DEADLINE, || !former.exists());
    bed.admin(given).input("another-one").run().expect(0);
    has("another-one");
    assert!(sealed().open(place, &old).is_err());
}
