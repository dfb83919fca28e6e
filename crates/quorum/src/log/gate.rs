//! Where tests hold a disk, or break it. Otherwise nothing.

use super::LogError;
use super::disk::Disk;

#[cfg(not(test))]
pub(super) const fn pass(_: &Disk) -> Result<(), LogError> {
    Ok(())
}

#[cfg(test)]
pub(super) use held::pass;
#[cfg(test)]
pub(crate) use held::{Gate, set};

#[cfg(test)]
mod held {
    use std::collections::HashMap;
    use std::path::{Path, PathBuf};
    use std::sync::{Condvar, Mutex};

    use super::{Disk, LogError};

    /// What a disk does with what it is to write.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) enum Gate {
        /// It takes it.
        Open,
        /// It lets it wait.
        Held,
        /// It refuses it; with what waits so far, what a crash would leave.
        Broken,
    }

    static GATES: Mutex<Option<HashMap<PathBuf, Gate>>> = Mutex::new(None);
    static CHANGED: Condvar = Condvar::new();

    /// Sets what the disk with this log does from here on.
    pub(crate) fn set(path: &Path, gate: Gate) {
        GATES.lock().unwrap().get_or_insert_default().insert(path.into(), gate);
        CHANGED.notify_all();
    }

    pub(in super::super) fn pass(disk: &Disk) -> Result<(), LogError> {
        let gate = |gates: &Option<HashMap<PathBuf, Gate>>| {
            gates.as_ref().and_then(|gates| gates.get(&disk.path)).copied().unwrap_or(Gate::Open)
        };
        let gates = CHANGED.wait_while(GATES.lock().unwrap(), |gates| gate(gates) == Gate::Held).unwrap();
        match gate(&gates) {
            Gate::Broken => Err(LogError::Stopped { path: disk.path.clone(), why: "a test broke it".into() }),
            _ => Ok(()),
        }
    }
}
