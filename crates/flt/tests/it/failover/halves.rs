//! Nodes whose agents are two processes: the half with root drives, the other one carries, and either may die.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::PathBuf;

use testkit::{DEADLINE, Namespace, Proc, Program, until};

use super::stage::{NAMES, RECOVERY, Stage};
use crate::processes::bed::{Bed, ready};

/// A user that nothing else on this machine runs as.
const USER: u32 = 64_713;
/// What these tests need: root, to become somebody else.
pub(super) const TOOLS: &[&str] = &["setpriv"];

/// Three nodes, each of two processes.
fn set() -> Stage {
    let bed = Bed::found();
    bed.open_to_others();
    let coordinator = bed.start_coordinator();
    let (hands, agents) = NAMES.map(|name| join(&bed, name, None)).into_iter().unzip();
    Stage { agents, hands, coordinator, bed }.declared()
}

fn node(bed: &Bed, name: &str) -> PathBuf {
    bed.path().join(name)
}

/// A node of two processes that has joined, on this machine's loopback or on a host: its hands, and its other half.
pub(super) fn join(bed: &Bed, name: &str, host: Option<&Namespace>) -> (Proc, Proc) {
    let there = |program: Program| match host {
        Some(host) => program.in_namespace(host),
        None => program,
    };
    let alone = |program: Program| {
        ["XDG_CONFIG_HOME", "XDG_DATA_HOME", "RUST_BACKTRACE", "RUST_LOG", "FLT_LOG", "NOTIFY_SOCKET"]
            .into_iter()
            .fold(program, Program::without_env)
    };
    let (ticket, node) = (bed.invite(), node(bed, name));
    fs::create_dir_all(bed.root(name)).unwrap();
    let (file, socket) = (node.join("ticket"), node.join("hands.sock"));
    fs::write(&file, &ticket).unwrap();
    fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
    let user = USER.to_string();
    let flt = alone(Program::flt().folder(bed.path()).env("HOME", bed.path().join("home")));
    let hands = flt.named(format!("hands of {name}")).args(["agent", "hands", "--hands-user", &user]);
    let hands = hands.arg("--hands").arg(&socket).arg("--hands-data").arg(node.join("hands"));
    let hands = there(hands.arg("--ticket-file").arg(file).arg("--files-root").arg(bed.root(name))).spawn();
    ready(&hands);

    let home = node.join("of-the-other");
    let (data, key) = (home.join("data"), home.join("key"));
    fs::create_dir_all(&data).unwrap();
    fs::copy(node.join("hands/key"), &key).unwrap();
    fs::set_permissions(&key, Permissions::from_mode(0o400)).unwrap();
    for own in [&home, &data, &key] {
        chown(own, Some(USER), Some(USER)).unwrap();
    }
    let half = Program::new("setpriv").named(name).args(["--reuid", &user, "--regid", &user, "--clear-groups"]);
    let half =
        half.args(["--no-new-privs", "--bounding-set", "-all", "--inh-caps", "-all"]).arg(bed.path().join("flt"));
    let listen = if host.is_some() { "0.0.0.0:0" } else { "127.0.0.1:0" };
    let half = half.args(["agent", "run", "--name", name, "--listen", listen, "--metrics", "off"]);
    let half = half.args(["--heartbeat-seconds", "2", "--join", &ticket, "--data"]).arg(data);
    let half = half.arg("--key-file").arg(key).arg("--hands").arg(socket).arg("--files-root").arg(bed.root(name));
    let half = there(alone(half.env("HOME", &home).folder("/"))).spawn();
    half.wait_for("joined the fleet");
    until(&format!("the facts of {name}"), DEADLINE, || {
        let node = bed.json(["node", "show", name]);
        if node["facts"]["kinds"].is_array() { Ok(()) } else { Err((node, hands.stderr(), half.stderr())) }
    });
    (hands, half)
}

fn place(name: &str) -> usize {
    NAMES.iter().position(|known| *known == name).unwrap()
}

#[test]
fn two_processes_keep_one_writer_whichever_dies() {
    if !testkit::require("two_processes_keep_one_writer_whichever_dies", TOOLS) {
        return;
    }
    let mut stage = set();
    let first = stage.writes().unwrap();
    let status = stage.bed.admin(["failover", "status"]).ok();
    assert!(status.contains(&format!("service/ledger: {} holds epoch {}", first.node, first.epoch)), "{status}");
    assert!(status.contains("serving") && status.contains("following") && status.contains(" left"), "{status}");

    // Whoever carries dies for good: root's half ends its writer by its own clock, and another writes.
    stage.agents[place(&first.node)].kill();
    let second = stage.writer_after(first.epoch);
    assert_ne!(second.node, first.node);
    stage.never_two();
    stage.agents[place(&first.node)].restart();
    ready(&stage.agents[place(&first.node)]);

    // It dies and is back at once: whether that was within the lease or not, one writes.
    stage.agents[place(&second.node)].restart();
    ready(&stage.agents[place(&second.node)]);
    let second = until("a writer", RECOVERY, || stage.writes());
    stage.never_two();

    // Root's half dies: what it held ends with its lease.
    stage.hands[place(&second.node)].kill();
    let third = stage.writer_after(second.epoch);
    assert_ne!(third.node, second.node);
    stage.never_two();
    stage.hands[place(&second.node)].restart();
    ready(&stage.hands[place(&second.node)]);

    // In order, through both.
    let to = NAMES.into_iter().find(|name| *name != third.node).unwrap();
    until("a switchover", RECOVERY, || {
        let moved = stage.bed.admin(["failover", "switchover", "service/ledger", "--to", to]).run();
        if moved.code == Some(0) { Ok(()) } else { Err(moved.stderr) }
    });
    assert_eq!(stage.writer_after(third.epoch).node, to);
    let last = stage.writes().unwrap();
    stage.withdraw();
    stage.wait_until_over();
    stage.declare("");
    stage.writer_after(last.epoch);
    stage.strike();
}

#[test]
fn the_coordinators_end_fences_nobody_while_candidates_of_two_processes_promise() {
    if !testkit::require("the_coordinators_end_fences_nobody_while_candidates_of_two_processes_promise", TOOLS) {
        return;
    }
    let mut stage = set();
    stage.writes_on_without_its_coordinator();
    stage.strike();
}
