//! Documents after an outage, a return, a rebuild.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use iroh_docs::{Author, Capability, ContentStatus, NamespaceSecret, Record, SignedEntry};
use mesh::docs::{DocId, DocTuning};
use protocols::{NodeId, SecretKey};
use tokio::time::{Instant, timeout};

use crate::support::{Members, SOON, config};

use super::rig::*;

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
