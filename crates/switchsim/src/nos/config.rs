//! Network OS: interfaces, port-channels and VLANs.

use std::collections::BTreeSet;

use crate::model::{Group, GroupMode, HIGHEST_VLAN, Lag, LagKind, Settings, Switchport};
use crate::nos::unknown;
use crate::ports::PortId;
use crate::shell::{Act, Context, Mode, Reply, Table};

pub(crate) const GLOBAL: Table = &[
    ("interface tengigabitethernet <port>", port),
    ("interface port-channel <id>", channel),
    ("no interface port-channel <id>", no_channel),
    ("interface vlan <id>", vlan),
    ("no interface vlan <id>", no_vlan),
    ("switch-attributes <rbridge> host-name <name>", |context, words| {
        context.device.running.hostname.clone_from(&words[1]);
        Reply::silence()
    }),
    ("snmp-server <line..>", snmp),
    ("no snmp-server <line..>", no_snmp),
    ("protocol lldp", |context, _| {
        context.shell.mode = Mode::Lldp;
        Reply::silence()
    }),
];

pub(crate) const LLDP: Table = &[
    ("disable", |context, _| {
        context.device.running.lldp = false;
        Reply::silence()
    }),
    ("no disable", |context, _| {
        context.device.running.lldp = true;
        Reply::silence()
    }),
];

pub(crate) const VLAN: Table = &[
    ("name <name>", |context, words| name_vlan(context, Some(words[0].clone()))),
    ("no name", |context, _| name_vlan(context, None)),
];

/// What goes on ports and port-channels.
pub(crate) const INTERFACE: Table = &[
    ("shutdown", |context, _| each(context, |s| s.disabled = true)),
    ("no shutdown", |context, _| each(context, |s| s.disabled = false)),
    ("description <text..>", |context, words| each(context, |s| s.name = Some(words.join(" ")))),
    ("no description", |context, _| each(context, |s| s.name = None)),
    ("spanning-tree edgeport", |context, _| each(context, |s| s.edge = true)),
    ("no spanning-tree edgeport", |context, _| each(context, |s| s.edge = false)),
    ("ip address <address>", |context, words| each(context, |s| s.address = Some(words[0].clone()))),
    ("no ip address <address>", |context, _| each(context, |s| s.address = None)),
    ("switchport", |context, _| layer2(context, |_| {})),
    ("no switchport", |context, _| each(context, |s| s.switchport = None)),
    ("switchport mode access", |context, _| mode(context, false)),
    ("switchport mode trunk", |context, _| mode(context, true)),
    ("switchport access vlan <id>", |context, words| with_vlan(context, words, false, |s, id| s.access = Some(id))),
    ("no switchport access vlan", |context, _| layer2(context, |s| s.access = None)),
    ("switchport trunk allowed vlan all", |context, _| trunk(context, |s| s.all = true)),
    ("switchport trunk allowed vlan none", |context, _| {
        trunk(context, |s| {
            s.all = false;
            s.allowed.clear();
        })
    }),
    ("switchport trunk allowed vlan add <ids>", |context, words| allow(context, words, true)),
    ("switchport trunk allowed vlan remove <ids>", |context, words| allow(context, words, false)),
    ("switchport trunk native-vlan <id>", |context, words| {
        with_vlan(context, words, true, |s, id| s.native = Some(id))
    }),
    ("no switchport trunk native-vlan", |context, _| trunk(context, |s| s.native = None)),
];

/// What goes on ports alone.
pub(crate) const PORT: Table = &[
    ("channel-group <id> mode active type standard", |c, w| group(c, w, GroupMode::Active, false)),
    ("channel-group <id> mode passive type standard", |c, w| group(c, w, GroupMode::Passive, false)),
    ("channel-group <id> mode on type standard", |c, w| group(c, w, GroupMode::On, false)),
    ("channel-group <id> mode active type brocade", |c, w| group(c, w, GroupMode::Active, true)),
    ("channel-group <id> mode passive type brocade", |c, w| group(c, w, GroupMode::Passive, true)),
    ("channel-group <id> mode on type brocade", |c, w| group(c, w, GroupMode::On, true)),
    ("no channel-group", no_group),
    ("lacp timeout long", ACCEPT),
    ("lacp timeout short", ACCEPT),
];

