//! **A fence that has begun ends: verified, or with an alarm.** Never silently: an agent that can act is either done
//! with the ladder within its time, or has told a person that no rung could be verified, and goes on trying. It says
//! that it is fenced only when it is.

use failover::{Alarm, Stand};

use crate::sim::db::Role;
use crate::sim::world::World;

pub(crate) fn turned(world: &mut World, machine: usize, before: Stand, after: Stand) {
    let now = world.now;
    match (before, after) {
        (Stand::Fencing { .. }, Stand::Fencing { .. }) => {}
        (_, Stand::Fencing { .. }) => {
            world.machines[machine].fencing_since = Some(now);
            world.machines[machine].exhausted = false;
        }
        (Stand::Fencing { .. }, _) => {
            world.machines[machine].fencing_since = None;
            if matches!(world.machines[machine].db.role, Role::Primary { .. }) {
                world.violate("fence ends", format!("{machine} says that it is fenced, and its workload is writable"));
            }
        }
        _ => {}
    }
}

pub(crate) fn alarmed(world: &mut World, machine: usize, alarm: Alarm) {
    if matches!(alarm, Alarm::LadderExhausted(_)) {
        world.machines[machine].exhausted = true;
    }
}

pub(crate) fn check(world: &mut World) {
    if world.machines.iter().all(|machine| machine.fencing_since.is_none()) {
        return;
    }
    let ladder = world.settings().fence_budget().as_micros().max(failover::Node::UNKNOWN_FENCE.as_micros());
    let stuck = |index: &usize| {
        let machine = &world.machines[*index];
        let since = machine.fencing_since.unwrap_or(world.now).max(machine.hampered).max(machine.resumed);
        machine.agent.is_some() && !machine.exhausted && world.now > since + ladder * 2
    };
    if let Some(index) = (0..world.machines.len()).find(stuck) {
        world.violate("fence ends", format!("{index} has been fencing for longer than its whole ladder, silently"));
    }
}
