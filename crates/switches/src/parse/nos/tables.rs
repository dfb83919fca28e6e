//! `show version`, `show interface status`, `show mac-address-table`, `show port-channel`, `show fabric isl` and
//! `show lldp neighbors`.

use std::collections::BTreeMap;

use super::super::{
    FabricLink, Interface, LagMember, LagState, Mac, MacEntry, Neighbour, ParseError, System, Unit, Version, numbered,
};
use super::port;

/// Reads `show version`.
///
/// # Errors
/// When it names no version.
pub fn version(lines: &[String]) -> Result<Version, ParseError> {
    const WHAT: &str = "show version";
    let mut found = None;
    let mut units: BTreeMap<u16, Unit> = BTreeMap::new();
    for (number, line) in numbered(lines) {
        let text = line.trim();
        if let Some(rest) = text.strip_prefix("Network Operating System Version:") {
            let word = rest.trim();
            if !word.starts_with(|c: char| c.is_ascii_digit()) {
                return Err(ParseError::at(WHAT, number, line, "no version stands there"));
            }
            found = Some(word.to_owned());
        } else if let Some(rest) = text.strip_prefix("SW/") {
            let id = rest.split_whitespace().next().and_then(|id| id.parse().ok());
            let id = id.ok_or_else(|| ParseError::at(WHAT, number, line, "no number of a unit"))?;
            units.insert(id, Unit { id, model: None, serial: None });
        }
    }
    let version = found.ok_or_else(|| ParseError::whole(WHAT, "it names no version"))?;
    Ok(Version { system: System::NetworkOs, version, model: None, units: units.into_values().collect() })
}

/// Reads `show interface status`, by where the columns start in its head.
///
/// # Errors
/// When a line is not understood, or there is no table.
pub fn interfaces(lines: &[String]) -> Result<Vec<Interface>, ParseError> {
    const WHAT: &str = "show interface status";
    let mut found = Vec::new();
    let mut columns: Option<[usize; 5]> = None;
    for (number, line) in numbered(lines) {
        let bad = |why: String| ParseError::at(WHAT, number, line, why);
        if line.trim().is_empty() || line.trim_matches('-').is_empty() {
            continue;
        }
        if line.starts_with("Port") {
            let at = |name: &str| line.find(name).ok_or_else(|| bad(format!("there is no column {name:?}")));
            columns = Some([at("Status")?, at("Mode")?, at("Speed")?, at("Type")?, at("Description")?]);
            continue;
        }
        let Some([status, mode, speed_at, kind, description]) = columns else {
            return Err(bad("it stands before the table".into()));
        };
        let cell = |from: usize, to: usize| {
            let (from, to) = (from.min(line.len()), to.min(line.len()));
            line.get(from..to).map(str::trim).ok_or_else(|| bad("its columns are cut".into()))
        };
        let name = cell(0, status)?;
        let (media, numbers) = name.split_once(' ').ok_or_else(|| bad("no port stands there".into()))?;
        let port = port(media, numbers.trim()).map_err(bad)?;
        let state = cell(status, mode)?;
        let (up, disabled) = match state {
            "connected (up)" | "connected" => (true, false),
            "adminDown" | "admin down" => (false, true),
            _ if state.starts_with("notconnected") || state.starts_with("sfpAbsent") => (false, false),
            _ if state.starts_with("connected (down") || state.starts_with("notConn") => (false, false),
            _ => return Err(bad(format!("the status {state:?} is not known"))),
        };
        let speed = cell(speed_at, kind)?;
        let megabits = match speed {
            "--" | "Auto" | "" => None,
            text => Some(megabits(text).ok_or_else(|| bad("no speed stands there".into()))?),
        };
        let text = cell(description, usize::MAX)?;
        let name = (!text.is_empty()).then(|| text.to_owned());
        found.push(Interface { port, up, disabled, megabits: megabits.filter(|_| up), name });
    }
    if columns.is_none() {
        return Err(ParseError::whole(WHAT, "there is no table"));
    }
    Ok(found)
}

/// `10G`, `100M`.
fn megabits(text: &str) -> Option<u32> {
    match (text.strip_suffix('G'), text.strip_suffix('M')) {
        (Some(digits), _) => digits.parse::<u32>().ok()?.checked_mul(1000),
        (_, Some(digits)) => digits.parse().ok(),
        _ => None,
    }
}

/// Reads `show mac-address-table`.
///
/// # Errors
/// When a line is not understood, or there is no table.
pub fn addresses(lines: &[String]) -> Result<Vec<MacEntry>, ParseError> {
    const WHAT: &str = "show mac-address-table";
    let mut found = Vec::new();
    let mut table = false;
    for (number, line) in numbered(lines) {
        let bad = |why: String| ParseError::at(WHAT, number, line, why);
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            [] => {}
            ["VlanId", "Mac-address", "Type", "State", "Ports", ..] => table = true,
            ["Total", "MAC", ..] => {}
            [vlan, mac, kind, _state, media, numbers] if table => {
                let vlan = vlan.parse().map_err(|_| bad("no VLAN stands there".into()))?;
                let mac: Mac = mac.parse().map_err(bad)?;
                let port = port(media, numbers).map_err(bad)?;
                found.push(MacEntry { mac, vlan, port, learnt: kind.eq_ignore_ascii_case("dynamic") });
            }
            _ if table => return Err(bad("it has not six columns".into())),
            _ => return Err(bad("it stands before the table".into())),
        }
    }
    if !table {
        return Err(ParseError::whole(WHAT, "there is no table"));
    }
    Ok(found)
}

