//! Network OS: what `show` prints.

use std::fmt::Write as _;

use crate::device::Device;
use crate::model::{LagKind, Settings, dotted};
use crate::nos::{render, short};
use crate::ports::PortId;
use crate::shell::{Context, Reply, Table};

pub(crate) const TABLE: Table = &[
    ("show version", |c, _| Reply::said(version(c.device))),
    ("show running-config", |c, _| Reply::said(c.device.render(&c.device.running))),
    ("show startup-config", |c, _| Reply::said(c.device.render(&c.device.startup))),
    ("show running-config interface tengigabitethernet <port>", one_port),
    ("show running-config interface port-channel <id>", one_channel),
    ("show running-config interface vlan <id>", one_vlan),
    ("show interface status", |c, _| Reply::said(status(c.device))),
    ("show mac-address-table", |c, _| Reply::said(addresses(c.device, None))),
    ("show mac-address-table address <mac>", |c, words| Reply::said(addresses(c.device, Some(&words[0])))),
    ("show port-channel", |c, _| Reply::said(channels(c.device, None))),
    ("show port-channel summary", |c, _| Reply::said(channels(c.device, None))),
    ("show port-channel detail", |c, _| Reply::said(channels(c.device, None))),
    ("show port-channel <id>", |c, words| Reply::said(channels(c.device, words[0].parse().ok()))),
    ("show vlan brief", |c, _| Reply::said(vlans(c.device))),
    ("show fabric isl", |c, _| Reply::said(fabric(c.device))),
    ("show vcs", |c, _| Reply::said(vcs(c.device))),
    ("show chassis", |c, _| Reply::said(chassis(c.device))),
    ("show inventory chassis", |c, _| Reply::said(inventory(c.device))),
    ("show lldp neighbors", |c, _| Reply::said(neighbours(c.device))),
    ("show clock", |_, _| Reply::said("rbridge-id 1: 2026-01-01 12:00:00 Etc/GMT+0\n")),
];

fn version(device: &Device) -> String {
    if let Some(text) = &device.show_version {
        return text.clone();
    }
    let mut out = String::from("\nNetwork Operating System Software\nNetwork Operating System Version: 7.2.0\n");
    out.push_str("Copyright (c) 1995-2017 Brocade Communications Systems, Inc.\nFirmware name:      7.2.0\n");
    out.push_str("Build Time:         20:12:41 Jun  8, 2017\nInstall Time:       08:01:12 Nov  1, 2025\nKernel:             2.6.34.6\n\n");
    out.push_str("BootProm:           1.0.1\nControl Processor:  e500mc with 4096 MB of memory\n\n");
    out.push_str("Slot    Name    Primary/Secondary Versions                         Status\n");
    out.push_str("---------------------------------------------------------------------------\n");
    // The modules of this chassis, and not the switches of the fabric.
    out.push_str("SW/0    NOS     7.2.0                                              ACTIVE*\n");
    out.push_str("                7.2.0\n");
    out
}

fn one_port(context: &mut Context<'_>, words: &[String]) -> Reply {
    let mut out = String::new();
    match PortId::parse(&words[0]).and_then(|id| Some((id, context.device.running.ports.get(&id)?))) {
        Some((id, port)) => render::interface(id, port, &mut out),
        None => out.push_str("%Error: No such interface\n"),
    }
    Reply::said(out)
}

fn one_channel(context: &mut Context<'_>, words: &[String]) -> Reply {
    let mut out = String::new();
    match words[0].parse().ok().and_then(|id| Some((id, context.device.running.lags.get(&id)?))) {
        Some((id, lag)) => render::channel(id, lag, &mut out),
        None => out.push_str("% No entries found.\n"),
    }
    Reply::said(out)
}

fn one_vlan(context: &mut Context<'_>, words: &[String]) -> Reply {
    let mut out = String::new();
    match words[0].parse().ok().filter(|id| context.device.running.vlans.contains_key(id)) {
        Some(id) => render::vlan(&context.device.running, id, &mut out),
        None => out.push_str("% No entries found.\n"),
    }
    Reply::said(out)
}

pub(crate) fn up(device: &Device, port: PortId) -> bool {
    device.running.ports.get(&port).is_some_and(|port| port.link && !port.settings.disabled)
}

/// Whether a member of a port-channel carries traffic.
pub(crate) fn synced(device: &Device, port: PortId) -> bool {
    let Some((_, lag)) = device.running.lag_of(port) else {
        return false;
    };
    up(device, port) && !lag.settings.disabled && (lag.kind == LagKind::Static || device.partners)
}

