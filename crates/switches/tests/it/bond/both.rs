//! A simulated switch and a host, and an agent that bonds them, ends, and starts anew.

use std::sync::Arc;
use std::time::Duration;

use scores::bond::{BondScore, HostBond};
use scores::topology::Pair;
use scores::{Assignment, Checks, Ensemble, PlayReport, Player, Registry, Trials};
use switches::Device;
use switchsim::Profile;

use super::desk::{Asked, Desk};
use super::host::Host;
use crate::bed::Bed;
use crate::lost::{recovered, until_lost};

/// A switch and a host.
pub(super) struct Both {
    pub(super) bed: Bed,
    pub(super) host: Host,
    pub(super) desk: Option<Arc<Desk>>,
}

impl Both {
    pub(super) async fn new(profile: Profile) -> Self {
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
    pub(super) async fn in_custody(profile: Profile) -> (Self, Arc<Desk>) {
        let mut both = Self::new(profile).await;
        let desk = Arc::<Desk>::default();
        both.host.inner.lock().unwrap().desk = Some(Arc::clone(&desk));
        both.desk = Some(Arc::clone(&desk));
        both.restart();
        (both, desk)
    }

    /// The agent starts anew.
    pub(super) fn restart(&mut self) {
        self.bed.restart();
        if let Some(desk) = &self.desk {
            let declared = self.bed.device.declaration().clone();
            let custodian = Arc::new(Asked(Arc::clone(desk)));
            let (state, keys) = (self.bed.dir.path().join("state"), vec![self.bed.key.clone()]);
            self.bed.device = Device::with_custodian(declared, state, keys, custodian).unwrap();
        }
    }

    pub(super) fn ensemble(&self) -> Ensemble {
        let trials = Trials::open(self.bed.dir.path().join("trials")).unwrap();
        let checks: Arc<dyn Checks> = Arc::clone(&self.bed.checks) as Arc<dyn Checks>;
        let pair = Pair::new(self.host.clone(), self.bed.device.clone());
        let player = Player::new(pair, Registry::new().with::<BondScore>()).only("bond/rack-3/*");
        Ensemble::new(trials, checks).with(player)
    }

    pub(super) async fn play(&self, job: &Assignment) -> PlayReport {
        self.ensemble().play(job, &self.bed.stage).await
    }

    /// What both ends are set to: now, and after a boot.
    pub(super) fn ends(&self) -> [(String, Option<HostBond>); 2] {
        let (running, startup) = self.host.set_up();
        [(self.bed.sim.running_config(), running), (self.bed.sim.startup_config(), startup)]
    }

    /// Plays until the agent ends, which is when its connection is lost or the host says so; then another one recovers.
    pub(super) async fn play_and_end(&mut self, job: &Assignment) -> PlayReport {
        match self.play_until_end(job).await {
            Some(report) => report,
            None => self.recover().await,
        }
    }

    /// Plays until the agent ends; if it does not, says how it went.
    pub(super) async fn play_until_end(&self, job: &Assignment) -> Option<PlayReport> {
        let ensemble = self.ensemble();
        tokio::select! {
            biased;
            report = until_lost(&self.bed.sim, ensemble.play(job, &self.bed.stage)) => report,
            () = self.host.ended.notified() => None,
        }
    }

    /// Plays until this is said to be begun; then the agent ends.
    pub(super) async fn play_until_said(&self, job: &Assignment, words: &str) {
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
    pub(super) async fn recover(&mut self) -> PlayReport {
        self.restart();
        recovered(self.ensemble().recover(&self.bed.stage).await)
    }
}
