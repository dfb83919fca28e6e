//! The stores: what is kept, what is refused, and what becomes of damage.

use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::entry::{Body, Enroll, Entry, Founder, Genesis, Role, SignedEntry, VerifyError};
use crate::ids::{Digest, EntryHash, FleetId, Millis};
use crate::key::SecretKey;
use crate::record::{KeyVersion, RECORDS_PER_WRITER_MAX, SignedRecord, VerifiedRecord};
use crate::selector::Labels;
use crate::state::Refusal;

fn key(n: u8) -> SecretKey {
    SecretKey::from_seed(&[n; 32])
}

fn founded(nonce: u8) -> (FleetId, SignedEntry) {
    let founder = |n: u8| Founder { key: key(n).id(), name: format!("key-{n}").parse().unwrap() };
    let genesis = Genesis {
        name: "acme".parse().unwrap(),
        nonce: Digest::from_bytes([nonce; 32]),
        admins: vec![founder(1)],
        coordinators: vec![founder(2)],
        recovery: None,
    };
    let body = Body::Genesis(genesis);
    let entry = Entry { fleet: None, seq: 0, prev: None, at: Millis(1), not_after: None, author: key(1).id(), body };
    let signed = entry.sign(&key(1)).unwrap();
    (FleetId::from_bytes(*signed.hash().as_bytes()), signed)
}

fn enrol(fleet: FleetId, seq: u64, prev: EntryHash, author: u8, n: u8, name: &str) -> SignedEntry {
    let name = name.parse().unwrap();
    let body =
        Body::Enroll(Enroll { key: key(n).id(), name, role: Role::Agent, labels: Labels::new(), replaces: None });
    let at = Millis(2);
    Entry { fleet: Some(fleet), seq, prev: Some(prev), at, not_after: None, author: key(author).id(), body }
        .sign(&key(author))
        .unwrap()
}

/// A genesis entry and `count` enrolments after it.
fn chain(count: u8) -> (FleetId, Vec<SignedEntry>) {
    let (fleet, genesis) = founded(0);
    let mut chain = vec![genesis];
    for n in 0..count {
        let prev = chain[usize::from(n)].hash();
        chain.push(enrol(fleet, u64::from(n) + 1, prev, 1, 10 + n, &format!("edge-{n}")));
    }
    (fleet, chain)
}

fn store(dir: &Path) -> Arc<Store> {
    Arc::new(Store::open(dir).unwrap())
}

#[test]
fn a_ledger_keeps_what_it_took_and_verifies_it_again() {
    let dir = tempfile::tempdir().unwrap();
    let (fleet, chain) = chain(5);
    let mut ledger = Ledger::open(store(dir.path()), Some(fleet)).unwrap();
    assert!(matches!(ledger.append(vec![chain[1].clone()]), Err(LedgerError::NotFounded(1))));
    assert!(matches!(ledger.found(founded(9).1, fleet), Err(LedgerError::OtherFleet { .. })));
    ledger.found(chain[0].clone(), fleet).unwrap();
    ledger.found(chain[0].clone(), fleet).unwrap();
    // Known entries are passed over, also in the middle of a batch.
    ledger.append(chain[..3].to_vec()).unwrap();
    let head = ledger.append(chain.clone()).unwrap();
    assert_eq!(head, ledger.head());
    let digest = ledger.state().unwrap().digest();
    drop(ledger);
    let ledger = Ledger::open(store(dir.path()), Some(fleet)).unwrap();
    assert_eq!(ledger.state().unwrap().digest(), digest);
    assert_eq!(ledger.range(0, 100, usize::MAX).unwrap(), chain);
    assert_eq!(ledger.range(0, 100, 1).unwrap().len(), 1, "at least one");
    assert_eq!(ledger.range(2, 2, usize::MAX).unwrap(), chain[2..4]);
    assert!(ledger.range(u64::MAX, 2, usize::MAX).unwrap().is_empty());
    drop(ledger);
    let other = Ledger::open(store(dir.path()), Some(FleetId::from_bytes([1; 32])));
    assert!(matches!(other, Err(LedgerError::OtherFleet { .. })));
}

