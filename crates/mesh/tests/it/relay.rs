//! The relay: by HTTP and HTTPS, for members only, with errors that say what is wrong.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mesh::net::{MeshConfig, OnlineError, RelayRef, Via};
use mesh::relay::{RelayError, RelayServer, RelayServerConfig, RelayTls};
use mesh::{MeshBuilder, RpcLimits};
use protocols::{NodeId, PeerAddr};

use crate::support::{ECHO, EchoProtocol, SOON, config, echo_node_with, say, until};

fn loopback() -> SocketAddr {
    "127.0.0.1:0".parse().expect("an address")
}

fn http() -> RelayServerConfig {
    RelayServerConfig {
        listen: loopback(),
        quic_listen: None,
        tls: RelayTls::PlainHttp { allow_public: false },
        access: Arc::new(|_: NodeId, _: Option<&str>| true),
    }
}

fn relay_only(relay: RelayRef) -> MeshConfig {
    let mut config = config();
    config.relay_only = true;
    config.relays = vec![relay];
    config
}

async fn echo_through(relay: &RelayServer) {
    let reference = relay.reference("127.0.0.1");
    let (server, _echo) = echo_node_with(relay_only(reference.clone()), RpcLimits::default()).await;
    let client = MeshBuilder::bind(relay_only(reference.clone())).await.expect("bound").start();
    server.online(SOON).await.expect("online");
    client.online(SOON).await.expect("online");
    assert!(server.relay_health().iter().any(|r| r.connected));
    assert!(server.addr().relay.is_some(), "{:?}", server.addr());
    assert!(server.addr().addrs.is_empty(), "no direct address: {:?}", server.addr());
    let rpc = client.client::<EchoProtocol>(server.addr(), ECHO);
    assert_eq!(say(&rpc, "relayed").await.expect("answered"), "relayed");
    let paths = client.paths(server.id());
    assert!(!paths.is_empty() && paths.iter().all(|p| matches!(p.via, Via::Relay(_))), "{paths:?}");
    client.close().await;
    server.close().await;
}

#[tokio::test]
async fn echo_through_a_plain_relay_on_loopback() {
    let relay = RelayServer::start(http()).await.expect("started");
    assert_eq!(relay.root_der(), None);
    echo_through(&relay).await;
    relay.shutdown().await;
}

#[tokio::test]
async fn echo_through_a_relay_with_a_pinned_root() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut secure = http();
    secure.tls = RelayTls::SelfSigned { dir: dir.path().into(), names: vec!["127.0.0.1".into(), "localhost".into()] };
    secure.quic_listen = Some(loopback());
    let relay = RelayServer::start(secure).await.expect("started");
    assert!(relay.reference("127.0.0.1").url.starts_with("https://"));
    assert!(relay.quic_addr().is_some());
    echo_through(&relay).await;
    relay.shutdown().await;
}

#[tokio::test]
async fn a_wrong_pin_is_named() {
    let (dir, other) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let tls =
        |dir: &tempfile::TempDir| RelayTls::SelfSigned { dir: dir.path().into(), names: vec!["127.0.0.1".into()] };
    let (mut one, mut two) = (http(), http());
    one.tls = tls(&dir);
    two.tls = tls(&other);
    let relay = RelayServer::start(one).await.expect("started");
    let stranger = RelayServer::start(two).await.expect("started");
    let mut reference = relay.reference("127.0.0.1");
    reference.ca_der = stranger.root_der().map(<[u8]>::to_vec);
    let client = MeshBuilder::bind(relay_only(reference)).await.expect("bound").start();
    let failed = client.online(Duration::from_secs(3)).await.expect_err("not trusted");
    assert!(matches!(&failed, OnlineError::Certificate { why, .. } if why.contains("certificate")), "{failed}");
    client.close().await;
    relay.shutdown().await;
    stranger.shutdown().await;
}

#[tokio::test]
async fn nobody_at_the_relay_is_named() {
    let relay = RelayServer::start(http()).await.expect("started");
    let reference = relay.reference("127.0.0.1");
    relay.shutdown().await;
    let client = MeshBuilder::bind(relay_only(reference)).await.expect("bound").start();
    let failed = client.online(Duration::from_secs(2)).await.expect_err("nobody there");
    assert!(matches!(failed, OnlineError::Unreachable { .. }), "{failed}");
    client.close().await;
}

#[tokio::test]
async fn the_relay_serves_members_and_invited_only() {
    let mut members = http();
    members.access = Arc::new(|_: NodeId, token: Option<&str>| token == Some("invited"));
    let relay = RelayServer::start(members).await.expect("started");
    let reference = relay.reference("127.0.0.1");
    let stranger = MeshBuilder::bind(relay_only(reference.clone())).await.expect("bound").start();
    let failed = stranger.online(Duration::from_secs(5)).await.expect_err("not a member");
    assert!(matches!(&failed, OnlineError::Refused { reason, .. } if reason.contains("member")), "{failed}");
    let mut invited = relay_only(reference);
    invited.relay_token = Some("invited".into());
    let invited = MeshBuilder::bind(invited).await.expect("bound").start();
    invited.online(SOON).await.expect("let in");
    for mesh in [stranger, invited] {
        mesh.close().await;
    }
    relay.shutdown().await;
}

#[tokio::test]
async fn a_node_comes_back_online_after_its_relay_did() {
    let known = Arc::new(AtomicBool::new(true));
    let access = known.clone();
    let mut config = http();
    config.access = Arc::new(move |_: NodeId, _: Option<&str>| access.load(Ordering::SeqCst));
    let relay = RelayServer::start(config.clone()).await.expect("started");
    let reference = relay.reference("127.0.0.1");
    config.listen = relay.addr();
    let (server, _echo) = echo_node_with(relay_only(reference.clone()), RpcLimits::default()).await;
    server.online(SOON).await.expect("online");
    relay.shutdown().await;
    until("the loss is noticed", || server.relay_health().iter().all(|r| !r.connected)).await;
    let relay = RelayServer::start(config).await.expect("started again");
    until("the session is back", || server.relay_health().iter().any(|r| r.connected)).await;
    let client = MeshBuilder::bind(relay_only(reference.clone())).await.expect("bound").start();
    client.online(SOON).await.expect("online");
    let peer = PeerAddr { id: server.id(), addrs: vec![], relay: Some(reference.url) };
    let rpc = client.client::<EchoProtocol>(peer, ECHO);
    assert_eq!(say(&rpc, "again").await.expect("answered"), "again");
    client.close().await;
    server.close().await;
    relay.shutdown().await;
}

#[tokio::test]
async fn plain_http_in_public_and_quic_without_tls_are_refused() {
    let mut public = http();
    public.listen = "0.0.0.0:0".parse().expect("an address");
    assert!(matches!(RelayServer::start(public).await, Err(RelayError::PlainHttp(_))));
    let mut quic = http();
    quic.quic_listen = Some(loopback());
    assert!(matches!(RelayServer::start(quic).await, Err(RelayError::QuicWithoutTls)));
}
