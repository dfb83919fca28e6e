//! What a crash may leave, and what must not be taken for that.

use std::collections::BTreeMap;

use tempfile::TempDir;

use super::*;

const DISK: u64 = 7;

struct Bed {
    tmp: TempDir,
}

impl Bed {
    fn new() -> (Self, Frames) {
        let bed = Self { tmp: tempfile::tempdir().unwrap() };
        let frames = Frames::create(&bed.dir(), DISK).unwrap();
        (bed, frames)
    }

    fn dir(&self) -> PathBuf {
        self.tmp.path().join("group.entries")
    }

    fn open(&self) -> Result<Frames, LogError> {
        Frames::open(&self.dir(), DISK, None)
    }

    fn unsound(&self) -> String {
        match self.open() {
            Err(LogError::Unsound { what, .. }) => what,
            other => panic!("{other:?}"),
        }
    }

    /// The file with the newest frame.
    fn newest(&self, frames: &Frames) -> (PathBuf, u64) {
        let end = frames.end();
        (end.segments.back().unwrap().path.clone(), end.at)
    }
}

fn row(index: u64, bytes: usize) -> Row {
    (index, index.to_le_bytes().into_iter().cycle().take(bytes.max(1)).collect())
}

fn all(frames: &Frames) -> Vec<Vec<u8>> {
    frames.range(0, u64::MAX, usize::MAX).unwrap().0
}

fn rows(of: std::ops::Range<u64>, bytes: usize) -> Vec<Vec<u8>> {
    of.map(|index| row(index, bytes).1).collect()
}

fn overwrite(path: &Path, at: u64, bytes: &[u8]) {
    use std::os::unix::fs::FileExt as _;
    std::fs::OpenOptions::new().write(true).open(path).unwrap().write_all_at(bytes, at).unwrap();
}

fn copy(from: &Path, to: &Path) {
    remove(to).unwrap();
    std::fs::create_dir(to).unwrap();
    for file in std::fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}

/// A generator that is the same every time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// Whatever is done in whatever order, and however often it is opened in between, it holds what a map would.
#[test]
fn it_holds_what_a_map_would() {
    for seed in 0..40 {
        let mut dice = Dice(seed);
        let (bed, mut frames) = Bed::new();
        let (mut model, mut purged) = (BTreeMap::<u64, Vec<u8>>::new(), None::<u64>);
        for _ in 0..60 {
            let next = model.last_key_value().map(|(last, _)| *last).or(purged).map_or(0, |last| last + 1);
            match dice.roll(10) {
                0..=4 => {
                    let count = 1 + dice.roll(4);
                    let rows: Vec<Row> = (next..next + count)
                        .map(|index| {
                            (
                                index,
                                vec![
                                    u8::try_from(dice.roll(256)).unwrap();
                                    usize::try_from(1 + dice.roll(9000)).unwrap()
                                ],
                            )
                        })
                        .collect();
                    frames.append(&rows).unwrap();
                    model.extend(rows);
                }
                5 | 6 => {
                    let Some((first, _)) = model.first_key_value() else { continue };
                    let from = first + dice.roll(next - first + 1);
                    frames.truncate(from).unwrap();
                    model.split_off(&from);
                }
                7 => {
                    let upto = next.saturating_sub(1 + dice.roll(8)) + if dice.roll(9) == 0 { 20 } else { 0 };
                    if next == 0 || purged.is_some_and(|purged| upto <= purged) {
                        continue;
                    }
                    frames.purge(upto).unwrap();
                    purged = Some(upto);
                    model = model.split_off(&(upto + 1));
                }
                _ => {
                    drop(frames);
                    frames = Frames::open(&bed.dir(), DISK, purged).unwrap();
                }
            }
            assert_eq!(all(&frames), model.values().cloned().collect::<Vec<_>>(), "seed {seed}");
            assert_eq!(frames.last().unwrap(), model.last_key_value().map(|(_, row)| row.clone()), "seed {seed}");
            let from = dice.roll(next + 3);
            let to = from + dice.roll(5);
            let wanted: Vec<_> = model.range(from..to).map(|(_, row)| row.clone()).collect();
            assert_eq!(frames.range(from, to, usize::MAX).unwrap().0, wanted, "seed {seed}");
        }
        let Some((last, _)) = model.last_key_value() else { continue };
        frames.purge(*last).unwrap();
        let files = numbered(&bed.dir()).unwrap().len();
        assert!(files <= 2, "seed {seed}: {files} files for nothing");
    }
}

