//! Network OS: the running configuration as the switch prints it.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::device::Device;
use crate::model::{GroupMode, Lag, Model, Port, Settings};
use crate::ports::PortId;

/// `show running-config`
pub(crate) fn configuration(device: &Device, model: &Model) -> String {
    let mut out = String::new();
    for unit in 1..=device.units {
        let _ = writeln!(out, "switch-attributes {unit}\n chassis-name VDX6740");
        let host = if unit == 1 { model.hostname.clone() } else { format!("{}-{unit}", model.hostname) };
        let _ = writeln!(out, " host-name {host}\n!");
    }
    for line in &model.snmp {
        let _ = writeln!(out, "snmp-server {}", hidden(line));
    }
    for id in model.vlans.keys() {
        vlan(model, *id, &mut out);
    }
    let _ = writeln!(out, "protocol lldp{}\n advertise dcbx-tlv\n!", if model.lldp { "" } else { "\n disable" });
    for (id, lag) in &model.lags {
        channel(*id, lag, &mut out);
    }
    for (id, port) in &model.ports {
        interface(*id, port, &mut out);
    }
    out
}

pub(crate) fn vlan(model: &Model, id: u16, out: &mut String) {
    let _ = writeln!(out, "interface Vlan {id}");
    if let Some(name) = model.vlans.get(&id).and_then(|vlan| vlan.name.as_ref()).filter(|_| id != 1) {
        let _ = writeln!(out, " name {name}");
    }
    out.push_str("!\n");
}

pub(crate) fn channel(id: u16, lag: &Lag, out: &mut String) {
    let _ = writeln!(out, "interface Port-channel {id}");
    if lag.settings.ignore_split {
        out.push_str(" vlag ignore-split\n");
    }
    inside(&lag.settings, out);
    out.push_str("!\n");
}

pub(crate) fn interface(id: PortId, port: &Port, out: &mut String) {
    let _ = writeln!(out, "interface TenGigabitEthernet {id}");
    if let Some(group) = port.group {
        let mode = match group.mode {
            GroupMode::Active => "active",
            GroupMode::Passive => "passive",
            GroupMode::On => "on",
        };
        let kind = if group.brocade { "brocade" } else { "standard" };
        let _ = writeln!(out, " channel-group {} mode {mode} type {kind}", group.id);
    }
    out.push_str(" fabric isl enable\n fabric trunk enable\n");
    inside(&port.settings, out);
    out.push_str("!\n");
}

/// `1-3,7`
pub(crate) fn numbers(ids: &BTreeSet<u16>) -> String {
    let ids: Vec<u16> = ids.iter().copied().collect();
    let mut parts = Vec::new();
    let mut rest = ids.as_slice();
    while let Some(first) = rest.first() {
        let run = rest.iter().zip(*first..).take_while(|(id, n)| *id == n).count();
        parts.push(if run > 1 { format!("{first}-{}", rest[run - 1]) } else { first.to_string() });
        rest = &rest[run..];
    }
    parts.join(",")
}

fn inside(settings: &Settings, out: &mut String) {
    if let Some(name) = &settings.name {
        let _ = writeln!(out, " description {name}");
    }
    if let Some(address) = &settings.address {
        let _ = writeln!(out, " ip address {address}");
    }
    if let Some(switchport) = &settings.switchport {
        out.push_str(" switchport\n");
        if switchport.trunk {
            out.push_str(" switchport mode trunk\n");
            if switchport.all {
                out.push_str(" switchport trunk allowed vlan all\n");
            } else if !switchport.allowed.is_empty() {
                let _ = writeln!(out, " switchport trunk allowed vlan add {}", numbers(&switchport.allowed));
            }
            match switchport.native {
                Some(id) => drop(writeln!(out, " switchport trunk native-vlan {id}")),
                None => out.push_str(" switchport trunk tag native-vlan\n"),
            }
        } else {
            out.push_str(" switchport mode access\n");
            let _ = writeln!(out, " switchport access vlan {}", switchport.access.unwrap_or(1));
        }
    }
    if settings.edge {
        out.push_str(" spanning-tree edgeport\n");
    }
    out.push_str(if settings.disabled { " shutdown\n" } else { " no shutdown\n" });
}

fn hidden(line: &str) -> String {
    let mut words: Vec<&str> = line.split(' ').collect();
    for index in 1..words.len() {
        if matches!(words[index - 1], "auth-password" | "priv-password") {
            words[index] = "*****";
        }
    }
    if words.first() == Some(&"community") && words.len() > 1 {
        words[1] = "*****";
    }
    words.join(" ")
}
