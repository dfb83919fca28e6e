//! Whatever anybody asks: nothing panics, nothing grows without bound, and what is sent arrives as it was.

use std::collections::BTreeSet;
use std::sync::Arc;

use failover::settings::{Candidate, Rung, Settings};
use failover::{
    Attempt, Author, ClusterName, Durable, Entry, Epoch, Event, FailoverStrategy, FenceProof, LeaseTable, LocalTime,
    Node, NodeId, Outcome, Position, Request, Round, Span, Stamp, SyncSet, Workload,
};
use proptest::collection::{btree_set, vec};
use proptest::prelude::*;

use crate::sim::plan::node;

fn names() -> impl Strategy<Value = ClusterName> {
    (0..3_u8).prop_map(|id| ClusterName::try_from(format!("service/{id}")).expect("a name"))
}

/// Candidates, and two that are none.
fn nodes() -> impl Strategy<Value = NodeId> {
    (0..5_usize).prop_map(node)
}

/// Small ones, which mean something, and the ends.
fn numbers() -> impl Strategy<Value = u64> {
    prop_oneof![6 => 0..6_u64, 1 => Just(u64::MAX), 1 => any::<u64>()]
}

fn epochs() -> impl Strategy<Value = Epoch> {
    numbers().prop_map(Epoch)
}

fn positions() -> impl Strategy<Value = Position> {
    (epochs(), numbers()).prop_map(|(epoch, lsn)| Position { epoch, lsn })
}

fn attempts() -> impl Strategy<Value = Attempt> {
    (numbers(), numbers()).prop_map(|(boot, seq)| Attempt { boot, seq })
}

fn rungs() -> impl Strategy<Value = Rung> {
    let action = prop_oneof![Just(3_usize), Just(64), Just(65), Just(100_000)];
    prop_oneof![
        Just(Rung::Immediate),
        Just(Rung::Kill),
        Just(Rung::CutTraffic),
        action.prop_map(|length| Rung::Action("x".repeat(length))),
    ]
}

fn proofs() -> impl Strategy<Value = FenceProof> {
    prop_oneof![rungs().prop_map(FenceProof::Rung), Just(FenceProof::Watchdog), Just(FenceProof::NotRunning)]
}

fn settings() -> impl Strategy<Value = Arc<Settings>> {
    (1..4_usize, any::<bool>(), 0..3_u8, any::<bool>()).prop_map(|(count, service, sync, split)| {
        let candidates = (0..count).map(|index| Candidate { node: node(index), priority: 1 }).collect();
        let workload = if service { Workload::Service } else { Workload::StatefulSql };
        let mut settings = Settings::lan(workload, candidates);
        settings.sync = if service { 0 } else { sync };
        if split && service {
            settings.strategy = FailoverStrategy::SplitBrainAllowed;
            settings.ladder.clear();
        }
        Arc::new(settings)
    })
}

fn sets() -> impl Strategy<Value = SyncSet> {
    (nodes(), btree_set(nodes(), 0..5), 0..4_u8).prop_map(|(primary, names, num)| SyncSet { primary, names, num })
}

fn requests() -> impl Strategy<Value = Request> {
    prop_oneof![
        settings().prop_map(Request::Configure),
        Just(Request::Pause),
        Just(Request::Resume),
        Just(Request::Withdraw),
        (epochs(), nodes()).prop_map(|(epoch, to)| Request::Switchover { epoch, to }),
        nodes().prop_map(|node| Request::Reinit { node }),
        epochs().prop_map(|epoch| Request::Attest { epoch }),
        (numbers(), proptest::option::of(positions()))
            .prop_map(|(version, position)| Request::Beat { version, position }),
        (epochs(), numbers()).prop_map(|(epoch, version)| Request::Renew { epoch, version }),
        epochs().prop_map(|epoch| Request::Follow { epoch }),
        (epochs(), numbers(), positions()).prop_map(|(epoch, round, position)| Request::Report {
            epoch,
            round: Round(round),
            position
        }),
        (epochs(), numbers(), numbers()).prop_map(|(epoch, version, silence)| {
            Request::Acquire { epoch, version, silence: Span::from_micros(silence) }
        }),
        (epochs(), positions(), nodes()).prop_map(|(epoch, position, to)| Request::Release { epoch, position, to }),
        (epochs(), proofs(), proptest::option::of(positions()))
            .prop_map(|(epoch, proof, position)| Request::FenceConfirmed { epoch, proof, position }),
        (epochs(), sets()).prop_map(|(epoch, set)| Request::BeginSync { epoch, set }),
        (epochs(), numbers()).prop_map(|(epoch, serial)| Request::CommitSync { epoch, serial }),
        epochs().prop_map(|epoch| Request::RemoteTurn { epoch }),
        epochs().prop_map(|epoch| Request::RemoteDone { epoch }),
        (epochs(), numbers()).prop_map(|(epoch, serial)| Request::Rebuilt { epoch, serial }),
        Just(Request::TakeCustody),
        epochs().prop_map(|epoch| Request::KeepCustody { epoch }),
        epochs().prop_map(|epoch| Request::EndCustody { epoch }),
    ]
}

