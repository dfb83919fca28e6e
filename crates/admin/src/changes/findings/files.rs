//! `files/1` declarations whose roots lie in one another: they are played apart and know nothing of each other.

use std::collections::BTreeSet;

use protocols::entry::Payload;
use protocols::{FleetState, Kind};
use scores::Score as _;
use scores::files::FilesScore;

use super::{Finding, Severity, Standing, name_of, some};

/// The root of a declaration, and the absolute paths that it names.
pub(super) struct Tree {
    root: String,
    paths: BTreeSet<String>,
}

impl Tree {
    /// The tree of a declaration, if it is one of files.
    pub(super) fn of(kind: &Kind, payload: &Payload) -> Option<Self> {
        if *kind != FilesScore::KIND {
            return None;
        }
        let score: FilesScore = scores::score::parse(payload.get()).ok()?;
        let paths = score.entries.keys().map(|path| score.absolute(path)).collect();
        Some(Self { root: score.root, paths })
    }

    /// Whether this root lies in the other one.
    fn is_within(&self, outer: &Self) -> bool {
        let below = self.root.strip_prefix(outer.root.trim_end_matches('/'));
        self.root != outer.root && below.is_some_and(|rest| rest.starts_with('/'))
    }
}

/// Warns of news whose root lies in another's or holds another's, where both count.
pub(super) fn nested(state: &FleetState, standing: &[Standing], findings: &mut Vec<Finding>) {
    let trees: Vec<(&Standing, &Tree)> =
        standing.iter().filter_map(|one| one.tree.as_ref().map(|tree| (one, tree))).collect();
    for (i, (newer, a)) in trees.iter().enumerate() {
        for (older, b) in trees[i + 1..].iter().filter(|(older, _)| newer.news || older.news) {
            let (inner, outer) = match (a.is_within(b), b.is_within(a)) {
                (true, _) => ((newer, a), (older, b)),
                (_, true) => ((older, b), (newer, a)),
                _ => continue,
            };
            let common: Vec<String> = newer.nodes.intersection(&older.nodes).map(|id| name_of(state, *id)).collect();
            if common.is_empty() {
                continue;
            }
            let which = format!(
                "`{}` governs {}, which lies within {} of `{}`, on {}",
                inner.0.name,
                inner.1.root,
                outer.1.root,
                outer.0.name,
                some(&common)
            );
            let what = match a.paths.intersection(&b.paths).next() {
                Some(path) => format!("{which}; both declare {path}, and each puts right what the other did"),
                None => format!("{which}; when one of them is undone, the other's files may be in its way"),
            };
            let hint = "put both into one declaration, or give them roots apart";
            let name = if newer.news { &newer.name } else { &older.name };
            findings.push(Finding { severity: Severity::Warning, name: name.clone(), what, hint: Some(hint.into()) });
        }
    }
}
