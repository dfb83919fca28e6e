//! FastIron: the tables of ports and of addresses.

use std::fmt::Write as _;

use super::lags::up_in;
use crate::device::Device;
use crate::model::{DEFAULT_VLAN, Lag, Model, dotted};
use crate::ports::{Member, PortId};
use crate::profile::Os;

fn speed(megabits: u32) -> String {
    if megabits >= 1000 { format!("{}G", megabits / 1000) } else { format!("{megabits}M") }
}

/// The LAG that a port belongs to, once it is in force.
fn in_force(model: &Model, port: PortId) -> Option<(u16, &Lag)> {
    model.lag_of(port).filter(|(_, lag)| lag.deployed)
}

pub(super) fn up(device: &Device, port: PortId) -> bool {
    device.running.ports.get(&port).is_some_and(|port| port.link && !port.settings.disabled)
}

pub(super) fn brief(device: &Device) -> String {
    let model = &device.running;
    let mut out = format!("\n{COLUMNS}");
    for (id, port) in &model.ports {
        let lag = in_force(model, *id);
        let member = match lag {
            Some((id, _)) if device.os == Os::FastIronNew => Member::Lag(id),
            _ => Member::Port(*id),
        };
        let disabled = port.settings.disabled;
        let up = up(device, *id);
        let name = match lag.and_then(|(_, lag)| lag.port_names.get(id)) {
            Some(name) => name.as_str(),
            None => port.settings.name.as_deref().unwrap_or_default(),
        };
        row(
            &mut out,
            model,
            &id.to_string(),
            member,
            Row {
                link: link_word(disabled, up),
                up,
                speed: port.speed,
                trunk: lag.map(|(id, _)| id),
                dual: port.settings.dual_mode,
                mac: Model::mac_of(*id),
                name,
            },
        );
    }
    if device.os == Os::FastIronNew {
        for (id, lag) in &model.lags {
            let up = lag.ports.iter().any(|port| up_in(device, lag, *port)) && !lag.settings.disabled;
            row(
                &mut out,
                model,
                &format!("lg{id}"),
                Member::Lag(*id),
                Row {
                    link: link_word(lag.settings.disabled, up),
                    up,
                    speed: lag.ports.first().and_then(|port| model.ports.get(port)).map_or(1000, |port| port.speed),
                    trunk: Some(*id),
                    dual: None,
                    mac: lag.ports.first().map_or([0; 6], |port| Model::mac_of(*port)),
                    name: lag.settings.name.as_deref().unwrap_or(lag.name.as_str()),
                },
            );
        }
    }
    let _ = writeln!(out, "mgmt1      Up      None    Full 1G    None  No  None 0   cc4e.2439.2a3f  ");
    out
}

pub(super) struct Row<'a> {
    pub(super) link: &'a str,
    pub(super) up: bool,
    pub(super) speed: u32,
    pub(super) trunk: Option<u16>,
    pub(super) dual: Option<u16>,
    pub(super) mac: [u8; 6],
    pub(super) name: &'a str,
}

pub(super) fn row(out: &mut String, model: &Model, port: &str, member: Member, row: Row<'_>) {
    let tagged = !model.tagged_in(member).is_empty();
    let pvid = match (model.untagged_in(member), tagged) {
        (Some(vlan), _) => vlan.to_string(),
        (None, true) => row.dual.map_or_else(|| "N/A".to_owned(), |vlan| vlan.to_string()),
        (None, false) => DEFAULT_VLAN.to_string(),
    };
    // A name is cut where its column ends.
    let name: String = row.name.chars().take(LONGEST_NAME).collect();
    let _ = writeln!(
        out,
        "{port:<10} {:<7} {:<7} {:<4} {:<5} {:<5} {:<3} {pvid:<4} {:<3} {:<15} {name}",
        row.link,
        if row.up { "Forward" } else { "None" },
        if row.up { "Full" } else { "None" },
        if row.up { speed(row.speed) } else { "None".to_owned() },
        row.trunk.map_or_else(|| "None".to_owned(), |id| id.to_string()),
        if tagged { "Yes" } else { "No" },
        0,
        dotted(row.mac),
    );
}

pub(super) fn link_word(disabled: bool, up: bool) -> &'static str {
    match (disabled, up) {
        (true, _) => "Disable",
        (false, true) => "Up",
        (false, false) => "Down",
    }
}

pub(super) fn addresses(device: &Device, only: Option<&str>) -> String {
    let model = &device.running;
    let rows: Vec<_> = device
        .learnt
        .iter()
        .filter(|entry| up(device, entry.port) && only.is_none_or(|only| only.eq_ignore_ascii_case(&dotted(entry.mac))))
        .collect();
    let old = device.os == Os::FastIronOld;
    let mut out = format!("Total active entries from all ports = {}\n", rows.len());
    out.push_str(if old {
        "MAC-Address     Port           Type          Index  VLAN \n"
    } else {
        "MAC-Address     Port              Type          VLAN \n"
    });
    for (index, entry) in rows.iter().enumerate() {
        let lag = in_force(model, entry.port);
        let (port, member) = match lag {
            Some((id, _)) if !old => (format!("lg{id}"), Member::Lag(id)),
            Some((_, lag)) => {
                let primary = lag.primary.unwrap_or(entry.port);
                (primary.to_string(), Member::Port(primary))
            }
            None => (entry.port.to_string(), Member::Port(entry.port)),
        };
        let vlan = match model.untagged_in(member) {
            Some(vlan) => vlan,
            None => model.tagged_in(member).first().copied().unwrap_or(entry.vlan),
        };
        let mac = dotted(entry.mac);
        let _ = if old {
            writeln!(out, "{mac:<15} {port:<14} {:<13} {:<6} {vlan:<5}", "Dynamic", 1000 + index)
        } else {
            writeln!(out, "{mac:<15} {port:<17} {:<13} {vlan:<5}", "Dynamic")
        };
    }
    out
}

/// The head of the table of ports.
pub(super) const COLUMNS: &str = "Port       Link    State   Dupl Speed Trunk Tag Pvid Pri MAC             Name\n";

/// Characters of a port's name that fit.
const LONGEST_NAME: usize = 15;
