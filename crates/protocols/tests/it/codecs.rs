//! Every type that crosses the wire or a disk: it comes back as it went, and no bytes make its reader panic.

use std::fmt::Debug;
use std::net::SocketAddr;

use proptest::collection::vec;
use proptest::prelude::*;
use protocols::addr::PeerAddr;
use protocols::control as c;
use protocols::control::{
    Control, Denied, Echoed, Liveness, NodeReport, OfferProgress, Receipt, SubmitError, TailBatch, Welcome,
};
use protocols::enroll::{EnrollError, Enrolled, Enrollment, RedeemInvite};
use protocols::entry::{
    Appoint, Approval, Body, Checkpoint, Enroll, Entry, Founder, Genesis, Grant, Invite, Payload, Place, Publish,
    Quarantine, Recover, Recovery, Redeem, Release, Revoke, Role, Rotate, SetRecovery, Verb, Withdraw,
};
use protocols::facts::{Interface, StableFacts, VolatileFacts};
use protocols::heartbeat::{BEATS_KEPT, Beat, BeatAck, BeatHistory, BeatMemory};
use protocols::node::{Draft, Node, NodeEcho, PlanScore, Planned};
use protocols::record::{BEATS, KeyVersion, RECORD_BYTES_MAX, SignedRecord};
use protocols::seal::Sealed;
use protocols::selector::Labels;
use protocols::ticket::{InviteSecret, RelayPin};
use protocols::{
    BlobHash, BlobRef, Check, Digest, EntryHash, FleetId, Head, Millis, NodeId, Outcome, Policy, SecretKey, Selector,
    SignedEntry, Ticket, Verdict,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

fn key() -> impl Strategy<Value = SecretKey> {
    any::<[u8; 32]>().prop_map(|seed| SecretKey::from_seed(&seed))
}

fn id() -> impl Strategy<Value = NodeId> {
    any::<[u8; 32]>().prop_map(NodeId::from_bytes)
}

fn name() -> impl Strategy<Value = protocols::Name> {
    "[a-z0-9]([a-z0-9._-]{0,20}[a-z0-9])?".prop_map(|text| text.parse().unwrap())
}

fn kind() -> impl Strategy<Value = protocols::Kind> {
    ("[a-z]{1,9}", 1..1000u16).prop_map(|(name, version)| format!("{name}/{version}").parse().unwrap())
}

fn subject() -> impl Strategy<Value = protocols::Subject> {
    "[!-~]{1,30}".prop_map(|text| text.parse().unwrap())
}

fn declaration() -> impl Strategy<Value = protocols::DeclarationName> {
    (name(), name()).prop_map(|(group, name)| format!("{group}/{name}").parse().unwrap())
}

fn labels() -> impl Strategy<Value = Labels> {
    proptest::collection::btree_map(name(), "[a-zA-Z0-9:+._/-]{0,12}", 0..4)
}

fn selector() -> impl Strategy<Value = Selector> {
    let term = prop_oneof!["!?[a-z*?-]{1,8}", "!?@[a-z*]{1,5}", "!?[a-z]{1,4}=[a-z*]{0,4}"];
    vec(term, 1..4).prop_map(|terms| terms.join(",").parse().unwrap())
}

fn head() -> impl Strategy<Value = Head> {
    (any::<u64>(), any::<[u8; 32]>()).prop_map(|(seq, hash)| Head { seq, hash: EntryHash::from_bytes(hash) })
}

fn addr() -> impl Strategy<Value = PeerAddr> {
    let relay = proptest::option::of("https://[a-z]{1,9}/");
    (id(), vec(any::<SocketAddr>().prop_map(plain), 0..4), relay).prop_map(|(id, addrs, relay)| PeerAddr {
        id,
        addrs,
        relay,
    })
}

/// Scope and flow of an IPv6 address are the machine's own, and do not travel.
fn plain(addr: SocketAddr) -> SocketAddr {
    SocketAddr::new(addr.ip(), addr.port())
}

fn check() -> impl Strategy<Value = Check> {
    prop_oneof![
        (vec(".{0,9}", 1..4), any::<u32>()).prop_map(|(command, seconds)| Check::Exec { command, seconds }),
        ".{0,20}".prop_map(|address| Check::Tcp { address }),
        (".{0,20}", any::<u16>(), proptest::option::of(".{0,9}")).prop_map(|(url, status, contains)| Check::Http {
            url,
            status,
            contains
        }),
        (".{0,20}", any::<u32>()).prop_map(|(name, stable_seconds)| Check::Unit { name, stable_seconds }),
        Just(Check::Contact),
    ]
}

fn policy() -> impl Strategy<Value = Policy> {
    (vec(check(), 0..4), any::<u32>(), any::<u32>(), any::<u32>()).prop_map(
        |(checks, check_seconds, apply_seconds, attempts)| Policy { checks, check_seconds, apply_seconds, attempts },
    )
}

fn redeem() -> impl Strategy<Value = Redeem> {
    (any::<[u8; 32]>(), key(), key(), name())
        .prop_map(|(fleet, invite, key, name)| Redeem::new(FleetId::from_bytes(fleet), &invite, &key, name))
}

/// JSON as somebody may have typed it: spaces and order as they are.
fn payload() -> impl Strategy<Value = Payload> {
    let text = prop_oneof![
        Just(" {\"b\" : 1,\n\t\"a\":[ ] }".to_owned()),
        ".{0,40}".prop_map(|text| serde_json::to_string(&text).unwrap()),
        any::<f64>().prop_filter("JSON has no others", |f| f.is_finite()).prop_map(|f| format!("[{f:?}, 1.50]")),
    ];
    text.prop_map(|text| Payload::from_json(text.trim().to_owned()).unwrap())
}

fn blob() -> impl Strategy<Value = BlobRef> {
    (any::<[u8; 32]>(), any::<u64>()).prop_map(|(hash, size)| BlobRef { hash: BlobHash::from_bytes(hash), size })
}

fn pin() -> impl Strategy<Value = RelayPin> {
    let pin = ("https://[a-z]{1,9}/", proptest::option::of(vec(any::<u8>(), 0..40)), any::<Option<u16>>());
    pin.prop_map(|(url, ca, quic_port)| RelayPin { url, ca, quic_port })
}

fn founders() -> impl Strategy<Value = Vec<Founder>> {
    vec((id(), name()).prop_map(|(key, name)| Founder { key, name }), 0..4)
}

fn recovery() -> impl Strategy<Value = Option<Recovery>> {
    proptest::option::of((founders(), any::<u8>()).prop_map(|(keys, threshold)| Recovery { keys, threshold }))
}

fn approvals() -> impl Strategy<Value = Vec<Approval>> {
    let approval = (key(), any::<[u8; 32]>());
    let approval = approval.prop_map(|(key, text)| Approval { key: key.id(), signature: key.sign(b"x", &text) });
    vec(approval, 0..3)
}

/// How one key follows another, how nodes are set apart, and who leads.
fn succession() -> impl Strategy<Value = Body> {
    prop_oneof![
        (any::<[u8; 32]>(), id(), key()).prop_map(|(fleet, old, new)| Body::Rotate(Rotate::new(
            FleetId::from_bytes(fleet),
            old,
            &new
        ))),
        (id(), ".{0,20}").prop_map(|(key, reason)| Body::Quarantine(Quarantine { key, reason })),
        id().prop_map(|key| Body::Release(Release { key })),
        id().prop_map(|coordinator| Body::Appoint(Appoint { coordinator })),
        (id(), vec(any::<SocketAddr>().prop_map(plain), 0..4), proptest::option::of(pin()))
            .prop_map(|(coordinator, addrs, relay)| Body::Place(Place { coordinator, addrs, relay })),
        (name(), vec(id(), 0..3), any::<Option<u64>>(), approvals()).prop_map(
            |(name, revoke, compromised_since, approvals)| {
                Body::Recover(Recover { name, revoke, compromised_since, approvals })
            }
        ),
        (recovery(), approvals())
            .prop_map(|(recovery, approvals)| Body::SetRecovery(SetRecovery { recovery, approvals })),
    ]
}

fn body() -> impl Strategy<Value = Body> {
    let verbs = proptest::sample::subsequence(Verb::ALL.to_vec(), 0..=7);
    let grant = (id(), name(), verbs, selector(), proptest::option::of(any::<u64>())).prop_map(
        |(to, name, verbs, on, expires)| {
            let kinds = vec!["*".parse().unwrap(), "nixos/*".parse().unwrap()];
            Body::Grant(Grant { to, name, verbs: verbs.into_iter().collect(), on, kinds, expires: expires.map(Millis) })
        },
    );
    let publish = (
        declaration(),
        selector(),
        kind(),
        subject(),
        policy(),
        payload(),
        vec(blob(), 0..3),
        proptest::option::of(".{0,20}"),
    )
        .prop_map(|(name, on, kind, subject, policy, payload, artifacts, note)| {
            Body::Publish(Publish { name, on, kind, subject, policy, payload, artifacts, note })
        });
    let role = prop_oneof![Just(Role::Agent), Just(Role::Coordinator)];
    prop_oneof![
        grant,
        publish,
        (any::<[u8; 32]>(), name(), founders(), founders(), recovery()).prop_map(
            |(nonce, name, admins, coordinators, recovery)| {
                let nonce = Digest::from_bytes(nonce);
                Body::Genesis(Genesis { name, nonce, admins, coordinators, recovery })
            }
        ),
        (id(), ".{0,20}", any::<Option<u64>>())
            .prop_map(|(key, reason, compromised_since)| { Body::Revoke(Revoke { key, reason, compromised_since }) }),
        (id(), name(), role, labels(), proptest::option::of(id()))
            .prop_map(|(key, name, role, labels, replaces)| Body::Enroll(Enroll { key, name, role, labels, replaces })),
        (id(), proptest::option::of(name()), labels(), any::<u64>(), any::<u32>(), proptest::option::of(id()))
            .prop_map(|(invite, name, labels, expires, uses, replaces)| {
                Body::Invite(Invite { invite, name, labels, expires: Millis(expires), uses, replaces })
            }),
        succession(),
        succession(),
        redeem().prop_map(Body::Redeem),
        declaration().prop_map(|name| Body::Withdraw(Withdraw { name })),
        any::<[u8; 32]>().prop_map(|state| Body::Checkpoint(Checkpoint { state: Digest::from_bytes(state) })),
    ]
}

fn signed() -> impl Strategy<Value = (Entry, SignedEntry)> {
    (key(), any::<u64>(), any::<[u8; 32]>(), any::<u64>(), any::<Option<u64>>(), body()).prop_map(
        |(key, seq, hash, at, not_after, body)| {
            let (fleet, prev) = (Some(FleetId::from_bytes(hash)), Some(EntryHash::from_bytes(hash)));
            let (at, not_after) = (Millis(at), not_after.map(Millis));
            let entry = Entry { fleet, seq, prev, at, not_after, author: key.id(), body };
            let signed = entry.sign(&key).unwrap();
            (entry, signed)
        },
    )
}

fn record() -> impl Strategy<Value = SignedRecord> {
    (key(), "[!-~]{1,40}", any::<u64>(), vec(any::<u8>(), 0..100))
        .prop_map(|(key, name, version, value)| SignedRecord::sign_bytes(&key, &name, version, value.into()).unwrap())
}

fn versions() -> impl Strategy<Value = Vec<KeyVersion>> {
    vec(("[!-~]{1,40}", any::<u64>()).prop_map(|(key, version)| KeyVersion { key, version }), 0..4)
}

fn digest() -> impl Strategy<Value = Digest> {
    any::<[u8; 32]>().prop_map(Digest::from_bytes)
}

fn ticket() -> impl Strategy<Value = Ticket> {
    let invite = (key(), any::<u64>(), proptest::option::of(name()));
    let invite = invite.prop_map(|(key, expires, name)| InviteSecret::new(&key, Millis(expires), name));
    let relays = vec(pin(), 0..3);
    (any::<[u8; 32]>(), name(), vec(addr(), 1..4), relays, proptest::option::of(invite)).prop_map(
        |(fleet, name, coordinators, relays, invite)| Ticket {
            fleet: FleetId::from_bytes(fleet),
            name,
            coordinators,
            relays,
            invite,
        },
    )
}

fn beat() -> impl Strategy<Value = Beat> {
    (any::<u64>(), head(), digest(), addr(), any::<Option<[u8; 32]>>())
        .prop_map(|(number, head, records, addr, document)| Beat { number, head, records, addr, document })
}

fn control() -> impl Strategy<Value = Control> {
    prop_oneof![
        ".{0,40}".prop_map(|text| Control::Echo(c::Echo(text))),
        any::<bool>().prop_map(|_| Control::Hello(c::Hello)),
        (proptest::option::of(head()), any::<bool>())
            .prop_map(|(after, follow)| Control::Tail(c::Tail { after, follow })),
        signed().prop_map(|(_, signed)| Control::Submit(c::Submit(signed))),
        beat().prop_map(|beat| Control::Beat(c::SendBeat(beat))),
        any::<bool>().prop_map(|_| Control::Compare(c::Compare)),
        vec(record(), 0..3).prop_map(|records| Control::Push(c::Push(records))),
        (vec(id(), 0..3), ".{0,9}").prop_map(|(nodes, prefix)| Control::Report(c::Report { nodes, prefix })),
        vec(id(), 0..3).prop_map(|nodes| Control::Watch(c::Watch { nodes })),
        (vec(blob(), 0..3), addr()).prop_map(|(blobs, from)| Control::Offer(c::Offer { blobs, from })),
        id().prop_map(|node| Control::Locate(c::Locate(node))),
        any::<[u8; 32]>().prop_map(|hash| Control::Providers(c::Providers(BlobHash::from_bytes(hash)))),
        any::<bool>().prop_map(|_| Control::Ticket(c::GetTicket)),
    ]
}

fn outcome() -> impl Strategy<Value = Outcome> {
    use Verdict as V;
    let verdict = proptest::sample::select(vec![
        V::Playing,
        V::Converged,
        V::RebootPending,
        V::Failed,
        V::Quarantined,
        V::Refused,
    ]);
    (
        declaration(),
        kind(),
        subject(),
        any::<u64>(),
        verdict,
        ".{0,40}",
        vec(".{0,20}", 0..3),
        any::<u32>(),
        any::<u64>(),
    )
        .prop_map(|(name, kind, subject, generation, verdict, message, steps, attempts, at)| Outcome {
            name,
            kind,
            subject,
            generation,
            verdict,
            message,
            steps,
            attempts,
            at: Millis(at),
        })
}

fn facts() -> impl Strategy<Value = StableFacts> {
    let interface = (proptest::option::of(".{0,17}"), vec(".{0,20}", 0..3), any::<bool>());
    let interface = interface.prop_map(|(mac, addresses, up)| Interface { mac, addresses, up });
    (
        vec(kind(), 0..3),
        proptest::option::of(".{0,9}"),
        any::<Option<u64>>(),
        proptest::collection::btree_map(".{0,9}", interface, 0..3),
    )
        .prop_map(|(kinds, hostname, memory_bytes, interfaces)| StableFacts {
            kinds,
            hostname,
            memory_bytes,
            interfaces,
            ..StableFacts::default()
        })
}

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
