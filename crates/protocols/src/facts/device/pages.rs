//! The facts of a device, cut into records and put together again.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{ChannelFact, DeviceFacts, LeftOut, NeighbourFact, PortFact, UnitFact};
use crate::Mac;
use crate::ids::Name;
use crate::outcome::shorten;
use crate::record::{DEVICE_PREFIX, RECORD_BYTES_MAX};

/// One record of a device's facts. It is written as its content alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Page {
    /// Its key.
    #[serde(skip)]
    pub key: String,
    #[serde(flatten)]
    content: Content,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
enum Content {
    Head(Head),
    Rows(Rows),
    Addresses(Addresses),
}

/// What there is, and in how many pages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Head {
    system: String,
    version: String,
    model: Option<String>,
    units: Vec<UnitFact>,
    left_out: LeftOut,
    row_pages: usize,
    address_pages: usize,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
struct Rows {
    rows: Vec<Row>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Row {
    Port(String, PortFact),
    Channel(String, ChannelFact),
    Neighbour(NeighbourFact),
}

/// A part of the addresses: six bytes each, one after the other, in base64.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
struct Addresses {
    /// How many pages there were when it was written.
    of: usize,
    ports: BTreeMap<String, String>,
}

impl DeviceFacts {
    /// As records of the device of this name, at most `most` of them and at least three. The first says what was left out.
    pub fn pages(&self, name: &Name, most: usize) -> Vec<Page> {
        let most = most.max(PAGES_MIN);
        let mut left_out = LeftOut::default();
        let rows = fill(self.rows(), most / 3, &mut left_out);
        let room = (most - 1).saturating_sub(rows.len()).max(1);
        let room = if room.is_power_of_two() { room } else { room.next_power_of_two() / 2 };
        let addresses = self.split(room, &mut left_out);
        let unit = |unit: &UnitFact| UnitFact {
            id: unit.id,
            model: unit.model.as_deref().map(text),
            serial: unit.serial.as_deref().map(text),
        };
        let mut head = Head {
            system: text(&self.system),
            version: text(&self.version),
            model: self.model.as_deref().map(text),
            units: self.units.iter().map(unit).collect(),
            left_out,
            row_pages: rows.len(),
            address_pages: addresses.len(),
        };
        while bytes(&head) > RECORD_BYTES_MAX && head.units.pop().is_some() {
            head.left_out.units += 1;
        }
        let page = |key: String, content| Page { key: format!("{DEVICE_PREFIX}{name}{key}"), content };
        let mut pages = vec![page(String::new(), Content::Head(head))];
        pages.extend(rows.into_iter().enumerate().map(|(at, rows)| page(format!("/rows/{at}"), Content::Rows(rows))));
        let addresses = addresses.into_iter().enumerate();
        pages.extend(addresses.map(|(at, some)| page(format!("/addresses/{at}"), Content::Addresses(some))));
        pages
    }

    fn rows(&self) -> Vec<Row> {
        let channels = self.channels.iter().map(|(port, channel)| {
            let members = channel.members.iter().map(|(port, up)| (text(port), *up)).collect();
            let name = channel.name.as_deref().map(text);
            Row::Channel(text(port), ChannelFact { name, lacp: channel.lacp, members })
        });
        let neighbours = self.neighbours.iter().map(|far| {
            Row::Neighbour(NeighbourFact {
                port: text(&far.port),
                chassis: text(&far.chassis),
                far_port: text(&far.far_port),
                name: far.name.as_deref().map(text),
                fabric: far.fabric,
            })
        });
        let ports = self.ports.iter().map(|(port, fact)| {
            Row::Port(text(port), PortFact { description: fact.description.as_deref().map(text), ..fact.clone() })
        });
        // What leads somewhere first: ports are many.
        channels.chain(neighbours).chain(ports).collect()
    }

    /// The addresses in as few pages as they need, a power of two, and at most so many.
    fn split(&self, most: usize, left_out: &mut LeftOut) -> Vec<Addresses> {
        let mut kept: BTreeMap<String, BTreeSet<Mac>> = BTreeMap::new();
        for (port, some) in self.addresses.iter().filter(|(_, some)| !some.is_empty()) {
            kept.entry(text(port)).or_default().extend(some);
        }
        let mut of = 1;
        loop {
            let mut pages: Vec<BTreeMap<&str, Vec<u8>>> = vec![BTreeMap::new(); of];
            for (port, addresses) in &kept {
                for mac in addresses {
                    if let Some(page) = pages.get_mut(place(*mac, of)) {
                        page.entry(port).or_default().extend(mac.bytes());
                    }
                }
            }
            let Some(full) = pages.iter().find(|page| estimate(page) > RECORD_BYTES_MAX) else {
                return pages.into_iter().map(|page| Addresses { of, ports: written(page) }).collect();
            };
            if of < most {
                of *= 2;
                continue;
            }
            // Behind the port with the most is not a host: it leads to others.
            let Some(port) = full.iter().max_by_key(|(_, bytes)| bytes.len()).map(|(port, _)| (*port).to_owned())
            else {
                return Vec::new();
            };
            let gone = kept.remove(&port).map_or(0, |gone| gone.len());
            let named = left_out.addresses.len() < LEFT_OUT_PORTS_MAX;
            let count = left_out.addresses.entry(if named { port } else { String::new() }).or_default();
            *count = count.saturating_add(u32::try_from(gone).unwrap_or(u32::MAX));
        }
    }
}

/// Puts records of one writer together: the facts of each device, and what is wrong with the records.
pub fn collect<'a>(
    records: impl IntoIterator<Item = (&'a str, &'a [u8])>,
) -> (BTreeMap<Name, DeviceFacts>, Vec<String>) {
    let records: BTreeMap<&str, &[u8]> = records.into_iter().filter(|(_, value)| !value.is_empty()).collect();
    let (mut all, mut problems) = (BTreeMap::new(), Vec::new());
    let heads = records.iter().filter_map(|(key, value)| {
        let name = key.strip_prefix(DEVICE_PREFIX).filter(|rest| !rest.contains('/'))?;
        Some((name.parse::<Name>().ok()?, value))
    });
    for (name, value) in heads {
        let Ok(head) = serde_json::from_slice::<Head>(value) else {
            problems.push(format!("what is told of the device `{name}` is not understood"));
            continue;
        };
        let (facts, missing) = together(&name, head, &records);
        if missing > 0 {
            let why = format!("{missing} pages of what is told of the device `{name}` are not here or not understood");
            problems.push(why);
        }
        all.insert(name, facts);
    }
    (all, problems)
}

