//! What every declaration of a workload with one writer has in common: who may write, how strictly, how fast; and how the
//! fleet's state becomes the settings that the coordinators' group decides by.

mod declared;
mod left;
mod ports;
mod times;

use std::collections::{BTreeMap, BTreeSet};

use failover::settings::{Candidate, Failback, Promotion, Remote, Rung};
use failover::{ClusterName, FailoverStrategy, NodeId, Settings, SettingsError, Span, Surroundings, Workload};
use protocols::Name;
use serde::{Deserialize, Serialize};

use crate::{Invalid, Score};

pub use declared::{Cluster, Declared, cluster_of, clusters, declared, is_failover};
pub use left::{NoSuchCandidate, candidates_exist, naming};
pub use ports::{PORTS_MAX, Ports, SWITCH_PORT, SwitchPort};
pub use times::{Counted, Profile, RungTime, Times};

/// Who may write, how strictly, and how fast a silent writer is replaced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Succession {
    /// The nodes that may write, by name, the preferred one first; every node that the declaration is for, in the order
    /// of names and none preferred, if empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub candidates: Vec<Name>,
    /// What must never happen.
    #[serde(default = "absolute", skip_serializing_if = "is_absolute")]
    pub strategy: FailoverStrategy,
    /// What must be known of a silent writer before another takes over.
    #[serde(default = "trusting", skip_serializing_if = "is_trusting")]
    pub promotion: Promotion,
    /// Seconds after which a preferred candidate that has returned takes over again, in order; never by itself if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failback_seconds: Option<u32>,
    /// The only one that may write first: who has the data already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first: Option<Name>,
    /// How many standbys must hold a write before it is acknowledged; of databases alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sync: Option<u8>,
    /// The times to begin with.
    #[serde(default, skip_serializing_if = "is_lan")]
    pub profile: Profile,
    /// Times that differ from the profile's.
    #[serde(default, skip_serializing_if = "is_none")]
    pub times: Times,
    /// Times by counted heartbeats instead; not together with `times`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counted: Option<Counted>,
    /// The fence ladder, if it is not the profile's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ladder: Vec<RungTime>,
    /// The action against a writer that proves nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote: Option<RungTime>,
    /// The ports of switches that lead to each candidate, for the remote action `switch-port`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub ports: Ports,
}

impl Default for Succession {
    fn default() -> Self {
        Self {
            candidates: Vec::new(),
            strategy: absolute(),
            promotion: trusting(),
            failback_seconds: None,
            first: None,
            sync: None,
            profile: Profile::Lan,
            times: Times::default(),
            counted: None,
            ladder: Vec::new(),
            remote: None,
            ports: Ports::new(),
        }
    }
}

/// Why a declaration's succession cannot be turned into settings.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SuccessionError {
    /// A name that the declaration is not for.
    #[error("`{0}` is a candidate, and the declaration is not for a node of that name")]
    Unknown(Name),
    /// The declaration is for no node, or for too many.
    #[error("the declaration names no candidates and is for {0} nodes; 1 to {most} can be candidates", most = Settings::MAX_CANDIDATES)]
    Nodes(usize),
    /// Two ways to say the same.
    #[error("`times` and `counted` cannot be given together")]
    TwoTimes,
    /// The numbers do not hold.
    #[error(transparent)]
    Settings(#[from] SettingsError),
}

impl Succession {
    /// The settings, given the nodes that the declaration is for.
    ///
    /// # Errors
    /// [`SuccessionError`], which names the numbers.
    pub fn settings(&self, workload: Workload, nodes: &BTreeMap<Name, NodeId>) -> Result<Settings, SuccessionError> {
        self.settings_without(workload, nodes, &BTreeSet::new())
    }

    /// The same without the candidates that left the fleet. Fewer standbys hold a write if that many are not left; a lone
    /// candidate acknowledges by itself, as one that was declared alone does.
    ///
    /// # Errors
    /// [`SuccessionError`]; if all have left, that nobody has the name of the first.
    pub fn settings_without(
        &self,
        workload: Workload,
        nodes: &BTreeMap<Name, NodeId>,
        left: &BTreeSet<Name>,
    ) -> Result<Settings, SuccessionError> {
        let find = |name: &Name| nodes.get(name).copied().ok_or_else(|| SuccessionError::Unknown(name.clone()));
        let mut candidates = Vec::new();
        let everybody = self.candidates.iter().all(|name| left.contains(name));
        for (place, name) in self.candidates.iter().enumerate() {
            if left.contains(name) && !everybody {
                continue;
            }
            let priority = u8::try_from(self.candidates.len() - place).unwrap_or(u8::MAX);
            candidates.push(Candidate { node: find(name)?, priority });
        }
        if candidates.is_empty() {
            if nodes.is_empty() || nodes.len() > Settings::MAX_CANDIDATES {
                return Err(SuccessionError::Nodes(nodes.len()));
            }
            candidates.extend(nodes.values().map(|node| Candidate { node: *node, priority: 1 }));
        }
        let first = self.first.as_ref().filter(|first| !left.contains(*first)).map(find).transpose()?;
        self.with(workload, candidates, first, !left.is_empty())
    }

