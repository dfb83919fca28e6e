//! The embedded relay: carries packets between peers that have no direct path, for members only.
//!
//! It sees who talks to whom and how much; what they say is encrypted end to end.

mod tls;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use iroh_relay::server::{
    Access as Verdict, AccessControl, CertConfig, ClientRequest, QuicConfig, RelayConfig, Server, ServerConfig,
    TlsConfig,
};
use protocols::NodeId;

use crate::net::{RelayRef, node_id};

pub use tls::CertificateError;

/// Who may use the relay.
pub trait RelayAccess: Send + Sync + 'static {
    /// Whether `peer`, which has proven its id and shows `token`, may connect. Must answer at once.
    fn allows(&self, peer: NodeId, token: Option<&str>) -> bool;
}

impl<F: Fn(NodeId, Option<&str>) -> bool + Send + Sync + 'static> RelayAccess for F {
    fn allows(&self, peer: NodeId, token: Option<&str>) -> bool {
        self(peer, token)
    }
}

/// How the relay is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RelayTls {
    /// By HTTPS with a certificate from elsewhere, both in PEM.
    Files {
        /// The certificate chain, leaf first.
        cert: PathBuf,
        /// The leaf's private key.
        key: PathBuf,
    },
    /// By HTTPS with a root of its own, kept in `dir`; peers pin that root.
    SelfSigned {
        /// Where root, certificate and keys are kept.
        dir: PathBuf,
        /// The host names and IP addresses that clients use.
        names: Vec<String>,
    },
    /// By plain HTTP. Peers still authenticate each other, and the relay them; whoever is on the way
    /// sees their ids.
    PlainHttp {
        /// Whether that is wanted on an address other than loopback.
        allow_public: bool,
    },
}

/// How the relay runs.
#[derive(Clone)]
pub struct RelayServerConfig {
    /// The TCP address for HTTP or HTTPS.
    pub listen: SocketAddr,
    /// The UDP address on which peers learn their public address; needs TLS.
    pub quic_listen: Option<SocketAddr>,
    /// How it is reached.
    pub tls: RelayTls,
    /// Who may use it.
    pub access: Arc<dyn RelayAccess>,
}

impl std::fmt::Debug for RelayServerConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RelayServerConfig")
            .field("listen", &self.listen)
            .field("quic_listen", &self.quic_listen)
            .field("tls", &self.tls)
            .finish_non_exhaustive()
    }
}

/// Why the relay does not run.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// Plain HTTP on an address that others reach.
    #[error("a plain-HTTP relay on {0} must be allowed explicitly: only loopback is private")]
    PlainHttp(SocketAddr),
    /// Address discovery without TLS.
    #[error("address discovery over QUIC needs a relay with TLS")]
    QuicWithoutTls,
    /// The certificate cannot be had.
    #[error("cannot prepare the relay's certificate")]
    Certificate(#[from] CertificateError),
    /// The server did not start.
    #[error("cannot start the relay on {listen}: {why}")]
    Start {
        /// Where it was to listen.
        listen: SocketAddr,
        /// The chain of causes.
        why: String,
    },
}

/// A running relay.
#[derive(Debug)]
pub struct RelayServer {
    server: Server,
    listen: SocketAddr,
    quic: Option<SocketAddr>,
    secure: bool,
    root: Option<Vec<u8>>,
}

impl RelayServer {
    /// Starts the relay.
    ///
    /// # Errors
    /// As [`RelayError`] says; nothing listens then.
    pub async fn start(config: RelayServerConfig) -> Result<Self, RelayError> {
        let listen = config.listen;
        let mut root = None;
        let mut relay = RelayConfig::new(listen);
        let mut server = ServerConfig::default();
        let identity = match &config.tls {
            RelayTls::PlainHttp { allow_public } => {
                if !allow_public && !listen.ip().is_loopback() {
                    return Err(RelayError::PlainHttp(listen));
                }
                if config.quic_listen.is_some() {
                    return Err(RelayError::QuicWithoutTls);
                }
                None
            }
            RelayTls::Files { cert, key } => Some(tls::from_files(cert, key)?),
            RelayTls::SelfSigned { dir, names } => Some(tls::self_signed(dir, names)?),
        };
        let secure = identity.is_some();
        if let Some(identity) = identity {
            root = identity.root.clone();
            // The plain-HTTP side serves only a captive-portal probe that nobody here uses.
            relay.http_bind_addr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
            relay.tls = Some(TlsConfig::new(listen, CertConfig::Manual { server_config: identity.server_config()? }));
            if let Some(addr) = config.quic_listen {
                let mut quic = QuicConfig::new(addr);
                quic.server_config = Some(identity.server_config()?);
                server.quic = Some(quic);
            }
        }
        relay.access = Arc::new(Members(config.access));
        server.relay = Some(relay);
        let server = Server::spawn(server).await.map_err(|e| RelayError::Start { listen, why: format!("{e:#}") })?;
        let bound = if secure { server.https_addr() } else { server.http_addr() };
        Ok(Self { listen: bound.unwrap_or(listen), quic: server.quic_addr(), server, secure, root })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.listen
    }

    /// Where it answers address discovery.
    pub fn quic_addr(&self) -> Option<SocketAddr> {
        self.quic
    }

    /// The root to pin, in DER; `None` for plain HTTP and for a certificate of a public authority.
    pub fn root_der(&self) -> Option<&[u8]> {
        self.root.as_deref()
    }

    /// What a node needs to use this relay when it reaches it as `host` (a name, or an IP address).
    pub fn reference(&self, host: &str) -> RelayRef {
        let scheme = if self.secure { "https" } else { "http" };
        let host = match host.parse::<IpAddr>() {
            Ok(IpAddr::V6(v6)) => format!("[{v6}]"),
            _ => host.to_owned(),
        };
        RelayRef {
            url: format!("{scheme}://{host}:{}", self.listen.port()),
            ca_der: self.root.clone(),
            quic_port: self.quic.map(|a| a.port()),
        }
    }

    /// Takes leave of the clients and stops, within [`SHUTDOWN_TIMEOUT`].
    pub async fn shutdown(self) {
        if tokio::time::timeout(SHUTDOWN_TIMEOUT, self.server.shutdown()).await.is_err() {
            tracing::warn!("the relay did not stop in time");
        }
    }
}

struct Members(Arc<dyn RelayAccess>);

impl std::fmt::Debug for Members {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Members")
    }
}

impl AccessControl for Members {
    async fn on_connect(&self, request: &ClientRequest) -> Verdict {
        let peer = node_id(request.endpoint_id());
        if self.0.allows(peer, request.auth_token().as_deref()) {
            Verdict::Allow
        } else {
            tracing::debug!(%peer, "relay session refused");
            Verdict::Deny { reason: Some("not a member of this fleet, and no valid invite".into()) }
        }
    }
}

/// The longest that stopping the relay takes.
pub const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);
