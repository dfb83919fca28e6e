//! **The workload never starts without a valid lease of the local epoch.** When it becomes writable, the group has
//! that epoch as the current one, held by this machine, and nobody has asked it to stop.
//!
//! An epoch is begun at most once: what was given up is never taken up again. What ended by itself may go on, in the same
//! epoch: see [`super::revival`]. That may rest on the promises of all the others, so the group may have granted the next
//! epoch already; [`super::one_writer`] sees to it that nobody uses that yet.

use failover::{Epoch, Phase};

use crate::sim::plan::node;
use crate::sim::world::World;

pub(crate) fn began(world: &mut World, machine: usize, epoch: Epoch, again: bool) {
    if !again && world.began.iter().any(|began| began.epoch == epoch) {
        world.violate("start gate", format!("{machine} begins epoch {epoch} a second time"));
    }
    if world.machines[machine].clock_betrayed {
        return;
    }
    let Some(lease) = world.group.table.lease(&world.cluster) else { return };
    let (held, holder, current) = (lease.phase == Phase::Held, lease.holder, lease.epoch);
    if again && current > epoch {
        return;
    }
    if current != epoch || holder != Some(node(machine)) || !held {
        let what =
            format!("{machine} begins epoch {epoch}, and the group has epoch {current} of {holder:?}, held: {held}");
        world.violate("start gate", what);
    }
}
