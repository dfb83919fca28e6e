//! Configuration in layers: flag, environment, `--config`, the user's file, the machine's file, default; each value
//! with its origin.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Deserialize;

mod devices;
mod env;
mod file;
mod groups;
mod keys;
mod layers;
mod problems;
mod roles;
mod suggest;

pub(crate) use devices::{DeviceConfig, host_and_port};
pub(crate) use env::Env;
pub(crate) use groups::GroupConfig;
pub(crate) use keys::{Role, list_value, path_value};
pub(crate) use layers::Layered;
pub(crate) use problems::{ConfigError, Problem};
pub(crate) use roles::{AdminConfig, AgentConfig, CoordinatorConfig, RelayConfig, RelayTls};
pub(crate) use suggest::nearest;

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A flag of the command line.
    Flag(String),
    /// A variable of the environment.
    Variable(String),
    /// A file, at a line.
    File(PathBuf, usize),
    /// Nobody said anything.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => f.write_str(flag),
            Self::Variable(name) => f.write_str(name),
            Self::File(path, line) => write!(f, "{}:{line}", path.display()),
            Self::Default => f.write_str("default"),
        }
    }
}

/// A value given by a flag: the flag, the key, the value.
pub(crate) type Flag = (&'static str, &'static str, toml::Value);

/// Reads all layers of one role's configuration.
///
/// # Errors
/// Every problem of every layer, not just the first.
pub(crate) fn load(role: Role, explicit: Option<&Path>, flags: Vec<Flag>, env: &Env) -> Result<Layered, ConfigError> {
    layers::load(role, explicit, flags, env)
}

/// Reads a role's configuration as its type.
///
/// # Errors
/// Every problem of every layer, and every value that makes no sense beside the others.
pub(crate) fn typed<C: RoleConfig>(explicit: Option<&Path>, flags: Vec<Flag>, env: &Env) -> Result<C, ConfigError> {
    let layered = load(C::ROLE, explicit, flags, env)?;
    let table = toml::Value::Table(layered.table());
    let config = C::deserialize(table)
        .map_err(|error| ConfigError::new(C::ROLE, vec![Problem::anywhere(error.message().to_owned())]))?;
    match config.check() {
        problems if problems.is_empty() => Ok(config),
        problems => Err(ConfigError::new(C::ROLE, problems.into_iter().map(|p| layered.locate(p)).collect())),
    }
}

/// A role's configuration.
pub(crate) trait RoleConfig: for<'de> Deserialize<'de> {
    /// Whose it is.
    const ROLE: Role;

    /// What makes no sense, without a look at any file: it must hold on the machine that builds the configuration too.
    fn check(&self) -> Vec<Problem>;

    /// What is wrong with the files it names, on this machine.
    fn check_files(&self) -> Vec<Problem>;
}

#[cfg(test)]
mod tests;
