//! The body of each fuzz target: every decoder that bytes from the network reach, and what must hold of what it accepts.
//!
//! Each takes any bytes and says whether they were accepted. The targets call them with libFuzzer's bytes; a test of the
//! crate `scores` calls them with the stored seeds and mutations of them.

use std::sync::OnceLock;

use failover::{Author, LeaseTable, Span, Stamp};
use protocols::control::{
    ChangeError, Control, Denied, Echoed, GroupStatus, Lease, LeaseError, LeaseViews, NodeReport, OfferProgress,
    Receipt, SubmitError, TailBatch, Welcome,
};
use protocols::enroll::{EnrollError, Enrolled, Enrollment};
use protocols::entry::{Body, Enroll, Founder, Genesis, Grant, KindPattern, Payload, Publish, Role, Verb};
use protocols::facts::{StableFacts, VolatileFacts};
use protocols::heartbeat::{Beat, BeatAck, BeatHistory};
use protocols::node::{Draft, DriverReport, Node, Planned};
use protocols::record::{KeyVersion, records_digest};
use protocols::relay_token::relay_token_invite;
use protocols::seal::Sealed;
use protocols::selector::Labels;
use protocols::standing::Testimony;
use protocols::{
    BlobHash, DeclarationName, Digest, Entry, EntryHash, FleetId, FleetState, ForkEvidence, Head, HeadClaim, Kind,
    Millis, Name, NodeId, Outcome, PeerAddr, Policy, SecretKey, Selector, SignedEntry, SignedRecord, Subject, Ticket,
    export,
};
use scores::nixos::{Manifest, StorePath};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A target's body.
pub type Target = fn(&[u8]) -> bool;

/// All targets by name.
pub const TARGETS: [(&str, Target); 12] = [
    ("control", control),
    ("enroll", enroll),
    ("node", node),
    ("answers", answers),
    ("claims", claims),
    ("entries", entries),
    ("records", records),
    ("texts", texts),
    ("payloads", payloads),
    ("manifest", manifest),
    ("ledger", ledger),
    ("leases", leases),
];

/// Requests to a coordinator, as its handler decodes them.
pub fn control(bytes: &[u8]) -> bool {
    let Some(request) = packed::<Control>(bytes) else { return false };
    match request {
        Control::Submit(submit) => drop(submit.0.verify()),
        Control::Push(push) => push.0.into_iter().for_each(|record| drop(record.verify())),
        _ => {}
    }
    true
}

/// What a stranger may say.
pub fn enroll(bytes: &[u8]) -> bool {
    let Some(Enrollment::Redeem(request)) = packed::<Enrollment>(bytes) else { return false };
    let redeem = request.0;
    let state = fleet();
    // Nobody but who holds an invite's key gets past this, and no bytes of a fuzzer hold one that is open.
    let _known = redeem.verifies(state.fleet()) && state.knows(redeem.key);
    true
}

/// Requests to an agent.
pub fn node(bytes: &[u8]) -> bool {
    let Some(request) = packed::<Node>(bytes) else { return false };
    if let Node::Plan(plan) = request {
        let draft: Draft = plan.0;
        drop(draft.policy());
        payload(draft.payload.as_bytes());
    }
    true
}

/// What coordinators and agents answer: they may be hostile, too.
pub fn answers(bytes: &[u8]) -> bool {
    let Some((which, bytes)) = bytes.split_first() else { return false };
    match which % 13 {
        0 => packed::<TailBatch>(bytes).is_some(),
        1 => packed::<Result<Welcome, Denied>>(bytes).is_some(),
        2 => packed::<Result<Receipt, SubmitError>>(bytes).is_some(),
        3 => packed::<Result<BeatAck, Denied>>(bytes).is_some(),
        4 => packed::<Result<Vec<KeyVersion>, Denied>>(bytes).is_some(),
        5 => packed::<Result<NodeReport, Denied>>(bytes).is_some(),
        6 => packed::<Result<OfferProgress, Denied>>(bytes).is_some(),
        7 => packed::<Result<Vec<PeerAddr>, Denied>>(bytes).is_some(),
        8 => packed::<Result<Ticket, Denied>>(bytes).is_some_and(|ticket| {
            // A ticket that was accepted is written to a file and read back.
            ticket.is_err() || ticket.is_ok_and(|ticket| ticket.to_string().parse::<Ticket>().is_ok())
        }),
        9 => packed::<Result<Enrolled, EnrollError>>(bytes).is_some(),
        10 => packed::<Result<Planned, Denied>>(bytes).is_some(),
        11 => packed::<Result<Testimony, Denied>>(bytes).is_some(),
        _ => packed::<Echoed>(bytes).is_some(),
    }
}

