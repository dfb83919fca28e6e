//! How the alarm of a split history ends: for who is on the history that counts, and for who is on the other one.

use serde_json::Value;
use testkit::{DEADLINE, until};

use super::super::pair::{again, kill};
use super::{Forked, appoint_second};

#[test]
fn a_split_ends_when_the_guilty_one_is_retired_and_a_person_brings_the_others_back() {
    let (mut forked, mut second, liar) = Forked::met();
    let pair = &forked.pair;
    for node in ["edge-1", "edge-2"] {
        assert!(forked.refuses(node).contains(&liar));
    }
    // A person decides for the history that the second one has.
    kill(&mut forked.first);
    kill(&mut forked.one);
    again(&mut second);
    appoint_second(pair);
    pair.by_second(["coordinator", "retire", "coordinator-1", "--reason", "told two stories", "--yes"]).ok();
    // Whoever is on that history goes on by itself.
    pair.bed.declare("fleet.toml", "together\n", &["true"]);
    pair.by_second(["apply", "fleet.toml", "--no-wait"]).ok();
    pair.bed.wait_for_motd("edge-2", "together\n");
    // Whoever is on the other one does not, however often it starts; until it is told to, and gives up its evidence.
    for _ in 0..2 {
        forked.one.restart();
        assert!(forked.refuses("edge-1").contains(&liar));
        assert_eq!(pair.bed.motd("edge-1").as_deref(), Some("long\n"));
        kill(&mut forked.one);
    }
    let saved = pair.bed.path().join("fork.json");
    let resolved = forked.agent("edge-1", ["resolve", "--rejoin"]).arg("--save").arg(&saved).ok();
    let resolved: Value = serde_json::from_str(&resolved).unwrap();
    assert!(resolved["why"].as_str().unwrap().contains(&liar), "{resolved}");
    let proof = pair.by_second(["verify", "--fork"]).arg(&saved).arg("--json").ok();
    assert_eq!(serde_json::from_str::<Value>(&proof).unwrap()["proven"], true);
    forked.one.restart();
    pair.bed.wait_for_motd("edge-1", "together\n");
    until("no alarm any more", DEADLINE, || {
        let status = pair.by_second(["status"]).ok();
        if status.contains(" split") || status.contains("TAKES NO MORE") { Err(status) } else { Ok(()) }
    });
    pair.by_second(["verify", "--fork"]).limit(DEADLINE * 2).ok();
}
