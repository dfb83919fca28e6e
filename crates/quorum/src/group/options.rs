//! What a member is made of, and what can go wrong with it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use failover::LeaseTable;
use openraft::{Config, SnapshotPolicy};
use protocols::NodeId;
use protocols::entry::Head;

use crate::BoxFuture;
use crate::call::{ProposeError, Transport};
use crate::log::LogError;
use crate::machine::Ledger;
use crate::types::Unfit;

/// How fast the group notices that its leader is gone, and how much of its log it keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// How often the leader says that it is there; also how long a member may take to store entries.
    pub heartbeat: Duration,
    /// After how long without that the others choose another one: at least, and at most.
    pub election: (Duration, Duration),
    /// After how many entries of the log a snapshot takes their place.
    pub snapshot_every: u64,
    /// How many entries are kept beside a snapshot, for members that lag behind.
    pub kept_behind: u64,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_millis(250),
            election: (Duration::from_millis(500), Duration::from_millis(1000)),
            snapshot_every: 5000,
            kept_behind: 1000,
        }
    }
}

/// What the group takes over from the coordinator that was alone.
pub type Carry = Arc<dyn Fn() -> BoxFuture<'static, Result<(LeaseTable, Head), String>> + Send + Sync>;

/// What a member is made of.
#[derive(Clone)]
pub struct Options {
    /// The coordinator's key.
    pub me: NodeId,
    /// Where its log is, or will be.
    pub path: PathBuf,
    /// How fast it is.
    pub timing: Timing,
    /// The ledger.
    pub ledger: Arc<dyn Ledger>,
    /// The way to the others.
    pub transport: Arc<dyn Transport>,
    /// What was there before the group, asked for once, where it is founded.
    pub carry: Carry,
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options").field("me", &self.me).field("path", &self.path).finish_non_exhaustive()
    }
}

/// Why this coordinator's share of the group does not run.
#[derive(Debug, thiserror::Error)]
pub enum GroupError {
    /// Its log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// openraft.
    #[error("the group's log cannot be started: {0}")]
    Start(String),
    /// The old log cannot be put away.
    #[error("the log {path} of an earlier group cannot be removed")]
    Old {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// Why an entry was not ordered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnterError {
    /// It has no place.
    #[error(transparent)]
    Unfit(#[from] Unfit),
    /// Nobody ordered it.
    #[error(transparent)]
    Propose(#[from] ProposeError),
}

pub(super) fn config(timing: Timing) -> Result<Config, String> {
    let millis = |span: Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    let config = Config {
        cluster_name: "flotilla".into(),
        heartbeat_interval: millis(timing.heartbeat),
        election_timeout_min: millis(timing.election.0),
        election_timeout_max: millis(timing.election.1),
        install_snapshot_timeout: 10_000,
        snapshot_max_chunk_size: 1024 * 1024,
        snapshot_policy: SnapshotPolicy::LogsSinceLast(timing.snapshot_every),
        max_in_snapshot_log_to_keep: timing.kept_behind,
        max_payload_entries: 64,
        // See [`super::stand_by`].
        enable_elect: false,
        ..Config::default()
    };
    config.validate().map_err(|e| e.to_string())
}
