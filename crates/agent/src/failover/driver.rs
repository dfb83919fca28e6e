//! One cluster's driver: gives the node the time and what happened, and carries its commands out in order.

mod tell;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use failover::{
    Attempt, Command, Epoch, Event, FlightRecorder, Happening, LocalTime, Node, NodeId, Phase, Refusal, Span, Stand,
    SyncSet, View,
};
use protocols::node::{ALARMS_MAX, AskPromise, DriverReport};
use scores::failover::{Cluster, lease_id};
use scores::workload::{Hold, Leader, OpenWorkload, Peer, StartOrder, WorkloadParts};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::jobs::Jobs;
use super::store::Folder;
use super::{Carrier, DriversOptions, Inbox, now, peer_id};

/// What a driver is made of.
pub(super) struct Parts {
    pub(super) carrier: Arc<dyn Carrier>,
    pub(super) cluster: Arc<Cluster>,
    pub(super) options: DriversOptions,
    pub(super) opener: Arc<dyn OpenWorkload>,
    pub(super) inbox: mpsc::Sender<Inbox>,
    pub(super) report: watch::Sender<Option<DriverReport>>,
    pub(super) stop: CancellationToken,
    /// It is not declared for this node any more.
    pub(super) withdrawn: CancellationToken,
    /// The whole agent ends: nothing is waited for that the next one can do.
    pub(super) quits: CancellationToken,
}

/// Drives one cluster.
pub(super) struct Driver {
    parts: Parts,
    node: Node,
    recorder: FlightRecorder,
    folder: Folder,
    hold: Arc<dyn Hold>,
    jobs: Jobs,
    /// How many requests may be on their way.
    room: Arc<Semaphore>,
    promises: HashMap<(NodeId, Attempt), oneshot::Sender<()>>,
    alarms: VecDeque<String>,
    /// The watchdog is to be disarmed, and could not be told.
    disarm: bool,
    /// The set that the workload was started with.
    started_with: Option<(Epoch, u64, SyncSet)>,
    leader: Option<Leader>,
    heard: Option<LocalTime>,
    looked: Option<Instant>,
    written: Option<Instant>,
    changed: bool,
    unwritten: bool,
    /// The group must have answered before this ends.
    must_hear: bool,
    /// The group knows of no such cluster.
    unknown: bool,
}

impl Driver {
    /// Opens the workload. Nothing is started; what runs is fenced first.
    pub(super) async fn open(parts: Parts) -> Result<Self, String> {
        let failed = |error: std::io::Error| format!("the driver's folder cannot be used: {error}");
        let folder = Folder::open(&parts.options.folder, &parts.cluster.name).map_err(failed)?;
        let durable = folder.durable().map_err(failed)?;
        let hold = (parts.options.hold)(folder.path(), &parts.cluster);
        let me = lease_id(parts.carrier.id());
        let opened = parts.opener.open(workload_parts(&parts, &folder, &hold, &parts.cluster)).await;
        let workload = opened.map_err(|error| scores::chain(&error))?;
        folder.begin(&parts.cluster).map_err(failed)?;
        let jobs = Jobs::new(parts.cluster.name.clone(), workload, parts.inbox.clone());
        let mut node = Node::start(me, durable, now());
        // Coordinators could go by others than were signed; what only ends needs none.
        if !parts.withdrawn.is_cancelled() {
            node.handle(now(), Event::Declared(Arc::clone(&parts.cluster.settings)));
        }
        Ok(Self {
            node,
            recorder: folder.recorder(),
            folder,
            hold,
            jobs,
            room: Arc::new(Semaphore::new(REQUESTS_MAX)),
            promises: HashMap::new(),
            alarms: VecDeque::new(),
            disarm: false,
            started_with: None,
            leader: None,
            heard: None,
            looked: None,
            written: None,
            changed: false,
            unwritten: false,
            must_hear: false,
            unknown: false,
            parts,
        })
    }

