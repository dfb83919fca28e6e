//! The real systemd-networkd of a machine takes the files of a bond, and gives them up again. Whether it can make a bond
//! is the kernel's: where it has no driver, how far it came is what it says of its files.

use std::collections::BTreeSet;
use std::time::Duration;

use devices::network::NetworkdHost;
use scores::Topology as _;
use scores::bond::{HostBond, HostNetwork as _};
use testkit::{DEADLINE, MachineSpec};

/// What the test is told to do inside of the machine.
const ROLE: &str = "FLT_TEST_NETWORK";
const TEST: &str = "network::system::networkd_takes_the_files_and_gives_them_up";

#[test]
fn networkd_takes_the_files_and_gives_them_up() {
    if let Ok(role) = std::env::var(ROLE) {
        return inside(&role);
    }
    if !testkit::require("networkd_takes_the_files_and_gives_them_up", testkit::MACHINES) {
        return;
    }
    let machine = MachineSpec::new(testkit::rootfs(), "bonded")
        .bind(std::env::current_exe().unwrap(), "/usr/local/bin/flt-test")
        .boot();
    for nic in ["t1", "t2"] {
        machine.network().ip(&format!("link add {nic} type veth peer name {nic}p"));
        machine.network().ip(&format!("link set {nic}p up"));
    }
    // No other test wants a network manager.
    machine.ok("systemctl unmask systemd-networkd && systemctl start systemd-networkd");
    let run = |role: &str| {
        let command = format!("{ROLE}={role} /usr/local/bin/flt-test --exact {TEST} --nocapture 2>&1");
        machine.shell(&command).limit(Duration::from_secs(120)).ok()
    };
    // Not what it logged of files that it had before.
    let reads = |nic: &str, words: &str| format!("networkctl status --no-pager --lines=0 {nic} | grep -F {words}");
    run("set");
    machine.wait_until(&reads("t1", "/run/systemd/network/04-flotilla-port-t1.network"), DEADLINE);
    run("keep");
    machine.wait_until(&reads("t1", "/etc/systemd/network/05-flotilla-port-t1.network"), DEADLINE);
    run("leave");
    machine.wait_until(&reads("t1", "/run/systemd/network/04-flotilla-port-t1.network"), DEADLINE);
    machine.wait_until(&reads("t2", "/run/systemd/network/04-flotilla-left-t2.network"), DEADLINE);
    // Every word of them is understood.
    let complaints = machine.ok("journalctl -u systemd-networkd --no-pager | grep -F flotilla || true");
    for line in complaints.lines() {
        // The same bond from another file is no news: it is there.
        let bad = ["Unknown", "Failed to parse", "Invalid", "ignoring"].iter().any(|bad| line.contains(bad));
        assert!(!bad || line.contains("was already configured by"), "{complaints}");
    }
    run("put-back");
    for nic in ["t1", "t2"] {
        machine.wait_until(&format!("! {}", reads(nic, "flotilla")), DEADLINE);
    }
    assert_eq!(machine.ok("ls /run/systemd/network /etc/systemd/network | grep flotilla || true"), "");
    assert_ne!(machine.exec("ip link show bond0").code, Some(0));
}

fn inside(role: &str) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let host = NetworkdHost::new("/", "/usr/bin/networkctl");
    let bond = HostBond {
        name: "bond0".into(),
        nics: BTreeSet::from(["t1".into(), "t2".into()]),
        mac: Some("02:00:00:00:00:01".parse().unwrap()),
        addresses: BTreeSet::from(["10.9.0.5/24".into()]),
        gateways: BTreeSet::from(["10.9.0.1".parse().unwrap()]),
        dhcp: false,
        device: "rack-3".parse().unwrap(),
        ports: BTreeSet::from(["1/1/1".parse().unwrap(), "1/1/2".parse().unwrap()]),
    };
    runtime.block_on(async {
        host.ensure_ready().await.unwrap();
        match role {
            "set" => {
                let links = host.look("bond0").await.unwrap().links;
                assert!(links.contains_key("t1") && links.contains_key("t2"), "{links:?}");
                std::fs::write("/root/record", host.record("bond0").await.unwrap()).unwrap();
                host.set(&bond).await.unwrap();
                assert_eq!(host.look("bond0").await.unwrap().running, Some(bond));
            }
            "keep" => {
                host.keep(&bond).await.unwrap();
                assert_eq!(host.look("bond0").await.unwrap().startup, Some(bond));
            }
            "leave" => {
                let alone = HostBond { nics: BTreeSet::from(["t1".into()]), ..bond.clone() };
                host.set(&alone).await.unwrap();
                let found = host.look("bond0").await.unwrap();
                assert_eq!((found.running, found.startup), (Some(alone), Some(bond)));
            }
            _ => host.put_back("bond0", &std::fs::read_to_string("/root/record").unwrap()).await.unwrap(),
        }
    });
}
