//! Groups of switches: what is declared for a group is on all of its members, or on none.

mod cut;

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use protocols::{Check, SecretKey, Verdict};
use scores::switch::{InterfaceScore, PortFenceScore, PortMode};
use scores::{BoxFuture, CheckFailed, Checks, Ensemble, PlayReport, Score, Stage, Trials};
use switches::{Declaration, Device, Group};
use switchsim::{Profile, Sim};
use tempfile::TempDir;

use crate::bed::{Quiet, Told, assignment, declaration};
use crate::play::{channel, device, interface, vlan};

/// Two switches, and one agent that has them as a group. The group is called as single switches are in other tests, so
/// that the same scores are for it.
pub(super) struct Pair {
    pub(super) sims: [Sim; 2],
    devices: Vec<Device>,
    key: SecretKey,
    stage: Quiet,
    checks: Arc<Told>,
    dir: TempDir,
}

pub(super) const NAMES: [&str; 2] = ["left", "right"];

fn group() -> Group {
    Group { name: device(), members: NAMES.map(|name| name.parse().unwrap()).to_vec() }
}

impl Pair {
    pub(super) async fn new(profiles: [Profile; 2], key: SecretKey) -> Self {
        let [left, right] = profiles;
        // Keys that are the same every time: members go in their order.
        let sims = [Sim::start(left.seed([1; 32])).await.unwrap(), Sim::start(right.seed([2; 32])).await.unwrap()];
        let dir = tempfile::tempdir().unwrap();
        let mut pair = Self { sims, devices: Vec::new(), key, stage: Quiet::default(), checks: Arc::default(), dir };
        pair.restart();
        pair
    }

    /// The same group for a process that starts anew.
    pub(super) fn restart(&mut self) {
        let open = |(name, sim): (&str, &Sim)| {
            let declared = Declaration { name: name.parse().unwrap(), ..declaration(sim, &self.dir) };
            Device::with_keys(declared, self.dir.path().join("state"), vec![self.key.clone()]).unwrap()
        };
        self.devices = NAMES.into_iter().zip(&self.sims).map(open).collect();
    }

    pub(super) fn ensemble(&self) -> Ensemble {
        self.judged_by(Arc::clone(&self.checks) as Arc<dyn Checks>)
    }

    fn judged_by(&self, checks: Arc<dyn Checks>) -> Ensemble {
        let trials = Trials::open(self.dir.path().join("trials")).unwrap();
        let alone = self.devices.iter().map(|device| switches::player(device.clone()));
        let ensemble = alone.fold(Ensemble::new(trials, checks), Ensemble::with);
        ensemble.with(switches::group_player(&group(), &self.devices).unwrap())
    }

    pub(super) async fn play<S: Score>(&self, score: &S, generation: u64) -> PlayReport {
        self.ensemble().play(&assignment(score, generation), &self.stage).await
    }

    pub(super) fn running(&self) -> [String; 2] {
        [self.sims[0].running_config(), self.sims[1].running_config()]
    }

    pub(super) fn startup(&self) -> [String; 2] {
        [self.sims[0].startup_config(), self.sims[1].startup_config()]
    }

    /// What was sent that is not for looking.
    fn changes(&self, side: usize) -> Vec<String> {
        let sent = self.sims[side].commands();
        sent.into_iter().filter(|command| command.starts_with("conf") || command.starts_with("write")).collect()
    }

    pub(super) fn open_trials(&self) -> usize {
        std::fs::read_dir(self.dir.path().join("trials")).map_or(0, Iterator::count)
    }
}

async fn pair() -> Pair {
    Pair::new([Profile::fastiron_8030(), Profile::fastiron_8095()], SecretKey::generate()).await
}

fn checked<S: Score>(score: &S, generation: u64) -> scores::Assignment {
    let mut job = assignment(score, generation);
    job.policy.checks = vec![Check::Tcp { address: "x:1".into() }];
    job
}

#[tokio::test]
async fn every_kind_is_on_both_and_then_there_is_nothing_to_do() {
    let pair = pair().await;
    let made = async |report: PlayReport| {
        assert_eq!(report.verdict, Verdict::Converged, "{report:?}");
        for name in NAMES {
            assert!(report.steps.iter().any(|step| step.starts_with(&format!("{name}: "))), "{report:?}");
        }
        let last = report.steps.iter().rev().take(2);
        assert_eq!(last.filter(|step| step.ends_with(": save the configuration")).count(), 2, "{report:?}");
        assert_eq!(pair.running(), pair.startup());
    };
    let servers = vlan(10, Some("servers"));
    let planned = pair.ensemble().plan(&assignment(&servers, 1)).await.unwrap();
    assert_eq!(pair.changes(0).len() + pair.changes(1).len(), 0, "a plan changes nothing");
    let report = pair.play(&servers, 1).await;
    assert_eq!(report.steps, planned);
    made(report).await;
    made(pair.play(&channel(&["1/1/1", "1/1/2"]), 2).await).await;
    let mode = Some(PortMode::Access { vlan: 10 });
    let port = InterfaceScore { mode, description: Some("db-1".into()), ..interface("1/1/5") };
    made(pair.play(&port, 3).await).await;
    made(pair.play(&crate::play::sealed(&pair.key, "correct-horse"), 4).await).await;
    let changes = pair.changes(0).len();
    for (again, generation) in [(pair.play(&servers, 1).await, 1), (pair.play(&port, 3).await, 3)] {
        assert_eq!((again.verdict, again.steps.len()), (Verdict::Converged, 0), "{generation}: {again:?}");
    }
    assert_eq!(pair.changes(0).len(), changes);
    // What somebody undoes on one of them is mended there alone.
    pair.sims[1].configure(&["no vlan 10"]);
    let mended = pair.play(&servers, 1).await;
    assert_eq!(mended.verdict, Verdict::Converged, "{mended:?}");
    assert!(mended.steps.iter().all(|step| step.starts_with("right: ")), "{mended:?}");
    assert_eq!(pair.changes(0).len(), changes);
}

