//! FastIron: what `show` prints.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use crate::device::Device;
use crate::fastiron::render;
use crate::model::{DEFAULT_VLAN, Lag, LagKind, Model, dotted};
use crate::ports::{Member, PortId, list, members};
use crate::profile::Os;
use crate::shell::{Reply, Table};

pub(crate) const TABLE: Table = &[
    ("show version", |c, _| Reply::said(version(c.device))),
    ("show running-config", |c, _| Reply::said(c.device.render(&c.device.running))),
    ("show running-config vlan", |c, _| {
        let mut out = String::new();
        c.device.running.vlans.keys().for_each(|id| render::vlan(&c.device.running, *id, &mut out));
        Reply::said(out)
    }),
    ("show running-config vlan <id>", |c, words| match words[0].parse::<u16>() {
        Ok(id) if c.device.running.vlans.contains_key(&id) => {
            let mut out = String::new();
            render::vlan(&c.device.running, id, &mut out);
            Reply::said(out)
        }
        _ => Reply::said(format!("Error: vlan {} does not exist\n", words[0])),
    }),
    ("show running-config lag", |c, _| {
        let mut out = String::new();
        render::lags(c.device, &c.device.running, &mut out);
        Reply::said(out)
    }),
    ("show running-config interface", |c, _| {
        let mut out = String::new();
        render::interfaces(c.device, &c.device.running, &mut out);
        Reply::said(out)
    }),
    ("show configuration", |c, _| Reply::said(c.device.render(&c.device.startup))),
    ("show interfaces brief", |c, _| Reply::said(brief(c.device))),
    ("show mac-address", |c, _| Reply::said(addresses(c.device, None))),
    ("show mac-address <mac>", |c, words| Reply::said(addresses(c.device, Some(&words[0])))),
    ("show lag", |c, _| Reply::said(lags(c.device, None))),
    ("show lag brief", |c, _| Reply::said(lag_brief(c.device))),
    ("show lag deployed", |c, _| Reply::said(lags(c.device, None))),
    ("show lag <name>", |c, words| Reply::said(lags(c.device, Some(&words[0])))),
    ("show vlan", |c, _| Reply::said(vlans(c.device, None))),
    ("show vlan <id>", |c, words| match words[0].parse::<u16>() {
        Ok(id) if c.device.running.vlans.contains_key(&id) => Reply::said(vlans(c.device, Some(id))),
        Ok(id) => Reply::said(format!("Error: vlan {id} is not configured\n")),
        Err(_) => Reply::said(format!("Invalid input -> {}\nType ? for a list\n", words[0])),
    }),
    ("show stack", |c, _| Reply::said(stack(c.device))),
    ("show lldp neighbors", |c, _| Reply::said(neighbours(c.device))),
    ("show lldp neighbors detail", |c, _| Reply::said(neighbours_in_detail(c.device))),
    ("show chassis", |c, _| Reply::said(chassis(c.device))),
    ("show snmp user", |c, _| Reply::said(snmp_users(c.device))),
    ("show clock", |_, _| Reply::said("12:00:00.000 GMT+00 Thu Jan 01 2026\n")),
];

fn version(device: &Device) -> String {
    if device.os == Os::FastIronOld { old_version(device) } else { new_version(device) }
}

fn old_version(device: &Device) -> String {
    let mut out = String::from("  Copyright (c) 1996-2015 Brocade Communications Systems, Inc. All rights reserved.\n");
    for unit in 1..=device.units {
        let _ = writeln!(out, "    UNIT {unit}: compiled on Jan 28 2016 at 10:12:41 labeled as ICX64S08030h");
        out.push_str("\t\t(7786516 bytes) from Primary ICX64S08030h.bin\n");
        let _ = writeln!(out, "        SW: Version {} ", render::version(device.os));
    }
    out.push_str(
        "  Boot-Monitor Image size = 786944, Version:10.1.05T310 (kxz10105)\n  HW: Stackable ICX6450-24-HPOE\n",
    );
    out.push_str(RULE);
    for unit in 1..=device.units {
        let _ = writeln!(out, "UNIT {unit}: SL 1: ICX6450-24P POE 24-port Management Module");
        let _ = writeln!(out, "         Serial  #: BZS324{unit}K00Q");
        let _ = writeln!(out, "         License: BASE_SOFT_PACKAGE   (LID: dbuFJ{unit}HKFFx)");
        out.push_str("         P-ENGINE  0: type DEF0, rev 01\n");
        out.push_str(RULE);
        let _ = writeln!(out, "UNIT {unit}: SL 2: ICX6450-SFP-Plus 4port 40G Module");
        out.push_str(RULE);
    }
    out.push_str("  800 MHz ARM processor ARMv5TE, 400 MHz bus\n65536 KB flash memory\n  512 MB DRAM\n");
    ending(device, &mut out);
    out
}

