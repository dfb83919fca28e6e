//! What needs a machine that may be changed: a disk that is full.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use protocols::store::{Ledger, LedgerError, RecordBook, Store, StoreError, WriteRecordError};

use crate::fleet::{genesis, key, next, publish};

/// Set in the child, which has its own mounts: they vanish with it, however it ends.
const INSIDE: &str = "FLT_TEST_OWN_MOUNTS";

#[test]
fn a_full_disk_refuses_and_is_usable_once_there_is_space() {
    let name = "system::a_full_disk_refuses_and_is_usable_once_there_is_space";
    if std::env::var("FLT_SKIP_SYSTEM_TESTS").is_ok_and(|v| v == "1") {
        eprintln!("skipped: {name} (FLT_SKIP_SYSTEM_TESTS=1)");
        return;
    }
    let Some(dir) = std::env::var_os(INSIDE) else {
        let dir = tempfile::tempdir().unwrap();
        let mut child = Command::new("unshare");
        child.args(["--mount", "--map-root-user"]).arg(std::env::current_exe().unwrap());
        let status = child.args(["--exact", name, "--nocapture"]).env(INSIDE, dir.path()).status().unwrap();
        assert!(status.success(), "{status}");
        return;
    };
    let dir = Path::new(&dir);
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=6m", "tmpfs"]).arg(dir).status().unwrap();
    assert!(mounted.success());
    let filler = dir.join("filler");
    std::fs::write(&filler, vec![1u8; 2 << 20]).unwrap();

    let store = Arc::new(Store::open(&dir.join("data")).unwrap());
    let (fleet, first) = genesis();
    let mut ledger = Ledger::open(Arc::clone(&store), None).unwrap();
    ledger.found(first, fleet).unwrap();
    let book = RecordBook::open(Arc::clone(&store), key(3)).unwrap();
    book.write("before", &1).unwrap();
    let mut acked = ledger.head().unwrap();
    let full = loop {
        match ledger.append(vec![next(fleet, acked, publish(acked.seq, 100_000))]) {
            Ok(head) => acked = head.unwrap(),
            Err(error) => break error,
        }
        assert!(acked.seq < 100, "it must end at some time");
    };
    assert!(matches!(full, LedgerError::Store(StoreError::Full { .. })), "{full:?}");
    assert!(full.to_string().contains("no space is left"), "{full}");
    assert_eq!(ledger.head(), Some(acked), "what was not written is not believed");
    // It goes on saying so, and nothing that was acknowledged is lost.
    let again = ledger.append(vec![next(fleet, acked, publish(acked.seq, 100_000))]);
    assert!(matches!(again, Err(LedgerError::Store(StoreError::Full { .. }))), "{again:?}");
    let big = book.write("big", &"x".repeat(12_000));
    assert!(matches!(big, Ok(_) | Err(WriteRecordError::Store(StoreError::Full { .. }))), "{big:?}");
    std::fs::remove_file(&filler).unwrap();
    assert_eq!(ledger.range(0, 1000, usize::MAX).unwrap().len() as u64, acked.seq + 1);
    let head = ledger.append(vec![next(fleet, acked, publish(acked.seq, 100_000))]).unwrap().unwrap();
    book.write("after", &1).unwrap();
    let keys: Vec<String> = book.all().unwrap().into_iter().map(|r| r.key).collect();
    assert!(keys.contains(&"before".to_owned()) && keys.contains(&"after".to_owned()), "{keys:?}");
    drop((ledger, book, store));
    let ledger = Ledger::open(Arc::new(Store::open(&dir.join("data")).unwrap()), Some(fleet)).unwrap();
    assert_eq!(ledger.head(), Some(head));
}
