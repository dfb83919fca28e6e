//! A score whose change becomes permanent only after the checks, and whose own change may replace the agent.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use protocols::{Kind, Subject, Verdict};
use scores::{
    DeviceError, Ensemble, Interpret, Invalid, Plan, Player, Registry, Resume, Score, Stage, Standing, Topology, Trial,
    Trials,
};
use serde::{Deserialize, Serialize};

use crate::fake::{FakeChecks, FakeStage, assignment};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Dial {
    to: u32,
}

impl Score for Dial {
    const KIND: Kind = Kind::from_static("dial/1");

    fn subject(&self) -> Subject {
        "dial".parse().unwrap()
    }

    fn check(&self) -> Result<(), Invalid> {
        if self.to > 10 { Err(Invalid::at("to", "it goes to 10")) } else { Ok(()) }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize)]
enum Turn {
    Now(u32),
    AtBoot(u32),
}

impl fmt::Display for Turn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

/// What it shows now, what at the next boot.
type Shown = (u32, u32);

impl Plan for Dial {
    type Observed = Shown;
    type Step = Turn;

    fn plan(&self, (now, boot): &Shown) -> Vec<Turn> {
        // Five is a position that only a boot can reach.
        let now = (*now != self.to && self.to != 5).then_some(Turn::Now(self.to));
        let boot = (*boot != self.to).then_some(Turn::AtBoot(self.to));
        now.into_iter().chain(boot).collect()
    }

    fn after_checks(step: &Turn) -> bool {
        matches!(step, Turn::AtBoot(_))
    }

    fn standing(&self, (now, _): &Shown) -> Standing {
        if *now == self.to { Standing::Running } else { Standing::RebootPending("5 needs a boot".into()) }
    }
}

#[derive(Default)]
struct Knob {
    shown: Mutex<Shown>,
    resumes: AtomicUsize,
    confirms: AtomicUsize,
    log: Mutex<Vec<String>>,
    /// Turns itself back, and says so.
    springs_back: AtomicBool,
}

struct Panel(Arc<Knob>);

impl Topology for Panel {
    fn name(&self) -> &str {
        "panel"
    }
}

impl Interpret<Panel> for Dial {
    async fn observe(&self, on: &Panel) -> Result<Shown, DeviceError> {
        Ok(*on.0.shown.lock().unwrap())
    }

    async fn begin(&self, on: &Panel, trial: &Trial, steps: &[Turn]) -> Result<(), DeviceError> {
        assert!(!steps.is_empty());
        let was = *on.0.shown.lock().unwrap();
        std::fs::write(trial.dir.join("was"), format!("{} {}", was.0, was.1))
            .map_err(|error| DeviceError::io("keep it", error))
    }

    async fn apply(&self, on: &Panel, step: &Turn, _trial: &Trial, stage: &dyn Stage) -> Result<(), DeviceError> {
        on.0.log.lock().unwrap().push(step.to_string());
        match step {
            Turn::Now(to) => on.0.shown.lock().unwrap().0 = *to,
            Turn::AtBoot(to) => on.0.shown.lock().unwrap().1 = *to,
        }
        stage.progress("turned");
        if on.0.springs_back.load(Ordering::SeqCst) {
            *on.0.shown.lock().unwrap() = (0, 0);
        }
        Ok(())
    }

    async fn confirm(&self, on: &Panel, _trial: &Trial) -> Result<(), DeviceError> {
        match on.0.confirms.fetch_add(1, Ordering::SeqCst) {
            0 if self.to == 7 => Err(DeviceError::transient("the bell is away")),
            _ => Ok(()),
        }
    }

    async fn revert(&self, on: &Panel, trial: &Trial) -> Result<(), DeviceError> {
        if let Ok(was) = std::fs::read_to_string(trial.dir.join("was")) {
            let (now, boot) = was.split_once(' ').unwrap();
            *on.0.shown.lock().unwrap() = (now.parse().unwrap(), boot.parse().unwrap());
        }
        Ok(())
    }

    async fn resume(&self, on: &Panel, _trial: &Trial) -> Result<Resume, DeviceError> {
        on.0.resumes.fetch_add(1, Ordering::SeqCst);
        let turned = on.0.shown.lock().unwrap().0 == self.to;
        Ok(if turned { Resume::Judge } else { Resume::Revert })
    }

