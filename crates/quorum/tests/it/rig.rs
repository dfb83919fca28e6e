//! A group in one process.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use failover::settings::{Candidate, Settings};
use failover::{Attempt, Author, ClusterName, LeaseTable, Outcome, Request, Workload};
use protocols::control::{GroupStatus, LeaseError};
use protocols::entry::{Body, Entry, Head, Revoke};
use protocols::{EntryHash, Millis, NodeId, Refusal, SecretKey, SignedEntry};
use quorum::{Ask, BoxFuture, Call, Carry, Group, Ledger, Options, Reply, Timing, Transport, Unfit, Views};

/// How long anything may take on a slow machine.
pub(crate) const SOON: Duration = Duration::from_secs(60);

/// The network between the members.
pub(crate) struct Net {
    groups: Mutex<HashMap<NodeId, Weak<Group>>>,
    cut: Mutex<HashSet<(NodeId, NodeId)>>,
    /// Of a thousand messages, how many are lost.
    pub(crate) loss: AtomicU32,
    dice: AtomicU64,
}

impl Net {
    fn lost(&self, from: NodeId, to: NodeId) -> bool {
        self.cut.lock().unwrap().contains(&(from, to)) || self.roll(1000) < u64::from(self.loss.load(Ordering::Relaxed))
    }

    /// A number below `sides`.
    pub(crate) fn roll(&self, sides: u64) -> u64 {
        let mut x = self.dice.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (x ^ (x >> 31)) % sides
    }

    /// Cuts both ways between two sets.
    pub(crate) fn cut(&self, one: &[NodeId], other: &[NodeId]) {
        let mut cut = self.cut.lock().unwrap();
        for a in one {
            for b in other {
                cut.extend([(*a, *b), (*b, *a)]);
            }
        }
    }

    pub(crate) fn heal(&self) {
        self.cut.lock().unwrap().clear();
        self.loss.store(0, Ordering::Relaxed);
    }
}

/// The longest of each kind of message that was said: calls, and replies.
pub(crate) static HEARD: Mutex<BTreeMap<(bool, u8), Vec<u8>>> = Mutex::new(BTreeMap::new());
/// What is longer is not kept.
const HEARD_BYTES_MAX: usize = 2048;

fn hear(reply: bool, bytes: &[u8]) {
    let mut heard = HEARD.lock().unwrap();
    let kept = heard.entry((reply, bytes[0])).or_default();
    if bytes.len() > kept.len() && bytes.len() <= HEARD_BYTES_MAX {
        *kept = bytes.to_vec();
    }
}

struct Way {
    net: Arc<Net>,
    me: NodeId,
}

impl Transport for Way {
    fn call(&self, to: NodeId, call: Call) -> BoxFuture<'_, Result<Reply, String>> {
        Box::pin(async move {
            // As the wire would carry it.
            let call = postcard::to_stdvec(&call).unwrap();
            hear(false, &call);
            let call: Call = postcard::from_bytes(&call).unwrap();
            if self.net.lost(self.me, to) {
                return std::future::pending().await;
            }
            let group = self.net.groups.lock().unwrap().get(&to).and_then(Weak::upgrade);
            let Some(group) = group else { return Err("nobody listens there".into()) };
            let me = self.me;
            // Who hangs up does not stop what was begun.
            let reply = tokio::spawn(async move { group.handle(me, call).await }).await.map_err(|e| e.to_string())?;
            if self.net.lost(to, me) {
                return std::future::pending().await;
            }
            let reply = postcard::to_stdvec(&reply).unwrap();
            hear(true, &reply);
            Ok(postcard::from_bytes(&reply).unwrap())
        })
    }

    fn reset(&self, _: NodeId) {}
}

/// A ledger that outlives its coordinator's process.
pub(crate) struct Chain {
    me: NodeId,
    entries: Mutex<Vec<SignedEntry>>,
    /// Whether its disk takes nothing.
    pub(crate) full: AtomicBool,
    all: Weak<Mutex<HashMap<NodeId, Arc<Self>>>>,
    author: NodeId,
}

impl Chain {
    pub(crate) fn hashes(&self) -> Vec<EntryHash> {
        self.entries.lock().unwrap().iter().map(SignedEntry::hash).collect()
    }
}

impl Ledger for Chain {
    fn head(&self) -> Head {
        let entries = self.entries.lock().unwrap();
        Head { seq: entries.len() as u64 - 1, hash: entries.last().unwrap().hash() }
    }

