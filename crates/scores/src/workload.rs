//! A workload with one writer, as the failover driver of an agent sees it: what it is told to do, and what it may assume.
//!
//! The driver owns the protocol and the time; a [`Workload`] owns the effects. What runs, runs under a [`Hold`]: a process
//! outside the agent that ends all of it at an instant, whatever becomes of the agent.
//!
//! # What an implementation must keep
//!
//! * **A future that is dropped leaves nothing behind that acts later.** The driver drops a [`start`](Workload::start),
//!   [`attach`](Workload::attach), [`detach`](Workload::detach), [`rebuild`](Workload::rebuild) or
//!   [`apply_sync`](Workload::apply_sync) when a fence begins, and rungs of a fence when one of those begins. So: programs
//!   are run through [`Hold::hook`] (ended when its future is dropped) or with `kill_on_drop`, nothing is spawned that the
//!   future does not wait for, and `spawn_blocking` only reads.
//! * **Two of `start`, `stop`, `attach`, `detach`, `rebuild` never run beside each other**; the driver waits until one has
//!   ended or was dropped before it begins the next. `fence` may be asked beside an unfinished `stop` and beside an
//!   earlier rung; it must work whatever the others were in the middle of.
//! * **What runs, runs under the hold**, hooks too. [`Hold::run`] is refused after its `until`, and the hold is armed
//!   before `start` is asked.
//! * **A position that `stop`, `fence` or `detach` tells is exact**: nothing adds to it until the next order. Who cannot
//!   say tells none.
//! * **After `detach` nothing is received**, also not after a restart of the program, before the next `attach`.
//! * **`attach` and `rebuild` follow a primary of the named epoch only**, and an attach rewinds what another history left.
//! * **Nothing becomes writable but by `start`**, also not by a restart of the machine.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use failover::settings::{Remote, Rung};
use failover::{ClusterName, Epoch, LocalTime, NodeId, Position, SyncSet};
use protocols::{Kind, Name};
use serde::{Deserialize, Serialize};

use crate::{BoxFuture, DeviceError};

/// Something that one node at a time may make writable.
pub trait Workload: Send + Sync + 'static {
    /// Becomes writable. Returns when it is; an error means that it could not, and the driver fences.
    fn start<'a>(&'a self, order: &'a StartOrder) -> BoxFuture<'a, Result<(), DeviceError>>;

    /// Stops in order, so that its standbys hold all of it. Nothing of it runs, and nothing starts it, when this returns.
    fn stop(&self, epoch: Epoch, by: LocalTime) -> BoxFuture<'_, Result<Position, DeviceError>>;

    /// Carries out one rung of the fence ladder, by `by` at the latest. What cannot be verified is not.
    fn fence<'a>(&'a self, rung: &'a Rung, by: LocalTime) -> BoxFuture<'a, Fenced>;

    /// Stops receiving, and tells what it holds; `None` if it cannot say. Only asked of workloads with a sync gate.
    fn detach(&self) -> BoxFuture<'_, Result<Option<Position>, DeviceError>>;

    /// Becomes a standby of this primary, in this epoch. Returns when it receives, and is asked again after an error.
    fn attach<'a>(&'a self, primary: &'a Peer, epoch: Epoch) -> BoxFuture<'a, Result<(), DeviceError>>;

    /// Acknowledges writes by this set from now on. Returns when a write that was made under it has been acknowledged by
    /// it, and not when a setting was changed. Asked again after an error.
    fn apply_sync<'a>(&'a self, set: &'a SyncSet) -> BoxFuture<'a, Result<(), DeviceError>>;

    /// Throws away what this standby holds, and copies it from this primary. Asked again after an error.
    fn rebuild<'a>(&'a self, primary: &'a Peer, epoch: Epoch) -> BoxFuture<'a, Result<(), DeviceError>>;

    /// What it holds by now, if it can say; asked in each renewal interval.
    fn progress(&self) -> BoxFuture<'_, Option<Position>>;

    /// Acts against a holder that proves nothing. Whether the effect is verified.
    fn act<'a>(&'a self, remote: &'a Remote, target: &'a Peer) -> BoxFuture<'a, bool>;

    /// Returns when a workload that was started has ended or fails its health checks without having been told to. Asked
    /// after each start; never returns while all is well.
    fn ended(&self) -> BoxFuture<'_, Ended>;

    /// Who leads the cluster, as far as this node knows: for whoever routes clients. Told at each change.
    fn led_by(&self, _leader: Option<Leader>) {}

    /// The declaration has changed; `payload` is the new score. What can change without a restart does so now, the rest at
    /// the next start or attach.
    fn reconfigure<'a>(&'a self, parts: &'a WorkloadParts) -> BoxFuture<'a, Result<(), DeviceError>>;

    /// How it stands, for people: a line or less.
    fn describe(&self) -> String {
        String::new()
    }
}

/// Why a workload does not go on, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// Its main program has ended by itself.
    Gone(String),
    /// It runs, and is of no use.
    Ill(String),
}

/// An order to become writable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartOrder {
    /// In this epoch.
    pub epoch: Epoch,
    /// Whether it was writable here in this epoch before, and ended by itself: it goes on with what it holds. Nothing of
    /// it is left.
    pub again: bool,
    /// Nothing may be made writable after this instant.
    pub until: LocalTime,
    /// Acknowledge writes by this set from the first one on.
    pub sync: Option<SyncSet>,
}

