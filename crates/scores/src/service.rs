//! The score `service/1`: a program or a systemd unit that runs on one node at a time, and moves when that node fails.

mod plan;

use std::collections::BTreeMap;

use failover::{ClusterName, Workload};
use protocols::{Kind, Name, SealedText, Subject};
use serde::{Deserialize, Serialize};

use crate::failover::{FailoverScore, Succession};
use crate::workload::Program;
use crate::{Invalid, Score};

pub use plan::{KeepStep, KeepsWorkloads, Kept, plan_keep};

/// A service that runs on one node at a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceScore {
    /// What the cluster is called: its lease is `service/NAME`.
    pub name: Name,
    /// Who may run it, and how a silent node is replaced.
    #[serde(default)]
    pub succession: Succession,
    /// What runs.
    pub run: Run,
    /// Run before it is started; the start fails if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<Hook>,
    /// Asks it to stop in order; a signal, or the unit's own stop, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop: Option<Hook>,
    /// Must succeed once before it counts as started, and then again and again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<HealthCheck>,
    /// Run once it runs and is healthy; the start fails if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promote: Option<Hook>,
    /// Run after it was stopped or fenced. What it does is not waited for longer than its deadline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub demote: Option<Hook>,
    /// Actions that the fence ladder and the remote action may name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub actions: BTreeMap<String, Hook>,
    /// Secrets, by the names of the files that they are in, in the folder that `FLT_SECRETS` names, while it runs here.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<String, ServiceSecret>,
}

/// A secret of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceSecret {
    /// The secret.
    pub secret: SealedText,
}

/// What runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Run {
    /// A program in the foreground, with all that it starts.
    Program(Program),
    /// A systemd unit: started, stopped, and its control group killed. It must not be enabled.
    Unit(String),
}

/// A program that is run to its end, without a shell, with `FLT_CLUSTER`, `FLT_EPOCH` and `FLT_ROLE` in its environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hook {
    /// Program and arguments.
    pub command: Vec<String>,
    /// How long it may take, in seconds; 1 to 3600.
    #[serde(default = "thirty", skip_serializing_if = "is_thirty")]
    pub seconds: u32,
}

/// A hook that says whether the service is healthy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HealthCheck {
    /// Program and arguments; status 0 says that it is.
    pub command: Vec<String>,
    /// How long it may take, in milliseconds; 1 to 600 000.
    #[serde(default = "five_thousand")]
    pub within_ms: u64,
    /// How long after one the next begins, in milliseconds; 10 to 600 000.
    #[serde(default = "five_thousand")]
    pub every_ms: u64,
    /// How many must fail in a row; 1 to 100.
    #[serde(default = "three")]
    pub failures: u32,
}

impl Score for ServiceScore {
    const KIND: Kind = Kind::from_static("service/1");

    fn subject(&self) -> Subject {
        self.cluster().as_str().parse().expect("`service/` and a name are a subject")
    }

