//! Topologies that are made of others: all members or one, as declared or as before, through every crash.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use protocols::secret::Place;
use protocols::{SealedText, SecretValue, Verdict};
use scores::files::{FileStep, FileTree, FilesScore, Seen, Tree};
use scores::topology::{Each, Failover, MembersError, Redundant, Sharded};
use scores::{
    DeviceError, Ensemble, Interpret, OpenSecrets, Player, Registry, Score as _, Stage, Topology, Trial, Trials,
};

use crate::fake::{Disk, FakeChecks, FakeStage, MemTree, assignment, files};

/// A tree with a name, which can be away.
#[derive(Debug, Clone)]
struct Named {
    name: &'static str,
    tree: MemTree,
    away: Arc<AtomicBool>,
}

impl Topology for Named {
    fn name(&self) -> &str {
        self.name
    }

    async fn ensure_ready(&self) -> Result<(), DeviceError> {
        if self.away.load(Ordering::SeqCst) { Err(DeviceError::transient("reach it")) } else { Ok(()) }
    }
}

impl OpenSecrets for Named {
    async fn open(&self, secret: &SealedText, place: Place<'_>) -> Result<SecretValue, DeviceError> {
        self.tree.open(secret, place).await
    }
}

impl FileTree for Named {
    async fn look(&self, paths: &[String]) -> Result<Tree, DeviceError> {
        self.tree.look(paths).await
    }

    async fn know(&self, users: &[String], groups: &[String]) -> Result<(), DeviceError> {
        self.tree.know(users, groups).await
    }

    async fn remember(&self, steps: &[FileStep], trial: &Trial) -> Result<(), DeviceError> {
        self.tree.remember(steps, trial).await
    }

    async fn change(
        &self,
        step: &FileStep,
        secret: Option<&SecretValue>,
        stage: &dyn Stage,
    ) -> Result<(), DeviceError> {
        self.tree.change(step, secret, stage).await
    }

    async fn restore(&self, trial: &Trial) -> Result<(), DeviceError> {
        self.tree.restore(trial).await
    }
}

/// Some members and the folder of their trials, which outlive the agent.
struct Site {
    members: Vec<Named>,
    folder: tempfile::TempDir,
    stage: FakeStage,
}

impl Site {
    fn new(count: usize) -> Self {
        let names = ["a", "b", "c", "d", "e"];
        let member = |name| Named { name, tree: MemTree(Arc::default()), away: Arc::default() };
        Self {
            members: names.into_iter().take(count).map(member).collect(),
            folder: tempfile::tempdir().unwrap(),
            stage: FakeStage::default(),
        }
    }

    fn disk(&self, at: usize) -> &Disk {
        &self.members[at].tree.0
    }

    fn away(&self, at: usize, away: bool) {
        self.members[at].away.store(away, Ordering::SeqCst);
    }

    /// How many files each member has.
    fn files(&self) -> Vec<usize> {
        let is_file = |seen: &&Seen| matches!(seen, Seen::File { .. });
        self.members.iter().map(|member| member.tree.0.tree().values().filter(is_file).count()).collect()
    }

    fn play_on<T: Topology, S: Interpret<T>>(&self, topology: T) -> Ensemble {
        let trials = Trials::open(self.folder.path().join("trials")).unwrap();
        let player = Player::new(topology, Registry::new().with::<S>());
        Ensemble::new(trials, Arc::new(FakeChecks::default())).with(player)
    }

    fn redundant(&self) -> Ensemble {
        self.play_on::<_, Each<FilesScore>>(Redundant::new("pair", self.members.clone()).unwrap())
    }

    fn failover(&self) -> Ensemble {
        self.play_on::<_, FilesScore>(Failover::new("ways", self.members.clone()).unwrap())
    }

    fn open_trials(&self) -> usize {
        std::fs::read_dir(self.folder.path().join("trials")).map_or(0, |entries| entries.count())
    }

