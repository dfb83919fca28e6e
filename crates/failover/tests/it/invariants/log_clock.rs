//! **The log clock is never ahead.** However often the group's leader changes, and however long nobody leads, the log
//! clock shows no more time than has really passed, up to the drift of the leaders' clocks.

use crate::sim::world::World;

pub(crate) fn check(world: &mut World) {
    let settings = &world.plan.settings;
    let (ttl, certain) = (settings.ttl.as_micros(), settings.certain().as_micros());
    let shown = world.group.table.now().as_micros();
    if u128::from(shown.saturating_sub(1)) * u128::from(certain) > u128::from(world.now) * u128::from(ttl) {
        let what = format!("it shows {shown} µs after {} µs", world.now);
        world.violate("log clock", what);
    }
}
