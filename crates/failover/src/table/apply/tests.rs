//! The rules of the table, one story each.

use super::*;
use crate::settings::{Candidate, Promotion, Remote, Workload};
use crate::table::{Entry, Outcome};
use crate::time::Span;
use crate::{Stamp, SyncSet};

fn node(id: u8) -> NodeId {
    NodeId::from_bytes([id; 32])
}

struct Group {
    table: LeaseTable,
    cluster: ClusterName,
    seq: u64,
}

impl Group {
    fn new(candidates: u8, workload: Workload, change: impl Fn(&mut Settings)) -> Self {
        let candidates = (1..=candidates).map(|id| Candidate { node: node(id), priority: 0 }).collect();
        let mut settings = Settings::lan(workload, candidates).timed(
            Span::from_secs(15),
            Span::from_secs(1),
            Span::from_secs(2),
            Span::from_secs(5),
        );
        change(&mut settings);
        let cluster = ClusterName::try_from("it".to_owned()).unwrap();
        let mut group = Self { table: LeaseTable::new(), cluster, seq: 0 };
        assert_eq!(group.admin(Request::Configure(Arc::new(settings))), Ok(Answer::Noted));
        group
    }

    fn ask(&mut self, author: Author, request: Request) -> Outcome {
        self.seq += 1;
        let attempt = Attempt { boot: 1, seq: self.seq };
        let entry = Entry::Ask { cluster: self.cluster.clone(), author, attempt, request };
        self.table.apply(Stamp::default(), &entry)
    }

    fn admin(&mut self, request: Request) -> Result<Answer, Refusal> {
        self.ask(Author::Admin, request).answer
    }

    fn node(&mut self, id: u8, request: Request) -> Result<Answer, Refusal> {
        self.ask(Author::Node(node(id)), request).answer
    }

    fn acquire(&mut self, id: u8, epoch: u64) -> Result<Answer, Refusal> {
        self.node(id, Request::Acquire { epoch: Epoch(epoch), version: 1, silence: Span::ZERO })
    }

    fn report(&mut self, id: u8, epoch: u64, lsn: u64) -> Result<Answer, Refusal> {
        let (epoch, round) = (Epoch(epoch), self.lease().round);
        self.node(id, Request::Report { epoch, round, position: Position { epoch, lsn } })
    }

    fn pass(&mut self, secs: u64) {
        self.table.apply(Stamp { elapsed: Span::from_secs(secs) }, &Entry::Clock);
    }

    fn lease(&self) -> &Lease {
        self.table.lease(&self.cluster).unwrap()
    }
}

fn granted(epoch: u64) -> Result<Answer, Refusal> {
    Ok(Answer::Granted { epoch: Epoch(epoch), ttl: Span::from_secs(15) })
}

#[test]
fn the_same_request_twice_grants_once() {
    let mut group = Group::new(2, Workload::Service, |_| {});
    assert_eq!(group.acquire(1, 0), granted(1));
    assert_eq!(group.acquire(1, 0), Err(Refusal::Epoch(Epoch(1))));
}

#[test]
fn a_lease_is_kept_for_its_ttl_and_one_instant() {
    let mut group = Group::new(2, Workload::Service, |_| {});
    assert_eq!(group.acquire(1, 0), granted(1));
    group.pass(15);
    assert_eq!(group.acquire(2, 1), Err(Refusal::NotFree));
    group.table.apply(Stamp { elapsed: Span::from_micros(1) }, &Entry::Clock);
    assert_eq!(group.acquire(2, 1), granted(2));
    assert_eq!(group.node(1, Request::Renew { epoch: Epoch(1), version: 1 }), Err(Refusal::Epoch(Epoch(2))));
}

#[test]
fn a_holder_beyond_its_ttl_renews_as_long_as_nobody_took_over() {
    let mut group = Group::new(2, Workload::Service, |_| {});
    assert_eq!(group.acquire(1, 0), granted(1));
    group.pass(60);
    let renewed = Answer::Renewed { epoch: Epoch(1), ttl: Span::from_secs(15) };
    assert_eq!(group.node(1, Request::Renew { epoch: Epoch(1), version: 1 }), Ok(renewed));
    assert_eq!(group.acquire(2, 1), Err(Refusal::NotFree));
}

