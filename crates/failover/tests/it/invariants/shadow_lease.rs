//! **A fenced primary does not serve again before it held a shadow lease for a whole ttl.** From the fence of an epoch
//! to the next start on the same machine at least a ttl passes, and in the ttl before the start there is no gap in
//! which the machine was out of touch with the group for longer than a lease lasts.
//!
//! Where the holder before has stopped in order, to hand the lease over, this is waived: somebody has decided.
//!
//! The same ttl is demanded of an agent that has restarted, which may have forgotten what it promised.

use failover::{Epoch, Stand};

use crate::sim::world::World;

pub(crate) fn turned(world: &mut World, machine: usize, before: Stand, after: Stand) {
    let began_fence =
        matches!(after, Stand::Fencing { epoch: Some(_), .. }) && !matches!(before, Stand::Fencing { .. });
    if began_fence {
        let now = world.now;
        let machine = &mut world.machines[machine];
        machine.fenced_at = Some(now);
        machine.touched.clear();
    }
}

pub(crate) fn began(world: &mut World, index: usize, epoch: Epoch) {
    if world.handed_over.contains(&epoch.0) {
        return;
    }
    let Some(fenced) = world.machines[index].fenced_at else { return };
    let machine = &world.machines[index];
    if machine.clock_betrayed {
        return;
    }
    // The shortest that was ever set, on the fastest clock there may be.
    let settings = &world.plan.settings;
    let (ttl, certain) = (settings.ttl.as_micros(), settings.certain().as_micros());
    let span = certain * certain / ttl;
    if world.now < fenced + span {
        let what = format!("{index} starts {} µs after it was fenced", world.now - fenced);
        world.violate("shadow lease", what);
        return;
    }
    let from = world.now - span;
    let mut last = from;
    let mut touched: Vec<u64> = machine.touched.iter().copied().filter(|at| *at >= from).collect();
    touched.sort_unstable();
    touched.push(world.now);
    let longest = world.settings().ttl.as_micros().max(ttl) * 2;
    for at in touched {
        if at - last > longest {
            world.violate("shadow lease", format!("{index} starts after {} µs out of touch", at - last));
            return;
        }
        last = at;
    }
}
