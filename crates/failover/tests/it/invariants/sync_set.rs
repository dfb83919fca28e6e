//! **The group knows every set by which writes are acknowledged.** Whatever set the primary of the current epoch
//! acknowledges by is one of those that the lease names; so whoever reports to the group meets every acknowledged write.

use crate::sim::world::World;

pub(crate) fn check(world: &mut World) {
    // Nothing else can make it untrue.
    let changed = world.machines.iter_mut().fold(false, |any, m| std::mem::take(&mut m.db.set_changed) | any);
    if !(std::mem::take(&mut world.lease_changed) | changed) || !world.plan.settings.gated() {
        return;
    }
    let Some(lease) = world.group.table.lease(&world.cluster) else { return };
    let unknown = |index: &usize| {
        let db = &world.machines[*index].db;
        db.primary() == Some(lease.epoch) && db.sync.as_ref().is_none_or(|set| !lease.sync.contains(set))
    };
    if let Some(index) = (0..world.machines.len()).find(unknown) {
        let what =
            format!("{index} acknowledges by {:?}, the group knows {:?}", world.machines[index].db.sync, lease.sync);
        world.violate("sync set", what);
    }
}
