//! A fleet of machines with systemd and Nix: systems published from an admin's store, activated by the real agent, which
//! is a service of the systems that it activates.

mod bed;
mod bonds;
mod hub;
mod split;
mod units;

use std::time::Duration;

use bed::{Fleet, System, node_system};
use testkit::{DEADLINE, until};

#[test]
fn agent_update_survives_its_own_activation() {
    let systems = || {
        let broken = System { broken_unit: true, ..node_system("3") };
        let cut = System { hook: "PATH=/usr/sbin:/usr/bin ip link set eth0 down".into(), ..node_system("4") };
        vec![node_system("1"), node_system("2"), broken, cut, node_system("5")]
    };
    let Some(fleet) = Fleet::found("agent_update_survives_its_own_activation", &["node-1", "node-2"], &systems())
    else {
        return;
    };
    fleet.assert_run("1");

    // The agent of system 1 activates system 2, which brings another agent: that one ends what was begun.
    let before = fleet.received("node-1");
    let applied = fleet.apply("2").expect(0);
    fleet.assert_run("2");
    let moved = fleet.received("node-1") - before;
    assert!(moved < SHARED_BYTES / 2, "{moved} bytes moved, though only the small paths are new");
    let good: serde_json::Value = serde_json::from_str(&applied.stdout).unwrap();
    let good = good["entries"][0]["entry"].as_u64().unwrap();

    // A unit that fails, and a system that cuts its node off: both are taken back, told of, and not tried again.
    for bad in ["3", "4"] {
        let output = fleet.apply(bad).expect(1);
        assert!(output.stdout.contains("quarantined"), "{output:?}");
        fleet.assert_run("2");
        let status = fleet.flt("admin status");
        assert!(status.contains("fleet/os quarantined"), "{status}");
    }

    // What is good again is taken again; and the way back is one command.
    fleet.apply("5").expect(0);
    fleet.assert_run("5");
    fleet.flt(&format!("admin rollback fleet/os --to {good} --timeout 4m"));
    fleet.assert_run("2");
    let log = fleet.flt("admin log --verify");
    assert!(log.matches("fleet/os").count() >= 5, "{log}");
}

#[test]
fn a_node_that_loses_power_during_an_update_ends_up_as_declared() {
    let systems = || vec![node_system("1"), node_system("2")];
    let test = "a_node_that_loses_power_during_an_update_ends_up_as_declared";
    let Some(mut fleet) = Fleet::found(test, &["node-1"], &systems()) else { return };
    // The check holds only when somebody says so: the node is on probation until then.
    fleet.declare("2", r#", { type = "exec", command = ["test", "-e", "/var/lib/healthy"] }"#, 120);
    fleet.flt("admin apply /root/fleet.toml --no-wait");
    let wanted = fleet.systems["2"].clone();
    let node = fleet.node_mut("node-1");
    let current = |node: &testkit::Machine| node.ok("readlink -f /run/current-system").trim().to_owned();
    until("the new system runs", DEADLINE * 2, || current(node) == wanted);
    node.ok("sync");
    node.power_cut();
    node.start();
    node.wait_for_unit("flotilla-agent.service");
    assert_eq!(node.read("/boot/loader/default").trim(), current(node), "what boots is what was confirmed");
    node.ok("touch /var/lib/healthy");
    until("the declared system is confirmed", Duration::from_secs(240), || {
        let boots = fleet.node("node-1").read("/boot/loader/default");
        if boots.trim() == wanted { Ok(()) } else { Err((boots, fleet.flt("admin status"))) }
    });
    fleet.assert_run("2");
    until("the fleet in order", DEADLINE, || {
        let status = fleet.flt("admin status");
        if status.contains("1 of 1 nodes in order") { Ok(()) } else { Err(status) }
    });
}

/// What all the systems have in common, in bytes.
const SHARED_BYTES: u64 = 5 * 1024 * 1024;
