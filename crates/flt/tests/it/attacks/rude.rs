//! A coordinator without manners, in the place of a rig's.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use flt::compose::now;
use mesh::{Mesh, MeshBuilder, MeshConfig, RpcLimits, Serve};
use protocols::control::{Control, ControlMessage, TailBatch, Welcome};
use protocols::entry::Head;
use protocols::{EntryHash, FleetId, HeadClaim, NodeId, SecretKey, Signature, SignedEntry, alpn};

use crate::fleet::rig::{Rig, free_again};

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rudeness {
    /// Takes every request and answers none.
    Silent,
    /// Sends a gigabyte of entries, in pieces as large as they may be.
    Endless,
}

pub(crate) struct Rude {
    mesh: Mesh,
    manners: Arc<Manners>,
}

struct Manners {
    how: Rudeness,
    key: SecretKey,
    fleet: FleetId,
    asked: AtomicUsize,
    hung_up: AtomicUsize,
    sent: AtomicU64,
}

impl Rude {
    /// Takes the place of the coordinator of a rig, which must be stopped.
    pub(crate) async fn start(rig: &Rig, how: Rudeness) -> Self {
        let manners = Arc::new(Manners {
            how,
            key: rig.coordinator_key.clone(),
            fleet: rig.fleet,
            asked: AtomicUsize::new(0),
            hung_up: AtomicUsize::new(0),
            sent: AtomicU64::new(0),
        });
        let anybody = Arc::new(|_: NodeId, _: &[u8]| true);
        let config = MeshConfig { bind: rig.at.clone(), ..MeshConfig::new(rig.coordinator_key.clone(), anybody) };
        let builder = free_again(async || MeshBuilder::bind(config.clone()).await).await;
        let mesh = builder.serve::<Control>(alpn::CONTROL, RpcLimits::default(), Arc::clone(&manners)).start();
        Self { mesh, manners }
    }

    pub(crate) fn asked(&self) -> usize {
        self.manners.asked.load(Ordering::SeqCst)
    }

    pub(crate) fn hung_up(&self) -> usize {
        self.manners.hung_up.load(Ordering::SeqCst)
    }

    pub(crate) fn sent_bytes(&self) -> u64 {
        self.manners.sent.load(Ordering::SeqCst)
    }

    pub(crate) async fn stop(self) {
        self.mesh.close().await;
    }
}

impl Serve<Control> for Manners {
    async fn handle(self: Arc<Self>, _caller: NodeId, message: ControlMessage) {
        self.asked.fetch_add(1, Ordering::SeqCst);
        if self.how == Rudeness::Silent {
            // Longer than anybody waits for an answer.
            tokio::time::sleep(Duration::from_secs(120)).await;
            return drop(message);
        }
        let head = Head { seq: 1 << 20, hash: EntryHash::from_bytes([9; 32]) };
        let claim = HeadClaim::sign(&self.key, self.fleet, head).signature;
        match message {
            ControlMessage::Hello(m) => {
                let welcome =
                    Welcome { fleet: self.fleet, head, claim, document: None, clock: now(), version: "0".into() };
                drop(m.tx.send(Ok(welcome)).await);
            }
            ControlMessage::Tail(m) => {
                let junk = SignedEntry { bytes: vec![b' '; PIECE].into(), signature: Signature::from_bytes([0; 64]) };
                for _ in 0..GIGABYTE / PIECE {
                    let batch = TailBatch { entries: vec![junk.clone()], head, claim: Some(claim), end: Some(claim) };
                    if m.tx.send(batch).await.is_err() {
                        break;
                    }
                    self.sent.fetch_add(PIECE as u64, Ordering::SeqCst);
                }
                self.hung_up.fetch_add(1, Ordering::SeqCst);
            }
            other => drop(other),
        }
    }
}

/// As much as one message may have, nearly.
const PIECE: usize = 12 << 20;
const GIGABYTE: usize = 1 << 30;
