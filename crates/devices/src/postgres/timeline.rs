//! Epochs and timelines: the timeline that an epoch's primary writes is the epoch plus one, and no other epoch's.
//!
//! PostgreSQL numbers timelines by looking at what files it has, so two nodes that are promoted without knowing of each
//! other choose the same number, and tools that compare numbers then take two histories for one. Here the number is
//! forced: before a promotion the numbers in between are taken by *fillers*, history files for epochs in which this
//! node's history was not continued. So the epoch of every record can be read off its timeline, on every node, offline.

use std::fmt;

use failover::{Epoch, Position};

/// The number of a history, as PostgreSQL has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timeline(pub u32);

impl Timeline {
    /// The one that `initdb` begins. Nobody serves it.
    pub const FIRST: Self = Self(1);

    /// The one that the primary of this epoch writes. `None` for an epoch beyond what PostgreSQL can count.
    pub fn of(epoch: Epoch) -> Option<Self> {
        u32::try_from(epoch.0).ok()?.checked_add(1).map(Self)
    }

    /// The epoch whose primary writes it.
    pub fn epoch(self) -> Epoch {
        Epoch(u64::from(self.0.saturating_sub(1)))
    }

    /// The name of the file with its history.
    pub fn file(self) -> String {
        format!("{:08X}.history", self.0)
    }
}

impl fmt::Display for Timeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A place in the log, as PostgreSQL writes it: `1/A0`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lsn(pub u64);

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 & 0xffff_ffff)
    }
}

impl std::str::FromStr for Lsn {
    type Err = NotWritten;

    fn from_str(text: &str) -> Result<Self, NotWritten> {
        let bad = || NotWritten(text.chars().take(SHOWN_CHARS).collect());
        let (high, low) = text.split_once('/').ok_or_else(bad)?;
        let part = |digits: &str| match digits.len() {
            1..=8 => u32::from_str_radix(digits, 16).map_err(|_| bad()),
            _ => Err(bad()),
        };
        Ok(Self(u64::from(part(high)?) << 32 | u64::from(part(low)?)))
    }
}

/// Text that PostgreSQL would not have written there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not what PostgreSQL writes there")]
pub struct NotWritten(String);

/// From where to where each timeline was written that leads to `of`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History {
    of: Timeline,
    /// Each earlier timeline with its end, the oldest first.
    ends: Vec<(Timeline, Lsn)>,
}

impl History {
    /// Of the first timeline: nothing came before it.
    pub fn first() -> Self {
        Self { of: Timeline::FIRST, ends: Vec::new() }
    }

    /// Reads a history file.
    ///
    /// # Errors
    /// When it is too long, is not one, or its numbers do not rise.
    pub fn parse(of: Timeline, text: &str) -> Result<Self, NotWritten> {
        if text.len() > HISTORY_BYTES_MAX {
            return Err(NotWritten(format!("{} bytes of history", text.len())));
        }
        let mut ends: Vec<(Timeline, Lsn)> = Vec::new();
        for line in text.lines() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let bad = || NotWritten(line.chars().take(SHOWN_CHARS).collect());
            let mut words = line.split_whitespace();
            let number: u32 = words.next().and_then(|word| word.parse().ok()).ok_or_else(bad)?;
            let end: Lsn = words.next().ok_or_else(bad)?.parse()?;
            let rises = number > 0 && number < of.0 && ends.last().is_none_or(|(last, _)| last.0 < number);
            if !rises {
                return Err(bad());
            }
            ends.push((Timeline(number), end));
        }
        Ok(Self { of, ends })
    }

    /// The timeline that it leads to.
    pub fn of(&self) -> Timeline {
        self.of
    }

    /// The timeline of the record that ends here.
    pub fn at(&self, end_of_record: Lsn) -> Timeline {
        // An end belongs to the timeline that ended with it: what comes after it is the next one's.
        self.ends.iter().find(|(_, end)| end_of_record <= *end).map_or(self.of, |(timeline, _)| *timeline)
    }

    /// Whether what ends so is part of this history: then a node that holds it can go on with this timeline.
    pub fn holds(&self, place: Place) -> bool {
        if place.timeline == self.of {
            return true;
        }
        self.ends.iter().any(|(timeline, end)| *timeline == place.timeline && place.lsn <= *end)
    }

    /// The text of the filler for a timeline that nobody continued from here.
    fn filler(&self, at: Lsn) -> String {
        let mut text = String::new();
        for (timeline, end) in &self.ends {
            text.push_str(&format!("{timeline}\t{end}\t{FILLER}\n"));
        }
        text.push_str(&format!("{}\t{at}\t{FILLER}\n", self.of));
        text
    }

    /// The fillers that make PostgreSQL continue this history, promoted at `at`, with exactly that timeline.
    ///
    /// # Errors
    /// When the number is not above this one, or too far above it.
    pub fn fillers(&self, at: Lsn, next: Timeline) -> Result<Vec<(Timeline, String)>, BadNext> {
        if next <= self.of {
            return Err(BadNext::NotAbove { from: self.of, to: next });
        }
        if next.0 - self.of.0 > FILLERS_MAX {
            return Err(BadNext::TooFar { from: self.of, to: next });
        }
        let text = self.filler(at);
        Ok((self.of.0 + 1..next.0).map(|number| (Timeline(number), text.clone())).collect())
    }
}