/// What is gossiped and what accuses: heads, claims of heads, evidence of a split history.
pub fn claims(bytes: &[u8]) -> bool {
    let Some((which, bytes)) = bytes.split_first() else { return false };
    match which % 4 {
        0 => packed::<HeadClaim>(bytes).is_some_and(|claim| claim.holds()),
        1 => packed::<[HeadClaim; 2]>(bytes).is_some_and(|claims| claims.iter().any(HeadClaim::holds)),
        2 => packed::<Head>(bytes).is_some(),
        _ => {
            let Ok(evidence) = ForkEvidence::from_json(bytes) else { return false };
            let proven = evidence.verify(fleet().fleet()).is_ok();
            let again = ForkEvidence::from_json(evidence.to_json().expect("it was within bounds").as_bytes());
            assert_eq!(again.expect("it was read before"), evidence);
            proven || !evidence.claims.iter().all(HeadClaim::holds)
        }
    }
}

/// The ledger: entries, each after a byte that says who signs it, applied one after the other to a small fleet. A zero
/// byte, which no JSON holds, ends an entry.
pub fn entries(bytes: &[u8]) -> bool {
    if let Some((json, signature)) = bytes.split_last_chunk::<64>() {
        let signature = protocols::Signature::from_bytes(*signature);
        assert!(SignedEntry { bytes: json.to_vec().into(), signature }.verify().is_err(), "a signature out of nothing");
    }
    let mut state = fleet().clone();
    let mut accepted = false;
    for piece in bytes.split(|byte| *byte == 0).take(ENTRIES_MAX) {
        let Some((flags, json)) = piece.split_first() else { continue };
        let Ok(mut entry) = serde_json::from_slice::<Entry>(json) else { continue };
        let author = key(1 + (flags & !AS_IT_IS) % KEYS);
        entry.author = author.id();
        if flags & AS_IT_IS == 0 {
            let head = state.head();
            (entry.fleet, entry.seq, entry.prev) = (Some(state.fleet()), head.seq + 1, Some(head.hash));
        }
        let Ok(signed) = entry.sign(&author) else { continue };
        let verified = signed.verify().expect("what was signed verifies");
        let before = (state.head(), state.digest());
        drop(state.check_clock(verified.entry(), Millis(1_000_000)));
        match state.apply(&verified) {
            Ok(()) => {
                assert_eq!(state.head().seq, before.0.seq + 1);
                assert_eq!(state.head().hash, verified.hash());
                accepted = true;
            }
            Err(_) => assert_eq!((state.head(), state.digest()), before, "what is refused changes nothing"),
        }
        for id in (1..=KEYS).map(|n| key(n).id()) {
            let _declared = state.desired(id).len();
            let _may = Verb::ALL.map(|verb| state.may(id, verb, Millis(5)));
        }
    }
    accepted
}

/// What nodes say of themselves, as it comes by RPC and by documents.
pub fn records(bytes: &[u8]) -> bool {
    let Some((which, bytes)) = bytes.split_first() else { return false };
    match which % 5 {
        0 => {
            let Some(record) = packed::<SignedRecord>(bytes) else { return false };
            // Signed anew, so that what is behind the signature is reached.
            let own = SignedRecord::sign_bytes(&key(3), &record.key, record.version, record.value.clone());
            let verifies = record.verify().is_ok();
            let Ok(own) = own else { return false };
            let own = own.verify().expect("it was signed");
            let _read = own.value::<StableFacts>().is_some()
                || own.value::<VolatileFacts>().is_some()
                || own.value::<BeatHistory>().is_some()
                || own.value::<Outcome>().is_some();
            verifies
        }
        1 => {
            let Some(versions) = packed::<Vec<KeyVersion>>(bytes) else { return false };
            let digest = || records_digest(versions.iter().map(|v| (v.key.as_str(), v.version)));
            assert_eq!(digest(), digest());
            true
        }
        2 => packed::<Beat>(bytes).is_some(),
        3 => packed::<Sealed>(bytes).is_some_and(|sealed| sealed.open(&key(2)).is_err()),
        _ => {
            let read = serde_json::from_slice::<StableFacts>(bytes).is_ok()
                | serde_json::from_slice::<VolatileFacts>(bytes).is_ok()
                | serde_json::from_slice::<BeatHistory>(bytes).is_ok();
            read | serde_json::from_slice::<Outcome>(bytes).is_ok()
        }
    }
}

