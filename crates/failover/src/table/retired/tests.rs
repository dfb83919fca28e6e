//! What a cluster that is declared again begins with.

use super::*;
use crate::settings::{Candidate, Workload};
use crate::table::{Answer, Entry, Refusal, Request};
use crate::time::Span;
use crate::{Attempt, Author, Stamp};

fn node(id: u8) -> NodeId {
    NodeId::from_bytes([id; 32])
}

fn name(text: &str) -> ClusterName {
    ClusterName::try_from(text.to_owned()).unwrap()
}

fn settings(workload: Workload) -> Arc<Settings> {
    Arc::new(Settings::lan(workload, (1..=2).map(|id| Candidate { node: node(id), priority: 0 }).collect()))
}

fn ask(table: &mut LeaseTable, cluster: &ClusterName, author: Author, request: Request) -> Result<Answer, Refusal> {
    let attempt = Attempt { boot: 1, seq: table.applied() + 1 };
    table.apply(Stamp::default(), &Entry::Ask { cluster: cluster.clone(), author, attempt, request }).answer
}

fn acquire(table: &mut LeaseTable, cluster: &ClusterName, id: u8, epoch: u64) -> Result<Answer, Refusal> {
    let request = Request::Acquire { epoch: Epoch(epoch), version: 1, silence: Span::ZERO };
    ask(table, cluster, Author::Node(node(id)), request)
}

fn pass(table: &mut LeaseTable, secs: u64) {
    table.apply(Stamp { elapsed: Span::from_secs(secs) }, &Entry::Clock);
}

/// Declares it, lets 1 hold it and give it up, and withdraws it.
fn used_and_withdrawn(table: &mut LeaseTable, cluster: &ClusterName, workload: Workload) {
    ask(table, cluster, Author::Admin, Request::Configure(settings(workload))).unwrap();
    let epoch = table.lease(cluster).unwrap().epoch;
    acquire(table, cluster, 1, epoch.0).unwrap();
    let proof = super::super::FenceProof::NotRunning;
    let given_up = Request::FenceConfirmed { epoch: epoch.next(), proof, position: None };
    ask(table, cluster, Author::Admin, Request::Withdraw).unwrap();
    assert!(!table.lease(cluster).unwrap().is_over(table.now()), "it is held");
    ask(table, cluster, Author::Node(node(1)), given_up).unwrap();
    assert!(table.lease(cluster).unwrap().is_over(table.now()));
    pass(table, 1);
    assert!(table.lease(cluster).is_none());
}

#[test]
fn a_service_goes_on_with_the_next_epoch() {
    let (mut table, cluster) = (LeaseTable::new(), name("service/a"));
    for round in 0..3 {
        used_and_withdrawn(&mut table, &cluster, Workload::Service);
        let beat = Request::Beat { version: 1, position: None };
        assert_eq!(ask(&mut table, &cluster, Author::Node(node(1)), beat), Err(Refusal::UnknownCluster));
        ask(&mut table, &cluster, Author::Admin, Request::Configure(settings(Workload::Service))).unwrap();
        let lease = table.lease(&cluster).unwrap();
        assert_eq!((lease.epoch, lease.version, lease.phase), (Epoch(round + 1), 2 * round + 2, Phase::Vacant));
        // As one who never heard of the withdrawal would go on.
        let renew = Request::Renew { epoch: Epoch(round + 1), version: 1 };
        assert_eq!(ask(&mut table, &cluster, Author::Node(node(1)), renew), Err(Refusal::NotHolder));
        assert_eq!(acquire(&mut table, &cluster, 2, round), Err(Refusal::Epoch(Epoch(round + 1))));
        ask(&mut table, &cluster, Author::Admin, Request::Withdraw).unwrap();
        assert_eq!(acquire(&mut table, &cluster, 2, round + 1), Err(Refusal::Withdrawn));
        pass(&mut table, 1);
        assert!(table.lease(&cluster).is_none(), "nobody held it");
    }
}

#[test]
fn what_a_silent_holder_relies_on_outlives_a_withdrawal() {
    let (mut table, cluster) = (LeaseTable::new(), name("service/a"));
    ask(&mut table, &cluster, Author::Admin, Request::Configure(settings(Workload::Service))).unwrap();
    acquire(&mut table, &cluster, 1, 0).unwrap();
    ask(&mut table, &cluster, Author::Admin, Request::Withdraw).unwrap();
    pass(&mut table, 20);
    assert!(table.lease(&cluster).unwrap().is_over(table.now()), "its lease is over, so there is nothing to be told");
    // It may go on by the promise of 2, and knows nothing of 3.
    let more = (2..=3).map(|id| Candidate { node: node(id), priority: 0 }).collect();
    let more = Arc::new(Settings::lan(Workload::Service, more));
    ask(&mut table, &cluster, Author::Admin, Request::Configure(more)).unwrap();
    assert_eq!(acquire(&mut table, &cluster, 3, 1), Err(Refusal::HolderUnaware));
    ask(&mut table, &cluster, Author::Admin, Request::Attest { epoch: Epoch(1) }).unwrap();
    assert!(matches!(acquire(&mut table, &cluster, 3, 1), Ok(Answer::Granted { epoch: Epoch(2), .. })));
}

#[test]
fn a_database_remembers_who_may_hold_what_was_acknowledged() {
    let (mut table, cluster) = (LeaseTable::new(), name("postgres/a"));
    used_and_withdrawn(&mut table, &cluster, Workload::StatefulSql);
    ask(&mut table, &cluster, Author::Admin, Request::Configure(settings(Workload::StatefulSql))).unwrap();
    let lease = table.lease(&cluster).unwrap();
    assert_eq!((lease.epoch, lease.phase, lease.sync.len()), (Epoch(1), Phase::Released, 1));
    assert_eq!(acquire(&mut table, &cluster, 2, 1), Err(Refusal::NotReported));
}

#[test]
fn a_name_that_was_forgotten_begins_beyond_all_that_were() {
    let mut table = LeaseTable::new();
    let first = name("service/first");
    used_and_withdrawn(&mut table, &first, Workload::Service);
    table.retired.known.get_mut(&first).unwrap().epoch = Epoch(7);
    for index in 1..LeaseTable::MAX_RETIRED {
        let retired = Retired { epoch: Epoch(9), version: 3, ..Retired::default() };
        table.retired.known.insert(name(&format!("service/{index}")), retired);
    }
    let last = name("service/last");
    used_and_withdrawn(&mut table, &last, Workload::Service);
    assert_eq!(table.retired.known.len(), LeaseTable::MAX_RETIRED);
    assert!(!table.retired.known.contains_key(&first), "of the lowest epoch");
    for cluster in [first, name("service/never")] {
        ask(&mut table, &cluster, Author::Admin, Request::Configure(settings(Workload::Service))).unwrap();
        assert_eq!(table.lease(&cluster).unwrap().epoch, Epoch(7));
    }
    let retired = |retired: &mut Retired| retired.sync = vec![];
    table.retired.known.values_mut().for_each(retired);
    assert!(table.retired.make_room());
}
