//! The workload of `service/1`: a program or a systemd unit under a hold, with hooks around it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::future::pending;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use failover::settings::{Remote, Rung};
use failover::{Epoch, LocalTime, Position, SyncSet};
use protocols::{Kind, SecretKey};
use scores::service::{HealthCheck, Hook, Run, ServiceScore};
use scores::workload::{Ended, Fenced, Nudge, OpenWorkload, Peer, Program, StartOrder, Workload, WorkloadParts};
use scores::{BoxFuture, DeviceError, Score as _, chain, score};
use tokio::time::{sleep, timeout};

use super::now;
use super::secrets::Secrets;
use crate::checks::run_program;

/// Opens services on this host.
#[derive(Debug, Clone)]
pub struct OpenServices {
    path: OsString,
    keys: Arc<[SecretKey]>,
}

impl OpenServices {
    /// Finds the programs of actions in this search path.
    pub fn new(path: impl Into<OsString>) -> Self {
        Self { path: path.into(), keys: Arc::new([]) }
    }

    /// Opens secrets with the node's keys.
    #[must_use]
    pub fn with_keys(self, keys: Arc<[SecretKey]>) -> Self {
        Self { keys, ..self }
    }
}

impl OpenWorkload for OpenServices {
    fn kind(&self) -> Kind {
        ServiceScore::KIND
    }

    fn open(&self, parts: WorkloadParts) -> BoxFuture<'_, Result<Arc<dyn Workload>, DeviceError>> {
        Box::pin(async move {
            let score = Arc::new(read(&parts.payload)?);
            let now = Now { score, epoch: None };
            let secrets = Secrets::new(Arc::clone(&self.keys), &parts.dir);
            let service = Service { path: self.path.clone(), parts, now: Mutex::new(now), secrets };
            Ok(Arc::new(service) as Arc<dyn Workload>)
        })
    }
}

/// The systemd unit that a score holds instead of a program.
pub fn unit_of(payload: &str) -> Option<String> {
    match serde_json::from_str::<ServiceScore>(payload).ok()?.run {
        Run::Unit(unit) => Some(unit),
        Run::Program(_) => None,
    }
}

fn read(payload: &str) -> Result<ServiceScore, DeviceError> {
    score::parse(payload).map_err(|error| DeviceError::permanent("read the score").because(error))
}

struct Service {
    path: OsString,
    parts: WorkloadParts,
    now: Mutex<Now>,
    secrets: Secrets,
}

struct Now {
    score: Arc<ServiceScore>,
    /// The epoch in which it was started here last.
    epoch: Option<Epoch>,
}

impl Service {
    fn score(&self) -> Arc<ServiceScore> {
        Arc::clone(&self.now.lock().unwrap_or_else(PoisonError::into_inner).score)
    }

