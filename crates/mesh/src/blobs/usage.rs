//! Room: what the store takes, what it may take, and what the disk has left.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::{fs, io};

use super::{BlobPlane, NoRoom, StoreError};

/// What the store takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Bytes on disk, database included.
    pub used: u64,
    /// Bytes it may take.
    pub quota: u64,
    /// Bytes free on its disk.
    pub free: u64,
}

/// Bytes promised to work that has begun and not ended, so that ten transfers do not each fill the
/// same room.
#[derive(Debug, Default)]
pub(super) struct Promised(AtomicU64);

/// A promise of room; it ends when dropped.
#[must_use = "the room is given back when this is dropped"]
pub(super) struct Room<'a> {
    promised: &'a Promised,
    bytes: u64,
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        self.promised.0.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

impl BlobPlane {
    /// What the store takes now.
    ///
    /// # Errors
    /// [`StoreError::Folder`] if that cannot be found out.
    pub fn usage(&self) -> Result<Usage, StoreError> {
        let config = &self.0.config;
        let folder = |source| StoreError::Folder { path: config.dir.clone(), source };
        let used = on_disk(&config.dir).map_err(folder)?;
        let free = free(&config.dir).map_err(folder)?;
        Ok(Usage { used, quota: config.quota, free })
    }

    /// Sees whether `needed` more bytes fit, and sets them aside.
    pub(super) fn room(&self, needed: u64) -> Result<Room<'_>, NoRoom> {
        let config = &self.0.config;
        if needed > config.blob_max {
            return Err(NoRoom::TooLarge { size: needed, max: config.blob_max });
        }
        // Hash trees and records come on top of the content: 1/256 of it, and a little per blob.
        let wanted = needed + needed / 128 + OVERHEAD;
        let promised = self.0.promised.0.fetch_add(wanted, Ordering::AcqRel);
        let room = Room { promised: &self.0.promised, bytes: wanted };
        // A folder that cannot be looked at fails at the next write, with a better error.
        let Ok(usage) = self.usage() else { return Ok(room) };
        if usage.used + promised + needed > usage.quota {
            return Err(NoRoom::Quota { needed, used: usage.used, quota: usage.quota });
        }
        if promised + wanted + config.reserve > usage.free {
            return Err(NoRoom::Disk { needed, free: usage.free, reserve: config.reserve });
        }
        Ok(room)
    }

    pub(super) fn disk_full(&self, needed: u64) -> NoRoom {
        let free = free(&self.0.config.dir).unwrap_or(0);
        NoRoom::Disk { needed, free, reserve: self.0.config.reserve }
    }
}

/// Whether a chain of causes ends in a full disk.
pub(super) fn is_disk_full(why: &str) -> bool {
    why.contains("No space left on device") || why.contains("os error 28") || why.contains("os error 122")
}

/// The blocks that a folder's files take, which for sparse files is less than their length.
fn on_disk(dir: &Path) -> io::Result<u64> {
    use std::os::unix::fs::MetadataExt;
    let mut total = 0;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        // Files come and go while we look.
        let Ok(meta) = entry.metadata() else { continue };
        if meta.is_dir() {
            total += on_disk(&entry.path()).unwrap_or(0);
        } else {
            total += meta.blocks() * 512;
        }
    }
    Ok(total)
}

fn free(dir: &Path) -> io::Result<u64> {
    let stat = rustix::fs::statvfs(dir)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Bytes of records per blob, generously.
const OVERHEAD: u64 = 64 * 1024;
