//! **What was given up is off.** When the group knows an epoch as released, fenced or proven off, no machine has a
//! workload that writes in that epoch, and none ever has again. Started is not done: a fence counts when it is verified.

use crate::sim::world::World;

pub(crate) fn check(world: &mut World) {
    let on = |index: &usize| {
        let machine = &world.machines[*index];
        machine.db.primary().is_some_and(|epoch| world.parted.contains(&epoch.0)) && machine.runs(world.now)
    };
    if let Some(index) = (0..world.machines.len()).find(on) {
        let what = format!("{index} writes in epoch {:?}, which was given up", world.machines[index].db.primary());
        world.violate("given up is off", what);
    }
}
