//! **What is healed recovers.** When faults have ended, the group leads, every machine runs and every link carries,
//! then within the longest hold-down and a few leases some machine serves, and writes are acknowledged.

use failover::Stand;

use crate::sim::world::World;

/// Whether somebody serves, and a write was acknowledged lately.
pub(crate) fn is_well(world: &World) -> bool {
    let serving = world
        .machines
        .iter()
        .any(|machine| matches!(machine.agent.as_ref().map(|a| a.stand()), Some(Stand::Serving { .. })));
    serving && world.now.saturating_sub(world.last_ack) < 5_000_000 && super::split_brain::is_settled(world)
}

pub(crate) fn check(world: &mut World) {
    if !is_well(world) {
        let stands: Vec<_> =
            world.machines.iter().map(|machine| machine.agent.as_ref().map(failover::Node::stand)).collect();
        let unsettled = super::split_brain::unsettled(world);
        world.violate("recovery", format!("nobody serves, or {unsettled:?} is not reconciled: {stands:?}"));
    }
}
