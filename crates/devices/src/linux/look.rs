//! What is at a path of the host.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;

use protocols::BlobHash;
use rustix::fs::{FileType, OFlags};
use scores::DeviceError;
use scores::files::{BLOB_BYTES_MAX, Mode, Seen};

use super::accounts::Accounts;
use super::walk::{Reach, Walk, failed, stat};

pub(super) fn look(walk: &Walk, accounts: &Accounts, path: &str) -> Result<Seen, DeviceError> {
    let (folder, name) = match walk.reach(path)? {
        Reach::Folder { folder, name } => (folder, name),
        Reach::Missing => return Ok(Seen::Absent),
        Reach::Blocked { by, symlink } => return Ok(Seen::Unreachable { by: by.to_owned(), symlink }),
    };
    let Some(found) = stat(&folder, name).map_err(|errno| failed("look at", path, errno))? else {
        return Ok(Seen::Absent);
    };
    let owned = |uid, gid| (accounts.named_user(uid), accounts.named_group(gid));
    Ok(match FileType::from_raw_mode(found.st_mode) {
        FileType::RegularFile => {
            let (mut file, found) = open_file(&folder, name, path)?;
            let (hash, size) = hash(&mut file, path)?;
            let (owner, group) = owned(found.st_uid, found.st_gid);
            Seen::File { hash, size, mode: Mode::from_bits(found.st_mode), owner, group }
        }
        FileType::Directory => {
            let (owner, group) = owned(found.st_uid, found.st_gid);
            Seen::Directory { mode: Mode::from_bits(found.st_mode), owner, group }
        }
        FileType::Symlink => {
            let target = rustix::fs::readlinkat(&folder, name, Vec::new());
            let target = target.map_err(|errno| failed("read the link", path, errno))?;
            Seen::Symlink { target: target.to_string_lossy().into_owned() }
        }
        _ => Seen::Other,
    })
}

/// Opens a regular file for reading, and nothing else: no link, no pipe to wait at.
pub(super) fn open_file(folder: &OwnedFd, name: &str, path: &str) -> Result<(File, rustix::fs::Stat), DeviceError> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let fd = rustix::fs::openat(folder, name, flags, rustix::fs::Mode::empty());
    let fd = fd.map_err(|errno| failed("open", path, errno))?;
    let found = rustix::fs::fstat(&fd).map_err(|errno| failed("look at", path, errno))?;
    if FileType::from_raw_mode(found.st_mode) != FileType::RegularFile {
        return Err(DeviceError::transient(format!("open `{}`: it was replaced meanwhile", path.escape_debug())));
    }
    let size = u64::try_from(found.st_size).unwrap_or(u64::MAX);
    if size > BLOB_BYTES_MAX {
        let path = path.escape_debug();
        let why = format!("read `{path}`: it has {size} bytes, and files up to {BLOB_BYTES_MAX} are managed");
        return Err(DeviceError::permanent(why));
    }
    Ok((File::from(fd), found))
}

/// BLAKE3 and size of what is left of a file.
pub(super) fn hash(file: &mut File, path: &str) -> Result<(BlobHash, u64), DeviceError> {
    let mut hasher = blake3::Hasher::new();
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut size = 0;
    loop {
        let read = file.read(&mut chunk);
        let read = read.map_err(|error| DeviceError::io(format!("read `{}`", path.escape_debug()), error))?;
        if read == 0 {
            return Ok((BlobHash::from_bytes(*hasher.finalize().as_bytes()), size));
        }
        hasher.update(&chunk[..read]);
        size += u64::try_from(read).unwrap_or(0);
        if size > BLOB_BYTES_MAX {
            let why = format!("read `{}`: it grows while it is read", path.escape_debug());
            return Err(DeviceError::transient(why));
        }
    }
}

/// How much of a file is read at once, in bytes.
pub(super) const CHUNK_BYTES: usize = 128 * 1024;
