//! Answers to what asks how things are: interfaces, VLANs, port-channels, the fabric.

use quick_xml::escape::escape;

use super::request::Tag;
use super::{error, leaf};
use crate::device::Device;
use crate::model::{GroupMode, LagKind};
use crate::nos::show::{self, inside, synced, up};
use crate::ports::PortId;
use crate::profile::NastyNetconf;

/// The answer to a request, or that there is no such thing.
pub(super) fn answer(device: &Device, request: &Tag, nasty: &NastyNetconf) -> String {
    let size = nasty.page.unwrap_or(PAGE).max(1);
    match request.name.as_str() {
        "get-interface-detail" => interfaces(device, request, size, nasty.extra),
        "get-vlan-brief" => vlans(device, request, size, nasty.extra),
        "get-port-channel-detail" => channels(device, request, size, nasty.extra),
        "show-linkinfo" => fabric(device, nasty.extra),
        "show-vcs" => vcs(device, nasty.extra),
        other => error("operation-not-supported", &format!("unknown: {other}")),
    }
}

/// What comes behind the last that was received, as much as fits, and whether there is more.
fn page<K: PartialEq, T>(all: Vec<(K, T)>, last: Option<K>, size: usize) -> Option<(Vec<(K, T)>, bool)> {
    let skip = match last {
        Some(last) => all.iter().position(|(key, _)| *key == last)? + 1,
        None => 0,
    };
    let more = all.len() > skip + size;
    Some((all.into_iter().skip(skip).take(size).collect(), more))
}

fn interfaces(device: &Device, request: &Tag, size: usize, extra: bool) -> String {
    let model = &device.running;
    let mut all: Vec<((String, String), String)> = Vec::new();
    let mut entry = |kind: &str, name: String, full: &str, states: (bool, bool), speed: &str, text: Option<&String>| {
        let word = |up: bool| if up { "up" } else { "down" };
        let mut out = format!("<interface xmlns=\"{INTERFACES}\">");
        leaf(&mut out, "interface-type", kind);
        leaf(&mut out, "interface-name", &name);
        leaf(&mut out, "ifindex", "1207959618");
        leaf(&mut out, "if-name", &format!("{full} {name}"));
        leaf(&mut out, "if-state", word(states.0));
        leaf(&mut out, "line-protocol-state", word(states.1));
        leaf(&mut out, "current-hardware-address", "cc4e.2439.2a40");
        if let Some(text) = text {
            leaf(&mut out, "if-description", text);
        }
        leaf(&mut out, "actual-line-speed", speed);
        if extra {
            out.push_str("<new-leaf xmlns=\"urn:example:new\"><of a=\"1\"/></new-leaf>");
        }
        out.push_str("</interface>");
        all.push(((kind.to_owned(), name), out));
    };
    for (id, port) in &model.ports {
        let states = (!port.settings.disabled, up(device, *id));
        let name = port.settings.name.as_ref();
        entry(
            "tengigabitethernet",
            id.to_string(),
            "TenGigabitEthernet",
            states,
            if states.1 { "10Gbps" } else { "Auto" },
            name,
        );
    }
    for (id, lag) in &model.lags {
        let live = lag.ports.iter().filter(|port| synced(device, **port)).count();
        let speed = if live > 0 { format!("{}Gbps", live * 10) } else { "Nil".to_owned() };
        let states = (!lag.settings.disabled, live > 0);
        entry("port-channel", id.to_string(), "Port-channel", states, &speed, lag.settings.name.as_ref());
    }
    for id in model.vlans.keys().filter(|_| extra) {
        entry("vlan", id.to_string(), "Vlan", (true, true), "Nil", None);
    }
    let last = request.child("last-rcvd-interface").map(|last| {
        let part = |name: &str| last.leaf(name).unwrap_or_default().to_owned();
        (part("interface-type"), part("interface-name"))
    });
    let Some((found, more)) = page(all, last, size) else { return error("invalid-value", "no such interface") };
    let mut out: String = found.into_iter().map(|(_, text)| text).collect();
    out.push_str(&format!("<has-more xmlns=\"{INTERFACES}\">{more}</has-more>"));
    out
}

