//! The newest entries in memory: what a member reads most, and what it has sent to the others before its own disk has it.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use crate::types::{LogId, RaftEntry};

/// How many entries are kept although the disk has them.
const KEPT: usize = 64;
/// How many bytes of such entries are kept.
const KEPT_BYTES_MAX: usize = 2 * 1024 * 1024;
/// How many entries may be on their way to the disk while others have them already.
const AHEAD_MAX: usize = 64;
/// How many bytes they may have.
const AHEAD_BYTES_MAX: usize = 8 * 1024 * 1024;

/// The end of the log, without a gap up to the newest entry.
#[derive(Debug, Default)]
pub(super) struct Tail {
    entries: BTreeMap<u64, (RaftEntry, usize)>,
    bytes: usize,
    last: Option<LogId>,
}

impl Tail {
    pub(super) fn new(last: Option<LogId>) -> Self {
        Self { last, ..Self::default() }
    }

    /// The newest entry, or what was purged last if there is none.
    pub(super) fn last(&self) -> Option<LogId> {
        self.last
    }

    /// Takes over entries that follow the newest. Of those before `first_ahead` it forgets the oldest.
    pub(super) fn extend(&mut self, entries: impl IntoIterator<Item = (RaftEntry, usize)>, first_ahead: Option<u64>) {
        for (entry, bytes) in entries {
            let id = entry.log_id;
            if self.last.is_some_and(|last| last.index.checked_add(1) != Some(id.index)) {
                self.clear();
            }
            self.last = Some(id);
            self.bytes = self.bytes.saturating_add(bytes);
            self.entries.insert(id.index, (entry, bytes));
        }
        while self.entries.len() > KEPT || self.bytes > KEPT_BYTES_MAX {
            let Some(oldest) = self.entries.first_entry() else { break };
            if first_ahead.is_some_and(|first| *oldest.key() >= first) {
                break;
            }
            self.bytes = self.bytes.saturating_sub(oldest.remove().1);
        }
    }

    /// Entries that were cut off are gone.
    pub(super) fn truncate(&mut self, from: u64, last: Option<LogId>) {
        let cut = self.entries.split_off(&from);
        self.bytes = self.bytes.saturating_sub(cut.values().map(|(_, bytes)| bytes).sum());
        self.last = last;
    }

    /// Entries up to this one are gone.
    pub(super) fn purge(&mut self, upto: LogId) {
        let Some(after) = upto.index.checked_add(1) else { return self.clear() };
        self.entries = self.entries.split_off(&after);
        self.bytes = self.entries.values().map(|(_, bytes)| bytes).sum();
        if self.last.is_none_or(|last| last.index < upto.index) {
            self.last = Some(upto);
        }
    }

    /// From where on it has everything.
    pub(super) fn first(&self) -> Option<u64> {
        self.entries.first_key_value().map(|(index, _)| *index)
    }

    /// Its entries from one place up to another, with their bytes.
    pub(super) fn range(&self, from: u64, to: u64) -> Vec<(RaftEntry, usize)> {
        if from >= to { Vec::new() } else { self.entries.range(from..to).map(|(_, kept)| kept.clone()).collect() }
    }

    fn clear(&mut self) {
        self.entries.clear();
        self.bytes = 0;
    }
}

/// What the others have before the disk here has it, and whether the disk still takes anything.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    waiting: VecDeque<Part>,
    /// Why the disk takes nothing any more.
    pub(super) broken: Option<String>,
}

/// Entries that are written at once.
#[derive(Debug)]
struct Part {
    first: u64,
    count: usize,
    bytes: usize,
    /// The entry before the first one.
    before: Option<LogId>,
    since: Instant,
}

impl Ahead {
    /// Whether so much more may be sent before it is written.
    pub(super) fn has_room(&self, count: usize, bytes: usize) -> bool {
        let sum = |of: fn(&Part) -> usize| self.waiting.iter().map(of).fold(0, usize::saturating_add);
        self.broken.is_none()
            && sum(|part| part.count).saturating_add(count) <= AHEAD_MAX
            && sum(|part| part.bytes).saturating_add(bytes) <= AHEAD_BYTES_MAX
    }

    pub(super) fn push(&mut self, first: u64, count: usize, bytes: usize, before: Option<LogId>) {
        self.waiting.push_back(Part { first, count, bytes, before, since: Instant::now() });
    }

    /// The oldest part is on the disk.
    pub(super) fn pop(&mut self) {
        self.waiting.pop_front();
    }

    /// From where on the disk lacks entries.
    pub(super) fn first(&self) -> Option<u64> {
        self.waiting.front().map(|part| part.first)
    }

    /// Whether the disk has everything up to here.
    pub(super) fn has_stored(&self, index: u64) -> bool {
        self.first().is_none_or(|first| first > index)
    }

    /// As much of what a majority has as the disk here has too.
    pub(super) fn stored_of(&self, committed: Option<LogId>) -> Option<LogId> {
        match self.waiting.front() {
            Some(part) if committed.is_some_and(|id| id.index >= part.first) => part.before,
            _ => committed,
        }
    }

    /// Whether the disk has failed, or has let entries wait for so long.
    pub(super) fn is_stuck(&self, patience: Duration) -> bool {
        self.broken.is_some() || self.waiting.front().is_some_and(|part| part.since.elapsed() > patience)
    }
}
