//! Every type that crosses the wire or a disk: it comes back as it went, and no bytes make its reader panic.

mod values;

use std::fmt::Debug;

use proptest::collection::vec;
use proptest::prelude::*;
use protocols::control::{
    Control, Denied, Echoed, Liveness, NodeReport, OfferProgress, Receipt, SubmitError, TailBatch, Welcome,
};
use protocols::enroll::{EnrollError, Enrolled, Enrollment, RedeemInvite};
use protocols::entry::Entry;
use protocols::facts::VolatileFacts;
use protocols::heartbeat::{BEATS_KEPT, BeatAck, BeatHistory, BeatMemory};
use protocols::node::{Draft, Node, NodeEcho, PlanScore, Planned};
use protocols::record::{BEATS, RECORD_BYTES_MAX, SignedRecord};
use protocols::seal::Sealed;
use protocols::{FleetId, Millis, NodeId, SecretKey, SignedEntry, Ticket};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use values::*;

/// Bytes out, value in, bytes out again: equal bytes, also where the type has no equality.
fn packs<T: Serialize + DeserializeOwned + Debug>(value: &T) {
    let packed = postcard::to_stdvec(value).unwrap();
    let (back, rest) = postcard::take_from_bytes::<T>(&packed).unwrap_or_else(|e| panic!("{value:?}: {e}"));
    assert!(rest.is_empty());
    assert_eq!(postcard::to_stdvec(&back).unwrap(), packed, "{value:?} came back as {back:?}");
}

/// The value with an unknown member in each of its objects in turn. Labels may hold any name, and a payload anything.
fn with_unknown_fields(value: &Value) -> Vec<Value> {
    let mut all = Vec::new();
    match value {
        Value::Object(members) => {
            let mut more = members.clone();
            more.insert("zzz-unknown".into(), Value::Null);
            all.push(Value::Object(more));
            for (name, member) in members.iter().filter(|(name, _)| *name != "labels" && *name != "payload") {
                for changed in with_unknown_fields(member) {
                    let mut members = members.clone();
                    members.insert(name.clone(), changed);
                    all.push(Value::Object(members));
                }
            }
        }
        Value::Array(items) => {
            for (at, item) in items.iter().enumerate() {
                for changed in with_unknown_fields(item) {
                    let mut items = items.clone();
                    items[at] = changed;
                    all.push(Value::Array(items));
                }
            }
        }
        _ => {}
    }
    all
}

