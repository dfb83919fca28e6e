//! A coordinator on the mesh: its relay, its blobs, its documents.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use coordinator::{
    BoxFuture, CALL_BYTES_MAX, Call, Clock, Coordinator, GroupCall, GroupMessage, GroupProtocol, Reply, Timing,
    Transport, Wire, WireError,
};
use mesh::blobs::{BlobConfig, BlobPlane};
use mesh::net::Via;
use mesh::relay::{RelayServer, RelayServerConfig, RelayTls};
use mesh::{Mesh, MeshBuilder};
use protocols::control::{Control, ControlMessage};
use protocols::enroll::{Enrollment, EnrollmentMessage};
use protocols::node::Node;
use protocols::store::Store;
use protocols::ticket::RelayPin;
use protocols::{BlobHash, BlobRef, NodeId, PeerAddr, SecretKey, SignedEntry, Ticket, alpn};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Late;
use super::documents::{Documents, Heard};

pub mod backup;
pub(crate) mod desk;
pub mod join;
pub mod recover;

/// How long the parts of a role may take to stop.
pub(crate) const STOP_DEADLINE: Duration = Duration::from_secs(15);
/// How long another coordinator may take to answer a dial.
const REACH_WITHIN: Duration = Duration::from_secs(8);

/// What a coordinator runs with.
#[derive(Debug, Clone)]
pub struct CoordinatorParts {
    /// The data folder.
    pub data: PathBuf,
    /// Its key.
    pub key: SecretKey,
    /// The fleet's genesis entry.
    pub genesis: SignedEntry,
    /// UDP addresses to listen on.
    pub listen: Vec<SocketAddr>,
    /// Addresses that tickets name; those found out by itself if empty.
    pub advertise: Vec<SocketAddr>,
    /// The relay, if it runs one.
    pub relay: Option<RelayParts>,
    /// Whether to be found on the local network.
    pub mdns: bool,
    /// Whether to publish and follow documents.
    pub documents: bool,
    /// The clock.
    pub clock: ClockPart,
}

/// How the relay runs.
#[derive(Debug, Clone)]
pub struct RelayParts {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Where it answers address discovery.
    pub quic_listen: Option<SocketAddr>,
    /// Its certificate.
    pub tls: RelayTls,
    /// What tickets name; made from the advertised addresses if absent.
    pub url: Option<String>,
}

/// A clock that can be printed as such.
#[derive(Clone)]
pub struct ClockPart(pub Clock);

impl Default for ClockPart {
    fn default() -> Self {
        Self(super::system_clock())
    }
}

impl std::fmt::Debug for ClockPart {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Clock")
    }
}

