//! Custody of devices, as the coordinators grant it: taken before the first change, renewed while it goes on, given back.
//!
//! It counts from when a request was sent, on the clock that goes on while the machine sleeps. When it cannot be proven any
//! more nothing is sent: what was begun is undone when it can be had again, or left to whoever has it then.

use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use failover::{Answer, Attempt, ClusterName, Custody as Kept, Epoch, LocalTime, Refusal, Request};
use protocols::NodeId;
use protocols::control::{Lease, LeaseError};
use scores::failover::fleet_id;
use scores::{BoxFuture, Custodian, Custody, DeviceError, Grant};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::agent::{Agent, lock};
use crate::failover::now;

/// Asks the coordinators for custody.
pub struct AskedCustodian {
    agent: Lookup,
    road: Arc<Road>,
}

/// Finds the agent, which is made after what it plays on.
type Lookup = Arc<dyn Fn() -> Option<Arc<Agent>> + Send + Sync>;

impl AskedCustodian {
    /// Asks in the name of an agent, as soon as there is one.
    pub fn new(agent: impl Fn() -> Option<Arc<Agent>> + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self { agent: Arc::new(agent), road: Arc::default() })
    }

    async fn taken(&self, thing: &str, exclusive: bool) -> Result<Held, DeviceError> {
        let thing = ClusterName::try_from(thing.to_owned())
            .map_err(|error| DeviceError::permanent("take custody of the device").because(error))?;
        let begun = now();
        let waited = || Duration::from_micros(now().since(begun).as_micros());
        loop {
            let asked = match (self.agent)() {
                Some(agent) => self.road.ask(&agent, &thing, Request::TakeCustody).await,
                None => Err(Silence::NoAnswer("the agent is starting".into())),
            };
            match asked {
                Ok((sent, Ok(Answer::Entrusted { epoch, since, ttl }))) => {
                    let until = sent + ttl - Kept::SLACK;
                    // An answer that comes too late is asked for again: it is this agent's already.
                    if now() < until {
                        return Ok(self.hold(thing, Grant { epoch: epoch.0, since: since.0 }, until, exclusive));
                    }
                }
                Ok((_, Err(Refusal::InCustody { of, .. }))) if waited() < WAIT => {
                    tracing::debug!(%thing, by = %of, "another agent changes this device");
                }
                Ok((_, Err(Refusal::InCustody { of, .. }))) => {
                    let name = self.name(fleet_id(of));
                    return Err(DeviceError::transient(format!(
                        "wait for `{name}`, which is changing the same device"
                    )));
                }
                Ok((_, Err(refusal))) => return Err(DeviceError::transient(TAKE).because(refusal)),
                Ok((_, Ok(other))) => {
                    return Err(DeviceError::transient(TAKE).because(format!("an answer to nothing: {other:?}")));
                }
                Err(Silence::Denied(error)) => return Err(DeviceError::transient(TAKE).because(error)),
                Err(Silence::NoAnswer(why)) if exclusive => {
                    tracing::warn!(%thing, why, "changing a device that is this agent's alone, without asking");
                    return Ok(Held::unasked());
                }
                Err(Silence::NoAnswer(why)) if waited() >= UNANSWERED => {
                    let text = format!(
                        "be certain that no other agent changes the device: {why} (if no other agent ever does, declare \
                         `exclusive = true` for it)"
                    );
                    return Err(DeviceError::transient(text));
                }
                Err(Silence::NoAnswer(_)) => {}
            }
            sleep(AGAIN).await;
        }
    }

    fn name(&self, node: NodeId) -> String {
        let state = (self.agent)().and_then(|agent| agent.state());
        let name = state.as_ref().and_then(|state| state.members().get(&node)).map(|member| member.name.to_string());
        name.unwrap_or_else(|| node.short())
    }

    fn hold(&self, thing: ClusterName, grant: Grant, until: LocalTime, exclusive: bool) -> Held {
        let (standing, seen) = watch::channel(Standing::Until(until));
        let end = CancellationToken::new();
        let keep =
            Keep { agent: Arc::clone(&self.agent), road: Arc::clone(&self.road), thing, epoch: Epoch(grant.epoch) };
        tokio::spawn(keep.run(standing, end.clone()));
        Held { grant: Some(grant), seen: Some(seen), exclusive, _end: Some(end.drop_guard()) }
    }
}

