//! `show mac-address`, `show stack`, `show vlan`.

use scores::switch::Port;

use super::super::{Mac, MacEntry, ParseError, Unit, VlanState, numbered};

/// Reads `show mac-address` in every order of columns.
///
/// # Errors
/// When a line is not understood, or there is no table although there are entries.
pub fn addresses(lines: &[String]) -> Result<Vec<MacEntry>, ParseError> {
    const WHAT: &str = "show mac-address";
    let mut found = Vec::new();
    let mut columns: Option<Vec<String>> = None;
    for (number, line) in numbered(lines) {
        let bad = |why: String| ParseError::at(WHAT, number, line, why);
        let words: Vec<&str> = line.split_whitespace().collect();
        let Some(first) = words.first() else { continue };
        if line.trim_start().starts_with("Total ") || line.trim_start().starts_with("Total:") {
            continue;
        }
        if first.eq_ignore_ascii_case("mac-address") || first.eq_ignore_ascii_case("mac") {
            // `MAC Address` is one column in two words.
            let two = words.get(1).is_some_and(|word| word.eq_ignore_ascii_case("address"));
            let rest = words.get(if two { 2 } else { 1 }..).unwrap_or_default();
            columns = Some(rest.iter().map(|word| word.to_ascii_lowercase()).collect());
            continue;
        }
        let columns = columns.as_ref().ok_or_else(|| bad("it stands before the table".into()))?;
        if words.len() != columns.len() + 1 {
            return Err(bad(format!("it has {} columns, and the table {}", words.len(), columns.len() + 1)));
        }
        let column = |name: &str| {
            let at = columns.iter().position(|column| column == name);
            at.and_then(|at| words.get(at + 1)).copied().ok_or_else(|| bad(format!("there is no column {name:?}")))
        };
        let mac: Mac = first.parse().map_err(bad)?;
        let port: Port = column("port")?.parse().map_err(bad)?;
        let vlan = column("vlan")?.parse().map_err(|_| bad("no VLAN stands there".into()))?;
        let learnt = column("type").map_or(true, |kind| kind.eq_ignore_ascii_case("dynamic"));
        found.push(MacEntry { mac, vlan, port, learnt });
    }
    Ok(found)
}

/// Reads `show stack`: the units that are there.
///
/// # Errors
/// When a line of the table is not understood, or there is no table.
pub fn stack(lines: &[String]) -> Result<Vec<Unit>, ParseError> {
    const WHAT: &str = "show stack";
    let mut found = Vec::new();
    let mut table = false;
    for (number, line) in numbered(lines) {
        let bad = |why: &str| ParseError::at(WHAT, number, line, why);
        let words: Vec<&str> = line.split_whitespace().collect();
        let Some(first) = words.first() else {
            // What follows the table is a drawing of the cables.
            if !found.is_empty() {
                break;
            }
            continue;
        };
        if *first == "ID" {
            table = true;
            continue;
        }
        if !table {
            let heading =
                line.contains(':') || line.contains("***") || line.contains("Legend") || line.contains("alone");
            if heading {
                continue;
            }
            return Err(bad("it stands before the table"));
        }
        let id = first.parse().map_err(|_| bad("no number of a unit"))?;
        // After the number: S or D, the model, the role.
        let model = words.get(2).ok_or_else(|| bad("no model stands there"))?;
        found.push(Unit { id, model: Some((*model).to_owned()), serial: None });
    }
    if !table {
        return Err(ParseError::whole(WHAT, "there is no table"));
    }
    Ok(found)
}

/// Reads `show vlan`: ids and names.
///
/// # Errors
/// When the head of a VLAN is not understood, or they are fewer than it says.
pub fn vlans(lines: &[String]) -> Result<Vec<VlanState>, ParseError> {
    const WHAT: &str = "show vlan";
    let mut found = Vec::new();
    let mut total = None;
    for (number, line) in numbered(lines) {
        let bad = |why: &str| ParseError::at(WHAT, number, line, why);
        if let Some(rest) = line.trim().strip_prefix("Total PORT-VLAN entries:") {
            total = Some(rest.trim().parse::<usize>().map_err(|_| bad("no number stands there"))?);
        } else if let Some(rest) = line.trim().strip_prefix("PORT-VLAN ") {
            let mut parts = rest.split(", ");
            let id = parts.next().and_then(|id| id.trim().parse().ok()).ok_or_else(|| bad("no VLAN stands there"))?;
            let name = parts.next().and_then(|name| name.strip_prefix("Name ")).ok_or_else(|| bad("it has no name"))?;
            let name = (name != "[None]").then(|| name.to_owned());
            found.push(VlanState { id, name });
        }
    }
    match total {
        None => Err(ParseError::whole(WHAT, "it does not say how many there are")),
        Some(total) if total != found.len() => {
            Err(ParseError::whole(WHAT, format!("it says there are {total}, and lists {}", found.len())))
        }
        Some(_) => Ok(found),
    }
}
