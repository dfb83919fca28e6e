//! How ages, moments and sizes are written.

use std::time::Duration;

use protocols::Millis;

/// An age in its largest unit: `45s`, `3m`, `2h`, `12d`, `2y`.
pub(crate) fn age(age: Duration) -> String {
    let seconds = age.as_secs();
    let (minute, hour, day, year) = (60, 3600, 86_400, 365 * 86_400);
    match seconds {
        s if s < 2 * minute => format!("{s}s"),
        s if s < 2 * hour => format!("{}m", s / minute),
        s if s < 2 * day => format!("{}h", s / hour),
        s if s < 2 * year => format!("{}d", s / day),
        s => format!("{}y", s / year),
    }
}

/// How long something took: `850 ms`, `4.2 s`, `3 min 5 s`.
pub(crate) fn took(span: Duration) -> String {
    match span.as_secs() {
        0 => format!("{} ms", span.as_millis()),
        1..60 => format!("{:.1} s", span.as_secs_f64()),
        seconds => format!("{} min {} s", seconds / 60, seconds % 60),
    }
}

/// A moment in UTC, to the second: `2026-03-01T12:00:05Z`. `-` for one that no calendar has.
pub(crate) fn moment(at: Millis) -> String {
    let millis = i64::try_from(at.0).ok();
    let stamp = millis.and_then(|millis| jiff::Timestamp::from_second(millis.div_euclid(1000)).ok());
    stamp.map_or_else(|| "-".into(), |stamp| stamp.to_string())
}

/// A size: `17 B`, `4.0 KiB`, `52.1 MiB`.
pub(crate) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    #[expect(clippy::cast_precision_loss, reason = "one digit after the point is printed")]
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    // 1023.95 would be printed as 1024.0.
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// A span as people write it: `90`, `90s`, `5m`, `24h`, `7d`; for command-line arguments.
///
/// # Errors
/// Says how it should look.
pub(crate) fn parse_span(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        other => return Err(format!("`{other}` is not a unit: write 90s, 5m, 24h or 7d")),
    };
    let number: u64 = digits.parse().map_err(|_| "write a span like 90s, 5m, 24h or 7d".to_owned())?;
    number.checked_mul(unit).map(Duration::from_secs).ok_or_else(|| "the span is too long".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages() {
        let cases = [(0, "0s"), (119, "119s"), (120, "2m"), (7199, "119m"), (7200, "2h"), (172_800, "2d")];
        for (seconds, text) in cases {
            assert_eq!(age(Duration::from_secs(seconds)), text);
        }
        assert_eq!(age(Duration::MAX), "584942417355y");
        assert_eq!(took(Duration::from_millis(850)), "850 ms");
        assert_eq!(took(Duration::from_millis(4200)), "4.2 s");
        assert_eq!(took(Duration::from_secs(185)), "3 min 5 s");
    }

    #[test]
    fn moments() {
        assert_eq!(moment(Millis(1_772_366_405_999)), "2026-03-01T12:00:05Z");
        assert_eq!(moment(Millis(u64::MAX)), "-");
        assert_eq!(moment(Millis(i64::MAX as u64)), "-");
    }

    #[test]
    fn sizes() {
        let cases = [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1_048_575, "1.0 MiB"), (54_630_000, "52.1 MiB")];
        for (size, text) in cases {
            assert_eq!(bytes(size), text);
        }
        assert_eq!(bytes(u64::MAX), "16384.0 PiB");
    }

    #[test]
    fn spans() {
        for (text, seconds) in [("90", 90), ("90s", 90), ("5m", 300), ("24h", 86_400), ("7d", 604_800)] {
            assert_eq!(parse_span(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for bad in ["", "m", "-5m", "5 m", "5w", "1.5h", "99999999999999999999d", "9999999999999999999d", "ü"] {
            assert!(parse_span(bad).is_err(), "{bad}");
        }
    }
}
