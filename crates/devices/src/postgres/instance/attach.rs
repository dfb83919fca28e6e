//! Following a primary: by going on where this copy stops, by rewinding it, or by a new copy.

use std::time::Duration;

use failover::{Epoch, Span};
use protocols::Name;
use scores::DeviceError;
use tokio::time::{Instant as Moment, sleep};

use super::super::clock;
use super::super::config::{self, Sync, Upstream};
use super::super::sql::QUICK;
use super::super::timeline::{History, Timeline};
use super::Instance;
use super::begin::LOOK;

impl Instance {
    /// Becomes a standby of the primary of this epoch, and of no other. Returns when it receives.
    ///
    /// What this copy has beyond the primary's history is taken back by `pg_rewind`. Where that cannot be done, and where
    /// there is no copy yet, a new one is made.
    ///
    /// # Errors
    /// When the node is not the primary of that epoch, cannot be reached, or has another cluster.
    pub async fn attach(&self, primary: &Name, epoch: Epoch) -> Result<(), DeviceError> {
        let doing = || format!("follow `{primary}` in epoch {epoch}");
        let upstream = Upstream { node: primary.clone(), epoch };
        let next = self.is_primary(&upstream).await?;
        if !self.layout().has_data() {
            return self.copy(upstream, next).await;
        }
        let state = self.state();
        if state.upstream.as_ref() == Some(&upstream) && state.timeline == next.0 && self.hold().is_running().await? {
            return self.receives(&upstream, next).await;
        }
        let (control, source) = (self.control().await?, self.identify(primary).await?);
        if control.system != source.system {
            if control.timeline == Timeline::FIRST {
                // Nobody ever served it: nothing was acknowledged by it.
                return self.copy(upstream, next).await;
            }
            let why = format!(
                "this node has data of another cluster ({}, and there it is {}); to give that up, order a reinit",
                control.system, source.system
            );
            return Err(DeviceError::permanent(doing()).because(why));
        }
        let (history, text) = self.fetch_history(&upstream, next).await?;
        let place = self.detached().await?;
        if history.holds(place) {
            return self.go_on(upstream, next, &history, text).await;
        }
        tracing::info!(cluster = %self.setup().score.name, %place, %next, "rewinding what the primary's history lacks");
        if let Err(error) = self.rewind(&upstream, next).await {
            tracing::warn!(error = scores::chain(&error), "the rewind failed; a new copy is made");
            return self.copy(upstream, next).await;
        }
        self.go_on(upstream, next, &history, text).await
    }

    /// Throws this copy away and makes a new one from the primary of this epoch.
    ///
    /// # Errors
    /// When the node is not the primary of that epoch, or the copy fails.
    pub async fn rebuild(&self, primary: &Name, epoch: Epoch) -> Result<(), DeviceError> {
        let upstream = Upstream { node: primary.clone(), epoch };
        let next = self.is_primary(&upstream).await?;
        self.copy(upstream, next).await
    }

    /// Makes sure that a node is the primary of an epoch, by the timeline that it writes; gives that.
    async fn is_primary(&self, upstream: &Upstream) -> Result<Timeline, DeviceError> {
        let doing = || format!("follow `{}` in epoch {}", upstream.node, upstream.epoch);
        let next = Timeline::of(upstream.epoch)
            .ok_or_else(|| DeviceError::permanent(doing()).because("no timeline has such a number"))?;
        let found = self.identify(&upstream.node).await?.timeline;
        if found != next {
            let why = format!("it writes timeline {found}, that of epoch {}", found.epoch());
            return Err(DeviceError::transient(doing()).because(why));
        }
        Ok(next)
    }

    /// Follows with the copy that there is, which is part of the primary's history.
    async fn go_on(
        &self,
        upstream: Upstream,
        next: Timeline,
        history: &History,
        text: String,
    ) -> Result<(), DeviceError> {
        if next > Timeline::FIRST {
            // The files of the timelines in between, which PostgreSQL wants one by one, have the same content up to theirs.
            self.install_histories(&[(history.of(), text)]).await?;
        }
        let was = self.state().timeline;
        if was != next.0 && self.hold().is_running().await? {
            // The timeline that is followed is read at a start alone.
            self.halt(clock::now() + Span::from_secs(HALT_SECONDS)).await?;
        }
        self.configure(|state| {
            state.timeline = next.0;
            state.sync = Sync::Nobody;
            state.upstream = Some(upstream.clone());
        })?;
        if self.hold().is_running().await? {
            self.reload().await?;
        } else {
            self.start_standby().await?;
        }
        self.receives(&upstream, next).await
    }

