//! What is held in the store: links in a folder of our own that the garbage collector knows.

use std::io;
use std::path::PathBuf;

use scores::nixos::StorePath;
use scores::{DeviceError, durable};

use super::NixosHost;

/// Why a system is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Root {
    /// It is being brought or tried.
    Candidate,
    /// It was confirmed last: the one to go back to.
    Confirmed,
    /// It was confirmed before that.
    Previous,
}

impl NixosHost {
    /// Holds a system, also one that is still to come: the link counts from the moment the path is valid.
    pub(super) fn hold(&self, root: Root, path: &StorePath) -> Result<(), DeviceError> {
        let failed = |error| DeviceError::io(format!("hold {path} in the store"), error);
        let link = self.root_link(root);
        let folder = self.paths.roots();
        std::fs::create_dir_all(&folder).map_err(failed)?;
        let new = folder.join(format!(".{}.new", root.name()));
        match std::fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        std::os::unix::fs::symlink(path.as_str(), &new).map_err(failed)?;
        std::fs::rename(&new, &link).and_then(|()| durable::sync_folder(&folder)).map_err(failed)
    }

    /// Lets go of a system.
    pub(super) fn release(&self, root: Root) -> Result<(), DeviceError> {
        match std::fs::remove_file(self.root_link(root)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(DeviceError::io(format!("let go of the {} system", root.name()), error))
            }
            _ => Ok(()),
        }
    }

    /// Which system is held for this reason.
    pub(super) fn held(&self, root: Root) -> Option<StorePath> {
        std::fs::read_link(self.root_link(root)).ok()?.to_str()?.parse().ok()
    }

    pub(super) fn is_rooted(&self, path: &StorePath) -> bool {
        [Root::Candidate, Root::Confirmed, Root::Previous]
            .into_iter()
            .any(|root| self.held(root).as_ref() == Some(path))
    }

    fn root_link(&self, root: Root) -> PathBuf {
        self.paths.roots().join(root.name())
    }
}

impl Root {
    const fn name(self) -> &'static str {
        match self {
            Self::Candidate => "candidate",
            Self::Confirmed => "confirmed",
            Self::Previous => "previous",
        }
    }
}
