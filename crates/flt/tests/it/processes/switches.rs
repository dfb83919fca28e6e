//! A switch that runs no agent, managed by one: a real fleet, and a simulated switch behind real SSH.

use switchsim::{Nasty, Profile, Sim};
use testkit::{DEADLINE, until};
use tokio::runtime::Runtime;

use super::bed::Bed;

/// A switch that lives as long as the test.
struct Rack {
    sim: Sim,
    /// Its tasks run here.
    _runtime: Runtime,
}

impl Rack {
    fn start(profile: Profile) -> Self {
        let runtime = Runtime::new().unwrap();
        let sim = runtime.block_on(Sim::start(profile)).unwrap();
        Self { sim, _runtime: runtime }
    }

    fn address(&self) -> String {
        self.sim.addr().to_string()
    }

    /// Writes an agent's configuration that declares it, and its passwords.
    fn declare(&self, bed: &Bed, file: &str, password: &str) {
        let at = |name: &str| bed.path().join(name);
        std::fs::write(at("switch.password"), password).unwrap();
        std::fs::write(at("switch.enable"), "enable\n").unwrap();
        let text = format!(
            "[devices.rack-3]\nkind = \"switch\"\naddress = {:?}\nuser = \"admin\"\nhost-key = {:?}\n\
             password-file = \"switch.password\"\nenable-password-file = \"switch.enable\"\n",
            self.address(),
            self.sim.fingerprint(),
        );
        std::fs::write(at(file), text).unwrap();
    }
}

fn declare_vlan(bed: &Bed, device: &str, name: &str) {
    let text = format!(
        "[group.rack]\non = \"edge-1\"\n\n[group.rack.score.servers]\nkind = \"switch.vlan/1\"\n\n\
         [group.rack.score.servers.spec]\ndevice = {device:?}\nvlan = 20\nname = {name:?}\n"
    );
    std::fs::write(bed.path().join("fleet.toml"), text).unwrap();
}

#[test]
fn a_declared_vlan_is_on_an_old_fastiron_and_is_there_after_a_power_cut() {
    a_declared_vlan_is_there_after_a_power_cut(Profile::fastiron_8030());
}

#[test]
fn a_declared_vlan_is_on_a_new_fastiron_and_is_there_after_a_power_cut() {
    a_declared_vlan_is_there_after_a_power_cut(Profile::fastiron_8095());
}

#[test]
fn a_declared_vlan_is_on_a_vdx_and_is_there_after_a_power_cut() {
    a_declared_vlan_is_there_after_a_power_cut(Profile::nos());
}

fn a_declared_vlan_is_there_after_a_power_cut(profile: Profile) {
    let rack = Rack::start(profile);
    let bed = Bed::found();
    let _coordinator = bed.start_coordinator();
    rack.declare(&bed, "agent.toml", "secret\n");
    let config = bed.path().join("agent.toml");
    let _agent = bed.join_by(bed.agent("edge-1").arg("--config").arg(&config), "edge-1");
    let kinds = bed.json(["node", "show", "edge-1"])["facts"]["kinds"].to_string();
    assert!(kinds.contains("switch.vlan/1"), "{kinds}");
    declare_vlan(&bed, "rack-3", "servers");
    bed.admin(["apply", "fleet.toml"]).ok();
    assert!(rack.sim.running_config().contains("servers"), "{}", rack.sim.running_config());
    rack.sim.power_cycle();
    assert!(rack.sim.running_config().contains("servers"), "it was saved: {:?}", rack.sim.commands());
    // Another name, while the switch is at its worst.
    rack.sim.set_nasty(Nasty { session_limit: None, ..Nasty::everything() });
    declare_vlan(&bed, "rack-3", "storage");
    bed.admin(["apply", "fleet.toml"]).ok();
    assert!(rack.sim.startup_config().contains("storage"), "{:?}", rack.sim.commands());
    // A device that this node does not have is refused, and nothing is sent to the one that it has.
    let commands = rack.sim.commands().len();
    declare_vlan(&bed, "rack-9", "servers");
    let output = bed.admin(["apply", "fleet.toml"]).run();
    assert_ne!(output.code, Some(0), "{}", output.stdout);
    assert!(format!("{}{}", output.stdout, output.stderr).contains("rack-9"), "{} {}", output.stdout, output.stderr);
    assert_eq!(rack.sim.commands().len(), commands);
}

#[test]
fn a_switch_that_does_not_let_us_in_is_told_without_the_password() {
    let rack = Rack::start(Profile::fastiron_8095());
    let bed = Bed::found();
    let _coordinator = bed.start_coordinator();
    rack.declare(&bed, "agent.toml", "wrong");
    let _agent = bed.join_by(bed.agent("edge-1").arg("--config").arg(bed.path().join("agent.toml")), "edge-1");
    declare_vlan(&bed, "rack-3", "servers");
    bed.admin(["apply", "fleet.toml", "--no-wait"]).ok();
    until("the agent says that it cannot log in", DEADLINE, || {
        let node = bed.json(["node", "show", "edge-1"]).to_string();
        if node.contains("log in") { Ok(()) } else { Err(node) }
    });
    assert!(!rack.sim.running_config().contains("servers"));
    let node = bed.json(["node", "show", "edge-1"]).to_string();
    assert!(!node.contains("wrong"), "what was tried is not told: {node}");
}

#[test]
fn a_probe_sends_nothing_secret_to_a_stranger() {
    let rack = Rack::start(Profile::fastiron_8030());
    let bed = Bed::found();
    let address = rack.address();
    let seen = bed.json(["device", "probe", &address]);
    assert_eq!(seen["schema"], "flt.device-probe/1");
    assert_eq!(seen["host_key"], rack.sim.fingerprint());
    assert_eq!(seen["logged_in"], false);
    assert!(seen["declaration"].as_str().unwrap().contains(rack.sim.fingerprint()), "{seen:#}");
    rack.declare(&bed, "agent.toml", "secret\n");
    let files = ["--password-file", "switch.password", "--enable-password-file", "switch.enable"];
    // Passwords alone are not enough.
    let output = bed.admin(["device", "probe", &address]).args(files).run().expect(0);
    assert!(output.stdout.contains("not logged in"), "{}", output.stdout);
    let stranger = format!("SHA256:{}", "A".repeat(43));
    let output = bed.admin(["device", "probe", &address, "--host-key", &stranger]).args(files).run();
    assert_eq!(output.code, Some(1), "{}", output.stdout);
    assert!(output.stderr.contains(rack.sim.fingerprint()) && output.stderr.contains(&stranger), "{}", output.stderr);
    assert_eq!(rack.sim.logins(), 0);
    let output =
        bed.admin(["device", "probe", &address, "--host-key", rack.sim.fingerprint()]).args(files).run().expect(0);
    for known in ["FastIron 08.0.30", "ICX6450", "switch.port-channel/1", "x25519"] {
        assert!(output.stdout.contains(known), "{known}: {}", output.stdout);
    }
    assert_eq!(rack.sim.logins(), 1);
    assert!(!output.stdout.contains("secret") && !output.stderr.contains("secret"));
    let output = bed.admin(["device", "probe", "a:b:c:d:0:x:99999999"]).run();
    assert_ne!(output.code, Some(0));
    let output = bed.admin(["device", "probe", "rack:port"]).run();
    assert_eq!(output.code, Some(2), "{}", output.stderr);
}