/// Reads `show port-channel`.
///
/// # Errors
/// When a line is not understood.
pub fn lags(lines: &[String]) -> Result<Vec<LagState>, ParseError> {
    const WHAT: &str = "show port-channel";
    let mut found: Vec<LagState> = Vec::new();
    let mut partner = None;
    for (number, line) in numbered(lines) {
        let bad = |why: String| ParseError::at(WHAT, number, line, why);
        let text = line.trim();
        if text.is_empty() {
            continue;
        }
        if let Some((kind, rest)) = text.split_once(" Aggregator: ") {
            let mut words = rest.split_whitespace();
            let port = port(words.next().unwrap_or_default(), words.next().unwrap_or_default()).map_err(bad)?;
            let id = port.channel_id().ok_or_else(|| bad("no port channel stands there".into()))?;
            let lacp = match kind {
                "LACP" => true,
                "Static" => false,
                _ => return Err(bad("it is neither LACP nor Static".into())),
            };
            found.push(LagState { id, name: None, lacp, deployed: true, members: Vec::new() });
            partner = None;
            continue;
        }
        let lag = found.last_mut().ok_or_else(|| bad("it stands before the first port channel".into()))?;
        if let Some(rest) = text.strip_prefix("Partner System ID:") {
            let mac = rest.trim().rsplit(',').next().unwrap_or_default();
            partner = Some(mac.parse::<Mac>().map_err(bad)?).filter(|mac| mac.bytes() != [0; 6]);
        } else if let Some(rest) = text.strip_prefix("Link:") {
            let words: Vec<&str> = rest.split_whitespace().collect();
            let (name, sync) = match words.as_slice() {
                // The number in brackets is the interface's index.
                [media, numbers, index, "sync:", sync] if index.starts_with('(') => (port(media, numbers), *sync),
                [media, numbers, "sync:", sync] => (port(media, numbers), *sync),
                _ => return Err(bad("no member stands there".into())),
            };
            let operational = match sync {
                "1" => true,
                "0" => false,
                _ => return Err(bad("sync is neither 0 nor 1".into())),
            };
            let member = LagMember { port: name.map_err(bad)?, operational: Some(operational), partner: None };
            lag.members.push(LagMember { partner: partner.filter(|_| operational), ..member });
        } else if !text.contains(':') {
            return Err(bad("it says nothing that is known".into()));
        }
    }
    Ok(found)
}

/// Reads `show fabric isl`.
///
/// # Errors
/// When a line of the table is not understood, or there are fewer links than it says.
pub fn fabric(lines: &[String]) -> Result<Vec<FabricLink>, ParseError> {
    const WHAT: &str = "show fabric isl";
    let mut found = Vec::new();
    let mut total = None;
    let mut table = false;
    for (number, line) in numbered(lines) {
        let bad = |why: String| ParseError::at(WHAT, number, line, why);
        let text = line.trim();
        if let Some((_, count)) = text.split_once("#ISLs:") {
            total = Some(count.trim().parse::<usize>().map_err(|_| bad("no number stands there".into()))?);
        } else if !text.is_empty() && text.trim_matches('-').is_empty() {
            table = true;
        } else if table && !text.is_empty() {
            let words: Vec<&str> = text.split_whitespace().collect();
            let (near, far) = match words.get(1..6) {
                Some([media, numbers, _, far_media, far_numbers]) => {
                    (port(media, numbers), port(far_media, far_numbers))
                }
                _ => return Err(bad("no two interfaces stand there".into())),
            };
            let name = text.split('"').nth(1).ok_or_else(|| bad("no name stands there".into()))?;
            found.push(FabricLink { port: near.map_err(bad)?, far_port: far.map_err(bad)?, name: name.to_owned() });
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

/// Reads `show lldp neighbors`, by where the columns start in its head.
///
/// # Errors
/// When a line is not understood.
pub fn neighbours(lines: &[String]) -> Result<Vec<Neighbour>, ParseError> {
    const WHAT: &str = "show lldp neighbors";
    let mut found = Vec::new();
    let mut columns: Option<[usize; 5]> = None;
    for (number, line) in numbered(lines) {
        let bad = |why: String| ParseError::at(WHAT, number, line, why);
        if line.trim().is_empty() {
            continue;
        }
        if line.starts_with("Local Intf") || line.starts_with("Local Port") {
            let at = |name: &str| line.find(name).ok_or_else(|| bad(format!("there is no column {name:?}")));
            columns =
                Some([at("Dead Interval")?, at("Remote Intf")?, at("Chassis ID")?, at("Tx")?, at("System Name")?]);
            continue;
        }
        let Some([dead, remote, chassis, sent, system]) = columns else {
            return Err(bad("it stands before the table".into()));
        };
        let cell = |from: usize, to: usize| {
            let (from, to) = (from.min(line.len()), to.min(line.len()));
            line.get(from..to).map(str::trim).ok_or_else(|| bad("its columns are cut".into()))
        };
        let (media, numbers) = cell(0, dead)?.split_once(' ').ok_or_else(|| bad("no port stands there".into()))?;
        let name = cell(system, usize::MAX)?;
        found.push(Neighbour {
            port: port(media, numbers.trim()).map_err(bad)?,
            chassis: cell(chassis, sent)?.to_owned(),
            far_port: cell(remote, chassis)?.to_owned(),
            name: (!name.is_empty()).then(|| name.to_owned()),
        });
    }
    Ok(found)
}
