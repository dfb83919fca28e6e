//! A way around what gossip forgets: whom it failed to reach it never dials again, and into a connection that ended before
//! its end became a neighbour it goes on sending for ever.

use std::time::Duration;

use iroh::{Endpoint, EndpointId};
use iroh_gossip::net::Gossip;
use tokio::time::{Instant, timeout};

/// Makes a connection to a peer and hands it to gossip, for all topics, where it takes the place of whatever was known of
/// that peer. Returns whether there is one. It must be joined once more then.
pub(crate) async fn greet(endpoint: &Endpoint, gossip: &Gossip, alpn: &[u8], peer: EndpointId) -> bool {
    let started = Instant::now();
    let Ok(Ok(connection)) = timeout(DIAL_TIMEOUT, endpoint.connect(peer, alpn)).await else { return false };
    // A refusal arrives one round trip after the handshake. Handed over before, it would take the place of a connection
    // that the peer may have made meanwhile, and take that down with it.
    let grace = (started.elapsed() * 2).clamp(REFUSAL_GRACE, DIAL_TIMEOUT);
    if timeout(grace, connection.closed()).await.is_ok() {
        return false;
    }
    gossip.handle_connection(connection).await.is_ok()
}

/// Time to make the connection.
const DIAL_TIMEOUT: Duration = Duration::from_secs(5);
/// The least time that a peer has to refuse it.
const REFUSAL_GRACE: Duration = Duration::from_millis(300);
