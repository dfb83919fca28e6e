//! Hosts on one switch, and what can go wrong with their cables.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use testkit::{DEADLINE, Lan, Namespace, Quality, require, until};

const PORT: u16 = 7000;

/// Answers every datagram with itself, for as long as the socket's owner wants: a socket and a thread.
fn echo(namespace: &Namespace) {
    let socket = namespace.enter(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, PORT)).unwrap());
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 2048];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let _sent = socket.send_to(&buffer[..length], from);
        }
    });
}

/// Sends datagrams one after another and says how long each answer took; lost ones are not in the list.
fn ask(namespace: &Namespace, address: Ipv4Addr, count: u32, patience: Duration) -> Vec<Duration> {
    let socket = namespace.enter(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap());
    socket.set_read_timeout(Some(patience)).unwrap();
    let mut times = Vec::new();
    let mut buffer = [0; 64];
    for number in 0..count {
        let begun = Instant::now();
        if socket.send_to(&number.to_be_bytes(), (address, PORT)).is_err() {
            continue;
        }
        // An answer to an earlier question is not one to this.
        while let Ok(length) = socket.recv(&mut buffer) {
            if buffer[..length] == number.to_be_bytes() {
                times.push(begun.elapsed());
                break;
            }
        }
    }
    times
}

fn reaches(from: &Namespace, to: Ipv4Addr) -> bool {
    !ask(from, to, 1, Duration::from_millis(200)).is_empty()
}

fn connects(from: &Namespace, to: Ipv4Addr) -> Result<(), ErrorKind> {
    let address = (to, PORT).into();
    from.enter(|| TcpStream::connect_timeout(&address, Duration::from_millis(500)).map(drop).map_err(|e| e.kind()))
}

#[test]
fn faults_of_a_port_come_and_go() {
    if !require("faults_of_a_port_come_and_go", testkit::NETWORK) {
        return;
    }
    let mut lan = Lan::new(2);
    echo(lan.host(1));
    let listener = lan.host(1).enter(|| TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT)).unwrap());
    let (host, to) = (lan.host(0), lan.address(1));
    until("the hosts to reach each other", DEADLINE, || reaches(host, to));
    assert_eq!(connects(host, to), Ok(()));

    lan.port(1).block();
    assert!(!reaches(host, to));
    assert_eq!(connects(host, to), Err(ErrorKind::TimedOut));
    lan.port(1).unblock();
    until("the hosts to reach each other after a block", DEADLINE, || reaches(host, to));

    lan.port(0).drop_udp(true);
    assert!(!reaches(host, to));
    assert_eq!(connects(host, to), Ok(()));
    lan.port(0).drop_udp(false);
    lan.port(0).drop_tcp(true);
    assert!(reaches(host, to));
    assert_eq!(connects(host, to), Err(ErrorKind::TimedOut));

    lan.port(0).heal();
    lan.port(1).down();
    assert!(!reaches(host, to));
    lan.port(1).up();
    until("the hosts to reach each other over the cable that is back", DEADLINE, || reaches(host, to));

    lan.port(1).lose_to(100);
    assert!(!reaches(host, to));
    lan.port(1).lose_to(30);
    let answered = ask(host, to, 200, Duration::from_millis(50)).len();
    assert!((60..190).contains(&answered), "{answered} of 200 answered at a loss of 30 %");
    lan.port(1).heal();

    let moved = Ipv4Addr::new(10, 77, 0, 99);
    lan.set_address(1, moved);
    assert!(!reaches(lan.host(0), to));
    until("the host at its new address", DEADLINE, || reaches(lan.host(0), moved));
    assert_eq!(lan.address(1), moved);
    drop(listener);
}

#[test]
fn a_rate_is_kept() {
    if !require("a_rate_is_kept", testkit::NETWORK) {
        return;
    }
    const BYTES: usize = 500_000;
    let lan = Lan::new(2);
    let listener = lan.host(1).enter(|| TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT)).unwrap());
    let transfer = || {
        let begun = Instant::now();
        let address = (lan.address(1), PORT).into();
        let mut stream = lan.host(0).enter(|| TcpStream::connect_timeout(&address, DEADLINE).unwrap());
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::io::Write::write_all(&mut stream, &vec![0; BYTES]).unwrap();
                stream.shutdown(std::net::Shutdown::Write).unwrap();
            });
            let (mut incoming, _) = listener.accept().unwrap();
            incoming.set_read_timeout(Some(DEADLINE)).unwrap();
            let mut received = Vec::new();
            std::io::Read::read_to_end(&mut incoming, &mut received).unwrap();
            assert_eq!(received.len(), BYTES);
        });
        begun.elapsed()
    };
    // 4 Mbit at 4 Mbit/s take a second, less what the burst lets through.
    lan.port(0).rate(Some(4000));
    let limited = transfer();
    assert!(limited > Duration::from_millis(800), "{limited:?}");
    lan.port(0).rate(None);
    let free = transfer();
    assert!(free < limited, "{free:?} without a limit, {limited:?} with one");
}

#[test]
fn a_cable_delays_and_loses() {
    if !require("a_cable_delays_and_loses", testkit::NETWORK) {
        return;
    }
    let far = Namespace::new("far");
    let mut lan = Lan::new(1);
    let quality = Quality { delay: Duration::from_millis(20), jitter: Duration::from_millis(5), loss: 0.0 };
    let number = lan.attach_by(&far, quality);
    echo(&far);
    let to = lan.address(number);
    until("the far host to answer", DEADLINE, || reaches(lan.host(0), to));
    let times = ask(lan.host(0), to, 20, Duration::from_secs(5));
    assert_eq!(times.len(), 20);
    let shortest = times.iter().min().unwrap();
    assert!((Duration::from_millis(40)..Duration::from_millis(200)).contains(shortest), "{shortest:?}");

    lan.port(number).set_quality(Quality { loss: 50.0, ..Quality::default() });
    let answered = ask(lan.host(0), to, 100, Duration::from_millis(50)).len();
    assert!((5..60).contains(&answered), "{answered} of 100 answered at a loss of 50 % in both directions");
}

#[test]
fn a_runtime_lives_in_a_namespace() {
    if !require("a_runtime_lives_in_a_namespace", testkit::NETWORK) {
        return;
    }
    let lan = Lan::new(2);
    let listener = lan.host(1).enter(|| TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT)).unwrap());
    let address = (lan.address(1), PORT);
    let peer = lan.host(0).block_on(async move {
        let task = tokio::spawn(async move { tokio::net::TcpStream::connect(address).await.unwrap() });
        let here = tokio::time::timeout(DEADLINE, task).await.unwrap().unwrap().local_addr().unwrap();
        let blocking = tokio::task::spawn_blocking(move || TcpStream::connect(address).map(drop));
        blocking.await.unwrap().unwrap();
        here.ip()
    });
    assert_eq!(peer, lan.address(0));
    drop(listener);
}