/// What goes on port-channels alone.
pub(crate) const CHANNEL: Table = &[
    ("vlag ignore-split", |context, _| each(context, |s| s.ignore_split = true)),
    ("no vlag ignore-split", |context, _| each(context, |s| s.ignore_split = false)),
];

const ACCEPT: Act = |_, _| Reply::silence();

fn port(context: &mut Context<'_>, words: &[String]) -> Reply {
    match PortId::parse(&words[0]) {
        Some(port) if context.device.running.ports.contains_key(&port) => {
            context.shell.mode = Mode::Ports(vec![port]);
            Reply::silence()
        }
        Some(port) => Reply::said(format!("%Error: Interface TenGigabitEthernet {port} does not exist\n")),
        None => Reply::said(unknown(INTERFACE_WORDS)),
    }
}

fn number(word: &str) -> Result<u16, Reply> {
    word.parse::<u16>()
        .ok()
        .filter(|id| (1..=HIGHEST_CHANNEL).contains(id))
        .ok_or_else(|| Reply::said(format!("%Error: \"{word}\" is out of range: 1..{HIGHEST_CHANNEL}\n")))
}

fn channel(context: &mut Context<'_>, words: &[String]) -> Reply {
    match number(&words[0]) {
        Ok(id) => {
            let lag = || Lag { deployed: true, ..Lag::new(&format!("Po {id}"), LagKind::Dynamic) };
            let lag = context.device.running.lags.entry(id).or_insert_with(|| {
                let mut lag = lag();
                lag.settings.disabled = true;
                lag
            });
            lag.deployed = true;
            context.shell.mode = Mode::LagInterface(id);
            Reply::silence()
        }
        Err(reply) => reply,
    }
}

fn no_channel(context: &mut Context<'_>, words: &[String]) -> Reply {
    let id = match number(&words[0]) {
        Ok(id) => id,
        Err(reply) => return reply,
    };
    if context.device.running.lags.remove(&id).is_none() {
        return Reply::said(format!("%Error: Interface Port-channel {id} does not exist\n"));
    }
    for port in context.device.running.ports.values_mut() {
        if port.group.is_some_and(|group| group.id == id) {
            port.group = None;
        }
    }
    if context.shell.mode == Mode::LagInterface(id) {
        context.shell.mode = Mode::Config;
    }
    Reply::silence()
}

fn vlan_number(word: &str) -> Result<u16, Reply> {
    word.parse::<u16>()
        .ok()
        .filter(|id| (1..=HIGHEST_VLAN).contains(id))
        .ok_or_else(|| Reply::said(format!("%Error: \"{word}\" is out of range: 1..{HIGHEST_VLAN}\n")))
}

fn vlan(context: &mut Context<'_>, words: &[String]) -> Reply {
    match vlan_number(&words[0]) {
        Ok(id) => {
            context.device.running.vlans.entry(id).or_default();
            context.shell.mode = Mode::Vlan(id);
            Reply::silence()
        }
        Err(reply) => reply,
    }
}

fn no_vlan(context: &mut Context<'_>, words: &[String]) -> Reply {
    let id = match vlan_number(&words[0]) {
        Ok(id) => id,
        Err(reply) => return reply,
    };
    if id == 1 {
        return Reply::said("%Error: Default VLAN cannot be deleted\n");
    }
    let model = &mut context.device.running;
    if model.vlans.remove(&id).is_none() {
        return Reply::said(format!("%Error: Interface Vlan {id} does not exist\n"));
    }
    let settings =
        model.ports.values_mut().map(|p| &mut p.settings).chain(model.lags.values_mut().map(|l| &mut l.settings));
    for switchport in settings.filter_map(|settings| settings.switchport.as_mut()) {
        switchport.allowed.remove(&id);
        switchport.access = switchport.access.filter(|access| *access != id);
        switchport.native = switchport.native.filter(|native| *native != id);
    }
    context.shell.mode = Mode::Config;
    Reply::silence()
}