    fn check(&self) -> Result<(), Invalid> {
        self.succession.check(Self::WORKLOAD).map_err(|error| error.within("succession"))?;
        match &self.run {
            Run::Program(program) => check_command("run.program.command", &program.command)?,
            Run::Unit(unit) => check_unit(unit)?,
        }
        let hooks =
            [("start", &self.start), ("stop", &self.stop), ("promote", &self.promote), ("demote", &self.demote)];
        let hooks = hooks.into_iter().filter_map(|(name, hook)| Some((name.to_owned(), hook.as_ref()?)));
        for (name, hook) in hooks.chain(self.actions.iter().map(|(name, hook)| (format!("actions.{name}"), hook))) {
            check_command(&format!("{name}.command"), &hook.command)?;
            within(&format!("{name}.seconds"), hook.seconds.into(), (1, 3600))?;
        }
        if let Some(check) = &self.check {
            check_command("check.command", &check.command)?;
            within("check.within_ms", check.within_ms, (1, 600_000))?;
            within("check.every_ms", check.every_ms, (10, 600_000))?;
            within("check.failures", check.failures.into(), (1, 100))?;
        }
        if self.actions.len() > ACTIONS_MAX {
            return Err(Invalid::at("actions", format!("has {} and may have {ACTIONS_MAX}", self.actions.len())));
        }
        if self.secrets.len() > SECRETS_MAX {
            return Err(Invalid::at("secrets", format!("has {} and may have {SECRETS_MAX}", self.secrets.len())));
        }
        for name in self.secrets.keys() {
            let sound = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
            if !sound || name.is_empty() || name.starts_with('.') || name.len() > SECRET_NAME_BYTES_MAX {
                let field = format!("secrets.\"{}\"", name.escape_debug());
                return Err(Invalid::at(field, "is no plain name of a file: letters, digits, `-`, `_`, `.`"));
            }
        }
        match self.succession.actions().find(|name| !self.actions.contains_key(*name)) {
            Some(name) => {
                Err(Invalid::at("succession.ladder", format!("names the action `{name}`, which is not in `actions`")))
            }
            None => Ok(()),
        }
    }

    fn secrets(&self) -> Vec<&SealedText> {
        self.secrets.values().map(|secret| &secret.secret).collect()
    }
}

impl FailoverScore for ServiceScore {
    const WORKLOAD: Workload = Workload::Service;

    fn cluster(&self) -> ClusterName {
        format!("service/{}", self.name).try_into().expect("`service/` and a name are a cluster's name")
    }

    fn succession(&self) -> &Succession {
        &self.succession
    }
}

/// Checks a command: bounded, and not empty.
fn check_command(path: &str, command: &[String]) -> Result<(), Invalid> {
    let bytes: usize = command.iter().map(String::len).sum();
    if command.first().is_none_or(String::is_empty) {
        return Err(Invalid::at(path, "must name a program"));
    }
    if command.len() > COMMAND_WORDS_MAX || bytes > COMMAND_BYTES_MAX {
        let why =
            format!("has {} words of {bytes} bytes; at most {COMMAND_WORDS_MAX} of {COMMAND_BYTES_MAX}", command.len());
        return Err(Invalid::at(path, why));
    }
    if command.iter().any(|word| word.contains('\0')) {
        return Err(Invalid::at(path, "holds a zero byte"));
    }
    Ok(())
}

fn check_unit(unit: &str) -> Result<(), Invalid> {
    let sound = unit.bytes().all(|byte| byte.is_ascii_alphanumeric() || b":-_.\\@".contains(&byte));
    if !sound || unit.starts_with('-') || !unit.ends_with(".service") || unit.len() > UNIT_BYTES_MAX {
        return Err(Invalid::at(
            "run.unit",
            format!("`{unit}` is not the name of a systemd service, such as `x.service`"),
        ));
    }
    Ok(())
}

fn within(path: &str, value: u64, (least, most): (u64, u64)) -> Result<(), Invalid> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(Invalid::at(path, format!("is {value} and may be {least} to {most}")))
}

const fn thirty() -> u32 {
    30
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
const fn is_thirty(seconds: &u32) -> bool {
    *seconds == thirty()
}

const fn five_thousand() -> u64 {
    5_000
}

const fn three() -> u32 {
    3
}

/// How many actions a score may have.
pub const ACTIONS_MAX: usize = 16;
/// How many secrets a score may have.
pub const SECRETS_MAX: usize = 16;
/// How long the name of a secret's file may be, in bytes.
const SECRET_NAME_BYTES_MAX: usize = 64;
/// How many words a command may have.
pub const COMMAND_WORDS_MAX: usize = 256;
/// How long the words of a command may be together, in bytes.
pub const COMMAND_BYTES_MAX: usize = 16 * 1024;
/// How long the name of a unit may be, in bytes.
const UNIT_BYTES_MAX: usize = 255;

#[cfg(test)]
mod tests;
