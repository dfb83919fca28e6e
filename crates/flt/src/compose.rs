//! The one place where concrete types meet: the mesh, the devices and the roles.
//!
//! Each role is started from plain parts, so that a daemon, the local mesh of `flt dev` and the tests all run the same.

pub mod admin;
pub mod agent;
pub mod coordinator;
pub(crate) mod cores;
mod documents;
mod failover;
pub mod hands;
pub mod recover;

use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, SystemTime};

use mesh::MeshConfig;
use mesh::rpc::RpcLimits;
use protocols::ticket::RelayPin;
use protocols::{Millis, NodeId, control};

/// The system's clock, as milliseconds since 1970.
pub fn system_clock() -> Arc<dyn Fn() -> Millis + Send + Sync> {
    Arc::new(now)
}

/// Now, by the system's clock.
pub fn now() -> Millis {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    Millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// A role that is made after the mesh that asks it who may connect. Until it is there, nobody may.
#[derive(Debug)]
pub(crate) struct Late<T>(OnceLock<Weak<T>>);

impl<T> Late<T> {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(OnceLock::new()))
    }

    pub(crate) fn set(&self, role: &Arc<T>) {
        // There is one role for each; a second would be a mistake in this file.
        let _first_stays = self.0.set(Arc::downgrade(role));
    }

    pub(crate) fn get(&self) -> Option<Arc<T>> {
        self.0.get().and_then(Weak::upgrade)
    }
}

/// What is asked of a coordinator in one request, bounded.
pub(crate) fn control_limits() -> RpcLimits {
    RpcLimits { request_bytes: control::REQUEST_BYTES_MAX, ..RpcLimits::default() }
}

/// Limits for protocols that have small requests only.
pub(crate) fn small_limits() -> RpcLimits {
    RpcLimits { request_bytes: 512 * 1024, concurrent: 16, ..RpcLimits::default() }
}

/// The relays of a ticket, for the mesh.
pub(crate) fn relay_refs(pins: &[RelayPin]) -> Vec<mesh::RelayRef> {
    let convert = |p: &RelayPin| mesh::RelayRef { url: p.url.clone(), ca_der: p.ca.clone(), quic_port: p.quic_port };
    pins.iter().map(convert).collect()
}

/// A mesh configuration that listens where it was told.
pub(crate) fn mesh_config(
    key: protocols::SecretKey,
    listen: &[std::net::SocketAddr],
    mdns: bool,
    access: impl Fn(NodeId, &[u8]) -> bool + Send + Sync + 'static,
) -> MeshConfig {
    MeshConfig { bind: listen.to_vec(), mdns, ..MeshConfig::new(key, Arc::new(access)) }
}
