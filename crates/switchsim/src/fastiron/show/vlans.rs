//! FastIron: the table of VLANs.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use crate::device::Device;
use crate::model::DEFAULT_VLAN;
use crate::ports::Member;
use crate::profile::Os;

pub(super) fn vlans(device: &Device, only: Option<u16>) -> String {
    let model = &device.running;
    let mut out = format!(
        "Total PORT-VLAN entries: {}\nMaximum PORT-VLAN entries: 1024\n\nLegend: [Stk=Stack-Id, S=Slot]\n\n",
        model.vlans.len()
    );
    for (id, vlan) in model.vlans.iter().filter(|(id, _)| only.is_none_or(|only| only == **id)) {
        let name = vlan.name.as_deref().unwrap_or("[None]");
        let _ = writeln!(out, "PORT-VLAN {id}, Name {name}, Priority level0, {}", if vlan.stp { "On" } else { "Off" });
        let untagged = if *id == DEFAULT_VLAN { untold(device) } else { vlan.untagged.clone() };
        let dual: BTreeSet<Member> = model
            .ports
            .iter()
            .filter(|(_, port)| port.settings.dual_mode == Some(*id))
            .map(|(port, _)| Member::Port(*port))
            .collect();
        let tagged: BTreeSet<Member> = vlan.tagged.difference(&dual).copied().collect();
        rows(&mut out, " Untagged Ports:", &untagged);
        rows(&mut out, "   Tagged Ports:", &tagged);
        if device.os == Os::FastIronOld {
            rows(&mut out, "   Uplink Ports:", &BTreeSet::new());
            rows(&mut out, " DualMode Ports:", &dual);
        }
        rows(&mut out, " Mac-Vlan Ports:", &BTreeSet::new());
        out.push_str("     Monitoring: Disabled\n");
    }
    out
}

/// What is in no other VLAN.
fn untold(device: &Device) -> BTreeSet<Member> {
    let model = &device.running;
    let new = device.os == Os::FastIronNew;
    let free = |member: Member| model.untagged_in(member).is_none() && (new || model.tagged_in(member).is_empty());
    let ports = model.ports.keys().filter(|port| !new || model.lag_of(**port).is_none()).copied().map(Member::Port);
    let lags = model.lags.keys().filter(|_| new).copied().map(Member::Lag);
    ports.chain(lags).filter(|member| free(*member)).collect()
}

fn rows(out: &mut String, title: &str, members: &BTreeSet<Member>) {
    let mut slots: BTreeMap<(u16, u16), Vec<u16>> = BTreeMap::new();
    let mut lags = Vec::new();
    for member in members {
        match member {
            Member::Port(port) => slots.entry((port.unit, port.slot)).or_default().push(port.port),
            Member::Lag(id) => lags.push(*id),
        }
    }
    if slots.is_empty() && lags.is_empty() {
        let _ = writeln!(out, "{title} None");
        return;
    }
    let numbers = |numbers: &[u16]| numbers.iter().map(|n| format!("{n:>3}")).collect::<Vec<_>>().join(" ");
    for ((unit, slot), ports) in slots {
        for twelve in ports.chunks(ROW) {
            let _ = writeln!(out, "{title} (U{unit}/M{slot}) {}", numbers(twelve));
        }
    }
    if !lags.is_empty() {
        let _ = writeln!(out, "{title} (LAG)   {}", numbers(&lags));
    }
}

/// Ports in a row of `show vlan`.
const ROW: usize = 12;
