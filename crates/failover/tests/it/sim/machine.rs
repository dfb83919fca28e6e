//! A machine: a clock of its own speed, an agent that may be paused or dead, a workload and its watchdog.

use std::collections::BTreeMap;

use failover::{Attempt, Durable, Epoch, FlightRecorder, LocalTime, Node, NodeId};

use super::db::Db;

#[derive(Clone, Debug)]
pub(crate) struct Machine {
    /// Parts of a million by which the clock is fast.
    drift: i64,
    clock_base: (u64, u64),
    pub(crate) agent: Option<Node>,
    /// Which start of the agent this is; what was meant for an earlier one is dropped.
    pub(crate) incarnation: u64,
    pub(crate) durable: Durable,
    pub(crate) up: bool,
    /// Paused until then, in real microseconds.
    pub(crate) agent_paused: u64,
    pub(crate) paused: u64,
    pub(crate) clock_stopped: bool,
    /// Whether the clock ever stood still: the lease's promise no longer holds for this machine.
    pub(crate) clock_betrayed: bool,
    /// When the last pause ended: the watchdog needs an instant.
    pub(crate) resumed: u64,
    pub(crate) db: Db,
    pub(crate) watchdog: LocalTime,
    pub(crate) wake: u64,
    /// When, in real time, the agent or the machine last was unable to act.
    pub(crate) hampered: u64,
    /// Real time at which the ladder began, while it is climbed.
    pub(crate) fencing_since: Option<u64>,
    /// Real time at which the last fence of an epoch began.
    pub(crate) fenced_at: Option<u64>,
    pub(crate) exhausted: bool,
    /// When, in real time, beats were sent that were answered, since the last fence.
    pub(crate) touched: Vec<u64>,
    /// Promises given: the holder's epoch, and their end on this machine's clock, with the start of the machine.
    pub(crate) promises: Vec<(u64, LocalTime)>,
    /// When it was first asked for each promise, on this machine's clock.
    pub(crate) asked: BTreeMap<(NodeId, Attempt), LocalTime>,
    pub(crate) recorder: FlightRecorder,
    /// Whether the workload that was started last has ended by itself, or its agent was told to end.
    pub(crate) ended: bool,
    /// When, in real time, its agent started a workload again in its epoch.
    pub(crate) revived: Vec<u64>,
    /// How the node stood by its own records.
    pub(crate) recorded: String,
    /// When, in real time, a node that serves learned of a later epoch than this one, which it serves.
    pub(crate) met: Option<(u64, Epoch)>,
    /// Of which epoch its agent has said that it is served without a lease.
    pub(crate) degraded: Option<Epoch>,
}

impl Machine {
    pub(crate) fn new(drift: i64, offset: u64) -> Self {
        Self {
            drift,
            clock_base: (0, offset),
            agent: None,
            incarnation: 0,
            durable: Durable::default(),
            up: true,
            agent_paused: 0,
            paused: 0,
            clock_stopped: false,
            clock_betrayed: false,
            resumed: 0,
            db: Db::default(),
            watchdog: LocalTime::NEVER,
            wake: 0,
            hampered: 0,
            fencing_since: None,
            fenced_at: None,
            exhausted: false,
            touched: Vec::new(),
            promises: Vec::new(),
            asked: BTreeMap::new(),
            recorder: FlightRecorder::new(),
            ended: false,
            revived: Vec::new(),
            recorded: String::new(),
            met: None,
            degraded: None,
        }
    }

    pub(crate) fn local(&self, now: u64) -> LocalTime {
        let (real, local) = self.clock_base;
        if self.clock_stopped {
            return LocalTime::from_micros(local);
        }
        LocalTime::from_micros(local + drifted(now.saturating_sub(real), self.drift))
    }

    /// The first real instant at which the clock shows this, if it goes on running.
    pub(crate) fn real(&self, at: LocalTime) -> u64 {
        let (real, local) = self.clock_base;
        let (ahead, speed) = (at.as_micros().saturating_sub(local), 1_000_000_u64.saturating_add_signed(self.drift));
        let passed = match ahead.checked_mul(1_000_000) {
            Some(scaled) => scaled / speed,
            None => u64::try_from(u128::from(ahead) * 1_000_000 / u128::from(speed)).unwrap_or(u64::MAX),
        };
        real.saturating_add(passed).saturating_add(1)
    }

    pub(crate) fn stop_clock(&mut self, now: u64) {
        self.clock_base = (now, self.local(now).as_micros());
        self.clock_stopped = true;
        self.clock_betrayed = true;
    }

    pub(crate) fn start_clock(&mut self, now: u64) {
        if self.clock_stopped {
            self.clock_base.0 = now;
            self.clock_stopped = false;
        }
    }

    /// The machine boots: its clock begins anew.
    pub(crate) fn boot_clock(&mut self, now: u64) {
        self.clock_base = (now, 0);
        self.clock_stopped = false;
    }

    /// Whether the workload's processes run at this instant.
    pub(crate) fn runs(&self, now: u64) -> bool {
        self.up && self.paused <= now
    }

    /// Whether the workload can write now, and its watchdog has had the time to know better.
    pub(crate) fn writes(&self, now: u64) -> bool {
        self.runs(now) && self.db.primary().is_some() && now > self.resumed + REACTION
    }
}

/// What a clock shows of so much real time that is fast by so many parts of a million.
pub(crate) fn drifted(passed: u64, drift: i64) -> u64 {
    let speed = 1_000_000_u64.saturating_add_signed(drift);
    match passed.checked_mul(speed) {
        Some(scaled) => scaled / 1_000_000,
        None => u64::try_from(u128::from(passed) * u128::from(speed) / 1_000_000).unwrap_or(0),
    }
}

/// How long a watchdog needs when its machine goes on after a pause, in microseconds.
pub(crate) const REACTION: u64 = 50_000;
