//! The rules of a node, one story each, told to a real table.

mod ends;

use super::*;
use crate::clock::Stamp;
use crate::ids::ClusterName;
use crate::settings::{Candidate, FailoverStrategy, Rung, Workload};
use crate::table::{Author, Entry, LeaseTable, Outcome, Phase, Request};

fn node(id: u8) -> NodeId {
    NodeId::from_bytes([id; 32])
}

/// Node 1 with its group, which it reaches at once or not at all.
struct Stage {
    table: LeaseTable,
    cluster: ClusterName,
    node: Node,
    now: LocalTime,
    online: bool,
    done: Vec<Command>,
}

impl Stage {
    /// Node 1 is fenced after its start, and has asked for nothing yet.
    fn new(candidates: u8, change: impl Fn(&mut Settings)) -> Self {
        let candidates = (1..=candidates).map(|id| Candidate { node: node(id), priority: 0 }).collect();
        let mut settings = Settings::lan(Workload::Service, candidates).timed(
            Span::from_secs(15),
            Span::from_secs(1),
            Span::from_secs(2),
            Span::from_secs(5),
        );
        change(&mut settings);
        let (cluster, now) = (ClusterName::try_from("it".to_owned()).unwrap(), LocalTime::from_micros(0));
        let node = Node::start(node(1), Durable::default(), now);
        let mut stage = Self { table: LeaseTable::new(), cluster, node, now, online: true, done: Vec::new() };
        stage.ask(Author::Admin, Request::Configure(Arc::new(settings))).answer.unwrap();
        stage.fenced(true);
        stage
    }

    /// The same, and it serves epoch 1.
    fn serving(candidates: u8, change: impl Fn(&mut Settings)) -> Self {
        let mut stage = Self::new(candidates, change);
        stage.pass(20);
        stage.tell(Event::Started { epoch: Epoch(1) });
        assert_eq!(stage.node.stand(), Stand::Serving { epoch: Epoch(1) });
        stage.pass(20);
        stage.done.clear();
        stage
    }

    fn ask(&mut self, author: Author, request: Request) -> Outcome {
        let attempt = Attempt { boot: 7, seq: self.table.applied() };
        let entry = Entry::Ask { cluster: self.cluster.clone(), author, attempt, request };
        self.table.apply(Stamp::default(), &entry)
    }

    fn tell(&mut self, event: Event) {
        self.node.handle(self.now, event);
        while let Some(command) = self.node.poll_command() {
            if let (Command::Send { attempt, request }, true) = (&command, self.online) {
                let mut outcome = self.ask(Author::Node(self.node.id()), request.clone());
                outcome.attempt = Some(*attempt);
                self.node.handle(self.now, Event::Answered(outcome));
            }
            self.done.push(command);
        }
    }

    /// So many seconds, a tenth at a time.
    fn pass(&mut self, secs: u64) {
        for _ in 0..secs * 10 {
            let tenth = Span::from_millis(100);
            self.now = self.now + tenth;
            self.table.apply(Stamp { elapsed: tenth }, &Entry::Clock);
            self.tell(Event::Tick);
        }
    }

    /// The rung that is being tried ends.
    fn fenced(&mut self, verified: bool) {
        let (Stand::Fencing { fence, .. } | Stand::Reviving { fence, .. }) = self.node.stand() else {
            panic!("it is {}", self.node.stand().word())
        };
        let rung = self.rungs().pop().unwrap_or(Rung::Immediate);
        self.tell(Event::FenceResult { fence, rung, verified, position: None });
    }

    fn rungs(&self) -> Vec<Rung> {
        let rung = |command: &Command| match command {
            Command::Fence { rung, .. } => Some(rung.clone()),
            _ => None,
        };
        self.done.iter().filter_map(rung).collect()
    }

    fn count(&self, of: fn(&Command) -> bool) -> usize {
        self.done.iter().filter(|command| of(command)).count()
    }

    /// Node 2 takes the lease over.
    fn is_succeeded(&mut self) {
        let epoch = self.table.lease(&self.cluster).unwrap().epoch;
        let acquire = Request::Acquire { epoch, version: 1, silence: Span::ZERO };
        self.ask(Author::Node(node(2)), acquire).answer.unwrap();
    }
}

const STARTS: fn(&Command) -> bool = |command| matches!(command, Command::Start { .. });
const RECONCILES: fn(&Command) -> bool = |command| matches!(command, Command::Reconcile { epoch: Epoch(1) });
const ALARMS: fn(&Command) -> bool = |command| matches!(command, Command::Alarm(_));

fn split(settings: &mut Settings) {
    settings.strategy = FailoverStrategy::SplitBrainAllowed;
    settings.ladder.clear();
}

#[test]
fn who_starts_fences_first_and_trusts_nothing_that_runs() {
    let mut node = Node::start(node(1), Durable::default(), LocalTime::from_micros(0));
    assert!(matches!(node.stand(), Stand::Fencing { epoch: None, .. }));
    assert!(matches!(node.poll_command(), Some(Command::Persist(Durable { boot: 1, .. }))));
    let next = std::iter::from_fn(|| node.poll_command()).find(|command| !matches!(command, Command::Record(_)));
    assert!(matches!(next, Some(Command::Fence { .. })), "{next:?}");
    assert_eq!(node.may_write(LocalTime::from_micros(0)), None);
}

