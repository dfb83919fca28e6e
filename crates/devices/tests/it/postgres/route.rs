//! What leads clients to the primary.

use std::time::{Duration, Instant};

use devices::postgres::Route;
use testkit::DEADLINE;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::TOOLS;
use super::bed::Cluster;

/// A server that sends back what it gets, for as long as it lives.
async fn echo() -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut read, mut write) = stream.split();
                tokio::io::copy(&mut read, &mut write).await
            });
        }
    });
    address
}

async fn say(stream: &mut TcpStream, text: &[u8]) -> std::io::Result<Vec<u8>> {
    stream.write_all(text).await?;
    let mut answer = vec![0; text.len()];
    tokio::time::timeout(DEADLINE, stream.read_exact(&mut answer)).await.unwrap()?;
    Ok(answer)
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_end_at_once_when_their_primary_is_one_no_more() {
    let (one, two) = (echo().await, echo().await);
    let route = Route::listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
    route.lead_to(one);
    let mut clients = Vec::new();
    for _ in 0..20 {
        let mut client = TcpStream::connect(route.address()).await.unwrap();
        assert_eq!(say(&mut client, b"hello").await.unwrap(), b"hello");
        clients.push(client);
    }
    // The same again changes nothing.
    route.lead_to(one);
    assert_eq!(say(&mut clients[0], b"again").await.unwrap(), b"again");
    assert_eq!(route.connections(), 20);

    for end in [None, Some(two)] {
        let begun = Instant::now();
        match end {
            None => route.close(),
            Some(primary) => route.lead_to(primary),
        }
        for mut client in clients.drain(..) {
            let ended = tokio::time::timeout(DEADLINE, client.read(&mut [0; 8])).await.unwrap();
            assert!(!matches!(ended, Ok(1..)), "{ended:?}");
        }
        println!("closed after {} ms", begun.elapsed().as_millis());
        testkit::until_async("no connection to be led on", DEADLINE, async || route.connections() == 0).await;
        if end.is_none() {
            route.lead_to(one);
            let mut client = TcpStream::connect(route.address()).await.unwrap();
            assert_eq!(say(&mut client, b"hello").await.unwrap(), b"hello");
            clients.push(client);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_comes_to_the_primary_and_is_told_when_there_is_none() {
    if !testkit::require("a_client_comes_to_the_primary_and_is_told_when_there_is_none", TOOLS) {
        return;
    }
    let cluster = Cluster::new(&["a"]).await;
    let a = cluster.node("a");
    a.start(1, None).await;
    a.ask("SET password_encryption = 'scram-sha-256'; CREATE ROLE app LOGIN PASSWORD 'secret'").await;
    let route = Route::listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let psql = |wanted: &str| {
        let conninfo = format!(
            "host=127.0.0.1 port={} user=app dbname=postgres password=secret sslmode={wanted} connect_timeout=10",
            route.address().port()
        );
        let mut psql = std::process::Command::new("psql");
        let output = psql.args(["-XAtw", "-d", &conninfo, "-c", "SELECT current_user"]).output().unwrap();
        (
            String::from_utf8_lossy(&output.stdout).trim().to_owned(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    for mode in ["disable", "prefer"] {
        let (_, said) = psql(mode);
        assert!(said.contains("FATAL:  no node is writable at present"), "{said}");
    }
    route.lead_to(a.address);
    for mode in ["disable", "require"] {
        assert_eq!(psql(mode).0, "app", "{mode}: {}", psql(mode).1);
    }
    a.kill();
    let (_, said) = psql("disable");
    assert!(said.contains("the primary cannot be reached at present"), "{said}");

    // Who does not speak PostgreSQL's language costs nothing but a while.
    route.close();
    let mut stranger = TcpStream::connect(route.address()).await.unwrap();
    stranger.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(30), stranger.read(&mut [0; 8])).await.unwrap();
    assert!(!matches!(ended, Ok(1..)), "{ended:?}");
}
