//! **Who is declared may be granted the lease, and nobody else; who holds it keeps it.** From the withdrawal of a cluster
//! on, until it is declared again, nobody is granted its lease; nor is a node that is a candidate no more.
//!
//! Neither ends the lease of somebody who holds it, and may be writing: what the holder renews is renewed for as long as
//! before, and only what the holder says, a proof that it is off, or its silence ends it. A withdrawn lease that nobody
//! holds is forgotten when the group's clock next ticks, and never before.
//!
//! A cluster that is declared again goes on where it ended: no epoch, version, round or serial that there ever was
//! comes again. An epoch is a fencing token, and a node that hears of the withdrawal late, or never, must not take what
//! is new for something that it knows.

use std::sync::Arc;

use failover::table::Lease;
use failover::{Answer, Author, Entry, Epoch, LogTime, NodeId, Outcome, Phase, Refusal, Request};

use crate::sim::world::World;

/// The lease before something was ordered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Before {
    pub(crate) epoch: Epoch,
    pub(crate) phase: Phase,
    holder: Option<NodeId>,
    expires: LogTime,
}

impl Before {
    pub(crate) fn of(lease: &Lease) -> Self {
        Self { epoch: lease.epoch, phase: lease.phase, holder: lease.holder, expires: lease.expires }
    }
}

/// How far a lease has come: epoch, version, round, and the serials of synchronous sets and of rebuilds.
pub(crate) type Reached = [u64; 5];

pub(crate) fn ordered(world: &mut World, entry: &Entry, outcome: &Outcome, before: Option<Before>) {
    if let Entry::Ask { author: Author::Admin, request, .. } = entry
        && outcome.answer.is_ok()
    {
        match request {
            Request::Withdraw => world.declared = None,
            Request::Configure(settings) => world.declared = Some(Arc::clone(settings)),
            _ => {}
        }
    }
    let lease = world.group.table.lease(&world.cluster);
    let after = lease.map(Before::of);
    let reached = lease.map_or(world.furthest, |lease| {
        [lease.epoch.0, lease.version, lease.round.0, lease.sync_serial, lease.rebuild_serial]
    });
    let wrong = granted(world, entry, outcome)
        .or_else(|| refused(entry, outcome, before))
        .or_else(|| ended(entry, before, after))
        .or_else(|| kept(world, entry, after))
        .or_else(|| again(world.furthest, reached));
    world.furthest = reached;
    if let Some(wrong) = wrong {
        world.violate("withdrawal", wrong);
    }
}

fn granted(world: &World, entry: &Entry, outcome: &Outcome) -> Option<String> {
    let (Entry::Ask { author: Author::Node(node), .. }, Ok(Answer::Granted { epoch, .. })) = (entry, &outcome.answer)
    else {
        return None;
    };
    match &world.declared {
        None => Some(format!("epoch {epoch} of a withdrawn cluster is granted to {node}")),
        Some(settings) if settings.priority(*node).is_none() => {
            Some(format!("epoch {epoch} is granted to {node}, which is no candidate"))
        }
        Some(_) => None,
    }
}

/// What its holder renews is renewed.
fn refused(entry: &Entry, outcome: &Outcome, before: Option<Before>) -> Option<String> {
    let Entry::Ask { author: Author::Node(node), request: Request::Renew { epoch, .. }, .. } = entry else {
        return None;
    };
    let held = |lease: Before| lease.phase == Phase::Held && lease.holder == Some(*node) && lease.epoch == *epoch;
    match &outcome.answer {
        Ok(_) | Err(Refusal::Overtaken) => None,
        Err(refusal) => {
            before.is_some_and(held).then(|| format!("{node} holds epoch {epoch}, and renews it in vain: {refusal}"))
        }
    }
}

/// Only its holder, a proof, or another's grant ends a lease that is held.
fn ended(entry: &Entry, before: Option<Before>, after: Option<Before>) -> Option<String> {
    let before = before.filter(|before| before.phase == Phase::Held)?;
    let Some(after) = after else { return Some(format!("epoch {} is held, and forgotten", before.epoch)) };
    if after.epoch != before.epoch {
        return None;
    }
    let by_word = match entry {
        Entry::Ask { author, request: Request::Release { .. } | Request::FenceConfirmed { .. }, .. } => {
            before.holder.map(Author::Node) == Some(*author)
        }
        Entry::Ask { request: Request::Attest { .. } | Request::RemoteDone { .. }, .. } => true,
        _ => false,
    };
    if after.phase != Phase::Held && !by_word {
        return Some(format!("epoch {} was held, and is {:?} by {entry:?}", before.epoch, after.phase));
    }
    (after.phase == Phase::Held && after.expires < before.expires)
        .then(|| format!("the lease of epoch {} is made shorter by {entry:?}", before.epoch))
}

/// What is withdrawn, and held by nobody, is kept no longer than until the clock ticks.
fn kept(world: &World, entry: &Entry, after: Option<Before>) -> Option<String> {
    let over = after.filter(|after| after.phase != Phase::Held && world.declared.is_none())?;
    matches!(entry, Entry::Clock).then(|| format!("epoch {} of a withdrawn cluster is not forgotten", over.epoch))
}

fn again(furthest: Reached, reached: Reached) -> Option<String> {
    let back = furthest.iter().zip(&reached).any(|(known, now)| now < known);
    back.then(|| format!("it had come to {furthest:?} (epoch, version, round, serials), and is at {reached:?}"))
}