    /// Runs until it is stopped, and then leaves nothing running.
    pub(super) async fn run(mut self, mut inbox: mpsc::Receiver<Inbox>) {
        let stop = self.parts.stop.clone();
        let hold = Arc::clone(&self.hold);
        let mut bitten = hold.bitten();
        loop {
            self.carry_all().await;
            self.look_after().await;
            let wait = self.node.next_deadline().since(now()).min(TICK);
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = &mut bitten => {
                    bitten = hold.bitten();
                    self.handle(Event::Bitten);
                }
                note = inbox.recv() => match note {
                    Some(note) => self.take(note).await,
                    None => break,
                },
                () = sleep(Duration::from_micros(wait.as_micros())) => self.handle(Event::Tick),
            }
        }
        drop(bitten);
        self.part(&mut inbox).await;
    }

    /// Stops the workload in order, tells the group, and ends the hold.
    async fn part(&mut self, inbox: &mut mpsc::Receiver<Inbox>) {
        let withdrawn = self.parts.withdrawn.is_cancelled();
        let usual = if withdrawn { self.node.settings().map(|settings| settings.stop_within) } else { None };
        let stop_within = usual.unwrap_or(STOP_WITHIN);
        self.handle(Event::Leave { by: now() + stop_within });
        // An earlier process may have held what this one knows nothing of: the group is asked.
        self.must_hear = withdrawn;
        let quits = self.parts.quits.clone();
        let parted = async {
            loop {
                self.carry_all().await;
                let fencing = matches!(self.node.stand(), Stand::Fencing { .. });
                if self.node.stand().held().is_none() && !fencing && self.is_told() {
                    break;
                }
                tokio::select! {
                    note = inbox.recv() => match note {
                        Some(note) => self.take(note).await,
                        None => break,
                    },
                    () = sleep(PART_TICK) => self.handle(Event::Tick),
                }
            }
        };
        let within = if withdrawn { stop_within + TELL_WITHIN } else { PART_WITHIN };
        let within = Duration::from_micros(within.as_micros());
        let in_haste = Duration::from_micros(PART_WITHIN.as_micros()).min(within);
        // The coordinators may be asked in vain: of one that is no member any more they take nothing.
        let is_told = tokio::select! {
            biased;
            () = parted => true,
            () = sleep(within) => false,
            () = async { quits.cancelled().await; sleep(in_haste).await } => false,
        };
        if !is_told {
            tracing::warn!(cluster = %self.parts.cluster.name, "stopped before the coordinators knew of it");
        }
        self.jobs.end_all().await;
        let ended = self.hold.quit().await;
        if let Err(error) = &ended {
            tracing::error!(cluster = %self.parts.cluster.name, error = scores::chain(error), "the supervisor does not end");
        }
        if withdrawn && ended.is_ok() && (is_told || !self.parts.quits.is_cancelled()) {
            self.forget();
        }
        self.keep_recorder();
    }

    /// Whether the group knows that this node holds nothing.
    fn is_told(&self) -> bool {
        let me = self.node.id();
        let holds = |view: &View| view.holder == Some(me) && view.phase == Phase::Held && view.epoch != Epoch(0);
        !self.must_hear && (self.unknown || self.node.view().is_none_or(|view| !holds(view)))
    }

    /// Nothing of it is left here.
    fn forget(&self) {
        if let Err(error) = self.folder.end() {
            tracing::warn!(cluster = %self.parts.cluster.name, %error, "the next agent will end it once more");
        }
    }

    fn handle(&mut self, event: Event) {
        if let Event::Answered(outcome) = &event {
            self.heard = Some(now());
            // Of a request that was sent before the end began, perhaps; but then it is asked of no lease, or of one that
            // this process knows.
            self.must_hear = false;
            self.unknown = outcome.answer == Err(Refusal::UnknownCluster);
        }
        self.node.handle(now(), event);
    }

    async fn take(&mut self, note: Inbox) {
        match note {
            Inbox::Event(event) => {
                let started = matches!(event, Event::Started { .. });
                self.handle(event);
                if started && matches!(self.node.stand(), Stand::Serving { .. } | Stand::Stopping { .. }) {
                    self.jobs.watch();
                    self.confirm_first_set();
                }
            }
            Inbox::Asked { from, question, give } => {
                self.promises.retain(|_, give| !give.is_closed());
                if self.promises.len() < PROMISES_MAX {
                    self.promises.insert((from, question.attempt), give);
                    let (attempt, epoch, term) = (question.attempt, question.epoch, question.term);
                    self.handle(Event::Asked { from, attempt, epoch, term });
                }
            }
            Inbox::Note(text) => self.alarm(text),
            Inbox::Declared(cluster) => {
                let parts = workload_parts(&self.parts, &self.folder, &self.hold, &cluster);
                self.handle(Event::Declared(Arc::clone(&cluster.settings)));
                if let Err(error) = self.folder.begin(&cluster) {
                    tracing::warn!(cluster = %cluster.name, %error, "the change is not kept");
                }
                self.parts.cluster = cluster;
                if let Err(error) = self.jobs.workload.reconfigure(&parts).await {
                    let error = scores::chain(&error);
                    tracing::error!(cluster = %self.parts.cluster.name, error, "a change of the workload is not taken");
                }
            }
        }
    }

    /// The set that a start named is in force when a write has been acknowledged by it.
    fn confirm_first_set(&mut self) {
        if let Some((epoch, serial, set)) = self.started_with.take()
            && self.node.stand() == (Stand::Serving { epoch })
        {
            self.jobs.sync_from_start(serial, set);
        }
    }

    /// Carries out what the node wants done, in order.
    async fn carry_all(&mut self) {
        while let Some(command) = self.node.poll_command() {
            self.carry(command).await;
        }
    }

    async fn carry(&mut self, command: Command) {
        match command {
            Command::Persist(kept) => {
                // Nothing that follows may be done before this is on the disk. The watchdog goes on meanwhile.
                while let Err(error) = self.folder.keep(kept) {
                    tracing::error!(cluster = %self.parts.cluster.name, %error, "cannot keep what must not be forgotten");
                    sleep(PERSIST_AGAIN).await;
                }
            }
            Command::Send { attempt, request } => {
                let Ok(place) = Arc::clone(&self.room).try_acquire_owned() else { return };
                let inbox = self.parts.inbox.clone();
                let asked = self.parts.carrier.ask_group(self.parts.cluster.name.clone(), attempt, request);
                tokio::spawn(async move {
                    if let Some(outcome) = asked.await {
                        drop(inbox.send(Inbox::Event(Event::Answered(outcome))).await);
                    }
                    drop(place);
                });
            }
            Command::Ask { to, attempt, epoch, term } => {
                let Ok(place) = Arc::clone(&self.room).try_acquire_owned() else { return };
                let inbox = self.parts.inbox.clone();
                let question = AskPromise { cluster: self.parts.cluster.name.clone(), attempt, epoch, term };
                let asked = self.parts.carrier.ask_peer(peer_id(to), question);
                tokio::spawn(async move {
                    if asked.await {
                        drop(inbox.send(Inbox::Event(Event::Promised { from: to, attempt })).await);
                    }
                    drop(place);
                });
            }
            Command::Promise { to, attempt } => {
                if let Some(give) = self.promises.remove(&(to, attempt)) {
                    // Who asked may have gone.
                    give.send(()).ok();
                }
            }
            Command::Watchdog { until } => self.arm(until).await,
            Command::Start { epoch, again, until, sync, serial } => {
                self.started_with = sync.clone().map(|set| (epoch, serial, set));
                self.jobs.start(StartOrder { epoch, again, until, sync }).await;
            }
            Command::Stop { epoch, by } => self.jobs.stop(epoch, by).await,
            Command::Fence { fence, rung, by } => self.jobs.fence(fence, rung, by).await,
            Command::Detach { serial } => self.jobs.detach(serial).await,
            Command::Attach { holder, epoch } => {
                let primary = self.peer(holder);
                self.jobs.attach(primary, epoch).await;
            }
            Command::ApplySync { serial, set } => self.jobs.apply_sync(serial, set).await,
            Command::Rebuild { serial, holder, epoch } => {
                let primary = self.peer(holder);
                self.jobs.rebuild(serial, primary, epoch).await;
            }
            Command::Act { epoch, target, remote } => {
                let target = self.peer(target);
                self.jobs.act((epoch, target, remote), &self.parts.carrier, &self.parts.cluster);
            }
            Command::Reconcile { epoch } => {
                self.alarm(format!("served epoch {epoch} beside another node, and has yielded"));
            }
            Command::Alarm(alarm) => self.alarm(alarm.to_string()),
            Command::Record(event) => {
                self.unwritten |= matches!(event.happening, Happening::Turned { .. } | Happening::Rung { .. });
                if let Happening::Turned { from, to, epoch } = &event.happening {
                    let epoch = epoch.map(|epoch| epoch.0);
                    tracing::info!(cluster = %self.parts.cluster.name, %from, %to, epoch, "the node stands differently");
                }
                self.recorder.record(event);
                self.changed = true;
            }
        }
    }

    /// Sets the watchdog, before anything else is done.
    async fn arm(&mut self, until: LocalTime) {
        match self.hold.arm(until).await {
            Ok(()) => self.disarm = false,
            Err(error) => {
                let error = scores::chain(&error);
                tracing::error!(cluster = %self.parts.cluster.name, error, "the watchdog cannot be set");
                if until == LocalTime::NEVER {
                    self.disarm = true;
                } else {
                    // Without a watchdog nothing may be writable.
                    self.handle(Event::Died);
                }
            }
        }
    }

    /// What is done beside the commands: progress, the leader's name, reports.
    async fn look_after(&mut self) {
        if self.disarm && self.node.stand().held().is_none() && self.hold.arm(LocalTime::NEVER).await.is_ok() {
            self.disarm = false;
        }
        let every = self.node.settings().map_or(Node::UNKNOWN_RENEW, |settings| settings.renew);
        if self.looked.is_none_or(|at| at.elapsed() >= Duration::from_micros(every.as_micros())) {
            self.looked = Some(Instant::now());
            self.changed = true;
            if let Some(position) = self.jobs.progress().await {
                self.handle(Event::Progress { position });
                self.carry_all().await;
            }
        }
        let leader = self.leader();
        if leader != self.leader {
            self.jobs.workload.led_by(leader.clone());
            self.leader = leader;
        }
        if std::mem::take(&mut self.changed) {
            let report = self.report();
            self.parts.report.send_replace(Some(report));
        }
        if self.unwritten && self.written.is_none_or(|at| at.elapsed() >= WRITE_EVERY) {
            self.keep_recorder();
        }
    }

    fn keep_recorder(&mut self) {
        self.unwritten = false;
        self.written = Some(Instant::now());
        if let Err(error) = self.folder.keep_recorder(&self.recorder) {
            tracing::warn!(cluster = %self.parts.cluster.name, %error, "the flight recorder cannot be kept");
        }
    }

    fn alarm(&mut self, text: String) {
        tracing::error!(cluster = %self.parts.cluster.name, alarm = text, "failover needs a person");
        if self.alarms.len() >= ALARMS_MAX {
            self.alarms.pop_front();
        }
        self.alarms.push_back(text);
        self.changed = true;
    }

    fn peer(&self, node: NodeId) -> Peer {
        peer(&self.parts.cluster, node)
    }
}

