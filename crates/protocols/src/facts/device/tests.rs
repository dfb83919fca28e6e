use proptest::prelude::*;

use super::*;
use crate::SecretKey;
use crate::record::{RECORDS_PER_WRITER_MAX, SignedRecord};

fn name() -> Name {
    "rack-3".parse().unwrap()
}

fn mac(n: u32) -> Mac {
    let [a, b, c, d] = n.to_be_bytes();
    Mac::new([0x02, 0x11, a, b, c, d])
}

/// Writes pages as an agent does, and reads them as an admin does.
fn carried(facts: &DeviceFacts, most: usize) -> (DeviceFacts, usize) {
    let key = SecretKey::generate();
    let pages = facts.pages(&name(), most);
    let records: Vec<SignedRecord> =
        pages.iter().map(|page| SignedRecord::sign(&key, &page.key, 1, page).unwrap()).collect();
    let (mut all, problems) = collect(records.iter().map(|record| (record.key.as_str(), &record.value[..])));
    assert_eq!(problems, Vec::<String>::new());
    (all.remove(&name()).unwrap(), pages.len())
}

/// A stack with an uplink behind which nearly everything is.
fn large(addresses: u32) -> DeviceFacts {
    let mut facts = DeviceFacts { system: "FastIron".into(), version: "08.0.95".into(), ..DeviceFacts::default() };
    for unit in 1..=4 {
        facts.units.push(UnitFact { id: unit, model: Some("ICX7450-48".into()), serial: Some(format!("FEE{unit}#Q")) });
        for port in 1..=48 {
            let fact = PortFact {
                up: port % 3 != 0,
                megabits: Some(10_000),
                description: Some(format!("to rack {unit} \"{port}\"")),
                ..PortFact::default()
            };
            facts.ports.insert(format!("{unit}/1/{port}"), fact);
        }
    }
    for n in 0..addresses {
        let port = if n % 16 == 0 { format!("{}/1/{}", n % 3 + 1, n % 47 + 1) } else { "lg1".to_owned() };
        facts.addresses.entry(port).or_default().insert(mac(n));
    }
    facts
}

#[test]
fn a_table_of_sixteen_thousand_is_carried_whole() {
    let facts = large(16_384);
    let (back, records) = carried(&facts, records_each(1));
    assert_eq!(back, facts);
    assert!(records <= RECORDS_PER_DEVICE_MAX, "{records}");
}

#[test]
fn what_does_not_fit_is_left_out_where_the_most_is_and_counted() {
    let facts = large(16_384);
    for devices in [8, DEVICES_TOLD_MAX, 1000] {
        let most = records_each(devices);
        let (back, records) = carried(&facts, most);
        assert!(records <= most && records * devices.min(DEVICES_TOLD_MAX) <= DEVICE_RECORDS_MAX, "{records}");
        assert_eq!(back.left_out.addresses, BTreeMap::from([("lg1".to_owned(), 15_360)]));
        let told: usize = back.addresses.values().map(BTreeSet::len).sum();
        assert_eq!(told, 1024);
        assert_eq!(back.ports.len() + back.left_out.rows as usize, facts.ports.len());
        assert!(!back.left_out.is_empty());
    }
    const { assert!(DEVICE_RECORDS_MAX * 2 <= RECORDS_PER_WRITER_MAX) };
    const { assert!(DEVICE_RECORDS_MAX / DEVICES_TOLD_MAX >= 3) };
}

#[test]
fn an_address_that_comes_changes_one_page() {
    let before = large(4000);
    let mut after = before.clone();
    after.addresses.get_mut("lg1").unwrap().insert(mac(1_000_001));
    let (before, after) = (before.pages(&name(), 24), after.pages(&name(), 24));
    let changed = before.iter().zip(&after).filter(|(before, after)| before != after).count();
    assert_eq!((before.len(), changed), (after.len(), 1));
}

#[test]
fn a_page_that_is_missing_or_old_is_told() {
    let facts = large(4000);
    let bytes = |pages: Vec<Page>| -> BTreeMap<String, Vec<u8>> {
        pages.into_iter().map(|page| (page.key.clone(), serde_json::to_vec(&page).unwrap())).collect()
    };
    let whole = bytes(facts.pages(&name(), 24));
    let read = |pages: &BTreeMap<String, Vec<u8>>| collect(pages.iter().map(|(key, value)| (key.as_str(), &value[..])));
    for gone in ["device/rack-3/rows/0", "device/rack-3/addresses/1"] {
        let mut pages = whole.clone();
        pages.remove(gone).unwrap();
        let (all, problems) = read(&pages);
        assert!(all.contains_key(&name()) && problems[0].contains("1 pages"), "{problems:?}");
    }
    // One that was written when there were fewer of them.
    let mut pages = whole.clone();
    pages.extend(bytes(large(10).pages(&name(), 24)).into_iter().filter(|(key, _)| key.ends_with("addresses/0")));
    assert_eq!(read(&pages).1.len(), 1);
    let mut pages = whole;
    pages.insert("device/rack-3".into(), b"{}".to_vec());
    let (all, problems) = read(&pages);
    assert!(all.is_empty() && problems.len() == 1, "{problems:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn nothing_that_a_device_says_breaks_the_bounds(
        text in "\\PC{0,80}|[\"\\\\\u{1}ä]{0,200}",
        ports in 0u32..3000,
        units in 0u16..400,
        most in 0usize..30,
    ) {
        let mut facts = DeviceFacts { system: text.clone(), model: Some(text.clone()), ..DeviceFacts::default() };
        for unit in 0..units {
            facts.units.push(UnitFact { id: unit, model: Some(text.clone()), serial: Some(text.clone()) });
        }
        for port in 0..ports {
            let fact = PortFact { description: Some(text.clone()), ..PortFact::default() };
            facts.ports.insert(format!("{port}{text}"), fact);
            facts.addresses.entry(format!("{}{text}", port % 90)).or_default().insert(mac(port));
        }
        let (back, records) = carried(&facts, most);
        prop_assert!(records <= most.max(3));
        prop_assert_eq!(back.units.len() + back.left_out.units as usize, facts.units.len());
        let (told, left): (usize, u32) =
            (back.addresses.values().map(BTreeSet::len).sum(), back.left_out.addresses.values().sum());
        prop_assert_eq!(told + left as usize, ports as usize);
        prop_assert_eq!(back.ports.len() + back.left_out.rows as usize, ports as usize);
    }

    #[test]
    fn nothing_that_a_node_says_is_a_panic(value in "\\PC*", pages in 0usize..2000, text in "[A-Za-z0-9+/]{0,20}") {
        let head = format!(
            r#"{{"system":"","version":"","model":null,"units":[],"left_out":{{}},"row_pages":{pages},"address_pages":1}}"#
        );
        let addresses = format!(r#"{{"of":1,"ports":{{"1":"{text}"}}}}"#);
        for head in [&head, &value] {
            let records = [
                ("device/a", head.as_bytes()),
                ("device/a/rows/0", value.as_bytes()),
                ("device/a/addresses/0", addresses.as_bytes()),
            ];
            let (all, problems) = collect(records);
            prop_assert!(all.len() <= 1 && problems.len() <= 1);
        }
    }
}
