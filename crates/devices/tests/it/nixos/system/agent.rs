//! What stands for the agent in these tests: the real ensemble and the real machine, with blobs from a folder, checks that
//! a file decides, and a stage that can die.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use devices::nixos::NixosHost;
use protocols::{BlobHash, BlobRef, Check, NodeId, Policy};
use scores::nixos::{NixosScore, TrustedKey};
use scores::{
    ArtifactError, Artifacts, Assignment, BoxFuture, Cancel, CheckFailed, Checks, Ensemble, PlayReport, Player,
    Recovered, Registry, Score as _, Stage, Trials,
};

use super::sandbox::block_on;

/// A blob store that is a folder; it counts what is asked for, and can be told to fail.
#[derive(Debug, Clone)]
pub(crate) struct Blobs {
    dir: PathBuf,
    pub(crate) asked: Arc<Mutex<Vec<BlobHash>>>,
    pub(crate) fail_after: Arc<AtomicUsize>,
}

impl Blobs {
    pub(crate) fn new(dir: PathBuf) -> Self {
        fs::create_dir_all(&dir).unwrap();
        Self { dir, asked: Arc::default(), fail_after: Arc::new(AtomicUsize::new(usize::MAX)) }
    }

    pub(crate) fn add(&self, bytes: &[u8]) -> BlobRef {
        let hash = BlobHash::from_bytes(*blake3::hash(bytes).as_bytes());
        fs::write(self.dir.join(hash.to_string()), bytes).unwrap();
        BlobRef { hash, size: bytes.len() as u64 }
    }

    pub(crate) fn add_file(&self, file: &Path, blob: &BlobRef) {
        let bytes = fs::read(file).unwrap();
        assert_eq!(self.add(&bytes), *blob, "{}", file.display());
    }

    pub(crate) fn get(&self, blob: &BlobRef) -> Vec<u8> {
        fs::read(self.dir.join(blob.hash.to_string())).unwrap()
    }
}

impl Artifacts for Blobs {
    fn fetch<'a>(&'a self, blob: &'a BlobRef) -> BoxFuture<'a, Result<PathBuf, ArtifactError>> {
        Box::pin(async move {
            let path = self.dir.join(blob.hash.to_string());
            let count = {
                let mut asked = self.asked.lock().unwrap();
                asked.push(blob.hash);
                asked.len()
            };
            let away = count > self.fail_after.load(Ordering::SeqCst);
            if away || !path.exists() {
                return Err(ArtifactError { blob: *blob, transient: true, source: "nobody has it".into() });
            }
            Ok(path)
        })
    }
}

/// Plays scores on the node, in this process.
pub(crate) struct Agent {
    dir: PathBuf,
    keys: Vec<TrustedKey>,
    pub(crate) blobs: Blobs,
    pub(crate) policy: Policy,
    /// How the store is reached.
    pub(crate) store: &'static str,
    pub(crate) stage: TestStage,
}

impl Agent {
    pub(crate) fn new(dir: &Path, publishers: &[NodeId]) -> Self {
        let keys = publishers.iter().map(|id| TrustedKey::of_node(*id)).collect();
        let policy = Policy { check_seconds: 1, attempts: 1, checks: vec![Check::Contact], ..Policy::default() };
        let blobs = Blobs::new(dir.join("blobs"));
        Self { dir: dir.to_owned(), keys, blobs, policy, store: "local", stage: TestStage::new(dir) }
    }

    pub(crate) fn trust(&mut self, keys: Vec<TrustedKey>) {
        self.keys = keys;
    }

    pub(crate) fn ensemble(&self) -> Ensemble {
        let keys = self.keys.clone();
        let host = NixosHost::new(self.dir.join("state"), Arc::new(self.blobs.clone()), Arc::new(move || keys.clone()))
            .with_store(self.store);
        let trials = Trials::open(self.dir.join("trials")).unwrap();
        let checks = Arc::new(FileChecks(self.dir.join("unhealthy")));
        Ensemble::new(trials, checks).with(Player::new(host, Registry::new().with::<NixosScore>()))
    }

    pub(crate) fn assignment(&self, score: &NixosScore, generation: u64) -> Assignment {
        Assignment {
            name: "test/node".parse().unwrap(),
            generation,
            kind: NixosScore::KIND,
            subject: score.subject(),
            payload: scores::score::payload(score).unwrap(),
            policy: self.policy.clone(),
        }
    }

    pub(crate) fn play(&self, score: &NixosScore, generation: u64) -> PlayReport {
        let report = block_on(self.ensemble().play(&self.assignment(score, generation), &self.stage));
        eprintln!("generation {generation}: {} {}", report.verdict, report.message);
        report
    }

    pub(crate) fn recover(&self) -> Vec<Recovered> {
        block_on(self.ensemble().recover(&self.stage))
    }

    /// Makes the checks fail, or pass.
    pub(crate) fn set_unhealthy(&self, system: Option<&str>) {
        let file = self.dir.join("unhealthy");
        match system {
            Some(system) => fs::write(file, system).unwrap(),
            None => drop(fs::remove_file(file)),
        }
    }
}

/// Checks that fail while the system runs that a file names.
struct FileChecks(PathBuf);

impl Checks for FileChecks {
    fn run<'a>(&'a self, check: &'a Check, stage: &'a dyn Stage) -> BoxFuture<'a, Result<(), CheckFailed>> {
        Box::pin(async move {
            stage.contact().await.map_err(|why| CheckFailed::new(check, why))?;
            let unhealthy = fs::read_to_string(&self.0).unwrap_or_default();
            let runs = fs::canonicalize("/run/current-system").unwrap_or_default();
            if !unhealthy.is_empty() && runs.to_string_lossy().ends_with(unhealthy.trim()) {
                return Err(CheckFailed::new(check, "this system is not healthy"));
            }
            Ok(())
        })
    }
}

/// A stage that writes down what it hears, and dies where it is told to.
pub(crate) struct TestStage {
    log: PathBuf,
    heard: AtomicUsize,
    /// The call at which the process kills itself.
    pub(crate) die_at: usize,
}

impl TestStage {
    fn new(dir: &Path) -> Self {
        Self { log: dir.join("stage.log"), heard: AtomicUsize::new(0), die_at: usize::MAX }
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn hear(&self, line: &str) {
        use std::io::Write as _;
        let mut log = fs::OpenOptions::new().create(true).append(true).open(&self.log).unwrap();
        writeln!(log, "{line}").unwrap();
        if self.heard.fetch_add(1, Ordering::SeqCst) + 1 >= self.die_at {
            let me = rustix::process::getpid();
            rustix::process::kill_process(me, rustix::process::Signal::KILL).unwrap();
        }
    }
}

impl Stage for TestStage {
    fn cancelled(&self) -> Option<Cancel> {
        None
    }

    fn before(&self, step: &str) -> Result<(), String> {
        self.hear(&format!("before {step}"));
        Ok(())
    }

    fn progress(&self, line: &str) {
        self.hear(line);
    }

    fn contact(&self) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async {
            self.hear("contact");
            Ok(())
        })
    }
}
