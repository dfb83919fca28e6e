//! The way to a file, one name at a time, each opened below the one before and never through a symbolic link.
//!
//! Nothing on the way is looked at twice by name, so swapping a directory for a link between the look and the use
//! leads nowhere else.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use scores::DeviceError;

/// Walks below a folder that stands for `/`.
#[derive(Debug)]
pub(super) struct Walk {
    root: OwnedFd,
    path: PathBuf,
}

/// Where a walk ended.
#[derive(Debug)]
pub(super) enum Reach<'p> {
    /// At the folder that holds the last name.
    Folder { folder: OwnedFd, name: &'p str },
    /// Before a folder that is not there.
    Missing,
    /// Before something that is no folder.
    Blocked { by: &'p str, symlink: bool },
}

impl Walk {
    pub(super) fn from(root: &Path) -> Result<Self, DeviceError> {
        // The way to the root may hold links: it comes from the configuration, not from a declaration.
        let folder = rustix::fs::openat(CWD, root, FOLDER.difference(OFlags::NOFOLLOW), Mode::empty());
        let root_fd = folder.map_err(|errno| failed("open the root", &root.to_string_lossy(), errno))?;
        Ok(Self { root: root_fd, path: root.to_owned() })
    }

    /// The folder that stands for `/`.
    pub(super) fn root(&self) -> &Path {
        &self.path
    }

    /// Goes to the folder that holds the last name of an absolute path.
    pub(super) fn reach<'p>(&self, path: &'p str) -> Result<Reach<'p>, DeviceError> {
        self.go(path, |_, _, _| Ok(false))
    }

    /// Goes there and makes the folders that are missing on the way, with mode 0755.
    pub(super) fn make_way<'p>(&self, path: &'p str) -> Result<(OwnedFd, &'p str), DeviceError> {
        let reached = self.go(path, |folder, name, at| {
            match rustix::fs::mkdirat(folder, name, Mode::from_raw_mode(0o700)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(failed("make the directory", at, errno)),
            }
            let made = open_folder(folder, name).map_err(|errno| failed("open the directory", at, errno))?;
            rustix::fs::fchmod(&made, Mode::from_raw_mode(0o755))
                .map_err(|errno| failed("set the mode of", at, errno))?;
            sync(&made).and_then(|()| sync_folder(folder)).map_err(|errno| failed("sync", at, errno))?;
            Ok(true)
        })?;
        match reached {
            Reach::Folder { folder, name } => Ok((folder, name)),
            Reach::Missing => Err(DeviceError::permanent(format!("reach `{path}`: the way vanished"))),
            Reach::Blocked { by, symlink } => Err(blocked(path, by, symlink)),
        }
    }

    fn go<'p>(
        &self,
        path: &'p str,
        mut missing: impl FnMut(&OwnedFd, &str, &str) -> Result<bool, DeviceError>,
    ) -> Result<Reach<'p>, DeviceError> {
        let refuse = |why: &str| DeviceError::permanent(format!("reach `{}`: {why}", path.escape_debug()));
        let relative = path.strip_prefix('/').ok_or_else(|| refuse("it is not absolute"))?;
        if relative.split('/').any(|name| matches!(name, "" | "." | "..")) || relative.contains('\0') {
            return Err(refuse("it has an empty name, a dot name or a NUL"));
        }
        let mut folder = self.root.try_clone().map_err(|error| DeviceError::io("open the root again", error))?;
        let mut rest = relative;
        let mut done = 0;
        while let Some((name, below)) = rest.split_once('/') {
            done += 1 + name.len();
            let at = &path[..done];
            folder = match rustix::fs::openat(&folder, name, FOLDER, Mode::empty()) {
                Ok(next) => next,
                Err(Errno::NOENT) => {
                    if !missing(&folder, name, at)? {
                        return Ok(Reach::Missing);
                    }
                    rustix::fs::openat(&folder, name, FOLDER, Mode::empty())
                        .map_err(|errno| failed("open the directory", at, errno))?
                }
                Err(Errno::NOTDIR | Errno::LOOP) => {
                    let symlink = kind(&folder, name).is_ok_and(|kind| kind == Some(FileType::Symlink));
                    return Ok(Reach::Blocked { by: at, symlink });
                }
                Err(errno) => return Err(failed("open the directory", at, errno)),
            };
            rest = below;
        }
        Ok(Reach::Folder { folder, name: rest })
    }
}

/// Opens a folder for reading and syncing, never through a link.
pub(super) fn open_folder(folder: impl AsFd, name: &str) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(folder, name, flags, Mode::empty())
}

/// What is at a name, without following a link; none if there is nothing.
pub(super) fn stat(folder: impl AsFd, name: &str) -> rustix::io::Result<Option<Stat>> {
    match rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// The type of what is at a name.
pub(super) fn kind(folder: impl AsFd, name: &str) -> rustix::io::Result<Option<FileType>> {
    Ok(stat(folder, name)?.map(|stat| FileType::from_raw_mode(stat.st_mode)))
}

/// Makes a file or folder durable.
pub(super) fn sync(fd: impl AsFd) -> rustix::io::Result<()> {
    rustix::fs::fsync(fd)
}

/// Makes the names in a folder durable; the descriptor may be one that cannot be read from.
pub(super) fn sync_folder(folder: impl AsFd) -> rustix::io::Result<()> {
    sync(open_folder(folder, ".")?)
}

/// Removes a name if it is there; a folder only when it is empty.
pub(super) fn remove(folder: impl AsFd, name: &str, is_folder: bool) -> rustix::io::Result<()> {
    let flags = if is_folder { AtFlags::REMOVEDIR } else { AtFlags::empty() };
    match rustix::fs::unlinkat(folder, name, flags) {
        Err(Errno::NOENT) => Ok(()),
        other => other,
    }
}

/// The name under which the next content of `name` is written before it takes its place. Always the same, so that
/// whoever comes after a crash finds it.
pub(super) fn aside(name: &str) -> String {
    format!(".flt-{}.tmp", &blake3::hash(name.as_bytes()).to_hex()[..16])
}

pub(super) fn failed(doing: &str, path: &str, errno: Errno) -> DeviceError {
    DeviceError::io(format!("{doing} `{}`", path.escape_debug()), io::Error::from(errno))
}

pub(super) fn blocked(path: &str, by: &str, symlink: bool) -> DeviceError {
    let what = if symlink { "a symbolic link, which is not followed" } else { "no directory" };
    DeviceError::permanent(format!("reach `{}`: `{}` is {what}", path.escape_debug(), by.escape_debug()))
}

const FOLDER: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
