//! FastIron: LAGs in both syntaxes, and the rules by which ports may form one.

use std::collections::BTreeSet;

use crate::fastiron::config::existing_ports;
use crate::model::{Lag, LagKind, Model};
use crate::ports::{Member, PortId, list, members};
use crate::profile::Os;
use crate::shell::{Context, Mode, Reply, Table};

pub(crate) const GLOBAL: Table = &[
    ("lag <name> dynamic id <id>", |context, words| enter(context, words, Some(LagKind::Dynamic))),
    ("lag <name> static id <id>", |context, words| enter(context, words, Some(LagKind::Static))),
    ("lag <name> keep-alive id <id>", |context, words| enter(context, words, Some(LagKind::KeepAlive))),
    ("lag <name> dynamic", |context, words| enter(context, words, Some(LagKind::Dynamic))),
    ("lag <name> static", |context, words| enter(context, words, Some(LagKind::Static))),
    ("lag <name> keep-alive", |context, words| enter(context, words, Some(LagKind::KeepAlive))),
    ("lag <name>", |context, words| enter(context, words, None)),
    ("no lag <name>", remove),
    ("no lag <name> dynamic", remove),
    ("no lag <name> static", remove),
    ("no lag <name> dynamic id <id>", remove),
    ("no lag <name> static id <id>", remove),
];

pub(crate) const TABLE: Table = &[
    ("ports <ports..>", set_ports),
    ("no ports <ports..>", remove_ports),
    ("port-name <name> ethernet <port>", port_name),
    ("no port-name <name> ethernet <port>", no_port_name),
    ("disable <ports..>", |context, words| switch(context, words, true)),
    ("enable <ports..>", |context, words| switch(context, words, false)),
];

pub(crate) const TABLE_OLD: Table = &[
    ("primary-port <port>", primary),
    ("no primary-port", |context, _| no_primary(context)),
    ("no primary-port <port>", |context, _| no_primary(context)),
    ("deploy", deploy),
    ("no deploy", undeploy),
];

fn enter(context: &mut Context<'_>, words: &[String], kind: Option<LagKind>) -> Reply {
    let name = &words[0];
    let new = context.device.os == Os::FastIronNew;
    let wanted = match words.get(1).map(String::as_str) {
        None => None,
        Some("auto") if new => None,
        Some(word) => match word.parse::<u16>() {
            Ok(id) if (1..=HIGHEST_LAG).contains(&id) => Some(id),
            Ok(id) => {
                return Reply::said(format!("Error: LAG id {id} is outside of allowed range 1 to {HIGHEST_LAG}\n"));
            }
            Err(_) => return Reply::said(format!("Invalid input -> {word}\nType ? for a list\n")),
        },
    };
    let lags = &mut context.device.running.lags;
    let existing = lags.iter().find(|(_, lag)| lag.name == *name).map(|(id, lag)| (*id, lag.kind));
    let id = match (existing, kind) {
        (Some((id, has)), _) if kind.is_some_and(|kind| kind != has) => {
            return Reply::said(format!("Error: LAG {name} id {id} is already configured as {}\n", has.word()));
        }
        (Some((id, _)), _) if wanted.is_some_and(|wanted| wanted != id) => {
            return Reply::said(format!("Error: LAG {name} already has id {id}\n"));
        }
        (Some((id, _)), _) => id,
        (None, None) => return Reply::said("Incomplete command.\n"),
        (None, Some(kind)) => {
            let auto = words.get(1).is_some_and(|word| word == "auto");
            let id = match wanted {
                Some(id) => id,
                None if auto => match (1..=HIGHEST_LAG).find(|id| !lags.contains_key(id)) {
                    Some(id) => id,
                    None => return Reply::said("Error: no LAG id is free\n"),
                },
                None => return Reply::said("Incomplete command.\n"),
            };
            if let Some(other) = lags.get(&id) {
                return Reply::said(format!("Error: LAG id {id} is already used by LAG {}\n", other.name));
            }
            if name.len() > LONGEST_NAME {
                return Reply::said(format!("Error: LAG name is longer than {LONGEST_NAME} characters\n"));
            }
            lags.insert(id, Lag { deployed: new, ..Lag::new(name, kind) });
            id
        }
    };
    context.shell.mode = Mode::Lag(id);
    Reply::silence()
}

fn remove(context: &mut Context<'_>, words: &[String]) -> Reply {
    let old = context.device.os == Os::FastIronOld;
    let model = &mut context.device.running;
    let Some((id, lag)) = model.lags.iter().find(|(_, lag)| lag.name == words[0]) else {
        return Reply::said(format!("Error: LAG {} does not exist\n", words[0]));
    };
    let id = *id;
    if words.get(1).is_some_and(|word| word.parse() != Ok(id)) {
        return Reply::said(format!("Error: LAG {} has id {id}\n", words[0]));
    }
    if old && lag.deployed {
        return Reply::said(format!("Error: LAG {} is deployed, please undeploy it first\n", words[0]));
    }
    model.lags.remove(&id);
    for vlan in model.vlans.values_mut() {
        vlan.tagged.remove(&Member::Lag(id));
        vlan.untagged.remove(&Member::Lag(id));
    }
    context.shell.mode = Mode::Config;
    Reply::silence()
}