fn status(device: &Device) -> String {
    let mut out =
        String::from("-----------------------------------------------------------------------------------------\n");
    let _ = writeln!(out, "{:<14} {:<22} {:<8} {:<8} {:<10} Description", "Port", "Status", "Mode", "Speed", "Type");
    out.push_str("-----------------------------------------------------------------------------------------\n");
    for (id, port) in &device.running.ports {
        let status = if up(device, *id) {
            "connected (up)"
        } else if port.settings.disabled {
            "adminDown"
        } else {
            "notconnected"
        };
        line(&mut out, &short(*id), status, &port.settings, if up(device, *id) { "10G" } else { "--" }, "10G-SFP-SR");
    }
    for (id, lag) in &device.running.lags {
        let live = lag.ports.iter().filter(|port| synced(device, **port)).count();
        let status = if live > 0 { "connected (up)" } else { "notconnected" };
        let speed = if live > 0 { format!("{}G", live * 10) } else { "--".to_owned() };
        line(&mut out, &format!("Po {id}"), status, &lag.settings, &speed, "");
    }
    out
}

fn line(out: &mut String, port: &str, status: &str, settings: &Settings, speed: &str, kind: &str) {
    let mode = match &settings.switchport {
        Some(switchport) if switchport.trunk => "trunk",
        Some(_) => "access",
        None => "--",
    };
    let name = settings.name.as_deref().unwrap_or_default();
    let _ = writeln!(out, "{port:<14} {status:<22} {mode:<8} {speed:<8} {kind:<10} {name}");
}

fn addresses(device: &Device, only: Option<&str>) -> String {
    let mut out = String::from("VlanId   Mac-address       Type     State        Ports\n");
    let mut count = 0;
    for entry in device.learnt.iter().filter(|entry| up(device, entry.port)) {
        if only.is_some_and(|only| !only.eq_ignore_ascii_case(&dotted(entry.mac))) {
            continue;
        }
        let (port, settings) = match device.running.lag_of(entry.port) {
            Some((id, lag)) => (format!("Po {id}"), Some(&lag.settings)),
            None => (short(entry.port), device.running.ports.get(&entry.port).map(|port| &port.settings)),
        };
        let vlan = settings.and_then(|s| s.switchport.as_ref()).and_then(|switchport| {
            if switchport.trunk {
                switchport.native.or_else(|| switchport.allowed.first().copied())
            } else {
                switchport.access
            }
        });
        count += 1;
        let _ =
            writeln!(out, "{:<8} {:<17} Dynamic  Active       {port}", vlan.unwrap_or(entry.vlan), dotted(entry.mac));
    }
    let _ = writeln!(out, "Total MAC addresses    : {count}");
    out
}

fn channels(device: &Device, only: Option<u16>) -> String {
    let mut out = String::new();
    for (id, lag) in device.running.lags.iter().filter(|(id, _)| only.is_none_or(|only| only == **id)) {
        let units = lag.ports.iter().map(|port| port.unit).collect::<std::collections::BTreeSet<_>>();
        let what = if lag.kind == LagKind::Static { "Static" } else { "LACP" };
        let _ = writeln!(out, " {what} Aggregator: Po {id}{}", if units.len() > 1 { " (vLAG)" } else { "" });
        let brocade = device.running.ports.values().any(|port| port.group.is_some_and(|g| g.id == *id && g.brocade));
        let _ = writeln!(out, " Aggregator type: {}", if brocade { "Brocade" } else { "Standard" });
        if lag.kind == LagKind::Dynamic {
            let _ = writeln!(out, " Admin Key: {id:04} - Oper Key {id:04}");
            let far =
                lag.ports.iter().filter(|port| synced(device, **port)).find_map(|port| device.neighbours.get(port));
            let far = far.map_or([0; 6], |far| far.mac).map(|byte| format!("{byte:02x}")).join("-");
            let _ = writeln!(out, " Partner System ID: 0x8000,{far}");
        }
        out.push_str("  Member ports:\n");
        for port in &lag.ports {
            let _ = writeln!(out, "   Link: {} sync: {}", short(*port), u8::from(synced(device, *port)));
        }
    }
    out
}

fn vlans(device: &Device) -> String {
    let model = &device.running;
    let mut out = format!(
        "Total Number of VLANs configured    : {}\nTotal Number of VLANs provisioned   : {}\n",
        model.vlans.len(),
        model.vlans.len()
    );
    out.push_str("Total Number of VLANs unprovisioned : 0\nVLAN             Name            State        Ports           Classification\n");
    out.push_str("(F)-FCoE                                                    (u)-Untagged\n(R)-RSPAN                                                   (t)-Tagged\n");
    out.push_str("(T)-TRANSPARENT                                             (c)-Converged\n");
    out.push_str("================ =============== ============ =============== ====================\n");
    for (id, vlan) in &model.vlans {
        let name = match (&vlan.name, id) {
            (_, 1) => "default".to_owned(),
            (Some(name), _) => name.clone(),
            (None, id) => format!("VLAN{id:04}"),
        };
        let mut ports: Vec<String> = model
            .ports
            .iter()
            .filter_map(|(port, p)| Some(format!("{}{}", short(*port), inside(&p.settings, *id)?)))
            .collect();
        ports.extend(model.lags.iter().filter_map(|(lag, l)| Some(format!("Po {lag}{}", inside(&l.settings, *id)?))));
        let state = if ports.is_empty() { "INACTIVE(no member port)" } else { "ACTIVE" };
        let mut ports = ports.into_iter();
        let _ = writeln!(out, "{id:<16} {name:<15} {state:<12} {}", ports.next().unwrap_or_default());
        for port in ports {
            let _ = writeln!(out, "{:<45} {port}", "");
        }
    }
    out
}

