//! The relays a node uses: their configuration, whether they work, and why not.

use std::sync::Arc;
use std::time::Duration;

use iroh::{Endpoint, RelayConfig, RelayUrl, Watcher};
use iroh_relay::RelayQuicConfig;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use super::{BindError, MeshConfig, RelayRef};

/// How a relay does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelayHealth {
    /// The relay.
    pub url: String,
    /// Whether this node is connected to it.
    pub connected: bool,
    /// Why not, when the last attempt failed.
    pub error: Option<String>,
}

/// Why a node is not online.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OnlineError {
    /// It has no relay to be online at.
    #[error("no relay is configured")]
    NoRelay,
    /// The relay knows who we are and does not want us.
    #[error("the relay {url} does not admit this node: {reason}")]
    Refused {
        /// The relay.
        url: String,
        /// What it said.
        reason: String,
    },
    /// The relay shows a certificate that is not the pinned one.
    #[error("the relay {url} does not show the expected certificate: {why}")]
    Certificate {
        /// The relay.
        url: String,
        /// What TLS said.
        why: String,
    },
    /// Nobody answers there.
    #[error("the relay {url} cannot be reached: {why}")]
    Unreachable {
        /// The relay.
        url: String,
        /// What the system said.
        why: String,
    },
    /// It answers, and still no session came up in time.
    #[error("no session with the relay {url} within {waited:?}{}", last.as_ref().map(|e| format!(": {e}")).unwrap_or_default())]
    Timeout {
        /// The relay.
        url: String,
        /// How long it was waited for.
        waited: Duration,
        /// The last error, if there was one.
        last: Option<String>,
    },
}

/// The configuration of each relay, checked.
pub(super) fn relay_configs(config: &MeshConfig) -> Result<Vec<(RelayUrl, Arc<RelayConfig>)>, BindError> {
    let bad = |relay: &RelayRef, why: String| BindError::RelayUrl { url: relay.url.clone(), why };
    config
        .relays
        .iter()
        .map(|relay| {
            let url: RelayUrl = relay.url.parse().map_err(|e| bad(relay, format!("{e:#}")))?;
            if !matches!(url.scheme(), "http" | "https") {
                return Err(bad(relay, format!("its scheme is `{}`, not http or https", url.scheme())));
            }
            if url.host_str().is_none() {
                return Err(bad(relay, "it names no host".into()));
            }
            // Address discovery needs TLS; an http relay that claims a port for it would only stall.
            let quic = relay.quic_port.filter(|_| url.scheme() == "https").map(RelayQuicConfig::new);
            let mut relay = RelayConfig::new(url.clone(), quic);
            if let Some(token) = &config.relay_token {
                relay = relay.with_auth_token(token.clone());
            }
            Ok((url, Arc::new(relay)))
        })
        .collect()
}

/// How each home relay does now.
pub(super) fn health(endpoint: &Endpoint) -> Vec<RelayHealth> {
    endpoint
        .home_relay_status()
        .get()
        .iter()
        .map(|status| RelayHealth {
            url: status.url().to_string(),
            connected: status.is_connected(),
            error: status.last_error().map(|e| format!("{e:#}")),
        })
        .collect()
}

/// Waits until a relay session is up; says why when none came up in time.
pub(super) async fn online(endpoint: &Endpoint, relays: &[RelayRef], within: Duration) -> Result<(), OnlineError> {
    let Some(first) = relays.first() else { return Err(OnlineError::NoRelay) };
    if timeout(within, endpoint.online()).await.is_ok() {
        return Ok(());
    }
    let mut last = None;
    for status in endpoint.home_relay_status().get() {
        if let Some(reason) = status.auth_denied_reason() {
            return Err(OnlineError::Refused { url: status.url().to_string(), reason: reason.to_owned() });
        }
        last = last.or_else(|| status.last_error().map(|e| format!("{e:#}")));
    }
    // A relay that fails TLS is never chosen as home, so its failure shows in no status: look ourselves.
    let mut found = None;
    for relay in relays {
        match examine(relay).await {
            Ok(()) => {
                found = None;
                break;
            }
            Err(why) => found = found.or(Some(why)),
        }
    }
    Err(found.unwrap_or_else(|| OnlineError::Timeout { url: first.url.clone(), waited: within, last }))
}

/// Tries to reach a relay and to shake hands with it, to learn what exactly fails.
async fn examine(relay: &RelayRef) -> Result<(), OnlineError> {
    let unreachable = |why: String| OnlineError::Unreachable { url: relay.url.clone(), why };
    let url: RelayUrl = relay.url.parse().map_err(|e| unreachable(format!("{e:#}")))?;
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let port = url.port_or_known_default().unwrap_or(443);
    let tcp = timeout(EXAMINE_TIMEOUT, TcpStream::connect((host.as_str(), port)))
        .await
        .map_err(|_| unreachable(format!("no answer within {EXAMINE_TIMEOUT:?}")))?
        .map_err(|e| unreachable(e.to_string()))?;
    if url.scheme() != "https" {
        return Ok(());
    }
    let certificate = |why: String| OnlineError::Certificate { url: relay.url.clone(), why };
    let mut roots = rustls::RootCertStore::empty();
    let Some(pin) = &relay.ca_der else { return Ok(()) };
    roots
        .add(CertificateDer::from(pin.clone()))
        .map_err(|e| certificate(format!("the pinned certificate cannot be used: {e}")))?;
    let tls = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|e| certificate(e.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(host).map_err(|e| certificate(e.to_string()))?;
    match timeout(EXAMINE_TIMEOUT, tokio_rustls::TlsConnector::from(Arc::new(tls)).connect(name, tcp)).await {
        Ok(Ok(_session)) => Ok(()),
        Ok(Err(why)) => Err(certificate(why.to_string())),
        Err(_) => Err(unreachable(format!("no TLS handshake within {EXAMINE_TIMEOUT:?}"))),
    }
}

/// Wakes a relay client that hangs: first by having the network looked at again, then by taking the
/// relay out and putting it back. Ends with the endpoint.
pub(super) async fn watch(endpoint: Endpoint, relays: Vec<(RelayUrl, Arc<RelayConfig>)>) {
    let mut down_since: Option<Instant> = None;
    let mut nudges = 0u32;
    loop {
        tokio::select! {
            () = tokio::time::sleep(WATCH_INTERVAL) => {}
            () = closed(&endpoint) => return,
        }
        if endpoint.home_relay_status().get().iter().any(iroh::endpoint::RelayStatus::is_connected) {
            if nudges > 0 {
                tracing::info!("the relay session is back");
            }
            (down_since, nudges) = (None, 0);
            continue;
        }
        let since = *down_since.get_or_insert_with(Instant::now);
        if since.elapsed() < STUCK_AFTER {
            continue;
        }
        tracing::warn!(nudges, "no relay session for a while: looking at the network again");
        if nudges % 2 == 1 {
            for (url, config) in &relays {
                let _old = endpoint.remove_relay(url).await;
                let _new = endpoint.insert_relay(url.clone(), config.clone()).await;
            }
        }
        endpoint.network_change().await;
        nudges = nudges.saturating_add(1);
        down_since = None;
    }
}

async fn closed(endpoint: &Endpoint) {
    endpoint.closed().await;
}

/// Time to look at a relay that gives no session, per step.
const EXAMINE_TIMEOUT: Duration = Duration::from_secs(3);
/// How often the relay session is looked at.
const WATCH_INTERVAL: Duration = Duration::from_secs(5);
/// How long no relay session is normal.
const STUCK_AFTER: Duration = Duration::from_secs(45);