#[test]
fn a_tail_goes_on_from_any_place() {
    let dir = tempfile::tempdir().unwrap();
    let (fleet, chain) = chain(4);
    let mut ledger = Ledger::open(store(dir.path()), None).unwrap();
    assert_eq!(ledger.tail(None, 10, usize::MAX).unwrap(), None);
    ledger.found(chain[0].clone(), fleet).unwrap();
    let head = ledger.append(chain.clone()).unwrap().unwrap();
    let tail = |after| ledger.tail(after, 10, usize::MAX).unwrap().unwrap().entries;
    assert_eq!(tail(None), chain);
    assert_eq!(tail(Some(crate::Head { seq: 2, hash: chain[2].hash() })), chain[3..]);
    assert_eq!(tail(Some(head)), []);
    // Another entry in that place: ours is shown. A place that is ahead, however far: nothing.
    assert_eq!(tail(Some(crate::Head { seq: 2, hash: chain[1].hash() })), chain[2..]);
    assert_eq!(tail(Some(crate::Head { seq: u64::MAX, hash: chain[1].hash() })), []);
}

#[test]
fn entries_before_a_refused_one_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let (fleet, chain) = chain(4);
    let mut ledger = Ledger::open(store(dir.path()), None).unwrap();
    ledger.found(chain[0].clone(), fleet).unwrap();
    let taken = enrol(fleet, 3, chain[2].hash(), 1, 77, "edge-0");
    let result = ledger.append(vec![chain[1].clone(), chain[2].clone(), taken, chain[3].clone()]);
    assert!(matches!(result, Err(LedgerError::Refused { seq: 3, refusal: Refusal::NameTaken(_) })));
    assert_eq!(ledger.head().map(|h| h.seq), Some(2));
    let mut forged = chain[3].clone();
    forged.signature = chain[2].signature;
    assert!(matches!(ledger.append(vec![forged]), Err(LedgerError::Verify(VerifyError::BadSignature { seq: 3, .. }))));
    drop(ledger);
    let mut ledger = Ledger::open(store(dir.path()), None).unwrap();
    assert_eq!(ledger.append(chain[3..].to_vec()).unwrap().map(|h| h.seq), Some(4));
}

#[test]
fn a_split_history_is_found_and_no_stranger_can_feign_one() {
    let dir = tempfile::tempdir().unwrap();
    let (fleet, chain) = chain(4);
    let mut ledger = Ledger::open(store(dir.path()), None).unwrap();
    ledger.found(chain[0].clone(), fleet).unwrap();
    ledger.append(chain.clone()).unwrap();
    let split = enrol(fleet, 2, chain[1].hash(), 1, 77, "core-1");
    match ledger.append(vec![split.clone()]) {
        Err(LedgerError::Fork { seq: 2, ours, theirs }) => assert_eq!((*ours, *theirs), (chain[2].clone(), split)),
        other => panic!("{other:?}"),
    }
    let strangers = enrol(fleet, 2, chain[1].hash(), 99, 77, "core-1");
    assert!(matches!(
        ledger.append(vec![strangers]),
        Err(LedgerError::Refused { seq: 2, refusal: Refusal::UnknownAuthor(_) })
    ));
    let others = enrol(FleetId::from_bytes([4; 32]), 2, chain[1].hash(), 1, 77, "core-1");
    assert!(matches!(
        ledger.append(vec![others]),
        Err(LedgerError::Refused { refusal: Refusal::OtherFleet { .. }, .. })
    ));
    assert!(matches!(ledger.append(vec![founded(9).1]), Err(LedgerError::OtherFleet { .. })));
    assert_eq!(ledger.head().map(|h| h.seq), Some(4));
}

#[test]
fn a_folder_is_one_processes_alone() {
    let dir = tempfile::tempdir().unwrap();
    let first = Store::open(dir.path()).unwrap();
    let message = Store::open(dir.path()).unwrap_err().to_string();
    assert!(message.contains(&format!("in use by process {};", std::process::id())), "{message}");
    drop(first);
    drop(Store::open(dir.path()).unwrap());
    let file = dir.path().join("file");
    std::fs::write(&file, "x").unwrap();
    assert!(matches!(Store::open(&file), Err(StoreError::Folder { .. })));
}

#[test]
fn values_are_kept_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let values = Values::new(store(dir.path()));
    assert_eq!(values.get::<u32>("a").unwrap(), None);
    values.set("a/1", &1).unwrap();
    values.set("a/2", &2).unwrap();
    values.set("b", &"x").unwrap();
    assert!(matches!(values.get::<u32>("b"), Err(StoreError::Damaged { .. })));
    values.remove("a/1").unwrap();
    drop(values);
    let values = Values::new(store(dir.path()));
    assert_eq!(values.with_prefix::<u32>("a/").unwrap(), [("a/2".to_owned(), 2)]);
    assert_eq!(values.get::<String>("b").unwrap().as_deref(), Some("x"));
}

fn record(n: u8, name: &str, version: u64, value: &str) -> VerifiedRecord {
    SignedRecord::sign(&key(n), name, version, &value).unwrap().verify().unwrap()
}

