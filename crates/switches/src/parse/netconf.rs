//! What Network OS answers by NETCONF, read by pure functions.
//!
//! Leaves that nobody asks for are skipped: a newer device may have more of them, and no list gets shorter by it. An
//! element that stands where entries stand, a leaf that is missing or doubled, and a value of no known meaning are errors
//! that show it.

mod config;
mod tables;
mod vcs;

use scores::switch::Port;

use super::ParseError;
use crate::netconf::Element;

pub use config::configuration;
pub(crate) use config::differences;
pub use tables::{Page, fabric, interfaces, lags, vlans};
pub use vcs::nodes;

/// The namespace of interfaces and VLANs as they do.
pub(crate) const INTERFACES: &str = "urn:brocade.com:mgmt:brocade-interface-ext";
/// The namespace of port channels as they do.
pub(crate) const LAGS: &str = "urn:brocade.com:mgmt:brocade-lag";
/// The namespace of the fabric.
pub(crate) const FABRIC: &str = "urn:brocade.com:mgmt:brocade-fabric-service";
/// The namespace of the switches of a fabric.
pub(crate) const VCS: &str = "urn:brocade.com:mgmt:brocade-vcs";
/// The namespace of interfaces as they are configured.
pub(crate) const CONFIG: &str = "urn:brocade.com:mgmt:brocade-interface";

/// The text of a leaf that must be there.
fn leaf<'a>(what: &str, entry: &'a Element, name: &str) -> Result<&'a str, ParseError> {
    let found = maybe(what, entry, name)?.filter(|text| !text.is_empty());
    found.ok_or_else(|| ParseError::element(what, entry, format!("there is no `{name}`")))
}

/// The text of a leaf that may be there.
fn maybe<'a>(what: &str, entry: &'a Element, name: &str) -> Result<Option<&'a str>, ParseError> {
    let Some(found) = inside(what, entry, name)? else { return Ok(None) };
    if found.children().is_empty() {
        return Ok(Some(found.text()));
    }
    Err(ParseError::element(what, found, "it should hold a text"))
}

/// The one child of this name, if there is one.
fn inside<'a>(what: &str, entry: &'a Element, name: &str) -> Result<Option<&'a Element>, ParseError> {
    let mut found = entry.children().iter().filter(|child| child.name() == name);
    let first = found.next();
    if found.next().is_some() {
        return Err(ParseError::element(what, entry, format!("there are two of `{name}`")));
    }
    Ok(first)
}

fn number(what: &str, entry: &Element, name: &str) -> Result<u16, ParseError> {
    let text = leaf(what, entry, name)?;
    text.parse().map_err(|_| ParseError::element(what, entry, format!("`{name}` is no number")))
}

/// The port that two leaves name; nothing for interfaces that are neither ports nor port channels.
fn port(what: &str, entry: &Element, kind: &str, name: &str) -> Result<Option<Port>, ParseError> {
    let (kind, name) = (leaf(what, entry, kind)?, leaf(what, entry, name)?);
    if NO_PORTS.contains(&kind.to_ascii_lowercase().as_str()) {
        return Ok(None);
    }
    super::nos::port(kind, name).map(Some).map_err(|why| ParseError::element(what, entry, why))
}

/// A port that two leaves name.
fn sure_port(what: &str, entry: &Element, kind: &str, name: &str) -> Result<Port, ParseError> {
    port(what, entry, kind, name)?.ok_or_else(|| ParseError::element(what, entry, "no port stands there"))
}

/// Interfaces that no score governs.
const NO_PORTS: &[&str] =
    &["vlan", "l2vlan", "ve", "loopback", "fcoe", "fibrechannel", "management", "tunnel", "mgmt", "unknown"];

#[cfg(test)]
mod tests;
