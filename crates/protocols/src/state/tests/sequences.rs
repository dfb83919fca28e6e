//! Whatever is signed in whatever order: nothing panics, a refusal changes nothing, no right grows, and the state is a
//! function of the entries.

use std::collections::{BTreeSet, HashMap};

use proptest::prelude::*;

use super::*;

const NAMES: [&str; 4] = ["edge-1", "edge-2", "core-1", "core-2"];
const SELECTORS: [&str; 7] = ["*", "edge-*", "edge-1", "role=web", "!edge-1", "core-*,edge-2", "*,!role=web"];
const KINDS: [&str; 3] = ["files/1", "files/2", "nixos/1"];
const PATTERNS: [&str; 4] = ["*", "files/*", "nixos/1", "files/1,nixos/*"];
/// Keys 1 and 3 found the fleet, 2 orders it; any may be anything later, 8 and 9 serve as invites mostly.
const KEYS: std::ops::Range<u8> = 1..10;

fn any_labels() -> impl Strategy<Value = Labels> {
    any::<bool>().prop_map(|web| if web { labels(&[("role", "web")]) } else { Labels::new() })
}

fn name() -> impl Strategy<Value = &'static str> {
    proptest::sample::select(&NAMES[..])
}

fn any_grant() -> impl Strategy<Value = Body> {
    let verbs = proptest::sample::subsequence(Verb::ALL.to_vec(), 0..=7);
    let verbs = prop_oneof![Just(Verb::ALL.to_vec()), verbs];
    let on = proptest::sample::select(&SELECTORS[..]);
    let kinds = proptest::sample::select(&PATTERNS[..]);
    let expires = proptest::option::weighted(0.2, (0..3000u64).prop_map(Millis));
    (KEYS, verbs, on, kinds, expires)
        .prop_map(|(to, verbs, on, kinds, expires)| Body::Grant(Grant { expires, ..grant(to, &verbs, on, kinds) }))
}

fn any_publish() -> impl Strategy<Value = Body> {
    let on = proptest::sample::select(&SELECTORS[..]);
    let kind = proptest::sample::select(&KINDS[..]);
    (proptest::sample::select(&["a/a", "a/b", "b/a"][..]), on, kind, proptest::sample::select(&["x", "y"][..]))
        .prop_map(|(name, on, kind, subject)| Body::Publish(publish(name, on, kind, subject)))
}

/// Keys that take others' places, with proofs that hold for the wrong fleet; [`attempt`] puts most of them right.
fn any_succession() -> impl Strategy<Value = Body> {
    let fleet = FleetId::from_bytes([0; 32]);
    let since = proptest::option::of(0..20u64);
    prop_oneof![
        (KEYS, KEYS).prop_map(move |(old, new)| Body::Rotate(Rotate::new(fleet, id(old), &key(new)))),
        (KEYS, since.clone()).prop_map(|(n, compromised_since)| {
            Body::Revoke(Revoke { key: id(n), reason: "test".into(), compromised_since })
        }),
        KEYS.prop_map(|n| Body::Quarantine(Quarantine { key: id(n), reason: "test".into() })),
        KEYS.prop_map(|n| Body::Release(Release { key: id(n) })),
        KEYS.prop_map(appoint),
        KEYS.prop_map(|n| Body::Place(Place { coordinator: id(n), addrs: Vec::new(), relay: None })),
        (KEYS, KEYS, name()).prop_map(|(n, old, name)| {
            let (key, name, role) = (id(n), name.parse().unwrap(), Role::Agent);
            Body::Enroll(Enroll { key, name, role, labels: Labels::new(), replaces: Some(id(old)) })
        }),
        (proptest::collection::vec(KEYS, 0..3), since).prop_map(|(gone, compromised_since)| {
            let revoke = gone.into_iter().map(id).collect();
            let name = "rescuer".parse().unwrap();
            Body::Recover(Recover { name, revoke, compromised_since, approvals: Vec::new() })
        }),
        any::<bool>().prop_map(|some| {
            let keys = vec![Founder { key: id(61), name: "safe".parse().unwrap() }];
            let recovery = some.then_some(Recovery { keys, threshold: 1 });
            Body::SetRecovery(SetRecovery { recovery, approvals: Vec::new() })
        }),
    ]
}

fn any_body() -> impl Strategy<Value = Body> {
    let role = prop_oneof![3 => Just(Role::Agent), 1 => Just(Role::Coordinator)];
    prop_oneof![
        4 => any_grant(),
        4 => any_publish(),
        4 => (KEYS, name(), role, any_labels()).prop_map(|(n, name, role, labels)| {
            Body::Enroll(Enroll { key: id(n), name: name.parse().unwrap(), role, labels, replaces: None })
        }),
        2 => (KEYS, proptest::option::of(name()), 0..3000u64, 0..4u32, any_labels()).prop_map(|(n, name, end, uses, labels)| {
            let name = name.map(|n| n.parse().unwrap());
            Body::Invite(Invite { invite: id(n), name, labels, expires: Millis(end), uses, replaces: None })
        }),
        3 => (KEYS, KEYS, name()).prop_map(|(i, n, name)| {
            Body::Redeem(redeem(FleetId::from_bytes([0; 32]), i, n, name))
        }),
        2 => KEYS.prop_map(revoke),
        1 => proptest::sample::select(&["a/a", "a/b", "c/c"][..]).prop_map(withdraw),
        1 => any::<bool>().prop_map(|_| Body::Checkpoint(Checkpoint { state: Digest::from_bytes([0; 32]) })),
        1 => Just(Body::Genesis(genesis(&[1], &[2]))),
        2 => any_succession(),
    ]
}