fn current<'a>(context: &'a mut Context<'_>) -> Option<(u16, &'a mut Lag)> {
    match context.shell.mode {
        Mode::Lag(id) => context.device.running.lags.get_mut(&id).map(|lag| (id, lag)),
        _ => None,
    }
}

fn set_ports(context: &mut Context<'_>, words: &[String]) -> Reply {
    let ports = match existing_ports(context, words) {
        Ok(ports) => ports,
        Err(reply) => return reply,
    };
    let old = context.device.os == Os::FastIronOld;
    let model = &context.device.running;
    let Some((id, lag)) = (match context.shell.mode {
        Mode::Lag(id) => model.lags.get(&id).map(|lag| (id, lag)),
        _ => None,
    }) else {
        return Reply::silence();
    };
    for port in &ports {
        if let Some((other, named)) = model.lag_of(*port).filter(|(other, _)| *other != id) {
            return Reply::said(format!("Error: port {port} is already a member of LAG {} (id {other})\n", named.name));
        }
    }
    // The old syntax adds to the set, the new one replaces it.
    let set: BTreeSet<PortId> = if old { lag.ports.union(&ports).copied().collect() } else { ports };
    if set.len() > MOST_PORTS {
        return Reply::said(format!("Error: a LAG can have at most {MOST_PORTS} ports\n"));
    }
    if (lag.deployed || !old)
        && let Some(why) = unfit(model, lag.primary, &set, old)
    {
        return Reply::said(why);
    }
    let deployed = lag.deployed;
    if let Some((_, lag)) = current(context) {
        lag.ports = set;
    }
    if old && deployed {
        follow(context, id);
    }
    Reply::silence()
}

/// Why these ports cannot be one LAG.
fn unfit(model: &Model, primary: Option<PortId>, ports: &BTreeSet<PortId>, old: bool) -> Option<String> {
    let first = primary.or_else(|| ports.first().copied())?;
    let lead = model.ports.get(&first)?;
    for id in ports {
        let port = model.ports.get(id)?;
        if port.settings.address.is_some() {
            return Some(format!("Error: port {id} has layer 3 configuration and cannot be in a LAG\n"));
        }
        if port.speed != lead.speed {
            return Some(format!("Error: port {id} and port {first} have different speeds\n"));
        }
        let member = Member::Port(*id);
        let (own, leads) = (
            (model.tagged_in(member), model.untagged_in(member), port.settings.dual_mode),
            (model.tagged_in(Member::Port(first)), model.untagged_in(Member::Port(first)), lead.settings.dual_mode),
        );
        if old && own != leads && model.lag_of(*id).is_none_or(|(_, lag)| !lag.deployed) {
            return Some(format!(
                "Error: port {id} and primary port {first} have different tag type or vlan membership\n"
            ));
        }
        if !old && (!own.0.is_empty() || own.1.is_some()) {
            return Some(format!("Error: port {id} has tag type or vlan membership other than the default vlan\n"));
        }
    }
    None
}

fn remove_ports(context: &mut Context<'_>, words: &[String]) -> Reply {
    let ports = match existing_ports(context, words) {
        Ok(ports) => ports,
        Err(reply) => return reply,
    };
    let Some((_, lag)) = current(context) else {
        return Reply::silence();
    };
    let absent: BTreeSet<PortId> = ports.difference(&lag.ports).copied().collect();
    if !absent.is_empty() {
        return Reply::said(format!("Error: ports {} are not in LAG {}\n", list(&members(&absent), "ethe"), lag.name));
    }
    if lag.primary.is_some_and(|primary| ports.contains(&primary)) && lag.deployed {
        return Reply::said(format!("Error: the primary port of deployed LAG {} cannot be removed\n", lag.name));
    }
    lag.ports.retain(|port| !ports.contains(port));
    lag.port_names.retain(|port, _| !ports.contains(port));
    if lag.primary.is_some_and(|primary| ports.contains(&primary)) {
        lag.primary = None;
    }
    let deployed = lag.deployed;
    if context.device.os == Os::FastIronOld && deployed {
        to_default(context, &ports);
    }
    Reply::silence()
}

fn one(context: &mut Context<'_>, word: &str) -> Result<PortId, Reply> {
    let text = word.to_owned();
    let ports = existing_ports(context, &["ethernet".to_owned(), text])?;
    let port = ports.first().copied().ok_or_else(Reply::silence)?;
    match current(context) {
        Some((_, lag)) if !lag.ports.contains(&port) => {
            Err(Reply::said(format!("Error: port {port} is not in LAG {}\n", lag.name)))
        }
        _ => Ok(port),
    }
}

