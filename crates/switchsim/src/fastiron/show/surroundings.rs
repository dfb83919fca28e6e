//! FastIron: the stack, neighbours, the chassis and users of SNMP.

use std::fmt::Write as _;

use super::ports::up;
use crate::device::Device;
use crate::model::{Model, dotted};
use crate::ports::PortId;
use crate::profile::Os;

pub(super) fn stack(device: &Device) -> String {
    let model = if device.os == Os::FastIronOld { "ICX6450-24P" } else { "ICX7150-24P" };
    let mut out = String::from("T=40d2h3m4.0: alone: standalone, D: dynamic cfg, S: static\n");
    let _ = writeln!(
        out,
        "{:<4} {:<12} {:<7} {:<14} {:<3} {:<7} Comment",
        "ID", "Type", "Role", "Mac Address", "Pri", "State"
    );
    for unit in 1..=device.units {
        let role = match (unit, device.units) {
            (1, 1) => "alone",
            (1, _) => "active",
            (2, _) => "standby",
            _ => "member",
        };
        let mac = dotted(Model::mac_of(PortId { unit, slot: 0, port: 0 }));
        let (kind, state) = if unit == 1 { ("S", "local") } else { ("D", "remote") };
        let _ = writeln!(
            out,
            "{unit:<2} {kind} {model:<12} {role:<7} {mac:<14} {:<3} {state:<7} Ready",
            if unit == 1 { 128 } else { 0 }
        );
    }
    out.push_str("\n    active       standby                                                       \n     +---+        +---+                                                        \n");
    out.push_str("-2/1| 1 |2/3--2/1| 2 |2/3-                                                      \n     +---+        +---+                                                        \n");
    let _ = writeln!(
        out,
        "Current stack management MAC is {}",
        dotted(Model::mac_of(PortId { unit: 1, slot: 0, port: 0 }))
    );
    out
}

pub(super) fn neighbours(device: &Device) -> String {
    if !device.running.lldp {
        return "LLDP is not enabled\n".to_owned();
    }
    let mut out = format!(
        "{:<8} {:<15} {:<15} {:<25} {}\n",
        "Lcl Port", "Chassis ID", "Port ID", "Port Description", "System Name"
    );
    for (port, far) in device.neighbours.iter().filter(|(port, _)| up(device, **port)) {
        // Long names end in a tilde.
        let name: String = if far.name.len() > 13 {
            format!("{}~", far.name.chars().take(12).collect::<String>())
        } else {
            far.name.clone()
        };
        let mac = dotted(far.mac);
        let _ = writeln!(out, "{port:<8} {mac:<15} {mac:<15} {:<25} {name}", far.port);
    }
    out
}

pub(super) fn neighbours_in_detail(device: &Device) -> String {
    if !device.running.lldp {
        return "LLDP is not enabled\n".to_owned();
    }
    let mut out = String::new();
    for (port, far) in device.neighbours.iter().filter(|(port, _)| up(device, **port)) {
        let mac = dotted(far.mac);
        let _ = writeln!(out, "Local port: {port}\n  Neighbor: {mac}, TTL 113 seconds");
        let _ = writeln!(
            out,
            "    + Chassis ID (MAC address): {mac}\n    + Port ID (MAC address): {mac}\n    + Time to live: 120 seconds"
        );
        let _ = writeln!(
            out,
            "    + System name         : \"{}\"\n    + Port description    : \"{}\"\n",
            far.name, far.port
        );
    }
    out
}

pub(super) fn chassis(device: &Device) -> String {
    let mut out = String::new();
    for unit in 1..=device.units {
        let _ = writeln!(out, "The stack unit {unit} chassis info:\n");
        out.push_str("Power supply 1 (AC - Regular) present, status ok\nPower supply 2 not present\n\nFan ok, speed (auto): [[1]]<->2\nFan speed switching temperature thresholds:\n\t\tSpeed 1: NM<----->58       deg-C\n\nMAC 1 Temperature Readings:\n\tCurrent temperature : 44.5 deg-C (caf\u{e9})\n");
        let _ = writeln!(out, "Boot Prom MAC : {}\n", dotted(Model::mac_of(PortId { unit, slot: 0, port: 0 })));
    }
    out
}

pub(super) fn snmp_users(device: &Device) -> String {
    let mut out = String::new();
    for line in device.running.snmp.iter().filter(|line| line.starts_with("user ")) {
        let words: Vec<&str> = line.split(' ').collect();
        let after = |names: &[&str]| {
            words.iter().find(|word| names.contains(word)).map_or_else(|| "none".to_owned(), |word| (*word).to_owned())
        };
        let _ = writeln!(
            out,
            "username = {}\nACL id = 0\ngroup = {}\nsecurity model = v3\ngroup ACL id = 0",
            words[1],
            words.get(2).unwrap_or(&"")
        );
        let _ = writeln!(
            out,
            "authtype = {}\nauthkey = .....\nprivtype = {}\nprivkey = .....\n",
            after(&["md5", "sha"]),
            after(&["des", "aes"])
        );
    }
    out
}