fn peer(cluster: &Cluster, node: NodeId) -> Peer {
    let known = cluster.names.get(&node).cloned();
    // A candidate that was taken out of the declaration may hold the lease still.
    let name = known.unwrap_or_else(|| scores::failover::unnamed(node));
    Peer { node, name }
}

fn workload_parts(parts: &Parts, folder: &Folder, hold: &Arc<dyn Hold>, cluster: &Cluster) -> WorkloadParts {
    WorkloadParts {
        cluster: cluster.name.clone(),
        me: peer(cluster, lease_id(parts.carrier.id())),
        peers: cluster.names.clone(),
        dir: folder.path().to_owned(),
        hold: Arc::clone(hold),
        payload: cluster.payload.clone(),
    }
}

/// How long the driver waits, at most, before it tells its node the time.
const TICK: Span = Span::from_millis(200);
/// The same while it ends.
const PART_TICK: Duration = Duration::from_millis(50);
/// How long a workload may take to stop in order when the agent ends, before it is fenced.
const STOP_WITHIN: Span = Span::from_secs(5);
/// How long it may take to end a workload and to tell the coordinators.
const PART_WITHIN: Span = Span::from_secs(8);
/// How long it is tried to tell the coordinators that what was withdrawn holds nothing, after it was stopped.
const TELL_WITHIN: Span = Span::from_secs(60);
/// How many requests may be on their way.
const REQUESTS_MAX: usize = 64;
/// How many questions for promises may wait.
const PROMISES_MAX: usize = 64;
/// How soon it is tried again to keep what must be kept.
const PERSIST_AGAIN: Duration = Duration::from_millis(500);
/// How often, at most, the flight recorder is written.
const WRITE_EVERY: Duration = Duration::from_secs(1);
