//! The network half's side of the socket: what it hands over, asks for, and answers.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use protocols::{BlobRef, Check, Kind, Verdict};
use scores::{Artifacts, Assignment, Cancel, Checks, Ensemble, PlayError, PlayReport, Stage};
use tokio::io::AsyncReadExt as _;
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::leases::Porter;
use super::wire::{
    self, Answer, CHUNK_BYTES_MAX, GREETING_DEADLINE, Greeting, PROTOCOL, Say, Unfetched, Welcome, WireError, Word,
};
use super::{Hands, Told};
use crate::agent::{Agent, lock};
use crate::failover::Workloads;
use crate::stage::PlayStage;
use crate::uplink::BoxFuture;

/// Hands in another process, behind a socket.
pub struct FarHands {
    socket: PathBuf,
    /// Plans what is not published, with no more rights than this process has.
    preview: Arc<Ensemble>,
    artifacts: Arc<dyn Artifacts>,
    checks: Arc<dyn Checks>,
    line: watch::Sender<Option<Arc<Line>>>,
    kinds: watch::Sender<Option<Vec<Kind>>>,
    /// Carries what is asked about leases.
    porter: Porter,
}

/// One connection.
struct Line {
    out: mpsc::Sender<Say>,
    closed: CancellationToken,
    asked: Mutex<HashMap<u64, oneshot::Sender<Word>>>,
    next: AtomicU64,
    /// The newest entry that the hands have.
    theirs: watch::Sender<Option<u64>>,
    work: Arc<Semaphore>,
}

#[derive(Debug, thiserror::Error)]
enum FarError {
    #[error("cannot connect to the socket of the agent's hands")]
    Connect(#[source] io::Error),
    #[error(transparent)]
    Wire(#[from] WireError),
    #[error("the agent's hands do not answer")]
    Silent,
    #[error("the agent's hands do not talk to this process: {0}")]
    Refused(String),
    #[error("the agent's hands play for {0}, which is another node or fleet")]
    Another(String),
    #[error("the agent's hands do not take the ledger: {0}")]
    NotTaken(String),
    #[error("cannot read this node's copy of the ledger")]
    Store(#[from] protocols::store::StoreError),
}

impl std::fmt::Debug for FarHands {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FarHands").field("socket", &self.socket).finish_non_exhaustive()
    }
}

impl FarHands {
    /// Hands at this socket. For them, blobs are fetched by `artifacts` and checks that need the network run by `checks`;
    /// `preview` plans what is not published.
    pub fn new(
        socket: PathBuf,
        preview: Arc<Ensemble>,
        artifacts: Arc<dyn Artifacts>,
        checks: Arc<dyn Checks>,
    ) -> Arc<Self> {
        let (line, kinds) = (watch::Sender::new(None), watch::Sender::new(None));
        Arc::new(Self { socket, preview, artifacts, checks, line, kinds, porter: Porter::default() })
    }

    /// Stays connected, and hands the ledger over as it grows.
    async fn stay(&self, agent: &Arc<Agent>, stop: &CancellationToken) {
        let mut pause = PAUSE.0;
        loop {
            let began = Instant::now();
            let ended = tokio::select! {
                () = stop.cancelled() => return,
                ended = self.hold(agent, stop) => ended,
            };
            if let Some(line) = self.line.send_replace(None) {
                line.closed.cancel();
            }
            match ended {
                Ok(()) => tracing::warn!("the agent's hands went away"),
                Err(error) => tracing::warn!(error = scores::chain(&error), "not connected to the agent's hands"),
            }
            pause = if began.elapsed() > PAUSE.1 { PAUSE.0 } else { (pause * 2).min(PAUSE.1) };
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(pause) => {}
            }
        }
    }

    async fn hold(&self, agent: &Arc<Agent>, stop: &CancellationToken) -> Result<(), FarError> {
        let stream = UnixStream::connect(&self.socket).await.map_err(FarError::Connect)?;
        let (mut reader, mut writer) = stream.into_split();
        let welcome = timeout(GREETING_DEADLINE, greet(&mut reader, &mut writer)).await;
        let welcome = welcome.map_err(|_| FarError::Silent)??;
        if welcome.node != agent.id() || welcome.fleet != agent.options.ticket.fleet {
            return Err(FarError::Another(format!("{} of fleet {}", welcome.node.short(), welcome.fleet.short())));
        }
        tracing::info!(version = welcome.version, "connected to the agent's hands");
        let (out, words) = mpsc::channel(WORDS_QUEUED);
        let line = Arc::new(Line {
            out,
            closed: CancellationToken::new(),
            asked: Mutex::default(),
            next: AtomicU64::new(0),
            theirs: watch::Sender::new(welcome.head.map(|h| h.seq)),
            work: Arc::new(Semaphore::new(WORK_MAX)),
        });
        let _closed = line.closed.clone().drop_guard();
        self.kinds.send_replace(Some(welcome.kinds));
        self.line.send_replace(Some(Arc::clone(&line)));
        tokio::select! {
            ended = write_all(&mut writer, words) => ended.map_err(FarError::Wire),
            ended = self.listen(&mut reader, &line, agent, stop) => ended.map_err(FarError::Wire),
            ended = feed(&line, agent) => ended,
        }
    }

    async fn listen(
        &self,
        reader: &mut OwnedReadHalf,
        line: &Arc<Line>,
        agent: &Arc<Agent>,
        stop: &CancellationToken,
    ) -> Result<(), WireError> {
        while let Some(word) = wire::read::<Word>(reader).await? {
            match word {
                Word::Taken { id, .. } | Word::Recovered { id, .. } | Word::Played { id, .. } => {
                    let asked = lock(&line.asked).remove(&id);
                    // Whoever asked may have given up.
                    if let Some(asked) = asked {
                        drop(asked.send(word));
                    }
                }
                Word::Progress { line } => tracing::info!(step = line, "progress of the hands"),
                Word::Check { id, check } => {
                    let stage = PlayStage { agent: Arc::clone(agent), playing: None, stop: stop.clone() };
                    let (checks, line) = (Arc::clone(&self.checks), Arc::clone(line));
                    tokio::spawn(async move {
                        let Ok(_place) = line.work.acquire().await else { return };
                        let result = run_check(&*checks, &check, &stage).await;
                        line.say(Say::Checked { id, result }).await;
                    });
                }
                Word::Fetch { id, blob } => {
                    let (artifacts, line) = (Arc::clone(&self.artifacts), Arc::clone(line));
                    tokio::spawn(async move {
                        let Ok(_place) = line.work.acquire().await else { return };
                        let result = tokio::select! {
                            () = line.closed.cancelled() => return,
                            sent = send_blob(&*artifacts, &line, id, &blob) => sent,
                        };
                        line.say(Say::Fetched { id, result }).await;
                    });
                }
            }
        }
        Ok(())
    }

    /// A connection whose other side has this entry, if one is named; nothing if there is none in time.
    async fn ready(&self, generation: Option<u64>) -> Option<Arc<Line>> {
        let ready = async {
            let mut lines = self.line.subscribe();
            loop {
                let line = lines.wait_for(Option::is_some).await.ok()?.clone()?;
                let mut theirs = line.theirs.subscribe();
                tokio::select! {
                    () = line.closed.cancelled() => {}
                    there = theirs.wait_for(|seq| *seq >= generation) => {
                        if there.is_ok() {
                            return Some(Arc::clone(&line));
                        }
                    }
                }
                lines.wait_for(|now| now.as_ref().is_none_or(|now| !Arc::ptr_eq(now, &line))).await.ok()?;
            }
        };
        timeout(READY_WAIT, ready).await.ok().flatten()
    }
}

impl Hands for FarHands {
    fn kinds(&self) -> BoxFuture<'_, Option<Vec<Kind>>> {
        Box::pin(async move {
            let mut kinds = self.kinds.subscribe();
            let known = timeout(KINDS_WAIT, kinds.wait_for(Option::is_some)).await;
            known.ok()?.ok()?.clone()
        })
    }