fn is_json<T: Serialize + DeserializeOwned + Debug + PartialEq>(value: &T) {
    let json = serde_json::to_string(value).unwrap();
    assert_eq!(&serde_json::from_str::<T>(&json).unwrap(), value, "{json}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_entry_comes_back_byte_for_byte((entry, signed) in signed()) {
        packs(&signed);
        is_json(&entry);
        let back: SignedEntry = postcard::from_bytes(&postcard::to_stdvec(&signed).unwrap()).unwrap();
        prop_assert_eq!(&back, &signed);
        let verified = back.verify().unwrap();
        prop_assert_eq!(verified.entry(), &entry);
        prop_assert_eq!(verified.hash(), signed.hash());
        prop_assert_eq!(&serde_json::to_vec(verified.entry()).unwrap()[..], &signed.bytes[..]);
    }

    #[test]
    fn what_an_entry_does_not_know_it_refuses((_, signed) in signed()) {
        let text = std::str::from_utf8(&signed.bytes).unwrap();
        let value: Value = serde_json::from_str(text).unwrap();
        for more in with_unknown_fields(&value) {
            let more = more.to_string();
            prop_assert!(serde_json::from_str::<Entry>(&more).is_err(), "{}", more);
        }
        // A field twice, a number that is not whole, and one that is negative.
        for (what, with) in [("\"seq\":", "\"seq\":1,\"seq\":"), (",\"at\":", ".0,\"at\":"), ("\"seq\":", "\"seq\":-")] {
            let odd = text.replacen(what, with, 1);
            prop_assert!(odd != text, "{} is nowhere in {}", what, text);
            prop_assert!(serde_json::from_str::<Entry>(&odd).is_err(), "{}", odd);
        }
    }

    #[test]
    fn an_altered_entry_is_refused((entry, signed) in signed(), at in any::<prop::sample::Index>(), flip in 1..=255u8, other in key()) {
        let mut bytes = signed.bytes.to_vec();
        bytes[at.index(signed.bytes.len())] ^= flip;
        let altered = SignedEntry { bytes: bytes.into(), ..signed.clone() };
        prop_assert!(altered.verify().is_err());
        let mut signature = *signed.signature.as_bytes();
        signature[at.index(64)] ^= flip;
        let signature = protocols::Signature::from_bytes(signature);
        let forged = SignedEntry { signature, ..signed.clone() };
        prop_assert!(forged.verify().is_err());
        prop_assert!(entry.sign(&other).is_err(), "not its author");
        let theirs = SignedEntry { signature: other.sign(protocols::entry::ENTRY_DOMAIN, &signed.bytes), ..signed };
        prop_assert!(theirs.verify().is_err());
    }

    #[test]
    fn messages_come_back_as_they_went(control in control(), redeem in redeem(), head in head(), addr in addr(), record in record(), entry in signed(), versions in versions(), text in ".{0,30}", numbers in any::<[u64; 3]>(), id in id()) {
        packs(&control);
        packs(&Enrollment::Redeem(RedeemInvite(redeem)));
        let claim = entry.1.signature;
        packs(&TailBatch { entries: vec![entry.1], head, claim: Some(claim), end: None });
        packs(&Receipt { head });
        packs(&BeatAck { head, claim, records_differ: true });
        packs(&versions);
        packs(&Ok::<Enrolled, EnrollError>(Enrolled { head }));
        packs(&Err::<Enrolled, EnrollError>(EnrollError::Refused(protocols::Refusal::UnknownAuthor(id))));
        packs(&Err::<Receipt, SubmitError>(SubmitError::Denied(Denied::NotAMember(id))));
        packs(&Err::<Receipt, SubmitError>(SubmitError::Storage(text.clone())));
        packs(&Echoed { text: text.clone(), caller: id });
        packs(&Welcome { fleet: FleetId::from_bytes([1; 32]), head, claim, document: Some([2; 32]), clock: Millis(numbers[0]), version: text });
        packs(&OfferProgress { blobs: numbers[0], of: numbers[1], bytes: numbers[2] });
        let liveness = Liveness { silent_millis: Some(numbers[0]), online: true, head: Some(head), addr: Some(addr.clone()) };
        packs(&NodeReport { node: addr.id, liveness, records: vec![record] });
        packs(&addr);
        is_json(&addr);
    }

    #[test]
    fn what_agents_hear_and_say_comes_back(policy in policy(), outcome in outcome(), facts in facts(), name in declaration(), kind in kind(), subject in subject(), text in ".{0,30}") {
        let draft = Draft { name, kind, subject, policy_json: serde_json::to_string(&policy).unwrap(), payload: text.clone() };
        prop_assert_eq!(draft.policy().unwrap(), policy.clone());
        packs(&Node::Plan(PlanScore(draft)));
        packs(&Node::Echo(NodeEcho(text.clone())));
        packs(&Ok::<Planned, Denied>(Planned::Steps(vec![text.clone(), text.clone()])));
        packs(&Ok::<Planned, Denied>(Planned::Cannot(text)));
        is_json(&policy);
        is_json(&outcome);
        is_json(&facts);
        is_json(&VolatileFacts { load_hundredths: Some(3), ..VolatileFacts::default() });
        drop(policy.check());
    }

    #[test]
    fn tickets_records_and_selectors_come_back(ticket in ticket(), record in record(), selector in selector(), labels in labels()) {
        prop_assert_eq!(ticket.to_string().parse::<Ticket>().unwrap(), ticket.clone());
        packs(&ticket);
        packs(&record);
        prop_assert!(record.verify().is_ok());
        is_json(&selector);
        is_json(&labels);
        packs(&selector);
    }

    #[test]
    fn no_bytes_make_a_reader_panic(bytes in vec(any::<u8>(), 0..300), seed in any::<[u8; 32]>()) {
        drop(postcard::from_bytes::<Control>(&bytes));
        drop(postcard::from_bytes::<Enrollment>(&bytes));
        drop(postcard::from_bytes::<Node>(&bytes));
        drop(postcard::from_bytes::<Ticket>(&bytes));
        drop(postcard::from_bytes::<Result<Receipt, SubmitError>>(&bytes));
        drop(postcard::from_bytes::<Vec<NodeReport>>(&bytes));
        drop(postcard::from_bytes::<TailBatch>(&bytes));
        if let Ok(record) = postcard::from_bytes::<SignedRecord>(&bytes) {
            drop(record.verify());
        }
        if let Ok(signed) = postcard::from_bytes::<SignedEntry>(&bytes) {
            drop(signed.verify());
        }
        if let Ok(sealed) = postcard::from_bytes::<Sealed>(&bytes) {
            prop_assert!(sealed.open(&SecretKey::from_seed(&seed)).is_err());
        }
        drop(serde_json::from_slice::<Entry>(&bytes));
        let read: Vec<_> = protocols::export::read(&bytes[..]).collect();
        prop_assert!(read.len() <= bytes.len());
    }

    #[test]
    fn cut_and_altered_messages_are_no_panic(control in control(), cut in any::<prop::sample::Index>(), flip in any::<u8>()) {
        let mut packed = postcard::to_stdvec(&control).unwrap();
        prop_assert!(postcard::from_bytes::<Control>(&packed[..cut.index(packed.len())]).is_err(), "cut short and yet whole");
        let at = cut.index(packed.len());
        packed[at] ^= flip;
        drop(postcard::from_bytes::<Control>(&packed));
    }

    #[test]
    fn sealed_bytes_open_for_their_recipients(plain in vec(any::<u8>(), 0..100), a in key(), b in key()) {
        let sealed = Sealed::seal(&plain, &[a.id()]).unwrap();
        packs(&sealed);
        prop_assert_eq!(sealed.open(&a).unwrap(), plain);
        prop_assert!(a.id() == b.id() || sealed.open(&b).is_err());
        prop_assert!(Sealed::seal(b"x", &[NodeId::from_bytes([0; 32])]).is_err(), "a weak key");
    }
}

#[test]
fn a_full_history_of_heartbeats_fits_into_a_record() {
    let key = SecretKey::from_seed(&[1; 32]);
    let mut history = BeatHistory::default();
    for _ in 0..3 * BEATS_KEPT {
        history.push(BeatMemory { at: Millis(253_402_300_799_999), to: key.id(), rtt_micros: Some(u32::MAX) });
    }
    assert_eq!(history.len(), BEATS_KEPT);
    let record = SignedRecord::sign(&key, BEATS, 1, &history).unwrap();
    assert!(record.value.len() <= RECORD_BYTES_MAX);
    is_json(&history);
}
