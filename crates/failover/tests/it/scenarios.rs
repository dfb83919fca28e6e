//! Short stories told to the real table and the real node, each of which needs so many coincidences that chance does
//! not tell it often. Each says what is wrong if it does not end well.

use std::sync::Arc;

use failover::mutation::{Mutation, Mutations};
use failover::settings::Candidate;
use failover::{
    Answer, Attempt, Author, ClusterName, Command, Durable, Entry, Epoch, Event, FailoverStrategy, LeaseTable,
    LocalTime, Node, Outcome, Position, Refusal, Request, Round, Settings, Span, Stamp, Workload,
};

use crate::sim::plan::node;

/// The story in which a deliberate fault shows, if chance does not tell it.
pub(crate) fn of(mutation: Mutation) -> Option<fn(Mutations) -> Result<(), String>> {
    match mutation {
        Mutation::CountStaleReports => Some(a_report_of_an_earlier_round),
        Mutation::AttachWithoutFollow => Some(a_report_from_before_receiving_again),
        Mutation::ForgetOldSyncSets => Some(two_failovers_in_a_row),
        Mutation::RenewAnyEpoch => Some(a_renewal_of_an_epoch_that_is_over),
        Mutation::IgnorePromiseAtGrant => Some(a_promise_while_the_question_is_on_its_way),
        Mutation::StartByPromise => Some(a_grant_that_comes_too_late),
        Mutation::SeekWhileRebuilding => Some(a_rebuild_whose_order_is_forgotten),
        Mutation::BindUnacknowledgedChange => Some(a_candidate_that_the_holder_does_not_know),
        Mutation::CountDuplicatePromises => Some(one_peer_promises_twice),
        Mutation::ReviveRenews => Some(a_restart_of_the_workload_renews_nothing),
        Mutation::TakeAnySettings => Some(a_group_that_goes_by_settings_nobody_signed),
        Mutation::ForgetWithdrawnEpochs => Some(a_cluster_that_is_declared_again),
        Mutation::ForgetWithdrawnSets => Some(a_database_that_is_declared_again),
        Mutation::GrantToRemoved => Some(a_candidate_that_was_removed),
        _ => None,
    }
}

const STORIES: [Mutation; 14] = [
    Mutation::CountStaleReports,
    Mutation::AttachWithoutFollow,
    Mutation::ForgetOldSyncSets,
    Mutation::RenewAnyEpoch,
    Mutation::IgnorePromiseAtGrant,
    Mutation::StartByPromise,
    Mutation::SeekWhileRebuilding,
    Mutation::BindUnacknowledgedChange,
    Mutation::CountDuplicatePromises,
    Mutation::ReviveRenews,
    Mutation::TakeAnySettings,
    Mutation::ForgetWithdrawnEpochs,
    Mutation::ForgetWithdrawnSets,
    Mutation::GrantToRemoved,
];

#[test]
fn every_story_ends_well() {
    for mutation in STORIES {
        let story = of(mutation).expect("it is one of them");
        assert_eq!(story(Mutations::NONE), Ok(()), "the story of {mutation:?}");
    }
}

/// A table, and a short way to talk to it.
struct Teller {
    table: LeaseTable,
    cluster: ClusterName,
    seq: u64,
}

impl Teller {
    fn new(candidates: usize, workload: Workload, mutations: Mutations) -> Self {
        Self::with(settings(candidates, workload), mutations)
    }

    fn with(settings: Settings, mutations: Mutations) -> Self {
        let cluster = ClusterName::try_from("postgres/orders".to_owned()).expect("a name");
        let mut teller = Self { table: LeaseTable::with_mutations(mutations), cluster, seq: 0 };
        teller.tell(None, Request::Configure(Arc::new(settings))).answer.expect("settings that hold");
        teller
    }