#[test]
fn an_older_renewal_proves_nothing_and_renews_nothing() {
    let mut group = Group::new(2, Workload::Service, |_| {});
    assert_eq!(group.acquire(1, 0), granted(1));
    let renew = |seq| Entry::Ask {
        cluster: ClusterName::try_from("it".to_owned()).unwrap(),
        author: Author::Node(node(1)),
        attempt: Attempt { boot: 1, seq },
        request: Request::Renew { epoch: Epoch(1), version: 1 },
    };
    assert!(group.table.apply(Stamp::default(), &renew(9)).answer.is_ok());
    let expires = group.lease().expires;
    let late = group.table.apply(Stamp { elapsed: Span::from_secs(5) }, &renew(8));
    assert_eq!((late.answer, group.lease().expires), (Err(Refusal::Overtaken), expires));
}

#[test]
fn a_fence_that_is_confirmed_frees_the_lease_at_once() {
    let mut group = Group::new(2, Workload::Service, |_| {});
    assert_eq!(group.acquire(1, 0), granted(1));
    let proof = FenceProof::Rung(Rung::Kill);
    let confirm = |epoch| Request::FenceConfirmed { epoch: Epoch(epoch), proof: proof.clone(), position: None };
    assert_eq!(group.node(2, confirm(1)), Err(Refusal::NotHolder), "nobody confirms for another");
    assert_eq!(group.node(1, confirm(1)), Ok(Answer::Noted));
    assert_eq!(group.acquire(2, 1), granted(2));
    assert_eq!(group.node(1, confirm(1)), Err(Refusal::Epoch(Epoch(2))), "it is about an epoch that is over");
}

#[test]
fn a_proof_cannot_carry_more_than_a_name() {
    let mut group = Group::new(2, Workload::Service, |_| {});
    assert_eq!(group.acquire(1, 0), granted(1));
    let proof = FenceProof::Rung(Rung::Action("x".repeat(Settings::MAX_ACTION_BYTES + 1)));
    let answer = group.node(1, Request::FenceConfirmed { epoch: Epoch(1), proof, position: None });
    assert!(matches!(answer, Err(Refusal::Settings(_))), "{answer:?}");
    assert_eq!((group.lease().phase, &group.lease().proof), (Phase::Held, &None));
}

#[test]
fn what_was_released_is_kept_for_its_target_for_a_while() {
    let mut group = Group::new(3, Workload::Service, |_| {});
    assert_eq!(group.acquire(1, 0), granted(1));
    let release = Request::Release { epoch: Epoch(1), position: Position::default(), to: node(3) };
    assert_eq!(group.node(1, release), Ok(Answer::Noted));
    assert_eq!(group.acquire(2, 1), Err(Refusal::NotFree));
    group.pass(61);
    assert_eq!(group.acquire(2, 1), granted(2), "the target did not come");
}

#[test]
fn silence_is_no_proof_where_one_is_demanded() {
    let mut group = Group::new(2, Workload::Service, |settings| {
        settings.promotion = Promotion::RequireProof;
        settings.remote = Some(Remote { action: "power-off".into(), within: Span::from_secs(5) });
    });
    assert_eq!(group.acquire(1, 0), granted(1));
    group.pass(3600);
    assert_eq!(group.acquire(2, 1), Err(Refusal::NoProof));
    assert_eq!(group.node(2, Request::RemoteDone { epoch: Epoch(1) }), Err(Refusal::NotYourTurn));
    assert_eq!(group.node(2, Request::RemoteTurn { epoch: Epoch(1) }), Ok(Answer::YourTurn { epoch: Epoch(1) }));
    assert_eq!(group.node(2, Request::RemoteDone { epoch: Epoch(1) }), Ok(Answer::Noted));
    assert_eq!(group.acquire(2, 1), granted(2));
}

