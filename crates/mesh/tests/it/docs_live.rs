//! Live news of documents, where no sync would come in time: they must find their way back by themselves.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use mesh::docs::{DOC_ALPNS, DocTuning};
use mesh::net::Access;
use protocols::NodeId;

use crate::docs::{docs_node_with, fast, sees, text};
use crate::support::{config, until};

/// Lets everybody in, or nobody but those who fetch values, and counts whom it turned away from live news.
#[derive(Debug, Default)]
struct Door {
    shut: AtomicBool,
    turned_away: AtomicUsize,
}

impl Access for Door {
    fn allows(&self, _peer: NodeId, alpn: &[u8]) -> bool {
        let shut = self.shut.load(Ordering::SeqCst);
        if shut && alpn == DOC_ALPNS[1] {
            self.turned_away.fetch_add(1, Ordering::SeqCst);
        }
        !shut || alpn == DOC_ALPNS[2]
    }
}

/// No sync at intervals within the time of a test.
fn rare() -> DocTuning {
    DocTuning { resync: Duration::from_secs(3600), ..fast() }
}

/// Only the reader can dial, as one does that reaches a writer from behind a NAT, and the writer turns it away for a
/// while, as one does whose documents are being built anew.
#[tokio::test]
async fn a_reader_that_was_turned_away() {
    let door = Arc::new(Door::default());
    let mut closed = config();
    closed.access = door.clone();
    let (a, publishing) = docs_node_with(closed, rare()).await;
    let mut unreachable = config();
    unreachable.access = Arc::new(|_: NodeId, _: &[u8]| false);
    let (b, following) = docs_node_with(unreachable, rare()).await;
    let doc = publishing.publisher("x").expect("made");
    doc.publish(b"n", text("before")).await.expect("published");
    let mut follower = following.follow(doc.id(), vec![a.addr()]).expect("followed");
    sees(&mut follower, "n", "before").await;
    // The first value may come by a sync; the writer knows its reader only from the first live news on.
    doc.publish(b"n", text("live")).await.expect("published");
    sees(&mut follower, "n", "live").await;

    door.shut.store(true, Ordering::SeqCst);
    a.drop_peer(b.id());
    until("the reader was turned away", || door.turned_away.load(Ordering::SeqCst) > 0).await;
    door.shut.store(false, Ordering::SeqCst);
    doc.publish(b"n", text("during")).await.expect("published");
    sees(&mut follower, "n", "during").await;
    for n in 0..3 {
        let value = format!("after {n}");
        doc.publish(b"n", text(value.clone())).await.expect("published");
        sees(&mut follower, "n", &value).await;
    }
    a.close().await;
    b.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_writer_that_is_built_anew_again_and_again() {
    let (a, publishing) = docs_node_with(config(), rare()).await;
    let doc = publishing.publisher("x").expect("made");
    doc.publish(b"n", text("0")).await.expect("published");
    let mut readers = Vec::new();
    for _ in 0..3 {
        let (mesh, plane) = docs_node_with(config(), rare()).await;
        let follower = plane.follow(doc.id(), vec![a.addr()]).expect("followed");
        readers.push((mesh, plane, follower));
    }
    for round in 1..8 {
        publishing.rebuild().await.expect("rebuilt");
        for news in 0..2 {
            let value = format!("{round}.{news}");
            doc.publish(b"n", text(value.clone())).await.expect("published");
            for (_, _, follower) in &mut readers {
                sees(follower, "n", &value).await;
            }
        }
    }
    for (mesh, ..) in readers {
        mesh.close().await;
    }
    a.close().await;
}
