//! A tree of files in memory, a stage and checks that do as they are told.

use std::collections::BTreeMap;
use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use protocols::secret::Place;
use protocols::{BlobHash, Check, SealedText, SecretKey, SecretValue};
use scores::files::{Entry, FileStep, FileTree, FilesScore, Mode, Owner, Seen, Tree};
use scores::{
    Assignment, BoxFuture, Cancel, CheckFailed, Checks, DeviceError, Ensemble, OpenSecrets, Player, Registry, Score,
    Stage, Topology, Trial, Trials,
};

/// What survives a crash of the agent: the files, and what is to go wrong with them.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    pub(crate) tree: Mutex<Tree>,
    /// Errors for the next steps, the last one first.
    pub(crate) errors: Mutex<Vec<DeviceError>>,
    /// Errors for the next attempts to bring back what was there.
    pub(crate) restore_errors: Mutex<Vec<DeviceError>>,
    /// At which call the topology stops answering; 0 for never.
    pub(crate) freeze_at: AtomicUsize,
    /// Calls so far.
    pub(crate) calls: AtomicUsize,
    /// Steps taken so far.
    pub(crate) changes: AtomicUsize,
}

impl Disk {
    pub(crate) fn tree(&self) -> Tree {
        self.tree.lock().unwrap().clone()
    }

    /// Never returns at the call at which it is told to freeze: to the driver that is a crash.
    async fn call(&self) {
        let call = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
        if call == self.freeze_at.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct MemTree(pub(crate) Arc<Disk>);

impl Topology for MemTree {
    fn name(&self) -> &str {
        "memory"
    }
}

fn nobody() -> Owner {
    Owner { id: 0, name: Some("root".into()) }
}

fn owner(declared: Option<&String>) -> Owner {
    declared.map_or_else(nobody, |name| Owner { id: 7, name: Some(name.clone()) })
}

pub(crate) fn look(tree: &Tree, path: &str) -> Seen {
    for (at, _) in path.match_indices('/').skip(1) {
        match tree.get(&path[..at]) {
            None => return Seen::Absent,
            Some(Seen::Directory { .. }) => {}
            Some(other) => {
                let symlink = matches!(other, Seen::Symlink { .. });
                return Seen::Unreachable { by: path[..at].to_owned(), symlink };
            }
        }
    }
    tree.get(path).cloned().unwrap_or(Seen::Absent)
}

pub(crate) fn change(tree: &mut Tree, step: &FileStep, secret: Option<&SecretValue>) -> Result<(), DeviceError> {
    let path = step.path().to_owned();
    if !matches!(step, FileStep::Remove { .. }) {
        for (at, _) in path.match_indices('/').skip(1) {
            let above = path[..at].to_owned();
            let made = Seen::Directory { mode: Mode::DIRECTORY, owner: nobody(), group: nobody() };
            if !matches!(tree.entry(above).or_insert(made), Seen::Directory { .. }) {
                return Err(DeviceError::permanent("no directory"));
            }
        }
    }
    match step {
        FileStep::Write { content, mode, owner: o, group: g, .. } => {
            let (hash, size) = match secret {
                Some(secret) => hash_of(secret.expose()),
                None => (content.hash(), content.len()),
            };
            tree.insert(
                path,
                Seen::File { hash, size, mode: *mode, owner: owner(o.as_ref()), group: owner(g.as_ref()) },
            );
        }
        FileStep::MakeDirectory { mode, owner: o, group: g, .. } => {
            tree.insert(path, Seen::Directory { mode: *mode, owner: owner(o.as_ref()), group: owner(g.as_ref()) });
        }
        FileStep::SetDirectory { mode: m, owner: o, group: g, .. } => {
            let Some(Seen::Directory { mode, owner: is, group }) = tree.get_mut(&path) else {
                return Err(DeviceError::permanent("no directory"));
            };
            *mode = m.unwrap_or(*mode);
            *is = o.as_ref().map_or_else(|| is.clone(), |name| owner(Some(name)));
            *group = g.as_ref().map_or_else(|| group.clone(), |name| owner(Some(name)));
        }
        FileStep::Remove { .. } => {
            let below = format!("{path}/");
            if tree.keys().any(|other| other.starts_with(&below)) {
                return Err(DeviceError::permanent("not empty"));
            }
            tree.remove(&path);
        }
    }
    Ok(())
}

/// The key of the node that the tree is on.
pub(crate) fn node_key() -> SecretKey {
    SecretKey::from_seed(&[9; 32])
}

pub(crate) fn hash_of(bytes: &[u8]) -> (BlobHash, u64) {
    (BlobHash::from_bytes(*blake3::hash(bytes).as_bytes()), bytes.len() as u64)
}

impl OpenSecrets for MemTree {
    async fn open(&self, secret: &SealedText, place: Place<'_>) -> Result<SecretValue, DeviceError> {
        scores::secrets::open_with(&Arc::from([node_key()]), secret, place).await
    }
}

impl FileTree for MemTree {
    async fn look(&self, paths: &[String]) -> Result<Tree, DeviceError> {
        self.0.call().await;
        let tree = self.0.tree();
        Ok(paths.iter().map(|path| (path.clone(), look(&tree, path))).collect())
    }

    async fn know(&self, users: &[String], _groups: &[String]) -> Result<(), DeviceError> {
        match users.iter().any(|user| user == "stranger") {
            true => Err(DeviceError::permanent("find the user `stranger`")),
            false => Ok(()),
        }
    }

    async fn remember(&self, _steps: &[FileStep], trial: &Trial) -> Result<(), DeviceError> {
        self.0.call().await;
        assert_eq!(fs::read_dir(&trial.dir).unwrap().count(), 0, "a trial begins with an empty folder");
        // Not the type's own serde: what matters is that it goes through the disk.
        fs::write(trial.dir.join("kept"), format!("{:?}", self.0.tree())).unwrap();
        let key = trial.dir.to_string_lossy().into_owned();
        KEPT.lock().unwrap().insert(key, self.0.tree());
        self.0.call().await;
        Ok(())
    }

    async fn change(
        &self,
        step: &FileStep,
        secret: Option<&SecretValue>,
        _stage: &dyn Stage,
    ) -> Result<(), DeviceError> {
        self.0.call().await;
        let error = self.0.errors.lock().unwrap().pop();
        if let Some(error) = error.filter(|error| !error.to_string().starts_with("pass")) {
            return Err(error);
        }
        self.0.changes.fetch_add(1, Ordering::SeqCst);
        change(&mut self.0.tree.lock().unwrap(), step, secret)?;
        self.0.call().await;
        Ok(())
    }

    async fn restore(&self, trial: &Trial) -> Result<(), DeviceError> {
        self.0.call().await;
        if let Some(error) = self.0.restore_errors.lock().unwrap().pop() {
            return Err(error);
        }
        if let Ok(kept) = fs::read_to_string(trial.dir.join("kept")) {
            let tree = KEPT.lock().unwrap()[&*trial.dir.to_string_lossy()].clone();
            assert_eq!(kept, format!("{tree:?}"));
            *self.0.tree.lock().unwrap() = tree;
        }
        self.0.call().await;
        Ok(())
    }
}

/// Trees by trial folder, valid while the file with their digest is in that folder.
static KEPT: Mutex<BTreeMap<String, Tree>> = Mutex::new(BTreeMap::new());

#[derive(Debug, Default)]
pub(crate) struct FakeStage {
    pub(crate) cancel: Mutex<Option<Cancel>>,
    /// Cancels so at the first progress line that holds this text.
    pub(crate) cancel_at: Mutex<Option<(String, Cancel)>>,
    pub(crate) lines: Mutex<Vec<String>>,
}

impl Stage for FakeStage {
    fn cancelled(&self) -> Option<Cancel> {
        *self.cancel.lock().unwrap()
    }

    fn before(&self, step: &str) -> Result<(), String> {
        if step.contains("forbidden") { Err("the lease has ended".into()) } else { Ok(()) }
    }

    fn progress(&self, line: &str) {
        if let Some((text, cancel)) = &*self.cancel_at.lock().unwrap()
            && line.contains(text)
        {
            *self.cancel.lock().unwrap() = Some(*cancel);
        }
        self.lines.lock().unwrap().push(line.to_owned());
    }

    fn contact(&self) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async { Ok(()) })
    }
}

