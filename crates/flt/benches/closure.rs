//! Closures to a node, measured against `nix copy`: a first one of 52 MB and an update of it, from one process to another
//! over loopback, into real stores. `cargo bench -p flt --bench closure`; `-- 9` takes nine rounds, `-- 9 100mbit` has
//! loopback carry no more than that. Needs root and Nix.
//!
//! Ours is the whole stage step of `nixos/1`: blobs over the mesh, kept for other nodes, written out, checked, and imported
//! through the store's own checks. Theirs is `nix copy --from http://127.0.0.1:PORT` with the same checks of the store.
//! Figures are of this run on this machine; compare them within a run only.

#![allow(clippy::unwrap_used, missing_docs, reason = "a program for people who look at its figures")]

#[path = "closure/bed.rs"]
mod bed;
#[path = "closure/figures.rs"]
mod figures;
#[path = "closure/mesh_way.rs"]
mod mesh_way;
#[path = "closure/nix_way.rs"]
mod nix_way;

use std::path::Path;
use std::time::{Duration, Instant};

use scores::nixos::StorePath;
use testkit::closure::System;

use bed::{Bed, Node};
use figures::{Publishing, Taken, Way};
use mesh_way::Publisher;
use nix_way::Cache;

fn main() {
    let mut args = std::env::args().skip(1).filter(|arg| !arg.starts_with('-'));
    let rounds = args.next().map_or(ROUNDS, |arg| arg.parse().unwrap());
    let rate = args.next();
    if let Ok(dir) = std::env::var(bed::INSIDE) {
        return measure(&Bed::enter(Path::new(&dir)), rounds);
    }
    if testkit::require("closure", bed::TOOLS) {
        bed::run_inside(rounds, rate.as_deref(), LIMIT);
    }
}

fn measure(bed: &Bed, rounds: usize) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let systems =
        [system(1), system(2)].map(|system| -> StorePath { bed.at_admin(|| system.build().unwrap().parse().unwrap()) });
    println!("load {}; {rounds} rounds; {}{}", load(), bed::sh("nix --version").trim(), bed::limit_of_loopback());

    let mut publishing = Vec::new();
    let mut last = None;
    for round in 0..rounds {
        let dir = bed.folder(&format!("publish-{round}"));
        let publisher = runtime.block_on(Publisher::start(&dir));
        let zstd = Cache::new(&dir.join("zstd"), "zstd");
        let none = Cache::new(&dir.join("none"), "none");
        let took = systems.each_ref().map(|path| {
            bed::sh("sync");
            let (made, ours) = timed(|| bed.at_admin(|| runtime.block_on(publisher.publish(path))));
            let ((), zstd) = timed(|| bed.at_admin(|| zstd.add(path)));
            let ((), none) = timed(|| bed.at_admin(|| none.add(path)));
            Publishing { made, ours, zstd, none }
        });
        publishing.push(took);
        if let Some((old, old_dir)) = last.replace(((publisher, zstd, none), dir)) {
            let (publisher, ..): (Publisher, Cache, Cache) = old;
            runtime.block_on(publisher.stop());
            std::fs::remove_dir_all(old_dir).unwrap();
        }
    }
    figures::print_publishing(&publishing);

    let ((publisher, zstd, none), _) = last.unwrap();
    let scores = publishing.last().unwrap().each_ref().map(|publishing| publishing.made.score.clone());
    let caches = [zstd.serve(), none.serve()];
    let mut taken: Vec<(Way, [Taken; 2])> = Vec::new();
    for round in 0..rounds {
        for turn in 0..Way::ALL.len() {
            // Each way comes first, second and last as often as the others.
            let way = Way::ALL[(round + turn) % Way::ALL.len()];
            let node = Node::fresh(bed, &format!("node-{round}-{turn}"));
            let both = match way {
                Way::Mesh => runtime.block_on(async {
                    let agent = publisher.agent(&node.dir).await;
                    let first = agent.stage(&scores[0], 1).await;
                    node.must_hold(&systems[0]);
                    let second = agent.stage(&scores[1], 2).await;
                    agent.stop().await;
                    [first, second]
                }),
                Way::NixZstd | Way::NixNone => {
                    let cache = &caches[usize::from(way == Way::NixNone)];
                    let first = cache.copy(&node, &systems[0]);
                    node.must_hold(&systems[0]);
                    [first, cache.copy(&node, &systems[1])]
                }
            };
            node.must_hold(&systems[1]);
            taken.push((way, both));
        }
    }
    figures::print(&taken, &publishing.last().unwrap().each_ref().map(|publishing| &publishing.made));
    println!("load {}", load());
    runtime.block_on(publisher.stop());
}

/// A system of 27 paths and 52 MB, nine tenths of which the next one has as well.
fn system(app: u32) -> System {
    System { shared: 19, shared_kib: 2400, app_kib: 5640, ..System::new(app) }
}

fn timed<R>(work: impl FnOnce() -> R) -> (R, Duration) {
    let began = Instant::now();
    let result = work();
    (result, began.elapsed())
}

fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap();
    text.split(' ').take(3).collect::<Vec<_>>().join(" ")
}

/// How often each way is taken.
const ROUNDS: usize = 7;
/// What the whole of it may take.
const LIMIT: Duration = Duration::from_secs(1800);
