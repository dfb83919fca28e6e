//! `show interfaces brief`.

use scores::switch::{Media, Port};

use super::super::{Interface, Mac, ParseError, numbered};

/// Reads `show interfaces brief`. Interfaces that are no ports (management, virtual, loopback) are passed over.
///
/// # Errors
/// When a line is not understood, or there is no table.
pub fn interfaces(lines: &[String]) -> Result<Vec<Interface>, ParseError> {
    const WHAT: &str = "show interfaces brief";
    let mut found = Vec::new();
    let mut table = false;
    for (number, line) in numbered(lines) {
        let bad = |why: &str| ParseError::at(WHAT, number, line, why);
        let mut words = line.split_whitespace();
        let Some(first) = words.next() else { continue };
        if first == "Port" {
            table = true;
            continue;
        }
        if !table {
            return Err(bad("it stands before the table"));
        }
        let others = ["mgmt", "ve", "lb", "tn", "ma", "loopback", "tunnel"];
        let other = others.iter().any(|kind| {
            first
                .strip_prefix(kind)
                .is_some_and(|id| !id.is_empty() && id.bytes().all(|b| b.is_ascii_digit() || b == b'/'))
        });
        let link = words.next().ok_or_else(|| bad("no link stands there"))?;
        let (up, disabled) = match link {
            "Up" => (true, false),
            "Down" => (false, false),
            "Disable" | "Disabled" | "ERR-DIS" => (false, true),
            _ => return Err(bad("the link is none of Up, Down, Disable, ERR-DIS")),
        };
        if other {
            continue;
        }
        let port: Port = first.parse().map_err(|why: String| bad(&why))?;
        if !matches!(port.media(), Media::Plain | Media::Channel) {
            return Err(bad("no port stands there"));
        }
        let state = words.next().ok_or_else(|| bad("no state stands there"))?;
        // This one fills its column and the blank behind it.
        if state == "LACP-BLOCKED" || !state.starts_with("LACP-BLOCKED") {
            words.next().ok_or_else(|| bad("no duplex stands there"))?;
        }
        let megabits = speed(words.next().unwrap_or_default()).ok_or_else(|| bad("no speed stands there"))?;
        // Trunk, tag, VLAN, priority.
        if words.by_ref().take(4).count() < 4 {
            return Err(bad("it ends too early"));
        }
        let mac = words.next().ok_or_else(|| bad("it ends too early"))?;
        if mac != "N/A" {
            mac.parse::<Mac>().map_err(|why| bad(&why))?;
        }
        let name = words.collect::<Vec<_>>().join(" ");
        let name = (!name.is_empty()).then_some(name);
        found.push(Interface { port, up, disabled, megabits: megabits.filter(|_| up), name });
    }
    if !table {
        return Err(ParseError::whole(WHAT, "there is no table"));
    }
    Ok(found)
}

/// `1G`, `100M`, or that there is none.
fn speed(word: &str) -> Option<Option<u32>> {
    if word == "None" || word == "N/A" || word == "Auto" {
        return Some(None);
    }
    let (digits, factor) = match (word.strip_suffix('G'), word.strip_suffix('M')) {
        (Some(digits), _) => (digits, 1000),
        (_, Some(digits)) => (digits, 1),
        _ => return None,
    };
    let (whole, tenths) = digits.split_once('.').unwrap_or((digits, "0"));
    let tenth = tenths.parse::<u32>().ok().filter(|tenth| *tenth < 10)?;
    let megabits = whole.parse::<u32>().ok()?.checked_mul(factor)?;
    Some(Some(megabits.checked_add(tenth * factor / 10)?))
}
