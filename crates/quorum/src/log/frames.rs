//! The entries of a member's log, in files of their own: what is written at once is one frame at the end, and one sync.
//!
//! redb keeps its pages in a tree. For one entry it writes some eight of them, all over its file, and three members that do so
//! for the same entry wait for one another's disks; to write one frame at the end of a file that has its blocks already
//! takes little more than half as long (`docs/group.md`). What changes seldom (the vote, the newest snapshot, what was thrown
//! away) stays with redb.
//!
//! * A frame begins on a page of its own, so a write never touches a page that holds what was acknowledged before.
//! * A frame says which write it is, counted without a gap, and has a digest over that and its contents, keyed by a number
//!   that was drawn for its file. What an older file left on the disk, or somebody put into an entry, is never taken for one.
//! * A frame is on the disk before the next is begun. So a crash leaves at most the last one torn, and it counts for nothing.
//!   A frame that does not verify though a later one does was damaged afterwards: the log is not opened, for what it has
//!   acknowledged is lost.
//! * Files have their full length, in zeros, before they are written to. Then a sync is one of data alone. The next file is
//!   made ahead of time.
//! * The newest frame is written once more when the log is opened: a write whose sync failed may be seen by who reads it
//!   without being on the disk.

mod index;
mod segment;

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread::JoinHandle;

use super::disk::Row;
use super::{IntoLogError as _, LogError};
use index::{Index, Place};
use segment::{Change, PAGE, Read, Segment};

/// How long a file of frames is, unless one frame needs more.
const SEGMENT_BYTES: u64 = if cfg!(test) { 16 * PAGE } else { 8 * 1024 * 1024 };

/// The entries, on the disk.
#[derive(Debug)]
pub(super) struct Frames {
    dir: PathBuf,
    disk: u64,
    end: Mutex<End>,
    index: RwLock<Index>,
}

/// Where the next frame goes.
#[derive(Debug)]
struct End {
    segments: VecDeque<Arc<Segment>>,
    at: u64,
    seq: u64,
    spare: Option<Spare>,
}

/// The file that comes next.
#[derive(Debug)]
enum Spare {
    Made(Segment),
    Being(JoinHandle<io::Result<Segment>>),
}

impl Frames {
    /// Begins anew, without what may be there. Blocks.
    pub(super) fn create(dir: &Path, disk: u64) -> Result<Self, LogError> {
        remove(dir).or_file(dir)?;
        let first = || -> io::Result<Segment> {
            std::fs::create_dir(dir)?;
            // Its name must last as its contents do.
            dir.parent().map_or(Ok(()), sync_dir)?;
            Segment::create(dir, disk, 1, SEGMENT_BYTES)
        };
        let first = Arc::new(first().or_file(dir)?);
        let mut end = End { segments: VecDeque::from([first]), at: PAGE, seq: 1, spare: None };
        end.prepare(dir, disk);
        Ok(Self { dir: dir.into(), disk, end: Mutex::new(end), index: RwLock::default() })
    }

