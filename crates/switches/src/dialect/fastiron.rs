//! FastIron, in the old syntax of port channels and the new.

use std::collections::BTreeSet;

use scores::switch::{
    Change, Config, Family, Lag, LagMode, Membership, Port, PortConfig, SnmpGroup, SnmpPrivacy, SnmpSecrets, SnmpUser,
};

use super::{Words, snmp_user};
use crate::parse::ports_text;
use crate::session::Command;

pub(super) fn commands(
    family: Family,
    running: &Config,
    change: &Change,
    secrets: Option<&SnmpSecrets>,
) -> Result<Vec<Command>, String> {
    let old = family == Family::FastIronDeploy;
    Ok(match change {
        Change::Lag { from: None, to: None, .. } => Vec::new(),
        Change::Lag { id, from: None, to: Some(to) } => make(old, running, *id, to)?,
        Change::Lag { id, from: Some(from), to: None } => remove(old, *id, from)?,
        Change::Lag { id, from: Some(from), to: Some(to) } if from.name == to.name && from.mode == to.mode => {
            reshape(old, running, *id, from, to)?
        }
        Change::Lag { id, from: Some(from), to: Some(to) } => {
            let mut all = remove(old, *id, from)?;
            all.extend(make(old, running, *id, to)?);
            // What stood on the port channel went with it.
            let port = Port::channel(*id);
            if !old && running.port(port) != PortConfig::default() {
                all.extend(configure(old, running, port, &PortConfig::default(), &running.port(port))?);
            }
            all
        }
        Change::Port { port, from, to } => configure(old, running, *port, from, to)?,
        Change::Vlan { from, to, .. } if from == to => Vec::new(),
        Change::Group { from, to, .. } if from == to => Vec::new(),
        Change::User { from: None, to: None, .. } => Vec::new(),
        Change::Vlan { to: None, id, .. } => vec![Command::new(format!("no vlan {id}"))],
        Change::Vlan { id, from, to: Some(to) } => match (&to.name, from) {
            (Some(name), _) => vec![Command::enter(format!("vlan {id} name {name} by port")), Command::new("exit")],
            (None, None) => vec![Command::enter(format!("vlan {id} by port")), Command::new("exit")],
            (None, Some(_)) => return Err("FastIron cannot take the name of a VLAN away".into()),
        },
        Change::Group { name, from, to } => group(name, from.as_ref(), to.as_ref()),
        Change::User { name, from, to } => user(name, from.as_ref(), to.as_ref(), secrets)?,
    })
}

fn head(id: u16, lag: &Lag) -> Result<String, String> {
    let name = lag.name.as_ref().ok_or_else(|| "a port channel of FastIron has a name".to_owned())?;
    let mode = match lag.mode {
        LagMode::Lacp => "dynamic",
        LagMode::Static => "static",
    };
    Ok(format!("lag {} {mode} id {id}", quote(name)))
}

fn make(old: bool, running: &Config, id: u16, lag: &Lag) -> Result<Vec<Command>, String> {
    let empty = Lag { members: BTreeSet::new(), primary: None, deployed: false, ..lag.clone() };
    reshape(old, running, id, &empty, lag)
}

fn reshape(old: bool, running: &Config, id: u16, from: &Lag, to: &Lag) -> Result<Vec<Command>, String> {
    let less: BTreeSet<Port> = from.members.difference(&to.members).copied().collect();
    let more: BTreeSet<Port> = to.members.difference(&from.members).copied().collect();
    let mut all = Vec::new();
    if let Some(primary) = to.primary.or(from.primary).filter(|_| old && to.deployed) {
        // A port joins, and a port channel is deployed, only with the VLANs that the primary port has.
        let vlans = running.port(primary).vlans;
        for port in to.members.iter().filter(|port| !from.deployed || more.contains(port)) {
            let has = running.port(*port);
            let wants = PortConfig { vlans: vlans.clone(), ..has.clone() };
            all.extend(configure(old, running, *port, &has, &wants)?);
        }
    }
    all.push(Command::enter(head(id, to)?));
    let undeploys = old && from.deployed && (!to.deployed || from.primary != to.primary);
    if undeploys {
        all.push(Command::new("no deploy"));
    }
    if !less.is_empty() {
        all.push(Command::new(format!("no ports {}", ports_text(&less))));
    }
    if !more.is_empty() {
        // The old syntax adds to the set; the new one puts another in its place.
        all.push(Command::new(format!("ports {}", ports_text(if old { &more } else { &to.members }))));
    }
    if old {
        if let Some(primary) = to.primary.filter(|primary| from.primary != Some(*primary)) {
            all.push(Command::new(format!("primary-port {primary}")));
        }
        if to.deployed && (!from.deployed || undeploys) {
            all.push(Command::new("deploy"));
        }
    }
    all.push(Command::new("exit"));
    Ok(all)
}

fn remove(old: bool, id: u16, lag: &Lag) -> Result<Vec<Command>, String> {
    let mut all = Vec::new();
    if old && lag.deployed {
        all.extend([Command::enter(head(id, lag)?), Command::new("no deploy"), Command::new("exit")]);
    }
    all.push(Command::new(format!("no {}", head(id, lag)?)));
    Ok(all)
}

