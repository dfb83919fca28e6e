//! What a standby holds, exactly: asked of it when it has stopped receiving and has replayed all it has.

use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use scores::DeviceError;
use tokio::time::{Instant as Moment, sleep};

use super::super::sql::{QUICK, Session};
use super::super::timeline::{Lsn, Place, Timeline};
use super::Instance;
use super::begin::LOOK;

impl Instance {
    /// Stops receiving, and tells what is held then: the beginning of all if never anything was, and nothing if a copy has
    /// been lost, so that nobody can say.
    ///
    /// # Errors
    /// When it cannot be started or asked.
    pub async fn detach(&self) -> Result<Option<Place>, DeviceError> {
        if !self.layout().has_data() {
            if self.has_held() {
                // It may have acknowledged what is gone with it: it is no witness, until it has been built anew.
                return Ok(None);
            }
            if !self.setup().is_first() {
                return Ok(Some(Place { timeline: Timeline(0), lsn: Lsn(0) }));
            }
            self.initialise().await?;
        }
        self.detached().await.map(Some)
    }

    /// The same where there is a copy.
    pub(super) async fn detached(&self) -> Result<Place, DeviceError> {
        // On disk first: from here on no restart receives anything.
        self.forget_sync()?;
        if self.hold().is_running().await? {
            let session = self.session().await?;
            if !Self::in_recovery(&session).await? {
                return Err(DeviceError::permanent("stop receiving").because("the instance is writable"));
            }
            self.reload().await?;
        } else {
            self.start_standby().await?;
        }
        let session = self.session().await?;
        self.part_from_upstream(&session).await?;
        self.settled(&session).await
    }

    /// Waits until the receiver is gone. It need not replay first what it was sent: it is asked to end.
    async fn part_from_upstream(&self, session: &Session) -> Result<(), DeviceError> {
        let end = Moment::now() + PART;
        let mut asked = Moment::now() + PATIENCE;
        loop {
            let sql = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'walreceiver'";
            let Some(pid) = session.value(sql, QUICK).await? else { return Ok(()) };
            if Moment::now() > end {
                return Err(DeviceError::transient("stop receiving").because("the receiver does not end"));
            }
            if Moment::now() > asked {
                asked = Moment::now() + PATIENCE;
                self.end_receiver(&pid);
            }
            sleep(LOOK).await;
        }
    }

    /// Asks a receiver to end, if that is what the number means here: the instance may have numbers of its own.
    fn end_receiver(&self, pid: &str) {
        let data = self.layout().data();
        for process in super::processes::of(&data) {
            let status = std::fs::read_to_string(format!("/proc/{}/status", process.as_raw_nonzero()));
            let numbers = status.unwrap_or_default();
            let inner = numbers.lines().find_map(|line| line.strip_prefix("NSpid:"));
            let is_it = inner.and_then(|line| line.split_whitespace().last()) == Some(pid);
            if is_it && is_receiver(process) {
                // It may have ended by itself.
                let _gone = kill_process(process, Signal::TERM);
            }
        }
    }

    /// Waits until everything that is held is replayed, and nothing is received; tells where that ends.
    async fn settled(&self, session: &Session) -> Result<Place, DeviceError> {
        let sql = "SELECT pg_last_wal_replay_lsn(), \
                   (SELECT wait_event FROM pg_stat_activity WHERE backend_type = 'startup'), \
                   (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'walreceiver')";
        let mut last: Option<(Lsn, Moment)> = None;
        let mut progressed = Moment::now();
        loop {
            let row = session.rows(sql, QUICK).await?.into_iter().next().unwrap_or_default();
            let mut row = row.into_iter();
            let replayed = row.next().flatten().and_then(|text| text.parse::<Lsn>().ok());
            let waits = row.next().flatten();
            let receivers = row.next().flatten();
            let idle = waits.is_some_and(|event| IDLE.contains(&event.as_str())) && receivers.as_deref() == Some("0");
            match (replayed, last) {
                (Some(lsn), Some((before, since))) if idle && lsn == before => {
                    if since.elapsed() >= STILL {
                        let history = self.local_history(Timeline(self.state().timeline))?;
                        return Ok(Place { timeline: history.at(lsn), lsn });
                    }
                }
                (Some(lsn), Some((before, _))) if lsn != before => {
                    progressed = Moment::now();
                    last = idle.then(|| (lsn, Moment::now()));
                }
                (Some(lsn), _) => last = idle.then(|| (lsn, Moment::now())),
                (None, _) => last = None,
            }
            if progressed.elapsed() > STUCK {
                session.rows("SELECT pg_wal_replay_resume()", QUICK).await?;
                let why = "what it holds is not replayed; is a session on it in the way?";
                return Err(DeviceError::transient("find out what is held").because(why));
            }
            sleep(LOOK).await;
        }
    }

    /// What is held by now, or, on a primary, what is on its disk: a lower bound, asked while it goes on.
    ///
    /// Nothing is told when it takes long: it is asked often.
    pub async fn progress(&self) -> Option<Place> {
        self.look_for_room();
        tokio::time::timeout(SOON, self.place_now()).await.ok().flatten()
    }

    async fn place_now(&self) -> Option<Place> {
        let session = self.session().await.ok()?;
        let sql =
            "SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_flush_lsn() END";
        let lsn: Lsn = session.value(sql, QUICK).await.ok()??.parse().ok()?;
        let history = self.local_history(Timeline(self.state().timeline)).ok()?;
        Some(Place { timeline: history.at(lsn), lsn })
    }
}

fn is_receiver(process: Pid) -> bool {
    let title = std::fs::read(format!("/proc/{}/cmdline", process.as_raw_nonzero())).unwrap_or_default();
    String::from_utf8_lossy(&title).contains("walreceiver")
}

/// What the replaying process waits for when it has nothing left to replay.
const IDLE: &[&str] = &["RecoveryRetrieveRetryInterval", "RecoveryWalStream"];
/// How long telling what is held by now may take.
const SOON: Duration = Duration::from_millis(250);
/// How long nothing may have changed before it is believed that nothing will.
const STILL: Duration = Duration::from_millis(40);
/// How long a receiver may take to end by itself, before it is asked to.
const PATIENCE: Duration = Duration::from_millis(200);
/// How long it may take altogether.
const PART: Duration = Duration::from_secs(30);
/// How long replaying may stand still without having come to its end.
const STUCK: Duration = Duration::from_secs(60);
