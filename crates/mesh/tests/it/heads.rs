//! The gossip of heads: to neighbours and no further, bounded, and members only.

use std::sync::Arc;

use bytes::Bytes;
use mesh::heads::{MESSAGE_BYTES_MAX, MESSAGES_PER_WINDOW};
use mesh::net::MeshConfig;
use mesh::{Heads, HeadsEvent, Mesh, MeshBuilder};
use protocols::alpn;
use tokio::sync::mpsc;

use crate::support::{Members, SOON, config, until};

const TOPIC: [u8; 32] = [5; 32];

async fn speaker(config: MeshConfig) -> (Mesh, Heads, mpsc::Receiver<HeadsEvent>) {
    let (builder, heads, heard) = MeshBuilder::bind(config).await.expect("bound").heads(TOPIC);
    (builder.start(), heads, heard)
}

/// The next message, whoever says it.
async fn next(heard: &mut mpsc::Receiver<HeadsEvent>) -> Bytes {
    let said = async {
        loop {
            match heard.recv().await {
                Some(HeadsEvent::Heard { message, .. }) => return message,
                Some(HeadsEvent::Neighbour(_)) => {}
                None => panic!("the gossip ended"),
            }
        }
    };
    tokio::time::timeout(SOON, said).await.expect("a message in time")
}

/// Waits until they are neighbours.
async fn meet(heard: &mut mpsc::Receiver<HeadsEvent>) {
    let met = async { while !matches!(heard.recv().await, Some(HeadsEvent::Neighbour(_))) {} };
    tokio::time::timeout(SOON, met).await.expect("a neighbour in time");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_reaches_neighbours_and_only_so_much_of_it() {
    let (a, say_a, mut heard_a) = speaker(config()).await;
    let (b, say_b, mut heard_b) = speaker(config()).await;
    b.learn(a.addr());
    say_b.join(vec![a.id()]);
    meet(&mut heard_a).await;
    meet(&mut heard_b).await;
    say_a.say(Bytes::from_static(b"hello"));
    assert_eq!(next(&mut heard_b).await, Bytes::from_static(b"hello"));
    // Too long, and too much: dropped, and what comes later is heard again.
    say_a.say(vec![b'x'; MESSAGE_BYTES_MAX + 1].into());
    say_a.say(vec![b'y'; MESSAGE_BYTES_MAX].into());
    assert_eq!(next(&mut heard_b).await[0], b'y');
    for n in 0..MESSAGES_PER_WINDOW * 3 {
        say_a.say(n.to_string().into_bytes().into());
        tokio::task::yield_now().await;
    }
    let mut count = 0;
    while tokio::time::timeout(std::time::Duration::from_secs(3), next(&mut heard_b)).await.is_ok() {
        count += 1;
    }
    assert!(count < MESSAGES_PER_WINDOW, "{count} were taken beside the first two");
    a.close().await;
    b.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_not_let_in_hears_nothing() {
    let members = Arc::new(Members::default());
    let closed = MeshConfig { access: Arc::clone(&members) as Arc<dyn mesh::Access>, ..config() };
    let (a, say_a, mut heard_a) = speaker(closed).await;
    let (b, say_b, mut heard_b) = speaker(config()).await;
    b.learn(a.addr());
    say_b.join(vec![a.id()]);
    let refused = b.probe(a.addr(), alpn::HEADS, SOON).await;
    assert!(matches!(refused, Err(mesh::net::ProbeError::Refused { .. })), "{refused:?}");
    say_a.say(Bytes::from_static(b"secret"));
    // Let in, it becomes a neighbour, and nothing was kept for it.
    members.0.lock().expect("not poisoned").insert(b.id());
    let met = async {
        loop {
            say_b.join(vec![a.id()]);
            match tokio::time::timeout(std::time::Duration::from_secs(1), heard_a.recv()).await {
                Ok(Some(HeadsEvent::Neighbour(_))) => return,
                Ok(None) => panic!("the gossip ended"),
                _ => {}
            }
        }
    };
    tokio::time::timeout(SOON, met).await.expect("a neighbour in time");
    say_a.say(Bytes::from_static(b"open"));
    assert_eq!(next(&mut heard_b).await, Bytes::from_static(b"open"));
    until("they are connected", || a.connected().contains(&b.id())).await;
    a.close().await;
    b.close().await;
}
