//! What was there before a change, kept in the trial's folder, and brought back from it.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use protocols::BlobHash;
use rustix::fs::{AtFlags, FileType, Gid, Uid};
use rustix::io::Errno;
use scores::{DeviceError, durable};
use serde::{Deserialize, Serialize};

use super::change::{Ids, Whole, make_directory, set_directory, write};
use super::look::{CHUNK_BYTES, hash, open_file};
use super::walk::{Reach, Walk, aside, blocked, failed, kind, remove, stat, sync_folder};

/// What was at each path, from the top down.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    paths: BTreeMap<String, Was>,
}

/// What was at a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
enum Was {
    Absent,
    File { copy: String, hash: BlobHash, size: u64, mode: u32, uid: u32, gid: u32, modified: (i64, i64) },
    Symlink { target: Vec<u8>, uid: u32, gid: u32 },
    Directory { mode: u32, uid: u32, gid: u32 },
}

/// Keeps what is at these paths, and which folders on the way are missing. The list is written last, in one piece: until
/// it is there, nothing has been changed and there is nothing to bring back.
pub(super) fn remember(walk: &Walk, paths: &[String], dir: &Path) -> Result<(), DeviceError> {
    let mut kept = Kept { paths: BTreeMap::new() };
    for path in paths {
        for (at, _) in path.match_indices('/').skip(1) {
            let above = &path[..at];
            if !kept.paths.contains_key(above) && is_missing(walk, above)? {
                kept.paths.insert(above.to_owned(), Was::Absent);
            }
        }
        if !kept.paths.contains_key(path) {
            let was = keep(walk, path, dir, kept.paths.len())?;
            kept.paths.insert(path.clone(), was);
        }
    }
    let bytes =
        serde_json::to_vec(&kept).map_err(|error| DeviceError::permanent("list what was there").because(error))?;
    durable::sync_folder(dir)
        .and_then(|()| durable::write(&dir.join(LIST), &bytes))
        .map_err(|error| DeviceError::io("keep what was there", error))
}

/// Brings back what was kept.
pub(super) fn restore(walk: &Walk, dir: &Path) -> Result<(), DeviceError> {
    let list = match fs::read(dir.join(LIST)) {
        Ok(list) => list,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(DeviceError::io("read what was there", error)),
    };
    let kept: Kept = serde_json::from_slice(&list)
        .map_err(|error| DeviceError::permanent("read the list of what was there").because(error))?;
    // From the bottom up: what is in the way of what was there, and what was not there.
    for (path, was) in kept.paths.iter().rev() {
        clear(walk, path, was)?;
    }
    // From the top down: what was there.
    for (path, was) in &kept.paths {
        if differs(walk, path, was)? {
            put_back(walk, path, was, dir)?;
        }
    }
    for (path, was) in &kept.paths {
        if *was != Was::Absent && differs(walk, path, was)? {
            return Err(DeviceError::transient(format!("bring back `{}`: it still differs", path.escape_debug())));
        }
    }
    Ok(())
}

fn is_missing(walk: &Walk, path: &str) -> Result<bool, DeviceError> {
    match walk.reach(path)? {
        Reach::Folder { folder, name } => {
            Ok(kind(&folder, name).map_err(|errno| failed("look at", path, errno))?.is_none())
        }
        // What is below something that is no folder is not there; that thing itself is kept if a step replaces it.
        Reach::Missing | Reach::Blocked { .. } => Ok(true),
    }
}

fn keep(walk: &Walk, path: &str, dir: &Path, number: usize) -> Result<Was, DeviceError> {
    let Reach::Folder { folder, name } = walk.reach(path)? else {
        return Ok(Was::Absent);
    };
    let errno = |doing: &'static str| move |errno| failed(doing, path, errno);
    let Some(found) = stat(&folder, name).map_err(errno("look at"))? else {
        return Ok(Was::Absent);
    };
    let (uid, gid, mode) = (found.st_uid, found.st_gid, found.st_mode & 0o7777);
    match FileType::from_raw_mode(found.st_mode) {
        FileType::RegularFile => {
            let (mut file, found) = open_file(&folder, name, path)?;
            let copy = format!("{number}.was");
            let (hash, size) = copy_out(&mut file, &dir.join(&copy), path)?;
            let (uid, gid, mode) = (found.st_uid, found.st_gid, found.st_mode & 0o7777);
            let modified = (found.st_mtime, i64::try_from(found.st_mtime_nsec).unwrap_or(0));
            Ok(Was::File { copy, hash, size, mode, uid, gid, modified })
        }
        FileType::Symlink => {
            let target = rustix::fs::readlinkat(&folder, name, Vec::new()).map_err(errno("read the link"))?;
            Ok(Was::Symlink { target: target.into_bytes(), uid, gid })
        }
        FileType::Directory => Ok(Was::Directory { mode, uid, gid }),
        _ => {
            let path = path.escape_debug();
            let why = format!("replace `{path}`: it is a device, a socket or a pipe, which could not be brought back");
            Err(DeviceError::permanent(why))
        }
    }
}

fn copy_out(file: &mut File, to: &Path, path: &str) -> Result<(BlobHash, u64), DeviceError> {
    let failed = |error| DeviceError::io(format!("keep a copy of `{}`", path.escape_debug()), error);
    let mut copy = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to).map_err(failed)?;
    let mut hasher = blake3::Hasher::new();
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut size = 0;
    loop {
        let read = file.read(&mut chunk).map_err(failed)?;
        if read == 0 {
            break;
        }
        hasher.update(&chunk[..read]);
        copy.write_all(&chunk[..read]).map_err(failed)?;
        size += u64::try_from(read).unwrap_or(0);
    }
    copy.sync_all().map_err(failed)?;
    Ok((BlobHash::from_bytes(*hasher.finalize().as_bytes()), size))
}

