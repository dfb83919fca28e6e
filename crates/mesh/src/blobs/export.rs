//! Taking a blob out of the store into a file: verified, durable, all or nothing.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use protocols::{BlobHash, BlobRef};

use super::{BlobPlane, Spool, hash, random};

/// Why a blob cannot be had from the store.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// It is not here, or not whole.
    #[error("the artifact {hash} is not here")]
    Missing {
        /// Which.
        hash: BlobHash,
    },
    /// It is here with another size than was said.
    #[error("the artifact {hash} has {size} bytes, not {expected}")]
    OtherSize {
        /// Which.
        hash: BlobHash,
        /// What it has.
        size: u64,
        /// What was said.
        expected: u64,
    },
    /// It is larger than the caller takes.
    #[error("the artifact {hash} has {size} bytes, more than {max}")]
    TooLarge {
        /// Which.
        hash: BlobHash,
        /// What it has.
        size: u64,
        /// What is taken.
        max: u64,
    },
    /// What the store holds under this hash is something else.
    #[error("the stored artifact {hash} is damaged: {why}")]
    Damaged {
        /// Which.
        hash: BlobHash,
        /// How that shows.
        why: String,
    },
    /// The file cannot be written.
    #[error("cannot write {path}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl BlobPlane {
    /// Writes a blob to a file, in place of what is there. The file appears under its name only when
    /// it is whole, verified against its hash, and on disk.
    ///
    /// # Errors
    /// [`ExportError`]; the file is as before then.
    pub async fn export(&self, blob: &BlobRef, path: &Path) -> Result<(), ExportError> {
        self.must_have(blob).await?;
        let write = |source| ExportError::Write { path: path.into(), source };
        let path = std::path::absolute(path).map_err(write)?;
        let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(write(io::Error::new(io::ErrorKind::InvalidInput, "it names no file")));
        };
        let mut part = std::ffi::OsString::from(".");
        part.push(name);
        part.push(format!(".{:016x}.part", u64::from_le_bytes(random()[..8].try_into().unwrap_or_default())));
        let part = Spool(dir.join(part));
        // The store would make missing folders; a wrong path must not come into being by itself.
        let exists = tokio::fs::metadata(dir).await.map_err(write)?;
        if !exists.is_dir() {
            return Err(write(io::Error::from(io::ErrorKind::NotADirectory)));
        }
        self.0.store.blobs().export(hash(blob), &part.0).finish().await.map_err(|e| {
            let why = format!("{e:#}");
            if super::usage::is_disk_full(&why) {
                return write(io::Error::from(io::ErrorKind::StorageFull));
            }
            write(io::Error::other(why))
        })?;
        let (expected, dir) = (blob.hash, dir.to_owned());
        tokio::task::spawn_blocking(move || finish(&part, expected, &path, &dir))
            .await
            .map_err(|e| write(io::Error::other(e)))?
    }
}

/// Verifies the part, makes it durable, and gives it its name.
fn finish(part: &Spool, expected: BlobHash, path: &Path, dir: &Path) -> Result<(), ExportError> {
    let write = |source| ExportError::Write { path: path.into(), source };
    let mut file = File::open(&part.0).map_err(write)?;
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; VERIFY_STEP];
    loop {
        let n = file.read(&mut buffer).map_err(write)?;
        if n == 0 {
            break;
        }
        hasher.update(&buffer[..n]);
    }
    if hasher.finalize().as_bytes() != expected.as_bytes() {
        return Err(ExportError::Damaged { hash: expected, why: "the content has another hash".into() });
    }
    file.sync_all().map_err(write)?;
    std::fs::rename(&part.0, path).map_err(write)?;
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(write)
}

/// Bytes hashed at a time.
const VERIFY_STEP: usize = 256 * 1024;