#[test]
fn after_a_pause_the_holder_must_know_before_anybody_takes_over() {
    let mut group = Group::new(2, Workload::Service, |_| {});
    assert_eq!(group.acquire(1, 0), granted(1));
    assert_eq!(group.admin(Request::Pause), Ok(Answer::Noted));
    group.pass(60);
    assert_eq!(group.acquire(2, 1), Err(Refusal::Paused));
    assert_eq!(group.admin(Request::Resume), Ok(Answer::Noted));
    assert_eq!(group.acquire(2, 1), Err(Refusal::HolderUnaware));
    let version = group.lease().version;
    assert!(group.node(1, Request::Renew { epoch: Epoch(1), version }).is_ok());
    group.pass(16);
    assert_eq!(group.acquire(2, 1), granted(2));
}

#[test]
fn who_holds_less_than_a_witness_is_not_granted() {
    let mut group = Group::new(3, Workload::StatefulSql, |_| {});
    assert_eq!(group.acquire(1, 0), granted(1));
    group.pass(16);
    assert_eq!(group.acquire(2, 1), Err(Refusal::NotReported));
    assert_eq!(group.report(2, 1, 10), Ok(Answer::Noted));
    assert_eq!(group.acquire(2, 1), Err(Refusal::NotCovered), "1 and 3 may hold what was acknowledged");
    assert_eq!(group.report(3, 1, 20), Ok(Answer::Noted));
    assert_eq!(group.acquire(2, 1), Err(Refusal::NotCovered), "3 holds more");
    assert_eq!(group.acquire(3, 1), granted(2));
}

#[test]
fn receiving_again_voids_every_report() {
    let mut group = Group::new(3, Workload::StatefulSql, |_| {});
    assert_eq!(group.acquire(1, 0), granted(1));
    group.pass(16);
    let round = group.lease().round;
    assert_eq!(group.report(2, 1, 10), Ok(Answer::Noted));
    assert!(group.node(1, Request::Renew { epoch: Epoch(1), version: 1 }).is_ok());
    assert!(group.lease().reports.is_empty() && group.lease().round > round);
    assert!(matches!(group.node(2, Request::Follow { epoch: Epoch(1) }), Ok(Answer::Following { .. })));
    let late = Request::Report { epoch: Epoch(1), round, position: Position { epoch: Epoch(1), lsn: 10 } };
    group.pass(16);
    assert_eq!(group.node(2, late), Err(Refusal::Round));
}

#[test]
fn an_old_set_counts_until_a_write_was_acknowledged_by_the_new_one() {
    let mut group = Group::new(3, Workload::StatefulSql, |_| {});
    assert_eq!(group.acquire(1, 0), granted(1));
    let mut both = Settings::clone(&group.lease().settings);
    both.sync = 2;
    assert_eq!(group.admin(Request::Configure(Arc::new(both))), Ok(Answer::Noted));
    let set = |num| SyncSet { primary: node(1), names: [node(2), node(3)].into(), num };
    assert_eq!(group.node(1, Request::BeginSync { epoch: Epoch(1), set: set(1) }), Err(Refusal::BadSet));
    assert_eq!(group.node(1, Request::BeginSync { epoch: Epoch(1), set: set(2) }), Ok(Answer::Noted));
    assert_eq!(group.lease().sync, [set(1), set(2)]);
    let serial = group.lease().sync_serial;
    assert_eq!(group.node(1, Request::CommitSync { epoch: Epoch(1), serial: serial - 1 }), Err(Refusal::BadSet));
    assert_eq!(group.node(1, Request::CommitSync { epoch: Epoch(1), serial }), Ok(Answer::Noted));
    assert_eq!(group.lease().sync, [set(2)]);
}

#[test]
fn strangers_and_agents_ask_in_vain_for_what_is_the_admins() {
    let mut group = Group::new(2, Workload::Service, |_| {});
    assert_eq!(group.node(9, Request::Beat { version: 0, position: None }), Err(Refusal::NotCandidate));
    assert_eq!(group.node(1, Request::Pause), Err(Refusal::NotAdmin));
    let settings = Arc::clone(&group.lease().settings);
    assert_eq!(group.node(1, Request::Configure(settings)), Err(Refusal::NotAdmin));
    assert_eq!(group.admin(Request::Beat { version: 0, position: None }), Err(Refusal::NotCandidate));
}
