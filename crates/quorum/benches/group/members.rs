//! A group of three in one process: real logs on disk, calls as bytes between threads.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use failover::settings::{Candidate, Settings};
use failover::{Attempt, Author, ClusterName, Epoch, LeaseTable, Request, Span, Workload};
use protocols::entry::{Body, Entry, Head, Revoke};
use protocols::{Millis, NodeId, SecretKey, SignedEntry};
use quorum::{Ask, BoxFuture, Call, Carry, Group, Ledger, Options, Reply, Timing, Transport, Unfit};

use crate::Registers;

/// How many clients at most, each with a register of its own.
pub(crate) const CLIENTS: usize = 64;

type Shared = Arc<Mutex<HashMap<NodeId, Weak<Group>>>>;

struct Way {
    groups: Shared,
    me: NodeId,
}

impl Transport for Way {
    fn call(&self, to: NodeId, call: Call) -> BoxFuture<'_, Result<Reply, String>> {
        Box::pin(async move {
            let bytes = postcard::to_stdvec(&call).map_err(|e| e.to_string())?;
            let call: Call = postcard::from_bytes(&bytes).map_err(|e| e.to_string())?;
            let group = lock(&self.groups).get(&to).and_then(Weak::upgrade).ok_or("nobody listens there")?;
            let reply = group.handle(self.me, call).await;
            let bytes = postcard::to_stdvec(&reply).map_err(|e| e.to_string())?;
            postcard::from_bytes(&bytes).map_err(|e| e.to_string())
        })
    }

    fn reset(&self, _: NodeId) {}
}

/// A ledger that nothing is entered into: leases are what is measured.
struct NoLedger(Head);

impl Ledger for NoLedger {
    fn head(&self) -> Head {
        self.0
    }

    fn append(&self, _: SignedEntry) -> BoxFuture<'_, Result<Result<Head, Unfit>, String>> {
        Box::pin(async move { Ok(Err(Unfit::Stale(self.0))) })
    }

    fn catch_up(&self, _: Head, _: Vec<NodeId>) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async { Ok(()) })
    }

    fn name_of(&self, node: NodeId) -> String {
        node.short()
    }
}

/// The three.
pub(crate) struct Members {
    dir: tempfile::TempDir,
    shared: Shared,
    groups: Mutex<Vec<Option<Arc<Group>>>>,
    head: Head,
    leader: Mutex<usize>,
    attempts: AtomicU64,
}

impl Members {
    pub(crate) async fn start() -> Self {
        let key = SecretKey::from_seed(&[1; 32]);
        let body = Body::Revoke(Revoke { key: id(9), reason: "a first entry".into(), compromised_since: None });
        let entry = Entry { fleet: None, seq: 0, prev: None, at: Millis(1), not_after: None, author: key.id(), body };
        let signed = entry.sign(&key).unwrap_or_else(|error| panic!("no first entry: {error}"));
        let head = Head { seq: 0, hash: signed.hash() };
        let dir = tempfile::tempdir().unwrap_or_else(|error| panic!("no folder: {error}"));
        let this = Self {
            dir,
            shared: Arc::default(),
            groups: Mutex::new(vec![None, None, None]),
            head,
            leader: Mutex::new(0),
            attempts: AtomicU64::new(1),
        };
        for n in 0..3 {
            this.open(n).await;
        }
        let made = this.group(0).change(&[id(2), id(3)], &[]).await;
        made.unwrap_or_else(|error| panic!("no group: {error}"));
        let candidate = Candidate { node: failover::NodeId::from_bytes([7; 32]), priority: 1 };
        let settings = Arc::new(Settings::lan(Workload::Service, vec![candidate]));
        for client in 0..CLIENTS {
            let done = this.ask(client, Author::Admin, Request::Configure(Arc::clone(&settings))).await;
            assert!(done, "a cluster is configured");
            let acquire = Request::Acquire { epoch: Epoch(0), version: 1, silence: Span::ZERO };
            let node = Author::Node(failover::NodeId::from_bytes([7; 32]));
            assert!(this.ask(client, node, acquire).await, "a lease is granted");
        }
        this
    }

    async fn open(&self, n: usize) {
        let head = self.head;
        let carry: Carry = Arc::new(move || Box::pin(async move { Ok((LeaseTable::new(), head)) }));
        let me = id(u8::try_from(n + 1).unwrap_or(0));
        let options = Options {
            me,
            path: self.path(n),
            timing: Timing::default(),
            ledger: Arc::new(NoLedger(head)),
            transport: Arc::new(Way { groups: Arc::clone(&self.shared), me }),
            carry,
        };
        let group = Group::open(options).await.unwrap_or_else(|error| panic!("no member: {error}"));
        lock(&self.shared).insert(me, Arc::downgrade(&group));
        lock(&self.groups)[n] = Some(group);
    }

    fn path(&self, n: usize) -> PathBuf {
        self.dir.path().join(format!("{n}.redb"))
    }

    fn group(&self, n: usize) -> Arc<Group> {
        lock(&self.groups)[n].clone().unwrap_or_else(|| panic!("member {n} runs"))
    }

    async fn ask(&self, client: usize, author: Author, request: Request) -> bool {
        let seq = self.attempts.fetch_add(1, Ordering::Relaxed);
        let cluster = ClusterName::try_from(format!("bench/{client}")).unwrap_or_else(|error| panic!("{error}"));
        let group = lock(&self.groups)[*lock(&self.leader)].clone();
        let Some(group) = group else { return false };
        let ask = Ask { cluster, author, attempt: Attempt { boot: 1, seq }, request };
        group.ask(ask).await.is_ok_and(|outcome| outcome.answer.is_ok())
    }

    async fn leading(&self) -> usize {
        loop {
            for n in 0..3 {
                let group = lock(&self.groups)[n].clone();
                let Some(group) = group else { continue };
                if let Some(status) = group.status().await
                    && let Some(leader) = status.leader
                {
                    return usize::from(leader.as_bytes()[0]) - 1;
                }
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Registers for Members {
    async fn advance(&self, client: usize, _: u64) -> bool {
        // A renewal is a compare-and-set: by the epoch's holder alone, with a greater number than the last.
        let node = Author::Node(failover::NodeId::from_bytes([7; 32]));
        self.ask(client, node, Request::Renew { epoch: Epoch(1), version: 1 }).await
    }
}

/// How long nothing is decided after the leader is gone, as another member sees it.
pub(crate) async fn gaps(members: &Arc<Members>, count: usize) -> Vec<Duration> {
    let mut gaps = Vec::new();
    for _ in 0..count {
        let leader = members.leading().await;
        *lock(&members.leader) = (leader + 1) % 3;
        while !members.advance(0, 0).await {}
        let gone = lock(&members.groups)[leader].take();
        lock(&members.shared).remove(&id(u8::try_from(leader + 1).unwrap_or(0)));
        let began = Instant::now();
        if let Some(gone) = gone {
            gone.shutdown().await;
        }
        while !members.advance(0, 0).await {}
        gaps.push(began.elapsed());
        members.open(leader).await;
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    gaps
}

const fn id(n: u8) -> NodeId {
    NodeId::from_bytes([n; 32])
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
