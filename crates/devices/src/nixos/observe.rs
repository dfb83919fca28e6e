//! What runs, what boots, and whether one system can be switched to from another.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use scores::DeviceError;
use scores::nixos::{BootOnly, Mode, NixosScore, Observed, StorePath};
use serde_json::Value;

use super::journal::Memory;
use super::{NixosHost, Paths, store_error};

impl NixosHost {
    pub(super) async fn look(&self, score: &NixosScore) -> Result<Observed, DeviceError> {
        let toplevel = &score.toplevel;
        let memory = self.memory()?;
        let (current, default) = (self.current(), self.default_system());
        let valid = self.nix.missing(std::slice::from_ref(toplevel)).await.map_err(store_error)?.is_empty();
        let staged = valid && (self.is_rooted(toplevel) || default.as_ref() == Some(toplevel));
        let boot = self.boot()?;
        let probation = memory.probation.as_ref().is_some_and(|(system, since)| system == toplevel && *since == boot);
        let boot_only = if valid && current.as_ref() != Some(toplevel) && score.mode == Mode::Switch {
            self.boot_only(toplevel, &memory, &boot)
        } else {
            None
        };
        Ok(Observed {
            boot_entry_missing: memory.boot_entry_due.is_some() && memory.boot_entry_due == default,
            probation: probation && current.as_ref() == Some(toplevel),
            current,
            default,
            staged,
            boot_only,
        })
    }

    /// The system that runs.
    pub(super) fn current(&self) -> Option<StorePath> {
        system_at(&self.paths, &self.paths.current_system())
    }

    /// The system that the profile names.
    pub(super) fn default_system(&self) -> Option<StorePath> {
        system_at(&self.paths, &self.paths.profile())
    }

    /// The kernel's name for this boot.
    pub(super) fn boot(&self) -> Result<String, DeviceError> {
        let path = self.paths.boot_id();
        let text = std::fs::read_to_string(&path)
            .map_err(|error| DeviceError::io(format!("read {}", path.display()), error))?;
        Ok(text.trim().to_owned())
    }

    fn boot_only(&self, toplevel: &StorePath, memory: &Memory, boot: &str) -> Option<BootOnly> {
        if let Some((system, since, because)) = &memory.boot_only
            && system == toplevel
            && since == boot
        {
            return Some((*because).into());
        }
        let (old, new) = (self.paths.current_system(), self.paths.in_store(toplevel));
        boot_only(&old, &new)
    }
}

impl Paths {
    /// A store path as a file.
    pub(super) fn in_store(&self, path: &StorePath) -> PathBuf {
        self.root.join(path.as_str().trim_start_matches('/'))
    }
}

/// Why the running system would follow its declared one only after a reboot: what differs between the booted system and
/// the one that runs, by the names of its reboot triggers. For reports; nothing is decided by it.
pub fn reboot_reasons(root: &Path) -> Vec<String> {
    let at = |system: &str| triggers(&root.join("run").join(system).join("reboot-triggers"));
    match (at("booted-system"), at("current-system")) {
        (Triggers::Read(booted), Triggers::Read(current)) => booted
            .into_iter()
            .filter(|(name, old)| current.get(name).is_some_and(|new| new != old))
            .map(|(name, _)| name)
            .collect(),
        _ => Vec::new(),
    }
}

/// Why `new` can only be booted, as seen from the running system `old`.
fn boot_only(old: &Path, new: &Path) -> Option<BootOnly> {
    let init = |system: &Path| std::fs::read(system.join("init-interface-version")).ok();
    if let (Some(old), Some(new)) = (init(old), init(new))
        && old != new
    {
        return Some(BootOnly::Init);
    }
    let differing = match (triggers(&old.join(INHIBITORS)), triggers(&new.join(INHIBITORS))) {
        (Triggers::Absent, Triggers::Absent) => Vec::new(),
        (Triggers::Unreadable, _) | (_, Triggers::Unreadable) => vec![format!("{INHIBITORS} (unreadable)")],
        // A system that says less than another may differ in what it does not say: booting is always right.
        (old, new) => {
            let (old, new) = (old.or_empty(), new.or_empty());
            let mut names: Vec<String> =
                old.keys().chain(new.keys()).filter(|n| old.get(*n) != new.get(*n)).cloned().collect();
            names.sort();
            names.dedup();
            names
        }
    };
    (!differing.is_empty()).then_some(BootOnly::Inhibited { inhibitors: differing })
}

