//! An agent on the mesh, with the topologies of the host it runs on.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use agent::failover::{AgentCarrier, Drivers};
use agent::{Agent, BoxFuture, Facts, Fetcher, Uplink, UplinkError};
use anyhow::Context as _;
use bytes::Bytes;
use mesh::blobs::{BlobConfig, BlobPlane, FetchError};
use mesh::rpc::Link;
use mesh::{Heads, HeadsEvent, Mesh, MeshBuilder, Resolve};
use protocols::control::Control;
use protocols::enroll::Enrollment;
use protocols::facts::device::DeviceFacts;
use protocols::facts::{StableFacts, VolatileFacts};
use protocols::node::{Node, NodeMessage};
use protocols::store::Store;
use protocols::{BlobRef, Name, NodeId, PeerAddr, SecretKey, Ticket, alpn, relay_token};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Late;
use super::coordinator::{ClockPart, STOP_DEADLINE};
use super::documents::{Documents, Heard};

/// What an agent runs with.
#[derive(Debug, Clone)]
pub struct AgentParts {
    /// The data folder.
    pub data: PathBuf,
    /// Its key.
    pub key: SecretKey,
    /// The fleet, and perhaps the right to join it.
    pub ticket: Ticket,
    /// The name to join under.
    pub name: Name,
    /// UDP addresses to listen on.
    pub listen: Vec<SocketAddr>,
    /// Whether to look for coordinators on the local network.
    pub mdns: bool,
    /// Whether to publish and follow documents.
    pub documents: bool,
    /// Whether to use relays alone.
    pub relay_only: bool,
    /// Time between heartbeats.
    pub heartbeat: Duration,
    /// Time between looks for drift.
    pub drift: Duration,
    /// How long after a start the agent waits for news before it acts on what it knows; see [`GRACE`].
    pub grace: Duration,
    /// Whether the ledger's entries are asked for, and not only taken from documents.
    pub pulls: bool,
    /// The folder that files scores are confined to.
    pub files_root: PathBuf,
    /// Devices that it manages, which run no agent themselves.
    pub devices: Vec<switches::Declaration>,
    /// Which of these are changed as one.
    pub device_groups: Vec<switches::Group>,
    /// Time between looks at them, for their facts.
    pub device_facts: Duration,
    /// The clock.
    pub clock: ClockPart,
}

/// An agent that runs.
#[derive(Debug)]
pub struct RunningAgent {
    /// The role.
    pub role: Arc<Agent>,
    /// Its mesh.
    pub mesh: Mesh,
    blobs: BlobPlane,
    stop: CancellationToken,
    tasks: TaskTracker,
}

/// How long after a start an agent should wait for news before it acts on what it knows.
pub const GRACE: Duration = Duration::from_secs(60);

/// How long it should be between two looks at a device for its facts.
pub const DEVICE_FACTS: Duration = Duration::from_secs(300);

/// Starts an agent that plays in its own process.
///
/// # Errors
/// If the data folder, an address or the ledger is not usable; the chain of causes says which.
pub async fn start(parts: AgentParts) -> anyhow::Result<RunningAgent> {
    start_with(parts, None).await
}

/// Starts an agent whose hands are at a socket, if one is named.
///
/// # Errors
/// As [`start`].
pub async fn start_with(parts: AgentParts, hands: Option<PathBuf>) -> anyhow::Result<RunningAgent> {
    let store = Arc::new(Store::open(&parts.data)?);
    let late = Late::<Agent>::new();
    let gate = Arc::clone(&late);
    let access = move |peer: NodeId, protocol: &[u8]| gate.get().is_some_and(|a| a.allows(peer, protocol));
    let mut config = super::mesh_config(parts.key.clone(), &parts.listen, parts.mdns, access);
    config.relays = super::relay_refs(&parts.ticket.relays);
    config.relay_only = parts.relay_only;
    config.peers.clone_from(&parts.ticket.coordinators);
    config.relay_token = parts
        .ticket
        .invite
        .as_ref()
        .map(|invite| relay_token::relay_token(&invite.key(), parts.ticket.fleet, parts.key.id()));
    config.resolve = Some(Arc::new(AskCoordinator(Arc::clone(&late))));
    // The address first: an artifact store that was opened wants to be shut down before it is opened again.
    let builder = MeshBuilder::bind(config).await.context("cannot join the network")?;
    let blobs = BlobPlane::open(BlobConfig::new(parts.data.join("blobs"))).await?;
    let builder =
        builder.serve::<Node>(alpn::NODE, super::small_limits(), Arc::new(Serve(Arc::clone(&late)))).blobs(&blobs);
    let (builder, documents) = Documents::install(builder, parts.documents).await?;
    let (builder, heads, overheard) = builder.heads(agent::heads_topic(parts.ticket.fleet));
    let mesh = builder.start();
    let tasks = TaskTracker::new();
    let stop = CancellationToken::new();
    let uplink = Arc::new(MeshUplink {
        mesh: mesh.clone(),
        blobs: blobs.clone(),
        documents,
        heads,
        links: Mutex::default(),
        followed: Mutex::default(),
        artifacts: parts.data.join("artifacts"),
    });
    let fetcher = Fetcher::new(Arc::clone(&uplink) as Arc<dyn Uplink>);
    // Behind a socket, the hands have drivers of their own.
    let drivers = if hands.is_none() {
        super::failover::drivers(&parts.data, &super::hands::keys(&parts.key, &parts.data)).map(Some)
    } else {
        Ok(None)
    };
    let opened = drivers.and_then(|drivers| {
        let role = open(&parts, store, &uplink, fetcher, &late, (hands, drivers.as_deref()))?;
        Ok((role, drivers))
    });
    let (role, drivers) = match opened {
        Ok(opened) => opened,
        Err(error) => {
            mesh.close().await;
            blobs.shutdown().await;
            return Err(error);
        }
    };
    late.set(&role);
    let heard = Arc::downgrade(&role);
    uplink.documents.start(&tasks, &stop, move |heard_now: Heard| {
        if let Some(role) = heard.upgrade() {
            role.ingest(&heard_now.key, &heard_now.value);
        }
    });
    tasks.spawn(listen(overheard, Arc::downgrade(&role), stop.clone()));
    if let Some(drivers) = drivers {
        if role.drive(Arc::clone(&drivers)).is_err() {
            tracing::error!("this agent has drivers already");
        }
        tasks.spawn(drivers.run(AgentCarrier::new(&role), stop.clone()));
    }
    let running = Arc::clone(&role);
    let until = stop.clone();
    tasks.spawn(async move { running.run(until).await });
    Ok(RunningAgent { role, mesh, blobs, stop, tasks })
}

