//! Going on where it ended: a primary that ended by itself is started again in the epoch that it served.
//!
//! It comes up writable, on the timeline that it wrote, while clients are kept out. They are let in when it is certain that
//! it acknowledges by the set it was told, and that its time is not over.

use failover::{Epoch, LocalTime};
use scores::DeviceError;
use scores::workload::Nudge;
use tokio::time::sleep;

use super::super::clock;
use super::super::sql::{QUICK, Session};
use super::super::timeline::Timeline;
use super::super::tools::MEDIUM;
use super::Instance;
use super::begin::LOOK;
use super::start::Acks;
use super::sync::CHECKPOINT;

impl Instance {
    /// Becomes writable again in the epoch that it served last, unless it is `until` by then.
    ///
    /// # Errors
    /// When it did not serve that epoch, or could not become writable. It may have, all the same: fence it.
    pub async fn resume(&self, epoch: Epoch, until: LocalTime, sync: Option<Acks>) -> Result<(), DeviceError> {
        let doing = format!("start postgres/{} again in epoch {epoch}", self.setup().score.name);
        let fail = |why: String| DeviceError::permanent(&*doing).because(why);
        let served = self.state();
        let wrote = Timeline(served.timeline);
        if Timeline::of(epoch) != Some(wrote) || served.upstream.is_some() || !self.layout().has_data() {
            return Err(fail(format!("it was on timeline {wrote}, and has not served that epoch")));
        }
        self.configure(|state| {
            state.sync = Acks::setting(sync.as_ref());
            state.closed = true;
        })?;
        self.is_cleared(&doing).await?;
        let session = self.launch(&doing, OPEN_GATE, &[], until).await?;
        if Self::in_recovery(&session).await? {
            return Err(fail("it came up as a standby".into()));
        }
        let found = Self::writes_on(&session).await?;
        if found != Some(wrote) {
            return Err(fail(format!("it writes timeline {found:?} and should write {wrote}")));
        }
        self.knows_whom_to_wait_for(&session).await?;
        if clock::now() >= until {
            return Err(DeviceError::transient(&*doing).because("its time is over"));
        }
        self.configure(|state| state.closed = false)?;
        self.hold().signal(Nudge::Hup).await?;
        let data = self.layout().data().to_string_lossy().into_owned();
        self.shell(&doing, CLOSE_GATE, &[&data], MEDIUM).await.map(drop)
    }

    /// Whether anybody is to be waited for at all is noted by the checkpointer when it starts. Until then commits may
    /// return without waiting.
    async fn knows_whom_to_wait_for(&self, session: &Session) -> Result<(), DeviceError> {
        let sql = "SELECT wait_event FROM pg_stat_activity WHERE backend_type = 'checkpointer'";
        for _ in 0..LOOKS {
            // What it waits in is the loop that it enters after that.
            if session.value(sql, QUICK).await?.as_deref() == Some("CheckpointerMain") {
                return Ok(());
            }
            sleep(LOOK).await;
        }
        session.rows("CHECKPOINT", CHECKPOINT).await.map(drop)
    }

    /// The timeline that a writable instance writes.
    pub(super) async fn writes_on(session: &Session) -> Result<Option<Timeline>, DeviceError> {
        let sql = "SELECT substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)";
        let text = session.value(sql, QUICK).await?;
        Ok(text.and_then(|text| u32::from_str_radix(&text, 16).ok()).map(Timeline))
    }
}

/// Run before it is started to be writable at once.
const OPEN_GATE: &str = "cd \"$1\"; rm -f standby.signal recovery.signal postmaster.pid; : >postgresql.auto.conf";
/// What makes it a standby at its next start: it is read at a start alone.
pub(super) const CLOSE_GATE: &str = "umask 077; cd \"$1\"; : >standby.signal; sync standby.signal .";
/// How often it is looked whether the checkpointer idles, before it is given something to do.
const LOOKS: u32 = 10;
