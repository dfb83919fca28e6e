//! A coordinator in the wrong hands is an outage, not a breach.

use std::collections::HashMap;

use bytes::Bytes;
use protocols::entry::{ENTRY_BYTES_MAX, ENTRY_DOMAIN, Enroll, Founder, Head, Role, Verb};
use protocols::{Body, FleetId, FleetState, Labels, Policy, SecretKey, SignedEntry};

use super::impostor::{Impostor, Lie};
use super::rig::{Rig, entry_after, motd, name, publish};

/// Somebody else's text for `/etc/motd`, on every node.
fn evil() -> Body {
    publish("base/motd", "*", &motd("evil"), Policy::default())
}

/// The fleet's ledger, as the admin has it.
fn ledger(rig: &Rig) -> Vec<SignedEntry> {
    rig.admin.session.workspace().ledger(Some(rig.fleet)).unwrap().range(0, 10_000, usize::MAX).unwrap()
}

fn lie(rig: &Rig, what: &'static str, entries: Vec<SignedEntry>) -> Lie {
    let seq = rig.state().head().seq + 1;
    let hash = entries.last().map_or_else(|| rig.genesis.hash(), SignedEntry::hash);
    Lie { what, fleet: rig.fleet, head: Head { seq, hash }, entries }
}

/// The state after an entry that no coordinator was shown.
fn after(state: &FleetState, entry: &SignedEntry) -> FleetState {
    let mut after = state.clone();
    after.apply(&entry.clone().verify().unwrap()).unwrap();
    after
}

/// As many agents, each as `/etc/motd` says `one`, which came after `zero`.
async fn agents(rig: &mut Rig, count: usize) {
    for i in 0..count {
        rig.join(&format!("tin-{i}")).await;
    }
    rig.publish("*", "zero").await;
    rig.publish("*", "one").await;
    for i in 0..count {
        rig.says(&format!("tin-{i}"), "one").await;
    }
}

/// Tells each agent one of the lies in the coordinator's place; none of them may change anything, nor keep an agent from
/// what the true coordinator says when it is back.
async fn nobody_believes(mut rig: Rig, lies: Vec<Lie>) -> Rig {
    let stats = |rig: &Rig, of: &str| (rig.agents[of].role.stats().head, rig.agents[of].role.stats().plays);
    let told: Vec<_> = lies.iter().enumerate().map(|(i, lie)| (format!("tin-{i}"), lie.what)).collect();
    let newest = rig.state().head().seq;
    for (of, _) in &told {
        testkit::until(of, super::rig::SOON, || stats(&rig, of).0 == newest);
    }
    let before: Vec<_> = told.iter().map(|(of, _)| stats(&rig, of)).collect();
    rig.stop_coordinator().await;
    let lies: HashMap<_, _> =
        lies.into_iter().enumerate().map(|(i, l)| (rig.keys[&format!("tin-{i}")].id(), l)).collect();
    let impostor = Impostor::start(&rig, lies, Vec::new()).await;
    impostor.has_told_everybody(2).await;
    for ((of, what), before) in told.iter().zip(before) {
        assert_eq!(stats(&rig, of), before, "{what}");
        assert_eq!(rig.motd(of).as_deref(), Some("one"), "{what}");
    }
    impostor.stop().await;
    rig.start_coordinator().await;
    rig.publish("*", "back").await;
    for (of, _) in &told {
        rig.says(of, "back").await;
    }
    rig
}

