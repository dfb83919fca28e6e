//! A bond over a host and a switch as one change: the switch is a simulated one behind real SSH, the host is one of which
//! every step can fail. Whatever is lost wherever, both ends are as before or both as declared.

mod inband;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use protocols::{Mac, Policy, Verdict};
use scores::bond::{AdMember, AdState, BondScore, HostBond, HostLink, HostLinks, HostNetwork};
use scores::switch::Port;
use scores::topology::Pair;
use scores::{Assignment, BoxFuture, Checks, Custodian, Custody, DeviceError, Ensemble, Grant, PlayReport};
use scores::{Player, Registry, Topology, Trials};
use switches::Device;
use switchsim::{PortId, Profile};
use tokio::sync::Notify;

use crate::bed::{Bed, assignment};

/// What becomes of a step of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It fails, and has done nothing.
    FailsBefore,
    /// It fails, and has done its work.
    FailsAfter,
    /// The agent ends before it.
    EndsBefore,
    /// The agent ends when it is done.
    EndsAfter,
}

/// A host with two interfaces. Clones are the same host.
#[derive(Debug, Clone, Default)]
struct Host {
    inner: Arc<Mutex<Inner>>,
    ended: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Inner {
    running: Option<HostBond>,
    startup: Option<HostBond>,
    /// Steps that were asked for so far.
    steps: usize,
    /// What becomes of which one.
    fate: Option<(usize, Fate)>,
    /// Nothing speaks LACP at the other end, as the host sees it.
    deaf: bool,
    addresses: BTreeSet<String>,
    /// Who has custody of the switch, where that is asked for: no step may be taken without it.
    desk: Option<Arc<Desk>>,
}

impl Host {
    /// A step: `act` is what it does.
    async fn step(&self, act: impl FnOnce(&mut Inner) + Send) -> Result<(), DeviceError> {
        let fate = {
            let mut inner = self.inner.lock().unwrap();
            inner.steps += 1;
            assert!(inner.desk.as_ref().is_none_or(|desk| desk.is_taken()), "step {} without custody", inner.steps);
            let fate = inner.fate.filter(|(at, _)| *at == inner.steps).map(|(_, fate)| fate);
            if !matches!(fate, Some(Fate::FailsBefore | Fate::EndsBefore)) {
                act(&mut inner);
            }
            fate
        };
        match fate {
            None => Ok(()),
            Some(Fate::FailsBefore | Fate::FailsAfter) => Err(DeviceError::transient("reach the network's daemon")),
            Some(Fate::EndsBefore | Fate::EndsAfter) => {
                self.ended.notify_one();
                std::future::pending().await
            }
        }
    }

    fn set_up(&self) -> (Option<HostBond>, Option<HostBond>) {
        let inner = self.inner.lock().unwrap();
        (inner.running.clone(), inner.startup.clone())
    }

    fn steps(&self) -> usize {
        self.inner.lock().unwrap().steps
    }
}

fn mac(n: u8) -> Mac {
    // What the simulated switch has plugged into its first ports.
    Mac::new([0x52, 0x54, 0, 0xaa, 0, n])
}

impl Topology for Host {
    fn name(&self) -> &str {
        "host"
    }
}

impl HostNetwork for Host {
    async fn look(&self, bond: &str) -> Result<HostLinks, DeviceError> {
        let inner = self.inner.lock().unwrap();
        let link =
            |n| HostLink { mac: Some(mac(n)), up: true, addresses: inner.addresses.clone(), ..HostLink::default() };
        let mut links = BTreeMap::from([("eth1".to_owned(), link(0)), ("eth2".to_owned(), link(1))]);
        let state = inner.running.as_ref().map(|set| {
            links.insert(bond.to_owned(), link(0));
            let member = AdMember { up: true, aggregator: Some(1) };
            let members = set.nics.iter().map(|nic| (nic.clone(), member.clone())).collect();
            let partner = if inner.deaf { None } else { Some(mac(200)) };
            AdState { lacp: true, aggregator: Some(1), partner, members }
        });
        let (running, startup) = (inner.running.clone(), inner.startup.clone());
        Ok(HostLinks { links, running, startup, foreign: None, state })
    }