fn configure(
    old: bool,
    running: &Config,
    port: Port,
    from: &PortConfig,
    to: &PortConfig,
) -> Result<Vec<Command>, String> {
    let lag = running.lag_of(port);
    let mut all = Vec::new();
    let follows = old && lag.is_some_and(|(_, lag)| lag.deployed && lag.primary != Some(port));
    let (mut first, mut then) = (Vec::new(), Vec::new());
    if from.vlans != to.vlans && !follows {
        membership(old, port, &from.vlans, &to.vlans, &mut first, &mut all, &mut then)?;
    }
    let mut inside = first;
    let mut with_lag = Vec::new();
    if from.description != to.description {
        match (lag, &to.description) {
            (Some(_), Some(text)) => with_lag.push(Command::new(format!("port-name {} ethernet {port}", quote(text)))),
            (Some(_), None) => {
                let was = from.description.clone().unwrap_or_default();
                with_lag.push(Command::new(format!("no port-name {} ethernet {port}", quote(&was))));
            }
            (None, Some(text)) => inside.push(Command::new(format!("port-name {text}"))),
            (None, None) => inside.push(Command::new("no port-name")),
        }
    }
    if from.edge != to.edge {
        let no = if to.edge { "" } else { "no " };
        inside.push(Command::new(format!("{no}spanning-tree 802-1w admin-edge-port")));
    }
    if from.enabled != to.enabled {
        let word = if to.enabled { "enable" } else { "disable" };
        match lag {
            Some(_) => with_lag.push(Command::new(format!("{word} ethernet {port}"))),
            None => inside.push(Command::new(word)),
        }
    }
    let entry = match port.channel_id() {
        Some(id) => format!("interface lag {id}"),
        None => format!("interface ethernet {port}"),
    };
    // The VLAN of untagged frames is left before memberships end, and entered when they have begun.
    let mut commands = Vec::new();
    if !inside.is_empty() {
        commands.push(Command::enter(entry.clone()));
        commands.append(&mut inside);
        commands.push(Command::new("exit"));
    }
    commands.append(&mut all);
    if !then.is_empty() {
        commands.push(Command::enter(entry));
        commands.append(&mut then);
        commands.push(Command::new("exit"));
    }
    if let (Some((id, lag)), false) = (lag, with_lag.is_empty()) {
        commands.push(Command::enter(head(id, lag)?));
        commands.append(&mut with_lag);
        commands.push(Command::new("exit"));
    }
    Ok(commands)
}

/// Commands on the port before, in VLANs, and on the port afterwards.
fn membership(
    old: bool,
    port: Port,
    from: &Membership,
    to: &Membership,
    before: &mut Vec<Command>,
    vlans: &mut Vec<Command>,
    after: &mut Vec<Command>,
) -> Result<(), String> {
    if to.all || from.all {
        return Err("FastIron has no ports that carry every VLAN".into());
    }
    // In the old syntax a port that is tagged anywhere has its untagged VLAN as one of the tagged ones.
    let dual = |of: &Membership| if old && !of.tagged.is_empty() { of.untagged } else { None };
    let (dual_from, dual_to) = (dual(from), dual(to));
    let tagged = |of: &Membership, dual: Option<u16>| {
        let mut tagged = of.tagged.clone();
        tagged.extend(dual.filter(|vlan| *vlan != 1));
        tagged
    };
    let (tagged_from, tagged_to) = (tagged(from, dual_from), tagged(to, dual_to));
    let untagged = |of: &Membership, dual: Option<u16>| if dual.is_some() { None } else { of.untagged };
    let (untagged_from, untagged_to) = (untagged(from, dual_from), untagged(to, dual_to));
    let name = ports_text([&port]);
    let mut say = |vlan: u16, what: &str| {
        vlans.push(Command::enter(format!("vlan {vlan}")));
        vlans.push(Command::new(format!("{what} {name}")));
        vlans.push(Command::new("exit"));
    };
    if let Some(vlan) = dual_from.filter(|_| dual_from != dual_to) {
        before.push(Command::new(if vlan == 1 { "no dual-mode".into() } else { format!("no dual-mode {vlan}") }));
    }
    for vlan in tagged_from.difference(&tagged_to) {
        say(*vlan, "no tagged");
    }
    if let Some(vlan) = untagged_from.filter(|_| untagged_from != untagged_to) {
        say(vlan, "no untagged");
    }
    for vlan in tagged_to.difference(&tagged_from) {
        say(*vlan, "tagged");
    }
    if let Some(vlan) = untagged_to.filter(|_| untagged_from != untagged_to) {
        say(vlan, "untagged");
    }
    if let Some(vlan) = dual_to.filter(|_| dual_from != dual_to) {
        after.push(Command::new(if vlan == 1 { "dual-mode".into() } else { format!("dual-mode {vlan}") }));
    }
    Ok(())
}

fn group(name: &str, from: Option<&SnmpGroup>, to: Option<&SnmpGroup>) -> Vec<Command> {
    let level = |group: &SnmpGroup| if group.encrypted { "priv" } else { "auth" };
    let mut all = Vec::new();
    if let Some(from) = from {
        all.push(Command::new(format!("no snmp-server group {name} v3 {}", level(from))));
    }
    if let Some(to) = to {
        let mut text = format!("snmp-server group {name} v3 {}", level(to));
        for (word, view) in [("read", &to.read), ("write", &to.write)] {
            if let Some(view) = view {
                text.push_str(&format!(" {word} {view}"));
            }
        }
        all.push(Command::new(text));
    }
    all
}

fn user(
    name: &str,
    from: Option<&SnmpUser>,
    to: Option<&SnmpUser>,
    secrets: Option<&SnmpSecrets>,
) -> Result<Vec<Command>, String> {
    let gone = from.map(|from| format!("no snmp-server user {name} {} v3", from.group));
    snmp_user(gone, to, secrets, |user, auth| Words {
        auth: format!("snmp-server user {name} {} v3 auth {auth} {{}}", user.group),
        privacy: |privacy| match privacy {
            SnmpPrivacy::Aes => "priv aes {}",
            SnmpPrivacy::Des => "priv des {}",
        },
    })
}

fn quote(text: &str) -> String {
    if text.contains(' ') { format!("\"{text}\"") } else { text.to_owned() }
}