#[test]
fn no_more_is_read_than_was_asked_for_but_always_one() {
    let (_bed, frames) = Bed::new();
    for first in (0..12).step_by(3) {
        frames.append(&[row(first, 100), row(first + 1, 100), row(first + 2, 100)]).unwrap();
    }
    assert_eq!(frames.range(1, 12, 450).unwrap(), (rows(1..5, 100), None));
    assert_eq!(frames.range(1, 4, 450).unwrap(), (rows(1..4, 100), Some(300)));
    assert_eq!(frames.range(5, 9, 1).unwrap(), (rows(5..6, 100), None));
    assert_eq!(frames.range(12, 90, 1).unwrap(), (Vec::new(), Some(0)));
    assert_eq!(frames.range(9, 3, 100).unwrap(), (Vec::new(), Some(0)));
}

#[test]
fn entries_follow_one_another_or_are_not_taken() {
    let (bed, frames) = Bed::new();
    frames.append(&[row(0, 9), row(1, 9)]).unwrap();
    for wrong in [vec![row(3, 9)], vec![row(1, 9)], vec![row(2, 9), row(4, 9)]] {
        assert!(matches!(frames.append(&wrong), Err(LogError::Unsound { .. })));
    }
    assert_eq!(all(&frames), rows(0..2, 9));
    drop(frames);
    assert_eq!(all(&bed.open().unwrap()), rows(0..2, 9));
}

/// Of a write that the crash came into, any of its pages may be there and any may not.
#[test]
fn of_a_write_that_was_cut_short_nothing_counts() {
    let (bed, frames) = Bed::new();
    frames.append(&[row(0, 5000), row(1, 60)]).unwrap();
    let (path, at) = bed.newest(&frames);
    let before = std::fs::read(&path).unwrap();
    let frame = [row(2, 9000), row(3, 4000)];
    frames.append(&frame).unwrap();
    let after = std::fs::read(&path).unwrap();
    drop(frames);
    let (whole, kept) = (bed.dir(), bed.tmp.path().join("kept"));
    copy(&whole, &kept);
    let (page, at) = (PAGE as usize, at as usize);
    assert!(after[at..at + 3 * page] != before[at..at + 3 * page] && after[at + 3 * page..at + 4 * page] != [0; 4096]);
    assert_eq!(after[at + 4 * page..], before[at + 4 * page..], "four pages were written");
    for there in 0..15u8 {
        let mut torn = before.clone();
        for number in (0..4).filter(|number| there & (1 << number) != 0) {
            let place = at + number * page..at + (number + 1) * page;
            torn[place.clone()].copy_from_slice(&after[place]);
        }
        copy(&kept, &whole);
        std::fs::write(&path, torn).unwrap();
        let frames = bed.open().unwrap();
        assert_eq!(all(&frames), [row(0, 5000).1, row(1, 60).1], "{there:04b}");
        // What follows is shorter, so some of the torn write stays behind it.
        frames.append(&[row(2, 7)]).unwrap();
        drop(frames);
        let frames = bed.open().unwrap();
        assert_eq!(all(&frames), [row(0, 5000).1, row(1, 60).1, row(2, 7).1], "{there:04b}");
        frames.append(&[row(3, 5), row(4, 5)]).unwrap();
        drop(frames);
        assert_eq!(all(&bed.open().unwrap()).len(), 5, "{there:04b}");
    }
    copy(&kept, &whole);
    assert_eq!(all(&bed.open().unwrap()).len(), 4, "all of them are there");
}

