//! `scripts/verify-ledger.py`, which knows the ledger from its description alone, and the reference: they must agree on
//! every entry, or one of them, or the description, is wrong.

use std::path::{Path, PathBuf};
use std::time::Duration;

use protocols::export::{verify_export, write_line};
use protocols::{Digest, FleetId, FleetState, SignedEntry};
use testkit::Program;

use crate::processes::bed::Bed;
use random::{Random, attempt, genesis, id, key};

mod files;
mod keys;
mod random;
mod twists;

const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts");
const DRIVER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/verifier/attempts.py");
/// Longer than packages need to be fetched, or than thousands of entries need in Python.
const LIMIT: Duration = Duration::from_secs(400);

/// The Python that has what the verifier needs, if system tests shall run.
fn python(test: &str) -> Option<PathBuf> {
    if !testkit::require(test, &["python3", "flock"]) {
        return None;
    }
    let made = Program::new("bash").arg(format!("{SCRIPTS}/verifier-python")).limit(LIMIT).ok();
    Some(PathBuf::from(made.trim()))
}

fn verifier(python: &Path) -> Program {
    Program::new(python.to_str().unwrap()).arg(format!("{SCRIPTS}/verify-ledger.py")).limit(LIMIT)
}

fn line(entry: &SignedEntry) -> Vec<u8> {
    let mut line = Vec::new();
    write_line(&mut line, entry).unwrap();
    line
}

/// What the reference made of a run of attempts, and the attempts for the verifier.
struct Attempts {
    lines: Vec<u8>,
    expected: Vec<Result<Digest, String>>,
    state: FleetState,
    accepted: Vec<SignedEntry>,
}

impl Attempts {
    fn found(random: &mut Random) -> Self {
        let first = genesis(random);
        let state = FleetState::found(&first.clone().verify().unwrap()).unwrap();
        let lines = [b"G", &line(&first)[..]].concat();
        Self { lines, expected: vec![Ok(state.digest())], state, accepted: vec![first] }
    }

    fn attempt(&mut self, signed: SignedEntry) -> bool {
        self.lines.push(b'E');
        self.lines.extend(line(&signed));
        let verified = signed.clone().verify().map_err(|e| e.to_string());
        let done = verified.and_then(|entry| self.state.apply(&entry).map_err(|e| e.to_string()));
        let accepted = done.is_ok();
        self.expected.push(done.map(|()| self.state.digest()));
        if accepted {
            self.accepted.push(signed);
        }
        accepted
    }
}

/// Has the verifier judge all attempts in one process, and compares.
fn agree(python: &Path, runs: &[Attempts]) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("attempts");
    std::fs::write(&file, runs.iter().flat_map(|r| &r.lines).copied().collect::<Vec<u8>>()).unwrap();
    let program = Program::new(python.to_str().unwrap()).args([DRIVER, &format!("{SCRIPTS}/verify-ledger.py")]);
    let judged = program.arg(file.to_str().unwrap()).limit(LIMIT).ok();
    let judged: Vec<&str> = judged.lines().collect();
    let sent: Vec<&[u8]> = runs.iter().flat_map(|r| r.lines.split_inclusive(|b| *b == b'\n')).collect();
    let expected: Vec<&Result<Digest, String>> = runs.iter().flat_map(|r| &r.expected).collect();
    assert_eq!(judged.len(), expected.len());
    for ((judged, expected), sent) in judged.iter().zip(expected).zip(sent) {
        let same = match expected {
            Ok(digest) => *judged == format!("ok {digest}"),
            Err(_) => judged.starts_with("no "),
        };
        assert!(same, "the reference: {expected:?}\nthe verifier: {judged}\n{}", shown(sent));
    }
}

/// An attempt as a person can read it.
fn shown(line: &[u8]) -> String {
    let line: serde_json::Value = serde_json::from_slice(&line[1..]).unwrap();
    let bytes = data_encoding::BASE64.decode(line["entry"].as_str().unwrap().as_bytes()).unwrap();
    String::from_utf8_lossy(&bytes).chars().take(3000).collect()
}

/// Runs of attempts; some of them have something odd in their bytes.
fn runs(seed: u64, count: u64, length: usize, odd: u64) -> Vec<Attempts> {
    let mut random = Random(seed);
    let mut all = Vec::new();
    for _ in 0..count {
        let mut run = Attempts::found(&mut random);
        for _ in 0..length {
            let (author, entry) = attempt(&mut random, &run.state);
            let Ok(signed) = entry.sign(&key(author)) else { continue };
            if odd > 0 && random.once_in(odd) {
                let twisted = twists::twisted(&mut random, &signed, &key(author));
                run.attempt(twisted);
            } else {
                run.attempt(signed);
            }
        }
        all.push(run);
    }
    all
}

#[test]
fn both_agree_on_every_attempt_and_on_the_state() {
    let Some(python) = python("the verifier on attempts") else { return };
    let runs = runs(seed(), 24, 150, 0);
    let accepted: usize = runs.iter().map(|r| r.accepted.len()).sum();
    let refused = runs.iter().flat_map(|r| &r.expected).filter(|e| e.is_err()).count();
    assert!(accepted > 800 && refused > 800, "{accepted} accepted, {refused} refused: too few to mean something");
    // Every body was accepted somewhere, and refused somewhere.
    let verbs = |entries: &mut dyn Iterator<Item = &SignedEntry>| -> std::collections::BTreeSet<&'static str> {
        entries.filter_map(|e| e.clone().verify().ok()).map(|e| e.entry().body.verb()).collect()
    };
    let seen = verbs(&mut runs.iter().flat_map(|r| &r.accepted));
    assert_eq!(seen.len(), 16, "only these were accepted: {seen:?}");
    agree(&python, &runs);
}

#[test]
fn both_agree_on_odd_bytes_that_are_signed() {
    let Some(python) = python("the verifier on odd bytes") else { return };
    let runs = runs(seed() ^ 1, 10, 300, 2);
    // What a reader may take or leave: some of it is taken, much is not.
    let odd = |run: &Attempts| run.accepted.iter().filter(|e| !is_plain(e)).count();
    assert!(runs.iter().map(odd).sum::<usize>() > 20, "of the odd ones hardly any was accepted");
    agree(&python, &runs);
}

/// Whether the bytes are those that the reference itself would write.
fn is_plain(entry: &SignedEntry) -> bool {
    let read: protocols::Entry = serde_json::from_slice(&entry.bytes).unwrap();
    serde_json::to_vec(&read).unwrap() == entry.bytes
}

/// `FLT_VERIFIER_SEED` gives other attempts than the usual ones.
fn seed() -> u64 {
    std::env::var("FLT_VERIFIER_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(20_260_101)
}
