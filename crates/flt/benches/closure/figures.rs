//! What was measured, and how it is told.

use std::time::Duration;

use super::mesh_way::Made;

/// How a closure comes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Mesh,
    NixZstd,
    NixNone,
}

impl Way {
    pub(crate) const ALL: [Self; 3] = [Self::Mesh, Self::NixZstd, Self::NixNone];

    const fn name(self) -> &'static str {
        match self {
            Self::Mesh => "flotilla, stage step",
            Self::NixZstd => "nix copy, zstd cache",
            Self::NixNone => "nix copy, uncompressed",
        }
    }
}

/// One delivery.
pub(crate) struct Taken {
    pub(crate) wall: Duration,
    /// Bytes of the protocol that came to the node: hashes or headers included, packets not.
    pub(crate) received: u64,
    /// Bytes on the loopback device.
    pub(crate) wire: u64,
    pub(crate) parts: Option<Parts>,
}

/// Where the time of one delivery went.
pub(crate) struct Parts {
    /// The manifest, its signatures, and what the store lacks.
    pub(crate) ask: Duration,
    /// The blobs: over the wire, into the blob store, written out, unpacked and checked.
    pub(crate) fetch: Duration,
    /// Into the store, and asking it whether all is there.
    pub(crate) import: Duration,
}

/// One publication, in each way.
pub(crate) struct Publishing {
    pub(crate) made: Made,
    pub(crate) ours: Duration,
    pub(crate) zstd: Duration,
    pub(crate) none: Duration,
}

pub(crate) fn print_publishing(rounds: &[[Publishing; 2]]) {
    for (at, what) in WHAT.iter().enumerate() {
        let stats = rounds[0][at].made.stats;
        let of =
            |pick: fn(&Publishing) -> Duration| Spread::of(rounds.iter().map(|both| pick(&both[at]).as_secs_f64()));
        let [ours, zstd, none] = [of(|p| p.ours), of(|p| p.zstd), of(|p| p.none)];
        println!("\npublish {what}: {} of {} paths packed", stats.packed, stats.paths);
        println!("  {:<24} {ours} s", "flotilla, to blob store");
        println!("  {:<24} {zstd} s   ratio {:.2}", "nix copy --to, zstd", ours.median / zstd.median);
        println!("  {:<24} {none} s   ratio {:.2}", "nix copy --to, none", ours.median / none.median);
    }
}

pub(crate) fn print(taken: &[(Way, [Taken; 2])], made: &[&Made; 2]) {
    for (at, what) in WHAT.iter().enumerate() {
        let stats = made[at].stats;
        let (paths, mb) = (stats.packed, mb(stats.nar_bytes));
        println!("\ndeliver {what}: {paths} new paths of {} ({mb:.1} MB unpacked in all)", stats.paths);
        println!("  {:<24} {:^26} {:>12} {:>12}", "", "seconds (min, max)", "received MB", "on lo MB");
        let of = |way: Way, pick: fn(&Taken) -> f64| {
            Spread::of(taken.iter().filter(|(taken, _)| *taken == way).map(|(_, both)| pick(&both[at])))
        };
        let all = Way::ALL.map(|way| {
            let (wall, received, wire) =
                (of(way, |t| t.wall.as_secs_f64()), of(way, |t| self::mb(t.received)), of(way, |t| self::mb(t.wire)));
            println!("  {:<24} {wall:>26} {:>12.2} {:>12.2}", way.name(), received.median, wire.median);
            (way, wall.median, received.median, wire.median)
        });
        let (_, wall, received, wire) = all[0];
        for (way, their_wall, their_received, their_wire) in &all[1..] {
            let ratios = [wall / their_wall, received / their_received, wire / their_wire];
            let name = way.name();
            println!(
                "  flotilla : {name:<23} time {:.2}   received {:.3}   on lo {:.3}",
                ratios[0], ratios[1], ratios[2]
            );
        }
        let part = |pick: fn(&Parts) -> Duration| {
            let parts = taken.iter().filter_map(|(_, both)| both[at].parts.as_ref());
            Spread::of(parts.map(|parts| pick(parts).as_secs_f64())).median
        };
        let [ask, fetch, import] = [part(|p| p.ask), part(|p| p.fetch), part(|p| p.import)];
        println!("  of flotilla's: manifest and asking {ask:.3} s, fetch and check {fetch:.3} s, import {import:.3} s");
    }
}

struct Spread {
    median: f64,
    min: f64,
    max: f64,
}

impl Spread {
    fn of(values: impl Iterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.collect();
        values.sort_by(f64::total_cmp);
        let half = values.len() / 2;
        let median = if values.len() % 2 == 1 { values[half] } else { f64::midpoint(values[half - 1], values[half]) };
        Self { median, min: values[0], max: values[values.len() - 1] }
    }
}

impl std::fmt::Display for Spread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(&format!("{:.3} ({:.3}, {:.3})", self.median, self.min, self.max))
    }
}

fn mb(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

const WHAT: [&str; 2] = ["first closure", "update"];