/// Wherever a byte before the newest write changes, the log says so, and is not a shorter one.
#[test]
fn damage_before_the_newest_write_is_told_from_a_crash() {
    let (bed, frames) = Bed::new();
    frames.append(&[row(0, 200)]).unwrap();
    frames.append(&[row(1, 5000)]).unwrap();
    frames.truncate(1).unwrap();
    frames.append(&[row(1, 10), row(2, 10)]).unwrap();
    frames.append(&[row(3, 10)]).unwrap();
    let (path, end) = bed.newest(&frames);
    drop(frames);
    let sound = std::fs::read(&path).unwrap();
    let newest = end as usize - PAGE as usize;
    let mut told = 0;
    for at in (0..112).chain((4096..newest).step_by(13)).chain((4096..newest).step_by(4096).flat_map(|at| at..at + 60))
    {
        let mut damaged = sound.clone();
        damaged[at] ^= 1;
        std::fs::write(&path, &damaged).unwrap();
        match bed.open() {
            Err(LogError::Unsound { .. }) => told += 1,
            // Zeros after a write's end, which say nothing.
            Ok(frames) if sound[at] == 0 => assert_eq!(all(&frames).len(), 4, "byte {at}"),
            other => panic!("byte {at}: {other:?}"),
        }
    }
    assert!(told > 600, "{told}");
    let mut damaged = sound.clone();
    damaged[newest + 70] ^= 1;
    std::fs::write(&path, &damaged).unwrap();
    assert_eq!(all(&bed.open().unwrap()).len(), 3, "the newest write cannot be told from one that was cut short");
    let mut damaged = sound;
    damaged[..PAGE as usize].fill(0);
    std::fs::write(&path, &damaged).unwrap();
    assert!(bed.unsound().contains("first page"), "a file that was used is not one that was not finished");
}

#[test]
fn what_changes_while_it_is_open_is_not_handed_out() {
    let (bed, frames) = Bed::new();
    frames.append(&[row(0, 200)]).unwrap();
    frames.append(&[row(1, 200)]).unwrap();
    let (path, _) = bed.newest(&frames);
    overwrite(&path, PAGE + 100, b"!");
    assert!(matches!(frames.range(0, 2, usize::MAX), Err(LogError::Unsound { .. })));
    assert_eq!(frames.range(1, 2, usize::MAX).unwrap().0, rows(1..2, 200));
}

#[test]
fn files_that_are_missing_are_missed() {
    let (bed, frames) = Bed::new();
    for index in 0..60 {
        frames.append(&[row(index, 3000)]).unwrap();
    }
    drop(frames);
    let kept = bed.tmp.path().join("kept");
    copy(&bed.dir(), &kept);
    let files = numbered(&bed.dir()).unwrap();
    assert!(files.len() >= 5, "{files:?}");
    let last_used = files.len() - 2;
    for (at, (_, path)) in files.iter().enumerate().take(last_used + 1) {
        copy(&kept, &bed.dir());
        std::fs::remove_file(path).unwrap();
        let what = bed.unsound();
        assert!(what.contains("missing"), "file {at}: {what}");
    }
    copy(&kept, &bed.dir());
    std::fs::write(&files[1].1, vec![0; SEGMENT_BYTES as usize]).unwrap();
    assert!(bed.unsound().contains("empty"), "a file in the middle is not one that was not finished");
    remove(&bed.dir()).unwrap();
    assert!(bed.unsound().contains("files are missing"));
    copy(&kept, &bed.dir());
    let other = Frames::open(&bed.dir(), DISK + 1, None);
    assert!(matches!(other, Err(LogError::Unsound { .. })), "it is another disk's: {other:?}");
    assert_eq!(all(&bed.open().unwrap()), rows(0..60, 3000));
}

/// The next file is made ahead of time, so a crash may come into that, or leave one that was not used.
#[test]
fn a_file_that_was_not_finished_or_not_used_is_no_fault() {
    let (bed, frames) = Bed::new();
    frames.append(&[row(0, 10)]).unwrap();
    drop(frames);
    let spare = segment::path(&bed.dir(), 2);
    let head = std::fs::read(&spare).unwrap();
    for left in [vec![], vec![0; 100], vec![0; SEGMENT_BYTES as usize], head.clone()] {
        std::fs::write(&spare, &left).unwrap();
        let frames = bed.open().unwrap();
        for index in 1..40 {
            frames.append(&[row(index, 10)]).unwrap();
        }
        assert_eq!(all(&frames), rows(0..40, 10), "{} bytes", left.len());
        drop(frames);
        let frames = bed.open().unwrap();
        assert_eq!(all(&frames), rows(0..40, 10), "{} bytes", left.len());
        drop(frames);
        let again = Frames::create(&bed.dir(), DISK).unwrap();
        again.append(&[row(0, 10)]).unwrap();
    }
    // Two of them: the crash came between the change to one and the first write to it.
    let third = segment::path(&bed.dir(), 3);
    drop(Segment::create(&bed.dir(), DISK, 3, SEGMENT_BYTES).unwrap());
    assert!(third.exists());
    let frames = bed.open().unwrap();
    for index in 1..60 {
        frames.append(&[row(index, 10)]).unwrap();
    }
    drop(frames);
    assert_eq!(all(&bed.open().unwrap()), rows(0..60, 10));
}

