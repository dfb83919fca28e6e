//! The provider's side: reads only, and no more at a time than a peer may.

use iroh::endpoint::Connection;
use iroh::protocol::{AcceptError, ProtocolHandler};
use iroh_blobs::api::Store;
use iroh_blobs::provider::events::{EventMask, EventSender, RequestMode};
use iroh_blobs::provider::handle_connection;

/// Serves one store.
#[derive(Debug)]
pub(crate) struct Provider {
    store: Store,
    events: EventSender,
    transfers: u32,
}

impl Provider {
    pub(crate) fn new(store: Store, transfers: u32) -> Self {
        // No event is enabled, so nothing is ever sent on the channel: only the mask counts.
        let mask = EventMask { get_many: RequestMode::Disabled, push: RequestMode::Disabled, ..EventMask::DEFAULT };
        let (events, _none) = EventSender::channel(1, mask);
        Self { store, events, transfers }
    }
}

impl ProtocolHandler for Provider {
    async fn accept(&self, connection: Connection) -> Result<(), AcceptError> {
        connection.set_max_concurrent_bi_streams(self.transfers.into());
        connection.set_max_concurrent_uni_streams(0u32.into());
        handle_connection(connection, self.store.clone(), self.events.clone()).await;
        Ok(())
    }
}