    /// Goes on with what is there, of which everything up to `purged` was thrown away. Blocks.
    pub(super) fn open(dir: &Path, disk: u64, purged: Option<u64>) -> Result<Self, LogError> {
        let damaged = |what: &str| LogError::Unsound { path: dir.into(), what: what.into() };
        let mut index = Index::new(purged);
        let mut segments = VecDeque::new();
        let mut newest: Option<Newest> = None;
        let mut files = numbered(dir).or_file(dir)?.into_iter().peekable();
        while let Some((number, path)) = files.next() {
            if segments.back().is_some_and(|last: &Arc<Segment>| last.number.checked_add(1) != Some(number)) {
                return Err(damaged("one of its files is missing"));
            }
            let Some(segment) = Segment::open(&path, disk, number).or_file(&path)? else {
                if files.peek().is_some() {
                    return Err(damaged("one of its files is empty"));
                }
                // A crash came before it was finished, so it was never used.
                std::fs::remove_file(&path).or_file(&path)?;
                break;
            };
            let segment = Arc::new(segment);
            segments.push_back(Arc::clone(&segment));
            let mut at = PAGE;
            loop {
                let expected = newest.as_ref().map(|newest| newest.seq.saturating_add(1));
                let frame = match segment.frame(at).or_file(&path)? {
                    Read::Frame(frame) if expected.is_none_or(|seq| frame.seq == seq) => frame,
                    Read::Frame(_) => return Err(damaged("what comes after a write is not the next one")),
                    Read::None => break,
                };
                let pages = frame.pages();
                let place = Place { segment: Arc::clone(&segment), at };
                match frame.change().ok_or_else(|| damaged("a write cannot be read"))? {
                    Change::Rows { first, rows } if !index.read(first, rows.len() as u64, place) => {
                        return Err(damaged("some of its entries are missing"));
                    }
                    Change::Rows { .. } => {}
                    Change::Cut { from } => index.cut(from),
                }
                newest = Some(Newest { seq: frame.seq, segment: Arc::clone(&segment), at, bytes: frame.bytes });
                at = at.saturating_add(pages);
            }
            // Whatever follows the torn write of a crash, it is not a later write.
            let mut rest = at.saturating_add(PAGE);
            while rest < segment.len {
                if matches!(segment.frame(rest).or_file(&path)?, Read::Frame(later)
                    if newest.as_ref().is_none_or(|newest| later.seq > newest.seq))
                {
                    return Err(damaged("a write is damaged that others followed"));
                }
                rest = rest.saturating_add(PAGE);
            }
        }
        if segments.is_empty() {
            return Err(damaged("its files are missing"));
        }
        if !index.is_whole() {
            return Err(damaged("its oldest entries are missing"));
        }
        let (at, seq) = match &newest {
            Some(newest) => {
                newest.segment.write(newest.at, &newest.bytes).or_file(dir)?;
                (newest.at.saturating_add(newest.bytes.len() as u64), newest.seq.saturating_add(1))
            }
            None => (PAGE, 1),
        };
        // Files behind the one with the newest frame were made ahead of time.
        let number = newest.map_or_else(|| segments.front().map_or(1, |first| first.number), |n| n.segment.number);
        let mut spare = None;
        while segments.back().is_some_and(|last| last.number > number) {
            spare = segments.pop_back().and_then(Arc::into_inner).map(Spare::Made);
        }
        let mut end = End { segments, at, seq, spare };
        end.prepare(dir, disk);
        let this = Self { dir: dir.into(), disk, end: Mutex::new(end), index: RwLock::new(index) };
        this.clear(&mut this.end())?;
        Ok(this)
    }

    /// The newest entry.
    pub(super) fn last(&self) -> Result<Option<Vec<u8>>, LogError> {
        let Some(last) = self.index(Index::last) else { return Ok(None) };
        Ok(self.range(last, last.saturating_add(1), usize::MAX)?.0.pop())
    }

    /// Entries from one place up to another, at least one if there is any, and no more than so many bytes. Beside them
    /// how many bytes they have, unless some are left out.
    pub(super) fn range(&self, from: u64, to: u64, max: usize) -> Result<(Vec<Vec<u8>>, Option<usize>), LogError> {
        let (mut found, mut total) = (Vec::new(), 0usize);
        let mut next = from.max(self.index(Index::first).unwrap_or(u64::MAX));
        while next < to {
            // One frame at a time: what is not sent need not be read.
            let Some((first, count, place)) = self.index(|index| index.at(next)) else { break };
            let damaged =
                || LogError::Unsound { path: self.dir.clone(), what: "a write that was sound is not any more".into() };
            let Read::Frame(frame) = place.segment.frame(place.at).or_file(&self.dir)? else { return Err(damaged()) };
            let Some(Change::Rows { first: begins, rows }) = frame.change() else { return Err(damaged()) };
            if begins != first || (rows.len() as u64) < count {
                return Err(damaged());
            }
            for (index, row) in (first..first.saturating_add(count)).zip(rows) {
                if index < next || index >= to {
                    continue;
                }
                total = total.saturating_add(row.len());
                if total > max && !found.is_empty() {
                    return Ok((found, None));
                }
                found.push(row.to_vec());
                next = index.saturating_add(1);
            }
        }
        Ok((found, Some(total)))
    }

    /// Adds entries that follow the newest. They are on the disk when this returns. Blocks.
    pub(super) fn append(&self, rows: &[Row]) -> Result<(), LogError> {
        let Some((first, _)) = rows.first() else { return Ok(()) };
        let (first, count) = (*first, rows.len() as u64);
        let follows = rows.iter().zip(first..).all(|((index, _), wanted)| *index == wanted);
        if !follows || self.index(Index::next) != first {
            return Err(LogError::Unsound { path: self.dir.clone(), what: "entries do not follow one another".into() });
        }
        let rows: Vec<&[u8]> = rows.iter().map(|(_, bytes)| bytes.as_slice()).collect();
        let mut end = self.end();
        let place = self.write(&mut end, &Change::Rows { first, rows })?;
        self.change(|index| index.extend(first, count, place));
        Ok(())
    }

