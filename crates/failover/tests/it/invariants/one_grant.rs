//! **One holder for each epoch, and no grant without a reason.** Epochs grow by one, also over a withdrawal of the
//! cluster; a lease that is held passes on only when it has expired, was given up, or its holder was proven off, and
//! never by silence where the settings demand a proof.

use failover::settings::Promotion;
use failover::{Answer, Author, Entry, Outcome, Phase, Request};

use super::withdrawal::Before;
use crate::sim::world::World;

pub(crate) fn ordered(world: &mut World, ask: &Entry, outcome: &Outcome, before: Option<Before>) {
    let Ok(Answer::Granted { epoch, .. }) = &outcome.answer else { return };
    if !world.granted.insert(epoch.0) {
        world.violate("one grant", format!("epoch {epoch} is granted a second time"));
    }
    let Some(Before { epoch: old, phase, .. }) = before else { return };
    let Entry::Ask { author: Author::Node(_), request: Request::Acquire { epoch: expected, .. }, .. } = ask else {
        return;
    };
    if *epoch != old.next() || *expected != old {
        world.violate("one grant", format!("epoch {epoch} follows {old}, and {expected} was expected"));
    }
    let proof = world.settings().promotion == Promotion::RequireProof;
    if proof && phase == Phase::Held {
        world.violate("one grant", format!("epoch {epoch} is granted by silence, and a proof was demanded"));
    }
}
