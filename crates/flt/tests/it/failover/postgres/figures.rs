//! What is measured of each fault, and how it is told.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use super::faults::Fault;
use super::ledger::Ack;

/// One kind of fault.
pub(super) struct Row {
    pub(super) fault: Fault,
    /// The longest time, in each run, in which no row was acknowledged.
    pub(super) gaps: Vec<Duration>,
    /// The same while the primary was moved back, where that was done.
    pub(super) back: Vec<Duration>,
    /// In how many runs another node took over.
    pub(super) moved: usize,
    /// Rows that were acknowledged and are not there.
    pub(super) lost: usize,
    /// Rows that were acknowledged by a node after another, in a later epoch, had acknowledged one.
    pub(super) overlapping: usize,
    /// All that were acknowledged.
    pub(super) acknowledged: usize,
}

impl Row {
    pub(super) fn new(fault: Fault) -> Self {
        Self { fault, gaps: Vec::new(), back: Vec::new(), moved: 0, lost: 0, overlapping: 0, acknowledged: 0 }
    }

    fn json(&self) -> serde_json::Value {
        let seconds = |spans: &[Duration]| spans.iter().map(|span| rounded(*span)).collect::<Vec<_>>();
        serde_json::json!({
            "fault": self.fault.to_string(), "runs": self.gaps.len(), "moved": self.moved,
            "acknowledged": self.acknowledged, "lost": self.lost, "overlapping": self.overlapping,
            "seconds": seconds(&self.gaps), "back_seconds": seconds(&self.back),
        })
    }
}

/// The longest time from `begun` on in which nothing was acknowledged. What was acknowledged last before it counts as its
/// beginning at the earliest.
pub(super) fn longest_gap(acks: &[Ack], begun: Instant) -> Duration {
    let mut told: Vec<Instant> = acks.iter().map(|ack| ack.told).filter(|told| *told >= begun).collect();
    told.sort_unstable();
    let before = std::iter::once(begun).chain(told.iter().copied());
    before.zip(told.iter().copied()).map(|(before, after)| after - before).max().unwrap_or_default()
}

/// A table of everything so far, for people; and for programs, one line of JSON a fault, where `FLT_FAILOVER_JSON` says.
pub(super) fn tell(rows: &[Row]) {
    let mut text = String::from(
        "\nfault                      runs  moved   lost  twice   seconds without a writable primary: min median  max\n",
    );
    for row in rows {
        let (min, median, max) = spread(&row.gaps);
        let counts = (row.gaps.len(), row.moved, row.lost, row.overlapping);
        let (fault, (runs, moved, lost, twice)) = (row.fault.to_string(), counts);
        let _infallible = writeln!(
            text,
            "{fault:<26} {runs:>4} {moved:>6} {lost:>6} {twice:>6} {min:>42.2} {median:>6.2} {max:>6.2}"
        );
        if !row.back.is_empty() {
            let (min, median, max) = spread(&row.back);
            let runs = row.back.len();
            let _infallible =
                writeln!(text, "  and back by a switchover {runs:>5} {min:>62.2} {median:>6.2} {max:>6.2}");
        }
    }
    println!("{text}");
    if let Some(path) = std::env::var_os("FLT_FAILOVER_JSON") {
        let lines: Vec<String> = rows.iter().map(|row| row.json().to_string()).collect();
        std::fs::write(path, lines.join("\n") + "\n").unwrap();
    }
}

/// What must be so whatever happened.
#[track_caller]
pub(super) fn are_sound(rows: &[Row]) {
    for row in rows {
        assert_eq!((row.lost, row.overlapping), (0, 0), "rows lost, and acknowledged by two at once: {}", row.fault);
    }
}

fn spread(spans: &[Duration]) -> (f64, f64, f64) {
    let mut sorted: Vec<f64> = spans.iter().map(Duration::as_secs_f64).collect();
    sorted.sort_by(f64::total_cmp);
    let at = |place: usize| sorted.get(place).copied().unwrap_or_default();
    (at(0), at(sorted.len() / 2), at(sorted.len().saturating_sub(1)))
}

fn rounded(span: Duration) -> f64 {
    (span.as_secs_f64() * 1000.0).round() / 1000.0
}

#[test]
fn the_longest_gap_begins_with_the_fault_at_the_earliest() {
    let begin = Instant::now();
    let at = |millis| begin + Duration::from_millis(millis);
    let ack = |told| Ack { row: (0, told), timeline: 2, asked: at(told), told: at(told) };
    let acks = [ack(900), ack(1), ack(2_000), ack(2_500)];
    assert_eq!(longest_gap(&acks, at(500)), Duration::from_millis(1_100));
    assert_eq!(longest_gap(&acks, at(0)), Duration::from_millis(1_100));
    assert_eq!(longest_gap(&acks, at(2_100)), Duration::from_millis(400));
}
