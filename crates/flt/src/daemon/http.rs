//! `/metrics` and `/healthz`, for this machine alone.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::metrics::Registry;
use crate::report::Advise as _;

/// The server of a daemon.
#[derive(Debug)]
pub(super) struct Server {
    addr: SocketAddr,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Server {
    /// Takes the port and serves until `stop`.
    pub(super) async fn bind(addr: SocketAddr, registry: Registry, stop: &CancellationToken) -> anyhow::Result<Self> {
        ensure!(addr.ip().is_loopback(), "metrics are for this machine alone, and {addr} is not on loopback");
        let listener = TcpListener::bind(addr)
            .await
            .with_context(|| format!("cannot serve metrics on {addr}"))
            .hint("choose another address: --metrics 127.0.0.1:PORT, or none: --metrics off")?;
        let addr = listener.local_addr().context("cannot serve metrics")?;
        let stop = stop.child_token();
        let task = tokio::spawn(accept(listener, registry, stop.clone()));
        tracing::debug!(%addr, "serving metrics");
        Ok(Self { addr, stop, task })
    }

    /// Where it serves.
    #[cfg(test)]
    pub(super) const fn addr(&self) -> SocketAddr {
        self.addr
    }

    pub(super) async fn stop(self) {
        self.stop.cancel();
        if self.task.await.is_err() {
            tracing::debug!(addr = %self.addr, "the metrics server had ended before");
        }
    }
}

async fn accept(listener: TcpListener, registry: Registry, stop: CancellationToken) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of file handles, most likely: that passes.
                tracing::debug!(%error, "cannot accept");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // With no place free the connection is closed at once: whoever asks so often can ask again.
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
        let (registry, stop) = (registry.clone(), stop.clone());
        tokio::spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                _ = tokio::time::timeout(CONNECTION_DEADLINE, serve(stream, &registry)) => {}
            }
            drop(place);
        });
    }
}

async fn serve(stream: TcpStream, registry: &Registry) {
    let service = service_fn(|request| {
        let answer = answer(&request, registry);
        async { Ok::<_, Infallible>(answer) }
    });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_DEADLINE)
        .max_buf_size(REQUEST_BYTES_MAX)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a request for metrics failed");
    }
}

fn answer(request: &Request<Incoming>, registry: &Registry) -> Response<Full<Bytes>> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "only GET is answered here\n");
        response.headers_mut().insert(ALLOW, hyper::header::HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    match request.uri().path() {
        "/metrics" => {
            let mut response = text(StatusCode::OK, registry.text());
            response.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(PROMETHEUS));
            response
        }
        "/healthz" => match registry.unhealthy() {
            Some(why) => text(StatusCode::SERVICE_UNAVAILABLE, format!("unhealthy: {why}\n")),
            None if registry.is_ready() => text(StatusCode::OK, "ok\n"),
            None => text(StatusCode::SERVICE_UNAVAILABLE, "starting\n"),
        },
        _ => text(StatusCode::NOT_FOUND, "here are /metrics and /healthz\n"),
    }
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response
}

/// The most connections at once.
const CONNECTIONS_MAX: usize = 16;
/// The largest request, in bytes.
const REQUEST_BYTES_MAX: usize = 16 * 1024;
/// How long the headers of a request may take.
const HEADER_DEADLINE: Duration = Duration::from_secs(5);
/// How long a connection may last.
const CONNECTION_DEADLINE: Duration = Duration::from_secs(10);
/// The pause after a connection that could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

#[cfg(test)]
mod tests;
