//! Any value of every type that crosses the wire or a disk.

use std::net::SocketAddr;

use proptest::collection::vec;
use proptest::prelude::*;
use protocols::addr::PeerAddr;
use protocols::control as c;
use protocols::control::Control;
use protocols::entry::{
    Appoint, Approval, Body, Checkpoint, Enroll, Entry, Founder, Genesis, Grant, Invite, Payload, Place, Publish,
    Quarantine, Recover, Recovery, Redeem, Release, Revoke, Role, Rotate, SetRecovery, Verb, Withdraw,
};
use protocols::facts::{Interface, StableFacts};
use protocols::heartbeat::Beat;
use protocols::record::{KeyVersion, SignedRecord};
use protocols::selector::Labels;
use protocols::ticket::{InviteSecret, RelayPin};
use protocols::{
    BlobHash, BlobRef, Check, Digest, EntryHash, FleetId, Head, Millis, NodeId, Outcome, Policy, SecretKey, Selector,
    SignedEntry, Ticket, Verdict,
};

pub(super) fn key() -> impl Strategy<Value = SecretKey> {
    any::<[u8; 32]>().prop_map(|seed| SecretKey::from_seed(&seed))
}

pub(super) fn id() -> impl Strategy<Value = NodeId> {
    any::<[u8; 32]>().prop_map(NodeId::from_bytes)
}

pub(super) fn name() -> impl Strategy<Value = protocols::Name> {
    "[a-z0-9]([a-z0-9._-]{0,20}[a-z0-9])?".prop_map(|text| text.parse().unwrap())
}

pub(super) fn kind() -> impl Strategy<Value = protocols::Kind> {
    ("[a-z]{1,9}", 1..1000u16).prop_map(|(name, version)| format!("{name}/{version}").parse().unwrap())
}

pub(super) fn subject() -> impl Strategy<Value = protocols::Subject> {
    "[!-~]{1,30}".prop_map(|text| text.parse().unwrap())
}

pub(super) fn declaration() -> impl Strategy<Value = protocols::DeclarationName> {
    (name(), name()).prop_map(|(group, name)| format!("{group}/{name}").parse().unwrap())
}

pub(super) fn labels() -> impl Strategy<Value = Labels> {
    proptest::collection::btree_map(name(), "[a-zA-Z0-9:+._/-]{0,12}", 0..4)
}

pub(super) fn selector() -> impl Strategy<Value = Selector> {
    let term = prop_oneof!["!?[a-z*?-]{1,8}", "!?@[a-z*]{1,5}", "!?[a-z]{1,4}=[a-z*]{0,4}"];
    vec(term, 1..4).prop_map(|terms| terms.join(",").parse().unwrap())
}

pub(super) fn head() -> impl Strategy<Value = Head> {
    (any::<u64>(), any::<[u8; 32]>()).prop_map(|(seq, hash)| Head { seq, hash: EntryHash::from_bytes(hash) })
}

pub(super) fn addr() -> impl Strategy<Value = PeerAddr> {
    let relay = proptest::option::of("https://[a-z]{1,9}/");
    (id(), vec(any::<SocketAddr>().prop_map(plain), 0..4), relay).prop_map(|(id, addrs, relay)| PeerAddr {
        id,
        addrs,
        relay,
    })
}

/// Scope and flow of an IPv6 address are the machine's own, and do not travel.
pub(super) fn plain(addr: SocketAddr) -> SocketAddr {
    SocketAddr::new(addr.ip(), addr.port())
}

