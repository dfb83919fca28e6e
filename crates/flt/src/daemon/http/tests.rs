use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;
use crate::config::Role;
use crate::daemon::metrics::Sample;

/// Far above all deadlines of the server.
const PATIENCE: Duration = Duration::from_secs(60);

async fn start(registry: &Registry) -> Server {
    let any = "127.0.0.1:0".parse().unwrap();
    Server::bind(any, registry.clone(), &CancellationToken::new()).await.unwrap()
}

/// Sends bytes and gives everything that comes back until the server hangs up.
async fn send(server: &Server, request: &[u8]) -> String {
    let talk = async {
        let mut stream = TcpStream::connect(server.addr()).await.unwrap();
        stream.write_all(request).await.unwrap();
        let mut answer = Vec::new();
        // A server that hangs up on unread bytes resets the connection, which is an end as well.
        let ended = stream.read_to_end(&mut answer).await;
        drop(ended);
        String::from_utf8_lossy(&answer).into_owned()
    };
    tokio::time::timeout(PATIENCE, talk).await.unwrap()
}

async fn get(server: &Server, path: &str) -> String {
    send(server, format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes()).await
}

#[tokio::test]
async fn serves_metrics_and_health() {
    let registry = Registry::new(Role::Coordinator);
    registry.add(Box::new(|| vec![Sample::gauge("flt_nodes", "Nodes.", 3.0)]));
    let server = start(&registry).await;
    let metrics = get(&server, "/metrics").await;
    assert!(metrics.starts_with("HTTP/1.1 200 OK") && metrics.contains("text/plain; version=0.0.4"), "{metrics}");
    assert!(metrics.contains("\nflt_nodes 3\n") && metrics.contains("role=\"coordinator\"} 1\n"), "{metrics}");

    assert!(get(&server, "/healthz").await.starts_with("HTTP/1.1 503"), "not ready yet");
    registry.set_ready();
    assert!(get(&server, "/healthz").await.starts_with("HTTP/1.1 200"));
    registry.add_condition(Box::new(|| Err("the disk is full".into())));
    let sick = get(&server, "/healthz").await;
    assert!(sick.starts_with("HTTP/1.1 503") && sick.contains("unhealthy: the disk is full"), "{sick}");

    assert!(get(&server, "/etc/passwd").await.starts_with("HTTP/1.1 404"));
    assert!(send(&server, b"POST /metrics HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n").await.contains("405"));
    server.stop().await;
}

#[tokio::test]
async fn survives_garbage_and_requests_that_never_end() {
    let registry = Registry::new(Role::Agent);
    let server = start(&registry).await;
    let mut hanging = TcpStream::connect(server.addr()).await.unwrap();
    hanging.write_all(b"GET /metrics HTTP/1.1\r\nx: ").await.unwrap();
    send(&server, b"\x16\x03\x01\x02\x00nonsense\r\n\r\n").await;
    let mut huge = b"GET /metrics HTTP/1.1\r\nx: ".to_vec();
    huge.resize(REQUEST_BYTES_MAX * 4, b'a');
    send(&server, &huge).await;
    assert!(get(&server, "/metrics").await.starts_with("HTTP/1.1 200"));
    let mut rest = Vec::new();
    let closed = tokio::time::timeout(PATIENCE, hanging.read_to_end(&mut rest)).await;
    assert!(closed.is_ok(), "a half request is dropped at its deadline");
    assert!(get(&server, "/metrics").await.starts_with("HTTP/1.1 200"));
    server.stop().await;
}