#[test]
fn the_highest_version_of_a_record_stands() {
    let dir = tempfile::tempdir().unwrap();
    let records = Records::open(store(dir.path())).unwrap();
    let none = records.digest(key(1).id());
    let put = |r: &VerifiedRecord| records.put(vec![r.clone()], true).unwrap().len();
    let (old, new) = (record(1, "a", 3, "old"), record(1, "a", 7, "new"));
    assert_eq!((put(&old), put(&new), put(&old), put(&new)), (1, 1, 0, 0));
    let both = vec![record(2, "a", 2, "y"), record(2, "a", 1, "x"), record(2, "a", 3, "z")];
    assert_eq!(records.put(both, false).unwrap().len(), 2, "in one batch, too");
    let digest = records.digest(key(1).id());
    assert_ne!(digest, none);
    assert_eq!(records.of(key(1).id(), "").unwrap(), [new.get().clone()]);
    drop(records);
    let records = Records::open(store(dir.path())).unwrap();
    assert_eq!(records.digest(key(1).id()), digest);
    assert_eq!(records.versions(key(2).id()), [KeyVersion { key: "a".into(), version: 3 }]);
    records.retain(key(1).id(), |_| false).unwrap();
    assert_eq!(records.digest(key(1).id()), none);
}

#[test]
fn a_writer_has_only_so_many_records() {
    let dir = tempfile::tempdir().unwrap();
    let records = Records::open(store(dir.path())).unwrap();
    let many = (0..RECORDS_PER_WRITER_MAX + 50).map(|n| record(1, &format!("k{n:04}"), 1, "x")).collect();
    assert_eq!(records.put(many, true).unwrap().len(), RECORDS_PER_WRITER_MAX);
    assert_eq!(records.put(vec![record(1, "one-more", 1, "x"), record(1, "k0000", 2, "x")], true).unwrap().len(), 1);
    assert_eq!(records.put(vec![record(2, "another", 1, "x")], true).unwrap().len(), 1);
}

#[test]
fn a_book_speaks_in_rising_versions() {
    let dir = tempfile::tempdir().unwrap();
    let book = RecordBook::open(store(dir.path()), key(1)).unwrap();
    assert_eq!(book.write("facts", &1).unwrap().map(|r| r.version), Some(1));
    assert_eq!(book.write("facts", &1).unwrap(), None, "unchanged");
    assert_eq!(book.write("facts", &2).unwrap().map(|r| r.version), Some(2));
    assert_eq!(book.take_back("nothing").unwrap(), None);
    let empty = book.take_back("facts").unwrap().unwrap();
    assert_eq!((empty.version, empty.value.len()), (3, 0));
    assert_eq!(book.take_back("facts").unwrap(), None);
    // A reader that has more than this disk remembers.
    let claim = |key: &str, version| KeyVersion { key: key.into(), version };
    book.outdo(&[claim("facts", 90), claim("lost", 5), claim("not a name", 5), claim("lie", u64::MAX)]).unwrap();
    assert_eq!(book.write("facts", &2).unwrap().map(|r| r.version), Some(92));
    assert_eq!(book.write("lost", &2).unwrap().map(|r| r.version), Some(7));
    assert_eq!(book.write("lie", &2).unwrap().map(|r| r.version), Some(1));
    let theirs = [claim("facts", 92), claim("lost", 6)];
    let missing: Vec<String> = book.missing(&theirs).unwrap().into_iter().map(|r| r.key).collect();
    assert_eq!(missing, ["lie", "lost"]);
}

#[test]
fn a_reader_cannot_fill_or_end_a_book() {
    let dir = tempfile::tempdir().unwrap();
    let book = RecordBook::open(store(dir.path()), key(1)).unwrap();
    let lies: Vec<KeyVersion> = (0..700).map(|n| KeyVersion { key: format!("junk/{n}"), version: 1 << 48 }).collect();
    book.outdo(&lies).unwrap();
    for n in 0..RECORDS_PER_WRITER_MAX {
        assert!(book.write(&format!("mine/{n}"), &n).unwrap().is_some());
    }
    assert!(matches!(book.write("one-more", &1), Err(WriteRecordError::Bad(_))), "told, not dropped");
    book.take_back("mine/0").unwrap();
    assert!(book.write("one-more", &1).unwrap().is_some(), "what is taken back makes room");
}

