//! FastIron: VLANs and who is in them.

use std::collections::BTreeSet;

use crate::fastiron::config::existing;
use crate::model::{DEFAULT_VLAN, HIGHEST_VLAN, Vlan};
use crate::ports::{Member, list};
use crate::profile::Os;
use crate::shell::{Context, Mode, Reply, Table};

pub(crate) const TABLE: Table = &[
    ("tagged <ports..>", tag),
    ("untagged <ports..>", untag),
    ("no tagged <ports..>", no_tag),
    ("no untagged <ports..>", no_untag),
    ("spanning-tree", |context, _| change(context, |vlan| vlan.stp = true)),
    ("spanning-tree 802-1w", |context, _| change(context, |vlan| vlan.stp = true)),
    ("no spanning-tree", |context, _| change(context, |vlan| vlan.stp = false)),
    ("router-interface ve <id>", router),
    ("no router-interface", |context, _| change(context, |vlan| vlan.router = None)),
    ("no router-interface ve <id>", |context, _| change(context, |vlan| vlan.router = None)),
];

/// `vlan 10`, which makes it where there is none.
pub(crate) fn enter(context: &mut Context<'_>, words: &[String]) -> Reply {
    let id = match number(&words[0]) {
        Ok(id) => id,
        Err(reply) => return reply,
    };
    context.device.running.vlans.entry(id).or_default();
    context.shell.mode = Mode::Vlan(id);
    Reply::silence()
}

/// `vlan 10 name servers`
pub(crate) fn enter_named(context: &mut Context<'_>, words: &[String]) -> Reply {
    let reply = enter(context, words);
    if let Mode::Vlan(id) = context.shell.mode
        && words[0].parse() == Ok(id)
        && let Some(vlan) = context.device.running.vlans.get_mut(&id)
    {
        vlan.name = Some(words[1].clone());
    }
    reply
}

/// `no vlan 10`
pub(crate) fn remove(context: &mut Context<'_>, words: &[String]) -> Reply {
    let id = match number(&words[0]) {
        Ok(id) => id,
        Err(reply) => return reply,
    };
    if id == DEFAULT_VLAN {
        return Reply::said("Error: default vlan cannot be removed\n");
    }
    if context.device.running.vlans.remove(&id).is_none() {
        return Reply::said(format!("Error: vlan {id} does not exist\n"));
    }
    for port in context.device.running.ports.values_mut().filter(|port| port.settings.dual_mode == Some(id)) {
        port.settings.dual_mode = None;
    }
    context.shell.mode = Mode::Config;
    Reply::silence()
}

/// Members follow the primary port of their LAG, in the old syntax.
pub(crate) fn with_followers(context: &Context<'_>, members: BTreeSet<Member>) -> Result<BTreeSet<Member>, Reply> {
    let mut all = BTreeSet::new();
    let mut led = BTreeSet::new();
    for member in members {
        if let Member::Port(port) = member
            && let Some((id, lag)) = context.device.running.lag_of(port)
        {
            if context.device.os == Os::FastIronNew {
                return Err(Reply::said(format!("Error: port ethe {port} is a member of LAG lg{id}\n")));
            }
            if lag.deployed && lag.primary == Some(port) {
                led.extend(lag.ports.iter().copied().map(Member::Port));
            } else if lag.deployed && !led.contains(&member) {
                return Err(Reply::said(format!("Error - port {port} is a secondary port of LAG {}\n", lag.name)));
            }
        }
        all.insert(member);
    }
    all.extend(led);
    Ok(all)
}

fn number(word: &str) -> Result<u16, Reply> {
    match word.parse::<u32>() {
        Ok(0) => Err(Reply::said("Error: vlan ID value 0 not allowed.\n")),
        Ok(id) => match u16::try_from(id) {
            Ok(id) if id <= HIGHEST_VLAN => Ok(id),
            _ => Err(Reply::said(format!("Error: vlan id {id} is outside of allowed max of {HIGHEST_VLAN}\n"))),
        },
        Err(_) => Err(Reply::said(format!("Invalid input -> {word}\nType ? for a list\n"))),
    }
}

fn chosen(context: &Context<'_>) -> u16 {
    if let Mode::Vlan(id) = context.shell.mode { id } else { DEFAULT_VLAN }
}

fn change(context: &mut Context<'_>, change: impl Fn(&mut Vlan)) -> Reply {
    let id = chosen(context);
    if let Some(vlan) = context.device.running.vlans.get_mut(&id) {
        change(vlan);
    }
    Reply::silence()
}

