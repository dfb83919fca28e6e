//! One order of all writes, and what may be sent before it is written.

use std::pin::pin;

use openraft::{LeaderId, Membership};
use protocols::NodeId;
use tempfile::TempDir;

use super::gate::Gate;
use super::*;
use crate::types::{Batch, Item};

/// How long nothing happens that must not.
const WHILE: Duration = Duration::from_millis(200);

fn entry(leader: LeaderId<Member>, index: u64, payload: EntryPayload<Types>) -> RaftEntry {
    RaftEntry { log_id: LogId::new(leader, index), payload }
}

fn normal(leader: LeaderId<Member>, index: u64) -> RaftEntry {
    let items = vec![(failover::Stamp::default(), Item::Clock)];
    entry(leader, index, EntryPayload::Normal(Batch { term: leader.term, items }))
}

fn me(log: &Log) -> Member {
    Member::new(NodeId::from_bytes([1; 32]), log.disk())
}

fn other() -> Member {
    Member::new(NodeId::from_bytes([2; 32]), 2)
}

fn vote(leader: LeaderId<Member>) -> Vote<Member> {
    Vote { leader_id: leader, committed: true }
}

async fn waits(what: impl Future) -> bool {
    tokio::time::timeout(WHILE, what).await.is_err()
}

/// A log that leads since its first entry.
async fn leading() -> (TempDir, Log, LeaderId<Member>) {
    let dir = tempfile::tempdir().unwrap();
    let mut log = Log::open(&dir.path().join("group.redb")).unwrap();
    let leader = LeaderId::new(3, me(&log));
    log.save_vote(&vote(leader)).await.unwrap();
    log.append_all(vec![entry(leader, 0, EntryPayload::Blank)]).await.unwrap();
    (dir, log, leader)
}

async fn indexes(log: &Log) -> Vec<u64> {
    log.clone().try_get_log_entries(..).await.unwrap().iter().map(|entry| entry.log_id.index).collect()
}

fn on_disk(log: &Log) -> Vec<u64> {
    log.disk.range(0, u64::MAX, usize::MAX).unwrap().0.iter().map(|entry| entry.log_id.index).collect()
}

#[tokio::test]
async fn only_a_leaders_requests_of_its_own_term_run_ahead() {
    let (dir, mut log, leader) = leading().await;
    let members = || EntryPayload::Membership(Membership::from(std::collections::BTreeMap::from([(me(&log), ())])));
    assert!(log.may_run_ahead(&[normal(leader, 1)], 10));
    assert!(!log.may_run_ahead(&[entry(leader, 1, EntryPayload::Blank)], 10));
    assert!(!log.may_run_ahead(&[entry(leader, 1, members())], 10));
    assert!(!log.may_run_ahead(&[normal(leader, 1), entry(leader, 2, members())], 10));
    assert!(!log.may_run_ahead(&[normal(LeaderId::new(2, me(&log)), 1)], 10));
    assert!(!log.may_run_ahead(&[normal(LeaderId::new(3, other()), 1)], 10));
    assert!(!log.may_run_ahead(&[normal(leader, 1)], usize::MAX), "there is no end to what waits");
    log.save_vote(&Vote::new(4, me(&log))).await.unwrap();
    assert!(!log.may_run_ahead(&[normal(leader, 1)], 10), "it asks for votes of a new term");
    log.save_vote(&vote(LeaderId::new(5, other()))).await.unwrap();
    let theirs = normal(LeaderId::new(5, other()), 1);
    assert!(!log.may_run_ahead(&[theirs], 10), "it follows");
    log.save_vote(&vote(LeaderId::new(6, me(&log)))).await.unwrap();
    drop(log);
    let log = Log::open(&dir.path().join("group.redb")).unwrap();
    assert!(!log.may_run_ahead(&[normal(LeaderId::new(6, me(&log)), 1)], 10), "it led in another life");
}

