//! The fuzz targets without a fuzzer: the stored seeds, and some thousand mutations of them that are the same each time.

use std::fs;
use std::path::PathBuf;

#[allow(unreachable_pub, reason = "public where the fuzz targets call it")]
#[path = "../../../../fuzz/src/bodies.rs"]
mod bodies;
#[allow(unreachable_pub, reason = "public where the fuzz targets call it")]
#[path = "../../../../fuzz/src/seeds.rs"]
mod seeds;

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
    assert_eq!(manifest.matches("[[bin]]").count(), bodies::TARGETS.len());
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

/// The same numbers each time (xorshift64*).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    fn of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }

    fn mutate(&mut self, bytes: &mut Vec<u8>, seeds: &[(String, Vec<u8>)]) {
        let at = self.below(bytes.len());
        let end = at + self.below(bytes.len().saturating_sub(at).min(16) + 1);
        match self.below(8) {
            0 if !bytes.is_empty() => bytes[at] ^= 1 << self.below(8),
            1 if !bytes.is_empty() => bytes[at] = *self.of(&[0, 1, 0x7f, 0x80, 0xff, b'"', b'{', b'*', b',']),
            2 => drop(bytes.drain(at..end)),
            3 => {
                let copy = bytes[at..end].to_vec();
                drop(bytes.splice(at..at, copy));
            }
            4 => bytes.truncate(at),
            // A length that promises much.
            5 => drop(bytes.splice(at..end, [0xff, 0xff, 0xff, 0xff, 0x0f])),
            6 => {
                let other = &self.of(seeds).1.clone();
                let from = self.below(other.len());
                drop(bytes.splice(at..end, other[from..].iter().copied().take(64)));
            }
            _ => bytes.push(self.next().to_le_bytes()[0]),
        }
    }
}