fn members(context: &Context<'_>, words: &[String]) -> Result<BTreeSet<Member>, Reply> {
    let members = existing(context, words, context.device.os == Os::FastIronNew)?;
    with_followers(context, members)
}

fn tag(context: &mut Context<'_>, words: &[String]) -> Reply {
    let id = chosen(context);
    let members = match members(context, words) {
        Ok(members) => members,
        Err(reply) => return reply,
    };
    if id == DEFAULT_VLAN {
        return Reply::said("Error: cannot add tagged ports to the default vlan\n");
    }
    for member in &members {
        let untagged = context.device.running.untagged_in(*member);
        // A port that is untagged elsewhere must leave that VLAN first, in the old syntax; in none can it be both here.
        if untagged == Some(id) || (untagged.is_some() && context.device.os == Os::FastIronOld) {
            let only = BTreeSet::from([*member]);
            let other = untagged.unwrap_or_default();
            return Reply::said(format!("Error: ports {} are untagged members of vlan {other}\n", list(&only, "ethe")));
        }
    }
    let said = format!("Added tagged port(s) {} to port-vlan {id}.\n", list(&members, "ethe"));
    if let Some(vlan) = context.device.running.vlans.get_mut(&id) {
        vlan.tagged.extend(members);
    }
    Reply::said(said)
}

fn untag(context: &mut Context<'_>, words: &[String]) -> Reply {
    let id = chosen(context);
    let members = match members(context, words) {
        Ok(members) => members,
        Err(reply) => return reply,
    };
    if id == DEFAULT_VLAN {
        return Reply::said("Error: ports cannot be added to the default vlan explicitly\n");
    }
    for member in &members {
        let model = &context.device.running;
        let elsewhere = model.untagged_in(*member).filter(|other| *other != id);
        let tagged = model.tagged_in(*member);
        let only = BTreeSet::from([*member]);
        if let Some(other) = elsewhere {
            return Reply::said(format!("Error: ports {} are untagged members of vlan {other}\n", list(&only, "ethe")));
        }
        if tagged.contains(&id) || (!tagged.is_empty() && context.device.os == Os::FastIronOld) {
            let other = tagged.first().copied().unwrap_or(id);
            return Reply::said(format!("Error: ports {} are tagged members of vlan {other}\n", list(&only, "ethe")));
        }
    }
    let said = format!("Added untagged port(s) {} to port-vlan {id}.\n", list(&members, "ethe"));
    if let Some(vlan) = context.device.running.vlans.get_mut(&id) {
        vlan.untagged.extend(members);
    }
    Reply::said(said)
}

fn no_tag(context: &mut Context<'_>, words: &[String]) -> Reply {
    take_out(context, words, "tagged", |vlan| &mut vlan.tagged)
}

fn no_untag(context: &mut Context<'_>, words: &[String]) -> Reply {
    take_out(context, words, "untagged", |vlan| &mut vlan.untagged)
}

fn take_out(
    context: &mut Context<'_>,
    words: &[String],
    how: &str,
    set: fn(&mut Vlan) -> &mut BTreeSet<Member>,
) -> Reply {
    let id = chosen(context);
    let members = match members(context, words) {
        Ok(members) => members,
        Err(reply) => return reply,
    };
    let Some(vlan) = context.device.running.vlans.get_mut(&id) else {
        return Reply::silence();
    };
    let inside = set(vlan);
    let absent: BTreeSet<Member> = members.difference(inside).copied().collect();
    if !absent.is_empty() {
        return Reply::said(format!("Error: ports {} are not {how} members of vlan {id}\n", list(&absent, "ethe")));
    }
    inside.retain(|member| !members.contains(member));
    let said = format!("Deleted {how} port(s) {} from port-vlan {id}.\n", list(&members, "ethe"));
    for member in members {
        if let Member::Port(port) = member
            && let Some(port) = context.device.running.ports.get_mut(&port)
            && (port.settings.dual_mode == Some(id) && how == "tagged")
        {
            port.settings.dual_mode = None;
        }
    }
    Reply::said(said)
}

fn router(context: &mut Context<'_>, words: &[String]) -> Reply {
    let id = chosen(context);
    let Ok(ve) = words[0].parse::<u16>() else {
        return Reply::said(format!("Invalid input -> {}\nType ? for a list\n", words[0]));
    };
    let Some(vlan) = context.device.running.vlans.get_mut(&id) else {
        return Reply::silence();
    };
    match vlan.router {
        Some(has) if has != ve => Reply::said(format!("Error: VLAN: {id}  already has router-interface {has}\n")),
        _ => {
            vlan.router = Some(ve);
            Reply::silence()
        }
    }
}
