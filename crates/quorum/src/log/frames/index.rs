//! Where each entry is.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::segment::Segment;

/// Where a frame is.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) segment: Arc<Segment>,
    pub(super) at: u64,
}

/// The frames that hold entries: by the first one's number, how many of them count.
#[derive(Debug, Default)]
pub(super) struct Index {
    frames: BTreeMap<u64, (u64, Place)>,
    purged: Option<u64>,
}

impl Index {
    /// One of files that are still to be read, of which everything up to `purged` was thrown away.
    pub(super) fn new(purged: Option<u64>) -> Self {
        Self { purged, ..Self::default() }
    }

    /// The number that the next entry has.
    pub(super) fn next(&self) -> u64 {
        let of_purged = || self.purged.map_or(0, |purged| purged.saturating_add(1));
        self.frames.last_key_value().map_or_else(of_purged, |(first, (count, _))| first.saturating_add(*count))
    }

    /// Takes in the entries of a frame, which follow the newest.
    pub(super) fn extend(&mut self, first: u64, count: u64, place: Place) {
        self.frames.insert(first, (count, place));
    }

    /// The same while files are read; false if any are missing in between. Some or all of them may have been thrown away,
    /// and others before them with their file if what comes later cuts these off too: see [`Self::is_whole`].
    pub(super) fn read(&mut self, first: u64, count: u64, place: Place) -> bool {
        let Some(end) = first.checked_add(count) else { return false };
        let next = self.next();
        let is_first = self.frames.is_empty();
        if is_first && end <= next {
            return true;
        }
        let follows = count > 0 && (is_first || first == next);
        if follows {
            self.extend(first, count, place);
        }
        follows
    }

    /// Whether nothing is missing after what was thrown away.
    pub(super) fn is_whole(&self) -> bool {
        let next = self.purged.map_or(0, |purged| purged.saturating_add(1));
        self.frames.first_key_value().is_none_or(|(first, _)| *first <= next)
    }

    /// Forgets the entries from this one on.
    pub(super) fn cut(&mut self, from: u64) {
        self.frames.split_off(&from);
        if let Some(mut last) = self.frames.last_entry() {
            let left = from.saturating_sub(*last.key());
            let (count, _) = last.get_mut();
            *count = left.min(*count);
        }
        self.forget();
    }

    /// Forgets the entries up to this one.
    pub(super) fn purge(&mut self, upto: u64) {
        self.purged = self.purged.max(Some(upto));
        self.forget();
    }

    fn forget(&mut self) {
        let Some(purged) = self.purged else { return };
        self.frames.retain(|first, (count, _)| first.saturating_add(*count) > purged.saturating_add(1));
    }

    /// The oldest entry that counts.
    pub(super) fn first(&self) -> Option<u64> {
        let first = *self.frames.first_key_value()?.0;
        Some(first.max(self.purged.map_or(0, |purged| purged.saturating_add(1))))
    }

    /// The newest entry.
    pub(super) fn last(&self) -> Option<u64> {
        self.first().and_then(|_| self.next().checked_sub(1))
    }

    /// The frame with this entry: its first one, how many count, and where it is.
    pub(super) fn at(&self, index: u64) -> Option<(u64, u64, Place)> {
        let (first, (count, place)) = self.frames.range(..=index).next_back()?;
        (index < first.saturating_add(*count)).then(|| (*first, *count, place.clone()))
    }

    /// Whether a file holds anything that counts.
    pub(super) fn needs(&self, segment: &Arc<Segment>) -> bool {
        self.frames.values().any(|(_, place)| Arc::ptr_eq(&place.segment, segment))
    }
}
