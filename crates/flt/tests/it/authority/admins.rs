//! A second and a third admin: asked for, approved, limited, and told who may do what.

use testkit::Program;

use super::people::{Person, founder, says};
use crate::processes::bed::Bed;

#[test]
fn somebody_asks_is_approved_and_joins() {
    let bed = Bed::found();
    let _coordinator = bed.start_coordinator();
    let ben = Person::new(&bed, "ben");
    let asked = ben.admin(&["request", "--name", "ben"]).run().expect(0);
    let request = asked.stdout.trim();
    assert!(request.starts_with("fltreq1") && request.lines().count() == 1, "{request}");
    assert!(asked.stderr.contains("flt admin grant --request"), "{}", asked.stderr);
    assert_eq!(ben.request(), request, "asking again gives the same key");
    let key = std::fs::metadata(ben.data().join("key")).unwrap();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&key.permissions()) & 0o777, 0o600);
    // Not approved yet: told what to do, and nothing is left behind.
    let ticket = bed.ticket();
    says(ben.admin(&["join", &ticket]).run(), 1, &["does not let the key", "flt admin grant"]);
    says(ben.admin(&["status"]).run(), 1, &["no ticket"]);
    // A typo, a request that is none, and nobody at all.
    let typo = format!("{}{}", &request[..request.len() - 1], if request.ends_with('a') { 'b' } else { 'a' });
    says(founder(&bed, &["grant", "--request", &typo, "--role", "ci"]).run(), 2, &["damaged or incomplete"]);
    says(founder(&bed, &["grant", "--request", &ticket, "--role", "ci"]).run(), 2, &["this is no request"]);
    says(founder(&bed, &["grant", "--role", "ci"]).run(), 2, &["required"]);
    says(founder(&bed, &["grant", "--request", request]).run(), 2, &["--role"]);
    says(
        founder(&bed, &["grant", "--request", request, "--role", "boss"]).run(),
        2,
        &["operator, deployer, auditor, ci"],
    );
    // Looked at first.
    let dry = founder(&bed, &["grant", "--request", request, "--role", "operator", "--dry-run"]).ok();
    assert_eq!(dry, "would be entry 1: grant enroll,publish,rollout,tunnel,exec,read to ben on *\n");
    let granted = founder(&bed, &["grant", "--request", request, "--role", "operator"]).run().expect(0);
    let ticket = granted.stdout.lines().nth(1).unwrap().to_owned();
    assert!(ticket.starts_with("flt1") && granted.stderr.contains("flt admin join TICKET"), "{granted:?}");
    let joined = ben.admin(&["join", &ticket]).ok();
    assert!(joined.starts_with("You are ben, an admin of the fleet acme\n"), "{joined}");
    assert!(joined.contains("rights  operator (enroll, publish, rollout, tunnel, exec, read)\n"), "{joined}");
    ben.admin(&["status"]).ok();
    // Ben hands on what he has to nobody: an operator cannot grant.
    let carla = Person::new(&bed, "carla");
    let request = carla.request();
    let refused = ben.admin(&["grant", "--request", &request, "--role", "auditor"]).run();
    says(refused, 1, &["ben may not grant read", "flt admin"]);
    // The folder is of one fleet.
    let other = Bed::found();
    let _others = other.start_coordinator();
    says(ben.admin(&["join", &other.ticket()]).run(), 2, &["the ticket of another", "--data DIR"]);
}