fn entries() -> impl Strategy<Value = Entry> {
    let author = prop_oneof![1 => Just(Author::Admin), 5 => nodes().prop_map(Author::Node)];
    let ask = (names(), author, attempts(), requests()).prop_map(|(cluster, author, attempt, request)| Entry::Ask {
        cluster,
        author,
        attempt,
        request,
    });
    prop_oneof![1 => Just(Entry::Clock), 9 => ask]
}

fn stamps() -> impl Strategy<Value = Stamp> {
    let spans = prop_oneof![Just(0), Just(1_000_000), Just(16_000_000), any::<u64>()];
    spans.prop_map(|micros| Stamp { elapsed: Span::from_micros(micros) })
}

/// A table whose clusters exist, and everything that was answered on the way.
fn applied(entries: &[(Stamp, Entry)]) -> (LeaseTable, Vec<Outcome>) {
    let mut table = LeaseTable::new();
    let candidates = (0..3).map(|index| Candidate { node: node(index), priority: 1 }).collect();
    let settings = Arc::new(Settings::lan(Workload::Service, candidates));
    let configure = |id: u8| Entry::Ask {
        cluster: ClusterName::try_from(format!("service/{id}")).expect("a name"),
        author: Author::Admin,
        attempt: Attempt::default(),
        request: Request::Configure(Arc::clone(&settings)),
    };
    for id in 0..2 {
        table.apply(Stamp::default(), &configure(id));
    }
    let outcomes = entries.iter().map(|(stamp, entry)| table.apply(*stamp, entry)).collect();
    (table, outcomes)
}

fn again<T: serde::Serialize + serde::de::DeserializeOwned>(value: &T) -> (usize, T) {
    let bytes = postcard::to_stdvec(value).expect("it can be written");
    (bytes.len(), postcard::from_bytes(&bytes).expect("it can be read"))
}

fn events() -> impl Strategy<Value = Event> {
    let spans = || numbers().prop_map(Span::from_micros);
    prop_oneof![
        Just(Event::Tick),
        (nodes(), attempts(), epochs(), spans()).prop_map(|(from, attempt, epoch, term)| Event::Asked {
            from,
            attempt,
            epoch,
            term
        }),
        (nodes(), attempts()).prop_map(|(from, attempt)| Event::Promised { from, attempt }),
        epochs().prop_map(|epoch| Event::Started { epoch }),
        Just(Event::Died),
        Just(Event::Bitten),
        (epochs(), positions()).prop_map(|(epoch, position)| Event::Stopped { epoch, position }),
        (numbers(), rungs(), any::<bool>()).prop_map(|(fence, rung, verified)| Event::FenceResult {
            fence,
            rung,
            verified,
            position: None
        }),
        (numbers(), proptest::option::of(positions()))
            .prop_map(|(serial, position)| Event::Detached { serial, position }),
        positions().prop_map(|position| Event::Progress { position }),
        numbers().prop_map(|serial| Event::SyncInForce { serial }),
        (epochs(), any::<bool>()).prop_map(|(epoch, verified)| Event::Acted { epoch, verified }),
        (epochs(), numbers()).prop_map(|(epoch, serial)| Event::Rebuilt { epoch, serial }),
    ]
}

