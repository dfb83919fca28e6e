//! The capability that `files/1` asks for, and how it is played on it.

use protocols::secret::Place;
use protocols::{BlobHash, SecretValue};

use super::{Content, Entry, FileStep, FilesScore, Seen, Tree};
use crate::{DeviceError, Interpret, OpenSecrets, Score as _, Stage, Topology, Trial};

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

    /// Takes a step; when it returns, the change is durable. A step that writes a secret comes with the secret, which goes
    /// into that file and nowhere else, and the file is never readable for others on the way.
    fn change(
        &self,
        step: &FileStep,
        secret: Option<&SecretValue>,
        stage: &dyn Stage,
    ) -> impl Future<Output = Result<(), DeviceError>> + Send;

    /// Brings back exactly what was remembered: content, mode, owner, links and absence. Nothing where nothing was.
    fn restore(&self, trial: &Trial) -> impl Future<Output = Result<(), DeviceError>> + Send;
}

impl<T: FileTree + OpenSecrets> Interpret<T> for FilesScore {
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
        let mut tree = on.look(&paths).await?;
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
        let subject = self.subject();
        for (relative, entry) in &self.entries {
            let Entry::File { content: content @ Content::Sealed(sealed), .. } = entry else { continue };
            // Also where the file is missing: what cannot be opened is said before anything changes.
            let value = on.open(sealed, Place { kind: &Self::KIND, subject: &subject }).await?;
            if let Some(seen) = tree.get_mut(&self.absolute(relative)) {
                tell_by_sealed(seen, content, &value);
            }
        }
        Ok(tree)
    }

    async fn begin(&self, on: &T, trial: &Trial, steps: &[FileStep]) -> Result<(), DeviceError> {
        on.remember(steps, trial).await
    }

    async fn apply(&self, on: &T, step: &FileStep, _trial: &Trial, stage: &dyn Stage) -> Result<(), DeviceError> {
        let FileStep::Write { content: Content::Sealed(sealed), .. } = step else {
            return on.change(step, None, stage).await;
        };
        let value = on.open(sealed, Place { kind: &Self::KIND, subject: &self.subject() }).await?;
        on.change(step, Some(&value), stage).await
    }

    async fn revert(&self, on: &T, trial: &Trial) -> Result<(), DeviceError> {
        on.restore(trial).await
    }
}

/// Says of a file whether it holds the secret, in terms of the sealed form: the hash of the secret itself goes no further.
fn tell_by_sealed(seen: &mut Seen, content: &Content, value: &SecretValue) {
    if let Seen::File { hash, size, .. } = seen {
        let is = u64::try_from(value.expose().len()) == Ok(*size)
            && *hash == BlobHash::from_bytes(*blake3::hash(value.expose()).as_bytes());
        (*hash, *size) = if is { (content.hash(), content.len()) } else { (BlobHash::from_bytes([0; 32]), 0) };
    }
}
