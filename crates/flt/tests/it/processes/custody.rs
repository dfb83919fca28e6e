//! Two agents that are told to manage one switch: a lease decides, whatever each of them calls it.

use std::fs;

use switchsim::{Profile, Sim};
use testkit::{DEADLINE, Proc, until};

use super::bed::ready;
use super::racks::Racks;

impl Racks {
    fn one(&self) -> Sim {
        self.switch(Profile::fastiron_8095())
    }

    /// An agent that has a switch under a name of its own.
    fn with(&self, node: &str, device: &str, sim: &Sim) -> Proc {
        self.join(node, &Self::device(device, sim))
    }
}

fn has(sim: &Sim, text: &str) {
    until(&format!("{text:?} on the switch"), DEADLINE, || {
        let config = sim.running_config();
        if config.contains(text) { Ok(()) } else { Err(config) }
    });
}

#[test]
fn two_agents_change_one_switch_one_after_the_other() {
    let mut racks = Racks::found();
    let sim = racks.one();
    let _one = racks.with("edge-1", "rack-3", &sim);
    let two = racks.with("edge-2", "core", &sim);
    let go = racks.file("go");
    racks.vlan("edge-1", "rack-3", (20, "servers"), Some((&go, 150)));
    racks.publish();
    has(&sim, "servers");
    // While the change of the one is on probation, the other waits, and says for whom.
    racks.vlan("edge-2", "core", (30, "storage"), None);
    racks.publish();
    two.wait_for("wait for `edge-1`, which is changing the same device");
    assert!(!sim.running_config().contains("storage") && !sim.startup_config().contains("servers"));
    // To look is free.
    let fleet = fs::read_to_string(racks.file("fleet.toml")).unwrap();
    fs::write(racks.file("draft.toml"), fleet.replace("storage", "shelves")).unwrap();
    let plan = racks.bed.admin(["plan", "draft.toml", "--preview"]).ok();
    assert!(plan.contains("make VLAN 30 \"shelves\""), "{plan}");
    fs::write(&go, "").unwrap();
    racks.in_order(2);
    let saved = sim.startup_config();
    assert!(saved.contains("servers") && saved.contains("storage"), "{saved}\n{}", two.stderr());
}

#[test]
fn who_is_quarantined_loses_custody_of_a_device() {
    let mut racks = Racks::found();
    let sim = racks.one();
    let one = racks.with("edge-1", "rack-3", &sim);
    let two = racks.with("edge-2", "core", &sim);
    let never = racks.file("never");
    racks.vlan("edge-1", "rack-3", (20, "servers"), Some((&never, 150)));
    racks.publish();
    has(&sim, "servers");
    racks.vlan("edge-2", "core", (20, "storage"), None);
    racks.publish();
    two.wait_for("wait for `edge-1`, which is changing the same device");
    assert!(!sim.running_config().contains("storage"));
    racks.bed.admin(["node", "quarantine", "edge-1", "--reason", "it keeps a switch"]).ok();
    until("it is saved", DEADLINE, || {
        let saved = sim.startup_config();
        if saved.contains("storage") && !saved.contains("servers") { Ok(()) } else { Err(saved) }
    });
    // It knows that it may not go on, and the change is not its own to undo.
    one.wait_for("custody of a device is not certain any more");
    assert!(sim.running_config().contains("storage") && !sim.running_config().contains("servers"));
}

#[test]
fn what_a_killed_agent_began_is_not_undone_over_what_another_made_of_it() {
    let mut racks = Racks::found();
    let sim = racks.one();
    let mut one = racks.with("edge-1", "rack-3", &sim);
    let _two = racks.with("edge-2", "core", &sim);
    let never = racks.file("never");
    racks.vlan("edge-1", "rack-3", (20, "servers"), Some((&never, 150)));
    racks.publish();
    has(&sim, "servers");
    one.kill();
    one.wait(DEADLINE);
    // Its custody expires; the other goes on from what it finds.
    racks.vlan("edge-2", "core", (20, "storage"), None);
    racks.publish();
    until("it is saved", DEADLINE, || {
        let saved = sim.startup_config();
        if saved.contains("storage") && !saved.contains("servers") { Ok(()) } else { Err(saved) }
    });
    let commands = sim.commands().len();
    one.restart();
    one.wait_for("left as it is: another agent may have changed `rack-3` since");
    let sent = sim.commands().split_off(commands);
    assert!(sent.iter().all(|command| !command.starts_with("no ")), "{sent:?}");
    assert!(sim.running_config().contains("storage"));
}