/// What one cluster may take in a snapshot, in bytes: nine candidates with everything that is kept of each.
const MOST_OF_A_CLUSTER: usize = 8_192;
/// The most that one thing in custody may take of a snapshot, in bytes.
const MOST_OF_A_CUSTODY: usize = 256;

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_sent_arrives_as_it_was(entries in vec((stamps(), entries()), 0..40)) {
        let (table, outcomes) = applied(&entries);
        prop_assert_eq!(&again(&table).1, &table);
        for (_, entry) in &entries {
            prop_assert_eq!(&again(entry).1, entry);
        }
        for outcome in &outcomes {
            prop_assert_eq!(&again(outcome).1, outcome);
        }
    }

    #[test]
    fn nothing_that_is_asked_makes_the_table_grow_without_bound(entries in vec((stamps(), entries()), 0..400)) {
        let (table, outcomes) = applied(&entries);
        let clusters = table.leases().count();
        prop_assert!(clusters <= 3, "only an admin adds a cluster");
        let (size, _) = again(&table);
        prop_assert!(size <= 3 * MOST_OF_A_CLUSTER + 3 * MOST_OF_A_CUSTODY, "{size} bytes for {clusters} clusters of 3");
        for outcome in &outcomes {
            let (size, _) = again(outcome);
            prop_assert!(size <= MOST_OF_A_CLUSTER, "an answer of {size} bytes");
        }
        for (_, lease) in table.leases() {
            let known: BTreeSet<NodeId> = (0..3).map(node).collect();
            prop_assert!(lease.beats.keys().chain(lease.reports.keys()).all(|node| known.contains(node)));
        }
    }

    #[test]
    fn members_that_apply_the_same_hold_the_same(entries in vec((stamps(), entries()), 0..100), cut in 0..100_usize) {
        let (table, outcomes) = applied(&entries);
        prop_assert_eq!(&applied(&entries), &(table.clone(), outcomes.clone()));
        // A member that starts from a snapshot in the middle answers the same from there on.
        let cut = cut.min(entries.len());
        let (middle, _) = applied(&entries[..cut]);
        let (_, mut restored) = again(&middle);
        let later: Vec<Outcome> = entries[cut..].iter().map(|(stamp, entry)| restored.apply(*stamp, entry)).collect();
        prop_assert_eq!(&later[..], &outcomes[cut..]);
        prop_assert_eq!(restored, table);
    }

    #[test]
    fn epochs_only_grow_and_time_never_goes_back(entries in vec((stamps(), entries()), 0..200)) {
        let (mut seen, mut at) = (std::collections::BTreeMap::new(), failover::LogTime::ZERO);
        for ((_, entry), outcome) in entries.iter().zip(applied(&entries).1) {
            prop_assert!(outcome.at >= at);
            at = outcome.at;
            let (Entry::Ask { cluster, .. }, Some(view)) = (entry, outcome.view) else { continue };
            let before = seen.insert(cluster.clone(), (view.epoch, view.round)).unwrap_or_default();
            prop_assert!(before.0 <= view.epoch && before.1 <= view.round);
            prop_assert!(view.epoch.0 <= before.0.0 + 1 || before == Default::default());
        }
    }

    /// Answers that the node asked for and others that it did not, in any order, with anything in between.
    #[test]
    fn a_node_survives_whatever_it_is_told(
        told in vec((0..3_000_000_u64, prop_oneof![events().prop_map(Ok), entries().prop_map(Err)]), 0..200),
        split in any::<bool>(),
    ) {
        let mut table = applied(&[]).0;
        let cluster = ClusterName::try_from("service/0".to_owned()).expect("a name");
        let mut now = LocalTime::from_micros(0);
        let mut hero = Node::start(node(0), Durable::default(), now);
        if split {
            let candidates = (0..2).map(|index| Candidate { node: node(index), priority: 1 }).collect();
            let mut settings = Settings::lan(Workload::Service, candidates);
            settings.strategy = FailoverStrategy::SplitBrainAllowed;
            settings.ladder.clear();
            let request = Request::Configure(Arc::new(settings));
            let (author, attempt) = (Author::Admin, Attempt::default());
            table.apply(Stamp::default(), &Entry::Ask { cluster: cluster.clone(), author, attempt, request });
        }
        for (micros, what) in told {
            now = now + Span::from_micros(micros);
            let stamp = Stamp { elapsed: Span::from_micros(micros) };
            match what {
                Ok(event) => hero.handle(now, event),
                Err(entry) => hero.handle(now, Event::Answered(table.apply(stamp, &entry))),
            }
            let mut commands = 0;
            while let Some(command) = hero.poll_command() {
                commands += 1;
                if let failover::Command::Send { attempt, request } = command {
                    let author = Author::Node(node(0));
                    let entry = Entry::Ask { cluster: cluster.clone(), author, attempt, request };
                    hero.handle(now, Event::Answered(table.apply(Stamp::default(), &entry)));
                }
                prop_assert!(commands < 200, "it never stops wanting something");
            }
            prop_assert!(hero.may_write(now).is_none_or(|(_, until)| until > now));
            prop_assert!(hero.next_deadline() > now);
        }
    }
}
