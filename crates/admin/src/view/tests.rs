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
            standing: None,
            outcomes: BTreeMap::from([(outcome.subject.clone(), outcome)]),
            looks: None,
            devices: BTreeMap::new(),
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

#[test]
fn one_machine_twice_is_named_and_several_agents_on_it_are_not() {
    let state = state();
    let told = |boots: [&str; 2]| {
        let mut reports = reports(&state);
        for (report, boot) in reports.values_mut().zip(boots) {
            report.stable = Some(protocols::facts::StableFacts {
                machine_id: Some("same".into()),
                boot_id: Some(boot.into()),
                ..Default::default()
            });
        }
        let view = StatusView::new(&state, &reports, NOW);
        let same: Vec<String> =
            view.nodes.iter().map(|n| n.same_machine.iter().map(ToString::to_string).collect::<String>()).collect();
        (same, view.problems.into_iter().filter(|problem| problem.contains("one machine id")).collect::<Vec<_>>())
    };
    let (same, problems) = told(["1", "2"]);
    assert_eq!(same, ["edge-2", "edge-1", ""]);
    assert_eq!(problems.len(), 1);
    assert!(problems[0].starts_with("edge-1, edge-2: they have one machine id: a disk was copied"), "{problems:?}");
    let (same, problems) = told(["1", "1"]);
    assert_eq!((same[0].as_str(), problems.len()), ("edge-2", 0));
}

#[test]
fn a_node_in_quarantine_is_shown_as_such_whatever_else_it_is() {
    let quarantine =
        protocols::Body::Quarantine(protocols::entry::Quarantine { key: node_key(1).id(), reason: "odd".into() });
    let state = state_after(&[enroll(1, &[]), quarantine]);
    let view = StatusView::new(&state, &reports(&state), NOW);
    assert_eq!((view.nodes[0].condition, view.in_order), (Condition::Quarantined, 0));
    assert_eq!(view.problems, ["edge-1: in quarantine, acts on nothing: odd"]);
}
