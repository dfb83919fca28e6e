//! **Every transition has a frozen flight record.** Whenever a node stands differently, its recorder holds a copy of the
//! tape that ends with this change; the changes follow each other without a gap, from the agent's start on; and nothing
//! of it grows without bound.

use failover::{FlightEvent, FlightRecorder, Happening};

use crate::sim::world::World;

pub(crate) fn recorded(world: &mut World, index: usize, event: FlightEvent) {
    let machine = &mut world.machines[index];
    let turn = match &event.happening {
        Happening::Turned { from, to, .. } => Some((from.clone(), to.clone())),
        _ => None,
    };
    machine.recorder.record(event);
    let Some((from, to)) = turn else { return };
    let change = format!("{from} → {to}");
    let before = std::mem::replace(&mut machine.recorded, to);
    let frozen = machine.recorder.frozen().next_back();
    let kept = frozen.is_some_and(|frozen| {
        let last = frozen.tape.notes.back();
        let bounded = frozen.tape.heartbeats.len() <= FlightRecorder::HEARTBEATS
            && frozen.tape.notes.len() <= FlightRecorder::NOTES;
        frozen.change.starts_with(&change) && last.is_some_and(|note| note.text == frozen.change) && bounded
    });
    let few = machine.recorder.frozen().len() <= FlightRecorder::FROZEN;
    if before != from {
        world.violate("flight record", format!("{index} was {before} by its records, and turns from {from}"));
    } else if !kept || !few {
        world.violate("flight record", format!("{change} of {index} was not frozen"));
    }
}

pub(crate) fn carried_out(world: &mut World, index: usize) {
    let machine = &world.machines[index];
    let Some(agent) = &machine.agent else { return };
    if agent.stand().word() != machine.recorded {
        let what = format!("{index} is {}, and by its records {}", agent.stand().word(), machine.recorded);
        world.violate("flight record", what);
    }
}