fn open(
    parts: &AgentParts,
    store: Arc<Store>,
    uplink: &Arc<MeshUplink>,
    fetcher: Arc<Fetcher>,
    late: &Arc<Late<Agent>>,
    (hands, drivers): (Option<PathBuf>, Option<&Drivers>),
) -> anyhow::Result<Arc<Agent>> {
    let devices = super::hands::devices(parts, late)?;
    let hands = match (hands, drivers) {
        (None, Some(drivers)) => super::hands::near(parts, &devices, &fetcher, late, drivers)?,
        (socket, _) => {
            super::hands::far(parts, &devices, &fetcher, socket.context("no socket of the hands is named")?)?
        }
    };
    let options = agent::Options {
        key: parts.key.clone(),
        ticket: parts.ticket.clone(),
        name: parts.name.clone(),
        heartbeat: parts.heartbeat,
        drift: parts.drift,
        device_facts: parts.device_facts,
        grace: parts.grace,
        pulls: parts.pulls,
        clock: Arc::clone(&parts.clock.0),
    };
    let facts = Arc::new(HostFacts { data: parts.data.clone(), devices });
    let uplink = Arc::clone(uplink) as Arc<dyn Uplink>;
    Ok(Agent::open(store, options, uplink, fetcher, hands, facts)?)
}

impl RunningAgent {
    /// Stops all of it, within a deadline. A play that is under way is left to the next start.
    pub async fn stop(self) {
        self.stop.cancel();
        self.tasks.close();
        if tokio::time::timeout(STOP_DEADLINE, self.tasks.wait()).await.is_err() {
            tracing::warn!("some tasks did not stop in time");
        }
        self.mesh.close().await;
        self.blobs.shutdown().await;
    }
}

/// Hands the role what its neighbours say of heads.
async fn listen(mut overheard: mpsc::Receiver<HeadsEvent>, role: Weak<Agent>, stop: CancellationToken) {
    loop {
        let event = tokio::select! {
            () = stop.cancelled() => return,
            event = overheard.recv() => event,
        };
        let (Some(event), Some(role)) = (event, role.upgrade()) else { return };
        match event {
            HeadsEvent::Neighbour(peer) => role.meet(peer),
            HeadsEvent::Heard { from, message } => role.overhear(from, message),
        }
    }
}

struct Serve(Arc<Late<Agent>>);

impl mesh::rpc::Serve<Node> for Serve {
    async fn handle(self: Arc<Self>, caller: NodeId, message: NodeMessage) {
        if let Some(role) = self.0.get() {
            role.node(caller, message).await;
        }
    }
}

struct AskCoordinator(Arc<Late<Agent>>);

impl Resolve for AskCoordinator {
    fn resolve(&self, peer: NodeId) -> mesh::BoxFuture<'static, Option<PeerAddr>> {
        let late = Arc::clone(&self.0);
        Box::pin(async move { late.get()?.locate(peer).await })
    }
}

struct HostFacts {
    data: PathBuf,
    devices: Vec<switches::Device>,
}