/// `exec fail` fails, `exec hang` never answers, `exec soon` passes at the third time.
#[derive(Debug, Default)]
pub(crate) struct FakeChecks {
    runs: AtomicUsize,
}

impl Checks for FakeChecks {
    fn run<'a>(&'a self, check: &'a Check, _stage: &'a dyn Stage) -> BoxFuture<'a, Result<(), CheckFailed>> {
        Box::pin(async move {
            let runs = self.runs.fetch_add(1, Ordering::SeqCst);
            match check.to_string().as_str() {
                "exec fail" => Err(CheckFailed::new(check, "exit status: 1")),
                "exec hang" => std::future::pending().await,
                "exec soon" if runs < 2 => Err(CheckFailed::new(check, "not yet")),
                _ => Ok(()),
            }
        })
    }
}

/// A node whose files and trials outlive its agent.
pub(crate) struct Node {
    pub(crate) disk: Arc<Disk>,
    pub(crate) folder: tempfile::TempDir,
    pub(crate) stage: FakeStage,
}

impl Node {
    pub(crate) fn new() -> Self {
        Self { disk: Arc::default(), folder: tempfile::tempdir().unwrap(), stage: FakeStage::default() }
    }

    /// What the agent is made of at each start.
    pub(crate) fn start(&self) -> Ensemble {
        let trials = Trials::open(self.folder.path().join("trials")).unwrap();
        let registry = Registry::new().with::<FilesScore>();
        let player = Player::new(MemTree(Arc::clone(&self.disk)), registry).only("files/*");
        Ensemble::new(trials, Arc::new(FakeChecks::default())).with(player)
    }

    /// What is left in the trials folder.
    pub(crate) fn open_trials(&self) -> usize {
        fs::read_dir(self.folder.path().join("trials")).map_or(0, |entries| entries.count())
    }
}

pub(crate) fn files(entries: &[(&str, &str)]) -> FilesScore {
    let entries = entries.iter().map(|(path, text)| {
        let entry = if *text == "ABSENT" { Entry::Absent } else { Entry::text(*text) };
        ((*path).to_owned(), entry)
    });
    FilesScore { root: "/r".into(), entries: entries.collect() }
}

pub(crate) fn assignment<S: Score>(score: &S, generation: u64, policy: &str) -> Assignment {
    Assignment {
        name: "all/test".parse().unwrap(),
        generation,
        kind: S::KIND,
        subject: score.subject(),
        payload: scores::score::payload(score).unwrap(),
        policy: serde_json::from_str(policy).unwrap(),
    }
}
