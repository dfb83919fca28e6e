//! Whether a writable instance is well.

use std::time::Duration;

use tokio::time::sleep;

use scores::DeviceError;
use scores::workload::Ended;

use super::super::sql::Session;
use super::Instance;

impl Instance {
    /// Returns when a writable instance has ended or takes no writes. Never while all is well.
    pub async fn ended(&self) -> Ended {
        let hold = self.hold();
        tokio::select! {
            reason = hold.ended() => Ended::Gone(format!("PostgreSQL has ended: {reason}")),
            reason = self.fails() => Ended::Ill(reason),
        }
    }

    async fn fails(&self) -> String {
        let (mut failures, mut beats) = (0, 0_u64);
        let mut session = None;
        loop {
            sleep(EVERY).await;
            beats = beats.wrapping_add(1);
            match self.beat(&mut session).await {
                Ok(()) => {
                    failures = 0;
                    if let Some(open) = session.as_ref().filter(|_| beats.is_multiple_of(LOOK_AROUND)) {
                        self.look_around(open).await;
                    }
                }
                Err(error) => {
                    session = None;
                    failures += 1;
                    if failures >= FAILURES {
                        return format!("{failures} writes in a row failed: {}", scores::chain(&error));
                    }
                }
            }
        }
    }

    /// What is no illness: somebody may have been let in just before the declaration changed.
    async fn look_around(&self, session: &Session) {
        if let Err(error) = self.part_from_strangers(session).await {
            tracing::debug!(error = scores::chain(&error), "who receives could not be looked at");
        }
    }

    /// Writes something, without waiting for standbys: their absence is not this instance's illness.
    async fn beat(&self, session: &mut Option<Session>) -> Result<(), DeviceError> {
        let open = match session.take() {
            Some(session) => session,
            None => {
                let session = self.session().await?;
                session.rows("SET synchronous_commit = local; SET lock_timeout = '4s'", WITHIN).await?;
                session
            }
        };
        let sql = "UPDATE flotilla.beat SET count = count + 1, at = now() WHERE what = 'health'";
        open.rows(sql, WITHIN).await?;
        *session = Some(open);
        Ok(())
    }
}

/// How often a write is tried.
const EVERY: Duration = Duration::from_secs(1);
/// How long it may take.
const WITHIN: Duration = Duration::from_secs(5);
/// After how many writes it is looked what else there is to know.
const LOOK_AROUND: u64 = 10;
/// How many must fail in a row.
const FAILURES: u32 = 3;
