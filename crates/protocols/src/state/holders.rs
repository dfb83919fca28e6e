//! Who may do something, answered from the ledger alone.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{Capability, FleetState};
use crate::entry::{KindPattern, Verb};
use crate::ids::{Millis, Name, NodeId};
use crate::selector::Selector;

/// One admin's right to do what was asked.
#[derive(Debug, Clone, PartialEq)]
pub struct Holder<'a> {
    /// The admin's key.
    pub key: NodeId,
    /// The admin's name.
    pub name: &'a Name,
    /// The right it has by.
    pub capability: &'a Capability,
    /// How much of what was asked it covers.
    pub covers: Coverage,
}

/// How much of a selection a right covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Coverage {
    /// All of it, also nodes to come.
    All,
    /// Every node that is meant now.
    AllNow,
    /// Some of the nodes that are meant now, by name.
    Some(Vec<Name>),
}

/// A named bundle of verbs, for people who grant; the ledger holds the verbs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GrantRole {
    /// Runs the fleet from day to day: everything but giving rights on.
    Operator,
    /// Publishes and watches.
    Deployer,
    /// Reads.
    Auditor,
    /// A pipeline: publishes, and reads what came of it. The same as a deployer without rollouts.
    Ci,
}

impl GrantRole {
    /// Every role.
    pub const ALL: [Self; 4] = [Self::Operator, Self::Deployer, Self::Auditor, Self::Ci];

    /// What it may do.
    pub const fn verbs(self) -> &'static [Verb] {
        match self {
            Self::Operator => &[Verb::Enroll, Verb::Publish, Verb::Rollout, Verb::Tunnel, Verb::Exec, Verb::Read],
            Self::Deployer => &[Verb::Publish, Verb::Rollout, Verb::Read],
            Self::Auditor => &[Verb::Read],
            Self::Ci => &[Verb::Publish, Verb::Read],
        }
    }

    /// The role that is exactly these verbs, if one is.
    pub fn of(verbs: &std::collections::BTreeSet<Verb>) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|role| role.verbs().len() == verbs.len() && role.verbs().iter().all(|v| verbs.contains(v)))
    }
}

impl fmt::Display for GrantRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Operator => "operator",
            Self::Deployer => "deployer",
            Self::Auditor => "auditor",
            Self::Ci => "ci",
        })
    }
}

impl FromStr for GrantRole {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let all = || Self::ALL.map(|v| v.to_string()).join(", ");
        Self::ALL.into_iter().find(|v| v.to_string() == text).ok_or_else(|| format!("`{text}` is not one of {}", all()))
    }
}

impl FleetState {
    /// The admins who may do `verb` with `kinds` on nodes of `on` at `now`: all of them, or some. One line for each right
    /// that no other right of the same admin makes needless; by name.
    pub fn who_can<'a>(&'a self, verb: Verb, kinds: &KindPattern, on: &Selector, now: Millis) -> Vec<Holder<'a>> {
        let mut found: Vec<Holder<'a>> = Vec::new();
        for (key, admin) in &self.admins {
            let mut mine: Vec<Holder<'a>> = self
                .holding(*key, verb, now)
                .filter(|c| c.covers_kinds(kinds))
                .filter_map(|capability| {
                    let covers = self.coverage(capability, on)?;
                    Some(Holder { key: *key, name: &admin.name, capability, covers })
                })
                .collect();
            // Who may everywhere needs no line for a part of it.
            if let Some(all) = mine.iter().position(|h| h.covers == Coverage::All) {
                mine = vec![mine.swap_remove(all)];
            }
            found.append(&mut mine);
        }
        found.sort_by(|a, b| a.name.cmp(b.name));
        found
    }

    fn coverage(&self, capability: &Capability, on: &Selector) -> Option<Coverage> {
        if capability.covers_selection(Some(on), &[]) {
            return Some(Coverage::All);
        }
        let (mut covered, mut stray) = (Vec::new(), false);
        for (_, member) in self.select(on) {
            if capability.covers_node(member.name.as_str(), &member.labels) {
                covered.push(member.name.clone());
            } else {
                stray = true;
            }
        }
        match (covered.is_empty(), stray) {
            (true, _) => None,
            (false, false) => Some(Coverage::AllNow),
            (false, true) => Some(Coverage::Some(covered)),
        }
    }
}