    fn tell(&mut self, from: Option<usize>, request: Request) -> Outcome {
        self.seq += 1;
        let author = from.map_or(Author::Admin, |from| Author::Node(node(from)));
        let attempt = Attempt { boot: 1, seq: self.seq };
        let entry = Entry::Ask { cluster: self.cluster.clone(), author, attempt, request };
        self.table.apply(Stamp { elapsed: Span::from_millis(10) }, &entry)
    }

    fn acquire(&mut self, from: usize, epoch: u64) -> Result<Answer, Refusal> {
        let request = Request::Acquire { epoch: Epoch(epoch), version: 1, silence: Span::ZERO };
        self.tell(Some(from), request).answer
    }

    fn report(&mut self, from: usize, epoch: u64, round: Round, lsn: u64) -> Result<Answer, Refusal> {
        let position = Position { epoch: Epoch(epoch), lsn };
        self.tell(Some(from), Request::Report { epoch: Epoch(epoch), round, position }).answer
    }

    /// The holder says that nothing of it runs.
    fn give_up(&mut self, from: usize, epoch: u64) {
        let proof = failover::FenceProof::NotRunning;
        let request = Request::FenceConfirmed { epoch: Epoch(epoch), proof, position: None };
        let _noted = self.tell(Some(from), request);
    }

    /// The lease runs out.
    fn silence(&mut self) {
        self.table.apply(Stamp { elapsed: Span::from_secs(16) }, &Entry::Clock);
    }

    fn round(&self) -> Round {
        self.table.lease(&self.cluster).map_or(Round(0), |lease| lease.round)
    }
}

fn settings(candidates: usize, workload: Workload) -> Settings {
    Settings::lan(workload, (0..candidates).map(|index| Candidate { node: node(index), priority: 0 }).collect()).timed(
        Span::from_secs(15),
        Span::from_secs(1),
        Span::from_secs(2),
        Span::from_secs(5),
    )
}

fn wrong<T: std::fmt::Debug>(what: &str, got: T) -> Result<(), String> {
    Err(format!("{what}: {got:?}"))
}

/// 1 reports, receives again because the holder is back, and holds more by the time its first report arrives again.
fn a_report_of_an_earlier_round(mutations: Mutations) -> Result<(), String> {
    let mut group = Teller::new(3, Workload::StatefulSql, mutations);
    let _granted = group.acquire(0, 0);
    group.silence();
    let early = group.round();
    let _reported = group.report(1, 1, early, 10);
    let _renewed = group.tell(Some(0), Request::Renew { epoch: Epoch(1), version: 1 });
    let _follows = group.tell(Some(1), Request::Follow { epoch: Epoch(1) });
    // 0 and 1 hold a write at 20 now, which is acknowledged. Then 0 is gone, and 2 holds 10.
    group.silence();
    let _late = group.report(1, 1, early, 10);
    let _reported = group.report(2, 1, group.round(), 10);
    match group.acquire(2, 1) {
        Err(Refusal::NotCovered) => Ok(()),
        other => wrong("2 lacks what 0 and 1 hold", other),
    }
}

/// The same, but the first report was counted before 1 received again.
fn a_report_from_before_receiving_again(mutations: Mutations) -> Result<(), String> {
    let mut group = Teller::new(3, Workload::StatefulSql, mutations);
    let _granted = group.acquire(0, 0);
    group.silence();
    let _reported = group.report(1, 1, group.round(), 10);
    let _renewed = group.tell(Some(0), Request::Renew { epoch: Epoch(1), version: 1 });
    group.silence();
    let _reported = group.report(2, 1, group.round(), 10);
    match group.acquire(2, 1) {
        Err(Refusal::NotCovered) => Ok(()),
        other => wrong("2 lacks what 0 and 1 hold", other),
    }
}