/// An entry to try: who, what, when, and what is wrong with it.
#[derive(Debug, Clone)]
struct Try {
    author: u8,
    body: Body,
    at: u64,
    twist: u8,
}

fn any_try() -> impl Strategy<Value = Try> {
    let author = prop_oneof![3 => Just(1u8), 2 => Just(2u8), 5 => KEYS];
    let at = prop_oneof![9 => 0..3000u64, 1 => any::<u64>()];
    (author, any_body(), at, 0..40u8).prop_map(|(author, body, at, twist)| Try { author, body, at, twist })
}

/// Applies one attempt; with a checkpoint's digest put right half of the time.
fn attempt(chain: &mut Chain, t: &Try) -> Result<(), Refusal> {
    let body = match &t.body {
        Body::Checkpoint(_) if t.twist.is_multiple_of(2) => {
            Body::Checkpoint(Checkpoint { state: chain.state.digest() })
        }
        // The fleet of these tests has another id than the one the strategy knows.
        Body::Redeem(r) if !t.twist.is_multiple_of(8) => {
            let n = |key: NodeId| KEYS.into_iter().find(|n| id(*n) == key).unwrap();
            Body::Redeem(redeem(chain.state.fleet(), n(r.invite), n(r.key), r.name.as_str()))
        }
        Body::Rotate(r) if !t.twist.is_multiple_of(8) => {
            let new = KEYS.into_iter().find(|n| id(*n) == r.to).unwrap();
            Body::Rotate(Rotate::new(chain.state.fleet(), id(t.author), &key(new)))
        }
        Body::Recover(r) if !t.twist.is_multiple_of(8) => {
            let set_by = chain.state.recovery().map_or(0, |set| set.since);
            let approval = r.approve(chain.state.fleet(), set_by, id(t.author), &key(61));
            Body::Recover(Recover { approvals: vec![approval], ..r.clone() })
        }
        Body::SetRecovery(s) if !t.twist.is_multiple_of(8) => {
            let set_by = chain.state.recovery().map_or(0, |set| set.since);
            let approval = s.approve(chain.state.fleet(), set_by, &key(61));
            Body::SetRecovery(SetRecovery { approvals: vec![approval], ..s.clone() })
        }
        other => other.clone(),
    };
    let mut entry = Entry { at: Millis(t.at), ..chain.next(t.author, body) };
    match t.twist {
        1 => entry.seq = t.at,
        2 => entry.prev = None,
        3 => entry.fleet = None,
        4 => entry.prev = chain.log.first().map(SignedEntry::hash),
        _ => {}
    }
    chain.put(t.author, &entry)
}

fn start() -> Chain {
    found(1, genesis(&[1, 3], &[2])).unwrap()
}

/// What always holds of a state.
fn check(state: &FleetState) {
    assert!(state.admins().values().any(Admin::is_root), "somebody can do everything");
    assert!(state.is_coordinator(state.orderer()));
    assert!(state.with_role(Role::Coordinator).all(|(_, m)| m.quarantine.is_none()));
    let names: BTreeSet<&Name> = state.members().values().map(|m| &m.name).collect();
    assert_eq!(names.len(), state.members().len(), "names are unique");
    for gone in state.revoked().keys() {
        assert!(!state.knows(*gone) && !state.invites().contains_key(gone), "revoked keys are nobody");
    }
    for n in KEYS {
        let places = [
            state.admins().contains_key(&id(n)),
            state.members().contains_key(&id(n)),
            state.invites().contains_key(&id(n)),
        ];
        assert!(places.iter().filter(|p| **p).count() <= 1, "a key is one thing");
    }
}

/// A point of the world of rights: a verb on a node (by name and labels) with a kind.
type Point = (Verb, &'static str, bool, &'static str);

fn points() -> Vec<Point> {
    let mut all = Vec::new();
    for verb in Verb::ALL {
        for name in NAMES {
            for web in [false, true] {
                all.extend(KINDS.map(|kind| (verb, name, web, kind)));
            }
        }
    }
    all
}

fn web_labels(web: bool) -> Labels {
    if web { labels(&[("role", "web")]) } else { Labels::new() }
}

/// What a grant is about, point by point.
fn means(grant: &Grant, (verb, name, web, kind): &Point) -> bool {
    let kind: Kind = kind.parse().unwrap();
    grant.verbs.contains(verb)
        && grant.on.matches(name, &web_labels(*web))
        && grant.kinds.iter().any(|p| p.matches(&kind))
}

