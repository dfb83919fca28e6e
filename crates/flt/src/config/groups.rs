//! `[device-groups.NAME]`: devices that are changed as one, all of them or none.

use std::collections::BTreeMap;

use protocols::Name;
use scores::topology::MEMBERS_MAX;
use serde::Deserialize;
use switches::{Declaration, Group, HostKey};
use toml::Value;

use super::suggest::nearest;

/// A group, as the agent's configuration declares it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct GroupConfig {
    members: Vec<Name>,
}

impl GroupConfig {
    /// As what it is.
    pub(crate) fn group(&self, name: &Name) -> Group {
        Group { name: name.clone(), members: self.members.clone() }
    }
}

/// What is wrong with the table alone, key by key.
pub(super) fn check(value: &Value) -> Result<(), String> {
    let Value::Table(groups) = value else {
        return Err("should be tables, such as [device-groups.core]".into());
    };
    if groups.len() > GROUPS_MAX {
        return Err(format!("has {} groups, and may have {GROUPS_MAX}", groups.len()));
    }
    for (name, group) in groups {
        let within = |why: String| format!("`{name}`: {why}");
        name.parse::<Name>().map_err(|error| within(error.to_string()))?;
        let Value::Table(keys) = group else {
            return Err(within(format!("should be a table: [device-groups.{name}]")));
        };
        if let Some(unknown) = keys.keys().find(|key| *key != "members") {
            return Err(within(format!("a group has no key `{unknown}`; it has members alone")));
        }
        GroupConfig::deserialize(group.clone()).map_err(|error| within(error.message().to_owned()))?;
    }
    Ok(())
}

/// What is wrong with groups of these devices, which are sound in themselves.
pub(super) fn problems(groups: &BTreeMap<Name, GroupConfig>, devices: &[Declaration]) -> Vec<String> {
    groups
        .iter()
        .filter_map(|(name, group)| Some(format!("`{name}`: {}", wrong(name, group, groups, devices)?)))
        .collect()
}

fn wrong(
    name: &Name,
    group: &GroupConfig,
    groups: &BTreeMap<Name, GroupConfig>,
    devices: &[Declaration],
) -> Option<String> {
    let of = |name: &Name| devices.iter().find(|device| device.name == *name);
    if of(name).is_some() {
        return Some("a device is called so: give the group another name, as scores name both alike".into());
    }
    match group.members.len() {
        0 => return Some("`members` is empty: name devices of this agent".into()),
        1 => return Some("it has one member: name two devices or more, or declare for the device itself".into()),
        many if many > MEMBERS_MAX => return Some(format!("it has {many} members, and may have {MEMBERS_MAX}")),
        _ => {}
    }
    for (at, member) in group.members.iter().enumerate() {
        let before = &group.members[..at];
        if before.contains(member) {
            return Some(format!("`{member}` stands there twice"));
        }
        if groups.contains_key(member) {
            return Some(format!("`{member}` is a group: members are devices, so name the devices of it"));
        }
        let Some(device) = of(member) else {
            let near = nearest(member.as_str(), devices.iter().map(|device| device.name.as_str()));
            let near = near
                .map_or_else(|| format!("declare it as [devices.{member}]"), |near| format!("did you mean `{near}`?"));
            return Some(format!("there is no device `{member}`; {near}"));
        };
        if let Some(same) = before.iter().filter_map(of).find(|other| is_same(other, device)) {
            return Some(format!("`{}` and `{member}` are one device, by {}", same.name, by(device)));
        }
    }
    None
}

/// Whether two declarations are of one device, as far as they tell.
fn is_same(one: &Declaration, other: &Declaration) -> bool {
    match (&one.host_key, &other.host_key) {
        (HostKey::Fingerprint(one), HostKey::Fingerprint(other)) => one == other,
        _ => one.address() == other.address(),
    }
}

fn by(device: &Declaration) -> String {
    match &device.host_key {
        HostKey::Fingerprint(print) => format!("their host key {print}"),
        HostKey::KnownHosts(_) => format!("their address {}", device.address()),
    }
}

/// The most groups of an agent.
const GROUPS_MAX: usize = 64;
