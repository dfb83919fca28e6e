//! Becoming writable: the one promotion there is.

use std::time::Duration;

use failover::{Epoch, LocalTime};
use scores::DeviceError;

use super::super::clock;
use super::super::config::Sync;
use super::super::sql::QUICK;
use super::super::timeline::Timeline;
use super::super::tools::MEDIUM;
use super::Instance;
use super::resume::CLOSE_GATE;

impl Instance {
    /// Becomes writable in this epoch, unless it is `until` by then, acknowledging writes by this set from the first one
    /// on. `sync` is the setting that no write is acknowledged before.
    ///
    /// # Errors
    /// When it could not become writable. It may have, all the same: fence it.
    pub async fn start(&self, epoch: Epoch, until: LocalTime, sync: Option<Acks>) -> Result<(), DeviceError> {
        let doing = || format!("make postgres/{} writable in epoch {epoch}", self.setup().score.name);
        let fail = |why: String| DeviceError::permanent(doing()).because(why);
        let next = Timeline::of(epoch).ok_or_else(|| fail("no timeline has such a number".into()))?;
        if !self.layout().has_data() {
            if !self.setup().is_first() {
                return Err(fail("there is no copy of the cluster on this node".into()));
            }
            self.initialise().await?;
        }
        let mut place = self.detached().await?;
        if place.timeline.0 != self.state().timeline {
            // It follows a timeline of which it holds nothing yet: it continues the one that it does hold.
            self.halt(clock::now() + failover::Span::from_secs(HALT_SECONDS)).await?;
            self.configure(|state| state.timeline = place.timeline.0)?;
            place = self.detached().await?;
        }
        let file = self.layout().data().join("pg_wal").join(next.file());
        if file.exists() {
            return Err(fail(format!("timeline {next} is taken: this epoch has been served")));
        }
        let history = self.local_history(place.timeline)?;
        let fillers = history.fillers(place.lsn, next).map_err(|error| fail(error.to_string()))?;
        self.install_histories(&fillers).await?;
        self.configure(|state| state.sync = Acks::setting(sync.as_ref()))?;
        self.reload().await?;
        let session = self.session().await?;
        if clock::now() >= until {
            return Err(DeviceError::transient(doing()).because("its time is over"));
        }
        let sql = format!("SELECT pg_promote(true, {})", PROMOTE.as_secs());
        if session.value(&sql, PROMOTE + QUICK).await?.as_deref() != Some("t") {
            return Err(DeviceError::transient(doing()).because("the promotion did not end"));
        }
        let found = Self::writes_on(&session).await?;
        if found != Some(next) {
            return Err(fail(format!("it writes timeline {found:?} and should write {next}")));
        }
        self.configure(|state| state.timeline = next.0)?;
        let data = self.layout().data().to_string_lossy().into_owned();
        self.shell(&doing(), CLOSE_GATE, &[&data], MEDIUM).await?;
        if let Err(error) = self.make_roles(&session).await {
            tracing::warn!(error = scores::chain(&error), "roles and databases of the score were not made");
        }
        Ok(())
    }
}

/// By which standbys a write is acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acks {
    /// How many of them.
    pub num: u8,
    /// Their names.
    pub names: Vec<protocols::Name>,
}

impl Acks {
    pub(super) fn setting(of: Option<&Self>) -> Sync {
        match of {
            Some(acks) if acks.num > 0 && !acks.names.is_empty() => {
                let mut names = acks.names.clone();
                names.sort_unstable();
                Sync::Any { num: acks.num, names }
            }
            _ => Sync::Alone,
        }
    }
}

/// How long a promotion may take once everything is replayed.
const PROMOTE: Duration = Duration::from_secs(60);
/// How long a standby may take to stop.
const HALT_SECONDS: u64 = 30;
