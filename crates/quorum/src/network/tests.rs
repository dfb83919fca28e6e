//! When a member is told what is agreed on.

use std::sync::atomic::{AtomicUsize, Ordering};

use openraft::storage::RaftLogStorage as _;
use openraft::{EntryPayload, LeaderId};
use tempfile::TempDir;

use super::*;
use crate::BoxFuture;
use crate::call::Reply;
use crate::log::gate::{self, Gate};
use crate::types::{Batch, RaftEntry};

/// How long anything may take on a slow machine.
const SOON: Duration = Duration::from_secs(60);

/// Agrees to everything, and counts it.
#[derive(Default)]
struct Agrees {
    entries: AtomicUsize,
    words: AtomicUsize,
    /// Up to where it was told last that all is agreed on.
    committed: Mutex<Option<LogId>>,
}

impl Transport for Agrees {
    fn call(&self, _: NodeId, call: Call) -> BoxFuture<'_, Result<Reply, String>> {
        let What::Append { rpc, .. } = call.0 else { panic!("only entries are sent") };
        *self.committed.lock().unwrap() = rpc.leader_commit;
        let count = if rpc.entries.is_empty() { &self.words } else { &self.entries };
        count.fetch_add(1, Ordering::SeqCst);
        Box::pin(async { Ok(Reply(Said::Append(AppendEntriesResponse::Success))) })
    }

    fn reset(&self, _: NodeId) {}
}

async fn peer() -> (TempDir, Arc<Agrees>, Peer) {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(&dir.path().join("group.redb")).unwrap();
    let transport = Arc::new(Agrees::default());
    let member = |n: u8| Member::new(NodeId::from_bytes([n; 32]), u64::from(n));
    let (heard, removed) = (Arc::new(Heard::default()), Arc::new(Notify::new()));
    let to_all: Arc<dyn Transport> = Arc::clone(&transport) as _;
    let mut network = Network { me: member(1), log, transport: to_all, heard, removed };
    let peer = network.new_client(member(2), &()).await;
    (dir, transport, peer)
}

/// Entries up to this one, or only the word that all of them are agreed on.
fn message(from: &Peer, index: u64, is_word: bool) -> AppendEntriesRequest<Types> {
    let leader_id = LeaderId::new(1, from.network.me);
    let id = |index| LogId::new(leader_id, index);
    let entries = if is_word { vec![] } else { vec![RaftEntry { log_id: id(index), payload: EntryPayload::Blank }] };
    let prev_log_id = Some(id(if is_word { index } else { index - 1 }));
    let leader_commit = Some(id(index));
    AppendEntriesRequest { vote: Vote { leader_id, committed: true }, prev_log_id, entries, leader_commit }
}

async fn send(peer: &mut Peer, rpc: AppendEntriesRequest<Types>) {
    peer.append_entries(rpc, RPCOption::new(SOON)).await.unwrap();
}

#[tokio::test]
async fn a_word_goes_along_with_the_next_entry_or_alone_if_none_comes() {
    let (_dir, transport, mut peer) = peer().await;
    let words = || transport.words.load(Ordering::SeqCst);
    let until = Instant::now() + SOON;
    let before = loop {
        let (before, began) = (words(), Instant::now());
        for index in 1..=3 {
            let (entry, word) = (message(&peer, index, false), message(&peer, index, true));
            send(&mut peer, entry).await;
            send(&mut peer, word).await;
        }
        // Else this machine was too slow for the words to wait.
        if began.elapsed() < ALONG {
            assert_eq!(words(), before);
            break before;
        }
        assert!(Instant::now() < until, "this machine is too slow");
    };
    while words() == before {
        assert!(Instant::now() < until, "the last one is never said");
        tokio::time::sleep(ALONG).await;
    }
    tokio::time::sleep(ALONG * 10).await;
    assert_eq!(words(), before + 1, "those before it are said too");
}

#[tokio::test]
async fn a_word_to_one_that_said_nothing_of_the_kind_is_sent() {
    let (_dir, transport, mut peer) = peer().await;
    let words = || transport.words.load(Ordering::SeqCst);
    let (entry, word, other) = (message(&peer, 2, false), message(&peer, 2, true), message(&peer, 3, true));
    send(&mut peer, word).await;
    assert_eq!(words(), 1, "it has agreed to nothing yet");
    send(&mut peer, entry).await;
    send(&mut peer, other).await;
    assert_eq!(words(), 2, "it has not said that it has this one");
    let mut newer = message(&peer, 3, true);
    newer.vote.leader_id.term = 2;
    send(&mut peer, newer.clone()).await;
    assert_eq!(words(), 3, "it followed another term");
    if let Some(agreed) = &mut peer.agreed {
        agreed.asked = Instant::now().checked_sub(FRESH).unwrap();
    }
    send(&mut peer, newer).await;
    assert_eq!(words(), 4, "it may have changed its mind");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_told_that_what_the_disk_lacks_is_agreed_on() {
    let (dir, transport, mut peer) = peer().await;
    let mut log = peer.network.log.clone();
    let me = Member::new(NodeId::from_bytes([1; 32]), log.disk());
    peer.network.me = me;
    let leader_id = LeaderId::new(1, me);
    log.save_vote(&Vote { leader_id, committed: true }).await.unwrap();
    let entry = |index, payload| RaftEntry { log_id: LogId::new(leader_id, index), payload };
    log.append_all(vec![entry(0, EntryPayload::Blank)]).await.unwrap();
    gate::set(&dir.path().join("group.redb"), Gate::Held);
    log.append_all(vec![entry(1, EntryPayload::Normal(Batch { term: 1, items: vec![] }))]).await.unwrap();
    let told = || transport.committed.lock().unwrap().map(|id| id.index);
    let said = || transport.words.load(Ordering::SeqCst);
    let (first, word) = (message(&peer, 1, true), message(&peer, 1, true));
    send(&mut peer, first).await;
    assert_eq!((said(), told()), (1, Some(0)), "at once");
    if let Some(agreed) = &mut peer.agreed {
        agreed.asked = Instant::now() + FRESH;
    }
    send(&mut peer, word.clone()).await;
    let until = Instant::now() + SOON;
    while said() == 1 {
        assert!(Instant::now() < until, "it is never said");
        tokio::time::sleep(ALONG).await;
    }
    assert_eq!(told(), Some(0), "later");
    gate::set(&dir.path().join("group.redb"), Gate::Open);
    log.stored(1).await.unwrap();
    send(&mut peer, word).await;
    while told() != Some(1) {
        assert!(Instant::now() < until, "it is never said");
        tokio::time::sleep(ALONG).await;
    }
}
