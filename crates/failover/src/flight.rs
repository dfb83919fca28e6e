//! The flight recorder: the last heartbeats with their round trips and verdicts, frozen at each change.

mod svg;
mod text;

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

pub use svg::draw_svg;
pub use text::draw_text;

use crate::ids::{Attempt, Epoch};
use crate::settings::Rung;
use crate::time::{LocalTime, LogTime, Span};

/// Something worth remembering.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FlightEvent {
    /// When, on the node's own clock.
    pub at: LocalTime,
    /// The log clock as the node last heard it: what joins the records of two nodes.
    pub log: Option<LogTime>,
    /// What.
    pub happening: Happening,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Happening {
    /// A heartbeat was sent.
    Sent {
        /// Its name.
        attempt: Attempt,
        /// The epoch whose lease it renews, if it does.
        renews: Option<Epoch>,
    },
    /// A heartbeat was answered, or its answer is waited for no longer.
    Answered {
        /// Its name.
        attempt: Attempt,
        /// What became of it.
        verdict: Verdict,
    },
    /// A rung of the fence ladder began, or came to an end.
    Rung {
        /// Which one.
        rung: Rung,
        /// Whether it was verified, once it has ended.
        verified: Option<bool>,
    },
    /// The node stands differently.
    Turned {
        /// How it stood: [`crate::Stand::word`].
        from: String,
        /// How it stands.
        to: String,
        /// The epoch this is about.
        epoch: Option<Epoch>,
    },
}

/// What became of a heartbeat.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Verdict {
    /// Answered before the next one was due.
    InTime {
        /// From sending to answer.
        round_trip: Span,
    },
    /// Answered after the next one was due; it counts from when it was sent.
    Late {
        /// From sending to answer.
        round_trip: Span,
    },
    /// Answered with a refusal.
    Refused {
        /// From sending to answer.
        round_trip: Span,
        /// Why.
        why: String,
    },
    /// Never answered.
    Lost,
}

/// One heartbeat as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// Its name.
    pub attempt: Attempt,
    /// When it was sent, on the node's own clock.
    pub sent: LocalTime,
    /// The log clock as the node last heard it.
    pub log: Option<LogTime>,
    /// The epoch whose lease it renews, if it does.
    pub renews: Option<Epoch>,
    /// What became of it; `None` while nobody knows.
    pub verdict: Option<Verdict>,
}

/// What else happened, as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// When, on the node's own clock.
    pub at: LocalTime,
    /// The log clock as the node last heard it.
    pub log: Option<LogTime>,
    /// What.
    pub text: String,
}

/// The recorder's tape: what is kept, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tape {
    /// Heartbeats, at most [`FlightRecorder::HEARTBEATS`].
    pub heartbeats: VecDeque<Heartbeat>,
    /// Everything else, at most [`FlightRecorder::NOTES`].
    pub notes: VecDeque<Note>,
}

/// A copy of the tape, made when the node changed how it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frozen {
    /// When, on the node's own clock.
    pub at: LocalTime,
    /// From what to what.
    pub change: String,
    /// The tape up to then.
    pub tape: Tape,
}

/// Keeps what [`crate::Command::Record`] says, and freezes a copy at each change of how the node stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlightRecorder {
    tape: Tape,
    frozen: VecDeque<Frozen>,
}

impl FlightRecorder {
    /// How many heartbeats are kept.
    pub const HEARTBEATS: usize = 64;
    /// How many other notes are kept.
    pub const NOTES: usize = 64;
    /// How many frozen copies are kept.
    pub const FROZEN: usize = 32;
    /// How long a note may be, in bytes.
    pub const NOTE_BYTES: usize = 256;

    /// An empty recorder.
    pub fn new() -> Self {
        Self::default()
    }

    /// What is kept now.
    pub const fn tape(&self) -> &Tape {
        &self.tape
    }