/// A coordinator that runs.
#[derive(Debug)]
pub struct RunningCoordinator {
    /// The role.
    pub role: Arc<Coordinator>,
    /// Its mesh.
    pub mesh: Mesh,
    blobs: BlobPlane,
    relay: Option<RelayServer>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

/// Starts a coordinator.
///
/// # Errors
/// If the data folder, an address, a certificate or the ledger is not usable; the chain of causes says which.
pub async fn start(parts: CoordinatorParts) -> anyhow::Result<RunningCoordinator> {
    let store = Arc::new(Store::open(&parts.data)?);
    let late = Late::<Coordinator>::new();
    let relay = match &parts.relay {
        Some(relay) => Some(start_relay(relay, &late).await.context("cannot start the relay")?),
        None => None,
    };
    let pins: Vec<RelayPin> = match (&relay, &parts.relay) {
        (Some(server), Some(relay)) => vec![relay_pin(server, relay, &parts.advertise)],
        _ => Vec::new(),
    };
    let gate = Arc::clone(&late);
    let access = move |peer: NodeId, protocol: &[u8]| gate.get().is_some_and(|c| c.allows(peer, protocol));
    let mut config = super::mesh_config(parts.key.clone(), &parts.listen, parts.mdns, access);
    config.relays = super::relay_refs(&pins);
    let server = Arc::new(Serve(Arc::clone(&late)));
    // The address first: an artifact store that was opened wants to be shut down before it is opened again.
    let builder = MeshBuilder::bind(config).await.context("cannot join the network")?;
    let blobs = BlobPlane::open(BlobConfig::new(parts.data.join("blobs"))).await?;
    let builder = builder
        .serve::<Control>(alpn::CONTROL, super::control_limits(), Arc::clone(&server))
        .serve::<GroupProtocol>(alpn::GROUP, group_limits(), Arc::clone(&server))
        .serve::<Enrollment>(alpn::ENROLL, super::small_limits(), server)
        .blobs(&blobs);
    let (builder, documents) = Documents::install(builder, parts.documents).await?;
    let mesh = builder.start();
    let tasks = TaskTracker::new();
    let stop = CancellationToken::new();
    let wire =
        Arc::new(MeshWire { mesh: mesh.clone(), blobs: blobs.clone(), documents, advertise: parts.advertise, pins });
    let options = coordinator::Options {
        key: parts.key,
        genesis: parts.genesis,
        clock: parts.clock.0,
        version: env!("CARGO_PKG_VERSION").into(),
    };
    let role = match Coordinator::open(store, options, Arc::clone(&wire) as Arc<dyn Wire>) {
        Ok(role) => role,
        Err(error) => {
            mesh.close().await;
            blobs.shutdown().await;
            return Err(error.into());
        }
    };
    let transport = Arc::new(MeshTransport(mesh.clone()));
    if let Err(error) = role.join_group(transport, Timing::default()).await {
        mesh.close().await;
        blobs.shutdown().await;
        return Err(error).context("cannot take this coordinator's place in its group");
    }
    late.set(&role);
    if let Some(listener) = desk::open(&parts.data) {
        let (role, until) = (Arc::clone(&role), stop.clone());
        tasks.spawn(desk::serve(listener, role, super::now, until));
    }
    let heard = Arc::downgrade(&role);
    wire.documents.start(&tasks, &stop, move |heard_now: Heard| {
        if let Some(role) = heard.upgrade() {
            role.ingest_document(&heard_now.value);
        }
    });
    let running = Arc::clone(&role);
    let until = stop.clone();
    tasks.spawn(async move { running.run(until).await });
    Ok(RunningCoordinator { role, mesh, blobs, relay, stop, tasks })
}

async fn start_relay(parts: &RelayParts, late: &Arc<Late<Coordinator>>) -> anyhow::Result<RelayServer> {
    let late = Arc::clone(late);
    let access = move |peer: NodeId, token: Option<&str>| {
        late.get().is_some_and(|c| c.allows_relay(peer, token) || peer == c.id())
    };
    let config = RelayServerConfig {
        listen: parts.listen,
        quic_listen: parts.quic_listen,
        tls: parts.tls.clone(),
        access: Arc::new(access),
    };
    Ok(RelayServer::start(config).await?)
}

fn relay_pin(server: &RelayServer, parts: &RelayParts, advertise: &[SocketAddr]) -> RelayPin {
    let bound = server.addr().ip();
    let local = if bound.is_unspecified() { std::net::Ipv4Addr::LOCALHOST.into() } else { bound };
    let host = advertise.first().map_or(local, SocketAddr::ip);
    let reference = server.reference(&host.to_string());
    RelayPin { url: parts.url.clone().unwrap_or(reference.url), ca: reference.ca_der, quic_port: reference.quic_port }
}

impl RunningCoordinator {
    /// The ticket that reaches this fleet.
    pub fn ticket(&self) -> Ticket {
        self.role.ticket()
    }

    /// Where its relay listens, if it runs one.
    pub fn relay_addr(&self) -> Option<SocketAddr> {
        self.relay.as_ref().map(RelayServer::addr)
    }

    /// Stops all of it, within a deadline.
    pub async fn stop(self) {
        self.stop.cancel();
        self.tasks.close();
        let stopped = tokio::time::timeout(STOP_DEADLINE, self.tasks.wait()).await;
        if stopped.is_err() {
            tracing::warn!("some tasks did not stop in time");
        }
        self.mesh.close().await;
        self.blobs.shutdown().await;
        if let Some(relay) = self.relay {
            relay.shutdown().await;
        }
    }
}

struct Serve(Arc<Late<Coordinator>>);

impl mesh::rpc::Serve<Control> for Serve {
    async fn handle(self: Arc<Self>, caller: NodeId, message: ControlMessage) {
        if let Some(role) = self.0.get() {
            role.control(caller, message).await;
        }
    }
}

impl mesh::rpc::Serve<Enrollment> for Serve {
    async fn handle(self: Arc<Self>, caller: NodeId, message: EnrollmentMessage) {
        if let Some(role) = self.0.get() {
            role.enrollment(caller, message).await;
        }
    }
}

impl mesh::rpc::Serve<GroupProtocol> for Serve {
    async fn handle(self: Arc<Self>, caller: NodeId, message: GroupMessage) {
        let GroupMessage::Call(call) = message;
        let Some(role) = self.0.get() else { return };
        if let Some(reply) = role.group_call(caller, call.inner.0).await {
            // Who asked may have given up.
            let _gone = call.tx.send(reply).await;
        }
    }
}

/// Entries of the group's log are larger than what members ask, and many are on their way at once.
fn group_limits() -> mesh::rpc::RpcLimits {
    mesh::rpc::RpcLimits { request_bytes: CALL_BYTES_MAX, concurrent: 256, ..mesh::rpc::RpcLimits::default() }
}

/// The mesh, as the group needs it.
struct MeshTransport(Mesh);

impl Transport for MeshTransport {
    fn call(&self, to: NodeId, call: Call) -> BoxFuture<'_, Result<Reply, String>> {
        Box::pin(async move {
            let client: protocols::Client<GroupProtocol> = self.0.client(to, alpn::GROUP);
            client.rpc(GroupCall(call)).await.map_err(|e| scores::chain(&e))
        })
    }

