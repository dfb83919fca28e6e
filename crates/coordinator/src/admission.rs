//! What a coordinator checks of an entry beyond what the ledger's rules say: pure, with the time as an argument.

use std::collections::HashMap;
use std::time::Duration;

use protocols::control::SubmitError;
use protocols::entry::{Publish, Verb};
use protocols::{Body, FleetState, Kind, Millis, NodeId, Refusal, VerifiedEntry};
use scores::failover::candidates_exist;

/// How far an author's clock may be from the coordinator's. Expiries are measured in the times that authors state, so one
/// author far ahead would run out everybody's invites.
pub const CLOCK_SKEW_MAX: Duration = Duration::from_secs(10 * 60);

/// Whether an entry may be appended after the state's head, `now`.
///
/// `kinds` is what agents said in their facts that they can play; an agent that said nothing is given the benefit of the
/// doubt, because its own agent refuses what it cannot play.
///
/// # Errors
/// A [`SubmitError`] to answer the author with.
#[expect(clippy::implicit_hasher, reason = "one caller, and its hasher is this one")]
pub fn admit(
    state: &FleetState,
    kinds: &HashMap<NodeId, Vec<Kind>>,
    entry: &VerifiedEntry,
    now: Millis,
) -> Result<(), SubmitError> {
    let e = entry.entry();
    if e.prev != Some(state.head().hash) {
        return Err(SubmitError::StaleHead { head: state.head() });
    }
    let skew = CLOCK_SKEW_MAX.as_millis() as i128;
    let off = i128::from(e.at.0) - i128::from(now.0);
    if off.abs() > skew {
        return Err(SubmitError::ClockOff { minutes: i64::try_from(off / 60_000).unwrap_or(i64::MAX) });
    }
    state.check_clock(e, now)?;
    // Expiry by this coordinator's clock too: the time that an entry states is its author's choice.
    let verb = match &e.body {
        Body::Publish(_) | Body::Withdraw(_) => Some(Verb::Publish),
        Body::Enroll(_) | Body::Invite(_) | Body::Quarantine(_) | Body::Release(_) => Some(Verb::Enroll),
        Body::Grant(_) | Body::Appoint(_) | Body::SetRecovery(_) => Some(Verb::Grant),
        Body::Genesis(_)
        | Body::Revoke(_)
        | Body::Redeem(_)
        | Body::Checkpoint(_)
        | Body::Rotate(_)
        | Body::Place(_)
        | Body::Recover(_) => None,
    };
    if let Some(verb) = verb
        && state.admins().contains_key(&e.author)
        && !state.may(e.author, verb, now)
    {
        let name = state.admins().get(&e.author).map(|a| a.name.clone());
        return match name {
            Some(who) => {
                Err(Refusal::NotAllowed { who, what: format!("{verb} any more: the right has expired") }.into())
            }
            None => Ok(()),
        };
    }
    match &e.body {
        Body::Publish(publish) => {
            check_capable(state, kinds, publish)?;
            // A name that nobody has would leave the cluster without settings, or with one candidate less than meant.
            candidates_exist(state, publish).map_err(|error| {
                let field = "succession.candidates".to_owned();
                SubmitError::Refused(Refusal::Invalid { field, why: error.to_string() })
            })
        }
        _ => Ok(()),
    }
}

fn check_capable(state: &FleetState, kinds: &HashMap<NodeId, Vec<Kind>>, publish: &Publish) -> Result<(), SubmitError> {
    for (id, member) in state.select(&publish.on) {
        if let Some(offers) = kinds.get(&id)
            && !offers.contains(&publish.kind)
        {
            let offers = offers.iter().map(Kind::as_str).collect::<Vec<_>>().join(", ");
            return Err(SubmitError::Incapable {
                node: member.name.to_string(),
                kind: publish.kind.to_string(),
                offers: if offers.is_empty() { "nothing".into() } else { offers },
            });
        }
    }
    Ok(())
}
