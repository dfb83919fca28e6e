//! `show lldp neighbors`.

use scores::switch::Port;

use super::super::{Neighbour, ParseError, numbered};

/// Reads `show lldp neighbors`, by where the columns start in its head.
///
/// # Errors
/// When a line is not understood.
pub fn neighbours(lines: &[String]) -> Result<Vec<Neighbour>, ParseError> {
    const WHAT: &str = "show lldp neighbors";
    let mut found = Vec::new();
    let mut columns: Option<[usize; 4]> = None;
    for (number, line) in numbered(lines) {
        let bad = |why: String| ParseError::at(WHAT, number, line, why);
        if line.trim().is_empty() {
            continue;
        }
        if line.trim_start().starts_with("Lcl Port") {
            let at = |name: &str| line.find(name).ok_or_else(|| bad(format!("there is no column {name:?}")));
            columns = Some([at("Chassis ID")?, at("Port ID")?, at("Port Description")?, at("System Name")?]);
            continue;
        }
        let Some([chassis, port_id, description, system]) = columns else {
            let none = ["No neighbors", "LLDP is not running", "LLDP is not enabled"];
            if none.iter().any(|text| line.trim_start().starts_with(text)) {
                continue;
            }
            return Err(bad("it stands before the table".into()));
        };
        let cell = |from: usize, to: Option<usize>| {
            let text = match to {
                Some(to) => line.get(from.min(line.len())..to.min(line.len())),
                None => line.get(from.min(line.len())..),
            };
            text.map(|text| text.trim().to_owned()).ok_or_else(|| bad("its columns are cut".into()))
        };
        let port: Port = cell(0, Some(chassis))?.parse().map_err(bad)?;
        let name = Some(cell(system, None)?).filter(|name| !name.is_empty());
        found.push(Neighbour {
            port,
            chassis: cell(chassis, Some(port_id))?,
            far_port: cell(port_id, Some(description))?,
            name,
        });
    }
    Ok(found)
}