    /// Cuts off the entries from this one on. Blocks.
    pub(super) fn truncate(&self, from: u64) -> Result<(), LogError> {
        let mut end = self.end();
        self.write(&mut end, &Change::Cut { from })?;
        self.change(|index| index.cut(from));
        Ok(())
    }

    /// Throws away the entries up to this one, which redb knows of already. Blocks.
    pub(super) fn purge(&self, upto: u64) -> Result<(), LogError> {
        self.change(|index| index.purge(upto));
        self.clear(&mut self.end())
    }

    /// Removes files whose entries were all thrown away, the oldest first.
    fn clear(&self, end: &mut End) -> Result<(), LogError> {
        while end.segments.len() > 1 {
            let Some(oldest) = end.segments.front().filter(|oldest| !self.index(|index| index.needs(oldest))) else {
                break;
            };
            let removed = std::fs::remove_file(&oldest.path).and_then(|()| sync_dir(&self.dir));
            removed.or_file(&self.dir)?;
            end.segments.pop_front();
        }
        Ok(())
    }

    fn write(&self, end: &mut End, change: &Change<'_>) -> Result<Place, LogError> {
        let pages = Segment::pages_of(change);
        let full = |segment: &Arc<Segment>| segment.len.saturating_sub(end.at) < pages;
        let segment = match end.segments.back().filter(|segment| !full(segment)) {
            Some(segment) => Arc::clone(segment),
            None => {
                let number = end.segments.back().map_or(1, |last| last.number.saturating_add(1));
                let next = Arc::new(end.next(&self.dir, self.disk, number, pages).or_file(&self.dir)?);
                end.segments.push_back(Arc::clone(&next));
                end.at = PAGE;
                end.prepare(&self.dir, self.disk);
                next
            }
        };
        let frame = segment.encode(end.seq, change);
        segment.write(end.at, &frame).or_file(&self.dir)?;
        let place = Place { segment, at: end.at };
        end.at = end.at.saturating_add(frame.len() as u64);
        end.seq = end.seq.saturating_add(1);
        Ok(place)
    }

    fn end(&self) -> MutexGuard<'_, End> {
        self.end.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn index<T>(&self, read: impl FnOnce(&Index) -> T) -> T {
        read(&self.index.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn change<T>(&self, change: impl FnOnce(&mut Index) -> T) -> T {
        change(&mut self.index.write().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Frames {
    fn drop(&mut self) {
        // Whoever opens the log next must not find somebody at work in it.
        if let Some(Spare::Being(thread)) = self.end.get_mut().unwrap_or_else(PoisonError::into_inner).spare.take() {
            drop(thread.join());
        }
    }
}

/// The newest frame that was found.
struct Newest {
    seq: u64,
    segment: Arc<Segment>,
    at: u64,
    bytes: Vec<u8>,
}

impl End {
    /// Has the next file made, if it is not there.
    fn prepare(&mut self, dir: &Path, disk: u64) {
        let number = self.segments.back().map_or(1, |last| last.number.saturating_add(1));
        let dir = dir.to_path_buf();
        let make = move || Segment::create(&dir, disk, number, SEGMENT_BYTES);
        if self.spare.is_none() {
            // Without a thread it is made when it is needed.
            self.spare = std::thread::Builder::new().name("group-log-next".into()).spawn(make).ok().map(Spare::Being);
        }
    }

    /// The next file, which is to have room for so much.
    fn next(&mut self, dir: &Path, disk: u64, number: u64, pages: u64) -> io::Result<Segment> {
        let made = match self.spare.take() {
            Some(Spare::Made(segment)) => Some(segment),
            // There may be room on the disk by now that there was not then.
            Some(Spare::Being(thread)) => thread.join().ok().and_then(Result::ok),
            None => None,
        };
        match made {
            Some(segment) if segment.number == number && segment.len.saturating_sub(PAGE) >= pages => Ok(segment),
            other => {
                let left = other.map_or_else(|| segment::path(dir, number), |segment| segment.path);
                match std::fs::remove_file(left) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
                Segment::create(dir, disk, number, SEGMENT_BYTES.max(pages.saturating_add(PAGE)))
            }
        }
    }
}

/// The files, by their numbers.
fn numbered(dir: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut found = Vec::new();
    let entries = match std::fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
        entries => entries?,
    };
    for entry in entries {
        let path = entry?.path();
        if let Some(number) = segment::number(&path) {
            found.push((number, path));
        }
    }
    found.sort();
    Ok(found)
}

/// Removes the folder with everything in it, if it is there.
fn remove(dir: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests;