    fn epoch(&self) -> Option<Epoch> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner).epoch
    }

    fn environment(&self, role: &str, epoch: Option<Epoch>) -> BTreeMap<String, String> {
        let epoch = epoch.map_or_else(String::new, |epoch| epoch.to_string());
        let cluster = self.parts.cluster.as_str().to_owned();
        let named = [("FLT_CLUSTER", cluster), ("FLT_ROLE", role.to_owned()), ("FLT_EPOCH", epoch)];
        let named = named.into_iter().chain([("FLT_NODE", self.parts.me.name.to_string())]);
        let secrets =
            (!self.score().secrets.is_empty()).then(|| ("FLT_SECRETS", self.secrets.folder().display().to_string()));
        let named = named.chain(secrets);
        named.map(|(name, value)| (name.to_owned(), value)).collect()
    }

    async fn run_hook(&self, name: &str, hook: &Hook, role: &str, epoch: Option<Epoch>) -> Result<(), DeviceError> {
        let environment = self.environment(role, epoch);
        let program = Program { command: hook.command.clone(), environment, ..Program::default() };
        let ended = self.parts.hold.hook(&program, Duration::from_secs(hook.seconds.into())).await?;
        if ended.success() {
            return Ok(());
        }
        let how = ended.status.map_or_else(|| "was ended".to_owned(), |status| format!("ended with status {status}"));
        Err(DeviceError::transient(format!("the hook `{name}` {how}: {}", ended.output.trim())))
    }

    async fn healthy(&self, check: &HealthCheck, epoch: Epoch) -> Result<(), DeviceError> {
        let environment = self.environment(PRIMARY, Some(epoch));
        let program = Program { command: check.command.clone(), environment, ..Program::default() };
        let ended = self.parts.hold.hook(&program, Duration::from_millis(check.within_ms)).await?;
        if ended.success() {
            return Ok(());
        }
        let status = ended.status.map_or_else(|| "it took too long".to_owned(), |status| format!("status {status}"));
        Err(DeviceError::transient(format!("the check failed ({status}): {}", ended.output.trim())))
    }

    /// What is to be undone on the machine, as far as that goes until `by`: nothing runs any more in any case.
    async fn demote(&self, by: LocalTime) {
        self.undo(by).await;
        if let Err(error) = self.secrets.remove() {
            tracing::warn!(cluster = %self.parts.cluster, error = chain(&error), "secrets are left behind");
        }
    }

    async fn undo(&self, by: LocalTime) {
        let score = self.score();
        let Some(hook) = &score.demote else { return };
        let left = Duration::from_micros(by.since(now()).as_micros());
        match timeout(left, self.run_hook("demote", hook, STANDBY, self.epoch())).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(cluster = %self.parts.cluster, error = chain(&error), "after the end"),
            Err(_) => tracing::warn!(cluster = %self.parts.cluster, "the hook `demote` was ended: it took too long"),
        }
    }

    /// Runs an action outside the hold, which may be what it acts against. Whether it says that it is done.
    async fn action(&self, name: &str, target: &Peer, within: Duration) -> Result<(), String> {
        let score = self.score();
        let hook = score.actions.get(name).ok_or_else(|| format!("the score has no action `{name}`"))?;
        let within = within.min(Duration::from_secs(hook.seconds.into()));
        let mut environment = self.environment(STANDBY, self.epoch());
        environment.insert("FLT_TARGET".into(), target.name.to_string());
        run_program(&self.path, &hook.command, &environment, within).await
    }

    async fn start_it(&self, order: &StartOrder) -> Result<(), DeviceError> {
        let score = self.score();
        let epoch = order.epoch;
        self.now.lock().unwrap_or_else(PoisonError::into_inner).epoch = Some(epoch);
        self.secrets.write(&score).await?;
        if let Some(hook) = &score.start {
            self.run_hook("start", hook, PRIMARY, Some(epoch)).await?;
        }
        let mut program = match &score.run {
            Run::Program(program) => program.clone(),
            Run::Unit(_) => Program::default(),
        };
        program.environment.extend(self.environment(PRIMARY, Some(epoch)));
        self.parts.hold.run(&program, order.until).await?;
        if let Some(check) = &score.check {
            // It has until the driver fences it.
            while let Err(error) = self.healthy(check, epoch).await {
                if !self.parts.hold.is_running().await? {
                    return Err(DeviceError::transient("the workload ended before it was healthy").because(error));
                }
                sleep(Duration::from_millis(check.every_ms)).await;
            }
        }
        if let Some(hook) = &score.promote {
            self.run_hook("promote", hook, PRIMARY, Some(epoch)).await?;
        }
        if self.parts.hold.is_running().await? {
            return Ok(());
        }
        Err(DeviceError::transient("the workload ended while it was started"))
    }

    async fn stop_it(&self, epoch: Epoch, by: LocalTime) -> Result<Position, DeviceError> {
        let score = self.score();
        let hold = &self.parts.hold;
        match (&score.stop, &score.run) {
            (Some(hook), _) => self.run_hook("stop", hook, PRIMARY, Some(epoch)).await?,
            (None, Run::Unit(unit)) => {
                let command = ["systemctl", "stop", "--", unit].map(str::to_owned).to_vec();
                let within = Duration::from_micros(by.since(now()).as_micros());
                hold.hook(&Program { command, ..Program::default() }, within).await?;
            }
            (None, Run::Program(_)) => hold.signal(Nudge::Term).await?,
        }
        hold.ended().await;
        // What it left running would go on beside the next writer.
        hold.kill().await?;
        self.demote(by).await;
        Ok(Position { epoch, lsn: 0 })
    }

    async fn fence_it(&self, rung: &Rung, by: LocalTime) -> Fenced {
        let done = match rung {
            Rung::Immediate => self.parts.hold.kill().await.map_err(|error| chain(&error)),
            Rung::Kill => self.parts.hold.kill_hard().await.map_err(|error| chain(&error)),
            Rung::CutTraffic => Err("a service has no traffic of its own that could be cut".into()),
            Rung::Action(name) => {
                let within = Duration::from_micros(by.since(now()).as_micros());
                self.action(name, &self.parts.me, within).await
            }
        };
        match done {
            Ok(()) => {
                if matches!(rung, Rung::Immediate | Rung::Kill) {
                    self.demote(by).await;
                }
                Fenced { verified: true, position: None, why: None }
            }
            Err(why) => Fenced { verified: false, position: None, why: Some(why) },
        }
    }
}