#[test]
fn the_watchdog_is_set_before_the_workload_starts() {
    let mut stage = Stage::new(2, |_| {});
    stage.pass(20);
    let index = |of: fn(&Command) -> bool| stage.done.iter().position(of);
    let armed = index(|command| matches!(command, Command::Watchdog { until } if *until != LocalTime::NEVER));
    assert!(armed.is_some() && armed < index(STARTS), "{:?}", stage.done);
}

#[test]
fn the_fence_begins_when_the_whole_ladder_still_fits() {
    let mut stage = Stage::serving(2, |_| {});
    stage.online = false;
    let until = stage.node.certain_until().unwrap();
    while stage.node.stand().held().is_some() {
        stage.pass(1);
    }
    let left = until.since(stage.now);
    let ladder = stage.node.settings().unwrap().fence_budget();
    assert!(left <= ladder && left + Span::from_secs(1) >= ladder, "{left} are left, the ladder takes {ladder}");
    assert_eq!(stage.node.may_write(stage.now), None);
}

#[test]
fn a_rung_that_fails_or_is_late_is_followed_by_the_next_and_the_last_by_an_alarm() {
    let mut stage = Stage::serving(2, |_| {});
    stage.tell(Event::Died);
    stage.fenced(false);
    assert_eq!(stage.rungs(), [Rung::Immediate, Rung::Kill]);
    stage.pass(2);
    assert_eq!(stage.rungs(), [Rung::Immediate, Rung::Kill, Rung::CutTraffic], "its time was up");
    stage.fenced(false);
    assert_eq!(stage.count(ALARMS), 1);
    assert_eq!(stage.rungs().len(), 4, "it begins anew");
    stage.fenced(true);
    assert_eq!(stage.node.stand(), Stand::Resting);
    assert_eq!(stage.table.lease(&stage.cluster).unwrap().phase, Phase::Fenced);
}

#[test]
fn a_result_of_an_earlier_fence_ends_no_later_one() {
    let mut stage = Stage::serving(2, |_| {});
    stage.tell(Event::Died);
    let Stand::Fencing { fence, .. } = stage.node.stand() else { panic!("it fences") };
    let stale = Event::FenceResult { fence: fence - 1, rung: Rung::Immediate, verified: true, position: None };
    stage.tell(stale);
    assert!(matches!(stage.node.stand(), Stand::Fencing { .. }));
}

#[test]
fn a_late_answer_proves_the_lease_from_when_it_was_asked() {
    let mut stage = Stage::serving(2, |_| {});
    stage.online = false;
    stage.done.clear();
    stage.pass(3);
    let sent = stage.done.iter().find_map(|command| match command {
        Command::Send { attempt, request: request @ Request::Renew { .. } } => Some((*attempt, request.clone())),
        _ => None,
    });
    let (attempt, request) = sent.unwrap();
    let before = stage.now;
    stage.pass(2);
    let mut outcome = stage.ask(Author::Node(node(1)), request);
    outcome.attempt = Some(attempt);
    stage.tell(Event::Answered(outcome));
    let settings = stage.node.settings().unwrap();
    assert!(stage.node.certain_until().unwrap() <= before + settings.certain(), "it counts from before {before:?}");
}

#[test]
fn a_fenced_node_serves_again_only_after_a_whole_ttl_in_touch() {
    let mut stage = Stage::serving(2, |_| {});
    stage.tell(Event::Died);
    stage.fenced(true);
    stage.done.clear();
    stage.pass(13);
    assert_eq!(stage.count(STARTS), 0);
    stage.online = false;
    stage.pass(30);
    stage.online = true;
    stage.pass(13);
    assert_eq!(stage.count(STARTS), 0, "there was a gap");
    stage.pass(4);
    assert_eq!(stage.count(STARTS), 1);
    let lease = stage.table.lease(&stage.cluster).unwrap();
    assert_eq!((lease.epoch, lease.holder), (Epoch(2), Some(node(1))), "in another epoch");
}

#[test]
fn promises_of_every_other_candidate_count_like_a_renewal_and_those_of_some_do_not() {
    let mut stage = Stage::serving(3, |_| {});
    stage.online = false;
    let before = stage.node.certain_until().unwrap();
    stage.pass(5);
    let asked = stage.done.iter().rev().find_map(|command| match command {
        Command::Ask { attempt, .. } => Some(*attempt),
        _ => None,
    });
    let attempt = asked.unwrap();
    for from in [2, 2, 9] {
        stage.tell(Event::Promised { from: node(from), attempt });
    }
    assert_eq!(stage.node.certain_until(), Some(before));
    stage.tell(Event::Promised { from: node(3), attempt });
    assert!(stage.node.certain_until() > Some(before));
}

