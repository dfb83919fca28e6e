//! One endpoint per process: how it is configured, bound, and what it serves.

mod access;
mod addr;
mod directory;
mod guard;
mod mesh;
mod relays;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use iroh::endpoint::{PortmapperConfig, QuicTransportConfig, presets};
use iroh::protocol::{ProtocolHandler, Router, RouterBuilder};
use iroh::{Endpoint, NetReportConfig, RelayConfig, RelayMap, RelayMode, RelayUrl};
use iroh_mdns_address_lookup::MdnsAddressLookup;
use iroh_relay::tls::CaTlsConfig;
use protocols::{NodeId, PeerAddr, SecretKey};
use rustls::pki_types::CertificateDer;

use crate::rpc::{Links, RpcLimits, Serve};

pub(crate) use access::{CLOSE_RESTARTING, Gate};
pub(crate) use addr::{endpoint_addr, endpoint_id, node_id};
pub(crate) use directory::{Directory, Lookups};
pub(crate) use guard::Guarded;
pub(crate) use mesh::refusal;

pub use access::{Access, AllowAll};
pub use mesh::{CLOSE_TIMEOUT, Mesh, PathInfo, Peer, Probe, ProbeError, Via};
pub use relays::{OnlineError, RelayHealth};

/// How a node joins the mesh.
#[derive(Clone)]
pub struct MeshConfig {
    /// The node's key, which is its identity on the mesh.
    pub key: SecretKey,
    /// UDP addresses to listen on; empty means any address and port, on both families.
    pub bind: Vec<SocketAddr>,
    /// Whether to use no UDP socket at all and reach everyone through a relay.
    pub relay_only: bool,
    /// The relays to be reachable through. Use one kind only (all `http` or all `https`).
    pub relays: Vec<RelayRef>,
    /// A secret to show to the relays (an invite), for nodes they do not know yet.
    pub relay_token: Option<String>,
    /// Whether to look for peers on the local network, and to be found there.
    pub mdns: bool,
    /// Where peers are, as far as it is known from the start.
    pub peers: Vec<PeerAddr>,
    /// Who may connect.
    pub access: Arc<dyn Access>,
    /// Who to ask where a peer is when the directory does not know.
    pub resolve: Option<Arc<dyn Resolve>>,
    /// How long a connection may be silent before it is dead. The lower value of both ends holds.
    pub idle: Duration,
    /// How often a silent connection says that it lives; well below half of `idle`.
    pub keep_alive: Duration,
    /// How long making a connection may take.
    pub connect_timeout: Duration,
}

impl MeshConfig {
    /// A configuration with this key and access rule and nothing else: direct addresses on any
    /// port, no relay, no mDNS.
    pub fn new(key: SecretKey, access: Arc<dyn Access>) -> Self {
        Self {
            key,
            bind: Vec::new(),
            relay_only: false,
            relays: Vec::new(),
            relay_token: None,
            mdns: false,
            peers: Vec::new(),
            access,
            resolve: None,
            idle: IDLE,
            keep_alive: KEEP_ALIVE,
            connect_timeout: CONNECT_TIMEOUT,
        }
    }
}

impl std::fmt::Debug for MeshConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MeshConfig")
            .field("id", &self.key.id())
            .field("bind", &self.bind)
            .field("relays", &self.relays)
            .field("mdns", &self.mdns)
            .field("peers", &self.peers)
            .finish_non_exhaustive()
    }
}

/// A relay that a node uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelayRef {
    /// Its URL: `https://host:port`, or `http://` where its operator chose plain HTTP.
    pub url: String,
    /// The root that its certificate must chain to, in DER. `None` trusts the web's roots.
    pub ca_der: Option<Vec<u8>>,
    /// The UDP port on which it tells peers their public address, if it does.
    pub quic_port: Option<u16>,
}

/// Finds out where a peer is, by asking somebody who knows.
pub trait Resolve: Send + Sync + 'static {
    /// The peer's addresses, or `None` when they are not known. Bounded by [`RESOLVE_TIMEOUT`].
    fn resolve(&self, peer: NodeId) -> crate::BoxFuture<'static, Option<PeerAddr>>;
}

/// Why the endpoint could not be made.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// A relay's URL does not parse.
    #[error("the relay URL `{url}` cannot be used: {why}")]
    RelayUrl {
        /// As configured.
        url: String,
        /// What is wrong with it.
        why: String,
    },
    /// Not an address to listen on.
    #[error("cannot listen on {addr}: {why}")]
    Address {
        /// As configured.
        addr: SocketAddr,
        /// What is wrong with it.
        why: String,
    },
    /// The node has no way to reach anybody.
    #[error("the node uses relays only, and has no relay")]
    NoTransport,
    /// The sockets or the TLS configuration failed.
    #[error("cannot open the endpoint: {why}")]
    Endpoint {
        /// The chain of causes.
        why: String,
    },
}

/// A bound endpoint on which services are registered before it starts to serve.
#[derive(Debug)]
pub struct MeshBuilder {
    endpoint: Endpoint,
    gate: Arc<Gate>,
    lookups: Lookups,
    links: Arc<Links>,
    router: RouterBuilder,
    config: MeshConfig,
    relays: Vec<(RelayUrl, Arc<RelayConfig>)>,
}