/// Short texts that come from strangers: tickets, tokens, selectors and names.
pub fn texts(bytes: &[u8]) -> bool {
    let Some((which, bytes)) = bytes.split_first() else { return false };
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    match which % 8 {
        0 => same::<Ticket>(text),
        1 => relay_token_invite(text, fleet().fleet(), key(6).id()).is_some(),
        2 => {
            let Ok(selector) = text.parse::<Selector>() else { return false };
            assert_eq!(selector.as_str().parse::<Selector>().expect("it parsed before"), selector);
            assert!(selector.is_within(&Selector::everything()));
            let labels = Labels::from([("role".parse().expect("a name"), "web".into())]);
            let _matches = selector.matches("edge-1", &labels);
            true
        }
        3 => same::<KindPattern>(text),
        4 => same::<Subject>(text) | same::<Kind>(text),
        5 => same::<Name>(text) | same::<DeclarationName>(text),
        6 => same::<NodeId>(text) | same::<Digest>(text) | same::<BlobHash>(text) | same::<EntryHash>(text),
        _ => serde_json::from_str::<Policy>(text).is_ok(),
    }
}

/// What an admin declares, as every node reads it.
pub fn payloads(bytes: &[u8]) -> bool {
    payload(bytes)
}

/// The list of a system's paths, which comes with its blob.
pub fn manifest(bytes: &[u8]) -> bool {
    let toplevel: StorePath = TOPLEVEL.parse().expect("a path");
    let Ok(manifest) = Manifest::parse(bytes, &toplevel) else { return false };
    let again = Manifest::parse(&manifest.to_bytes(), &toplevel).expect("what was read is written so that it reads");
    assert_eq!(again, manifest);
    for path in manifest.paths() {
        let _text = (path.fingerprint(), path.narinfo("x"));
    }
    let _bytes = manifest.nar_bytes();
    true
}

/// A ledger in a file.
pub fn ledger(bytes: &[u8]) -> bool {
    let whole = export::verify_export(bytes, fleet().fleet());
    let read = export::read(bytes).take_while(Result::is_ok).count();
    if let Ok(state) = &whole {
        assert_eq!(state.head().seq + 1, read as u64);
    }
    whole.is_ok()
}

/// What agents and admins ask about leases, one after the other; and what is answered about them and about the group.
pub fn leases(bytes: &[u8]) -> bool {
    let Some((which, bytes)) = bytes.split_first() else { return false };
    match which % 6 {
        0 => asks(bytes),
        1 => packed::<Result<failover::Outcome, LeaseError>>(bytes).is_some(),
        2 => packed::<Result<LeaseViews, LeaseError>>(bytes).is_some(),
        3 => packed::<Result<Option<GroupStatus>, Denied>>(bytes).is_some(),
        4 => packed::<Result<GroupStatus, ChangeError>>(bytes).is_some(),
        _ => packed::<Result<Vec<DriverReport>, Denied>>(bytes).is_some(),
    }
}

/// Requests about leases, each after who asks and the tenths of a second since the one before, in the order in which a log
/// has them.
fn asks(mut bytes: &[u8]) -> bool {
    let mut table = LeaseTable::new();
    let mut accepted = false;
    for _ in 0..ASKS_MAX {
        let Ok(((who, tenths, ask), rest)) = postcard::take_from_bytes::<(u8, u8, Lease)>(bytes) else { break };
        bytes = rest;
        let author = match who % 4 {
            0 => Author::Admin,
            n => Author::Node(failover::NodeId::from_bytes(*key(2 + n).id().as_bytes())),
        };
        let entry = failover::Entry::Ask { cluster: ask.cluster, author, attempt: ask.attempt, request: ask.request };
        let stamp = Stamp { elapsed: Span::from_millis(u64::from(tenths) * 100) };
        let (before, mut other) = (table.clone(), table.clone());
        let outcome = table.apply(stamp, &entry);
        assert_eq!((other.apply(stamp, &entry), &other), (outcome.clone(), &table), "every member decides the same");
        assert_eq!((table.applied(), outcome.at), (before.applied() + 1, before.now() + stamp.elapsed));
        assert!(table.leases().count() <= before.leases().count() + 1);
        // A member's snapshot is this table; one that falls behind goes on from it.
        let snapshot: LeaseTable = packed_as(&table);
        assert_eq!(snapshot, table);
        let answer: Result<failover::Outcome, LeaseError> = Ok(outcome);
        assert_eq!(packed_as(&answer), answer);
        accepted |= answer.is_ok_and(|outcome| outcome.answer.is_ok());
    }
    accepted
}

/// What somebody else has of a value that is sent.
fn packed_as<T: Serialize + DeserializeOwned>(value: &T) -> T {
    postcard::from_bytes(&postcard::to_stdvec(value).expect("it encodes")).expect("what was encoded decodes")
}

