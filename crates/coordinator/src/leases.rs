//! Requests about leases: who asks, by the connection, and whether that one may.

use failover::{Attempt, Author, ClusterName, Outcome, Request};
use protocols::control::{LEASE_BYTES_MAX, LeaseError, LeaseViews};
use protocols::entry::Verb;
use protocols::lease_word::LeaseWord;
use protocols::{FleetState, NodeId};
use quorum::{Ask, Views};

use crate::coordinator::Coordinator;
use crate::order::Hold;

impl Coordinator {
    pub(crate) async fn lease(
        &self,
        caller: NodeId,
        cluster: ClusterName,
        attempt: Attempt,
        request: Request,
    ) -> Result<Outcome, LeaseError> {
        let size = postcard::to_stdvec(&request).map_or(usize::MAX, |bytes| bytes.len());
        if size > LEASE_BYTES_MAX {
            return Err(LeaseError::Bounds(format!("it may have at most {LEASE_BYTES_MAX} bytes")));
        }
        let author = self.lease_author(caller, &cluster, &request).await?;
        self.order_lease(Ask { cluster, author, attempt, request }).await
    }

    /// The same with this coordinator's signature under what became of it.
    pub(crate) async fn signed_lease(
        &self,
        caller: NodeId,
        cluster: ClusterName,
        attempt: Attempt,
        request: Request,
    ) -> Result<LeaseWord, LeaseError> {
        let outcome = self.lease(caller, cluster.clone(), attempt, request).await?;
        let word = LeaseWord::sign(&self.key, self.state().fleet(), caller, &cluster, &outcome);
        word.map_err(|error| LeaseError::Lost { why: error.to_string() })
    }

    /// Orders a request, wherever leases are ordered.
    pub(crate) async fn order_lease(&self, ask: Ask) -> Result<Outcome, LeaseError> {
        if let Some(group) = self.chair.as_member() {
            self.unheld()?;
            return group.ask(ask).await;
        }
        if self.chair.is_mine() {
            self.unheld()?;
            return self.leases.ask(ask).await;
        }
        let (transport, mut last) = (self.handing_on()?, None);
        for orderer in self.chair.orderers() {
            match quorum::hand_on(transport.as_ref(), orderer, ask.clone()).await {
                // Certain not to have been applied there, so it may be asked of the next one.
                Err(error @ LeaseError::NoMajority { .. }) => last = Some(error),
                other => return other,
            }
        }
        Err(last.unwrap_or_else(|| self.elsewhere()))
    }

    pub(crate) async fn lease_views(
        &self,
        caller: NodeId,
        cluster: Option<ClusterName>,
        after: Option<ClusterName>,
    ) -> Result<LeaseViews, LeaseError> {
        let state = self.state();
        let of = if state.is_agent(caller) {
            // Who is to shut a port against the holder of a cluster has to know how that stands.
            let shuts = cluster.as_ref().is_some_and(|cluster| shuts_ports_of(&state, cluster, caller));
            if shuts { None } else { Some(foreign(caller)) }
        } else if state.is_coordinator(caller) || state.may(caller, Verb::Read, (self.clock)()) {
            None
        } else {
            return Err(LeaseError::NotAllowed("the right to read what nodes report".into()));
        };
        self.read_leases(Views { of, cluster, after }).await
    }

    /// Who asks, as far as the lease table tells people and nodes apart.
    async fn lease_author(
        &self,
        caller: NodeId,
        cluster: &ClusterName,
        request: &Request,
    ) -> Result<Author, LeaseError> {
        let state = self.state();
        if state.is_agent(caller) {
            return match state.quarantine(caller) {
                None => Ok(Author::Node(foreign(caller))),
                Some(_) => Err(LeaseError::NotAllowed("a node that is not in quarantine".into())),
            };
        }
        if !state.admins().contains_key(&caller) {
            return Err(LeaseError::NotAllowed("an agent of this fleet, or an admin".into()));
        }
        let now = (self.clock)();
        let mut nodes: Vec<NodeId> = match request {
            Request::Configure(settings) => settings.candidates.iter().map(|c| own(c.node)).collect(),
            _ => Vec::new(),
        };
        // Who may not touch a candidate may not take it away from its cluster either.
        let views = Views { cluster: Some(cluster.clone()), ..Views::default() };
        if let Some(settings) = self.read_leases(views).await?.views.pop().and_then(|(_, view)| view.settings) {
            nodes.extend(settings.candidates.iter().map(|c| own(c.node)));
        }
        let may = |node: &NodeId| match state.members().get(node) {
            Some(member) => state.may_on(caller, Verb::Publish, member.name.as_str(), &member.labels, now),
            None => state.may_everywhere(caller, Verb::Publish, now),
        };
        if state.may(caller, Verb::Publish, now) && nodes.iter().all(may) {
            return Ok(Author::Admin);
        }
        Err(LeaseError::NotAllowed(format!("the right to publish on every candidate of `{cluster}`")))
    }

    pub(crate) async fn read_leases(&self, views: Views) -> Result<LeaseViews, LeaseError> {
        if let Some(group) = self.chair.as_member() {
            return group.views(views).await;
        }
        if self.chair.is_mine() {
            return self.leases.views(views).await;
        }
        let (transport, mut last) = (self.handing_on()?, None);
        for orderer in self.chair.orderers() {
            match quorum::read_from(transport.as_ref(), orderer, views.clone()).await {
                Err(error) => last = Some(error),
                read => return read,
            }
        }
        Err(last.unwrap_or_else(|| self.elsewhere()))
    }

    fn handing_on(&self) -> Result<&std::sync::Arc<dyn quorum::Transport>, LeaseError> {
        self.transport.get().ok_or_else(|| self.elsewhere())
    }

    fn elsewhere(&self) -> LeaseError {
        let leader = self.state().orderer();
        LeaseError::NotLeader { leader, name: self.name_of(leader) }
    }

    /// Whether what the ledger declares about leases is for this coordinator to put in force: it orders alone, or leads.
    pub(crate) fn leads_leases(&self) -> bool {
        let leads = self.chair.as_member().map_or_else(|| self.chair.is_mine(), |group| group.leads());
        leads && self.unheld().is_ok()
    }

    /// Leases are held back with the ledger.
    pub(crate) fn unheld(&self) -> Result<(), LeaseError> {
        match self.chair.hold() {
            held @ (Hold::Split { .. } | Hold::Lacks { .. }) => Err(LeaseError::NoMajority { why: held.to_string() }),
            Hold::Free | Hold::Asking(_) => Ok(()),
        }
    }
}

/// Whether a node manages a switch that this cluster's writers can be cut off by.
fn shuts_ports_of(state: &FleetState, cluster: &ClusterName, node: NodeId) -> bool {
    let Some(member) = state.members().get(&node) else { return false };
    let declared = scores::failover::clusters(state).remove(cluster);
    declared.is_some_and(|cluster| cluster.ports.values().flatten().any(|port| port.agent == member.name))
}

/// A node's key as the lease table writes it.
pub(crate) const fn foreign(node: NodeId) -> failover::NodeId {
    failover::NodeId::from_bytes(*node.as_bytes())
}

/// A node's key as the ledger writes it.
pub(crate) const fn own(node: failover::NodeId) -> NodeId {
    NodeId::from_bytes(*node.as_bytes())
}
