//! FastIron: the global configuration and that of interfaces.

use std::collections::BTreeSet;

use crate::fastiron::ACCEPT;
use crate::model::{HIGHEST_VLAN, Settings};
use crate::ports::{BadList, Member, PortId, parse_list};
use crate::profile::Os;
use crate::shell::{Context, Mode, Reply, Table};

pub(crate) const GLOBAL: Table = &[
    ("hostname <name>", |context, words| {
        context.device.running.hostname.clone_from(&words[0]);
        Reply::silence()
    }),
    ("vlan <id>", super::vlan::enter),
    ("vlan <id> by port", super::vlan::enter),
    ("vlan <id> name <name>", super::vlan::enter_named),
    ("vlan <id> name <name> by port", super::vlan::enter_named),
    ("no vlan <id>", super::vlan::remove),
    ("interface ethernet <ports..>", interface),
    ("interface lag <id>", lag_interface),
    ("snmp-server <line..>", snmp),
    ("no snmp-server <line..>", no_snmp),
    ("lldp run", |context, _| {
        context.device.running.lldp = true;
        Reply::silence()
    }),
    ("no lldp run", |context, _| {
        context.device.running.lldp = false;
        Reply::silence()
    }),
    ("aaa <line..>", ACCEPT),
    ("logging <line..>", ACCEPT),
    ("crypto-ssl <line..>", ACCEPT),
];

pub(crate) const INTERFACE: Table = &[
    ("port-name <name..>", |context, words| each(context, |s| s.name = Some(words.join(" ")))),
    ("no port-name", |context, _| each(context, |s| s.name = None)),
    ("no port-name <name..>", |context, _| each(context, |s| s.name = None)),
    ("disable", |context, _| each(context, |s| s.disabled = true)),
    ("enable", |context, _| each(context, |s| s.disabled = false)),
    ("no disable", |context, _| each(context, |s| s.disabled = false)),
    ("spanning-tree 802-1w admin-edge-port", |context, _| each(context, |s| s.edge = true)),
    ("no spanning-tree 802-1w admin-edge-port", |context, _| each(context, |s| s.edge = false)),
    ("ip address <address..>", |context, words| each(context, |s| s.address = Some(words.join(" ")))),
    ("no ip address <address..>", |context, _| each(context, |s| s.address = None)),
    ("speed-duplex <speed>", ACCEPT),
];

pub(crate) const INTERFACE_OLD: Table = &[
    ("dual-mode", |context, _| dual(context, Some(1))),
    ("dual-mode <vlan>", |context, words| match words[0].parse() {
        Ok(vlan) => dual(context, Some(vlan)),
        Err(_) => Reply::said(format!("Invalid input -> {}\nType ? for a list\n", words[0])),
    }),
    ("no dual-mode", |context, _| dual(context, None)),
    ("no dual-mode <vlan>", |context, _| dual(context, None)),
];

/// The ports of a list that exist, or what the switch says about the first that does not.
pub(crate) fn existing(context: &Context<'_>, words: &[String], lags: bool) -> Result<BTreeSet<Member>, Reply> {
    let members = parse_list(words, lags).map_err(|bad| refusal(&bad))?;
    for member in &members {
        match member {
            Member::Port(port) if !context.device.running.ports.contains_key(port) => {
                return Err(Reply::said(format!("Error - invalid interface {port}\n")));
            }
            Member::Lag(id) if !context.device.running.lags.contains_key(id) => {
                return Err(Reply::said(format!("Error - LAG {id} does not exist\n")));
            }
            Member::Port(_) | Member::Lag(_) => {}
        }
    }
    Ok(members)
}

/// The ports alone.
pub(crate) fn existing_ports(context: &Context<'_>, words: &[String]) -> Result<BTreeSet<PortId>, Reply> {
    let members = existing(context, words, false)?;
    Ok(members.into_iter().filter_map(|m| if let Member::Port(port) = m { Some(port) } else { None }).collect())
}

fn refusal(bad: &BadList) -> Reply {
    Reply::said(match bad {
        BadList::Word(word) if word.starts_with(|c: char| c.is_ascii_digit()) => {
            format!("Error - invalid interface {word}\n")
        }
        BadList::Word(word) => format!("Invalid input -> {word}\nType ? for a list\n"),
        BadList::Range(range) => format!("Error - invalid port range {range}\n"),
        BadList::Incomplete => "Incomplete command.\n".to_owned(),
    })
}

