//! Where coordinators and other nodes are.

use protocols::control::Locate;
use protocols::entry::Role;
use protocols::{FleetState, NodeId, PeerAddr};

use super::Agent;
use crate::sync::ANSWER_DEADLINE;
use crate::uplink::Uplink;

impl Agent {
    /// The coordinators to try, those of the ledger first.
    pub(crate) fn coordinators(&self) -> Vec<NodeId> {
        let mut ids: Vec<NodeId> =
            self.state().map(|s| s.with_role(Role::Coordinator).map(|(id, _)| id).collect()).unwrap_or_default();
        let revoked = |id: &NodeId| self.state().is_some_and(|s| s.revoked().contains_key(id));
        for c in &self.options.ticket.coordinators {
            if !ids.contains(&c.id) && !revoked(&c.id) {
                ids.push(c.id);
            }
        }
        // Those with an address first: of the others only a lookup could tell where they are.
        let state = self.state();
        let placed =
            |id: &NodeId| state.as_ref().is_some_and(|s| s.members().get(id).is_some_and(|m| m.place.is_some()));
        ids.sort_by_key(|id| !placed(id) && !self.options.ticket.coordinators.iter().any(|c| c.id == *id));
        ids
    }

    /// Asks the coordinator where a node is. Where none serves this agent, those are asked that keep it off: one whose
    /// history is split still says where others are, and these are who can tell that it is.
    pub async fn locate(&self, node: NodeId) -> Option<PeerAddr> {
        let connected = *self.coordinator.borrow();
        let asked = match connected {
            Some(coordinator) => vec![coordinator],
            // To ask another coordinator where a coordinator is, that one would have to be found first.
            None if self.state().is_some_and(|state| state.is_coordinator(node)) => Vec::new(),
            None => self.coordinators(),
        };
        for coordinator in asked.into_iter().filter(|c| *c != node).take(LOCATE_ASKED_MAX) {
            let answer = self.uplink.control(coordinator).rpc(Locate(node));
            if let Ok(Ok(Ok(Some(found)))) = tokio::time::timeout(ANSWER_DEADLINE, answer).await {
                return Some(found);
            }
        }
        None
    }
}

/// Remembers where coordinators say they are; what was known before stays known.
pub(super) fn learn_places(uplink: &dyn Uplink, state: &FleetState) {
    for (id, member) in state.with_role(Role::Coordinator) {
        if let Some(place) = &member.place {
            let relay = place.relay.as_ref().map(|r| r.url.clone());
            uplink.learn(PeerAddr { id, addrs: place.addrs.clone(), relay });
        }
    }
}

/// How many coordinators are asked where a node is while none serves this agent.
const LOCATE_ASKED_MAX: usize = 4;