pub(super) fn check() -> impl Strategy<Value = Check> {
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

pub(super) fn policy() -> impl Strategy<Value = Policy> {
    (vec(check(), 0..4), any::<u32>(), any::<u32>(), any::<u32>()).prop_map(
        |(checks, check_seconds, apply_seconds, attempts)| Policy { checks, check_seconds, apply_seconds, attempts },
    )
}

pub(super) fn redeem() -> impl Strategy<Value = Redeem> {
    (any::<[u8; 32]>(), key(), key(), name())
        .prop_map(|(fleet, invite, key, name)| Redeem::new(FleetId::from_bytes(fleet), &invite, &key, name))
}

/// JSON as somebody may have typed it: spaces and order as they are.
pub(super) fn payload() -> impl Strategy<Value = Payload> {
    let text = prop_oneof![
        Just(" {\"b\" : 1,\n\t\"a\":[ ] }".to_owned()),
        ".{0,40}".prop_map(|text| serde_json::to_string(&text).unwrap()),
        any::<f64>().prop_filter("JSON has no others", |f| f.is_finite()).prop_map(|f| format!("[{f:?}, 1.50]")),
    ];
    text.prop_map(|text| Payload::from_json(text.trim().to_owned()).unwrap())
}

pub(super) fn blob() -> impl Strategy<Value = BlobRef> {
    (any::<[u8; 32]>(), any::<u64>()).prop_map(|(hash, size)| BlobRef { hash: BlobHash::from_bytes(hash), size })
}

pub(super) fn pin() -> impl Strategy<Value = RelayPin> {
    let pin = ("https://[a-z]{1,9}/", proptest::option::of(vec(any::<u8>(), 0..40)), any::<Option<u16>>());
    pin.prop_map(|(url, ca, quic_port)| RelayPin { url, ca, quic_port })
}

pub(super) fn founders() -> impl Strategy<Value = Vec<Founder>> {
    vec((id(), name()).prop_map(|(key, name)| Founder { key, name }), 0..4)
}

pub(super) fn recovery() -> impl Strategy<Value = Option<Recovery>> {
    proptest::option::of((founders(), any::<u8>()).prop_map(|(keys, threshold)| Recovery { keys, threshold }))
}

pub(super) fn approvals() -> impl Strategy<Value = Vec<Approval>> {
    let approval = (key(), any::<[u8; 32]>());
    let approval = approval.prop_map(|(key, text)| Approval { key: key.id(), signature: key.sign(b"x", &text) });
    vec(approval, 0..3)
}

/// How one key follows another, how nodes are set apart, and who leads.
pub(super) fn succession() -> impl Strategy<Value = Body> {
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

pub(super) fn body() -> impl Strategy<Value = Body> {
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

pub(super) fn signed() -> impl Strategy<Value = (Entry, SignedEntry)> {
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

pub(super) fn record() -> impl Strategy<Value = SignedRecord> {
    (key(), "[!-~]{1,40}", any::<u64>(), vec(any::<u8>(), 0..100))
        .prop_map(|(key, name, version, value)| SignedRecord::sign_bytes(&key, &name, version, value.into()).unwrap())
}

pub(super) fn versions() -> impl Strategy<Value = Vec<KeyVersion>> {
    vec(("[!-~]{1,40}", any::<u64>()).prop_map(|(key, version)| KeyVersion { key, version }), 0..4)
}

pub(super) fn digest() -> impl Strategy<Value = Digest> {
    any::<[u8; 32]>().prop_map(Digest::from_bytes)
}

pub(super) fn ticket() -> impl Strategy<Value = Ticket> {
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

pub(super) fn beat() -> impl Strategy<Value = Beat> {
    (any::<u64>(), head(), digest(), addr(), any::<Option<[u8; 32]>>())
        .prop_map(|(number, head, records, addr, document)| Beat { number, head, records, addr, document })
}

pub(super) fn control() -> impl Strategy<Value = Control> {
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

pub(super) fn outcome() -> impl Strategy<Value = Outcome> {
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

pub(super) fn facts() -> impl Strategy<Value = StableFacts> {
    let interface = (proptest::option::of(".{0,17}"), vec(".{0,20}", 0..3), any::<bool>());
    let interface = interface.prop_map(|(mac, addresses, up)| {
        let (bond, permanent, physical) = (mac.clone(), mac.clone(), up);
        Interface { mac, addresses, up, link: Some(up), megabits: Some(7), physical, bond, permanent }
    });
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