#[test]
fn the_ledger_says_who_can() {
    let bed = Bed::found();
    let _coordinator = bed.start_coordinator();
    let ben = Person::new(&bed, "ben");
    ben.joins(&["--may", "grant,publish,read", "--on", "role=db", "--kinds", "nixos/*,files/*"]);
    // Ben gives on a part of it.
    let carla = Person::new(&bed, "carla");
    let request = carla.request();
    let words =
        ["grant", "--request", &request, "--role", "ci", "--on", "role=db", "--kinds", "files/*", "--expires", "30d"];
    ben.admin(&words).ok();
    bed.admin(["enroll", &"07".repeat(32), "--name", "x", "--dry-run"]).run();
    let table = founder(&bed, &["who-can", "publish", "files/*", "--on", "role=db"]).ok();
    let lines: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["NAME", "KEY", "COVERS", "THROUGH", "EXPIRES"], "{table}");
    assert_eq!((lines[1][0], lines[1][2], lines[1][3], lines[1][4]), ("alice", "all", "founder", "never"), "{table}");
    assert_eq!((lines[2][0], lines[2][2], lines[2][3], lines[2][4]), ("ben", "all", "alice", "never"), "{table}");
    assert_eq!((lines[3][0], lines[3][2]), ("carla", "all"), "{table}");
    assert!(table.contains("alice > ben"), "{table}");
    let names = |words: &[&str]| {
        let json: serde_json::Value =
            serde_json::from_str(&founder(&bed, words).args(["--json", "--offline"]).ok()).unwrap();
        assert_eq!(json["schema"], "flt.who-can/1");
        let names = json["admins"].as_array().unwrap().iter().map(|a| a["name"].as_str().unwrap().to_owned());
        names.collect::<Vec<_>>()
    };
    assert_eq!(names(&["who-can", "publish", "nixos/*", "--on", "role=db"]), ["alice", "ben"]);
    assert_eq!(names(&["who-can", "publish", "nixos/1"]), ["alice"], "elsewhere only the founder");
    assert_eq!(names(&["who-can", "grant", "--on", "role=db"]), ["alice"], "not all kinds");
    assert_eq!(names(&["who-can", "grant", "files/*", "--on", "role=db"]), ["alice", "ben"]);
    says(founder(&bed, &["who-can", "fly"]).run(), 2, &["`fly` is not one of grant, enroll"]);
}

#[test]
fn a_key_of_an_ssh_agent_signs_and_another_speaks() {
    let bed = Bed::found();
    let _coordinator = bed.start_coordinator();
    let ben = Person::new(&bed, "ben");
    ben.joins(&["--role", "auditor"]);
    let socket = bed.path().join("agent.sock");
    let agent = Program::new("ssh-agent").args(["-D", "-a", socket.to_str().unwrap()]).spawn();
    testkit::until("the agent", testkit::DEADLINE, || if socket.exists() { Ok(()) } else { Err("no socket") });
    let held = bed.path().join("held");
    Program::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-C", "bens token", "-f", held.to_str().unwrap()])
        .ok();
    Program::new("ssh-add").args(["-q", held.to_str().unwrap()]).env("SSH_AUTH_SOCK", &socket).run().expect(0);
    std::fs::remove_file(&held).unwrap();
    let with = |words: &[&str], key: &str| ben.admin(words).args(["--ssh-agent", key]).env("SSH_AUTH_SOCK", &socket);
    let request = with(&["request", "--name", "ben-token"], "bens token").ok().trim().to_owned();
    founder(&bed, &["grant", "--request", &request, "--role", "operator"]).ok();
    let invite = ["invite", "--name", "edge-9"];
    says(ben.admin(&invite).run(), 1, &["ben may not invite"]);
    let public = bed.path().join("held.pub");
    with(&invite, public.to_str().unwrap()).ok();
    let log = founder(&bed, &["log", "--last", "1"]).ok();
    assert!(log.contains("ben-token") && log.contains("invite"), "{log}");
    says(with(&invite, "another").run(), 1, &["holds no ed25519 key `another`", "ssh-add -L"]);
    says(ben.admin(&invite).args(["--ssh-agent", "x"]).without_env("SSH_AUTH_SOCK").run(), 2, &["SSH_AUTH_SOCK"]);
    says(with(&["rotate"], "bens token").run(), 2, &["cannot take part in a rotation"]);
    drop(agent);
    says(with(&invite, "bens token").run(), 1, &["cannot speak with the ssh-agent"]);
}