    fn append(&self, entry: SignedEntry) -> BoxFuture<'_, Result<Result<Head, Unfit>, String>> {
        Box::pin(async move {
            if self.full.load(Ordering::SeqCst) {
                return Err("its disk is full".into());
            }
            let Ok(verified) = entry.clone().verify() else { return Ok(Err(Unfit::Unverified("forged".into()))) };
            let head = Head { seq: verified.seq(), hash: verified.hash() };
            let newest = self.head();
            let mut entries = self.entries.lock().unwrap();
            if entries.get(usize::try_from(head.seq).unwrap()).is_some_and(|e| e.hash() == head.hash) {
                return Ok(Ok(head));
            }
            if verified.entry().author != self.author {
                return Ok(Err(Unfit::Refused(Refusal::UnknownAuthor(verified.entry().author))));
            }
            if verified.entry().prev != Some(newest.hash) || head.seq != newest.seq + 1 {
                return Ok(Err(Unfit::Stale(newest)));
            }
            entries.push(entry);
            Ok(Ok(head))
        })
    }

    fn catch_up(&self, head: Head, from: Vec<NodeId>) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async move {
            let all = self.all.upgrade().ok_or("over")?;
            let all: Vec<Arc<Self>> = all.lock().unwrap().values().cloned().collect();
            for other in all.into_iter().filter(|other| from.contains(&other.me)) {
                let theirs = other.entries.lock().unwrap().clone();
                if theirs.len() as u64 > head.seq {
                    let mut ours = self.entries.lock().unwrap();
                    let here = ours.len();
                    ours.extend(theirs.into_iter().take(usize::try_from(head.seq).unwrap() + 1).skip(here));
                    return Ok(());
                }
            }
            Err("nobody has it".into())
        })
    }

    fn name_of(&self, node: NodeId) -> String {
        format!("c{}", node.as_bytes()[0])
    }
}

/// Coordinators, some of which may be members.
pub(crate) struct Rig {
    pub(crate) net: Arc<Net>,
    pub(crate) dir: tempfile::TempDir,
    pub(crate) chains: Arc<Mutex<HashMap<NodeId, Arc<Chain>>>>,
    pub(crate) groups: Mutex<HashMap<NodeId, Arc<Group>>>,
    pub(crate) admin: SecretKey,
    attempts: AtomicU64,
}

pub(crate) fn id(n: u8) -> NodeId {
    NodeId::from_bytes([n; 32])
}

pub(crate) fn cluster() -> ClusterName {
    ClusterName::try_from("service/one".to_owned()).unwrap()
}

pub(crate) const TIMING: Timing = Timing {
    heartbeat: Duration::from_millis(250),
    election: (Duration::from_millis(500), Duration::from_millis(1000)),
    snapshot_every: 200,
    kept_behind: 20,
};

impl Rig {
    /// Coordinators 1 to `count`, each alone.
    pub(crate) async fn start(count: u8) -> Self {
        let net = Arc::new(Net {
            groups: Mutex::default(),
            cut: Mutex::default(),
            loss: AtomicU32::new(0),
            dice: AtomicU64::new(u64::from(std::process::id())),
        });
        let rig = Self {
            net,
            dir: tempfile::tempdir().unwrap(),
            chains: Arc::default(),
            groups: Mutex::default(),
            admin: SecretKey::from_seed(&[99; 32]),
            attempts: AtomicU64::new(1),
        };
        for n in 1..=count {
            rig.open(n).await;
        }
        rig
    }

    /// Coordinators 1 to `count` as a group.
    pub(crate) async fn group(count: u8) -> Self {
        let rig = Self::start(count).await;
        let others: Vec<NodeId> = (2..=count).map(id).collect();
        rig.of(1).change(&others, &[]).await.unwrap();
        rig
    }

    pub(crate) fn path(&self, n: u8) -> PathBuf {
        self.dir.path().join(format!("{n}.redb"))
    }

