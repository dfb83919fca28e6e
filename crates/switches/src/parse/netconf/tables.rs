//! `get-interface-detail`, `get-vlan-brief`, `get-port-channel-detail` and `show-linkinfo`.

use super::super::{FabricLink, Interface, LagMember, LagState, Mac, ParseError, VlanState};
use super::{FABRIC, INTERFACES, LAGS, leaf, maybe, number, port, sure_port};
use crate::netconf::Element;

/// A part of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T, L> {
    /// What stands on it.
    pub found: Vec<T>,
    /// What stands last, for asking what comes behind it.
    pub last: Option<L>,
    /// Whether there is another one.
    pub more: bool,
}

impl<T, L> Page<T, L> {
    const fn empty() -> Self {
        Self { found: Vec::new(), last: None, more: false }
    }
}

/// Goes through an answer: its entries, and whether there is more. Anything else is not understood.
fn entries<T, L>(
    what: &str,
    reply: &Element,
    namespace: &str,
    name: &str,
    others: &[&str],
    mut entry: impl FnMut(&Element, &mut Page<T, L>) -> Result<(), ParseError>,
) -> Result<Page<T, L>, ParseError> {
    let mut page = Page::empty();
    let mut more = None;
    for child in reply.children() {
        if child.is(name, namespace) {
            entry(child, &mut page)?;
        } else if child.is("has-more", namespace) {
            let said = match child.text() {
                "true" => true,
                "false" => false,
                _ => return Err(ParseError::element(what, child, "it is neither true nor false")),
            };
            if more.replace(said).is_some() {
                return Err(ParseError::element(what, child, "it stands there twice"));
            }
        } else if !others.iter().any(|other| child.is(other, namespace)) && child.name() != "rpc-error" {
            return Err(ParseError::element(what, child, format!("it is neither `{name}` nor `has-more`")));
        }
    }
    page.more = more.ok_or_else(|| ParseError::whole(what, "it does not say whether there is more"))?;
    Ok(page)
}

/// Reads an answer to `get-interface-detail`.
///
/// # Errors
/// When an element is not understood.
pub fn interfaces(reply: &Element) -> Result<Page<Interface, (String, String)>, ParseError> {
    const WHAT: &str = "get-interface-detail";
    entries(WHAT, reply, INTERFACES, "interface", &[], |entry, page| {
        let kind = leaf(WHAT, entry, "interface-type")?.to_owned();
        page.last = Some((kind, leaf(WHAT, entry, "interface-name")?.to_owned()));
        let Some(port) = port(WHAT, entry, "interface-type", "interface-name")? else { return Ok(()) };
        let state = |name: &str| match leaf(WHAT, entry, name)? {
            "up" => Ok(true),
            "down" | "unknown" => Ok(false),
            other => Err(ParseError::element(WHAT, entry, format!("`{name}` is {other:?}"))),
        };
        let (enabled, up) = (state("if-state")?, state("line-protocol-state")?);
        let speed = maybe(WHAT, entry, "actual-line-speed")?.unwrap_or_default();
        let megabits = megabits(speed)
            .map_err(|()| ParseError::element(WHAT, entry, format!("`actual-line-speed` is {speed:?}")))?;
        let name = maybe(WHAT, entry, "if-description")?.filter(|text| !text.is_empty()).map(str::to_owned);
        let up = up && enabled;
        page.found.push(Interface { port, up, disabled: !enabled, megabits: megabits.filter(|_| up), name });
        Ok(())
    })
}

/// `10Gbps`, `1000 Mbit`; several words stand for none.
fn megabits(text: &str) -> Result<Option<u32>, ()> {
    let text = text.to_ascii_lowercase();
    if ["", "--", "auto", "nil", "none", "unknown"].contains(&text.as_str()) {
        return Ok(None);
    }
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let amount: u32 = text[..split].parse().map_err(|_| ())?;
    match text[split..].trim() {
        "g" | "gbps" | "gbit" | "gb" => amount.checked_mul(1000).map(Some).ok_or(()),
        "m" | "mbps" | "mbit" | "mb" => Ok(Some(amount)),
        _ => Err(()),
    }
}