impl Facts for HostFacts {
    fn stable(&self) -> BoxFuture<'_, StableFacts> {
        Box::pin(super::hands::stable_facts())
    }

    fn volatile(&self) -> BoxFuture<'_, VolatileFacts> {
        Box::pin(super::hands::volatile_facts(self.data.clone()))
    }

    fn devices(&self) -> Vec<Name> {
        self.devices.iter().map(|device| device.declaration().name.clone()).collect()
    }

    fn device<'a>(&'a self, name: &'a Name) -> BoxFuture<'a, Result<DeviceFacts, String>> {
        Box::pin(async move {
            let device = self.devices.iter().find(|device| device.declaration().name == *name);
            let device = device.ok_or_else(|| format!("there is no device `{name}` here"))?;
            device.facts().await.map_err(|error| scores::chain(&error))
        })
    }
}

/// The mesh, as the agent needs it.
struct MeshUplink {
    mesh: Mesh,
    blobs: BlobPlane,
    documents: Documents,
    heads: Heads,
    links: Mutex<HashMap<(NodeId, &'static [u8]), Link>>,
    /// Which document of each coordinator is followed.
    followed: Mutex<HashMap<NodeId, [u8; 32]>>,
    artifacts: PathBuf,
}

impl MeshUplink {
    fn link(&self, peer: NodeId, protocol: &'static [u8]) -> Link {
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        links.entry((peer, protocol)).or_insert_with(|| self.mesh.link(peer, protocol)).clone()
    }

    async fn fetch_file(&self, blob: &BlobRef, from: &[NodeId]) -> Result<PathBuf, UplinkError> {
        let progress = watch::Sender::new(0);
        self.blobs.fetch(&self.mesh, blob, from, &progress).await.map_err(|error| {
            // A full disk may be emptied, a provider come back; a blob above the bounds stays so.
            let transient = !matches!(error, FetchError::OtherSize { .. });
            UplinkError { why: scores::chain(&error), transient }
        })?;
        // Kept for others to fetch, until the pins are swept at the next start.
        let failed =
            |error: &(dyn std::error::Error + 'static)| UplinkError { why: scores::chain(error), transient: true };
        self.blobs.pin(&format!("served/{}", blob.hash), blob).await.map_err(|e| failed(&e))?;
        tokio::fs::create_dir_all(&self.artifacts).await.map_err(|e| failed(&e))?;
        let path = self.artifacts.join(blob.hash.to_string());
        self.blobs.export(blob, &path).await.map_err(|e| failed(&e))?;
        Ok(path)
    }
}

impl Uplink for MeshUplink {
    fn control(&self, coordinator: NodeId) -> protocols::Client<Control> {
        self.link(coordinator, alpn::CONTROL).client()
    }

    fn fresh_control(&self, coordinator: NodeId) -> BoxFuture<'_, Result<protocols::Client<Control>, UplinkError>> {
        Box::pin(async move {
            let client = self.mesh.fresh_client(coordinator, alpn::CONTROL).await;
            client.map_err(|e| UplinkError { why: scores::chain(&e), transient: true })
        })
    }

    fn enrollment(&self, coordinator: NodeId) -> protocols::Client<Enrollment> {
        self.link(coordinator, alpn::ENROLL).client()
    }

    fn node(&self, agent: NodeId) -> protocols::Client<Node> {
        // Not remembered: other agents are asked seldom, and may be many.
        self.mesh.client(agent, alpn::NODE)
    }

    fn tell(&self, message: Bytes) {
        self.heads.say(message);
    }

    fn mingle(&self, agents: Vec<NodeId>) {
        self.heads.join(agents);
    }

    fn reset(&self, coordinator: NodeId) {
        self.link(coordinator, alpn::CONTROL).reset();
    }

    fn learn(&self, addr: PeerAddr) {
        self.mesh.learn(addr);
    }

    fn addr(&self) -> PeerAddr {
        self.mesh.addr()
    }

    fn recheck(&self) {
        self.mesh.recheck();
    }

    fn document(&self) -> Option<[u8; 32]> {
        self.documents.own()
    }

    fn publish(&self, key: String, value: Bytes) {
        self.documents.publish(key, value);
    }

    fn follow(&self, document: [u8; 32], coordinator: NodeId) {
        let addr = self.mesh.known(coordinator).unwrap_or_else(|| PeerAddr::unknown(coordinator));
        let before = self.followed.lock().unwrap_or_else(PoisonError::into_inner).insert(coordinator, document);
        // One of each: a coordinator that names a new one every time would have us follow them all.
        if let Some(before) = before.filter(|before| *before != document) {
            self.documents.unfollow(before);
        }
        self.documents.follow(document, addr);
    }

    fn fetch<'a>(&'a self, blob: &'a BlobRef, from: Vec<NodeId>) -> BoxFuture<'a, Result<PathBuf, UplinkError>> {
        Box::pin(async move { self.fetch_file(blob, &from).await })
    }

    fn play_ended(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            match tokio::fs::remove_dir_all(&self.artifacts).await {
                Ok(()) => {}
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => tracing::warn!(%error, "cannot clear the artifacts of a play"),
            }
        })
    }
}