pub(crate) fn inside(settings: &Settings, vlan: u16) -> Option<&'static str> {
    let switchport = settings.switchport.as_ref()?;
    if !switchport.trunk {
        return (switchport.access.unwrap_or(1) == vlan).then_some("(u)");
    }
    if switchport.native == Some(vlan) {
        return Some("(u)");
    }
    (switchport.all || switchport.allowed.contains(&vlan)).then_some("(t)")
}

fn fabric(device: &Device) -> String {
    let links = device.units.saturating_sub(1);
    let mut out = format!("\nRbridge-id: 1     #ISLs: {links}\n\n");
    out.push_str(" Src        Src         Nbr        Nbr\nIndex    Interface    Index    Interface      Nbr-WWN                 BW     Trunk  Nbr-Name\n");
    out.push_str("------------------------------------------------------------------------------------------\n");
    for unit in 2..=device.units {
        let _ = writeln!(
            out,
            "{:<8} Te 1/0/{:<6} {:<8} Te {unit}/0/{:<6} 10:00:00:27:F8:70:00:{unit:02X} 10G    Yes    \"{}-{unit}\"",
            40 + unit,
            40 + unit,
            41,
            41,
            device.running.hostname
        );
    }
    out
}

fn vcs(device: &Device) -> String {
    let mut out = format!(
        "Config Mode    : Distributed\nVCS Mode       : Logical Chassis\nVCS ID         : 1\nTotal Number of Nodes          : {}\n",
        device.units
    );
    out.push_str(
        "Rbridge-Id       WWN                            Management IP   VCS Status    Fabric Status    HostName\n",
    );
    out.push_str(
        "---------------------------------------------------------------------------------------------------------\n",
    );
    for unit in 1..=device.units {
        let mark = if unit == 1 { ">" } else { " " };
        let star = if unit == 1 { "*" } else { "" };
        let host =
            if unit == 1 { device.running.hostname.clone() } else { format!("{}-{unit}", device.running.hostname) };
        let _ = writeln!(
            out,
            "{unit:<10}     {mark}10:00:00:27:F8:70:00:{unit:02X}{star:<8} 10.0.0.{unit}        Online        Online           {host}"
        );
    }
    out
}

/// The serial number of a switch of the fabric.
pub(crate) fn serial(device: &Device, unit: u16) -> String {
    format!("CPL{}K{unit:02}E", device.serial)
}

/// The one that one is logged in to.
fn chassis(device: &Device) -> String {
    format!(
        "\nChassis Name:  BR-VDX6740\nswitchType: 131\n\nFAN  Unit: 1\nTime Awake:              0 days\n\n\
         POWER SUPPLY  Unit: 1\nFactory Part Num:        23-1000043-01\nFactory Serial Num:\n\
         Time Awake:              0 days\n\nCHASSIS/WWN  Unit: 1\nPower Consume Factor:   0\n\
         Factory Part Num:        40-1000927-06\nFactory Serial Num:      {}\n\
         Manufacture:             Day: 11  Month:  8  Year: 14\nTime Alive:              1116 days\n\n\
         Airflow direction : Port side INTAKE\n",
        serial(device, 1)
    )
}

fn inventory(device: &Device) -> String {
    format!(
        "NAME: Chassis  \t\tDESCR:System Chassis\nSID:BR-VDX6740     \tSwitchType:131\n\
         PN:40-1000927-06  \tSN:{}\n",
        serial(device, 1)
    )
}

fn neighbours(device: &Device) -> String {
    if !device.running.lldp {
        return "%Error: LLDP is disabled\n".to_owned();
    }
    let mut out = format!(
        "{:<15} {:<16} {:<12} {:<14} {:<16} {:<16} {:<8} {:<8} {}\n",
        "Local Intf", "Dead Interval", "Remaining", "Remote Intf", "Chassis ID", "Tx", "Rx", "System", "Name"
    );
    out = out.replace("System   Name", "System Name");
    for (port, far) in device.neighbours.iter().filter(|(port, _)| up(device, **port)) {
        let _ = writeln!(
            out,
            "{:<15} {:<16} {:<12} {:<14} {:<16} {:<16} {:<8} {}",
            short(*port),
            120,
            113,
            far.port,
            dotted(far.mac),
            118,
            120,
            far.name
        );
    }
    out
}
