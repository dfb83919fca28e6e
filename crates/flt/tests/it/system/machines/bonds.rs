//! Bonds by the two units of the manual, with the real systemd and its real systemd-networkd. The hands' unit sees no
//! network, so it makes none; with the manual's drop-in it does. The kernel may have no driver for bonds, and nobody speaks
//! LACP here: either way the bond does not come to be, and both ends must be as before.

use std::time::Duration;

use switchsim::{Profile, Sim};
use testkit::{DEADLINE, Machine, until};
use tokio::runtime::Runtime;

use super::hub::{Hub, machine};
use super::split::{AGENT, HANDS};

/// The manual's.
const DROP_IN: &str = "[Service]\nPrivateNetwork=no\n";

#[test]
fn hands_in_their_unit_make_bonds_where_they_are_given_the_network() {
    assert!(MANUAL.replace("    ", "").contains(DROP_IN));
    if !testkit::require("hands_in_their_unit_make_bonds_where_they_are_given_the_network", testkit::MACHINES) {
        return;
    }
    let units = [("flotilla-agent.service", AGENT), ("flotilla-hands.service", HANDS)];
    let node = units.iter().fold(machine("node-1"), |node, (name, text)| {
        node.file(&format!("/etc/systemd/system/{name}"), text.replace("RestartSec=2s", "RestartSec=1s"), 0o644)
    });
    let (hub, nodes) = Hub::boot(std::iter::once(node));
    let node = &nodes[0];
    for (nic, mac) in [("t1", "52:54:00:aa:00:00"), ("t2", "52:54:00:aa:00:01")] {
        node.network().ip(&format!("link add {nic} address {mac} type veth peer name {nic}p"));
        node.network().ip(&format!("link set {nic}p up"));
    }
    let runtime = Runtime::new().unwrap();
    let sim = node.network().enter(|| runtime.block_on(Sim::start(Profile::fastiron_8095()))).unwrap();
    node.ok("mount --make-rshared /; useradd --system --home-dir /nonexistent --shell /usr/sbin/nologin flotilla");
    configure(node, &sim);
    // No other test wants a network manager.
    node.ok("systemctl unmask systemd-networkd && systemctl start systemd-networkd");
    hub.found();
    hub.invite(node);
    node.ok("systemctl start --no-block flotilla-hands.service flotilla-agent.service");
    let said = || {
        let journal = "journalctl --no-pager -o cat -u 'flotilla-*' -u systemd-networkd | tail -60";
        format!("{}\n{}", hub.try_flt("admin node show node-1").stdout, node.exec(journal).stdout)
    };
    until("the node offers bonds", DEADLINE, || {
        let facts = hub.try_flt("admin facts node-1");
        if facts.stdout.contains("net.bond/1") { Ok(()) } else { Err((facts, said())) }
    });
    let before = (sim.running_config(), sim.startup_config());

    declare(&hub, "10.9.0.5/24");
    until("the hands say what their unit lacks", DEADLINE, || {
        let shown = said();
        if shown.contains("it needs `PrivateNetwork=no`") { Ok(()) } else { Err(shown) }
    });
    assert_eq!(files(node), "");

    node.ok("mkdir -p /etc/systemd/system/flotilla-hands.service.d");
    node.write("/etc/systemd/system/flotilla-hands.service.d/bonds.conf", DROP_IN);
    node.ok("systemctl daemon-reload && systemctl restart flotilla-hands.service flotilla-agent.service");
    declare(&hub, "10.9.0.6/24");
    until("systemd-networkd has read the host's end", DEADLINE, || {
        let found = node.exec("networkctl status --no-pager --lines=0 t1 t2");
        let read = |nic: &str| found.stdout.contains(&format!("/run/systemd/network/04-flotilla-port-{nic}.network"));
        if read("t1") && read("t2") { Ok(()) } else { Err((found, said())) }
    });
    until("both ends as before", Duration::from_secs(240), || {
        let shown = said();
        let back = files(node).is_empty() && (sim.running_config(), sim.startup_config()) == before;
        if back && shown.contains("undone") { Ok(()) } else { Err((shown, files(node), sim.running_config())) }
    });
    node.wait_until("! networkctl status --no-pager --lines=0 t1 t2 | grep -F flotilla", DEADLINE);
}

/// Gives the node its configuration: a switch, whose passwords the network half may read.
fn configure(node: &Machine, sim: &Sim) {
    let text = format!(
        "name = \"node-1\"\nmetrics = \"off\"\nheartbeat-seconds = 2\n\n[devices.rack-3]\nkind = \"switch\"\n\
         address = \"{}\"\nuser = \"admin\"\nhost-key = {:?}\npassword-file = \"/etc/flotilla/devices/password\"\n\
         enable-password-file = \"/etc/flotilla/devices/enable\"\n",
        sim.addr(),
        sim.fingerprint(),
    );
    node.write("/etc/flotilla/agent.toml", text);
    for (name, secret) in [("password", "secret\n"), ("enable", "enable\n")] {
        node.write_with_mode(&format!("/etc/flotilla/devices/{name}"), secret, 0o600);
    }
    node.ok("chown -R flotilla: /etc/flotilla/devices");
}

fn declare(hub: &Hub, address: &str) {
    let text = format!(
        "[group.rack]\non = \"node-1\"\n\n[group.rack.score.uplink]\nkind = \"net.bond/1\"\n\n\
         [group.rack.score.uplink.spec]\nname = \"bond0\"\nnics = [\"t1\", \"t2\"]\ndevice = \"rack-3\"\n\
         addresses = [{address:?}]\n\n[group.rack.score.uplink.policy]\nattempts = 1\n"
    );
    hub.write("/root/fleet.toml", text);
    hub.flt("admin apply /root/fleet.toml --no-wait");
}

/// What the host has of the bond, now and after a boot.
fn files(node: &Machine) -> String {
    node.ok("ls /run/systemd/network /etc/systemd/network 2>/dev/null | grep flotilla || true")
}

const MANUAL: &str = include_str!("../../../../../../docs/security.md");
