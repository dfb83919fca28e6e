use std::collections::BTreeMap;

use protocols::control::Liveness;
use protocols::{Outcome, Verdict};

use super::*;
use crate::session::CheckedReport;
use crate::testing::{NOW, enroll, node_key, publish, state_after};

fn state() -> FleetState {
    state_after(&[
        enroll(1, &[("role", "edge")]),
        enroll(2, &[]),
        enroll(3, &[]),
        publish("edge/motd", "*", "/etc", "hi"),
        publish("edge/none", "role=core", "/srv", "hi"),
    ])
}

fn reports(state: &FleetState) -> Reports {
    let report = |n: u8, verdict: Verdict, online: bool| {
        let outcome = Outcome {
            name: "edge/motd".parse().unwrap(),
            kind: "files/1".parse().unwrap(),
            subject: "files/etc".parse().unwrap(),
            generation: 4,
            verdict,
            message: "no space".into(),
            steps: Vec::new(),
            attempts: 2,
            at: NOW,
        };
        let head = Some(state.head());
        let report = CheckedReport {
            node: node_key(n).id(),
            liveness: Liveness { silent_millis: Some(90_000), online, head, addr: None },
            stable: None,
            volatile: None,
            beats: None,
            outcomes: BTreeMap::from([(outcome.subject.clone(), outcome)]),
            problems: Vec::new(),
        };
        (report.node, report)
    };
    BTreeMap::from([report(1, Verdict::Converged, true), report(2, Verdict::Quarantined, true)])
}

#[test]
fn status_says_how_every_node_is() {
    let state = state();
    let view = StatusView::new(&state, &reports(&state), NOW);
    let conditions: Vec<Condition> = view.nodes.iter().map(|row| row.condition).collect();
    assert_eq!(conditions, [Condition::Ok, Condition::Failing, Condition::Offline]);
    assert_eq!((view.in_order, view.nodes_total), (1, 3));
    insta::assert_snapshot!(view.problems.join("\n"), @r"
    edge-2: edge/motd quarantined: no space
    edge-3: not heard yet
    edge/none: no node matches `role=core`
    ");
    let motd = &view.scores[0];
    assert_eq!((motd.nodes, motd.converged, motd.failing), (3, 1, 1));
    let json = serde_json::to_value(&view).unwrap();
    assert_eq!(json["nodes"][1]["condition"], "failing");
    assert_eq!(json["nodes"][0]["behind"], 0);
}

#[test]
fn a_score_shows_its_payload_and_targets() {
    let state = state();
    let view = ScoreView::new(&state, &"edge/motd".parse().unwrap(), &reports(&state), NOW).unwrap();
    let json = serde_json::to_value(&view).unwrap();
    assert_eq!(json["payload"]["root"], "/etc");
    assert_eq!(json["name"], "edge/motd");
    assert_eq!(view.targets.len(), 3);
    assert_eq!(view.targets[1].verdict, Some(Verdict::Quarantined));
    let node = NodeView::new(&state, node_key(2).id(), reports(&state).get(&node_key(2).id())).unwrap();
    assert_eq!(node.parts[0].attempts, 2);
    assert_eq!(node.row.silent_seconds, Some(90));
}

#[test]
fn spans_are_short() {
    for (seconds, text) in [(0, "0s"), (59, "59s"), (60, "1m"), (7200, "2h"), (172_800, "2d")] {
        assert_eq!(span(seconds), text);
    }
}