impl MeshBuilder {
    /// Opens the sockets. Nothing is served before [`Self::start`].
    ///
    /// # Errors
    /// As [`BindError`] says.
    pub async fn bind(config: MeshConfig) -> Result<Self, BindError> {
        let relays = relays::relay_configs(&config)?;
        if config.relay_only && relays.is_empty() {
            return Err(BindError::NoTransport);
        }
        let gate = Arc::new(Gate::new(config.access.clone()));
        let directory = Directory::new(config.resolve.clone());
        for peer in &config.peers {
            directory.learn(peer.clone());
        }

        let mut net_report = NetReportConfig::default();
        // Without the HTTP probe no home relay is ever chosen; the captive-portal probe only leaks traffic.
        net_report.captive_portal_check = false;
        let mut builder = Endpoint::builder(presets::Minimal)
            .secret_key(iroh::SecretKey::from_bytes(&config.key.seed()))
            .portmapper_config(PortmapperConfig::Disabled)
            .net_report_config(net_report)
            .transport_config(transport(&config)?)
            .hooks(access::Hook(gate.clone()))
            .ca_tls_config(trust(&config.relays))
            .relay_mode(if relays.is_empty() {
                RelayMode::Disabled
            } else {
                RelayMode::Custom(relays.iter().map(|(_, c)| c.clone()).collect::<RelayMap>())
            });
        if config.relay_only {
            builder = builder.clear_ip_transports();
        } else if !config.bind.is_empty() {
            builder = builder.clear_ip_transports();
            for addr in &config.bind {
                builder =
                    builder.bind_addr(*addr).map_err(|e| BindError::Address { addr: *addr, why: format!("{e:#}") })?;
            }
        }
        let endpoint = builder.bind().await.map_err(|e| BindError::Endpoint { why: format!("{e:#}") })?;
        let mdns = if config.mdns {
            let mdns = MdnsAddressLookup::builder().service_name(MDNS_SERVICE).build(endpoint.id());
            Some(mdns.map_err(|e| BindError::Endpoint { why: format!("mDNS: {e:#}") })?)
        } else {
            None
        };
        let lookups = Lookups { directory, mdns };
        lookups.reinstall(&endpoint);
        let links = Arc::new(Links::new(endpoint.clone(), config.connect_timeout));
        let router = Router::builder(endpoint.clone());
        Ok(Self { endpoint, gate, lookups, links, router, config, relays })
    }

    /// This node's id.
    pub fn id(&self) -> NodeId {
        self.config.key.id()
    }

    /// Serves the requests of `S` under `alpn`. Every request runs in a task of its own; what goes
    /// wrong with one of them stays with it.
    #[must_use]
    pub fn serve<S>(self, alpn: &'static [u8], limits: RpcLimits, server: Arc<impl Serve<S>>) -> Self
    where
        S: irpc::rpc::RemoteService,
    {
        self.accept(alpn, crate::rpc::Server::new(alpn, limits, server))
    }

    pub(crate) fn accept(mut self, alpn: &'static [u8], handler: impl ProtocolHandler) -> Self {
        self.router = self.router.accept(alpn, Guarded::new(handler));
        self
    }

    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    pub(crate) fn lookups(&self) -> &Lookups {
        &self.lookups
    }

    pub(crate) fn gate(&self) -> &Arc<Gate> {
        &self.gate
    }

    pub(crate) fn links(&self) -> &Arc<Links> {
        &self.links
    }

    pub(crate) fn key(&self) -> &SecretKey {
        &self.config.key
    }

    /// Starts to accept connections.
    pub fn start(self) -> Mesh {
        Mesh::start(self)
    }
}

fn transport(config: &MeshConfig) -> Result<QuicTransportConfig, BindError> {
    let idle = config
        .idle
        .try_into()
        .map_err(|_| BindError::Endpoint { why: format!("an idle time of {:?} is too long", config.idle) })?;
    Ok(QuicTransportConfig::builder()
        .max_idle_timeout(Some(idle))
        .keep_alive_interval(config.keep_alive)
        .max_concurrent_uni_streams(UNI_STREAMS_MAX.into())
        .max_concurrent_bidi_streams(BIDI_STREAMS_MAX.into())
        .build())
}

fn trust(relays: &[RelayRef]) -> CaTlsConfig {
    let pins: Vec<_> = relays.iter().filter_map(|r| r.ca_der.clone()).map(CertificateDer::from).collect();
    let all_pinned = relays.iter().all(|r| r.ca_der.is_some() || !r.url.starts_with("https"));
    if all_pinned && !pins.is_empty() {
        CaTlsConfig::custom_roots(pins)
    } else {
        CaTlsConfig::embedded().with_extra_roots(pins)
    }
}

/// Default silence after which a connection is dead.
pub const IDLE: Duration = Duration::from_secs(10);
/// Default interval of keep-alives.
pub const KEEP_ALIVE: Duration = Duration::from_millis(2500);
/// Default time to make a connection.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Time that [`Resolve::resolve`] has.
pub const RESOLVE_TIMEOUT: Duration = Duration::from_secs(5);
/// Unidirectional streams a peer may hold open: gossip uses one per topic and connection, so this
/// bounds the documents that two nodes share.
pub const UNI_STREAMS_MAX: u32 = 10_000;
/// Bidirectional streams a peer may hold open on one connection, unless a service says less.
pub const BIDI_STREAMS_MAX: u32 = 256;
/// The service name under which nodes find each other by mDNS.
pub const MDNS_SERVICE: &str = "flotilla";
