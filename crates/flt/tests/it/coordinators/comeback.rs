//! Ledgers that come back: from backups, and from the copies of others.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use testkit::{DEADLINE, Program, until};

use super::pair::{Pair, again, kill};
use crate::processes::bed::ready;

/// A command for the first coordinator's folder.
fn coordinator<const N: usize>(pair: &Pair, words: [&str; N]) -> Program {
    pair.bed.flt().arg("coordinator").args(words).named(format!("flt coordinator {}", words.join(" ")))
}

fn data(pair: &Pair) -> std::path::PathBuf {
    pair.bed.path().join("coordinator/data")
}

/// The lines of a backup that are the ledger's.
fn entries(file: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(file).unwrap();
    text.lines().filter(|line| line.starts_with("{\"entry\"")).map(str::to_owned).collect()
}

#[test]
fn backups_made_while_writes_go_on_are_whole_and_restore_to_the_same_ledger() {
    let pair = Pair::found();
    let mut first = pair.bed.start_coordinator();
    let writing = AtomicBool::new(true);
    let backups: Vec<_> = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    while writing.load(Ordering::Relaxed) {
                        pair.invite();
                    }
                })
            })
            .collect();
        let backups = (0..8)
            .map(|i| {
                let file = pair.bed.path().join(format!("backup-{i}.jsonl"));
                coordinator(&pair, ["backup", "--data"]).arg(data(&pair)).arg(&file).ok();
                file
            })
            .collect();
        writing.store(false, Ordering::Relaxed);
        writers.into_iter().for_each(|w| w.join().unwrap());
        backups
    });
    let all = pair.export();
    let mut longest = 0;
    for (i, file) in backups.iter().enumerate() {
        let found = entries(file);
        assert_eq!(found, all[..found.len()], "backup {i} is the beginning of the ledger");
        assert!(found.len() >= longest);
        longest = found.len();
        let into = pair.bed.path().join(format!("restored-{i}"));
        coordinator(&pair, ["restore", "--data"]).arg(&into).arg(file).ok();
        let copy = pair.bed.path().join("copy.jsonl");
        coordinator(&pair, ["backup", "--data"]).arg(&into).arg(&copy).ok();
        assert_eq!(entries(&copy), found, "what was restored from backup {i}");
    }
    assert!(longest > 2, "writes went on");
    // To stdout, with its secrets, and back into a folder of which nothing is left.
    let secret = coordinator(&pair, ["backup", "--with-key", "-", "--data"]).arg(data(&pair));
    let secret = secret.arg("--key-file").arg(pair.bed.path().join("coordinator/key")).run().expect(0).stdout;
    kill(&mut first);
    let key = std::fs::read(pair.bed.path().join("coordinator/key")).unwrap();
    let empty = pair.bed.path().join("empty");
    coordinator(&pair, ["restore", "-", "--data"]).arg(&empty).input(secret.clone()).ok();
    assert_eq!(std::fs::read(empty.join("key")).unwrap(), key);
    assert!(empty.join("genesis").exists());
    // A backup that was cut or altered puts nothing in place.
    let none = pair.bed.path().join("none");
    for bad in [&secret[..secret.len() / 2], &secret.replacen("\"signature\":\"", "\"signature\":\"00", 1)] {
        coordinator(&pair, ["restore", "-", "--data"]).arg(&none).input(bad).run().expect(1);
        assert!(!none.join("state.redb").exists());
    }
    let other = "0".repeat(64);
    let foreign = coordinator(&pair, ["restore", "-", "--fleet", &other, "--data"]).arg(&none).input(secret);
    foreign.run().expect(1);
    assert!(!none.join("state.redb").exists());
}

/// What is left when a disk is lost: the key.
fn lose_all_but_the_key(pair: &Pair) {
    let key = std::fs::read(pair.bed.path().join("coordinator/key")).unwrap();
    std::fs::remove_dir_all(data(pair)).unwrap();
    assert_eq!(std::fs::read(pair.bed.path().join("coordinator/key")).unwrap(), key);
}

fn config<const N: usize>(pair: &Pair, words: [&str; N]) -> Program {
    coordinator(pair, words).args([
        "--config",
        "coordinator/coordinator.toml",
        "--listen",
        &pair.bed.listen().to_string(),
    ])
}

#[test]
fn a_ledger_comes_back_from_agents_alone() {
    let pair = Pair::found();
    let mut first = pair.bed.start_coordinator();
    let (_one, mut two) = (pair.bed.join("edge-1"), pair.bed.join("edge-2"));
    // One of the agents is behind.
    kill(&mut two);
    for _ in 0..3 {
        pair.invite();
    }
    pair.bed.declare("fleet.toml", "before\n", &["true"]);
    pair.bed.admin(["apply", "fleet.toml", "--no-wait"]).ok();
    pair.bed.wait_for_motd("edge-1", "before\n");
    let all = pair.export();
    kill(&mut first);
    lose_all_but_the_key(&pair);
    two.restart();
    let found = config(&pair, ["--json", "recover", "--wait", "90s"]).limit(DEADLINE * 3).ok();
    let found: serde_json::Value = serde_json::from_str(&found).unwrap();
    assert_eq!(found["head"].as_u64(), Some(all.len() as u64 - 1), "{found}");
    assert_eq!(found["members"].as_array().unwrap().len(), 2, "{found}");
    again(&mut first);
    assert_eq!(pair.export(), all);
    // Agents accept what comes next.
    pair.bed.declare("fleet.toml", "after\n", &["true"]);
    pair.bed.admin(["apply", "fleet.toml", "--timeout", "2m"]).limit(DEADLINE * 3).ok();
    pair.bed.wait_for_motd("edge-1", "after\n");
    pair.bed.wait_for_motd("edge-2", "after\n");
}

#[test]
fn an_old_backup_is_brought_up_to_what_members_have_before_anything_is_appended() {
    let pair = Pair::found();
    let mut first = pair.bed.start_coordinator();
    let _agent = pair.bed.join("edge-1");
    let file = pair.bed.path().join("old.jsonl");
    coordinator(&pair, ["backup", "--data"]).arg(data(&pair)).arg(&file).ok();
    let newest = (0..3).map(|_| pair.invite()).max().unwrap();
    pair.has_all("edge-1");
    let all = pair.export();
    kill(&mut first);
    lose_all_but_the_key(&pair);
    coordinator(&pair, ["restore", "--data"]).arg(data(&pair)).arg(&file).ok();
    assert!(entries(&file).len() < all.len());
    first.restart();
    ready(&first);
    // The very first thing that is asked of it: it waits for what the agent has, and appends after that.
    let next = pair.bed.admin(["--json", "invite"]).limit(DEADLINE * 2);
    let next = until("an invite", DEADLINE * 2, || {
        let output = next.run();
        if output.success() { Ok(output.stdout) } else { Err(output.stderr) }
    });
    let next: serde_json::Value = serde_json::from_str(&next).unwrap();
    assert_eq!(next["entry"].as_u64(), Some(newest + 1), "nothing that members had was written over");
    first.wait_for("took entries that were missing here");
    assert_eq!(pair.export()[..all.len()], all);
}