fn name_vlan(context: &mut Context<'_>, name: Option<String>) -> Reply {
    if let Mode::Vlan(id) = context.shell.mode
        && let Some(vlan) = context.device.running.vlans.get_mut(&id)
    {
        vlan.name = name;
    }
    Reply::silence()
}

fn chosen<'a>(context: &'a mut Context<'_>) -> Option<&'a mut Settings> {
    match &context.shell.mode {
        Mode::Ports(ports) => context.device.running.ports.get_mut(ports.first()?).map(|port| &mut port.settings),
        Mode::LagInterface(id) => context.device.running.lags.get_mut(id).map(|lag| &mut lag.settings),
        _ => None,
    }
}

fn each(context: &mut Context<'_>, change: impl Fn(&mut Settings)) -> Reply {
    if let Some(settings) = chosen(context) {
        change(settings);
    }
    Reply::silence()
}

/// Changes what `switchport` says, which must have been said, and not on a member of a port-channel.
fn layer2(context: &mut Context<'_>, change: impl Fn(&mut Switchport)) -> Reply {
    if let Mode::Ports(ports) = &context.shell.mode
        && let Some(group) = ports.first().and_then(|port| context.device.running.ports.get(port)).and_then(|p| p.group)
    {
        return Reply::said(format!("%Error: Interface is a member of Port-channel {}\n", group.id));
    }
    match chosen(context) {
        Some(settings) if settings.address.is_some() => Reply::said("%Error: Interface has layer 3 configuration\n"),
        Some(settings) => {
            change(settings.switchport.get_or_insert_with(Switchport::default));
            Reply::silence()
        }
        None => Reply::silence(),
    }
}

fn mode(context: &mut Context<'_>, trunk: bool) -> Reply {
    layer2(context, |switchport| {
        if switchport.trunk != trunk {
            *switchport = Switchport { trunk, ..Switchport::default() };
        }
    })
}

fn trunk(context: &mut Context<'_>, change: impl Fn(&mut Switchport)) -> Reply {
    if chosen(context).is_some_and(|s| s.switchport.as_ref().is_none_or(|switchport| !switchport.trunk)) {
        return Reply::said("%Error: Switchport mode is not trunk\n");
    }
    layer2(context, change)
}

fn with_vlan(
    context: &mut Context<'_>,
    words: &[String],
    of_trunk: bool,
    change: impl Fn(&mut Switchport, u16),
) -> Reply {
    let id = match vlan_number(&words[0]) {
        Ok(id) => id,
        Err(reply) => return reply,
    };
    if !context.device.running.vlans.contains_key(&id) {
        return Reply::said(format!("%Error: VLAN {id} does not exist\n"));
    }
    if of_trunk {
        return trunk(context, |switchport| change(switchport, id));
    }
    if chosen(context).is_some_and(|s| s.switchport.as_ref().is_some_and(|switchport| switchport.trunk)) {
        return Reply::said("%Error: Switchport mode is not access\n");
    }
    layer2(context, |switchport| change(switchport, id))
}

fn allow(context: &mut Context<'_>, words: &[String], add: bool) -> Reply {
    let mut ids = BTreeSet::new();
    for part in words[0].split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        match (vlan_number(first), vlan_number(last)) {
            (Ok(first), Ok(last)) => ids.extend(first..=last),
            (Err(reply), _) | (_, Err(reply)) => return reply,
        }
    }
    if add && let Some(absent) = ids.iter().find(|id| !context.device.running.vlans.contains_key(id)) {
        return Reply::said(format!("%Error: VLAN {absent} does not exist\n"));
    }
    trunk(context, |switchport| {
        if add {
            switchport.allowed.extend(ids.iter().copied());
        } else {
            switchport.allowed.retain(|id| !ids.contains(id));
        }
    })
}

