//! **An agent that can act fences before its watchdog bites.** The watchdog is for agents that cannot: when it bites,
//! the agent was dead, paused within the time of the ladder, or had begun to fence in time.

use failover::Stand;

use crate::sim::world::World;

pub(crate) fn bitten(world: &mut World, index: usize) {
    let ladder = world.settings().fence_budget().as_micros();
    let machine = &world.machines[index];
    let Some(agent) = &machine.agent else { return };
    let acts = world.now > machine.hampered.max(machine.resumed) + ladder && machine.agent_paused <= world.now;
    if acts && !matches!(agent.stand(), Stand::Fencing { .. }) && machine.db.primary().is_some() {
        let what = format!("the watchdog of {index} had to bite while its agent was {}", agent.stand().word());
        world.violate("watchdog", what);
    }
}