fn vlans(device: &Device, request: &Tag, size: usize, extra: bool) -> String {
    let model = &device.running;
    let mut all = Vec::new();
    for (id, vlan) in &model.vlans {
        let mut out = format!("<vlan xmlns=\"{INTERFACES}\">");
        leaf(&mut out, "vlan-id", &id.to_string());
        leaf(&mut out, "vlan-type", "static");
        let name = match &vlan.name {
            _ if *id == 1 => "default".to_owned(),
            Some(name) => name.clone(),
            None => format!("VLAN{id:04}"),
        };
        leaf(&mut out, "vlan-name", &name);
        let ports = model
            .ports
            .iter()
            .filter_map(|(port, found)| Some(("tengigabitethernet", port.to_string(), inside(&found.settings, *id)?)));
        let channels = model.lags.iter();
        let channels =
            channels.filter_map(|(lag, found)| Some(("port-channel", lag.to_string(), inside(&found.settings, *id)?)));
        let members: Vec<_> = ports.chain(channels).collect();
        leaf(&mut out, "vlan-state", if members.is_empty() { "inactive" } else { "active" });
        for (kind, name, tag) in members {
            out.push_str("<interface>");
            leaf(&mut out, "interface-type", kind);
            leaf(&mut out, "interface-name", &name);
            leaf(&mut out, "tag", if tag == "(t)" { "tagged" } else { "untagged" });
            out.push_str("</interface>");
        }
        if extra {
            leaf(&mut out, "new-leaf", "1");
        }
        out.push_str("</vlan>");
        all.push((*id, out));
    }
    let last = match request.leaf("last-rcvd-vlan-id").map(str::parse) {
        Some(Ok(last)) => Some(last),
        Some(Err(_)) => return error("invalid-value", "no such VLAN"),
        None => None,
    };
    let Some((found, more)) = page(all, last, size) else { return error("invalid-value", "no such VLAN") };
    let last = found.last().map(|(id, _)| *id);
    let mut out: String = found.into_iter().map(|(_, text)| text).collect();
    if let Some(last) = last {
        out.push_str(&format!("<last-vlan-id xmlns=\"{INTERFACES}\">{last}</last-vlan-id>"));
    }
    out.push_str(&format!("<has-more xmlns=\"{INTERFACES}\">{more}</has-more>"));
    out
}

fn channels(device: &Device, request: &Tag, size: usize, extra: bool) -> String {
    let mut all = Vec::new();
    for (id, lag) in &device.running.lags {
        let mut out = format!("<lacp xmlns=\"{LAGS}\">");
        let brocade = device.running.ports.values().any(|port| port.group.is_some_and(|g| g.id == *id && g.brocade));
        let units = lag.ports.iter().map(|port| port.unit).collect::<std::collections::BTreeSet<_>>();
        leaf(&mut out, "aggregator-id", &id.to_string());
        leaf(&mut out, "aggregator-type", if brocade { "brocade" } else { "standard" });
        leaf(&mut out, "isvlag", if units.len() > 1 { "true" } else { "false" });
        leaf(&mut out, "aggregator-mode", if lag.kind == LagKind::Static { "static" } else { "lacp" });
        leaf(&mut out, "admin-key", &id.to_string());
        leaf(&mut out, "actor-system-id", "cc-4e-24-39-2a-40");
        let far = lag.ports.iter().filter(|port| synced(device, **port)).find_map(|port| device.neighbours.get(port));
        let far = far.filter(|_| lag.kind == LagKind::Dynamic).map_or([0; 6], |far| far.mac);
        leaf(&mut out, "partner-system-id", &far.map(|byte| format!("{byte:02x}")).join("-"));
        for port in &lag.ports {
            member(device, *port, &mut out);
        }
        if extra {
            leaf(&mut out, "new-leaf", "1");
        }
        out.push_str("</lacp>");
        all.push((*id, out));
    }
    let last = match request.leaf("last-aggregator-id").map(str::parse) {
        Some(Ok(last)) => Some(last),
        Some(Err(_)) => return error("invalid-value", "no such aggregator"),
        None => None,
    };
    let Some((found, more)) = page(all, last, size) else { return error("invalid-value", "no such aggregator") };
    let mut out: String = found.into_iter().map(|(_, text)| text).collect();
    out.push_str(&format!("<has-more xmlns=\"{LAGS}\">{more}</has-more>"));
    out
}

fn member(device: &Device, port: PortId, out: &mut String) {
    out.push_str("<aggr-member>");
    leaf(out, "rbridge-id", &port.unit.to_string());
    leaf(out, "interface-type", "tengigabitethernet");
    leaf(out, "interface-name", &port.to_string());
    leaf(out, "actor-port", &port.port.to_string());
    leaf(out, "sync", if synced(device, port) { "1" } else { "0" });
    out.push_str("</aggr-member>");
}