/// A right on a node, whatever the kind: verbs that have nothing to do with scores are not limited by kinds.
type NodeRight = (Verb, &'static str, bool);

fn places() -> BTreeSet<NodeRight> {
    points().into_iter().map(|(verb, name, web, _)| (verb, name, web)).collect()
}

/// What an admin holds by the state, point by point, read from its capabilities plainly.
fn holds(admin: &Admin, (verb, name, web, kind): &Point) -> bool {
    let (labels, kind): (_, Kind) = (web_labels(*web), kind.parse().unwrap());
    let in_scope = |s: &Scope| s.on.matches(name, &labels) && s.kinds.iter().any(|p| p.matches(&kind));
    admin.capabilities.iter().any(|c| c.verbs.contains(verb) && c.scopes.iter().all(in_scope))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_sequence_panics_or_changes_state_on_refusal(tries in proptest::collection::vec(any_try(), 1..60)) {
        let mut chain = start();
        for t in &tries {
            drop(attempt(&mut chain, t));
            check(&chain.state);
        }
        // The state is a function of the entries, also by way of their stored form.
        let mut replica: Option<FleetState> = None;
        for signed in &chain.log {
            let stored = postcard::to_stdvec(signed).unwrap();
            let verified = postcard::from_bytes::<SignedEntry>(&stored).unwrap().verify().unwrap();
            match &mut replica {
                None => replica = Some(FleetState::found(&verified).unwrap()),
                Some(state) => state.apply(&verified).unwrap(),
            }
        }
        let replica = replica.unwrap();
        prop_assert_eq!(replica.digest(), chain.state.digest());
        prop_assert_eq!(replica, chain.state);
    }

    #[test]
    fn a_delegated_admin_never_exceeds_its_giver(tries in proptest::collection::vec(any_try(), 1..80)) {
        let mut chain = start();
        let all = points();
        // Who may hold what at most: what somebody who may grant it gave them. Never taken away but by a revocation.
        let mut most: HashMap<NodeId, BTreeSet<Point>> = HashMap::new();
        most.insert(id(1), all.iter().copied().collect());
        most.insert(id(3), all.iter().copied().collect());
        let mut most_on: HashMap<NodeId, BTreeSet<NodeRight>> = [1, 3].map(|n| (id(n), places())).into();
        let mut by_generation: HashMap<u64, BTreeSet<Point>> = HashMap::new();
        for t in &tries {
            let author = id(t.author);
            if attempt(&mut chain, t).is_err() {
                continue;
            }
            let held = most.get(&author).cloned().unwrap_or_default();
            let held_on = most_on.get(&author).cloned().unwrap_or_default();
            match &t.body {
                Body::Grant(grant) => {
                    let may_grant = |p: &&Point| held.contains(&(Verb::Grant, p.1, p.2, p.3));
                    let given: Vec<Point> = held.iter().filter(may_grant).filter(|p| means(grant, p)).copied().collect();
                    most.entry(grant.to).or_default().extend(given);
                    let meant = |p: &&NodeRight| grant.verbs.contains(&p.0) && grant.on.matches(p.1, &web_labels(p.2));
                    let may_grant = |p: &&NodeRight| held_on.contains(&(Verb::Grant, p.1, p.2));
                    let given: Vec<NodeRight> = held_on.iter().filter(may_grant).filter(meant).copied().collect();
                    most_on.entry(grant.to).or_default().extend(given);
                }
                Body::Revoke(revoke) => drop((most.remove(&revoke.key), most_on.remove(&revoke.key))),
                Body::Rotate(rotate) => {
                    drop(most.remove(&author).map(|held| most.insert(rotate.to, held)));
                    drop(most_on.remove(&author).map(|held| most_on.insert(rotate.to, held)));
                }
                Body::Recover(recover) => {
                    recover.revoke.iter().for_each(|key| drop(most.remove(key)));
                    most.insert(author, all.iter().copied().collect());
                    recover.revoke.iter().for_each(|key| drop(most_on.remove(key)));
                    most_on.insert(author, places());
                }
                Body::Publish(_) => drop(by_generation.insert(chain.state.head().seq, held)),
                _ => {}
            }
            for (key, admin) in chain.state.admins() {
                for point in &all {
                    if holds(admin, point) {
                        prop_assert!(most[key].contains(point), "{key} holds {point:?} that nobody could give");
                    }
                    let (verb, name, web, _) = point;
                    if chain.state.may_on(*key, *verb, name, &web_labels(*web), Millis(0)) {
                        prop_assert!(most_on[key].contains(&(*verb, *name, *web)), "{key} may {verb} on {name}");
                    }
                }
            }
            // Nothing reaches a node that its author could not have named, however nodes came and were relabelled since.
            for (node, member) in chain.state.with_role(Role::Agent) {
                for declaration in chain.state.desired(node).values() {
                    let reach = &by_generation[&declaration.generation];
                    let name = NAMES.into_iter().find(|n| *n == member.name.as_str()).unwrap();
                    let kind = KINDS.into_iter().find(|k| *k == declaration.kind.as_str()).unwrap();
                    let point = (Verb::Publish, name, !member.labels.is_empty(), kind);
                    prop_assert!(reach.contains(&point), "{} reaches {name} without a right", declaration.name);
                }
            }
        }
    }
}
