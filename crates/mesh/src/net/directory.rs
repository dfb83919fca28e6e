//! Where peers are: what was learned, then what somebody else knows.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use iroh::address_lookup::{AddressLookup, EndpointInfo, Error, Item};
use iroh::{Endpoint, EndpointId};
use iroh_mdns_address_lookup::MdnsAddressLookup;
use n0_future::boxed::BoxStream;
use n0_future::stream::{self, StreamExt};
use protocols::addr::ADDRS_MAX;
use protocols::{NodeId, PeerAddr};

use super::{RESOLVE_TIMEOUT, Resolve, endpoint_addr, node_id};

/// The peers whose whereabouts are known, bounded.
#[derive(Clone)]
pub(crate) struct Directory {
    known: Arc<Mutex<HashMap<NodeId, PeerAddr>>>,
    resolve: Option<Arc<dyn Resolve>>,
}

impl Directory {
    pub(crate) fn new(resolve: Option<Arc<dyn Resolve>>) -> Self {
        Self { known: Arc::default(), resolve }
    }

    /// Takes note of a peer's addresses. The newest come first; older ones are kept behind them.
    pub(crate) fn learn(&self, peer: PeerAddr) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= PEERS_MAX
            && !known.contains_key(&peer.id)
            && let Some(other) = known.keys().next().copied()
        {
            known.remove(&other);
        }
        match known.get_mut(&peer.id) {
            Some(old) => {
                let mut addrs = peer.addrs;
                addrs.extend(old.addrs.iter().filter(|a| !addrs.contains(a)).copied().collect::<Vec<_>>());
                addrs.truncate(ADDRS_MAX);
                old.addrs = addrs;
                if peer.relay.is_some() {
                    old.relay = peer.relay;
                }
            }
            None => {
                known.insert(peer.id, peer);
            }
        }
    }

    /// What is known of a peer.
    pub(crate) fn get(&self, peer: NodeId) -> Option<PeerAddr> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&peer).cloned()
    }
}

/// Everything that the endpoint asks where a peer is.
#[derive(Debug, Clone)]
pub(crate) struct Lookups {
    pub(crate) directory: Directory,
    pub(crate) mdns: Option<MdnsAddressLookup>,
}

impl Lookups {
    /// Makes these the only ones that the endpoint has.
    pub(crate) fn reinstall(&self, endpoint: &Endpoint) {
        // Fails only for an endpoint that is closed, which asks nobody any more.
        let Ok(services) = endpoint.address_lookup() else { return };
        services.clear();
        services.add(self.directory.clone());
        if let Some(mdns) = &self.mdns {
            services.add(mdns.clone());
        }
    }
}

impl std::fmt::Debug for Directory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Directory").field("resolve", &self.resolve.is_some()).finish_non_exhaustive()
    }
}

impl AddressLookup for Directory {
    fn resolve(&self, endpoint: EndpointId) -> Option<BoxStream<Result<Item, Error>>> {
        let peer = node_id(endpoint);
        let item = |peer: PeerAddr| {
            endpoint_addr(&peer)
                .filter(|a| !a.addrs.is_empty())
                .map(|a| Item::new(EndpointInfo::from(a), PROVENANCE, None))
        };
        let known = self.get(peer).and_then(item);
        let asked = self.resolve.clone().map(|resolve| {
            stream::once_future(async move {
                tokio::time::timeout(RESOLVE_TIMEOUT, resolve.resolve(peer)).await.ok().flatten()
            })
            .filter_map(move |found| found.filter(|found| found.id == peer).and_then(item))
        });
        match (known, asked) {
            (None, None) => None,
            (Some(known), None) => Some(stream::once(Ok(known)).boxed()),
            (None, Some(asked)) => Some(asked.map(Ok).boxed()),
            (Some(known), Some(asked)) => Some(stream::once(known).chain(asked).map(Ok).boxed()),
        }
    }
}

const PROVENANCE: &str = "flotilla";
/// The most peers whose addresses are kept.
const PEERS_MAX: usize = 16_384;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newest_addresses_come_first_and_are_bounded() {
        let directory = Directory::new(None);
        let id = protocols::SecretKey::from_seed(&[1; 32]).id();
        for port in 1..=40u16 {
            let addrs = vec![([127, 0, 0, 1], port).into()];
            directory.learn(PeerAddr { id, addrs, relay: None });
        }
        let known = directory.get(id).expect("it was learned");
        assert_eq!(known.addrs.len(), ADDRS_MAX);
        assert_eq!(known.addrs[0].port(), 40);
        directory.learn(PeerAddr { id, addrs: vec![], relay: Some("http://127.0.0.1:1".into()) });
        directory.learn(PeerAddr { id, addrs: vec![], relay: None });
        assert!(directory.get(id).expect("still there").relay.is_some(), "a relay is not forgotten");
    }
}
