//! A log that survives its process, a bounded queue, and a clock that goes on while there are leases.

use std::sync::Arc;
use std::time::Instant;

use failover::settings::{Candidate, Settings};
use failover::{Answer, Attempt, Author, ClusterName, Epoch, LogTime, NodeId, Refusal, Request, Span};

use super::*;

fn cluster(name: &str) -> ClusterName {
    ClusterName::try_from(name.to_owned()).unwrap()
}

fn node(n: u8) -> NodeId {
    NodeId::from_bytes([n; 32])
}

fn ask(name: &str, author: Author, seq: u64, request: Request) -> Ask {
    Ask { cluster: cluster(name), author, attempt: Attempt { boot: 1, seq }, request }
}

fn configure(name: &str) -> Ask {
    ask(name, Author::Admin, 0, Request::Configure(Arc::new(settings())))
}

fn acquire(name: &str, seq: u64, by: u8) -> Ask {
    ask(name, Author::Node(node(by)), seq, Request::Acquire { epoch: Epoch(0), version: 1, silence: Span::ZERO })
}

pub(crate) fn settings() -> Settings {
    let candidate = |n| Candidate { node: node(n), priority: n };
    Settings::lan(failover::Workload::Service, vec![candidate(1), candidate(2)])
}

#[tokio::test]
async fn an_outcome_outlives_the_process() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("leases.redb");
    let alone = Alone::open(path.clone());
    let unknown = alone.ask(acquire("a", 1, 1)).await.unwrap();
    assert_eq!(unknown.answer, Err(Refusal::UnknownCluster));
    assert!(!path.exists(), "nothing is written before a cluster is configured");
    assert_eq!(alone.ask(configure("a")).await.unwrap().answer, Ok(Answer::Noted));
    let granted = alone.ask(acquire("a", 1, 1)).await.unwrap();
    assert!(matches!(granted.answer, Ok(Answer::Granted { epoch: Epoch(1), .. })), "{:?}", granted.answer);
    drop(alone);

    let alone = Alone::open(path);
    let views = alone.views(Views::default()).await.unwrap();
    assert_eq!(views.views.len(), 1);
    assert_eq!(views.views[0].1.holder, Some(node(1)));
    assert!(views.views[0].1.at >= granted.at);
    let renewed = ask("a", Author::Node(node(1)), 2, Request::Renew { epoch: Epoch(1), version: 1 });
    assert!(matches!(alone.ask(renewed).await.unwrap().answer, Ok(Answer::Renewed { .. })));
    // Nobody else's while it is held.
    let refused = alone.ask(acquire("a", 1, 2)).await.unwrap();
    assert!(refused.answer.is_err(), "{:?}", refused.answer);
}

#[tokio::test]
async fn what_waits_together_is_answered_each_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let alone = Arc::new(Alone::open(dir.path().join("leases.redb")));
    alone.ask(configure("a")).await.unwrap();
    let asks = (1..=40u8).map(|by| {
        let alone = Arc::clone(&alone);
        tokio::spawn(async move { alone.ask(acquire("a", u64::from(by), 1 + by % 2)).await.unwrap() })
    });
    let mut granted = 0;
    let mut attempts = Vec::new();
    for asked in asks.collect::<Vec<_>>() {
        let outcome = asked.await.unwrap();
        granted += usize::from(matches!(outcome.answer, Ok(Answer::Granted { epoch: Epoch(1), .. })));
        attempts.push(outcome.attempt.unwrap().seq);
    }
    assert_eq!(attempts, (1..=40).collect::<Vec<u64>>());
    assert_eq!(granted, 1, "an epoch is granted once");
}

#[tokio::test]
async fn time_goes_on_while_there_are_leases_and_stands_still_while_the_process_is_down() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("leases.redb");
    let alone = Alone::open(path.clone());
    alone.ask(configure("a")).await.unwrap();
    let (ticked, looked) = tick(&alone).await;
    let before = looked.elapsed();
    drop(alone);
    // The downtime itself: nothing can be waited for while nothing runs.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let opened = Instant::now();
    let alone = Alone::open(path);
    let (after, _) = tick(&alone).await;
    let up = before + opened.elapsed();
    let up = Span::from_micros(u64::try_from(up.as_micros()).unwrap());
    assert!(after.since(ticked) <= up, "{after:?} is too long after {ticked:?} for {up:?}");
}

/// Waits until the log's clock goes on: where it stands, and a moment that was before that.
async fn tick(alone: &Alone) -> (LogTime, Instant) {
    let first = now(alone).await;
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let looked = Instant::now();
        tokio::time::sleep(Duration::from_millis(50)).await;
        let at = now(alone).await;
        if at > first {
            return (at, looked);
        }
        assert!(looked < deadline, "the log clock stands still");
    }
}

async fn now(alone: &Alone) -> LogTime {
    alone.views(Views::default()).await.unwrap().views[0].1.at
}

#[tokio::test]
async fn the_table_takes_the_place_of_old_batches() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("leases.redb");
    let (mut store, mut table) = LeaseStore::open(&path).unwrap();
    store.batches_max = 16;
    let entry: Entry = configure("a").into();
    store.append(&[(Stamp::default(), entry.clone())]).unwrap();
    table.apply(Stamp::default(), &entry);
    let clock = [(Stamp { elapsed: Span::from_millis(5) }, Entry::Clock)];
    for _ in 0..37 {
        store.append(&clock).unwrap();
        table.apply(clock[0].0, &clock[0].1);
        store.compact(&table).unwrap();
    }
    drop(store);
    let (_store, again) = LeaseStore::open(&path).unwrap();
    assert_eq!(again, table);
}

#[tokio::test]
async fn a_sealed_log_orders_nothing_and_tells_why() {
    let dir = tempfile::tempdir().unwrap();
    let alone = Alone::open(dir.path().join("leases.redb"));
    alone.ask(configure("a")).await.unwrap();
    assert_eq!(alone.seal().await.unwrap().leases().count(), 1);
    let refused = alone.ask(acquire("a", 1, 1)).await.unwrap_err();
    assert!(refused.to_string().contains("becoming a group"), "{refused}");
}

#[tokio::test]
async fn custody_outlives_the_process_and_is_known_while_it_lasts() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("leases.redb");
    let alone = Alone::open(path.clone());
    assert!(!alone.is_anything_in_custody().await.unwrap());
    let taken = |answer| match answer {
        Ok(Answer::Entrusted { epoch, since, .. }) => (epoch, since),
        other => panic!("{other:?}"),
    };
    let ask_for = |by: u8, request| ask("device/SHA256:x", Author::Node(node(by)), 1, request);
    let (epoch, _) = taken(alone.ask(ask_for(1, Request::TakeCustody)).await.unwrap().answer);
    assert!(alone.is_anything_in_custody().await.unwrap());
    drop(alone);

    let alone = Alone::open(path);
    let refused = alone.ask(ask_for(2, Request::TakeCustody)).await.unwrap().answer;
    assert!(matches!(refused, Err(Refusal::InCustody { of, .. }) if of == node(1)), "{refused:?}");
    assert!(alone.views(Views::default()).await.unwrap().views.is_empty(), "it is no cluster's lease");
    assert_eq!(alone.ask(ask_for(1, Request::EndCustody { epoch })).await.unwrap().answer, Ok(Answer::Noted));
    let (later, since) = taken(alone.ask(ask_for(2, Request::TakeCustody)).await.unwrap().answer);
    assert!(later > epoch && since == later);
}
