//! Documents: each guard rail is named after the failure it guards against.

mod repair;
mod rig;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use iroh_gossip::proto::TopicId;
use mesh::docs::{DOC_ALPNS, DocId, DocTuning, PublishError, Published, VALUE_MAX};
use protocols::SecretKey;
use tokio::time::timeout;

use crate::support::{Members, SOON, config, until};

pub(crate) use rig::*;

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
