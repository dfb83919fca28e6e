//! A seeded simulator: the real table and the real nodes, on machines, clocks, databases and a network that are not.
//!
//! One seed is one schedule of faults and one stream of chances; the same seed gives the same run, event by event.

pub(crate) mod carry;
pub(crate) mod db;
pub(crate) mod faults;
pub(crate) mod group;
pub(crate) mod machine;
pub(crate) mod plan;
pub(crate) mod rng;
pub(crate) mod shrink;
pub(crate) mod world;

use failover::mutation::Mutations;

pub(crate) use plan::{Plan, Theme};
pub(crate) use world::{Run, Violation};

/// Plays one schedule to its end, or to its first violation.
pub(crate) fn play(plan: &Plan, mutations: Mutations, trace: bool) -> Run {
    world::World::new(plan.clone(), mutations, trace).play()
}