impl Workload for Service {
    fn start<'a>(&'a self, order: &'a StartOrder) -> BoxFuture<'a, Result<(), DeviceError>> {
        Box::pin(self.start_it(order))
    }

    fn stop(&self, epoch: Epoch, by: LocalTime) -> BoxFuture<'_, Result<Position, DeviceError>> {
        Box::pin(self.stop_it(epoch, by))
    }

    fn fence<'a>(&'a self, rung: &'a Rung, by: LocalTime) -> BoxFuture<'a, Fenced> {
        Box::pin(self.fence_it(rung, by))
    }

    fn detach(&self) -> BoxFuture<'_, Result<Option<Position>, DeviceError>> {
        Box::pin(async { Ok(None) })
    }

    fn attach<'a>(&'a self, _primary: &'a Peer, _epoch: Epoch) -> BoxFuture<'a, Result<(), DeviceError>> {
        // A service that is not written to has nothing to receive.
        Box::pin(async { Ok(()) })
    }

    fn apply_sync<'a>(&'a self, _set: &'a SyncSet) -> BoxFuture<'a, Result<(), DeviceError>> {
        Box::pin(async { Err(DeviceError::permanent("a service acknowledges nothing by standbys")) })
    }

    fn rebuild<'a>(&'a self, _primary: &'a Peer, _epoch: Epoch) -> BoxFuture<'a, Result<(), DeviceError>> {
        Box::pin(async { Ok(()) })
    }

    fn progress(&self) -> BoxFuture<'_, Option<Position>> {
        Box::pin(async { None })
    }

    fn act<'a>(&'a self, remote: &'a Remote, target: &'a Peer) -> BoxFuture<'a, bool> {
        Box::pin(async move {
            let within = Duration::from_micros(remote.within.as_micros());
            match self.action(&remote.action, target, within).await {
                Ok(()) => true,
                Err(why) => {
                    tracing::error!(cluster = %self.parts.cluster, action = remote.action, why, "the action failed");
                    false
                }
            }
        })
    }

    fn ended(&self) -> BoxFuture<'_, Ended> {
        Box::pin(async move {
            let score = self.score();
            let ill = async {
                let Some((check, epoch)) = score.check.as_ref().zip(self.epoch()) else { return pending().await };
                let mut failed = 0;
                loop {
                    sleep(Duration::from_millis(check.every_ms)).await;
                    match self.healthy(check, epoch).await {
                        Ok(()) => failed = 0,
                        Err(error) => {
                            failed += 1;
                            if failed >= check.failures {
                                return chain(&error);
                            }
                        }
                    }
                }
            };
            tokio::select! {
                why = self.parts.hold.ended() => Ended::Gone(why),
                why = ill => Ended::Ill(why),
            }
        })
    }

    fn reconfigure<'a>(&'a self, parts: &'a WorkloadParts) -> BoxFuture<'a, Result<(), DeviceError>> {
        Box::pin(async move {
            let score = Arc::new(read(&parts.payload)?);
            let unit = |run: &Run| match run {
                Run::Unit(unit) => Some(unit.clone()),
                Run::Program(_) => None,
            };
            if unit(&self.score().run) != unit(&score.run) {
                let why = "change what is held between a program and a unit: withdraw the declaration first";
                return Err(DeviceError::permanent(why));
            }
            if self.secrets.are_there() {
                self.secrets.write(&score).await?;
            }
            self.now.lock().unwrap_or_else(PoisonError::into_inner).score = score;
            Ok(())
        })
    }
}

const PRIMARY: &str = "primary";
const STANDBY: &str = "standby";
