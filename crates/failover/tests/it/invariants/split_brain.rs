//! **Who serves without a lease says so, and yields.** Under `SplitBrainAllowed` a primary that is cut off serves on; no
//! watchdog and no fence ends it. It has told a person before anybody else can begin a later epoch. When it learns of
//! one it stops within a bounded time, and the later one never yields to it. When nothing of it writes any more, its
//! owner is told exactly once to merge or drop what it wrote (once more only by an agent that restarted in between),
//! and never where the workload is a database.
//!
//! It stands in the place of [`super::one_writer`], which such a cluster does not keep.

use failover::{Alarm, Epoch, FailoverStrategy, Stand};

use crate::sim::world::World;

pub(crate) fn is_allowed(world: &World) -> bool {
    world.plan.settings.strategy == FailoverStrategy::SplitBrainAllowed
}

/// Whether this node, as far as it knows, may serve without a lease.
fn may_split(world: &World, machine: usize) -> bool {
    let agent = world.machines[machine].agent.as_ref();
    let settings = agent.and_then(failover::Node::settings);
    settings.is_some_and(|settings| settings.strategy == FailoverStrategy::SplitBrainAllowed)
}

pub(crate) fn check(world: &mut World) {
    let now = world.now;
    let machines = &world.machines;
    let writers = || {
        let writing = machines.iter().enumerate().filter(|(_, machine)| machine.writes(now));
        writing.filter_map(|(index, machine)| machine.db.primary().map(|epoch| (index, epoch)))
    };
    if let Some(latest) = writers().map(|(_, epoch)| epoch).max() {
        world.beside.extend(writers().filter(|(_, epoch)| *epoch < latest));
    }
    if machines.iter().all(|machine| machine.met.is_none()) {
        return;
    }
    let within = (world.settings().stop_within.max(world.plan.settings.stop_within)).times(2).as_micros();
    for index in 0..world.machines.len() {
        let machine = &mut world.machines[index];
        let Some((met, epoch)) = machine.met else { continue };
        let fences = machine.agent.as_ref().is_none_or(|agent| matches!(agent.stand(), Stand::Fencing { .. }));
        if machine.db.primary() != Some(epoch) || fences {
            machine.met = None;
        } else if now > met.max(machine.hampered).max(machine.resumed) + within {
            let what = format!("{index} serves epoch {epoch}, and has known of a later one since {met} µs");
            world.violate("split brain", what);
        }
    }
}

/// Nobody begins an epoch beside one that serves on and can speak, but has not.
pub(crate) fn began(world: &mut World, by: usize, later: Epoch) {
    if !is_allowed(world) {
        return;
    }
    let silent = |index: &usize| {
        let machine = &world.machines[*index];
        let can_speak = machine.agent_paused.max(machine.paused) <= world.now && !machine.clock_betrayed;
        let stand = machine.agent.as_ref().map(failover::Node::stand);
        let serves = stand.and_then(|stand| match stand {
            Stand::Serving { epoch } | Stand::Degraded { epoch } => Some(epoch),
            _ => None,
        });
        *index != by
            && can_speak
            && machine.writes(world.now)
            && serves.is_some_and(|epoch| epoch < later && machine.degraded != Some(epoch))
    };
    if let Some(index) = (0..world.machines.len()).find(silent) {
        let what = format!("{index} serves on, and has told nobody when {by} begins epoch {later}");
        world.violate("split brain", what);
    }
}

pub(crate) fn turned(world: &mut World, machine: usize, before: Stand, after: Stand) {
    if !is_allowed(world) {
        return;
    }
    match (before, after) {
        (Stand::Serving { .. } | Stand::Degraded { .. }, Stand::Fencing { .. })
            if may_split(world, machine) && !world.machines[machine].ended =>
        {
            world.violate("split brain", format!("{machine} fences, and might have served on"));
        }
        (Stand::Degraded { .. }, Stand::Serving { .. }) => world.machines[machine].degraded = None,
        (Stand::Serving { .. } | Stand::Degraded { .. }, Stand::Stopping { epoch, to: None, .. }) => {
            let current = world.epoch();
            if current <= epoch && !world.machines[machine].ended {
                world.violate("split brain", format!("{machine} yields in epoch {epoch}, and there is none later"));
            }
        }
        _ => {}
    }
}

pub(crate) fn alarmed(world: &mut World, machine: usize, alarm: Alarm) {
    if let Alarm::Degraded(epoch) = alarm {
        world.machines[machine].degraded = Some(epoch);
        if !is_allowed(world) {
            world.violate("split brain", format!("{machine} serves without a lease, and must not"));
        }
    }
}

pub(crate) fn bitten(world: &mut World, machine: usize) {
    // A fence that began before the node heard that it may serve on goes on to its end.
    let stand = world.machines[machine].agent.as_ref().map(failover::Node::stand);
    let fences = matches!(stand, Some(Stand::Fencing { .. }));
    let ended = world.machines[machine].ended;
    if is_allowed(world)
        && !fences
        && !ended
        && may_split(world, machine)
        && world.machines[machine].db.primary().is_some()
    {
        world.violate("split brain", format!("the watchdog ends {machine}, which might have served on"));
    }
}

pub(crate) fn reconciled(world: &mut World, machine: usize, epoch: Epoch) {
    let current = world.epoch();
    let (writes, incarnation) = (world.machines[machine].db.primary(), world.machines[machine].incarnation);
    let said = world.reconciled.entry((machine, epoch)).or_default();
    let again = said.contains(&incarnation);
    said.push(incarnation);
    let wrong = if !is_allowed(world) {
        "and nobody may serve beside another"
    } else if current <= epoch {
        "and nobody has held the lease since"
    } else if writes.is_some() {
        "and its workload still writes"
    } else if again {
        "a second time"
    } else {
        return;
    };
    world.violate("split brain", format!("{machine} is to reconcile epoch {epoch}, {wrong}"));
}

/// Who wrote beside another, and was never told to be reconciled.
pub(crate) fn unsettled(world: &World) -> Option<(usize, Epoch)> {
    world.beside.iter().find(|served| !world.reconciled.contains_key(served)).copied()
}

pub(crate) fn is_settled(world: &World) -> bool {
    unsettled(world).is_none()
}

/// Looked at when everything has been healed for as long as recovery may take, or as soon as it has recovered.
pub(crate) fn at_end(world: &mut World) {
    if let Some((machine, epoch)) = unsettled(world) {
        world.violate("split brain", format!("what {machine} wrote in epoch {epoch} was never to be reconciled"));
    }
}
