//! What a leader may and may not do before its own disk has an entry that it has sent, with disks that are held and broken
//! where it matters.

mod chaos;
#[allow(dead_code, reason = "more of it is used by the tests beside the crate")]
#[path = "../../tests/it/rig.rs"]
mod rig;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use failover::{Answer, Epoch, Outcome, Request, Span};
use openraft::RaftLogReader as _;
use protocols::control::LeaseError;
use tokio::task::JoinHandle;

use super::Running;
use crate::Ledger as _;
use crate::log::gate::{self, Gate};
use crate::types::{LogId, RaftEntry};
use rig::{Rig, SOON, id};

const MEMBERS: [u8; 3] = [1, 2, 3];

fn acquire() -> Request {
    Request::Acquire { epoch: Epoch(0), version: 1, silence: Span::ZERO }
}

fn running(rig: &Rig, n: u8) -> Arc<Running> {
    rig.of(n).running().unwrap()
}

/// The last entry that a member holds for agreed on.
async fn committed(rig: &Rig, n: u8) -> Option<u64> {
    running(rig, n).raft.with_raft_state(|state| state.committed.map(|id| id.index)).await.unwrap()
}

fn applied(rig: &Rig, n: u8) -> u64 {
    rig.of(n).figures().unwrap().applied
}

fn last(rig: &Rig, n: u8) -> u64 {
    rig.of(n).figures().unwrap().last
}