/// Decodes as the handlers do. What was decoded can be sent on, and means the same to who receives it.
fn packed<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    let value: T = postcard::from_bytes(bytes).ok()?;
    let sent = postcard::to_stdvec(&value).expect("what was decoded encodes");
    let arrived: T = postcard::from_bytes(&sent).expect("what was encoded decodes");
    assert_eq!(postcard::to_stdvec(&arrived).expect("as before"), sent);
    Some(value)
}

/// Parses; what was parsed prints so that it parses to the same.
fn same<T: std::str::FromStr + std::fmt::Display + PartialEq>(text: &str) -> bool {
    let Ok(value) = text.parse::<T>() else { return false };
    let Ok(again) = value.to_string().parse::<T>() else { panic!("`{value}` does not parse again") };
    assert!(again == value);
    true
}

fn payload(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let catalogue = scores::catalogue();
    let mut accepted = false;
    for kind in catalogue.kinds() {
        if catalogue.validate(kind, text).is_ok() {
            catalogue.artifacts(kind, text).expect("it is valid");
            catalogue.secrets(kind, text).expect("it is valid");
            accepted = true;
        }
    }
    accepted
}

/// The keys of the small fleet: 1 founded it, 2 is its coordinator, 3 and 4 are agents, 5 is a narrow admin, and 6 is
/// nobody.
pub(crate) fn key(n: u8) -> SecretKey {
    SecretKey::from_seed(&[n; 32])
}

/// The fleet that everything is tried on.
pub(crate) fn fleet() -> &'static FleetState {
    static FLEET: OnceLock<FleetState> = OnceLock::new();
    FLEET.get_or_init(|| {
        let history = history();
        let mut verified = history.into_iter().map(|entry| entry.verify().expect("it was signed"));
        let genesis = verified.next().expect("there is one");
        let mut state = FleetState::found(&genesis).expect("a sound genesis");
        verified.for_each(|entry| state.apply(&entry).expect("a sound entry"));
        state
    })
}

/// Its ledger.
pub(crate) fn history() -> Vec<SignedEntry> {
    let name = |text: &str| -> Name { text.parse().expect("a name") };
    let founder = |n: u8| Founder { key: key(n).id(), name: name(&format!("key-{n}")) };
    let genesis = Body::Genesis(Genesis {
        name: name("acme"),
        nonce: Digest::from_bytes([7; 32]),
        admins: vec![founder(1)],
        coordinators: vec![founder(2)],
        recovery: None,
    });
    let agent = |n: u8| {
        let labels = Labels::from([(name("role"), "web".to_owned())]);
        Body::Enroll(Enroll {
            key: key(n).id(),
            name: name(&format!("edge-{n}")),
            role: Role::Agent,
            labels,
            replaces: None,
        })
    };
    let narrow = Body::Grant(Grant {
        to: key(5).id(),
        name: name("ci"),
        verbs: [Verb::Publish].into(),
        on: "role=web".parse().expect("a selector"),
        kinds: vec!["files/*".parse().expect("a pattern")],
        expires: None,
    });
    let mut entries: Vec<SignedEntry> = Vec::new();
    let mut fleet = None;
    for body in [genesis, agent(3), agent(4), narrow, publish()] {
        let seq = entries.len() as u64;
        let prev = entries.last().map(SignedEntry::hash);
        let entry = Entry { fleet, seq, prev, at: Millis(seq + 1), not_after: None, author: key(1).id(), body };
        let signed = entry.sign(&key(1)).expect("within bounds");
        fleet.get_or_insert_with(|| FleetId::from_bytes(*signed.hash().as_bytes()));
        entries.push(signed);
    }
    entries
}

pub(crate) fn publish() -> Body {
    Body::Publish(Publish {
        name: "base/motd".parse().expect("a name"),
        on: "role=web".parse().expect("a selector"),
        kind: "files/1".parse().expect("a kind"),
        subject: "files/etc".parse().expect("a subject"),
        policy: Policy::default(),
        payload: Payload::from_json(FILES.to_owned()).expect("JSON"),
        artifacts: Vec::new(),
        note: None,
    })
}

/// A small files score.
pub(crate) const FILES: &str = r#"{"root":"/etc","entries":{"motd":{"content":"hello\n","mode":"0644"}}}"#;
/// The system whose manifest is read.
pub(crate) const TOPLEVEL: &str = "/nix/store/7rjqb838snvvxcmpvck1smfxhkwzqal5-nixos-system-edge-26.05";
/// Entries that are tried in one run.
const ENTRIES_MAX: usize = 8;
/// Requests about leases that are tried in one run.
const ASKS_MAX: usize = 32;
/// Keys that may sign.
pub(crate) const KEYS: u8 = 6;
/// The flag of an entry that is not led to the ledger's end.
const AS_IT_IS: u8 = 0x80;
