//! Keeps a panic in a protocol handler from stopping the router for the whole node.

use iroh::endpoint::Connection;
use iroh::protocol::{AcceptError, ProtocolHandler};
use std::sync::Arc;
use tokio_util::task::AbortOnDropHandle;

/// Runs the handler in a task of its own. The router ends when a handler's future panics in its
/// task, and refuses everybody from then on.
#[derive(Debug)]
pub(crate) struct Guarded<H>(Arc<H>);

impl<H> Guarded<H> {
    pub(crate) fn new(handler: H) -> Self {
        Self(Arc::new(handler))
    }
}

impl<H: ProtocolHandler> ProtocolHandler for Guarded<H> {
    async fn accept(&self, connection: Connection) -> Result<(), AcceptError> {
        let handler = self.0.clone();
        let held = connection.clone();
        let task = AbortOnDropHandle::new(tokio::spawn(async move { handler.accept(connection).await }));
        match task.await {
            Ok(ended) => ended,
            Err(failed) => {
                if failed.is_panic() {
                    tracing::error!(alpn = %String::from_utf8_lossy(held.alpn()), "a protocol handler panicked");
                    held.close(CLOSE_FAILED.into(), b"internal failure");
                }
                Ok(())
            }
        }
    }

    async fn shutdown(&self) {
        let handler = self.0.clone();
        if tokio::spawn(async move { handler.shutdown().await }).await.is_err() {
            tracing::error!("a protocol handler failed to shut down");
        }
    }
}

/// Close code: the handler failed.
const CLOSE_FAILED: u32 = 500;
