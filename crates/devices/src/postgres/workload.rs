//! PostgreSQL as the failover driver sees it: orders and answers in the words of the protocol.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use failover::settings::{Remote, Rung};
use failover::{Epoch, LocalTime, NodeId, Position, SyncSet};
use protocols::{Kind, Name, SecretKey};
use scores::postgres::PostgresScore;
use scores::workload::{Ended, Fenced, Leader, OpenWorkload, Peer, StartOrder, Workload, WorkloadParts};
use scores::{BoxFuture, DeviceError, Score, score};
use tokio::task::JoinHandle;

use super::instance::{Acks, Instance};
use super::route::Route;
use super::setup::Setup;

/// Opens PostgreSQL clusters: what makes a host one that plays `postgres/1`.
#[derive(Debug, Clone, Default)]
pub struct OpenPostgres {
    keys: Arc<[SecretKey]>,
}

impl OpenPostgres {
    /// Opens passwords with the node's keys.
    pub fn new(keys: Arc<[SecretKey]>) -> Self {
        Self { keys }
    }
}

impl OpenWorkload for OpenPostgres {
    fn kind(&self) -> Kind {
        PostgresScore::KIND
    }

    fn open(&self, parts: WorkloadParts) -> BoxFuture<'_, Result<Arc<dyn Workload>, DeviceError>> {
        Box::pin(async move { Ok(Arc::new(Postgres::open(&parts, &self.keys).await?) as Arc<dyn Workload>) })
    }
}

/// One cluster on this node.
#[derive(Debug)]
pub struct Postgres {
    instance: Instance,
    names: RwLock<BTreeMap<NodeId, Name>>,
    guide: Mutex<Guide>,
}

/// What leads clients.
#[derive(Debug, Default)]
struct Guide {
    leader: Option<Name>,
    /// The listener, which may have to wait for its address.
    task: Option<(std::net::SocketAddr, JoinHandle<()>)>,
    /// Tells the listener where to lead.
    target: Option<tokio::sync::watch::Sender<Option<std::net::SocketAddr>>>,
}

impl Drop for Guide {
    fn drop(&mut self) {
        if let Some((_, task)) = &self.task {
            task.abort();
        }
    }
}

impl Postgres {
    /// Opens a cluster. Nothing is started or ended, and clients are led nowhere.
    ///
    /// # Errors
    /// When the payload is no valid score, or cannot be played here.
    pub async fn open(parts: &WorkloadParts, keys: &Arc<[SecretKey]>) -> Result<Self, DeviceError> {
        let instance = Instance::open(setup(parts)?, &parts.dir, Arc::clone(&parts.hold)).await?;
        let instance = instance.with_keys(Arc::clone(keys));
        let names = RwLock::new(parts.peers.clone());
        let postgres = Self { instance, names, guide: Mutex::default() };
        postgres.guide_anew();
        Ok(postgres)
    }

    /// The instance.
    pub fn instance(&self) -> &Instance {
        &self.instance
    }

    fn acks(&self, set: &SyncSet) -> Result<Acks, DeviceError> {
        let known = self.names.read().unwrap_or_else(PoisonError::into_inner);
        let name = |node: &NodeId| {
            known.get(node).cloned().ok_or_else(|| {
                DeviceError::permanent("change who acknowledges writes")
                    .because(format!("no candidate's name is known for {node}"))
            })
        };
        Ok(Acks { num: set.num, names: set.names.iter().map(name).collect::<Result<_, _>>()? })
    }

    /// Leads clients to this candidate from now on, or nowhere.
    fn lead(&self, to: Option<Name>) {
        let mut guide = self.guide.lock().unwrap_or_else(PoisonError::into_inner);
        let address = to.as_ref().and_then(|name| self.instance.setup().address_of(name).ok());
        guide.leader = to;
        if let Some(target) = &guide.target {
            target.send_if_modified(|now| std::mem::replace(now, address) != address);
        }
    }

