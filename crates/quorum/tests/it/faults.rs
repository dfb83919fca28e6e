//! What the group promises: loss of a minority is not noticed, loss of the majority stops it and says why.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use failover::{Answer, Epoch, Request, Span};
use protocols::SecretKey;
use protocols::control::LeaseError;
use quorum::{EnterError, Ledger as _, Unfit, Views};

use crate::rig::{Rig, SOON, id, sign};

fn acquire(epoch: u64) -> Request {
    Request::Acquire { epoch: Epoch(epoch), version: 1, silence: Span::ZERO }
}

#[tokio::test(flavor = "multi_thread")]
async fn three_order_entries_and_leases_from_any_of_them() {
    let rig = Rig::group(3).await;
    rig.configure(2).await;
    let granted = rig.of(3).ask(rig.ask(101, acquire(0))).await.unwrap();
    assert!(matches!(granted.answer, Ok(Answer::Granted { epoch: Epoch(1), .. })), "{:?}", granted.answer);
    let (epoch, exact) = rig.epoch(2).await.unwrap();
    assert_eq!((epoch, exact), (1, true));
    let mut head = rig.chain(1).head();
    for n in [3, 1, 2] {
        head = rig.of(n).enter(rig.sign(Some(head), u64::from(n))).await.unwrap();
    }
    assert_eq!(head.seq, 3);
    let all = rig.settled(&[1, 2, 3], |hashes| hashes.len() == 4).await;
    assert_eq!(all.last(), Some(&head.hash));
    // The same entry again is answered alike; another in its place is not taken.
    let genesis = rig.chain(1).hashes()[0];
    let again = rig.sign(Some(protocols::entry::Head { seq: 0, hash: genesis }), 3);
    assert_eq!(rig.of(2).enter(again).await.unwrap().seq, 1);
    let late = rig.sign(Some(protocols::entry::Head { seq: 0, hash: genesis }), 77);
    assert!(matches!(rig.of(2).enter(late).await, Err(EnterError::Unfit(Unfit::Stale(now))) if now == head));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_cannot_forge_an_entry() {
    let rig = Rig::group(3).await;
    let stranger = SecretKey::from_seed(&[66; 32]);
    let head = rig.chain(1).head();
    let forged = sign(&stranger, Some(head), 1);
    let refused = rig.of(1).enter(forged).await.unwrap_err();
    assert!(matches!(refused, EnterError::Unfit(Unfit::Refused(_))), "{refused}");
    let mut torn = rig.sign(Some(head), 1);
    let mut bytes = torn.bytes.to_vec();
    let last = bytes.len() - 2;
    bytes[last] ^= 1;
    torn.bytes = bytes.into();
    let refused = rig.of(2).enter(torn).await.unwrap_err();
    assert!(matches!(refused, EnterError::Unfit(Unfit::Unverified(_))), "{refused}");
    let head = rig.of(3).enter(rig.sign(Some(head), 2)).await.unwrap();
    rig.settled(&[1, 2, 3], |hashes| hashes.len() == 2 && hashes[1] == head.hash).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_loss_of_the_leader_is_not_noticed() {
    let rig = Rig::group(3).await;
    rig.configure(1).await;
    let leader = rig.leader(&[1, 2, 3], |_| true).await;
    let others: Vec<u8> = (1..=3).filter(|n| *n != leader).collect();
    rig.kill(leader).await;
    // Not told that anything happened: both wait for the new leader by themselves.
    let head = rig.chain(others[0]).head();
    let entered = rig.of(others[0]).enter(rig.sign(Some(head), 5)).await.unwrap();
    let granted = rig.of(others[1]).ask(rig.ask(101, acquire(0))).await;
    match granted {
        Ok(outcome) => assert!(matches!(outcome.answer, Ok(Answer::Granted { .. })), "{:?}", outcome.answer),
        Err(error) => panic!("{error}"),
    }
    rig.open(leader).await;
    rig.settled(&[1, 2, 3], |hashes| hashes.contains(&entered.hash)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_majority_nothing_is_ordered_and_the_message_names_who_is_missing() {
    let rig = Rig::group(3).await;
    rig.configure(1).await;
    rig.kill(2).await;
    rig.kill(3).await;
    let began = Instant::now();
    let refused = loop {
        match rig.of(1).ask(rig.ask(101, acquire(0))).await {
            Err(LeaseError::NoMajority { why }) => break why,
            Err(LeaseError::Lost { .. }) => assert!(began.elapsed() < SOON, "it never says that there is no majority"),
            other => panic!("{other:?}"),
        }
    };
    assert!(refused.contains("of its 3 coordinators 2 must be connected"), "{refused}");
    assert!(refused.contains("`c2`, `c3`"), "{refused}");
    // What is known can still be read, and says that it may be old.
    let views = rig.of(1).views(Views::default()).await.unwrap();
    assert_eq!((views.views.len(), views.exact), (1, false));
    let head = rig.chain(1).head();
    assert!(rig.of(1).enter(rig.sign(Some(head), 1)).await.is_err());
    rig.open(2).await;
    let head = rig.chain(1).head();
    rig.of(1).enter(rig.sign(Some(head), 2)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_cut_off_neither_orders_nor_reads_exactly() {
    let rig = Rig::group(3).await;
    rig.configure(1).await;
    let old = rig.leader(&[1, 2, 3], |_| true).await;
    let others: Vec<u8> = (1..=3).filter(|n| *n != old).collect();
    rig.net.cut(&[id(old)], &[id(others[0]), id(others[1])]);
    let new = rig.leader(&others, |n| n != old).await;
    let granted = rig.of(new).ask(rig.ask(101, acquire(0))).await.unwrap();
    assert!(granted.answer.is_ok());
    let (epoch, exact) = rig.epoch(old).await.unwrap();
    assert!(!exact || epoch == 1, "an old leader read epoch {epoch} as if it were exact");
    assert!(rig.of(old).ask(rig.ask(102, acquire(0))).await.is_err());
    rig.net.heal();
    let until = Instant::now() + SOON;
    while rig.epoch(old).await.unwrap() != (1, true) {
        assert!(Instant::now() < until, "the old leader does not come back");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A leader that returns before anybody missed it goes on leading. What it acknowledged is in its log, but it has yet to
/// learn that others have it too, and to carry it out.
#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_restarts_does_not_read_the_past_as_if_it_were_exact() {
    let rig = Rig::group(3).await;
    rig.configure(1).await;
    let leader = rig.leader(&[1, 2, 3], |_| true).await;
    // More than it learns about at once, so that it first learns about an older part.
    for _ in 0..400 {
        let refused = rig.of(leader).ask(rig.ask(102, acquire(99))).await.unwrap();
        assert!(refused.answer.is_err(), "{:?}", refused.answer);
    }
    let head = rig.chain(leader).head();
    rig.of(leader).enter(rig.sign(Some(head), 1)).await.unwrap();
    let granted = rig.of(leader).ask(rig.ask(101, acquire(0))).await.unwrap();
    assert!(granted.answer.is_ok(), "{:?}", granted.answer);
    rig.kill(leader).await;
    // So it gets no further than the entry, which comes before the lease.
    rig.chain(leader).full.store(true, Ordering::SeqCst);
    rig.open(leader).await;
    let (epoch, exact) = rig.epoch(leader).await.unwrap();
    assert!(!exact || epoch == 1, "epoch {epoch} was read as exact after epoch 1 was acknowledged");
    rig.chain(leader).full.store(false, Ordering::SeqCst);
    let until = Instant::now() + SOON;
    while rig.epoch(leader).await.unwrap() != (1, true) {
        assert!(Instant::now() < until, "it never reads exactly again");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// What was handed to a leader that answers nothing any more is not waited for longer than the group waits for it.
#[tokio::test(flavor = "multi_thread")]
async fn who_asked_a_leader_that_is_gone_hears_so_when_another_is_to_lead() {
    let rig = Rig::group(3).await;
    rig.configure(1).await;
    let until = Instant::now() + SOON;
    loop {
        let old = rig.leader(&[1, 2, 3], |_| true).await;
        let others: Vec<u8> = (1..=3).filter(|n| *n != old).collect();
        rig.net.cut(&[id(old)], &[id(others[0]), id(others[1])]);
        match rig.of(others[0]).ask(rig.ask(101, acquire(0))).await {
            Err(LeaseError::Lost { why }) => {
                assert!(why.contains("another coordinator is to lead"), "{why}");
                break;
            }
            // The others had noticed it before this one asked.
            other => assert!(Instant::now() < until, "{other:?}"),
        }
        rig.net.heal();
    }
}

/// With a vote of its own it would take the leader for an older one than itself, and the group would choose anew.
#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_returns_lets_the_leader_lead() {
    for led_before in [true, false] {
        let rig = Rig::group(3).await;
        rig.configure(1).await;
        let until = Instant::now() + SOON;
        for returned in 0.. {
            assert!(Instant::now() < until, "this machine is too slow to show anything, {returned} times");
            let leader = rig.leader(&[1, 2, 3], |_| true).await;
            let gone = if led_before { leader } else { leader % 3 + 1 };
            let others: Vec<u8> = (1..=3).filter(|n| *n != gone).collect();
            rig.kill(gone).await;
            let leader = rig.leader(&others, |n| n != gone).await;
            let term = rig.of(leader).status().await.unwrap().term;
            // As long as it takes the leader to notice that its connection to it is dead.
            rig.net.cut(&[id(gone)], &[id(others[0]), id(others[1])]);
            let began = Instant::now();
            rig.open(gone).await;
            tokio::time::sleep(Duration::from_millis(2300)).await;
            rig.net.heal();
            let in_time = began.elapsed() < Duration::from_millis(2800);
            let head = rig.chain(leader).head();
            let entered = rig.of(gone).enter(rig.sign(Some(head), returned)).await.unwrap();
            rig.settled(&[1, 2, 3], |hashes| hashes.contains(&entered.hash)).await;
            let status = rig.of(leader).status().await.unwrap();
            // If it took longer, the member was right to look for another leader.
            if in_time {
                assert_eq!((status.term, status.leader), (term, Some(id(leader))), "led before: {led_before}");
                break;
            }
        }
    }
}