/// 1 takes over with everything, and fails before a write of its own proved that its set holds what was before.
fn two_failovers_in_a_row(mutations: Mutations) -> Result<(), String> {
    let mut group = Teller::new(3, Workload::StatefulSql, mutations);
    let mut both = settings(3, Workload::StatefulSql);
    both.sync = 2;
    let _granted = group.acquire(0, 0);
    // From now on a primary waits for both standbys, so one of them would do as a witness, were it not for what was
    // acknowledged before by one of two.
    let _configured = group.tell(None, Request::Configure(Arc::new(both)));
    group.silence();
    let round = group.round();
    let _reported = (group.report(1, 1, round, 20), group.report(2, 1, round, 10));
    if group.acquire(1, 1).is_err() {
        return wrong("1 holds everything", "it was refused");
    }
    group.silence();
    let _reported = group.report(2, 2, group.round(), 10);
    match group.acquire(2, 2) {
        Err(Refusal::NotCovered) => Ok(()),
        other => wrong("2 lacks what 0 and 1 hold", other),
    }
}

fn a_renewal_of_an_epoch_that_is_over(mutations: Mutations) -> Result<(), String> {
    let mut group = Teller::new(2, Workload::Service, mutations);
    let _granted = group.acquire(0, 0);
    group.silence();
    let _granted = group.acquire(1, 1);
    match group.tell(Some(0), Request::Renew { epoch: Epoch(1), version: 1 }).answer {
        Err(Refusal::Epoch(Epoch(2))) => Ok(()),
        other => wrong("epoch 1 is over", other),
    }
}

/// The holder counts on the promises of the candidates it knows.
fn a_candidate_that_the_holder_does_not_know(mutations: Mutations) -> Result<(), String> {
    let mut group = Teller::new(2, Workload::Service, mutations);
    let _granted = group.acquire(0, 0);
    let _configured = group.tell(None, Request::Configure(Arc::new(settings(3, Workload::Service))));
    group.silence();
    match group.acquire(2, 1) {
        Err(Refusal::HolderUnaware) => Ok(()),
        other => wrong("0 has not heard of 2, which may take over from it", other),
    }
}

/// A node of a story, with a clock.
struct Hero {
    node: Node,
    now: LocalTime,
}

impl Hero {
    fn new(index: usize, mutations: Mutations) -> Self {
        let now = LocalTime::from_micros(0);
        let mut node = Node::start_with_mutations(node(index), Durable::default(), now, mutations);
        node.handle(
            now,
            Event::FenceResult { fence: 1, rung: failover::settings::Rung::Immediate, verified: true, position: None },
        );
        Self { node, now }
    }

    fn wait(&mut self, millis: u64) {
        self.now = self.now + Span::from_millis(millis);
        self.node.handle(self.now, Event::Tick);
    }

    /// Everything it wants to ask the group is asked and answered at once; what else it wants is returned.
    fn talk(&mut self, index: usize, group: &mut Teller) -> Vec<Command> {
        let mut others = Vec::new();
        while let Some(command) = self.node.poll_command() {
            let Command::Send { attempt, request } = command else {
                others.push(command);
                continue;
            };
            let mut outcome = group.tell(Some(index), request);
            outcome.attempt = Some(attempt);
            self.node.handle(self.now, Event::Answered(outcome));
        }
        others
    }

    fn live(&mut self, index: usize, group: &mut Teller, secs: u64) -> Vec<Command> {
        let mut others = Vec::new();
        for _ in 0..secs {
            self.wait(1_000);
            others.extend(self.talk(index, group));
        }
        others
    }
}

