//! **A promise is kept.** A candidate that promised a holder not to take its lease for a while does not begin a later
//! epoch before that while is over, unless the holder has said itself that it is done; not even after a restart. The
//! while begins when the candidate heard the question, however late its answer leaves: the holder counts from earlier,
//! from when it asked.

use failover::{Attempt, Epoch, NodeId, Span};

use crate::sim::world::World;

pub(crate) fn promised(world: &mut World, index: usize, to: NodeId, attempt: Attempt) {
    let now = world.machines[index].local(world.now);
    let heard = world.machines[index].asked.get(&(to, attempt)).copied().unwrap_or(now);
    let Some(lease) = world.group.table.lease(&world.cluster) else { return };
    let agent = world.machines[index].agent.as_ref();
    // What it promises by is what it knows, which may be older than what the group knows.
    let Some(view) = agent.and_then(|agent| agent.view()) else { return };
    let (epoch, ttl) = (view.epoch.0, world.plan.settings.ttl.min(lease.settings.ttl));
    let machine = &mut world.machines[index];
    machine.promises.retain(|(_, until)| *until > now);
    machine.promises.push((epoch, heard + (ttl - Span::from_millis(1))));
}

pub(crate) fn began(world: &mut World, index: usize, epoch: Epoch) {
    let machine = &world.machines[index];
    let now = machine.local(world.now);
    let broken = machine
        .promises
        .iter()
        .find(|(promised, until)| *promised < epoch.0 && *until > now && !world.parted.contains(promised))
        .copied();
    if let Some((promised, _)) = broken {
        world
            .violate("promises", format!("{index} begins epoch {epoch}, and had promised epoch {promised} not to yet"));
    }
}
