//! By whom writes are acknowledged, and when that is so.

use std::time::Duration;

use scores::DeviceError;
use tokio::time::sleep;

use super::super::config::Sync;
use super::super::sql::{QUICK, Session, literal};
use super::super::timeline::Lsn;
use super::Instance;
use super::begin::LOOK;
use super::start::Acks;

impl Instance {
    /// Acknowledges writes by this set from now on. Returns when a write has been acknowledged by it and by no earlier one.
    ///
    /// Why it is by no earlier one: the session of that write is opened after the reload, so it is forked after every
    /// sender has been signalled. A sender reads its configuration before it looks at answers, and the answer to that
    /// write comes after the write was sent. So each sender judges it by the new set.
    ///
    /// # Errors
    /// When the instance is not writable, or the configuration does not take.
    pub async fn apply_sync(&self, acks: Option<&Acks>) -> Result<(), DeviceError> {
        let doing = "change who acknowledges writes";
        let before = self.state().sync;
        self.configure(|state| state.sync = Acks::setting(acks))?;
        self.reload().await?;
        let session = self.session().await?;
        if Self::in_recovery(&session).await? {
            return Err(DeviceError::permanent(doing).because("the instance is not writable"));
        }
        if before == Sync::Alone {
            // Whether anybody is to be waited for at all, PostgreSQL notes at the beginning of its next checkpoint at the
            // latest. Until then commits may return without waiting.
            session.rows("CHECKPOINT", CHECKPOINT).await?;
        }
        session.rows("SET synchronous_commit = on", QUICK).await?;
        loop {
            let sql = "UPDATE flotilla.beat SET count = count + 1, at = now() WHERE what = 'sync' \
                       RETURNING pg_current_wal_insert_lsn()";
            // It waits for as long as too few standbys hold it.
            let written = session.value(sql, WAIT).await?.and_then(|text| text.parse::<Lsn>().ok());
            let Some(written) = written else {
                return Err(DeviceError::permanent(doing).because("the table flotilla.beat has lost its rows"));
            };
            match acks {
                Some(acks) if !self.is_held(&session, acks, written).await? => sleep(LOOK).await,
                _ => return Ok(()),
            }
        }
    }

    /// Whether enough of the set hold what was written: so its commit has waited for them, if they are still connected.
    async fn is_held(&self, session: &Session, acks: &Acks, written: Lsn) -> Result<bool, DeviceError> {
        let names: Vec<String> = acks.names.iter().map(|name| literal(name.as_str())).collect();
        let sql = format!(
            "SELECT count(DISTINCT application_name) FROM pg_stat_replication \
             WHERE flush_lsn >= '{written}' AND application_name IN ({})",
            names.join(", ")
        );
        let count = session.value(&sql, QUICK).await?.and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
        Ok(count >= u64::from(acks.num))
    }
}

/// How long a write may wait for its standbys: one that was built anew may have a long way to go.
const WAIT: Duration = Duration::from_secs(3600);
/// How long a checkpoint may take on a slow disk.
pub(super) const CHECKPOINT: Duration = Duration::from_secs(900);