enum Triggers {
    Absent,
    Unreadable,
    Read(BTreeMap<String, Value>),
}

impl Triggers {
    fn or_empty(self) -> BTreeMap<String, Value> {
        if let Self::Read(map) = self { map } else { BTreeMap::new() }
    }
}

fn triggers(path: &Path) -> Triggers {
    match std::fs::metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Triggers::Absent,
        Ok(found) if found.len() <= TRIGGERS_BYTES_MAX => {}
        _ => return Triggers::Unreadable,
    }
    let read = std::fs::read(path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
    read.map_or(Triggers::Unreadable, Triggers::Read)
}

/// The store path that a link leads to.
fn system_at(paths: &Paths, link: &Path) -> Option<StorePath> {
    let real = std::fs::canonicalize(link).ok()?;
    let text = real.strip_prefix(&paths.root).ok()?.to_str()?;
    format!("/{text}").parse().ok()
}

const INHIBITORS: &str = "switch-inhibitors";
/// The largest list of inhibitors or triggers that is read, in bytes.
const TRIGGERS_BYTES_MAX: u64 = 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn system(parts: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in parts {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        dir
    }

    fn between(old: &[(&str, &str)], new: &[(&str, &str)]) -> Option<BootOnly> {
        boot_only(system(old).path(), system(new).path())
    }

    #[test]
    fn inhibitors_are_compared_by_value() {
        let named =
            |names: &[&str]| Some(BootOnly::Inhibited { inhibitors: names.iter().map(ToString::to_string).collect() });
        let (a, b) = (r#"{"dbus":"dbus","init":"a"}"#, r#"{"init":"a","dbus":"broker"}"#);
        assert_eq!(between(&[(INHIBITORS, a)], &[(INHIBITORS, a)]), None);
        assert_eq!(between(&[(INHIBITORS, a)], &[(INHIBITORS, r#"{ "init":"a", "dbus":"dbus" }"#)]), None);
        assert_eq!(between(&[(INHIBITORS, a)], &[(INHIBITORS, b)]), named(&["dbus"]));
        assert_eq!(between(&[], &[]), None);
        assert_eq!(between(&[], &[(INHIBITORS, "{}")]), None);
        assert_eq!(between(&[], &[(INHIBITORS, a)]), named(&["dbus", "init"]));
        assert_eq!(between(&[(INHIBITORS, "[")], &[(INHIBITORS, a)]), named(&["switch-inhibitors (unreadable)"]));
    }

    #[test]
    fn an_init_that_cannot_take_over_means_boot() {
        let version = "init-interface-version";
        assert_eq!(between(&[(version, "systemd 2")], &[(version, "systemd 3")]), Some(BootOnly::Init));
        assert_eq!(between(&[(version, "systemd 2")], &[(version, "systemd 2")]), None);
    }

    #[test]
    fn reboot_triggers_are_compared_where_both_name_them() {
        let root = tempfile::tempdir().unwrap();
        for (name, text) in [("booted-system", r#"{"kernel":"a","x":"1"}"#), ("current-system", r#"{"kernel":"b"}"#)] {
            std::fs::create_dir_all(root.path().join("run").join(name)).unwrap();
            std::fs::write(root.path().join("run").join(name).join("reboot-triggers"), text).unwrap();
        }
        assert_eq!(reboot_reasons(root.path()), ["kernel"]);
        assert_eq!(reboot_reasons(Path::new("/nonexistent")), Vec::<String>::new());
    }
}