fn new_version(device: &Device) -> String {
    let mut out = String::from("  Copyright (c) Ruckus Networks, Inc. All rights reserved.\n");
    for unit in 1..=device.units {
        let _ = writeln!(out, "    UNIT {unit}: compiled on Nov 17 2022 at 02:14:29 labeled as SPR08095j");
        out.push_str("      (31457280 bytes) from Primary SPR08095jufi.bin (UFI)\n");
        let _ = writeln!(out, "        SW: Version {} ", render::version(device.os));
        out.push_str("      Compressed Primary Boot Code size = 786944, Version:10.1.22T225 (mnz10122)\n");
        out.push_str("       Compiled on Fri Jul 22 03:28:05 2022\n\n");
    }
    out.push_str("  HW: Stackable ICX7150-24-POE\n");
    out.push_str(RULE);
    for unit in 1..=device.units {
        let _ = writeln!(out, "UNIT {unit}: SL 1: ICX7150-24P-4X10GR POE 24-port Management Module");
        let _ = writeln!(out, "      Serial  #:FEE381{unit}Q018");
        out.push_str("      Software Package: ICX7150_L3_SOFT_PACKAGE\n      Current License: 4X10GR\n");
        out.push_str("      P-ASIC  0: type B160, rev 11  Chip BCM56160_B0\n");
        out.push_str(RULE);
        let _ = writeln!(out, "UNIT {unit}: SL 3: ICX7150-4X10GR 4-port 40G Module");
        out.push_str(RULE);
    }
    out.push_str(
        " 1000 MHz ARM processor ARMv7 88 MHz bus\n 8 MB boot flash memory\n 2 GB code flash memory\n 1 GB DRAM\n",
    );
    ending(device, &mut out);
    out.push_str("\nMy stack unit ID = 1, bootup role = active\n");
    out
}

fn ending(device: &Device, out: &mut String) {
    for unit in 1..=device.units {
        let days = 40 + unit;
        let _ = writeln!(out, "STACKID {unit}  system uptime is {days} day(s) 2 hour(s) 3 minute(s) 4 second(s)");
    }
    out.push_str("The system started at 09:41:51 GMT+00 Sat Nov 01 2025\n\n");
    let indent = if device.os == Os::FastIronOld { " " } else { "" };
    let _ = writeln!(out, "{indent}The system : started=warm start   reloaded=by \"reload\"");
}

fn speed(megabits: u32) -> String {
    if megabits >= 1000 { format!("{}G", megabits / 1000) } else { format!("{megabits}M") }
}

/// The LAG that a port belongs to, once it is in force.
fn in_force(model: &Model, port: PortId) -> Option<(u16, &Lag)> {
    model.lag_of(port).filter(|(_, lag)| lag.deployed)
}

fn up(device: &Device, port: PortId) -> bool {
    device.running.ports.get(&port).is_some_and(|port| port.link && !port.settings.disabled)
}

fn brief(device: &Device) -> String {
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
                link: if disabled {
                    "Disable"
                } else if up {
                    "Up"
                } else {
                    "Down"
                },
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
                    link: if lag.settings.disabled {
                        "Disable"
                    } else if up {
                        "Up"
                    } else {
                        "Down"
                    },
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

struct Row<'a> {
    link: &'a str,
    up: bool,
    speed: u32,
    trunk: Option<u16>,
    dual: Option<u16>,
    mac: [u8; 6],
    name: &'a str,
}

