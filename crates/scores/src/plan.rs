//! How a score is compared with what was observed: purely.

use std::fmt::{Debug, Display};

use serde::Serialize;

use crate::Score;

/// What has to be done, given what was observed. No clock, no I/O.
///
/// Law: once every step of `plan(observed)` is applied, `plan` of what is then observed is empty. And once those steps
/// are applied that are not [after the checks](Self::after_checks), only steps after the checks are left.
pub trait Plan: Score {
    /// What was found on the topology.
    type Observed: Serialize + Debug + Send + Sync;
    /// One change; prints as one line for people.
    type Step: Serialize + Display + Debug + Clone + PartialEq + Send + Sync;

    /// The steps that lead from what was observed to what is declared, in order.
    fn plan(&self, observed: &Self::Observed) -> Vec<Self::Step>;

    /// Whether a step makes the change permanent, and is therefore taken only when all checks have passed.
    fn after_checks(_step: &Self::Step) -> bool {
        false
    }

    /// Whether what was observed is in force already, when [`plan`](Self::plan) of it is empty.
    fn standing(&self, _observed: &Self::Observed) -> Standing {
        Standing::Running
    }
}

/// Whether a node that is as declared runs what is declared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Standing {
    /// It does.
    Running,
    /// It will after the next boot; why.
    RebootPending(String),
}