#[tokio::test]
async fn members_are_still_devices_of_their_own() {
    let pair = pair().await;
    let own = scores::switch::VlanScore { device: "left".parse().unwrap(), ..vlan(30, Some("lab")) };
    let report = pair.play(&own, 1).await;
    assert_eq!(report.verdict, Verdict::Converged, "{report:?}");
    assert!(pair.running()[0].contains("lab") && !pair.running()[1].contains("lab"));
    // A fence is for one port of one switch.
    let fence = PortFenceScore { device: device(), port: "1/1/1".parse().unwrap(), fenced: true };
    let refused = pair.play(&fence, 1).await;
    assert_eq!(refused.verdict, Verdict::Refused, "{refused:?}");
    assert!(refused.message.contains("switch/rack-3/port-fence"), "{refused:?}");
}

#[tokio::test]
async fn what_stands_against_it_on_one_keeps_it_from_both() {
    let pair = pair().await;
    pair.sims[1].configure(&["interface ethernet 1/1/2", "ip address 10.0.0.1/24"]);
    let report = pair.play(&channel(&["1/1/1", "1/1/2"]), 1).await;
    assert_eq!(report.verdict, Verdict::Refused, "{report:?}");
    assert!(report.message.contains("right: not possible on"), "{report:?}");
    assert!(pair.changes(0).is_empty() && pair.changes(1).is_empty());
}

#[tokio::test]
async fn the_first_is_untouched_where_the_second_cannot_be_reached() {
    let mut pair = pair().await;
    let gone = Sim::start(Profile::fastiron_8095().seed([2; 32])).await.unwrap();
    drop(std::mem::replace(&mut pair.sims[1], gone));
    let report = pair.play(&vlan(10, Some("servers")), 1).await;
    assert_eq!(report.verdict, Verdict::Failed, "{report:?}");
    assert!(report.message.contains("right: "), "{report:?}");
    assert!(pair.changes(0).is_empty());
    // It is there again, at another address.
    pair.restart();
    let report = pair.play(&vlan(10, Some("servers")), 1).await;
    assert_eq!(report.verdict, Verdict::Converged, "{report:?}");
}

#[tokio::test]
async fn a_check_that_fails_undoes_it_on_both() {
    let pair = pair().await;
    let before = pair.running();
    pair.checks.fail.store(true, Ordering::SeqCst);
    let report = pair.ensemble().play(&checked(&vlan(10, Some("servers")), 1), &pair.stage).await;
    assert_eq!(report.verdict, Verdict::Quarantined, "{report:?}");
    assert!(report.message.ends_with("; undone"), "{report:?}");
    assert_eq!((pair.running(), pair.startup()), (before.clone(), before));
}

/// Fails, and takes a switch away before that.
#[derive(Debug)]
struct Takes(Mutex<Option<Sim>>);

impl Checks for Takes {
    fn run<'a>(&'a self, check: &'a Check, _stage: &'a dyn Stage) -> BoxFuture<'a, Result<(), CheckFailed>> {
        drop(self.0.lock().unwrap().take());
        Box::pin(async move { Err(CheckFailed::new(check, "told so")) })
    }
}

#[tokio::test]
async fn one_that_is_gone_keeps_the_other_from_nothing_and_is_named() {
    let mut pair = pair().await;
    let before = pair.running();
    let other = Sim::start(Profile::fastiron_8095()).await.unwrap();
    let checks = Arc::new(Takes(Mutex::new(Some(std::mem::replace(&mut pair.sims[1], other)))));
    let report = pair.judged_by(checks).play(&checked(&vlan(10, Some("servers")), 1), &pair.stage).await;
    assert_eq!(report.verdict, Verdict::Failed, "{report:?}");
    let said = "; and it could not be undone yet: right (left: as before): ";
    assert!(report.message.contains(said), "{report:?}");
    assert_eq!(pair.sims[0].running_config(), before[0]);
    assert_eq!(pair.open_trials(), 1, "it is tried again");
}
