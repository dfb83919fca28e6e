//! Documents: each guard rail is named after the failure it guards against.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use iroh::protocol::Router;
use iroh_blobs::BlobsProtocol;
use iroh_blobs::api::Store;
use iroh_blobs::store::mem::MemStore;
use iroh_docs::engine::{DefaultAuthorStorage, Engine};
use iroh_docs::protocol::Docs;
use iroh_docs::{Author, Capability, ContentStatus, NamespaceSecret, Record, SignedEntry};
use iroh_gossip::net::Gossip;
use iroh_gossip::proto::TopicId;
use mesh::docs::{DOC_ALPNS, DocId, DocTuning, Follower, PublishError, Published, VALUE_MAX};
use mesh::net::MeshConfig;
use mesh::{DocPlane, Mesh, MeshBuilder};
use protocols::{NodeId, PeerAddr, SecretKey};
use tokio::time::{Instant, timeout};

use crate::support::{Members, SOON, bare_endpoint, config, until};

pub(crate) fn fast() -> DocTuning {
    DocTuning {
        resync: Duration::from_secs(1),
        repair: Duration::from_millis(300),
        rebuild_after: 100_000,
        stall: Duration::from_secs(20),
    }
}

pub(crate) async fn docs_node_with(config: MeshConfig, tuning: DocTuning) -> (Mesh, DocPlane) {
    let (builder, plane) = MeshBuilder::bind(config).await.expect("bound").docs(tuning).await.expect("started");
    (builder.start(), plane)
}

async fn docs_node() -> (Mesh, DocPlane) {
    docs_node_with(config(), fast()).await
}

/// Reads a follower until `key` has `value`.
pub(crate) async fn sees(follower: &mut Follower, key: &str, value: &str) {
    let reading = async {
        loop {
            let event = follower.next().await.expect("the plane lives");
            if event.key == key.as_bytes() && event.value.as_deref() == Some(value.as_bytes()) {
                return;
            }
        }
    };
    timeout(SOON, reading).await.unwrap_or_else(|_| panic!("{key} never was {value}"));
}

pub(crate) fn text(text: impl Into<String>) -> Bytes {
    Bytes::from(text.into())
}

/// The same stack without our guard rails: what a hostile or broken peer may run.
struct Raw {
    router: Router,
    docs: Docs,
    sync: iroh_docs::actor::SyncHandle,
    values: Store,
    gossip: Gossip,
}

async fn raw() -> Raw {
    let endpoint = bare_endpoint().await;
    let gossip = Gossip::builder().max_message_size(65536).spawn(endpoint.clone());
    let values: Store = MemStore::new().into();
    let engine = Engine::spawn(
        endpoint.clone(),
        gossip.clone(),
        iroh_docs::store::Store::memory(),
        values.clone(),
        values.downloader(&endpoint),
        DefaultAuthorStorage::Mem,
        None,
    )
    .await
    .expect("spawned");
    let sync = engine.sync.clone();
    let docs = Docs::new(engine);
    let router = Router::builder(endpoint)
        .accept(iroh_docs::ALPN, docs.clone())
        .accept(iroh_gossip::ALPN, gossip.clone())
        .accept(iroh_blobs::ALPN, BlobsProtocol::new(&values, None))
        .spawn();
    Raw { router, docs, sync, values, gossip }
}

impl Raw {
    fn addr(&self) -> PeerAddr {
        let endpoint = self.router.endpoint();
        let id = NodeId::from_bytes(*endpoint.id().as_bytes());
        PeerAddr { id, addrs: endpoint.bound_sockets(), relay: None }
    }
}

fn iroh_addr(mesh: &Mesh) -> iroh::EndpointAddr {
    let id = iroh::EndpointId::from_bytes(mesh.id().as_bytes()).expect("a key");
    mesh.bound().into_iter().fold(iroh::EndpointAddr::new(id), iroh::EndpointAddr::with_ip_addr)
}