impl fmt::Debug for AskedCustodian {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AskedCustodian").finish_non_exhaustive()
    }
}

impl Custodian for AskedCustodian {
    fn take<'a>(&'a self, thing: &'a str, exclusive: bool) -> BoxFuture<'a, Result<Box<dyn Custody>, DeviceError>> {
        Box::pin(async move { Ok(Box::new(self.taken(thing, exclusive).await?) as Box<dyn Custody>) })
    }
}

/// How custody stands.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Standing {
    /// It is certain until then.
    Until(LocalTime),
    /// It is known to have ended.
    Gone(String),
}

/// Custody that is kept until this is dropped.
#[derive(Debug)]
struct Held {
    grant: Option<Grant>,
    seen: Option<watch::Receiver<Standing>>,
    /// Only another's having it ends it, and silence does not.
    exclusive: bool,
    _end: Option<DropGuard>,
}

impl Held {
    const fn unasked() -> Self {
        Self { grant: None, seen: None, exclusive: true, _end: None }
    }

    fn standing(&self) -> Option<Standing> {
        self.seen.as_ref().map(|seen| seen.borrow().clone())
    }
}

impl Custody for Held {
    fn grant(&self) -> Option<Grant> {
        self.grant
    }

    fn ensure(&self) -> Result<(), DeviceError> {
        match self.standing() {
            Some(Standing::Gone(why)) => Err(gone(why)),
            Some(Standing::Until(until)) if !self.exclusive && now() >= until => Err(uncertain()),
            _ => Ok(()),
        }
    }

    fn lost(&self) -> BoxFuture<'_, DeviceError> {
        Box::pin(async move {
            let Some(mut seen) = self.seen.clone() else { return std::future::pending().await };
            loop {
                let standing = seen.borrow_and_update().clone();
                let left = match standing {
                    Standing::Gone(why) => return gone(why),
                    Standing::Until(_) if self.exclusive => None,
                    Standing::Until(until) => Some(Duration::from_micros(until.since(now()).as_micros())),
                };
                let ended = async {
                    match left {
                        // Not all of it at once: the clock of timers stands still while the machine sleeps.
                        Some(left) => sleep(left.min(LOOK)).await,
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    changed = seen.changed() => if changed.is_err() && !self.exclusive { return uncertain() },
                    () = ended => if self.ensure().is_err() { return uncertain() },
                }
            }
        })
    }
}

fn gone(why: String) -> DeviceError {
    DeviceError::transient("go on with changing the device: another agent has custody of it by now").because(why)
}

fn uncertain() -> DeviceError {
    DeviceError::transient(
        "go on with changing the device: no coordinator confirmed in time that no other agent changes it",
    )
}

/// What renews it.
struct Keep {
    agent: Lookup,
    road: Arc<Road>,
    thing: ClusterName,
    epoch: Epoch,
}

impl Keep {
    async fn run(self, standing: watch::Sender<Standing>, end: CancellationToken) {
        let mut warned = false;
        while !end.is_cancelled() {
            tokio::select! {
                () = end.cancelled() => break,
                () = sleep(RENEW) => {}
            }
            let Some(agent) = (self.agent)() else { return };
            let asked = tokio::select! {
                () = end.cancelled() => break,
                asked = self.road.ask(&agent, &self.thing, Request::KeepCustody { epoch: self.epoch }) => asked,
            };
            match asked {
                Ok((sent, Ok(Answer::Renewed { ttl, .. }))) => {
                    warned = false;
                    standing.send_replace(Standing::Until(sent + ttl - Kept::SLACK));
                }
                Ok((_, Err(refusal))) => {
                    tracing::warn!(thing = %self.thing, %refusal, "custody of a device has ended");
                    standing.send_replace(Standing::Gone(refusal.to_string()));
                    return;
                }
                Ok((_, Ok(_))) => {}
                Err(silence) => {
                    tracing::debug!(thing = %self.thing, why = %silence, "custody is not renewed");
                    let over = matches!(&*standing.borrow(), Standing::Until(until) if now() >= *until);
                    if over && !warned {
                        warned = true;
                        tracing::warn!(thing = %self.thing, why = %silence, "custody of a device is not certain any more");
                    }
                }
            }
        }
        let Some(agent) = (self.agent)() else { return };
        // If nobody hears of it, it expires.
        if let Err(silence) = self.road.ask(&agent, &self.thing, Request::EndCustody { epoch: self.epoch }).await {
            tracing::debug!(thing = %self.thing, why = %silence, "custody is not given back: it expires");
        }
    }
}

