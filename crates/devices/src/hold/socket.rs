//! Sockets at paths of any length. The kernel takes about a hundred bytes; a longer path is reached through an open folder.

use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, open};
use tokio::net::{UnixListener, UnixStream};

/// Listens at a path.
pub(super) fn bind(path: &Path) -> io::Result<UnixListener> {
    let reached = Reached::new(path)?;
    UnixListener::bind(&reached.path)
}

/// Connects to who listens at a path.
pub(super) async fn connect(path: &Path) -> io::Result<UnixStream> {
    let reached = Reached::new(path)?;
    UnixStream::connect(&reached.path).await
}

/// A path that is short enough, and what makes it mean the same.
struct Reached {
    path: PathBuf,
    _folder: Option<OwnedFd>,
}

impl Reached {
    fn new(path: &Path) -> io::Result<Self> {
        let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        if path.as_os_str().len() <= PATH_BYTES_MAX {
            return Ok(Self { path: path.to_owned(), _folder: None });
        }
        let folder = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
        let folder = open(folder, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let path = Path::new("/proc/self/fd").join(folder.as_raw_fd().to_string()).join(name);
        Ok(Self { path, _folder: Some(folder) })
    }
}

/// The longest path that the kernel takes for a socket, in bytes.
const PATH_BYTES_MAX: usize = 107;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_socket_in_a_folder_with_a_long_name_is_reached() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("long".repeat(30)).join("longer".repeat(30));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("hold");
        let listener = bind(&path).unwrap();
        let (connected, accepted) = tokio::join!(connect(&path), listener.accept());
        connected.unwrap();
        accepted.unwrap();
        assert!(path.exists());
    }
}
