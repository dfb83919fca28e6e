//! `show running-config` and `show configuration`.

use scores::switch::{Config, Lag, LagMode, Port, SnmpAuth, SnmpPrivacy, SnmpUser, Vlan};

use super::super::{ParseError, ParsedConfig, blocks, port_list, snmp_group};

/// Which block a line stands in.
enum Block {
    Lag(u16),
    Vlan(u16),
    Ports(Vec<Port>),
}

/// Reads a configuration. Lines that scores do not govern are kept as they are; one that they do govern and that is not
/// understood is an error.
///
/// # Errors
/// When a line is not understood, or the end is missing.
pub fn configuration(lines: &[String]) -> Result<ParsedConfig, ParseError> {
    let mut dual = Vec::new();
    let mut parsed = blocks(lines, true, head, |block, words, text, config| match block {
        Block::Lag(id) => in_lag(*id, words, config),
        Block::Vlan(id) => in_vlan(*id, words, config),
        Block::Ports(ports) => in_ports(ports, words, text, config, &mut dual),
    })?;
    // The VLAN of untagged frames on a port that is tagged in it, in the old syntax.
    for (port, vlan) in dual {
        let mut config = parsed.config.port(port);
        config.vlans.tagged.remove(&vlan);
        config.vlans.untagged = Some(vlan);
        parsed.config.set_port(port, config);
    }
    Ok(parsed)
}

fn head(words: &[&str], parsed: &mut ParsedConfig, line: &str) -> Result<Option<Block>, String> {
    let config = &mut parsed.config;
    match words {
        ["lag", name, mode @ ("dynamic" | "static" | "keep-alive"), "id", id] => {
            let id: u16 = id.parse().map_err(|_| "no id stands there".to_owned())?;
            let mode = if *mode == "dynamic" { LagMode::Lacp } else { LagMode::Static };
            let name = Some((*name).to_owned());
            let lag = Lag { name, mode, members: Default::default(), primary: None, deployed: false };
            if config.lags.insert(id, lag).is_some() {
                return Err(format!("the LAG {id} stands there twice"));
            }
            Ok(Some(Block::Lag(id)))
        }
        ["lag", ..] => Err("no head of a LAG stands there".into()),
        ["vlan", id, rest @ ..] if id.bytes().all(|b| b.is_ascii_digit()) => {
            let id: u16 = id.parse().map_err(|_| "no VLAN stands there".to_owned())?;
            let name = match rest {
                ["name", name, ..] => Some((*name).to_owned()),
                ["by", "port"] | [] => None,
                _ => return Err("no head of a VLAN stands there".into()),
            };
            config.vlans.insert(id, Vlan { name });
            Ok(Some(Block::Vlan(id)))
        }
        ["interface", "ethernet" | "ethe" | "e", list @ ..] => {
            let list: Vec<String> = list.iter().map(|word| (*word).to_owned()).collect();
            Ok(Some(Block::Ports(port_list(&list)?.into_iter().collect())))
        }
        ["interface", "lag", id] => {
            let id = id.trim_start_matches("lg").parse().map_err(|_| "no id of a LAG stands there".to_owned())?;
            Ok(Some(Block::Ports(vec![Port::channel(id)])))
        }
        ["snmp-server", "group", name, "v3", level @ ("auth" | "noauth" | "priv"), rest @ ..] => {
            config.groups.insert((*name).to_owned(), snmp_group(level, rest));
            Ok(None)
        }
        ["snmp-server", "user", name, group, "v3", rest @ ..] => {
            let user = SnmpUser {
                group: (*group).to_owned(),
                auth: word_of(rest, &[("sha", SnmpAuth::Sha), ("md5", SnmpAuth::Md5)]),
                privacy: word_of(rest, &[("aes", SnmpPrivacy::Aes), ("des", SnmpPrivacy::Des)]),
                keys: None,
            };
            config.users.insert((*name).to_owned(), user);
            Ok(None)
        }
        ["ver", version] => {
            parsed.version = Some((*version).to_owned());
            Ok(None)
        }
        _ => {
            parsed.others.push(line.to_owned());
            Ok(None)
        }
    }
}

fn word_of<T: Copy>(words: &[&str], known: &[(&str, T)]) -> Option<T> {
    words.iter().find_map(|word| known.iter().find(|(name, _)| name == word).map(|(_, value)| *value))
}

fn ports(words: &[&str]) -> Result<std::collections::BTreeSet<Port>, String> {
    let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
    port_list(&words)
}

fn in_lag(id: u16, words: &[&str], config: &mut Config) -> Result<bool, String> {
    let names_port = |words: &[&str]| ports(words).and_then(|ports| ports.first().copied().ok_or_else(String::new));
    match words {
        ["disable", list @ ..] if !list.is_empty() => {
            for port in ports(list)? {
                let found = config.port(port);
                config.set_port(port, scores::switch::PortConfig { enabled: false, ..found });
            }
            return Ok(true);
        }
        ["port-name", name, list @ ..] if !list.is_empty() => {
            let port = names_port(list)?;
            let found = config.port(port);
            let description = Some((*name).to_owned());
            config.set_port(port, scores::switch::PortConfig { description, ..found });
            return Ok(true);
        }
        _ => {}
    }
    let Some(lag) = config.lags.get_mut(&id) else { return Ok(false) };
    match words {
        ["ports", list @ ..] => lag.members.extend(ports(list)?),
        ["primary-port", port] => lag.primary = Some(port.parse()?),
        ["deploy"] => lag.deployed = true,
        _ => return Ok(false),
    }
    Ok(true)
}

fn in_vlan(id: u16, words: &[&str], config: &mut Config) -> Result<bool, String> {
    let (list, tagged) = match words {
        ["tagged", list @ ..] => (list, true),
        ["untagged", list @ ..] => (list, false),
        _ => return Ok(false),
    };
    for port in ports(list)? {
        let mut found = config.port(port);
        if tagged {
            found.vlans.tagged.insert(id);
        } else {
            found.vlans.untagged = Some(id);
        }
        config.set_port(port, found);
    }
    Ok(true)
}

fn in_ports(
    ports: &[Port],
    words: &[&str],
    text: &str,
    config: &mut Config,
    dual: &mut Vec<(Port, u16)>,
) -> Result<bool, String> {
    for port in ports {
        let mut found = config.port(*port);
        match words {
            ["disable"] => found.enabled = false,
            ["enable"] => found.enabled = true,
            ["port-name", ..] => {
                let name = text.strip_prefix("port-name").unwrap_or_default().trim().trim_matches('"');
                // What stands with the LAG counts more.
                found.description = found.description.or_else(|| Some(name.to_owned()));
            }
            ["spanning-tree", "802-1w", "admin-edge-port"] => found.edge = true,
            ["dual-mode"] => dual.push((*port, 1)),
            ["dual-mode", vlan] => dual.push((*port, vlan.parse().map_err(|_| "no VLAN stands there".to_owned())?)),
            _ if is_layer3(text) => found.layer3 = found.layer3.or_else(|| Some(text.to_owned())),
            _ => return Ok(false),
        }
        config.set_port(*port, found);
    }
    Ok(true)
}

fn is_layer3(text: &str) -> bool {
    LAYER3.iter().any(|words| text.starts_with(words))
}

/// What keeps a port from being switched.
const LAYER3: &[&str] = &[
    "ip address",
    "ip ospf",
    "ip pim",
    "ip router",
    "ip rip",
    "ip vrrp",
    "ipv6 address",
    "ipv6 enable",
    "ipv6 ospf",
    "vrf forwarding",
    "route-only",
];