/// Reads an answer to `get-vlan-brief`.
///
/// # Errors
/// When an element is not understood.
pub fn vlans(reply: &Element) -> Result<Page<VlanState, u16>, ParseError> {
    const WHAT: &str = "get-vlan-brief";
    let mut page = entries(WHAT, reply, INTERFACES, "vlan", &["last-vlan-id"], |entry, page| {
        let id = number(WHAT, entry, "vlan-id")?;
        let name = maybe(WHAT, entry, "vlan-name")?.filter(|name| !name.is_empty());
        // What it calls a VLAN that nobody has named.
        let name = name.filter(|name| *name != format!("VLAN{id:04}")).map(str::to_owned);
        page.found.push(VlanState { id, name });
        Ok(())
    })?;
    if page.more {
        page.last = Some(number(WHAT, reply, "last-vlan-id")?);
    }
    Ok(page)
}

/// Reads an answer to `get-port-channel-detail`.
///
/// # Errors
/// When an element is not understood.
pub fn lags(reply: &Element) -> Result<Page<LagState, u16>, ParseError> {
    const WHAT: &str = "get-port-channel-detail";
    entries(WHAT, reply, LAGS, "lacp", &[], |entry, page| {
        let id = number(WHAT, entry, "aggregator-id")?;
        page.last = Some(id);
        let lacp = match leaf(WHAT, entry, "aggregator-mode")? {
            "lacp" | "dynamic" | "active" | "passive" => true,
            "static" | "on" => false,
            other => return Err(ParseError::element(WHAT, entry, format!("`aggregator-mode` is {other:?}"))),
        };
        let partner = match maybe(WHAT, entry, "partner-system-id")?.filter(|text| !text.is_empty()) {
            // A priority may stand before it.
            Some(text) => {
                let mac = text.rsplit(',').next().unwrap_or_default();
                Some(mac.trim().parse::<Mac>().map_err(|why| ParseError::element(WHAT, entry, why))?)
            }
            None => None,
        };
        let partner = partner.filter(|mac| mac.bytes() != [0; 6]);
        let mut members = Vec::new();
        for member in entry.children().iter().filter(|child| child.is("aggr-member", LAGS)) {
            let operational = match leaf(WHAT, member, "sync")? {
                "1" | "true" => true,
                "0" | "false" => false,
                other => return Err(ParseError::element(WHAT, member, format!("`sync` is {other:?}"))),
            };
            let port = sure_port(WHAT, member, "interface-type", "interface-name")?;
            let partner = partner.filter(|_| operational);
            members.push(LagMember { port, operational: Some(operational), partner });
        }
        page.found.push(LagState { id, name: None, lacp, deployed: true, members });
        Ok(())
    })
}

/// Reads an answer to `show-linkinfo`.
///
/// # Errors
/// When an element is not understood.
pub fn fabric(reply: &Element) -> Result<Vec<FabricLink>, ParseError> {
    const WHAT: &str = "show-linkinfo";
    let mut found = Vec::new();
    for rbridge in reply.children() {
        if !rbridge.is("show-link-info", FABRIC) {
            return Err(ParseError::element(WHAT, rbridge, "it is not `show-link-info`"));
        }
        number(WHAT, rbridge, "linkinfo-rbridgeid")?;
        for link in rbridge.children().iter().filter(|child| child.is("linkinfo-isl", FABRIC)) {
            let end = |side: &str| {
                let (kind, name) =
                    (format!("linkinfo-isllink-{side}-type"), format!("linkinfo-isllink-{side}-interface"));
                sure_port(WHAT, link, &kind, &name)
            };
            let far = number(WHAT, link, "linkinfo-isllink-destdomain")?;
            found.push(FabricLink {
                port: end("srcport")?,
                far_port: end("destport")?,
                name: format!("rbridge {far}"),
            });
        }
    }
    Ok(found)
}