#[test]
fn who_promised_does_not_take_over_until_the_promise_ends() {
    let mut stage = Stage::new(2, |_| {});
    let acquire = Request::Acquire { epoch: Epoch(0), version: 1, silence: Span::ZERO };
    stage.ask(Author::Node(node(2)), acquire).answer.unwrap();
    stage.pass(14);
    let (attempt, term) = (Attempt { boot: 1, seq: 9 }, Span::from_secs(15));
    stage.tell(Event::Asked { from: node(2), attempt, epoch: Epoch(1), term });
    assert_eq!(stage.count(|command| matches!(command, Command::Promise { .. })), 1);
    assert_eq!(stage.node.durable().promised, term);
    stage.pass(14);
    assert_eq!(stage.count(STARTS), 0, "the lease is over, the promise is not");
    stage.pass(3);
    assert_eq!(stage.count(STARTS), 1);
}

#[test]
fn a_switchover_stops_in_order_and_gives_up_what_it_held() {
    let mut stage = Stage::serving(2, |_| {});
    stage.ask(Author::Node(node(2)), Request::Beat { version: 1, position: None }).answer.unwrap();
    stage.ask(Author::Admin, Request::Switchover { epoch: Epoch(1), to: node(2) }).answer.unwrap();
    stage.pass(3);
    assert!(matches!(stage.node.stand(), Stand::Stopping { epoch: Epoch(1), to: Some(_), .. }));
    assert_eq!(stage.table.lease(&stage.cluster).unwrap().phase, Phase::Held, "it has not stopped yet");
    let position = Position { epoch: Epoch(1), lsn: 77 };
    stage.tell(Event::Stopped { epoch: Epoch(1), position });
    let lease = stage.table.lease(&stage.cluster).unwrap();
    assert_eq!((lease.phase, lease.handoff.map(|handoff| (handoff.to, handoff.min))), {
        (Phase::Released, Some((node(2), position)))
    });
}

#[test]
fn where_it_is_allowed_who_is_cut_off_serves_on_and_says_so() {
    let mut stage = Stage::serving(2, split);
    stage.online = false;
    stage.pass(60);
    assert_eq!(stage.node.stand(), Stand::Degraded { epoch: Epoch(1) });
    assert_eq!(stage.count(ALARMS), 1);
    assert_eq!(stage.node.may_write(stage.now), Some((Epoch(1), LocalTime::NEVER)));
    let bites = |command: &Command| matches!(command, Command::Watchdog { until } if *until != LocalTime::NEVER);
    assert_eq!(stage.count(bites) + stage.rungs().len(), 0, "nothing ends it");
    // Nobody has taken over: it has its lease back, and nothing is to be reconciled.
    stage.online = true;
    stage.pass(3);
    assert_eq!(stage.node.stand(), Stand::Serving { epoch: Epoch(1) });
    stage.online = false;
    stage.pass(60);
    assert_eq!((stage.count(ALARMS), stage.count(RECONCILES)), (2, 0), "it says so each time");
}

#[test]
fn who_meets_a_later_epoch_yields_and_has_what_it_wrote_reconciled_once_nothing_writes() {
    let mut stage = Stage::serving(2, split);
    stage.online = false;
    stage.pass(60);
    stage.is_succeeded();
    stage.online = true;
    stage.pass(3);
    assert!(matches!(stage.node.stand(), Stand::Stopping { epoch: Epoch(1), to: None, .. }));
    assert_eq!(stage.count(RECONCILES), 0);
    stage.tell(Event::Stopped { epoch: Epoch(1), position: Position::default() });
    stage.pass(10);
    assert_eq!(stage.count(RECONCILES), 1);
    assert_eq!(stage.node.durable().may_split, None);
}

#[test]
fn an_agent_that_dies_while_it_serves_beside_another_is_reconciled_all_the_same() {
    let mut stage = Stage::serving(2, split);
    stage.online = false;
    stage.pass(60);
    stage.is_succeeded();
    stage.node = Node::start(node(1), stage.node.durable(), stage.now);
    stage.online = true;
    stage.pass(1);
    stage.fenced(true);
    stage.pass(3);
    assert_eq!(stage.count(RECONCILES), 1);
}

#[test]
fn what_stops_within_its_lease_is_nobodys_care() {
    let mut stage = Stage::serving(2, split);
    assert_eq!(stage.node.durable().may_split, Some(Epoch(1)), "kept before anything runs");
    stage.online = false;
    stage.tell(Event::Died);
    stage.fenced(true);
    stage.pass(20);
    stage.is_succeeded();
    stage.online = true;
    stage.pass(10);
    assert_eq!((stage.count(RECONCILES), stage.node.durable().may_split), (0, None));
}

#[test]
fn nobody_begins_to_serve_without_a_lease() {
    let mut stage = Stage::new(2, split);
    stage.pass(20);
    let until = stage.done.iter().find_map(|command| match command {
        Command::Start { until, .. } => Some(*until),
        _ => None,
    });
    assert!(until.is_some_and(|until| until <= stage.now + Span::from_secs(14)), "{until:?}");
}
