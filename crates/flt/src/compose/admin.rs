//! An admin on the mesh: a client of a coordinator, and a place that serves what is offered.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use admin::session::{Reached, SessionError, first_to_greet};

use anyhow::Context as _;
use bytes::Bytes;
use mesh::blobs::{BlobConfig, BlobPlane};
use mesh::{Mesh, MeshBuilder};
use protocols::control::Control;
use protocols::enroll::Enrollment;
use protocols::node::Node;
use protocols::{BlobRef, FleetId, NodeId, PeerAddr, SecretKey, Ticket, alpn};

/// How long the admin's endpoint waits for its relay before it says where it is.
const RELAY_WAIT: Duration = Duration::from_secs(5);

/// An admin's connection to the fleet.
#[derive(Debug)]
pub struct AdminLink {
    mesh: Mesh,
    blobs: BlobPlane,
    coordinator: NodeId,
    /// Who may fetch what is offered.
    coordinators: Arc<Mutex<Vec<NodeId>>>,
    has_relay: bool,
    /// Removed when the link is dropped.
    _folder: tempfile::TempDir,
}

/// What is to be served.
#[derive(Debug, Clone)]
pub enum Content {
    /// These bytes.
    Bytes(Bytes),
    /// This file.
    File(PathBuf),
}

/// Joins the mesh as an admin. Nothing is dialled yet. Blobs are kept in a folder of their own below `dir`, which goes
/// with the link.
///
/// # Errors
/// If the network or the folder cannot be used.
pub async fn connect(
    key: SecretKey,
    ticket: &Ticket,
    dir: &Path,
    listen: &[SocketAddr],
    mdns: bool,
) -> anyhow::Result<AdminLink> {
    std::fs::create_dir_all(dir).with_context(|| format!("cannot make the folder {}", dir.display()))?;
    let folder =
        tempfile::Builder::new().prefix("offered-").tempdir_in(dir).context("cannot make a folder for blobs")?;
    let coordinator = ticket.coordinators.first().map(|c| c.id).context("the ticket names no coordinator")?;
    let coordinators = Arc::new(Mutex::new(ticket.coordinators.iter().map(|c| c.id).collect::<Vec<NodeId>>()));
    // Coordinators fetch what they are offered; nobody else has a reason to call.
    let known = Arc::clone(&coordinators);
    let access = move |peer: NodeId, protocol: &[u8]| {
        protocol == alpn::BLOBS && known.lock().unwrap_or_else(PoisonError::into_inner).contains(&peer)
    };
    let mut config = super::mesh_config(key, listen, mdns, access);
    config.relays = super::relay_refs(&ticket.relays);
    config.peers.clone_from(&ticket.coordinators);
    let has_relay = !config.relays.is_empty();
    let blobs = BlobPlane::open(BlobConfig::new(folder.path())).await?;
    let builder = MeshBuilder::bind(config).await.context("cannot join the network")?;
    let mesh = builder.blobs(&blobs).start();
    Ok(AdminLink { mesh, blobs, coordinator, coordinators, has_relay, _folder: folder })
}

impl AdminLink {
    /// A client of the coordinator.
    pub fn control(&self) -> protocols::Client<Control> {
        self.mesh.client(self.coordinator, alpn::CONTROL)
    }

    /// A client of one coordinator.
    pub fn control_of(&self, coordinator: NodeId) -> protocols::Client<Control> {
        self.mesh.client(coordinator, alpn::CONTROL)
    }

    /// Who is spoken with.
    pub const fn coordinator(&self) -> NodeId {
        self.coordinator
    }

    /// Finds out which of these coordinators answers, and speaks with that one from here on.
    ///
    /// # Errors
    /// What each of them did.
    pub async fn find(&mut self, fleet: FleetId, known: &[PeerAddr]) -> Result<Reached, Vec<(NodeId, SessionError)>> {
        self.learn(known);
        let candidates = known.iter().map(|c| (c.id, self.control_of(c.id))).collect();
        let reached = first_to_greet(fleet, candidates).await?;
        self.coordinator = reached.coordinator;
        Ok(reached)
    }

    /// Speaks with this coordinator from here on.
    pub const fn choose(&mut self, coordinator: NodeId) {
        self.coordinator = coordinator;
    }

    /// Takes note of coordinators and where they are.
    pub fn learn(&self, known: &[PeerAddr]) {
        let mut allowed = self.coordinators.lock().unwrap_or_else(PoisonError::into_inner);
        for coordinator in known {
            self.mesh.learn(coordinator.clone());
            if !allowed.contains(&coordinator.id) {
                allowed.push(coordinator.id);
            }
        }
    }

    /// What a key without rights may say to a coordinator.
    pub fn enrollment(&self, coordinator: NodeId) -> protocols::Client<Enrollment> {
        self.mesh.client(coordinator, alpn::ENROLL)
    }

    /// A client of an agent.
    pub fn node(&self, node: PeerAddr) -> protocols::Client<Node> {
        self.mesh.client(node, alpn::NODE)
    }

    /// Where we can be reached.
    pub async fn addr(&self) -> PeerAddr {
        if self.has_relay {
            // Without the relay the direct addresses may do.
            drop(self.mesh.online(RELAY_WAIT).await);
        }
        self.mesh.addr()
    }

    /// The mesh, to look at paths.
    pub fn mesh(&self) -> &Mesh {
        &self.mesh
    }

    /// Serves a blob until the link is closed.
    ///
    /// # Errors
    /// If it cannot be stored, or is not the blob it was taken for.
    pub async fn serve(&self, blob: &BlobRef, content: Content) -> anyhow::Result<()> {
        let found = match content {
            Content::Bytes(bytes) => self.blobs.add_bytes(bytes).await?,
            Content::File(path) => {
                self.blobs.add_file(&path).await.with_context(|| format!("cannot read {}", path.display()))?
            }
        };
        anyhow::ensure!(found == *blob, "a file changed while it was being published");
        self.blobs.pin(&format!("offered/{}", blob.hash), blob).await?;
        Ok(())
    }

    /// Closes the connection.
    pub async fn close(self) {
        self.mesh.close().await;
        self.blobs.shutdown().await;
    }
}
