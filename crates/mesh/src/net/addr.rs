//! Between the fleet's names for nodes and places, and iroh's.

use iroh::{EndpointAddr, EndpointId, RelayUrl, TransportAddr};
use protocols::addr::ADDRS_MAX;
use protocols::{NodeId, PeerAddr};

/// The endpoint id of a node, unless its bytes are no key.
pub(crate) fn endpoint_id(node: NodeId) -> Option<EndpointId> {
    EndpointId::from_bytes(node.as_bytes()).ok()
}

/// The node of an endpoint id.
pub(crate) fn node_id(endpoint: EndpointId) -> NodeId {
    NodeId::from_bytes(*endpoint.as_bytes())
}

/// The endpoint address of a peer; a relay URL that does not parse is left out.
pub(crate) fn endpoint_addr(peer: &PeerAddr) -> Option<EndpointAddr> {
    let mut addr = EndpointAddr::new(endpoint_id(peer.id)?);
    for ip in peer.addrs.iter().take(ADDRS_MAX) {
        addr = addr.with_ip_addr(*ip);
    }
    if let Some(url) = peer.relay.as_deref().and_then(|url| url.parse::<RelayUrl>().ok()) {
        addr = addr.with_relay_url(url);
    }
    Some(addr)
}

/// The peer of an endpoint address.
pub(crate) fn peer_addr(addr: &EndpointAddr) -> PeerAddr {
    let mut peer = PeerAddr::unknown(node_id(addr.id));
    for way in &addr.addrs {
        match way {
            TransportAddr::Ip(ip) if peer.addrs.len() < ADDRS_MAX => peer.addrs.push(*ip),
            TransportAddr::Relay(url) => peer.relay = Some(url.to_string()),
            _ => {}
        }
    }
    peer
}
