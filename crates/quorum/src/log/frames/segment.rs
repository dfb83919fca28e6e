//! One file of frames, and what a frame is.
//!
//! All numbers little-endian. A file: a page with [`MAGIC`], the number of the member's disk (8 bytes), the file's number (8),
//! the key of its frames (32), BLAKE3 of all that (32); then frames, each from the beginning of a page. A frame: [`FRAME`],
//! which write it is (8), how many bytes follow its head (8), BLAKE3 keyed with the file's key of those two numbers and these
//! bytes (32), and the bytes: 0, the first entry's number (8), and for each entry its length (4) and itself; or 1, and the
//! first number that is cut off (8).

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use super::sync_dir;

/// Where frames may begin, in bytes.
pub(super) const PAGE: u64 = 4096;
const MAGIC: &[u8; 24] = b"flotilla group entries 1";
const FRAME: &[u8; 8] = b"entries:";
/// What is before a frame's contents, in bytes.
const HEAD: usize = 8 + 8 + 8 + 32;
/// How many zeros are written at once.
const ZEROS: usize = 1024 * 1024;
const ENDING: &str = "entries";

/// What a frame changes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Change<'a> {
    /// Entries come, with numbers from the first on.
    Rows { first: u64, rows: Vec<&'a [u8]> },
    /// Those from this number on go.
    Cut { from: u64 },
}

/// A frame that verified, as it is on the disk, and the numbers in its head.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) seq: u64,
    pub(super) bytes: Vec<u8>,
    length: usize,
}

/// What is at a place.
#[derive(Debug)]
pub(super) enum Read {
    /// A frame.
    Frame(Frame),
    /// None that verifies.
    None,
}

/// A file of frames.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) number: u64,
    pub(super) path: PathBuf,
    /// In bytes.
    pub(super) len: u64,
    key: [u8; 32],
    file: File,
}

pub(super) fn path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:016x}.{ENDING}"))
}

/// The number in a file's name, if it is one of these.
pub(super) fn number(path: &Path) -> Option<u64> {
    let stem = path.file_stem().filter(|_| path.extension().is_some_and(|ending| ending == ENDING))?;
    u64::from_str_radix(stem.to_str()?, 16).ok()
}

impl Segment {
    /// Makes a file with room, which lasts when this returns. Its first page is written last, so one without was never used.
    pub(super) fn create(dir: &Path, disk: u64, number: u64, len: u64) -> io::Result<Self> {
        let path = path(dir, number);
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path)?;
        match fill(&file, dir, disk, number, len) {
            Ok(key) => Ok(Self { number, path, len, key, file }),
            Err(error) => {
                // On a full disk what is left belongs to others.
                drop(std::fs::remove_file(&path));
                Err(error)
            }
        }
    }

    /// Opens a file; nothing if it was not finished.
    pub(super) fn open(path: &Path, disk: u64, number: u64) -> io::Result<Option<Self>> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        let len = file.metadata()?.len();
        let damaged = |what: &str| Err(io::Error::new(io::ErrorKind::InvalidData, what.to_owned()));
        let mut head = [0; MAGIC.len() + 80];
        if len >= PAGE {
            file.read_exact_at(&mut head, 0)?;
        }
        let (said, digest) = head.split_at(MAGIC.len() + 48);
        if head.iter().all(|byte| *byte == 0) {
            let segment = Self { number, path: path.into(), len, key: [0; 32], file };
            let mut at = PAGE;
            while at < len {
                if segment.begins(at)? {
                    return damaged("the first page of this file of the group's log is gone");
                }
                at = at.saturating_add(PAGE);
            }
            return Ok(None);
        }
        if blake3::hash(said).as_bytes() != digest || !said.starts_with(MAGIC) {
            return damaged("the first page of this file of the group's log is damaged");
        }
        let (numbers, key) = said.split_at(MAGIC.len() + 16);
        let wanted = [disk.to_le_bytes(), number.to_le_bytes()].concat();
        let (true, Ok(key)) = (numbers.ends_with(&wanted), key.try_into()) else {
            return damaged("this file belongs to another log than the group's log beside it");
        };
        Ok(Some(Self { number, path: path.into(), len, key, file }))
    }

    fn begins(&self, at: u64) -> io::Result<bool> {
        let mut magic = [0; FRAME.len()];
        if at.saturating_add(magic.len() as u64) > self.len {
            return Ok(false);
        }
        self.file.read_exact_at(&mut magic, at)?;
        Ok(magic == *FRAME)
    }

    /// What is at a place.
    pub(super) fn frame(&self, at: u64) -> io::Result<Read> {
        if at.saturating_add(PAGE) > self.len || !self.begins(at)? {
            return Ok(Read::None);
        }
        let mut head = [0; HEAD];
        self.file.read_exact_at(&mut head, at)?;
        let number = |from: usize| head.get(from..).and_then(|rest| rest.first_chunk()).map(|n| u64::from_le_bytes(*n));
        let (Some(seq), Some(length)) = (number(8), number(16)) else { return Ok(Read::None) };
        let room = self.len.saturating_sub(at).saturating_sub(HEAD as u64);
        let Some(length) = usize::try_from(length).ok().filter(|_| length <= room) else { return Ok(Read::None) };
        let whole = in_pages(length).min(self.len.saturating_sub(at));
        let mut bytes = vec![0; usize::try_from(whole).unwrap_or_default()];
        self.file.read_exact_at(&mut bytes, at)?;
        let contents = bytes.get(HEAD..HEAD.saturating_add(length)).unwrap_or_default();
        let is_sound = blake3::Hash::from_slice(head.get(24..).unwrap_or_default())
            .is_ok_and(|digest| digest == self.digest(seq, contents));
        Ok(if is_sound { Read::Frame(Frame { seq, bytes, length }) } else { Read::None })
    }

    fn digest(&self, seq: u64, contents: &[u8]) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        hasher.update(&seq.to_le_bytes()).update(&(contents.len() as u64).to_le_bytes()).update(contents);
        hasher.finalize()
    }

    /// How many bytes a frame takes, in whole pages.
    pub(super) fn pages_of(change: &Change<'_>) -> u64 {
        in_pages(change.length())
    }

    /// A frame in whole pages.
    pub(super) fn encode(&self, seq: u64, change: &Change<'_>) -> Vec<u8> {
        let whole = usize::try_from(Self::pages_of(change)).unwrap_or_default();
        let mut frame = Vec::with_capacity(whole);
        frame.extend_from_slice(FRAME);
        frame.extend_from_slice(&seq.to_le_bytes());
        frame.extend_from_slice(&(change.length() as u64).to_le_bytes());
        frame.extend_from_slice(&[0; 32]);
        change.put(&mut frame);
        let digest = self.digest(seq, frame.get(HEAD..).unwrap_or_default());
        if let Some(place) = frame.get_mut(24..HEAD) {
            place.copy_from_slice(digest.as_bytes());
        }
        frame.resize(whole, 0);
        frame
    }

    /// Writes at a place; it is on the disk when this returns.
    pub(super) fn write(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, at)?;
        self.file.sync_data()
    }
}