#[test]
fn what_a_killed_agent_began_is_brought_to_its_end_by_itself_where_nobody_else_was() {
    let mut racks = Racks::found();
    let sim = racks.one();
    let mut one = racks.with("edge-1", "rack-3", &sim);
    let go = racks.file("go");
    racks.vlan("edge-1", "rack-3", (20, "servers"), Some((&go, 150)));
    racks.publish();
    has(&sim, "servers");
    one.kill();
    one.wait(DEADLINE);
    fs::write(&go, "").unwrap();
    one.restart();
    racks.in_order(1);
    assert!(sim.startup_config().contains("servers"));
    assert!(!one.stderr().contains("left as it is"), "{}", one.stderr());
}

#[test]
fn without_a_coordinator_only_a_device_of_one_agent_alone_is_changed() {
    let mut racks = Racks::found();
    let (shared, own) = (racks.one(), racks.one());
    let one = racks.with("edge-1", "rack-3", &shared);
    let two = racks.join("edge-2", &format!("{}exclusive = true\n", Racks::device("rack-4", &own)));
    // Something else is being played when the coordinator goes, so that what follows begins without it.
    let go = racks.file("go");
    racks.bed.declare("motd.toml", "hello\n", &["test", "-e", go.to_str().unwrap()]);
    racks.fleet =
        fs::read_to_string(racks.file("motd.toml")).unwrap().replace("check_seconds = 1", "check_seconds = 150");
    racks.publish();
    for node in ["edge-1", "edge-2"] {
        racks.bed.wait_for_motd(node, "hello\n");
    }
    racks.vlan("edge-1", "rack-3", (20, "servers"), None);
    racks.vlan("edge-2", "rack-4", (20, "servers"), None);
    racks.publish();
    until("the nodes know", DEADLINE, || {
        let status = racks.bed.json(["status"]);
        let behind = status["nodes"].as_array().unwrap().iter().any(|node| node["behind"] != 0);
        if behind { Err(status) } else { Ok(()) }
    });
    racks.coordinator.kill();
    racks.coordinator.wait(DEADLINE);
    let mark = one.mark();
    fs::write(&go, "").unwrap();
    has(&own, "servers");
    one.wait_for_after(mark, "be certain that no other agent changes the device: no coordinator answers", DEADLINE);
    assert!(!shared.running_config().contains("servers"));
    assert!(two.stderr().contains("changing a device that is this agent's alone, without asking"), "{}", two.stderr());
    racks.coordinator.restart();
    ready(&racks.coordinator);
    racks.in_order(2);
    assert!(shared.startup_config().contains("servers") && own.startup_config().contains("servers"));
}

#[test]
fn who_hears_of_no_coordinator_in_the_middle_of_a_change_stops_and_undoes_it_later() {
    let mut racks = Racks::found();
    let sim = racks.one();
    let one = racks.with("edge-1", "rack-3", &sim);
    let go = racks.file("go");
    racks.vlan("edge-1", "rack-3", (20, "servers"), Some((&go, 150)));
    racks.publish();
    has(&sim, "servers");
    let before = sim.commands().len();
    racks.coordinator.kill();
    racks.coordinator.wait(DEADLINE);
    one.wait_for("custody of a device is not certain any more");
    let mark = one.mark();
    fs::write(&go, "").unwrap();
    one.wait_for_after(mark, "no coordinator confirmed in time that no other agent changes it", DEADLINE);
    let sent = sim.commands().split_off(before);
    assert!(!sent.iter().any(|command| command.starts_with("write") || command.starts_with("conf")), "{sent:?}");
    racks.coordinator.restart();
    ready(&racks.coordinator);
    racks.in_order(1);
    assert!(sim.startup_config().contains("servers"));
}