fn interface(context: &mut Context<'_>, words: &[String]) -> Reply {
    let mut list = vec!["ethernet".to_owned()];
    list.extend_from_slice(words);
    match existing_ports(context, &list) {
        Ok(ports) => {
            context.shell.mode = Mode::Ports(ports.into_iter().collect());
            Reply::silence()
        }
        Err(reply) => reply,
    }
}

fn lag_interface(context: &mut Context<'_>, words: &[String]) -> Reply {
    if context.device.os == Os::FastIronOld {
        return Reply::said(format!("Invalid input -> lag {}\nType ? for a list\n", words[0]));
    }
    match words[0].parse::<u16>() {
        Ok(id) if context.device.running.lags.contains_key(&id) => {
            context.shell.mode = Mode::LagInterface(id);
            Reply::silence()
        }
        Ok(id) => Reply::said(format!("Error - LAG {id} does not exist\n")),
        Err(_) => Reply::said(format!("Invalid input -> {}\nType ? for a list\n", words[0])),
    }
}

/// Changes the settings of everything that the session has chosen.
fn each(context: &mut Context<'_>, change: impl Fn(&mut Settings)) -> Reply {
    let device = &mut *context.device;
    match &context.shell.mode {
        Mode::LagInterface(id) => {
            if let Some(lag) = device.running.lags.get_mut(id) {
                change(&mut lag.settings);
            }
        }
        Mode::Ports(ports) => {
            for port in ports {
                if let Some((_, lag)) = device.running.lag_of(*port)
                    && device.os == Os::FastIronOld
                    && lag.deployed
                    && lag.primary != Some(*port)
                {
                    return Reply::said(format!("Error - port {port} is a secondary port of LAG {}\n", lag.name));
                }
                if let Some(port) = device.running.ports.get_mut(port) {
                    change(&mut port.settings);
                }
            }
        }
        _ => {}
    }
    Reply::silence()
}

fn dual(context: &mut Context<'_>, vlan: Option<u16>) -> Reply {
    let Mode::Ports(ports) = context.shell.mode.clone() else {
        return Reply::silence();
    };
    if let Some(vlan) = vlan {
        if vlan == 0 || vlan > HIGHEST_VLAN {
            return Reply::said(format!("Error: vlan id {vlan} is outside of allowed max of {HIGHEST_VLAN}\n"));
        }
        for port in &ports {
            let tagged = context.device.running.tagged_in(Member::Port(*port));
            if tagged.is_empty() || (vlan != 1 && !tagged.contains(&vlan)) {
                return Reply::said(format!("Error: ports ethe {port} are not tagged members of vlan {vlan}\n"));
            }
        }
    }
    each(context, |settings| settings.dual_mode = vlan)
}

fn snmp(context: &mut Context<'_>, words: &[String]) -> Reply {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let key = match words.as_slice() {
        ["user", name, _group, "v3", rest @ ..] if user_is_right(rest) => vec!["user", name],
        ["group", name, "v3", "auth" | "noauth" | "priv", ..] => vec!["group", name],
        ["community" | "host" | "view" | "location" | "contact", first, ..] => vec![words[0], first],
        ["user" | "group"] | ["user" | "group", _] => return Reply::said("Incomplete command.\n"),
        _ => return Reply::said(format!("Invalid input -> {}\nType ? for a list\n", words.join(" "))),
    };
    let prefix = key.join(" ");
    let lines = &mut context.device.running.snmp;
    lines.retain(|line| *line != prefix && !line.starts_with(&format!("{prefix} ")));
    lines.push(words.join(" "));
    Reply::silence()
}

/// `[access <acl>] [[encrypted] auth md5|sha <password> [priv [encrypted] des|aes <key>]]`
fn user_is_right(words: &[&str]) -> bool {
    let words = match words {
        ["access", _, rest @ ..] => rest,
        rest => rest,
    };
    let words = match words {
        [] => return true,
        ["encrypted", rest @ ..] => rest,
        rest => rest,
    };
    let ["auth", "md5" | "sha", _, words @ ..] = words else {
        return false;
    };
    matches!(words, [] | ["priv", "des" | "aes", _] | ["priv", "encrypted", "des" | "aes", _])
}

fn no_snmp(context: &mut Context<'_>, words: &[String]) -> Reply {
    let prefix = words.join(" ");
    let key: Vec<&str> = prefix.split(' ').take(2).collect();
    let key = key.join(" ");
    let lines = &mut context.device.running.snmp;
    let before = lines.len();
    lines.retain(|line| *line != key && !line.starts_with(&format!("{key} ")));
    if lines.len() == before { Reply::said(format!("Error - {key} does not exist\n")) } else { Reply::silence() }
}
