//! Hands incoming connections to the stack that lives now.

use std::sync::Arc;

use iroh::endpoint::Connection;
use iroh::protocol::{AcceptError, ProtocolHandler};

use super::Plane;
use crate::blobs::Provider;
use crate::net::CLOSE_RESTARTING;

/// The handler of one of the document protocols.
#[derive(Debug)]
pub(super) struct Forward {
    alpn: &'static [u8],
    plane: Arc<Plane>,
}

impl Forward {
    pub(super) fn new(alpn: &'static [u8], plane: Arc<Plane>) -> Self {
        Self { alpn, plane }
    }
}

impl ProtocolHandler for Forward {
    async fn accept(&self, connection: Connection) -> Result<(), AcceptError> {
        let Some(stack) = self.plane.stack() else {
            connection.close(CLOSE_RESTARTING.into(), b"starting anew");
            return Ok(());
        };
        if self.alpn == iroh_docs::ALPN {
            stack.accept_docs(connection).await;
        } else if self.alpn == iroh_gossip::ALPN {
            stack.accept_gossip(connection).await;
        } else {
            // A connection that outlived its stack would be served from a store that is empty.
            let held = connection.clone();
            let provider = Provider::new(stack.values.clone(), VALUE_TRANSFERS);
            tokio::select! {
                ended = provider.accept(connection) => ended?,
                () = stack.ended.cancelled() => held.close(CLOSE_RESTARTING.into(), b"starting anew"),
            }
        }
        Ok(())
    }

    async fn shutdown(&self) {
        if self.alpn == iroh_docs::ALPN {
            self.plane.stop().await;
        }
    }
}

/// Values that one peer may fetch at a time, per connection.
const VALUE_TRANSFERS: u32 = 64;
