//! Draws tapes as text: one lane for each node over one time line, then what changed.

use std::fmt::Write as _;

use super::{Heartbeat, Lane, Verdict, span_of};
use crate::time::Span;

/// The tapes of both sides as text, `columns` wide (at least 40, at most 400).
///
/// A heartbeat is `·` when it was answered in time, `○` when late, `x` when refused, `!` when lost, `?` when nobody
/// knows yet; the worst in a column is shown. Notes follow in the order of time.
pub fn draw_text(lanes: &[Lane<'_>], columns: usize) -> String {
    let Some((first, length)) = span_of(lanes) else { return "nothing was recorded\n".to_owned() };
    let columns = columns.clamp(MIN_COLUMNS, MAX_COLUMNS);
    let label = lanes.iter().map(|lane| lane.name.chars().count()).max().unwrap_or(0).min(MAX_LABEL);
    let width = columns.saturating_sub(label + 1).max(1);
    let column = |at: i128| {
        let place = (at - first) * i128::try_from(width - 1).unwrap_or(0) / length;
        usize::try_from(place).unwrap_or(0).min(width - 1)
    };
    let mut drawn = String::new();
    for lane in lanes {
        let mut marks = vec![Mark::None; width];
        for beat in &lane.tape.heartbeats {
            if let Some(mark) = marks.get_mut(column(lane.place(beat.sent))) {
                *mark = (*mark).max(Mark::of(beat));
            }
        }
        let name: String = lane.name.chars().take(MAX_LABEL).collect();
        let line: String = marks.into_iter().map(Mark::sign).collect();
        writeln!(drawn, "{name:<label$} {}", line.trim_end()).ok();
    }
    let length = Span::from_micros(u64::try_from(length).unwrap_or(u64::MAX));
    writeln!(drawn, "{:<label$} {:<width$}", "", scale(length, width)).ok();
    for lane in lanes {
        let trips: Vec<Span> = lane.tape.heartbeats.iter().filter_map(Heartbeat::round_trip).collect();
        let lost = lane.tape.heartbeats.iter().filter(|beat| beat.verdict == Some(Verdict::Lost)).count();
        let (beats, slowest) = (lane.tape.heartbeats.len(), trips.iter().max().copied());
        let slowest = slowest.map(|slowest| format!(", slowest answer {slowest}")).unwrap_or_default();
        writeln!(drawn, "{}: {beats} heartbeats, {} answered, {lost} lost{slowest}", lane.name, trips.len()).ok();
    }
    let mut notes: Vec<_> =
        lanes.iter().flat_map(|lane| lane.tape.notes.iter().map(move |note| (lane, note))).collect();
    notes.sort_by_key(|(lane, note)| lane.place(note.at));
    for (lane, note) in notes {
        let after = Span::from_micros(u64::try_from(lane.place(note.at) - first).unwrap_or(0));
        writeln!(drawn, "+{after}  {}  {}", lane.name, note.text).ok();
    }
    drawn
}

fn scale(length: Span, width: usize) -> String {
    let end = format!("+{length}");
    let gap = width.saturating_sub(end.chars().count() + 1);
    format!("0{:gap$}{end}", "")
}

impl Heartbeat {
    /// From sending to answer, if it was answered.
    pub const fn round_trip(&self) -> Option<Span> {
        match &self.verdict {
            Some(
                Verdict::InTime { round_trip } | Verdict::Late { round_trip } | Verdict::Refused { round_trip, .. },
            ) => Some(*round_trip),
            Some(Verdict::Lost) | None => None,
        }
    }
}

/// What a column shows; worse ones hide better ones.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Mark {
    None,
    InTime,
    Unknown,
    Late,
    Refused,
    Lost,
}

impl Mark {
    const fn of(beat: &Heartbeat) -> Self {
        match &beat.verdict {
            None => Self::Unknown,
            Some(Verdict::InTime { .. }) => Self::InTime,
            Some(Verdict::Late { .. }) => Self::Late,
            Some(Verdict::Refused { .. }) => Self::Refused,
            Some(Verdict::Lost) => Self::Lost,
        }
    }

    const fn sign(self) -> char {
        match self {
            Self::None => ' ',
            Self::InTime => '·',
            Self::Unknown => '?',
            Self::Late => '○',
            Self::Refused => 'x',
            Self::Lost => '!',
        }
    }
}

const MIN_COLUMNS: usize = 40;
const MAX_COLUMNS: usize = 400;
const MAX_LABEL: usize = 24;
