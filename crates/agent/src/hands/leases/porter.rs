//! The network half's side: carries questions of the hands to coordinators and candidates, and others' to the hands.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use failover::ClusterName;
use protocols::NodeId;
use protocols::control::Denied;
use protocols::node::{AskPromise, DriverReport};
use scores::BoxFuture;
use tokio::net::UnixStream;
use tokio::net::unix::OwnedReadHalf;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::wire::{Ask, PROTOCOL, Tell};
use crate::agent::{Agent, lock};
use crate::failover::{Group, Workloads, ask_peer};
use crate::hands::wire::{self, Answer, GREETING_DEADLINE, Greeting, WireError};

/// What the network half keeps of the line.
#[derive(Debug, Default)]
pub(in crate::hands) struct Porter {
    line: watch::Sender<Option<Arc<Line>>>,
}

#[derive(Debug)]
struct Line {
    out: mpsc::Sender<Tell>,
    closed: CancellationToken,
    asked: Mutex<HashMap<u64, oneshot::Sender<Ask>>>,
    next: AtomicU64,
    /// How many questions may be put to the hands at once.
    room: Semaphore,
}

#[derive(Debug, thiserror::Error)]
enum LineError {
    #[error("cannot connect to the socket of the agent's hands")]
    Connect(#[source] std::io::Error),
    #[error(transparent)]
    Wire(#[from] WireError),
    #[error("the agent's hands do not answer")]
    Silent,
    #[error("the agent's hands keep no workloads for this process: {0}")]
    Refused(String),
}

impl Porter {
    /// Stays connected, and carries.
    pub(in crate::hands) async fn stay(&self, socket: &Path, agent: &Arc<Agent>, stop: &CancellationToken) {
        let group = Group::new(Arc::clone(agent));
        loop {
            let ended = tokio::select! {
                () = stop.cancelled() => return,
                ended = self.carry(socket, agent, &group) => ended,
            };
            if let Some(line) = self.line.send_replace(None) {
                line.closed.cancel();
            }
            if let Err(error) = ended {
                tracing::debug!(error = scores::chain(&error), "no line for leases to the agent's hands");
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(AGAIN) => {}
            }
        }
    }

    async fn carry(&self, socket: &Path, agent: &Arc<Agent>, group: &Arc<Group>) -> Result<(), LineError> {
        let stream = UnixStream::connect(socket).await.map_err(LineError::Connect)?;
        let (mut reader, mut writer) = stream.into_split();
        let greet = async {
            let greeting = Greeting { protocol: PROTOCOL, version: env!("CARGO_PKG_VERSION").into() };
            wire::write(&mut writer, &greeting).await?;
            wire::read::<Answer>(&mut reader).await?.ok_or(LineError::Silent)?.map_err(LineError::Refused)
        };
        timeout(GREETING_DEADLINE, greet).await.map_err(|_| LineError::Silent)??;
        tracing::info!("the line for leases to the agent's hands is there");
        let (out, mut words) = mpsc::channel(QUEUED);
        let line = Arc::new(Line {
            out,
            closed: CancellationToken::new(),
            asked: Mutex::default(),
            next: AtomicU64::new(0),
            room: Semaphore::new(QUESTIONS_MAX),
        });
        let _closed = line.closed.clone().drop_guard();
        self.line.send_replace(Some(Arc::clone(&line)));
        let write = async {
            while let Some(word) = words.recv().await {
                wire::write(&mut writer, &word).await?;
            }
            Ok(())
        };
        let ended: Result<(), WireError> = tokio::select! {
            ended = write => ended,
            ended = listen(&mut reader, &line, agent, group) => ended,
        };
        ended.map_err(LineError::Wire)
    }

    /// Puts a question to the hands; nothing if they do not answer in time.
    async fn ask(&self, tell: impl FnOnce(u64) -> Tell) -> Option<Ask> {
        let line = self.line.borrow().clone()?;
        let _place = line.room.try_acquire().ok()?;
        let id = line.next.fetch_add(1, Ordering::Relaxed);
        let (tx, rx) = oneshot::channel();
        lock(&line.asked).insert(id, tx);
        let answer = tokio::select! {
            () = line.closed.cancelled() => None,
            answer = timeout(ANSWER_WITHIN, async {
                line.out.send(tell(id)).await.ok()?;
                rx.await.ok()
            }) => answer.ok().flatten(),
        };
        drop(lock(&line.asked).remove(&id));
        answer
    }
}

impl Workloads for Porter {
    fn promise(&self, from: NodeId, question: AskPromise) -> BoxFuture<'_, Result<(), Denied>> {
        Box::pin(async move {
            match self.ask(|id| Tell::Asked { id, from, question }).await {
                Some(Ask::Given { result: Ok(()), .. }) => Ok(()),
                Some(Ask::Given { result: Err(why), .. }) => Err(Denied::Unavailable(why)),
                _ => Err(Denied::Unavailable("the agent's hands do not answer".into())),
            }
        })
    }

    fn reports(&self, cluster: Option<ClusterName>) -> BoxFuture<'_, Vec<DriverReport>> {
        Box::pin(async move {
            match self.ask(|id| Tell::Report { id, cluster }).await {
                Some(Ask::Reports { reports, .. }) => reports,
                _ => Vec::new(),
            }
        })
    }
}

async fn listen(
    reader: &mut OwnedReadHalf,
    line: &Arc<Line>,
    agent: &Arc<Agent>,
    group: &Arc<Group>,
) -> Result<(), WireError> {
    let work = Arc::new(Semaphore::new(CARRIED_MAX));
    while let Some(ask) = wire::read::<Ask>(reader).await? {
        match ask {
            Ask::Given { id, .. } | Ask::Reports { id, .. } => {
                let asked = lock(&line.asked).remove(&id);
                if let Some(asked) = asked {
                    // Whoever asked may have given up.
                    drop(asked.send(ask));
                }
            }
            Ask::Lease { id, cluster, attempt, request } => {
                // What cannot be carried at once is lost, as on any road.
                let Ok(place) = Arc::clone(&work).try_acquire_owned() else { continue };
                let (line, group) = (Arc::clone(line), Arc::clone(group));
                tokio::spawn(async move {
                    let word = group.ask_signed(&cluster, attempt, request).await;
                    drop(line.out.send(Tell::Leased { id, word }).await);
                    drop(place);
                });
            }
            Ask::Peer { id, to, question } => {
                let Ok(place) = Arc::clone(&work).try_acquire_owned() else { continue };
                let (line, agent) = (Arc::clone(line), Arc::clone(agent));
                tokio::spawn(async move {
                    let signature = ask_peer(&agent, to, question).await;
                    drop(line.out.send(Tell::Promised { id, signature }).await);
                    drop(place);
                });
            }
        }
    }
    Ok(())
}

/// How many words may wait to be written.
const QUEUED: usize = 256;
/// How many questions are carried at once.
const CARRIED_MAX: usize = 256;
/// How many questions are put to the hands at once; fewer than they answer.
const QUESTIONS_MAX: usize = 8;
/// How long the hands may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);
/// How soon a line that broke is made anew: a lease may be waiting for it.
const AGAIN: Duration = Duration::from_millis(250);
