//! The checks of a policy, run on the host.

mod exec;
mod http;
mod unit;

use std::ffi::OsString;
use std::time::Duration;

use protocols::Check;
use scores::{BoxFuture, CheckFailed, Checks, Stage};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Runs checks on the host that the agent runs on.
#[derive(Debug, Clone)]
pub struct HostChecks {
    path: OsString,
    systemctl: OsString,
}

impl HostChecks {
    /// Finds programs in this search path.
    pub fn new(path: impl Into<OsString>) -> Self {
        Self { path: path.into(), systemctl: "systemctl".into() }
    }

    /// Asks this program instead of `systemctl`.
    #[must_use]
    pub fn with_systemctl(mut self, program: impl Into<OsString>) -> Self {
        self.systemctl = program.into();
        self
    }

    async fn check(&self, check: &Check, stage: &dyn Stage) -> Result<(), String> {
        match check {
            Check::Exec { command, seconds } => {
                let deadline = Duration::from_secs((*seconds).into());
                exec::run(&self.path, command, deadline).await?.success()
            }
            Check::Tcp { address } => match timeout(CONNECT_DEADLINE, TcpStream::connect(address)).await {
                Ok(Ok(_)) => Ok(()),
                Ok(Err(error)) => Err(error.to_string()),
                Err(_) => Err(format!("no connection within {} seconds", CONNECT_DEADLINE.as_secs())),
            },
            Check::Http { url, status, contains } => http::get(url, *status, contains.as_deref()).await,
            Check::Unit { name, stable_seconds } => {
                let stable = Duration::from_secs((*stable_seconds).into());
                unit::active(&self.path, &self.systemctl, name, stable).await
            }
            Check::Contact => match timeout(CONTACT_DEADLINE, stage.contact()).await {
                Ok(result) => result,
                Err(_) => Err(format!("no answer within {} seconds", CONTACT_DEADLINE.as_secs())),
            },
        }
    }
}

impl Default for HostChecks {
    /// With the search path that a NixOS or another Linux host has for everybody.
    fn default() -> Self {
        Self::new(PATH)
    }
}

impl Checks for HostChecks {
    fn run<'a>(&'a self, check: &'a Check, stage: &'a dyn Stage) -> BoxFuture<'a, Result<(), CheckFailed>> {
        Box::pin(async move { self.check(check, stage).await.map_err(|why| CheckFailed::new(check, why)) })
    }
}

/// Runs a program with these variables to its end, which must be status 0.
pub(crate) async fn run_program(
    path: &std::ffi::OsStr,
    command: &[String],
    environment: &std::collections::BTreeMap<String, String>,
    within: Duration,
) -> Result<(), String> {
    let variables = environment.iter().map(|(name, value)| format!("{name}={value}"));
    let whole: Vec<String> =
        std::iter::once("env".to_owned()).chain(variables).chain(command.iter().cloned()).collect();
    exec::run(path, &whole, within).await?.success()
}

/// How long a TCP connection may take to open.
const CONNECT_DEADLINE: Duration = Duration::from_secs(5);
/// How long a coordinator may take to answer.
const CONTACT_DEADLINE: Duration = Duration::from_secs(30);
/// Where programs are found where nothing is configured.
const PATH: &str = "/run/wrappers/bin:/run/current-system/sw/bin:/nix/var/nix/profiles/default/bin:\
                    /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
