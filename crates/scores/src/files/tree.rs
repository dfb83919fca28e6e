//! The capability that `files/1` asks for, and how it is played on it.

use super::{Entry, FileStep, FilesScore, Seen, Tree};
use crate::{DeviceError, Interpret, Stage, Topology, Trial};

/// A topology with a tree of files. All paths are absolute, and no symbolic link on them is followed.
#[diagnostic::on_unimplemented(message = "`{Self}` has no tree of files", label = "needs the capability `FileTree`")]
pub trait FileTree: Topology {
    /// Looks at each path.
    fn look(&self, paths: &[String]) -> impl Future<Output = Result<Tree, DeviceError>> + Send;

    /// Makes sure that these users and groups, by name or number, are known.
    fn know(&self, users: &[String], groups: &[String]) -> impl Future<Output = Result<(), DeviceError>> + Send;

    /// Brings the blobs that these steps need, and records durably in the trial's folder what is at their paths, and
    /// which directories they will make.
    fn remember(&self, steps: &[FileStep], trial: &Trial) -> impl Future<Output = Result<(), DeviceError>> + Send;

    /// Takes a step; when it returns, the change is durable.
    fn change(&self, step: &FileStep, stage: &dyn Stage) -> impl Future<Output = Result<(), DeviceError>> + Send;

    /// Brings back exactly what was remembered: content, mode, owner, links and absence. Nothing where nothing was.
    fn restore(&self, trial: &Trial) -> impl Future<Output = Result<(), DeviceError>> + Send;
}

impl<T: FileTree> Interpret<T> for FilesScore {
    async fn observe(&self, on: &T) -> Result<Tree, DeviceError> {
        let mut users = Vec::new();
        let mut groups = Vec::new();
        for entry in self.entries.values() {
            if let Entry::File { owner, group, .. } | Entry::Directory { owner, group, .. } = entry {
                users.extend(owner.clone());
                groups.extend(group.clone());
            }
        }
        for accounts in [&mut users, &mut groups] {
            accounts.sort_unstable();
            accounts.dedup();
        }
        on.know(&users, &groups).await?;
        let paths: Vec<String> = self.entries.keys().map(|path| self.absolute(path)).collect();
        let tree = on.look(&paths).await?;
        for (relative, entry) in &self.entries {
            if let Some(Seen::Unreachable { by, symlink }) = tree.get(&self.absolute(relative)) {
                let replaced = self
                    .entries
                    .iter()
                    .any(|(path, entry)| matches!(entry, Entry::Directory { .. }) && self.absolute(path) == *by);
                if replaced || (*entry == Entry::Absent && !symlink) {
                    continue;
                }
                let what = if *symlink { "a symbolic link, which is not followed" } else { "no directory" };
                return Err(DeviceError::permanent(format!("reach `{}`: `{by}` is {what}", self.absolute(relative))));
            }
        }
        Ok(tree)
    }

    async fn begin(&self, on: &T, trial: &Trial, steps: &[FileStep]) -> Result<(), DeviceError> {
        on.remember(steps, trial).await
    }

    async fn apply(&self, on: &T, step: &FileStep, _trial: &Trial, stage: &dyn Stage) -> Result<(), DeviceError> {
        on.change(step, stage).await
    }

    async fn revert(&self, on: &T, trial: &Trial) -> Result<(), DeviceError> {
        on.restore(trial).await
    }
}
