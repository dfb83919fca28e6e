//! `show lag`, in the old and the new syntax.

use scores::switch::Port;

use super::super::{LagMember, LagState, Mac, ParseError, numbered, port_list, quoted};

/// Which table a line stands in.
#[derive(Clone, Copy, PartialEq)]
enum Table {
    None,
    Ports,
    Lacp,
    Partners,
}

/// Reads `show lag`: every port channel, its members, and what LACP says of them.
///
/// # Errors
/// When a line is not understood.
pub fn lags(lines: &[String]) -> Result<Vec<LagState>, ParseError> {
    const WHAT: &str = "show lag";
    let mut found: Vec<LagState> = Vec::new();
    let mut table = Table::None;
    for (number, line) in numbered(lines) {
        let bad = |why: String| ParseError::at(WHAT, number, line, why);
        let text = line.trim();
        let words: Vec<&str> = text.split_whitespace().collect();
        let Some(first) = words.first() else { continue };
        if let Some(head) = text.strip_prefix("=== LAG ") {
            found.push(head_of(head).ok_or_else(|| bad("no head of a LAG stands there".into()))?);
            table = Table::None;
            continue;
        }
        if *first == "Port" && words.len() > 2 {
            table = match () {
                () if text.contains("[Ope]") => Table::Lacp,
                () if text.contains("Partner") => Table::Partners,
                () if words.get(1) == Some(&"Link") => Table::Ports,
                () => Table::None,
            };
            if table != Table::None {
                continue;
            }
        }
        let Some(lag) = found.last_mut() else {
            // Totals and timeouts stand before the first.
            if text.contains(':') {
                continue;
            }
            return Err(bad("it stands before the first LAG".into()));
        };
        if let Some(list) = text.strip_prefix("Ports:") {
            let words = quoted(list);
            if !words.is_empty() && words != ["none"] {
                let ports = port_list(&words).map_err(bad)?;
                lag.members.extend(ports.into_iter().map(|port| LagMember { port, operational: None, partner: None }));
            }
            continue;
        }
        let member = |lag: &mut LagState| -> Result<usize, ParseError> {
            let port: Port = first.parse().map_err(bad)?;
            let at = lag.members.iter().position(|member| member.port == port);
            at.ok_or_else(|| bad(format!("{port} is not among its ports")))
        };
        match table {
            Table::None => {
                if !text.contains(':') {
                    return Err(bad("it is in no table".into()));
                }
            }
            // The head of the table goes on.
            Table::Partners if text.starts_with("System ID") => {}
            _ if text.starts_with("Partner Info") || text.ends_with(':') => table = Table::None,
            Table::Ports => {
                let at = member(lag)?;
                let up = match words.get(1..3) {
                    Some(["Up", "Forward"]) => true,
                    Some(["Up" | "Down" | "Disable" | "Disabled" | "ERR-DIS", _]) => false,
                    _ => return Err(bad("no link and state stand there".into())),
                };
                if let Some(member) = lag.members.get_mut(at) {
                    member.operational = Some(up);
                }
            }
            Table::Lacp => {
                let at = member(lag)?;
                let operational = match words.last() {
                    Some(&"Ope") => true,
                    Some(&("Ina" | "Blo" | "Dwn" | "No" | "Err")) => false,
                    _ => return Err(bad("the last column is not understood".into())),
                };
                if let Some(member) = lag.members.get_mut(at) {
                    member.operational = Some(operational);
                }
            }
            Table::Partners => {
                let at = member(lag)?;
                let system = words.get(1).and_then(|word| word.split_once('-'));
                let (_, mac) = system.ok_or_else(|| bad("no partner stands there".into()))?;
                let mac: Mac = mac.parse().map_err(bad)?;
                if let Some(member) = lag.members.get_mut(at) {
                    member.partner = Some(mac).filter(|mac| mac.bytes() != [0; 6]);
                }
            }
        }
    }
    Ok(found)
}

/// `"uplink" ID 6 (dynamic Deployed) ===`
fn head_of(head: &str) -> Option<LagState> {
    let (name, rest) = head.trim_start().strip_prefix('"')?.rsplit_once("\" ID ")?;
    let (id, rest) = rest.split_once(" (")?;
    let (kind, _) = rest.split_once(')')?;
    let (mode, state) = kind.split_once(' ')?;
    let deployed = match state.trim() {
        "Deployed" => true,
        "Not Deployed" => false,
        _ => return None,
    };
    let lacp = match mode {
        "dynamic" => true,
        "static" | "keep-alive" => false,
        _ => return None,
    };
    Some(LagState { id: id.trim().parse().ok()?, name: Some(name.to_owned()), lacp, deployed, members: Vec::new() })
}
