//! Questions to the lease table, and the answers that need no entry of the log.

use failover::{Attempt, Author, ClusterName, Entry, LeaseTable, NodeId, Outcome, Refusal, Request};
use protocols::control::{LEASE_VIEWS_MAX, LeaseError, LeaseViews};
use serde::{Deserialize, Serialize};

/// A request about a lease, by somebody whom the connection named.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ask {
    /// The cluster.
    pub cluster: ClusterName,
    /// Who asks.
    pub author: Author,
    /// The asker's name for this request.
    pub attempt: Attempt,
    /// What is asked.
    pub request: Request,
}

impl From<Ask> for Entry {
    fn from(ask: Ask) -> Self {
        let Ask { cluster, author, attempt, request } = ask;
        Self::Ask { cluster, author, attempt, request }
    }
}

/// Which leases somebody wants to see.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Views {
    /// Only those that this node is a candidate of.
    pub of: Option<NodeId>,
    /// Only this cluster.
    pub cluster: Option<ClusterName>,
    /// Only those after this one, by name.
    pub after: Option<ClusterName>,
}

impl Views {
    /// How these leases stand in the table.
    pub(crate) fn read(&self, table: &LeaseTable, exact: bool) -> LeaseViews {
        let author = self.of.map_or(Author::Admin, Author::Node);
        let wanted = table.leases().filter(|(name, lease)| {
            self.cluster.as_ref().is_none_or(|only| only == *name)
                && self.after.as_ref().is_none_or(|after| *name > after)
                && !lease.is_over(table.now())
                && self.of.is_none_or(|node| lease.settings.candidates.iter().any(|c| c.node == node))
        });
        let mut views: Vec<_> = wanted
            .take(LEASE_VIEWS_MAX + 1)
            // The version that nothing has: so the settings are told.
            .filter_map(|(name, _)| Some((name.clone(), table.view(name, author, 0)?)))
            .collect();
        let more = views.len() > LEASE_VIEWS_MAX;
        views.truncate(LEASE_VIEWS_MAX);
        LeaseViews { exact, views, more }
    }
}

/// What can be said about a request without ordering it: that its cluster does not exist, or that no more fit.
pub(crate) fn at_once(table: &LeaseTable, ask: &Ask) -> Option<Result<Outcome, LeaseError>> {
    let known = table.lease(&ask.cluster).is_some();
    match &ask.request {
        // Time decides about custody, and only an entry moves it.
        _ if known || ask.request.is_custody() => None,
        Request::Configure(_) if table.leases().count() < LeaseTable::MAX_CLUSTERS => None,
        Request::Configure(_) => Some(Err(LeaseError::TooManyClusters(LeaseTable::MAX_CLUSTERS))),
        _ => {
            let (at, attempt) = (table.now(), Some(ask.attempt));
            Some(Ok(Outcome { at, attempt, answer: Err(Refusal::UnknownCluster), view: None }))
        }
    }
}