    /// Checks what can be checked without knowing the nodes.
    ///
    /// # Errors
    /// Names the field and the numbers.
    pub fn check(&self, workload: Workload) -> Result<(), Invalid> {
        self.check_ports()?;
        if self.candidates.len() > Settings::MAX_CANDIDATES {
            let why = format!("names {} nodes; at most {} can be", self.candidates.len(), Settings::MAX_CANDIDATES);
            return Err(Invalid::at("candidates", why));
        }
        let mut nodes = BTreeMap::new();
        for (place, name) in self.candidates.iter().enumerate() {
            if nodes.insert(name.clone(), stand_in(place)).is_some() {
                return Err(Invalid::at("candidates", format!("names `{name}` twice")));
            }
        }
        if nodes.is_empty() {
            // Which nodes there are is not known here: as many as may be.
            for (place, name) in
                self.first.iter().cloned().chain(stand_in_names()).take(Settings::MAX_CANDIDATES).enumerate()
            {
                nodes.insert(name, stand_in(place));
            }
        }
        match self.settings(workload, &nodes) {
            Ok(_) => Ok(()),
            Err(error @ SuccessionError::Unknown(_)) => {
                Err(Invalid::at("first", format!("is not among `candidates`: {error}")))
            }
            Err(error) => Err(Invalid::at("", error.to_string())),
        }
    }

    fn with(
        &self,
        workload: Workload,
        candidates: Vec<Candidate>,
        first: Option<NodeId>,
        some_left: bool,
    ) -> Result<Settings, SuccessionError> {
        let mut settings = self.profile.settings(workload, candidates);
        settings.strategy = self.strategy;
        settings.promotion = self.promotion;
        settings.first = first;
        if let Some(seconds) = self.failback_seconds {
            settings.failback = Failback::After(Span::from_secs(seconds.into()));
        }
        if let Some(sync) = self.sync {
            let standbys = u8::try_from(settings.candidates.len().saturating_sub(1)).unwrap_or(u8::MAX);
            settings.sync = if some_left { sync.min(standbys) } else { sync };
        }
        if self.strategy == FailoverStrategy::SplitBrainAllowed {
            settings.ladder.clear();
        }
        self.times.apply_to(&mut settings);
        if !self.ladder.is_empty() {
            settings.ladder = self.ladder.iter().map(RungTime::plan).collect();
        }
        if let Some(remote) = &self.remote {
            let within = Span::from_millis(remote.within_ms);
            settings.remote = Some(Remote { action: remote.rung.to_string(), within });
        }
        if let Some(counted) = &self.counted {
            if self.times != Times::default() {
                return Err(SuccessionError::TwoTimes);
            }
            settings = counted.seed().apply_to(&settings)?;
        }
        settings.fits(&self.profile.surroundings())?;
        Ok(settings)
    }

    /// The names of the actions that the ladder and the remote action use, beside [`SWITCH_PORT`].
    pub fn actions(&self) -> impl Iterator<Item = &str> {
        let ladder = self.ladder.iter().chain(&self.remote);
        ladder.filter_map(|rung| match &rung.rung {
            Rung::Action(name) if name != SWITCH_PORT => Some(name.as_str()),
            _ => None,
        })
    }
}

/// A score whose workload has one writer.
pub trait FailoverScore: Score {
    /// Whether its standbys hold positions that can be compared.
    const WORKLOAD: Workload;

    /// The cluster: the lease's name, the same on every node.
    fn cluster(&self) -> ClusterName;

    /// Who may write.
    fn succession(&self) -> &Succession;
}

/// What a node is called whose name is not known any more.
///
/// # Panics
/// Never: ten hex digits are a name.
pub fn unnamed(node: NodeId) -> Name {
    node.to_string().parse().unwrap_or_else(|_| unreachable!("ten hex digits are a name"))
}

/// A fleet's node, as leases name it.
pub const fn lease_id(node: protocols::NodeId) -> NodeId {
    NodeId::from_bytes(*node.as_bytes())
}

/// A lease's node, as the fleet names it.
pub const fn fleet_id(node: NodeId) -> protocols::NodeId {
    protocols::NodeId::from_bytes(*node.as_bytes())
}

/// A node that stands for one that is not known yet.
fn stand_in(place: usize) -> NodeId {
    NodeId::from_bytes([u8::try_from(place).unwrap_or(u8::MAX); 32])
}

fn stand_in_names() -> impl Iterator<Item = Name> {
    (0..Settings::MAX_CANDIDATES).filter_map(|place| format!("candidate-{place}").parse().ok())
}

const fn absolute() -> FailoverStrategy {
    FailoverStrategy::AbsoluteConsistency
}

const fn trusting() -> Promotion {
    Promotion::TrustSelfFence
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
fn is_absolute(strategy: &FailoverStrategy) -> bool {
    *strategy == absolute()
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
fn is_trusting(promotion: &Promotion) -> bool {
    *promotion == trusting()
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
fn is_lan(profile: &Profile) -> bool {
    *profile == Profile::Lan
}

fn is_none(times: &Times) -> bool {
    *times == Times::default()
}

/// What is measured against when settings are checked.
const fn surroundings(profile: Profile) -> Surroundings {
    match profile {
        Profile::Lan | Profile::Kubernetes => Surroundings::LAN,
        Profile::Wan => Surroundings::WAN,
        Profile::Fast => Surroundings::FAST,
    }
}

#[cfg(test)]
mod tests;
