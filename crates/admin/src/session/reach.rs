//! Several coordinators, one of which will do: asked one after the other, without waiting for one that is silent.

use std::time::Duration;

use protocols::Client;
use protocols::control::{Control, Hello};
use protocols::{FleetId, FleetState, NodeId, PeerAddr, Ticket};
use tokio::task::JoinSet;

use super::{SessionError, within_time};

/// How long one may be silent before the next is asked as well.
const STAGGER: Duration = Duration::from_secs(2);
/// How long one may take to greet.
const GREET_WITHIN: Duration = Duration::from_secs(12);

/// Which coordinator answered.
#[derive(Debug)]
pub struct Reached {
    /// It.
    pub coordinator: NodeId,
    /// Those that were asked before it and did not answer well, and why; nothing is said of those still being asked.
    pub skipped: Vec<(NodeId, SessionError)>,
    /// Those that had not answered yet.
    pub silent: Vec<NodeId>,
}

/// The coordinators that a ticket or a copy of the ledger names, with the places that either knows. Those of the ticket
/// come first; whoever was retired is left out.
pub fn coordinators(ticket: &Ticket, state: Option<&FleetState>) -> Vec<PeerAddr> {
    let retired = |id: NodeId| state.is_some_and(|s| s.revoked().contains_key(&id));
    let mut known: Vec<PeerAddr> = ticket.coordinators.iter().filter(|c| !retired(c.id)).cloned().collect();
    let members = state.into_iter().flat_map(|s| s.with_role(protocols::entry::Role::Coordinator));
    for (id, member) in members {
        let place = member.place.as_ref();
        let addrs = place.map(|p| p.addrs.clone()).unwrap_or_default();
        let relay = place.and_then(|p| p.relay.as_ref()).map(|r| r.url.clone());
        match known.iter_mut().find(|c| c.id == id) {
            Some(known) => {
                // The ledger may be newer than the ticket: its addresses are tried first.
                let old = std::mem::replace(&mut known.addrs, addrs);
                let more: Vec<_> = old.into_iter().filter(|addr| !known.addrs.contains(addr)).collect();
                known.addrs.extend(more);
                known.addrs.truncate(protocols::addr::ADDRS_MAX);
                known.relay = relay.or_else(|| known.relay.take());
            }
            None => known.push(PeerAddr { id, addrs, relay }),
        }
    }
    known
}

/// The first of these that greets as a coordinator of this fleet.
///
/// # Errors
/// What each of them did, in their order.
pub async fn first_to_greet(
    fleet: FleetId,
    candidates: Vec<(NodeId, Client<Control>)>,
) -> Result<Reached, Vec<(NodeId, SessionError)>> {
    let mut waiting = candidates.into_iter();
    let mut asked: Vec<NodeId> = Vec::new();
    let mut skipped: Vec<(NodeId, SessionError)> = Vec::new();
    let mut asking: JoinSet<(NodeId, Result<(), SessionError>)> = JoinSet::new();
    let mut ask = true;
    loop {
        if ask && let Some((id, client)) = waiting.next() {
            asked.push(id);
            asking.spawn(async move { (id, greet(fleet, &client).await) });
        }
        ask = tokio::select! {
            answer = asking.join_next() => match answer {
                Some(Ok((coordinator, Ok(())))) => {
                    let done = |id: &NodeId| *id == coordinator || skipped.iter().any(|(s, _)| s == id);
                    let silent = asked.iter().copied().filter(|id| !done(id)).collect();
                    return Ok(Reached { coordinator, skipped, silent });
                }
                Some(Ok((id, Err(error)))) => {
                    skipped.push((id, error));
                    true
                }
                Some(Err(_)) => true,
                None => {
                    skipped.sort_by_key(|(id, _)| asked.iter().position(|a| a == id));
                    return Err(skipped);
                }
            },
            () = tokio::time::sleep(STAGGER), if waiting.len() > 0 => true,
        };
    }
}

async fn greet(fleet: FleetId, client: &Client<Control>) -> Result<(), SessionError> {
    let welcome = within_time("greet the coordinator", GREET_WITHIN, client.rpc(Hello)).await??;
    if welcome.fleet != fleet {
        return Err(SessionError::OtherFleet { found: welcome.fleet, expected: fleet });
    }
    Ok(())
}
