//! FastIron: the tables of LAGs, with what LACP says.

use std::fmt::Write as _;

use super::ports::{COLUMNS, Row, link_word, row, up};
use crate::device::Device;
use crate::model::{Lag, LagKind, Model, dotted};
use crate::ports::{Member, PortId, list, members};
use crate::profile::Os;

/// Whether a member of a LAG carries traffic.
pub(super) fn up_in(device: &Device, lag: &Lag, port: PortId) -> bool {
    up(device, port) && lag.deployed && (lag.kind != LagKind::Dynamic || device.partners)
}

pub(super) fn lag_brief(device: &Device) -> String {
    let model = &device.running;
    let mut out = format!("Total number of LAGs:          {}\n", model.lags.len());
    let deployed = model.lags.values().filter(|lag| lag.deployed).count();
    let _ = writeln!(out, "Total number of deployed LAGs: {deployed}");
    let _ = writeln!(out, "Total number of trunks created:{deployed} ({} available)", 124 - deployed.min(124));
    out.push_str("LACP System Priority / ID:     1 / cc4e.2439.2a40\nLACP Long timeout:             120, default: 120\nLACP Short timeout:            3, default: 3\n\n");
    let _ = writeln!(
        out,
        "{:<16} {:<9} {:<6} {:<7} {:<8} Port List",
        "LAG",
        "Type",
        "Deploy",
        "Trunk",
        if device.os == Os::FastIronOld { "Primary" } else { "Intf" }
    );
    for (id, lag) in &model.lags {
        let third = if device.os == Os::FastIronOld {
            lag.primary.map_or_else(|| "none".to_owned(), |port| port.to_string())
        } else {
            format!("lg{id}")
        };
        // A long name runs into the next column, as it does on the real one.
        let _ = writeln!(
            out,
            "{:<16}{:<9}  {:<5}  {:<6}  {third:<8} {}",
            lag.name,
            lag.kind.word(),
            if lag.deployed { "Y" } else { "N" },
            id,
            list(&members(&lag.ports), "e"),
        );
    }
    out
}

pub(super) fn lag_interfaces(device: &Device, only: Option<u16>) -> String {
    let mut out = String::new();
    for (id, lag) in device.running.lags.iter().filter(|(id, _)| only.is_none_or(|only| only == **id)) {
        let live = lag.ports.iter().filter(|port| up_in(device, lag, **port)).count();
        let word = if live > 0 { "up" } else { "down" };
        let _ = writeln!(out, "lg{id} is {word}, line protocol is {word}");
        let _ = writeln!(out, "  Port name is {}", lag.settings.name.as_deref().unwrap_or(lag.name.as_str()));
        let _ = writeln!(out, "  Member of {}, {live} of {} ports up", lag.kind.word(), lag.ports.len());
    }
    out
}

pub(super) fn lags(device: &Device, only: Option<&str>) -> String {
    let model = &device.running;
    let mut out = String::new();
    if only.is_none() {
        out = lag_brief(device);
        out.truncate(out.find("LAG  ").unwrap_or(out.len()));
    }
    let mut found = false;
    for (id, lag) in model.lags.iter().filter(|(_, lag)| only.is_none_or(|name| lag.name == name)) {
        found = true;
        let deployed = if lag.deployed { "Deployed" } else { "Not Deployed" };
        let _ = writeln!(out, "=== LAG \"{}\" ID {id} ({} {deployed}) ===", lag.name, lag.kind.word());
        out.push_str("LAG Configuration:\n");
        let _ = writeln!(out, "   Ports:         {}", list(&members(&lag.ports), "e"));
        let _ = writeln!(out, "   Port Count:    {}", lag.ports.len());
        if device.os == Os::FastIronOld {
            let _ = writeln!(
                out,
                "   Primary Port:  {}",
                lag.primary.map_or_else(|| "none".to_owned(), |port| port.to_string())
            );
        } else {
            let _ = writeln!(out, "   Lag Interface: lg{id}");
        }
        out.push_str("   Trunk Type:    hash-based\n");
        if lag.kind == LagKind::Dynamic {
            let _ = writeln!(out, "   LACP Key:      {}", 20_000 + id);
        }
        if !lag.deployed {
            out.push_str("Deployment: Not Deployed\n\n");
            continue;
        }
        let _ = writeln!(out, "Deployment: HW Trunk ID {id}");
        ports(device, *id, lag, &mut out);
        out.push('\n');
    }
    if !found && only.is_some() {
        let _ = writeln!(out, "Error: LAG {} does not exist", only.unwrap_or_default());
    }
    out
}

fn ports(device: &Device, id: u16, lag: &Lag, out: &mut String) {
    let model = &device.running;
    out.push_str(COLUMNS);
    for port_id in &lag.ports {
        let Some(port) = model.ports.get(port_id) else {
            continue;
        };
        let member = if device.os == Os::FastIronNew { Member::Lag(id) } else { Member::Port(*port_id) };
        let up = up(device, *port_id);
        row(
            out,
            model,
            &port_id.to_string(),
            member,
            Row {
                link: link_word(port.settings.disabled, up),
                up: up_in(device, lag, *port_id),
                speed: port.speed,
                trunk: Some(id),
                dual: port.settings.dual_mode,
                mac: Model::mac_of(*port_id),
                name: lag.port_names.get(port_id).map(String::as_str).unwrap_or_default(),
            },
        );
    }
    if lag.kind != LagKind::Dynamic {
        return;
    }
    let _ = writeln!(
        out,
        "\n{:<10} {:<13} {:<5} [Act][Tio][Agg][Syn][Col][Dis][Def][Exp][Ope]",
        "Port", "[Sys P] [Port P]", "[Key]"
    );
    for port in &lag.ports {
        let good = up_in(device, lag, *port);
        let (synced, tail) = if good { ("Syn", "Col  Dis  No   No   Ope") } else { ("No ", "No   No   Def  Exp  Ina") };
        let _ = writeln!(out, "{port:<10}      1        1   {:<5} Yes   L   Agg  {synced}  {tail}", 20_000 + id);
    }
    out.push_str("\n Partner Info and PDU Statistics\n");
    let _ = writeln!(
        out,
        "{:<10} {:<24} {:<8} {:<8} {:<8}",
        "Port", "Partner System ID", "Partner Key", "LACP Rx", "LACP Tx"
    );
    for port in &lag.ports {
        match device.neighbours.get(port) {
            Some(far) if up_in(device, lag, *port) => {
                let _ = writeln!(out, "{port:<10} 65535-{:<18} {:<11} {:<8} {:<8}", dotted(far.mac), 9, 120, 118);
            }
            _ => drop(writeln!(out, "{port:<10} 0-{:<22} {:<11} {:<8} {:<8}", dotted([0; 6]), 0, 0, 118)),
        }
    }
}
