//! **What ended by itself is started again only in the epoch that it served, never beside what is left of it, and not again and
//! again.** When the start takes effect nothing of the workload runs. Between two of them, by one agent, at least a ttl
//! passes, and within the longest hold-down there are three at most: what ends again and again becomes another node's.

use failover::{Epoch, Node};

use crate::sim::world::World;

pub(crate) fn revived(world: &mut World, index: usize, epoch: Epoch) {
    if !world.began.iter().any(|began| began.epoch == epoch) {
        world.violate("revival", format!("{index} starts epoch {epoch} again, and nobody ever served it"));
    }
    // A clock may be fast by a few in a hundred, as the slack covers.
    let (ttl, longest) = (world.plan.settings.ttl, world.plan.settings.hold_down_max);
    let (ttl, longest) = (ttl.as_micros() * 9 / 10, longest.as_micros() * 9 / 10);
    let now = world.now;
    let machine = &mut world.machines[index];
    let lately = machine.revived.iter().filter(|at| now < **at + longest).count();
    let soon = machine.revived.last().is_some_and(|at| now < at + ttl);
    machine.revived.push(now);
    if (soon || lately >= Node::MAX_REVIVALS) && !machine.clock_betrayed {
        world.violate("revival", format!("{index} starts epoch {epoch} again, and did so {lately} times lately"));
    }
}