#[test]
fn a_write_that_no_file_has_room_for_gets_its_own() {
    let (bed, frames) = Bed::new();
    frames.append(&[row(0, 10)]).unwrap();
    let large = usize::try_from(SEGMENT_BYTES).unwrap() * 3;
    frames.append(&[row(1, large), row(2, 10)]).unwrap();
    frames.append(&[row(3, 10)]).unwrap();
    let wanted = [row(0, 10).1, row(1, large).1, row(2, 10).1, row(3, 10).1];
    assert_eq!(all(&frames), wanted);
    drop(frames);
    let frames = bed.open().unwrap();
    assert_eq!(all(&frames), wanted);
    frames.purge(2).unwrap();
    assert!(!segment::path(&bed.dir(), 2).exists(), "its file goes with it");
    drop(frames);
    assert_eq!(all(&Frames::open(&bed.dir(), DISK, Some(2)).unwrap()), rows(3..4, 10));
}

/// A reader may still be at what is thrown away.
#[test]
fn a_file_is_removed_once_nothing_in_it_counts() {
    let (bed, frames) = Bed::new();
    for index in 0..60 {
        frames.append(&[row(index, 10)]).unwrap();
    }
    let before = numbered(&bed.dir()).unwrap().len();
    let (_, _, place) = frames.index(|index| index.at(0)).unwrap();
    frames.purge(40).unwrap();
    let files = numbered(&bed.dir()).unwrap();
    assert!(files.len() < before && files[0].0 > 1, "{files:?}");
    assert!(matches!(place.segment.frame(place.at).unwrap(), Read::Frame(_)));
    assert_eq!(all(&frames), rows(41..60, 10));
    drop(frames);
    // What redb knows of as thrown away may not have been removed yet, and never the other way around.
    assert_eq!(all(&Frames::open(&bed.dir(), DISK, Some(50)).unwrap()), rows(51..60, 10));
    assert!(matches!(Frames::open(&bed.dir(), DISK, Some(3)), Err(LogError::Unsound { .. })));
}

#[test]
fn where_no_further_file_can_be_made_that_is_said_and_nothing_is_lost() {
    let (bed, frames) = Bed::new();
    drop(frames);
    let in_the_way = segment::path(&bed.dir(), 3);
    std::fs::create_dir(&in_the_way).unwrap();
    std::fs::write(in_the_way.join("file"), "").unwrap();
    // As if it were on its way to be one.
    let frames = Frames {
        dir: bed.dir(),
        disk: DISK,
        end: Mutex::new(End {
            segments: VecDeque::from([Arc::new(
                Segment::open(&segment::path(&bed.dir(), 1), DISK, 1).unwrap().unwrap(),
            )]),
            at: PAGE,
            seq: 1,
            spare: Segment::open(&segment::path(&bed.dir(), 2), DISK, 2).unwrap().map(Spare::Made),
        }),
        index: RwLock::default(),
    };
    let mut taken = 0;
    let error = loop {
        match frames.append(&[row(taken, 10)]) {
            Ok(()) => taken += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, LogError::File { .. }), "{error}");
    assert_eq!(taken, 2 * (SEGMENT_BYTES / PAGE - 1));
    assert_eq!(all(&frames), rows(0..taken, 10));
    drop(frames);
    remove(&in_the_way).unwrap();
    let frames = bed.open().unwrap();
    frames.append(&[row(taken, 10)]).unwrap();
    assert_eq!(all(&frames), rows(0..taken + 1, 10));
}