    async fn record(&self, _bond: &str) -> Result<String, DeviceError> {
        Ok(serde_json::to_string(&self.set_up()).unwrap())
    }

    async fn set(&self, bond: &HostBond) -> Result<(), DeviceError> {
        self.step(|inner| inner.running = Some(bond.clone())).await
    }

    async fn keep(&self, bond: &HostBond) -> Result<(), DeviceError> {
        self.step(|inner| inner.startup = Some(bond.clone())).await
    }

    async fn put_back(&self, _bond: &str, record: &str) -> Result<(), DeviceError> {
        let (running, startup) = serde_json::from_str(record).unwrap();
        self.step(|inner| (inner.running, inner.startup) = (running, startup)).await
    }
}

/// Gives out custody of the switch, as the coordinators do.
#[derive(Debug, Default)]
struct Desk {
    inner: Mutex<Ledger>,
}

#[derive(Debug, Default)]
struct Ledger {
    epoch: u64,
    since: u64,
    taken: Option<u64>,
}

#[derive(Debug)]
struct Lease {
    desk: Arc<Desk>,
    grant: Grant,
}

#[derive(Debug)]
struct Asked(Arc<Desk>);

impl Desk {
    fn is_taken(&self) -> bool {
        self.inner.lock().unwrap().taken.is_some()
    }

    fn grants(&self) -> u64 {
        self.inner.lock().unwrap().epoch
    }

    /// Another agent has had it, and gave it back.
    fn overtake(&self) {
        let mut inner = self.inner.lock().unwrap();
        inner.epoch += 1;
        inner.since = inner.epoch + 1;
        inner.taken = None;
    }
}

impl Custodian for Asked {
    fn take<'a>(&'a self, thing: &'a str, _exclusive: bool) -> BoxFuture<'a, Result<Box<dyn Custody>, DeviceError>> {
        assert!(thing.starts_with("device/"), "{thing}");
        let mut inner = self.0.inner.lock().unwrap();
        inner.epoch += 1;
        inner.since = inner.since.max(1);
        inner.taken = Some(inner.epoch);
        let grant = Grant { epoch: inner.epoch, since: inner.since };
        let lease: Box<dyn Custody> = Box::new(Lease { desk: Arc::clone(&self.0), grant });
        Box::pin(async move { Ok(lease) })
    }
}

impl Custody for Lease {
    fn grant(&self) -> Option<Grant> {
        Some(self.grant)
    }

    fn ensure(&self) -> Result<(), DeviceError> {
        let taken = self.desk.inner.lock().unwrap().taken == Some(self.grant.epoch);
        if taken { Ok(()) } else { Err(DeviceError::transient("custody has ended")) }
    }

    fn lost(&self) -> BoxFuture<'_, DeviceError> {
        Box::pin(std::future::pending())
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut inner = self.desk.inner.lock().unwrap();
        if inner.taken == Some(self.grant.epoch) {
            inner.taken = None;
        }
    }
}

/// A switch and a host.
struct Both {
    bed: Bed,
    host: Host,
    desk: Option<Arc<Desk>>,
}

impl Both {
    async fn new(profile: Profile) -> Self {
        let bed = Bed::new(profile).await;
        if bed.sim.running_config().contains("interface TenGigabitEthernet 1/0/1") {
            // A port of a VDX is shut until it is told otherwise.
            for port in ["1/0/1", "1/0/2"] {
                bed.sim.configure(&[&format!("interface TenGigabitEthernet {port}"), "no shutdown", "exit"]);
            }
            bed.sim.save();
        }
        Self { bed, host: Host::default(), desk: None }
    }

    /// A switch that other agents may change, too.
    async fn in_custody(profile: Profile) -> (Self, Arc<Desk>) {
        let mut both = Self::new(profile).await;
        let desk = Arc::<Desk>::default();
        both.host.inner.lock().unwrap().desk = Some(Arc::clone(&desk));
        both.desk = Some(Arc::clone(&desk));
        both.restart();
        (both, desk)
    }