    /// Waits until it receives the timeline.
    async fn receives(&self, upstream: &Upstream, next: Timeline) -> Result<(), DeviceError> {
        let end = Moment::now() + RECEIVE;
        let session = self.session().await?;
        let sql = "SELECT received_tli FROM pg_stat_wal_receiver WHERE status = 'streaming'";
        loop {
            let received = session.value(sql, QUICK).await?.and_then(|text| text.parse::<u32>().ok());
            if received.is_some_and(|timeline| timeline <= next.0) {
                return Ok(());
            }
            if Moment::now() > end {
                let doing = format!("follow `{}` in epoch {}", upstream.node, upstream.epoch);
                return Err(DeviceError::transient(doing).because("it does not receive; see PostgreSQL's log"));
            }
            sleep(LOOK).await;
        }
    }

    /// Takes back what this copy has beyond the primary's history.
    async fn rewind(&self, upstream: &Upstream, next: Timeline) -> Result<(), DeviceError> {
        // From here on a start must find the timelines that it had, until the rewind is complete.
        self.halt(clock::now() + Span::from_secs(HALT_SECONDS)).await?;
        let conninfo = config::conninfo(&self.setup(), &upstream.node, "postgres")?;
        // Only after a checkpoint does the other's pg_control speak of its timeline.
        let doing = format!("ask `{}` for a checkpoint", upstream.node);
        self.tool(&doing, "psql", &["-XAtqw", "-d", &conninfo, "-c", "CHECKPOINT"], CHECKPOINT).await?;
        let doing = format!("rewind to where timeline {next} begins");
        let data = self.layout().data().to_string_lossy().into_owned();
        let source = format!("--source-server={conninfo}");
        self.tool(&doing, "pg_rewind", &["-D", &data, &source, "--no-ensure-shutdown"], REWIND).await.map(drop)
    }

    /// Makes a new copy and follows with it. What there was is kept until that is complete.
    async fn copy(&self, upstream: Upstream, next: Timeline) -> Result<(), DeviceError> {
        let doing = format!("copy the cluster from `{}`", upstream.node);
        let layout = self.layout();
        let fresh = self.fresh_folder().await?;
        let conninfo = config::conninfo(&self.setup(), &upstream.node, "")?;
        let args = ["-D", &*fresh.to_string_lossy(), "-X", "stream", "-c", "fast", "-w", "-d", &conninfo];
        self.tool(&doing, "pg_basebackup", &args, COPY).await?;
        let script = "grep -qx \"START TIMELINE: $2\" \"$1/backup_label\"";
        self.shell(&doing, script, &[&fresh.to_string_lossy(), &next.to_string()], QUICK).await.map_err(|_| {
            DeviceError::transient(&*doing).because(format!("what was copied is not of timeline {next}"))
        })?;
        self.halt(clock::now() + Span::from_secs(HALT_SECONDS)).await?;
        let swap = || {
            if layout.data().exists() {
                std::fs::rename(layout.data(), layout.stale())?;
            }
            std::fs::rename(&fresh, layout.data())
        };
        swap().map_err(|error| DeviceError::io(&*doing, error))?;
        self.remove_folder(&layout.stale()).await?;
        let (history, text) = self.fetch_history(&upstream, next).await?;
        self.go_on(upstream, next, &history, text).await
    }
}

/// How long a standby may take to stop.
const HALT_SECONDS: u64 = 120;
/// How long it may take until something is received.
const RECEIVE: Duration = Duration::from_secs(30);
/// How long a checkpoint of the primary may take.
const CHECKPOINT: Duration = Duration::from_secs(900);
/// How long a rewind may take.
const REWIND: Duration = Duration::from_secs(6 * 3600);
/// How long a copy may take.
const COPY: Duration = Duration::from_secs(3 * 24 * 3600);