#[test]
fn a_garbage_database_is_damaged_and_said_so() {
    for size in [1, 100, 4096, 100_000, 1 << 20] {
        for fill in [0u8, 0xff, b'x'] {
            let dir = tempfile::tempdir().unwrap();
            std::fs::write(dir.path().join(DATABASE_FILE), vec![fill; size]).unwrap();
            match Store::open(dir.path()) {
                Err(StoreError::Damaged { dir: named, .. }) => assert_eq!(named, dir.path()),
                other => panic!("{size} bytes of {fill}: {other:?}"),
            }
        }
    }
}

/// A store with a ledger, records and a value in it, closed.
fn filled() -> (tempfile::TempDir, FleetId, Vec<SignedEntry>) {
    let dir = tempfile::tempdir().unwrap();
    let (fleet, chain) = chain(6);
    let store = store(dir.path());
    let mut ledger = Ledger::open(Arc::clone(&store), None).unwrap();
    ledger.found(chain[0].clone(), fleet).unwrap();
    ledger.append(chain[..5].to_vec()).unwrap();
    let records = Records::open(Arc::clone(&store)).unwrap();
    let big = SignedRecord::sign_bytes(&key(1), "big", 1, Bytes::from(vec![b'1'; 9000])).unwrap().verify().unwrap();
    records.put(vec![big], true).unwrap();
    Values::new(store).set("v", &1).unwrap();
    (dir, fleet, chain)
}

/// Does everything with a store that may be damaged. What it gives is either right or an error.
fn exercise(dir: &Path, fleet: FleetId, chain: &[SignedEntry]) {
    let Ok(store) = Store::open(dir) else { return };
    let store = Arc::new(store);
    if let Ok(mut ledger) = Ledger::open(Arc::clone(&store), Some(fleet))
        && let Some(head) = ledger.head()
    {
        let at = usize::try_from(head.seq).unwrap();
        assert_eq!(head.hash, chain[at].hash(), "only what was written is believed");
        drop(ledger.append(chain.to_vec()));
    }
    if let Ok(records) = Records::open(Arc::clone(&store)) {
        drop(records.put(vec![record(1, "a", 9, "x")], true));
        drop(records.of(key(1).id(), ""));
    }
    drop(Values::new(store).set("v", &2));
}

#[test]
fn a_truncated_database_is_no_panic() {
    let (dir, fleet, chain) = filled();
    let whole = std::fs::read(dir.path().join(DATABASE_FILE)).unwrap();
    for part in 1..16 {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(DATABASE_FILE), &whole[..whole.len() * part / 16]).unwrap();
        exercise(dir.path(), fleet, &chain);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damage_is_an_error_and_never_a_panic(hits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..40), head in any::<bool>()) {
        let (dir, fleet, chain) = filled();
        let path = dir.path().join(DATABASE_FILE);
        let mut bytes = std::fs::read(&path).unwrap();
        // Most of the file is empty; the first pages and those with something in them are the interesting ones.
        let used: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at] != 0 && (head || *at > 4096)).collect();
        for (index, with) in hits {
            let at = used[index.index(used.len())];
            bytes[at] = with;
        }
        std::fs::write(&path, bytes).unwrap();
        exercise(dir.path(), fleet, &chain);
    }

    #[test]
    fn digests_are_equal_for_equal_sets_only(a in proptest::collection::btree_map("[a-c]{1,2}", 1..4u64, 0..5), b in proptest::collection::btree_map("[a-c]{1,2}", 1..4u64, 0..5)) {
        let digest = |set: &std::collections::BTreeMap<String, u64>| {
            crate::record::records_digest(set.iter().rev().map(|(k, v)| (k.as_str(), *v)))
        };
        prop_assert_eq!(a == b, digest(&a) == digest(&b));
    }
}

#[test]
fn what_is_written_without_a_sync_survives_a_failure_or_is_known_to_be_gone() {
    let dir = tempfile::tempdir().unwrap();
    let shared = store(dir.path());
    let records = Records::open(Arc::clone(&shared)).unwrap();
    records.put(vec![record(1, "a", 1, "x")], false).unwrap();
    let failed: Result<(), StoreError> = shared.write(false, |_| panic!("as redb does on a page that makes no sense"));
    assert!(matches!(failed, Err(StoreError::Damaged { .. })), "{failed:?}");
    let kept = records.of(key(1).id(), "").unwrap();
    let digest = crate::record::records_digest(kept.iter().map(|r| (r.key.as_str(), r.version)));
    assert_eq!(records.digest(key(1).id()), digest, "the index says what the disk has");
    records.put(vec![record(1, "a", 2, "x")], true).unwrap();
    assert_eq!(records.of(key(1).id(), "").unwrap().len(), 1);
}