    async fn frozen(&self) {
        let stuck = |disk: &Disk| {
            let at = disk.freeze_at.load(Ordering::SeqCst);
            at > 0 && disk.calls.load(Ordering::SeqCst) >= at
        };
        while !self.members.iter().any(|member| stuck(&member.tree.0)) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn every_member_is_as_declared_and_one_that_drifted_is_brought_back_alone() {
    let site = Site::new(3);
    let job = assignment(&files(&[("x", "1"), ("y", "2")]), 1, "{}");
    let steps = site.redundant().plan(&job).await.unwrap();
    assert_eq!(steps.len(), 6, "{steps:?}");
    assert!(steps[0].starts_with("a: ") && steps[5].starts_with("c: "), "{steps:?}");
    let report = site.redundant().play(&job, &site.stage).await;
    assert_eq!(report.verdict, Verdict::Converged, "{report:?}");
    assert_eq!(site.files(), [2, 2, 2]);
    site.disk(1).tree.lock().unwrap().clear();
    let before = [0, 2].map(|at| site.disk(at).changes.load(Ordering::SeqCst));
    let steps = site.redundant().plan(&job).await.unwrap();
    assert!(steps.len() == 2 && steps.iter().all(|step| step.starts_with("b: ")), "{steps:?}");
    assert_eq!(site.redundant().play(&job, &site.stage).await.verdict, Verdict::Converged);
    assert_eq!(site.files(), [2, 2, 2]);
    assert_eq!([0, 2].map(|at| site.disk(at).changes.load(Ordering::SeqCst)), before, "the others are left alone");
    assert_eq!(site.open_trials(), 0);
}

#[tokio::test(start_paused = true)]
async fn when_one_member_or_a_check_fails_all_are_as_before() {
    let job = |policy: &str| assignment(&files(&[("x", "1"), ("y", "2")]), 1, policy);
    let site = Site::new(3);
    site.disk(2).errors.lock().unwrap().push(DeviceError::permanent("write x: no"));
    let report = site.redundant().play(&job("{}"), &site.stage).await;
    assert_ne!(report.verdict, Verdict::Converged);
    assert!(report.message.contains("c: write x: no"), "it is told which: {}", report.message);
    assert_eq!(site.files(), [0, 0, 0]);
    let failing = r#"{"checks":[{"type":"exec","command":["fail"]}],"check_seconds":0,"attempts":1}"#;
    let site = Site::new(2);
    let report = site.redundant().play(&job(failing), &site.stage).await;
    assert_eq!(report.verdict, Verdict::Quarantined, "{report:?}");
    assert_eq!(site.files(), [0, 0]);
    // One that cannot be undone keeps none of the others from it, and is tried again.
    let site = Site::new(2);
    site.disk(0).restore_errors.lock().unwrap().push(DeviceError::transient("restore: away"));
    let report = site.redundant().play(&job(failing), &site.stage).await;
    assert_eq!(site.files()[1], 0, "{report:?}");
    site.redundant().recover(&site.stage).await;
    assert_eq!(site.files(), [0, 0], "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn a_member_that_was_overtaken_is_left_and_hides_none_that_is_still_to_be_undone() {
    let failing = r#"{"checks":[{"type":"exec","command":["fail"]}],"check_seconds":0,"attempts":1}"#;
    let job = assignment(&files(&[("x", "1"), ("y", "2")]), 1, failing);
    let fails = |site: &Site, at: usize, error: DeviceError| site.disk(at).restore_errors.lock().unwrap().push(error);
    let site = Site::new(2);
    fails(&site, 0, DeviceError::overtaken("another was here"));
    let report = site.redundant().play(&job, &site.stage).await;
    assert!(report.message.contains("left as it is: a (b: as before): another was here"), "{report:?}");
    assert_eq!(site.files(), [2, 0]);
    for overtaken in [0, 1] {
        let site = Site::new(2);
        fails(&site, overtaken, DeviceError::overtaken("another was here"));
        fails(&site, 1 - overtaken, DeviceError::transient("restore: away"));
        let report = site.redundant().play(&job, &site.stage).await;
        assert!(report.message.contains("could not be undone yet: "), "{report:?}");
        assert!(report.message.ends_with(": restore: away"), "{report:?}");
        site.redundant().recover(&site.stage).await;
        assert_eq!(site.files()[1 - overtaken], 0, "it is tried again");
    }
}

#[tokio::test(start_paused = true)]
async fn a_crash_at_any_call_of_any_member_ends_with_all_or_none() {
    let old = files(&[("x", "old")]);
    let new = files(&[("x", "new"), ("y", "new")]);
    for at in 0..2 {
        for crash in 1.. {
            let site = Site::new(2);
            site.redundant().play(&assignment(&Each(old.clone()), 1, "{}"), &site.stage).await;
            let calls = site.disk(at).calls.load(Ordering::SeqCst);
            site.disk(at).freeze_at.store(calls + crash, Ordering::SeqCst);
            let job = assignment(&Each(new.clone()), 2, "{}");
            let agent = site.redundant();
            let finished = tokio::select! {
                report = agent.play(&job, &site.stage) => {
                    assert_eq!(report.verdict, Verdict::Converged);
                    true
                }
                () = site.frozen() => false,
            };
            drop(agent);
            site.disk(at).freeze_at.store(0, Ordering::SeqCst);
            let agent = site.redundant();
            agent.recover(&site.stage).await;
            let found = site.files();
            assert!(found == [1, 1] || found == [2, 2], "member {at}, crash at {crash}: {found:?}");
            assert_eq!(agent.play(&job, &site.stage).await.verdict, Verdict::Converged);
            assert_eq!((site.files(), site.open_trials()), (vec![2, 2], 0), "member {at}, crash at {crash}");
            if finished {
                assert!(crash > 5, "it has more turns than that");
                break;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn every_subject_has_one_shard_and_few_move() {
    let site = Site::new(5);
    let score = |n: usize| FilesScore { root: format!("/{n}"), ..files(&[("x", "1")]) };
    let four = Sharded::new("shards", site.members[..4].to_vec()).unwrap();
    let five = Sharded::new("shards", site.members.clone()).unwrap();
    let (mut counts, mut moved) = ([0; 4], 0);
    for n in 0..400 {
        let subject = score(n).subject();
        let before = four.member(&subject).unwrap().name;
        let after = five.member(&subject).unwrap().name;
        counts[site.members.iter().position(|member| member.name == before).unwrap()] += 1;
        moved += usize::from(before != after);
        assert!(before == after || after == "e", "none moves between old members");
    }
    assert!(counts.iter().all(|count| *count > 60), "{counts:?}");
    assert!((40..140).contains(&moved), "{moved}");
    let home = four.member(&score(1).subject()).unwrap().name;
    let agent = site.play_on::<_, FilesScore>(four);
    let report = agent.play(&assignment(&score(1), 1, "{}"), &site.stage).await;
    assert_eq!(report.verdict, Verdict::Converged, "{report:?}");
    let holders: Vec<&str> =
        site.members.iter().filter(|member| !member.tree.0.tree().is_empty()).map(|member| member.name).collect();
    assert_eq!(holders, [home]);
}

#[tokio::test(start_paused = true)]
async fn the_first_that_is_ready_is_played_on_and_a_change_stays_with_it() {
    let site = Site::new(2);
    let job = assignment(&files(&[("x", "1")]), 1, "{}");
    assert_eq!(site.failover().play(&job, &site.stage).await.verdict, Verdict::Converged);
    assert_eq!(site.files(), [1, 0]);
    site.away(0, true);
    let job = assignment(&files(&[("x", "2")]), 2, "{}");
    // A crash in the middle of the change, on the second.
    site.disk(1).freeze_at.store(6, Ordering::SeqCst);
    let agent = site.failover();
    tokio::select! {
        report = agent.play(&job, &site.stage) => panic!("{report:?}"),
        () = site.frozen() => {}
    }
    drop(agent);
    site.disk(1).freeze_at.store(0, Ordering::SeqCst);
    // The first is there again: what was begun on the second is undone on the second.
    site.away(0, false);
    let first = site.disk(0).tree();
    site.failover().recover(&site.stage).await;
    assert_eq!(site.files(), [1, 0]);
    assert_eq!(site.disk(0).tree(), first);
    site.away(0, true);
    site.away(1, true);
    let report = site.failover().play(&job, &site.stage).await;
    assert_eq!(report.verdict, Verdict::Failed, "{report:?}");
    assert!(report.message.contains("a: reach it"), "{}", report.message);
}

#[test]
fn members_have_names_of_their_own() {
    let site = Site::new(2);
    let twice = vec![site.members[0].clone(), site.members[0].clone()];
    assert_eq!(Redundant::new("pair", twice).unwrap_err().to_string(), "`pair` has two members called `a`");
    let none = Failover::<Named>::new("ways", Vec::new()).unwrap_err();
    assert_eq!(none, MembersError::None("ways".into()));
    assert_eq!(
        serde_json::to_string(&Each(files(&[("x", "1")]))).unwrap(),
        serde_json::to_string(&files(&[("x", "1")])).unwrap()
    );
}
