//! The newest entry by which anything was played here: nothing is played by an older ledger, should this one get lost.

use std::io;
use std::path::{Path, PathBuf};

use protocols::entry::Head;
use scores::durable;

/// The file that remembers it.
#[derive(Debug)]
pub(super) struct Floor {
    path: PathBuf,
    head: Option<Head>,
}

impl Floor {
    /// Reads it. What cannot be read must not be taken for nothing.
    pub(super) fn open(folder: &Path) -> io::Result<Self> {
        let path = folder.join(FILE);
        let head = match std::fs::read(&path) {
            Ok(bytes) => Some(serde_json::from_slice(&bytes).map_err(io::Error::other)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        Ok(Self { path, head })
    }

    pub(super) const fn head(&self) -> Option<Head> {
        self.head
    }

    /// Raises it durably.
    pub(super) fn raise(&mut self, to: Head) -> io::Result<()> {
        if self.head.is_none_or(|head| head.seq < to.seq) {
            durable::write(&self.path, &serde_json::to_vec(&to).map_err(io::Error::other)?)?;
            self.head = Some(to);
        }
        Ok(())
    }
}

const FILE: &str = "floor.json";

#[cfg(test)]
mod tests {
    use protocols::EntryHash;

    use super::*;

    #[test]
    fn it_only_rises_and_outlives_the_process() {
        let dir = tempfile::tempdir().unwrap();
        let at = |seq| Head { seq, hash: EntryHash::from_bytes([7; 32]) };
        let mut floor = Floor::open(dir.path()).unwrap();
        assert_eq!(floor.head(), None);
        floor.raise(at(5)).unwrap();
        floor.raise(at(4)).unwrap();
        assert_eq!(Floor::open(dir.path()).unwrap().head(), Some(at(5)));
        std::fs::write(dir.path().join(FILE), "{").unwrap();
        Floor::open(dir.path()).unwrap_err();
    }
}
