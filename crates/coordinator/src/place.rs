//! Where this coordinator is, said in the ledger: so members find it after a move without a new ticket.

use std::time::Duration;

use protocols::entry::{Body, Entry, Place, Role};
use protocols::{FleetState, PeerAddr, Ticket};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::coordinator::{Coordinator, lock};
use crate::fellows::place_addr;
use crate::order::AppendError;

/// How often it is looked whether the place changed. It counts once it was the same twice.
const LOOK_EVERY: Duration = Duration::from_secs(3);
/// How long until a place is said again, whatever happens to it.
const SAY_EVERY: Duration = Duration::from_secs(300);
/// Name of the value that remembers where this coordinator was.
const WAS: &str = "place";

impl Coordinator {
    /// The ticket that reaches this fleet: it holds no secret. This coordinator first, then the others, as far as the
    /// ledger says where they are.
    pub fn ticket(&self) -> Ticket {
        let state = self.state();
        let mut coordinators = vec![self.wire.addr()];
        let mut relays = self.wire.relays();
        for (id, member) in state.with_role(Role::Coordinator).filter(|(id, _)| *id != self.id()) {
            let place = member.place.as_ref();
            coordinators.push(place.map_or_else(|| PeerAddr::unknown(id), |place| place_addr(id, place)));
            if let Some(relay) = place.and_then(|p| p.relay.clone())
                && !relays.iter().any(|known| known.url == relay.url)
            {
                relays.push(relay);
            }
        }
        coordinators.truncate(protocols::ticket::COORDINATORS_MAX);
        relays.truncate(protocols::ticket::COORDINATORS_MAX);
        Ticket { fleet: state.fleet(), name: state.name().clone(), coordinators, relays, invite: None }
    }

    /// Where this coordinator is now.
    fn place(&self) -> Place {
        let mut addrs = self.wire.addr().addrs;
        addrs.truncate(protocols::addr::ADDRS_MAX);
        Place { coordinator: self.id(), addrs, relay: self.wire.relays().into_iter().next() }
    }

    /// Says in the ledger where this coordinator is, whenever that matters, until `stop`.
    pub(crate) async fn place_loop(&self, stop: CancellationToken) {
        let mut before = None;
        let mut said: Option<Instant> = None;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            let now = self.place();
            if before.replace(now.clone()) != Some(now.clone()) || now.addrs.is_empty() {
                continue;
            }
            let state = self.state();
            let known = state.members().get(&self.id()).and_then(|m| m.place.clone());
            let recently = said.is_some_and(|at| at.elapsed() < SAY_EVERY);
            if recently || !self.is_worth_saying(&state, known.as_ref(), &now) {
                continue;
            }
            said = Some(Instant::now());
            match self.say(&now).await {
                Ok(()) => {
                    tracing::info!(addrs = ?now.addrs, "said in the ledger where this coordinator is");
                    self.remember_place(&now);
                }
                Err(error) => {
                    said = None;
                    tracing::debug!(%error, "cannot say where this coordinator is yet");
                }
            }
        }
    }

    /// A fleet of one coordinator whose place never changed needs no entry: the ticket says where it is.
    fn is_worth_saying(&self, state: &FleetState, known: Option<&Place>, now: &Place) -> bool {
        if !state.is_coordinator(self.id()) {
            return false;
        }
        if let Some(known) = known {
            return moved(known, now);
        }
        if state.with_role(Role::Coordinator).count() > 1 {
            return true;
        }
        match self.values.get::<Place>(WAS) {
            Ok(Some(was)) => moved(&was, now),
            Ok(None) => {
                self.remember_place(now);
                false
            }
            Err(error) => {
                tracing::warn!(%error, "cannot tell where this coordinator was");
                false
            }
        }
    }

    fn remember_place(&self, place: &Place) {
        if let Err(error) = self.values.set(WAS, place) {
            tracing::warn!(%error, "cannot remember where this coordinator is");
        }
    }

    async fn say(&self, place: &Place) -> Result<(), AppendError> {
        let state = self.state();
        let head = state.head();
        let entry = Entry {
            fleet: Some(state.fleet()),
            seq: head.seq + 1,
            prev: Some(head.hash),
            at: (self.clock)().max(state.time()),
            not_after: None,
            author: self.id(),
            body: Body::Place(place.clone()),
        };
        let signed = entry.sign(&self.key).map_err(|e| AppendError::Unverified(e.to_string()))?;
        self.order.append(signed).await.map(drop)
    }

    /// A node's address within what is passed on to others.
    pub(crate) fn bounded(&self, node: protocols::NodeId, addr: PeerAddr) -> PeerAddr {
        let mut addr = PeerAddr { id: node, ..addr };
        addr.addrs.truncate(protocols::addr::ADDRS_MAX);
        addr.relay = addr.relay.filter(|url| url.len() <= RELAY_URL_BYTES_MAX);
        addr
    }

    /// What is known of nobody any more is forgotten.
    pub(crate) fn forget_claims(&self) {
        let state = self.state();
        lock(&self.heads).retain(|id| state.knows(id));
    }
}

/// Whether who knows the old place would not find the new one, or not by the relay.
fn moved(old: &Place, new: &Place) -> bool {
    let meet = old.addrs.iter().any(|addr| new.addrs.contains(addr));
    !meet || old.relay != new.relay
}

/// The longest URL of a relay that is passed on.
const RELAY_URL_BYTES_MAX: usize = 2048;
