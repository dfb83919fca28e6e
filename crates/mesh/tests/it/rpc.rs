//! Requests: bad streams, slow peers, panicking handlers and limits, next to well-behaved ones.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use iroh::endpoint::Connection;
use iroh::{Endpoint, EndpointAddr};
use mesh::{Mesh, RpcLimits};
use tokio::time::timeout;

use crate::support::{
    Count, ECHO, EchoProtocol, Hold, Panic, SOON, Say, bare_endpoint, config, echo_node, echo_node_with, node, say,
    until,
};

/// A peer that speaks QUIC and no manners.
async fn rude(server: &Mesh) -> (Endpoint, Connection) {
    let endpoint = bare_endpoint().await;
    let id = iroh::EndpointId::from_bytes(server.id().as_bytes()).expect("a key");
    let addr = server.bound().into_iter().fold(EndpointAddr::new(id), EndpointAddr::with_ip_addr);
    let connection = endpoint.connect(addr, ECHO).await.expect("connected");
    (endpoint, connection)
}

/// How a stream was answered: the code it was reset with, or what it said.
async fn answer(mut recv: iroh::endpoint::RecvStream) -> Result<Vec<u8>, Option<u64>> {
    match timeout(SOON, recv.read_to_end(1 << 20)).await.expect("answered in time") {
        Ok(bytes) => Ok(bytes),
        Err(iroh::endpoint::ReadToEndError::Read(iroh::endpoint::ReadError::Reset(code))) => {
            Err(Some(code.into_inner()))
        }
        Err(_) => Err(None),
    }
}

fn short() -> RpcLimits {
    RpcLimits { request_bytes: 64 * 1024, read_timeout: Duration::from_millis(500), ..RpcLimits::default() }
}

#[tokio::test]
async fn garbage_resets_its_stream_only() {
    let (server, _echo) = echo_node().await;
    let (endpoint, connection) = rude(&server).await;
    for garbage in [&b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"[..], b"\x03\x63\x00\x00", b"\x05ab"] {
        let (mut send, recv) = connection.open_bi().await.expect("opened");
        send.write_all(garbage).await.expect("written");
        send.finish().expect("finished");
        let code = answer(recv).await.expect_err("reset");
        assert!(matches!(code, Some(400 | 413)), "{code:?} for {garbage:?}");
    }
    // The same connection still serves a good request: length 8, variant 0, five bytes.
    let (mut send, recv) = connection.open_bi().await.expect("opened");
    send.write_all(b"\x07\x00\x05hello").await.expect("written");
    assert_eq!(answer(recv).await.expect("answered"), b"\x06\x05hello");
    endpoint.close().await;
    server.close().await;
}

#[tokio::test]
async fn a_larger_request_than_allowed_is_refused_before_it_is_read() {
    let (server, echo) = echo_node_with(config(), short()).await;
    let (endpoint, connection) = rude(&server).await;
    let (mut send, recv) = connection.open_bi().await.expect("opened");
    send.write_all(b"\xff\xff\xff\x07").await.expect("announces 16 MiB");
    assert_eq!(answer(recv).await, Err(Some(413)));
    endpoint.close().await;

    let client = node().await;
    let rpc = client.client::<EchoProtocol>(server.addr(), ECHO);
    rpc.rpc(Say(Bytes::from(vec![0; 65 * 1024]))).await.expect_err("too large");
    let fits = Bytes::from(vec![7; 60 * 1024]);
    assert_eq!(rpc.rpc(Say(fits.clone())).await.expect("answered"), fits);
    assert_eq!(echo.handled.load(Ordering::SeqCst), 1);
    client.close().await;
    server.close().await;
}

