//! What answers at the coordinator's address while its ledger is recovered: nothing but the genesis entry.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use protocols::control::{ChangeError, Control, ControlMessage, Denied, Echoed, LeaseError, TailBatch, Welcome};
use protocols::entry::Head;
use protocols::heartbeat::BeatAck;
use protocols::{EntryHash, FleetId, HeadClaim, NodeId, PeerAddr, SecretKey};
use tokio::sync::mpsc;

/// How many callers are listened to.
const CALLERS_MAX: usize = 20_000;

/// What answers those who look for the coordinator.
pub(super) struct Desk {
    pub(super) key: SecretKey,
    pub(super) fleet: FleetId,
    pub(super) said: Mutex<BTreeMap<NodeId, Head>>,
    pub(super) queue: mpsc::Sender<PeerAddr>,
    pub(super) heard: Box<dyn Fn(NodeId, Head) + Send + Sync>,
}

impl Desk {
    pub(super) fn note(&self, by: NodeId, head: Head) {
        let fresh = {
            let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
            (said.len() < CALLERS_MAX || said.contains_key(&by)) && said.insert(by, head) != Some(head)
        };
        if fresh {
            (self.heard)(by, head);
        }
    }

    pub(super) fn head_of(&self, of: NodeId) -> Option<Head> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).get(&of).copied()
    }

    pub(super) fn all(&self) -> BTreeMap<NodeId, Head> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The genesis entry, which the fleet's id names: the least that a coordinator can know, and no lie.
    fn nothing(&self) -> (Head, protocols::Signature) {
        let head = Head { seq: 0, hash: EntryHash::from_bytes(*self.fleet.as_bytes()) };
        (head, HeadClaim::sign(&self.key, self.fleet, head).signature)
    }
}

fn no_leases() -> LeaseError {
    LeaseError::NoMajority { why: "this coordinator is recovering its ledger".into() }
}

impl mesh::rpc::Serve<Control> for Desk {
    async fn handle(self: Arc<Self>, caller: NodeId, message: ControlMessage) {
        use ControlMessage as M;
        let busy = || Denied::Unavailable("this coordinator is recovering its ledger".into());
        let (head, claim) = self.nothing();
        let _gone = match message {
            M::Echo(m) => m.tx.send(Echoed { text: String::new(), caller }).await,
            M::Hello(m) => {
                let welcome = Welcome {
                    fleet: self.fleet,
                    head,
                    claim,
                    document: None,
                    clock: crate::compose::now(),
                    version: env!("CARGO_PKG_VERSION").into(),
                };
                m.tx.send(Ok(welcome)).await
            }
            M::Tail(m) => {
                if let Some(have) = m.inner.after {
                    self.note(caller, have);
                }
                let batch = TailBatch { entries: Vec::new(), head, claim: Some(claim), end: None };
                let sent = m.tx.send(batch).await;
                if m.inner.follow && sent.is_ok() {
                    m.tx.closed().await;
                }
                sent
            }
            M::Beat(m) => {
                let beat = m.inner.0;
                self.note(caller, beat.head);
                let mut addr = PeerAddr { id: caller, ..beat.addr };
                addr.addrs.truncate(protocols::addr::ADDRS_MAX);
                // Full: it says so again with the next one.
                let _full = self.queue.try_send(addr);
                m.tx.send(Ok(BeatAck { head, claim, records_differ: false })).await
            }
            M::Submit(m) => m.tx.send(Err(busy().into())).await,
            M::Compare(m) => m.tx.send(Err(busy())).await,
            M::Push(m) => m.tx.send(Err(busy())).await,
            M::Report(m) => m.tx.send(Err(busy())).await,
            M::Watch(m) => m.tx.send(Err(busy())).await,
            M::Offer(m) => m.tx.send(Err(busy())).await,
            M::Locate(m) => m.tx.send(Err(busy())).await,
            M::Providers(m) => m.tx.send(Err(busy())).await,
            M::Provide(m) => m.tx.send(Err(busy())).await,
            M::Ticket(m) => m.tx.send(Err(busy())).await,
            M::Lease(m) => m.tx.send(Err(no_leases())).await,
            M::SignedLease(m) => m.tx.send(Err(no_leases())).await,
            M::Leases(m) => m.tx.send(Err(no_leases())).await,
            M::Group(m) => m.tx.send(Err(busy())).await,
            M::ChangeGroup(m) => m.tx.send(Err(ChangeError::Refused(busy().to_string()))).await,
        };
    }
}