    fn preview<'a>(&'a self, draft: &'a Assignment) -> BoxFuture<'a, Result<Vec<String>, PlayError>> {
        // What nobody signed does not get near root: this shows what an unprivileged look can see.
        Box::pin(self.preview.plan(draft))
    }

    fn recover<'a>(&'a self, stage: &'a dyn Stage) -> BoxFuture<'a, Vec<Told>> {
        Box::pin(async move {
            let mut told = Vec::new();
            while stage.cancelled().is_none() {
                let ask = async {
                    let line = self.ready(None).await?;
                    Some(line.ask(|id| Say::Recover { id }).await)
                };
                let asked = tokio::select! {
                    asked = ask => asked,
                    () = stopped(stage) => break,
                };
                let Some(asked) = asked else {
                    tracing::warn!("the agent's hands do not answer");
                    break;
                };
                match asked {
                    Some(Word::Recovered { told: some, .. }) if some.is_empty() => break,
                    Some(Word::Recovered { told: some, .. }) => told.extend(some.into_iter().map(Told::from)),
                    _ => {}
                }
            }
            told
        })
    }

    fn play<'a>(&'a self, assignment: &'a Assignment, stage: &'a dyn Stage) -> BoxFuture<'a, PlayReport> {
        Box::pin(async move {
            for _ in 0..LOSSES_MAX {
                if stage.cancelled() == Some(Cancel::Superseded) {
                    return failed("something newer is declared");
                }
                let Some(line) = self.ready(Some(assignment.generation)).await else {
                    return failed("the agent's hands do not answer, or lack this entry: see their log");
                };
                let (subject, generation) = (assignment.subject.clone(), assignment.generation);
                match line.ask(|id| Say::Play { id, subject, generation }).await {
                    Some(Word::Played { result: Ok(report), .. }) => return Told::from(report).report,
                    Some(Word::Played { result: Err(why), .. }) => {
                        return failed(&format!("the agent's hands do not play it: {why}"));
                    }
                    // They went away in the middle; when they are back they bring it to its end, and say how.
                    _ => tracing::warn!("the agent's hands went away in the middle of a play"),
                }
            }
            failed("the agent's hands went away in the middle of it again and again")
        })
    }

    fn workloads(&self) -> Option<&dyn Workloads> {
        Some(&self.porter)
    }

    fn attend(&self, agent: Arc<Agent>, stop: CancellationToken) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            tokio::join!(self.stay(&agent, &stop), self.porter.stay(&self.socket, &agent, &stop));
        })
    }
}

