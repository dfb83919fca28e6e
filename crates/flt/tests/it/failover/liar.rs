//! A coordinator in the wrong hands, with its true key at its true address, that grants leases by settings nobody signed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use failover::settings::Candidate;
use failover::{
    Answer, Author, Entry, Epoch, LeaseTable, LogTime, Outcome, Phase, Refusal, Request, Settings, Span, Stamp, View,
    Workload,
};
use flt::compose::now;
use mesh::{Mesh, MeshBuilder, MeshConfig, RpcLimits, Serve};
use protocols::control::{Control, ControlMessage, TailBatch, Welcome};
use protocols::entry::Head;
use protocols::heartbeat::BeatAck;
use protocols::store::{Ledger, Store};
use protocols::{FleetId, HeadClaim, NodeId, SecretKey, Signature, alpn};
use testkit::{DEADLINE, until};

use super::stage::Stage;
use crate::fleet::rig::free_again;
use crate::processes::bed::{Bed, ready};

struct Liar {
    key: SecretKey,
    fleet: FleetId,
    head: Head,
    /// Settings that no ledger declares.
    settings: Arc<Settings>,
    granted: AtomicU64,
    index: AtomicU64,
}

impl Liar {
    fn claim(&self) -> Signature {
        HeadClaim::sign(&self.key, self.fleet, self.head).signature
    }

    /// Whatever is asked: yes, by these settings, and the lease is whose it is asked for.
    fn grants(&self, caller: NodeId, attempt: failover::Attempt, request: &Request) -> Outcome {
        let ttl = self.settings.ttl;
        let answer = match request {
            Request::Acquire { epoch, .. } => {
                self.granted.store(epoch.next().0, Ordering::SeqCst);
                Ok(Answer::Granted { epoch: epoch.next(), ttl })
            }
            Request::Renew { epoch, .. } => Ok(Answer::Renewed { epoch: *epoch, ttl }),
            _ => Ok(Answer::Noted),
        };
        let mut table = LeaseTable::new();
        let me = failover::NodeId::from_bytes(*caller.as_bytes());
        let cluster = failover::ClusterName::try_from("service/ledger".to_owned()).unwrap();
        let configure = Request::Configure(Arc::clone(&self.settings));
        let entry = Entry::Ask { cluster: cluster.clone(), author: Author::Admin, attempt, request: configure };
        let settled: Result<Answer, Refusal> = table.apply(Stamp::default(), &entry).answer;
        assert_eq!(settled, Ok(Answer::Noted), "settings that hold, and that nobody signed");
        let honest = table.view(&cluster, Author::Node(me), 0).unwrap();
        let epoch = self.granted.load(Ordering::SeqCst);
        let held = epoch > 0;
        let view = View {
            index: self.index.fetch_add(1, Ordering::SeqCst),
            epoch: Epoch(epoch),
            holder: held.then_some(me),
            phase: if held { Phase::Held } else { Phase::Vacant },
            open: !held,
            version: 1_000,
            ..honest
        };
        Outcome { at: LogTime::ZERO, attempt: Some(attempt), answer, view: Some(view) }
    }
}

impl Serve<Control> for Liar {
    async fn handle(self: Arc<Self>, caller: NodeId, message: ControlMessage) {
        use ControlMessage as M;
        let (fleet, head, claim) = (self.fleet, self.head, self.claim());
        // Who hangs up does not want to know.
        match message {
            M::Hello(m) => {
                let welcome = Welcome { fleet, head, claim, document: None, clock: now(), version: "0".into() };
                drop(m.tx.send(Ok(welcome)).await);
            }
            M::Tail(m) => {
                let batch = TailBatch { entries: Vec::new(), head, claim: Some(claim), end: None };
                drop(m.tx.send(batch).await);
                m.tx.closed().await;
            }
            M::Beat(m) => drop(m.tx.send(Ok(BeatAck { head, claim, records_differ: false })).await),
            M::Compare(m) => drop(m.tx.send(Ok(Vec::new())).await),
            M::Push(m) => drop(m.tx.send(Ok(())).await),
            M::Lease(m) => {
                let outcome = self.grants(caller, m.inner.attempt, &m.inner.request);
                drop(m.tx.send(Ok(outcome)).await);
            }
            _ => {}
        }
    }
}

/// Takes the place of the coordinator, which is dead.
async fn lie(bed: &Bed, settings: Settings) -> (Mesh, Arc<Liar>) {
    let data = bed.path().join("coordinator/data");
    let key = SecretKey::read(&bed.path().join("coordinator/key"), || None).unwrap();
    let store = Arc::new(Store::open(&data).unwrap());
    let ledger = Ledger::open(store, None).unwrap();
    let state = ledger.state().unwrap();
    let (settings, fleet, head) = (Arc::new(settings), state.fleet(), state.head());
    let (granted, index) = (AtomicU64::new(0), AtomicU64::new(1));
    let liar = Arc::new(Liar { key: key.clone(), fleet, head, settings, granted, index });
    let anybody = Arc::new(|_: NodeId, _: &[u8]| true);
    let config = MeshConfig { bind: vec![bed.listen()], ..MeshConfig::new(key, anybody) };
    let builder = free_again(async || MeshBuilder::bind(config.clone()).await).await;
    (builder.serve::<Control>(alpn::CONTROL, RpcLimits::default(), Arc::clone(&liar)).start(), liar)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_lease_is_taken_by_settings_that_the_ledger_does_not_declare() {
    let mut stage = Stage::set();
    let first = stage.writes().unwrap();
    for agent in &mut stage.agents {
        agent.kill();
    }
    stage.coordinator.kill();
    until("that nobody writes", DEADLINE, || stage.writes().map_or(Ok(()), Err));
    let before = stage.lines().len();

    // It leaves a lease for so long that who believes it would write for a day.
    let node = stage.bed.lease_id("a");
    let mut settings = Settings::lan(Workload::Service, vec![Candidate { node, priority: 1 }]);
    settings.ttl = Span::from_secs(86_400);
    settings.hold_down_max = settings.ttl;
    settings.slack = Span::from_secs(3_600);
    let (mesh, liar) = lie(&stage.bed, settings).await;
    stage.agents[0].restart();
    let agent = &stage.agents[0];
    agent.wait_for("the coordinators go by other settings than the ledger declares");
    assert_eq!(liar.granted.load(Ordering::SeqCst), 0, "it has asked for a lease");
    assert_eq!(stage.lines().len(), before, "it wrote by a lease that nobody signed the settings of");
    mesh.close().await;
    drop((liar, mesh));
    let listen = stage.bed.listen();
    until("the address", DEADLINE, || std::net::UdpSocket::bind(listen).map(drop));

    stage.coordinator.restart();
    ready(&stage.coordinator);
    for agent in &mut stage.agents[1..] {
        agent.restart();
    }
    stage.writer_after(first.epoch);
    stage.strike();
}
