//! The fuzz targets without a fuzzer: the stored seeds, and some thousand mutations of them that are the same each time.

use std::fs;
use std::path::PathBuf;

#[allow(unreachable_pub, reason = "public where the fuzz targets call it")]
#[path = "../../../../fuzz/src/bodies.rs"]
mod bodies;
#[allow(unreachable_pub, reason = "public where the fuzz targets call it")]
#[path = "../../../../fuzz/src/seeds.rs"]
mod seeds;
#[allow(unreachable_pub, reason = "as the others")]
#[path = "../../../../fuzz/src/smoke.rs"]
mod smoke;

use smoke::Random;

/// Mutations of each target's seeds.
const MUTATIONS: usize = 2000;
/// How to write the seeds.
const ANEW: &str = "cargo test -p scores --test it seeds_anew -- --ignored";
/// Seeds that are refused alone: an entry before them is missing.
const DEPENDENT: [(&str, &str); 2] = [("entries", "redeem"), ("entries", "release")];

fn folder(target: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds").join(target)
}

/// The stored seeds, in the order of their names.
fn stored(target: &str) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(folder(target)).unwrap_or_else(|e| panic!("fuzz/seeds/{target}: {e}"));
    let mut found: Vec<_> = entries
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()))
        .collect();
    found.sort();
    found
}

#[test]
fn the_stored_seeds_are_those_that_are_made() {
    for (target, _) in bodies::TARGETS {
        for (name, bytes) in seeds::seeds(target) {
            let there = fs::read(folder(target).join(name));
            assert!(there.is_ok_and(|there| there == bytes), "fuzz/seeds/{target}/{name} is another: {ANEW}");
        }
    }
}

#[test]
#[ignore = "writes fuzz/seeds anew"]
fn seeds_anew() {
    for (target, _) in bodies::TARGETS {
        fs::create_dir_all(folder(target)).unwrap();
        for (name, bytes) in seeds::seeds(target) {
            fs::write(folder(target).join(name), bytes).unwrap();
        }
    }
}

#[test]
fn every_target_has_its_file() {
    let manifest = fs::read_to_string(folder("").join("../Cargo.toml")).unwrap();
    for (target, _) in bodies::TARGETS {
        assert!(manifest.contains(&format!("path = \"targets/{target}.rs\"")), "{target}");
    }
    // What the coordinators' group says is tried where that is.
    assert_eq!(manifest.matches("[[bin]]").count(), bodies::TARGETS.len() + 1);
}

#[test]
fn seeds_are_accepted_and_mutations_of_them_break_no_promise() {
    let mut random = Random(0x5eed_f107_1a0b_cafe);
    for (target, body) in bodies::TARGETS {
        let seeds = stored(target);
        let made: Vec<&str> = seeds::seeds(target).iter().map(|(name, _)| *name).collect();
        for (name, bytes) in &seeds {
            let accepted = body(bytes);
            // A crash that was found is stored too, and need not be accepted.
            let shall = made.contains(&name.as_str()) && !DEPENDENT.contains(&(target, name.as_str()));
            assert!(accepted || !shall, "{target}: the seed {name} is refused");
        }
        for _ in 0..MUTATIONS {
            let mut bytes = random.of(&seeds).1.clone();
            for _ in 0..=random.below(4) {
                random.mutate(&mut bytes, &seeds);
            }
            body(&bytes);
        }
    }
}
