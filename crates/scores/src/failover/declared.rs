//! What the ledger declares about workloads with one writer: the same clusters wherever it is read.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use failover::{ClusterName, NodeId, Settings, Workload};
use protocols::state::Declaration;
use protocols::{FleetState, Kind, Name};
use serde::{Deserialize, Serialize};

use super::{FailoverScore, Ports, Succession, lease_id, left};
use crate::postgres::PostgresScore;
use crate::service::ServiceScore;
use crate::{Invalid, Score as _, score};

/// A cluster as the ledger declares it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cluster {
    /// The lease's name.
    pub name: ClusterName,
    /// The score's language.
    pub kind: Kind,
    /// The entry that published it.
    pub generation: u64,
    /// The score, as it was signed.
    pub payload: String,
    /// The candidates' names.
    pub names: BTreeMap<NodeId, Name>,
    /// Candidates that left the fleet since this was published, and are left out. For people: of what is kept on a disk
    /// it is not known.
    #[serde(skip)]
    pub left: BTreeSet<Name>,
    /// Whether one of those is the only one that may write first: nobody may begin then.
    #[serde(skip)]
    pub first_left: bool,
    /// What the group decides by.
    pub settings: Arc<Settings>,
    /// The ports of switches that lead to each candidate, if a silent writer is cut off by them.
    pub ports: Ports,
}

/// Whether scores of this kind have one writer.
pub fn is_failover(kind: &Kind) -> bool {
    KINDS.iter().any(|(known, _)| known == kind)
}

/// The cluster that a declaration describes; nothing if it is of another kind.
pub fn cluster_of(state: &FleetState, declaration: &Declaration) -> Option<Result<Cluster, Invalid>> {
    let read = reader(&declaration.kind)?;
    let nodes = state.targets(declaration).map(|(id, member)| (member.name.clone(), lease_id(id))).collect();
    Some(read(declaration.payload.get()).and_then(|read| {
        let Read { name, workload, succession } = read;
        let left = left::left(state, declaration.generation, &succession);
        let settings = succession.settings_without(workload, &nodes, &left);
        let settings = settings.map_err(|error| Invalid::at("succession", error.to_string()))?;
        let is_candidate = |id: &NodeId| settings.priority(*id).is_some();
        let names = nodes.iter().filter(|(_, id)| is_candidate(id)).map(|(name, id)| (*id, name.clone())).collect();
        Ok(Cluster {
            name,
            kind: declaration.kind.clone(),
            generation: declaration.generation,
            payload: declaration.payload.get().to_owned(),
            names,
            first_left: succession.first.as_ref().is_some_and(|first| left.contains(first)),
            left,
            settings: Arc::new(settings),
            ports: succession.ports,
        })
    }))
}

/// Every cluster that the ledger declares and that can be made sense of, the newest publication of each name.
///
/// What the leader of the coordinators' group configures: it proposes `Configure` for each cluster whose settings differ
/// from those in the lease table.
pub fn clusters(state: &FleetState) -> BTreeMap<ClusterName, Cluster> {
    declared(state).clusters
}

/// What the ledger declares about workloads with one writer.
#[derive(Debug, Clone, Default)]
pub struct Declared {
    /// What can be made sense of.
    pub clusters: BTreeMap<ClusterName, Cluster>,
    /// What is declared and cannot, and why: a candidate was renamed, for example. It is not withdrawn by that.
    pub unclear: BTreeMap<ClusterName, Invalid>,
}

/// The same, with what is declared and cannot be made sense of.
pub fn declared(state: &FleetState) -> Declared {
    let mut found = Declared::default();
    for declaration in state.declarations().values() {
        match cluster_of(state, declaration) {
            None => {}
            Some(Ok(cluster)) => {
                let newer = found.clusters.get(&cluster.name).is_none_or(|known| known.generation < cluster.generation);
                if newer {
                    found.clusters.insert(cluster.name.clone(), cluster);
                }
            }
            // A cluster is named as what its score governs.
            Some(Err(why)) => {
                let name = ClusterName::try_from(declaration.subject.as_str().to_owned()).ok();
                found.unclear.extend(name.map(|name| (name, why)));
            }
        }
    }
    let Declared { clusters, unclear } = &mut found;
    unclear.retain(|name, _| !clusters.contains_key(name));
    found
}

/// What every such score says.
pub(super) struct Read {
    name: ClusterName,
    workload: Workload,
    pub(super) succession: Succession,
}

pub(super) type Reader = fn(&str) -> Result<Read, Invalid>;

/// Every kind of score whose workload has one writer.
const KINDS: &[(Kind, Reader)] =
    &[(ServiceScore::KIND, read::<ServiceScore>), (PostgresScore::KIND, read::<PostgresScore>)];

pub(super) fn reader(kind: &Kind) -> Option<Reader> {
    KINDS.iter().find(|(known, _)| known == kind).map(|(_, read)| *read)
}

fn read<S: FailoverScore>(payload: &str) -> Result<Read, Invalid> {
    let score = score::parse::<S>(payload)?;
    Ok(Read { name: score.cluster(), workload: S::WORKLOAD, succession: score.succession().clone() })
}
