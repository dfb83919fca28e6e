//! What the hands have begun to play: that is brought to its end and kept up, also when its time is over.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use protocols::Subject;
use scores::durable;

/// The file that remembers it.
#[derive(Debug)]
pub(super) struct Begun {
    path: PathBuf,
    /// The generation that was begun last of each subject.
    last: BTreeMap<Subject, u64>,
}

impl Begun {
    /// Reads it.
    pub(super) fn open(folder: &Path) -> io::Result<Self> {
        let path = folder.join(FILE);
        let last = match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(io::Error::other)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => return Err(error),
        };
        Ok(Self { path, last })
    }

    /// The generation of a subject that was begun last.
    pub(super) fn of(&self, subject: &Subject) -> Option<u64> {
        self.last.get(subject).copied()
    }

    /// Remembers durably that one is begun, and forgets all that `is_declared` knows nothing of.
    pub(super) fn begin(
        &mut self,
        subject: &Subject,
        generation: u64,
        is_declared: impl Fn(&Subject) -> bool,
    ) -> io::Result<()> {
        if self.of(subject) == Some(generation) {
            return Ok(());
        }
        let mut last = self.last.clone();
        last.retain(|known, _| is_declared(known));
        last.insert(subject.clone(), generation);
        durable::write(&self.path, &serde_json::to_vec(&last).map_err(io::Error::other)?)?;
        self.last = last;
        Ok(())
    }
}

const FILE: &str = "begun.json";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_outlives_the_process_and_keeps_what_is_declared_alone() {
        let dir = tempfile::tempdir().unwrap();
        let [one, two]: [Subject; 2] = ["files/a", "files/b"].map(|s| s.parse().unwrap());
        let mut begun = Begun::open(dir.path()).unwrap();
        assert_eq!(begun.of(&one), None);
        begun.begin(&one, 4, |_| true).unwrap();
        begun.begin(&two, 5, |_| true).unwrap();
        let mut again = Begun::open(dir.path()).unwrap();
        assert_eq!((again.of(&one), again.of(&two)), (Some(4), Some(5)));
        again.begin(&two, 6, |known| *known == two).unwrap();
        let again = Begun::open(dir.path()).unwrap();
        assert_eq!((again.of(&one), again.of(&two)), (None, Some(6)));
        std::fs::write(dir.path().join(FILE), "{").unwrap();
        Begun::open(dir.path()).unwrap_err();
    }
}
