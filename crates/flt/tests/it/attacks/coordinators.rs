//! A coordinator that tells different stories, keeps silent, goes back, dawdles, or never stops.

use std::collections::HashMap;
use std::sync::Arc;

use agent::Resolution;
use protocols::entry::Head;
use protocols::store::Store;
use protocols::{Body, ForkEvidence, PeerAddr, Policy, SignedEntry};
use testkit::until;

use super::rude::{Rude, Rudeness};
use crate::fleet::impostor::{Impostor, Lie};
use crate::fleet::rig::{Rig, SOON, entry_after, motd, publish};

fn says(text: &str) -> Body {
    publish("base/motd", "*", &motd(text), Policy::default())
}

fn head_of(entry: &SignedEntry) -> Head {
    Head { seq: entry.clone().verify().unwrap().seq(), hash: entry.hash() }
}

fn lie(rig: &Rig, what: &'static str, head: Head, entries: Vec<SignedEntry>) -> Lie {
    Lie { what, fleet: rig.fleet, head, entries }
}

/// Where the agents are: what the coordinator answers when one looks for another.
fn places(rig: &Rig) -> Vec<PeerAddr> {
    rig.agents.values().map(|agent| agent.mesh.addr()).collect()
}

/// Agents that all say `one`, and know what the coordinator knows.
async fn fleet_of(names: &[&str]) -> Rig {
    drop(tracing_subscriber::fmt().with_test_writer().with_max_level(tracing::Level::INFO).try_init());
    let mut rig = Rig::found().await;
    for of in names {
        rig.join(of).await;
    }
    rig.publish("*", "one").await;
    let newest = rig.state().head().seq;
    for of in names {
        rig.says(of, "one").await;
        until(of, SOON, || rig.agents[*of].role.standing().newest == Some(newest));
        // Who has a neighbour has heard it by now, or hears it soon.
        let meets = names.len() > 1;
        until("a neighbour", SOON, || !meets || rig.agents[*of].role.standing().peer_at.is_some());
    }
    rig
}

