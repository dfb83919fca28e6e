//! Members added, removed, replaced; one that lost its disk; one that comes back after it was removed.

use std::time::{Duration, Instant};

use failover::{Epoch, Request, Span};
use protocols::control::ChangeError;
use quorum::Ledger as _;

use crate::rig::{Rig, SOON, TIMING, id};

async fn enter(rig: &Rig, at: u8, tag: u64) {
    let until = Instant::now() + SOON;
    loop {
        let head = rig.chain(at).head();
        match rig.of(at).enter(rig.sign(Some(head), tag)).await {
            Ok(_) => return,
            Err(error) => assert!(Instant::now() < until, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_grows_to_three_and_five_and_shrinks_again_while_it_orders() {
    let rig = Rig::start(5).await;
    assert!(!rig.of(1).is_member(), "a coordinator alone is no group");
    let even = rig.of(1).change(&[id(2)], &[]).await.unwrap_err();
    assert_eq!(even, ChangeError::Size { would: 2 });
    assert!(!rig.of(1).is_member(), "a change that is refused founds nothing");
    let three = rig.of(1).change(&[id(2), id(3)], &[]).await.unwrap();
    assert_eq!(three.members.iter().filter(|m| m.votes).count(), 3);
    enter(&rig, 3, 1).await;
    let five = rig.of(2).change(&[id(4), id(5)], &[]).await.unwrap();
    assert_eq!(five.members.iter().filter(|m| m.votes).count(), 5);
    enter(&rig, 5, 2).await;
    rig.settled(&[1, 2, 3, 4, 5], |hashes| hashes.len() == 3).await;
    let twice = rig.of(1).change(&[id(2)], &[id(5)]).await.unwrap_err();
    assert!(matches!(twice, ChangeError::Size { would: 4 } | ChangeError::Already(_)), "{twice}");
    // The leader among them.
    let leader = rig.leader(&[1, 2, 3, 4, 5], |_| true).await;
    let second = (1..=5).find(|n| *n != leader).unwrap();
    let third = (1..=5).find(|n| *n != leader && *n != second).unwrap();
    drop(rig.of(third).change(&[], &[id(leader), id(second)]).await);
    let stay: Vec<u8> = (1..=5).filter(|n| *n != leader && *n != second).collect();
    rig.leader(&stay, |n| stay.contains(&n)).await;
    let status = rig.of(stay[0]).status().await.unwrap();
    assert_eq!(status.members.len(), 3, "{status:?}");
    enter(&rig, stay[0], 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_lost_its_disk_is_replaced_by_itself() {
    let rig = Rig::group(3).await;
    rig.configure(1).await;
    enter(&rig, 1, 1).await;
    rig.kill(3).await;
    std::fs::remove_file(rig.path(3)).unwrap();
    rig.chains.lock().unwrap().remove(&id(3));
    rig.open(3).await;
    enter(&rig, 1, 2).await;
    assert!(!rig.of(3).is_member(), "what lost its disk has no say");
    let leader = rig.leader(&[1, 2], |_| true).await;
    let status = rig.of(leader).change(&[id(3)], &[]).await.unwrap();
    assert_eq!(status.members.iter().filter(|m| m.votes).count(), 3, "{status:?}");
    // It has a say again: without another one, the two order.
    let other = if leader == 1 { 2 } else { 1 };
    rig.kill(other).await;
    enter(&rig, leader, 3).await;
    rig.settled(&[leader, 3], |hashes| hashes.len() == 4).await;
    assert_eq!(rig.epoch(3).await.unwrap(), (0, true), "the leases came with the log");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_was_removed_while_it_was_down_is_told_and_can_be_added_again() {
    let rig = Rig::group(3).await;
    rig.open(4).await;
    enter(&rig, 1, 1).await;
    let leader = rig.leader(&[1, 2, 3], |_| true).await;
    let gone = if leader == 3 { 2 } else { 3 };
    rig.kill(gone).await;
    rig.of(leader).change(&[id(4)], &[id(gone)]).await.unwrap();
    enter(&rig, leader, 2).await;
    rig.open(gone).await;
    let until = Instant::now() + SOON;
    while rig.of(gone).is_member() {
        assert!(Instant::now() < until, "nobody tells it that it was removed");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // It stays so over a restart, and disturbs nobody.
    rig.kill(gone).await;
    rig.open(gone).await;
    assert!(!rig.of(gone).is_member());
    enter(&rig, leader, 3).await;
    let leader = rig.leader(&[4], |_| true).await;
    let five = rig.of(leader).change(&[id(gone)], &[id(4)]).await.unwrap();
    assert!(five.members.iter().any(|m| m.node == id(gone) && m.votes), "{five:?}");
    enter(&rig, leader, 4).await;
    rig.settled(&[leader, gone], |hashes| hashes.len() == 5).await;
}

/// By then the log that it lacks is gone, and a snapshot is all there is: for the lease table as for the ledger, which no
/// snapshot holds and it takes from the others.
#[tokio::test(flavor = "multi_thread")]
async fn members_that_lag_far_behind_and_new_ones_go_on_from_a_snapshot() {
    let rig = Rig::group(3).await;
    rig.open(4).await;
    rig.configure(1).await;
    let leader = rig.leader(&[1, 2, 3], |_| true).await;
    let away = if leader == 3 { 2 } else { 3 };
    rig.kill(away).await;
    let acquire = |epoch| Request::Acquire { epoch: Epoch(epoch), version: 1, silence: Span::ZERO };
    enter(&rig, leader, 1).await;
    assert!(rig.of(leader).ask(rig.ask(101, acquire(0))).await.unwrap().answer.is_ok());
    for _ in 0..3 * TIMING.snapshot_every {
        assert!(rig.of(leader).ask(rig.ask(102, acquire(99))).await.unwrap().answer.is_err());
    }
    let purged = rig.of(leader).figures().unwrap().purged;
    assert!(purged > TIMING.snapshot_every, "the log is gone up to {purged}, so nobody needs a snapshot");
    rig.open(away).await;
    rig.settled(&[leader, away], |hashes| hashes.len() == 2).await;
    let third = (1..=3).find(|n| *n != leader && *n != away).unwrap();
    let three = rig.of(leader).change(&[id(4)], &[id(third)]).await.unwrap();
    assert_eq!(three.members.iter().filter(|m| m.votes).count(), 3, "{three:?}");
    // What they got is whole: with the one that led gone, they answer for it.
    rig.kill(leader).await;
    rig.leader(&[away, 4], |n| n != leader).await;
    for n in [away, 4] {
        let until = Instant::now() + SOON;
        while rig.epoch(n).await.unwrap() != (1, true) {
            assert!(Instant::now() < until, "{n} does not know the lease");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    rig.settled(&[away, 4], |hashes| hashes.len() == 2).await;
}
