//! Connecting: direct paths, who may connect, who may no longer, and peers that are not there.

use std::net::UdpSocket;
use std::sync::Arc;
use std::time::Duration;

use mesh::net::{BindError, OnlineError, ProbeError, RelayRef, Via};
use mesh::rpc::{ConnectError, LinkState, RpcLimits};
use mesh::{BoxFuture, MeshBuilder, Resolve};
use protocols::{NodeId, PeerAddr, SecretKey};
use tokio::time::Instant;

use crate::support::{ECHO, EchoProtocol, Members, SOON, Who, config, echo_node, echo_node_with, node, say, until};

#[tokio::test]
async fn echo_over_a_direct_path() {
    let (server, _echo) = echo_node().await;
    let client = node().await;
    let rpc = client.client::<EchoProtocol>(server.addr(), ECHO);
    assert_eq!(say(&rpc, "hello").await.expect("answered"), "hello");
    assert_eq!(rpc.rpc(Who).await.expect("answered"), client.id(), "the caller is the connection's key");
    let paths = client.paths(server.id());
    assert!(paths.iter().any(|p| matches!(p.via, Via::Direct(_)) && p.selected), "{paths:?}");
    assert!(client.connected().contains(&server.id()));
    client.close().await;
    server.close().await;
    assert!(!server.is_serving());
}

#[tokio::test]
async fn a_resolver_finds_a_peer_that_nobody_told_of() {
    struct Ask(PeerAddr);
    impl Resolve for Ask {
        fn resolve(&self, peer: NodeId) -> BoxFuture<'static, Option<PeerAddr>> {
            let found = (peer == self.0.id).then(|| self.0.clone());
            Box::pin(std::future::ready(found))
        }
    }
    let (server, _echo) = echo_node().await;
    let mut asking = config();
    asking.resolve = Some(Arc::new(Ask(server.addr())));
    let client = MeshBuilder::bind(asking).await.expect("bound").start();
    let rpc = client.client::<EchoProtocol>(server.id(), ECHO);
    assert_eq!(say(&rpc, "found").await.expect("answered"), "found");
    client.close().await;
    server.close().await;
}

#[tokio::test]
async fn access_is_asked_for_every_protocol() {
    const OTHER: &[u8] = b"flotilla-test/other/1";
    let members = Arc::new(Members::default());
    let mut closed = config();
    closed.access = members.clone();
    let echo = Arc::new(crate::support::Echo::default());
    let server = MeshBuilder::bind(closed)
        .await
        .expect("bound")
        .serve::<EchoProtocol>(ECHO, RpcLimits::default(), echo.clone())
        .serve::<EchoProtocol>(OTHER, RpcLimits::default(), echo.clone())
        .start();
    let client = node().await;
    for alpn in [ECHO, OTHER] {
        let refused = client.probe(server.addr(), alpn, SOON).await.expect_err("refused");
        assert!(matches!(refused, ProbeError::Refused { .. }), "{refused:?}");
        let rpc = client.client::<EchoProtocol>(server.addr(), alpn);
        say(&rpc, "let me in").await.expect_err("refused");
    }
    let link = client.link(server.id(), ECHO);
    until("the refusal shows in the link", || matches!(link.state(), LinkState::Failed(ConnectError::Refused { .. })))
        .await;
    assert_eq!(echo.handled.load(std::sync::atomic::Ordering::SeqCst), 0, "no request was read");

    members.0.lock().expect("held").insert(client.id());
    let rpc = client.client::<EchoProtocol>(server.id(), ECHO);
    assert_eq!(say(&rpc, "now").await.expect("answered"), "now");
    client.close().await;
    server.close().await;
}

#[tokio::test]
async fn a_revoked_peer_is_cut_and_stays_out() {
    let members = Arc::new(Members::default());
    let mut closed = config();
    closed.access = members.clone();
    let (server, echo) = echo_node_with(closed, RpcLimits::default()).await;
    let (good, bad) = (node().await, node().await);
    members.0.lock().expect("held").extend([good.id(), bad.id()]);
    let good_rpc = good.client::<EchoProtocol>(server.addr(), ECHO);
    let bad_rpc = bad.client::<EchoProtocol>(server.addr(), ECHO);
    say(&good_rpc, "a").await.expect("answered");
    say(&bad_rpc, "b").await.expect("answered");

    // A request that is being handled is cut, too.
    let held = tokio::spawn({
        let rpc = bad_rpc.clone();
        async move { rpc.rpc(crate::support::Hold).await }
    });
    until("it is held", || echo.handled.load(std::sync::atomic::Ordering::SeqCst) == 3).await;
    members.0.lock().expect("held").remove(&bad.id());
    assert_eq!(server.recheck(), 1);
    tokio::time::timeout(SOON, held).await.expect("in time").expect("joined").expect_err("cut");
    say(&bad_rpc, "again").await.expect_err("stays out");
    say(&good_rpc, "still").await.expect("others are not concerned");

    assert_eq!(server.drop_peer(good.id()), 1);
    until("the drop is noticed", || !good.link(server.id(), ECHO).is_up()).await;
    say(&good_rpc, "reconnected").await.expect("a member may come back");
    for mesh in [good, bad, server] {
        mesh.close().await;
    }
}

