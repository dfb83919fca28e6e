//! The fuzz target of what a group's members say, without a fuzzer: what a group once said, and mutations of it that are
//! the same each time.

use std::fs;
use std::path::PathBuf;

use failover::Request;
use quorum::Ledger as _;

use crate::rig::{HEARD, Rig, id};

#[allow(unreachable_pub, reason = "public where the fuzz target calls it")]
#[path = "../../../../fuzz/src/group.rs"]
mod group;
#[allow(unreachable_pub, dead_code, reason = "public where other tests call it")]
#[path = "../../../../fuzz/src/smoke.rs"]
mod smoke;

/// Mutations of the seeds.
const MUTATIONS: usize = 20_000;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds/group")
}

fn stored() -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path());
    let name = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
    let mut found: Vec<_> = entries.map(|path| (name(&path), fs::read(&path).unwrap())).collect();
    found.sort();
    found
}

#[test]
fn what_a_group_said_is_understood_and_mutations_of_it_break_no_promise() {
    let seeds = stored();
    assert!(seeds.len() >= 10, "{}", seeds.len());
    for (name, bytes) in &seeds {
        assert!(group::group(bytes), "the seed {name} is refused");
    }
    let mut random = smoke::Random(0x5eed_f107_1a0b_cafe);
    for _ in 0..MUTATIONS {
        let mut bytes = random.of(&seeds).1.clone();
        for _ in 0..=random.below(4) {
            random.mutate(&mut bytes, &seeds);
        }
        group::group(&bytes);
    }
}

/// Run it alone: `cargo test -p quorum --test it group_seeds_anew -- --ignored`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "writes fuzz/seeds/group anew"]
async fn group_seeds_anew() {
    let rig = Rig::start(5).await;
    rig.of(1).change(&[id(2), id(3)], &[]).await.unwrap();
    for at in 1..=3 {
        rig.configure(at).await;
        let head = rig.chain(at).head();
        drop(rig.of(at).enter(rig.sign(Some(head), u64::from(at))).await);
        drop(rig.of(at).ask(rig.ask(at, Request::Pause)).await);
        drop(rig.of(at).status().await);
        drop(rig.of(at).change(&[id(4)], &[]).await);
        drop(rig.epoch(at).await);
    }
    // An election.
    let led = rig.leader(&[1, 2, 3], |_| true).await;
    rig.kill(led).await;
    let left: Vec<u8> = (1..=3).filter(|n| *n != led).collect();
    rig.leader(&left, |n| n != led).await;
    fs::create_dir_all(folder()).unwrap();
    for ((reply, variant), bytes) in HEARD.lock().unwrap().iter() {
        let name = format!("{}-{variant}", if *reply { "reply" } else { "call" });
        fs::write(folder().join(name), [vec![u8::from(*reply)], bytes.clone()].concat()).unwrap();
    }
}
