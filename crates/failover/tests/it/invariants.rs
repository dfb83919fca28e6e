//! What must always hold, one file for each; the simulator asks after every event, and at the end.

pub(crate) mod acknowledged_writes;
pub(crate) mod fence_ends;
pub(crate) mod flight_record;
pub(crate) mod given_up_is_off;
pub(crate) mod log_clock;
pub(crate) mod one_grant;
pub(crate) mod one_writer;
pub(crate) mod promises;
pub(crate) mod recovery;
pub(crate) mod revival;
pub(crate) mod shadow_lease;
pub(crate) mod split_brain;
pub(crate) mod start_gate;
pub(crate) mod sync_set;
pub(crate) mod watchdog;
pub(crate) mod withdrawal;

use std::rc::Rc;

use failover::{Alarm, Answer, Attempt, Entry, Epoch, FlightEvent, NodeId, Outcome, Phase, Stand};

use crate::sim::db::Record;
use crate::sim::world::{Acked, World};
use withdrawal::Before;

/// After every event.
pub(crate) fn always(world: &mut World) {
    if split_brain::is_allowed(world) {
        split_brain::check(world);
    } else {
        one_writer::check(world);
    }
    given_up_is_off::check(world);
    sync_set::check(world);
    fence_ends::check(world);
}

/// The group has ordered something, whoever asked. Only then do the log clock and the lease change.
pub(crate) fn ordered(world: &mut World, entry: &Entry, outcome: &Outcome, before: Option<Before>) {
    world.lease_changed = true;
    log_clock::check(world);
    if let (Ok(Answer::Granted { epoch, .. }), Some(Phase::Released)) = (&outcome.answer, before.map(|b| b.phase)) {
        world.handed_over.insert(epoch.0);
    }
    one_grant::ordered(world, entry, outcome, before);
    withdrawal::ordered(world, entry, outcome, before);
}

/// When the schedule is over, a while after everything was healed.
pub(crate) fn at_end(world: &mut World) {
    recovery::check(world);
    split_brain::at_end(world);
}

/// A workload became writable.
pub(crate) fn began(world: &mut World, machine: usize, (epoch, again): (Epoch, bool), log: &Rc<Vec<Record>>) {
    start_gate::began(world, machine, epoch, again);
    shadow_lease::began(world, machine, epoch);
    promises::began(world, machine, epoch);
    split_brain::began(world, machine, epoch);
    acknowledged_writes::began(world, machine, epoch, log);
}

/// A workload that ended is to be started again in its epoch.
pub(crate) fn revived(world: &mut World, machine: usize, epoch: Epoch) {
    revival::revived(world, machine, epoch);
}

/// A client was told that a write is safe.
pub(crate) fn acknowledged(world: &mut World, machine: usize, epoch: Epoch, acked: Acked) {
    acknowledged_writes::acknowledged(world, machine, epoch, acked);
}

/// A node stands differently.
pub(crate) fn turned(world: &mut World, machine: usize, before: Stand, after: Stand) {
    shadow_lease::turned(world, machine, before, after);
    fence_ends::turned(world, machine, before, after);
    split_brain::turned(world, machine, before, after);
}

/// A node gave a promise.
pub(crate) fn promised(world: &mut World, machine: usize, to: NodeId, attempt: Attempt) {
    promises::promised(world, machine, to, attempt);
}

/// A node told a person.
pub(crate) fn alarmed(world: &mut World, machine: usize, alarm: Alarm) {
    fence_ends::alarmed(world, machine, alarm);
    split_brain::alarmed(world, machine, alarm);
}

/// The watchdog ended a workload.
pub(crate) fn bitten(world: &mut World, machine: usize) {
    watchdog::bitten(world, machine);
    split_brain::bitten(world, machine);
}

/// A node wrote something down.
pub(crate) fn recorded(world: &mut World, machine: usize, event: FlightEvent) {
    flight_record::recorded(world, machine, event);
}

/// A node has nothing more to be done.
pub(crate) fn carried_out(world: &mut World, machine: usize) {
    flight_record::carried_out(world, machine);
}

/// What a node wrote beside another is to be merged.
pub(crate) fn reconciled(world: &mut World, machine: usize, epoch: Epoch) {
    split_brain::reconciled(world, machine, epoch);
}
