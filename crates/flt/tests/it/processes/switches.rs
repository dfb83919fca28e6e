//! A switch that runs no agent, managed by one: a real fleet, and a simulated switch behind real SSH.

mod groups;

use switchsim::{Nasty, PortId, Profile, Sim};
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

/// An address as devices write it.
fn dotted(mac: &str) -> String {
    let digits = mac.replace(':', "");
    format!("{}.{}.{}", &digits[..4], &digits[4..8], &digits[8..])
}

fn bytes(mac: &str) -> [u8; 6] {
    mac.parse::<protocols::Mac>().unwrap().bytes()
}

fn port(text: &str) -> PortId {
    PortId::parse(text).unwrap()
}

#[test]
fn an_address_is_found_behind_an_old_fastiron() {
    an_address_is_found(Profile::fastiron_8030(), "");
}

#[test]
fn an_address_is_found_behind_a_new_fastiron() {
    an_address_is_found(Profile::fastiron_8095(), "");
}

#[test]
fn an_address_is_found_behind_a_vdx() {
    an_address_is_found(Profile::nos(), "te");
}

fn an_address_is_found(profile: Profile, media: &str) {
    const MAC: &str = "02:11:22:33:44:55";
    let free = if media.is_empty() { "1/1/17" } else { "1/0/17" };
    let rack = Rack::start(profile);
    if !media.is_empty() {
        // Its ports are shut until they are needed.
        for port in ["1/0/17", "1/0/18"] {
            rack.sim.configure(&[&format!("interface TenGigabitEthernet {port}"), "no shutdown", "exit"]);
        }
    }
    rack.sim.plug(port(free), Some(bytes(MAC)));
    let bed = Bed::found();
    let _coordinator = bed.start_coordinator();
    // Nothing is known before an agent has a switch.
    let none = bed.admin(["where", MAC]).run();
    assert_eq!(none.code, Some(1), "{}", none.stdout);
    assert!(none.stderr.contains("no agent of this fleet tells of a switch"), "{}", none.stderr);
    let malformed = bed.admin(["where", "02:11:22:33:44"]).run();
    assert!(malformed.stderr.contains("is not a hardware address"), "{}", malformed.stderr);
    let stranger = bed.admin(["where", "edge-9"]).run();
    assert!(stranger.stderr.contains("edge-9"), "{}", stranger.stderr);
    rack.declare(&bed, "agent.toml", "secret\n");
    let config = bed.path().join("agent.toml");
    let facts = format!("device-facts-seconds = 1\n{}", std::fs::read_to_string(&config).unwrap());
    std::fs::write(&config, facts).unwrap();
    let agent = bed.join_by(bed.agent("edge-1").arg("--config").arg(&config), "edge-1");
    let name = format!("{media}{free}");
    let found = |target: &str| -> Result<serde_json::Value, String> {
        let output = bed.flt().args(["--json", "admin", "where", target]).run();
        match output.code {
            Some(0) => Ok(serde_json::from_str(&output.stdout).unwrap()),
            _ => Err(output.stderr),
        }
    };
    until("the address is seen", DEADLINE, || found(MAC).map(drop));
    for spelling in [MAC.to_owned(), dotted(MAC), MAC.replace(':', "-").to_uppercase()] {
        let view = found(&spelling).unwrap();
        assert_eq!(view["schema"], "flt.where/1");
        let place = &view["ports"][0];
        assert_eq!((place["device"].as_str(), place["port"].as_str()), (Some("rack-3"), Some(&*name)), "{view:#}");
        assert_eq!((place["how"].as_str(), place["agent"].as_str()), (Some("edge"), Some("edge-1")), "{view:#}");
        assert!(place["age_seconds"].as_u64().is_some(), "{view:#}");
    }
    let table = bed.admin(["where", MAC]).ok();
    assert!(table.contains(&name) && table.contains("rack-3") && table.contains("edge"), "{table}");
    // It moves, and the answer does.
    let moved = if media.is_empty() { "1/1/18" } else { "1/0/18" };
    rack.sim.plug(port(moved), Some(bytes(MAC)));
    until("it has moved", DEADLINE, || {
        let view = found(MAC)?;
        let ports: Vec<&str> = view["ports"].as_array().unwrap().iter().map(|p| p["port"].as_str().unwrap()).collect();
        if ports == [format!("{media}{moved}")] { Ok(()) } else { Err(view.to_string()) }
    });
    // The node itself, by all its interfaces.
    let facts = bed.json(["facts", "edge-1"]);
    let interfaces = facts["stable"]["interfaces"].as_object().unwrap();
    let own = interfaces.values().find_map(|nic| nic["mac"].as_str().filter(|mac| *mac != "00:00:00:00:00:00"));
    if let Some(own) = own {
        let unseen = found("edge-1").unwrap_err();
        assert!(unseen.contains("`rack-3` by `edge-1`, looked at"), "{unseen}");
        rack.sim.plug(port(free), Some(bytes(own)));
        until("the node is found", DEADLINE, || {
            let view = found("edge-1")?;
            let place = view["ports"][0].clone();
            let right = place["node"] == "edge-1" && place["port"] == *name && place["mac"] == own;
            if right { Ok(()) } else { Err(view.to_string()) }
        });
    }
    // A switch that is gone is told with what was known, and why.
    drop(rack);
    until("the switch is missed", DEADLINE, || {
        let view = found(MAC)?;
        let source = view["devices"][0].clone();
        let missed = source["failed"].is_string() && source["seen_seconds"].is_u64() && view["ports"][0].is_object();
        if missed { Ok(()) } else { Err(view.to_string()) }
    });
    // So it is of one that is not managed any more.
    drop(agent);
    std::fs::write(&config, "device-facts-seconds = 1\n").unwrap();
    let _again = bed.agent("edge-1").arg("--config").arg(&config).spawn();
    until("nothing is told of it", DEADLINE, || match found(MAC) {
        Err(why) if why.contains("no agent of this fleet tells of a switch") => Ok(()),
        other => Err(format!("{other:?}")),
    });
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
