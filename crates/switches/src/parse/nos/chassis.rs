//! `show inventory chassis` and `show chassis`: the model and the serial number of the chassis that one is logged in to.

use super::super::{ParseError, numbered};

/// A chassis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chassis {
    /// Its model, where it is told.
    pub model: Option<String>,
    /// Its serial number, where it is told.
    pub serial: Option<String>,
}

/// Reads `show inventory chassis`: parts that begin with `NAME:`, and several `KEY:value` in each line.
///
/// # Errors
/// When a line is not understood, or there is not one chassis in it.
pub fn inventory(lines: &[String]) -> Result<Chassis, ParseError> {
    const WHAT: &str = "show inventory chassis";
    let mut found: Option<Chassis> = None;
    for (number, line) in numbered(lines) {
        let bad = |why: &str| ParseError::at(WHAT, number, line, why);
        for cell in line.split('\t').flat_map(|part| part.split("  ")).map(str::trim).filter(|cell| !cell.is_empty()) {
            let (key, value) = cell.split_once(':').ok_or_else(|| bad("no `key:value` stands there"))?;
            let (key, value) = (key.trim(), value.trim());
            if key == "NAME" {
                if found.is_some() {
                    return Err(bad("a second part stands there"));
                }
                if value != "Chassis" {
                    return Err(bad("it is no chassis"));
                }
                found = Some(Chassis { model: None, serial: None });
                continue;
            }
            let Some(chassis) = &mut found else { return Err(bad("it stands before the chassis")) };
            match key {
                "SID" => once(&mut chassis.model, value).map_err(bad)?,
                "SN" => once(&mut chassis.serial, value).map_err(bad)?,
                key if key.is_empty() || !key.chars().all(|c| c.is_ascii_alphanumeric()) => {
                    return Err(bad("no `key:value` stands there"));
                }
                _ => {}
            }
        }
    }
    found.ok_or_else(|| ParseError::whole(WHAT, "there is no chassis"))
}

/// Reads `show chassis`: parts headed by `NAME  Unit: 1`, of which the one of the chassis has its serial number.
///
/// # Errors
/// When a line is not understood, or there is no chassis in it.
pub fn chassis(lines: &[String]) -> Result<Chassis, ParseError> {
    const WHAT: &str = "show chassis";
    let (mut model, mut serial) = (None, None);
    // Whether the lines are of the chassis itself; before the first head there are some of the whole.
    let (mut inside, mut any) = (false, false);
    for (number, line) in numbered(lines) {
        let bad = |why: &str| ParseError::at(WHAT, number, line, why);
        if line.trim().is_empty() {
            continue;
        }
        let (key, value) = line.split_once(':').ok_or_else(|| bad("no `key: value` stands there"))?;
        let (key, value) = (key.trim(), value.trim());
        if let Some(part) = key.strip_suffix(" Unit") {
            inside = part.trim() == "CHASSIS/WWN";
            any |= inside;
        } else if key == "Chassis Name" {
            once(&mut model, value).map_err(bad)?;
        } else if inside && key == "Factory Serial Num" {
            // A chassis with two cards for its number tells one number twice.
            once(&mut serial, value).map_err(bad)?;
        }
    }
    if model.is_none() && !any {
        return Err(ParseError::whole(WHAT, "there is no chassis"));
    }
    Ok(Chassis { model, serial })
}

/// Takes one word that is told once, or twice alike; nothing, where nothing is told.
fn once(known: &mut Option<String>, value: &str) -> Result<(), &'static str> {
    if value.split_whitespace().nth(1).is_some() {
        return Err("more than one word stands there");
    }
    match known {
        Some(known) if !value.is_empty() && known.as_str() != value => Err("it said something else before"),
        None if !value.is_empty() => {
            *known = Some(value.to_owned());
            Ok(())
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail so")]
mod tests {
    use super::super::super::lines;
    use super::*;

    fn vdx() -> Chassis {
        Chassis { model: Some("BR-VDX6740".into()), serial: Some("ABC1234K0AA".into()) }
    }

    const INVENTORY: &str = "NAME: Chassis  \t\tDESCR:System Chassis\nSID:BR-VDX6740     \tSwitchType:131\n\
                             PN:40-1000927-06  \tSN:ABC1234K0AA";

    #[test]
    fn the_inventory_is_read() {
        assert_eq!(inventory(&lines(INVENTORY)).unwrap(), vdx());
        let bare = inventory(&lines(&INVENTORY.replace("ABC1234K0AA", ""))).unwrap();
        assert_eq!((bare.model, bare.serial), (vdx().model, None));
        for (text, why) in [
            (String::new(), "`show inventory chassis` is not understood: there is no chassis"),
            (INVENTORY.replace("NAME: Chassis", "NAME: Fan"), "line 1 \"NAME: Fan"),
            (format!("{INVENTORY}\n{INVENTORY}"), "a second part stands there"),
            (format!("{INVENTORY}\tSN:ABC1234K0AB"), "it said something else before"),
            (INVENTORY.replace("SN:ABC", "SN:ABC D"), "more than one word stands there"),
            (format!("{INVENTORY}\nSlot 1 is empty"), "line 4 \"Slot 1 is empty\": no `key:value` stands there"),
            (INVENTORY.replace("NAME", "PART"), "it stands before the chassis"),
        ] {
            let error = inventory(&lines(&text)).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }

    const CHASSIS: &str = "
Chassis Name:  BR-VDX6740
switchType: 131

FAN  Unit: 1
Time Awake:              0 days

POWER SUPPLY  Unit: 1
Factory Part Num:        23-1000043-01
Factory Serial Num:
Time Awake:              0 days

POWER SUPPLY  Unit: 2
Factory Serial Num:      PSU0000001

CHASSIS/WWN  Unit: 1
Power Consume Factor:   0
Factory Part Num:        40-1000927-06
Factory Serial Num:      ABC1234K0AA
Manufacture:             Day: 11  Month:  8  Year: 14

Airflow direction : Port side INTAKE
";

    #[test]
    fn the_chassis_is_read() {
        assert_eq!(chassis(&lines(CHASSIS)).unwrap(), vdx());
        let twice = format!("{CHASSIS}CHASSIS/WWN  Unit: 2\nFactory Serial Num: ");
        assert_eq!(chassis(&lines(&twice)).unwrap(), vdx());
        for (text, why) in [
            (String::new(), "`show chassis` is not understood: there is no chassis"),
            (format!("{twice}ABC1234K0AB"), "it said something else before"),
            (format!("{CHASSIS}FAN is broken"), "\"FAN is broken\": no `key: value` stands there"),
            (CHASSIS.replace("ABC1234", "ABC 1234"), "more than one word stands there"),
        ] {
            let error = chassis(&lines(&text)).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }
}