/// 1 asks for a free lease; before it is answered the holder is back and has 1's promise; then the answer arrives.
fn a_promise_while_the_question_is_on_its_way(mutations: Mutations) -> Result<(), String> {
    let mut group = Teller::new(2, Workload::Service, mutations);
    let _granted = group.acquire(0, 0);
    let mut hero = Hero::new(1, mutations);
    for _ in 0..20 {
        let _renewed = group.tell(Some(0), Request::Renew { epoch: Epoch(1), version: 1 });
        let _others = hero.live(1, &mut group, 1);
    }
    group.silence();
    let mut asked = None;
    for _ in 0..8 {
        hero.wait(1_000);
        while let Some(command) = hero.node.poll_command() {
            match command {
                Command::Send { attempt, request: request @ Request::Acquire { .. } } => {
                    asked = asked.or(Some((attempt, request)));
                }
                Command::Send { attempt, request } => {
                    let mut outcome = group.tell(Some(1), request);
                    outcome.attempt = Some(attempt);
                    hero.node.handle(hero.now, Event::Answered(outcome));
                }
                _ => {}
            }
        }
    }
    let Some((attempt, request)) = asked else { return wrong("1 asks for the free lease", hero.node.stand()) };
    let from = node(0);
    hero.node.handle(
        hero.now,
        Event::Asked { from, attempt: Attempt { boot: 1, seq: 9 }, epoch: Epoch(1), term: Span::from_secs(15) },
    );
    let mut outcome = group.tell(Some(1), request);
    outcome.attempt = Some(attempt);
    hero.node.handle(hero.now, Event::Answered(outcome));
    let commands: Vec<Command> = std::iter::from_fn(|| hero.node.poll_command()).collect();
    let promised = commands.iter().any(|command| matches!(command, Command::Promise { .. }));
    let starts = commands.iter().any(|command| matches!(command, Command::Start { .. }));
    if promised && !starts { Ok(()) } else { wrong("1 promised, and starts at once", commands) }
}

/// 0 may serve on without a lease where it began with one. It is stopped before it hears that it was granted one, for
/// longer than that lasts; then its peer promises not to use the next, and the group has granted that already.
fn a_grant_that_comes_too_late(mutations: Mutations) -> Result<(), String> {
    let mut group = Teller::with(
        Settings {
            strategy: FailoverStrategy::SplitBrainAllowed,
            ladder: Vec::new(),
            ..settings(2, Workload::Service)
        },
        mutations,
    );
    let mut hero = Hero::new(0, mutations);
    let mut asked = None;
    for _ in 0..20 {
        hero.wait(1_000);
        while let Some(command) = hero.node.poll_command() {
            let Command::Send { attempt, request } = command else { continue };
            let acquires = matches!(request, Request::Acquire { .. });
            if acquires && asked.is_some() {
                continue;
            }
            let mut outcome = group.tell(Some(0), request);
            outcome.attempt = Some(attempt);
            match acquires {
                true => asked = Some(outcome),
                false => hero.node.handle(hero.now, Event::Answered(outcome)),
            }
        }
        if asked.is_some() {
            break;
        }
    }
    let Some(granted) = asked else { return wrong("0 asks for the free lease", hero.node.stand()) };
    hero.now = hero.now + Span::from_secs(60);
    hero.node.handle(hero.now, Event::Answered(granted));
    let ask = std::iter::from_fn(|| hero.node.poll_command()).find_map(|command| match command {
        Command::Ask { attempt, .. } => Some(attempt),
        _ => None,
    });
    let Some(attempt) = ask else { return wrong("0 asks its peer", hero.node.stand()) };
    hero.node.handle(hero.now, Event::Promised { from: node(1), attempt });
    let starts = |hero: &mut Hero| {
        std::iter::from_fn(|| hero.node.poll_command()).any(|command| matches!(command, Command::Start { .. }))
    };
    if starts(&mut hero) {
        return wrong("0 begins by a promise", hero.node.stand());
    }
    // The group's own word, if it still is 0's, is enough.
    let others = hero.live(0, &mut group, 5);
    match others.iter().any(|command| matches!(command, Command::Start { .. })) {
        true => Ok(()),
        false => wrong("0 begins once the group has renewed its lease", hero.node.stand()),
    }
}

