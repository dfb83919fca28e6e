//! One path as one file: its archive, compressed with zstd, kept by the hash of the archive.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use nix_archive::nar::{CaseHack, encode_path};
use protocols::{BlobHash, BlobRef};
use scores::durable;
use scores::nixos::NarHash;
use sha2::{Digest as _, Sha256};

use super::super::facts::PathFacts;

/// A packed path.
#[derive(Debug)]
pub(super) struct Packed {
    pub(super) file: PathBuf,
    pub(super) blob: BlobRef,
    /// Whether it was packed now, and not found.
    pub(super) fresh: bool,
}

/// Why a path cannot be packed.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// The folder of packed archives cannot be used, or is full.
    #[error("write in {}", path.display())]
    Write {
        /// Which file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The path cannot be read.
    #[error("read the path")]
    Read(#[source] nix_archive::nar::Error),
    /// What lies in the store is not what the store recorded.
    #[error(
        "its content was changed: the store recorded {recorded}, and it is {found}; `nix-store --verify-path` says more"
    )]
    Changed {
        /// What the store recorded.
        recorded: NarHash,
        /// What it is.
        found: NarHash,
    },
    /// The work was stopped.
    #[error("the work was stopped")]
    Stopped,
}

/// Packs a path, unless it is in the folder already.
///
/// The name of a packed file says what is in it and what it is, `<archive hash>-<blob hash>-<size>.nar.zst`, and it gets
/// that name when it is whole and on the disk.
pub(super) fn pack(facts: &PathFacts, cache: &Path) -> Result<Packed, PackError> {
    let folder = cache.join(&facts.nar_hash.nix32()[..2]);
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| PackError::Write { path, source }
    };
    durable::make_folder(&folder).map_err(failed(&folder))?;
    if let Some((file, blob)) = find(&folder, &facts.nar_hash).map_err(failed(&folder))? {
        return Ok(Packed { file, blob, fresh: false });
    }
    let new = folder.join(format!("{}.{}.new", facts.nar_hash.nix32(), std::process::id()));
    let packed = write(facts, &new).and_then(|blob| {
        let file = folder.join(format!("{}-{}-{}{SUFFIX}", facts.nar_hash.nix32(), blob.hash, blob.size));
        fs::rename(&new, &file).and_then(|()| durable::sync_folder(&folder)).map_err(failed(&file))?;
        Ok(Packed { file, blob, fresh: true })
    });
    if packed.is_err() {
        drop(fs::remove_file(&new));
    }
    packed
}

fn find(folder: &Path, hash: &NarHash) -> io::Result<Option<(PathBuf, BlobRef)>> {
    let prefix = format!("{}-", hash.nix32());
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let parts = name.to_str().and_then(|name| name.strip_prefix(&prefix)?.strip_suffix(SUFFIX)?.split_once('-'));
        let Some((hash, size)) = parts else { continue };
        let (Ok(hash), Ok(size)) = (hash.parse::<BlobHash>(), size.parse::<u64>()) else { continue };
        if entry.metadata()?.len() == size {
            // When it was last used, for who tidies up. A folder of another user's may be read all the same.
            drop(File::options().write(true).open(entry.path()).and_then(|file| file.set_modified(SystemTime::now())));
            return Ok(Some((entry.path(), BlobRef { hash, size })));
        }
    }
    Ok(None)
}

fn write(facts: &PathFacts, new: &Path) -> Result<BlobRef, PackError> {
    let failed = |source| PackError::Write { path: new.to_owned(), source };
    let file = BufWriter::new(File::create(new).map_err(failed)?);
    let out = Counted { inner: file, hash: blake3::Hasher::new(), bytes: 0 };
    let zstd = zstd::Encoder::new(out, LEVEL).map_err(failed)?;
    let mut nar = Hashed { inner: zstd, hash: Sha256::new(), broken: None };
    let encoded = encode_path(&mut nar, Path::new(facts.path.as_str()), CaseHack::native());
    if let Some(source) = nar.broken {
        return Err(failed(source));
    }
    encoded.map_err(PackError::Read)?;
    let found = NarHash::from_bytes(nar.hash.finalize().into());
    if found != facts.nar_hash {
        return Err(PackError::Changed { recorded: facts.nar_hash, found });
    }
    let out = nar.inner.finish().map_err(failed)?;
    let blob = BlobRef { hash: BlobHash::from_bytes(*out.hash.finalize().as_bytes()), size: out.bytes };
    let file = out.inner.into_inner().map_err(|error| failed(error.into_error()))?;
    file.sync_all().map_err(failed)?;
    Ok(blob)
}

/// Hashes what goes through, and keeps apart what failed in writing from what failed in reading.
struct Hashed<W> {
    inner: W,
    hash: Sha256,
    broken: Option<io::Error>,
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.inner.write(bytes) {
            Ok(written) => {
                self.hash.update(&bytes[..written]);
                Ok(written)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(error),
            Err(error) => {
                let kind = error.kind();
                self.broken = Some(error);
                Err(kind.into())
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

struct Counted<W> {
    inner: W,
    hash: blake3::Hasher,
    bytes: u64,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hash.update(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

const SUFFIX: &str = ".nar.zst";
/// zstd's level: archives are packed once and unpacked by the whole fleet, but the admin waits for it.
const LEVEL: i32 = 6;
