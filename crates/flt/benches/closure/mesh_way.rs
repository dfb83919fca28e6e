//! Our way: published as blobs, fetched over the mesh as an agent does it, and brought into the store by the stage step.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use devices::nixos::{Nix, NixosHost, PublishStats, publish};
use mesh::blobs::{BlobConfig, BlobPlane};
use mesh::net::AllowAll;
use mesh::{Mesh, MeshBuilder, MeshConfig};
use protocols::{BlobRef, NodeId, SecretKey};
use scores::nixos::{NixosScore, NixosSystem as _, StorePath, TrustedKey};
use scores::{ArtifactError, Artifacts, BoxFuture, Cancel, Score as _, Stage, Trial};
use tokio::sync::watch;

use super::bed::{on_the_wire, sh};
use super::figures::{Parts, Taken};

/// An admin that publishes into the blob store of the node that the blobs come from.
pub(crate) struct Publisher {
    dir: PathBuf,
    key: SecretKey,
    mesh: Mesh,
    plane: BlobPlane,
}

/// What was published.
pub(crate) struct Made {
    pub(crate) score: NixosScore,
    pub(crate) stats: PublishStats,
}

impl Publisher {
    pub(crate) async fn start(dir: &Path) -> Self {
        let (mesh, plane) = node(&dir.join("blobs")).await;
        Self { dir: dir.to_owned(), key: SecretKey::generate(), mesh, plane }
    }

    /// Packs what is new, signs everything, and puts it where it is served from.
    pub(crate) async fn publish(&self, path: &StorePath) -> Made {
        let nix = Nix { home: Some(self.dir.join("home")), ..Nix::default() };
        let made = publish(&nix, path, &self.key, &self.dir.join("packed"), |_| {}).await.unwrap();
        for (file, blob) in &made.nars {
            if !self.plane.has(blob).await {
                self.plane.add_file(file).await.unwrap();
            }
            self.plane.pin(&blob.hash.to_string(), blob).await.unwrap();
        }
        let manifest = self.plane.add_bytes(made.manifest).await.unwrap();
        self.plane.pin(&manifest.hash.to_string(), &manifest).await.unwrap();
        Made { score: NixosScore::new(path.clone(), manifest), stats: made.stats }
    }

    /// An agent that knows where the blobs are, and has not connected yet.
    pub(crate) async fn agent(&self, dir: &Path) -> Agent {
        let (mesh, plane) = node(&dir.join("blobs")).await;
        mesh.learn(self.mesh.addr());
        let artifacts = dir.join("artifacts");
        let wire = Arc::new(Wire { mesh, plane, from: self.mesh.id(), artifacts, received: AtomicU64::new(0) });
        let key = TrustedKey::of_node(self.key.id());
        let host = NixosHost::new(dir.join("state"), wire.clone(), Arc::new(move || vec![key.clone()]));
        Agent { dir: dir.to_owned(), host: host.with_store("local"), wire }
    }

    pub(crate) async fn stop(self) {
        self.mesh.close().await;
        self.plane.shutdown().await;
    }
}

/// The part of an agent that a closure goes through.
pub(crate) struct Agent {
    dir: PathBuf,
    host: NixosHost,
    wire: Arc<Wire>,
}

impl Agent {
    pub(crate) async fn stage(&self, score: &NixosScore, generation: u64) -> Taken {
        std::fs::create_dir(&self.wire.artifacts).unwrap();
        let trial = Trial { subject: score.subject(), generation, dir: self.dir.join("trial") };
        sh("sync");
        let (before, wire) = (self.wire.received.load(Ordering::Relaxed), on_the_wire());
        let clock = Clock::default();
        let began = Instant::now();
        self.host.stage(score, &trial, &clock).await.unwrap();
        let wall = began.elapsed();
        let wire = on_the_wire() - wire;
        let received = self.wire.received.load(Ordering::Relaxed) - before;
        // As when a play has ended.
        std::fs::remove_dir_all(&self.wire.artifacts).unwrap();
        let heard = clock.0.lock().unwrap();
        let at = |word: &str| heard.iter().find(|(line, _)| line.starts_with(word)).unwrap().1;
        let (fetching, importing) = (at("fetching"), at("importing"));
        let parts = Parts { ask: fetching - began, fetch: importing - fetching, import: began + wall - importing };
        Taken { wall, received, wire, parts: Some(parts) }
    }

    pub(crate) async fn stop(self) {
        self.wire.mesh.close().await;
        self.wire.plane.shutdown().await;
    }
}

/// Fetches from one provider, keeps for others, and writes out; and counts.
struct Wire {
    mesh: Mesh,
    plane: BlobPlane,
    from: NodeId,
    artifacts: PathBuf,
    received: AtomicU64,
}

impl Artifacts for Wire {
    fn fetch<'a>(&'a self, blob: &'a BlobRef) -> BoxFuture<'a, Result<PathBuf, ArtifactError>> {
        Box::pin(async move {
            let progress = watch::Sender::new(0);
            let report = self.plane.fetch(&self.mesh, blob, &[self.from], &progress).await.unwrap();
            self.received.fetch_add(report.bytes_moved, Ordering::Relaxed);
            self.plane.pin(&format!("served/{}", blob.hash), blob).await.unwrap();
            let path = self.artifacts.join(blob.hash.to_string());
            self.plane.export(blob, &path).await.unwrap();
            Ok(path)
        })
    }
}

/// A stage that writes down when it heard what.
#[derive(Default)]
struct Clock(Mutex<Vec<(String, Instant)>>);

impl Stage for Clock {
    fn cancelled(&self) -> Option<Cancel> {
        None
    }

    fn progress(&self, line: &str) {
        self.0.lock().unwrap().push((line.to_owned(), Instant::now()));
    }

    fn contact(&self) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async { Ok(()) })
    }
}

async fn node(blobs: &Path) -> (Mesh, BlobPlane) {
    let plane = BlobPlane::open(BlobConfig::new(blobs)).await.unwrap();
    let mut config = MeshConfig::new(SecretKey::generate(), Arc::new(AllowAll));
    config.bind = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
    let mesh = MeshBuilder::bind(config).await.unwrap().blobs(&plane).start();
    (mesh, plane)
}