    /// The copies, oldest first.
    pub fn frozen(&self) -> impl ExactSizeIterator<Item = &Frozen> + DoubleEndedIterator {
        self.frozen.iter()
    }

    /// Writes an event down.
    pub fn record(&mut self, event: FlightEvent) {
        let FlightEvent { at, log, happening } = event;
        match happening {
            Happening::Sent { attempt, renews } => {
                let heartbeat = Heartbeat { attempt, sent: at, log, renews, verdict: None };
                push(&mut self.tape.heartbeats, heartbeat, Self::HEARTBEATS);
            }
            Happening::Answered { attempt, verdict } => {
                if let Some(heartbeat) = self.tape.heartbeats.iter_mut().rfind(|sent| sent.attempt == attempt) {
                    heartbeat.log = heartbeat.log.or(log);
                    heartbeat.verdict = Some(verdict);
                }
            }
            Happening::Rung { rung, verified } => {
                let end = match verified {
                    None => "begun",
                    Some(true) => "verified",
                    Some(false) => "failed",
                };
                self.note(at, log, format!("fence {rung} {end}"));
            }
            Happening::Turned { from, to, epoch } => {
                let of = epoch.map(|epoch| format!(" (epoch {epoch})")).unwrap_or_default();
                let change = format!("{from} → {to}{of}");
                self.note(at, log, change.clone());
                push(&mut self.frozen, Frozen { at, change, tape: self.tape.clone() }, Self::FROZEN);
            }
        }
    }

    fn note(&mut self, at: LocalTime, log: Option<LogTime>, mut text: String) {
        text.truncate(text.floor_char_boundary(Self::NOTE_BYTES));
        push(&mut self.tape.notes, Note { at, log, text }, Self::NOTES);
    }
}

fn push<T>(kept: &mut VecDeque<T>, new: T, most: usize) {
    while kept.len() >= most {
        kept.pop_front();
    }
    kept.push_back(new);
}

/// One node's tape on the time line that both sides share.
#[derive(Clone, Debug)]
pub struct Lane<'a> {
    /// What the node is called.
    pub name: &'a str,
    /// What it recorded.
    pub tape: &'a Tape,
}

impl Lane<'_> {
    /// What must be added to the node's clock to get the log clock, in microseconds; zero if it never heard one.
    ///
    /// The log clock as a node last heard it is older than now, by a renewal at most: the greatest difference is the
    /// closest.
    fn offset(&self) -> i128 {
        let beats = self.tape.heartbeats.iter().map(|beat| (beat.sent, beat.log));
        let notes = self.tape.notes.iter().map(|note| (note.at, note.log));
        let known = beats
            .chain(notes)
            .filter_map(|(at, log)| log.map(|log| i128::from(log.as_micros()) - i128::from(at.as_micros())));
        known.max().unwrap_or(0)
    }

    fn place(&self, at: LocalTime) -> i128 {
        i128::from(at.as_micros()) + self.offset()
    }

    /// The earliest and latest instant on this lane, on the shared time line.
    fn extent(&self) -> Option<(i128, i128)> {
        let beats = self.tape.heartbeats.iter().map(|beat| beat.sent);
        let all = beats.chain(self.tape.notes.iter().map(|note| note.at));
        let (first, last) = all.fold((None, None), |(first, last): (Option<LocalTime>, Option<LocalTime>), at| {
            (Some(first.map_or(at, |known| known.min(at))), Some(last.map_or(at, |known| known.max(at))))
        });
        Some((self.place(first?), self.place(last?)))
    }
}

/// What the lanes span together: first instant and length, in microseconds; the length is never zero.
fn span_of(lanes: &[Lane<'_>]) -> Option<(i128, i128)> {
    let extents: Vec<_> = lanes.iter().filter_map(Lane::extent).collect();
    let first = extents.iter().map(|(first, _)| *first).min()?;
    let last = extents.iter().map(|(_, last)| *last).max()?;
    Some((first, (last - first).max(1)))
}

#[cfg(test)]
mod tests;