/// The way to the coordinators: it begins with the one that answered last.
#[derive(Debug, Default)]
struct Road {
    turn: AtomicUsize,
    number: AtomicU64,
    misses: Mutex<Option<NodeId>>,
}

/// Why there is no decision.
#[derive(Debug, thiserror::Error)]
enum Silence {
    #[error("{0}")]
    NoAnswer(String),
    #[error(transparent)]
    Denied(LeaseError),
}

impl Road {
    /// Asks each coordinator once, until one has had it decided; with the time when that request was sent.
    async fn ask(
        &self,
        agent: &Agent,
        thing: &ClusterName,
        request: Request,
    ) -> Result<(LocalTime, Result<Answer, Refusal>), Silence> {
        let coordinators = agent.coordinators();
        let mut last = "no coordinator is known".to_owned();
        for _ in 0..coordinators.len().min(COORDINATORS_MAX) {
            let at = self.turn.load(Ordering::Relaxed) % coordinators.len().max(1);
            let Some(to) = coordinators.get(at).copied() else { break };
            // Its own number: an answer to another question is never taken for this one's.
            let attempt = Attempt { boot: 0, seq: self.number.fetch_add(1, Ordering::Relaxed) };
            let lease = Lease { cluster: thing.clone(), attempt, request: request.clone() };
            let sent = now();
            match timeout(ANSWER_WITHIN, agent.uplink.control(to).rpc(lease)).await {
                Ok(Ok(Ok(outcome))) => {
                    *lock(&self.misses) = None;
                    return Ok((sent, outcome.answer));
                }
                Ok(Ok(Err(error @ (LeaseError::NotAllowed(_) | LeaseError::Bounds(_))))) => {
                    return Err(Silence::Denied(error));
                }
                Ok(Ok(Err(error))) => last = scores::chain(&error),
                Ok(Err(error)) => {
                    last = format!("no coordinator answers ({})", scores::chain(&error));
                    self.missed(agent, to);
                }
                Err(_) => {
                    last = format!("no coordinator answers within {} seconds", ANSWER_WITHIN.as_secs());
                    self.missed(agent, to);
                }
            }
            self.turn.fetch_add(1, Ordering::Relaxed);
        }
        Err(Silence::NoAnswer(last))
    }

    /// A connection that stays silent twice in a row is thrown away.
    fn missed(&self, agent: &Agent, coordinator: NodeId) {
        if lock(&self.misses).replace(coordinator) == Some(coordinator) {
            agent.uplink.reset(coordinator);
        }
    }
}

const TAKE: &str = "take custody of the device";
/// How long another agent is waited for: longer than custody of one that has crashed lasts.
const WAIT: Duration = Duration::from_secs(25);
/// How long a coordinator is waited for.
const UNANSWERED: Duration = Duration::from_secs(10);
/// The pause before it is asked for again.
const AGAIN: Duration = Duration::from_millis(500);
/// The time between two renewals.
const RENEW: Duration = Duration::from_secs(3);
/// How long one coordinator may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);
/// How many coordinators are asked before it is said that none answers.
const COORDINATORS_MAX: usize = 7;
/// How often it is looked whether it is certain still.
const LOOK: Duration = Duration::from_millis(500);