fn fabric(device: &Device, extra: bool) -> String {
    let mut out = String::new();
    for unit in 1..=device.units {
        out.push_str(&format!("<f:show-link-info xmlns:f=\"{FABRIC}\">"));
        leaf(&mut out, "f:linkinfo-rbridgeid", &unit.to_string());
        leaf(&mut out, "f:linkinfo-domain-reachable", "Yes");
        leaf(&mut out, "f:linkinfo-wwn", &format!("10:00:00:27:F8:70:00:{unit:02X}"));
        // The first one is linked to every other one.
        let others: Vec<u16> = if unit == 1 { (2..=device.units).collect() } else { vec![1] };
        for (index, other) in others.into_iter().enumerate() {
            let ends = if unit == 1 {
                (format!("1/0/{}", 40 + other), format!("{other}/0/41"))
            } else {
                (format!("{unit}/0/41"), format!("1/0/{}", 40 + unit))
            };
            out.push_str("<f:linkinfo-isl>");
            leaf(&mut out, "f:linkinfo-isl-linknumber", &(index + 1).to_string());
            leaf(&mut out, "f:linkinfo-isllink-destdomain", &other.to_string());
            leaf(&mut out, "f:linkinfo-isllink-srcport-type", "Te");
            leaf(&mut out, "f:linkinfo-isllink-srcport-interface", &ends.0);
            leaf(&mut out, "f:linkinfo-isllink-destport-type", "Te");
            leaf(&mut out, "f:linkinfo-isllink-destport-interface", &ends.1);
            leaf(&mut out, "f:linkinfo-isl-linkcost", "500");
            if extra {
                leaf(&mut out, "f:new-leaf", "1");
            }
            out.push_str("</f:linkinfo-isl>");
        }
        out.push_str("</f:show-link-info>");
    }
    out
}

fn vcs(device: &Device, extra: bool) -> String {
    let mut out = String::new();
    let all = |name: &str, text: &str, out: &mut String| {
        out.push_str(&format!("<v:{name} xmlns:v=\"{VCS}\">{}</v:{name}>", escape(text)));
    };
    all("vcs-cluster-type-info", "vcs-management-cluster", &mut out);
    all("principal-switch-wwn", "10:00:00:27:F8:70:00:01", &mut out);
    all("total-nodes-in-cluster", &device.units.to_string(), &mut out);
    all("nodes-disconnected-from-cluster", "0", &mut out);
    all("cluster-generic-status", "Good", &mut out);
    out.push_str(&format!("<v:vcs-nodes xmlns:v=\"{VCS}\">"));
    for unit in 1..=device.units {
        out.push_str("<v:vcs-node-info>");
        leaf(&mut out, "v:node-num", &unit.to_string());
        leaf(&mut out, "v:node-serial-num", &show::serial(device, unit));
        leaf(&mut out, "v:node-condition", "Good");
        leaf(&mut out, "v:node-status", if unit == 1 { "Co-ordinator" } else { "Connected to Cluster" });
        leaf(&mut out, "v:node-vcs-id", "1");
        leaf(&mut out, "v:node-rbridge-id", &unit.to_string());
        leaf(&mut out, "v:node-switch-wwn", &format!("10:00:00:27:F8:70:00:{unit:02X}"));
        leaf(&mut out, "v:firmware-version", "v7.2.0");
        leaf(&mut out, "v:node-switchtype", "BR-VDX6740");
        leaf(&mut out, "v:node-state", "Online");
        if extra {
            leaf(&mut out, "v:new-leaf", "1");
        }
        out.push_str("</v:vcs-node-info>");
    }
    out.push_str("</v:vcs-nodes>");
    out
}

/// How a mode is called in a configuration.
pub(super) fn mode(mode: GroupMode) -> &'static str {
    match mode {
        GroupMode::Active => "active",
        GroupMode::Passive => "passive",
        GroupMode::On => "on",
    }
}

const INTERFACES: &str = "urn:brocade.com:mgmt:brocade-interface-ext";
const LAGS: &str = "urn:brocade.com:mgmt:brocade-lag";
const FABRIC: &str = "urn:brocade.com:mgmt:brocade-fabric-service";
const VCS: &str = "urn:brocade.com:mgmt:brocade-vcs";

/// Entries of a page, when nothing else is said.
const PAGE: usize = 128;
