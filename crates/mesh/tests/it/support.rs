//! Meshes on loopback, a small protocol to speak over them, and a way to wait.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use irpc::channel::{mpsc, oneshot};
use irpc::{WithChannels, rpc_requests};
use mesh::net::{Access, AllowAll, MeshConfig};
use mesh::{Mesh, MeshBuilder, RpcLimits, Serve};
use protocols::{NodeId, SecretKey};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

pub(crate) const ECHO: &[u8] = b"flotilla-test/echo/1";
/// For anything that must happen, on a slow and noisy machine.
pub(crate) const SOON: Duration = Duration::from_secs(60);

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Say(pub(crate) Bytes);
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Who;
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Panic;
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Count(pub(crate) u32);
/// Answers when told to.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Hold;

#[rpc_requests(message = EchoMessage)]
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum EchoProtocol {
    #[rpc(tx = oneshot::Sender<Bytes>)]
    Say(Say),
    #[rpc(tx = oneshot::Sender<NodeId>)]
    Who(Who),
    #[rpc(tx = oneshot::Sender<()>)]
    Panic(Panic),
    #[rpc(tx = mpsc::Sender<u32>)]
    Count(Count),
    #[rpc(tx = oneshot::Sender<()>)]
    Hold(Hold),
}

#[derive(Debug, Default)]
pub(crate) struct Echo {
    pub(crate) handled: AtomicU64,
    pub(crate) release: tokio::sync::Notify,
}

impl Serve<EchoProtocol> for Echo {
    async fn handle(self: Arc<Self>, caller: NodeId, message: EchoMessage) {
        self.handled.fetch_add(1, Ordering::SeqCst);
        match message {
            EchoMessage::Say(WithChannels { inner, tx, .. }) => drop(tx.send(inner.0).await),
            EchoMessage::Who(WithChannels { tx, .. }) => drop(tx.send(caller).await),
            EchoMessage::Panic(WithChannels { tx: _held, .. }) => panic!("as asked"),
            EchoMessage::Count(WithChannels { inner, tx, .. }) => {
                for n in 0..inner.0 {
                    if tx.send(n).await.is_err() {
                        return;
                    }
                }
            }
            EchoMessage::Hold(WithChannels { tx, .. }) => {
                self.release.notified().await;
                drop(tx.send(()).await);
            }
        }
    }
}

pub(crate) fn config() -> MeshConfig {
    let mut config = MeshConfig::new(SecretKey::generate(), Arc::new(AllowAll));
    config.bind = vec!["127.0.0.1:0".parse().expect("an address")];
    config
}

pub(crate) async fn node() -> Mesh {
    MeshBuilder::bind(config()).await.expect("bound").start()
}

pub(crate) async fn echo_node() -> (Mesh, Arc<Echo>) {
    echo_node_with(config(), RpcLimits::default()).await
}

pub(crate) async fn echo_node_with(config: MeshConfig, limits: RpcLimits) -> (Mesh, Arc<Echo>) {
    let echo = Arc::new(Echo::default());
    let mesh =
        MeshBuilder::bind(config).await.expect("bound").serve::<EchoProtocol>(ECHO, limits, echo.clone()).start();
    (mesh, echo)
}

pub(crate) async fn say(client: &protocols::Client<EchoProtocol>, text: &'static str) -> Result<Bytes, irpc::Error> {
    client.rpc(Say(Bytes::from_static(text.as_bytes()))).await
}

/// Lets in whoever is on a list that can change.
#[derive(Debug, Default)]
pub(crate) struct Members(pub(crate) Mutex<HashSet<NodeId>>);

impl Access for Members {
    fn allows(&self, peer: NodeId, _alpn: &[u8]) -> bool {
        self.0.lock().expect("not poisoned").contains(&peer)
    }
}

/// Waits until `condition` holds.
pub(crate) async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + SOON;
    while !condition() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// An endpoint on loopback that has nothing of ours, for those who speak another way than we do.
pub(crate) async fn bare_endpoint() -> iroh::Endpoint {
    iroh::Endpoint::builder(iroh::endpoint::presets::Minimal)
        .clear_ip_transports()
        .bind_addr("127.0.0.1:0")
        .expect("an address")
        .bind()
        .await
        .expect("bound")
}