    fn reset(&self, to: NodeId) {
        self.0.link(to, alpn::GROUP).reset();
    }
}

/// The mesh, as the coordinator needs it.
struct MeshWire {
    mesh: Mesh,
    blobs: BlobPlane,
    documents: Documents,
    advertise: Vec<SocketAddr>,
    pins: Vec<RelayPin>,
}

fn failed(error: &(dyn std::error::Error + 'static)) -> WireError {
    WireError(scores::chain(error))
}

impl Wire for MeshWire {
    fn addr(&self) -> PeerAddr {
        let mut addr = self.mesh.addr();
        if !self.advertise.is_empty() {
            addr.addrs.clone_from(&self.advertise);
        }
        if let Some(pin) = self.pins.first() {
            addr.relay = Some(pin.url.clone());
        }
        addr
    }

    fn relays(&self) -> Vec<RelayPin> {
        self.pins.clone()
    }

    fn learn(&self, addr: PeerAddr) {
        self.mesh.learn(addr);
    }

    fn control(&self, coordinator: NodeId) -> protocols::Client<Control> {
        self.mesh.client(coordinator, alpn::CONTROL)
    }

    fn node(&self, node: NodeId) -> protocols::Client<Node> {
        self.mesh.client(node, alpn::NODE)
    }

    fn reach(&self, coordinator: NodeId) -> BoxFuture<'_, Result<(), WireError>> {
        Box::pin(async move {
            // One that moved may know where we are before we know where it is: whoever is connected proved its key.
            let mut from = PeerAddr::unknown(coordinator);
            for path in self.mesh.paths(coordinator) {
                match path.via {
                    Via::Direct(addr) => from.addrs.push(addr),
                    Via::Relay(url) => from.relay = Some(url),
                }
            }
            let connected = !from.addrs.is_empty() || from.relay.is_some();
            if connected {
                self.mesh.learn(from);
            }
            let link = self.mesh.link(coordinator, alpn::CONTROL);
            if let Ok(reached) = tokio::time::timeout(REACH_WITHIN, link.connect()).await {
                return reached.map_err(|e| failed(&e));
            }
            if connected {
                // As long as it has any connection, the endpoint tries no other path than the one that was good before
                // the move.
                self.mesh.drop_peer(coordinator);
            }
            Err(WireError("no answer in time".into()))
        })
    }

    fn reset(&self, coordinator: NodeId) {
        self.mesh.link(coordinator, alpn::CONTROL).reset();
    }

    fn recheck(&self) {
        self.mesh.recheck();
    }

    fn has<'a>(&'a self, blob: &'a BlobRef) -> BoxFuture<'a, bool> {
        Box::pin(self.blobs.has(blob))
    }

    fn fetch<'a>(&'a self, blob: &'a BlobRef, from: NodeId) -> BoxFuture<'a, Result<u64, WireError>> {
        Box::pin(async move {
            let progress = watch::Sender::new(0);
            let report = self.blobs.fetch(&self.mesh, blob, &[from], &progress).await;
            report.map(|r| r.bytes_moved).map_err(|e| failed(&e))
        })
    }

    fn read<'a>(&'a self, blob: &'a BlobRef, max: usize) -> BoxFuture<'a, Result<Bytes, WireError>> {
        Box::pin(async move { self.blobs.read(blob, max).await.map_err(|e| failed(&e)) })
    }

    fn pin<'a>(&'a self, name: String, blob: &'a BlobRef) -> BoxFuture<'a, Result<(), WireError>> {
        Box::pin(async move { self.blobs.pin(&name, blob).await.map_err(|e| failed(&e)) })
    }

    fn unpin(&self, name: String) -> BoxFuture<'_, Result<(), WireError>> {
        Box::pin(async move { self.blobs.unpin(&name).await.map_err(|e| failed(&e)) })
    }

    fn pins(&self) -> BoxFuture<'_, Result<Vec<(String, BlobHash)>, WireError>> {
        Box::pin(async move { self.blobs.pins().await.map_err(|e| failed(&e)) })
    }

    fn document(&self) -> Option<[u8; 32]> {
        self.documents.own()
    }

    fn publish(&self, key: String, value: Bytes) {
        self.documents.publish(key, value);
    }

    fn follow(&self, document: [u8; 32], writer: PeerAddr) {
        self.documents.follow(document, writer);
    }

    fn unfollow(&self, document: [u8; 32]) {
        self.documents.unfollow(document);
    }
}
