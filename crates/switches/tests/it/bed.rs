//! A simulated switch, its declaration, and an ensemble that plays on it.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use protocols::{Check, Policy, SecretKey};
use scores::{Assignment, BoxFuture, Cancel, CheckFailed, Checks, Ensemble, PlayReport, Score, Stage, Trials, score};
use switches::{Declaration, Device, HostKey, Netconf, Patience};
use switchsim::{Profile, Sim};
use tempfile::TempDir;

pub(crate) struct Bed {
    pub(crate) sim: Sim,
    pub(crate) device: Device,
    pub(crate) stage: Quiet,
    pub(crate) checks: Arc<Told>,
    pub(crate) key: SecretKey,
    pub(crate) dir: TempDir,
}

impl Bed {
    pub(crate) async fn new(profile: Profile) -> Self {
        Self::with_key(profile, SecretKey::generate()).await
    }

    /// With a node's key that is known beforehand.
    pub(crate) async fn with_key(profile: Profile, key: SecretKey) -> Self {
        Self::made(profile, key, Netconf::Auto, Patience::default()).await
    }

    /// Read by NETCONF, or not, as this says.
    pub(crate) async fn netconf(profile: Profile, netconf: Netconf) -> Self {
        Self::made(profile, SecretKey::generate(), netconf, Patience::default()).await
    }

    /// Waited for as long as this.
    pub(crate) async fn patient(profile: Profile, netconf: Netconf, patience: Patience) -> Self {
        Self::made(profile, SecretKey::generate(), netconf, patience).await
    }

    async fn made(profile: Profile, key: SecretKey, netconf: Netconf, patience: Patience) -> Self {
        // What is logged is shown with a test that fails.
        let log = tracing_subscriber::fmt().with_test_writer();
        let _again = log.with_max_level(tracing_subscriber::filter::LevelFilter::INFO).try_init();
        let sim = Sim::start(profile).await.unwrap();
        let dir = tempfile::tempdir().unwrap();
        let declared = Declaration { netconf, ..declaration(&sim, &dir) };
        let device = Device::with_patience(declared, dir.path().join("state"), vec![key.clone()], patience).unwrap();
        Self { sim, device, stage: Quiet::default(), checks: Arc::default(), key, dir }
    }

    /// The same device for a process that starts anew.
    pub(crate) fn restart(&mut self) {
        let declared = self.device.declaration().clone();
        self.device = Device::with_keys(declared, self.dir.path().join("state"), vec![self.key.clone()]).unwrap();
    }

    pub(crate) fn ensemble(&self) -> Ensemble {
        let trials = Trials::open(self.dir.path().join("trials")).unwrap();
        let checks: Arc<dyn Checks> = Arc::clone(&self.checks) as Arc<dyn Checks>;
        Ensemble::new(trials, checks).with(switches::player(self.device.clone()))
    }

    pub(crate) async fn play<S: Score>(&self, score: &S, generation: u64) -> PlayReport {
        self.ensemble().play(&assignment(score, generation), &self.stage).await
    }

    pub(crate) async fn plan<S: Score>(&self, score: &S) -> Result<Vec<String>, String> {
        let planned = self.ensemble().plan(&assignment(score, 1)).await;
        planned.map_err(|error| scores::chain(&error))
    }

    pub(crate) fn open_trials(&self) -> usize {
        std::fs::read_dir(self.dir.path().join("trials")).map_or(0, Iterator::count)
    }
}

pub(crate) fn declaration(sim: &Sim, dir: &TempDir) -> Declaration {
    Declaration {
        name: "rack-3".parse().unwrap(),
        host: sim.addr().ip().to_string(),
        port: sim.addr().port(),
        host_key: HostKey::Fingerprint(sim.fingerprint().to_owned()),
        user: "admin".into(),
        password_file: Some(file(dir, "password", "secret\n")),
        key_file: None,
        enable_password_file: Some(file(dir, "enable", "enable\n")),
        legacy: Vec::new(),
        netconf: Netconf::Auto,
        exclusive: false,
    }
}

pub(crate) fn file(dir: &TempDir, name: &str, text: &str) -> PathBuf {
    let path = dir.path().join(name);
    std::fs::write(&path, text).unwrap();
    path
}

pub(crate) fn assignment<S: Score>(score: &S, generation: u64) -> Assignment {
    Assignment {
        name: "lab/switch".parse().unwrap(),
        generation,
        kind: S::KIND,
        subject: score.subject(),
        payload: score::payload(score).unwrap(),
        policy: Policy { attempts: 1, check_seconds: 1, ..Policy::default() },
    }
}

/// Checks that say what they are told to.
#[derive(Debug, Default)]
pub(crate) struct Told {
    pub(crate) fail: std::sync::atomic::AtomicBool,
}

impl Checks for Told {
    fn run<'a>(&'a self, check: &'a Check, _stage: &'a dyn Stage) -> BoxFuture<'a, Result<(), CheckFailed>> {
        let fails = self.fail.load(std::sync::atomic::Ordering::SeqCst);
        Box::pin(async move { if fails { Err(CheckFailed::new(check, "told so")) } else { Ok(()) } })
    }
}

#[derive(Debug, Default)]
pub(crate) struct Quiet {
    pub(crate) lines: Mutex<Vec<String>>,
}

impl Stage for Quiet {
    fn cancelled(&self) -> Option<Cancel> {
        None
    }

    fn progress(&self, line: &str) {
        self.lines.lock().unwrap().push(line.to_owned());
    }

    fn contact(&self) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async { Ok(()) })
    }
}
