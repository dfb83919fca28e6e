//! **No acknowledged write is lost, and never do two acknowledge.** Every write that a client was told is safe is in
//! the log of every later primary, from its first instant on.
//!
//! For databases under `AbsoluteConsistency` this holds whatever clocks, fences and watchdogs do: it rests on the sync
//! gate alone. A write that an old primary acknowledges after a later one began must be one that the later one has.

use std::rc::Rc;

use failover::Epoch;

use crate::sim::db::Record;
use crate::sim::world::{Acked, World};

pub(crate) fn began(world: &mut World, machine: usize, epoch: Epoch, log: &Rc<Vec<Record>>) {
    if !world.plan.settings.gated() {
        return;
    }
    let lost = world.acked.iter().find(|acked| acked.record.0 < epoch.0 && log.get(acked.index) != Some(&acked.record));
    if let Some(lost) = lost.copied() {
        let what = format!("{machine} begins epoch {epoch} without {:?} at {}", lost.record, lost.index);
        world.violate("acknowledged writes", what);
    }
}

pub(crate) fn acknowledged(world: &mut World, machine: usize, epoch: Epoch, acked: Acked) {
    if !world.plan.settings.gated() {
        return;
    }
    let misses =
        |later: &&crate::sim::world::Began| later.epoch > epoch && later.log.get(acked.index) != Some(&acked.record);
    if let Some(later) = world.began.iter().find(misses).map(|later| later.epoch) {
        let what =
            format!("{machine} acknowledges {:?} in epoch {epoch}, which epoch {later} does not have", acked.record);
        world.violate("acknowledged writes", what);
    }
}