/// 1 is copied anew from 0; meanwhile the cluster is withdrawn, forgotten, and declared again.
fn a_rebuild_whose_order_is_forgotten(mutations: Mutations) -> Result<(), String> {
    let mut group = Teller::new(2, Workload::Service, mutations);
    let _granted = group.acquire(0, 0);
    let mut hero = Hero::new(1, mutations);
    let live = |hero: &mut Hero, group: &mut Teller, epoch: u64| {
        let mut told = Vec::new();
        for _ in 0..20 {
            let _renewed = group.tell(Some(0), Request::Renew { epoch: Epoch(epoch), version: 1 });
            told.extend(hero.live(1, group, 1));
        }
        told
    };
    let rebuilds = |told: &[Command]| {
        told.iter().find_map(|command| match command {
            Command::Rebuild { serial, epoch, .. } => Some((*serial, *epoch)),
            _ => None,
        })
    };
    let _followed = live(&mut hero, &mut group, 1);
    group.tell(None, Request::Reinit { node: node(1) }).answer.map_err(|refused| refused.to_string())?;
    let told = live(&mut hero, &mut group, 1);
    if rebuilds(&told).is_none() {
        return wrong("1 is rebuilt", told);
    }
    let _withdrawn = group.tell(None, Request::Withdraw);
    group.give_up(0, 1);
    group.silence();
    let _configured = group.tell(None, Request::Configure(Arc::new(settings(2, Workload::Service))));
    let _waits = hero.live(1, &mut group, 40);
    // It has nothing to serve with, so the lease is for whoever has.
    let Ok(Answer::Granted { epoch, .. }) = group.acquire(0, 1) else {
        return wrong("the lease is free for 0", group.table.lease(&group.cluster));
    };
    let told = live(&mut hero, &mut group, epoch.0);
    let Some((serial, from)) = rebuilds(&told).filter(|(_, from)| *from == epoch) else {
        return wrong("1 is rebuilt from the new holder", told);
    };
    hero.node.handle(hero.now, Event::Rebuilt { epoch: from, serial });
    let told = live(&mut hero, &mut group, epoch.0);
    match told.iter().any(|command| matches!(command, Command::Attach { .. })) {
        true => Ok(()),
        false => wrong("1 follows when it is whole", hero.node.stand()),
    }
}

/// A holder of three is out of touch with the group, and one of its peers answers twice.
fn one_peer_promises_twice(mutations: Mutations) -> Result<(), String> {
    let mut group = Teller::new(3, Workload::Service, mutations);
    let mut hero = Hero::new(0, mutations);
    let _others = hero.live(0, &mut group, 20);
    let Some(before) = hero.node.certain_until() else { return wrong("0 holds the lease", hero.node.stand()) };
    let mut asked = None;
    for _ in 0..6 {
        hero.wait(1_000);
        while let Some(command) = hero.node.poll_command() {
            if let Command::Ask { attempt, .. } = command {
                asked = Some(attempt);
            }
        }
    }
    let Some(attempt) = asked else { return wrong("0 asks its peers", hero.node.stand()) };
    for _ in 0..2 {
        hero.node.handle(hero.now, Event::Promised { from: node(1), attempt });
    }
    let after = hero.node.certain_until();
    if after == Some(before) { Ok(()) } else { wrong("2 has promised nothing", (before, after)) }
}

/// A holder of three, out of touch with everybody, starts its workload again.
fn a_restart_of_the_workload_renews_nothing(mutations: Mutations) -> Result<(), String> {
    let mut group = Teller::new(3, Workload::Service, mutations);
    let mut hero = Hero::new(0, mutations);
    let mut told = hero.live(0, &mut group, 20);
    hero.node.handle(hero.now, Event::Started { epoch: Epoch(1) });
    let Some(before) = hero.node.certain_until() else { return wrong("0 holds the lease", hero.node.stand()) };
    for _ in 0..4 {
        hero.wait(1_000);
    }
    hero.node.handle(hero.now, Event::Ended);
    told.clear();
    told.extend(std::iter::from_fn(|| hero.node.poll_command()));
    let fence = told.iter().find_map(|command| match command {
        Command::Fence { fence, rung, .. } => Some((*fence, rung.clone())),
        _ => None,
    });
    let Some((fence, rung)) = fence else { return wrong("0 makes sure that nothing is left", told) };
    hero.node.handle(hero.now, Event::FenceResult { fence, rung, verified: true, position: None });
    let started = std::iter::from_fn(|| hero.node.poll_command());
    let until = started.into_iter().find_map(|command| match command {
        Command::Start { again: true, until, .. } => Some(until),
        _ => None,
    });
    match (until, hero.node.certain_until()) {
        (Some(until), Some(certain)) if until <= before && certain <= before => Ok(()),
        other => wrong("the lease ends when it would have", (before, other)),
    }
}