fn together(name: &Name, head: Head, records: &BTreeMap<&str, &[u8]>) -> (DeviceFacts, usize) {
    let mut facts = DeviceFacts {
        system: head.system,
        version: head.version,
        model: head.model,
        units: head.units,
        left_out: head.left_out,
        ..DeviceFacts::default()
    };
    let mut missing = 0;
    let page = |what: &str, at: usize| records.get(format!("{DEVICE_PREFIX}{name}/{what}/{at}").as_str()).copied();
    for at in 0..head.row_pages.min(PAGES_MAX) {
        let Some(page) = page("rows", at).and_then(|value| serde_json::from_slice::<Rows>(value).ok()) else {
            missing += 1;
            continue;
        };
        for row in page.rows {
            match row {
                Row::Port(port, fact) => drop(facts.ports.insert(port, fact)),
                Row::Channel(port, fact) => drop(facts.channels.insert(port, fact)),
                Row::Neighbour(fact) => facts.neighbours.push(fact),
            }
        }
    }
    for at in 0..head.address_pages.min(PAGES_MAX) {
        let page = page("addresses", at).and_then(|value| serde_json::from_slice::<Addresses>(value).ok());
        let Some(page) = page.filter(|page| page.of == head.address_pages) else {
            missing += 1;
            continue;
        };
        let decoded = page.ports.into_iter().map(|(port, text)| Some((port, macs(&text)?)));
        let Some(decoded) = decoded.collect::<Option<Vec<_>>>() else {
            missing += 1;
            continue;
        };
        for (port, macs) in decoded {
            facts.addresses.entry(port).or_default().extend(macs);
        }
    }
    (facts, missing)
}

/// Addresses as they are written; nothing if they are not.
fn macs(text: &str) -> Option<Vec<Mac>> {
    let bytes = data_encoding::BASE64_NOPAD.decode(text.as_bytes()).ok()?;
    bytes.chunks(6).map(|mac| Some(Mac::new(mac.try_into().ok()?))).collect()
}

/// Rows in order, page by page. Those that do not fit into so many pages are counted.
fn fill(rows: Vec<Row>, most: usize, left_out: &mut LeftOut) -> Vec<Rows> {
    let mut pages: Vec<Rows> = Vec::new();
    let mut used = RECORD_BYTES_MAX;
    for row in rows {
        let needed = bytes(&row) + 1;
        if used + needed > RECORD_BYTES_MAX {
            if pages.len() >= most || PAGE_FRAME_BYTES + needed > RECORD_BYTES_MAX {
                left_out.rows = left_out.rows.saturating_add(1);
                continue;
            }
            pages.push(Rows::default());
            used = PAGE_FRAME_BYTES;
        }
        used += needed;
        if let Some(page) = pages.last_mut() {
            page.rows.push(row);
        }
    }
    pages
}

fn written(page: BTreeMap<&str, Vec<u8>>) -> BTreeMap<String, String> {
    page.into_iter().map(|(port, bytes)| (port.to_owned(), data_encoding::BASE64_NOPAD.encode(&bytes))).collect()
}

/// At least as many bytes as the page has when it is written.
fn estimate(page: &BTreeMap<&str, Vec<u8>>) -> usize {
    let ports = page.iter().map(|(port, bytes)| port.len() * 2 + 6 + bytes.len().div_ceil(3) * 4);
    PAGE_FRAME_BYTES + ports.sum::<usize>()
}

/// Which of so many pages an address is in.
fn place(mac: Mac, of: usize) -> usize {
    usize::from(blake3::hash(&mac.bytes()).as_bytes()[0]) % of
}

fn bytes<T: Serialize>(value: &T) -> usize {
    serde_json::to_vec(value).map_or(RECORD_BYTES_MAX + 1, |bytes| bytes.len())
}

/// A text of a device: short, and without what is not printed.
fn text(text: &str) -> String {
    let plain: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(TEXT_BYTES_MAX).collect();
    shorten(&plain, TEXT_BYTES_MAX)
}

/// The longest text of a device, in bytes.
const TEXT_BYTES_MAX: usize = 64;
/// What a page has besides its lines, in bytes, and more.
const PAGE_FRAME_BYTES: usize = 64;
/// The fewest pages of a device.
const PAGES_MIN: usize = 3;
/// The most pages of one kind that are read.
const PAGES_MAX: usize = 128;
/// The most ports that are named of which addresses were left out.
const LEFT_OUT_PORTS_MAX: usize = 64;