fn primary(context: &mut Context<'_>, words: &[String]) -> Reply {
    let port = match one(context, &words[0]) {
        Ok(port) => port,
        Err(reply) => return reply,
    };
    match current(context) {
        Some((_, lag)) if lag.deployed && lag.primary != Some(port) => {
            Reply::said(format!("Error: LAG {} is deployed, its primary port cannot be changed\n", lag.name))
        }
        Some((_, lag)) => {
            lag.primary = Some(port);
            Reply::silence()
        }
        None => Reply::silence(),
    }
}

fn no_primary(context: &mut Context<'_>) -> Reply {
    match current(context) {
        Some((_, lag)) if lag.deployed => {
            Reply::said(format!("Error: LAG {} is deployed, its primary port cannot be changed\n", lag.name))
        }
        Some((_, lag)) => {
            lag.primary = None;
            Reply::silence()
        }
        None => Reply::silence(),
    }
}

fn deploy(context: &mut Context<'_>, _: &[String]) -> Reply {
    let Mode::Lag(id) = context.shell.mode else {
        return Reply::silence();
    };
    let model = &context.device.running;
    let Some(lag) = model.lags.get(&id) else {
        return Reply::silence();
    };
    if lag.ports.is_empty() {
        return Reply::said(format!("Error: LAG {} has no ports\n", lag.name));
    }
    if lag.primary.is_none() {
        return Reply::said(format!("Error: LAG {} has no primary port\n", lag.name));
    }
    if let Some(why) = unfit(model, lag.primary, &lag.ports, true) {
        return Reply::said(why);
    }
    let name = lag.name.clone();
    if let Some((_, lag)) = current(context) {
        lag.deployed = true;
    }
    follow(context, id);
    Reply::said(format!("LAG {name} deployed successfully!\n"))
}

fn undeploy(context: &mut Context<'_>, _: &[String]) -> Reply {
    let Some((_, lag)) = current(context) else {
        return Reply::silence();
    };
    if !lag.deployed {
        return Reply::said(format!("Error: LAG {} is not deployed\n", lag.name));
    }
    lag.deployed = false;
    let (name, primary) = (lag.name.clone(), lag.primary);
    let secondary: BTreeSet<PortId> = lag.ports.iter().copied().filter(|port| Some(*port) != primary).collect();
    to_default(context, &secondary);
    Reply::said(format!("LAG {name} un-deployed successfully!\n"))
}

/// Every port of a deployed LAG is where its primary port is.
fn follow(context: &mut Context<'_>, id: u16) {
    let Some(lag) = context.device.running.lags.get(&id) else {
        return;
    };
    let Some(primary) = lag.primary else {
        return;
    };
    let ports = lag.ports.clone();
    for vlan in context.device.running.vlans.values_mut() {
        for set in [&mut vlan.tagged, &mut vlan.untagged] {
            if set.contains(&Member::Port(primary)) {
                set.extend(ports.iter().copied().map(Member::Port));
            }
        }
    }
    let dual = context.device.running.ports.get(&primary).and_then(|port| port.settings.dual_mode);
    for port in &ports {
        if let Some(port) = context.device.running.ports.get_mut(port) {
            port.settings.dual_mode = dual;
        }
    }
}

fn to_default(context: &mut Context<'_>, ports: &BTreeSet<PortId>) {
    for vlan in context.device.running.vlans.values_mut() {
        for port in ports {
            vlan.tagged.remove(&Member::Port(*port));
            vlan.untagged.remove(&Member::Port(*port));
        }
    }
    for port in ports {
        if let Some(port) = context.device.running.ports.get_mut(port) {
            port.settings.dual_mode = None;
        }
    }
}

fn port_name(context: &mut Context<'_>, words: &[String]) -> Reply {
    match one(context, &words[1]) {
        Ok(port) => {
            if let Some((_, lag)) = current(context) {
                lag.port_names.insert(port, words[0].clone());
            }
            Reply::silence()
        }
        Err(reply) => reply,
    }
}

fn no_port_name(context: &mut Context<'_>, words: &[String]) -> Reply {
    match one(context, &words[1]) {
        Ok(port) => {
            if let Some((_, lag)) = current(context) {
                lag.port_names.remove(&port);
            }
            Reply::silence()
        }
        Err(reply) => reply,
    }
}

fn switch(context: &mut Context<'_>, words: &[String], disabled: bool) -> Reply {
    let ports = match existing_ports(context, words) {
        Ok(ports) => ports,
        Err(reply) => return reply,
    };
    let Some((_, lag)) = current(context) else {
        return Reply::silence();
    };
    if let Some(absent) = ports.difference(&lag.ports).next() {
        return Reply::said(format!("Error: port {absent} is not in LAG {}\n", lag.name));
    }
    for port in &ports {
        if let Some(port) = context.device.running.ports.get_mut(port) {
            port.settings.disabled = disabled;
        }
    }
    Reply::silence()
}

/// The highest id of a LAG.
const HIGHEST_LAG: u16 = 256;

/// Ports of a LAG.
const MOST_PORTS: usize = 8;

/// Characters of a LAG's name.
const LONGEST_NAME: usize = 64;
