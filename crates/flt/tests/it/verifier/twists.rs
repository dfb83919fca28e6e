//! Entries whose bytes are odd and whose signature holds: what one reader takes and another refuses would split a fleet.

use protocols::entry::ENTRY_DOMAIN;
use protocols::{SecretKey, SignedEntry};
use serde_json::{Value, json};

use super::random::Random;

/// The same entry with something odd in its JSON, signed as its author.
pub(super) fn twisted(random: &mut Random, signed: &SignedEntry, key: &SecretKey) -> SignedEntry {
    let text = String::from_utf8(signed.bytes.to_vec()).unwrap();
    let bytes = match random.below(10) {
        0..=5 => value(random, &text),
        6 => letters(random, &text),
        _ => bytes(random, text.into_bytes()),
    };
    let signature = key.sign(ENTRY_DOMAIN, &bytes);
    SignedEntry { bytes: bytes.into(), signature }
}

/// One value put in the place of another, or an object changed.
fn value(random: &mut Random, text: &str) -> Vec<u8> {
    // What cannot be held as a value (a payload with an odd number) is altered as text.
    let Ok(mut value) = serde_json::from_str::<Value>(text) else { return letters(random, text) };
    let count = places(&value);
    let chosen = random.below(count);
    alter(&mut value, &mut { chosen }, random);
    serde_json::to_vec(&value).unwrap()
}

fn places(value: &Value) -> u64 {
    1 + match value {
        Value::Array(all) => all.iter().map(places).sum::<u64>(),
        Value::Object(all) => all.values().map(places).sum::<u64>(),
        _ => 0,
    }
}

fn alter(value: &mut Value, left: &mut u64, random: &mut Random) -> bool {
    if *left == 0 {
        change(value, random);
        return true;
    }
    *left -= 1;
    match value {
        Value::Array(all) => all.iter_mut().any(|v| alter(v, left, random)),
        Value::Object(all) => all.values_mut().any(|v| alter(v, left, random)),
        _ => false,
    }
}

fn change(value: &mut Value, random: &mut Random) {
    match value {
        Value::Object(all) if random.once_in(2) => {
            let names: Vec<String> = all.keys().cloned().collect();
            match random.below(3) {
                0 => drop(all.insert("unknown".into(), Value::Null)),
                1 if !names.is_empty() => {
                    let at = usize::try_from(random.below(names.len() as u64)).unwrap();
                    drop(all.remove(&names[at]));
                }
                _ => *value = Value::Array(all.values().cloned().collect()),
            }
        }
        Value::String(text) if random.once_in(2) => match random.below(5) {
            0 => *text = text.to_uppercase(),
            1 => text.push('\u{e9}'),
            2 => drop(text.pop()),
            3 => text.insert(0, ' '),
            _ => *value = json!({ text.clone(): null }),
        },
        Value::Number(_) if random.once_in(2) => {
            let all = [json!(1.0), json!(-1), json!(u64::MAX), json!("1"), json!(1e3), json!(0), json!(1u64 << 32)];
            *value = all[usize::try_from(random.below(7)).unwrap()].clone();
        }
        _ => {
            let all = [json!(null), json!([]), json!({}), json!(true), json!(0), json!(""), json!("*"), json!([[]])];
            *value = all[usize::try_from(random.below(8)).unwrap()].clone();
        }
    }
}

/// Pieces of the text put in the place of others: what a value cannot hold.
fn letters(random: &mut Random, text: &str) -> Vec<u8> {
    let all = [
        ("\"seq\":", "\"seq\":1,\"seq\":"),
        ("\"seq\":", "\"seq\" :\n\t "),
        ("\"seq\":", "\"s\\u0065q\":"),
        ("\"seq\":", "\"seq\":0"),
        ("\"seq\":", "\"seq\":-"),
        ("\"seq\":", "\"seq\":+"),
        ("\"at\":", "\"at\":1e"),
        ("\"at\":", "\"at\":99999999999999999999"),
        (",\"author\"", ".0,\"author\""),
        ("\"body\":{", "\"body\":{\"withdraw\":{\"name\":\"a/a\"},"),
        ("\"body\":{", "\"body\":{,"),
        ("}}", "},}"),
        ("}}", "}}}"),
        ("}}", "}} x"),
        ("}}", "}}\u{a0}"),
        ("}}", "}} \r\n"),
        ("{\"", "\u{feff}{\""),
        ("\"name\":\"", "\"name\":\"a/a\",\"name\":\""),
        ("\"reason\":\"", "\"reason\":\"\\ud800"),
        ("\"reason\":\"", "\"reason\":\"\\ud83d\\ude00"),
        ("\"reason\":\"", "\"reason\":\"\\x"),
        ("\"note\":\"", "\"note\":\"\t"),
        ("\"labels\":{", "\"labels\":{\"role\":\"x\",\"role\":\"y\","),
        ("\"payload\":", "\"payload\":NaN,\"x\":"),
        ("\"payload\":", "\"payload\": \n[\"\\ud800\", 01],\"x\":"),
        ("\"payload\":[", "\"payload\":[\"\\udc00\",1.5e+7, -0 ,{\"a\":1,\"a\":2},"),
        ("\"type\":\"contact\"", "\"type\":\"contact\",\"more\":1"),
        ("\"type\":\"", "\"type\":\"tcp\",\"type\":\""),
        ("\"expires\":", "\"expires\":null,\"e\":"),
    ];
    let fitting: Vec<(&str, &str)> = all.into_iter().filter(|(what, _)| text.contains(what)).collect();
    let (what, with) = random.one_of(&fitting);
    text.replacen(what, with, 1).into_bytes()
}

/// Any byte another one, left out, or doubled.
fn bytes(random: &mut Random, mut bytes: Vec<u8>) -> Vec<u8> {
    let at = usize::try_from(random.below(bytes.len() as u64)).unwrap();
    match random.below(3) {
        0 => drop(bytes.remove(at)),
        1 => bytes.insert(at, bytes[at]),
        _ => {
            bytes[at] = random.one_of(b"\x00\x1f \"\\{}[],:09aAf-.eE*!\x7f\x80\xff");
        }
    }
    bytes
}
