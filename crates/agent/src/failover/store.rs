//! What a driver keeps on the disk: what its node must not forget, and the flight recorder.

use std::io;
use std::path::{Path, PathBuf};

use failover::{Durable, FlightRecorder};
use scores::durable;
use scores::failover::Cluster;

/// The folder of a cluster.
#[derive(Debug, Clone)]
pub(super) struct Folder {
    path: PathBuf,
}

impl Folder {
    pub(super) fn open(root: &Path, cluster: &failover::ClusterName) -> io::Result<Self> {
        // A cluster's name may hold what a file's may not.
        let path = root.join(&blake3::hash(cluster.as_str().as_bytes()).to_hex()[..16]);
        durable::make_folder(&path)?;
        Ok(Self { path })
    }

    /// What was driven by an earlier process, and may have been left running.
    pub(super) fn left(root: &Path) -> Vec<Cluster> {
        let folders = std::fs::read_dir(root).into_iter().flatten().flatten();
        let left = folders.filter_map(|folder| std::fs::read(folder.path().join(CLUSTER)).ok());
        left.filter_map(|bytes| postcard::from_bytes(&bytes).ok()).collect()
    }

    /// Remembers what is driven, so that it is ended even if it is withdrawn while nothing runs that could hear of it.
    pub(super) fn begin(&self, cluster: &Cluster) -> io::Result<()> {
        durable::write(&self.path.join(CLUSTER), &postcard::to_stdvec(cluster).map_err(io::Error::other)?)
    }

    /// Nothing of it is left. What the node must not forget stays.
    pub(super) fn end(&self) -> io::Result<()> {
        match std::fs::remove_file(self.path.join(CLUSTER)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => durable::sync_folder(&self.path),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// What the last agent kept. What cannot be read must not be taken for nothing: a promise could be forgotten.
    pub(super) fn durable(&self) -> io::Result<Durable> {
        match std::fs::read(self.path.join(DURABLE)) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(io::Error::other),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Durable::default()),
            Err(error) => Err(error),
        }
    }

    pub(super) fn keep(&self, kept: Durable) -> io::Result<()> {
        durable::write(&self.path.join(DURABLE), &serde_json::to_vec(&kept).map_err(io::Error::other)?)
    }

    /// The flight recorder; one that cannot be read begins anew.
    pub(super) fn recorder(&self) -> FlightRecorder {
        let bytes = std::fs::read(self.path.join(FLIGHT));
        bytes.ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
    }

    pub(super) fn keep_recorder(&self, recorder: &FlightRecorder) -> io::Result<()> {
        durable::write(&self.path.join(FLIGHT), &serde_json::to_vec(recorder).map_err(io::Error::other)?)
    }
}

/// What is driven.
const CLUSTER: &str = "driven";
/// What the node must not forget.
const DURABLE: &str = "durable.json";
/// The flight recorder.
const FLIGHT: &str = "flight.json";

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use failover::settings::Candidate;
    use failover::{NodeId, Settings, Workload};

    use super::*;

    #[test]
    fn what_is_driven_is_found_again_until_it_has_ended() {
        let root = tempfile::tempdir().unwrap();
        let node = NodeId::from_bytes([7; 32]);
        let settings = Settings::fast(Workload::Service, vec![Candidate { node, priority: 1 }]);
        let cluster = Cluster {
            name: "service/a".to_owned().try_into().unwrap(),
            kind: "service/1".parse().unwrap(),
            generation: 3,
            payload: "{}".into(),
            names: [(node, "a".parse().unwrap())].into(),
            settings: Arc::new(settings),
            ports: scores::failover::Ports::default(),
            left: std::collections::BTreeSet::default(),
            first_left: false,
        };
        let folder = Folder::open(root.path(), &cluster.name).unwrap();
        assert_eq!(Folder::left(root.path()), []);
        folder.begin(&cluster).unwrap();
        folder.begin(&cluster).unwrap();
        assert_eq!(Folder::left(root.path()), [cluster]);
        folder.end().unwrap();
        folder.end().unwrap();
        assert_eq!(Folder::left(root.path()), []);
    }
}
