//! kill -9 of the agent while it changes files, at every turn and at random instants.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use devices::{HostChecks, LinuxHost};
use protocols::secret::Place;
use protocols::{SealedText, SecretValue, Verdict};
use rustix::process::{Signal, getpid, kill_process};
use scores::files::{FileStep, FileTree, FilesScore, Tree};
use scores::{DeviceError, Ensemble, OpenSecrets, Player, Registry, Stage, Topology, Trial, Trials};

use crate::node::{FAILING, Node, job};

/// A host whose agent is killed before and after its calls, at the one that is named.
struct Deadly {
    host: LinuxHost,
    calls: AtomicU32,
    at: u32,
}

impl Deadly {
    fn turn(&self) {
        if self.calls.fetch_add(1, Ordering::SeqCst) + 1 == self.at {
            kill_process(getpid(), Signal::KILL).unwrap();
            std::thread::sleep(Duration::from_secs(60));
        }
    }
}

impl Topology for Deadly {
    fn name(&self) -> &str {
        "a deadly host"
    }
}

impl OpenSecrets for Deadly {
    async fn open(&self, secret: &SealedText, place: Place<'_>) -> Result<SecretValue, DeviceError> {
        self.host.open(secret, place).await
    }
}

impl FileTree for Deadly {
    async fn look(&self, paths: &[String]) -> Result<Tree, DeviceError> {
        self.turn();
        self.host.look(paths).await
    }

    async fn know(&self, users: &[String], groups: &[String]) -> Result<(), DeviceError> {
        self.host.know(users, groups).await
    }

    async fn remember(&self, steps: &[FileStep], trial: &Trial) -> Result<(), DeviceError> {
        self.turn();
        let done = self.host.remember(steps, trial).await;
        self.turn();
        done
    }

    async fn change(
        &self,
        step: &FileStep,
        secret: Option<&SecretValue>,
        stage: &dyn Stage,
    ) -> Result<(), DeviceError> {
        self.turn();
        let done = self.host.change(step, secret, stage).await;
        self.turn();
        done
    }

    async fn restore(&self, trial: &Trial) -> Result<(), DeviceError> {
        self.turn();
        let done = self.host.restore(trial).await;
        self.turn();
        done
    }
}

const FOLDER: &str = "FLT_TEST_CRASH_FOLDER";
const AT: &str = "FLT_TEST_CRASH_AT";
const POLICY: &str = "FLT_TEST_CRASH_POLICY";

/// The agent that is killed; the tests below start it.
#[tokio::test]
#[ignore = "a child of the other tests"]
async fn child() {
    let folder = std::env::var(FOLDER).expect("the folder of the node");
    let at = std::env::var(AT).expect("when to die").parse().unwrap();
    let node = Node::at(Path::new(&folder));
    let host = Deadly { host: node.host(), calls: AtomicU32::new(0), at };
    let player = Player::new(host, Registry::new().with::<FilesScore>());
    let trials = Trials::open(node.trials()).unwrap();
    let agent = Ensemble::new(trials, Arc::new(HostChecks::default())).with(player);
    agent.recover(&node.stage).await;
    agent.play(&job(&new(), 2, &std::env::var(POLICY).unwrap()), &node.stage).await;
}

fn start(node: &Node, at: u32, policy: &str) -> std::process::Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crash::child", "--ignored"])
        .env(FOLDER, node.folder())
        .env(AT, at.to_string())
        .env(POLICY, policy)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn old() -> String {
    format!(
        r#""a":{{"content":"{}","mode":"0600"}},"goes":{{"content":"old"}},"d/x":{{"content":"old"}}"#,
        "o".repeat(60_000)
    )
}

fn new() -> String {
    let long = "n".repeat(60_000);
    format!(
        r#""a":{{"content":"{long}"}},"goes":{{"absent":true}},"d/x":{{"content":"{long}"}},"e/f/g":{{"content":"{long}"}}"#
    )
}

async fn at_old() -> (Node, std::collections::BTreeMap<String, String>) {
    let node = Node::new();
    assert_eq!(node.play(&old(), 1, "{}").await.verdict, Verdict::Converged);
    let before = node.snapshot();
    (node, before)
}

/// What an agent makes of it that starts after the crash.
async fn judge(node: &Node, before: &std::collections::BTreeMap<String, String>, policy: &str, crash: &str) {
    let agent = node.agent();
    agent.recover(&node.stage).await;
    let found = node.snapshot();
    let report = agent.play(&job(&new(), 2, policy), &node.stage).await;
    let after = node.snapshot();
    assert!(!after.keys().any(|path| path.contains(".flt-")), "{crash}: {after:?}");
    if policy == "{}" {
        assert_eq!(report.verdict, Verdict::Converged, "{crash}: {report:?}");
        assert!(found == *before || found == after, "{crash}: half applied: {found:?}");
        assert!(after.contains_key("/srv/e/f/g") && !after.contains_key("/srv/goes"));
        assert_eq!(fs::read_dir(node.trials()).unwrap().count(), 0, "{crash}");
    } else {
        assert_eq!(report.verdict, Verdict::Quarantined, "{crash}: {report:?}");
        assert_eq!(found, *before, "{crash}");
        assert_eq!(after, *before, "{crash}");
    }
}

#[tokio::test]
async fn files_survive_kill_at_every_turn() {
    for policy in ["{}", FAILING] {
        let mut turns = 0;
        for at in 1.. {
            let (node, before) = at_old().await;
            let status = start(&node, at, policy).wait().unwrap();
            if status.signal() != Some(9) {
                assert!(status.success(), "{status}");
                break;
            }
            turns += 1;
            judge(&node, &before, policy, &format!("killed at turn {at}")).await;
        }
        assert!(turns >= 12, "only {turns} turns");
    }
}

/// The agent that recovers is killed as well, at every turn of its recovery.
#[tokio::test]
async fn files_survive_kill_during_recovery() {
    let mut turns = 0;
    for at in 1.. {
        let (node, before) = at_old().await;
        // Look, remember twice, one step done, the second one before its start: half of the change is there.
        assert_eq!(start(&node, 7, "{}").wait().unwrap().signal(), Some(9));
        let status = start(&node, at, "{}").wait().unwrap();
        let killed = status.signal() == Some(9);
        assert!(killed || status.success(), "{status}");
        judge(&node, &before, "{}", &format!("killed at turn {at} after the recovery began")).await;
        if !killed {
            break;
        }
        turns += 1;
    }
    assert!(turns >= 14, "only {turns} turns");
}

#[tokio::test]
async fn files_survive_kill_at_random_instants() {
    let (node, _) = at_old().await;
    let started = Instant::now();
    assert!(start(&node, 0, "{}").wait().unwrap().success());
    let whole = started.elapsed();
    let rounds = 25;
    for round in 0..rounds {
        let (node, before) = at_old().await;
        let mut child = start(&node, 0, "{}");
        std::thread::sleep(whole * (round + 1) / (rounds + 1));
        child.kill().unwrap();
        child.wait().unwrap();
        judge(&node, &before, "{}", &format!("killed at {} of {rounds}", round + 1)).await;
    }
}
