//! `show version`.

use std::collections::BTreeMap;

use super::super::{ParseError, System, Unit, Version, numbered};

/// Reads `show version`: the version, the model, and the units of a stack.
///
/// # Errors
/// When it names no version, or a unit's line is not understood.
pub fn version(lines: &[String]) -> Result<Version, ParseError> {
    const WHAT: &str = "show version";
    let mut found = None;
    let mut model = None;
    let mut units: BTreeMap<u16, Unit> = BTreeMap::new();
    let mut unit = 1;
    for (number, line) in numbered(lines) {
        let text = line.trim();
        if let Some(rest) = text.strip_prefix("SW: Version ") {
            let word = rest.split_whitespace().next().unwrap_or_default();
            if !word.starts_with(|c: char| c.is_ascii_digit()) {
                return Err(ParseError::at(WHAT, number, line, "no version stands there"));
            }
            found.get_or_insert_with(|| word.to_owned());
        } else if let Some(rest) = text.strip_prefix("HW: ") {
            let word = rest.split_whitespace().last();
            model = model.or_else(|| word.map(str::to_owned));
        } else if let Some((id, rest)) = text.strip_prefix("UNIT ").and_then(|rest| rest.split_once(':')) {
            unit = id.trim().parse().map_err(|_| ParseError::at(WHAT, number, line, "no number of a unit"))?;
            let entry = units.entry(unit).or_insert(Unit { id: unit, model: None, serial: None });
            let module = rest.split_once(':').filter(|(slot, _)| slot.trim() == "SL 1").map(|(_, module)| module);
            let word = module.and_then(|module| module.split_whitespace().next());
            entry.model = entry.model.take().or_else(|| word.map(str::to_owned));
        } else if let Some(rest) = text.strip_prefix("Serial") {
            let serial = rest.trim_start().trim_start_matches('#').trim_start_matches(':').trim();
            let entry = units.entry(unit).or_insert(Unit { id: unit, model: None, serial: None });
            if !serial.is_empty() && entry.serial.is_none() {
                entry.serial = Some(serial.to_owned());
            }
        } else if let Some(rest) = text.strip_prefix("STACKID ") {
            let id = rest.split_whitespace().next().and_then(|id| id.parse().ok());
            let id = id.ok_or_else(|| ParseError::at(WHAT, number, line, "no number of a unit"))?;
            units.entry(id).or_insert(Unit { id, model: None, serial: None });
        }
    }
    let version = found.ok_or_else(|| ParseError::whole(WHAT, "it names no version"))?;
    Ok(Version { system: System::FastIron, version, model, units: units.into_values().collect() })
}