    /// Starts a coordinator, with whatever is on its disk.
    pub(crate) async fn open(&self, n: u8) {
        let chain = Arc::clone(self.chains.lock().unwrap().entry(id(n)).or_insert_with(|| {
            let genesis = self.sign(None, 0);
            let all = Arc::downgrade(&self.chains);
            Arc::new(Chain {
                me: id(n),
                entries: Mutex::new(vec![genesis]),
                full: AtomicBool::new(false),
                all,
                author: self.admin.id(),
            })
        }));
        let ledger = Arc::clone(&chain);
        let carry: Carry = Arc::new(move || {
            let head = ledger.head();
            Box::pin(async move { Ok((LeaseTable::new(), head)) })
        });
        let options = Options {
            me: id(n),
            path: self.path(n),
            timing: TIMING,
            ledger: chain,
            transport: Arc::new(Way { net: Arc::clone(&self.net), me: id(n) }),
            carry,
        };
        let group = Group::open(options).await.unwrap();
        self.net.groups.lock().unwrap().insert(id(n), Arc::downgrade(&group));
        self.groups.lock().unwrap().insert(id(n), group);
    }

    /// Ends a coordinator in the middle of whatever it does.
    pub(crate) async fn kill(&self, n: u8) {
        self.net.groups.lock().unwrap().remove(&id(n));
        let group = self.groups.lock().unwrap().remove(&id(n));
        if let Some(group) = group {
            group.shutdown().await;
        }
    }

    pub(crate) fn of(&self, n: u8) -> Arc<Group> {
        Arc::clone(&self.groups.lock().unwrap()[&id(n)])
    }

    pub(crate) fn chain(&self, n: u8) -> Arc<Chain> {
        Arc::clone(&self.chains.lock().unwrap()[&id(n)])
    }

    pub(crate) fn sign(&self, after: Option<Head>, tag: u64) -> SignedEntry {
        sign(&self.admin, after, tag)
    }

    pub(crate) fn ask(&self, node: u8, request: Request) -> Ask {
        let seq = self.attempts.fetch_add(1, Ordering::Relaxed);
        let author = if node == 0 { Author::Admin } else { Author::Node(failover::NodeId::from_bytes([node; 32])) };
        Ask { cluster: cluster(), author, attempt: Attempt { boot: 1, seq }, request }
    }

    pub(crate) async fn configure(&self, at: u8) -> Outcome {
        let candidate = |n| Candidate { node: failover::NodeId::from_bytes([n; 32]), priority: n };
        let settings = Settings::lan(Workload::Service, (101..=104).map(candidate).collect());
        self.of(at).ask(self.ask(0, Request::Configure(Arc::new(settings)))).await.unwrap()
    }

    pub(crate) async fn epoch(&self, at: u8) -> Result<(u64, bool), LeaseError> {
        let views = self.of(at).views(Views { cluster: Some(cluster()), ..Views::default() }).await?;
        Ok((views.views.first().map_or(0, |(_, view)| view.epoch.0), views.exact))
    }

    /// Waits until somebody whom `wanted` accepts leads, as the members in `among` see it.
    pub(crate) async fn leader(&self, among: &[u8], wanted: impl Fn(u8) -> bool) -> u8 {
        let until = Instant::now() + SOON;
        loop {
            let mut seen = HashSet::new();
            for n in among {
                seen.insert(self.of(*n).status().await.and_then(|s: GroupStatus| s.leader).map(|l| l.as_bytes()[0]));
            }
            if let [Some(leader)] = seen.iter().copied().collect::<Vec<_>>()[..]
                && wanted(leader)
            {
                return leader;
            }
            assert!(Instant::now() < until, "no leader that fits: {seen:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until all of these have the same ledger, and gives it.
    pub(crate) async fn settled(&self, among: &[u8], holds: impl Fn(&[EntryHash]) -> bool) -> Vec<EntryHash> {
        let until = Instant::now() + SOON;
        loop {
            let all: HashSet<Vec<EntryHash>> = among.iter().map(|n| self.chain(*n).hashes()).collect();
            if all.len() == 1 && all.iter().all(|hashes| holds(hashes)) {
                return all.into_iter().next().unwrap();
            }
            let lengths: Vec<usize> = all.iter().map(Vec::len).collect();
            assert!(Instant::now() < until, "the ledgers do not become the same: {lengths:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// An entry after `after` that nothing but a ledger looks at.
pub(crate) fn sign(key: &SecretKey, after: Option<Head>, tag: u64) -> SignedEntry {
    let body = Body::Revoke(Revoke { key: id(9), reason: format!("{tag}"), compromised_since: None });
    let entry = Entry {
        fleet: None,
        seq: after.map_or(0, |h| h.seq + 1),
        prev: after.map(|h| h.hash),
        at: Millis(1),
        not_after: None,
        author: key.id(),
        body,
    };
    entry.sign(key).unwrap()
}