fn group(context: &mut Context<'_>, words: &[String], mode: GroupMode, brocade: bool) -> Reply {
    let id = match number(&words[0]) {
        Ok(id) => id,
        Err(reply) => return reply,
    };
    let Mode::Ports(ports) = &context.shell.mode else {
        return Reply::silence();
    };
    let Some(chosen) = ports.first().copied() else {
        return Reply::silence();
    };
    let model = &mut context.device.running;
    let Some(port) = model.ports.get(&chosen) else {
        return Reply::silence();
    };
    if let Some(has) = port.group.filter(|has| has.id != id) {
        return Reply::said(format!("%Error: Interface is already a member of Port-channel {}\n", has.id));
    }
    if port.settings.switchport.is_some() || port.settings.address.is_some() {
        return Reply::said("%Error: Interface has layer 2 or layer 3 configuration\n");
    }
    let other = model.ports.iter().find(|(other, port)| **other != chosen && port.group.is_some_and(|g| g.id == id));
    if let Some((other, far)) = other {
        let their = far.group.map(|group| (group.mode == GroupMode::On, group.brocade));
        if far.speed != port.speed || their != Some((mode == GroupMode::On, brocade)) {
            return Reply::said(format!("%Error: Interface does not match member {other} of Port-channel {id}\n"));
        }
    }
    if let Some(port) = model.ports.get_mut(&chosen) {
        port.group = Some(Group { id, mode, brocade });
    }
    let kind = if mode == GroupMode::On { LagKind::Static } else { LagKind::Dynamic };
    let lag = model.lags.entry(id).or_insert_with(|| {
        let mut lag = Lag { deployed: true, ..Lag::new(&format!("Po {id}"), kind) };
        lag.settings.disabled = true;
        lag
    });
    lag.kind = kind;
    lag.ports.insert(chosen);
    Reply::silence()
}

fn no_group(context: &mut Context<'_>, _: &[String]) -> Reply {
    if let Mode::Ports(ports) = &context.shell.mode
        && let Some(chosen) = ports.first()
    {
        let model = &mut context.device.running;
        let group = model.ports.get_mut(chosen).and_then(|port| port.group.take());
        if let Some(lag) = group.and_then(|group| model.lags.get_mut(&group.id)) {
            lag.ports.remove(chosen);
        }
    }
    Reply::silence()
}

fn snmp(context: &mut Context<'_>, words: &[String]) -> Reply {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let known = match words.as_slice() {
        ["user", _, rest @ ..] => user_is_right(rest),
        ["community", _, ..] | ["host" | "location" | "contact" | "group" | "view", _, ..] => true,
        _ => false,
    };
    if !known {
        return Reply::said(unknown(SNMP_WORDS));
    }
    let key = words[..2].join(" ");
    let lines = &mut context.device.running.snmp;
    lines.retain(|line| *line != key && !line.starts_with(&format!("{key} ")));
    lines.push(words.join(" "));
    Reply::silence()
}

/// `[groupname g] [auth md5|sha auth-password p [priv DES|AES128 priv-password p]] [encrypted]`
fn user_is_right(words: &[&str]) -> bool {
    let words = match words {
        ["groupname", _, rest @ ..] => rest,
        rest => rest,
    };
    let words = match words {
        ["auth", "md5" | "sha", "auth-password", _, rest @ ..] => rest,
        rest => rest,
    };
    let words = match words {
        ["priv", kind, "priv-password", _, rest @ ..]
            if kind.eq_ignore_ascii_case("des") || kind.eq_ignore_ascii_case("aes128") =>
        {
            rest
        }
        rest => rest,
    };
    matches!(words, [] | ["encrypted"])
}

fn no_snmp(context: &mut Context<'_>, words: &[String]) -> Reply {
    let key = words.iter().take(2).cloned().collect::<Vec<_>>().join(" ");
    let lines = &mut context.device.running.snmp;
    let before = lines.len();
    lines.retain(|line| *line != key && !line.starts_with(&format!("{key} ")));
    if lines.len() == before { Reply::said(format!("%Error: {key} does not exist\n")) } else { Reply::silence() }
}

/// The highest number of a port-channel.
const HIGHEST_CHANNEL: u16 = 6144;

/// Where the port stands in `interface TenGigabitEthernet 1/0/1`.
const INTERFACE_WORDS: usize = "interface TenGigabitEthernet ".len();

/// Where the rest stands in `snmp-server …`.
const SNMP_WORDS: usize = "snmp-server ".len();
