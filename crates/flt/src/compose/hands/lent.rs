//! Devices as the hands have them: lent by the half with the network, which speaks to them.
//!
//! What the hands do to this machine stays what the ledger declares, whatever that half says of a device: it can do to the
//! devices what their passwords allow anyway, and it can have a bond fail. It cannot have one made that is not declared.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use agent::hands::wire::{self, GREETING_DEADLINE};
use protocols::{Name, Subject};
use scores::bond::{Plugged, Surroundings};
use scores::switch::{Change, Snapshot, SnmpSecrets, Switch};
use scores::{DeviceError, Grant, Topology};
use serde::de::DeserializeOwned;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::errand::{ANSWER_BYTES_MAX, ANSWER_WITHIN, ERRANDS_MAX, Errand, Hello, PROTOCOL, Piece, What, unpack};

/// Where devices are lent, beside where the hands listen.
pub(super) fn socket(hands: &Path) -> PathBuf {
    let mut name = hands.file_stem().unwrap_or_default().to_owned();
    name.push("-devices.sock");
    hands.with_file_name(name)
}

/// The line to whoever lends devices.
#[derive(Debug)]
pub(super) struct Lent {
    line: watch::Sender<Option<Arc<Line>>>,
    next: AtomicU64,
}

/// One connection.
#[derive(Debug)]
struct Line {
    number: u64,
    out: mpsc::Sender<Errand>,
    asked: Mutex<HashMap<u64, Asked>>,
    closed: CancellationToken,
}

/// Who waits for an answer, and what has come of it.
#[derive(Debug)]
struct Asked {
    bytes: Vec<u8>,
    tell: oneshot::Sender<Vec<u8>>,
}

impl Lent {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { line: watch::Sender::new(None), next: AtomicU64::new(1) })
    }

    /// A device of this name.
    pub(super) fn device(self: &Arc<Self>, name: Name) -> LentDevice {
        LentDevice { lent: Arc::clone(self), name, claimed: Arc::default() }
    }

    /// Listens until `stop`: to the newest that greets, of these users.
    pub(super) async fn run(self: Arc<Self>, listener: UnixListener, users: Vec<u32>, stop: CancellationToken) {
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let mut number = 0;
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            let Ok((stream, _)) = accepted else {
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            };
            // The kernel says whose process it is; nothing that the process says counts.
            if !stream.peer_cred().is_ok_and(|peer| users.contains(&peer.uid())) {
                tracing::warn!("refused a connection of another user that would lend devices");
                continue;
            }
            let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
            let (this, stop) = (Arc::clone(&self), stop.clone());
            number += 1;
            tokio::spawn(async move {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = this.attend(stream, number) => {}
                }
                drop(place);
            });
        }
    }

    async fn attend(&self, stream: UnixStream, number: u64) {
        let (mut reader, mut writer) = stream.into_split();
        match timeout(GREETING_DEADLINE, wire::read::<Hello>(&mut reader)).await {
            Ok(Ok(Some(Hello { protocol: PROTOCOL }))) => {}
            other => return tracing::warn!(?other, "a connection that would lend devices did not greet as it should"),
        }
        let (out, mut errands) = mpsc::channel(ERRANDS_MAX);
        let line = Arc::new(Line { number, out, asked: Mutex::default(), closed: CancellationToken::new() });
        if let Some(older) = self.line.send_replace(Some(Arc::clone(&line))) {
            older.closed.cancel();
        }
        tracing::info!("the network half lends its devices");
        let writes = async {
            while let Some(errand) = errands.recv().await {
                wire::write(&mut writer, &errand).await?;
            }
            Ok::<(), wire::WireError>(())
        };
        let reads = async {
            while let Some(piece) = wire::read::<Piece>(&mut reader).await? {
                line.take(piece);
            }
            Ok::<(), wire::WireError>(())
        };
        let ended = tokio::select! {
            () = line.closed.cancelled() => Ok(()),
            ended = writes => ended,
            ended = reads => ended,
        };
        if let Err(error) = ended {
            tracing::warn!(error = scores::chain(&error), "devices are lent no more");
        }
        line.closed.cancel();
        // Whoever waits is told so.
        lock(&line.asked).clear();
        self.line.send_if_modified(|now| {
            let mine = now.as_ref().is_some_and(|now| now.number == number);
            if mine {
                *now = None;
            }
            mine
        });
    }

    /// The line, waited for a little: the other half may be starting.
    async fn line(&self) -> Result<Arc<Line>, DeviceError> {
        let mut lines = self.line.subscribe();
        let found = timeout(CONNECTED_WITHIN, lines.wait_for(Option::is_some)).await;
        let found = found.ok().and_then(Result::ok).and_then(|line| line.clone());
        found.ok_or_else(|| DeviceError::transient("reach the half of the agent that has the network"))
    }

    async fn ask<T: DeserializeOwned>(&self, line: &Line, device: &Name, what: &What) -> Result<T, DeviceError> {
        let gone = || DeviceError::transient("ask the half of the agent that has the network: it is gone");
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (tell, answer) = oneshot::channel();
        lock(&line.asked).insert(id, Asked { bytes: Vec::new(), tell });
        let errand = errand(Some(id), device, what)?;
        let asked = async {
            line.out.send(errand).await.map_err(|_| gone())?;
            answer.await.map_err(|_| gone())
        };
        let bytes = tokio::select! {
            () = line.closed.cancelled() => Err(gone()),
            answered = timeout(ANSWER_WITHIN, asked) => answered.unwrap_or_else(|_| {
                let within = ANSWER_WITHIN.as_secs();
                Err(DeviceError::transient(format!("ask the half of the agent that has the network: nothing in {within} s")))
            }),
        };
        lock(&line.asked).remove(&id);
        unpack(&bytes?)
    }
}

