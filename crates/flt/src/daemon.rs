//! What both daemons share: the log, signals, systemd, metrics, and a stop that has a deadline.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

mod http;
pub(crate) mod log;
mod metrics;
mod notify;
mod signals;

pub(crate) use metrics::Sample;

use crate::app::App;
use crate::config::{ConfigError, Env, Role, RoleConfig};
use crate::output::{Style, View};
use crate::report::{Advise as _, Code};

/// How a daemon is run, whatever it does.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// What it is.
    pub(crate) role: Role,
    /// What it logs.
    pub(crate) log: String,
    /// Where it serves `/metrics` and `/healthz`.
    pub(crate) metrics: Option<SocketAddr>,
    /// How often `-v` was given.
    pub(crate) verbose: u8,
}

/// What a role is given to run with. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Context {
    stop: CancellationToken,
    metrics: metrics::Registry,
    notify: notify::Notify,
}

impl Context {
    /// Cancelled when the daemon is to stop. The role then has [`STOP_DEADLINE`] to end.
    pub(crate) const fn stop(&self) -> &CancellationToken {
        &self.stop
    }

    /// Says that the role serves: to systemd, and to `/healthz`.
    pub(crate) fn ready(&self, status: &str) {
        self.metrics.set_ready();
        self.notify.ready(status);
        tracing::info!(status, "ready");
    }

    /// Says what the role is at, for `systemctl status`.
    pub(crate) fn status(&self, status: &str) {
        self.notify.status(status);
    }

    /// Adds a source of samples, asked at each `GET /metrics`; it must answer at once.
    pub(crate) fn measure(&self, source: impl Fn() -> Vec<Sample> + Send + Sync + 'static) {
        self.metrics.add(Box::new(source));
    }

    /// Adds a condition of health, asked at each `GET /healthz` and before each sign of life to systemd's watchdog;
    /// it must answer at once.
    pub(crate) fn healthy_if(&self, condition: impl Fn() -> Result<(), String> + Send + Sync + 'static) {
        self.metrics.add_condition(Box::new(condition));
    }
}

/// Runs a role as a daemon until it ends, or is told to stop.
///
/// # Errors
/// What the role failed with, or why it could not start.
pub(crate) fn run<F>(settings: &Settings, env: &Env, role: impl FnOnce(Context) -> F) -> anyhow::Result<Code>
where
    F: Future<Output = anyhow::Result<()>>,
{
    log::for_daemons(settings, env)?;
    crate::report::log_panics();
    let runtime = runtime()?;
    let result = runtime.block_on(drive(settings, role));
    runtime.shutdown_timeout(LEAVE_TIMEOUT);
    result
}

async fn drive<F>(settings: &Settings, role: impl FnOnce(Context) -> F) -> anyhow::Result<Code>
where
    F: Future<Output = anyhow::Result<()>>,
{
    let mut signals = signals::Signals::listen().context("cannot listen for signals")?;
    let context = Context {
        stop: CancellationToken::new(),
        metrics: metrics::Registry::new(settings.role),
        notify: notify::Notify,
    };
    // The port is taken before anything else is done: a second daemon on it is found out at once.
    let server = match settings.metrics {
        Some(addr) => Some(http::Server::bind(addr, context.metrics.clone(), &context.stop).await?),
        None => None,
    };
    let watchdog = context.notify.watch(context.metrics.clone());
    let span = tracing::info_span!("flt", role = %settings.role);
    let mut work = Box::pin(tracing::Instrument::instrument(role(context.clone()), span));
    let code = tokio::select! {
        ended = &mut work => ended.map(|()| Code::Done),
        signal = signals.next() => {
            tracing::info!(signal, deadline_seconds = STOP_DEADLINE.as_secs(), "stopping");
            context.notify.stopping();
            context.status("stopping");
            context.stop.cancel();
            tokio::select! {
                ended = tokio::time::timeout(STOP_DEADLINE, &mut work) => match ended {
                    Ok(ended) => ended.map(|()| Code::Done),
                    Err(_) => Err(anyhow::anyhow!("the {} did not stop within {} s", settings.role, STOP_DEADLINE.as_secs())),
                },
                again = signals.next() => {
                    tracing::warn!(signal = again, "stopping at once");
                    Ok(Code::Interrupted)
                }
            }
        }
    };
    context.stop.cancel();
    watchdog.abort();
    if let Some(server) = server {
        server.stop().await;
    }
    match &code {
        Ok(_) => tracing::info!("stopped"),
        Err(error) => tracing::error!(error = format!("{error:#}"), "failed"),
    }
    code
}

/// `check-config`: says that the configuration is sound, or lists what is wrong with the files that it names.
///
/// # Errors
/// All problems, with exit code 64.
pub(crate) fn check<C: RoleConfig>(config: &C, files: bool, app: &App) -> anyhow::Result<Code> {
    let problems = if files { config.check_files() } else { Vec::new() };
    if !problems.is_empty() {
        return Err(ConfigError::new(C::ROLE, problems)).code(Code::Config);
    }
    app.out.view(&Sound { role: C::ROLE.name(), files })?;
    Ok(Code::Done)
}

#[derive(Serialize)]
struct Sound {
    role: &'static str,
    /// Whether the files that it names were looked at.
    files: bool,
}

impl View for Sound {
    const SCHEMA: &'static str = "flt.check-config/1";

    fn text(&self, _: &Style) -> String {
        let files = if self.files { ", and so are the files that it names" } else { "" };
        format!("the configuration of the {} is sound{files}\n", self.role)
    }
}

/// The runtime of a daemon or an asynchronous command.
pub(crate) fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(processors.min(WORKERS_MAX))
        .enable_all()
        .build()
        .context("cannot start the program's threads")
}

/// Threads that a daemon works with at most: what it does is mostly waiting, and each thread keeps memory of its own.
const WORKERS_MAX: usize = 4;

/// How long a role has to stop when it is told to.
pub(crate) const STOP_DEADLINE: Duration = Duration::from_secs(25);
/// How long the program waits for stray tasks in the end.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests;