async fn resolve(rig: &mut Rig, of: &str, how: Resolution) {
    rig.stop_agent(of).await;
    let store = Arc::new(Store::open(&rig.dir.path().join(of).join("data")).unwrap());
    let resolved = agent::resolve(&store, rig.key(of), how).unwrap();
    assert!(resolved.evidence.is_some() && resolved.why.is_some(), "{resolved:?}");
    drop(store);
    rig.start_again(of).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_stories_are_found_out_and_nobody_goes_on() {
    let mut rig = fleet_of(&["tin-0", "tin-1"]).await;
    let admin = rig.admin.session.author().key().clone();
    let state = rig.state();
    // Two entries of the admin for one place, as a race leaves them: both sound.
    let stories = [entry_after(&state, &admin, says("left")), entry_after(&state, &admin, says("right"))];
    let (at, coordinator) = (places(&rig), rig.coordinator_key.id());
    rig.stop_coordinator().await;
    let told = ["tin-0", "tin-1"].into_iter().zip(&stories);
    let lies: HashMap<_, _> =
        told.map(|(of, e)| (rig.keys[of].id(), lie(&rig, of, head_of(e), vec![e.clone()]))).collect();
    let impostor = Impostor::start(&rig, lies, at).await;
    for of in ["tin-0", "tin-1"] {
        until(&format!("{of} finds out"), SOON, || rig.agents[of].role.stats().refuses);
        // Anybody can judge the evidence, knowing the fleet's id alone.
        let evidence = rig.agents[of].role.evidence().unwrap().to_json().unwrap();
        let proof = ForkEvidence::from_json(evidence.as_bytes()).unwrap().verify(rig.fleet).unwrap();
        assert_eq!(proof.liar(), Some(coordinator), "{proof}");
        assert!(rig.agents[of].role.stats().split);
    }
    impostor.stop().await;
    // Both stories go on, soundly. The nodes do not.
    let lies = ["tin-0", "tin-1"].into_iter().zip(&stories).map(|(of, story)| {
        let mut after = protocols::FleetState::clone(&state);
        after.apply(&story.clone().verify().unwrap()).unwrap();
        let next = entry_after(&after, &admin, says("further"));
        (rig.keys[of].id(), lie(&rig, of, head_of(&next), vec![next]))
    });
    let lies = lies.collect();
    let impostor = Impostor::start(&rig, lies, Vec::new()).await;
    impostor.has_told_everybody(2).await;
    for of in ["tin-0", "tin-1"] {
        assert_eq!(rig.agents[of].role.standing().head, Some(state.head().seq + 1));
        assert_ne!(rig.motd(of).as_deref(), Some("further"));
    }
    impostor.stop().await;
    // Also not after a restart, until somebody has decided: here, for what the true coordinator has.
    for of in ["tin-0", "tin-1"] {
        rig.stop_agent(of).await;
        rig.start_again(of).await;
        assert!(rig.agents[of].role.standing().refuses.is_some());
        resolve(&mut rig, of, Resolution::Rejoin).await;
    }
    rig.start_coordinator().await;
    rig.publish("*", "back").await;
    for of in ["tin-0", "tin-1"] {
        rig.says(of, "back").await;
        assert!(!rig.agents[of].role.stats().refuses);
    }
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_told_another_story_keeps_its_own_and_stops() {
    let mut rig = fleet_of(&["tin-0"]).await;
    let admin = rig.admin.session.author().key().clone();
    let all = rig.admin.session.workspace().ledger(Some(rig.fleet)).unwrap().range(0, 10_000, usize::MAX).unwrap();
    let mut before = protocols::FleetState::found(&rig.genesis.clone().verify().unwrap()).unwrap();
    for entry in &all[1..all.len() - 1] {
        before.apply(&entry.clone().verify().unwrap()).unwrap();
    }
    // It lost a race against the entry that everybody has.
    let loser = entry_after(&before, &admin, says("evil"));
    let lies = HashMap::from([(rig.keys["tin-0"].id(), lie(&rig, "another", head_of(&loser), vec![loser]))]);
    rig.stop_coordinator().await;
    let impostor = Impostor::start(&rig, lies, Vec::new()).await;
    until("it finds out", SOON, || rig.agents["tin-0"].role.stats().refuses);
    assert_eq!(rig.motd("tin-0").as_deref(), Some("one"));
    impostor.stop().await;
    rig.start_coordinator().await;
    resolve(&mut rig, "tin-0", Resolution::Keep).await;
    rig.publish("*", "back").await;
    rig.says("tin-0", "back").await;
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn withheld_entries_come_from_another_agent_and_the_node_says_so() {
    let mut rig = fleet_of(&["tin-0", "tin-1"]).await;
    let admin = rig.admin.session.author().key().clone();
    let state = rig.state();
    let news = entry_after(&state, &admin, says("news"));
    let at = places(&rig);
    rig.stop_coordinator().await;
    let lies = HashMap::from([
        (rig.keys["tin-0"].id(), lie(&rig, "the truth", head_of(&news), vec![news.clone()])),
        (rig.keys["tin-1"].id(), lie(&rig, "nothing new", state.head(), Vec::new())),
    ]);
    let impostor = Impostor::start(&rig, lies, at).await;
    rig.says("tin-0", "news").await;
    rig.says("tin-1", "news").await;
    until("it says so", SOON, || rig.agents["tin-1"].role.standing().withheld.is_some());
    for of in ["tin-0", "tin-1"] {
        assert!(!rig.agents[of].role.stats().refuses, "nobody told two stories");
    }
    impostor.stop().await;
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_backup_takes_nothing_back_and_is_noticed() {
    let mut rig = fleet_of(&["tin-0"]).await;
    rig.publish("*", "two").await;
    rig.says("tin-0", "two").await;
    let newest = rig.state().head();
    until("it has it signed", SOON, || rig.agents["tin-0"].role.standing().newest == Some(newest.seq));
    let all = rig.admin.session.workspace().ledger(Some(rig.fleet)).unwrap().range(0, 10_000, usize::MAX).unwrap();
    let old = head_of(&all[all.len() - 2]);
    rig.stop_coordinator().await;
    let entries = all[..all.len() - 1].to_vec();
    let lies = HashMap::from([(rig.keys["tin-0"].id(), lie(&rig, "an old backup", old, entries))]);
    let impostor = Impostor::start(&rig, lies, Vec::new()).await;
    impostor.has_told_everybody(2).await;
    until("it notices", SOON, || rig.agents["tin-0"].role.standing().withheld.is_some());
    let standing = rig.agents["tin-0"].role.standing();
    assert_eq!((standing.head, standing.newest, standing.refuses), (Some(newest.seq), Some(newest.seq), None));
    assert_eq!(rig.motd("tin-0").as_deref(), Some("two"));
    impostor.stop().await;
    rig.start_coordinator().await;
    rig.publish("*", "three").await;
    rig.says("tin-0", "three").await;
    until("all is well again", SOON, || rig.agents["tin-0"].role.standing().withheld.is_none());
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coordinator_that_never_answers_is_left() {
    let mut rig = fleet_of(&["tin-0"]).await;
    rig.stop_coordinator().await;
    let rude = Rude::start(&rig, Rudeness::Silent).await;
    until("it came, and came again", SOON, || rude.asked() >= 2);
    until("it knows that it knows nothing", SOON, || rig.agents["tin-0"].role.standing().unsure);
    assert_eq!(rig.motd("tin-0").as_deref(), Some("one"));
    rude.stop().await;
    rig.start_coordinator().await;
    rig.publish("*", "back").await;
    rig.says("tin-0", "back").await;
    until("it is sure again", SOON, || !rig.agents["tin-0"].role.standing().unsure);
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gigabyte_of_an_answer_is_not_read() {
    let mut rig = fleet_of(&["tin-0"]).await;
    rig.stop_coordinator().await;
    let rude = Rude::start(&rig, Rudeness::Endless).await;
    until("it hung up, and hung up again", SOON, || rude.hung_up() >= 2);
    let each = rude.sent_bytes() / u64::try_from(rude.hung_up()).unwrap().max(1);
    assert!(each < 128 << 20, "{} MiB were taken of one answer before it was given up", each >> 20);
    assert_eq!(rig.motd("tin-0").as_deref(), Some("one"));
    rude.stop().await;
    rig.start_coordinator().await;
    rig.publish("*", "back").await;
    rig.says("tin-0", "back").await;
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_too_late_is_not_begun() {
    let mut rig = fleet_of(&["tin-0"]).await;
    // Published in time, while the node was away.
    rig.stop_agent("tin-0").await;
    let end = flt::compose::now().plus(std::time::Duration::from_secs(2));
    rig.admin.session.set_not_after(Some(end));
    let late = rig.publish("*", "late").await;
    rig.admin.session.set_not_after(None);
    until("its time is over", SOON, || flt::compose::now() > end);
    rig.start_again("tin-0").await;
    let node = rig.keys["tin-0"].id();
    let outcome = rig.outcome(node, late, protocols::Verdict::Refused).await;
    assert_eq!(outcome.message, "expired before this node could begin");
    assert_eq!(rig.motd("tin-0").as_deref(), Some("one"));
    rig.publish("*", "newer").await;
    rig.says("tin-0", "newer").await;
    rig.stop().await;
}
