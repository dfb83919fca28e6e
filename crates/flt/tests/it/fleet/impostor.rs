//! A coordinator that somebody took over: the real key at the real address, and it says what it likes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use flt::compose::now;
use mesh::{Mesh, MeshBuilder, MeshConfig, RpcLimits, Serve};
use protocols::control::{Control, ControlMessage, Denied, TailBatch, Welcome};
use protocols::entry::Head;
use protocols::heartbeat::BeatAck;
use protocols::{FleetId, HeadClaim, NodeId, PeerAddr, SecretKey, Signature, SignedEntry, alpn};
use testkit::until_async;

use super::rig::{Rig, SOON, free_again};

/// What it tells one agent.
#[derive(Clone)]
pub(crate) struct Lie {
    pub(crate) what: &'static str,
    /// The fleet and the newest entry that it claims.
    pub(crate) fleet: FleetId,
    pub(crate) head: Head,
    /// What it sends, whatever was asked.
    pub(crate) entries: Vec<SignedEntry>,
}

pub(crate) struct Impostor {
    mesh: Mesh,
    told: Arc<Told>,
}

struct Told {
    key: SecretKey,
    lies: HashMap<NodeId, Lie>,
    holders: Vec<PeerAddr>,
    tails: Mutex<HashMap<NodeId, usize>>,
    greeted: Mutex<HashMap<NodeId, usize>>,
}

impl Impostor {
    /// Takes the place of the coordinator of a rig, which must be stopped.
    pub(crate) async fn start(rig: &Rig, lies: HashMap<NodeId, Lie>, holders: Vec<PeerAddr>) -> Self {
        let key = rig.coordinator_key.clone();
        let told = Arc::new(Told { key, lies, holders, tails: Mutex::default(), greeted: Mutex::default() });
        let anybody = Arc::new(|_: NodeId, _: &[u8]| true);
        let config = MeshConfig { bind: rig.at.clone(), ..MeshConfig::new(rig.coordinator_key.clone(), anybody) };
        let builder = free_again(async || MeshBuilder::bind(config.clone()).await).await;
        let mesh = builder.serve::<Control>(alpn::CONTROL, RpcLimits::default(), Arc::clone(&told)).start();
        Self { mesh, told }
    }

    /// Waits until everybody was told its lie this often. Who asks again has judged what it was told before.
    pub(crate) async fn has_told_everybody(&self, times: usize) {
        self.has_told(&self.told.lies, times).await;
    }

    /// The same for some.
    pub(crate) async fn has_told(&self, lies: &HashMap<NodeId, Lie>, times: usize) {
        until_async("agents that listened", SOON, async || {
            let tails = self.told.tails.lock().unwrap().clone();
            let left: Vec<_> = lies.iter().filter(|(id, _)| tails.get(id).copied() < Some(times)).collect();
            let left: Vec<_> = left.into_iter().map(|(id, lie)| (lie.what, tails.get(id).copied())).collect();
            if left.is_empty() { Ok(()) } else { Err(left) }
        })
        .await;
    }

    /// Waits until an agent came this often.
    pub(crate) async fn has_greeted(&self, node: NodeId, times: usize) {
        let come = async || self.told.greeted.lock().unwrap().get(&node).copied() >= Some(times);
        until_async("an agent that came", SOON, come).await;
    }

    pub(crate) async fn stop(self) {
        self.mesh.close().await;
    }
}

impl Told {
    fn claim(&self, fleet: FleetId, head: Head) -> Signature {
        HeadClaim::sign(&self.key, fleet, head).signature
    }
}

impl Serve<Control> for Told {
    async fn handle(self: Arc<Self>, caller: NodeId, message: ControlMessage) {
        use ControlMessage as M;
        let Some(lie) = self.lies.get(&caller) else { return };
        // Who hangs up does not want to know.
        match message {
            M::Hello(m) => {
                *self.greeted.lock().unwrap().entry(caller).or_default() += 1;
                let (fleet, head) = (lie.fleet, lie.head);
                let claim = self.claim(fleet, head);
                let welcome = Welcome { fleet, head, claim, document: None, clock: now(), version: "0".into() };
                drop(m.tx.send(Ok(welcome)).await);
            }
            M::Tail(m) => {
                // It signs whatever it says: what is not signed would not even be looked at.
                let last = lie.entries.last().map(|e| (e.hash(), e.clone().verify().map(|v| v.seq())));
                let end = last.map(|(hash, seq)| Head { seq: seq.unwrap_or(lie.head.seq), hash });
                let end = end.filter(|end| *end != lie.head).map(|end| self.claim(lie.fleet, end));
                let claim = Some(self.claim(lie.fleet, lie.head));
                let batch = TailBatch { entries: lie.entries.clone(), head: lie.head, claim, end };
                drop(m.tx.send(batch).await);
                *self.tails.lock().unwrap().entry(caller).or_default() += 1;
                // The stream stays open a while, as one that is followed would.
                tokio::select! {
                    () = m.tx.closed() => {}
                    () = tokio::time::sleep(Duration::from_secs(1)) => {}
                }
            }
            M::Beat(m) => drop(
                m.tx.send(Ok(BeatAck {
                    head: lie.head,
                    claim: self.claim(lie.fleet, lie.head),
                    records_differ: false,
                }))
                .await,
            ),
            M::Compare(m) => drop(m.tx.send(Ok(Vec::new())).await),
            M::Push(m) => drop(m.tx.send(Ok(())).await),
            M::Provide(m) => drop(m.tx.send(Ok(())).await),
            M::Providers(m) => drop(m.tx.send(Ok(self.holders.clone())).await),
            M::Locate(m) => {
                let found = self.holders.iter().find(|h| h.id == m.inner.0).cloned();
                drop(m.tx.send(Ok(found)).await);
            }
            M::Echo(_)
            | M::Submit(_)
            | M::Report(_)
            | M::Watch(_)
            | M::Offer(_)
            | M::Ticket(_)
            | M::Lease(_)
            | M::SignedLease(_)
            | M::Leases(_)
            | M::Group(_)
            | M::ChangeGroup(_) => {
                tracing::debug!(error = %Denied::Unavailable("an impostor".into()), "not answered");
            }
        }
    }
}
