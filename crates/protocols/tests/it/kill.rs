//! A process that dies at any moment has lost nothing that it acknowledged.

use std::hash::{BuildHasher as _, Hasher as _};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use protocols::store::{Ledger, Store};
use protocols::{BlobHash, Head};

use crate::fleet::{genesis, next, publish};

/// Where the child writes; without it the child's test does nothing.
const FOLDER: &str = "FLT_TEST_KILL_FOLDER";
/// How often a child is killed.
const ROUNDS: usize = 20;

#[test]
fn ledger_survives_kill_after_ack() {
    let dir = tempfile::tempdir().unwrap();
    let (fleet, _) = genesis();
    let mut total = 0;
    for round in 0..ROUNDS {
        let acked = run_and_kill(dir.path());
        let ledger = Ledger::open(Arc::new(Store::open(dir.path()).unwrap()), Some(fleet)).unwrap();
        for head in &acked {
            let entries = ledger.range(head.seq, 1, usize::MAX).unwrap();
            assert_eq!(entries.first().map(|e| e.hash()), Some(head.hash), "round {round}: entry {} is lost", head.seq);
        }
        total += acked.len();
    }
    assert!(total >= ROUNDS, "the children got to do something: {total}");
}

/// Starts a child, kills it somewhere in its work, and gives what it acknowledged.
fn run_and_kill(dir: &Path) -> Vec<Head> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "kill::child_appends_until_it_is_killed", "--ignored", "--nocapture", "--test-threads=1"])
        .env(FOLDER, dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut acked = Vec::new();
    let mut read = |acked: &mut Vec<Head>| {
        for line in lines.by_ref() {
            // A line that was cut off by the end is no acknowledgement.
            if let Some(head) = line.ok().as_deref().and_then(parse) {
                acked.push(head);
                return true;
            }
        }
        false
    };
    assert!(read(&mut acked), "the child appends");
    // A random part of the time that a few appends take, so that the end comes anywhere within one.
    let random = std::hash::RandomState::new().build_hasher().finish();
    std::thread::sleep(Duration::from_micros(random % 60_000));
    child.kill().unwrap();
    while read(&mut acked) {}
    child.wait().unwrap();
    acked
}

fn parse(line: &str) -> Option<Head> {
    let (seq, hash) = line.strip_prefix("ack ")?.strip_suffix('.')?.split_once(' ')?;
    Some(Head {
        seq: seq.parse().ok()?,
        hash: protocols::EntryHash::from_bytes(*hash.parse::<BlobHash>().ok()?.as_bytes()),
    })
}

#[test]
#[ignore = "the other half of ledger_survives_kill_after_ack"]
fn child_appends_until_it_is_killed() {
    let Some(dir) = std::env::var_os(FOLDER) else { return };
    let (fleet, first) = genesis();
    let mut ledger = Ledger::open(Arc::new(Store::open(Path::new(&dir)).unwrap()), Some(fleet)).unwrap();
    ledger.found(first, fleet).unwrap();
    let mut out = std::io::stdout();
    writeln!(out).unwrap();
    // The end comes from outside; this bound only keeps an orphan from filling the disk.
    for _ in 0..5_000 {
        let head = ledger.head().unwrap();
        let head = ledger.append(vec![next(fleet, head, publish(head.seq % 50, 2000))]).unwrap().unwrap();
        writeln!(out, "ack {} {}.", head.seq, head.hash).unwrap();
        out.flush().unwrap();
    }
}
