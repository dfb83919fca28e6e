//! One HTTP GET with bounds on everything.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1;
use hyper::{Request, Uri, header};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Gets a URL and compares what comes.
pub(super) async fn get(url: &str, status: u16, contains: Option<&str>) -> Result<(), String> {
    match timeout(DEADLINE, exchange(url, status, contains)).await {
        Ok(result) => result,
        Err(_) => Err(format!("no answer within {} seconds", DEADLINE.as_secs())),
    }
}

async fn exchange(url: &str, status: u16, contains: Option<&str>) -> Result<(), String> {
    let uri: Uri = url.parse().map_err(|error| format!("the URL does not parse: {error}"))?;
    let authority = uri.authority().ok_or("the URL names no host")?;
    if uri.scheme_str() != Some("http") || authority.as_str().contains('@') {
        return Err("the URL should be `http://host[:port]/path`".into());
    }
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    let port = authority.port_u16().unwrap_or(80);
    let stream = TcpStream::connect((host, port)).await.map_err(|error| format!("cannot connect: {error}"))?;
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| format!("cannot speak HTTP: {error}"))?;
    let connection = Aborted(tokio::spawn(connection));
    let path = uri.path_and_query().map_or("/", hyper::http::uri::PathAndQuery::as_str);
    let request = Request::get(path)
        .header(header::HOST, authority.as_str())
        .header(header::USER_AGENT, "flotilla")
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|error| format!("the request cannot be made: {error}"))?;
    let answer = sender.send_request(request).await.map_err(|error| format!("no answer: {error}"))?;
    let found = answer.status().as_u16();
    let mut body = answer.into_body();
    let mut text = Vec::new();
    let wants_body = contains.is_some() || found != status;
    while wants_body && text.len() < BODY_BYTES_MAX {
        let Some(frame) = body.frame().await else { break };
        let frame = frame.map_err(|error| format!("the answer ends early: {error}"))?;
        if let Some(data) = frame.data_ref() {
            text.extend_from_slice(&data[..data.len().min(BODY_BYTES_MAX - text.len())]);
        }
    }
    drop(connection);
    let text = String::from_utf8_lossy(&text);
    let start = || {
        let line: String = text.chars().filter(|c| !c.is_control()).take(160).collect();
        if line.is_empty() { "an empty body".to_owned() } else { format!("`{line}`") }
    };
    if found != status {
        return Err(format!("status {found} instead of {status}, with {}", start()));
    }
    match contains {
        Some(wanted) if !text.contains(wanted) => {
            Err(format!("the body does not hold `{}`; it starts with {}", wanted.escape_debug(), start()))
        }
        _ => Ok(()),
    }
}

/// A task that ends with its owner.
struct Aborted(tokio::task::JoinHandle<Result<(), hyper::Error>>);

impl Drop for Aborted {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// How long the whole exchange may take.
const DEADLINE: Duration = Duration::from_secs(10);
/// How much of the body is read, in bytes.
const BODY_BYTES_MAX: usize = 64 * 1024;
