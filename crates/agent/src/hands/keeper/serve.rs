//! The socket of the keeper: who may connect, and what is answered.

use std::sync::Arc;
use std::time::Duration;

use protocols::outcome::{MESSAGE_BYTES_MAX, shorten};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::Keeper;
use crate::failover::Workloads;
use crate::hands::leases;
use crate::hands::link::Session;
use crate::hands::wire::{self, Answer, GREETING_DEADLINE, Greeting, PROTOCOL, Say, Welcome, WireError, Word};

/// Whose processes may connect, as the kernel names them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admit(Vec<u32>);

impl Admit {
    /// Processes of these users alone.
    pub fn users(users: impl IntoIterator<Item = u32>) -> Self {
        Self(users.into_iter().collect())
    }
}

impl Keeper {
    /// Serves until the keeper is told to stop: one connection at a time, the newest.
    pub async fn run(self: &Arc<Self>, listener: UnixListener, admit: Admit) {
        let recovering = Arc::clone(self);
        self.plays.spawn(async move { recovering.recover().await });
        let driving =
            self.drivers.get().map(|drivers| tokio::spawn(Arc::clone(drivers).run(self.carrier(), self.stop.clone())));
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let mut number = 0;
        loop {
            let accepted = tokio::select! {
                () = self.stop.cancelled() => break,
                accepted = listener.accept() => accepted,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // Out of file handles, most likely: that passes.
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            if !self.admits(&stream, &admit) {
                continue;
            }
            let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
                tracing::warn!("too many connections: one is closed");
                continue;
            };
            let this = Arc::clone(self);
            number += 1;
            tokio::spawn(async move {
                let stop = this.stop.clone();
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = this.attend(stream, number) => {}
                }
                drop(place);
            });
        }
        self.plays.close();
        // What is played heeds the stop, or is left where it is.
        drop(timeout(STOP_DEADLINE, self.plays.wait()).await);
        if let Some(driving) = driving {
            // What is writable is stopped in order, or at the end of its lease by its supervisor.
            drop(timeout(STOP_DEADLINE, driving).await);
        }
    }

    /// The kernel says whose process it is; nothing that the process says counts.
    fn admits(&self, stream: &UnixStream, admit: &Admit) -> bool {
        match stream.peer_cred() {
            Ok(peer) if admit.0.contains(&peer.uid()) => true,
            Ok(peer) => {
                tracing::warn!(uid = peer.uid(), pid = peer.pid(), "refused a connection of another user");
                false
            }
            Err(error) => {
                tracing::warn!(%error, "refused a connection of nobody knows whom");
                false
            }
        }
    }

    async fn attend(self: &Arc<Self>, stream: UnixStream, number: u64) {
        let (mut reader, mut writer) = stream.into_split();
        match timeout(GREETING_DEADLINE, self.greet(&mut reader, &mut writer)).await {
            Ok(Ok(Some(Greeted { version, leases: false }))) => {
                tracing::info!(version, "the network half is connected");
            }
            Ok(Ok(Some(Greeted { version, leases: true }))) => {
                tracing::info!(version, "the network half carries what is asked about leases");
                let Some(drivers) = self.drivers.get() else { return };
                let workloads = Arc::clone(drivers) as Arc<dyn Workloads>;
                if let Err(error) = self.leases.attend(reader, writer, &workloads).await {
                    tracing::warn!(error = scores::chain(&error), "nobody carries what is asked about leases");
                }
                return;
            }
            Ok(Ok(None)) => return,
            Ok(Err(error)) => {
                tracing::warn!(error = scores::chain(&error), "a connection did not greet as it should");
                return;
            }
            Err(_) => {
                tracing::warn!("a connection did not greet in time");
                return;
            }
        }
        let (out, words) = mpsc::channel(WORDS_QUEUED);
        let session = Session::new(number, out);
        self.link.install(Arc::clone(&session));
        let ended = tokio::select! {
            () = session.closed.cancelled() => Ok(()),
            ended = write_all(&mut writer, words) => ended,
            ended = self.listen(&mut reader, &session) => ended,
        };
        self.link.remove(&session);
        match ended {
            Ok(()) => tracing::info!("the network half is gone"),
            Err(error) => tracing::warn!(error = scores::chain(&error), "the network half is gone"),
        }
    }

    async fn greet(
        &self,
        reader: &mut OwnedReadHalf,
        writer: &mut OwnedWriteHalf,
    ) -> Result<Option<Greeted>, WireError> {
        let Some(greeting) = wire::read::<Greeting>(reader).await? else { return Ok(None) };
        let leases = greeting.protocol == leases::PROTOCOL && self.drivers.get().is_some();
        let answer: Answer = if greeting.protocol == PROTOCOL || leases {
            Ok(Welcome {
                version: env!("CARGO_PKG_VERSION").into(),
                node: self.options.node,
                fleet: self.options.fleet,
                head: self.head(),
                kinds: self.ensemble.kinds(),
            })
        } else {
            Err(format!("the hands speak version {PROTOCOL} of their protocol, and not {}", greeting.protocol))
        };
        let welcome = answer.is_ok();
        wire::write(writer, &answer).await?;
        let version = greeting.version.chars().filter(|c| c.is_ascii_graphic()).take(VERSION_CHARS).collect();
        Ok(welcome.then_some(Greeted { version, leases }))
    }

    async fn listen(self: &Arc<Self>, reader: &mut OwnedReadHalf, session: &Arc<Session>) -> Result<(), WireError> {
        let mut requests = JoinSet::new();
        while let Some(say) = wire::read::<Say>(reader).await? {
            while requests.try_join_next().is_some() {}
            if requests.len() >= REQUESTS_MAX {
                tracing::warn!("the network half asks for too much at once");
                return Ok(());
            }
            match say {
                Say::Entries { id, entries } => {
                    let this = Arc::clone(self);
                    let taken = tokio::task::spawn_blocking(move || this.take(entries)).await;
                    let result = match taken {
                        Ok(taken) => taken.map_err(|error| scores::chain(&error)),
                        Err(error) => Err(error.to_string()),
                    };
                    if let Err(error) = &result {
                        tracing::warn!(error, "entries are refused");
                    }
                    let result = result.map_err(|why| shorten(&why, MESSAGE_BYTES_MAX));
                    answer(session, Word::Taken { id, result }).await;
                }
                Say::Recover { id } => {
                    let (this, session) = (Arc::clone(self), Arc::clone(session));
                    requests.spawn(async move {
                        let told = this.tell_recovered().await.into_iter().map(Into::into).collect();
                        answer(&session, Word::Recovered { id, told }).await;
                    });
                }
                Say::Play { id, subject, generation } => {
                    let (this, session) = (Arc::clone(self), Arc::clone(session));
                    requests.spawn(async move {
                        let ordered = this.order(subject, generation).await;
                        let result = ordered.map(Into::into).map_err(|error| {
                            let why = scores::chain(&error);
                            tracing::warn!(why, "not played");
                            shorten(&why, MESSAGE_BYTES_MAX)
                        });
                        answer(&session, Word::Played { id, result }).await;
                    });
                }
                Say::Checked { id, result } => session.checked(id, result),
                Say::Chunk { id, bytes } => session.part(id, bytes).await,
                Say::Fetched { id, result } => session.fetched(id, result).await,
            }
        }
        Ok(())
    }
}

/// Who has greeted, and whether to speak of leases.
struct Greeted {
    version: String,
    leases: bool,
}

/// Who is gone needs no answer.
async fn answer(session: &Session, word: Word) {
    drop(session.out.send(word).await);
}

async fn write_all(writer: &mut OwnedWriteHalf, mut words: mpsc::Receiver<Word>) -> Result<(), WireError> {
    while let Some(word) = words.recv().await {
        wire::write(writer, &word).await?;
    }
    Ok(())
}

/// The most connections at once: one that counts, one that takes its place, and some that greet.
const CONNECTIONS_MAX: usize = 8;
/// How many requests may wait for their answers.
const REQUESTS_MAX: usize = 16;
/// How many words may wait to be written.
const WORDS_QUEUED: usize = 64;
/// How much of a version is logged.
const VERSION_CHARS: usize = 40;
/// The pause after a connection that could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long a play may take to heed a stop before the process ends under it.
const STOP_DEADLINE: Duration = Duration::from_secs(10);