/// The group keeps leases for a second; the ledger that 0 has verified says fifteen.
fn a_group_that_goes_by_settings_nobody_signed(mutations: Mutations) -> Result<(), String> {
    let mut group = Teller::new(2, Workload::Service, mutations);
    let signed = Arc::new(settings(2, Workload::Service));
    let mut lie = Settings::fast(Workload::Service, signed.candidates.clone());
    lie.hold_down_max = lie.ttl;
    let _configured = group.tell(None, Request::Configure(Arc::new(lie)));
    let mut hero = Hero::new(0, mutations);
    hero.node.handle(hero.now, Event::Declared(Arc::clone(&signed)));
    let told = hero.live(0, &mut group, 40);
    let starts = told.iter().any(|command| matches!(command, Command::Start { .. }));
    let alarmed = told.iter().any(|command| matches!(command, Command::Alarm(failover::Alarm::ForeignSettings)));
    if starts || !alarmed || hero.node.settings().is_some() {
        return wrong("0 takes no lease by settings that nobody signed, and says so", (starts, alarmed));
    }
    // What was signed is taken.
    let _configured = group.tell(None, Request::Configure(signed));
    let told = hero.live(0, &mut group, 40);
    let starts = told.iter().any(|command| matches!(command, Command::Start { .. }));
    if starts { Ok(()) } else { wrong("0 takes the lease by the settings that were signed", told) }
}

/// 0 holds it, gives it up, and hears late that the cluster was withdrawn and declared again.
fn a_cluster_that_is_declared_again(mutations: Mutations) -> Result<(), String> {
    let mut group = Teller::new(2, Workload::Service, mutations);
    let _granted = group.acquire(0, 0);
    let _withdrawn = group.tell(None, Request::Withdraw);
    group.give_up(0, 1);
    group.silence();
    if group.table.lease(&group.cluster).is_some() {
        return wrong("the lease is forgotten", group.table.lease(&group.cluster));
    }
    let _configured = group.tell(None, Request::Configure(Arc::new(settings(2, Workload::Service))));
    match group.acquire(1, 1) {
        Ok(Answer::Granted { epoch: Epoch(2), .. }) => Ok(()),
        other => wrong("1 is granted an epoch that nobody had", other),
    }
}

/// 2 lacks what 0 and 1 hold, and only 2 is there when the cluster is declared again.
fn a_database_that_is_declared_again(mutations: Mutations) -> Result<(), String> {
    let mut group = Teller::new(3, Workload::StatefulSql, mutations);
    let _granted = group.acquire(0, 0);
    let _withdrawn = group.tell(None, Request::Withdraw);
    group.give_up(0, 1);
    group.silence();
    let _configured = group.tell(None, Request::Configure(Arc::new(settings(3, Workload::StatefulSql))));
    let _reported = group.report(2, 1, group.round(), 10);
    match group.acquire(2, 1) {
        Err(Refusal::NotCovered) => Ok(()),
        other => wrong("2 lacks what 0 and 1 hold", other),
    }
}

/// 1 has asked for the lease of a holder that is silent, and is removed before that arrives.
fn a_candidate_that_was_removed(mutations: Mutations) -> Result<(), String> {
    let mut group = Teller::new(2, Workload::Service, mutations);
    let _granted = group.acquire(0, 0);
    let _configured = group.tell(None, Request::Configure(Arc::new(settings(1, Workload::Service))));
    group.silence();
    match group.acquire(1, 1) {
        Err(Refusal::NotCandidate) => Ok(()),
        other => wrong("1 is no candidate", other),
    }
}