/// Writes an empty file, and gives its key.
fn fill(file: &File, dir: &Path, disk: u64, number: u64, len: u64) -> io::Result<[u8; 32]> {
    let zeros = vec![0; ZEROS];
    let mut at = 0;
    while at < len {
        let count = usize::try_from(len.saturating_sub(at)).map_or(ZEROS, |left| left.min(ZEROS));
        file.write_all_at(zeros.get(..count).unwrap_or(&zeros), at)?;
        at = at.saturating_add(count as u64);
    }
    file.sync_all()?;
    sync_dir(dir)?;
    let mut key = [0; 32];
    getrandom::fill(&mut key).map_err(io::Error::other)?;
    let mut head = Vec::with_capacity(MAGIC.len() + 80);
    head.extend_from_slice(MAGIC);
    head.extend_from_slice(&disk.to_le_bytes());
    head.extend_from_slice(&number.to_le_bytes());
    head.extend_from_slice(&key);
    head.extend_from_slice(blake3::hash(&head).as_bytes());
    file.write_all_at(&head, 0)?;
    file.sync_data()?;
    Ok(key)
}

const fn in_pages(length: usize) -> u64 {
    ((HEAD + length) as u64).next_multiple_of(PAGE)
}

impl Frame {
    /// How many bytes it takes, in whole pages.
    pub(super) fn pages(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// What it changes; nothing if that cannot be read.
    pub(super) fn change(&self) -> Option<Change<'_>> {
        let contents = self.bytes.get(HEAD..HEAD.checked_add(self.length)?)?;
        let (kind, rest) = contents.split_first()?;
        let (first, mut rest) = rest.split_first_chunk().map(|(first, rest)| (u64::from_le_bytes(*first), rest))?;
        match kind {
            0 => {
                let mut rows = Vec::new();
                while !rest.is_empty() {
                    let (length, after) = rest.split_first_chunk()?;
                    let (row, after) = after.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
                    rows.push(row);
                    rest = after;
                }
                Some(Change::Rows { first, rows })
            }
            1 if rest.is_empty() => Some(Change::Cut { from: first }),
            _ => None,
        }
    }
}

impl Change<'_> {
    fn length(&self) -> usize {
        match self {
            Self::Rows { rows, .. } => rows.iter().fold(9, |sum, row| sum + 4 + row.len()),
            Self::Cut { .. } => 9,
        }
    }

    fn put(&self, into: &mut Vec<u8>) {
        let (kind, number) = match self {
            Self::Rows { first, .. } => (0, *first),
            Self::Cut { from } => (1, *from),
        };
        into.push(kind);
        into.extend_from_slice(&number.to_le_bytes());
        if let Self::Rows { rows, .. } = self {
            for row in rows {
                // An entry has at most a few megabytes.
                into.extend_from_slice(&u32::try_from(row.len()).unwrap_or(u32::MAX).to_le_bytes());
                into.extend_from_slice(row);
            }
        }
    }
}