#[tokio::test]
async fn a_published_value_arrives_and_changes_follow() {
    let key = SecretKey::generate();
    let mut known = config();
    known.key = key.clone();
    let (a, publishing) = docs_node_with(known, fast()).await;
    let (b, following) = docs_node().await;
    let facts = publishing.publisher("facts").expect("made");
    assert_eq!(facts.id(), DocId::of(&key, "facts"));
    assert_eq!(facts.publish(b"os", text("debian")).await, Ok(Published::New));
    let mut follower = following.follow(facts.id(), vec![a.addr()]).expect("followed");
    following.follow(facts.id(), vec![]).expect_err("once is enough");
    sees(&mut follower, "os", "debian").await;
    assert_eq!(facts.publish(b"os", text("debian")).await, Ok(Published::Same));
    facts.publish(b"os", text("nixos")).await.expect("published");
    sees(&mut follower, "os", "nixos").await;
    facts.remove(b"os").await.expect("removed");
    let removed = timeout(SOON, follower.next()).await.expect("in time").expect("an event");
    assert_eq!((removed.key.as_ref(), removed.value), (&b"os"[..], None));
    a.close().await;
    b.close().await;
    assert!(timeout(SOON, follower.next()).await.expect("in time").is_none(), "it ends with the mesh");
}