#[tokio::test]
async fn a_dead_peer_costs_no_more_than_the_deadline() {
    // A socket that answers nothing.
    let silent = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let mut impatient = config();
    impatient.connect_timeout = Duration::from_millis(700);
    let client = MeshBuilder::bind(impatient).await.expect("bound").start();
    let id = SecretKey::generate().id();
    let addr = PeerAddr { id, addrs: vec![silent.local_addr().expect("its address")], relay: None };
    let rpc = client.client::<EchoProtocol>(addr, ECHO);
    let started = Instant::now();
    // All of them wait for one dial, none for another's.
    let calls: Vec<_> = (0..20)
        .map(|_| {
            let rpc = rpc.clone();
            tokio::spawn(async move { say(&rpc, "hello?").await })
        })
        .collect();
    for call in calls {
        let failed = call.await.expect("joined").expect_err("nobody there");
        let text = format!("{failed:#}");
        assert!(text.contains("no answer from"), "{text}");
    }
    assert!(started.elapsed() < Duration::from_secs(10), "20 calls took {:?}", started.elapsed());
    let link = client.link(id, ECHO);
    assert!(matches!(link.state(), LinkState::Failed(ConnectError::Timeout { .. })), "{:?}", link.state());
    client.close().await;
}

#[tokio::test]
async fn an_unknown_peer_fails_at_once() {
    let client = node().await;
    let rpc = client.client::<EchoProtocol>(SecretKey::generate().id(), ECHO);
    let started = Instant::now();
    say(&rpc, "where are you").await.expect_err("nobody knows");
    assert!(started.elapsed() < Duration::from_secs(8), "took {:?}", started.elapsed());
    client.close().await;
}

#[tokio::test]
async fn a_peer_that_returns_is_dialed_again() {
    let key = SecretKey::generate();
    let mut first = config();
    first.key = key.clone();
    let (server, _echo) = echo_node_with(first, RpcLimits::default()).await;
    let client = node().await;
    let rpc = client.client::<EchoProtocol>(server.addr(), ECHO);
    say(&rpc, "one").await.expect("answered");
    server.close().await;
    say(&rpc, "two").await.expect_err("it is away");

    let mut second = config();
    second.key = key;
    let (server, _echo) = echo_node_with(second, RpcLimits::default()).await;
    client.learn(server.addr());
    let deadline = Instant::now() + SOON;
    while say(&rpc, "three").await.is_err() {
        assert!(Instant::now() < deadline, "never came back");
    }
    client.close().await;
    server.close().await;
}

#[tokio::test]
async fn a_fresh_client_uses_a_new_connection() {
    let (server, _echo) = echo_node().await;
    let client = node().await;
    let rpc = client.client::<EchoProtocol>(server.addr(), ECHO);
    say(&rpc, "shared").await.expect("answered");
    let before = server.recheck();
    assert_eq!(before, 0);
    let fresh = client.fresh_client::<EchoProtocol>(server.id(), ECHO).await.expect("connected");
    say(&fresh, "fresh").await.expect("answered");
    assert_eq!(server.drop_peer(client.id()), 2, "two connections were open");
    server.close().await;
    let mut gone = config();
    gone.connect_timeout = Duration::from_millis(500);
    client.fresh_client::<EchoProtocol>(server.id(), ECHO).await.expect_err("nothing answers any more");
    client.close().await;
}

#[tokio::test]
async fn bad_configuration_is_named() {
    let mut bad = config();
    bad.relays = vec![RelayRef { url: "ftp://relay.test".into(), ca_der: None, quic_port: None }];
    assert!(matches!(MeshBuilder::bind(bad).await, Err(BindError::RelayUrl { url, .. }) if url == "ftp://relay.test"));
    let mut nowhere = config();
    nowhere.relay_only = true;
    assert!(matches!(MeshBuilder::bind(nowhere).await, Err(BindError::NoTransport)));
    let taken = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let mut busy = config();
    busy.bind = vec![taken.local_addr().expect("its address")];
    assert!(MeshBuilder::bind(busy).await.is_err(), "the port is taken");
    let alone = node().await;
    assert_eq!(alone.online(Duration::from_secs(1)).await, Err(OnlineError::NoRelay));
    alone.close().await;
}
