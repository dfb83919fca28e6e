//! Requests about leases: who asks, by the connection, and whether that one may.

use failover::{Attempt, Author, ClusterName, Outcome, Request};
use protocols::NodeId;
use protocols::control::{LEASE_BYTES_MAX, LeaseError, LeaseViews};
use protocols::entry::Verb;
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
        self.orders_leases()?;
        self.leases.ask(Ask { cluster, author, attempt, request }).await
    }

    pub(crate) async fn lease_views(
        &self,
        caller: NodeId,
        cluster: Option<ClusterName>,
        after: Option<ClusterName>,
    ) -> Result<LeaseViews, LeaseError> {
        let state = self.state();
        let of = if state.is_agent(caller) {
            Some(foreign(caller))
        } else if state.is_coordinator(caller) || state.may(caller, Verb::Read, (self.clock)()) {
            None
        } else {
            return Err(LeaseError::NotAllowed("the right to read what nodes report".into()));
        };
        self.orders_leases()?;
        self.leases.views(Views { of, cluster, after }).await
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
        if let Some(settings) = self.leases.views(views).await?.views.pop().and_then(|(_, view)| view.settings) {
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

    /// Leases are where the ledger is ordered, and held back with it.
    pub(crate) fn orders_leases(&self) -> Result<(), LeaseError> {
        let state = self.state();
        if !self.chair.is_mine() {
            let leader = state.orderer();
            return Err(LeaseError::NotLeader { leader, name: self.name_of(leader) });
        }
        match self.chair.hold() {
            held @ (Hold::Split { .. } | Hold::Lacks { .. }) => Err(LeaseError::NoMajority { why: held.to_string() }),
            Hold::Free | Hold::Asking(_) => Ok(()),
        }
    }
}

/// A node's key as the lease table writes it.
pub(crate) const fn foreign(node: NodeId) -> failover::NodeId {
    failover::NodeId::from_bytes(*node.as_bytes())
}

/// A node's key as the ledger writes it.
pub(crate) const fn own(node: failover::NodeId) -> NodeId {
    NodeId::from_bytes(*node.as_bytes())
}
