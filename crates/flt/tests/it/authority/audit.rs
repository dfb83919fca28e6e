//! The log: who, what, when, from where, and on whose authority.

use serde_json::Value;

use super::people::{Person, founder, says};
use crate::processes::bed::Bed;

#[test]
fn the_log_says_on_whose_authority() {
    let bed = Bed::found();
    let _coordinator = bed.start_coordinator();
    let _agent = bed.join("edge-1");
    let ben = Person::new(&bed, "ben");
    ben.joins(&["--may", "grant,publish,read", "--on", "role=edge"]);
    let carla = Person::new(&bed, "carla");
    let request = carla.request();
    let granted = ben.admin(&["grant", "--request", &request, "--role", "ci", "--on", "role=edge"]).arg("--json").ok();
    let granted: Value = serde_json::from_str(&granted).unwrap();
    carla.admin(&["join", granted["ticket"].as_str().unwrap()]).ok();
    bed.declare("fleet.toml", "hello\n", &["true"]);
    carla.admin(&["apply", "fleet.toml", "--no-wait"]).ok();
    let log = bed.json(["log"]);
    assert_eq!(log["schema"], "flt.log/1");
    let entries = log["entries"].as_array().unwrap();
    let last = entries.last().unwrap();
    assert_eq!((last["author"].as_str(), last["verb"].as_str()), (Some("carla"), Some("publish")), "{last}");
    assert_eq!(last["through"], serde_json::json!(["alice", "ben", "carla"]));
    assert_eq!((last["ordered_by"].as_str(), last["about"][1].as_str()), (Some("coordinator-1"), Some("edge-1")));
    assert_eq!(last["key"].as_str().unwrap().len(), 64);
    let redeem = entries.iter().find(|e| e["verb"] == "redeem").unwrap();
    assert_eq!(
        (redeem["invite"]["by"].as_str(), redeem["invite"]["entry"].as_u64()),
        (Some("alice"), Some(1)),
        "{redeem}"
    );
    let table = bed.admin(["log"]).ok();
    assert!(table.lines().next().unwrap().starts_with("ENTRY  AUTHOR"), "{table}");
    assert!(table.contains("alice > ben > carla"), "{table}");
    // The same log, always.
    assert_eq!(bed.admin(["log", "--offline"]).ok(), table);
    let count = |words: &[&str]| {
        let json: Value = serde_json::from_str(&founder(&bed, words).args(["--json", "--offline"]).ok()).unwrap();
        json["entries"].as_array().unwrap().len()
    };
    assert_eq!(count(&["log", "--by", "carla"]), 1);
    assert_eq!(count(&["log", "--by", last["key"].as_str().unwrap()]), 1);
    assert_eq!(count(&["log", "--kind", "grant", "--kind", "invite"]), 3);
    assert_eq!(count(&["log", "--node", "edge-1"]), 2, "redeemed, and published for");
    assert_eq!(count(&["log", "--since", "1", "--kind", "genesis"]), 0);
    assert_eq!(count(&["log", "--since", "1h"]), entries.len());
    assert_eq!(count(&["log", "--since", "2999-01-01T00:00:00Z"]), 0);
    says(founder(&bed, &["log", "--kind", "fly"]).run(), 2, &["no entries of kind `fly`", "genesis"]);
    // Names are those of then, also when the person is gone.
    founder(&bed, &["revoke", "carla", "--reason", "left", "--yes"]).ok();
    assert_eq!(count(&["log", "--by", "carla"]), 1);
}