#[tokio::test]
async fn half_open_and_slow_streams_do_not_disturb_others() {
    let (server, _echo) = echo_node_with(config(), short()).await;
    let (endpoint, connection) = rude(&server).await;
    let mut held = Vec::new();
    for _ in 0..20 {
        let (mut send, recv) = connection.open_bi().await.expect("opened");
        send.write_all(b"\x0a").await.expect("announces ten bytes");
        held.push((send, recv));
    }
    // One that sends a byte now and then is slow, not alive.
    let (mut send, recv) = connection.open_bi().await.expect("opened");
    let dripping = tokio::spawn(async move {
        send.write_all(b"\x7f\x00").await?;
        loop {
            tokio::time::sleep(Duration::from_millis(50)).await;
            send.write_all(b"x").await?;
        }
        #[allow(unreachable_code)]
        Ok::<_, iroh::endpoint::WriteError>(())
    });
    // The same connection and others are served meanwhile.
    let (mut good, answered) = connection.open_bi().await.expect("opened");
    good.write_all(b"\x07\x00\x05hello").await.expect("written");
    assert_eq!(answer(answered).await.expect("answered"), b"\x06\x05hello");
    let client = node().await;
    let rpc = client.client::<EchoProtocol>(server.addr(), ECHO);
    assert_eq!(say(&rpc, "undisturbed").await.expect("answered"), "undisturbed");

    assert_eq!(answer(recv).await, Err(Some(408)));
    timeout(SOON, dripping).await.expect("stopped").expect("joined").expect_err("told to stop");
    for (_send, recv) in held {
        assert_eq!(answer(recv).await, Err(Some(408)));
    }
    endpoint.close().await;
    client.close().await;
    server.close().await;
}

#[tokio::test]
async fn a_panicking_handler_fails_its_request_and_nothing_else() {
    let (server, _echo) = echo_node().await;
    let client = node().await;
    let rpc = client.client::<EchoProtocol>(server.addr(), ECHO);
    for _ in 0..3 {
        rpc.rpc(Panic).await.expect_err("it panicked");
        assert_eq!(say(&rpc, "fine").await.expect("answered"), "fine");
    }
    // New connections are accepted, too: the router lives.
    let other = node().await;
    let rpc = other.client::<EchoProtocol>(server.addr(), ECHO);
    assert_eq!(say(&rpc, "fine").await.expect("answered"), "fine");
    assert!(server.is_serving());
    for mesh in [client, other, server] {
        mesh.close().await;
    }
}

