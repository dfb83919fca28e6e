//! One step on the host's files. When it returns, the change is on the disk.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use protocols::{BlobHash, SecretValue};
use rustix::fs::{FileType, Gid, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT, Uid};
use rustix::io::Errno;
use scores::DeviceError;
use scores::files::{Content, FileStep};

use super::accounts::Accounts;
use super::look::CHUNK_BYTES;
use super::walk::{Reach, Walk, aside, blocked, failed, kind, open_folder, remove, stat, sync, sync_folder};

pub(super) fn change(
    walk: &Walk,
    step: &FileStep,
    blob: Option<&Path>,
    secret: Option<&SecretValue>,
) -> Result<(), DeviceError> {
    let accounts = Accounts::of(walk)?;
    let number = |owner: &Option<String>, group: &Option<String>| -> Result<Ids, DeviceError> {
        Ok(Ids {
            uid: owner.as_ref().map(|owner| accounts.user(owner)).transpose()?,
            gid: group.as_ref().map(|group| accounts.group(group)).transpose()?,
        })
    };
    match step {
        FileStep::Write { path, content, mode, owner, group, .. } => {
            let ids = number(owner, group)?;
            let (folder, name) = walk.make_way(path)?;
            let was = stat(&folder, name).map_err(|errno| failed("look at", path, errno))?;
            let keeps = was.filter(|was| FileType::from_raw_mode(was.st_mode) == FileType::RegularFile);
            let (uid, gid) = keeps.map(|was| (was.st_uid, was.st_gid)).unzip();
            let ids = Ids { uid: ids.uid.or(uid), gid: ids.gid.or(gid) };
            let mode = mode.bits();
            let mut source: Box<dyn Read> = match (content, blob) {
                (Content::Text(text), _) => Box::new(text.as_bytes()),
                (Content::Bytes(bytes), _) => Box::new(bytes.as_slice()),
                (Content::Blob(_), Some(file)) => {
                    let opened = File::open(file);
                    Box::new(opened.map_err(|error| DeviceError::io("open the fetched blob", error))?)
                }
                (Content::Sealed(_), _) => match secret {
                    Some(secret) => Box::new(secret.expose()),
                    None => return Err(DeviceError::permanent(format!("write `{path}`: its secret was not opened"))),
                },
                (Content::Blob(blob), None) => {
                    return Err(DeviceError::transient(format!("write `{path}`: no blob {}", blob.hash.short())));
                }
            };
            let (hash, size) = match secret {
                Some(secret) => {
                    let bytes = secret.expose();
                    let hash = BlobHash::from_bytes(*blake3::hash(bytes).as_bytes());
                    (hash, u64::try_from(bytes.len()).unwrap_or(u64::MAX))
                }
                None => (content.hash(), content.len()),
            };
            let whole = Whole { hash, size, mode, ids, modified: None };
            write(&folder, name, path, &mut source, &whole)
        }
        FileStep::MakeDirectory { path, mode, owner, group } => {
            let ids = number(owner, group)?;
            let (folder, name) = walk.make_way(path)?;
            make_directory(&folder, name, path, mode.bits(), ids)
        }
        FileStep::SetDirectory { path, mode, owner, group, .. } => {
            let ids = number(owner, group)?;
            let Reach::Folder { folder, name } = walk.reach(path)? else {
                return Err(DeviceError::transient(format!("set the directory `{path}`: it vanished")));
            };
            set_directory(&folder, name, path, mode.map(scores::files::Mode::bits), ids)
        }
        FileStep::Remove { path, .. } => {
            let (folder, name) = match walk.reach(path)? {
                Reach::Folder { folder, name } => (folder, name),
                Reach::Missing => return Ok(()),
                Reach::Blocked { by, symlink } => return Err(blocked(path, by, symlink)),
            };
            let found = kind(&folder, name).map_err(|errno| failed("look at", path, errno))?;
            match remove(&folder, name, found == Some(FileType::Directory)) {
                Err(Errno::NOTEMPTY | Errno::EXIST) => {
                    let path = path.escape_debug();
                    return Err(DeviceError::permanent(format!("remove `{path}`: the directory is not empty")));
                }
                other => other.map_err(|errno| failed("remove", path, errno))?,
            }
            sync_folder(&folder).map_err(|errno| failed("sync the directory of", path, errno))
        }
    }
}

/// Numbers of an owner and a group, where they are to be set.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ids {
    pub(super) uid: Option<u32>,
    pub(super) gid: Option<u32>,
}

