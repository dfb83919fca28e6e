//! A folder that stands for a host, and all that an agent needs to play on it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use devices::{HostChecks, LinuxHost};
use protocols::{BlobHash, BlobRef, SecretKey};
use scores::files::FilesScore;
use scores::{
    ArtifactError, Artifacts, Assignment, BoxFuture, Cancel, Ensemble, PlayReport, Player, Registry, Score, Stage,
    Trials,
};

/// Blobs in a folder, by their hashes.
#[derive(Debug)]
pub(crate) struct Blobs(pub(crate) PathBuf);

impl Blobs {
    pub(crate) fn put(&self, bytes: &[u8]) -> BlobRef {
        let hash = BlobHash::from_bytes(*blake3::hash(bytes).as_bytes());
        fs::create_dir_all(&self.0).unwrap();
        fs::write(self.0.join(hash.to_string()), bytes).unwrap();
        BlobRef { hash, size: bytes.len() as u64 }
    }
}

impl Artifacts for Blobs {
    fn fetch<'a>(&'a self, blob: &'a BlobRef) -> BoxFuture<'a, Result<PathBuf, ArtifactError>> {
        Box::pin(async move {
            let path = self.0.join(blob.hash.to_string());
            if path.is_file() {
                return Ok(path);
            }
            Err(ArtifactError { blob: *blob, transient: true, source: "nobody who has it can be reached".into() })
        })
    }
}

#[derive(Debug, Default)]
pub(crate) struct Quiet {
    pub(crate) cancel: Mutex<Option<Cancel>>,
    pub(crate) contact: Mutex<Option<String>>,
}

impl Stage for Quiet {
    fn cancelled(&self) -> Option<Cancel> {
        *self.cancel.lock().unwrap()
    }

    fn progress(&self, _line: &str) {}

    fn contact(&self) -> BoxFuture<'_, Result<(), String>> {
        let refused = self.contact.lock().unwrap().clone();
        Box::pin(async move { refused.map_or(Ok(()), Err) })
    }
}

pub(crate) struct Node {
    folder: PathBuf,
    owned: Option<tempfile::TempDir>,
    pub(crate) stage: Quiet,
}

impl Node {
    pub(crate) fn new() -> Self {
        let owned = tempfile::tempdir().unwrap();
        let node = Self { owned: Some(owned), ..Self::at(Path::new("/")) };
        let folder = node.owned.as_ref().unwrap().path().to_owned();
        let node = Self { folder, ..node };
        node.prepare();
        node
    }

    /// One that another process made, or that lies on a file system of its own.
    pub(crate) fn at(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), owned: None, stage: Quiet::default() }
    }

    pub(crate) fn prepare(&self) {
        fs::create_dir_all(self.root().join("etc")).unwrap();
        fs::write(self.root().join("etc/passwd"), "root:x:0:0::/:/bin/sh\nweb:x:1234:1234::/:/bin/sh\n").unwrap();
        fs::write(self.root().join("etc/group"), "root:x:0:\nstaff:x:4321:web\n").unwrap();
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// What stands for `/`.
    pub(crate) fn root(&self) -> PathBuf {
        self.folder.join("root")
    }

    pub(crate) fn trials(&self) -> PathBuf {
        self.folder.join("trials")
    }

    pub(crate) fn blobs(&self) -> Blobs {
        Blobs(self.folder.join("blobs"))
    }

    pub(crate) fn host(&self) -> LinuxHost {
        LinuxHost::new(self.root(), Arc::new(self.blobs())).with_key(key())
    }

    pub(crate) fn agent(&self) -> Ensemble {
        let player = Player::new(self.host(), Registry::new().with::<FilesScore>());
        Ensemble::new(Trials::open(self.trials()).unwrap(), Arc::new(HostChecks::default())).with(player)
    }

    pub(crate) async fn play(&self, entries: &str, generation: u64, policy: &str) -> PlayReport {
        self.agent().play(&job(entries, generation, policy), &self.stage).await
    }

    /// Everything below the root: type, content or target, mode and owner.
    pub(crate) fn snapshot(&self) -> BTreeMap<String, String> {
        let mut found = BTreeMap::new();
        walk(&self.root(), "", &mut found);
        found
    }
}

fn walk(folder: &Path, prefix: &str, found: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = format!("{prefix}/{}", path.file_name().unwrap().to_string_lossy());
        let meta = fs::symlink_metadata(&path).unwrap();
        let content = if meta.is_dir() {
            walk(&path, &name, found);
            "directory".to_owned()
        } else if meta.is_symlink() {
            format!("-> {}", fs::read_link(&path).unwrap().display())
        } else if meta.is_file() {
            let bytes = fs::read(&path).unwrap();
            format!("{} {}", bytes.len(), blake3::hash(&bytes))
        } else {
            "other".to_owned()
        };
        let mode = if meta.is_symlink() { 0 } else { meta.permissions().mode() & 0o7777 };
        found.insert(name, format!("{content} {mode:o} {}:{}", meta.uid(), meta.gid()));
    }
}

/// The key that secrets are sealed to here.
pub(crate) fn key() -> SecretKey {
    SecretKey::from_seed(&[5; 32])
}

/// A score for `/srv` with these entries, in JSON without the braces.
pub(crate) fn job(entries: &str, generation: u64, policy: &str) -> Assignment {
    let payload = format!(r#"{{"root":"/srv","entries":{{{entries}}}}}"#);
    let score: FilesScore = scores::score::parse(&payload).unwrap();
    Assignment {
        name: "all/srv".parse().unwrap(),
        generation,
        kind: FilesScore::KIND,
        subject: score.subject(),
        payload,
        policy: serde_json::from_str(policy).unwrap(),
    }
}

pub(crate) const FAILING: &str = r#"{"checks":[{"type":"exec","command":["false"]}],"check_seconds":1}"#;