#[tokio::test]
async fn requests_above_the_limit_wait_their_turn() {
    let limits = RpcLimits { concurrent: 4, ..RpcLimits::default() };
    let (server, echo) = echo_node_with(config(), limits).await;
    let client = node().await;
    let rpc = client.client::<EchoProtocol>(server.addr(), ECHO);
    let calls: Vec<_> = (0..12)
        .map(|_| {
            let rpc = rpc.clone();
            tokio::spawn(async move { rpc.rpc(Hold).await })
        })
        .collect();
    until("four are held", || echo.handled.load(Ordering::SeqCst) == 4).await;
    // Another peer has its own share.
    let other = node().await;
    let theirs = other.client::<EchoProtocol>(server.addr(), ECHO);
    assert_eq!(say(&theirs, "me too").await.expect("answered"), "me too");
    assert_eq!(echo.handled.load(Ordering::SeqCst), 5, "no fifth of the first peer was started");
    let releasing = tokio::spawn({
        let echo = echo.clone();
        async move {
            loop {
                echo.release.notify_waiters();
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    });
    for call in calls {
        timeout(SOON, call).await.expect("in time").expect("joined").expect("answered");
    }
    releasing.abort();
    for mesh in [client, other, server] {
        mesh.close().await;
    }
}

#[tokio::test]
async fn a_newer_connection_takes_the_place_of_the_oldest() {
    let limits = RpcLimits { connections: 2, ..RpcLimits::default() };
    let (server, _echo) = echo_node_with(config(), limits).await;
    let client = node().await;
    client.learn(server.addr());
    let mut clients = Vec::new();
    for _ in 0..4 {
        let fresh = client.fresh_client::<EchoProtocol>(server.id(), ECHO).await.expect("connected");
        say(&fresh, "hello").await.expect("the newest is served");
        clients.push(fresh);
    }
    let newest = clients.pop().expect("four were made");
    say(&newest, "still").await.expect("answered");
    say(&clients[0], "old").await.expect_err("replaced");
    client.close().await;
    server.close().await;
}

#[tokio::test]
async fn streams_carry_many_items_and_end_when_dropped() {
    let (server, _echo) = echo_node().await;
    let client = node().await;
    let rpc = client.client::<EchoProtocol>(server.addr(), ECHO);
    let mut items = rpc.server_streaming(Count(1000), 16).await.expect("started");
    let mut expected = 0;
    while let Some(n) = timeout(SOON, items.recv()).await.expect("in time").expect("received") {
        assert_eq!(n, expected);
        expected += 1;
    }
    assert_eq!(expected, 1000);
    let endless = rpc.server_streaming(Count(u32::MAX), 16).await.expect("started");
    drop(endless);
    assert_eq!(say(&rpc, "free").await.expect("answered"), "free");
    client.close().await;
    server.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_clients_at_once() {
    let (server, echo) = echo_node().await;
    let server = Arc::new(server);
    let addr = server.addr();
    let tasks: Vec<_> = (0..20)
        .map(|_| {
            let addr = addr.clone();
            tokio::spawn(async move {
                let client = node().await;
                let rpc = client.client::<EchoProtocol>(addr, ECHO);
                for _ in 0..20 {
                    assert_eq!(say(&rpc, "x").await.expect("answered"), "x");
                }
                client.close().await;
            })
        })
        .collect();
    for task in tasks {
        timeout(SOON * 2, task).await.expect("in time").expect("joined");
    }
    assert_eq!(echo.handled.load(Ordering::SeqCst), 400);
    server.close().await;
}

/// Answers each request with these bytes, cut into pieces that are sent apart, and ends the stream or not.
#[derive(Debug, Clone)]
struct Says {
    bytes: Vec<u8>,
    piece: usize,
    ends: bool,
}

impl iroh::protocol::ProtocolHandler for Says {
    async fn accept(&self, connection: Connection) -> Result<(), iroh::protocol::AcceptError> {
        let mut held = Vec::new();
        while let Ok((mut send, mut recv)) = connection.accept_bi().await {
            drop(recv.read_to_end(1 << 20).await);
            for piece in self.bytes.chunks(self.piece) {
                drop(send.write_all(piece).await);
                tokio::task::yield_now().await;
            }
            if self.ends {
                drop(send.finish());
            } else {
                held.push((send, recv));
            }
        }
        Ok(())
    }
}

async fn told(says: Says) -> Result<Bytes, String> {
    let server = bare_endpoint().await;
    let id = protocols::NodeId::from_bytes(*server.id().as_bytes());
    let addr = protocols::PeerAddr { id, addrs: server.bound_sockets(), relay: None };
    let router = iroh::protocol::Router::builder(server).accept(ECHO, says).spawn();
    let client = node().await;
    let answer = timeout(SOON, say(&client.client(addr, ECHO), "hello")).await.expect("an end");
    client.close().await;
    drop(router.shutdown().await);
    answer.map_err(|why| format!("{:#}", n0_error::AnyError::from_std(why)))
}

/// An answer as irpc writes it: the length of the value, and the value, which here is bytes with their own length.
fn written(text: &[u8]) -> Vec<u8> {
    let value = postcard::to_stdvec(&Bytes::copy_from_slice(text)).expect("encoded");
    [postcard::to_stdvec(&(value.len() as u64)).expect("encoded"), value].concat()
}

#[tokio::test]
async fn an_answer_may_come_in_any_pieces() {
    for (size, piece) in [(0, 1), (63, 1), (200, 1), (200, 3), (20_000, 1000), (300_000, 65_537), (300_000, 400_000)] {
        let text: Vec<u8> = (0..size).map(|n: u32| n as u8).collect();
        let says = Says { bytes: written(&text), piece, ends: true };
        assert_eq!(told(says).await.as_deref(), Ok(&text[..]), "{size} bytes in pieces of {piece}");
    }
}

#[tokio::test]
async fn an_answer_that_is_none_is_an_error_and_costs_no_memory() {
    let whole = written(b"hello");
    let huge = |length: u64| [postcard::to_stdvec(&length).expect("encoded"), vec![7; 100]].concat();
    for (what, bytes, ends, expected) in [
        ("nothing", Vec::new(), true, "before its end"),
        ("half of it", whole[..4].to_vec(), true, "before its end"),
        ("half a length", vec![0x80], true, "before its end"),
        ("a length without end", vec![0xff; 20], false, ""),
        ("16 EB announced", huge(u64::MAX), false, "too large"),
        ("16 MB announced, and its end", huge(16 << 20), true, "before its end"),
        ("more than it", [&whole[..], b"x"].concat(), true, "more than the answer"),
        ("another value", vec![2, 9, 1], true, ""),
    ] {
        let refused = told(Says { bytes, piece: 1 << 20, ends }).await.expect_err(what);
        assert!(refused.contains(expected), "{what}: {refused}");
    }
}
