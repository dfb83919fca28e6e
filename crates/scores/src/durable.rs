//! Small files that survive a power cut: written aside, synced, renamed, and the folder synced.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

/// Replaces a file in one piece; when this returns it is on the disk. Mode 0600.
///
/// # Errors
/// Any error of the file system; the old file is then still there, whole.
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = parent(path)?;
    let mut aside = path.as_os_str().to_owned();
    aside.push(".new");
    let aside = Path::new(&aside);
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(aside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(aside, path)?;
        sync_folder(folder)
    })();
    if written.is_err() {
        drop(fs::remove_file(aside));
    }
    written
}

/// Makes a private folder (mode 0700) and those above it, durably.
///
/// # Errors
/// Any error of the file system but "it exists".
pub fn make_folder(path: &Path) -> io::Result<()> {
    let mut missing = Vec::new();
    let mut at = Some(path);
    while let Some(folder) = at.filter(|folder| !folder.as_os_str().is_empty() && !folder.is_dir()) {
        missing.push(folder);
        at = folder.parent();
    }
    for folder in missing.into_iter().rev() {
        match fs::DirBuilder::new().mode(0o700).create(folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => sync_folder(parent(folder)?)?,
        }
    }
    Ok(())
}

/// Removes a folder with all that it holds so that it is there whole or not at all, also after a crash: it is renamed to
/// a name that starts with [`GONE`] first.
///
/// # Errors
/// Any error of the file system but "there is none".
pub fn remove_folder(path: &Path) -> io::Result<()> {
    let folder = parent(path)?;
    let name = path.file_name().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    let mut gone = std::ffi::OsString::from(GONE);
    gone.push(name);
    let gone = folder.join(gone);
    absent_is_fine(fs::remove_dir_all(&gone))?;
    match fs::rename(path, &gone) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    }
    sync_folder(folder)?;
    absent_is_fine(fs::remove_dir_all(&gone))
}

/// Removes what a crash in [`remove_folder`] left behind in this folder.
///
/// # Errors
/// Any error of the file system.
pub fn sweep(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().as_encoded_bytes().starts_with(GONE.as_bytes()) {
            absent_is_fine(fs::remove_dir_all(entry.path()))?;
        }
    }
    Ok(())
}

/// Makes the names in a folder durable.
///
/// # Errors
/// Any error of the file system.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// What the names of folders that are being removed start with.
pub const GONE: &str = ".gone-";

fn parent(path: &Path) -> io::Result<&Path> {
    match path.parent() {
        Some(folder) if folder.as_os_str().is_empty() => Ok(Path::new(".")),
        Some(folder) => Ok(folder),
        None => Err(io::Error::from(io::ErrorKind::InvalidInput)),
    }
}

fn absent_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_replaced_and_folders_go_whole() {
        let temp = tempfile::tempdir().unwrap();
        let folder = temp.path().join("a/b");
        make_folder(&folder).unwrap();
        make_folder(&folder).unwrap();
        write(&folder.join("x"), b"one").unwrap();
        write(&folder.join("x"), b"two").unwrap();
        assert_eq!(fs::read(folder.join("x")).unwrap(), b"two");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
        fs::create_dir(temp.path().join("a/.gone-b")).unwrap();
        remove_folder(&folder).unwrap();
        remove_folder(&folder).unwrap();
        fs::create_dir(temp.path().join("a/.gone-c")).unwrap();
        sweep(&temp.path().join("a")).unwrap();
        assert_eq!(fs::read_dir(temp.path().join("a")).unwrap().count(), 0);
    }
}
