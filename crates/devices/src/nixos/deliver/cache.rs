//! The private binary cache that Nix copies from: a folder with a header, an entry a path, and checked archives.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use scores::nixos::{NarHash, PathInfo};
use sha2::{Digest as _, Sha256};

use super::{StageError, differs};

/// Says what this folder is.
pub(super) fn write_header(cache: &Path) -> io::Result<()> {
    std::fs::write(cache.join("nix-cache-info"), "StoreDir: /nix/store\n")
}

/// Writes a path's entry.
pub(super) fn write_narinfo(cache: &Path, info: &PathInfo) -> io::Result<()> {
    let file = cache.join(format!("{}.narinfo", info.path.hash_part()));
    std::fs::write(file, info.narinfo(&format!("nar/{}", archive_name(info))))
}

/// Checks that a fetched file unpacks to exactly the signed archive, and gives it its place in the cache.
pub(super) fn place(cache: &Path, info: &PathInfo, file: &Path) -> Result<(), StageError> {
    let disk = |doing: String| move |source| StageError::Disk { doing, source };
    let tampered = |why: String| StageError::Tampered { path: info.path.clone(), why };
    let opened = File::open(file).map_err(disk(format!("open {}", file.display())))?;
    let mut nar = zstd::Decoder::new(BufReader::new(opened)).map_err(|error| tampered(error.to_string()))?;
    let mut hash = Sha256::new();
    let mut left = info.nar_size;
    let mut buffer = vec![0u8; BUFFER_BYTES];
    loop {
        let read = match nar.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(tampered(error.to_string())),
        };
        left = left
            .checked_sub(read as u64)
            .ok_or_else(|| tampered(format!("it is larger than {} bytes", info.nar_size)))?;
        hash.update(&buffer[..read]);
    }
    if left > 0 {
        return Err(tampered(format!("it is {left} bytes smaller than {}", info.nar_size)));
    }
    let found = NarHash::from_bytes(hash.finalize().into());
    if found != info.nar_hash {
        return Err(tampered(differs(&found)));
    }
    let folder = cache.join("nar");
    let link = folder.join(archive_name(info));
    std::fs::create_dir_all(&folder)
        .and_then(|()| std::os::unix::fs::symlink(file, &link))
        .map_err(disk(format!("make {}", link.display())))
}

fn archive_name(info: &PathInfo) -> String {
    format!("{}.nar.zst", info.path.hash_part())
}

const BUFFER_BYTES: usize = 128 * 1024;