/// Why a history cannot be continued with a timeline.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadNext {
    /// It has been used.
    #[error("timeline {from} cannot be continued by timeline {to}: an epoch is served once")]
    NotAbove {
        /// What is to be continued.
        from: Timeline,
        /// By what.
        to: Timeline,
    },
    /// Too many epochs came in between.
    #[error("timeline {from} cannot be continued by timeline {to}: at most {FILLERS_MAX} epochs may lie between them")]
    TooFar {
        /// What is to be continued.
        from: Timeline,
        /// By what.
        to: Timeline,
    },
}

/// The end of the last record that a node holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Of this timeline.
    pub timeline: Timeline,
    /// Ends here.
    pub lsn: Lsn,
}

impl Place {
    /// The same in the words of the protocol.
    pub fn position(self) -> Position {
        Position { epoch: self.timeline.epoch(), lsn: self.lsn.0 }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of timeline {}", self.lsn, self.timeline)
    }
}

/// The longest history file, in bytes: each epoch that was served has a line of less than 100.
pub(super) const HISTORY_BYTES_MAX: usize = 4 << 20;
/// The most epochs that may have passed between two that were served by one history.
const FILLERS_MAX: u32 = 10_000;
/// What is said in a filler, where PostgreSQL says why a timeline ended.
const FILLER: &str = "not continued in this epoch";
/// How much of wrong text is shown, in characters.
const SHOWN_CHARS: usize = 60;

#[cfg(test)]
mod tests {
    use super::*;

    fn lsn(text: &str) -> Lsn {
        text.parse().unwrap()
    }

    #[test]
    fn an_epoch_has_one_timeline_and_a_timeline_one_epoch() {
        for epoch in [0, 1, 7, u64::from(u32::MAX) - 1] {
            assert_eq!(Timeline::of(Epoch(epoch)).unwrap().epoch(), Epoch(epoch));
        }
        assert_eq!(Timeline::of(Epoch(u64::from(u32::MAX))), None);
        assert_eq!(Timeline(11).file(), "0000000B.history");
    }

    #[test]
    fn places_are_read_and_written() {
        for text in ["0/0", "1/A0", "FFFFFFFF/FFFFFFFF"] {
            assert_eq!(lsn(text).to_string(), text);
        }
        for bad in ["", "1", "/", "1/", "x/1", "1/123456789"] {
            assert!(bad.parse::<Lsn>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_record_belongs_to_the_timeline_that_it_ends() {
        let text = "1\t0/3000100\tno recovery target specified\n\n# x\n3\t0/5000000\tno recovery target specified\n";
        let history = History::parse(Timeline(4), text).unwrap();
        for (end, timeline) in [("0/10", 1), ("0/3000100", 1), ("0/3000101", 3), ("0/5000000", 3), ("0/5000001", 4)] {
            assert_eq!(history.at(lsn(end)), Timeline(timeline), "{end}");
        }
        let place = |timeline, end| Place { timeline: Timeline(timeline), lsn: lsn(end) };
        assert!(
            history.holds(place(1, "0/3000100")) && history.holds(place(3, "0/4")) && history.holds(place(4, "9/0"))
        );
        // A tail of its own, or a timeline that led nowhere.
        assert!(!history.holds(place(1, "0/3000101")) && !history.holds(place(2, "0/1")));
    }

    #[test]
    fn wrong_histories_are_refused() {
        for (of, text) in [(3, "x"), (3, "1"), (3, "1\t0/0\n1\t0/9"), (3, "3\t0/1"), (3, "0\t0/1"), (3, "1\tzz")] {
            assert!(History::parse(Timeline(of), text).is_err(), "{text}");
        }
        assert!(History::parse(Timeline(3), &"#\n".repeat(HISTORY_BYTES_MAX)).is_err());
    }

    #[test]
    fn fillers_take_the_numbers_in_between() {
        let history = History::parse(Timeline(3), "1\t0/30\tx\n").unwrap();
        let fillers = history.fillers(lsn("0/40"), Timeline(6)).unwrap();
        assert_eq!(fillers.iter().map(|(timeline, _)| timeline.0).collect::<Vec<_>>(), [4, 5]);
        for (timeline, text) in &fillers {
            let read = History::parse(*timeline, text).unwrap();
            assert_eq!(read.at(lsn("0/35")), Timeline(3));
        }
        assert_eq!(history.fillers(lsn("0/40"), Timeline(4)).unwrap(), []);
        assert!(matches!(history.fillers(lsn("0/40"), Timeline(3)), Err(BadNext::NotAbove { .. })));
        assert!(matches!(history.fillers(lsn("0/40"), Timeline(20_000)), Err(BadNext::TooFar { .. })));
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,60}", of: u32) {
            drop(History::parse(Timeline(of), &text));
            drop(text.parse::<Lsn>());
        }
    }
}
