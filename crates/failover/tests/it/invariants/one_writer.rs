//! **At most one writable primary.** At every instant at most one machine has a workload that can write.
//!
//! It rests on clocks that drift less than the slack covers, and on the watchdog. A clock that stood still with its
//! machine (a hypervisor's pause) breaks it for that machine, as nothing inside the machine can know; what must hold
//! even then is [`super::acknowledged_writes`]. A machine that goes on after a pause has an instant, the watchdog's
//! reaction, in which it is not counted.

use crate::sim::world::World;

pub(crate) fn check(world: &mut World) {
    let writes = |index: &usize| {
        let machine = &world.machines[*index];
        machine.writes(world.now) && !machine.clock_betrayed
    };
    let writers = (0..world.machines.len()).filter(writes);
    if writers.clone().count() > 1 {
        let what: Vec<String> =
            writers.map(|index| format!("{index} in epoch {:?}", world.machines[index].db.primary())).collect();
        world.violate("one writer", what.join(" and "));
    }
}