#[tokio::test(flavor = "multi_thread")]
async fn forged_entry_is_refused_by_agent() {
    let mut rig = Rig::found().await;
    let (bob, carl) = (SecretKey::generate(), SecretKey::generate());
    rig.admin.grant(bob.id(), "bob", &[Verb::Publish], "*").await;
    rig.admin.grant(carl.id(), "carl", &[Verb::Publish], "gold-*").await;
    agents(&mut rig, 8).await;
    rig.admin.revoke(bob.id()).await;
    let state = rig.state();
    let admin = rig.admin.session.author().key().clone();
    let sound = entry_after(&state, &admin, evil());
    let other = rig.key("tin-7");
    let by = |key: &SecretKey| vec![entry_after(&state, key, evil())];
    let half = Bytes::copy_from_slice(&sound.bytes[..sound.bytes.len() / 2]);
    let long = Bytes::from(vec![b' '; ENTRY_BYTES_MAX + 1]);
    let not_hers = SignedEntry { signature: rig.coordinator_key.sign(ENTRY_DOMAIN, &sound.bytes), ..sound.clone() };
    let lies = vec![
        lie(&rig, "by somebody unknown", by(&SecretKey::generate())),
        lie(&rig, "by the coordinator", by(&rig.coordinator_key)),
        lie(&rig, "by another agent", by(&other)),
        lie(&rig, "by an admin who was revoked", by(&bob)),
        lie(&rig, "by an admin for other nodes", by(&carl)),
        lie(&rig, "in an admin's name with another signature", vec![not_hers]),
        lie(&rig, "cut short", vec![SignedEntry { bytes: half, ..sound.clone() }]),
        lie(&rig, "too long", vec![SignedEntry { bytes: long, ..sound }]),
    ];
    nobody_believes(rig, lies).await.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn coordinator_cannot_retarget_a_score() {
    let mut rig = Rig::found().await;
    agents(&mut rig, 8).await;
    let state = rig.state();
    let admin = rig.admin.session.author().key().clone();
    // Signed by an admin, for others; no honest coordinator ever saw it.
    let gold = entry_after(&state, &admin, publish("base/motd", "gold-*", &motd("evil"), Policy::default()));
    let next = entry_after(&after(&state, &gold), &admin, evil());
    let text = String::from_utf8(gold.bytes.to_vec()).unwrap();
    let widened = Bytes::from(text.replace("gold-*", "*"));
    assert_ne!(widened, gold.bytes);
    let own = text.replace("gold-*", "*").replace(&admin.id().to_string(), &rig.coordinator_key.id().to_string());
    let own = SignedEntry { signature: rig.coordinator_key.sign(ENTRY_DOMAIN, own.as_bytes()), bytes: own.into() };
    // A name that the score is meant for, given to a node that it is not meant for.
    let enroll = Enroll {
        key: rig.key("tin-2").id(),
        name: name("gold-1"),
        role: Role::Agent,
        labels: Labels::new(),
        replaces: None,
    };
    let renamed = entry_after(&state, &rig.coordinator_key, Body::Enroll(enroll));
    let all = ledger(&rig);
    let zero = all[all.len() - 2].clone();
    let text = String::from_utf8(zero.bytes.to_vec()).unwrap();
    let head = state.head();
    let moved = text
        .replace(&format!("\"seq\":{}", head.seq - 1), &format!("\"seq\":{}", head.seq + 1))
        .replace(&all[all.len() - 3].hash().to_string(), &head.hash.to_string());
    assert_ne!(moved, text);
    let moved = SignedEntry { bytes: moved.into(), ..zero.clone() };
    let far =
        Lie { head: Head { seq: u64::MAX, hash: head.hash }, ..lie(&rig, "a head that nobody sends", Vec::new()) };
    let lies = vec![
        lie(&rig, "another selector", vec![SignedEntry { bytes: widened, ..gold.clone() }]),
        lie(&rig, "another selector, signed by the coordinator", vec![own]),
        lie(&rig, "another name of the node", vec![renamed]),
        lie(&rig, "replayed", vec![zero]),
        lie(&rig, "replayed in a new place", vec![moved]),
        lie(&rig, "in another order", vec![next.clone(), gold]),
        lie(&rig, "with one left out", vec![next]),
        far,
    ];
    nobody_believes(rig, lies).await.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_could_never_have_stood_there_is_no_split_history() {
    let mut rig = Rig::found().await;
    agents(&mut rig, 1).await;
    let mut before = FleetState::found(&rig.genesis.clone().verify().unwrap()).unwrap();
    let all = ledger(&rig);
    for entry in &all[1..all.len() - 1] {
        before = after(&before, entry);
    }
    let lies = vec![lie(&rig, "one that was never sound", vec![entry_after(&before, &rig.coordinator_key, evil())])];
    let rig = nobody_believes(rig, lies).await;
    let stats = rig.agents["tin-0"].role.stats();
    assert!(!stats.split && !stats.refuses, "it proves nothing");
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_fleets_ledger_founds_nothing() {
    let mut rig = Rig::found().await;
    // The coordinator's own fleet, in which the agents are members and its admin may do everything.
    let theirs = SecretKey::generate();
    let founder = Founder { key: rig.coordinator_key.id(), name: name("coordinator-1") };
    let nonce = protocols::Digest::from_bytes([7; 32]);
    let now = flt::compose::now();
    let founded = admin::found::found(name("test"), name("anna"), &theirs, vec![founder], nonce, now).unwrap();
    let (mut state, mut entries) = (founded.state.clone(), vec![founded.genesis.clone()]);
    for of in ["tin-0", "tin-1"] {
        let key = rig.enroll(of, Labels::new()).await;
        let enroll = Enroll { key, name: name(of), role: Role::Agent, labels: Labels::new(), replaces: None };
        let entry = entry_after(&state, &theirs, Body::Enroll(enroll));
        state = after(&state, &entry);
        entries.push(entry);
    }
    let entry = entry_after(&state, &theirs, evil());
    state = after(&state, &entry);
    entries.push(entry);
    let lie = |what, fleet: FleetId| Lie { what, fleet, head: state.head(), entries: entries.clone() };
    let lies = HashMap::from([
        (rig.key("tin-0").id(), lie("under our name", rig.fleet)),
        (rig.key("tin-1").id(), lie("under its own name", founded.fleet)),
    ]);
    let tin_0 = HashMap::from([(rig.key("tin-0").id(), lies[&rig.key("tin-0").id()].clone())]);
    rig.stop_coordinator().await;
    let impostor = Impostor::start(&rig, lies, Vec::new()).await;
    rig.start_again("tin-0").await;
    rig.start_again("tin-1").await;
    impostor.has_told(&tin_0, 2).await;
    impostor.has_greeted(rig.keys["tin-1"].id(), 2).await;
    for of in ["tin-0", "tin-1"] {
        assert!(rig.agents[of].role.state().is_none(), "{of}");
        assert_eq!(rig.motd(of), None, "{of}");
    }
    impostor.stop().await;
    rig.start_coordinator().await;
    rig.publish("*", "back").await;
    rig.says("tin-0", "back").await;
    rig.says("tin-1", "back").await;
    rig.stop().await;
}