#[tokio::test]
async fn keys_and_values_are_bounded_and_keys_are_no_prefixes() {
    let (a, publishing) = docs_node().await;
    let (b, following) = docs_node().await;
    let doc = publishing.publisher("x").expect("made");
    assert_eq!(doc.publish(&[b'k'; 513], text("v")).await, Err(PublishError::KeyLength(513)));
    assert_eq!(doc.publish(b"", text("v")).await, Err(PublishError::KeyLength(0)));
    assert_eq!(doc.publish(b"a\0b", text("v")).await, Err(PublishError::KeyByte));
    assert_eq!(doc.publish(b"k", text("")).await, Err(PublishError::ValueLength(0)));
    assert_eq!(doc.publish(b"k", vec![0; VALUE_MAX + 1]).await, Err(PublishError::ValueLength(VALUE_MAX + 1)));
    // `node1` is written after `node10`, and must not remove it.
    for key in ["node10", "node1", "node", "a/b", "a"] {
        doc.publish(key.as_bytes(), text(key)).await.expect("published");
    }
    doc.publish(&[b'z'; 512], vec![7; VALUE_MAX]).await.expect("the largest there may be");
    let mut follower = following.follow(doc.id(), vec![a.addr()]).expect("followed");
    let mut seen = HashMap::new();
    while seen.len() < 6 {
        let event = timeout(SOON, follower.next()).await.expect("in time").expect("an event");
        seen.insert(event.key, event.value);
    }
    assert_eq!(seen.get(&b"node10"[..]), Some(&Some(text("node10"))));
    assert!(!follower.is_truncated());
    a.close().await;
    b.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_than_a_hundred_documents_between_two_peers() {
    const DOCS: usize = 130;
    // The long interval leaves live news as the way; at a short one, so many syncs would fill a small machine.
    let rare = DocTuning { resync: Duration::from_secs(40), ..fast() };
    let (a, publishing) = docs_node_with(config(), rare).await;
    let (b, following) = docs_node_with(config(), rare).await;
    let mut pairs = Vec::new();
    for n in 0..DOCS {
        let doc = publishing.publisher(&format!("doc {n}")).expect("made");
        doc.publish(b"n", text("first")).await.expect("published");
        let follower = following.follow(doc.id(), vec![a.addr()]).expect("followed");
        pairs.push((doc, follower));
    }
    for (_, follower) in &mut pairs {
        sees(follower, "n", "first").await;
    }
    for (doc, _) in &pairs {
        doc.publish(b"n", text("second")).await.expect("published");
    }
    for (_, follower) in &mut pairs {
        sees(follower, "n", "second").await;
    }
    a.close().await;
    b.close().await;
}

#[tokio::test]
async fn oversize_keys_and_values_of_a_hostile_writer() {
    let hostile = raw().await;
    let (b, following) = docs_node().await;
    let author = hostile.docs.author_create().await.expect("an author");
    let doc = hostile.docs.create().await.expect("a document");
    doc.start_sync(vec![]).await.expect("opened");
    doc.set_bytes(author, vec![b'k'; 5000], "v").await.expect("they do not mind");
    doc.set_bytes(author, "huge\0", vec![1; 200_000]).await.expect("set");
    doc.set_bytes(author, "unterminated", "v").await.expect("set");
    doc.set_bytes(author, "good\0", "one").await.expect("set");
    let id = DocId::from_bytes(*doc.id().as_bytes());
    let mut follower = following.follow(id, vec![hostile.addr()]).expect("followed");
    sees(&mut follower, "good", "one").await;
    until("the bounds were noticed", || follower.is_truncated()).await;
    doc.set_bytes(author, vec![b'l'; 6000], "v").await.expect("set");
    doc.set_bytes(author, "good\0", "two").await.expect("set");
    sees(&mut follower, "good", "two").await;
    assert!(follower.try_next().is_none(), "nothing else was delivered");
    b.close().await;
    hostile.router.shutdown().await.expect("shut down");
}

#[tokio::test]
async fn garbage_on_the_topic() {
    let (a, publishing) = docs_node().await;
    let (b, following) = docs_node().await;
    let doc = publishing.publisher("x").expect("made");
    doc.publish(b"n", text("0")).await.expect("published");
    let mut follower = following.follow(doc.id(), vec![a.addr()]).expect("followed");
    sees(&mut follower, "n", "0").await;
    let attacker = raw().await;
    let memory = iroh::address_lookup::MemoryLookup::new();
    for mesh in [&a, &b] {
        memory.add_endpoint_info(iroh_addr(mesh));
    }
    attacker.router.endpoint().address_lookup().expect("open").add(memory);
    let peers = [&a, &b].map(|mesh| iroh_addr(mesh).id).to_vec();
    let topic = attacker.gossip.subscribe_and_join(TopicId::from_bytes(*doc.id().as_bytes()), peers);
    let (sender, _receiver) = timeout(SOON, topic).await.expect("in time").expect("joined").split();
    for n in 1..5 {
        sender.broadcast(Bytes::from(format!("\u{ff}garbage {n}"))).await.expect("sent");
        doc.publish(b"n", text(n.to_string())).await.expect("published");
        sees(&mut follower, "n", &n.to_string()).await;
    }
    attacker.router.shutdown().await.expect("shut down");
    a.close().await;
    b.close().await;
}

#[tokio::test]
async fn a_follower_that_does_not_read_stalls_nobody() {
    let (a, publishing) = docs_node().await;
    let (b, following) = docs_node().await;
    let (busy, quiet) = (publishing.publisher("busy").expect("made"), publishing.publisher("quiet").expect("made"));
    let mut lazy = following.follow(busy.id(), vec![a.addr()]).expect("followed");
    let mut eager = following.follow(quiet.id(), vec![a.addr()]).expect("followed");
    quiet.publish(b"n", text("before")).await.expect("published");
    sees(&mut eager, "n", "before").await;
    for n in 0..1500 {
        busy.publish(b"n", text(n.to_string())).await.expect("published");
    }
    quiet.publish(b"n", text("after")).await.expect("published");
    sees(&mut eager, "n", "after").await;
    // The lazy one was not told everything, but it is told the last.
    sees(&mut lazy, "n", "1499").await;
    assert_eq!(publishing.rebuilds() + following.rebuilds(), 0);
    a.close().await;
    b.close().await;
}

#[tokio::test]
async fn a_long_outage_ends_by_itself() {
    let members = Arc::new(Members::default());
    let mut closed = config();
    closed.access = members.clone();
    let (a, publishing) = docs_node_with(closed, fast()).await;
    let (b, following) = docs_node().await;
    members.0.lock().expect("held").insert(b.id());
    let doc = publishing.publisher("x").expect("made");
    doc.publish(b"n", text("before")).await.expect("published");
    let mut follower = following.follow(doc.id(), vec![a.addr()]).expect("followed");
    sees(&mut follower, "n", "before").await;

    members.0.lock().expect("held").clear();
    a.drop_peer(b.id());
    b.drop_peer(a.id());
    doc.publish(b"n", text("during")).await.expect("published");
    let meanwhile = timeout(Duration::from_secs(3), follower.next()).await;
    assert!(meanwhile.is_err(), "nothing comes through: {meanwhile:?}");
    members.0.lock().expect("held").insert(b.id());
    sees(&mut follower, "n", "during").await;
    doc.publish(b"n", text("after")).await.expect("published");
    sees(&mut follower, "n", "after").await;
    a.close().await;
    b.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_that_cannot_reach_each_other() {
    let (center, publishing) = docs_node().await;
    let doc = publishing.publisher("x").expect("made");
    doc.publish(b"n", text("first")).await.expect("published");
    let mut readers = Vec::new();
    for _ in 0..14 {
        let only = center.id();
        let mut closed = config();
        closed.access = Arc::new(move |peer: NodeId, _: &[u8]| peer == only);
        // The long interval leaves live news as the only way.
        let (mesh, plane) = docs_node_with(closed, DocTuning { resync: Duration::from_secs(300), ..fast() }).await;
        let follower = plane.follow(doc.id(), vec![center.addr()]).expect("followed");
        readers.push((mesh, plane, follower));
    }
    for (_, _, follower) in &mut readers {
        sees(follower, "n", "first").await;
    }
    doc.publish(b"n", text("second")).await.expect("published");
    for (_, _, follower) in &mut readers {
        sees(follower, "n", "second").await;
    }
    for (mesh, ..) in readers {
        mesh.close().await;
    }
    center.close().await;
}

#[tokio::test]
async fn a_value_that_did_not_arrive_is_asked_for_again() {
    let open = Arc::new(AtomicBool::new(false));
    let gate = open.clone();
    let mut closed = config();
    closed.access = Arc::new(move |_: NodeId, alpn: &[u8]| alpn != iroh_blobs::ALPN || gate.load(Ordering::SeqCst));
    let (a, publishing) = docs_node_with(closed, fast()).await;
    let (b, following) = docs_node().await;
    let doc = publishing.publisher("x").expect("made");
    doc.publish(b"n", text("late")).await.expect("published");
    let mut follower = following.follow(doc.id(), vec![a.addr()]).expect("followed");
    let meanwhile = timeout(Duration::from_secs(3), follower.next()).await;
    assert!(meanwhile.is_err(), "the value cannot be had: {meanwhile:?}");
    open.store(true, Ordering::SeqCst);
    sees(&mut follower, "n", "late").await;
    a.close().await;
    b.close().await;
}

#[tokio::test]
async fn a_writer_that_returns_elsewhere_is_followed_again() {
    let key = SecretKey::generate();
    let with_key = || {
        let mut config = config();
        config.key = key.clone();
        config
    };
    let (a, publishing) = docs_node_with(with_key(), fast()).await;
    let (b, following) = docs_node().await;
    let doc = publishing.publisher("x").expect("made");
    doc.publish(b"n", text("first life")).await.expect("published");
    let mut follower = following.follow(doc.id(), vec![a.addr()]).expect("followed");
    sees(&mut follower, "n", "first life").await;
    a.close().await;

    let (a, publishing) = docs_node_with(with_key(), fast()).await;
    b.learn(a.addr());
    let doc = publishing.publisher("x").expect("made");
    doc.publish(b"n", text("second life")).await.expect("published");
    sees(&mut follower, "n", "second life").await;
    doc.publish(b"n", text("live")).await.expect("published");
    sees(&mut follower, "n", "live").await;
    a.close().await;
    b.close().await;
}

#[tokio::test]
async fn a_clock_that_stepped_back() {
    // An earlier life of the writer, whose clock was five minutes ahead.
    let key = SecretKey::generate();
    let secret = NamespaceSecret::from_bytes(&key.derive("flotilla 2025 document x"));
    let author = Author::from_bytes(&key.seed());
    let earlier = raw().await;
    let past = earlier.docs.import_namespace(Capability::Write(secret.clone())).await.expect("imported");
    past.start_sync(vec![]).await.expect("opened");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_micros() as u64;
    let value = earlier.values.blobs().add_bytes("from the future").temp_tag().await.expect("added");
    let record = Record::new(value.hash(), 15, now + 300_000_000);
    let entry = SignedEntry::from_parts(&secret, &author, b"n\0", record);
    let from = *earlier.router.endpoint().id().as_bytes();
    earlier.sync.insert_remote(past.id(), entry, from, ContentStatus::Complete).await.expect("inserted");

    let (b, following) = docs_node().await;
    let id = DocId::of(&key, "x");
    let mut follower = following.follow(id, vec![earlier.addr()]).expect("followed");
    sees(&mut follower, "n", "from the future").await;

    let mut same = config();
    same.key = key;
    let (a, publishing) = docs_node_with(same, fast()).await;
    let doc = publishing.publisher("x").expect("made");
    assert_eq!(doc.id(), id);
    doc.publish(b"n", text("now")).await.expect("published");
    b.learn(a.addr());
    follower.add_peer(a.id());
    sees(&mut follower, "n", "now").await;
    doc.publish(b"n", text("and on")).await.expect("published");
    sees(&mut follower, "n", "and on").await;
    earlier.router.shutdown().await.expect("shut down");
    a.close().await;
    b.close().await;
}

#[tokio::test]
async fn a_rebuild_loses_nothing() {
    let (a, publishing) = docs_node().await;
    let (b, following) = docs_node().await;
    let doc = publishing.publisher("x").expect("made");
    doc.publish(b"n", text("one")).await.expect("published");
    let mut follower = following.follow(doc.id(), vec![a.addr()]).expect("followed");
    sees(&mut follower, "n", "one").await;
    following.rebuild().await.expect("rebuilt");
    doc.publish(b"n", text("two")).await.expect("published");
    sees(&mut follower, "n", "two").await;
    publishing.rebuild().await.expect("rebuilt");
    doc.publish(b"n", text("three")).await.expect("published");
    sees(&mut follower, "n", "three").await;
    assert_eq!((publishing.rebuilds(), following.rebuilds()), (1, 1));
    a.close().await;
    b.close().await;
}

#[tokio::test]
async fn growth_ends_in_a_rebuild() {
    let (a, publishing) = docs_node_with(config(), DocTuning { rebuild_after: 60, ..fast() }).await;
    let (b, following) = docs_node_with(config(), DocTuning { rebuild_after: 60, ..fast() }).await;
    let doc = publishing.publisher("x").expect("made");
    let mut follower = following.follow(doc.id(), vec![a.addr()]).expect("followed");
    let deadline = Instant::now() + SOON;
    let mut n = 0;
    while publishing.rebuilds() == 0 || following.rebuilds() == 0 {
        assert!(
            Instant::now() < deadline,
            "no rebuild after {n} entries: {} and {}",
            publishing.rebuilds(),
            following.rebuilds()
        );
        n += 1;
        // Many keys: then a sync alone brings many entries, whether or not live news come through.
        doc.publish(format!("k{}", n % 50).as_bytes(), text(n.to_string())).await.expect("published");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    doc.publish(b"n", text("last")).await.expect("published");
    sees(&mut follower, "n", "last").await;
    a.close().await;
    b.close().await;
}

#[tokio::test]
async fn who_is_not_let_in_reads_no_document() {
    let members = Arc::new(Members::default());
    let mut closed = config();
    closed.access = members.clone();
    let (a, publishing) = docs_node_with(closed, fast()).await;
    let (b, following) = docs_node().await;
    let doc = publishing.publisher("x").expect("made");
    doc.publish(b"n", text("private")).await.expect("published");
    for alpn in DOC_ALPNS {
        b.probe(a.addr(), alpn, SOON).await.expect_err("refused");
    }
    let mut follower = following.follow(doc.id(), vec![a.addr()]).expect("followed");
    let nothing = timeout(Duration::from_secs(3), follower.next()).await;
    assert!(nothing.is_err(), "{nothing:?}");
    members.0.lock().expect("held").insert(b.id());
    sees(&mut follower, "n", "private").await;
    a.close().await;
    b.close().await;
}
