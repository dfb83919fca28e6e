//! FastIron: what `show` prints.

mod lags;
mod ports;
mod surroundings;
mod version;
mod vlans;

use crate::fastiron::render;
use crate::shell::{Reply, Table};

use self::lags::{lag_brief, lag_interfaces, lags};
use self::ports::{addresses, brief};
use self::surroundings::{chassis, neighbours, neighbours_in_detail, snmp_users, stack};
use self::version::version;
use self::vlans::vlans;

/// What it has, in the old syntax of LAGs or the new.
pub(crate) fn tables(old: bool) -> Vec<Table> {
    if old { vec![TABLE] } else { vec![TABLE, TABLE_NEW] }
}

const TABLE: Table = &[
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

/// What is there only where LAGs are interfaces.
const TABLE_NEW: Table = &[
    ("show interfaces lag", |c, _| Reply::said(lag_interfaces(c.device, None))),
    ("show interfaces lag <id>", |c, words| match words[0].parse::<u16>() {
        Ok(id) if c.device.running.lags.contains_key(&id) => Reply::said(lag_interfaces(c.device, Some(id))),
        Ok(id) => Reply::said(format!("Error - LAG {id} does not exist\n")),
        Err(_) => Reply::said(format!("Invalid input -> {}\nType ? for a list\n", words[0])),
    }),
];