/// How a rung of the ladder ended.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Fenced {
    /// Whether it is verified that the workload writes no more, and that nothing makes it write again.
    pub verified: bool,
    /// What it holds, read after that, exactly.
    pub position: Option<Position>,
    /// What went wrong, for people.
    pub why: Option<String>,
}

/// Another candidate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its key.
    pub node: NodeId,
    /// Its name in the fleet.
    pub name: Name,
}

/// Who leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leader {
    /// Who.
    pub peer: Peer,
    /// In which epoch.
    pub epoch: Epoch,
    /// Whether it is this node, and its workload is writable.
    pub here: bool,
}

/// What a workload is opened with.
#[derive(Clone)]
pub struct WorkloadParts {
    /// The cluster.
    pub cluster: ClusterName,
    /// This node.
    pub me: Peer,
    /// Every candidate, this node too.
    pub peers: BTreeMap<NodeId, Name>,
    /// A private folder (mode 0700) that outlives restarts.
    pub dir: PathBuf,
    /// What holds the workload's processes.
    pub hold: Arc<dyn Hold>,
    /// The score, as it was signed.
    pub payload: String,
}

impl std::fmt::Debug for WorkloadParts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WorkloadParts").field("cluster", &self.cluster).field("me", &self.me).finish_non_exhaustive()
    }
}

/// Opens workloads of one kind of score on a topology: what makes the topology one with failover.
pub trait OpenWorkload: Send + Sync + 'static {
    /// The kind of score.
    fn kind(&self) -> Kind;

    /// Opens a workload. Nothing is started or ended: something of it may still run, and is fenced first.
    ///
    /// # Errors
    /// If the payload cannot be played here.
    fn open(&self, parts: WorkloadParts) -> BoxFuture<'_, Result<Arc<dyn Workload>, DeviceError>>;
}

/// The supervisor outside the agent that holds a workload's processes, and ends all of them at an instant.
///
/// Every call reaches the supervisor within a bounded time or fails; one that is away is started anew, and first makes
/// sure that nothing of an earlier one runs.
pub trait Hold: Send + Sync + 'static {
    /// Everything that runs here is ended at this instant; [`LocalTime::NEVER`] disarms. In force when it returns.
    fn arm(&self, until: LocalTime) -> BoxFuture<'_, Result<(), DeviceError>>;

    /// Starts the main program, if it is not yet `until` and none runs. Returns when it has been started.
    fn run<'a>(&'a self, program: &'a Program, until: LocalTime) -> BoxFuture<'a, Result<(), DeviceError>>;

    /// Runs a program to its end beside the main one; ended when it takes too long or the future is dropped.
    fn hook<'a>(&'a self, program: &'a Program, within: Duration) -> BoxFuture<'a, Result<HookEnd, DeviceError>>;

    /// Sends the main program a signal.
    fn signal(&self, signal: Nudge) -> BoxFuture<'_, Result<(), DeviceError>>;

    /// Returns, with the reason, when the main program has ended, or the supervisor itself has; at once if none runs.
    fn ended(&self) -> BoxFuture<'_, String>;

    /// Whether the main program runs.
    fn is_running(&self) -> BoxFuture<'_, Result<bool, DeviceError>>;

    /// Returns when the supervisor has ended everything because its instant had come, and has verified that nothing is
    /// left. Once for each time.
    fn bitten(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::pending())
    }

    /// Ends the supervisor, with all that it holds. It is started anew when it is needed.
    fn quit(&self) -> BoxFuture<'_, Result<(), DeviceError>> {
        self.kill()
    }

    /// Ends everything that runs here. `Ok` means that it was verified that nothing is left.
    fn kill(&self) -> BoxFuture<'_, Result<(), DeviceError>>;

    /// The same when the supervisor does not answer: it is ended itself, and a new one verifies that nothing is left.
    fn kill_hard(&self) -> BoxFuture<'_, Result<(), DeviceError>>;
}

/// A program, run without a shell.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Program {
    /// Program and arguments; the program by absolute path or found in the agent's `PATH`.
    pub command: Vec<String>,
    /// Added to the environment.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// The folder it runs in.
    #[serde(default)]
    pub folder: Option<PathBuf>,
    /// The user it runs as, by name, if not the agent's.
    #[serde(default)]
    pub user: Option<String>,
}

/// How a hook ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookEnd {
    /// Its exit status; `None` if a signal or its deadline ended it.
    pub status: Option<i32>,
    /// The end of what it printed, both streams, at most [`HOOK_OUTPUT_BYTES_MAX`] bytes.
    pub output: String,
}

impl HookEnd {
    /// Whether it ended with status 0.
    pub fn success(&self) -> bool {
        self.status == Some(0)
    }
}

/// A signal to a main program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Nudge {
    /// `SIGHUP`
    Hup,
    /// `SIGINT`
    Int,
    /// `SIGQUIT`
    Quit,
    /// `SIGTERM`
    Term,
    /// `SIGUSR1`
    Usr1,
    /// `SIGUSR2`
    Usr2,
}

/// How much of a hook's output is kept, in bytes.
pub const HOOK_OUTPUT_BYTES_MAX: usize = 4096;