    /// Listens where the score says now.
    fn guide_anew(&self) {
        let wanted = self.instance.setup().score.route;
        let mut guide = self.guide.lock().unwrap_or_else(PoisonError::into_inner);
        if guide.task.as_ref().map(|(address, _)| *address) != wanted {
            if let Some((_, task)) = guide.task.take() {
                task.abort();
            }
            guide.target = None;
            if let Some(address) = wanted {
                let (target, mut watched) = tokio::sync::watch::channel(None);
                let task = tokio::spawn(async move {
                    let route = loop {
                        match Route::listen(address).await {
                            Ok(route) => break route,
                            Err(error) => tracing::warn!(error = scores::chain(&error), "clients are not led yet"),
                        }
                        tokio::time::sleep(LISTEN_AGAIN).await;
                    };
                    loop {
                        match *watched.borrow_and_update() {
                            Some(primary) => route.lead_to(primary),
                            None => route.close(),
                        }
                        if watched.changed().await.is_err() {
                            return;
                        }
                    }
                });
                guide.task = Some((address, task));
                guide.target = Some(target);
            }
        }
        let leader = guide.leader.clone();
        drop(guide);
        self.lead(leader);
    }

    fn tell(place: super::timeline::Place) -> Position {
        place.position()
    }
}

impl Workload for Postgres {
    fn start<'a>(&'a self, order: &'a StartOrder) -> BoxFuture<'a, Result<(), DeviceError>> {
        Box::pin(async move {
            let acks = order.sync.as_ref().map(|set| self.acks(set)).transpose()?;
            if order.again {
                self.instance.resume(order.epoch, order.until, acks).await
            } else {
                self.instance.start(order.epoch, order.until, acks).await
            }
        })
    }

    fn stop(&self, _epoch: Epoch, by: LocalTime) -> BoxFuture<'_, Result<Position, DeviceError>> {
        Box::pin(async move {
            self.lead(None);
            Ok(Self::tell(self.instance.stop(by).await?))
        })
    }

    fn fence<'a>(&'a self, rung: &'a Rung, by: LocalTime) -> BoxFuture<'a, Fenced> {
        Box::pin(async move {
            // Clients first: none of them hears of a write that is made from here on.
            self.lead(None);
            let ended = self.instance.fence(rung, by).await;
            Fenced { verified: ended.is_ok(), position: None, why: ended.err() }
        })
    }

    fn detach(&self) -> BoxFuture<'_, Result<Option<Position>, DeviceError>> {
        Box::pin(async move { Ok(self.instance.detach().await?.map(Self::tell)) })
    }

    fn attach<'a>(&'a self, primary: &'a Peer, epoch: Epoch) -> BoxFuture<'a, Result<(), DeviceError>> {
        Box::pin(async move { self.instance.attach(&primary.name, epoch).await })
    }

    fn apply_sync<'a>(&'a self, set: &'a SyncSet) -> BoxFuture<'a, Result<(), DeviceError>> {
        Box::pin(async move { self.instance.apply_sync(Some(&self.acks(set)?)).await })
    }

    fn rebuild<'a>(&'a self, primary: &'a Peer, epoch: Epoch) -> BoxFuture<'a, Result<(), DeviceError>> {
        Box::pin(async move { self.instance.rebuild(&primary.name, epoch).await })
    }

    fn progress(&self) -> BoxFuture<'_, Option<Position>> {
        Box::pin(async move { self.instance.progress().await.map(Self::tell) })
    }

    fn act<'a>(&'a self, _remote: &'a Remote, _target: &'a Peer) -> BoxFuture<'a, bool> {
        // The score refuses actions.
        Box::pin(async { false })
    }

    fn ended(&self) -> BoxFuture<'_, Ended> {
        Box::pin(self.instance.ended())
    }

    fn led_by(&self, leader: Option<Leader>) {
        self.lead(leader.map(|leader| leader.peer.name));
    }

    fn reconfigure<'a>(&'a self, parts: &'a WorkloadParts) -> BoxFuture<'a, Result<(), DeviceError>> {
        Box::pin(async move {
            self.instance.reconfigure(setup(parts)?).await?;
            *self.names.write().unwrap_or_else(PoisonError::into_inner) = parts.peers.clone();
            self.guide_anew();
            Ok(())
        })
    }

    fn describe(&self) -> String {
        self.instance.describe()
    }
}

fn setup(parts: &WorkloadParts) -> Result<Setup, DeviceError> {
    let score: PostgresScore = score::parse(&parts.payload)
        .map_err(|error| DeviceError::permanent(format!("open {}", parts.cluster)).because(error))?;
    Ok(Setup::new(score, parts.me.name.clone()).among(parts.peers.values().cloned()))
}

/// How long to wait for an address that is taken.
const LISTEN_AGAIN: Duration = Duration::from_secs(1);
