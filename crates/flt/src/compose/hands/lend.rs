//! Hands behind a socket that devices are lent to: what these ask of a device, this process does, which has the network.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use agent::failover::Workloads;
use agent::hands::Told;
use agent::hands::wire::{self, CHUNK_BYTES_MAX};
use agent::{Agent, Beside, BoxFuture, Hands};
use bytes::Bytes;
use protocols::{Kind, Name, Subject};
use scores::bond::Plugged as _;
use scores::switch::Switch as _;
use scores::{Assignment, DeviceError, PlayError, PlayReport, Stage, Topology as _};
use switches::Device;
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::errand::{ERRANDS_MAX, Errand, Hello, PROTOCOL, Piece, What, pack};

/// Hands behind a socket, devices beside them, and those devices lent to these hands.
pub(super) struct Lending {
    beside: Arc<Beside>,
    devices: Vec<Device>,
    socket: PathBuf,
}

impl Lending {
    /// Lends these devices at this socket.
    pub(super) fn new(beside: Arc<Beside>, devices: &[Device], socket: PathBuf) -> Arc<Self> {
        Arc::new(Self { beside, devices: devices.to_vec(), socket })
    }

    /// Lends until it is stopped, over one connection after the other.
    async fn lend(&self) {
        let mut told = false;
        loop {
            match lend(&self.socket, &self.devices).await {
                Ok(()) => told = false,
                // Hands of a version that borrows nothing.
                Err(error) if !told => {
                    told = true;
                    tracing::info!(error = scores::chain(&error), "the hands borrow no devices yet");
                }
                Err(_) => {}
            }
            tokio::time::sleep(AGAIN).await;
        }
    }
}

impl Hands for Lending {
    fn kinds(&self) -> BoxFuture<'_, Option<Vec<Kind>>> {
        self.beside.kinds()
    }

    fn preview<'a>(&'a self, draft: &'a Assignment) -> BoxFuture<'a, Result<Vec<String>, PlayError>> {
        self.beside.preview(draft)
    }

    fn recover<'a>(&'a self, stage: &'a dyn Stage) -> BoxFuture<'a, Vec<Told>> {
        self.beside.recover(stage)
    }

    fn play<'a>(&'a self, assignment: &'a Assignment, stage: &'a dyn Stage) -> BoxFuture<'a, PlayReport> {
        self.beside.play(assignment, stage)
    }

    fn workloads(&self) -> Option<&dyn Workloads> {
        self.beside.workloads()
    }

    fn attend(&self, agent: Arc<Agent>, stop: CancellationToken) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let lending = async {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = self.lend() => {}
                }
            };
            tokio::join!(self.beside.attend(agent, stop.clone()), lending);
        })
    }
}

/// Lends over one connection, until it ends.
async fn lend(socket: &Path, devices: &[Device]) -> Result<(), wire::WireError> {
    let stream = UnixStream::connect(socket).await.map_err(wire::WireError::Socket)?;
    let (mut reader, mut writer) = stream.into_split();
    wire::write(&mut writer, &Hello { protocol: PROTOCOL }).await?;
    let (out, mut pieces) = mpsc::channel::<Piece>(PIECES_QUEUED);
    let writes = async {
        while let Some(piece) = pieces.recv().await {
            wire::write(&mut writer, &piece).await?;
        }
        Ok::<(), wire::WireError>(())
    };
    let mut claimed = BTreeSet::new();
    let reads = async {
        let mut under_way = JoinSet::new();
        while let Some(errand) = wire::read::<Errand>(&mut reader).await? {
            while under_way.len() >= ERRANDS_MAX {
                drop(under_way.join_next().await);
            }
            while under_way.try_join_next().is_some() {}
            let device = devices.iter().find(|device| device.declaration().name == errand.device).cloned();
            let what = serde_json::from_str::<What>(&errand.what).ok();
            match &what {
                Some(What::Claim(subject)) => drop(claimed.insert((errand.device.clone(), subject.clone()))),
                Some(What::Release(subject)) => {
                    claimed.remove(&(errand.device.clone(), subject.clone()));
                    // At once: a claim may follow.
                    device.iter().for_each(|device| device.release(subject));
                    continue;
                }
                _ => {}
            }
            let out = out.clone();
            under_way.spawn(async move { run(errand, device, what, &out).await });
        }
        Ok::<(), wire::WireError>(())
    };
    let ended = tokio::select! {
        ended = writes => ended,
        ended = reads => ended,
    };
    // Whoever had claimed it is gone; should it come back, it claims it again.
    release(&claimed, devices);
    ended
}

fn release(claimed: &BTreeSet<(Name, Subject)>, devices: &[Device]) {
    for (name, subject) in claimed {
        devices.iter().filter(|device| device.declaration().name == *name).for_each(|device| device.release(subject));
    }
}

async fn run(errand: Errand, device: Option<Device>, what: Option<What>, out: &mpsc::Sender<Piece>) {
    let bytes = match (device, what) {
        (Some(device), Some(what)) => answer(&device, what).await,
        (None, _) => {
            pack::<()>(Err(DeviceError::permanent(format!("find the device `{}`: it is not declared", errand.device))))
        }
        (_, None) => pack::<()>(Err(DeviceError::permanent("understand the hands: they are of another version"))),
    };
    let Some(id) = errand.id else { return };
    let mut bytes = Bytes::from(bytes);
    loop {
        let piece = bytes.split_to(bytes.len().min(CHUNK_BYTES_MAX));
        let last = bytes.is_empty();
        if out.send(Piece { id, bytes: piece, last }).await.is_err() || last {
            return;
        }
    }
}

async fn answer(device: &Device, what: What) -> Vec<u8> {
    match what {
        What::Ready => pack(device.ensure_ready().await),
        What::Read => pack(device.read().await),
        What::Change(change) => pack(device.change(&change, None).await),
        What::Save => pack(device.save().await),
        What::Claim(subject) => pack(device.claim(&subject).await),
        What::Release(_) => Vec::new(),
        What::Surroundings => pack(device.surroundings().await),
    }
}

/// The pause before it is connected again.
const AGAIN: Duration = Duration::from_millis(500);
/// How many pieces may wait to be written.
const PIECES_QUEUED: usize = 8;
