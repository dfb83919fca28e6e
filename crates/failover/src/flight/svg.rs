//! Draws tapes as SVG: one lane for each node over one time line, round trips as bars, changes as lines.

use std::fmt::Write as _;

use super::{Heartbeat, Lane, Verdict, span_of};
use crate::time::Span;

/// The tapes of both sides as one SVG picture that needs no font, script or style of anybody else.
///
/// A bar is a heartbeat: its height is the round trip, on a scale of square roots up to the slowest; its colour is the
/// verdict. A line across a lane is a change of how the node stands, with its words as the title.
pub fn draw_svg(lanes: &[Lane<'_>]) -> String {
    let (first, length) = span_of(lanes).unwrap_or((0, 1));
    let x = |at: i128| LEFT + (at - first) * (WIDTH - LEFT - RIGHT) / length;
    let slowest = lanes.iter().flat_map(|lane| lane.tape.heartbeats.iter().filter_map(Heartbeat::round_trip)).max();
    let slowest = slowest.map_or(1, Span::as_micros).max(1);
    let height = TOP + i128::try_from(lanes.len()).unwrap_or(0) * LANE + FOOT;
    let mut svg = String::new();
    writeln!(
        svg,
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="12">"#
    )
    .ok();
    writeln!(svg, r##"<rect width="{WIDTH}" height="{height}" fill="#fff"/>"##).ok();
    for (row, lane) in (0_i128..).zip(lanes) {
        let base = TOP + row * LANE + LANE - 12;
        writeln!(svg, r#"<text x="8" y="{}">{}</text>"#, base - 2, escaped(lane.name)).ok();
        writeln!(svg, r##"<path d="M{LEFT} {base}H{}" stroke="#999"/>"##, WIDTH - RIGHT).ok();
        for beat in &lane.tape.heartbeats {
            bar(&mut svg, beat, x(lane.place(beat.sent)), base, slowest);
        }
        for note in &lane.tape.notes {
            let at = x(lane.place(note.at));
            let top = base - BAR - 6;
            writeln!(
                svg,
                r##"<path d="M{at} {top}V{base}" stroke="#36c" stroke-dasharray="3 2"><title>{}</title></path>"##,
                escaped(&note.text)
            )
            .ok();
        }
    }
    let end = Span::from_micros(u64::try_from(length).unwrap_or(u64::MAX));
    let foot = height - 8;
    writeln!(svg, r#"<text x="{LEFT}" y="{foot}">0</text>"#).ok();
    writeln!(svg, r#"<text x="{}" y="{foot}" text-anchor="end">+{end}</text>"#, WIDTH - RIGHT).ok();
    svg.push_str("</svg>\n");
    svg
}

fn bar(svg: &mut String, beat: &Heartbeat, x: i128, base: i128, slowest: u64) {
    let (colour, words) = match &beat.verdict {
        None => ("#bbb", "no answer yet".to_owned()),
        Some(Verdict::InTime { round_trip }) => ("#2a2", round_trip.to_string()),
        Some(Verdict::Late { round_trip }) => ("#d80", format!("late: {round_trip}")),
        Some(Verdict::Refused { why, .. }) => ("#808", format!("refused: {why}")),
        Some(Verdict::Lost) => ("#c00", "lost".to_owned()),
    };
    let full = u64::try_from(BAR).unwrap_or(0);
    let tall = beat.round_trip().map_or(full, |trip| {
        let part = u128::from(trip.as_micros()) * u128::from(full).pow(2) / u128::from(slowest);
        u64::try_from(part.isqrt()).unwrap_or(full).clamp(2, full)
    });
    let top = base - i128::from(tall);
    writeln!(
        svg,
        r#"<rect x="{}" y="{top}" width="3" height="{tall}" fill="{colour}"><title>{}</title></rect>"#,
        x - 1,
        escaped(&words)
    )
    .ok();
}

fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            control if control.is_control() => safe.push(' '),
            other => safe.push(other),
        }
    }
    safe
}

const WIDTH: i128 = 960;
const LEFT: i128 = 120;
const RIGHT: i128 = 24;
const TOP: i128 = 12;
const LANE: i128 = 72;
const BAR: i128 = 48;
const FOOT: i128 = 28;