impl Ids {
    fn set(self, fd: impl AsFd) -> rustix::io::Result<()> {
        if self.uid.is_none() && self.gid.is_none() {
            return Ok(());
        }
        rustix::fs::fchown(fd, self.uid.map(Uid::from_raw), self.gid.map(Gid::from_raw))
    }
}

/// What a file shall be.
#[derive(Debug)]
pub(super) struct Whole {
    pub(super) hash: BlobHash,
    pub(super) size: u64,
    pub(super) mode: u32,
    pub(super) ids: Ids,
    /// Seconds and nanoseconds of its last modification, where it is to be set.
    pub(super) modified: Option<(i64, i64)>,
}

/// Writes a file aside, makes it durable, and puts it in place in one piece.
pub(super) fn write(
    folder: &OwnedFd,
    name: &str,
    path: &str,
    source: &mut dyn Read,
    whole: &Whole,
) -> Result<(), DeviceError> {
    let aside = aside(name);
    let written = write_aside(folder, &aside, path, source, whole).and_then(|()| {
        rustix::fs::renameat(folder, aside.as_str(), folder, name).map_err(|errno| failed("replace", path, errno))
    });
    if written.is_err() {
        if let Err(errno) = remove(folder, &aside, false) {
            tracing::warn!(%errno, path, "a half written file stays");
        }
        return written;
    }
    sync_folder(folder).map_err(|errno| failed("sync the directory of", path, errno))
}

fn write_aside(
    folder: &OwnedFd,
    aside: &str,
    path: &str,
    source: &mut dyn Read,
    whole: &Whole,
) -> Result<(), DeviceError> {
    let errno = |doing: &'static str| move |errno| failed(doing, path, errno);
    let text = path.escape_debug();
    remove(folder, aside, false).map_err(errno("remove the half written"))?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = rustix::fs::openat(folder, aside, flags, Mode::from_raw_mode(0o600)).map_err(errno("create"))?;
    let mut file = File::from(fd);
    let mut hasher = blake3::Hasher::new();
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut size = 0_u64;
    loop {
        let read = source.read(&mut chunk);
        let read = read.map_err(|error| DeviceError::io(format!("read the content of `{text}`"), error))?;
        if read == 0 {
            break;
        }
        size += u64::try_from(read).unwrap_or(0);
        if size > whole.size {
            break;
        }
        hasher.update(&chunk[..read]);
        file.write_all(&chunk[..read]).map_err(|error| DeviceError::io(format!("write `{text}`"), error))?;
    }
    if size != whole.size || hasher.finalize().as_bytes() != whole.hash.as_bytes() {
        let what = io::Error::from(io::ErrorKind::InvalidData);
        return Err(
            DeviceError::transient(format!("write `{text}`: its content is not what was declared")).because(what)
        );
    }
    // The owner first: changing it clears the set-user-id bit.
    whole.ids.set(&file).map_err(errno("set the owner of"))?;
    rustix::fs::fchmod(&file, Mode::from_raw_mode(whole.mode)).map_err(errno("set the mode of"))?;
    if let Some((tv_sec, tv_nsec)) = whole.modified {
        let times = Timestamps {
            last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
            last_modification: Timespec { tv_sec, tv_nsec },
        };
        rustix::fs::futimens(&file, &times).map_err(errno("set the time of"))?;
    }
    sync(&file).map_err(errno("sync"))
}

/// Makes a directory, or sets what is there to be like it.
pub(super) fn make_directory(folder: &OwnedFd, name: &str, path: &str, mode: u32, ids: Ids) -> Result<(), DeviceError> {
    match rustix::fs::mkdirat(folder, name, Mode::from_raw_mode(0o700)) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(failed("make the directory", path, errno)),
    }
    set_directory(folder, name, path, Some(mode), ids)?;
    sync_folder(folder).map_err(|errno| failed("sync the directory of", path, errno))
}

/// Sets the mode and owner of a directory.
pub(super) fn set_directory(
    folder: &OwnedFd,
    name: &str,
    path: &str,
    mode: Option<u32>,
    ids: Ids,
) -> Result<(), DeviceError> {
    let errno = |doing: &'static str| move |errno| failed(doing, path, errno);
    let directory = open_folder(folder, name).map_err(errno("open the directory"))?;
    ids.set(&directory).map_err(errno("set the owner of"))?;
    if let Some(mode) = mode {
        rustix::fs::fchmod(&directory, Mode::from_raw_mode(mode)).map_err(errno("set the mode of"))?;
    }
    sync(&directory).map_err(errno("sync"))
}
