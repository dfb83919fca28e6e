//! A silent writer is cut off by its switch port, which the agent that manages the switch shuts, before another begins.

use std::fmt::Write as _;

use switchsim::{Profile, Sim};
use testkit::{DEADLINE, Proc, until};
use tokio::runtime::Runtime;

use super::stage::{NAMES, Stage};

/// A writer on one of three nodes, each behind a port of a switch that a fourth one manages.
struct Rack {
    stage: Stage,
    switch: Proc,
    sim: Sim,
    _runtime: Runtime,
}

impl Rack {
    fn set() -> Self {
        let runtime = Runtime::new().unwrap();
        let sim = runtime.block_on(Sim::start(Profile::fastiron_8095())).unwrap();
        let stage = Stage::set();
        let at = |name: &str| stage.bed.path().join(name);
        std::fs::write(at("switch.password"), "secret\n").unwrap();
        std::fs::write(at("switch.enable"), "enable\n").unwrap();
        let device = format!(
            "[devices.rack-3]\nkind = \"switch\"\naddress = \"{}\"\nuser = \"admin\"\nhost-key = {:?}\n\
             password-file = \"switch.password\"\nenable-password-file = \"switch.enable\"\n",
            sim.addr(),
            sim.fingerprint(),
        );
        std::fs::write(at("sw.toml"), device).unwrap();
        let switch = stage.bed.join_by(stage.bed.agent("sw").arg("--config").arg(at("sw.toml")), "sw");
        let mut ports = String::new();
        for (place, name) in (1..).zip(NAMES) {
            write!(ports, "{name} = [{{ agent = \"sw\", device = \"rack-3\", port = \"1/1/{place}\" }}], ").unwrap();
        }
        let ports = ports.trim_end_matches(", ");
        stage.declare(&format!(
            ", promotion = \"require-proof\", remote = {{ rung = {{ action = \"switch-port\" }}, within_ms = 60000 }}, \
             ports = {{ {ports} }}"
        ));
        Self { stage, switch, sim, _runtime: runtime }
    }

    /// Publishes what is declared, and that the port of a node is open.
    fn publish_open(&self, port: &str) {
        let before = std::fs::read_to_string(self.stage.bed.path().join("fleet.toml")).unwrap();
        let open = format!(
            "{before}\n[group.open]\non = \"sw\"\n[group.open.score.port]\nkind = \"switch.port-fence/1\"\n\
             [group.open.score.port.spec]\ndevice = \"rack-3\"\nport = \"{port}\"\nfenced = false\n"
        );
        std::fs::write(self.stage.bed.path().join("fleet.toml"), open).unwrap();
        self.stage.bed.admin(["apply", "fleet.toml"]).ok();
    }
}

fn port_of(node: &str) -> String {
    format!("1/1/{}", 1 + NAMES.iter().position(|name| *name == node).unwrap())
}

#[test]
fn the_port_of_a_silent_writer_is_shut_before_another_begins() {
    let mut rack = Rack::set();
    let first = rack.stage.writes().unwrap();
    let port = port_of(&first.node);
    // As long as it writes, nobody may have anything shut.
    assert!(!rack.sim.running_config().contains("disable"), "{}", rack.sim.running_config());
    rack.stage.agent(&first.node).kill();
    let second = rack.stage.writer_after(first.epoch);
    assert_ne!(first.node, second.node);
    for config in [rack.sim.running_config(), rack.sim.startup_config()] {
        let shut: Vec<&str> = config.split("interface ethernet ").filter(|part| part.contains("disable")).collect();
        assert_eq!(shut.len(), 1, "{config}");
        assert!(shut[0].starts_with(&format!("{port}\n")), "{config}");
    }
    let said = rack.switch.stderr();
    assert!(said.contains("shutting a port that leads to a silent writer"), "{said}");
    let told = rack.stage.bed.admin(["failover", "status", "service/ledger"]).ok();
    assert!(told.contains(&format!("shut port {port} of `rack-3` that leads to `{}`", first.node)), "{told}");
    let history = rack.stage.bed.admin(["failover", "history", "service/ledger"]).ok();
    assert!(history.contains("switch-port"), "{history}");
    // It is opened again by an admin's word.
    rack.publish_open(&port);
    assert!(!rack.sim.startup_config().contains("disable"), "{}", rack.sim.startup_config());
    rack.stage.strike();
}

#[test]
fn what_is_declared_of_a_port_goes_before() {
    let mut rack = Rack::set();
    let first = rack.stage.writes().unwrap();
    rack.publish_open(&port_of(&first.node));
    rack.stage.agent(&first.node).kill();
    // Nobody shuts it, so nobody takes over, until that is withdrawn.
    until("that whoever acts is told why", DEADLINE, || {
        let others = rack.stage.agents.iter().filter(|agent| agent.name() != first.node);
        let said: Vec<String> = others.map(Proc::stderr).collect();
        let told = said.iter().any(|text| text.contains("declares whether this port is shut: withdraw it"));
        if told { Ok(()) } else { Err(said.join("\n")) }
    });
    assert!(!rack.sim.running_config().contains("disable"));
    until("that nobody writes", DEADLINE, || rack.stage.writes().map_or(Ok(()), Err));
    assert_eq!(
        rack.stage.lines().last().map(|line| line.epoch),
        Some(first.epoch),
        "nobody takes over without a proof"
    );
    rack.stage.bed.admin(["score", "withdraw", "open/port", "--yes"]).ok();
    let second = rack.stage.writer_after(first.epoch);
    assert_ne!(first.node, second.node);
    assert!(rack.sim.startup_config().contains("disable"));
    rack.stage.strike();
}