impl Line {
    fn take(&self, piece: Piece) {
        let mut asked = lock(&self.asked);
        let Some(mut waits) = asked.remove(&piece.id) else { return };
        if waits.bytes.len() + piece.bytes.len() > ANSWER_BYTES_MAX {
            // Nobody needs more of it: whoever waits is told that there is no answer.
            return;
        }
        waits.bytes.extend_from_slice(&piece.bytes);
        if piece.last {
            drop(waits.tell.send(waits.bytes));
        } else {
            asked.insert(piece.id, waits);
        }
    }
}

/// A device that another process speaks to. Clones are the same device.
#[derive(Debug, Clone)]
pub(super) struct LentDevice {
    lent: Arc<Lent>,
    name: Name,
    /// Which subject has claimed it, over which connection: with that, custody ends.
    claimed: Arc<Mutex<Option<(Subject, u64)>>>,
}

impl LentDevice {
    async fn ask<T: DeserializeOwned>(&self, what: &What) -> Result<T, DeviceError> {
        let line = self.lent.line().await?;
        self.lent.ask(&line, &self.name, what).await
    }

    /// Asks for a change. What was claimed over a connection that is gone may be another agent's by now.
    async fn ask_in_custody(&self, what: &What) -> Result<(), DeviceError> {
        let line = self.lent.line().await?;
        let elsewhere = lock(&self.claimed).as_ref().is_some_and(|(_, number)| *number != line.number);
        if elsewhere {
            let why = "go on with changing the device: the half of the agent that has the network was restarted";
            return Err(DeviceError::transient(why));
        }
        self.lent.ask(&line, &self.name, what).await
    }
}

impl Topology for LentDevice {
    fn name(&self) -> &str {
        self.name.as_str()
    }

    async fn ensure_ready(&self) -> Result<(), DeviceError> {
        self.ask(&What::Ready).await
    }
}

impl Switch for LentDevice {
    fn device(&self) -> &Name {
        &self.name
    }

    async fn read(&self) -> Result<Snapshot, DeviceError> {
        self.ask(&What::Read).await
    }

    async fn change(&self, change: &Change, secrets: Option<&SnmpSecrets>) -> Result<(), DeviceError> {
        if secrets.is_some() {
            return Err(DeviceError::permanent("change a device: secrets are not handed to another process"));
        }
        self.ask_in_custody(&What::Change(Box::new(change.clone()))).await
    }

    async fn save(&self) -> Result<(), DeviceError> {
        self.ask_in_custody(&What::Save).await
    }

    async fn claim(&self, subject: &Subject) -> Result<Option<Grant>, DeviceError> {
        let line = self.lent.line().await?;
        let grant = self.lent.ask(&line, &self.name, &What::Claim(subject.clone())).await?;
        *lock(&self.claimed) = Some((subject.clone(), line.number));
        Ok(grant)
    }

    fn release(&self, subject: &Subject) {
        drop(lock(&self.claimed).take_if(|(claimed, _)| claimed == subject));
        // Where there is no line, its end has released it.
        let line = self.lent.line.borrow().clone();
        let Some((line, errand)) = line.zip(errand(None, &self.name, &What::Release(subject.clone())).ok()) else {
            return;
        };
        if line.out.try_send(errand).is_err() {
            // One that takes nothing in is of no use.
            line.closed.cancel();
        }
    }
}

impl Plugged for LentDevice {
    async fn surroundings(&self) -> Result<Surroundings, DeviceError> {
        self.ask(&What::Surroundings).await
    }
}

fn errand(id: Option<u64>, device: &Name, what: &What) -> Result<Errand, DeviceError> {
    let what = serde_json::to_string(what);
    let what = what.map_err(|error| DeviceError::permanent("ask for a device").because(error))?;
    Ok(Errand { id, device: device.clone(), what })
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How many connections there may be, of which the newest counts.
const CONNECTIONS_MAX: usize = 4;
/// The pause when a connection could not be accepted: file handles are short.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
/// How long the other half is waited for.
const CONNECTED_WITHIN: Duration = Duration::from_secs(15);
