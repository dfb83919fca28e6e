//! The law of plans, over trees and scores that nobody thought of.

use std::collections::BTreeMap;

use proptest::prelude::*;
use protocols::BlobHash;
use scores::files::{Content, Entry, FilesScore, Mode, Owner, Seen, Tree};
use scores::{Plan, Score};

use crate::fake;

fn owner() -> impl Strategy<Value = Owner> {
    prop_oneof![Just(Owner { id: 0, name: Some("root".into()) }), Just(Owner { id: 9, name: None })]
}

fn path() -> impl Strategy<Value = String> {
    "[ab](/[ab]){0,2}"
}

fn entry() -> impl Strategy<Value = Entry> {
    let mode = prop_oneof![Just(Mode::FILE), Just(Mode::from_bits(0o600))];
    let account = || proptest::option::of(prop_oneof![Just("root".to_owned()), Just("web".to_owned())]);
    prop_oneof![
        ("[xy]{0,2}", mode.clone(), account(), account()).prop_map(|(text, mode, owner, group)| {
            Entry::File { content: Content::Text(text), mode, owner, group }
        }),
        (proptest::option::of(mode), account(), account()).prop_map(|(mode, owner, group)| Entry::Directory {
            mode,
            owner,
            group
        }),
        Just(Entry::Absent),
    ]
}

fn seen() -> impl Strategy<Value = Seen> {
    let mode = || prop_oneof![Just(Mode::FILE), Just(Mode::DIRECTORY)];
    prop_oneof![
        ("[xy]{0,2}", mode(), owner(), owner()).prop_map(|(text, mode, owner, group)| Seen::File {
            hash: BlobHash::from_bytes(*blake3::hash(text.as_bytes()).as_bytes()),
            size: text.len() as u64,
            mode,
            owner,
            group,
        }),
        (mode(), owner(), owner()).prop_map(|(mode, owner, group)| Seen::Directory { mode, owner, group }),
        Just(Seen::Symlink { target: "/elsewhere".into() }),
    ]
}

/// A tree in which everything lies in a directory.
fn tree() -> impl Strategy<Value = Tree> {
    proptest::collection::btree_map(path(), seen(), 0..8).prop_map(|found| {
        let mut tree = Tree::new();
        for (path, seen) in found {
            let path = format!("/r/{path}");
            let plain = || Owner { id: 0, name: None };
            let made = || Seen::Directory { mode: Mode::DIRECTORY, owner: plain(), group: plain() };
            tree.entry("/r".into()).or_insert_with(made);
            if matches!(fake::look(&tree, &path), Seen::Unreachable { .. }) {
                continue;
            }
            for (at, _) in path.match_indices('/').skip(1) {
                tree.entry(path[..at].to_owned()).or_insert_with(made);
            }
            tree.insert(path, seen);
        }
        tree
    })
}

fn observe(score: &FilesScore, tree: &Tree) -> Tree {
    score.entries.keys().map(|path| score.absolute(path)).map(|path| (path.clone(), fake::look(tree, &path))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, max_global_rejects: 20_000, ..ProptestConfig::default() })]
    #[test]
    fn once_all_steps_are_applied_the_plan_is_empty(
        entries in proptest::collection::btree_map(path(), entry(), 1..6),
        mut tree in tree(),
    ) {
        let score = FilesScore { root: "/r".into(), entries: BTreeMap::from_iter(entries) };
        prop_assume!(score.check().is_ok());
        let plan = score.plan(&observe(&score, &tree));
        prop_assert_eq!(plan.clone(), score.plan(&observe(&score, &tree)), "a plan is a function of what was observed");
        for step in &plan {
            // A directory that is not empty, or a link in the way, is an error of the topology and ends the play.
            if let Err(error) = fake::change(&mut tree, step, None) {
                prop_assert!(["not empty", "no directory"].contains(&error.to_string().as_str()));
                return Ok(());
            }
        }
        let left = score.plan(&observe(&score, &tree));
        prop_assert!(left.is_empty(), "left of {plan:?}: {left:?}");
    }
}
