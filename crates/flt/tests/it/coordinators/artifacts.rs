//! Artifacts that a coordinator was given, and that another one must have when the first is gone.

use std::path::Path;

use testkit::{DEADLINE, until};

use super::pair::{Pair, again, kill};

/// How many bytes the files below a folder have.
fn bytes_below(dir: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(dir) else { return 0 };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(meta) if meta.is_dir() => bytes_below(&entry.path()),
            Ok(meta) => meta.len(),
            Err(_) => 0,
        })
        .sum()
}

#[test]
fn an_artifact_outlives_the_coordinator_that_was_given_it() {
    let pair = Pair::found();
    let (mut first, mut second) = pair.start();
    let mut agent = pair.bed.join("edge-1");
    pair.has_all("edge-1");
    // It is away, so that nobody but coordinators has what is published.
    kill(&mut agent);
    let big: Vec<u8> = (0..1_000_000_u32).flat_map(u32::to_le_bytes).collect();
    std::fs::write(pair.bed.path().join("big.bin"), &big).unwrap();
    let file = "[group.edge]\non = \"role=edge\"\nscore.big.kind = \"files/1\"\nscore.big.spec.root = \"/srv\"\n\
                score.big.spec.entries.big = { file = \"big.bin\" }\n";
    std::fs::write(pair.bed.path().join("fleet.toml"), file).unwrap();
    let size = big.len() as u64;
    assert!(bytes_below(&pair.second_data().join("blobs")) < size);
    pair.bed.admin(["apply", "fleet.toml", "--no-wait"]).ok();
    // The one that follows fetches what it was not given.
    second.wait_for(&format!("an artifact was fetched bytes={size}"));
    kill(&mut first);
    std::fs::remove_dir_all(pair.bed.path().join("coordinator/data/blobs")).unwrap();
    std::fs::remove_file(pair.bed.path().join("big.bin")).unwrap();
    // What it fetched is whole, and stays over a restart.
    second.terminate();
    second.wait(DEADLINE);
    again(&mut second);
    agent.restart();
    let there = pair.bed.root("edge-1").join("srv/big");
    until("the artifact on the node", DEADLINE * 2, || {
        let found = std::fs::read(&there).unwrap_or_default();
        if found == big { Ok(()) } else { Err(found.len()) }
    });
}
