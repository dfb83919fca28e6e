//! Nodes with documents, and one that writes what it likes.

use std::time::Duration;

use bytes::Bytes;
use iroh::protocol::Router;
use iroh_blobs::BlobsProtocol;
use iroh_blobs::api::Store;
use iroh_blobs::store::mem::MemStore;
use iroh_docs::engine::{DefaultAuthorStorage, Engine};
use iroh_docs::protocol::Docs;
use iroh_gossip::net::Gossip;
use mesh::docs::{DocTuning, Follower};
use mesh::net::MeshConfig;
use mesh::{DocPlane, Mesh, MeshBuilder};
use protocols::{NodeId, PeerAddr};
use tokio::time::timeout;

use crate::support::{SOON, bare_endpoint, config};

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

pub(crate) async fn docs_node() -> (Mesh, DocPlane) {
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
pub(crate) struct Raw {
    pub(crate) router: Router,
    pub(crate) docs: Docs,
    pub(crate) sync: iroh_docs::actor::SyncHandle,
    pub(crate) values: Store,
    pub(crate) gossip: Gossip,
}

pub(crate) async fn raw() -> Raw {
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
    pub(crate) fn addr(&self) -> PeerAddr {
        let endpoint = self.router.endpoint();
        let id = NodeId::from_bytes(*endpoint.id().as_bytes());
        PeerAddr { id, addrs: endpoint.bound_sockets(), relay: None }
    }
}

pub(crate) fn iroh_addr(mesh: &Mesh) -> iroh::EndpointAddr {
    let id = iroh::EndpointId::from_bytes(mesh.id().as_bytes()).expect("a key");
    mesh.bound().into_iter().fold(iroh::EndpointAddr::new(id), iroh::EndpointAddr::with_ip_addr)
}