    /// The agent starts anew.
    fn restart(&mut self) {
        self.bed.restart();
        if let Some(desk) = &self.desk {
            let declared = self.bed.device.declaration().clone();
            let custodian = Arc::new(Asked(Arc::clone(desk)));
            let (state, keys) = (self.bed.dir.path().join("state"), vec![self.bed.key.clone()]);
            self.bed.device = Device::with_custodian(declared, state, keys, custodian).unwrap();
        }
    }

    fn ensemble(&self) -> Ensemble {
        let trials = Trials::open(self.bed.dir.path().join("trials")).unwrap();
        let checks: Arc<dyn Checks> = Arc::clone(&self.bed.checks) as Arc<dyn Checks>;
        let pair = Pair::new(self.host.clone(), self.bed.device.clone());
        let player = Player::new(pair, Registry::new().with::<BondScore>()).only("bond/rack-3/*");
        Ensemble::new(trials, checks).with(player)
    }

    async fn play(&self, job: &Assignment) -> PlayReport {
        self.ensemble().play(job, &self.bed.stage).await
    }

    /// What both ends are set to: now, and after a boot.
    fn ends(&self) -> [(String, Option<HostBond>); 2] {
        let (running, startup) = self.host.set_up();
        [(self.bed.sim.running_config(), running), (self.bed.sim.startup_config(), startup)]
    }

    /// Plays until the agent ends, which is when its connection is lost or the host says so; then another one recovers.
    async fn play_and_end(&mut self, job: &Assignment) -> PlayReport {
        match self.play_until_end(job).await {
            Some(report) => report,
            None => self.recover().await,
        }
    }

    /// Plays until the agent ends; if it does not, says how it went.
    async fn play_until_end(&self, job: &Assignment) -> Option<PlayReport> {
        let logins = self.bed.sim.logins().max(1);
        let ensemble = self.ensemble();
        let playing = ensemble.play(job, &self.bed.stage);
        tokio::pin!(playing);
        loop {
            tokio::select! {
                biased;
                report = &mut playing => return Some(report),
                () = self.host.ended.notified() => return None,
                () = tokio::time::sleep(Duration::from_millis(1)) => {
                    if self.bed.sim.logins() > logins { return None }
                }
            }
        }
    }

