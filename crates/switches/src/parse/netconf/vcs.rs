//! `show-vcs`: who is in the fabric, with models and serial numbers.

use super::super::{ParseError, Unit};
use super::{VCS, inside, leaf, maybe, number};
use crate::netconf::Element;

/// Reads an answer to `show-vcs`: every switch of the fabric by its rbridge id. Nothing where there is no fabric.
///
/// # Errors
/// When an element is not understood, or there are fewer switches than it says are connected.
pub fn nodes(reply: &Element) -> Result<Vec<Unit>, ParseError> {
    const WHAT: &str = "show-vcs";
    let count = |name: &str| -> Result<usize, ParseError> {
        let text = maybe(WHAT, reply, name)?.filter(|text| !text.is_empty());
        let bad = |_| ParseError::whole(WHAT, format!("`{name}` is no number"));
        text.map_or(Ok(0), |text| text.parse().map_err(bad))
    };
    let total = count("total-nodes-in-cluster")?;
    let connected = total.saturating_sub(count("nodes-disconnected-from-cluster")?);
    let mut found: Vec<Unit> = Vec::new();
    for node in inside(WHAT, reply, "vcs-nodes")?.map(Element::children).unwrap_or_default() {
        if !node.is("vcs-node-info", VCS) {
            return Err(ParseError::element(WHAT, node, "it is not `vcs-node-info`"));
        }
        let id = number(WHAT, node, "node-rbridge-id")?;
        if found.iter().any(|unit| unit.id == id) {
            return Err(ParseError::element(WHAT, node, "another one has this rbridge id"));
        }
        let word = |name: &str| -> Result<Option<String>, ParseError> {
            Ok(maybe(WHAT, node, name)?.filter(|text| !text.is_empty()).map(str::to_owned))
        };
        // It stands there in every answer; that it may be empty is another matter.
        leaf(WHAT, node, "node-num")?;
        found.push(Unit { id, model: word("node-switchtype")?, serial: word("node-serial-num")? });
    }
    if found.len() < connected {
        let why = format!("it says that {connected} are connected, and lists {}", found.len());
        return Err(ParseError::whole(WHAT, why));
    }
    found.sort_by_key(|unit| unit.id);
    Ok(found)
}
