//! A host whose only way to the switch, and to the coordinators, leads through the interfaces that are bonded.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use protocols::{Name, Policy, Subject, Verdict};
use scores::bond::{BondScore, Plugged, Surroundings};
use scores::switch::{Change, Snapshot, SnmpSecrets, Switch};
use scores::topology::Pair;
use scores::{Assignment, Checks, DeviceError, Ensemble, Grant, Player, Registry, Topology, Trials};
use switches::Device;
use switchsim::Profile;

use super::both::Both;
use super::host::Host;
use super::{judged, score};
use crate::bed::assignment;

/// Nothing gets through while the ports wait for LACP and the host has no bond, as real ports do; nor while it is away.
#[derive(Debug, Clone)]
struct InBand {
    device: Device,
    host: Host,
    away: Arc<AtomicBool>,
}

impl InBand {
    async fn gets_through(&self) -> Result<(), DeviceError> {
        let waits = self.device.read().await?.running.lags.contains_key(&9);
        if self.host.set_up().0.is_none() && waits {
            return Err(DeviceError::transient("reach anything: the ports wait for LACP"));
        }
        Ok(())
    }

    async fn reached(&self) -> Result<(), DeviceError> {
        if self.away.load(Ordering::SeqCst) {
            return Err(DeviceError::transient("reach the switch: it is away"));
        }
        self.gets_through().await
    }
}

impl Topology for InBand {
    fn name(&self) -> &str {
        self.device.name()
    }
}

impl Switch for InBand {
    fn device(&self) -> &Name {
        self.device.device()
    }

    async fn read(&self) -> Result<Snapshot, DeviceError> {
        self.reached().await?;
        self.device.read().await
    }

    async fn change(&self, change: &Change, secrets: Option<&SnmpSecrets>) -> Result<(), DeviceError> {
        self.reached().await?;
        self.device.change(change, secrets).await?;
        self.reached().await
    }

    async fn save(&self) -> Result<(), DeviceError> {
        self.reached().await?;
        self.device.save().await
    }

    async fn claim(&self, subject: &Subject) -> Result<Option<Grant>, DeviceError> {
        self.gets_through().await?;
        self.device.claim(subject).await
    }

    fn release(&self, subject: &Subject) {
        self.device.release(subject);
    }
}

impl Plugged for InBand {
    async fn surroundings(&self) -> Result<Surroundings, DeviceError> {
        self.reached().await?;
        self.device.surroundings().await
    }
}

/// The agent, as it runs now.
fn ensemble(both: &Both, away: &Arc<AtomicBool>) -> Ensemble {
    let switch = InBand { device: both.bed.device.clone(), host: both.host.clone(), away: Arc::clone(away) };
    let trials = Trials::open(both.bed.dir.path().join("trials")).unwrap();
    let checks: Arc<dyn Checks> = Arc::clone(&both.bed.checks) as Arc<dyn Checks>;
    let player = Player::new(Pair::new(both.host.clone(), switch), Registry::new().with::<BondScore>());
    Ensemble::new(trials, checks).with(player.only("bond/rack-3/*"))
}

#[tokio::test]
async fn a_host_that_boots_in_the_middle_bonds_its_interfaces_until_the_switch_is_undone() {
    for profile in super::profiles() {
        let mut both = Both::new(profile).await;
        let before = both.ends();
        both.host.inner.lock().unwrap().deaf = true;
        both.play_until_said(&assignment(&score(), 7), "both: see LACP on every port").await;
        // What was on probation is gone, and the switch goes on waiting for LACP.
        both.host.inner.lock().unwrap().running = None;
        both.restart();
        let away = Arc::default();
        let ensemble = ensemble(&both, &away);
        let recovered = ensemble.recover(&both.bed.stage).await;
        let report = &recovered[0].report;
        assert!(report.message.ends_with("undone"), "{report:?}");
        assert_eq!(both.ends(), before);
        // Set by the agent that ended, set again to reach the switch, put back.
        assert_eq!(both.host.steps(), 3);
        both.host.inner.lock().unwrap().deaf = false;
        let report = ensemble.play(&assignment(&score(), 7), &both.bed.stage).await;
        assert_eq!(report.verdict, Verdict::Converged, "{report:?}");
    }
}

#[tokio::test]
async fn a_bond_is_made_and_undone_over_itself() {
    for fails in [false, true] {
        let both = Both::new(Profile::fastiron_8095()).await;
        let before = both.ends();
        both.bed.checks.fail.store(fails, Ordering::SeqCst);
        let report = ensemble(&both, &Arc::default()).play(&judged(), &both.bed.stage).await;
        assert_eq!(report.verdict, if fails { Verdict::Quarantined } else { Verdict::Converged }, "{report:?}");
        assert_eq!((both.ends() == before, both.host.steps()), (fails, 2));
    }
}

#[tokio::test]
async fn a_host_that_reaches_the_coordinators_waits_for_its_switch_as_it_is() {
    let (both, desk) = Both::in_custody(Profile::fastiron_8095()).await;
    let before = both.ends();
    both.host.inner.lock().unwrap().deaf = true;
    let away = Arc::<AtomicBool>::default();
    let policy = Policy { attempts: 1, apply_seconds: 8, ..Policy::default() };
    let job = Assignment { policy, ..assignment(&score(), 7) };
    let (first, begun) = (ensemble(&both, &away), Instant::now());
    let leaves = async {
        while both.host.set_up().0.is_none() || !both.bed.sim.running_config().contains("bond0") {
            assert!(begun.elapsed() < Duration::from_secs(60));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        away.store(true, Ordering::SeqCst);
    };
    let (report, ()) = tokio::join!(first.play(&job, &both.bed.stage), leaves);
    assert!(report.message.contains("could not be undone yet: rack-3: reach the switch: it is away"), "{report:?}");
    // Without a bond it would be cut off by ports that wait for LACP.
    assert!(both.host.set_up().0.is_some() && desk.is_taken());
    assert_eq!(both.host.steps(), 1);
    away.store(false, Ordering::SeqCst);
    let recovered = first.recover(&both.bed.stage).await;
    let report = &recovered[0].report;
    assert!(report.message.ends_with("undone"), "{report:?}");
    assert_eq!((both.ends(), desk.is_taken()), (before, false));
}