    /// Plays until this is said to be begun; then the agent ends.
    async fn play_until_said(&self, job: &Assignment, words: &str) {
        let ensemble = self.ensemble();
        let said = async {
            while !self.bed.stage.lines.lock().unwrap().iter().any(|line| line.ends_with(words)) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::select! {
            report = ensemble.play(job, &self.bed.stage) => panic!("{words} is not said: {report:?}"),
            () = said => {}
        }
    }

    /// The agent starts anew, and sees to what it had begun.
    async fn recover(&mut self) -> PlayReport {
        self.restart();
        let recovered = self.ensemble().recover(&self.bed.stage).await;
        match recovered.into_iter().next() {
            Some(recovered) => recovered.report,
            None => PlayReport {
                verdict: Verdict::Failed,
                message: "nothing had begun".into(),
                steps: Vec::new(),
                attempts: 0,
            },
        }
    }
}

fn score() -> BondScore {
    BondScore {
        name: "bond0".into(),
        nics: BTreeSet::from(["eth1".into(), "eth2".into()]),
        device: "rack-3".parse().unwrap(),
        channel: None,
        id: Some(9),
        ports: BTreeSet::new(),
        addresses: BTreeSet::from(["10.0.0.5/24".into()]),
        gateways: BTreeSet::new(),
        dhcp: false,
        lose_addresses: false,
    }
}

fn profiles() -> [Profile; 3] {
    [Profile::fastiron_8030(), Profile::fastiron_8095(), Profile::nos()]
}

/// The commands that are no questions.
fn sent(both: &Both) -> Vec<String> {
    let asks = ["show", "netconf ", "enable", "skip-page-display", "terminal length", "exit", "end"];
    let all = both.bed.sim.commands();
    all.into_iter().filter(|line| !line.is_empty() && !asks.iter().any(|ask| line.starts_with(ask))).collect()
}

#[tokio::test]
async fn both_ends_are_bonded_and_it_is_done_once() {
    for profile in profiles() {
        let both = Both::new(profile).await;
        let before = both.ends();
        let job = assignment(&score(), 7);
        let planned = both.ensemble().plan(&job).await.unwrap();
        assert_eq!(planned.len(), 5, "{planned:?}");
        assert_eq!((sent(&both), both.ends()), (Vec::new(), before), "a plan asks and changes nothing");
        let report = both.play(&job).await;
        assert_eq!(report.verdict, Verdict::Converged, "{report:?}");
        let [now, always] = both.ends();
        assert_eq!(now, always);
        let bond = now.1.unwrap();
        assert_eq!((bond.ports.len(), bond.mac), (2, Some(mac(0))), "{bond:?}");
        let (commands, steps) = (sent(&both).len(), both.host.steps());
        let again = both.play(&job).await;
        assert_eq!((again.verdict, again.steps.len()), (Verdict::Converged, 0), "{again:?}");
        assert_eq!((sent(&both).len(), both.host.steps()), (commands, steps), "nothing was to be done");
    }
}

#[tokio::test]
async fn what_cannot_be_told_is_refused_and_nothing_is_sent() {
    let both = Both::new(Profile::fastiron_8095()).await;
    let before = both.ends();
    // Its second interface is silent.
    both.bed.sim.plug(PortId { unit: 1, slot: 1, port: 2 }, None);
    let report = both.play(&assignment(&score(), 7)).await;
    assert_eq!(report.verdict, Verdict::Refused, "{report:?}");
    assert!(report.message.contains("eth2 (52:54:00:aa:00:01) is not seen on any port"), "{report:?}");
    // It would lose an address.
    both.host.inner.lock().unwrap().addresses.insert("10.0.0.9/24".into());
    let report = both.play(&assignment(&score(), 8)).await;
    assert!(report.message.contains("eth1 would lose 10.0.0.9/24"), "{report:?}");
    both.host.inner.lock().unwrap().addresses.clear();
    // A port of it is in another port channel: the switch's own score objects.
    both.bed.sim.configure(&["lag other dynamic id 3", "ports ethernet 1/1/5 to 1/1/6", "exit"]);
    let ports: BTreeSet<Port> = ["1/1/5", "1/1/7"].into_iter().map(|port| port.parse().unwrap()).collect();
    let report = both.play(&assignment(&BondScore { ports, ..score() }, 9)).await;
    assert_eq!(report.verdict, Verdict::Refused, "{report:?}");
    assert!(report.message.contains("port 1/1/5 is in the port channel 3"), "{report:?}");
    assert_eq!((sent(&both), both.host.steps()), (Vec::new(), 0));
    assert_eq!(both.ends()[0].1, before[0].1);
}

#[tokio::test]
async fn without_lacp_at_the_other_end_both_are_undone() {
    for deaf in [false, true] {
        let profile = Profile::fastiron_8095();
        let both = Both::new(if deaf { profile } else { profile.without_partners() }).await;
        both.host.inner.lock().unwrap().deaf = deaf;
        let before = both.ends();
        let policy = Policy { attempts: 1, apply_seconds: 8, ..Policy::default() };
        let report = both.play(&Assignment { policy, ..assignment(&score(), 7) }).await;
        assert_ne!(report.verdict, Verdict::Converged, "{report:?}");
        assert!(report.message.ends_with("undone"), "{report:?}");
        assert_eq!(both.ends(), before);
        assert_eq!(both.bed.open_trials(), usize::from(report.verdict == Verdict::Quarantined));
    }
}

#[tokio::test]
async fn a_check_that_fails_takes_both_back() {
    let both = Both::new(Profile::fastiron_8030()).await;
    let before = both.ends();
    both.bed.checks.fail.store(true, std::sync::atomic::Ordering::SeqCst);
    let report = both.play(&judged()).await;
    assert_eq!(report.verdict, Verdict::Quarantined, "{report:?}");
    assert_eq!(both.ends(), before);
}

fn judged() -> Assignment {
    let checks = vec![protocols::Check::Unit { name: "x.service".into(), stable_seconds: 0 }];
    let policy = Policy { attempts: 1, check_seconds: 1, checks, ..Policy::default() };
    Assignment { policy, ..assignment(&score(), 7) }
}

#[tokio::test]
async fn custody_of_the_switch_lasts_until_both_ends_have_a_verdict() {
    for fails in [false, true] {
        let (both, desk) = Both::in_custody(Profile::fastiron_8095()).await;
        let before = both.ends();
        both.bed.checks.fail.store(fails, std::sync::atomic::Ordering::SeqCst);
        // Each step of the host makes sure that it is in custody.
        let report = both.play(&judged()).await;
        assert_eq!(report.verdict, if fails { Verdict::Quarantined } else { Verdict::Converged }, "{report:?}");
        assert_eq!((both.ends() == before, both.host.steps()), (fails, 2), "set, and kept or put back");
        assert_eq!((desk.is_taken(), desk.grants()), (false, 1), "taken once, and given back");
    }
}

#[tokio::test]
async fn a_host_that_is_not_back_yet_keeps_the_switch() {
    let (mut both, desk) = Both::in_custody(Profile::fastiron_8095()).await;
    let before = both.ends();
    both.bed.checks.fail.store(true, std::sync::atomic::Ordering::SeqCst);
    both.host.inner.lock().unwrap().fate = Some((2, Fate::FailsBefore));
    let report = both.play(&judged()).await;
    assert_eq!(report.verdict, Verdict::Failed, "{report:?}");
    assert!(report.message.contains("could not be undone yet: host: reach the network's daemon"), "{report:?}");
    assert_eq!(both.ends()[0].0, before[0].0, "the switch's side is undone");
    assert!(desk.is_taken());
    let report = both.recover().await;
    assert!(report.message.ends_with("undone"), "{report:?}");
    assert_eq!((both.ends(), desk.is_taken()), (before, false));
}

#[tokio::test]
async fn what_another_agent_may_have_changed_is_left_as_it_is() {
    let (mut both, desk) = Both::in_custody(Profile::fastiron_8095()).await;
    both.host.inner.lock().unwrap().deaf = true;
    let job = assignment(&score(), 7);
    // Both sides are made, and the host has not heard of the switch yet.
    both.play_until_said(&job, "both: see LACP on every port").await;
    desk.overtake();
    both.bed.sim.configure(&["vlan 77 name others by port", "exit"]);
    both.host.inner.lock().unwrap().deaf = false;
    let (left, commands) = (both.ends(), sent(&both).len());
    let report = both.recover().await;
    assert_eq!(report.verdict, Verdict::Failed, "{report:?}");
    let why = "left as it is: rack-3: another agent may have changed `rack-3` since";
    assert!(report.message.contains(why), "{report:?}");
    assert_eq!((both.ends(), sent(&both).len(), both.host.steps()), (left, commands, 1), "neither end is touched");
    assert!(!desk.is_taken());
    // It goes on from what there is.
    let next = both.play(&job).await;
    assert_eq!(next.verdict, Verdict::Converged, "{next:?}");
    let [now, always] = both.ends();
    assert!(now == always && now.1.is_some() && now.0.contains("vlan 77"), "{now:?}");
}

#[tokio::test]
async fn what_is_declared_anew_is_made_of_whatever_an_overtaken_undoing_left() {
    let (mut both, desk) = Both::in_custody(Profile::fastiron_8095()).await;
    both.host.inner.lock().unwrap().deaf = true;
    both.play_until_said(&assignment(&score(), 7), "both: see LACP on every port").await;
    desk.overtake();
    both.bed.sim.configure(&["vlan 77 name others by port", "exit"]);
    both.host.inner.lock().unwrap().deaf = false;
    // The agent did not see to it before the newer one came.
    let newer = BondScore { addresses: BTreeSet::from(["10.0.0.6/24".into()]), ..score() };
    both.restart();
    let report = both.play(&assignment(&newer, 8)).await;
    assert_eq!(report.verdict, Verdict::Converged, "{report:?}");
    let [now, always] = both.ends();
    assert!(now == always && now.0.contains("vlan 77"), "{now:?}");
    assert_eq!(now.1.unwrap().addresses, newer.addresses);
    assert!(!desk.is_taken());
}

#[tokio::test]
async fn what_is_declared_while_an_undoing_goes_on_comes_after_it() {
    let (both, desk) = Both::in_custody(Profile::fastiron_8095()).await;
    both.bed.checks.fail.store(true, std::sync::atomic::Ordering::SeqCst);
    both.host.inner.lock().unwrap().fate = Some((2, Fate::FailsBefore));
    let report = both.play(&judged()).await;
    assert!(report.message.contains("could not be undone yet"), "{report:?}");
    both.bed.checks.fail.store(false, std::sync::atomic::Ordering::SeqCst);
    let newer = BondScore { addresses: BTreeSet::from(["10.0.0.6/24".into()]), ..score() };
    let report = both.play(&assignment(&newer, 8)).await;
    assert_eq!(report.verdict, Verdict::Converged, "{report:?}");
    let [now, always] = both.ends();
    assert_eq!((now == always, now.1.unwrap().addresses), (true, newer.addresses));
    // Put back, then made anew: 1 set, 2 put back in vain, 3 put back, 4 set, 5 kept.
    assert_eq!((both.host.steps(), desk.is_taken()), (5, false));
}

#[tokio::test]
async fn a_host_goes_back_where_the_switch_was_not_changed_yet() {
    let (mut both, desk) = Both::in_custody(Profile::fastiron_8095()).await;
    both.host.inner.lock().unwrap().fate = Some((1, Fate::EndsAfter));
    assert!(both.play_until_end(&assignment(&score(), 7)).await.is_none());
    assert!(both.host.set_up().0.is_some(), "the host's side is made");
    desk.overtake();
    // It needs nobody's leave for what is its own.
    both.host.inner.lock().unwrap().desk = None;
    let grants = desk.grants();
    both.bed.sim.configure(&["vlan 77 name others by port", "exit"]);
    let (switch, commands) = (both.ends().map(|end| end.0), sent(&both).len());
    let report = both.recover().await;
    assert!(report.message.ends_with("undone"), "{report:?}");
    assert_eq!((both.host.set_up(), both.ends().map(|end| end.0), sent(&both).len()), ((None, None), switch, commands));
    assert_eq!((desk.is_taken(), desk.grants()), (false, grants), "the switch is not even asked for");
}

#[tokio::test]
async fn what_has_passed_its_checks_goes_on_in_custody_after_a_restart() {
    let (mut both, desk) = Both::in_custody(Profile::fastiron_8095()).await;
    both.host.inner.lock().unwrap().fate = Some((2, Fate::EndsBefore));
    assert!(both.play_until_end(&assignment(&score(), 7)).await.is_none());
    let report = both.recover().await;
    assert_eq!(report.verdict, Verdict::Converged, "{report:?}");
    let [now, always] = both.ends();
    assert!(now == always && now.1.is_some(), "{now:?}");
    assert_eq!((desk.is_taken(), desk.grants()), (false, 2), "taken by each of the two processes, and given back");
}

/// Both ends are as the outcome says, and the next play brings them to what is declared.
async fn is_whole(both: &Both, report: &PlayReport, before: &[(String, Option<HostBond>); 2], at: &str) {
    let ends = both.ends();
    match report.verdict {
        Verdict::Converged => {
            assert!(ends[0].1.is_some() && ends[0].0 != before[0].0, "{at}: {report:?}");
            assert_eq!(ends[0], ends[1], "{at}: {report:?}");
        }
        Verdict::Failed => assert_eq!(&ends, before, "{at}: {report:?}\n{:?}", both.bed.sim.commands()),
        other => panic!("{other:?}: {at}: {report:?}"),
    }
    let next = both.play(&assignment(&score(), 7)).await;
    assert_eq!(next.verdict, Verdict::Converged, "{at}, then {next:?}");
    let [now, always] = both.ends();
    assert!(now == always && now.1.is_some(), "{at}");
}

#[tokio::test]
async fn whatever_becomes_of_a_step_of_the_host_both_ends_are_alike() {
    for profile in profiles() {
        let plain = Both::new(profile.clone()).await;
        let job = assignment(&score(), 7);
        assert_eq!(plain.play(&job).await.verdict, Verdict::Converged);
        let steps = plain.host.steps();
        assert_eq!(steps, 2, "it is set, and kept");
        for fate in [Fate::FailsBefore, Fate::FailsAfter, Fate::EndsBefore, Fate::EndsAfter] {
            for step in 1..=steps {
                let mut both = Both::new(profile.clone()).await;
                let before = both.ends();
                both.host.inner.lock().unwrap().fate = Some((step, fate));
                let report = both.play_and_end(&job).await;
                is_whole(&both, &report, &before, &format!("{fate:?} at step {step}")).await;
            }
        }
    }
}

/// How the connection to the switch is lost.
#[derive(Debug, Clone, Copy)]
enum Cut {
    After,
    Before,
    AfterAndEnd,
}

async fn cut_everywhere(profile: Profile, cut: Cut) {
    let plain = Both::new(profile.clone()).await;
    let commands = plain.bed.sim.commands().len();
    let job = assignment(&score(), 7);
    assert_eq!(plain.play(&job).await.verdict, Verdict::Converged);
    let count = plain.bed.sim.commands().len() - commands;
    let one = async |position: usize| {
        if position > count {
            return 0;
        }
        let mut both = Both::new(profile.clone()).await;
        let before = both.ends();
        match cut {
            Cut::Before => both.bed.sim.drop_before(position),
            Cut::After | Cut::AfterAndEnd => both.bed.sim.drop_after(position),
        }
        let report = match cut {
            Cut::AfterAndEnd => both.play_and_end(&job).await,
            Cut::After | Cut::Before => both.play(&job).await,
        };
        is_whole(&both, &report, &before, &format!("{cut:?} {position} of {count}")).await;
        1
    };
    let mut positions = 0;
    for first in (1..=count).step_by(4) {
        let (a, b, c, d) = tokio::join!(one(first), one(first + 1), one(first + 2), one(first + 3));
        positions += a + b + c + d;
    }
    assert_eq!(positions, count);
    assert!(count > 40, "{count}");
}

#[tokio::test]
async fn the_answer_of_an_old_fastiron_is_lost_anywhere() {
    cut_everywhere(Profile::fastiron_8030(), Cut::After).await;
}

#[tokio::test]
async fn the_answer_of_a_new_fastiron_is_lost_anywhere() {
    cut_everywhere(Profile::fastiron_8095(), Cut::After).await;
}

#[tokio::test]
async fn the_answer_of_a_vdx_is_lost_anywhere() {
    cut_everywhere(Profile::nos(), Cut::After).await;
}

#[tokio::test]
async fn a_command_to_an_old_fastiron_is_lost_anywhere() {
    cut_everywhere(Profile::fastiron_8030(), Cut::Before).await;
}

#[tokio::test]
async fn a_command_to_a_new_fastiron_is_lost_anywhere() {
    cut_everywhere(Profile::fastiron_8095(), Cut::Before).await;
}

#[tokio::test]
async fn a_command_to_a_vdx_is_lost_anywhere() {
    cut_everywhere(Profile::nos(), Cut::Before).await;
}

#[tokio::test]
async fn the_agent_ends_anywhere_with_its_connection_to_an_old_fastiron() {
    cut_everywhere(Profile::fastiron_8030(), Cut::AfterAndEnd).await;
}

#[tokio::test]
async fn the_agent_ends_anywhere_with_its_connection_to_a_new_fastiron() {
    cut_everywhere(Profile::fastiron_8095(), Cut::AfterAndEnd).await;
}

#[tokio::test]
async fn the_agent_ends_anywhere_with_its_connection_to_a_vdx() {
    cut_everywhere(Profile::nos(), Cut::AfterAndEnd).await;
}
