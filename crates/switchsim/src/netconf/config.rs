//! `get-config`: the running configuration in elements.

use super::answers::mode;
use super::request::Tag;
use super::{error, leaf};
use crate::device::Device;
use crate::model::Settings;
use crate::nos::render::numbers;

pub(super) fn get_config(device: &Device, request: &Tag) -> String {
    if request.child("source").and_then(|source| source.child("running")).is_none() {
        return error("invalid-value", "only the running configuration can be had");
    }
    let wanted: Option<Vec<&str>> =
        request.child("filter").map(|filter| filter.children.iter().map(|child| child.name.as_str()).collect());
    let wants = |name: &str| wanted.as_ref().is_none_or(|wanted| wanted.contains(&name));
    let mut out = String::from("<data>");
    if wants("interface-vlan") {
        vlans(device, &mut out);
    }
    if wants("interface") {
        interfaces(device, &mut out);
    }
    out.push_str("</data>");
    out
}

fn vlans(device: &Device, out: &mut String) {
    out.push_str(&format!("<interface-vlan xmlns=\"{CONFIG}\"><interface>"));
    for (id, vlan) in &device.running.vlans {
        out.push_str("<vlan>");
        leaf(out, "name", &id.to_string());
        if let Some(name) = vlan.name.as_ref().filter(|_| *id != 1) {
            leaf(out, "vlan-name", name);
        }
        out.push_str("</vlan>");
    }
    out.push_str("</interface></interface-vlan>");
}

fn interfaces(device: &Device, out: &mut String) {
    out.push_str(&format!("<interface xmlns=\"{CONFIG}\">"));
    for (id, port) in &device.running.ports {
        out.push_str("<tengigabitethernet>");
        leaf(out, "name", &id.to_string());
        if let Some(group) = port.group {
            out.push_str("<channel-group>");
            leaf(out, "port-int", &group.id.to_string());
            leaf(out, "mode", mode(group.mode));
            leaf(out, "type", if group.brocade { "brocade" } else { "standard" });
            out.push_str("</channel-group>");
        }
        out.push_str("<fabric xmlns=\"urn:brocade.com:mgmt:brocade-fcoe\"><fabric-isl><fabric-isl-enable/></fabric-isl></fabric>");
        inside(&port.settings, out);
        out.push_str("</tengigabitethernet>");
    }
    for (id, lag) in &device.running.lags {
        out.push_str("<port-channel>");
        leaf(out, "name", &id.to_string());
        if lag.settings.ignore_split {
            out.push_str("<vlag><ignore-split/></vlag>");
        }
        inside(&lag.settings, out);
        out.push_str("</port-channel>");
    }
    out.push_str("</interface>");
}

fn inside(settings: &Settings, out: &mut String) {
    if let Some(name) = &settings.name {
        leaf(out, "description", name);
    }
    if let Some(address) = &settings.address {
        out.push_str("<ip><ip-config xmlns=\"urn:brocade.com:mgmt:brocade-ip-config\"><address>");
        leaf(out, "address", address);
        out.push_str("</address></ip-config></ip>");
    }
    if let Some(switchport) = &settings.switchport {
        out.push_str("<switchport-basic><basic/></switchport-basic><switchport><mode>");
        leaf(out, "vlan-mode", if switchport.trunk { "trunk" } else { "access" });
        out.push_str("</mode>");
        if switchport.trunk {
            out.push_str("<trunk>");
            if switchport.all {
                out.push_str("<allowed><vlan><all/></vlan></allowed>");
            } else if !switchport.allowed.is_empty() {
                out.push_str("<allowed><vlan>");
                leaf(out, "add", &numbers(&switchport.allowed));
                out.push_str("</vlan></allowed>");
            }
            match switchport.native {
                Some(id) => {
                    out.push_str("<native-vlan-classification>");
                    leaf(out, "native-vlan-id", &id.to_string());
                    out.push_str("</native-vlan-classification>");
                }
                None => out.push_str("<tag><native-vlan/></tag>"),
            }
            out.push_str("</trunk>");
        } else {
            out.push_str("<access>");
            leaf(out, "accessvlan", &switchport.access.unwrap_or(1).to_string());
            out.push_str("</access>");
        }
        out.push_str("</switchport>");
    }
    if settings.edge {
        let xmlns = "urn:brocade.com:mgmt:brocade-xstp";
        out.push_str(&format!(
            "<spanning-tree xmlns=\"{xmlns}\"><edgeport><edgeportbasic/></edgeport></spanning-tree>"
        ));
    }
    if settings.disabled {
        out.push_str("<shutdown/>");
    }
}

const CONFIG: &str = "urn:brocade.com:mgmt:brocade-interface";
