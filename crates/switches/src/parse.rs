//! What devices print, read by pure functions. What is not recognised is an error that shows the line: a list is never
//! shorter than what the device has said.

pub mod fastiron;
pub mod netconf;
pub mod nos;
mod words;

use std::fmt;

use scores::switch::{Config, Port, SnmpGroup};

pub use protocols::Mac;
pub(crate) use words::{port_list, ports_text, quoted};

use crate::netconf::Element;

/// Output that is not recognised.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{what}` is not understood{}: {why}", shown(*number, text))]
pub struct ParseError {
    what: String,
    /// The number of the line, if it is one.
    number: usize,
    /// The line or the element.
    text: String,
    why: String,
}

fn shown(number: usize, text: &str) -> String {
    match (number, text) {
        (_, "") => String::new(),
        (0, element) => format!(" in `{element}`"),
        (number, line) => format!(" in line {number} {line:?}"),
    }
}

impl ParseError {
    pub(crate) fn at(what: &str, number: usize, line: &str, why: impl Into<String>) -> Self {
        let text = protocols::outcome::shorten(line, LINE_BYTES_MAX);
        Self { what: what.to_owned(), number, text, why: why.into() }
    }

    pub(crate) fn element(what: &str, element: &Element, why: impl Into<String>) -> Self {
        Self::at(what, 0, &element.to_string(), why)
    }

    pub(crate) fn whole(what: &str, why: impl Into<String>) -> Self {
        Self { what: what.to_owned(), number: 0, text: String::new(), why: why.into() }
    }
}

/// What a device is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// Its operating system.
    pub system: System,
    /// The version of it, as it prints.
    pub version: String,
    /// The model, where it is told.
    pub model: Option<String>,
    /// Units of a stack or fabric.
    pub units: Vec<Unit>,
}

/// An operating system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum System {
    /// FastIron.
    FastIron,
    /// Network OS.
    NetworkOs,
}

/// A unit of a stack or fabric.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// Its number.
    pub id: u16,
    /// Its model, where it is told.
    pub model: Option<String>,
    /// Its serial number, where it is told.
    pub serial: Option<String>,
}

/// A line of the table of interfaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// Which.
    pub port: Port,
    /// Whether its link is up.
    pub up: bool,
    /// Whether it is shut.
    pub disabled: bool,
    /// Its speed in Mbit/s, where it is told.
    pub megabits: Option<u32>,
    /// Its description, as far as it is printed.
    pub name: Option<String>,
}

/// A line of the table of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MacEntry {
    /// The address.
    pub mac: Mac,
    /// The VLAN that it was seen in.
    pub vlan: u16,
    /// The port behind which it is.
    pub port: Port,
    /// Whether it was learnt, and not configured.
    pub learnt: bool,
}

/// The state of a port channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LagState {
    /// Its id.
    pub id: u16,
    /// Its name, where it has one.
    pub name: Option<String>,
    /// Whether it speaks LACP.
    pub lacp: bool,
    /// Whether it is in force.
    pub deployed: bool,
    /// Its members.
    pub members: Vec<LagMember>,
}

/// The state of a member of a port channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LagMember {
    /// Which port.
    pub port: Port,
    /// Whether it carries traffic; unknown where nothing is told.
    pub operational: Option<bool>,
    /// The system at the other end, where LACP tells it.
    pub partner: Option<Mac>,
}

/// A device at the other end of a cable, as it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Neighbour {
    /// The port here.
    pub port: Port,
    /// Its chassis id.
    pub chassis: String,
    /// Its port.
    pub far_port: String,
    /// Its name, where it tells one.
    pub name: Option<String>,
}

/// A link between members of a stack or fabric.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FabricLink {
    /// The port here.
    pub port: Port,
    /// The port there.
    pub far_port: Port,
    /// The name there, or the number.
    pub name: String,
}

/// A VLAN as the device lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VlanState {
    /// Its id.
    pub id: u16,
    /// Its name, where it has one.
    pub name: Option<String>,
}

/// A configuration that was read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ParsedConfig {
    /// What scores govern.
    pub config: Config,
    /// The version that it says it is of.
    pub version: Option<String>,
    /// Lines that are of no concern to scores.
    pub others: Vec<String>,
}

/// Lines with their numbers, counted from one.
fn numbered(lines: &[String]) -> impl Iterator<Item = (usize, &str)> {
    lines.iter().enumerate().map(|(at, line)| (at + 1, line.trim_end()))
}

/// Reads a configuration block by block. `head` tells which block a line at the margin begins, `inside` takes the lines
/// within it, and says whether it knows them; lines that nobody knows are kept as they are. Where a configuration
/// `ends`, its last line is `end`.
fn blocks<B>(
    lines: &[String],
    ends: bool,
    mut head: impl FnMut(&[&str], &mut ParsedConfig, &str) -> Result<Option<B>, String>,
    mut inside: impl FnMut(&B, &[&str], &str, &mut Config) -> Result<bool, String>,
) -> Result<ParsedConfig, ParseError> {
    let (mut parsed, mut block, mut ended) = (ParsedConfig::default(), None, false);
    if lines.len() > LINES_MAX {
        return Err(ParseError::whole(CONFIGURATION, format!("it has more than {LINES_MAX} lines")));
    }
    for (number, line) in numbered(lines) {
        let bad = |why: String| ParseError::at(CONFIGURATION, number, line, why);
        let text = line.trim();
        if text.is_empty() {
            continue;
        }
        if ended {
            return Err(bad("it stands behind the end".into()));
        }
        if text == "!" {
            block = None;
            continue;
        }
        let words = quoted(text);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        if !line.starts_with(' ') {
            block = head(&words, &mut parsed, line).map_err(bad)?;
            ended = ends && text == "end";
            continue;
        }
        let understood = match &block {
            Some(block) => inside(block, &words, text, &mut parsed.config).map_err(bad)?,
            None => false,
        };
        if !understood {
            parsed.others.push(line.to_owned());
        }
    }
    if ends && !ended {
        return Err(ParseError::whole(CONFIGURATION, "its end is missing"));
    }
    Ok(parsed)
}

/// The word that follows another.
fn word_after<'a>(words: &[&'a str], which: &str) -> Option<&'a str> {
    words.iter().position(|word| *word == which).and_then(|at| words.get(at + 1)).copied()
}

/// A group of SNMPv3, from what follows its name.
fn snmp_group(level: &str, rest: &[&str]) -> SnmpGroup {
    let view = |which: &str| word_after(rest, which).map(str::to_owned);
    SnmpGroup { encrypted: level == "priv", read: view("read"), write: view("write") }
}

impl fmt::Display for System {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::FastIron => "FastIron",
            Self::NetworkOs => "Network OS",
        })
    }
}

/// Which system the output of `show version` is of.
///
/// # Errors
/// When it is of none that is known, or not understood.
pub fn version(lines: &[String]) -> Result<Version, ParseError> {
    if lines.iter().any(|line| line.contains("Network Operating System")) {
        return nos::version(lines);
    }
    if lines.iter().any(|line| line.trim_start().starts_with("SW: Version")) {
        return fastiron::version(lines);
    }
    Err(ParseError::whole("show version", "it is neither FastIron's nor Network OS's"))
}

/// What a configuration is called in errors.
const CONFIGURATION: &str = "the configuration";
/// The longest line or element in an error, in bytes.
const LINE_BYTES_MAX: usize = 160;
/// The most lines of any output that is read.
pub(crate) const LINES_MAX: usize = 200_000;

#[cfg(test)]
pub(crate) fn lines(text: &str) -> Vec<String> {
    text.lines().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests;
