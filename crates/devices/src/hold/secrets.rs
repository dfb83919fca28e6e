//! The secrets of a service: files in a folder of their own while it runs here, and nowhere else.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use protocols::SecretKey;
use protocols::secret::Place;
use rustix::process::geteuid;
use scores::service::{Run, ServiceScore};
use scores::{DeviceError, Score as _, secrets::open_with};

use super::state::account;

/// Where the secrets of one service are on this node.
pub(super) struct Secrets {
    keys: Arc<[SecretKey]>,
    folder: PathBuf,
}

impl Secrets {
    /// Of the service whose folder this is. Root's are in memory, where a program of another user can be led to its own.
    pub(super) fn new(keys: Arc<[SecretKey]>, dir: &Path) -> Self {
        let folder = if geteuid().is_root() {
            let name = blake3::hash(dir.as_os_str().as_encoded_bytes()).to_hex();
            Path::new(IN_MEMORY).join(&name[..32])
        } else {
            dir.join("secrets")
        };
        Self { keys, folder }
    }

    /// The folder that they are in while the service runs.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether they are there.
    pub(super) fn are_there(&self) -> bool {
        self.folder.exists()
    }

    /// Puts those of the score there, and no others.
    pub(super) async fn write(&self, score: &ServiceScore) -> Result<(), DeviceError> {
        let doing = || format!("write the secrets of {}", score.subject());
        let mut opened = Vec::new();
        for (name, secret) in &score.secrets {
            let place = Place { kind: &ServiceScore::KIND, subject: &score.subject() };
            opened.push((name, open_with(&self.keys, &secret.secret, place).await?));
        }
        let user = match &score.run {
            Run::Program(program) => program.user.as_deref(),
            Run::Unit(_) => None,
        };
        let owner = user.map(account).transpose().map_err(|why| DeviceError::permanent(doing()).because(why))?;
        let written = || -> io::Result<()> {
            if opened.is_empty() {
                return absent_is_fine(fs::remove_dir_all(&self.folder));
            }
            if let Some(above) = self.folder.parent() {
                make(above, owner.is_some())?;
            }
            make(&self.folder, owner.is_some())?;
            for entry in fs::read_dir(&self.folder)? {
                let entry = entry?;
                if !opened.iter().any(|(name, _)| entry.file_name() == name.as_str()) {
                    fs::remove_file(entry.path())?;
                }
            }
            for (name, value) in &opened {
                // Who reads it finds the former one, or this one, whole.
                let aside = self.folder.join(format!(".{name}"));
                absent_is_fine(fs::remove_file(&aside))?;
                let mut file = File::options().write(true).create_new(true).mode(0o600).open(&aside)?;
                if let Some((owner, _)) = owner {
                    fchown(&file, Some(owner), None)?;
                }
                file.write_all(value.expose())?;
                fs::rename(&aside, self.folder.join(name))?;
            }
            Ok(())
        };
        written().map_err(|error| DeviceError::io(doing(), error))
    }

    /// Nothing of the service runs any more.
    pub(super) fn remove(&self) -> Result<(), DeviceError> {
        absent_is_fine(fs::remove_dir_all(&self.folder))
            .map_err(|error| DeviceError::io(format!("remove {}", self.folder.display()), error))
    }
}

/// A folder of this process's user. Others may pass through it if they must, and list nothing.
fn make(folder: &Path, passable: bool) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    if passable { fs::set_permissions(folder, Permissions::from_mode(0o711)) } else { Ok(()) }
}

fn absent_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// The folder for root's, on a file system in memory.
const IN_MEMORY: &str = "/run/flotilla-secrets";
