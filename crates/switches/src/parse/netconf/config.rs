//! `get-config`: ports, port channels and VLANs, as far as scores govern them.

use std::collections::BTreeSet;

use scores::switch::{Config, Lag, LagMode, Membership, Port, PortConfig, Vlan};

use super::super::{ParseError, nos};
use super::{CONFIG, inside, leaf, maybe, number};
use crate::netconf::{BASE, Element};

const WHAT: &str = "get-config";

/// Reads an answer to `get-config` for `interface` and `interface-vlan`.
///
/// # Errors
/// When something that scores govern is not understood.
pub fn configuration(reply: &Element) -> Result<Config, ParseError> {
    let mut config = Config::default();
    let Some(data) = inside(WHAT, reply, "data")?.filter(|data| data.is("data", BASE)) else {
        return Err(ParseError::whole(WHAT, "there is no `data`"));
    };
    let mut ports = false;
    for part in data.children() {
        if part.is("interface", CONFIG) {
            for interface in part.children() {
                ports = true;
                read_interface(interface, &mut config)?;
            }
        } else if part.is("interface-vlan", CONFIG) {
            for vlan in part.children().iter().flat_map(Element::children) {
                read_vlan(vlan, &mut config)?;
            }
        } else {
            return Err(ParseError::element(WHAT, part, "it is neither `interface` nor `interface-vlan`"));
        }
    }
    if !ports {
        return Err(ParseError::whole(WHAT, "there are no interfaces in it"));
    }
    Ok(config)
}

fn read_vlan(vlan: &Element, config: &mut Config) -> Result<(), ParseError> {
    if vlan.name() != "vlan" {
        return Err(ParseError::element(WHAT, vlan, "it is not `vlan`"));
    }
    let id = number(WHAT, vlan, "name")?;
    let name = maybe(WHAT, vlan, "vlan-name")?.filter(|name| !name.is_empty()).map(str::to_owned);
    config.vlans.insert(id, Vlan { name });
    Ok(())
}

fn read_interface(interface: &Element, config: &mut Config) -> Result<(), ParseError> {
    if super::NO_PORTS.contains(&interface.name()) {
        return Ok(());
    }
    let bad = |why: String| ParseError::element(WHAT, interface, why);
    let port = nos::port(interface.name(), leaf(WHAT, interface, "name")?).map_err(bad)?;
    if let Some(id) = port.channel_id() {
        config.lags.entry(id).or_insert_with(empty);
    }
    if let Some(group) = inside(WHAT, interface, "channel-group")? {
        let lag = config.lags.entry(number(WHAT, group, "port-int")?).or_insert_with(empty);
        lag.mode = match leaf(WHAT, group, "mode")? {
            "active" | "passive" => LagMode::Lacp,
            "on" => LagMode::Static,
            other => return Err(ParseError::element(WHAT, group, format!("`mode` is {other:?}"))),
        };
        lag.members.insert(port);
    }
    let found = PortConfig {
        description: maybe(WHAT, interface, "description")?.map(str::to_owned),
        enabled: inside(WHAT, interface, "shutdown")?.is_none(),
        edge: match inside(WHAT, interface, "spanning-tree")? {
            Some(tree) => inside(WHAT, tree, "edgeport")?.is_some(),
            None => false,
        },
        vlans: membership(interface)?,
        layer3: layer3(interface)?,
    };
    config.set_port(port, found);
    Ok(())
}

/// Of layer 3 only that it is there.
fn layer3(interface: &Element) -> Result<Option<String>, ParseError> {
    for name in ["ip", "ipv6"] {
        let configured = inside(WHAT, interface, name)?.filter(|found| !found.children().is_empty());
        if let Some(found) = configured {
            return Ok(Some(protocols::outcome::shorten(&found.to_string(), LAYER3_BYTES_MAX)));
        }
    }
    Ok(inside(WHAT, interface, "vrf")?.map(|_| "vrf".to_owned()))
}

const fn empty() -> Lag {
    Lag { name: None, mode: LagMode::Lacp, members: BTreeSet::new(), primary: None, deployed: true }
}

fn membership(interface: &Element) -> Result<Membership, ParseError> {
    let mut vlans = Membership::default();
    if inside(WHAT, interface, "switchport-basic")?.is_some() {
        vlans.untagged = Some(1);
    }
    let Some(switchport) = inside(WHAT, interface, "switchport")? else { return Ok(vlans) };
    vlans.untagged = vlans.untagged.or(Some(1));
    if let Some(mode) = inside(WHAT, switchport, "mode")? {
        vlans.trunk = match leaf(WHAT, mode, "vlan-mode")? {
            "access" => false,
            "trunk" | "trunk-no-default-native" => true,
            other => return Err(ParseError::element(WHAT, mode, format!("`vlan-mode` is {other:?}"))),
        };
    }
    if let Some(access) = inside(WHAT, switchport, "access")?.filter(|_| !vlans.trunk) {
        vlans.untagged = Some(number(WHAT, access, "accessvlan")?);
    }
    if !vlans.trunk {
        return Ok(vlans);
    }
    vlans.untagged = None;
    let Some(trunk) = inside(WHAT, switchport, "trunk")? else { return Ok(vlans) };
    for (container, name) in NATIVE {
        if let Some(native) = inside(WHAT, trunk, container)? {
            vlans.untagged = Some(number(WHAT, native, name)?);
        }
    }
    let allowed = match inside(WHAT, trunk, "allowed")? {
        Some(allowed) => inside(WHAT, allowed, "vlan")?,
        None => None,
    };
    for part in allowed.map(Element::children).unwrap_or_default() {
        match part.name() {
            "all" => vlans.all = true,
            "none" => vlans.all = false,
            "add" => {
                let ids = nos::numbers(part.text()).map_err(|why| ParseError::element(WHAT, part, why))?;
                vlans.tagged.extend(ids);
            }
            _ => return Err(ParseError::element(WHAT, part, "this of VLANs is not known")),
        }
    }
    Ok(vlans)
}

/// Where two configurations of a device differ in what both can tell, for people: what would make one the other.
pub(crate) fn differences(by_lines: &Config, by_netconf: &Config) -> Vec<String> {
    let comparable = |config: &Config| {
        let mut config = Config { groups: Default::default(), users: Default::default(), ..config.clone() };
        let told: Vec<(Port, PortConfig)> = config.ports.iter().map(|(port, found)| (*port, found.clone())).collect();
        for (port, found) in told {
            let layer3 = found.layer3.is_some().then(|| "configured".to_owned());
            config.set_port(port, PortConfig { layer3, ..found });
        }
        // Every device has it, under names of its own.
        config.vlans.remove(&1);
        config
    };
    let changes = comparable(by_netconf).changes_to(&comparable(by_lines));
    changes.iter().take(DIFFERENCES_MAX).map(ToString::to_string).collect()
}

/// Where the VLAN of untagged frames of a trunk stands.
const NATIVE: [(&str, &str); 3] = [
    ("native-vlan-classification", "native-vlan-id"),
    ("native-vlan-untagged-config", "native-vlan-id-untagged"),
    ("native-vlan-xtagged-config", "native-vlan-id-xtagged"),
];
/// The longest layer-3 configuration that is kept, in bytes.
const LAYER3_BYTES_MAX: usize = 120;
/// The most differences that are told.
const DIFFERENCES_MAX: usize = 32;
