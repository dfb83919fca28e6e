//! Devices of a node in two processes: the half with the network speaks to them, without any rights.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, chown};

use switchsim::{Profile, Sim};
use testkit::{DEADLINE, Proc, until};
use tokio::runtime::Runtime;

use super::bed::{Split, TOOLS, USER};
use crate::processes::bed::ready;

/// A configuration that both halves are started with.
fn configuration(split: &Split, sim: &Sim) -> std::path::PathBuf {
    let folder = split.bed.path().join("of-devices");
    fs::create_dir_all(&folder).unwrap();
    chown(&folder, Some(USER), Some(USER)).unwrap();
    for (name, text) in [("password", "secret\n"), ("enable", "enable\n")] {
        let file = folder.join(name);
        fs::write(&file, text).unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o400)).unwrap();
        chown(&file, Some(USER), Some(USER)).unwrap();
    }
    let file = split.bed.path().join("both.toml");
    let text = format!(
        "[devices.rack-3]\nkind = \"switch\"\naddress = \"{}\"\nuser = \"admin\"\nhost-key = {:?}\n\
         password-file = \"of-devices/password\"\nenable-password-file = \"of-devices/enable\"\n",
        sim.addr(),
        sim.fingerprint(),
    );
    fs::write(&file, text).unwrap();
    file
}

fn join(split: &Split, sim: &Sim) -> (Proc, Proc) {
    let (file, ticket) = (configuration(split, sim), split.bed.invite());
    let hands = split.hands(&ticket).arg("--config").arg(&file).spawn();
    ready(&hands);
    let half = split.network_half(USER, &ticket).arg("--config").arg(&file).spawn();
    half.wait_for("joined the fleet");
    until("the facts of edge-1", DEADLINE, || {
        let kinds = split.bed.json(["node", "show", "edge-1"])["facts"]["kinds"].to_string();
        let all = kinds.contains("switch.vlan/1") && kinds.contains("files/1");
        if all { Ok(()) } else { Err((kinds, hands.stderr(), half.stderr())) }
    });
    (hands, half)
}

fn declare(split: &Split, vlan: &str, checks: &str) {
    let text = format!(
        "[group.edge]\non = \"role=edge\"\n\n[group.edge.score.motd]\nkind = \"files/1\"\n\
         [group.edge.score.motd.spec]\nroot = \"/etc\"\nentries.motd = {{ content = {vlan:?}, mode = \"0644\" }}\n\n\
         [group.edge.score.vlan]\nkind = \"switch.vlan/1\"\n\
         [group.edge.score.vlan.spec]\ndevice = \"rack-3\"\nvlan = 20\nname = {vlan:?}\n\
         [group.edge.score.vlan.policy]\ncheck_seconds = 120\nchecks = [{checks}]\n\n\
         [group.edge.score.watch]\nkind = \"switch.snmp/1\"\n\
         [group.edge.score.watch.spec]\ndevice = \"rack-3\"\nuser = \"watch\"\ngroup = \"watchers\"\n\
         auth = {{ secret = \"snmp-auth\" }}\nprivacy = {{ secret = \"snmp-privacy\" }}\n"
    );
    fs::write(split.bed.path().join("fleet.toml"), text).unwrap();
}

#[test]
fn a_switch_is_changed_by_the_half_with_the_network() {
    if !testkit::require("a_switch_is_changed_by_the_half_with_the_network", TOOLS) {
        return;
    }
    let runtime = Runtime::new().unwrap();
    let sim = runtime.block_on(Sim::start(Profile::fastiron_8095())).unwrap();
    let split = Split::found();
    let (mut hands, mut half) = join(&split, &sim);
    declare(&split, "servers", "");
    for (name, value) in [("auth.secret", "auth-password"), ("privacy.secret", "privacy-password")] {
        fs::write(split.bed.path().join(name), value).unwrap();
    }
    let words = ["apply", "fleet.toml", "--timeout", "1m"];
    let secrets = ["--secret-file", "snmp-auth=auth.secret", "--secret-file", "snmp-privacy=privacy.secret"];
    split.bed.admin(words).args(secrets).limit(DEADLINE * 3).run().expect(0);
    // Each by its own half.
    assert_eq!(split.bed.motd("edge-1").as_deref(), Some("servers"));
    let saved = sim.startup_config();
    assert!(saved.contains("servers") && saved.contains("watchers"), "{saved}");
    let commands = sim.commands().join("\n");
    assert!(commands.contains("auth-password") && commands.contains("privacy-password"), "{commands}");
    for log in [hands.stderr(), half.stderr()] {
        assert!(!log.contains("auth-password") && !log.contains("privacy-password"), "{log}");
    }
    let memory = split.node().join(format!("of-{USER}/data/devices/rack-3.json"));
    let memory = fs::read_to_string(memory).unwrap();
    assert!(memory.contains("watch") && !memory.contains("auth-password"), "{memory}");
    assert!(!split.node().join("hands/devices").exists(), "the hands know of no device");

    // A change on probation does not need the hands; a restart of its own half goes on with it.
    let go = split.bed.path().join("go");
    declare(&split, "storage", &format!("{{ type = \"exec\", command = [\"test\", \"-e\", {go:?}] }}"));
    split.bed.admin(["apply", "fleet.toml", "--no-wait"]).args(secrets).ok();
    until("the change is on probation", DEADLINE, || {
        let config = sim.running_config();
        if config.contains("storage") { Ok(()) } else { Err((config, half.stderr())) }
    });
    hands.kill();
    hands.wait(DEADLINE);
    half.kill();
    half.wait(DEADLINE);
    assert!(!sim.startup_config().contains("storage"));
    fs::write(&go, "").unwrap();
    for one in [&mut hands, &mut half] {
        one.restart();
        ready(one);
    }
    until("it is saved", DEADLINE, || {
        let saved = sim.startup_config();
        if saved.contains("storage") { Ok(()) } else { Err((saved, half.stderr())) }
    });
    until("the fleet in order", DEADLINE, || {
        let status = split.bed.json(["status"]);
        if status["in_order"] == 1 { Ok(()) } else { Err((status, half.stderr())) }
    });
}