fn row(out: &mut String, model: &Model, port: &str, member: Member, row: Row<'_>) {
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

fn addresses(device: &Device, only: Option<&str>) -> String {
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

/// Whether a member of a LAG carries traffic.
fn up_in(device: &Device, lag: &Lag, port: PortId) -> bool {
    up(device, port) && lag.deployed && (lag.kind != LagKind::Dynamic || device.partners)
}

fn lag_brief(device: &Device) -> String {
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

fn lags(device: &Device, only: Option<&str>) -> String {
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
                link: if port.settings.disabled {
                    "Disable"
                } else if up {
                    "Up"
                } else {
                    "Down"
                },
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

fn vlans(device: &Device, only: Option<u16>) -> String {
    let model = &device.running;
    let mut out = format!(
        "Total PORT-VLAN entries: {}\nMaximum PORT-VLAN entries: 1024\n\nLegend: [Stk=Stack-Id, S=Slot]\n\n",
        model.vlans.len()
    );
    for (id, vlan) in model.vlans.iter().filter(|(id, _)| only.is_none_or(|only| only == **id)) {
        let name = vlan.name.as_deref().unwrap_or("[None]");
        let _ = writeln!(out, "PORT-VLAN {id}, Name {name}, Priority level0, {}", if vlan.stp { "On" } else { "Off" });
        let untagged = if *id == DEFAULT_VLAN { untold(device) } else { vlan.untagged.clone() };
        let dual: BTreeSet<Member> = model
            .ports
            .iter()
            .filter(|(_, port)| port.settings.dual_mode == Some(*id))
            .map(|(port, _)| Member::Port(*port))
            .collect();
        let tagged: BTreeSet<Member> = vlan.tagged.difference(&dual).copied().collect();
        rows(&mut out, " Untagged Ports:", &untagged);
        rows(&mut out, "   Tagged Ports:", &tagged);
        if device.os == Os::FastIronOld {
            rows(&mut out, "   Uplink Ports:", &BTreeSet::new());
            rows(&mut out, " DualMode Ports:", &dual);
        }
        rows(&mut out, " Mac-Vlan Ports:", &BTreeSet::new());
        out.push_str("     Monitoring: Disabled\n");
    }
    out
}

/// What is in no other VLAN.
fn untold(device: &Device) -> BTreeSet<Member> {
    let model = &device.running;
    let new = device.os == Os::FastIronNew;
    let free = |member: Member| model.untagged_in(member).is_none() && (new || model.tagged_in(member).is_empty());
    let ports = model.ports.keys().filter(|port| !new || model.lag_of(**port).is_none()).copied().map(Member::Port);
    let lags = model.lags.keys().filter(|_| new).copied().map(Member::Lag);
    ports.chain(lags).filter(|member| free(*member)).collect()
}

fn rows(out: &mut String, title: &str, members: &BTreeSet<Member>) {
    let mut slots: BTreeMap<(u16, u16), Vec<u16>> = BTreeMap::new();
    let mut lags = Vec::new();
    for member in members {
        match member {
            Member::Port(port) => slots.entry((port.unit, port.slot)).or_default().push(port.port),
            Member::Lag(id) => lags.push(*id),
        }
    }
    if slots.is_empty() && lags.is_empty() {
        let _ = writeln!(out, "{title} None");
        return;
    }
    let numbers = |numbers: &[u16]| numbers.iter().map(|n| format!("{n:>3}")).collect::<Vec<_>>().join(" ");
    for ((unit, slot), ports) in slots {
        for twelve in ports.chunks(ROW) {
            let _ = writeln!(out, "{title} (U{unit}/M{slot}) {}", numbers(twelve));
        }
    }
    if !lags.is_empty() {
        let _ = writeln!(out, "{title} (LAG)   {}", numbers(&lags));
    }
}

fn stack(device: &Device) -> String {
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

fn neighbours(device: &Device) -> String {
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

fn neighbours_in_detail(device: &Device) -> String {
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

fn chassis(device: &Device) -> String {
    let mut out = String::new();
    for unit in 1..=device.units {
        let _ = writeln!(out, "The stack unit {unit} chassis info:\n");
        out.push_str("Power supply 1 (AC - Regular) present, status ok\nPower supply 2 not present\n\nFan ok, speed (auto): [[1]]<->2\nFan speed switching temperature thresholds:\n\t\tSpeed 1: NM<----->58       deg-C\n\nMAC 1 Temperature Readings:\n\tCurrent temperature : 44.5 deg-C (caf\u{e9})\n");
        let _ = writeln!(out, "Boot Prom MAC : {}\n", dotted(Model::mac_of(PortId { unit, slot: 0, port: 0 })));
    }
    out
}

fn snmp_users(device: &Device) -> String {
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

/// The head of the table of ports.
const COLUMNS: &str = "Port       Link    State   Dupl Speed Trunk Tag Pvid Pri MAC             Name\n";

/// Between the parts of `show version`.
const RULE: &str = "==========================================================================\n";

/// Characters of a port's name that fit.
const LONGEST_NAME: usize = 15;

/// Ports in a row of `show vlan`.
const ROW: usize = 12;
