//! FastIron: the running configuration as the switch prints it.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::device::Device;
use crate::model::{DEFAULT_VLAN, LagKind, Model, Settings};
use crate::ports::{Member, list, members};
use crate::profile::Os;

/// `show running-config`
pub(crate) fn configuration(device: &Device, model: &Model) -> String {
    let mut out = String::from("Current configuration:\n!\n");
    let _ = write!(out, "ver {}\n!\n", version(device));
    for unit in 1..=device.units {
        let _ = writeln!(out, "stack unit {unit}");
        match device.os {
            Os::FastIronOld => out.push_str(
                "  module 1 icx6450-24p-poe-port-management-module\n  module 2 icx6450-sfp-plus-4port-40g-module\n",
            ),
            _ => out.push_str("  module 1 icx7150-24p-4x10gr-poe-port-management-module\n  module 3 icx7150-4-sfp-plus-port-40g-module\n"),
        }
    }
    out.push_str("!\n!\n");
    lags(device, model, &mut out);
    for id in model.vlans.keys() {
        vlan(model, *id, &mut out);
    }
    out.push_str("!\naaa authentication enable default local\naaa authentication login default local\n");
    out.push_str("enable super-user-password .....\n");
    let _ = writeln!(out, "hostname {}", model.hostname);
    let _ = writeln!(out, "username {} password .....", device.user);
    for line in &model.snmp {
        let _ = writeln!(out, "snmp-server {}", hidden(line));
    }
    out.push_str("!\n!\n");
    interfaces(device, model, &mut out);
    if model.lldp {
        out.push_str("!\nlldp run\n");
    }
    out.push_str("!\n!\nend\n");
    out
}

/// `show running-config lag`
pub(crate) fn lags(device: &Device, model: &Model, out: &mut String) {
    for (id, lag) in &model.lags {
        let _ = writeln!(out, "lag {} {} id {id}", quoted(&lag.name), lag.kind.word());
        if !lag.ports.is_empty() {
            let _ = writeln!(out, " ports {}", list(&members(&lag.ports), "ethe"));
        }
        if device.os == Os::FastIronOld {
            if let Some(primary) = lag.primary {
                let _ = writeln!(out, " primary-port {primary}");
            }
            if lag.deployed {
                out.push_str(" deploy\n");
            }
        }
        for (port, name) in &lag.port_names {
            let _ = writeln!(out, " port-name {} ethernet {port}", quoted(name));
        }
        let disabled: BTreeSet<Member> = lag
            .ports
            .iter()
            .filter(|port| model.ports.get(port).is_some_and(|port| port.settings.disabled))
            .copied()
            .map(Member::Port)
            .collect();
        if !disabled.is_empty() && lag.kind != LagKind::KeepAlive {
            let _ = writeln!(out, " disable {}", list(&disabled, "ethe"));
        }
        out.push_str("!\n");
    }
    if !model.lags.is_empty() {
        out.push_str("!\n");
    }
}

/// One VLAN.
pub(crate) fn vlan(model: &Model, id: u16, out: &mut String) {
    let Some(vlan) = model.vlans.get(&id) else {
        return;
    };
    match &vlan.name {
        Some(name) => drop(writeln!(out, "vlan {id} name {} by port", quoted(name))),
        None => drop(writeln!(out, "vlan {id} by port")),
    }
    if !vlan.tagged.is_empty() {
        let _ = writeln!(out, " tagged {}", list(&vlan.tagged, "ethe"));
    }
    if !vlan.untagged.is_empty() && id != DEFAULT_VLAN {
        let _ = writeln!(out, " untagged {}", list(&vlan.untagged, "ethe"));
    }
    if let Some(ve) = vlan.router {
        let _ = writeln!(out, " router-interface ve {ve}");
    }
    if vlan.stp {
        out.push_str(" spanning-tree\n");
    }
    out.push_str("!\n!\n");
}

/// Every interface that is not as it came.
pub(crate) fn interfaces(device: &Device, model: &Model, out: &mut String) {
    for (id, port) in &model.ports {
        // What is disabled in a LAG stands with the LAG.
        let in_lag = model.lag_of(*id).is_some();
        let settings = Settings { disabled: port.settings.disabled && !in_lag, ..port.settings.clone() };
        if settings != Settings::default() {
            let _ = writeln!(out, "interface ethernet {id}");
            inside(&settings, out);
        }
    }
    if device.os == Os::FastIronNew {
        for (id, lag) in model.lags.iter().filter(|(_, lag)| lag.settings != Settings::default()) {
            let _ = writeln!(out, "interface lag {id}");
            inside(&lag.settings, out);
        }
    }
}

/// `08.0.30hT311`
pub(crate) fn version(device: &Device) -> &str {
    if let Some(version) = &device.version {
        return version;
    }
    match device.os {
        Os::FastIronOld => "08.0.30hT311",
        Os::FastIronNew => "08.0.95jT211",
        Os::Nos => "7.2.0",
    }
}

fn inside(settings: &Settings, out: &mut String) {
    if let Some(vlan) = settings.dual_mode {
        match vlan {
            DEFAULT_VLAN => out.push_str(" dual-mode\n"),
            vlan => drop(writeln!(out, " dual-mode  {vlan}")),
        }
    }
    if let Some(name) = &settings.name {
        let _ = writeln!(out, " port-name {name}");
    }
    if settings.edge {
        out.push_str(" spanning-tree 802-1w admin-edge-port\n");
    }
    if let Some(address) = &settings.address {
        let _ = writeln!(out, " ip address {address}");
    }
    if settings.disabled {
        out.push_str(" disable\n");
    }
    out.push_str("!\n");
}

fn quoted(name: &str) -> String {
    if name.contains(' ') { format!("\"{name}\"") } else { name.to_owned() }
}

/// Passwords and communities are never shown.
fn hidden(line: &str) -> String {
    let mut words: Vec<&str> = line.split(' ').collect();
    let mut hide = Vec::new();
    for (index, word) in words.iter().enumerate() {
        let secret = matches!(*word, "md5" | "sha" | "des" | "aes") && words.first() == Some(&"user");
        if secret || (index == 0 && *word == "community") {
            hide.push(index + 1);
        }
    }
    for index in hide {
        if let Some(word) = words.get_mut(index) {
            *word = ".....";
        }
    }
    words.join(" ")
}