    async fn taken_back(&self, on: &Panel, _trial: &Trial) -> Option<DeviceError> {
        let sprang = on.0.springs_back.load(Ordering::SeqCst);
        sprang.then(|| DeviceError::permanent("turn it").because("the spring was faster"))
    }
}

fn agent(knob: &Arc<Knob>, folder: &tempfile::TempDir) -> Ensemble {
    let player = Player::new(Panel(Arc::clone(knob)), Registry::new().with::<Dial>());
    Ensemble::new(Trials::open(folder.path()).unwrap(), Arc::new(FakeChecks::default())).with(player)
}

fn policy(command: &str) -> String {
    format!(r#"{{"checks":[{{"type":"exec","command":["{command}"]}}],"check_seconds":2}}"#)
}

#[tokio::test(start_paused = true)]
async fn what_is_permanent_is_done_only_after_the_checks() {
    let (knob, folder) = (Arc::new(Knob::default()), tempfile::tempdir().unwrap());
    let stage = FakeStage::default();
    let agent = agent(&knob, &folder);
    let report = agent.play(&assignment(&Dial { to: 3 }, 1, &policy("pass")), &stage).await;
    assert_eq!((report.verdict, report.steps.len()), (Verdict::Converged, 2), "{report:?}");
    let lines = stage.lines.lock().unwrap().clone();
    let at = |text: &str| lines.iter().position(|line| line.contains(text)).unwrap();
    assert!(at("Now(3)") < at("check exec pass") && at("check exec pass") < at("AtBoot(3)"), "{lines:?}");

    let report = agent.play(&assignment(&Dial { to: 4 }, 2, &policy("fail")), &stage).await;
    assert_eq!(report.verdict, Verdict::Quarantined, "{report:?}");
    assert_eq!(*knob.shown.lock().unwrap(), (3, 3));
    assert!(!knob.log.lock().unwrap().contains(&"AtBoot(4)".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_a_boot_says_so() {
    let (knob, folder) = (Arc::new(Knob::default()), tempfile::tempdir().unwrap());
    let report =
        agent(&knob, &folder).play(&assignment(&Dial { to: 5 }, 1, &policy("pass")), &FakeStage::default()).await;
    assert_eq!((report.verdict, report.message.as_str()), (Verdict::RebootPending, "5 needs a boot"), "{report:?}");
    assert_eq!(*knob.shown.lock().unwrap(), (0, 5));
}

#[tokio::test(start_paused = true)]
async fn a_change_that_replaced_the_agent_goes_on_with_its_checks() {
    for (command, verdict, shown) in [("pass", Verdict::Converged, (3, 3)), ("fail", Verdict::Quarantined, (0, 0))] {
        let (knob, folder) = (Arc::new(Knob::default()), tempfile::tempdir().unwrap());
        let stage = FakeStage::default();
        *stage.cancel_at.lock().unwrap() = Some(("turned".into(), scores::Cancel::Stopping));
        let job = assignment(&Dial { to: 3 }, 1, &policy(command));
        assert_eq!(agent(&knob, &folder).play(&job, &stage).await.verdict, Verdict::Playing);
        assert_eq!(*knob.shown.lock().unwrap(), (3, 0));
        let found = agent(&knob, &folder).recover(&FakeStage::default()).await;
        assert_eq!(found[0].report.verdict, verdict, "{found:?}");
        assert_eq!(*knob.shown.lock().unwrap(), shown);
        assert_eq!(knob.resumes.load(Ordering::SeqCst), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_change_that_passed_its_checks_is_confirmed_later_and_not_undone() {
    let (knob, folder) = (Arc::new(Knob::default()), tempfile::tempdir().unwrap());
    let stage = FakeStage::default();
    let job = assignment(&Dial { to: 7 }, 1, &policy("pass"));
    let report = agent(&knob, &folder).play(&job, &stage).await;
    assert_eq!(report.verdict, Verdict::Playing, "{report:?}");
    assert!(report.message.contains("the bell is away"), "{}", report.message);
    let report = agent(&knob, &folder).play(&job, &stage).await;
    assert_eq!(report.verdict, Verdict::Converged, "{report:?}");
    assert_eq!(*knob.shown.lock().unwrap(), (7, 7));
    assert_eq!(knob.log.lock().unwrap().len(), 2);
}

/// Plays until the checks have passed and nothing is permanent yet.
async fn play_up_to_the_settling(knob: &Arc<Knob>, folder: &tempfile::TempDir, job: &scores::Assignment) {
    let stage = FakeStage::default();
    *stage.cancel_at.lock().unwrap() = Some(("check exec pass".into(), scores::Cancel::Stopping));
    assert_eq!(agent(knob, folder).play(job, &stage).await.verdict, Verdict::Playing);
    assert_eq!(*knob.shown.lock().unwrap(), (3, 0), "turned, and not for the next boot");
}

#[tokio::test(start_paused = true)]
async fn a_power_cut_before_it_is_permanent_says_nothing_against_the_change() {
    let (knob, folder) = (Arc::new(Knob::default()), tempfile::tempdir().unwrap());
    let job = assignment(&Dial { to: 3 }, 1, &policy("pass"));
    play_up_to_the_settling(&knob, &folder, &job).await;
    *knob.shown.lock().unwrap() = (0, 0);
    let found = agent(&knob, &folder).recover(&FakeStage::default()).await;
    assert_eq!(found[0].report.verdict, Verdict::Failed, "{found:?}");
    assert_eq!(found[0].report.message, "the agent or the node went down during this change; undone");
    let report = agent(&knob, &folder).play(&job, &FakeStage::default()).await;
    assert_eq!((report.verdict, *knob.shown.lock().unwrap()), (Verdict::Converged, (3, 3)), "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn a_change_that_cuts_the_power_again_and_again_is_quarantined() {
    let (knob, folder) = (Arc::new(Knob::default()), tempfile::tempdir().unwrap());
    let job = assignment(&Dial { to: 3 }, 1, &policy("pass"));
    for round in 1..=3 {
        play_up_to_the_settling(&knob, &folder, &job).await;
        *knob.shown.lock().unwrap() = (0, 0);
        let found = agent(&knob, &folder).recover(&FakeStage::default()).await;
        let expected = if round < 3 { Verdict::Failed } else { Verdict::Quarantined };
        assert_eq!(found[0].report.verdict, expected, "{found:?}");
    }
    let report = agent(&knob, &folder).play(&job, &FakeStage::default()).await;
    assert_eq!((report.verdict, report.attempts), (Verdict::Quarantined, 0));
    assert_eq!(report.message, "the agent or the node went down 3 times during this change");
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_dies_before_it_is_permanent_makes_it_so_later() {
    let (knob, folder) = (Arc::new(Knob::default()), tempfile::tempdir().unwrap());
    play_up_to_the_settling(&knob, &folder, &assignment(&Dial { to: 3 }, 1, &policy("pass"))).await;
    let found = agent(&knob, &folder).recover(&FakeStage::default()).await;
    assert_eq!((found[0].report.verdict, *knob.shown.lock().unwrap()), (Verdict::Converged, (3, 3)), "{found:?}");
    assert_eq!(*knob.log.lock().unwrap(), ["Now(3)", "AtBoot(3)"]);
}

#[tokio::test(start_paused = true)]
async fn a_change_that_the_topology_took_back_says_why() {
    let (knob, folder) = (Arc::new(Knob::default()), tempfile::tempdir().unwrap());
    knob.springs_back.store(true, Ordering::SeqCst);
    let job = assignment(&Dial { to: 3 }, 1, &policy("pass"));
    let report = agent(&knob, &folder).play(&job, &FakeStage::default()).await;
    assert_eq!(report.verdict, Verdict::Quarantined, "{report:?}");
    assert_eq!(report.message, "the change was taken back: turn it: the spring was faster; undone");
    // Gone after its checks, while nobody looked, it is an interruption none the less.
    let (knob, folder) = (Arc::new(Knob::default()), tempfile::tempdir().unwrap());
    play_up_to_the_settling(&knob, &folder, &job).await;
    knob.springs_back.store(true, Ordering::SeqCst);
    *knob.shown.lock().unwrap() = (0, 0);
    let found = agent(&knob, &folder).recover(&FakeStage::default()).await;
    assert_eq!(found[0].report.verdict, Verdict::Failed, "{found:?}");
}