#[tokio::test]
async fn who_led_asks_for_votes_and_who_followed_follows() {
    let (dir, mut log, leader) = leading().await;
    let path = dir.path().join("group.redb");
    drop(log);
    log = Log::open(&path).unwrap();
    assert_eq!(log.read_vote().await.unwrap(), Some(Vote { committed: false, ..vote(leader) }));
    let theirs = vote(LeaderId::new(4, other()));
    log.save_vote(&theirs).await.unwrap();
    drop(log);
    assert_eq!(Log::open(&path).unwrap().read_vote().await.unwrap(), Some(theirs));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_runs_ahead_can_be_read_and_everything_else_waits_behind_it() {
    let (dir, mut log, leader) = leading().await;
    let path = dir.path().join("group.redb");
    gate::set(&path, Gate::Held);
    log.append_all(vec![normal(leader, 1)]).await.unwrap();
    log.append_all(vec![normal(leader, 2), normal(leader, 3)]).await.unwrap();
    assert_eq!(indexes(&log).await, [0, 1, 2, 3]);
    assert_eq!(on_disk(&log), [0]);
    assert_eq!(log.get_log_state().await.unwrap().last_log_id.unwrap().index, 3);
    log.stored(0).await.unwrap();
    assert!(waits(log.stored(1)).await && waits(log.stored(3)).await);
    let id = |index| Some(LogId::new(leader, index));
    assert_eq!([log.stored_of(None), log.stored_of(id(0)), log.stored_of(id(2))], [None, id(0), id(0)]);
    // Each of these would say that what came before it is on the disk.
    let (mut voter, appender, mut cutter, mut purger) = (log.clone(), log.clone(), log.clone(), log.clone());
    let new = vote(LeaderId::new(4, other()));
    let mut vote = pin!(voter.save_vote(&new));
    assert!(waits(vote.as_mut()).await, "a vote overtook entries");
    let mut blank = pin!(appender.append_all(vec![entry(leader, 4, EntryPayload::Blank)]));
    assert!(waits(blank.as_mut()).await, "a term's first entry is early");
    let mut cut = pin!(cutter.truncate(LogId::new(leader, 3)));
    assert!(waits(cut.as_mut()).await);
    let mut purge = pin!(purger.purge(LogId::new(leader, 0)));
    assert!(waits(purge.as_mut()).await);
    assert_eq!(on_disk(&log), [0]);
    gate::set(&path, Gate::Open);
    vote.await.unwrap();
    blank.await.unwrap();
    cut.await.unwrap();
    purge.await.unwrap();
    assert_eq!((indexes(&log).await, on_disk(&log)), (vec![1, 2], vec![1, 2]));
    assert_eq!(log.get_log_state().await.unwrap().last_log_id, id(2));
    assert_eq!(log.stored_of(id(2)), id(2));
    log.stored(2).await.unwrap();
}

/// That a greater number was on the disk once says nothing about what took its place.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_cut_off_is_not_taken_for_stored() {
    let (dir, mut log, leader) = leading().await;
    log.append_all((1..=9).map(|index| normal(leader, index)).collect()).await.unwrap();
    log.stored(9).await.unwrap();
    log.save_vote(&vote(LeaderId::new(4, other()))).await.unwrap();
    log.truncate(LogId::new(leader, 4)).await.unwrap();
    let again = LeaderId::new(5, me(&log));
    log.save_vote(&vote(again)).await.unwrap();
    log.append_all(vec![entry(again, 4, EntryPayload::Blank)]).await.unwrap();
    gate::set(&dir.path().join("group.redb"), Gate::Held);
    log.append_all(vec![normal(again, 5)]).await.unwrap();
    assert!(waits(log.stored(5)).await);
    assert_eq!(log.stored_of(Some(LogId::new(again, 5))), Some(LogId::new(again, 4)));
    gate::set(&dir.path().join("group.redb"), Gate::Open);
    log.stored(5).await.unwrap();
    assert_eq!(on_disk(&log), [0, 1, 2, 3, 4, 5]);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_failure_nothing_is_written_and_nothing_counts_as_stored() {
    let (dir, mut log, leader) = leading().await;
    let path = dir.path().join("group.redb");
    gate::set(&path, Gate::Held);
    log.append_all(vec![normal(leader, 1)]).await.unwrap();
    assert!(!log.is_stuck());
    gate::set(&path, Gate::Broken);
    assert!(matches!(log.stored(1).await, Err(LogError::Stopped { .. })));
    assert!(log.is_stuck());
    // Though the disk works again: it may lack what was meant for it before.
    gate::set(&path, Gate::Open);
    assert!(matches!(log.append_all(vec![normal(leader, 2)]).await, Err(LogError::Stopped { .. })));
    log.save_vote(&vote(LeaderId::new(4, other()))).await.unwrap_err();
    assert_eq!(on_disk(&log), [0]);
    assert_eq!(log.stored_of(Some(LogId::new(leader, 1))), Some(LogId::new(leader, 0)));
}

/// Of a long log the newest end is in memory, and a reader sees no seam.
#[tokio::test]
async fn what_memory_has_and_what_the_disk_has_are_read_as_one() {
    let (dir, mut log, leader) = leading().await;
    for first in (1..=200).step_by(8) {
        log.append_all((first..first + 8).map(|index| normal(leader, index)).collect()).await.unwrap();
    }
    log.stored(200).await.unwrap();
    let split = log.shared().tail.first().unwrap();
    assert!((100..200).contains(&split), "{split}");
    assert_eq!(indexes(&log).await, (0..=200).collect::<Vec<_>>());
    for (from, to) in [(0, 5), (split - 3, split + 3), (split, 201), (split - 1, split), (150, 400), (7, 7), (9, 3)] {
        let read = log.range(from, to, usize::MAX).unwrap();
        let wanted: Vec<u64> = (from..to.min(201)).collect();
        assert_eq!(read.iter().map(|entry| entry.log_id.index).collect::<Vec<_>>(), wanted);
    }
    let some = log.range(split - 2, 201, 60).unwrap();
    assert!((1..8).contains(&some.len()) && some[0].log_id.index == split - 2, "{}", some.len());
    assert_eq!(log.range(split + 2, 201, 1).unwrap().len(), 1, "one is sent, however large");
    log.purge(LogId::new(leader, 190)).await.unwrap();
    assert_eq!(indexes(&log).await, (191..=200).collect::<Vec<_>>());
    log.purge(LogId::new(leader, 300)).await.unwrap();
    assert_eq!(log.get_log_state().await.unwrap().last_log_id, Some(LogId::new(leader, 300)));
    log.append_all(vec![normal(leader, 301)]).await.unwrap();
    log.stored(301).await.unwrap();
    drop(log);
    assert_eq!(indexes(&Log::open(&dir.path().join("group.redb")).unwrap()).await, [301]);
}

/// What a member acknowledged must not be forgotten because a folder is.
#[tokio::test]
async fn a_log_without_its_entries_is_not_begun_anew() {
    let (dir, log, _) = leading().await;
    let (path, entries) = (dir.path().join("group.redb"), dir.path().join("group.entries"));
    drop(log);
    let away = dir.path().join("away");
    std::fs::rename(&entries, &away).unwrap();
    let error = Log::open(&path).unwrap_err();
    assert!(matches!(error, LogError::Unsound { .. }), "{error}");
    assert!(error.to_string().contains("flt admin coordinator add"), "{error}");
    // Those of another disk are not taken for them.
    drop(Log::open(&dir.path().join("other.redb")).unwrap());
    std::fs::rename(dir.path().join("other.entries"), &entries).unwrap();
    let error = Log::open(&path).unwrap_err();
    assert!(matches!(error, LogError::Unsound { .. }), "{error}");
    std::fs::remove_dir_all(&entries).unwrap();
    std::fs::rename(&away, &entries).unwrap();
    assert_eq!(indexes(&Log::open(&path).unwrap()).await, [0]);
}

/// The other way around it is a new disk, which has nothing to do with what was there.
#[tokio::test]
async fn entries_without_their_log_are_removed() {
    let (dir, log, leader) = leading().await;
    let path = dir.path().join("group.redb");
    let number = log.disk();
    drop(log);
    std::fs::remove_file(&path).unwrap();
    let log = Log::open(&path).unwrap();
    assert_ne!(log.disk(), number);
    assert_eq!(indexes(&log).await, Vec::<u64>::new());
    log.append_all(vec![entry(leader, 0, EntryPayload::Blank)]).await.unwrap();
    drop(log);
    assert_eq!(indexes(&Log::open(&path).unwrap()).await, [0]);
}
