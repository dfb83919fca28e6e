//! `show running-config` and `show startup-config`.

use std::collections::BTreeSet;

use scores::switch::{Config, Lag, LagMode, Port, SnmpAuth, SnmpPrivacy, SnmpUser, Vlan};

use super::super::{CONFIGURATION, ParseError, ParsedConfig, blocks, snmp_group, word_after};
use super::port;

enum Block {
    Vlan(u16),
    Port(Port),
}

/// Reads a configuration. Lines that scores do not govern are kept as they are; one that they do govern and that is not
/// understood is an error.
///
/// # Errors
/// When a line is not understood, or there is nothing in it.
pub fn configuration(lines: &[String]) -> Result<ParsedConfig, ParseError> {
    if !lines.iter().any(|line| line.starts_with("interface ")) {
        return Err(ParseError::whole(CONFIGURATION, "there are no interfaces in it"));
    }
    blocks(lines, false, head, |block, words, text, config| match block {
        Block::Vlan(id) => Ok(in_vlan(*id, words, config)),
        Block::Port(port) => in_port(*port, words, text, config),
    })
}

fn head(words: &[&str], parsed: &mut ParsedConfig, line: &str) -> Result<Option<Block>, String> {
    let config = &mut parsed.config;
    match words {
        ["interface", kind, id] if kind.eq_ignore_ascii_case("vlan") => {
            let id = id.parse().map_err(|_| "no VLAN stands there".to_owned())?;
            config.vlans.insert(id, Vlan::default());
            Ok(Some(Block::Vlan(id)))
        }
        ["interface", "Management" | "Ve" | "Loopback" | "Fcoe" | "FibreChannel" | "Tunnel", ..] => {
            parsed.others.push(line.to_owned());
            Ok(None)
        }
        ["interface", media, numbers] => {
            let port = port(media, numbers)?;
            if let Some(id) = port.channel_id() {
                config.lags.entry(id).or_insert_with(empty);
            }
            Ok(Some(Block::Port(port)))
        }
        ["snmp-server", "group", name, "v3", level @ ("auth" | "noauth" | "priv"), rest @ ..] => {
            config.groups.insert((*name).to_owned(), snmp_group(level, rest));
            Ok(None)
        }
        ["snmp-server", "user", name, rest @ ..] => {
            let after = |which: &str| word_after(rest, which);
            let user = SnmpUser {
                group: after("groupname").map(str::to_owned).unwrap_or_default(),
                auth: match after("auth") {
                    Some("sha") => Some(SnmpAuth::Sha),
                    Some("md5") => Some(SnmpAuth::Md5),
                    _ => None,
                },
                privacy: match after("priv").map(str::to_ascii_lowercase).as_deref() {
                    Some("aes128") => Some(SnmpPrivacy::Aes),
                    Some("des") => Some(SnmpPrivacy::Des),
                    _ => None,
                },
                keys: None,
            };
            config.users.insert((*name).to_owned(), user);
            Ok(None)
        }
        _ => {
            parsed.others.push(line.to_owned());
            Ok(None)
        }
    }
}

const fn empty() -> Lag {
    Lag { name: None, mode: LagMode::Lacp, members: BTreeSet::new(), primary: None, deployed: true }
}

fn in_vlan(id: u16, words: &[&str], config: &mut Config) -> bool {
    match words {
        ["name", name] => {
            config.vlans.entry(id).or_default().name = Some((*name).to_owned());
            true
        }
        _ => false,
    }
}

fn in_port(port: Port, words: &[&str], text: &str, config: &mut Config) -> Result<bool, String> {
    let mut found = config.port(port);
    let vlans = &mut found.vlans;
    match words {
        ["shutdown"] => found.enabled = false,
        ["no", "shutdown"] => found.enabled = true,
        ["description", ..] => {
            let text = text.strip_prefix("description").unwrap_or_default().trim();
            found.description = Some(text.trim_matches('"').to_owned());
        }
        ["spanning-tree", "edgeport"] => found.edge = true,
        ["switchport"] => vlans.untagged = vlans.untagged.or(Some(1)),
        ["switchport", "mode", "access"] => vlans.trunk = false,
        ["switchport", "mode", "trunk"] => {
            vlans.trunk = true;
            vlans.untagged = None;
        }
        ["switchport", "access", "vlan", id] => vlans.untagged = Some(number(id)?),
        ["switchport", "trunk", "native-vlan", id] => vlans.untagged = Some(number(id)?),
        ["switchport", "trunk", "tag", "native-vlan"] => {}
        ["switchport", "trunk", "allowed", "vlan", "all"] => vlans.all = true,
        ["switchport", "trunk", "allowed", "vlan", "none"] => vlans.all = false,
        ["switchport", "trunk", "allowed", "vlan", "add", ids] => vlans.tagged.extend(numbers(ids)?),
        ["switchport", ..] => return Err("this of `switchport` is not known".into()),
        ["channel-group", id, "mode", mode @ ("active" | "passive" | "on"), ..] => {
            let lag = config.lags.entry(id.parse().map_err(|_| "no id stands there".to_owned())?).or_insert_with(empty);
            lag.members.insert(port);
            lag.mode = if *mode == "on" { LagMode::Static } else { LagMode::Lacp };
            return Ok(true);
        }
        ["channel-group", ..] => return Err("no port channel stands there".into()),
        ["ip", "address", ..] | ["ipv6", "address", ..] | ["vrf", ..] | ["ip", "ospf", ..] => {
            found.layer3 = found.layer3.take().or_else(|| Some(text.to_owned()));
        }
        _ => return Ok(false),
    }
    config.set_port(port, found);
    Ok(true)
}

fn number(word: &str) -> Result<u16, String> {
    word.parse().map_err(|_| "no VLAN stands there".to_owned())
}

/// `1-3,7`
pub(in crate::parse) fn numbers(text: &str) -> Result<BTreeSet<u16>, String> {
    let mut found = BTreeSet::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (number(first)?, number(last)?);
        if first > last {
            return Err(format!("`{part}` is no range"));
        }
        found.extend(first..=last);
    }
    Ok(found)
}
