//! Network OS.

use std::collections::BTreeSet;

use scores::switch::{Change, Config, Lag, LagMode, Membership, Port, PortConfig, SnmpPrivacy, SnmpSecrets, SnmpUser};

use super::{Words, snmp_user};
use crate::parse::nos::port_text;
use crate::session::Command;

pub(super) fn commands(
    _running: &Config,
    change: &Change,
    secrets: Option<&SnmpSecrets>,
) -> Result<Vec<Command>, String> {
    Ok(match change {
        Change::Lag { id, from, to } => lag(*id, from.as_ref(), to.as_ref()),
        Change::Port { from, to, .. } if from == to => Vec::new(),
        Change::Port { port, from, to } => configure(*port, from, to),
        Change::Vlan { from, to, .. } if from == to => Vec::new(),
        Change::Group { from, to, .. } if from == to => Vec::new(),
        Change::User { from: None, to: None, .. } => Vec::new(),
        Change::Vlan { id, to: None, .. } => vec![Command::new(format!("no interface Vlan {id}"))],
        Change::Vlan { id, from, to: Some(to) } => {
            let mut all = vec![Command::enter(format!("interface Vlan {id}"))];
            match (&to.name, from) {
                (Some(name), _) => all.push(Command::new(format!("name {name}"))),
                (None, Some(from)) if from.name.is_some() => all.push(Command::new("no name")),
                (None, _) => {}
            }
            all.push(Command::new("exit"));
            all
        }
        Change::Group { name, to, .. } => match to {
            None => vec![Command::new(format!("no snmp-server group {name} v3"))],
            Some(group) => {
                let level = if group.encrypted { "priv" } else { "auth" };
                let mut text = format!("snmp-server group {name} v3 {level}");
                for (word, view) in [("read", &group.read), ("write", &group.write)] {
                    if let Some(view) = view {
                        text.push_str(&format!(" {word} {view}"));
                    }
                }
                vec![Command::new(text)]
            }
        },
        Change::User { name, from, to } => user(name, from.as_ref(), to.as_ref(), secrets)?,
    })
}

fn lag(id: u16, from: Option<&Lag>, to: Option<&Lag>) -> Vec<Command> {
    let none = BTreeSet::new();
    let has = from.map_or(&none, |lag| &lag.members);
    let wants = to.map_or(&none, |lag| &lag.members);
    let mut all = Vec::new();
    let on = |port: &Port, text: String, all: &mut Vec<Command>| {
        all.push(Command::enter(format!("interface {}", port_text(*port))));
        all.push(Command::new(text));
        all.push(Command::new("exit"));
    };
    let another = from.zip(to).is_some_and(|(from, to)| from.mode != to.mode);
    for port in has.iter().filter(|port| another || !wants.contains(port)) {
        on(port, "no channel-group".into(), &mut all);
    }
    let Some(to) = to else {
        all.push(Command::new(format!("no interface Port-channel {id}")));
        return all;
    };
    if from.is_none() {
        all.push(Command::enter(format!("interface Port-channel {id}")));
        all.push(Command::new("no shutdown"));
        all.push(Command::new("exit"));
    }
    let mode = match to.mode {
        LagMode::Lacp => "active",
        LagMode::Static => "on",
    };
    for port in wants.iter().filter(|port| another || !has.contains(port)) {
        on(port, format!("channel-group {id} mode {mode} type standard"), &mut all);
    }
    all
}

fn configure(port: Port, from: &PortConfig, to: &PortConfig) -> Vec<Command> {
    let mut all = vec![Command::enter(format!("interface {}", port_text(port)))];
    if from.vlans != to.vlans {
        membership(&from.vlans, &to.vlans, &mut all);
    }
    if from.description != to.description {
        all.push(match &to.description {
            Some(text) => Command::new(format!("description {text}")),
            None => Command::new("no description"),
        });
    }
    if from.edge != to.edge {
        let no = if to.edge { "" } else { "no " };
        all.push(Command::new(format!("{no}spanning-tree edgeport")));
    }
    if from.enabled != to.enabled {
        all.push(Command::new(if to.enabled { "no shutdown" } else { "shutdown" }));
    }
    all.push(Command::new("exit"));
    all
}

fn membership(from: &Membership, to: &Membership, all: &mut Vec<Command>) {
    let switched = |of: &Membership| of.trunk || of.untagged.is_some();
    let mut say = |text: String| all.push(Command::new(text));
    if !switched(to) {
        say("no switchport".into());
        return;
    }
    let mut from = from.clone();
    if !switched(&from) {
        say("switchport".into());
        from = Membership { untagged: Some(1), ..Membership::default() };
    }
    if from.trunk != to.trunk {
        say(format!("switchport mode {}", if to.trunk { "trunk" } else { "access" }));
        // Another mode starts afresh.
        let untagged = if to.trunk { None } else { Some(1) };
        from = Membership { untagged, trunk: to.trunk, ..Membership::default() };
    }
    if !to.trunk {
        match to.untagged {
            untagged if untagged == from.untagged => {}
            Some(vlan) if vlan != 1 => say(format!("switchport access vlan {vlan}")),
            _ => say("no switchport access vlan".into()),
        }
        return;
    }
    if from.all && !to.all {
        say("switchport trunk allowed vlan none".into());
        from.tagged.clear();
    }
    let less: Vec<u16> = from.tagged.difference(&to.tagged).copied().collect();
    let more: Vec<u16> = to.tagged.difference(&from.tagged).copied().collect();
    if !less.is_empty() {
        say(format!("switchport trunk allowed vlan remove {}", ranges(&less)));
    }
    if to.all && !from.all {
        say("switchport trunk allowed vlan all".into());
    }
    if !more.is_empty() {
        say(format!("switchport trunk allowed vlan add {}", ranges(&more)));
    }
    if from.untagged != to.untagged {
        say(match to.untagged {
            Some(vlan) => format!("switchport trunk native-vlan {vlan}"),
            None => "no switchport trunk native-vlan".into(),
        });
    }
}

/// `1-3,7`
fn ranges(ids: &[u16]) -> String {
    let mut runs: Vec<(u16, u16)> = Vec::new();
    for id in ids {
        match runs.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(*id) => *last = *id,
            _ => runs.push((*id, *id)),
        }
    }
    let text =
        runs.iter().map(|(first, last)| if first == last { first.to_string() } else { format!("{first}-{last}") });
    text.collect::<Vec<_>>().join(",")
}

fn user(
    name: &str,
    from: Option<&SnmpUser>,
    to: Option<&SnmpUser>,
    secrets: Option<&SnmpSecrets>,
) -> Result<Vec<Command>, String> {
    let gone = from.map(|_| format!("no snmp-server user {name}"));
    snmp_user(gone, to, secrets, |user, auth| Words {
        auth: format!("snmp-server user {name} groupname {} auth {auth} auth-password {{}}", user.group),
        privacy: |privacy| match privacy {
            SnmpPrivacy::Aes => "priv AES128 priv-password {}",
            SnmpPrivacy::Des => "priv DES priv-password {}",
        },
    })
}