async fn until(what: &str, mut is: impl AsyncFnMut() -> bool) {
    let until = Instant::now() + SOON;
    while !is().await {
        assert!(Instant::now() < until, "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn entries(rig: &Rig, n: u8) -> BTreeMap<u64, RaftEntry> {
    let mut log = running(rig, n).log.clone();
    log.try_get_log_entries(..).await.unwrap().into_iter().map(|entry| (entry.log_id.index, entry)).collect()
}

/// A group whose leases are configured, its leader, and the others; everybody has everything.
async fn led() -> (Rig, u8, [u8; 2]) {
    let rig = Rig::group(3).await;
    rig.configure(1).await;
    let leader = rig.leader(&MEMBERS, |_| true).await;
    let others: Vec<u8> = MEMBERS.into_iter().filter(|n| *n != leader).collect();
    until("the others do not catch up", async || {
        let newest = last(&rig, leader);
        MEMBERS.into_iter().all(|n| applied(&rig, n) == newest)
    })
    .await;
    (rig, leader, [others[0], others[1]])
}

type Asked = JoinHandle<Result<Outcome, LeaseError>>;

/// A request at the leader, whose disk takes no more; over when the leader holds it for agreed on.
async fn asked_without_a_disk(rig: &Rig, leader: u8) -> (Asked, u64) {
    gate::set(&rig.path(leader), Gate::Held);
    let before = last(rig, leader);
    let (group, ask) = (rig.of(leader), rig.ask(101, acquire()));
    let asked = tokio::spawn(async move { group.ask(ask).await });
    until("the others do not get what the leader's disk lacks", async || {
        committed(rig, leader).await.is_some_and(|index| index > before)
    })
    .await;
    (asked, before)
}

/// A member is gone, and with it what its disk lacks.
async fn crash(rig: &Rig, n: u8) {
    gate::set(&rig.path(n), Gate::Broken);
    {
        let log = running(rig, n).log.clone();
        until("something still waits for the disk", async || log.has_none_ahead_or_is_broken()).await;
    }
    rig.kill(n).await;
    gate::set(&rig.path(n), Gate::Open);
}

fn has_granted(outcome: &Result<Outcome, LeaseError>) -> bool {
    matches!(outcome, Ok(outcome) if matches!(outcome.answer, Ok(Answer::Granted { .. })))
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_follows_from_what_the_leaders_disk_lacks() {
    let (rig, leader, others) = led().await;
    let (asked, before) = asked_without_a_disk(&rig, leader).await;
    // The leader has taken it for agreed on, and has had the occasion to say so: twice, as the first may be under way.
    for _ in 0..2 {
        let since = Instant::now();
        for other in others {
            let of = running(&rig, other);
            until("the leader is silent", async || {
                of.heard.silent(id(leader)).is_some_and(|span| span < since.elapsed())
            })
            .await;
        }
    }
    assert!(!asked.is_finished(), "a client was answered");
    assert_eq!(applied(&rig, leader), before, "the leader carried it out");
    for other in others {
        assert_eq!(committed(&rig, other).await, Some(before), "{other} was told that it may carry it out");
    }
    gate::set(&rig.path(leader), Gate::Open);
    let outcome = asked.await.unwrap();
    assert!(has_granted(&outcome), "{outcome:?}");
    until("the others never carry it out", async || others.iter().all(|n| applied(&rig, *n) > before)).await;
}

/// Its log is shorter than the one that another member has of its term. It must not write another entry with the number
/// of one that it forgot.
#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_forgot_an_entry_never_gives_its_number_to_another() {
    let (rig, leader, [holder, other]) = led().await;
    let term = rig.of(leader).figures().unwrap().term;
    rig.net.cut(&[id(other)], &[id(leader), id(holder)]);
    let (asked, before) = asked_without_a_disk(&rig, leader).await;
    let forgotten = entries(&rig, holder).await.remove(&(before + 1)).unwrap();
    assert_eq!(forgotten.log_id.leader_id.term, term);
    crash(&rig, leader).await;
    let outcome = asked.await.unwrap();
    assert!(outcome.is_err(), "a client was promised what nobody is bound to keep: {outcome:?}");
    // The two who do not know it go on without the one who does.
    rig.net.heal();
    rig.net.cut(&[id(holder)], &[id(leader), id(other)]);
    rig.open(leader).await;
    let new = rig.leader(&[leader, other], |n| n != holder).await;
    let head = rig.chain(new).head();
    let entered = rig.of(new).enter(rig.sign(Some(head), 1)).await.unwrap();
    assert!(rig.of(new).figures().unwrap().term > term, "the old term goes on");
    let instead = entries(&rig, new).await.remove(&(before + 1)).unwrap();
    assert_ne!(instead.log_id, forgotten.log_id, "two entries have one number");
    rig.net.heal();
    rig.settled(&MEMBERS, |hashes| hashes.contains(&entered.hash)).await;
    until("the logs differ", async || {
        let ours: Vec<LogId> = entries(&rig, leader).await.into_values().map(|entry| entry.log_id).collect();
        let theirs: Vec<LogId> = entries(&rig, holder).await.into_values().map(|entry| entry.log_id).collect();
        ours == theirs
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_majority_has_outlives_a_leader_that_forgot_it() {
    let (rig, leader, others) = led().await;
    let (asked, before) = asked_without_a_disk(&rig, leader).await;
    until("one of the others lacks it", async || others.iter().all(|n| last(&rig, *n) > before)).await;
    let sent = entries(&rig, others[0]).await.remove(&(before + 1)).unwrap();
    crash(&rig, leader).await;
    assert!(asked.await.unwrap().is_err());
    rig.open(leader).await;
    rig.leader(&MEMBERS, |n| n != leader).await;
    until("it is forgotten", async || MEMBERS.into_iter().all(|n| applied(&rig, n) > before)).await;
    for n in MEMBERS {
        assert_eq!(entries(&rig, n).await.get(&(before + 1)), Some(&sent));
    }
    // It was ordered after all, and is answered alike.
    assert_eq!(rig.epoch(others[0]).await.unwrap().0, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_never_goes_on_in_the_term_that_it_led() {
    let (rig, leader, _) = led().await;
    let term = rig.of(leader).figures().unwrap().term;
    rig.kill(leader).await;
    rig.open(leader).await;
    rig.leader(&MEMBERS, |_| true).await;
    assert!(rig.of(leader).figures().unwrap().term > term);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_of_one_leads_again_in_a_new_term() {
    let rig = Rig::start(1).await;
    rig.of(1).change(&[], &[]).await.unwrap();
    rig.configure(1).await;
    let term = rig.of(1).figures().unwrap().term;
    rig.kill(1).await;
    rig.open(1).await;
    assert!(has_granted(&rig.of(1).ask(rig.ask(101, acquire())).await));
    assert!(rig.of(1).figures().unwrap().term > term);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_whose_disk_fails_answers_nobody_and_stops() {
    let (rig, leader, others) = led().await;
    let (asked, before) = asked_without_a_disk(&rig, leader).await;
    gate::set(&rig.path(leader), Gate::Broken);
    let outcome = asked.await.unwrap();
    assert!(!has_granted(&outcome), "{outcome:?}");
    let old = running(&rig, leader);
    until("it goes on", async || old.raft.metrics().borrow().running_state.is_err()).await;
    assert!(old.why_no_leader().contains("a test broke it"), "{}", old.why_no_leader());
    assert_eq!(old.machine.read(|state| state.applied.map(|id| id.index)), Some(before));
    let new = rig.leader(&others, |n| n != leader).await;
    let head = rig.chain(new).head();
    rig.of(new).enter(rig.sign(Some(head), 1)).await.unwrap();
    drop(old);
    crash(&rig, leader).await;
    rig.open(leader).await;
    rig.settled(&MEMBERS, |hashes| hashes.len() == 2).await;
}

/// As before, when it was the entry itself that waited for the disk.
#[tokio::test(flavor = "multi_thread")]
async fn a_leader_whose_disk_hangs_falls_silent_and_another_leads() {
    let (rig, leader, others) = led().await;
    let (asked, _) = asked_without_a_disk(&rig, leader).await;
    let new = rig.leader(&others, |n| n != leader).await;
    let head = rig.chain(new).head();
    rig.of(new).enter(rig.sign(Some(head), 1)).await.unwrap();
    gate::set(&rig.path(leader), Gate::Open);
    drop(asked.await.unwrap());
    rig.settled(&MEMBERS, |hashes| hashes.len() == 2).await;
    rig.leader(&MEMBERS, |_| true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_follows_has_it_on_its_disk_before_it_says_so() {
    let (rig, leader, others) = led().await;
    for other in others {
        gate::set(&rig.path(other), Gate::Held);
    }
    let before = last(&rig, leader);
    let (group, ask) = (rig.of(leader), rig.ask(101, acquire()));
    let asked = tokio::spawn(async move { group.ask(ask).await });
    until("the leader does not write it", async || last(&rig, leader) > before).await;
    // Longer than the leader waits for an answer, and not so long that it gives up.
    let since = Instant::now();
    while since.elapsed() < Duration::from_millis(700) {
        assert_eq!(committed(&rig, leader).await, Some(before), "somebody has it who has it not");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for other in others {
        gate::set(&rig.path(other), Gate::Open);
    }
    let outcome = asked.await.unwrap();
    assert!(has_granted(&outcome), "{outcome:?}");
}
