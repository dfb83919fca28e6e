//! The environment as a value, so that tests have their own.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// What the surroundings say.
#[derive(Debug, Clone, Default)]
pub(crate) struct Env {
    vars: BTreeMap<String, String>,
    /// Whether root runs this.
    pub(crate) root: bool,
    /// The machine's own file.
    pub(crate) machine_file: PathBuf,
}

impl Env {
    /// The process's environment. Variables that are not UTF-8 are left out: none of ours can be.
    pub(crate) fn of_process() -> Self {
        let vars = std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)));
        Self {
            vars: vars.collect(),
            root: rustix::process::geteuid().is_root(),
            machine_file: "/etc/flotilla/config.toml".into(),
        }
    }

    /// An environment for a test.
    #[cfg(test)]
    pub(crate) fn of(vars: &[(&str, &str)]) -> Self {
        let vars = vars.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Self { vars, root: false, machine_file: "/nonexistent/flotilla/config.toml".into() }
    }

    /// A variable's value.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.vars.get(name).map(String::as_str)
    }

    /// All variables whose name begins so.
    pub(crate) fn starting(&self, prefix: &str) -> impl Iterator<Item = (&str, &str)> {
        let owned = prefix.to_owned();
        self.vars.iter().map(|(k, v)| (k.as_str(), v.as_str())).filter(move |(k, _)| k.starts_with(&owned))
    }

    /// The user's own file.
    pub(crate) fn user_file(&self) -> Option<PathBuf> {
        Some(self.folder("XDG_CONFIG_HOME", ".config")?.join("flotilla/config.toml"))
    }

    /// Where a user's data is kept.
    pub(crate) fn user_data(&self) -> Option<PathBuf> {
        Some(self.folder("XDG_DATA_HOME", ".local/share")?.join("flotilla"))
    }

    fn folder(&self, variable: &str, below_home: &str) -> Option<PathBuf> {
        // The base directory specification: a relative path counts as none.
        let absolute = |path: &&str| path.starts_with('/');
        if let Some(path) = self.get(variable).filter(absolute) {
            return Some(path.into());
        }
        Some(PathBuf::from(self.get("HOME").filter(absolute)?).join(below_home))
    }
}
