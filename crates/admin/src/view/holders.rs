//! Who may do something, as `flt admin who-can` prints it.

use protocols::entry::{KindPattern, Verb};
use protocols::state::Coverage;
use protocols::{FleetState, Millis, NodeId, Selector};
use serde::Serialize;

use crate::race;

/// One admin's right.
#[derive(Debug, Clone, Serialize)]
pub struct HolderRow {
    /// The admin.
    pub name: String,
    /// The admin's key.
    pub key: NodeId,
    /// How much of what was asked it covers: `all`, `all nodes of now`, or nodes by name.
    pub covers: String,
    /// Those nodes, if it covers only some.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<String>,
    /// Who gave it, the founder first; nobody for a founder's own.
    pub through: Vec<String>,
    /// When it ends, in milliseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires: Option<u64>,
}

impl HolderRow {
    /// Everybody who may, by name.
    pub fn all(state: &FleetState, verb: Verb, kinds: &KindPattern, on: &Selector, now: Millis) -> Vec<Self> {
        let row = |holder: protocols::state::Holder<'_>| {
            let nodes: Vec<String> = match &holder.covers {
                Coverage::Some(names) => names.iter().map(ToString::to_string).collect(),
                Coverage::All | Coverage::AllNow => Vec::new(),
            };
            Self {
                name: holder.name.to_string(),
                key: holder.key,
                covers: match &holder.covers {
                    Coverage::All => "all".into(),
                    Coverage::AllNow => "all nodes of now".into(),
                    Coverage::Some(_) => nodes.join(","),
                },
                nodes,
                through: holder.capability.through.iter().map(|key| race::who(*key, state)).collect(),
                expires: holder.capability.expires().map(|at| at.0),
            }
        };
        state.who_can(verb, kinds, on, now).into_iter().map(row).collect()
    }
}
