//! Two NATs: what passes them, and what does not.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use testkit::{DEADLINE, Namespace, Nat, Side, TwoNats, require};

const RELAY_PORT: u16 = 3478;
const PORT: u16 = 7000;

/// What one side found out by talking to the relay and then to the other side.
#[derive(Debug)]
struct Found {
    relayed: bool,
    direct: bool,
}

/// Tells both sides each other's public addresses and passes on what they send for each other.
fn relay(socket: &UdpSocket, done: &AtomicBool) {
    let mut sides: [Option<SocketAddr>; 2] = [None; 2];
    let mut buffer = [0; 64];
    while !done.load(Ordering::Relaxed) {
        let Ok((length, from)) = socket.recv_from(&mut buffer) else { continue };
        let Ok(text) = std::str::from_utf8(&buffer[..length]) else { continue };
        let side = usize::from(text.ends_with('b'));
        sides[side] = Some(from);
        let Some(other) = sides[1 - side] else { continue };
        let _sent = socket.send_to(other.to_string().as_bytes(), from);
        if text.starts_with("relay") {
            let _sent = socket.send_to(b"relayed", other);
        }
    }
}

/// Sends to the relay and to wherever it says the other side is, until both ways answered or the patience is over.
fn peer(namespace: &Namespace, name: &str, patience: Duration) -> Found {
    let socket = namespace.enter(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, PORT)).unwrap());
    socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    let relay = SocketAddr::from((TwoNats::RELAY, RELAY_PORT));
    let (mut found, mut other) = (Found { relayed: false, direct: false }, None::<SocketAddr>);
    let mut buffer = [0; 64];
    let begun = Instant::now();
    let mut last = None;
    while begun.elapsed() < patience {
        let _sent = socket.send_to(format!("relay {name}").as_bytes(), relay);
        if let Some(other) = other {
            let _sent = socket.send_to(b"direct", other);
        }
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            match &buffer[..length] {
                b"relayed" => found.relayed = true,
                b"direct" => {
                    assert_ne!(from, relay);
                    found.direct = true;
                }
                address => other = std::str::from_utf8(address).unwrap().parse().ok(),
            }
        }
        // The other side may need a few more of ours to find us.
        if found.relayed && found.direct && last.is_none() {
            last = Some(Instant::now());
        }
        if last.is_some_and(|last: Instant| last.elapsed() > Duration::from_millis(300)) {
            break;
        }
    }
    found
}

fn meet(nats: &TwoNats, patience: Duration) -> [Found; 2] {
    let socket = nats.public().enter(|| UdpSocket::bind((TwoNats::RELAY, RELAY_PORT)).unwrap());
    socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| relay(&socket, &done));
        let b = scope.spawn(|| peer(nats.b(), "b", patience));
        let a = peer(nats.a(), "a", patience);
        let b = b.join().unwrap();
        done.store(true, Ordering::Relaxed);
        [a, b]
    })
}

#[test]
fn tcp_reaches_the_public_network_and_not_the_other_side() {
    if !require("tcp_reaches_the_public_network_and_not_the_other_side", testkit::NETWORK) {
        return;
    }
    let nats = TwoNats::new(Nat::PortPreserving);
    let listen = |at: &Namespace| at.enter(|| TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT)).unwrap());
    let (relay, _b, _nat) = (listen(nats.public()), listen(nats.b()), listen(nats.router(Side::B)));
    let connect = |to: Ipv4Addr, patience| {
        let address = (to, PORT).into();
        nats.a().enter(|| TcpStream::connect_timeout(&address, patience).map_err(|error| error.kind()))
    };
    let stream = connect(TwoNats::RELAY, DEADLINE).unwrap();
    assert_eq!(stream.local_addr().unwrap().ip(), TwoNats::private_address(Side::A));
    let (_, seen) = relay.accept().unwrap();
    assert_eq!(seen.ip(), TwoNats::public_address(Side::A));

    let brief = Duration::from_millis(700);
    let public = connect(TwoNats::public_address(Side::B), brief).unwrap_err();
    assert_eq!(public, ErrorKind::TimedOut);
    let private = connect(TwoNats::private_address(Side::B), brief).unwrap_err();
    assert!(matches!(private, ErrorKind::NetworkUnreachable | ErrorKind::TimedOut | ErrorKind::HostUnreachable));

    let moved = Ipv4Addr::new(203, 0, 113, 150);
    nats.set_public_address(Side::A, moved);
    connect(TwoNats::RELAY, DEADLINE).unwrap();
    assert_eq!(relay.accept().unwrap().1.ip(), moved);
}

#[test]
fn udp_finds_a_direct_path_where_ports_are_preserved() {
    if !require("udp_finds_a_direct_path_where_ports_are_preserved", testkit::NETWORK) {
        return;
    }
    let nats = TwoNats::new(Nat::PortPreserving);
    for found in meet(&nats, DEADLINE) {
        assert!(found.direct && found.relayed, "{found:?}");
    }
}

#[test]
fn udp_finds_the_relay_alone_where_ports_are_random() {
    if !require("udp_finds_the_relay_alone_where_ports_are_random", testkit::NETWORK) {
        return;
    }
    let nats = TwoNats::new(Nat::FullyRandom);
    for found in meet(&nats, Duration::from_secs(2)) {
        assert!(found.relayed && !found.direct, "{found:?}");
    }
}