fn clear(walk: &Walk, path: &str, was: &Was) -> Result<(), DeviceError> {
    let errno = |doing: &'static str| move |errno| failed(doing, path, errno);
    let (folder, name) = match walk.reach(path)? {
        Reach::Folder { folder, name } => (folder, name),
        Reach::Missing | Reach::Blocked { .. } => return Ok(()),
    };
    remove(&folder, &aside(name), false).map_err(errno("remove the half written"))?;
    let is = kind(&folder, name).map_err(errno("look at"))?;
    let is_folder = is == Some(FileType::Directory);
    let goes = match was {
        Was::Absent => is.is_some(),
        Was::File { .. } | Was::Symlink { .. } => is_folder,
        Was::Directory { .. } => is.is_some() && !is_folder,
    };
    if !goes {
        return Ok(());
    }
    match remove(&folder, name, is_folder) {
        // Somebody else has put something into a directory that was made: it is theirs now.
        Err(Errno::NOTEMPTY | Errno::EXIST) if *was == Was::Absent => {
            tracing::warn!(path, "a directory that was made is no longer empty, so it stays");
            Ok(())
        }
        Err(errno) => Err(failed("remove", path, errno)),
        Ok(()) => sync_folder(&folder).map_err(errno("sync the directory of")),
    }
}

fn differs(walk: &Walk, path: &str, was: &Was) -> Result<bool, DeviceError> {
    let (folder, name) = match walk.reach(path)? {
        Reach::Folder { folder, name } => (folder, name),
        Reach::Missing | Reach::Blocked { .. } => return Ok(*was != Was::Absent),
    };
    let errno = |doing: &'static str| move |errno| failed(doing, path, errno);
    let Some(is) = stat(&folder, name).map_err(errno("look at"))? else {
        return Ok(*was != Was::Absent);
    };
    let kind = FileType::from_raw_mode(is.st_mode);
    let like = |mode: u32, uid: u32, gid: u32| is.st_mode & 0o7777 == mode && is.st_uid == uid && is.st_gid == gid;
    Ok(match was {
        // A directory that stays because somebody else uses it was said so before.
        Was::Absent => false,
        Was::File { hash: kept, size, mode, uid, gid, modified, .. } => {
            if kind != FileType::RegularFile || !like(*mode, *uid, *gid) || is.st_mtime != modified.0 {
                return Ok(true);
            }
            let (mut file, _) = open_file(&folder, name, path)?;
            hash(&mut file, path)? != (*kept, *size)
        }
        Was::Symlink { target, uid, gid } => {
            if kind != FileType::Symlink || is.st_uid != *uid || is.st_gid != *gid {
                return Ok(true);
            }
            let points = rustix::fs::readlinkat(&folder, name, Vec::new()).map_err(errno("read the link"))?;
            points.to_bytes() != target.as_slice()
        }
        Was::Directory { mode, uid, gid } => kind != FileType::Directory || !like(*mode, *uid, *gid),
    })
}

fn put_back(walk: &Walk, path: &str, was: &Was, dir: &Path) -> Result<(), DeviceError> {
    let errno = |doing: &'static str| move |errno| failed(doing, path, errno);
    let (folder, name) = match walk.reach(path)? {
        Reach::Folder { folder, name } => (folder, name),
        // The folder above was there before and no step removed it, so somebody else did: it is made anew.
        Reach::Missing => walk.make_way(path)?,
        Reach::Blocked { by, symlink } => return Err(blocked(path, by, symlink)),
    };
    match was {
        Was::Absent => Ok(()),
        Was::Directory { mode, uid, gid } => {
            let ids = Ids { uid: Some(*uid), gid: Some(*gid) };
            if kind(&folder, name).map_err(errno("look at"))?.is_none() {
                return make_directory(&folder, name, path, *mode, ids);
            }
            set_directory(&folder, name, path, Some(*mode), ids)
        }
        Was::File { copy, hash, size, mode, uid, gid, modified } => {
            let ids = Ids { uid: Some(*uid), gid: Some(*gid) };
            let whole = Whole { hash: *hash, size: *size, mode: *mode, ids, modified: Some(*modified) };
            let again = || -> Result<(), DeviceError> {
                let mut source =
                    File::open(dir.join(copy)).map_err(|error| DeviceError::io("open the kept copy", error))?;
                write(&folder, name, path, &mut source, &whole)
            };
            match again() {
                // No room for both: what is to go makes room for what is to come. The list still says what that is.
                Err(error) if error.is_transient() => {
                    remove(&folder, name, false).map_err(errno("remove"))?;
                    again()
                }
                other => other,
            }
        }
        Was::Symlink { target, uid, gid } => {
            let aside = aside(name);
            remove(&folder, &aside, false).map_err(errno("remove the half written"))?;
            let target = std::ffi::OsStr::from_bytes(target);
            rustix::fs::symlinkat(target, &folder, aside.as_str()).map_err(errno("link"))?;
            let (uid, gid) = (Uid::from_raw(*uid), Gid::from_raw(*gid));
            rustix::fs::chownat(&folder, aside.as_str(), Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
                .map_err(errno("set the owner of"))?;
            rustix::fs::renameat(&folder, aside.as_str(), &folder, name).map_err(errno("replace"))?;
            sync_folder(&folder).map_err(errno("sync the directory of"))
        }
    }
}

/// The list of what was there, in the trial's folder.
const LIST: &str = "files.json";
