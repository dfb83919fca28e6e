//! Workloads that end by themselves, and agents that are told to end.

use super::*;

fn starts_again(command: &Command) -> bool {
    matches!(command, Command::Start { again: true, .. })
}

#[test]
fn what_ends_by_itself_is_started_again_once_nothing_of_it_is_left() {
    let mut stage = Stage::serving(2, |_| {});
    stage.tell(Event::Ended);
    assert!(matches!(stage.node.stand(), Stand::Reviving { epoch: Epoch(1), .. }));
    assert_eq!((stage.count(starts_again), stage.node.may_write(stage.now)), (0, None));
    stage.fenced(true);
    assert_eq!(stage.count(starts_again), 1);
    stage.tell(Event::Started { epoch: Epoch(1) });
    assert_eq!(stage.node.stand(), Stand::Serving { epoch: Epoch(1) });
    // At once again: something is wrong here.
    stage.pass(10);
    stage.tell(Event::Ended);
    assert!(matches!(stage.node.stand(), Stand::Fencing { epoch: Some(Epoch(1)), .. }));
}

#[test]
fn what_ends_again_and_again_is_given_up() {
    let mut stage = Stage::serving(2, |_| {});
    for _ in 0..Node::MAX_REVIVALS {
        stage.tell(Event::Ended);
        stage.fenced(true);
        stage.tell(Event::Started { epoch: Epoch(1) });
        stage.pass(20);
    }
    assert_eq!(stage.count(starts_again), Node::MAX_REVIVALS);
    stage.tell(Event::Ended);
    assert!(matches!(stage.node.stand(), Stand::Fencing { epoch: Some(Epoch(1)), .. }));
}

#[test]
fn what_may_be_left_or_does_not_come_back_soon_is_given_up() {
    let unverified = |stage: &mut Stage| stage.fenced(false);
    let slow = |stage: &mut Stage| {
        stage.fenced(true);
        stage.pass(8);
    };
    for spoil in [unverified, slow] {
        let mut stage = Stage::serving(2, |_| {});
        stage.tell(Event::Ended);
        spoil(&mut stage);
        assert!(matches!(stage.node.stand(), Stand::Fencing { epoch: Some(Epoch(1)), .. }));
    }
    // What is ill has not ended.
    let mut stage = Stage::serving(2, |_| {});
    stage.tell(Event::Died);
    assert!(matches!(stage.node.stand(), Stand::Fencing { epoch: Some(Epoch(1)), .. }));
}

#[test]
fn nothing_is_started_again_in_a_lease_that_is_about_to_end() {
    let mut stage = Stage::serving(2, |_| {});
    stage.online = false;
    stage.pass(7);
    assert_eq!(stage.node.stand(), Stand::Serving { epoch: Epoch(1) });
    stage.tell(Event::Ended);
    assert!(matches!(stage.node.stand(), Stand::Fencing { epoch: Some(Epoch(1)), .. }));
}

#[test]
fn what_serves_is_stopped_in_order_when_its_agent_ends_and_anybody_may_take_over() {
    let mut stage = Stage::serving(2, |_| {});
    stage.tell(Event::Leave { by: stage.now + Span::from_secs(5) });
    assert!(matches!(stage.node.stand(), Stand::Stopping { epoch: Epoch(1), to: None, .. }));
    assert_eq!(stage.table.lease(&stage.cluster).unwrap().phase, Phase::Held, "not before it has stopped");
    stage.tell(Event::Stopped { epoch: Epoch(1), position: Position::default() });
    assert_eq!(stage.table.lease(&stage.cluster).unwrap().phase, Phase::Fenced);
    stage.pass(60);
    assert_eq!(stage.count(STARTS), 0, "it takes nothing any more");
    stage.is_succeeded();

    // One that does not stop is fenced.
    let mut stage = Stage::serving(2, |_| {});
    stage.tell(Event::Leave { by: stage.now + Span::from_secs(5) });
    stage.pass(6);
    assert!(matches!(stage.node.stand(), Stand::Fencing { epoch: Some(Epoch(1)), .. }));
}