impl Line {
    /// Asks and waits for the answer; nothing if the connection ends before.
    async fn ask(&self, say: impl FnOnce(u64) -> Say) -> Option<Word> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (tx, rx) = oneshot::channel();
        lock(&self.asked).insert(id, tx);
        let answer = tokio::select! {
            () = self.closed.cancelled() => None,
            answer = async {
                self.out.send(say(id)).await.ok()?;
                rx.await.ok()
            } => answer,
        };
        drop(lock(&self.asked).remove(&id));
        answer
    }

    async fn say(&self, say: Say) {
        tokio::select! {
            () = self.closed.cancelled() => {}
            // Who is gone needs no answer.
            sent = self.out.send(say) => drop(sent),
        }
    }
}

async fn greet(reader: &mut OwnedReadHalf, writer: &mut OwnedWriteHalf) -> Result<Welcome, FarError> {
    let greeting = Greeting { protocol: PROTOCOL, version: env!("CARGO_PKG_VERSION").into() };
    wire::write(writer, &greeting).await?;
    wire::read::<Answer>(reader).await?.ok_or(FarError::Silent)?.map_err(FarError::Refused)
}

/// Hands entries over until the connection ends.
async fn feed(line: &Line, agent: &Agent) -> Result<(), FarError> {
    let mut states = agent.watch();
    loop {
        let theirs = *line.theirs.borrow();
        let ours = states.borrow_and_update().as_ref().map(|s| s.head().seq);
        if ours > theirs {
            let entries = agent.entries(theirs.map_or(0, |seq| seq.saturating_add(1)))?;
            let taken = line.ask(|id| Say::Entries { id, entries }).await;
            match taken {
                Some(Word::Taken { result: Ok(head), .. }) if head.map(|h| h.seq) > theirs => {
                    line.theirs.send_replace(head.map(|h| h.seq));
                }
                Some(Word::Taken { result: Err(why), .. }) => return Err(FarError::NotTaken(why)),
                Some(_) => return Err(FarError::NotTaken("they stay where they are".into())),
                None => return Ok(()),
            }
        } else if states.changed().await.is_err() {
            return Ok(());
        }
    }
}

async fn write_all(writer: &mut OwnedWriteHalf, mut words: mpsc::Receiver<Say>) -> Result<(), WireError> {
    while let Some(say) = words.recv().await {
        wire::write(writer, &say).await?;
    }
    Ok(())
}

async fn run_check(checks: &dyn Checks, check: &str, stage: &dyn Stage) -> Result<(), String> {
    let check: Check = serde_json::from_str(check).map_err(|e| e.to_string())?;
    match check {
        Check::Tcp { .. } | Check::Http { .. } | Check::Contact => {
            checks.run(&check, stage).await.map_err(|failed| failed.why)
        }
        Check::Exec { .. } | Check::Unit { .. } => Err("this check is run by the hands".into()),
    }
}

async fn send_blob(artifacts: &dyn Artifacts, line: &Line, id: u64, blob: &BlobRef) -> Result<(), Unfetched> {
    let fetched = artifacts.fetch(blob).await;
    let path = fetched.map_err(|error| Unfetched { why: scores::chain(&error), transient: error.transient })?;
    let failed = |error: io::Error| Unfetched { why: error.to_string(), transient: true };
    let mut file = tokio::fs::File::open(&path).await.map_err(failed)?;
    loop {
        let mut bytes = vec![0; CHUNK_BYTES_MAX];
        let read = file.read(&mut bytes).await.map_err(failed)?;
        if read == 0 {
            return Ok(());
        }
        bytes.truncate(read);
        line.say(Say::Chunk { id, bytes: bytes.into() }).await;
    }
}

async fn stopped(stage: &dyn Stage) {
    while stage.cancelled().is_none() {
        sleep(CANCEL_LOOK).await;
    }
}

fn failed(why: &str) -> PlayReport {
    PlayReport { verdict: Verdict::Failed, message: why.to_owned(), steps: Vec::new(), attempts: 0 }
}

/// The pause before a new connection, at first and at last.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// How long a play waits for the hands and for their copy of the ledger.
const READY_WAIT: Duration = Duration::from_secs(30);
/// How long the first word of the hands is waited for.
const KINDS_WAIT: Duration = Duration::from_secs(5);
/// How often the hands may go away in one play.
const LOSSES_MAX: usize = 5;
/// How many messages may wait to be written.
const WORDS_QUEUED: usize = 8;
/// How many questions of the hands are worked on at once.
const WORK_MAX: usize = 16;
/// How often a cancellation is looked for.
const CANCEL_LOOK: Duration = Duration::from_millis(200);
