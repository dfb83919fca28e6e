//! Devices of a node in two processes: the half with the network speaks to them, without any rights.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, chown};

use switchsim::{PortId, Profile, Sim};
use testkit::{DEADLINE, Proc, Program, until};
use tokio::runtime::Runtime;

use super::bed::{Split, TOOLS, USER};
use crate::processes::bed::ready;
use crate::processes::bonds::{Host, fleet};

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
        "device-facts-seconds = 1\n[devices.rack-3]\nkind = \"switch\"\naddress = \"{}\"\nuser = \"admin\"\nhost-key = {:?}\n\
         password-file = \"of-devices/password\"\nenable-password-file = \"of-devices/enable\"\n",
        sim.addr(),
        sim.fingerprint(),
    );
    fs::write(&file, text).unwrap();
    file
}

fn join(split: &Split, sim: &Sim) -> (Proc, Proc) {
    join_by(split, sim, |half| half)
}

/// The same, with both halves as this makes them.
fn join_by(split: &Split, sim: &Sim, made: impl Fn(Program) -> Program) -> (Proc, Proc) {
    let (file, ticket) = (configuration(split, sim), split.bed.invite());
    let hands = made(split.hands(&ticket).arg("--config").arg(&file)).spawn();
    ready(&hands);
    let half = made(split.network_half(USER, &ticket).arg("--config").arg(&file)).spawn();
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

#[test]
fn an_address_is_found_by_what_the_half_with_the_network_sees() {
    if !testkit::require("an_address_is_found_by_what_the_half_with_the_network_sees", TOOLS) {
        return;
    }
    const MAC: &str = "02:11:22:33:44:55";
    let runtime = Runtime::new().unwrap();
    let sim = runtime.block_on(Sim::start(Profile::fastiron_8095())).unwrap();
    let bytes = MAC.parse::<protocols::Mac>().unwrap().bytes();
    sim.plug(PortId::parse("1/1/17").unwrap(), Some(bytes));
    let split = Split::found();
    let (mut hands, half) = join(&split, &sim);
    let is_at = |port: &str| {
        until(&format!("the address at {port}"), DEADLINE, || {
            let output = split.bed.flt().args(["--json", "admin", "where", MAC]).run();
            let view: serde_json::Value = match output.code {
                Some(0) => serde_json::from_str(&output.stdout).unwrap(),
                _ => return Err((output.stderr, half.stderr())),
            };
            let places: Vec<&serde_json::Value> = view["ports"].as_array().unwrap().iter().collect();
            let here = places.len() == 1 && places[0]["port"] == *port && places[0]["device"] == "rack-3";
            let told = here && places[0]["how"] == "edge" && places[0]["agent"] == "edge-1";
            if told { Ok(()) } else { Err((view.to_string(), half.stderr())) }
        });
    };
    is_at("1/1/17");
    // It needs the half with the network alone.
    hands.kill();
    hands.wait(DEADLINE);
    sim.plug(PortId::parse("1/1/17").unwrap(), None);
    sim.plug(PortId::parse("1/1/18").unwrap(), Some(bytes));
    is_at("1/1/18");
}

#[test]
fn a_bond_is_made_by_both_halves_each_its_end() {
    if !testkit::require("a_bond_is_made_by_both_halves_each_its_end", TOOLS) {
        return;
    }
    let runtime = Runtime::new().unwrap();
    let sim = runtime.block_on(Sim::start(Profile::fastiron_8095())).unwrap();
    let split = Split::found();
    let host = Host::below(&split.bed.root("edge-1"), &split.bed.path().join("programs"));
    let (mut hands, mut half) = join_by(&split, &sim, |half| half.env("PATH", host.path()));
    let before = host.with(&sim);
    let apply =
        |limit: &str| split.bed.admin(["apply", "fleet.toml", "--yes", "--timeout", limit]).limit(DEADLINE * 4).run();
    let declare = |address: &str, checks: &str, policy: &str| {
        fs::write(split.bed.path().join("fleet.toml"), fleet(address, checks, policy)).unwrap();
    };
    declare("10.0.0.5/24", "{ type = \"exec\", command = [\"false\"] }", "check_seconds = 1");
    let plan = split.bed.admin(["plan", "fleet.toml", "--preview"]).ok();
    assert!(plan.contains("host: bond t1 t2 by LACP as bond0, plugged into 1/1/1 1/1/2 of rack-3"), "{plan}");
    let output = apply("2m");
    let said = format!("{}{}\n{}\n{}", output.stdout, output.stderr, hands.stderr(), half.stderr());
    assert!(output.code != Some(0) && said.contains("undone"), "{said}");
    assert_eq!(host.with(&sim), before, "{said}");
    declare("10.0.0.5/24", "", "");
    let output = apply("2m");
    assert_eq!(output.code, Some(0), "{}{}\n{}\n{}", output.stdout, output.stderr, hands.stderr(), half.stderr());
    host.is_bonded_with(&sim, "10.0.0.5/24");
    assert!(!split.node().join("hands/devices").exists(), "the hands know of no device");

    // Either half is killed while both ends are on probation, and then both.
    for (round, killed) in [[true, false], [false, true], [true, true]].into_iter().enumerate() {
        let go = split.bed.path().join(format!("go-{round}"));
        let address = format!("10.0.1.{round}/24");
        let check = format!("{{ type = \"exec\", command = [\"test\", \"-e\", {go:?}] }}");
        declare(&address, &check, "check_seconds = 150");
        split.bed.admin(["apply", "fleet.toml", "--yes", "--no-wait"]).ok();
        until("the host is on probation", DEADLINE, || {
            if host.files()[0].is_empty() { Err((hands.stderr(), half.stderr())) } else { Ok(()) }
        });
        for (one, killed) in [&mut hands, &mut half].into_iter().zip(killed) {
            if killed {
                one.kill();
                one.wait(DEADLINE);
                one.restart();
                ready(one);
            }
        }
        fs::write(&go, "").unwrap();
        until("the bond has the other address, also after a boot", DEADLINE * 2, || {
            let [now, always] = host.files();
            let kept = always.iter().any(|(_, text)| text.contains(&address));
            if kept && now.is_empty() { Ok(()) } else { Err((now, always, hands.stderr(), half.stderr())) }
        });
        until("the fleet in order", DEADLINE, || {
            let status = split.bed.json(["status"]);
            if status["in_order"] == 1 { Ok(()) } else { Err((status, half.stderr())) }
        });
        host.is_bonded_with(&sim, &address);
    }
}
