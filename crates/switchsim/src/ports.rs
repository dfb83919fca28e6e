//! Ports: `unit/slot/port`, and the lists and ranges in which commands name them.

use std::collections::BTreeSet;
use std::fmt;

/// A port of a stack or fabric: unit (rbridge), slot and number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortId {
    /// Which unit of the stack, or which rbridge of the fabric.
    pub unit: u16,
    /// Which slot or module.
    pub slot: u16,
    /// Which port.
    pub port: u16,
}

impl PortId {
    /// `1/1/4`, or nothing.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('/').map(|part| part.parse::<u16>().ok());
        let id = Self { unit: parts.next()??, slot: parts.next()??, port: parts.next()?? };
        parts.next().is_none().then_some(id)
    }
}

impl fmt::Display for PortId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}/{}/{}", self.unit, self.slot, self.port))
    }
}

/// What can be in a VLAN: a port, or a LAG by its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Member {
    Port(PortId),
    Lag(u16),
}

/// What is wrong with a list of ports: the word.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum BadList {
    /// Not a port or a word of the language.
    Word(String),
    /// A range over two slots or backwards.
    Range(String),
    /// It ends too early.
    Incomplete,
}

/// `ethernet 1/1/1 to 1/1/4 ethe 1/1/7 lag 5`; LAGs only where they may stand.
pub(crate) fn parse_list(words: &[String], lags: bool) -> Result<BTreeSet<Member>, BadList> {
    let mut found = BTreeSet::new();
    let mut words = words.iter().peekable();
    if words.peek().is_none() {
        return Err(BadList::Incomplete);
    }
    while let Some(word) = words.next() {
        let small = word.to_ascii_lowercase();
        if "ethernet".starts_with(&small) {
            let first = words.next().ok_or(BadList::Incomplete)?;
            let start = PortId::parse(first).ok_or_else(|| BadList::Word(first.clone()))?;
            found.insert(Member::Port(start));
            if words.peek().is_some_and(|word| word.eq_ignore_ascii_case("to")) {
                words.next();
                let last = words.next().ok_or(BadList::Incomplete)?;
                let end = PortId::parse(last).ok_or_else(|| BadList::Word(last.clone()))?;
                if (start.unit, start.slot) != (end.unit, end.slot) || end.port < start.port {
                    return Err(BadList::Range(format!("{start} to {end}")));
                }
                found.extend((start.port..=end.port).map(|port| Member::Port(PortId { port, ..start })));
            }
        } else if lags && small == "lag" {
            let id = words.next().ok_or(BadList::Incomplete)?;
            found.insert(Member::Lag(id.parse().map_err(|_| BadList::Word(id.clone()))?));
        } else {
            return Err(BadList::Word(word.clone()));
        }
    }
    Ok(found)
}

/// The shortest list that names these ports: `ethe 1/1/1 to 1/1/4 ethe 1/1/7`, LAGs after them.
pub(crate) fn list(members: &BTreeSet<Member>, word: &str) -> String {
    let mut parts: Vec<String> = Vec::new();
    let ports: Vec<PortId> =
        members.iter().filter_map(|m| if let Member::Port(port) = m { Some(*port) } else { None }).collect();
    let mut rest = ports.as_slice();
    while let Some(first) = rest.first() {
        let run = rest
            .iter()
            .zip(first.port..)
            .take_while(|(id, n)| (id.unit, id.slot, id.port) == (first.unit, first.slot, *n))
            .count();
        parts.push(match rest[run - 1] {
            last if run > 1 => format!("{word} {first} to {last}"),
            _ => format!("{word} {first}"),
        });
        rest = &rest[run..];
    }
    parts.extend(members.iter().filter_map(|m| if let Member::Lag(id) = m { Some(format!("lag {id}")) } else { None }));
    parts.join(" ")
}

/// The ports as members.
pub(crate) fn members(ports: &BTreeSet<PortId>) -> BTreeSet<Member> {
    ports.iter().copied().map(Member::Port).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn a_list_is_read_and_written_as_the_shortest() {
        let set = parse_list(&words("e 1/1/7 eth 1/1/1 to 1/1/3 ethernet 1/1/4 lag 9"), true).unwrap();
        assert_eq!(list(&set, "ethe"), "ethe 1/1/1 to 1/1/4 ethe 1/1/7 lag 9");
        assert_eq!(parse_list(&words("lag 9"), false), Err(BadList::Word("lag".into())));
        assert_eq!(parse_list(&words("ethe 1/1/3 to"), false), Err(BadList::Incomplete));
        assert_eq!(parse_list(&words("ethe 1/1"), false), Err(BadList::Word("1/1".into())));
        assert_eq!(parse_list(&words("ethe 1/1/3 to 2/1/4"), false), Err(BadList::Range("1/1/3 to 2/1/4".into())));
        assert_eq!(parse_list(&words("ethe 1/1/3 to 1/1/2"), false), Err(BadList::Range("1/1/3 to 1/1/2".into())));
    }
}
